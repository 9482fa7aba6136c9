"""fcgihost.masks: what is secret in a request's parameters."""
import unittest

import support  # noqa: F401
from fcgihost.masks import is_secret, mask

SECRET = """api_key apikey apiKey api-key API_KEY key token access_token refreshToken id_token secret client_secret password
passwd pass pwd PGPASSWORD signature sig X-Amz-Signature session sessionid PHPSESSION sid auth auth_key csrf csrfmiddlewaretoken
xsrf jwt code state otp pin private_key credentials X-Amz-Credential SAMLResponse ticket nonce HTTP_X_API_KEY
HTTP_X_AUTH_TOKEN HTTP_X_AUTH HTTP_COOKIE HTTP_COOKIE2 HTTP_AUTHORIZATION HTTP_PROXY_AUTHORIZATION REDIRECT_HTTP_AUTHORIZATION
REMOTE_PASSWD SSL_SESSION_ID DB_PASSWORD AWS_SECRET_ACCESS_KEY SECRET_KEY HTTP_X_CSRFTOKEN HTTP_X_SIGNATURE_256
api%5Fkey user[password]""".split()
HARMLESS = """AUTH_TYPE REDIRECT_AUTH_TYPE REDIRECT_STATUS SERVER_NAME HTTP_HOST HTTP_ACCEPT_ENCODING PATH_INFO REMOTE_USER
CONTENT_TYPE HTTP_USER_AGENT page q author design monkey keyword decode passenger pinned""".split()


class NamesTest(unittest.TestCase):
    def test_every_usual_name_of_a_secret(self):
        self.assertEqual([name for name in SECRET if not is_secret(name)], [])

    def test_other_names(self):
        self.assertEqual([name for name in HARMLESS if is_secret(name)], [])


class ValuesTest(unittest.TestCase):
    def assert_masked(self, value, expected, name="REQUEST_URI"):
        self.assertEqual(mask(name, value), expected)

    def test_the_value_of_a_secret_name(self):
        self.assert_masked("a=b; c=d", "(hidden)", "HTTP_COOKIE")
        self.assert_masked("abc", "(hidden)", "HTTP_X_API_KEY")
        self.assert_masked("", "", "HTTP_COOKIE")
        self.assert_masked("Basic abc", "Basic (hidden)", "HTTP_AUTHORIZATION")
        self.assert_masked("abc", "(hidden)", "HTTP_AUTHORIZATION")

    def test_every_usual_name_in_a_query(self):
        for name in SECRET:
            self.assert_masked("a=1&%s=abc&b=2" % name, "a=1&%s=(hidden)&b=2" % name, "QUERY_STRING")
            self.assert_masked("/p?%s=abc" % name, "/p?%s=(hidden)" % name)

    def test_what_is_not_secret_stays(self):
        for value in ("/a/b?page=1&q=x%20y&next=%2Fhome%3Fpage%3D2", "a=1;b=2", "text/html,application/xml;q=0.9",
                      "for=192.0.2.1;proto=https", "Mozilla/5.0 (X11; Linux x86_64)", "/a=b/c", "", "?&&==&", "token"):
            self.assert_masked(value, value)

    def test_all_that_repeat_and_the_end_of_the_string(self):
        self.assert_masked("token=a&token=b&token=&x=1&key=c#d", "token=(hidden)&token=(hidden)&token=&x=1&key=(hidden)#d")

    def test_a_quoted_value(self):
        self.assert_masked('a="1 2", token="b c", d="e"', 'a="1 2", token="(hidden) (hidden)", d="e"', "HTTP_X")
        self.assert_masked('token="b', 'token="(hidden)', "HTTP_X")

    def test_long_values_of_every_kind_are_looked_at_once(self):
        """64 KB, as a client may send: what looked at the rest at each place would take minutes for all of them."""
        for piece in ("a", "%25252525", "-eyJ", "eyJ.", "://", "http://a", "basic ", "a=", "a=%26", "=", "token=", '"',
                      'token="', "REDIRECT_", "Aa", "A", " "):
            for value in piece * (65536 // len(piece)), "a=" + piece * (65536 // len(piece)):
                self.assertLess(len(mask("REQUEST_URI", value)), 1000000)
                is_secret(value)

    def test_a_url_in_a_parameter(self):
        self.assert_masked("/login?next=%2Fa%3Ftoken%3Dabc&x=1", "/login?next=(hidden)&x=1")
        self.assert_masked("/login?next=%252Fa%253Ftoken%253Dabc", "/login?next=(hidden)")
        self.assert_masked("/login?next=" + "%" + "25" * 9 + "3d", "/login?next=(hidden)")
        self.assert_masked("/login?next=/a?token=abc", "/login?next=/a?token=(hidden)")
        self.assert_masked("/login?next=token=abc", "/login?next=token=(hidden)")

    def test_a_password_in_a_url(self):
        self.assert_masked("https://user:abc@example.org/", "https://(hidden)@example.org/", "HTTP_REFERER")
        self.assert_masked("/see?url=https%3A%2F%2Fuser%3Aabc%40example.org", "/see?url=(hidden)")
        self.assert_masked("https://example.org/@user", "https://example.org/@user")

    def test_what_looks_like_a_secret(self):
        jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"
        self.assert_masked("/verify/%s/x" % jwt, "/verify/(hidden)/x")
        self.assert_masked(jwt, "(hidden)", "HTTP_X_ASSERTED")
        self.assert_masked("Bearer abc", "Bearer (hidden)", "HTTP_X_FORWARDED_FROM")


if __name__ == "__main__":
    unittest.main()

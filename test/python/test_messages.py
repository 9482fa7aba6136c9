"""Each message of the log has an identifier that fcgihost-messages(7) explains, and no other is there."""
import os
import sys
import unittest
from pathlib import Path

import support

sys.path.insert(0, os.path.join(support.ROOT, "test"))
import messages  # noqa: E402


class TreeTest(unittest.TestCase):
    def test_the_source_and_the_man_page_are_in_step(self):
        self.assertEqual(messages.problems(), [])

    def test_the_source_has_messages_of_every_kind_of_call(self):
        events, _ = messages.find()
        self.assertLessEqual({"serving", "worker-died", "start-failed", "configuration-wrong", "access", "stacks",
                              "request-body-too-large", "application-failed", "application-errors", "request-slow",
                              "request-timeout", "startup-attempt-failed", "resource-unavailable", "application-log"},
                             events.keys())


class CheckTest(support.FolderTestCase):
    def setUp(self):
        super().setUp()
        self.root = Path(self.folder)
        for folder in ("fcgihost/base", "python/fcgihost", "man"):
            (self.root / folder).mkdir(parents=True)
        self.explain("known")

    def explain(self, *events, text="What it means.\n"):
        page = self.root / messages.MAN
        page.write_text("".join(".It Sy %s\n%s" % (event, text) for event in events) + ".El\n")

    def problems_of(self, name, text):
        path = self.root / name
        path.write_text(text)
        found = messages.problems(self.root)
        path.unlink()
        return found

    def test_what_is_in_step_has_no_problem(self):
        for name, text in (("fcgihost/base/x.c", 'log_error("known", "%s, (\\"x\\"", f(1, 2));'),
                           ("fcgihost/base/x.c", 'x = (struct log_topic){.event = "known", .thread = ""};'),
                           ("fcgihost/base/x.c", 'request_log(request, "known", "400");'),
                           ("python/fcgihost/x.py", 'def f():\n    _fcgihost.log(1, "known", "x")\n')):
            self.assertEqual(self.problems_of(name, text), [], text)

    def test_a_message_without_an_identifier(self):
        for name, text in (("fcgihost/base/x.c", 'log_error("known", "x");\nlog_warning("%s: is gone", name);'),
                           ("fcgihost/base/x.c", 'log_error("known", "x");\nlog_warning(format, name);'),
                           ("fcgihost/base/x.c", 'log_error("known", "x");\nrequest_log(request, "404: x");'),
                           ("python/fcgihost/x.py", 'def f():\n    _host.log("info", "known", "x"); _host.log(1, name)\n')):
            self.assertTrue(any(":2: " in one and "identifier" in one for one in self.problems_of(name, text)), text)

    def test_one_that_is_not_explained(self):
        problem, = self.problems_of("fcgihost/base/x.c", 'log_error("known", "x");\n log_info("new-one", "x");')
        self.assertTrue(problem.startswith("man/fcgihost-messages.7: new-one is missing, which fcgihost/base/x.c:2 logs"))

    def test_one_that_is_explained_and_nowhere_logged(self):
        self.explain("known", "old")
        self.assertEqual(self.problems_of("fcgihost/base/x.c", 'log_error("known", "x");'),
                         ["man/fcgihost-messages.7: old is no message of the program"])

    def test_one_of_which_nothing_is_said(self):
        self.explain("known", text="")
        self.assertEqual(self.problems_of("fcgihost/base/x.c", 'log_error("known", "x");'),
                         ["man/fcgihost-messages.7: known: nothing is said of it"])


if __name__ == "__main__":
    unittest.main()

/* links: address.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "base/address.h"

static struct address parse(const char *text)
{
    struct address address;
    const char *reason = NULL;

    if (address_parse(text, &address, &reason) != 0)
        fail_msg("\"%s\" %s", text, reason);
    return address;
}

static void assert_refused(const char *text, const char *expected)
{
    struct address address;
    const char *reason = NULL;

    assert_int_equal(address_parse(text, &address, &reason), -1);
    if (strstr(reason, expected) != reason)
        fail_msg("\"%s\" %s", text, reason);
    assert_non_null(strstr(reason, ": "));
}

static void assert_v4(const char *text, const char *host, unsigned port)
{
    struct address address = parse(text);
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address.sockaddr;
    char got[INET_ADDRSTRLEN];

    assert_int_equal(address.kind, ADDRESS_TCP);
    assert_int_equal(address.sockaddr_bytes, sizeof(*v4));
    assert_int_equal(v4->sin_family, AF_INET);
    assert_string_equal(inet_ntop(AF_INET, &v4->sin_addr, got, sizeof(got)), host);
    assert_int_equal(ntohs(v4->sin_port), port);
}

static void assert_v6(const char *text, const char *host, unsigned port)
{
    struct address address = parse(text);
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address.sockaddr;
    char got[INET6_ADDRSTRLEN];

    assert_int_equal(address.kind, ADDRESS_TCP);
    assert_int_equal(address.sockaddr_bytes, sizeof(*v6));
    assert_int_equal(v6->sin6_family, AF_INET6);
    assert_string_equal(inet_ntop(AF_INET6, &v6->sin6_addr, got, sizeof(got)), host);
    assert_int_equal(ntohs(v6->sin6_port), port);
}

static void test_tcp_addresses(void **state)
{
    (void)state;
    assert_v4("127.0.0.1:9000", "127.0.0.1", 9000);
    assert_v4("localhost:1", "127.0.0.1", 1);
    assert_v4("*:65535", "0.0.0.0", 65535);
    assert_v4("0.0.0.0:80", "0.0.0.0", 80);
    assert_v6("[::1]:9000", "::1", 9000);
    assert_v6("[::]:9000", "::", 9000);
    assert_v6("[2001:db8:0:0:0:0:0:1]:80", "2001:db8::1", 80);
    assert_v6("[0000:0000:0000:0000:0000:ffff:192.168.100.200]:80", "::ffff:192.168.100.200", 80);
}

static void test_unix_addresses(void **state)
{
    struct address address = parse("unix:/run/x y.sock");
    const struct sockaddr_un *name = (const struct sockaddr_un *)&address.sockaddr;

    (void)state;
    assert_int_equal(address.kind, ADDRESS_UNIX);
    assert_int_equal(name->sun_family, AF_UNIX);
    assert_string_equal(name->sun_path, "/run/x y.sock");
    assert_string_equal(address.path, "/run/x y.sock");
    assert_int_equal(address.sockaddr_bytes, offsetof(struct sockaddr_un, sun_path) + 14);
}

static void test_abstract_address_has_no_path_and_no_final_nul(void **state)
{
    struct address address = parse("unix:@fcgi");
    const struct sockaddr_un *name = (const struct sockaddr_un *)&address.sockaddr;

    (void)state;
    assert_memory_equal(name->sun_path, "\0fcgi", 5);
    assert_int_equal(address.sockaddr_bytes, offsetof(struct sockaddr_un, sun_path) + 5);
    assert_string_equal(address.path, "");
}

static void test_unix_path_may_have_107_bytes(void **state)
{
    char text[256] = "unix:/";

    (void)state;
    memset(text + 6, 'x', 106);
    text[5 + 107] = '\0';
    assert_int_equal(strlen(parse(text).path), 107);
    text[5 + 107] = 'x';
    text[5 + 108] = '\0';
    assert_refused(text, "is too long for a Unix socket: use a path of at most 107 bytes");
}

static void test_descriptors(void **state)
{
    struct address address = parse("fd:0");

    (void)state;
    assert_int_equal(address.kind, ADDRESS_DESCRIPTOR);
    assert_int_equal(address.descriptor, 0);
    assert_int_equal(parse("fd:1023").descriptor, 1023);
    assert_int_equal(parse("127.0.0.1:9").descriptor, -1);
    assert_refused("fd:", "has no valid descriptor");
    assert_refused("fd:x", "has no valid descriptor");
    assert_refused("fd:-1", "has no valid descriptor");
    assert_refused("fd:3 ", "has no valid descriptor");
    assert_refused("fd:99999999999999999999", "has no valid descriptor");
}

static void test_bad_addresses_say_what_to_write(void **state)
{
    (void)state;
    assert_refused("", "is not an address: write unix:PATH, HOST:PORT, [V6]:PORT or fd:N");
    assert_refused("9000", "is not an address");
    assert_refused("127.0.0.1", "is not an address");
    assert_refused("/run/x.sock", "is a path: write unix: in front of it");
    assert_refused("unix:", "has no path");
    assert_refused("unix:@", "has no path");
    assert_refused(":9000", "has no host");
    assert_refused("127.0.0.1:", "has no valid port: write a number from 1 to 65535");
    assert_refused("127.0.0.1:0", "has no valid port");
    assert_refused("127.0.0.1:65536", "has no valid port");
    assert_refused("127.0.0.1:99999999999999999999", "has no valid port");
    assert_refused("127.0.0.1:-1", "has no valid port");
    assert_refused("127.0.0.1: 80", "has no valid port");
    assert_refused("127.0.0.1:http", "has no valid port");
    assert_refused("127.0.0:9000", "has no valid IPv4 address");
    assert_refused("127.0.0.256:9000", "has no valid IPv4 address");
    assert_refused("1.2.3.4.5:9000", "has no valid IPv4 address");
    assert_refused("example.org:9000", "names a host: write its IP address");
    assert_refused("::1:9000", "is not an address: put an IPv6 address in brackets");
    assert_refused("[::1]", "is not an IPv6 address with a port");
    assert_refused("[::1]9000", "is not an IPv6 address with a port");
    assert_refused("[::1", "is not an IPv6 address with a port");
    assert_refused("[::1]:0", "has no valid port");
    assert_refused("[]:80", "has no valid IPv6 address");
    assert_refused("[::g]:80", "has no valid IPv6 address");
    assert_refused("[127.0.0.1]:80", "has no valid IPv6 address");
    assert_refused("[::1%lo]:80", "has no valid IPv6 address");
    assert_refused("[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80",
                   "has no valid IPv6 address");
    assert_refused("a-host-name-that-is-longer-than-any-buffer-that-would-hold-an-address."
                   "example.org:9000",
                   "names a host");
}

/* Prefixes that are addresses themselves pass, all others have a reason. */
static void test_every_prefix_of_an_address(void **state)
{
    static const char *const texts[] = {"unix:/run/x", "127.0.0.1:9000", "[2001:db8::1]:9000",
                                        "fd:12", "localhost:80"};
    char prefix[32];

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (size_t length = 0; length <= strlen(texts[i]); length++) {
            struct address address;
            const char *reason = NULL;
            int result;

            snprintf(prefix, sizeof(prefix), "%.*s", (int)length, texts[i]);
            result = address_parse(prefix, &address, &reason);
            assert_int_equal(result, reason == NULL ? 0 : -1);
        }
    }
}

static void assert_peer(const char *peer_text, const char *block_text, bool is_in)
{
    struct address_block block;
    struct sockaddr_storage peer = {0};
    const char *reason = NULL;

    if (address_parse_block(block_text, &block, &reason) != 0)
        fail_msg("\"%s\" %s", block_text, reason);
    peer.ss_family = strchr(peer_text, ':') != NULL ? AF_INET6 : AF_INET;
    assert_int_equal(inet_pton(peer.ss_family, peer_text,
                               peer.ss_family == AF_INET
                                   ? (void *)&((struct sockaddr_in *)&peer)->sin_addr
                                   : (void *)&((struct sockaddr_in6 *)&peer)->sin6_addr),
                     1);
    assert_int_equal(address_is_allowed((struct sockaddr *)&peer, &block, 1), is_in);
    assert_false(address_is_allowed((struct sockaddr *)&peer, &block, 0));
}

static void test_peers_in_blocks(void **state)
{
    (void)state;
    assert_peer("127.0.0.1", "127.0.0.1", true);
    assert_peer("127.0.0.2", "127.0.0.1", false);
    assert_peer("127.255.255.255", "127.0.0.0/8", true);
    assert_peer("128.0.0.0", "127.0.0.0/8", false);
    assert_peer("10.1.15.255", "10.1.0.0/20", true);
    assert_peer("10.1.16.0", "10.1.0.0/20", false);
    assert_peer("10.0.0.129", "10.0.0.128/31", true);
    assert_peer("10.0.0.130", "10.0.0.128/31", false);
    assert_peer("10.9.9.9", "10.1.2.3/8", true);
    assert_peer("1.2.3.4", "0.0.0.0/0", true);
    assert_peer("::1", "0.0.0.0/0", false);
    assert_peer("::1", "::1", true);
    assert_peer("::2", "::1", false);
    assert_peer("2001:db8::1", "2001:db8::/32", true);
    assert_peer("2001:db9::1", "2001:db8::/32", false);
    assert_peer("2001:db8:7fff::", "2001:db8::/33", true);
    assert_peer("2001:db8:8000::", "2001:db8::/33", false);
    assert_peer("127.0.0.1", "::/0", false);
}

static void test_mapped_addresses_are_their_ipv4_ones(void **state)
{
    (void)state;
    assert_peer("::ffff:127.0.0.1", "127.0.0.0/8", true);
    assert_peer("::ffff:128.0.0.1", "127.0.0.0/8", false);
    assert_peer("127.0.0.1", "::ffff:127.0.0.1", true);
    assert_peer("127.0.0.1", "::ffff:127.0.0.0/104", true);
    assert_peer("128.0.0.1", "::ffff:127.0.0.0/104", false);
}

static void test_peer_of_another_family_is_never_allowed(void **state)
{
    struct sockaddr_un peer = {.sun_family = AF_UNIX};
    struct address_block block = {.family = AF_INET};

    (void)state;
    assert_false(address_is_allowed((struct sockaddr *)&peer, &block, 1));
}

static void test_any_of_several_blocks_allows(void **state)
{
    struct address_block blocks[2];
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const char *reason;

    (void)state;
    address_parse_block("10.0.0.0/8", &blocks[0], &reason);
    address_parse_block("127.0.0.0/8", &blocks[1], &reason);
    assert_true(address_is_allowed((struct sockaddr *)&peer, blocks, 2));
    assert_false(address_is_allowed((struct sockaddr *)&peer, blocks, 1));
}

static void test_bad_blocks(void **state)
{
    static const char *const no_address[] = {"",
                                             "x",
                                             "/8",
                                             "127.0.0",
                                             "127.0.0.1.2",
                                             "::g",
                                             "127.0.0.1 ",
                                             "localhost",
                                             "[::1]",
                                             "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
    static const char *const no_prefix[] = {"10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
                                            "10.0.0.0/8/8", "10.0.0.0/255.0.0.0"};
    struct address_block block;
    const char *reason;

    (void)state;
    for (size_t i = 0; i < sizeof(no_address) / sizeof(no_address[0]); i++) {
        assert_int_equal(address_parse_block(no_address[i], &block, &reason), -1);
        assert_string_equal(reason,
                            "is not an address: write an IP address or a block, like 10.0.0.0/8");
    }
    for (size_t i = 0; i < sizeof(no_prefix) / sizeof(no_prefix[0]); i++) {
        assert_int_equal(address_parse_block(no_prefix[i], &block, &reason), -1);
        assert_string_equal(reason,
                            "has no valid prefix: write a number from 0 to 32 after the \"/\"");
    }
    assert_int_equal(address_parse_block("::/129", &block, &reason), -1);
    assert_string_equal(reason,
                        "has no valid prefix: write a number from 0 to 128 after the \"/\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp_addresses),
        cmocka_unit_test(test_unix_addresses),
        cmocka_unit_test(test_abstract_address_has_no_path_and_no_final_nul),
        cmocka_unit_test(test_unix_path_may_have_107_bytes),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_bad_addresses_say_what_to_write),
        cmocka_unit_test(test_every_prefix_of_an_address),
        cmocka_unit_test(test_peers_in_blocks),
        cmocka_unit_test(test_mapped_addresses_are_their_ipv4_ones),
        cmocka_unit_test(test_peer_of_another_family_is_never_allowed),
        cmocka_unit_test(test_any_of_several_blocks_allows),
        cmocka_unit_test(test_bad_blocks),
    };

    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}

/* Parses listen addresses and the blocks of the allow list, and matches peers against these. */
#include "base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse(const char **reason, const char *text)
{
    *reason = text;
    return -1;
}

/* Digits only, at most max; -1 for anything else. */
static long parse_number(const char *text, long max)
{
    long number = 0;

    if (*text == '\0')
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        number = number * 10 + (*text - '0');
        if (number > max)
            return -1;
    }
    return number;
}

static int parse_unix(const char *path, struct address *address, const char **reason)
{
    struct sockaddr_un *unix_address = (struct sockaddr_un *)&address->sockaddr;
    size_t length = strlen(path);

    if (length == 0 || strcmp(path, "@") == 0)
        return refuse(reason, "has no path: write unix:PATH, like unix:/run/fcgihost.sock");
    if (length >= sizeof(unix_address->sun_path))
        return refuse(reason, "is too long for a Unix socket: use a path of at most 107 bytes");
    address->kind = ADDRESS_UNIX;
    unix_address->sun_family = AF_UNIX;
    memcpy(unix_address->sun_path, path, length + 1);
    address->sockaddr_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    if (path[0] == '@') {
        /* An abstract name starts with a NUL and is not ended by one. */
        unix_address->sun_path[0] = '\0';
        address->sockaddr_bytes--;
        return 0;
    }
    memcpy(address->path, path, length + 1);
    return 0;
}

static int parse_port(const char *text, in_port_t *port, const char **reason)
{
    long number = parse_number(text, 65535);

    if (number <= 0)
        return refuse(reason, "has no valid port: write a number from 1 to 65535 after the \":\"");
    *port = htons((uint16_t)number);
    return 0;
}

static int parse_v6(const char *text, struct address *address, const char **reason)
{
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->sockaddr;
    const char *end = strchr(text, ']');
    char host[INET6_ADDRSTRLEN];

    if (end == NULL || end[1] != ':') {
        return refuse(reason,
                      "is not an IPv6 address with a port: write [ADDRESS]:PORT, like [::1]:9000");
    }
    if (end - text > (ptrdiff_t)sizeof(host))
        return refuse(reason, "has no valid IPv6 address between the brackets: write one like ::1");
    snprintf(host, sizeof(host), "%.*s", (int)(end - text - 1), text + 1);
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
        return refuse(reason, "has no valid IPv6 address between the brackets: write one like ::1");
    address->kind = ADDRESS_TCP;
    v6->sin6_family = AF_INET6;
    address->sockaddr_bytes = sizeof(*v6);
    return parse_port(end + 2, &v6->sin6_port, reason);
}

/* Why host is not acceptable: each common mistake has a message of its own. */
static int refuse_host(const char *host, const char **reason)
{
    if (host[0] == '\0') {
        return refuse(reason,
                      "has no host: write 127.0.0.1:PORT, or *:PORT for every IPv4 address");
    }
    if (strchr(host, ':') != NULL)
        return refuse(reason,
                      "is not an address: put an IPv6 address in brackets, like [::1]:9000");
    if (strspn(host, "0123456789.") == strlen(host))
        return refuse(reason, "has no valid IPv4 address: write four numbers, like 127.0.0.1:9000");
    return refuse(reason, "names a host: write its IP address (names are not looked up)");
}

static int parse_v4(const char *text, struct address *address, const char **reason)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address->sockaddr;
    const char *colon = strrchr(text, ':');
    char host[64];

    if (colon == NULL) {
        return refuse(reason,
                      strchr(text, '/') != NULL
                          ? "is a path: write unix: in front of it for a Unix socket"
                          : "is not an address: write unix:PATH, HOST:PORT, [V6]:PORT or fd:N");
    }
    snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    v4->sin_family = AF_INET;
    if (strcmp(host, "*") == 0)
        v4->sin_addr.s_addr = htonl(INADDR_ANY);
    else if (strcmp(host, "localhost") == 0)
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (inet_pton(AF_INET, host, &v4->sin_addr) != 1)
        return refuse_host(host, reason);
    address->kind = ADDRESS_TCP;
    address->sockaddr_bytes = sizeof(*v4);
    return parse_port(colon + 1, &v4->sin_port, reason);
}

int address_parse(const char *text, struct address *address, const char **reason)
{
    memset(address, 0, sizeof(*address));
    address->descriptor = -1;
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, address, reason);
    if (strncmp(text, "fd:", 3) == 0) {
        long number = parse_number(text + 3, 1048575);

        if (number < 0)
            return refuse(reason, "has no valid descriptor: write its number, like fd:3");
        address->kind = ADDRESS_DESCRIPTOR;
        address->descriptor = (int)number;
        return 0;
    }
    if (text[0] == '[')
        return parse_v6(text, address, reason);
    return parse_v4(text, address, reason);
}

/* ::ffff:1.2.3.4, as which an IPv4 peer reaches an IPv6 socket: compared as IPv4, so that a block
 * 1.2.3.4 matches it. */
static bool is_mapped(const uint8_t bytes[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    return memcmp(bytes, mapped, sizeof(mapped)) == 0;
}

int address_parse_block(const char *text, struct address_block *block, const char **reason)
{
    static const char no_address[] =
        "is not an address: write an IP address or a block, like 10.0.0.0/8";
    const char *slash = strchr(text, '/');
    char host[INET6_ADDRSTRLEN];
    size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);
    long prefix_bits;

    memset(block, 0, sizeof(*block));
    if (length >= sizeof(host))
        return refuse(reason, no_address);
    memcpy(host, text, length);
    host[length] = '\0';
    block->family = strchr(host, ':') != NULL ? AF_INET6 : AF_INET;
    if (inet_pton(block->family, host, block->bytes) != 1)
        return refuse(reason, no_address);
    prefix_bits = block->family == AF_INET ? 32 : 128;
    if (slash != NULL)
        prefix_bits = parse_number(slash + 1, prefix_bits);
    if (prefix_bits < 0) {
        return refuse(reason,
                      block->family == AF_INET
                          ? "has no valid prefix: write a number from 0 to 32 after the \"/\""
                          : "has no valid prefix: write a number from 0 to 128 after the \"/\"");
    }
    if (block->family == AF_INET6 && prefix_bits >= 96 && is_mapped(block->bytes)) {
        block->family = AF_INET;
        memmove(block->bytes, block->bytes + 12, 4);
        memset(block->bytes + 4, 0, 12);
        prefix_bits -= 96;
    }
    block->prefix_bits = (unsigned)prefix_bits;
    return 0;
}

static bool is_in_block(int family, const uint8_t *bytes, const struct address_block *block)
{
    unsigned whole = block->prefix_bits / 8;
    unsigned rest = block->prefix_bits % 8;
    uint8_t mask = (uint8_t)(0xff00U >> rest);

    if (family != block->family || memcmp(bytes, block->bytes, whole) != 0)
        return false;
    return rest == 0 || ((bytes[whole] ^ block->bytes[whole]) & mask) == 0;
}

bool address_is_allowed(const struct sockaddr *peer, const struct address_block *blocks,
                        size_t count)
{
    uint8_t bytes[16] = {0};
    int family = peer->sa_family;

    if (family == AF_INET) {
        memcpy(bytes, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
    } else if (family == AF_INET6) {
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, 16);
        if (is_mapped(bytes)) {
            family = AF_INET;
            memmove(bytes, bytes + 12, 4);
        }
    } else {
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (is_in_block(family, bytes, &blocks[i]))
            return true;
    return false;
}

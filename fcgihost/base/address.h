/* Addresses as people write them: where to listen, and who may connect. Pure. */
#ifndef FCGIHOST_ADDRESS_H
#define FCGIHOST_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum address_kind { ADDRESS_UNIX, ADDRESS_TCP, ADDRESS_DESCRIPTOR };

struct address {
    enum address_kind kind;
    int descriptor;                   /* ADDRESS_DESCRIPTOR */
    struct sockaddr_storage sockaddr; /* ADDRESS_UNIX, ADDRESS_TCP: ready for bind(2) */
    socklen_t sockaddr_bytes;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* ADDRESS_UNIX */
};

/* "unix:PATH", "HOST:PORT" (HOST: an IPv4 address, "localhost" or "*"), "[V6]:PORT", "fd:N".
 * 0, or -1 and *reason points to a constant text that says what is wrong and what to write instead.
 */
int address_parse(const char *text, struct address *address, const char **reason);

/* A CIDR block, or one address, of either family ("127.0.0.0/8", "::1"). */
struct address_block {
    int family;
    uint8_t bytes[16];
    unsigned prefix_bits;
};
int address_parse_block(const char *text, struct address_block *block, const char **reason);
/* Is the peer in one of the blocks? An IPv4-mapped IPv6 peer matches IPv4 blocks. */
bool address_is_allowed(const struct sockaddr *peer, const struct address_block *blocks,
                        size_t count);

#endif

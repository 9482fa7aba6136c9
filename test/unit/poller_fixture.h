/* The poller's fakes: connections and listeners as simple as can be, with sockets of the test's
 * own. Included once in a program. */
#ifndef FCGIHOST_TEST_POLLER_FIXTURE_H
#define FCGIHOST_TEST_POLLER_FIXTURE_H

#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/fork.h"
#include "base/log.h"
#include "connection/poller.h"
#include "connection/poller_internal.h"
#include "http/transport.h"

enum { PEERS = 8, LONG_AGO_MS = 60000 };

static struct config config;
static struct listener listener;
static struct listener_set set;
static struct poller poller;
static struct sockaddr_un address;
static bool was_gathered; /* the last message: peers can cause it at will */
static socklen_t address_bytes;
static int peers[PEERS];
static struct request request;
static bool is_request_released;
static uint64_t pause_end_ms;
static char logged[512];
static unsigned lines;

/* Fakes */

struct connection *connection_new(int fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    assert_non_null(connection);
    connection->pollable = POLLABLE_CONNECTION;
    connection->fd = fd;
    return connection;
}

void connection_clear(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
}

void connection_free(struct connection *connection)
{
    connection_clear(connection);
    free(connection);
}

void request_free(struct request *freed)
{
    assert_ptr_equal(freed, &request);
    assert_true(is_request_released);
}

uint64_t request_pause_end(const struct request *asked)
{
    assert_ptr_equal(asked, &request);
    return pause_end_ms;
}

bool connection_can_move(const struct connection *connection)
{
    return connection->is_queued || hold_is_free(&connection->hold);
}

static int undescribed; /* the connection for which there is no memory; 0: none */

int connection_describe(const struct connection *connection, struct handover_connection *left)
{
    if (undescribed != 0 && connection->fd == undescribed)
        return -1;
    *left = (struct handover_connection){.fd = connection->fd};
    return 0;
}

struct connection *connection_take_over(const struct handover_connection *left)
{
    return connection_new(left->fd);
}

int descriptors_find_limit(void)
{
    return INT_MAX;
}

static int lowest_free; /* descriptor */

bool descriptors_are_left(int fd, int limit)
{
    (void)fd;
    return lowest_free < limit;
}

int descriptors_above_standard(int fd)
{
    return fd;
}

bool fork_has_happened(void)
{
    return false;
}

static unsigned losses;    /* that listener_tells_loss() has to tell */
static bool is_mutex_free; /* while it was last asked */

bool listener_tells_loss(struct listener *asked)
{
    assert_ptr_equal(asked, &listener);
    is_mutex_free = pthread_mutex_trylock(&poller.mutex) == 0;
    if (is_mutex_free)
        pthread_mutex_unlock(&poller.mutex);
    return losses > 0 && losses-- > 0;
}

void listener_unlink(struct listener *unlinked)
{
    (void)unlinked;
}

void listener_close(struct listener *closed)
{
    close(closed->fd);
    closed->fd = -1;
}

void listener_refuse(const struct listener *refusing)
{
    shutdown(refusing->fd, SHUT_RDWR);
}

enum listener_owner listener_find_owner(const struct listener *asked)
{
    (void)asked;
    return LISTENER_SHARED;
}

bool listener_is_spawners(const struct listener *asked)
{
    (void)asked;
    return false;
}

struct handover_listener listener_describe(const struct listener *described)
{
    return (struct handover_listener){.fd = described->fd};
}

static void note(const char *format, va_list arguments)
{
    vsnprintf(logged, sizeof(logged), format, arguments);
    lines++;
}

#define FAKE_LOG(name)                                                                             \
    void name(const char *event, const char *format, ...)                                          \
    {                                                                                              \
        (void)event;                                                                               \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        note(format, arguments);                                                                   \
        va_end(arguments);                                                                         \
    }

void log_about(enum log_level level, const struct log_topic *topic, const char *format, ...)
{
    (void)level;
    va_list arguments;
    was_gathered = topic->is_gathered;
    va_start(arguments, format);
    note(format, arguments);
    va_end(arguments);
}

FAKE_LOG(log_error)
FAKE_LOG(log_warning)
FAKE_LOG(log_info)

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    config.threads = 2;
    config.io_timeout_ms = 60000;
    config.connections = 4;
    address = (struct sockaddr_un){.sun_family = AF_UNIX}; /* the kernel chooses an abstract name */
    listener = (struct listener){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    address_bytes = sizeof(sa_family_t);
    if (bind(listener.fd, (struct sockaddr *)&address, address_bytes) < 0 ||
        listen(listener.fd, PEERS) < 0)
        return -1;
    address_bytes = sizeof(address);
    getsockname(listener.fd, (struct sockaddr *)&address, &address_bytes);
    set = (struct listener_set){.items = &listener, .count = 1};
    for (unsigned i = 0; i < PEERS; i++)
        peers[i] = -1;
    logged[0] = '\0';
    lines = 0;
    pause_end_ms = 0;
    return poller_init(&poller, &set, &config, eventfd(0, EFD_NONBLOCK));
}

static int tear_down(void **state)
{
    (void)state;
    while (poller.connections != NULL)
        poller_close(&poller, poller.connections);
    close(poller.change_fd);
    poller_clear(&poller);
    if (listener.fd >= 0)
        close(listener.fd);
    for (unsigned i = 0; i < PEERS; i++)
        if (peers[i] >= 0)
            close(peers[i]);
    return 0;
}

static void connect_peer(unsigned i)
{
    peers[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(peers[i], (struct sockaddr *)&address, address_bytes), 0);
    assert_int_equal(send(peers[i], &(char){(char)('a' + i)}, 1, 0), 1);
}

/* The number of the peer whose connection it is, or -1; nothing is taken. */
static int peer_of(const struct connection *connection)
{
    char byte;
    if (connection == NULL || recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
        return -1;
    return byte - 'a';
}

static void take_byte(struct connection *connection)
{
    char byte;
    assert_int_equal(recv(connection->fd, &byte, 1, 0), 1);
}

/* Looks once, as the watch does. */
static struct connection *look(void)
{
    return poller_lead(&poller, 0);
}

/* Looks until something is there, which no worker has to be told of. */
static struct connection *find(void)
{
    struct connection *connection = NULL;
    for (unsigned i = 0; i < 4 && connection == NULL; i++)
        connection = look();
    return connection;
}

static struct connection *accept_peer(unsigned i)
{
    connect_peer(i);
    struct connection *connection = find();
    assert_int_equal(peer_of(connection), (int)i);
    return connection;
}

static struct connection *accept_kept(unsigned i)
{
    struct connection *connection = accept_peer(i);
    take_byte(connection);
    connection->served = 1;
    assert_int_equal(poller_watch(&poller, connection, 0), 0);
    return connection;
}

#endif

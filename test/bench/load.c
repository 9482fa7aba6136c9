/* A load generator for FastCGI, SCGI and HTTP: a closed loop on N connections, each response
 * checked byte for byte. It prints one JSON object; bench.py makes sense of it.
 *
 *     load --address unix:/run/x.sock --path /hello --expect FILE --connections 4 --seconds 1
 * --keep
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"

enum { RECEIVE_BYTES = 256 * 1024, EVENTS = 256 };
enum { STEPS = 64, BUCKETS = 40 * STEPS }; /* a bucket of the histogram is 1/64 wide, or 1 ns */

static struct {
    struct wire_exchange exchange;
    int connections;
    uint64_t requests; /* 0: as many as fit in the time */
    double seconds, grace_seconds;
} options = {{WIRE_FASTCGI, false, "/", 0, "", 0, 200, false}, 1, 0, 1, 5};

static struct sockaddr_storage address;
static socklen_t address_bytes;
static char *request;
static size_t request_bytes;

struct connection {
    int fd; /* -1: to be connected as soon as there is something to send */
    bool is_busy, is_reused, waits_to_send;
    size_t sent_bytes;
    uint64_t started_ns, served;
    struct wire_response response;
};

static int poll_fd;
static struct connection *connections;
static int busy_count, unconnected_count;
static uint64_t end_ns;

static struct {
    uint64_t started, served, errors, unserved, starved, connects, retries;
    const char *first_problem;
    uint64_t histogram[BUCKETS];
} totals;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* -------------------------------------------------------------------------------
 * The histogram of latencies: octaves of 64 steps */

static int bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (int)ns;
    int octave = 57 - __builtin_clzll(ns);
    int bucket = octave * STEPS + (int)(ns >> octave);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* The least latency that falls into a bucket. */
static uint64_t bucket_ns(int bucket)
{
    if (bucket < 2 * STEPS)
        return (uint64_t)bucket;
    int octave = bucket / STEPS - 1;
    return (uint64_t)(bucket - octave * STEPS) << octave;
}

/* -------------------------------------------------------------------------------
 * One connection */

static void watch(struct connection *connection, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(poll_fd, operation, connection->fd, &event) != 0)
        die("epoll_ctl");
}

static void disconnect(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    connection->is_reused = connection->waits_to_send = false;
}

static void finish(struct connection *connection)
{
    connection->is_busy = false;
    busy_count--;
}

static void fail(struct connection *connection, const char *problem)
{
    totals.errors++;
    if (totals.first_problem == NULL)
        totals.first_problem = problem;
    disconnect(connection);
    finish(connection);
}

/* False: not now, the queue of a Unix socket is full. */
static bool connect_peer(struct connection *connection)
{
    connection->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        die("socket");
    if (address.ss_family == AF_INET)
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(connection->fd, (struct sockaddr *)&address, address_bytes) != 0 &&
        errno != EINPROGRESS) {
        if (errno != EAGAIN)
            die("connect");
        disconnect(connection);
        unconnected_count++;
        return false;
    }
    totals.connects++;
    watch(connection, EPOLL_CTL_ADD, EPOLLIN);
    return true;
}

static void send_request(struct connection *connection);

/* A kept connection that the peer has closed meanwhile: once more on a new one, as a web server
 * does. */
static void lose(struct connection *connection, const char *problem)
{
    if (!connection->is_reused || connection->response.received_bytes > 0) {
        fail(connection, problem);
        return;
    }
    totals.retries++;
    disconnect(connection);
    send_request(connection);
}

static void send_request(struct connection *connection)
{
    if (connection->fd < 0) {
        connection->sent_bytes = 0;
        if (!connect_peer(connection))
            return;
    }
    while (connection->sent_bytes < request_bytes) {
        ssize_t n = send(connection->fd, request + connection->sent_bytes,
                         request_bytes - connection->sent_bytes, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!connection->waits_to_send)
                watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            connection->waits_to_send = true;
            return;
        }
        if (n < 0) {
            lose(connection, "the request could not be sent");
            return;
        }
        connection->sent_bytes += (size_t)n;
    }
    if (connection->waits_to_send)
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    connection->waits_to_send = false;
}

static void start_request(struct connection *connection)
{
    uint64_t now = now_ns();
    if (now >= end_ns || (options.requests > 0 && totals.started >= options.requests))
        return;
    totals.started++;
    connection->started_ns = now;
    connection->is_busy = true;
    busy_count++;
    connection->sent_bytes = 0;
    connection->is_reused = connection->fd >= 0;
    memset(&connection->response, 0, sizeof(connection->response));
    send_request(connection);
}

static void end_response(struct connection *connection, enum wire_verdict verdict)
{
    if (verdict == WIRE_WRONG) {
        fail(connection, connection->response.problem);
    } else if (connection->sent_bytes < request_bytes) {
        fail(connection, "a response before the request was whole");
    } else {
        totals.served++;
        connection->served++;
        totals.histogram[bucket_of(now_ns() - connection->started_ns)]++;
        if (!options.exchange.is_kept)
            disconnect(connection);
        finish(connection);
    }
    start_request(connection);
}

static void receive(struct connection *connection)
{
    static char buffer[RECEIVE_BYTES];
    ssize_t n = recv(connection->fd, buffer, sizeof(buffer), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (!connection->is_busy) {
        disconnect(connection); /* the peer ended a kept connection: nothing is wrong with that */
        if (n > 0) {
            totals.errors++;
            totals.first_problem = "bytes after the response";
        }
        return;
    }
    bool has_ended = n <= 0;
    if (has_ended && connection->is_reused && connection->response.received_bytes == 0) {
        lose(connection, "");
        return;
    }
    enum wire_verdict verdict =
        has_ended ? wire_receive_end(&connection->response, &options.exchange)
                  : wire_receive(&connection->response, &options.exchange, buffer, (size_t)n);
    if (verdict != WIRE_MORE)
        end_response(connection, verdict);
}

/* -------------------------------------------------------------------------------
 * The run */

/* Connections that could not be made, or whose last request failed, are tried again. */
static void restart_connections(void)
{
    unconnected_count = 0;
    for (int i = 0; i < options.connections; i++) {
        struct connection *connection = &connections[i];
        if (connection->is_busy && connection->fd < 0)
            send_request(connection);
        else if (!connection->is_busy)
            start_request(connection);
    }
}

static void run(void)
{
    struct epoll_event events[EVENTS];
    uint64_t give_up_ns = end_ns + (uint64_t)(options.grace_seconds * 1e9);
    restart_connections();
    while (busy_count > 0 && now_ns() < give_up_ns) {
        int count = epoll_wait(poll_fd, events, EVENTS, unconnected_count > 0 ? 1 : 100);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection->waits_to_send && (events[i].events & EPOLLOUT) != 0)
                send_request(connection);
            if (connection->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT) != 0)
                receive(connection);
        }
        if (unconnected_count > 0 && count < EVENTS)
            restart_connections();
    }
    totals.unserved = (uint64_t)busy_count;
    for (int i = 0; i < options.connections; i++)
        totals.starved += connections[i].served == 0;
}

static void print_totals(double seconds)
{
    printf("{\"served\": %ju, \"errors\": %ju, \"unserved\": %ju, \"starved\": %ju, "
           "\"connects\": %ju, \"retries\": %ju, \"seconds\": %.6f, \"problem\": \"%s\", "
           "\"latencies_ns\": [",
           (uintmax_t)totals.served, (uintmax_t)totals.errors, (uintmax_t)totals.unserved,
           (uintmax_t)totals.starved, (uintmax_t)totals.connects, (uintmax_t)totals.retries,
           seconds, totals.first_problem != NULL ? totals.first_problem : "");
    const char *separator = "";
    for (int i = 0; i < BUCKETS; i++) {
        if (totals.histogram[i] == 0)
            continue;
        printf("%s[%ju, %ju]", separator, (uintmax_t)bucket_ns(i), (uintmax_t)totals.histogram[i]);
        separator = ", ";
    }
    printf("]}\n");
}

/* -------------------------------------------------------------------------------
 * The command line */

static void set_address(const char *text)
{
    struct sockaddr_un *local = (struct sockaddr_un *)&address;
    struct sockaddr_in *internet = (struct sockaddr_in *)&address;
    char host[64];
    unsigned port;
    if (strncmp(text, "unix:", 5) == 0 && strlen(text + 5) < sizeof(local->sun_path)) {
        local->sun_family = AF_UNIX;
        memcpy(local->sun_path, text + 5, strlen(text + 5) + 1);
        address_bytes = sizeof(*local);
    } else if (sscanf(text, "%63[0-9.]:%u", host, &port) == 2 &&
               inet_pton(AF_INET, host, &internet->sin_addr) == 1) {
        internet->sin_family = AF_INET;
        internet->sin_port = htons((uint16_t)port);
        address_bytes = sizeof(*internet);
    } else {
        fprintf(stderr, "load: no address: %s\n", text);
        exit(2);
    }
}

static void set_protocol(const char *text)
{
    static const char *const names[] = {"fastcgi", "scgi", "http"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            options.exchange.protocol = (enum wire_protocol)i;
            return;
        }
    }
    fprintf(stderr, "load: no protocol: %s\n", text);
    exit(2);
}

static void read_expected_body(const char *path)
{
    FILE *file = fopen(path, "rb"), *copy;
    char *body = NULL, part[4096];
    if (file == NULL || (copy = open_memstream(&body, &options.exchange.expected_bytes)) == NULL)
        die(path);
    for (size_t n; (n = fread(part, 1, sizeof(part), file)) > 0;)
        fwrite(part, 1, n, copy);
    fclose(file);
    fclose(copy);
    options.exchange.expected_body = body;
}

static void say_usage(void)
{
    fprintf(stderr,
            "usage: load --address unix:PATH|IPV4:PORT [--protocol fastcgi|scgi|http]\n"
            "  [--path PATH] [--expect FILE-WITH-THE-BODY] [--status NUMBER] [--upload BYTES]\n"
            "  [--keep] [--rich] [--connections N] [--requests N] [--seconds S] [--grace S]\n");
    exit(2);
}

static void set_option(int letter, const char *value)
{
    switch (letter) {
    case 'a':
        set_address(value);
        break;
    case 'p':
        set_protocol(value);
        break;
    case 'u':
        options.exchange.path = value;
        break;
    case 'e':
        read_expected_body(value);
        break;
    case 'S':
        options.exchange.expected_status = strtol(value, NULL, 10);
        break;
    case 'b':
        options.exchange.upload_bytes = strtoul(value, NULL, 10);
        break;
    case 'k':
        options.exchange.is_kept = true;
        break;
    case 'r':
        options.exchange.is_rich = true;
        break;
    case 'c':
        options.connections = (int)strtol(value, NULL, 10);
        break;
    case 'n':
        options.requests = strtoull(value, NULL, 10);
        break;
    case 's':
        options.seconds = strtod(value, NULL);
        break;
    case 'g':
        options.grace_seconds = strtod(value, NULL);
        break;
    default:
        say_usage();
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"address", required_argument, NULL, 'a'},
                                          {"protocol", required_argument, NULL, 'p'},
                                          {"path", required_argument, NULL, 'u'},
                                          {"expect", required_argument, NULL, 'e'},
                                          {"upload", required_argument, NULL, 'b'},
                                          {"keep", no_argument, NULL, 'k'},
                                          {"rich", no_argument, NULL, 'r'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {"requests", required_argument, NULL, 'n'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"grace", required_argument, NULL, 'g'},
                                          {"status", required_argument, NULL, 'S'},
                                          {NULL, 0, NULL, 0}};
    int letter;
    while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1)
        set_option(letter, optarg);
    if (address_bytes == 0 || options.connections < 1 || optind < argc)
        say_usage();

    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    request = wire_build_request(&options.exchange, &request_bytes);
    connections = calloc((size_t)options.connections, sizeof(*connections));
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (request == NULL || connections == NULL || poll_fd < 0)
        die("load");
    for (int i = 0; i < options.connections; i++)
        connections[i].fd = -1;
    uint64_t started_ns = now_ns();
    end_ns = started_ns + (uint64_t)(options.seconds * 1e9);
    run();
    print_totals((double)(now_ns() - started_ns) / 1e9);
    return 0;
}

/* The control thread. */
#include "status/control.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "connection/connection.h"
#include "status/collector.h"
#include "status/control_socket.h"
#include "status/endpoints.h"
#include "status/worker_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 32,
    PUBLIC_CLIENTS_MAX = 24,     /* of [status] listen: they can't keep the control socket's out */
    REQUEST_MS = 5000,           /* for a request to arrive */
    KEPT_MS = 60000,             /* for the next one on a kept connection */
    SEND_MS = 1000,              /* for the peer to take some of the response */
    SEND_BUFFER_BYTES = 1 << 18, /* so that a response fits, and nobody has to wait for its peer */
    TICK_MS = 1000,
};

struct client {
    struct connection *connection;
    uint64_t turn; /* of coming, or of its last answer: many have the same time */
    uint64_t deadline_ms;
    bool is_control;
    bool is_public; /* came by [status] listen */
};

/* What a reload may change. */
struct outfit {
    struct endpoints_paths paths; /* on the heap */
    struct address_block *allow;
    size_t allow_count;
    struct {
        int fd; /* a copy */
        bool is_tcp;
    } listeners[CONTROL_LISTENERS_MAX];
    size_t listener_count;
};

static struct {
    struct config config; /* a copy, with this thread's own io_timeout and protocol */
    struct outfit outfit; /* the thread's alone */
    pthread_mutex_t mutex;
    struct outfit *next; /* for the thread to take; guarded by the mutex */
    struct control_socket socket;
    int manager_fd; /* a manager's, for its workers, which may be other users; -1: none */
    int wake_fd;
    atomic_bool must_stop;
    pthread_t thread;
    struct gate_limits gate_limits;
    struct route_table routes; /* none */
    struct receiver receiver;
    struct client clients[CLIENTS_MAX];
    size_t client_count, public_client_count;
    uint64_t turns;
} control = {
    .socket = {.fd = -1}, .wake_fd = -1, .manager_fd = -1, .mutex = PTHREAD_MUTEX_INITIALIZER};

static const atomic_bool never;

static void drop_client(size_t i)
{
    struct client *client = &control.clients[i];
    struct request *request = client->connection->request;
    if (request != NULL) {
        request->ops->release(request);
        receiver_give_request(&control.receiver, request);
        client->connection->request = NULL;
    }
    connection_free(client->connection);
    control.public_client_count -= client->is_public;
    *client = control.clients[--control.client_count];
}

/* false: it is to be closed. */
static bool serve_client(struct client *client)
{
    struct connection *connection = client->connection;
    enum connection_step step = connection_advance(&control.receiver, connection);
    while (step == CONNECTION_READY) {
        endpoints_always(&control.outfit.paths, connection->request, client->is_control);
        client->turn = control.turns++;
        client->deadline_ms = clock_ms() + KEPT_MS;
        step = connection_finish_request(&control.receiver, connection);
    }
    return step == CONNECTION_WAIT;
}

/* Places in the poll set. */
enum { WAKE_AT, CONTROL_AT, MANAGER_AT, LISTENERS_AT };

static bool is_workers(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
           collector_has_worker((long)peer.pid);
}

/* at: the place of the listener in the poll set. */
static bool is_allowed(int fd, nfds_t at, bool is_tcp)
{
    struct sockaddr_storage peer = {0};
    socklen_t bytes = sizeof(peer);
    if (at == MANAGER_AT)
        return is_workers(fd);
    if (at == CONTROL_AT)
        return control_socket_admits(fd);
    return !is_tcp || (getpeername(fd, (struct sockaddr *)&peer, &bytes) == 0 &&
                       address_is_allowed((struct sockaddr *)&peer, control.outfit.allow,
                                          control.outfit.allow_count));
}

/* A public client; there is one. */
static size_t find_most_silent(void)
{
    size_t found = control.client_count;
    for (size_t i = 0; i < control.client_count; i++)
        if (control.clients[i].is_public && (found == control.client_count ||
                                             control.clients[i].turn < control.clients[found].turn))
            found = i;
    return found;
}

static bool has_room(void)
{
    return control.client_count < CLIENTS_MAX || control.public_client_count > 0;
}

/* With has_room(). A new client gets a place, if need be that of the public one which has been
 * silent for longest: whoever has something to ask asks at once. */
static void make_room(bool is_public)
{
    if (control.client_count == CLIENTS_MAX ||
        (is_public && control.public_client_count == PUBLIC_CLIENTS_MAX))
        drop_client(find_most_silent());
}

/* With has_room(). */
static void accept_client(int listener_fd, nfds_t at, bool is_tcp)
{
    bool is_public = at >= LISTENERS_AT;
    int fd =
        descriptors_above_standard(accept4(listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd < 0)
        return;
    struct connection *connection = NULL;
    if (is_allowed(fd, at, is_tcp)) { /* whoever is not takes nobody's place */
        make_room(is_public);
        connection = connection_new(fd);
    }
    if (connection == NULL) {
        close(fd);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){SEND_BUFFER_BYTES}, sizeof(int));
    control.clients[control.client_count++] =
        (struct client){.connection = connection,
                        .turn = control.turns++,
                        .deadline_ms = clock_ms() + REQUEST_MS,
                        .is_control = at == CONTROL_AT,
                        .is_public = is_public};
    control.public_client_count += is_public;
}

struct poll_set {
    struct pollfd fds[LISTENERS_AT + CONTROL_LISTENERS_MAX + CLIENTS_MAX];
    nfds_t clients_at; /* the clients' come from here on */
};

/* The wake descriptor, the control sockets, the status's listeners, the clients. */
static void fill_poll_set(struct poll_set *set)
{
    nfds_t n = 0;
    set->fds[n++] = (struct pollfd){.fd = control.wake_fd, .events = POLLIN};
    set->fds[n++] = (struct pollfd){.fd = control.socket.fd, .events = POLLIN};
    set->fds[n++] = (struct pollfd){.fd = control.manager_fd, .events = POLLIN};
    for (size_t i = 0; i < control.outfit.listener_count; i++)
        set->fds[n++] = (struct pollfd){.fd = control.outfit.listeners[i].fd, .events = POLLIN};
    for (nfds_t at = CONTROL_AT; at < n; at++)
        if (!has_room())
            set->fds[at].fd = -1;
    set->clients_at = n;
    for (size_t i = 0; i < control.client_count; i++)
        set->fds[n++] =
            (struct pollfd){.fd = control.clients[i].connection->fd, .events = POLLIN | POLLRDHUP};
}

static void handle_clients(const struct poll_set *set)
{
    uint64_t now_ms = clock_ms();
    for (size_t i = control.client_count; i-- > 0;) {
        bool is_ready = set->fds[set->clients_at + i].revents != 0;
        if (is_ready ? !serve_client(&control.clients[i]) : now_ms > control.clients[i].deadline_ms)
            drop_client(i); /* the last one takes its place, which was looked at already */
    }
}

static void handle_listeners(const struct poll_set *set)
{
    for (nfds_t n = CONTROL_AT; n < set->clients_at; n++)
        if (set->fds[n].revents != 0 && has_room()) /* unless one before took the last place */
            accept_client(set->fds[n].fd, n,
                          n >= LISTENERS_AT && control.outfit.listeners[n - LISTENERS_AT].is_tcp);
}

static void clear_outfit(struct outfit *outfit)
{
    for (size_t i = 0; i < outfit->listener_count; i++)
        close(outfit->listeners[i].fd);
    free(outfit->allow);
    free(outfit->paths.status);
    free(outfit->paths.ping);
    *outfit = (struct outfit){0};
}

/* The thread, between two rounds: what was accepted before is still answered. */
static void take_next(void)
{
    pthread_mutex_lock(&control.mutex);
    struct outfit *next = control.next;
    control.next = NULL;
    pthread_mutex_unlock(&control.mutex);
    if (next == NULL)
        return;
    clear_outfit(&control.outfit);
    control.outfit = *next;
    free(next);
}

static void heal_socket(void)
{
    static uint64_t looked_ms;
    uint64_t now_ms = clock_ms();
    if (now_ms < looked_ms + TICK_MS)
        return;
    looked_ms = now_ms;
    control_socket_heal(&control.socket);
}

static void *run(void *unused)
{
    struct poll_set set;
    log_only_queue();
    while (!atomic_load(&control.must_stop)) {
        eventfd_t wakes;
        eventfd_read(control.wake_fd, &wakes);
        take_next();
        heal_socket();
        fill_poll_set(&set);
        nfds_t count = set.clients_at + control.client_count;
        if (poll(set.fds, count, TICK_MS) < 0)
            continue; /* EINTR: signals may be delivered to any thread */
        handle_clients(&set);
        handle_listeners(&set);
    }
    while (control.client_count > 0)
        drop_client(control.client_count - 1);
    return unused;
}

static int parse_allow(struct outfit *outfit, const struct config *config)
{
    const char *reason;
    outfit->allow = calloc(config->allow.count + 1, sizeof(*outfit->allow));
    if (outfit->allow == NULL)
        return -1;
    for (size_t i = 0; i < config->allow.count; i++)
        if (address_parse_block(config->allow.items[i], &outfit->allow[outfit->allow_count],
                                &reason) == 0)
            outfit->allow_count++;
    return 0;
}

static int copy_text(char **copy, const char *text)
{
    *copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *copy != NULL ? 0 : -1;
}

/* NULL with errno. */
static struct outfit *outfit_new(const struct config *config, const struct listener_set *status)
{
    struct outfit *outfit = calloc(1, sizeof(*outfit));
    if (outfit == NULL)
        return NULL;
    bool is_whole = copy_text(&outfit->paths.status, config->status_path) == 0 &&
                    copy_text(&outfit->paths.ping, config->status_ping) == 0 &&
                    parse_allow(outfit, config) == 0;
    for (size_t i = 0; is_whole && i < status->count && i < CONTROL_LISTENERS_MAX; i++) {
        int fd = fcntl(status->items[i].fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        is_whole = fd >= 0;
        outfit->listeners[i].fd = fd;
        outfit->listeners[i].is_tcp = status->items[i].is_tcp;
        outfit->listener_count += is_whole;
    }
    if (is_whole)
        return outfit;
    int error = errno;
    clear_outfit(outfit);
    free(outfit);
    errno = error;
    return NULL;
}

int control_use(const struct config *config, const struct listener_set *status)
{
    struct outfit *outfit = outfit_new(config, status);
    if (outfit == NULL)
        return -1;
    pthread_mutex_lock(&control.mutex);
    struct outfit *unused = control.next;
    control.next = outfit;
    pthread_mutex_unlock(&control.mutex);
    if (unused != NULL)
        clear_outfit(unused);
    free(unused);
    eventfd_write(control.wake_fd, 1);
    return 0;
}

/* What the thread, which has ended or was never started, used. */
static void clear(void)
{
    control_socket_close(&control.socket);
    if (control.manager_fd >= 0)
        close(control.manager_fd);
    if (control.wake_fd >= 0)
        close(control.wake_fd);
    control.manager_fd = control.wake_fd = -1;
    receiver_clear(&control.receiver);
    take_next();
    clear_outfit(&control.outfit);
}

static int prepare(const struct config *config, const struct listener_set *status)
{
    control.config = *config;
    control.config.io_timeout_ms = SEND_MS;
    control.config.protocol = PROTOCOL_AUTO;
    control.gate_limits = (struct gate_limits){.head_bytes = config->request_head_bytes,
                                               .max_connections = CLIENTS_MAX,
                                               .roles = 1u << ROLE_RESPONDER};
    control.receiver = (struct receiver){.config = &control.config,
                                         .gate_limits = &control.gate_limits,
                                         .routes = &control.routes,
                                         .is_draining = &never,
                                         .is_handing_over = &never,
                                         .speaks_http = true};
    atomic_store(&control.must_stop, false);
    control.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return control.wake_fd < 0 || control_use(config, status) < 0
               ? -1
               : receiver_init(&control.receiver);
}

static int fail(int error)
{
    clear();
    errno = error;
    return -1;
}

int control_start(const struct config *config, const struct listener_set *status,
                  enum control_role role)
{
    if (prepare(config, status) < 0)
        return fail(errno);
    endpoints_as_worker(role == CONTROL_WORKER);
    if (role == CONTROL_WORKER)
        control.socket = (struct control_socket){.fd = worker_socket_open()};
    else
        control_socket_open(&control.socket);
    if (role == CONTROL_MANAGER)
        control.manager_fd = worker_socket_open();
    int error = pthread_create(&control.thread, NULL, run, NULL);
    if (error != 0)
        return fail(error);
    pthread_setname_np(control.thread, "control");
    return 0;
}

void control_stop(void)
{
    atomic_store(&control.must_stop, true);
    eventfd_write(control.wake_fd, 1);
    pthread_join(control.thread, NULL);
    clear();
}

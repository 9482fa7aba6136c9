/* The control thread: whom it answers on which socket, and how many. Its connections and answers
 * are fakes: a request is a line, the answer says who asked. Clients are real sockets.
 *
 * links: control.c address.c descriptors.c */
#include "life_fakes.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "base/address.h"
#include "status/collector.h"
#include "status/control.h"
#include "status/control_socket.h"
#include "status/endpoints.h"
#include "status/worker_socket.h"

enum { STATUS_LISTENERS = CONTROL_LISTENERS_MAX, CLIENTS_MAX = 32, STATUS_CLIENTS_MAX = 24 };

static struct config config;
static char at_s[] = "/s", at_p[] = "/p", at_bad[] = "/bad", at_last[] = "/last";
static char own[] = "127.0.0.0/8", wrong[] = "no block", ten[] = "10.0.0.0/8";
static struct listener listeners[STATUS_LISTENERS + 1]; /* of [status] listen */
static struct listener_set status = {.items = listeners};
static int control_listener, worker_listener; /* what the fakes open */
static atomic_bool is_admitted, is_worker;
static bool is_receiver_refused;
static int told_role;                 /* what endpoints_as_worker() was told */
static atomic_int open_now, open_max; /* connections */
static atomic_int released;           /* requests */
static atomic_ullong later_ms;        /* how much the clock goes before the real one */
static atomic_bool is_held;           /* the next answer waits */

/* So that a deadline passes when a test wants it. */
int clock_gettime(clockid_t id, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, id, now);
    now->tv_sec += (time_t)(atomic_load(&later_ms) / 1000);
    return (int)result;
}

/* Fakes */

void log_only_queue(void)
{
}

bool collector_has_worker(long pid)
{
    return atomic_load(&is_worker) && pid == (long)getpid();
}

void control_socket_open(struct control_socket *opened)
{
    opened->fd = control_listener;
    tell("open");
}

void control_socket_heal(struct control_socket *opened)
{
    (void)opened;
}

void control_socket_close(struct control_socket *opened)
{
    if (opened->fd < 0)
        return;
    close(opened->fd);
    opened->fd = -1;
    tell("close");
}

bool control_socket_admits(int fd)
{
    (void)fd;
    return atomic_load(&is_admitted);
}

int worker_socket_open(void)
{
    tell("open worker");
    return worker_listener;
}

void endpoints_as_worker(bool is_it)
{
    told_role = is_it;
}

int receiver_init(struct receiver *receiver)
{
    errno = ENOMEM;
    assert_true(receiver->speaks_http);
    return is_receiver_refused ? -1 : 0;
}

void receiver_clear(struct receiver *receiver)
{
    (void)receiver;
}

void receiver_give_request(struct receiver *receiver, struct request *request)
{
    (void)receiver;
    free(request);
}

struct connection *connection_new(int fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    connection->fd = fd;
    int count = atomic_fetch_add(&open_now, 1) + 1;
    if (count > atomic_load(&open_max))
        atomic_store(&open_max, count);
    return connection;
}

void connection_free(struct connection *connection)
{
    assert_null(connection->request);
    close(connection->fd);
    free(connection);
    atomic_fetch_sub(&open_now, 1);
}

static void release(struct request *request)
{
    (void)request;
    atomic_fetch_add(&released, 1);
}

static const struct transport_ops ops = {.release = release};

/* "x": the request is only half there. */
enum connection_step connection_advance(struct receiver *receiver, struct connection *connection)
{
    char line;
    assert_false(atomic_load(receiver->is_draining));
    ssize_t n = recv(connection->fd, &line, 1, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && errno == EAGAIN ? CONNECTION_WAIT : CONNECTION_CLOSE;
    if (connection->request == NULL) {
        connection->request = calloc(1, sizeof(*connection->request));
        connection->request->ops = &ops;
        connection->request->fd = connection->fd;
        connection->request->io_timeout_ms = receiver->config->io_timeout_ms;
    }
    return line == '\n' ? CONNECTION_READY : CONNECTION_WAIT;
}

void endpoints_always(const struct endpoints_paths *paths, struct request *request, bool is_control)
{
    while (atomic_load(&is_held))
        usleep(1000);
    dprintf(request->fd, "%s, status at %s, ping at %s\n", is_control ? "control" : "status",
            paths->status != NULL ? paths->status : "-", paths->ping != NULL ? paths->ping : "-");
}

enum connection_step connection_finish_request(struct receiver *receiver,
                                               struct connection *connection)
{
    connection->request->ops->release(connection->request);
    receiver_give_request(receiver, connection->request);
    connection->request = NULL;
    return connection_advance(receiver, connection);
}

/* Clients */

static int listen_on(int family)
{
    struct sockaddr_storage address = {.ss_family = (sa_family_t)family};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (family == AF_INET)
        ((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(sa_family_t);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

static int connect_to(int listener_fd)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof(address);
    assert_int_equal(getsockname(listener_fd, (struct sockaddr *)&address, &bytes), 0);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 20},
               sizeof(struct timeval));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, bytes), 0);
    return fd;
}

/* "": it was closed. */
static const char *answer(int fd)
{
    static char text[256];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    if (n < 0)
        n = errno == ECONNRESET ? 0 : snprintf(text, sizeof(text), "%s", strerror(errno));
    text[n] = '\0';
    return text;
}

static const char *ask(int fd)
{
    assert_int_equal(send(fd, "\n", 1, MSG_NOSIGNAL), 1);
    return answer(fd);
}

/* A client that was never answered: whether the thread has taken it or refuses it, what it sent may
 * stay unread. */
static const char *ask_once(int listener_fd)
{
    int fd = connect_to(listener_fd);
    (void)!send(fd, "\n", 1, MSG_NOSIGNAL);
    const char *text = answer(fd);
    close(fd);
    return text;
}

static bool has_answer(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0;
}

/* Returns when that many have been accepted, and whoever else was in the same round. */
static void wait_accepted(int count, int asker)
{
    while (atomic_load(&open_max) < count)
        usleep(1000);
    ask(asker);
    ask(asker);
}

/* Tests */

static int open_before;

static int set_up(void **state)
{
    (void)state;
    open_before = count_open();
    forget();
    config = (struct config){.request_head_bytes = 1000, .status_path = at_s, .status_ping = at_p};
    control_listener = listen_on(AF_UNIX);
    worker_listener = -1;
    for (size_t i = 0; i < COUNT(listeners); i++)
        listeners[i] = (struct listener){.fd = listen_on(AF_UNIX)};
    status.count = 1;
    atomic_store(&is_admitted, true);
    atomic_store(&is_worker, true);
    atomic_store(&open_now, 0);
    atomic_store(&open_max, 0);
    atomic_store(&later_ms, 0);
    is_receiver_refused = false;
    return 0;
}

/* As a failed test leaves the thread behind, so does this: the next test fails as well. */
static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(listeners); i++)
        close(listeners[i].fd);
    return 0;
}

static void start(enum control_role role)
{
    assert_int_equal(control_start(&config, &status, role), 0);
}

/* What it has opened is closed again, and what it accepted. */
static void stop(void)
{
    control_stop();
    assert_int_equal(atomic_load(&open_now), 0);
    assert_int_equal(count_open(), open_before + (int)COUNT(listeners));
}

static void test_a_host_answers_on_its_control_socket_and_on_status_listen(void **state)
{
    (void)state;
    start(CONTROL_HOST);
    assert_string_equal(ask_once(control_listener), "control, status at /s, ping at /p\n");
    assert_string_equal(ask_once(listeners[0].fd), "status, status at /s, ping at /p\n");
    stop();
    assert_string_equal(told, "open|close|");
    assert_false(told_role);
}

static void test_a_kept_connection_is_answered_again_and_again(void **state)
{
    (void)state;
    start(CONTROL_HOST);
    int fd = connect_to(listeners[0].fd);
    for (int i = 0; i < 5; i++)
        assert_string_equal(ask(fd), "status, status at /s, ping at /p\n");
    close(fd);
    stop();
}

static void test_whoever_may_not_ask_is_not_answered(void **state)
{
    (void)state;
    start(CONTROL_HOST);
    atomic_store(&is_admitted, false);
    assert_string_equal(ask_once(control_listener), "");
    assert_string_equal(ask_once(listeners[0].fd), "status, status at /s, ping at /p\n");
    stop();
}

static void test_over_tcp_allow_holds_for_the_status_too(void **state)
{
    (void)state;
    char *blocks[] = {own, wrong, ten};
    close(listeners[0].fd);
    listeners[0] = (struct listener){.fd = listen_on(AF_INET), .is_tcp = true};
    config.allow.items = blocks;
    config.allow.count = 3;
    start(CONTROL_HOST);
    assert_string_equal(ask_once(listeners[0].fd), "status, status at /s, ping at /p\n");
    config.allow.items = blocks + 1;
    config.allow.count = 2;
    assert_int_equal(control_use(&config, &status), 0);
    assert_string_equal(ask_once(control_listener), "control, status at /s, ping at /p\n");
    assert_string_equal(ask_once(listeners[0].fd), "");
    config.allow.count = 0;
    assert_int_equal(control_use(&config, &status), 0);
    assert_string_equal(ask_once(control_listener), "control, status at /s, ping at /p\n");
    assert_string_equal(ask_once(listeners[0].fd), "");
    stop();
}

static void test_a_worker_has_a_socket_without_a_file_and_a_manager_both(void **state)
{
    (void)state;
    close(control_listener);
    worker_listener = listen_on(AF_UNIX);
    status.count = 0;
    start(CONTROL_WORKER);
    assert_true(told_role);
    assert_string_equal(ask_once(worker_listener), "control, status at /s, ping at /p\n");
    stop();
    assert_string_equal(told, "open worker|close|");
    worker_listener = listen_on(AF_UNIX);
    control_listener = listen_on(AF_UNIX);
    start(CONTROL_MANAGER);
    assert_false(told_role);
    assert_string_equal(ask_once(control_listener), "control, status at /s, ping at /p\n");
    assert_string_equal(ask_once(worker_listener), "status, status at /s, ping at /p\n");
    stop();
}

static void test_a_manager_answers_its_workers_alone_on_their_socket(void **state)
{
    (void)state;
    worker_listener = listen_on(AF_UNIX);
    start(CONTROL_MANAGER);
    atomic_store(&is_worker, false);
    assert_string_equal(ask_once(worker_listener), "");
    stop();
}

static void test_a_new_configuration_closes_the_old_sockets_and_keeps_who_was_accepted(void **state)
{
    (void)state;
    start(CONTROL_HOST);
    int fd = connect_to(listeners[0].fd);
    ask(fd);
    struct listener_set other = {.items = listeners + 1, .count = 1};
    config.status_path = NULL;
    config.status_ping = at_last;
    assert_int_equal(control_use(&config, &other), 0);
    assert_string_equal(ask_once(listeners[1].fd), "status, status at -, ping at /last\n");
    assert_string_equal(ask(fd), "status, status at -, ping at /last\n");
    int unheard = connect_to(listeners[0].fd); /* the test still has it open */
    send(unheard, "\n", 1, MSG_NOSIGNAL);
    ask(fd);
    ask(fd);
    assert_false(has_answer(unheard));
    close(unheard);
    close(fd);
    stop();
}

static void test_of_two_new_configurations_the_last_one_holds_and_neither_leaks(void **state)
{
    (void)state;
    start(CONTROL_HOST);
    int fd = connect_to(listeners[0].fd);
    atomic_store(&is_held, true);
    send(fd, "\n", 1, 0);
    for (int i = 0; i < 20; i++) {
        struct listener_set other = {.items = listeners + 1 + i % 3, .count = 3};
        assert_int_equal(control_use(&config, &other), 0);
    }
    config.status_path = at_last;
    assert_int_equal(control_use(&config, &status), 0);
    atomic_store(&is_held, false);
    answer(fd);
    assert_string_equal(ask(fd), "status, status at /last, ping at /p\n");
    close(fd);
    stop();
}

static void test_a_configuration_that_cannot_be_used_changes_nothing(void **state)
{
    (void)state;
    start(CONTROL_HOST);
    int open_now_fds = count_open();
    struct listener bad[] = {{.fd = listeners[1].fd}, {.fd = 1000000}};
    config.status_path = at_bad;
    assert_int_equal(control_use(&config, &(struct listener_set){.items = bad, .count = 2}), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(count_open(), open_now_fds);
    assert_string_equal(ask_once(listeners[0].fd), "status, status at /s, ping at /p\n");
    stop();
}

static void test_more_listeners_than_it_takes_leave_the_first_ones(void **state)
{
    (void)state;
    status.count = COUNT(listeners);
    start(CONTROL_HOST);
    for (size_t i = 0; i < STATUS_LISTENERS; i++)
        assert_string_equal(ask_once(listeners[i].fd), "status, status at /s, ping at /p\n");
    stop();
}

/* count clients that were answered and stay. */
static void fill(int *clients, int count)
{
    for (int i = 0; i < count; i++) {
        clients[i] = connect_to(listeners[0].fd);
        ask(clients[i]);
    }
}

static void test_clients_of_the_status_leave_places_for_those_of_the_control_socket(void **state)
{
    (void)state;
    int clients[CLIENTS_MAX];
    start(CONTROL_HOST);
    fill(clients, CLIENTS_MAX);
    assert_string_equal(ask_once(control_listener), "control, status at /s, ping at /p\n");
    assert_int_equal(atomic_load(&open_max), STATUS_CLIENTS_MAX + 1);
    for (int i = 0; i < CLIENTS_MAX; i++)
        close(clients[i]);
    stop();
}

static void
test_the_status_s_client_that_is_silent_for_longest_makes_room_for_the_next(void **state)
{
    (void)state;
    int clients[STATUS_CLIENTS_MAX], next[2];
    start(CONTROL_HOST);
    fill(clients, STATUS_CLIENTS_MAX);
    send(clients[0], "x", 1, 0); /* a request that goes no further counts for nothing */
    for (int i = 2; i < STATUS_CLIENTS_MAX; i++)
        ask(clients[i]);
    for (int i = 0; i < 2; i++) {
        next[i] = connect_to(listeners[0].fd);
        assert_string_equal(ask(next[i]), "status, status at /s, ping at /p\n");
        assert_string_equal(answer(clients[i]), "");
    }
    for (int i = 2; i < STATUS_CLIENTS_MAX; i++)
        assert_string_equal(ask(clients[i]), "status, status at /s, ping at /p\n");
    for (int i = 0; i < STATUS_CLIENTS_MAX; i++)
        close(clients[i]);
    close(next[0]);
    close(next[1]);
    stop();
}

static void test_whoever_may_not_ask_takes_nobody_s_place(void **state)
{
    (void)state;
    int clients[STATUS_CLIENTS_MAX], mine[CLIENTS_MAX - STATUS_CLIENTS_MAX];
    start(CONTROL_HOST);
    fill(clients, STATUS_CLIENTS_MAX);
    for (size_t i = 0; i < COUNT(mine); i++) {
        mine[i] = connect_to(control_listener);
        ask(mine[i]);
    }
    atomic_store(&is_admitted, false);
    assert_string_equal(ask_once(control_listener), "");
    for (int i = 0; i < STATUS_CLIENTS_MAX; i++) {
        assert_string_equal(ask(clients[i]), "status, status at /s, ping at /p\n");
        close(clients[i]);
    }
    for (size_t i = 0; i < COUNT(mine); i++)
        close(mine[i]);
    stop();
}

static void test_clients_that_come_on_every_socket_at_once_get_the_places_there_are(void **state)
{
    (void)state;
    int clients[STATUS_CLIENTS_MAX - 1], late[STATUS_LISTENERS];
    status.count = STATUS_LISTENERS;
    start(CONTROL_HOST);
    fill(clients, (int)COUNT(clients));
    atomic_store(&is_held, true);
    send(clients[0], "\n", 1, 0);
    for (int i = 0; i < STATUS_LISTENERS; i++) {
        late[i] = connect_to(listeners[i].fd);
        send(late[i], "\n", 1, 0);
    }
    atomic_store(&is_held, false);
    answer(clients[0]);
    wait_accepted(STATUS_CLIENTS_MAX, clients[0]);
    assert_int_equal(atomic_load(&open_max), STATUS_CLIENTS_MAX);
    for (size_t i = 0; i < COUNT(clients); i++)
        close(clients[i]);
    for (int i = 0; i < STATUS_LISTENERS; i++) {
        assert_string_equal(answer(late[i]), "status, status at /s, ping at /p\n");
        close(late[i]);
    }
    stop();
}

static void test_all_sockets_together_never_exceed_the_clients_there_is_room_for(void **state)
{
    (void)state;
    int clients[STATUS_CLIENTS_MAX], mine[CLIENTS_MAX - STATUS_CLIENTS_MAX - 1];
    worker_listener = listen_on(AF_UNIX);
    start(CONTROL_MANAGER);
    fill(clients, STATUS_CLIENTS_MAX);
    for (size_t i = 0; i < COUNT(mine); i++) {
        mine[i] = connect_to(control_listener);
        ask(mine[i]);
    }
    atomic_store(&is_held, true);
    send(clients[0], "\n", 1, 0);
    int late[] = {connect_to(control_listener), connect_to(worker_listener)};
    for (int i = 0; i < 2; i++)
        send(late[i], "\n", 1, 0);
    atomic_store(&is_held, false);
    answer(clients[0]);
    wait_accepted(CLIENTS_MAX, clients[0]);
    assert_int_equal(atomic_load(&open_max), CLIENTS_MAX);
    for (int i = 0; i < STATUS_CLIENTS_MAX; i++)
        close(clients[i]);
    for (int i = 0; i < 2; i++) {
        assert_true(strlen(answer(late[i])) > 0);
        close(late[i]);
    }
    for (size_t i = 0; i < COUNT(mine); i++)
        close(mine[i]);
    stop();
}

static void test_a_client_that_never_asks_loses_its_place(void **state)
{
    (void)state;
    start(CONTROL_HOST);
    int silent = connect_to(listeners[0].fd), half = connect_to(listeners[0].fd),
        kept = connect_to(listeners[0].fd);
    send(half, "x", 1, 0);
    ask(kept); /* the others have been accepted as well */
    atomic_store(&later_ms, 10000);
    assert_string_equal(answer(silent), "");
    assert_string_equal(answer(half), "");
    assert_string_equal(ask(kept), "status, status at /s, ping at /p\n");
    ask_once(control_listener); /* so the thread is done with the other one */
    atomic_store(&later_ms, 100000);
    assert_string_equal(answer(kept), "");
    close(silent);
    close(half);
    close(kept);
    stop();
}

static void test_a_client_that_vanishes_in_its_request_frees_it(void **state)
{
    (void)state;
    start(CONTROL_HOST);
    int before = atomic_load(&released), fd = connect_to(listeners[0].fd);
    send(fd, "xx", 2, 0);
    close(fd);
    while (atomic_load(&released) == before)
        usleep(1000);
    assert_string_equal(ask_once(listeners[0].fd), "status, status at /s, ping at /p\n");
    stop();
}

static void test_the_stop_closes_clients_in_the_middle_of_their_requests(void **state)
{
    (void)state;
    start(CONTROL_HOST);
    int before = atomic_load(&released), half = connect_to(listeners[0].fd);
    send(half, "x", 1, 0);
    ask_once(listeners[0].fd);
    control_stop();
    assert_int_equal(atomic_load(&open_now), 0);
    assert_int_equal(atomic_load(&released), before + 2);
    assert_string_equal(answer(half), "");
    close(half);
    assert_int_equal(count_open(), open_before + (int)COUNT(listeners));
}

static void test_without_memory_there_is_no_thread_and_nothing_stays_open(void **state)
{
    (void)state;
    is_receiver_refused = true;
    assert_int_equal(control_start(&config, &status, CONTROL_HOST), -1);
    assert_int_equal(errno, ENOMEM);
    close(control_listener);
    assert_string_equal(told, "");
    assert_int_equal(count_open(), open_before + (int)COUNT(listeners));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_host_answers_on_its_control_socket_and_on_status_listen),
        TEST(test_a_kept_connection_is_answered_again_and_again),
        TEST(test_whoever_may_not_ask_is_not_answered),
        TEST(test_over_tcp_allow_holds_for_the_status_too),
        TEST(test_a_worker_has_a_socket_without_a_file_and_a_manager_both),
        TEST(test_a_manager_answers_its_workers_alone_on_their_socket),
        TEST(test_a_new_configuration_closes_the_old_sockets_and_keeps_who_was_accepted),
        TEST(test_of_two_new_configurations_the_last_one_holds_and_neither_leaks),
        TEST(test_a_configuration_that_cannot_be_used_changes_nothing),
        TEST(test_more_listeners_than_it_takes_leave_the_first_ones),
        TEST(test_clients_of_the_status_leave_places_for_those_of_the_control_socket),
        TEST(test_the_status_s_client_that_is_silent_for_longest_makes_room_for_the_next),
        TEST(test_whoever_may_not_ask_takes_nobody_s_place),
        TEST(test_clients_that_come_on_every_socket_at_once_get_the_places_there_are),
        TEST(test_all_sockets_together_never_exceed_the_clients_there_is_room_for),
        TEST(test_a_client_that_never_asks_loses_its_place),
        TEST(test_a_client_that_vanishes_in_its_request_frees_it),
        TEST(test_the_stop_closes_clients_in_the_middle_of_their_requests),
        TEST(test_without_memory_there_is_no_thread_and_nothing_stays_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

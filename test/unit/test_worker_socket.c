/* What a manager believes of what its workers answer: the worker is a thread that sends what the
 * test wants.
 *
 * links: worker_socket.c */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "status/worker_socket.h"

enum { THREADS = 3, THREADS_MAX = 1024 };

/* Time passes when a test wants it: half a second of a busy machine is no silence. */
static atomic_ullong later_ms;
static bool is_patient;

int clock_gettime(clockid_t id, struct timespec *now)
{
    (void)id;
    unsigned long long ms = 1000000 + atomic_load(&later_ms);
    *now = (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    return 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t bytes)
{
    struct timeval long_time = {.tv_sec = 60};
    if (is_patient && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
        value = &long_time;
    return (int)syscall(SYS_setsockopt, fd, level, name, value, bytes);
}

/* A worker is its own manager here. */
pid_t getppid(void)
{
    return getpid();
}

/* The worker */

static int listener_fd;
static pthread_t thread;
static struct bytes reply;
static size_t piece_bytes; /* of the answer, sent at a time; 0: nothing is */
static unsigned pause_ms;  /* that pass between them */
static bool is_left_open;  /* until the other side has closed */
static char question[256];

static void *answer(void *unused)
{
    int fd = accept(listener_fd, NULL, NULL);
    ssize_t n = recv(fd, question, sizeof(question) - 1, 0);
    question[n > 0 ? n : 0] = '\0';
    for (size_t sent = 0; piece_bytes > 0 && sent < reply.n;) {
        size_t left = reply.n - sent, piece = left < piece_bytes ? left : piece_bytes;
        ssize_t taken = send(fd, reply.data + sent, piece, MSG_NOSIGNAL);
        if (taken < 0)
            break;
        sent += (size_t)taken;
        atomic_fetch_add(&later_ms, pause_ms);
    }
    char byte;
    while (is_left_open && recv(fd, &byte, 1, 0) > 0)
        continue;
    close(fd);
    return unused;
}

static int set_up(void **state)
{
    (void)state;
    piece_bytes = SIZE_MAX;
    pause_ms = 0;
    is_patient = true;
    is_left_open = false;
    question[0] = '\0';
    listener_fd = worker_socket_open();
    if (listener_fd < 0)
        return -1;
    fcntl(listener_fd, F_SETFL, 0); /* this thread waits in accept() */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    clear_bytes(&reply);
    return close(listener_fd);
}

static void begin(void)
{
    assert_int_equal(pthread_create(&thread, NULL, answer, NULL), 0);
}

static struct process_figures *fetch(void)
{
    begin();
    struct process_figures *got = worker_fetch_figures((long)getpid());
    pthread_join(thread, NULL);
    return got;
}

static char *ask_manager(size_t *bytes)
{
    begin();
    char *got = worker_ask_manager("json", bytes);
    pthread_join(thread, NULL);
    return got;
}

/* Figures that nothing is wrong with. */
static struct process_figures *make_figures(void)
{
    struct process_figures *process =
        calloc(1, sizeof(*process) + THREADS * sizeof(process->threads[0]));
    process->pid = (long)getpid();
    snprintf(process->state, sizeof(process->state), "serving");
    process->totals.requests = 4711;
    process->application_count = process->import_count = process->item_count = 1;
    process->thread_count = THREADS;
    snprintf(process->applications[0].name, sizeof(process->applications[0].name), "shop");
    snprintf(process->threads[THREADS - 1].request, sizeof(process->threads[0].request), "GET /x");
    return process;
}

static void put_answer(const char *head, const void *body, size_t n)
{
    clear_bytes(&reply);
    put_text(&reply, head);
    put_bytes(&reply, body, n);
}

static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n";

static void test_figures_come_as_the_worker_has_them(void **state)
{
    (void)state;
    struct process_figures *process = make_figures();
    size_t n = worker_figures_bytes(process);
    assert_int_equal(n, sizeof(*process) + THREADS * sizeof(process->threads[0]));
    put_answer(ok, process, n);
    static const size_t pieces[] = {SIZE_MAX, 4096, 100};
    for (size_t i = 0; i < COUNT(pieces); i++) {
        piece_bytes = pieces[i];
        struct process_figures *got = fetch();
        assert_non_null(got);
        assert_memory_equal(got, process, n);
        free(got);
        assert_string_equal(question, "GET /figures HTTP/1.0\r\n\r\n");
    }
    free(process);
}

static void test_as_many_threads_as_a_worker_may_have(void **state)
{
    (void)state;
    size_t n = sizeof(struct process_figures) + THREADS_MAX * sizeof(struct thread_figures);
    struct process_figures *process = calloc(1, n + sizeof(struct thread_figures)), *got;
    process->pid = (long)getpid();
    process->thread_count = THREADS_MAX;
    put_answer(ok, process, n);
    assert_non_null(got = fetch());
    free(got);
    process->thread_count++;
    put_answer(ok, process, n + sizeof(struct thread_figures));
    assert_null(fetch());
    free(process);
}

static void test_figures_that_are_cut_or_too_long_are_none(void **state)
{
    (void)state;
    struct process_figures *process = make_figures();
    size_t n = worker_figures_bytes(process), head = strlen(ok);
    for (int change = -1; change <= 1; change += 2) {
        put_answer(ok, process, n);
        put_fill(&reply, 0, 1);
        reply.n = reply.n - 1 + (size_t)change;
        assert_null(fetch());
    }
    static const size_t cuts[] = {0, 1, 15, 16};
    for (size_t i = 0; i < COUNT(cuts); i++) {
        put_answer(ok, process, n);
        reply.n = cuts[i];
        assert_null(fetch());
    }
    for (size_t left = head - 2; left <= head + sizeof(*process); left += sizeof(*process) / 3) {
        put_answer(ok, process, n);
        reply.n = left;
        assert_null(fetch());
    }
    free(process);
}

static void test_counts_that_would_lead_out_of_the_figures_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct process_figures *process = make_figures();
        size_t n = worker_figures_bytes(process);
        if (i == 0)
            process->thread_count = SIZE_MAX;
        if (i == 1)
            process->thread_count = SIZE_MAX / sizeof(process->threads[0]) + THREADS + 1;
        if (i == 2)
            process->application_count = CONFIG_APPLICATIONS_MAX + 1;
        if (i == 3)
            process->import_count = FIGURES_IMPORTS_MAX + 1;
        if (i == 4)
            process->item_count = FIGURES_ITEMS_MAX + 1;
        if (i == 5)
            process->pid++;
        put_answer(ok, process, n);
        assert_null(fetch());
        free(process);
    }
}

static size_t length(const char *text, size_t room)
{
    return strnlen(text, room);
}

#define ASSERT_ENDS(text) assert_int_equal(length(text, sizeof(text)), sizeof(text) - 1)

static void assert_flag(const bool *flag)
{
    assert_int_equal(*(const uint8_t *)flag, 1);
}

static void test_texts_without_an_end_get_one_and_flags_are_true_or_false(void **state)
{
    (void)state;
    struct process_figures *process = make_figures();
    size_t n = worker_figures_bytes(process);
    memset(process->state, 'x', sizeof(process->state));
    memset(process->applications, 0xff, sizeof(process->applications));
    memset(process->imports, 0xff, sizeof(process->imports));
    memset(process->items, 0xff, sizeof(process->items));
    memset(process->threads, 0xff, THREADS * sizeof(process->threads[0]));
    put_answer(ok, process, n);
    struct process_figures *got = fetch();
    assert_non_null(got);
    ASSERT_ENDS(got->state);
    const struct program_figures *programs[] = {&got->applications[0], &got->imports[0]};
    for (size_t i = 0; i < COUNT(programs); i++) {
        ASSERT_ENDS(programs[i]->name);
        ASSERT_ENDS(programs[i]->mount);
        ASSERT_ENDS(programs[i]->last_error);
        assert_flag(&programs[i]->has_mount);
        assert_flag(&programs[i]->is_required);
        assert_flag(&programs[i]->is_outdated);
    }
    ASSERT_ENDS(got->items[0].name);
    ASSERT_ENDS(got->items[0].state);
    ASSERT_ENDS(got->items[0].detail);
    for (int i = 0; i < THREADS; i++) {
        ASSERT_ENDS(got->threads[i].request);
        ASSERT_ENDS(got->threads[i].request_id);
        assert_flag(&got->threads[i].is_busy);
    }
    free(got);
    free(process);
}

static void test_another_answer_than_200_is_none(void **state)
{
    (void)state;
    size_t bytes;
    struct process_figures *process = make_figures();
    put_answer("HTTP/1.1 500 Internal Server Error\r\n\r\n", process,
               worker_figures_bytes(process));
    assert_null(fetch());
    free(process);
    static const char *const heads[] = {"HTTP/1.1 500 Internal Server Error\r\n\r\n",
                                        "HTTP/1.1 400 Bad Request\r\n\r\n",
                                        "HTTP/1.1 2000 OK\r\n\r\n", "200 OK\r\n\r\n", "\r\n\r\n"};
    for (size_t i = 0; i < COUNT(heads); i++) {
        put_answer(heads[i], "Out of memory.\n", 15);
        assert_null(ask_manager(&bytes));
    }
}

static void test_nobody_or_another_process_at_the_worker_s_address_is_not_believed(void **state)
{
    (void)state;
    enum { ABSENT = 2000000000 }; /* beyond any process number */
    assert_null(worker_fetch_figures(ABSENT));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n =
        snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "fcgihost-worker-%d", ABSENT);
    close(listener_fd);
    listener_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener_fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)),
                     0);
    assert_int_equal(listen(listener_fd, 1), 0);
    struct process_figures *process = make_figures();
    process->pid = ABSENT;
    put_answer(ok, process, worker_figures_bytes(process));
    begin();
    assert_null(worker_fetch_figures(ABSENT));
    pthread_join(thread, NULL);
    assert_string_equal(question, ""); /* nor asked */
    free(process);
}

static void test_who_is_silent_or_sends_byte_by_byte_is_waited_for_half_a_second(void **state)
{
    (void)state;
    struct process_figures *process = make_figures();
    put_answer(ok, process, worker_figures_bytes(process));
    is_left_open = true;
    piece_bytes = 1;
    pause_ms = 50;
    assert_null(fetch());
    is_patient = false;
    piece_bytes = 0;
    assert_null(fetch());
    free(process);
}

static void test_the_manager_is_asked_in_the_format_and_its_answer_comes_whole(void **state)
{
    (void)state;
    static char large[1 << 20];
    size_t bytes;
    memset(large, 'x', sizeof(large));
    put_answer(ok, large, sizeof(large));
    char *got = ask_manager(&bytes);
    assert_string_equal(question, "GET /?format=json HTTP/1.0\r\n\r\n");
    assert_non_null(got);
    assert_int_equal(bytes, sizeof(large));
    assert_memory_equal(got, large, sizeof(large));
    free(got);
    put_answer(ok, "", 0);
    assert_non_null(got = ask_manager(&bytes));
    assert_int_equal(bytes, 0);
    free(got);
}

static void test_an_answer_whose_end_does_not_come_is_none_rather_than_cut(void **state)
{
    (void)state;
    size_t bytes;
    put_answer(ok, "{\"version\":", 11);
    is_left_open = true;
    is_patient = false;
    assert_null(ask_manager(&bytes));
    is_patient = true;
    static char huge[5 << 20];
    put_answer(ok, huge, sizeof(huge));
    assert_null(ask_manager(&bytes));
}

static void test_no_descriptor_is_left_and_the_address_is_the_process_s_own(void **state)
{
    (void)state;
    int before = dup(0), after;
    close(before);
    assert_int_equal(worker_socket_open(), -1);
    assert_int_equal(errno, EADDRINUSE);
    put_answer("HTTP/1.1 500 no\r\n\r\n", "", 0);
    assert_null(fetch());
    assert_null(worker_fetch_figures(2000000000));
    after = dup(0);
    close(after);
    assert_int_equal(after, before);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_figures_come_as_the_worker_has_them),
        TEST(test_as_many_threads_as_a_worker_may_have),
        TEST(test_figures_that_are_cut_or_too_long_are_none),
        TEST(test_counts_that_would_lead_out_of_the_figures_are_refused),
        TEST(test_texts_without_an_end_get_one_and_flags_are_true_or_false),
        TEST(test_another_answer_than_200_is_none),
        TEST(test_nobody_or_another_process_at_the_worker_s_address_is_not_believed),
        TEST(test_who_is_silent_or_sends_byte_by_byte_is_waited_for_half_a_second),
        TEST(test_the_manager_is_asked_in_the_format_and_its_answer_comes_whole),
        TEST(test_an_answer_whose_end_does_not_come_is_none_rather_than_cut),
        TEST(test_no_descriptor_is_left_and_the_address_is_the_process_s_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

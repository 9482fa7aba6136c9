/* links: libfcgi_os.c */
/* What the host relies on in libfcgi, some of which its documentation does not promise: a new one
 * that does otherwise fails here. */
#include "unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcgiapp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/libfcgi_os.h"
#include "protocol/record.h"

enum { ID = 7 };

static int set_up_library(void **state)
{
    (void)state;
    setenv("FCGI_WEB_SERVER_ADDRS", "127.0.0.1", 1); /* which it copies */
    return libfcgi_os_init();
}

static int accept_head(FCGX_Request *request, const struct bytes *head)
{
    return libfcgi_os_accept(request, head->data, head->n, 0);
}

/* The n-th malloc() from now on fails, whoever calls it; 0: none. A sanitizer has its own. */
static unsigned long fails_at;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { CAN_FAIL = true };
void *__libc_malloc(size_t n);

static bool is_failing(void)
{
    return fails_at > 0 && --fails_at == 0;
}

/* Visible to libfcgi, unlike the program's functions. */
__attribute__((visibility("default"))) void *malloc(size_t n)
{
    return is_failing() ? NULL : __libc_malloc(n);
}

#else
enum { CAN_FAIL = false };
#endif

static struct bytes make_head(int id, int flags, const struct bytes *parameters, size_t size,
                              size_t padding)
{
    struct bytes head = {0};
    put_begin(&head, id, ROLE_RESPONDER, flags);
    for (size_t p = 0; p < parameters->n;) {
        size_t n = parameters->n - p < size ? parameters->n - p : size;
        put_record(&head, RECORD_PARAMS, id, parameters->data + p, n, padding);
        p += n;
    }
    put_record(&head, RECORD_PARAMS, id, "", 0, padding);
    return head;
}

/* expected: without FCGI_ROLE, ended by NULL. */
static void assert_envp(char **envp, const char *const *expected)
{
    assert_string_equal(envp[0], "FCGI_ROLE=RESPONDER");
    for (; *expected != NULL; expected++) {
        envp++;
        assert_non_null(*envp);
        assert_string_equal(*envp, *expected);
    }
    assert_null(envp[1]);
}

static void test_parameters_come_behind_the_role_in_their_order(void **state)
{
    (void)state;
    struct bytes parameters = {0};
    put_pair(&parameters, "REQUEST_METHOD", "GET");
    put_pair(&parameters, "HTTP_COOKIE", "a=b; c=d");
    put_pair(&parameters, "QUERY_STRING", "");
    put_pair(&parameters, "HTTP_COOKIE", "again");
    put_pair(&parameters, "", "without a name");
    put_pair(&parameters, "", "");
    static const char *const expected[] = {"REQUEST_METHOD=GET",
                                           "HTTP_COOKIE=a=b; c=d",
                                           "QUERY_STRING=",
                                           "HTTP_COOKIE=again",
                                           "=without a name",
                                           "=",
                                           NULL};
    for (size_t size = 1; size <= parameters.n; size += 3) {
        struct bytes head = make_head(ID, 1, &parameters, size, size % 4);
        FCGX_Request request;
        assert_int_equal(accept_head(&request, &head), 0);
        assert_envp(request.envp, expected);
        FCGX_Free(&request, 0);
        clear_bytes(&head);
    }
    clear_bytes(&parameters);
}

static void test_a_head_without_parameters_has_the_role_alone(void **state)
{
    (void)state;
    struct bytes none = {0};
    struct bytes head = make_head(ID, 0, &none, 1, 255);
    FCGX_Request request;
    assert_int_equal(accept_head(&request, &head), 0);
    assert_envp(request.envp, &(const char *){NULL});
    FCGX_Free(&request, 0);
    clear_bytes(&head);
}

static void test_large_heads(void **state)
{
    (void)state;
    static const size_t sizes[] = {126, 127, 128, 8183, 8184, 8192, 8193, 60000, 1000000};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct bytes parameters = {0}, value = {0};
        put_fill(&value, 'v', sizes[i]);
        put_bytes(&value, "", 1);
        put_pair(&parameters, "NAME", (const char *)value.data);
        put_pair(&parameters, (const char *)value.data, "x");
        struct bytes head = make_head(ID, 1, &parameters, 65535, 1);
        FCGX_Request request;
        assert_int_equal(accept_head(&request, &head), 0);
        assert_memory_equal(request.envp[1], "NAME=", 5);
        assert_string_equal(request.envp[1] + 5, (const char *)value.data);
        assert_memory_equal(request.envp[2], value.data, sizes[i]);
        assert_string_equal(request.envp[2] + sizes[i], "=x");
        assert_null(request.envp[3]);
        FCGX_Free(&request, 0);
        clear_bytes(&parameters);
        clear_bytes(&value);
        clear_bytes(&head);
    }
}

static void test_many_parameters(void **state)
{
    (void)state;
    struct bytes parameters = {0};
    enum { MANY = 5000 };
    for (int i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof(name), "N%d", i);
        put_pair(&parameters, name, name + 1);
    }
    struct bytes head = make_head(ID, 1, &parameters, 1000, 0);
    FCGX_Request request;
    assert_int_equal(accept_head(&request, &head), 0);
    for (int i = 0; i < MANY; i++) {
        char entry[32];
        snprintf(entry, sizeof(entry), "N%d=%d", i, i);
        assert_string_equal(request.envp[1 + i], entry);
    }
    assert_null(request.envp[1 + MANY]);
    FCGX_Free(&request, 0);
    clear_bytes(&head);
    clear_bytes(&parameters);
}

static void test_the_id_and_the_wish_to_keep_the_connection_are_as_sent(void **state)
{
    (void)state;
    static const int ids[] = {1, 2, 255, 256, 65535};
    struct bytes none = {0};
    for (size_t i = 0; i < COUNT(ids); i++) {
        for (int flags = 0; flags < 2; flags++) {
            struct bytes head = make_head(ids[i], flags, &none, 1, 0);
            FCGX_Request request;
            assert_int_equal(accept_head(&request, &head), 0);
            assert_int_equal(request.requestId, ids[i]);
            assert_int_equal(request.keepConnection, flags);
            assert_int_equal(request.role, ROLE_RESPONDER);
            FCGX_Free(&request, 0);
            clear_bytes(&head);
        }
    }
}

static void test_what_lies_behind_the_head_is_neither_used_nor_answered(void **state)
{
    (void)state;
    struct bytes parameters = {0};
    put_pair(&parameters, "N", "v");
    static const char *const expected[] = {"N=v", NULL};
    for (int kind = 0; kind < 6; kind++) {
        struct bytes head = make_head(ID, 1, &parameters, SIZE_MAX, 0);
        if (kind == 1)
            put_fill(&head, 0xff, 30000);
        if (kind == 2)
            put_record(&head, RECORD_GET_VALUES, 0, "\016\0FCGI_MAX_CONNS", 16, 0);
        if (kind == 3)
            put_begin(&head, ID + 1, ROLE_RESPONDER, 0);
        if (kind == 4)
            put_record(&head, RECORD_PARAMS, ID, "\1\1Xx", 4, 0);
        if (kind == 5)
            put_fill(&head, 0, 1);
        FCGX_Request request;
        assert_int_equal(accept_head(&request, &head), 0);
        assert_envp(request.envp, expected);
        FCGX_Free(&request, 0);
        clear_bytes(&head);
    }
    clear_bytes(&parameters);
}

static void test_freeing_closes_nothing_and_can_be_done_again(void **state)
{
    (void)state;
    struct bytes parameters = {0};
    put_pair(&parameters, "N", "v");
    struct bytes head = make_head(ID, 0, &parameters, SIZE_MAX, 0);
    for (int round = 0; round < 1000; round++) { /* what leaks, the sanitizer sees */
        FCGX_Request request;
        assert_int_equal(accept_head(&request, &head), 0);
        FCGX_Free(&request, 0);
        assert_false(libfcgi_os_has_refused());
        FCGX_Free(&request, 0);
        assert_false(libfcgi_os_has_refused());
    }
    clear_bytes(&head);
    clear_bytes(&parameters);
}

static void test_a_request_that_is_all_zero_can_be_freed(void **state)
{
    (void)state;
    /* A spare request that was never served: FCGX_InitRequest has not seen it. */
    FCGX_Request request;
    memset(&request, 0, sizeof(request));
    FCGX_Free(&request, 0);
    assert_false(libfcgi_os_has_refused());
}

/* What a head that is cut short must never do is pass; the gate lets none through. */
static void test_a_head_that_is_cut_short_fails(void **state)
{
    (void)state;
    struct bytes parameters = {0};
    put_pair(&parameters, "NAME", "value");
    put_pair(&parameters, "MORE", "of it");
    for (size_t size = 3; size < 30; size += 13) {
        struct bytes head = make_head(ID, 1, &parameters, size, 2);
        size_t n = head.n - 2; /* the padding of the last record is not needed */
        for (head.n = 0; head.n < n; head.n++) {
            FCGX_Request request;
            assert_int_not_equal(accept_head(&request, &head), 0);
            FCGX_Free(&request, 0);
        }
        clear_bytes(&head);
    }
    clear_bytes(&parameters);
}

static void test_bytes_that_are_no_head_fail(void **state)
{
    (void)state;
    static const uint8_t fills[] = {0, 1, 2, 0xff};
    for (size_t i = 0; i < COUNT(fills); i++) {
        struct bytes content = {0};
        put_fill(&content, fills[i], 64);
        FCGX_Request request;
        assert_int_not_equal(accept_head(&request, &content), 0);
        FCGX_Free(&request, 0);
        clear_bytes(&content);
    }
}

static void test_its_signal_handlers_stay_out(void **state)
{
    (void)state;
    static const int signals[] = {SIGPIPE, SIGUSR1, SIGTERM};
    for (size_t i = 0; i < COUNT(signals); i++) {
        struct sigaction action;
        assert_int_equal(sigaction(signals[i], NULL, &action), 0);
        assert_true(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN);
    }
}

/* As it wants to answer a second request on the connection. */
static void test_that_it_wants_more_than_to_read_is_noticed(void **state)
{
    (void)state;
    struct bytes head = {0};
    put_begin(&head, ID, ROLE_RESPONDER, 1);
    put_begin(&head, ID + 1, ROLE_RESPONDER, 1);
    put_record(&head, RECORD_PARAMS, ID, "", 0, 0);
    FCGX_Request request;
    assert_int_not_equal(accept_head(&request, &head), 0);
    assert_true(libfcgi_os_has_refused());
    FCGX_Free(&request, 0);
    clear_bytes(&head);
}

/* It asserts that it has got memory, which would end the process. */
static void test_a_head_for_which_there_is_no_memory_is_refused(void **state)
{
    (void)state;
    struct bytes parameters = {0};
    for (int i = 0; i < 3000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "HTTP_%d", i);
        put_pair(&parameters, name, i % 100 == 0 ? "a value that is longer" : "v");
    }
    struct bytes head = make_head(ID, 1, &parameters, 10000, 0);
    int failures = 0;
    for (unsigned long at = 1; CAN_FAIL; at++) {
        FCGX_Request request;
        fails_at = at;
        int result = accept_head(&request, &head);
        bool has_failed = fails_at == 0;
        fails_at = 0;
        assert_int_equal(result, has_failed ? -1 : 0);
        FCGX_Free(&request, 0);
        failures += has_failed;
        if (!has_failed)
            break;
    }
    assert_true(failures > 3 || !CAN_FAIL);
    clear_bytes(&head);
    clear_bytes(&parameters);
}

/* So that a security update of it reaches the host without another build. */
static void test_it_is_the_shared_library(void **state)
{
    (void)state;
    Dl_info here, library;
    assert_int_not_equal(dladdr((void *)(uintptr_t)libfcgi_os_init, &here), 0);
    assert_int_not_equal(dladdr(dlsym(RTLD_DEFAULT, "FCGX_Accept_r"), &library), 0);
    assert_ptr_not_equal(here.dli_fbase, library.dli_fbase);
    assert_non_null(strstr(library.dli_fname, "libfcgi.so"));
}

static void limit_memory(size_t more_bytes)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL || fscanf(statm, "%lu", &pages) != 1)
        _exit(2);
    fclose(statm);
    rlim_t bytes = pages * (size_t)sysconf(_SC_PAGESIZE) + more_bytes;
    if (setrlimit(RLIMIT_AS, &(struct rlimit){bytes, RLIM_INFINITY}) < 0)
        _exit(2);
}

static bool take_head(const struct bytes *head, size_t param_count)
{
    FCGX_Request request;
    bool is_taken = libfcgi_os_accept(&request, head->data, head->n, param_count) == 0;
    if (!is_taken && errno != ENOMEM)
        _exit(3);
    FCGX_Free(&request, 0);
    return is_taken;
}

/* What is left in the heap is taken, and given back piece by piece. Counts the heads that were
 * taken, and those for which there was no memory. */
static void take_heads_while_memory_comes_back(const struct bytes *head, size_t param_count,
                                               unsigned counts[2])
{
    enum { PIECES = 200000, PIECE_BYTES = 1000 };
    static void *pieces[PIECES];
    size_t n = 0;
    limit_memory(0);
    while (n < PIECES && (pieces[n] = malloc(PIECE_BYTES)) != NULL)
        n++;
    while (n > 0) {
        for (size_t i = 0; i < 4 && n > 0; i++)
            free(pieces[--n]);
        counts[take_head(head, param_count)]++;
    }
    for (size_t more_bytes = 0; more_bytes < 8 << 20; more_bytes += 64 << 10) {
        limit_memory(more_bytes);
        counts[take_head(head, param_count)]++;
    }
}

static void assert_memory_is_enough_or_none(size_t value_bytes, size_t count)
{
    struct bytes parameters = {0}, value = {0};
    put_fill(&value, 'v', value_bytes);
    put_bytes(&value, "", 1);
    for (size_t i = 0; i < count; i++)
        put_pair(&parameters, "", (const char *)value.data);
    struct bytes head = make_head(ID, 1, &parameters, 65535, 0);
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        unsigned counts[2] = {0, 0};
        take_heads_while_memory_comes_back(&head, count, counts);
        _exit(counts[0] > 0 && counts[1] > 0 ? 0 : 4); /* both were seen */
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0)
        fail_msg("%zu parameters of %zu bytes: status %#x", count, value_bytes, (unsigned)status);
    clear_bytes(&head);
    clear_bytes(&value);
    clear_bytes(&parameters);
}

/* It would end the process, or write to a null pointer. */
static void test_it_never_meets_a_lack_of_memory(void **state)
{
    (void)state;
    if (!CAN_FAIL)
        skip();
    assert_memory_is_enough_or_none(0, 1);
    assert_memory_is_enough_or_none(30, 30);
    assert_memory_is_enough_or_none(1000, 60);
    assert_memory_is_enough_or_none(0, 1000);
    assert_memory_is_enough_or_none(0, 30000);
    assert_memory_is_enough_or_none(1000000, 1);
    assert_memory_is_enough_or_none(100000, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters_come_behind_the_role_in_their_order),
        cmocka_unit_test(test_a_head_without_parameters_has_the_role_alone),
        cmocka_unit_test(test_large_heads),
        cmocka_unit_test(test_many_parameters),
        cmocka_unit_test(test_the_id_and_the_wish_to_keep_the_connection_are_as_sent),
        cmocka_unit_test(test_what_lies_behind_the_head_is_neither_used_nor_answered),
        cmocka_unit_test(test_freeing_closes_nothing_and_can_be_done_again),
        cmocka_unit_test(test_a_request_that_is_all_zero_can_be_freed),
        cmocka_unit_test(test_a_head_that_is_cut_short_fails),
        cmocka_unit_test(test_bytes_that_are_no_head_fail),
        cmocka_unit_test(test_its_signal_handlers_stay_out),
        cmocka_unit_test(test_that_it_wants_more_than_to_read_is_noticed),
        cmocka_unit_test(test_a_head_for_which_there_is_no_memory_is_refused),
        cmocka_unit_test(test_it_is_the_shared_library),
        cmocka_unit_test(test_it_never_meets_a_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up_library, NULL);
}

/* links: */
/* What the host relies on in libfcgi, some of which its documentation does not promise: a new one
 * that does otherwise fails here. The host feeds it whole heads out of a memory file. */
#include "unit.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "record.h"

enum { ID = 7 };

static int set_up_library(void **state)
{
    (void)state;
    return FCGX_Init();
}

static int make_file(const struct bytes *content)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content->data, content->n), content->n);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void assert_file_holds(int fd, const struct bytes *expected)
{
    struct bytes got = {0};
    put_fill(&got, 0, expected->n + 1);
    assert_int_equal(pread(fd, got.data, got.n, 0), expected->n);
    got.n = expected->n;
    assert_bytes_equal(&got, expected);
    clear_bytes(&got);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* As fastcgi.c does. */
static int accept_head(FCGX_Request *request, int fd)
{
    FCGX_InitRequest(request, -1, FCGI_FAIL_ACCEPT_ON_INTR);
    request->ipcFd = fd;
    request->keepConnection = 1;
    if (FCGX_Accept_r(request) < 0)
        return -1;
    int error = FCGX_GetError(request->in);
    request->ipcFd = -1;
    return error == 0 ? 0 : -2;
}

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
        int fd = make_file(&head);
        FCGX_Request request;
        assert_int_equal(accept_head(&request, fd), 0);
        assert_envp(request.envp, expected);
        FCGX_Free(&request, 0);
        close(fd);
        clear_bytes(&head);
    }
    clear_bytes(&parameters);
}

static void test_a_head_without_parameters_has_the_role_alone(void **state)
{
    (void)state;
    struct bytes none = {0};
    struct bytes head = make_head(ID, 0, &none, 1, 255);
    int fd = make_file(&head);
    FCGX_Request request;
    assert_int_equal(accept_head(&request, fd), 0);
    assert_envp(request.envp, &(const char *){NULL});
    FCGX_Free(&request, 0);
    close(fd);
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
        int fd = make_file(&head);
        FCGX_Request request;
        assert_int_equal(accept_head(&request, fd), 0);
        assert_memory_equal(request.envp[1], "NAME=", 5);
        assert_string_equal(request.envp[1] + 5, (const char *)value.data);
        assert_memory_equal(request.envp[2], value.data, sizes[i]);
        assert_string_equal(request.envp[2] + sizes[i], "=x");
        assert_null(request.envp[3]);
        FCGX_Free(&request, 0);
        close(fd);
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
    int fd = make_file(&head);
    FCGX_Request request;
    assert_int_equal(accept_head(&request, fd), 0);
    for (int i = 0; i < MANY; i++) {
        char entry[32];
        snprintf(entry, sizeof(entry), "N%d=%d", i, i);
        assert_string_equal(request.envp[1 + i], entry);
    }
    assert_null(request.envp[1 + MANY]);
    FCGX_Free(&request, 0);
    close(fd);
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
            int fd = make_file(&head);
            FCGX_Request request;
            assert_int_equal(accept_head(&request, fd), 0);
            assert_int_equal(request.requestId, ids[i]);
            assert_int_equal(request.keepConnection, flags);
            assert_int_equal(request.role, ROLE_RESPONDER);
            FCGX_Free(&request, 0);
            close(fd);
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
        int fd = make_file(&head);
        FCGX_Request request;
        assert_int_equal(accept_head(&request, fd), 0);
        assert_envp(request.envp, expected);
        assert_file_holds(fd, &head);
        FCGX_Free(&request, 0);
        assert_file_holds(fd, &head);
        close(fd);
        clear_bytes(&head);
    }
    clear_bytes(&parameters);
}

static void test_a_head_in_the_middle_of_the_file(void **state)
{
    (void)state;
    struct bytes parameters = {0}, file = {0};
    put_pair(&parameters, "N", "v");
    static const char *const expected[] = {"N=v", NULL};
    struct bytes head = make_head(ID, 1, &parameters, SIZE_MAX, 0);
    put_fill(&file, 0xff, 12345);
    put_bytes(&file, head.data, head.n);
    put_fill(&file, 0xff, 12345);
    int fd = make_file(&file);
    assert_int_equal(lseek(fd, 12345, SEEK_SET), 12345);
    FCGX_Request request;
    assert_int_equal(accept_head(&request, fd), 0);
    assert_envp(request.envp, expected);
    FCGX_Free(&request, 0);
    close(fd);
    clear_bytes(&parameters);
    clear_bytes(&file);
    clear_bytes(&head);
}

static void test_freeing_closes_nothing_and_can_be_done_again(void **state)
{
    (void)state;
    struct bytes parameters = {0};
    put_pair(&parameters, "N", "v");
    struct bytes head = make_head(ID, 0, &parameters, SIZE_MAX, 0);
    int fd = make_file(&head);
    for (int round = 0; round < 1000; round++) { /* what leaks, the sanitizer sees */
        FCGX_Request request;
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(accept_head(&request, fd), 0);
        assert_true(is_open(fd));
        FCGX_Free(&request, 0);
        assert_true(is_open(fd));
        FCGX_Free(&request, 0);
        assert_true(is_open(fd));
    }
    assert_file_holds(fd, &head);
    close(fd);
    clear_bytes(&head);
    clear_bytes(&parameters);
}

static void test_a_request_that_is_all_zero_can_be_freed(void **state)
{
    (void)state;
    /* As it is between worker_take_request and FCGX_InitRequest. */
    int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
    FCGX_Request request;
    memset(&request, 0, sizeof(request));
    FCGX_Free(&request, 0);
    assert_true(is_open(before));
    close(before);
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
            int fd = make_file(&head);
            FCGX_Request request;
            int result = accept_head(&request, fd);
            assert_int_not_equal(result, 0);
            /* The host makes a new file when FCGX_Accept_r fails: it has closed the old one. */
            assert_int_equal(is_open(fd), result == -2);
            FCGX_Free(&request, 0);
            if (result == -2)
                close(fd);
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
        int fd = make_file(&content);
        FCGX_Request request;
        assert_int_equal(accept_head(&request, fd), -1);
        assert_false(is_open(fd));
        FCGX_Free(&request, 0);
        clear_bytes(&content);
    }
}

static void test_a_descriptor_that_is_closed_fails(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(fd);
    FCGX_Request request;
    assert_int_equal(accept_head(&request, fd), -1);
    FCGX_Free(&request, 0);
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
        cmocka_unit_test(test_a_head_in_the_middle_of_the_file),
        cmocka_unit_test(test_freeing_closes_nothing_and_can_be_done_again),
        cmocka_unit_test(test_a_request_that_is_all_zero_can_be_freed),
        cmocka_unit_test(test_a_head_that_is_cut_short_fails),
        cmocka_unit_test(test_bytes_that_are_no_head_fail),
        cmocka_unit_test(test_a_descriptor_that_is_closed_fails),
    };
    return cmocka_run_group_tests(tests, set_up_library, NULL);
}

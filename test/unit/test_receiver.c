/* A receiver's buffer and the request that it keeps to be used again.
 *
 * links: receiver.c */
#include "unit.h"

#include <sys/resource.h>

#include "connection/receiver.h"
#include "http/request.h"

static struct config config = {.request_head_bytes = 1000};
static struct receiver receiver;
static unsigned made, reset, freed;
static bool is_out_of_memory;

struct request *request_new(void)
{
    if (is_out_of_memory)
        return NULL;
    made++;
    return calloc(1, sizeof(struct request));
}

void request_reset(struct request *request)
{
    assert_non_null(request);
    reset++;
}

void request_free(struct request *request)
{
    freed += request != NULL;
    free(request);
}

static int set_up(void **state)
{
    (void)state;
    config.request_head_bytes = 1000;
    receiver = (struct receiver){.config = &config};
    made = reset = freed = 0;
    is_out_of_memory = false;
    return 0;
}

static void test_the_buffer_holds_a_head_and_what_of_a_body_comes_with_it(void **state)
{
    (void)state;
    for (size_t bytes = 1000; bytes < 200000; bytes *= 10) {
        config.request_head_bytes = bytes;
        assert_int_equal(receiver_init(&receiver), 0);
        assert_true(receiver.buffer_bytes >= bytes + REQUEST_PREFETCH_BYTES);
        memset(receiver.buffer, 0xee, receiver.buffer_bytes);
        receiver_clear(&receiver);
    }
}

static void test_a_request_is_used_again_once_it_was_given_back(void **state)
{
    (void)state;
    assert_int_equal(receiver_init(&receiver), 0);
    struct request *request = receiver_take_request(&receiver);
    assert_int_equal(made, 1);
    receiver_give_request(&receiver, request);
    assert_int_equal(reset, 1);
    assert_ptr_equal(receiver_take_request(&receiver), request);
    assert_null(receiver.spare);
    struct request *second = receiver_take_request(&receiver);
    assert_int_equal(made, 2);
    receiver_give_request(&receiver, request);
    receiver_give_request(&receiver, second); /* one is enough */
    assert_int_equal(freed, 1);
    assert_ptr_equal(receiver.spare, request);
    receiver_clear(&receiver);
    assert_int_equal(freed, 2);
}

static void test_without_memory_there_is_no_request_and_no_buffer(void **state)
{
    (void)state;
    is_out_of_memory = true;
    assert_null(receiver_take_request(&receiver));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which abort instead */
    config.request_head_bytes = SIZE_MAX / 4;
    assert_int_equal(receiver_init(&receiver), -1);
    receiver_clear(&receiver); /* does no harm */
#endif
    assert_int_equal(freed, 0);
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_buffer_holds_a_head_and_what_of_a_body_comes_with_it),
        TEST(test_a_request_is_used_again_once_it_was_given_back),
        TEST(test_without_memory_there_is_no_request_and_no_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

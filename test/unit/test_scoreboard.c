/* links: scoreboard.c counters.c descriptors.c */
/* The memory that a worker shows its manager. */
#include "unit.h"

#include "threads/scoreboard.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

static struct scoreboard *board;
static int fd;

static int set_up(void **state)
{
    (void)state;
    fd = scoreboard_open(&board);
    return fd < 0;
}

static int tear_down(void **state)
{
    (void)state;
    scoreboard_unmap(board);
    return close(fd);
}

static void test_what_a_thread_does_is_seen_through_another_mapping(void **state)
{
    (void)state;
    struct scoreboard *other = scoreboard_map(fd);
    struct scoreboard_entry entry;
    atomic_store(&board->threads, 2);
    assert_false(scoreboard_get(other, 0, &entry));
    scoreboard_set(&board->thread[1], "GET /path", 12);
    assert_true(scoreboard_get(other, 1, &entry));
    assert_string_equal(entry.text, "GET /path");
    assert_int_equal(entry.since_ms, 12);
    scoreboard_set(&board->thread[1], NULL, 0);
    assert_false(scoreboard_get(other, 1, &entry));
    scoreboard_unmap(other);
}

static void test_what_threads_counted_is_summed_when_their_process_is_gone(void **state)
{
    (void)state;
    const struct request_times times = {.ready_us = 1, .begun_us = 2, .ended_us = 3};
    struct scoreboard *other = scoreboard_map(fd), *writer = scoreboard_map(fd);
    struct counters_totals totals;
    atomic_store(&writer->threads, 2);
    counters_count(&writer->counters[0], 200, &times);
    counters_count(&writer->counters[1], 404, &times);
    counters_count(&writer->spare, 503, &times);
    counters_count(&writer->counters[2], 200, &times); /* of a thread that there is not */
    counters_add(&writer->counters[1].timeouts, 1);
    scoreboard_unmap(writer);
    scoreboard_sum(other, &totals);
    assert_int_equal(totals.requests, 3);
    assert_int_equal(totals.by_class[1], 1);
    assert_int_equal(totals.by_class[3], 1);
    assert_int_equal(totals.by_class[4], 1);
    assert_int_equal(totals.timeouts, 1);
    scoreboard_unmap(other);
}

static void test_a_long_text_is_cut(void **state)
{
    (void)state;
    char text[2 * SCOREBOARD_TEXT_BYTES];
    struct scoreboard_entry entry;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    atomic_store(&board->threads, 1);
    scoreboard_set(&board->thread[0], text, 1);
    assert_true(scoreboard_get(board, 0, &entry));
    assert_int_equal(strlen(entry.text), SCOREBOARD_TEXT_BYTES - 1);
}

/* Every byte 0xff, every byte 1, and random ones: the reader gets nothing, or printable text. */
static void test_rubbish_does_no_harm(void **state)
{
    (void)state;
    uint32_t random = 3;
    struct scoreboard_entry entry;
    for (int run = 0; run < 20; run++) {
        uint8_t *bytes = (uint8_t *)board;
        for (size_t i = 0; i < sizeof(*board); i++)
            bytes[i] = run == 0 ? 0xff : run == 1 ? 2 : (uint8_t)next_random(&random);
        assert_true(scoreboard_threads(board) <= SCOREBOARD_THREADS_MAX);
        for (unsigned i = 0; i < 2 * SCOREBOARD_THREADS_MAX; i++) {
            if (!scoreboard_get(board, i, &entry))
                continue;
            assert_true(strlen(entry.text) < SCOREBOARD_TEXT_BYTES);
            for (const char *c = entry.text; *c != '\0'; c++)
                assert_in_range(*c, ' ', '~');
        }
    }
}

static void test_it_cannot_be_made_smaller_under_its_reader(void **state)
{
    (void)state;
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, (off_t)2 * (off_t)sizeof(*board)), -1);
}

static void test_a_file_that_is_too_small_is_not_mapped(void **state)
{
    (void)state;
    int small = memfd_create("small", MFD_CLOEXEC);
    assert_null(scoreboard_map(small));
    close(small);
    assert_null(scoreboard_map(-1));
}

static void *write_texts(void *argument)
{
    (void)argument;
    char text[SCOREBOARD_TEXT_BYTES];
    for (uint64_t i = 1; i < 200000; i++) {
        memset(text, 'a' + (int)(i % 26), sizeof(text));
        text[sizeof(text) - 1] = '\0';
        scoreboard_set(&board->thread[0], text, i);
    }
    return NULL;
}

#ifndef __SANITIZE_THREAD__ /* a sequence lock is a race that is noticed and tried again */
static void test_no_text_is_half_of_one_and_half_of_another(void **state)
{
    (void)state;
    pthread_t thread;
    struct scoreboard_entry entry;
    atomic_store(&board->threads, 1);
    assert_int_equal(pthread_create(&thread, NULL, write_texts, NULL), 0);
    for (int i = 0; i < 100000; i++)
        if (scoreboard_get(board, 0, &entry))
            for (size_t j = 0; j < SCOREBOARD_TEXT_BYTES - 1; j++)
                assert_int_equal(entry.text[j], 'a' + (int)(entry.since_ms % 26));
    pthread_join(thread, NULL);
}
#endif

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_what_a_thread_does_is_seen_through_another_mapping),
        TEST(test_what_threads_counted_is_summed_when_their_process_is_gone),
        TEST(test_a_long_text_is_cut),
        TEST(test_rubbish_does_no_harm),
        TEST(test_it_cannot_be_made_smaller_under_its_reader),
        TEST(test_a_file_that_is_too_small_is_not_mapped),
#ifndef __SANITIZE_THREAD__
        TEST(test_no_text_is_half_of_one_and_half_of_another),
#endif
    };

    (void)write_texts;
    return cmocka_run_group_tests_name("board", tests, NULL, NULL);
}

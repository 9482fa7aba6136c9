/* links: spool.c descriptors.c */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/spool.h"

static char folder[64];
static struct spool_store store;
static struct spool spool;

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/test_spool.XXXXXX");
    assert_non_null(mkdtemp(folder));
    store = (struct spool_store){.folder = folder, .limit = 1000};
    spool = (struct spool){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    spool_clear(&spool);
    spool_store_clear(&store);
    return rmdir(folder); /* fails if a file has a name there */
}

static uint8_t byte_at(uint64_t i)
{
    return (uint8_t)(i * 7 + i / 256);
}

static int append(uint64_t from, size_t n)
{
    uint8_t bytes[1024];
    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_at(from + i);
    return spool_append(&spool, bytes, n);
}

static void expect(uint64_t from, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(bytes[i], byte_at(from + i));
}

static void test_a_file_takes_no_descriptor_that_is_reserved(void **state)
{
    (void)state;
    int next = dup(STDERR_FILENO);
    close(next);
    spool_begin(&spool, &store, 0);
    store.descriptor_limit = next;
    assert_int_equal(append(0, 100), -1);
    assert_int_equal(errno, EMFILE);
    assert_int_equal(atomic_load(&store.used), 0);
    assert_int_equal(fcntl(next, F_GETFD), -1); /* it was given back */
    store.descriptor_limit = next + 1;
    assert_int_equal(append(0, 100), 0);
}

static void test_it_is_empty_before_anything_is_put_in(void **state)
{
    (void)state;
    const uint8_t *bytes;
    assert_int_equal(spool_bytes(&spool), 0);
    assert_int_equal(spool_peek(&spool, &bytes), 0);
    assert_int_equal(spool_read(&spool, folder, 1), 0);
}

static void test_what_fits_into_memory_makes_no_file(void **state)
{
    (void)state;
    spool_begin(&spool, &store, 300);
    assert_int_equal(append(0, 100), 0);
    assert_int_equal(append(100, 200), 0);
    assert_false(spool_is_in_file(&spool));
    assert_int_equal(atomic_load(&store.used), 0);
}

/* Whatever the sizes of what goes in and out, and in which order. */
static void test_bytes_come_out_as_they_went_in(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (size_t memory_max = 0; memory_max <= 400; memory_max += 50) {
        uint64_t in = 0, out = 0;
        spool_begin(&spool, &store, memory_max);
        if (memory_max % 100 == 0)
            spool_allow_burst(&spool, 500);
        for (int i = 0; i < 3000; i++) {
            size_t n = next_random(&random) % 100;
            uint8_t buffer[100];
            const uint8_t *bytes;
            switch (next_random(&random) % (memory_max % 100 == 0 ? 5 : 4)) {
            case 4:
                assert_int_equal(spool_settle(&spool), 0);
                assert_false(spool_is_in_burst(&spool));
                break;
            case 0:
            case 1:
                if (in - out + n <= 600 && append(in, n) == 0)
                    in += n;
                break;
            case 2: {
                long got = spool_peek(&spool, &bytes);
                assert_true(got >= 0 && (got > 0) == (in > out));
                n = (size_t)got < n ? (size_t)got : n;
                expect(out, bytes, n);
                spool_take(&spool, n);
                out += n;
                break;
            }
            default: {
                long got = spool_read(&spool, buffer, n);
                assert_true(got >= 0 && (size_t)got <= n);
                expect(out, buffer, (size_t)got);
                out += (uint64_t)got;
            }
            }
            assert_int_equal(spool_bytes(&spool), in - out);
        }
        assert_true(in > 10000);
        spool_clear(&spool);
        assert_int_equal(atomic_load(&store.used), 0);
    }
}

static void test_a_file_gives_its_space_back_once_it_was_read(void **state)
{
    (void)state;
    uint8_t buffer[600];
    spool_begin(&spool, &store, 0);
    assert_int_equal(append(0, 600), 0);
    assert_int_equal(atomic_load(&store.used), 600);
    assert_int_equal(spool_read(&spool, buffer, 599), 599);
    assert_int_equal(atomic_load(&store.used), 600);
    assert_int_equal(spool_read(&spool, buffer, 600), 1);
    assert_int_equal(atomic_load(&store.used), 0);
    assert_false(spool.has_file);
}

static void test_all_files_together_are_bounded(void **state)
{
    (void)state;
    struct spool other = {0};
    spool_begin(&spool, &store, 0);
    spool_begin(&other, &store, 0);
    assert_int_equal(append(0, 600), 0);
    assert_int_equal(spool_append(&other, folder, 50), 0);
    assert_int_equal(append(600, 351), -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(append(600, 350), 0); /* nothing of what was refused is there */
    spool_clear(&other);
    assert_int_equal(append(950, 50), 0);
    uint8_t buffer[1000];
    assert_int_equal(spool_read(&spool, buffer, 1000), 1000);
    expect(0, buffer, 1000);
}

static void test_a_folder_that_cannot_be_written_to_is_an_error_and_uses_no_space(void **state)
{
    (void)state;
    store.folder = "/nonexistent/folder";
    spool_begin(&spool, &store, 10);
    assert_int_equal(append(0, 11), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(atomic_load(&store.used), 0);
    assert_int_equal(append(0, 10), 0);
}

static void
test_the_memory_of_all_spools_together_is_bounded_and_the_rest_goes_to_files(void **state)
{
    (void)state;
    struct spool other = {0};
    uint8_t bytes[600] = {0};
    store.memory_limit = 10000;
    store.limit = 100000;
    spool_begin(&spool, &store, 100000);
    spool_begin(&other, &store, 100000);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(append((uint64_t)i * 600, 600), 0);
        assert_int_equal(spool_append(&other, bytes, sizeof(bytes)), 0);
        assert_true(atomic_load(&store.memory_used) <= 10000);
    }
    assert_true(spool_is_in_file(&spool) && spool_is_in_file(&other));
    assert_int_equal(spool_bytes(&spool), 7200);
    for (int i = 0; i < 7200;) {
        uint8_t read[1000];
        long n = spool_read(&spool, read, sizeof(read));
        assert_true(n > 0);
        expect((uint64_t)i, read, (size_t)n);
        i += (int)n;
    }
    spool_clear(&spool);
    spool_clear(&other);
    assert_int_equal(atomic_load(&store.memory_used), 0);
    assert_int_equal(atomic_load(&store.used), 0);
}

static void begin_burst(size_t memory_max, size_t burst_max)
{
    store.limit = 1 << 20;
    spool_begin(&spool, &store, memory_max);
    spool_allow_burst(&spool, burst_max);
}

static void expect_all(size_t n)
{
    uint8_t buffer[1000];
    for (size_t got = 0; got < n;) {
        long now = spool_read(&spool, buffer, sizeof(buffer));
        assert_true(now > 0);
        expect(got, buffer, (size_t)now);
        got += (size_t)now;
    }
    assert_int_equal(spool_bytes(&spool), 0);
}

static void test_a_burst_stays_in_memory_with_its_file_and_space_ready(void **state)
{
    (void)state;
    begin_burst(300, 5000);
    assert_int_equal(append(0, 300), 0);
    assert_false(spool.has_file);
    for (size_t n = 300; n < 3000; n += 900)
        assert_int_equal(append(n, 900), 0);
    assert_true(spool.has_file && spool_is_in_burst(&spool) && !spool_is_in_file(&spool));
    assert_int_equal(atomic_load(&store.used), 2700);
    spool_end_burst(&spool);
    assert_false(spool.has_file);
    assert_int_equal(atomic_load(&store.used), 0);
    expect_all(3000);
}

static void test_a_burst_that_pauses_keeps_only_what_memory_may_hold(void **state)
{
    (void)state;
    begin_burst(300, 5000);
    for (size_t n = 0; n < 3000; n += 1000)
        assert_int_equal(append(n, 1000), 0);
    assert_int_equal(spool_settle(&spool), 0);
    assert_true(spool_is_in_file(&spool) && !spool_is_in_burst(&spool));
    assert_int_equal(spool.end - spool.begin, 300);
    assert_int_equal(atomic_load(&store.memory_used), 300);
    assert_int_equal(atomic_load(&store.used), 2700);
    assert_int_equal(append(3000, 1000), 0);
    assert_int_equal(atomic_load(&store.used), 3700);
    spool_end_burst(&spool); /* which it no longer is */
    expect_all(4000);
    assert_int_equal(atomic_load(&store.used), 0);
}

static void test_a_burst_longer_than_it_may_be_goes_to_the_file(void **state)
{
    (void)state;
    begin_burst(300, 2000);
    for (size_t n = 0; n < 4000; n += 1000)
        assert_int_equal(append(n, 1000), 0);
    assert_true(spool_is_in_file(&spool));
    assert_int_equal(atomic_load(&store.memory_used), 300);
    assert_int_equal(atomic_load(&store.used), 3700);
    expect_all(4000);
    assert_int_equal(atomic_load(&store.used), 0);
}

static void test_a_burst_without_space_or_folder_for_its_file_is_refused(void **state)
{
    (void)state;
    begin_burst(300, 5000);
    store.limit = 1000;
    assert_int_equal(append(0, 1000), 0);
    assert_int_equal(append(1000, 301), -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(append(1000, 300), 0); /* nothing of what was refused is there */
    expect_all(1300);
    begin_burst(300, 5000);
    store.folder = "/nonexistent/folder";
    assert_int_equal(append(0, 301), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(atomic_load(&store.used), 0);
}

static void test_bursts_together_have_half_of_the_memory(void **state)
{
    (void)state;
    struct spool others[4] = {0};
    uint8_t bytes[1000] = {0};
    store.memory_limit = 10000;
    for (size_t i = 0; i < COUNT(others); i++) {
        begin_burst(300, 2000);
        assert_int_equal(append(0, 1000), 0);
        assert_int_equal(append(1000, 1000), 0);
        assert_int_equal(spool_is_in_burst(&spool), i < 2);
        assert_true(atomic_load(&store.memory_used) <= 5000);
        others[i] = spool;
        spool = (struct spool){0};
    }
    begin_burst(3000, 3000); /* what it may have anyway */
    assert_int_equal(spool_append(&spool, bytes, sizeof(bytes)), 0);
    assert_false(spool_is_in_file(&spool));
    for (size_t i = 0; i < COUNT(others); i++) {
        spool_clear(&spool);
        spool = others[i];
        expect_all(2000);
    }
    spool_clear(&spool);
    assert_int_equal(atomic_load(&store.memory_used), 0);
    assert_int_equal(atomic_load(&store.used), 0);
}

static void test_a_block_serves_the_next_burst_and_goes_when_none_wants_it(void **state)
{
    (void)state;
    begin_burst(300, 2 * SPOOL_BLOCK_BYTES);
    assert_int_equal(append(0, 1000), 0);
    uint8_t *block = spool.memory;
    assert_int_equal(spool.capacity, SPOOL_BLOCK_BYTES);
    spool_clear(&spool);
    assert_int_equal(atomic_load(&store.memory_used), SPOOL_BLOCK_BYTES);
    begin_burst(300, 2 * SPOOL_BLOCK_BYTES);
    assert_int_equal(append(0, 1000), 0);
    assert_ptr_equal(spool.memory, block);
    assert_int_equal(atomic_load(&store.memory_used), SPOOL_BLOCK_BYTES);
    spool_clear(&spool);
    spool_store_trim(&store);
    assert_int_equal(atomic_load(&store.memory_used), SPOOL_BLOCK_BYTES);
    spool_store_trim(&store);
    assert_int_equal(atomic_load(&store.memory_used), 0);
}

static void test_without_a_store_only_memory_is_used(void **state)
{
    (void)state;
    spool_begin(&spool, NULL, 10);
    assert_int_equal(append(0, 10), 0);
    assert_int_equal(append(10, 1), -1);
    assert_int_equal(errno, ENOSPC);
}

/* As a successor does with memory and descriptor of its predecessor's. */
static void test_another_spool_takes_over_memory_and_file(void **state)
{
    (void)state;
    struct spool adopted = {0}, moved = {0};
    struct spool_store other = {.folder = folder, .limit = 5000};
    uint8_t buffer[500];
    spool_begin(&spool, &store, 100);
    assert_int_equal(append(0, 100), 0);
    assert_int_equal(append(100, 300), 0);
    uint8_t *memory = malloc(100);
    memcpy(memory, spool.memory, 100);
    spool_adopt(&adopted, memory, 100, fcntl(spool.fd, F_DUPFD_CLOEXEC, 3), spool.file_begin,
                spool.file_end);
    spool_move(&moved, &adopted, &other, 100);
    assert_int_equal(spool_bytes(&adopted), 0);
    assert_int_equal(atomic_load(&other.used), 300);
    spool_clear(&spool);
    uint8_t more[100];
    for (size_t i = 0; i < sizeof(more); i++)
        more[i] = byte_at(400 + i);
    assert_int_equal(spool_append(&moved, more, sizeof(more)), 0);
    size_t got = 0;
    for (long n; (n = spool_read(&moved, buffer + got, sizeof(buffer) - got)) > 0;)
        got += (size_t)n;
    assert_int_equal(got, 500);
    expect(0, buffer, 500);
    spool_clear(&moved);
    assert_int_equal(atomic_load(&other.used), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_file_takes_no_descriptor_that_is_reserved),
        TEST(test_it_is_empty_before_anything_is_put_in),
        TEST(test_what_fits_into_memory_makes_no_file),
        TEST(test_bytes_come_out_as_they_went_in),
        TEST(test_a_file_gives_its_space_back_once_it_was_read),
        TEST(test_all_files_together_are_bounded),
        TEST(test_a_folder_that_cannot_be_written_to_is_an_error_and_uses_no_space),
        TEST(test_the_memory_of_all_spools_together_is_bounded_and_the_rest_goes_to_files),
        TEST(test_a_burst_stays_in_memory_with_its_file_and_space_ready),
        TEST(test_a_burst_that_pauses_keeps_only_what_memory_may_hold),
        TEST(test_a_burst_longer_than_it_may_be_goes_to_the_file),
        TEST(test_a_burst_without_space_or_folder_for_its_file_is_refused),
        TEST(test_bursts_together_have_half_of_the_memory),
        TEST(test_a_block_serves_the_next_burst_and_goes_when_none_wants_it),
        TEST(test_without_a_store_only_memory_is_used),
        TEST(test_another_spool_takes_over_memory_and_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* How much memory the process has, as it takes some and gives it back.
 *
 * links: memory.c */
#include "unit.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/memory.h"

enum { BYTES = 64 << 20 };

static void test_pages_count_once_they_are_used_and_no_longer_than_that(void **state)
{
    (void)state;
    uint64_t before = memory_resident();
    assert_true(before > 0);
    char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    assert_true(memory_resident() < before + BYTES / 2);
    for (size_t i = 0; i < BYTES; i += 4096)
        memory[i] = 1;
    uint64_t with = memory_resident();
    assert_true(with > before + BYTES / 2);
    assert_true(with < before + 2ull * BYTES);
    assert_int_equal(munmap(memory, BYTES), 0);
    assert_true(memory_resident() < before + BYTES / 2);
}

static void test_without_descriptors_it_is_unknown_and_looking_leaves_none(void **state)
{
    (void)state;
    struct rlimit before;
    int next = dup(0), again;
    close(next);
    assert_true(memory_resident() > 0);
    again = dup(0);
    assert_int_equal(again, next);
    close(again);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t got = memory_resident();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(got, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_count_once_they_are_used_and_no_longer_than_that),
        cmocka_unit_test(test_without_descriptors_it_is_unknown_and_looking_leaves_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

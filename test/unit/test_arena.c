/* links: arena.c */
#include "unit.h"

#include "base/arena.h"

#include <malloc.h>

static void test_pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 4096, 4097, 24575, 24576, 100000, 8};
    uint8_t *pieces[COUNT(sizes) * 20];
    struct arena arena = {0};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT(pieces); i++) {
            size_t n = sizes[i % COUNT(sizes)];
            pieces[i] = arena_alloc(&arena, n);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            memset(pieces[i], (int)i, n);
        }
        for (size_t i = 0; i < COUNT(pieces); i++)
            for (size_t j = 0; j < sizes[i % COUNT(sizes)]; j++)
                assert_int_equal(pieces[i][j], (uint8_t)i);
        arena_reset(&arena);
    }
    arena_free(&arena);
}

static void test_a_reset_keeps_no_more_than_a_block(void **state)
{
    (void)state;
    enum { COUNT_OF_PIECES = 1000, PIECE_BYTES = 10000 };
    struct arena arena = {0};
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < COUNT_OF_PIECES; i++)
        assert_non_null(arena_alloc(&arena, PIECE_BYTES));
    arena_reset(&arena);
    assert_in_range(mallinfo2().uordblks, before, before + 4 * PIECE_BYTES);
    void *first = arena_alloc(&arena, 100);
    arena_reset(&arena);
    void *again = arena_alloc(&arena, 100);
    arena_free(&arena);
    assert_int_equal(mallinfo2().uordblks, before);
    arena_free(&arena);
    arena_reset(&arena);
    assert_true(again == first || mallinfo2().arena == 0); /* a sanitizer's malloc keeps quiet */
}

static void test_more_than_there_is(void **state)
{
    (void)state;
    struct arena arena = {0};
    assert_null(arena_alloc(&arena, SIZE_MAX / 2));
    assert_null(arena_alloc(&arena, SIZE_MAX - 8));
    assert_non_null(arena_alloc(&arena, 8));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_are_aligned_and_apart),
        cmocka_unit_test(test_a_reset_keeps_no_more_than_a_block),
        cmocka_unit_test(test_more_than_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

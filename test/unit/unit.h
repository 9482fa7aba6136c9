/* What the unit tests share: cmocka with the headers it wants, byte strings that are being built,
 * and heap blocks behind which no byte can be read unnoticed. */
#ifndef FCGIHOST_TEST_UNIT_H
#define FCGIHOST_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* A block of which exactly n bytes may be read: the sanitizer sees the next one. */
enum { EXACT_OFFSET = 16 };

static inline uint8_t *exact_copy(const void *bytes, size_t n)
{
    uint8_t *block = malloc(EXACT_OFFSET + n);
    assert_non_null(block);
    if (n > 0)
        memcpy(block + EXACT_OFFSET, bytes, n);
    return block + EXACT_OFFSET;
}

static inline void exact_free(uint8_t *copy)
{
    free(copy - EXACT_OFFSET);
}

/* Zero it; clear_bytes it. */
struct bytes {
    uint8_t *data;
    size_t n, capacity;
};

static inline void put_bytes(struct bytes *bytes, const void *more, size_t n)
{
    if (bytes->data == NULL || bytes->n + n > bytes->capacity) {
        bytes->capacity = 2 * (bytes->n + n) + 64;
        bytes->data = realloc(bytes->data, bytes->capacity);
        assert_non_null(bytes->data);
    }
    if (n > 0)
        memcpy(bytes->data + bytes->n, more, n);
    bytes->n += n;
}

static inline void put_text(struct bytes *bytes, const char *text)
{
    put_bytes(bytes, text, strlen(text));
}

static inline void put_fill(struct bytes *bytes, int byte, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_bytes(bytes, &(uint8_t){(uint8_t)byte}, 1);
}

static inline void clear_bytes(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

static inline void assert_bytes_equal(const struct bytes *got, const struct bytes *expected)
{
    assert_int_equal(got->n, expected->n);
    if (got->n > 0)
        assert_memory_equal(got->data, expected->data, got->n);
}

/* The same numbers in every run. */
static inline uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* FastCGI, written down a second time, so that record.c is not its own judge. */
static inline void put_record(struct bytes *bytes, int type, int id, const void *content, size_t n,
                              size_t padding)
{
    uint8_t header[8] = {1,
                         (uint8_t)type,
                         (uint8_t)(id >> 8),
                         (uint8_t)id,
                         (uint8_t)(n >> 8),
                         (uint8_t)n,
                         (uint8_t)padding,
                         0};
    put_bytes(bytes, header, sizeof(header));
    put_bytes(bytes, content, n);
    put_fill(bytes, 0xee, padding);
}

static inline void put_begin(struct bytes *bytes, int id, int role, int flags)
{
    uint8_t body[8] = {(uint8_t)(role >> 8), (uint8_t)role, (uint8_t)flags};
    put_record(bytes, 1, id, body, sizeof(body), 0);
}

static inline void put_length(struct bytes *bytes, size_t n)
{
    uint8_t four[4] = {(uint8_t)(0x80 | n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
                       (uint8_t)n};
    if (n < 0x80)
        put_bytes(bytes, four + 3, 1);
    else
        put_bytes(bytes, four, 4);
}

static inline void put_pair(struct bytes *bytes, const char *name, const char *value)
{
    put_length(bytes, strlen(name));
    put_length(bytes, strlen(value));
    put_text(bytes, name);
    put_text(bytes, value);
}

static inline void put_end_request(struct bytes *bytes, int id, int status)
{
    uint8_t body[8] = {0, 0, 0, 0, (uint8_t)status};
    put_record(bytes, 3, id, body, sizeof(body), 0);
}

#endif

/* What the harnesses share. Each is one function on bytes; libFuzzer calls it, or replay.c. */
#ifndef FCGIHOST_TEST_FUZZ_H
#define FCGIHOST_TEST_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Like assert, but never compiled away. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A block of exactly n bytes, so that the sanitizer sees who reads behind it. Free it. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    MUST(copy != NULL);
    if (n > 0)
        memcpy(copy, data, n);
    return copy;
}

/* The bytes as a string. Free it. */
static inline char *fuzz_text(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1);
    MUST(text != NULL);
    if (n > 0)
        memcpy(text, data, n);
    text[n] = '\0';
    return text;
}

#endif

/* The text of a file, read whole. */
#include "config/config_text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_BYTES = 4096, MOST_BYTES = 1 << 20 /* a device like /dev/zero never ends */ };

static char *read_all(FILE *stream, size_t *bytes)
{
    size_t capacity = FIRST_BYTES, n;
    char *text = malloc(capacity + 1);
    *bytes = 0;
    while (text != NULL && (n = fread(text + *bytes, 1, capacity - *bytes, stream)) > 0) {
        *bytes += n;
        if (*bytes > MOST_BYTES) {
            free(text);
            errno = EFBIG;
            return NULL;
        }
        if (*bytes == capacity) {
            char *larger = realloc(text, 2 * capacity + 1);
            if (larger == NULL)
                free(text);
            capacity *= 2;
            text = larger;
        }
    }
    if (text != NULL && ferror(stream)) {
        int number = errno;
        free(text);
        errno = number;
        return NULL;
    }
    if (text != NULL)
        text[*bytes] = '\0';
    return text;
}

char *config_text_read(const char *path, size_t *bytes)
{
    FILE *stream = fopen(path, "re");
    if (stream == NULL)
        return NULL;
    char *text = read_all(stream, bytes);
    int number = errno;
    fclose(stream);
    errno = number;
    return text;
}

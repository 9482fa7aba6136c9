/* What a connection has received and has not been used yet. */
#include "net/input.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

long input_receive(struct input *input, int fd)
{
    if (input->begin == input->end)
        input->begin = input->end = 0;
    else if (input->end == input->capacity)
        input_compact(input);
    if (input->end == input->capacity) {
        errno = ENOBUFS;
        return -1;
    }
    ssize_t n;
    do
        n = recv(fd, input->data + input->end, input->capacity - input->end, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        input->end += (size_t)n;
    else if (n == 0)
        input->is_at_eof = true;
    return n;
}

long input_receive_until(struct input *input, int fd, uint64_t deadline_ms)
{
    for (;;) {
        long n = input_receive(input, fd);
        if (n >= 0 || errno != EAGAIN || deadline_ms == 0)
            return n;
        uint64_t now_ms = clock_ms();
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        int ready = now_ms < deadline_ms ? poll(&pollfd, 1, (int)(deadline_ms - now_ms)) : 0;
        if (ready == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (ready < 0 && errno != EINTR)
            return -1;
    }
}

void input_compact(struct input *input)
{
    size_t n = input_available(input);
    memmove(input->data, input->data + input->begin, n);
    input->begin = 0;
    input->end = n;
}

int input_own(struct input *input, size_t capacity)
{
    if (capacity < input->end)
        capacity = input->end;
    if (input->is_owned && input->capacity >= capacity)
        return 0;
    uint8_t *data = input->is_owned ? realloc(input->data, capacity) : malloc(capacity);
    if (data == NULL)
        return -1;
    if (!input->is_owned && input->end > 0)
        memcpy(data, input->data, input->end);
    input->data = data;
    input->capacity = capacity;
    input->is_owned = true;
    return 0;
}

void input_clear(struct input *input)
{
    if (input->is_owned)
        free(input->data);
    *input = (struct input){0};
}

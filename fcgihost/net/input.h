/* What a connection has received and has not been used yet. */
#ifndef FCGIHOST_INPUT_H
#define FCGIHOST_INPUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct input {
    uint8_t *data;
    size_t capacity;
    size_t begin;  /* the first unused byte */
    size_t end;    /* after the last received byte */
    bool is_owned; /* data is this input's heap block; else it is lent by a worker */
    bool is_at_eof;
    atomic_bool is_in_use; /* see input_enter */
    /* Receives and drops what nobody will read, called by a thread that waits to send. true: more
     * may come. NULL: what comes is kept. */
    bool (*drop)(void *owner);
    void *owner;
};

/* One thread of the application may read a body while another one sends the response: where that is
 * possible, only the one that has entered may touch the buffer. false: the other one has. */
static inline bool input_enter(struct input *input)
{
    return !atomic_exchange(&input->is_in_use, true);
}

static inline void input_leave(struct input *input)
{
    atomic_store(&input->is_in_use, false);
}

static inline size_t input_available(const struct input *input)
{
    return input->end - input->begin;
}

/* Receives what is there, without waiting. The count, 0 at the end of the stream (is_at_eof is
 * set), or -1 with errno (EAGAIN: nothing; ENOBUFS: the buffer is full). */
long input_receive(struct input *input, int fd);
/* The same, but waits until deadline_ms (clock_ms()) for the first byte; -1 with ETIMEDOUT when
 * none comes. 0: does not wait. */
long input_receive_until(struct input *input, int fd, uint64_t deadline_ms);
/* Moves the unused bytes to the start, to make room after them. */
void input_compact(struct input *input);
/* Makes the buffer a heap block of the input's own, of at least capacity bytes: a lent one can
 * serve others again, an owned one grows. 0, or -1 with ENOMEM. */
int input_own(struct input *input, size_t capacity);
/* Releases the buffer; one that is owned is freed. */
void input_clear(struct input *input);

#endif

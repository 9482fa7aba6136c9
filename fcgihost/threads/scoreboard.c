/* What a worker process shows its manager. */
#include "threads/scoreboard.h"

#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_ATTEMPTS = 16 };

int scoreboard_open(struct scoreboard **board)
{
    int fd =
        descriptors_above_standard(memfd_create("fcgihost-board", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    *board = NULL;
    if (fd >= 0 && ftruncate(fd, sizeof(struct scoreboard)) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        *board = scoreboard_map(fd);
    if (*board != NULL) {
        atomic_store(&(*board)->version, SCOREBOARD_VERSION);
        return fd;
    }
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

struct scoreboard *scoreboard_map(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return NULL;
    if ((size_t)status.st_size < sizeof(struct scoreboard)) {
        errno = EINVAL;
        return NULL;
    }
    void *memory = mmap(NULL, sizeof(struct scoreboard), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

void scoreboard_unmap(struct scoreboard *board)
{
    if (board != NULL)
        munmap(board, sizeof(*board));
}

/* A sequence lock with one writer: odd while the text changes. */
void scoreboard_set(struct scoreboard_thread *thread, const char *text, uint64_t since_ms)
{
    if (text == NULL) {
        atomic_store_explicit(&thread->since_ms, 0, memory_order_release);
        return;
    }
    atomic_fetch_add_explicit(&thread->changes, 1, memory_order_acq_rel);
    size_t bytes = strnlen(text, SCOREBOARD_TEXT_BYTES - 1);
    memcpy(thread->text, text, bytes);
    thread->text[bytes] = '\0';
    atomic_store_explicit(&thread->since_ms, since_ms, memory_order_relaxed);
    atomic_fetch_add_explicit(&thread->changes, 1, memory_order_release);
}

/* ASCII alone: other bytes need not be UTF-8, and they go to the log and the status. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

bool scoreboard_get(struct scoreboard *board, unsigned number, struct scoreboard_entry *entry)
{
    if (number >= scoreboard_threads(board))
        return false;
    struct scoreboard_thread *thread = &board->thread[number];
    for (int i = 0; i < READ_ATTEMPTS; i++) {
        unsigned long long before = atomic_load_explicit(&thread->changes, memory_order_acquire);
        entry->since_ms = atomic_load_explicit(&thread->since_ms, memory_order_acquire);
        memcpy(entry->text, thread->text, sizeof(entry->text));
        atomic_thread_fence(memory_order_acquire);
        entry->text[sizeof(entry->text) - 1] = '\0';
        if (before % 2 == 0 &&
            atomic_load_explicit(&thread->changes, memory_order_relaxed) == before) {
            make_printable(entry->text);
            return entry->since_ms != 0 && entry->text[0] != '\0';
        }
    }
    return false;
}

unsigned scoreboard_threads(struct scoreboard *board)
{
    unsigned threads = atomic_load(&board->threads);
    return threads < SCOREBOARD_THREADS_MAX ? threads : SCOREBOARD_THREADS_MAX;
}

void scoreboard_sum(struct scoreboard *board, struct counters_totals *totals)
{
    *totals = (struct counters_totals){0};
    counters_sum(&board->spare, totals);
    for (unsigned i = 0; i < scoreboard_threads(board); i++)
        counters_sum(&board->counters[i], totals);
}

/* The messages that are not written yet: whoever logs waits for nobody. */
#include "base/log_queue.h"

#include "base/clock.h"
#include "base/log_json.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    ROOM_BYTES = 1 << 20,
    /* So that an object fits into a datagram, however much of it is escaped; to cut it would leave
     * no object. */
    SYSLOG_TEXT_BYTES = 16 << 10,
    LOOK_MS = 1000,    /* at the file: was it moved? */
    STUCK_MS = 100,    /* between two tries, where poll(2) says that it goes and it does not */
    PATIENCE_MS = 1000 /* at the end, and without a thread, for one who takes nothing */
};

static const unsigned long long ALL = ULLONG_MAX / 2;

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake, moved; /* for the thread; for who flushes */
    struct log_record *first, **last;
    size_t bytes;
    unsigned long long dropped, untold; /* messages; those that no message has told of yet */
    unsigned long long added, written;
    bool has_thread, is_quitting, is_reopen_wanted, is_collecting;
    bool is_writing;  /* somebody writes the first one, without the mutex */
    bool is_stalled;  /* who waited for room waited in vain, and nothing was written since */
    unsigned waiting; /* threads that wait for room */
    bool is_given_up; /* without a thread: the last one had to be dropped */
    pthread_t thread;
} queue = {.mutex = PTHREAD_MUTEX_INITIALIZER, .last = &queue.first};

static _Thread_local bool is_never_writing;

static enum log_format format;

void log_queue_set_format(enum log_format wanted)
{
    format = wanted;
}

enum log_format log_queue_format(void)
{
    return format;
}

static void append_message(struct log_line *line, const struct log_origin *origin, const char *text,
                           size_t text_bytes)
{
    bool is_syslog = log_sink_kind() == LOG_SINK_SYSLOG;
    if (format == LOG_FORMAT_JSON && is_syslog && text_bytes > SYSLOG_TEXT_BYTES)
        text_bytes = SYSLOG_TEXT_BYTES;
    if (format == LOG_FORMAT_JSON)
        log_json_append(line, origin, text, text_bytes);
    else if (is_syslog)
        log_line_append_bare(line, origin, text, text_bytes);
    else
        log_line_append_message(line, origin, text, text_bytes);
    if (format == LOG_FORMAT_JSON && !is_syslog)
        log_line_append_bytes(line, "\n", 1);
}

/* As the sink wants it. NULL: out of memory. */
static struct log_record *make_record(const struct log_origin *origin, const char *text,
                                      size_t text_bytes)
{
    struct log_line line = {.room = 0};
    append_message(&line, origin, text, text_bytes);
    struct log_record *record = malloc(sizeof(*record) + line.used);
    if (record == NULL)
        return NULL;
    *record = (struct log_record){.origin = *origin, .bytes = line.used};
    record->origin.topic = (struct log_topic){.event = NULL}; /* it is in the text */
    line = (struct log_line){.data = record->text, .room = record->bytes};
    append_message(&line, origin, text, text_bytes);
    return record;
}

static void append(struct log_record *record)
{
    *queue.last = record;
    queue.last = &record->next;
    queue.bytes += record->bytes;
    queue.added++;
}

/* In memory that a process shares which collects; NULL: there is none. */
static atomic_ullong *dropped_elsewhere;

void log_queue_share_dropped(void)
{
    if (dropped_elsewhere != NULL)
        return;
    void *memory = mmap(NULL, sizeof(*dropped_elsewhere), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    dropped_elsewhere = memory != MAP_FAILED ? memory : NULL;
}

static void count_dropped(void)
{
    queue.dropped++;
    queue.untold++;
    if (queue.is_collecting && dropped_elsewhere != NULL)
        atomic_fetch_add(dropped_elsewhere, 1);
}

/* The first one has been written, or is given up. */
static void remove_first(bool is_written)
{
    struct log_record *record = queue.first;
    queue.first = record->next;
    if (queue.first == NULL)
        queue.last = &queue.first;
    queue.bytes -= record->bytes;
    queue.written++;
    queue.is_stalled = false;
    if (queue.waiting > 0)
        pthread_cond_broadcast(&queue.moved);
    if (!is_written)
        count_dropped();
    free(record);
}

static void drop_all(void)
{
    while (queue.first != NULL)
        remove_first(false);
}

/* Puts in a word on those that were dropped. */
static void tell_dropped(void)
{
    struct log_origin origin = {
        .level = LOG_LEVEL_WARNING, .pid = (long)getpid(), .topic.event = "log-dropped"};
    char text[96];
    int n = snprintf(text, sizeof(text), "%llu %s dropped, as the log could not be written",
                     queue.untold, queue.untold == 1 ? "message was" : "messages were");
    clock_gettime(CLOCK_REALTIME, &origin.time);
    struct log_record *record = make_record(&origin, text, (size_t)n);
    if (record == NULL)
        return;
    append(record);
    queue.untold = 0;
}

/* With the mutex, which it lets go of to write: one after the other up to the record of that
 * number. WAIT: no more goes at present. */
static enum log_sink_result drain(unsigned long long number)
{
    enum log_sink_result result = LOG_SINK_DONE;
    unsigned told = 0;
    queue.is_writing = true;
    while (queue.first != NULL && queue.written < number + told) {
        struct log_record *record = queue.first;
        pthread_mutex_unlock(&queue.mutex);
        result = log_sink_write(record);
        pthread_mutex_lock(&queue.mutex);
        if (result == LOG_SINK_WAIT)
            break;
        remove_first(result == LOG_SINK_DONE);
        if (queue.first == NULL && queue.untold > 0 && result == LOG_SINK_DONE) {
            tell_dropped();
            told = 1;
        }
    }
    queue.is_writing = false;
    pthread_cond_broadcast(&queue.moved);
    return result;
}

/* Without a thread: before it was started, after its end, and in a forked child. */
static void write_patiently(void)
{
    int patience_ms = queue.is_given_up ? 0 : PATIENCE_MS;
    while (drain(ALL) == LOG_SINK_WAIT) {
        if (log_sink_wait(patience_ms))
            continue;
        drop_all();
        queue.is_given_up = true;
        return;
    }
    queue.is_given_up = false;
}

static bool may_write(void)
{
    return !queue.is_writing && !queue.is_reopen_wanted && !is_never_writing &&
           log_sink_kind() != LOG_SINK_BLOCKING;
}

static void wait_for(pthread_cond_t *condition, uint64_t timeout_ms)
{
    struct timespec at = clock_deadline(timeout_ms);
    pthread_cond_timedwait(condition, &queue.mutex, &at);
}

static bool has_room(const struct log_record *record)
{
    return queue.first == NULL || queue.bytes + record->bytes <= ROOM_BYTES;
}

/* Several threads can be faster than a disk: as long as it takes something, they wait for it. */
static void wait_for_disk(const struct log_record *record)
{
    while (!has_room(record) && queue.has_thread && log_sink_kind() == LOG_SINK_FILE &&
           !is_never_writing && !queue.is_stalled) {
        unsigned long long written = queue.written;
        queue.waiting++;
        wait_for(&queue.moved, PATIENCE_MS);
        queue.waiting--;
        queue.is_stalled = queue.written == written;
    }
}

static void write_or_leave(void)
{
    if (queue.is_writing || queue.is_collecting)
        return; /* who does goes on, or wakes the thread */
    if (!queue.has_thread)
        write_patiently();
    else if (may_write())
        drain(queue.added);
    if (queue.has_thread && queue.first != NULL)
        pthread_cond_signal(&queue.wake);
}

void log_queue_add(const struct log_origin *origin, const char *text, size_t text_bytes)
{
    struct log_record *record = make_record(origin, text, text_bytes);
    pthread_mutex_lock(&queue.mutex);
    if (record != NULL)
        wait_for_disk(record);
    if (record == NULL || !has_room(record)) {
        count_dropped();
        free(record);
    } else {
        if (queue.untold > 0 && queue.first != NULL)
            tell_dropped();
        append(record);
    }
    write_or_leave();
    pthread_mutex_unlock(&queue.mutex);
}

void log_queue_collect(bool is_collecting)
{
    queue.is_collecting = is_collecting;
}

bool log_queue_drain(void)
{
    pthread_mutex_lock(&queue.mutex);
    if (!queue.is_writing)
        drain(ALL);
    bool is_empty = queue.first == NULL;
    pthread_mutex_unlock(&queue.mutex);
    return is_empty;
}

static bool is_busy(void)
{
    return queue.first != NULL || queue.is_writing || queue.is_reopen_wanted;
}

bool log_queue_flush(void)
{
    pthread_mutex_lock(&queue.mutex);
    if (!queue.has_thread && !queue.is_writing)
        write_patiently();
    uint64_t moved_ms = clock_ms();
    while (queue.has_thread && is_busy() && clock_ms() < moved_ms + PATIENCE_MS) {
        unsigned long long written = queue.written;
        pthread_cond_signal(&queue.wake);
        wait_for(&queue.moved, STUCK_MS);
        if (queue.written != written)
            moved_ms = clock_ms();
    }
    bool is_flushed = !is_busy();
    pthread_mutex_unlock(&queue.mutex);
    return is_flushed;
}

/* With the mutex, which it lets go of: a folder may hang. */
static void reopen(bool is_asked)
{
    queue.is_writing = true;
    pthread_mutex_unlock(&queue.mutex);
    if (is_asked || log_sink_has_moved())
        log_reopen_now(is_asked);
    pthread_mutex_lock(&queue.mutex);
    queue.is_writing = false;
    if (is_asked)
        queue.is_reopen_wanted = false;
    pthread_cond_broadcast(&queue.moved);
}

void log_queue_reopen(void)
{
    pthread_mutex_lock(&queue.mutex);
    if (queue.has_thread) {
        queue.is_reopen_wanted = true;
        pthread_cond_signal(&queue.wake);
        pthread_mutex_unlock(&queue.mutex);
    } else {
        pthread_mutex_unlock(&queue.mutex);
        log_reopen_now(true);
    }
}

/* A write may never end, and who calls has more to do. */
void log_queue_mend(void)
{
    uint64_t end_ms = clock_ms() + PATIENCE_MS;
    pthread_mutex_lock(&queue.mutex);
    while (queue.is_writing && clock_ms() < end_ms)
        wait_for(&queue.moved, STUCK_MS);
    if (!queue.is_writing) {
        queue.is_writing = true;
        pthread_mutex_unlock(&queue.mutex);
        log_sink_mend();
        pthread_mutex_lock(&queue.mutex);
        queue.is_writing = false;
        pthread_cond_signal(&queue.wake);
    }
    pthread_mutex_unlock(&queue.mutex);
}

static void wait_for_room(void)
{
    pthread_mutex_unlock(&queue.mutex);
    log_sink_wait(STUCK_MS);
    pthread_mutex_lock(&queue.mutex);
}

static void *run(void *unused)
{
    uint64_t looked_ms = clock_ms();
    pthread_mutex_lock(&queue.mutex);
    while (!queue.is_quitting) {
        bool is_due = clock_ms() >= looked_ms + LOOK_MS && log_sink_path() != NULL;
        if (is_due)
            looked_ms = clock_ms();
        if (queue.is_writing)
            wait_for(&queue.wake, STUCK_MS);
        else if (queue.is_reopen_wanted || is_due)
            reopen(queue.is_reopen_wanted);
        else if (queue.first == NULL && log_sink_path() == NULL)
            pthread_cond_wait(&queue.wake, &queue.mutex);
        else if (queue.first == NULL)
            wait_for(&queue.wake, LOOK_MS);
        else if (drain(ALL) == LOG_SINK_WAIT)
            wait_for_room();
    }
    pthread_mutex_unlock(&queue.mutex);
    return unused;
}

static void init_conditions(void)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&queue.wake, &attributes);
    pthread_cond_init(&queue.moved, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* A fork finds the queue whole, and the child one of its own that is empty: what waits is the
 * parent's. */
static void before_fork(void)
{
    pthread_mutex_lock(&queue.mutex);
}

static void in_parent(void)
{
    pthread_mutex_unlock(&queue.mutex);
}

static void in_child(void)
{
    pthread_mutex_init(&queue.mutex, NULL);
    init_conditions(); /* nobody waits here, whatever they remember */
    queue.waiting = 0;
    drop_all();
    queue.dropped = queue.untold = 0;
    queue.is_given_up = false;
    queue.has_thread = queue.is_writing = queue.is_reopen_wanted = false;
    is_never_writing = false;
}

static int start_thread(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&queue.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        pthread_setname_np(queue.thread, "log");
    errno = error;
    return error == 0 ? 0 : -1;
}

int log_queue_start(void)
{
    static bool is_fork_safe;
    init_conditions();
    if (!is_fork_safe)
        is_fork_safe = pthread_atfork(before_fork, in_parent, in_child) == 0;
    queue.is_quitting = false;
    queue.has_thread = true;
    if (start_thread() == 0)
        return 0;
    queue.has_thread = false;
    return -1;
}

void log_queue_stop(void)
{
    struct timespec until;
    log_queue_flush();
    queue.dropped = queue.untold = 0;
    if (!queue.has_thread)
        return;
    pthread_mutex_lock(&queue.mutex);
    queue.is_quitting = true;
    queue.has_thread = queue.is_writing; /* it hangs: nobody may write beside it */
    if (!queue.has_thread)
        drop_all();
    pthread_cond_signal(&queue.wake);
    pthread_mutex_unlock(&queue.mutex);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    if (queue.has_thread || pthread_timedjoin_np(queue.thread, NULL, &until) != 0)
        pthread_detach(queue.thread);
}

void log_queue_never_write(void)
{
    is_never_writing = true;
}

void log_queue_count_dropped(void)
{
    pthread_mutex_lock(&queue.mutex);
    queue.dropped++;
    pthread_mutex_unlock(&queue.mutex);
}

unsigned long long log_queue_dropped(void)
{
    pthread_mutex_lock(&queue.mutex);
    unsigned long long dropped = queue.dropped;
    if (dropped_elsewhere != NULL)
        dropped += atomic_load(dropped_elsewhere);
    pthread_mutex_unlock(&queue.mutex);
    return dropped;
}

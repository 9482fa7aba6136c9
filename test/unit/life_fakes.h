/* What the tests of fcgihost/life share: fakes of the layers below and of Python that write down,
 * in order, what they were called for. Any thread may call them. */
#ifndef FCGIHOST_TEST_LIFE_FAKES_H
#define FCGIHOST_TEST_LIFE_FAKES_H

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/log.h"
#include "connection/poller.h"
#include "embed/py_stacks.h"
#include "embed/py_task.h"
#include "life/process.h"
#include "life/reexec.h"

/* "stop_accepting|unpark|log: SIGTERM: stopping …|" */
static char told[8192];
static pthread_mutex_t told_mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool is_spawners;
static const struct handover *fake_predecessor;

static inline void tell(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&told_mutex);
    size_t n = strlen(told);
    vsnprintf(told + n, sizeof(told) - n, format, arguments);
    n = strlen(told);
    snprintf(told + n, sizeof(told) - n, "|");
    pthread_mutex_unlock(&told_mutex);
    va_end(arguments);
}

static inline bool was_told(const char *text)
{
    pthread_mutex_lock(&told_mutex);
    bool is_there = strstr(told, text) != NULL;
    pthread_mutex_unlock(&told_mutex);
    return is_there;
}

/* Returns when another thread has told it; a test that waits in vain never ends. */
static inline void wait_told(const char *text)
{
    while (!was_told(text))
        usleep(1000);
}

static inline void forget(void)
{
    pthread_mutex_lock(&told_mutex);
    told[0] = '\0';
    pthread_mutex_unlock(&told_mutex);
}

/* Descriptors that are open. */
static inline int count_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

#define FAKE_LOG(name)                                                                             \
    void name(const char *event, const char *format, ...)                                          \
    {                                                                                              \
        (void)event;                                                                               \
        char text[1024];                                                                           \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        vsnprintf(text, sizeof(text), format, arguments);                                          \
        va_end(arguments);                                                                         \
        tell(#name ": %s", text);                                                                  \
    }
FAKE_LOG(log_debug)
FAKE_LOG(log_info)
FAKE_LOG(log_warning)
FAKE_LOG(log_error)

const struct handover *reexec_predecessor(void)
{
    return fake_predecessor;
}

void py_task_start(enum py_task task)
{
    tell("task %d", (int)task);
}

void py_task_set_activities(const struct activities *activities)
{
    (void)activities;
}

void py_stacks_log(const struct activities *activities, const char *why)
{
    (void)activities;
    tell("stacks: %s", why);
}

#define FAKE_POLLER(name)                                                                          \
    void poller_##name(struct poller *poller)                                                      \
    {                                                                                              \
        (void)poller;                                                                              \
        tell(#name);                                                                               \
    }
FAKE_POLLER(stop_accepting)
FAKE_POLLER(begin_handover)
FAKE_POLLER(give_up_handover)
FAKE_POLLER(unpark)
FAKE_POLLER(cut)
FAKE_POLLER(quit)

bool poller_is_spawners(struct poller *poller)
{
    (void)poller;
    return atomic_load(&is_spawners);
}

int poller_hand_over(struct poller *poller, struct handover *handover)
{
    (void)poller;
    (void)handover;
    tell("hand_over");
    return 0;
}

static struct handover_status fake_status; /* what was handed over */

/* Never executes anything; as if exec() had failed. */
void reexec_run(struct handover *handover, const atomic_bool *is_cancelled)
{
    tell("reexec, started %llu, %s%.*s", (unsigned long long)handover->started_us,
         handover->is_start_again ? "again, " : "", (int)handover->startup.bytes,
         handover->startup.data != NULL ? (const char *)handover->startup.data : "");
    for (size_t i = 0; i < handover->program_count; i++)
        tell("knows that program %llu failed: %s", (unsigned long long)handover->programs[i].number,
             handover->programs[i].error);
    fake_status = handover->status;
    errno = atomic_load(is_cancelled) ? ECANCELED : ENOENT;
}

/* process.c */

struct handover_root_files process_root_files(void)
{
    return (struct handover_root_files){.log_fd = -1, .pid_file_fd = -1};
}

#endif

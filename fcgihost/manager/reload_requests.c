/* Who asked the manager for a reload, and how it ended. */
#include "manager/reload_requests.h"

#include "status/endpoints.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>

enum { ENDS_KEPT = 16 };

/* How the reload with that number ended. */
struct ended {
    unsigned number;
    bool is_done;
    char text[500];
};

static struct {
    pthread_mutex_t mutex; /* guards the rest; held only while values are copied */
    int wake_fd;
    /* Numbers of requests, from 1: the last one that was asked for, that reload_requests_take has
     * told of, for which workers are being replaced, and that has ended. */
    unsigned asked, taken, begun, ended;
    struct ended ends[ENDS_KEPT];
} reloads = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* For the control thread */

static unsigned ask(void)
{
    pthread_mutex_lock(&reloads.mutex);
    unsigned number = ++reloads.asked;
    pthread_mutex_unlock(&reloads.mutex);
    eventfd_write(reloads.wake_fd, 1);
    return number;
}

static enum reload_state get(unsigned number, char *text, size_t text_bytes)
{
    enum reload_state state = RELOAD_UNKNOWN;
    pthread_mutex_lock(&reloads.mutex);
    const struct ended *end = &reloads.ends[number % ENDS_KEPT];
    if (number > 0 && end->number == number) {
        state = end->is_done ? RELOAD_DONE : RELOAD_FAILED;
        snprintf(text, text_bytes, "%s", end->text);
    } else if (number > reloads.ended && number <= reloads.asked) {
        state = RELOAD_RUNNING;
    }
    pthread_mutex_unlock(&reloads.mutex);
    return state;
}

void reload_requests_open(int wake_fd)
{
    static const struct endpoints_reload functions = {.ask = ask, .get = get};
    reloads.wake_fd = wake_fd;
    endpoints_use_reload(&functions);
}

bool reload_requests_take(void)
{
    pthread_mutex_lock(&reloads.mutex);
    bool is_asked = reloads.taken != reloads.asked;
    reloads.taken = reloads.asked;
    pthread_mutex_unlock(&reloads.mutex);
    return is_asked;
}

void reload_requests_begin(void)
{
    pthread_mutex_lock(&reloads.mutex);
    reloads.begun = reloads.taken;
    pthread_mutex_unlock(&reloads.mutex);
}

/* Ends the requests after that number that were not refused meanwhile. With the mutex held. */
static void end_after(unsigned number, bool is_done, const char *text)
{
    while (number != reloads.taken) {
        struct ended *end = &reloads.ends[++number % ENDS_KEPT];
        if (end->number == number)
            continue;
        *end = (struct ended){.number = number, .is_done = is_done};
        snprintf(end->text, sizeof(end->text), "%s", text);
    }
}

void reload_requests_refuse(const char *text)
{
    pthread_mutex_lock(&reloads.mutex);
    end_after(reloads.begun, false, text);
    pthread_mutex_unlock(&reloads.mutex);
}

void reload_requests_end(bool is_done, const char *text)
{
    pthread_mutex_lock(&reloads.mutex);
    end_after(reloads.ended, is_done, text);
    reloads.ended = reloads.taken;
    reloads.begun = reloads.taken;
    pthread_mutex_unlock(&reloads.mutex);
}

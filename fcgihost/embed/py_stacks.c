/* The Python stacks of all threads, for the log. */
#include "embed/py_stacks.h"

#include "base/log.h"
#include "embed/py_task.h"
#include "threads/activity.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    GIL_WAIT_MS =
        500, /* many times the switch interval, after which a thread is asked for the GIL */
    TEXT_BYTES = 256 << 10,
};

static int stacks_fd = -1;
static atomic_bool is_open;

int py_stacks_open(void)
{
    stacks_fd = memfd_create("fcgihost-stacks", MFD_CLOEXEC);
    atomic_store(&is_open, stacks_fd >= 0);
    return stacks_fd;
}

void py_stacks_close(void)
{
    atomic_store(&is_open, false);
}

/* "Thread 0x00007f0123456789 (most recent call first):" */
static bool find_thread(const struct activities *activities, const char *line,
                        struct activity_report *report)
{
    unsigned long long ident;
    if (sscanf(line, "%*[^0]%llx", &ident) != 1)
        return false;
    for (unsigned i = 0; i < activities->count; i++)
        if ((unsigned long long)activities->items[i].thread == ident)
            return activity_get(&activities->items[i], report);
    return false;
}

/* Logs the raw stacks, with the request of each worker on its first line. */
static void log_raw(const struct activities *activities, const char *why, char *raw)
{
    char *text = NULL;
    size_t text_bytes = 0;
    FILE *stream = open_memstream(&text, &text_bytes);
    struct activity_report report;
    if (stream == NULL)
        return;
    fprintf(
        stream,
        "%s: Python can't be entered: a thread holds the GIL and does not release it, in C code "
        "of an extension; the stacks as seen from outside",
        why);
    for (char *line = strtok(raw, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        fprintf(stream, "\n%s", line);
        if (strstr(line, "hread 0x") != NULL && find_thread(activities, line, &report))
            fprintf(stream, " serving %s for %.1f s", report.request, (double)report.age_ms / 1000);
    }
    fclose(stream);
    log_text(LOG_LEVEL_ERROR, &(struct log_topic){.event = "stacks-from-outside"}, text,
             text_bytes);
    free(text);
}

/* faulthandler's handler runs on the calling thread and needs no GIL. The stacks don't change
 * meanwhile: the thread that holds the GIL is in C code, all others wait for it. If one runs after
 * all, reading them may end the process. */
void py_stacks_log_from_outside(const struct activities *activities, const char *why)
{
    char *raw = malloc(TEXT_BYTES);
    if (raw == NULL || !atomic_load(&is_open) || ftruncate(stacks_fd, 0) < 0 ||
        lseek(stacks_fd, 0, SEEK_SET) < 0) {
        free(raw);
        return;
    }
    pthread_kill(pthread_self(), PY_STACKS_SIGNAL);
    ssize_t n = pread(stacks_fd, raw, TEXT_BYTES - 1, 0);
    raw[n < 0 ? 0 : n] = '\0';
    log_raw(activities, why, raw);
    free(raw);
}

void py_stacks_log(const struct activities *activities, const char *why)
{
    if (!py_task_run(PY_TASK_STACKS, why, GIL_WAIT_MS))
        py_stacks_log_from_outside(activities, why);
}

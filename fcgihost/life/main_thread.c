/* What the main thread is doing, and how the supervisor gets it out of what takes too long. */
#include "life/main_thread.h"

#include "base/clock.h"
#include "base/log.h"
#include "embed/py_stacks.h"
#include "embed/py_task.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    SLOW_IMPORT_MS = 30000,
    INTERRUPT_MS =
        250, /* between two interruptions: the first may come just too early to have an effect */
};

void main_thread_init(struct main_thread *main, uint64_t cleanup_timeout_ms)
{
    memset(main, 0, sizeof(*main));
    main->thread = pthread_self();
    pthread_mutex_init(&main->mutex, NULL);
    main->cleanup_timeout_ms = cleanup_timeout_ms;
}

void main_thread_begin_step(struct main_thread *main, enum main_step step, const char *name)
{
    struct main_work *work = &main->work;
    pthread_mutex_lock(&main->mutex);
    work->step = step;
    work->since_ms = clock_ms();
    snprintf(work->name, sizeof(work->name), "%s", name);
    pthread_mutex_unlock(&main->mutex);
}

static struct main_work get_work(struct main_thread *main)
{
    pthread_mutex_lock(&main->mutex);
    struct main_work work = main->work;
    pthread_mutex_unlock(&main->mutex);
    return work;
}

void main_thread_report_slow_import(struct main_thread *main, const struct activities *activities,
                                    uint64_t now_ms)
{
    struct main_work work = get_work(main);
    if (work.step != STEP_IMPORT || work.since_ms == main->reported_ms ||
        now_ms < work.since_ms + SLOW_IMPORT_MS)
        return;
    main->reported_ms = work.since_ms;
    log_warning("startup-slow", "%s has been running for %llu s: it hangs, or is slow", work.name,
                (unsigned long long)(now_ms - work.since_ms) / 1000);
    py_stacks_log(activities, "a slow import");
}

static bool was_just_interrupted(const struct main_thread *main, uint64_t now_ms)
{
    return now_ms < main->interrupted_ms + INTERRUPT_MS;
}

void main_thread_interrupt_slow_cleanup(struct main_thread *main, uint64_t now_ms)
{
    if (was_just_interrupted(main, now_ms))
        return;
    pthread_mutex_lock(&main->mutex);
    bool is_late =
        main->work.step == STEP_CLEANUP && now_ms >= main->work.since_ms + main->cleanup_timeout_ms;
    if (is_late)
        pthread_kill(main->thread, PY_INTERRUPT_SIGNAL);
    pthread_mutex_unlock(&main->mutex);
    if (is_late)
        main->interrupted_ms = now_ms;
}

/* While the mutex is held, the main thread can't begin a step that must not be interrupted. */
static enum main_step interrupt(struct main_thread *main, bool is_late)
{
    pthread_mutex_lock(&main->mutex);
    enum main_step step = main->work.step;
    if (step == STEP_IMPORT || (is_late && (step == STEP_CLEANUP || step == STEP_THREADS)))
        pthread_kill(main->thread, PY_INTERRUPT_SIGNAL);
    pthread_mutex_unlock(&main->mutex);
    return step;
}

void main_thread_hurry(struct main_thread *main, uint64_t deadline_ms, uint64_t now_ms)
{
    if (was_just_interrupted(main, now_ms))
        return;
    main->interrupted_ms = now_ms;
    bool is_late = now_ms + main->cleanup_timeout_ms / 4 >= deadline_ms;
    enum main_step step = interrupt(main, is_late);
    if (step == STEP_IMPORT && now_ms + main->cleanup_timeout_ms / 2 >= deadline_ms &&
        !main->is_fallback_started) {
        main->is_fallback_started = true;
        log_warning("stop-import-hangs",
                    "stopping: an import does not end: the cleanups run on another thread");
        py_task_start(PY_TASK_CLEANUPS);
    }
}

void main_thread_describe(struct main_thread *main, char *text, size_t text_bytes)
{
    struct main_work work = get_work(main);
    if (work.step == STEP_NONE)
        snprintf(text, text_bytes, "a thread that does not release the GIL");
    else
        snprintf(text, text_bytes, "%s%s", work.step == STEP_CLEANUP ? "the cleanup " : "",
                 work.name);
}

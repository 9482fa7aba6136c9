/* The watch: while every thread is busy, or waits for the GIL, it accepts connections, receives
 * requests, answers those that need no Python, and puts the others into the queue. It also refuses
 * what has waited there longer than [limits] queue_time. threads/turn.h says when it does so. */
#include "serve/watch.h"

#include "base/clock.h"
#include "base/log.h"

enum {
    LOOK_MS = 100,            /* between two looks at the queue */
    SIBLINGS_MS = 50,         /* head start of sibling processes at accepting */
    LONG_WAIT_MS = 1000,      /* logged as a warning, … */
    LONG_WAIT_LOG_MS = 60000, /* … at most once in this time */
};

/* A worker is free again: ends the watch's wait. Called by the worker, with or without the GIL. */
static void recall(void *argument)
{
    poller_recall(argument);
}

void watch_prepare(struct worker_pool *pool)
{
    pool->pace.turn.recall = recall;
    pool->pace.turn.recall_argument = pool->poller;
}

/* Answers 503 to every request that has been ready since before_us. */
static void refuse_overdue(struct worker_pool *pool, uint64_t before_us)
{
    struct connection *connection;
    while ((connection = poller_take_overdue(pool->poller, before_us)) != NULL)
        worker_serve(&pool->watch, connection);
    for (unsigned i = 0; i < pool->activities.count; i++) {
        connection = worker_withdraw(&pool->workers[i], before_us);
        if (connection != NULL)
            worker_serve(&pool->watch, connection);
    }
}

static void log_long_wait(struct worker_pool *pool, uint64_t now_ms, uint64_t *logged_ms)
{
    struct poller_load load;
    if (*logged_ms != 0 && now_ms < *logged_ms + LONG_WAIT_LOG_MS)
        return;
    poller_get_load(pool->poller, &load);
    if (load.waiting == 0 || load.oldest_waiting_ms < LONG_WAIT_MS)
        return;
    *logged_ms = now_ms;
    log_warning("threads-busy",
                "all threads are busy, and %zu request%s for one, the first for %.1f s: raise "
                "[server] threads or processes, or send SIGUSR2 to log what the threads are doing",
                load.waiting, load.waiting == 1 ? " waits" : "s wait",
                (double)load.oldest_waiting_ms / 1000);
}

static void look_after_queue(struct worker_pool *pool, uint64_t *logged_ms)
{
    uint64_t queue_time_us = pool->config->queue_time_ms * 1000, now_us = clock_us();
    if (queue_time_us > 0 && now_us > queue_time_us)
        refuse_overdue(pool, now_us - queue_time_us);
    if (poller_has_ready(pool->poller))
        log_long_wait(pool, now_us / 1000, logged_ms);
}

static unsigned look_time_ms(const struct worker_pool *pool)
{
    uint64_t queue_time_ms = pool->config->queue_time_ms;
    return queue_time_ms == 0 || queue_time_ms > 4ull * LOOK_MS ? LOOK_MS
                                                                : (unsigned)(queue_time_ms / 4) + 1;
}

static void lead_once(struct worker_pool *pool, unsigned timeout_ms)
{
    struct connection *connection = poller_lead(pool->poller, (int)timeout_ms);
    if (connection != NULL)
        worker_serve(&pool->watch, connection);
}

/* Leads until a worker wants the turn back, or the poller is told to quit. What this process
 * accepts now waits for its own threads, so siblings may accept first. */
static void lead(struct worker_pool *pool, uint64_t *logged_ms)
{
    bool has_siblings = pool->poller->is_managed;
    uint64_t accept_ms = clock_ms() + SIBLINGS_MS;
    if (has_siblings)
        poller_leave_to_siblings(pool->poller, true);
    while (!poller_is_recalled(pool->poller)) {
        if (has_siblings && clock_ms() >= accept_ms) {
            poller_leave_to_siblings(pool->poller, false);
            lead_once(pool, 0);
            poller_leave_to_siblings(pool->poller, true);
            if (pool->config->queue_time_ms == 0 || !poller_accepts_in_row(pool->poller))
                accept_ms = clock_ms() + SIBLINGS_MS; /* one at a time, for the host's own pages */
        } else {
            lead_once(pool, has_siblings ? SIBLINGS_MS : look_time_ms(pool));
        }
        look_after_queue(pool, logged_ms);
    }
    if (has_siblings)
        poller_leave_to_siblings(pool->poller, false);
}

void *watch_run(void *argument)
{
    struct worker *watch = argument;
    struct worker_pool *pool = watch->pool;
    struct turn *turn = &pool->pace.turn;
    uint64_t logged_ms = 0;
    pthread_setname_np(pthread_self(), "watch");
    while (!turn_is_over(turn)) {
        unsigned timeout_ms = poller_has_ready(pool->poller) ? look_time_ms(pool) : 0;
        if (turn_watch(turn, timeout_ms)) {
            lead(pool, &logged_ms);
            turn_pass(turn, TURN_WATCH);
            poller_end_recall(pool->poller);
        }
        look_after_queue(pool, &logged_ms);
    }
    return NULL;
}

/* Starts and ends all workers. */
#include "serve/worker_pool.h"

#include "base/clock.h"
#include "config/config_places.h"
#include "serve/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Memory for buffered bodies and responses of all slow peers together; beyond it they go to files
 * early. A thousand such peers would otherwise take a gigabyte. */
enum { BUFFERS_MAX_BYTES = 64 << 20 };

static int start_thread(struct worker *worker, void *(*run)(void *))
{
    int error = pthread_create(&worker->thread, NULL, run, worker);
    if (error == 0)
        return 0;
    errno = error;
    return -1;
}

static int start_worker(struct worker_pool *pool, unsigned i)
{
    struct worker *worker = &pool->workers[i];
    if (pool->board != NULL && i < SCOREBOARD_THREADS_MAX) {
        pool->activities.items[i].board = &pool->board->thread[i];
        pool->activities.items[i].counters = &pool->board->counters[i];
        atomic_store(&pool->board->threads, i + 1);
    }
    if (worker_init(worker, pool, i + 1, &pool->activities.items[i]) < 0 ||
        start_thread(worker, worker_run) < 0)
        return -1;
    pool->activities.items[i].thread = worker->thread;
    pool->activities.count++;
    atomic_fetch_add(&pool->running, 1);
    return 0;
}

/* The sender's give_back: the response has been sent. */
static void give_back(void *owner, struct connection *connection)
{
    struct worker_pool *pool = owner;
    uint64_t deadline_ms = clock_ms() + pool->config->io_timeout_ms;
    if (poller_watch(pool->poller, connection, deadline_ms) != 0)
        poller_queue(pool->poller, connection);
}

int worker_pool_start(struct worker_pool *pool)
{
    const struct config *config = pool->config;
    pool->gate_limits = (struct gate_limits){.head_bytes = config->request_head_bytes,
                                             .max_connections = config->backlog,
                                             .roles = pool->routes.role_bits};
    pool->store = (struct spool_store){.folder = config_find_temporary(config),
                                       .limit = config->temporary_space_bytes,
                                       .descriptor_limit = pool->poller->descriptor_limit,
                                       .memory_limit = BUFFERS_MAX_BYTES};
    if (pool->store.folder == NULL)
        return -1;
    if (sender_init(&pool->sender) < 0)
        return -1;
    pool->sender.store = &pool->store;
    pool->sender.memory_max = config->response_memory_bytes;
    pool->sender.io_timeout_ms = config->io_timeout_ms;
    pool->sender.min_rate = config->min_rate_bytes;
    pool->sender.give_back = give_back;
    pool->sender.owner = pool;
    turn_policy_init(&pool->pace);
    watch_prepare(pool);
    pool->workers = calloc(config->threads, sizeof(*pool->workers));
    if (pool->workers == NULL || activities_init(&pool->activities, config->threads) < 0)
        return -1;
    if (pool->board != NULL)
        pool->activities.spare = &pool->board->spare;
    for (unsigned i = 0; i < config->threads; i++)
        if (start_worker(pool, i) < 0)
            return -1;
    if (worker_init(&pool->watch, pool, TURN_WATCH, NULL) < 0 ||
        start_thread(&pool->watch, watch_run) < 0)
        return -1;
    return 0;
}

bool worker_pool_join(struct worker_pool *pool, uint64_t deadline_ms)
{
    turn_end(&pool->pace.turn);
    pthread_join(pool->watch.thread, NULL); /* it never blocks for long */
    while (atomic_load(&pool->running) > 0) {
        if (clock_ms() >= deadline_ms)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    for (unsigned i = 0; i < pool->activities.count; i++) {
        pthread_join(pool->workers[i].thread, NULL);
        worker_clear(&pool->workers[i]);
    }
    worker_clear(&pool->watch);
    sender_clear(&pool->sender);
    spool_store_clear(&pool->store);
    free((void *)(uintptr_t)pool->store.folder);
    /* The activities are not freed: other threads may ask for them until Python ends. */
    route_table_clear(&pool->routes);
    turn_policy_destroy(&pool->pace);
    return true;
}

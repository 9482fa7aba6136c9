/* Which threads a pool starts, what it gives them, and how it ends them: the workers are fakes
 * whose loops wait for a flag.
 *
 * links: worker_pool.c */
#include "life_fakes.h"

#include "base/clock.h"
#include "config/config_places.h"
#include "serve/watch.h"
#include "serve/worker_pool.h"

enum { THREADS = 3 };

static struct config config;
static struct poller poller;
static struct scoreboard board;
static struct worker_pool pool;

static atomic_bool is_over; /* the workers' loops */
static unsigned refused;    /* the worker whose worker_init() fails; 0: none */
static int watched;         /* what poller_watch() answers */
static uint64_t watch_deadline_ms;

const char *config_find_temporary(const struct config *of)
{
    assert_ptr_equal(of, &config);
    return strdup("/var/tmp");
}

int sender_init(struct sender *sender)
{
    *sender = (struct sender){0};
    return 0;
}

void sender_clear(struct sender *sender)
{
    (void)sender;
    tell("clear sender");
}

void spool_store_clear(struct spool_store *store)
{
    (void)store;
    tell("clear store");
}

void route_table_clear(struct route_table *table)
{
    (void)table;
    tell("clear routes");
}

void turn_policy_init(struct turn_policy *pace)
{
    (void)pace;
}

void turn_policy_destroy(struct turn_policy *pace)
{
    (void)pace;
    tell("destroy pace");
}

void turn_end(struct turn *turn)
{
    (void)turn;
    tell("end turn");
}

int activities_init(struct activities *activities, unsigned capacity)
{
    static struct activity items[THREADS];
    assert_int_equal(capacity, THREADS);
    *activities = (struct activities){.items = items};
    return 0;
}

int poller_watch(struct poller *of, struct connection *connection, uint64_t deadline_ms)
{
    (void)of, (void)connection;
    watch_deadline_ms = deadline_ms;
    tell("watch");
    return watched;
}

void poller_queue(struct poller *of, struct connection *connection)
{
    (void)of, (void)connection;
    tell("queue");
}

int worker_init(struct worker *worker, struct worker_pool *of, unsigned number,
                struct activity *activity)
{
    assert_ptr_equal(of, &pool);
    tell("init %u%s", number, activity == NULL ? " without activity" : "");
    worker->pool = of;
    if (number == refused && refused != 0) {
        errno = ENOMEM;
        return -1;
    }
    return 0;
}

void worker_clear(struct worker *worker)
{
    (void)worker;
    tell("clear");
}

void *worker_run(void *worker)
{
    struct worker_pool *of = ((struct worker *)worker)->pool;
    while (!atomic_load(&is_over))
        usleep(1000);
    atomic_fetch_sub(&of->running, 1);
    return NULL;
}

void watch_prepare(struct worker_pool *of)
{
    assert_ptr_equal(of, &pool);
    tell("prepare watch");
}

void *watch_run(void *argument)
{
    assert_ptr_equal(argument, &pool.watch);
    return NULL;
}

static int set_up(void **state)
{
    (void)state;
    atomic_store(&is_over, true);
    usleep(20000); /* for threads that a test has left which failed */
    forget();
    config = (struct config){.threads = THREADS,
                             .backlog = 100,
                             .request_head_bytes = 1000,
                             .temporary_space_bytes = 2000,
                             .response_memory_bytes = 3000,
                             .io_timeout_ms = 60000,
                             .min_rate_bytes = 4000};
    memset(&board, 0, sizeof(board));
    memset(&pool, 0, sizeof(pool));
    pool.config = &config;
    pool.poller = &poller;
    poller.descriptor_limit = 500;
    pool.routes.role_bits = 7;
    atomic_store(&is_over, false);
    refused = 0;
    return 0;
}

static void end(void)
{
    atomic_store(&is_over, true);
    assert_true(worker_pool_join(&pool, clock_ms() + 5000));
    free(pool.workers); /* which the process keeps until it ends */
}

static void test_as_many_workers_as_threads_and_a_watch(void **state)
{
    (void)state;
    assert_int_equal(worker_pool_start(&pool), 0);
    assert_string_equal(told, "prepare watch|init 1|init 2|init 3|init 65535 without activity|");
    assert_int_equal(atomic_load(&pool.running), THREADS);
    assert_int_equal(pool.activities.count, THREADS);
    end();
}

static void test_what_the_configuration_bounds(void **state)
{
    (void)state;
    assert_int_equal(worker_pool_start(&pool), 0);
    assert_int_equal(pool.gate_limits.head_bytes, 1000);
    assert_int_equal(pool.gate_limits.max_connections, 100);
    assert_int_equal(pool.gate_limits.roles, 7);
    assert_string_equal(pool.store.folder, "/var/tmp");
    assert_int_equal(pool.store.limit, 2000);
    assert_int_equal(pool.store.descriptor_limit, 500);
    assert_true(pool.store.memory_limit > 0);
    assert_ptr_equal(pool.sender.store, &pool.store);
    assert_int_equal(pool.sender.memory_max, 3000);
    assert_int_equal(pool.sender.io_timeout_ms, 60000);
    assert_int_equal(pool.sender.min_rate, 4000);
    end();
}

static void test_the_end_frees_what_the_threads_used_once_they_have_ended(void **state)
{
    (void)state;
    assert_int_equal(worker_pool_start(&pool), 0);
    forget();
    end();
    assert_string_equal(
        told,
        "end turn|clear|clear|clear|clear|clear sender|clear store|clear routes|destroy pace|");
}

static void test_while_a_worker_is_busy_nothing_is_freed(void **state)
{
    (void)state;
    assert_int_equal(worker_pool_start(&pool), 0);
    forget();
    assert_false(worker_pool_join(&pool, clock_ms() + 20));
    assert_string_equal(told, "end turn|");
    atomic_store(&is_over,
                 true); /* the watch has been joined: the rest is left, as it is at a real end */
    while (atomic_load(&pool.running) > 0)
        usleep(1000);
    for (unsigned i = 0; i < pool.activities.count; i++)
        pthread_join(pool.workers[i].thread, NULL);
    free(pool.workers);
    free((void *)(uintptr_t)pool.store.folder);
}

static void test_a_worker_that_cannot_be_made_fails_the_start(void **state)
{
    (void)state;
    refused = 2;
    assert_int_equal(worker_pool_start(&pool), -1);
    assert_int_equal(errno, ENOMEM);
    assert_string_equal(told, "prepare watch|init 1|init 2|");
    atomic_store(&is_over, true);
    pthread_join(pool.workers[0].thread, NULL);
    free(pool.workers);
    free((void *)(uintptr_t)pool.store.folder);
}

static void test_with_a_manager_each_thread_is_shown_on_the_board(void **state)
{
    (void)state;
    pool.board = &board;
    assert_int_equal(worker_pool_start(&pool), 0);
    assert_int_equal(atomic_load(&board.threads), THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_ptr_equal(pool.activities.items[i].board, &board.thread[i]);
        assert_ptr_equal(pool.activities.items[i].counters, &board.counters[i]);
    }
    assert_ptr_equal(pool.activities.spare, &board.spare);
    end();
}

static void test_a_connection_whose_response_has_left_is_watched_or_else_queued(void **state)
{
    (void)state;
    assert_int_equal(worker_pool_start(&pool), 0);
    forget();
    watched = 0;
    uint64_t now_ms = clock_ms();
    pool.sender.give_back(pool.sender.owner, NULL);
    assert_string_equal(told, "watch|");
    assert_true(watch_deadline_ms >= now_ms + 60000);
    for (watched = -1; watched <= 1; watched += 2) { /* it can't be; something has come */
        forget();
        pool.sender.give_back(pool.sender.owner, NULL);
        assert_string_equal(told, "watch|queue|");
    }
    end();
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_as_many_workers_as_threads_and_a_watch),
        TEST(test_what_the_configuration_bounds),
        TEST(test_the_end_frees_what_the_threads_used_once_they_have_ended),
        TEST(test_while_a_worker_is_busy_nothing_is_freed),
        TEST(test_a_worker_that_cannot_be_made_fails_the_start),
        TEST(test_with_a_manager_each_thread_is_shown_on_the_board),
        TEST(test_a_connection_whose_response_has_left_is_watched_or_else_queued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

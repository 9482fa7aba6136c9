/* What the watch does while it leads, and with requests that wait: its turn, the poller and the
 * workers are fakes that write down what they were called for.
 *
 * links: watch.c */
#include "life_fakes.h"

#include "base/clock.h"
#include "serve/watch.h"

static struct config config;
static struct poller poller;
static struct worker workers[2];
static struct worker_pool pool;
static struct connection connections[3];

/* How many times its loop and its lead go round, and what is found then. */
static int rounds, leads, overdue, withdrawable;
static bool has_turn, has_ready, is_row;
static unsigned watch_timeout_ms, lead_timeout_ms;
static uint64_t asked_before_us;
static struct poller_load load;

bool turn_is_over(struct turn *turn)
{
    (void)turn;
    return rounds-- == 0;
}

bool turn_watch(struct turn *turn, unsigned timeout_ms)
{
    (void)turn;
    watch_timeout_ms = timeout_ms;
    return has_turn;
}

void turn_pass(struct turn *turn, unsigned number)
{
    (void)turn;
    assert_int_equal(number, TURN_WATCH);
    tell("pass");
}

void poller_recall(struct poller *recalled)
{
    assert_ptr_equal(recalled, &poller);
    tell("recall");
}

bool poller_is_recalled(const struct poller *of)
{
    (void)of;
    return leads == 0;
}

void poller_end_recall(struct poller *of)
{
    (void)of;
    tell("end recall");
}

struct connection *poller_lead(struct poller *of, int timeout_ms)
{
    (void)of;
    lead_timeout_ms = (unsigned)timeout_ms;
    leads--;
    return &connections[0];
}

bool poller_has_ready(const struct poller *of)
{
    (void)of;
    return has_ready;
}

struct connection *poller_take_overdue(struct poller *of, uint64_t before_us)
{
    (void)of;
    asked_before_us = before_us;
    return overdue > 0 ? overdue--, &connections[1] : NULL;
}

void poller_get_load(struct poller *of, struct poller_load *got)
{
    (void)of;
    *got = load;
}

void poller_leave_to_siblings(struct poller *of, bool is_left)
{
    (void)of;
    tell(is_left ? "leave" : "accept");
}

bool poller_accepts_in_row(const struct poller *of)
{
    (void)of;
    return is_row;
}

void worker_serve(struct worker *worker, struct connection *connection)
{
    assert_ptr_equal(worker, &pool.watch);
    tell("serve %d", (int)(connection - connections));
}

struct connection *worker_withdraw(struct worker *worker, uint64_t before_us)
{
    assert_int_equal(before_us, asked_before_us);
    if (worker != &workers[1] || withdrawable == 0)
        return NULL;
    withdrawable--;
    return &connections[2];
}

static int set_up(void **state)
{
    (void)state;
    forget();
    memset(&config, 0, sizeof(config));
    poller.is_managed = false;
    pool.config = &config;
    pool.poller = &poller;
    pool.workers = workers;
    pool.watch.pool = &pool;
    pool.activities.count = 2;
    rounds = 1;
    leads = overdue = withdrawable = 0;
    has_turn = has_ready = is_row = false;
    load = (struct poller_load){.waiting = 0};
    return 0;
}

static void expect(const char *text)
{
    watch_run(&pool.watch);
    assert_string_equal(told, text);
}

static void test_a_worker_that_wants_the_turn_ends_the_wait_in_epoll(void **state)
{
    (void)state;
    watch_prepare(&pool);
    pool.pace.turn.recall(pool.pace.turn.recall_argument);
    assert_string_equal(told, "recall|");
}

static void test_without_the_turn_it_serves_nothing(void **state)
{
    (void)state;
    leads = 1;
    expect("");
}

/* A recall that ended before the pass would be lost: the worker would wait for nothing. */
static void test_it_leads_until_it_is_recalled_and_then_passes_the_turn(void **state)
{
    (void)state;
    has_turn = true;
    leads = 2;
    expect("serve 0|serve 0|pass|end recall|");
    assert_int_equal(lead_timeout_ms, 100);
}

static void test_overdue_requests_are_refused_queued_or_waiting_for_the_gil(void **state)
{
    (void)state;
    config.queue_time_ms = 20;
    overdue = 2;
    withdrawable = 1;
    uint64_t before_us = clock_us();
    expect("serve 1|serve 1|serve 2|");
    assert_true(asked_before_us + 20000 >= before_us && asked_before_us + 20000 <= clock_us());
}

static void test_without_queue_time_nothing_is_overdue(void **state)
{
    (void)state;
    overdue = withdrawable = 1;
    expect("");
}

static void test_it_looks_several_times_within_queue_time(void **state)
{
    (void)state;
    config.queue_time_ms = 20;
    has_ready = true;
    expect("");
    assert_int_equal(watch_timeout_ms, 6);
    has_ready = false;
    rounds = 1;
    expect("");
    assert_int_equal(watch_timeout_ms, 0); /* nothing waits: it sleeps until the turn is offered */
}

static void test_a_long_wait_is_logged_once(void **state)
{
    (void)state;
    has_ready = true;
    load = (struct poller_load){.waiting = 3, .oldest_waiting_ms = 1500};
    rounds = 3;
    expect("log_warning: all threads are busy, and 3 requests wait for one, the first for 1.5 s: "
           "raise [server] threads or processes, or send SIGUSR2 to log what the threads are "
           "doing|");
}

static void test_a_short_wait_is_not_logged(void **state)
{
    (void)state;
    has_ready = true;
    load = (struct poller_load){.waiting = 3, .oldest_waiting_ms = 900};
    expect("");
}

static void test_a_managers_worker_lets_its_siblings_accept_first(void **state)
{
    (void)state;
    poller.is_managed = true;
    has_turn = true;
    leads = 1;
    expect("leave|serve 0|accept|pass|end recall|");
    assert_int_equal(lead_timeout_ms, 50);
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_worker_that_wants_the_turn_ends_the_wait_in_epoll),
        TEST(test_without_the_turn_it_serves_nothing),
        TEST(test_it_leads_until_it_is_recalled_and_then_passes_the_turn),
        TEST(test_overdue_requests_are_refused_queued_or_waiting_for_the_gil),
        TEST(test_without_queue_time_nothing_is_overdue),
        TEST(test_it_looks_several_times_within_queue_time),
        TEST(test_a_long_wait_is_logged_once),
        TEST(test_a_short_wait_is_not_logged),
        TEST(test_a_managers_worker_lets_its_siblings_accept_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Leader/followers: whose turn it is to wait for requests. */
#include "threads/turn.h"

#include "base/clock.h"

#include <errno.h>

static const unsigned long long OWNER = 0xffff, OFFERED = 0x30000, ONE_OFFER = 0x40000;

enum { OFFER_SHIFT = 16 };

void turn_init(struct turn *turn)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&turn->promotion, &attributes);
    pthread_cond_init(&turn->alarm, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&turn->mutex, NULL);
    turn->followers = 0;
    turn->is_over = false;
    turn->recall = NULL;
    atomic_init(&turn->state, 0);
    atomic_init(&turn->is_watch_asleep, false);
}

void turn_destroy(struct turn *turn)
{
    pthread_cond_destroy(&turn->promotion);
    pthread_cond_destroy(&turn->alarm);
    pthread_mutex_destroy(&turn->mutex);
}

static bool is_free(unsigned long long state)
{
    return (state & OWNER) == 0;
}

static enum turn_offer offer_of(unsigned long long state)
{
    return (enum turn_offer)((state & OFFERED) >> OFFER_SHIFT);
}

/* Takes the turn. Its previous owner notices in turn_reclaim. */
static bool take_from(struct turn *turn, unsigned long long state, unsigned number)
{
    unsigned long long taken = (state & ~(OWNER | OFFERED)) | number;
    return atomic_compare_exchange_strong(&turn->state, &state, taken);
}

static void recall_watch(struct turn *turn, unsigned long long state)
{
    if ((state & OWNER) == TURN_WATCH && turn->recall != NULL)
        turn->recall(turn->recall_argument);
}

void turn_take(struct turn *turn, unsigned number)
{
    pthread_mutex_lock(&turn->mutex);
    for (;;) {
        unsigned long long state = atomic_load(&turn->state);
        if (is_free(state)) {
            if (take_from(turn, state, number))
                break;
            continue;
        }
        recall_watch(turn, state);
        turn->followers++;
        /* turn_pass changes the state without the mutex, but looks for followers with it held:
         * check again. */
        if (atomic_load(&turn->state) == state)
            pthread_cond_wait(&turn->promotion, &turn->mutex);
        turn->followers--;
    }
    pthread_mutex_unlock(&turn->mutex);
}

static void wake_watch(struct turn *turn)
{
    pthread_mutex_lock(&turn->mutex);
    atomic_store(&turn->is_watch_asleep, false);
    pthread_mutex_unlock(&turn->mutex);
    pthread_cond_signal(&turn->alarm); /* unlocked: the watch needs the mutex */
}

void turn_offer(struct turn *turn, unsigned number, enum turn_offer to)
{
    unsigned long long state = atomic_load(&turn->state);
    if ((state & OWNER) != number) {
        recall_watch(turn, state);
        return;
    }
    unsigned long long offered = (state & ~OFFERED) | (unsigned long long)to << OFFER_SHIFT;
    if ((state & OFFERED) != 0) {
        /* The watch is awake, and may be taking the turn right now. */
        atomic_compare_exchange_strong(&turn->state, &state, offered + ONE_OFFER);
        return;
    }
    atomic_store(&turn->state, offered + ONE_OFFER);
    if (atomic_load(&turn->is_watch_asleep))
        wake_watch(turn);
}

bool turn_reclaim(struct turn *turn, unsigned number)
{
    unsigned long long state = atomic_load(&turn->state);
    return (state & OWNER) == number &&
           atomic_compare_exchange_strong(&turn->state, &state, state & ~OFFERED);
}

static bool has_followers(struct turn *turn)
{
    pthread_mutex_lock(&turn->mutex);
    bool has = turn->followers > 0;
    pthread_mutex_unlock(&turn->mutex);
    return has;
}

void turn_pass(struct turn *turn, unsigned number)
{
    if (!turn_reclaim(turn, number)) {
        recall_watch(turn, atomic_load(&turn->state));
        return;
    }
    atomic_store(&turn->state, atomic_load(&turn->state) & ~OWNER);
    if (has_followers(turn))
        pthread_cond_signal(&turn->promotion);
    else if (atomic_load(&turn->is_watch_asleep))
        wake_watch(turn);
}

/* While the leader waits for requests there is nothing to do until it offers or passes its turn.
 * The mutex is held here and below. */
static void sleep_until_alarm(struct turn *turn, unsigned long long state, unsigned timeout_ms)
{
    struct timespec end = clock_deadline(timeout_ms);
    int error = 0;
    atomic_store(&turn->is_watch_asleep, true);
    if (atomic_load(&turn->state) != state) /* changed while the watch still counted as awake */
        atomic_store(&turn->is_watch_asleep, false);
    while (atomic_load(&turn->is_watch_asleep) && !turn->is_over && error == 0)
        error = timeout_ms == 0 ? pthread_cond_wait(&turn->alarm, &turn->mutex)
                                : pthread_cond_timedwait(&turn->alarm, &turn->mutex, &end);
    atomic_store(&turn->is_watch_asleep, false);
}

static void sleep_for(struct turn *turn, unsigned time_ms)
{
    struct timespec end = clock_deadline(time_ms);
    int error = 0;
    while (!turn->is_over && error == 0)
        error = pthread_cond_timedwait(&turn->alarm, &turn->mutex, &end);
}

/* Nobody has led for idle_ms: promotes a follower, or takes the turn. true: the watch has it. */
static bool make_use(struct turn *turn, unsigned long long state, unsigned idle_ms)
{
    if (offer_of(state) == TURN_TO_ANY && turn->followers > 0) {
        if (take_from(turn, state, 0))
            pthread_cond_signal(&turn->promotion);
        return false;
    }
    /* Waits longer here: a follower that was promoted may not have run yet. */
    return idle_ms >= TURN_IDLE_MS && (turn->followers == 0 || !is_free(state)) &&
           take_from(turn, state, TURN_WATCH);
}

bool turn_watch(struct turn *turn, unsigned timeout_ms)
{
    bool has_turn = false;
    unsigned idle_ms = 0;
    uint64_t end_ms = timeout_ms > 0 ? clock_ms() + timeout_ms : UINT64_MAX;
    pthread_mutex_lock(&turn->mutex);
    while (!turn->is_over && !has_turn && clock_ms() < end_ms) {
        unsigned long long state = atomic_load(&turn->state);
        bool is_held = !is_free(state) && offer_of(state) == 0;
        if (is_held && idle_ms > 0) {
            sleep_until_alarm(turn, state, timeout_ms);
            idle_ms = 0;
            continue;
        }
        unsigned tick_ms = is_free(state) ? TURN_IDLE_MS : TURN_TICK_MS;
        sleep_for(turn, tick_ms);
        idle_ms = atomic_load(&turn->state) == state ? idle_ms + tick_ms : 0;
        if (idle_ms > 0 && !is_held)
            has_turn = make_use(turn, state, idle_ms);
    }
    pthread_mutex_unlock(&turn->mutex);
    return has_turn;
}

void turn_end(struct turn *turn)
{
    pthread_mutex_lock(&turn->mutex);
    turn->is_over = true;
    pthread_mutex_unlock(&turn->mutex);
    pthread_cond_broadcast(&turn->alarm);
}

bool turn_is_over(struct turn *turn)
{
    pthread_mutex_lock(&turn->mutex);
    bool is_over = turn->is_over;
    pthread_mutex_unlock(&turn->mutex);
    return is_over;
}

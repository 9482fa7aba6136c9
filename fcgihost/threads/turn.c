/* Whose turn it is to wait for requests: one thread's at a time. */
#include "threads/turn.h"

#include "base/clock.h"

static const unsigned long long OWNER = 0xffff, OFFERED = 0x10000, ONE_OFFER = 0x20000;

void turn_init(struct turn *turn)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&turn->look, &attributes);
    pthread_cond_init(&turn->sleep, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&turn->mutex, NULL);
    turn->has_looker = false;
    turn->sleepers = turn->calm_looks = 0;
    atomic_init(&turn->state, 0);
    atomic_init(&turn->is_asleep, false);
}

void turn_destroy(struct turn *turn)
{
    pthread_cond_destroy(&turn->look);
    pthread_cond_destroy(&turn->sleep);
    pthread_mutex_destroy(&turn->mutex);
}

/* With the mutex held, here and below. */
static void set_looker(struct turn *turn, bool has_looker)
{
    turn->has_looker = has_looker;
    atomic_store(&turn->is_asleep, !has_looker && turn->sleepers > 0);
}

static void look(struct turn *turn)
{
    struct timespec end =
        clock_deadline(turn->calm_looks < TURN_CALM_LOOKS ? TURN_TICK_MS : TURN_CALM_TICK_MS);
    set_looker(turn, true);
    pthread_cond_timedwait(&turn->look, &turn->mutex, &end);
    set_looker(turn, false);
}

/* Until it is passed, or offered while nobody looks. */
static void sleep_until_woken(struct turn *turn, unsigned long long state)
{
    turn->sleepers++;
    set_looker(turn, turn->has_looker);
    if (atomic_load(&turn->state) == state) /* else its owner may have found nobody asleep */
        pthread_cond_wait(&turn->sleep, &turn->mutex);
    turn->sleepers--;
    set_looker(turn, turn->has_looker);
}

static void wake_first(struct turn *turn)
{
    pthread_mutex_lock(&turn->mutex);
    pthread_cond_t *first = turn->has_looker ? &turn->look : &turn->sleep;
    atomic_store(&turn->is_asleep, false); /* one is enough */
    pthread_mutex_unlock(&turn->mutex);
    pthread_cond_signal(first); /* now, as it may run at once, and needs the mutex */
}

void turn_take(struct turn *turn, unsigned number)
{
    pthread_mutex_lock(&turn->mutex);
    unsigned long long state = atomic_load(&turn->state), before;
    bool has_looked = false, is_unchanged = false; /* since it looked */
    for (;;) {
        bool is_to_be_had = (state & OWNER) == 0 || ((state & OFFERED) && is_unchanged);
        unsigned long long taken = (state & ~(OWNER | OFFERED)) | number;
        if (is_to_be_had && atomic_compare_exchange_strong(&turn->state, &state, taken))
            break;
        before = state;
        bool is_busy = (state & OFFERED) || (has_looked && !is_unchanged);
        has_looked = is_busy && !turn->has_looker;
        if (has_looked)
            look(turn);
        else
            sleep_until_woken(turn, state);
        state = atomic_load(&turn->state);
        is_unchanged = has_looked && state == before;
        turn->calm_looks += has_looked;
    }
    if (is_unchanged)
        turn->calm_looks = 0; /* it was offered for a whole tick */
    pthread_mutex_unlock(&turn->mutex);
}

void turn_offer(struct turn *turn, unsigned number)
{
    unsigned long long state = atomic_load(&turn->state);
    if ((state & OWNER) != number || (state & OFFERED))
        return;
    atomic_store(&turn->state, (state | OFFERED) + ONE_OFFER);
    if (atomic_load(&turn->is_asleep))
        wake_first(turn);
}

bool turn_reclaim(struct turn *turn, unsigned number)
{
    unsigned long long state = atomic_load(&turn->state);
    return (state & OWNER) == number &&
           atomic_compare_exchange_strong(&turn->state, &state, state & ~OFFERED);
}

void turn_pass(struct turn *turn, unsigned number)
{
    if (!turn_reclaim(turn, number))
        return;
    atomic_store(&turn->state, atomic_load(&turn->state) & ~OWNER);
    wake_first(turn);
}

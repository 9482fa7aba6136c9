/* Whose turn it is to wait for requests: one thread's at a time. */
#include "turn.h"

#include "clock.h"

static const unsigned long long OWNER = 0xffff, OFFERED = 0x10000, ONE_OFFER = 0x20000;

void turn_init(struct turn *turn)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&turn->condition, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&turn->queue, NULL);
    pthread_mutex_init(&turn->mutex, NULL);
    atomic_init(&turn->state, 0);
    atomic_init(&turn->is_asleep, false);
}

void turn_destroy(struct turn *turn)
{
    pthread_cond_destroy(&turn->condition);
    pthread_mutex_destroy(&turn->mutex);
    pthread_mutex_destroy(&turn->queue);
}

/* looks: how many there were since it slept. */
static void wait_a_tick(struct turn *turn, unsigned looks)
{
    struct timespec end =
        clock_deadline(looks < TURN_CALM_LOOKS ? TURN_TICK_MS : TURN_CALM_TICK_MS);
    pthread_cond_timedwait(&turn->condition, &turn->mutex, &end);
}

/* Until it is offered or passed, which changes the state. */
static void wait_asleep(struct turn *turn, unsigned long long state)
{
    atomic_store(&turn->is_asleep, true);
    if (atomic_load(&turn->state) == state) /* else its owner may have found us awake */
        pthread_cond_wait(&turn->condition, &turn->mutex);
    atomic_store(&turn->is_asleep, false);
}

static void wake_first(struct turn *turn)
{
    pthread_mutex_lock(&turn->mutex);
    pthread_cond_signal(&turn->condition);
    pthread_mutex_unlock(&turn->mutex);
}

void turn_take(struct turn *turn, unsigned number)
{
    pthread_mutex_lock(&turn->queue);
    pthread_mutex_lock(&turn->mutex);
    unsigned long long state = atomic_load(&turn->state), before;
    bool is_unchanged = false;
    for (unsigned looks = 0;; looks++) {
        bool is_to_be_had = (state & OWNER) == 0 || ((state & OFFERED) && is_unchanged);
        unsigned long long taken = (state & ~(OWNER | OFFERED)) | number;
        if (is_to_be_had && atomic_compare_exchange_strong(&turn->state, &state, taken))
            break;
        before = state;
        if (is_unchanged && !is_to_be_had) {
            wait_asleep(turn, state);
            looks = 0;
        } else
            wait_a_tick(turn, looks);
        state = atomic_load(&turn->state);
        is_unchanged = state == before;
    }
    pthread_mutex_unlock(&turn->mutex);
    pthread_mutex_unlock(&turn->queue);
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

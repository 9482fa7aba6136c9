/* Whose turn it is to wait for requests: one thread's at a time. */
#ifndef FCGIHOST_TURN_H
#define FCGIHOST_TURN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { TURN_TICK_MS = 1, TURN_CALM_TICK_MS = 4, TURN_CALM_LOOKS = 64 };

/* To pass the turn on for each request wakes a thread for each, which behind nginx costs 17 µs of
 * 40, more than a short request itself. So a thread may offer its turn instead while it serves one:
 * it has it back at the price of an instruction if it comes soon. If not, another thread takes it,
 * once it has been offered for a whole tick: of those who wait, one looks once in each tick while
 * requests come. After many looks that found nothing but short requests, whoever looks does so
 * less often: each takes 15 µs, at 6,000 requests a second behind nginx 2 µs of each. The others
 * sleep, and while no requests come all do. */
struct turn {
    atomic_ullong state;   /* how many offers there were, one bit: it is offered, and whose it is */
    atomic_bool is_asleep; /* some wait, and none of them looks */
    pthread_mutex_t mutex;
    pthread_cond_t look, sleep; /* of the one who looks; of the others */
    bool has_looker;            /* with the mutex held, … */
    unsigned sleepers;          /* … as these: how many others wait, … */
    unsigned calm_looks;        /* … and how often in a row one has looked in vain */
};

void turn_init(struct turn *turn);
void turn_destroy(struct turn *turn);
/* Waits for it. number: the thread's, from 1 to 65535. */
void turn_take(struct turn *turn, unsigned number);
/* Offers it, until turn_reclaim. Whose it is not does nothing, here and below. */
void turn_offer(struct turn *turn, unsigned number);
/* false: another thread has it. */
bool turn_reclaim(struct turn *turn, unsigned number);
/* Gives it up, for one of those who wait. */
void turn_pass(struct turn *turn, unsigned number);

#endif

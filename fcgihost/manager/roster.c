/* Which worker processes there are, and what the manager does next. */
#include "manager/roster.h"

#include <string.h>

void roster_init(struct roster *roster, unsigned places, uint64_t end_ms)
{
    memset(roster, 0, sizeof(*roster));
    for (unsigned i = 0; i < ROSTER_PLACES_MAX; i++)
        roster->places[i] =
            (struct roster_place){.current = ROSTER_NOBODY, .successor = ROSTER_NOBODY};
    roster->place_count = places;
    roster->end_ms = end_ms;
    roster->generation = roster->served_generation = 1;
}

static bool is_there(const struct roster_worker *worker)
{
    return worker->state != WORKER_NONE;
}

size_t roster_count(const struct roster *roster)
{
    size_t count = 0;
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++)
        count += is_there(&roster->workers[i]);
    return count;
}

static int find_state(const struct roster *roster, enum roster_state state)
{
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++)
        if (roster->workers[i].state == state)
            return i;
    return ROSTER_NOBODY;
}

bool roster_is_serving(const struct roster *roster)
{
    return find_state(roster, WORKER_SERVING) != ROSTER_NOBODY;
}

bool roster_is_idle(const struct roster *roster)
{
    size_t idle = 0;
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++)
        idle += roster->workers[i].state == WORKER_SERVING && roster->workers[i].is_idle;
    return idle > 0 && idle == roster_count(roster);
}

/* It has tried to load what requests need, and could not. */
static bool has_failed(const struct roster_worker *worker)
{
    return worker->state == WORKER_STARTING && worker->report.is_refused;
}

static struct roster_action action_of(enum roster_action_kind kind, int worker)
{
    return (struct roster_action){.kind = kind, .worker = worker, .heir = ROSTER_NOBODY};
}

static const struct roster_action nothing = {ACTION_NONE, ROSTER_NOBODY, ROSTER_NOBODY,
                                             REPLACE_NOT};

/* A worker that replaces one that died gets the generation of those that serve; if none does, the
 * new one. */
static unsigned choose_generation(const struct roster *roster, bool is_rolled)
{
    bool is_new = is_rolled || (roster->roll == ROLL_RUNNING && !roster_is_serving(roster));
    return is_new ? roster->generation : roster->served_generation;
}

static struct roster_action start(struct roster *roster, unsigned place, bool is_successor,
                                  uint64_t now_ms)
{
    int slot = find_state(roster, WORKER_NONE);
    if (slot == ROSTER_NOBODY)
        return nothing;
    bool is_rolled = is_successor && roster->places[place].reason == REPLACE_ROLL;
    roster->workers[slot] =
        (struct roster_worker){.state = WORKER_STARTING,
                               .place = place,
                               .generation = choose_generation(roster, is_rolled),
                               .is_successor = is_successor,
                               .started_ms = now_ms};
    if (is_successor)
        roster->places[place].successor = slot;
    else
        roster->places[place].current = slot;
    struct roster_action action = action_of(ACTION_START, slot);
    action.reason = is_successor ? roster->places[place].reason : REPLACE_NOT;
    return action;
}

static struct roster_action stop(struct roster *roster, int slot, uint64_t now_ms)
{
    struct roster_worker *worker = &roster->workers[slot];
    worker->state = WORKER_STOPPING;
    worker->deadline_ms = now_ms + roster->end_ms;
    return action_of(ACTION_STOP, slot);
}

/* Kills a worker that has not exited by its deadline. */
static struct roster_action kill_late(struct roster *roster, uint64_t now_ms)
{
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++) {
        struct roster_worker *worker = &roster->workers[i];
        if (is_there(worker) && worker->deadline_ms != 0 && now_ms >= worker->deadline_ms &&
            !worker->is_killed) {
            worker->is_killed = true;
            return action_of(ACTION_KILL, i);
        }
    }
    return nothing;
}

static struct roster_action stop_all(struct roster *roster, uint64_t now_ms)
{
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++) {
        struct roster_worker *worker = &roster->workers[i];
        bool is_to_be_told = worker->state == WORKER_STARTING || worker->state == WORKER_SERVING ||
                             (roster->is_quick && !worker->is_told);
        if (is_there(worker) && is_to_be_told) {
            worker->is_told = roster->is_quick;
            return stop(roster, i, now_ms);
        }
    }
    return nothing;
}

/* May a worker be started in a vacant place? As long as nothing could be loaded only one worker
 * tries. */
static bool may_start(const struct roster *roster)
{
    if (roster_is_serving(roster))
        return true;
    return find_state(roster, WORKER_STARTING) == ROSTER_NOBODY;
}

static struct roster_action fill_vacancy(struct roster *roster, uint64_t now_ms)
{
    if (!may_start(roster))
        return nothing;
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++)
        if (has_failed(&roster->workers[i]) && !roster->workers[i].is_successor)
            return nothing;
    for (unsigned i = 0; i < roster->place_count; i++)
        if (roster->places[i].current == ROSTER_NOBODY && now_ms >= roster->places[i].start_ms)
            return start(roster, i, false, now_ms);
    return nothing;
}

/* Of several workers that can't load, one goes on trying and the others stop. */
static struct roster_action stop_second_failure(struct roster *roster, uint64_t now_ms)
{
    bool is_one_trying = false;
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++) {
        if (!has_failed(&roster->workers[i]) || roster->workers[i].is_successor)
            continue;
        if (is_one_trying)
            return stop(roster, i, now_ms);
        is_one_trying = true;
    }
    return nothing;
}

/* Workers that have loaded accept connections; while none has, one does, to answer 503. Successors
 * wait for their verdict. */
static struct roster_action let_accept(struct roster *roster)
{
    bool is_serving = roster_is_serving(roster), is_one_accepting = false;
    int candidate = ROSTER_NOBODY;
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++) {
        const struct roster_worker *worker = &roster->workers[i];
        bool is_ready =
            worker->state == (is_serving ? WORKER_SERVING : WORKER_STARTING) && worker->pid != 0;
        if (!is_ready || worker->is_successor)
            continue;
        is_one_accepting = is_one_accepting || worker->is_accepting;
        if (candidate == ROSTER_NOBODY && !worker->is_accepting)
            candidate = i;
    }
    if (candidate == ROSTER_NOBODY || (!is_serving && is_one_accepting))
        return nothing;
    roster->workers[candidate].is_accepting = true;
    return action_of(ACTION_ACCEPT, candidate);
}

static unsigned failures(const struct roster_worker *worker)
{
    return worker->report.failed_applications + worker->report.failed_imports;
}

enum verdict { VERDICT_WAIT, VERDICT_BETTER, VERDICT_WORSE };

/* May the successor take its predecessor's place? */
static enum verdict judge(const struct roster_worker *successor,
                          const struct roster_worker *current, enum roster_reason reason)
{
    const struct roster_report *new = &successor->report, *old = &current->report;
    if (current->state != WORKER_SERVING) /* the predecessor has nothing to lose */
        return new->is_loaded || new->is_refused ? VERDICT_BETTER : VERDICT_WAIT;
    unsigned allowed = old->failed_applications;
    if (!new->is_loaded)
        return new->is_refused ? VERDICT_WORSE : VERDICT_WAIT;
    if (new->failed_applications > allowed)
        return VERDICT_WORSE;
    if (!new->is_settled)
        return VERDICT_WAIT;
    if (reason == REPLACE_HEAL && failures(successor) >= failures(current))
        return VERDICT_WORSE;
    return VERDICT_BETTER;
}

static struct roster_action retire(struct roster *roster, int slot, int heir,
                                   enum roster_reason reason, uint64_t now_ms)
{
    struct roster_worker *worker = &roster->workers[slot];
    worker->state = WORKER_RETIRING;
    worker->deadline_ms = now_ms + roster->end_ms;
    return (struct roster_action){ACTION_RETIRE, slot, heir, reason};
}

static void begin_retry(struct roster_place *place, uint64_t now_ms)
{
    uint64_t delay_ms = place->retry_delay_ms > 0 ? 2 * place->retry_delay_ms : ROSTER_RETRY_MIN_MS;
    place->retry_delay_ms = delay_ms < ROSTER_RETRY_MAX_MS ? delay_ms : ROSTER_RETRY_MAX_MS;
    place->retry_ms = now_ms + place->retry_delay_ms;
}

/* The successor could not load, or died while it tried. The predecessor stays. */
static void fail_replacement(struct roster *roster, struct roster_place *place, uint64_t now_ms)
{
    enum roster_action_kind kind = ACTION_REPLACE_FAILED;
    bool is_superseded = roster->roll == ROLL_RUNNING &&
                         roster->workers[place->successor].generation < roster->generation;
    if (is_superseded) {
        kind = ACTION_NONE; /* the newer roll replaces it again */
    } else if (place->reason == REPLACE_ROLL) {
        kind = ACTION_ROLL_FAILED;
        roster->roll = ROLL_FAILED;
    } else if (place->reason == REPLACE_HEAL && place->current != ROSTER_NOBODY) {
        roster->workers[place->current].wanted = REPLACE_NOT; /* until the worker asks again */
    } else {
        begin_retry(place, now_ms);
    }
    roster->news = action_of(kind, place->successor);
    roster->news.reason = place->reason;
    place->successor = ROSTER_NOBODY; /* stop_unwanted() stops the process */
}

static struct roster_action end_replacement(struct roster *roster, uint64_t now_ms)
{
    for (unsigned i = 0; i < ROSTER_PLACES_MAX; i++) {
        struct roster_place *place = &roster->places[i];
        int slot = place->successor, before = place->current;
        if (slot == ROSTER_NOBODY || before == ROSTER_NOBODY)
            continue;
        enum verdict verdict =
            judge(&roster->workers[slot], &roster->workers[before], place->reason);
        if (verdict == VERDICT_BETTER) {
            enum roster_reason reason = place->reason;
            *place = (struct roster_place){.current = slot, .successor = ROSTER_NOBODY};
            roster->workers[slot].is_successor = false;
            roster->workers[slot].deadline_ms = 0;
            return retire(roster, before, slot, reason, now_ms);
        }
        if (verdict == VERDICT_WORSE)
            fail_replacement(roster, place, now_ms);
    }
    return nothing;
}

static struct roster_action tell_news(struct roster *roster)
{
    struct roster_action action = roster->news;
    roster->news = nothing;
    return action;
}

static bool is_wanted(const struct roster *roster, int slot)
{
    for (unsigned i = 0; i < ROSTER_PLACES_MAX; i++)
        if (roster->places[i].current == slot || roster->places[i].successor == slot)
            return true;
    return false;
}

/* Stops successors that no place wants any more. */
static struct roster_action stop_unwanted(struct roster *roster, uint64_t now_ms)
{
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++) {
        enum roster_state state = roster->workers[i].state;
        if ((state == WORKER_STARTING || state == WORKER_SERVING) && !is_wanted(roster, i))
            return stop(roster, i, now_ms);
    }
    return nothing;
}

/* If several workers lack the same application, one of them finds out whether it loads by now. */
static bool is_first_to_heal(const struct roster *roster, const struct roster_place *place)
{
    for (const struct roster_place *p = roster->places; p < place; p++)
        if (p->current != ROSTER_NOBODY && failures(&roster->workers[p->current]) > 0)
            return false;
    return true;
}

static enum roster_reason reason_to_replace(const struct roster *roster,
                                            const struct roster_place *place, uint64_t now_ms)
{
    if (place->current == ROSTER_NOBODY)
        return REPLACE_NOT;
    const struct roster_worker *worker = &roster->workers[place->current];
    if (roster->roll == ROLL_RUNNING && worker->generation < roster->generation)
        return REPLACE_ROLL;
    if (worker->state != WORKER_SERVING || now_ms < place->retry_ms)
        return REPLACE_NOT;
    if (worker->wanted == REPLACE_HEAL && !is_first_to_heal(roster, place))
        return REPLACE_NOT;
    return worker->wanted;
}

static bool is_replacing(const struct roster *roster)
{
    for (unsigned i = 0; i < ROSTER_PLACES_MAX; i++)
        if (roster->places[i].successor != ROSTER_NOBODY)
            return true;
    return find_state(roster, WORKER_RETIRING) != ROSTER_NOBODY;
}

static struct roster_action begin_replacement(struct roster *roster, uint64_t now_ms)
{
    if (is_replacing(roster))
        return nothing;
    for (unsigned i = roster->place_count; i < ROSTER_PLACES_MAX; i++) {
        int slot = roster->places[i].current;
        if (slot == ROSTER_NOBODY)
            continue;
        roster->places[i].current = ROSTER_NOBODY;
        return retire(roster, slot, find_state(roster, WORKER_SERVING), REPLACE_SCALE, now_ms);
    }
    for (unsigned i = 0; i < roster->place_count; i++) {
        roster->places[i].reason = reason_to_replace(roster, &roster->places[i], now_ms);
        if (roster->places[i].reason != REPLACE_NOT)
            return start(roster, i, true, now_ms);
    }
    return nothing;
}

/* The roll is done once a worker of the new generation serves in every place. */
static struct roster_action end_roll(struct roster *roster)
{
    if (roster->roll != ROLL_RUNNING || is_replacing(roster))
        return nothing;
    for (unsigned i = 0; i < roster->place_count; i++) {
        int slot = roster->places[i].current;
        if (slot == ROSTER_NOBODY || roster->workers[slot].generation < roster->generation ||
            roster->workers[slot].state != WORKER_SERVING)
            return nothing;
    }
    roster->roll = ROLL_DONE;
    roster->served_generation = roster->generation;
    return action_of(ACTION_ROLL_DONE, ROSTER_NOBODY);
}

struct roster_action roster_next(struct roster *roster, uint64_t now_ms)
{
    struct roster_action action = kill_late(roster, now_ms);
    if (roster->is_stopping)
        return action.kind != ACTION_NONE ? action : stop_all(roster, now_ms);
    if (action.kind == ACTION_NONE)
        action = end_replacement(roster, now_ms);
    if (action.kind == ACTION_NONE)
        action = tell_news(roster);
    if (action.kind == ACTION_NONE)
        action = stop_unwanted(roster, now_ms);
    if (action.kind == ACTION_NONE)
        action = stop_second_failure(roster, now_ms);
    if (action.kind == ACTION_NONE)
        action = fill_vacancy(roster, now_ms);
    if (action.kind == ACTION_NONE)
        action = let_accept(roster);
    if (action.kind == ACTION_NONE)
        action = begin_replacement(roster, now_ms);
    if (action.kind == ACTION_NONE)
        action = end_roll(roster);
    return action;
}

static void take_sooner(uint64_t *timeout_ms, uint64_t at_ms, uint64_t now_ms)
{
    uint64_t left_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    if (left_ms < *timeout_ms)
        *timeout_ms = left_ms;
}

uint64_t roster_timeout_ms(const struct roster *roster, uint64_t now_ms)
{
    uint64_t timeout_ms = UINT64_MAX;
    for (int i = 0; i < ROSTER_WORKERS_MAX; i++) {
        const struct roster_worker *worker = &roster->workers[i];
        if (is_there(worker) && worker->deadline_ms != 0 && !worker->is_killed)
            take_sooner(&timeout_ms, worker->deadline_ms, now_ms);
    }
    for (unsigned i = 0; i < roster->place_count && !roster->is_stopping; i++) {
        const struct roster_place *place = &roster->places[i];
        if (place->current == ROSTER_NOBODY && place->start_ms > now_ms)
            take_sooner(&timeout_ms, place->start_ms, now_ms);
        if (place->current != ROSTER_NOBODY && place->retry_ms > now_ms)
            take_sooner(&timeout_ms, place->retry_ms, now_ms);
    }
    return timeout_ms;
}

void roster_started(struct roster *roster, int worker, pid_t pid, uint64_t now_ms)
{
    roster->workers[worker].pid = pid;
    roster->workers[worker].started_ms = now_ms;
}

int roster_adopt(struct roster *roster, pid_t pid, unsigned place, unsigned generation,
                 uint64_t started_ms, const struct roster_report *report)
{
    int slot = find_state(roster, WORKER_NONE);
    if (slot == ROSTER_NOBODY || place >= ROSTER_PLACES_MAX ||
        roster->places[place].current != ROSTER_NOBODY)
        return ROSTER_NOBODY;
    roster->workers[slot] = (struct roster_worker){.state = WORKER_SERVING,
                                                   .pid = pid,
                                                   .place = place,
                                                   .generation = generation,
                                                   .is_accepting = true,
                                                   .started_ms = started_ms,
                                                   .report = *report};
    roster->places[place].current = slot;
    if (generation > roster->generation)
        roster->generation = roster->served_generation = generation;
    return slot;
}

void roster_report(struct roster *roster, int worker, const struct roster_report *report)
{
    struct roster_worker *the_worker = &roster->workers[worker];
    the_worker->report = *report;
    if (report->is_loaded && the_worker->state == WORKER_STARTING)
        the_worker->state = WORKER_SERVING;
}

void roster_ask(struct roster *roster, int worker, enum roster_reason reason)
{
    struct roster_worker *the_worker = &roster->workers[worker];
    if (the_worker->wanted != REPLACE_LIMIT)
        the_worker->wanted = reason;
}

/* When a vacant place gets a worker again: if workers die young, after a delay that doubles. */
static uint64_t delay_start(struct roster_place *place, const struct roster_worker *worker,
                            uint64_t now_ms)
{
    bool is_young = now_ms < worker->started_ms + ROSTER_YOUNG_MS;
    if (!is_young)
        place->delay_ms = 0;
    else if (place->delay_ms == 0)
        place->delay_ms = ROSTER_DELAY_MIN_MS;
    else
        place->delay_ms =
            2 * place->delay_ms < ROSTER_DELAY_MAX_MS ? 2 * place->delay_ms : ROSTER_DELAY_MAX_MS;
    place->start_ms = now_ms + place->delay_ms;
    return place->delay_ms;
}

uint64_t roster_exited(struct roster *roster, int worker, uint64_t now_ms)
{
    struct roster_worker *the_worker = &roster->workers[worker];
    struct roster_place *place = &roster->places[the_worker->place];
    uint64_t delay_ms = UINT64_MAX;
    if (place->successor == worker) {
        fail_replacement(roster, place, now_ms);
    } else if (place->current == worker) {
        place->current = place->successor;
        place->successor = ROSTER_NOBODY;
        if (place->current != ROSTER_NOBODY) {
            roster->workers[place->current].is_successor = false;
            roster->workers[place->current].deadline_ms = 0;
        } else if (!roster->is_stopping && the_worker->place < roster->place_count)
            delay_ms = delay_start(place, the_worker, now_ms);
    }
    the_worker->state = WORKER_NONE;
    return delay_ms;
}

/* A successor of the previous roll may go on loading, and is replaced afterwards: otherwise no roll
 * would ever end while reloads come faster than the application loads. */
void roster_roll(struct roster *roster, uint64_t now_ms)
{
    roster->generation++;
    roster->roll = ROLL_RUNNING;
    for (unsigned i = 0; i < ROSTER_PLACES_MAX; i++) {
        struct roster_place *place = &roster->places[i];
        place->retry_ms = place->retry_delay_ms = 0;
        place->start_ms = place->delay_ms = 0;
        if (place->successor != ROSTER_NOBODY && roster->workers[place->successor].deadline_ms == 0)
            roster->workers[place->successor].deadline_ms = now_ms + ROSTER_SUPERSEDED_MS;
    }
}

void roster_resize(struct roster *roster, unsigned places)
{
    roster->place_count = places < ROSTER_PLACES_MAX ? places : ROSTER_PLACES_MAX;
}

void roster_stop(struct roster *roster, bool is_quick)
{
    roster->is_stopping = true;
    roster->is_quick = roster->is_quick || is_quick;
}

/* Which worker processes there are, and what the manager does next. */
#include "manager/worker_plan.h"

#include <string.h>

void worker_plan_init(struct worker_plan *plan, unsigned places, uint64_t end_ms)
{
    memset(plan, 0, sizeof(*plan));
    for (unsigned i = 0; i < WORKER_PLAN_PLACES_MAX; i++)
        plan->places[i] = (struct worker_plan_place){.current = WORKER_PLAN_NOBODY,
                                                     .successor = WORKER_PLAN_NOBODY};
    plan->place_count = places;
    plan->end_ms = end_ms;
    plan->generation = plan->served_generation = 1;
}

static bool is_there(const struct planned_worker *worker)
{
    return worker->state != WORKER_NONE;
}

size_t worker_plan_count(const struct worker_plan *plan)
{
    size_t count = 0;
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
        count += is_there(&plan->workers[i]);
    return count;
}

static int find_state(const struct worker_plan *plan, enum worker_plan_state state)
{
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
        if (plan->workers[i].state == state)
            return i;
    return WORKER_PLAN_NOBODY;
}

bool worker_plan_is_serving(const struct worker_plan *plan)
{
    return find_state(plan, WORKER_SERVING) != WORKER_PLAN_NOBODY;
}

bool worker_plan_is_idle(const struct worker_plan *plan)
{
    size_t idle = 0;
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
        idle += plan->workers[i].state == WORKER_SERVING && plan->workers[i].is_idle;
    return idle > 0 && idle == worker_plan_count(plan);
}

/* It has tried to load what requests need, and could not. */
static bool has_failed(const struct planned_worker *worker)
{
    return worker->state == WORKER_STARTING && worker->report.is_refused;
}

static struct worker_plan_action action_of(enum worker_plan_action_kind kind, int worker)
{
    return (struct worker_plan_action){.kind = kind, .worker = worker, .heir = WORKER_PLAN_NOBODY};
}

static const struct worker_plan_action nothing = {ACTION_NONE, WORKER_PLAN_NOBODY,
                                                  WORKER_PLAN_NOBODY, REPLACE_NOT};

/* A worker that replaces one that died gets the generation of those that serve; if none does, the
 * new one. */
static unsigned choose_generation(const struct worker_plan *plan, bool is_rolled)
{
    bool is_new = is_rolled || (plan->roll == ROLL_RUNNING && !worker_plan_is_serving(plan));
    return is_new ? plan->generation : plan->served_generation;
}

static struct worker_plan_action start(struct worker_plan *plan, unsigned place, bool is_successor,
                                       uint64_t now_ms)
{
    int slot = find_state(plan, WORKER_NONE);
    if (slot == WORKER_PLAN_NOBODY)
        return nothing;
    bool is_rolled = is_successor && plan->places[place].reason == REPLACE_ROLL;
    plan->workers[slot] = (struct planned_worker){.state = WORKER_STARTING,
                                                  .place = place,
                                                  .generation = choose_generation(plan, is_rolled),
                                                  .is_successor = is_successor,
                                                  .started_ms = now_ms};
    if (is_successor)
        plan->places[place].successor = slot;
    else
        plan->places[place].current = slot;
    struct worker_plan_action action = action_of(ACTION_START, slot);
    action.reason = is_successor ? plan->places[place].reason : REPLACE_NOT;
    return action;
}

static struct worker_plan_action stop(struct worker_plan *plan, int slot, uint64_t now_ms)
{
    struct planned_worker *worker = &plan->workers[slot];
    worker->state = WORKER_STOPPING;
    worker->deadline_ms = now_ms + plan->end_ms;
    return action_of(ACTION_STOP, slot);
}

/* Kills a worker that has not exited by its deadline. */
static struct worker_plan_action kill_late(struct worker_plan *plan, uint64_t now_ms)
{
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++) {
        struct planned_worker *worker = &plan->workers[i];
        if (is_there(worker) && worker->deadline_ms != 0 && now_ms >= worker->deadline_ms &&
            !worker->is_killed) {
            worker->is_killed = true;
            return action_of(ACTION_KILL, i);
        }
    }
    return nothing;
}

static struct worker_plan_action stop_all(struct worker_plan *plan, uint64_t now_ms)
{
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++) {
        struct planned_worker *worker = &plan->workers[i];
        bool is_to_be_told = worker->state == WORKER_STARTING || worker->state == WORKER_SERVING ||
                             (plan->is_quick && !worker->is_told);
        if (is_there(worker) && is_to_be_told) {
            worker->is_told = plan->is_quick;
            return stop(plan, i, now_ms);
        }
    }
    return nothing;
}

/* May a worker be started in a vacant place? As long as nothing could be loaded only one worker
 * tries. */
static bool may_start(const struct worker_plan *plan)
{
    if (worker_plan_is_serving(plan))
        return true;
    return find_state(plan, WORKER_STARTING) == WORKER_PLAN_NOBODY;
}

static struct worker_plan_action fill_vacancy(struct worker_plan *plan, uint64_t now_ms)
{
    if (!may_start(plan))
        return nothing;
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++)
        if (has_failed(&plan->workers[i]) && !plan->workers[i].is_successor)
            return nothing;
    for (unsigned i = 0; i < plan->place_count; i++)
        if (plan->places[i].current == WORKER_PLAN_NOBODY && now_ms >= plan->places[i].start.until_ms)
            return start(plan, i, false, now_ms);
    return nothing;
}

/* Of several workers that can't load, one goes on trying and the others stop. */
static struct worker_plan_action stop_second_failure(struct worker_plan *plan, uint64_t now_ms)
{
    bool is_one_trying = false;
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++) {
        if (!has_failed(&plan->workers[i]) || plan->workers[i].is_successor)
            continue;
        if (is_one_trying)
            return stop(plan, i, now_ms);
        is_one_trying = true;
    }
    return nothing;
}

/* Workers that have loaded accept connections; while none has, one does, to answer 503. Successors
 * wait for their verdict. */
static struct worker_plan_action let_accept(struct worker_plan *plan)
{
    bool is_serving = worker_plan_is_serving(plan), is_one_accepting = false;
    int candidate = WORKER_PLAN_NOBODY;
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++) {
        const struct planned_worker *worker = &plan->workers[i];
        bool is_ready =
            worker->state == (is_serving ? WORKER_SERVING : WORKER_STARTING) && worker->pid != 0;
        if (!is_ready || worker->is_successor)
            continue;
        is_one_accepting = is_one_accepting || worker->is_accepting;
        if (candidate == WORKER_PLAN_NOBODY && !worker->is_accepting)
            candidate = i;
    }
    if (candidate == WORKER_PLAN_NOBODY || (!is_serving && is_one_accepting))
        return nothing;
    plan->workers[candidate].is_accepting = true;
    return action_of(ACTION_ACCEPT, candidate);
}

static unsigned failures(const struct planned_worker *worker)
{
    return worker->report.failed_applications + worker->report.failed_imports;
}

enum verdict { VERDICT_WAIT, VERDICT_BETTER, VERDICT_WORSE };

/* May the successor take its predecessor's place? */
static enum verdict judge(const struct planned_worker *successor,
                          const struct planned_worker *current, enum worker_plan_reason reason)
{
    const struct worker_plan_report *new = &successor->report, *old = &current->report;
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

static struct worker_plan_action retire(struct worker_plan *plan, int slot, int heir,
                                        enum worker_plan_reason reason, uint64_t now_ms)
{
    struct planned_worker *worker = &plan->workers[slot];
    worker->state = WORKER_RETIRING;
    worker->deadline_ms = now_ms + plan->end_ms;
    return (struct worker_plan_action){ACTION_RETIRE, slot, heir, reason};
}

/* The successor could not load, or died while it tried. The predecessor stays. */
static void fail_replacement(struct worker_plan *plan, struct worker_plan_place *place,
                             uint64_t now_ms)
{
    enum worker_plan_action_kind kind = ACTION_REPLACE_FAILED;
    bool is_superseded =
        plan->roll == ROLL_RUNNING && plan->workers[place->successor].generation < plan->generation;
    if (is_superseded) {
        kind = ACTION_NONE; /* the newer roll replaces it again */
    } else if (place->reason == REPLACE_ROLL) {
        kind = ACTION_ROLL_FAILED;
        plan->roll = ROLL_FAILED;
    } else if (place->reason == REPLACE_HEAL && place->current != WORKER_PLAN_NOBODY) {
        plan->workers[place->current].wanted = REPLACE_NOT; /* until the worker asks again */
    } else {
        restart_delay_not_replaced(&place->retry, now_ms);
    }
    plan->news = action_of(kind, place->successor);
    plan->news.reason = place->reason;
    place->successor = WORKER_PLAN_NOBODY; /* stop_unwanted() stops the process */
}

static struct worker_plan_action end_replacement(struct worker_plan *plan, uint64_t now_ms)
{
    for (unsigned i = 0; i < WORKER_PLAN_PLACES_MAX; i++) {
        struct worker_plan_place *place = &plan->places[i];
        int slot = place->successor, before = place->current;
        if (slot == WORKER_PLAN_NOBODY || before == WORKER_PLAN_NOBODY)
            continue;
        enum verdict verdict = judge(&plan->workers[slot], &plan->workers[before], place->reason);
        if (verdict == VERDICT_BETTER) {
            enum worker_plan_reason reason = place->reason;
            *place = (struct worker_plan_place){.current = slot, .successor = WORKER_PLAN_NOBODY};
            plan->workers[slot].is_successor = false;
            plan->workers[slot].deadline_ms = 0;
            return retire(plan, before, slot, reason, now_ms);
        }
        if (verdict == VERDICT_WORSE)
            fail_replacement(plan, place, now_ms);
    }
    return nothing;
}

static struct worker_plan_action tell_news(struct worker_plan *plan)
{
    struct worker_plan_action action = plan->news;
    plan->news = nothing;
    return action;
}

static bool is_wanted(const struct worker_plan *plan, int slot)
{
    for (unsigned i = 0; i < WORKER_PLAN_PLACES_MAX; i++)
        if (plan->places[i].current == slot || plan->places[i].successor == slot)
            return true;
    return false;
}

/* Stops successors that no place wants any more. */
static struct worker_plan_action stop_unwanted(struct worker_plan *plan, uint64_t now_ms)
{
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++) {
        enum worker_plan_state state = plan->workers[i].state;
        if ((state == WORKER_STARTING || state == WORKER_SERVING) && !is_wanted(plan, i))
            return stop(plan, i, now_ms);
    }
    return nothing;
}

/* If several workers lack the same application, one of them finds out whether it loads by now. */
static bool is_first_to_heal(const struct worker_plan *plan, const struct worker_plan_place *place)
{
    for (const struct worker_plan_place *p = plan->places; p < place; p++)
        if (p->current != WORKER_PLAN_NOBODY && failures(&plan->workers[p->current]) > 0)
            return false;
    return true;
}

static enum worker_plan_reason reason_to_replace(const struct worker_plan *plan,
                                                 const struct worker_plan_place *place,
                                                 uint64_t now_ms)
{
    if (place->current == WORKER_PLAN_NOBODY)
        return REPLACE_NOT;
    const struct planned_worker *worker = &plan->workers[place->current];
    if (plan->roll == ROLL_RUNNING && worker->generation < plan->generation)
        return REPLACE_ROLL;
    if (worker->state != WORKER_SERVING || now_ms < place->retry.until_ms)
        return REPLACE_NOT;
    if (worker->wanted == REPLACE_HEAL && !is_first_to_heal(plan, place))
        return REPLACE_NOT;
    return worker->wanted;
}

static bool is_replacing(const struct worker_plan *plan)
{
    for (unsigned i = 0; i < WORKER_PLAN_PLACES_MAX; i++)
        if (plan->places[i].successor != WORKER_PLAN_NOBODY)
            return true;
    return find_state(plan, WORKER_RETIRING) != WORKER_PLAN_NOBODY;
}

static struct worker_plan_action begin_replacement(struct worker_plan *plan, uint64_t now_ms)
{
    if (is_replacing(plan))
        return nothing;
    for (unsigned i = plan->place_count; i < WORKER_PLAN_PLACES_MAX; i++) {
        int slot = plan->places[i].current;
        if (slot == WORKER_PLAN_NOBODY)
            continue;
        plan->places[i].current = WORKER_PLAN_NOBODY;
        return retire(plan, slot, find_state(plan, WORKER_SERVING), REPLACE_SCALE, now_ms);
    }
    for (unsigned i = 0; i < plan->place_count; i++) {
        plan->places[i].reason = reason_to_replace(plan, &plan->places[i], now_ms);
        if (plan->places[i].reason != REPLACE_NOT)
            return start(plan, i, true, now_ms);
    }
    return nothing;
}

/* The roll is done once a worker of the new generation serves in every place. */
static struct worker_plan_action end_roll(struct worker_plan *plan)
{
    if (plan->roll != ROLL_RUNNING || is_replacing(plan))
        return nothing;
    for (unsigned i = 0; i < plan->place_count; i++) {
        int slot = plan->places[i].current;
        if (slot == WORKER_PLAN_NOBODY || plan->workers[slot].generation < plan->generation ||
            plan->workers[slot].state != WORKER_SERVING)
            return nothing;
    }
    plan->roll = ROLL_DONE;
    plan->served_generation = plan->generation;
    return action_of(ACTION_ROLL_DONE, WORKER_PLAN_NOBODY);
}

struct worker_plan_action worker_plan_next(struct worker_plan *plan, uint64_t now_ms)
{
    struct worker_plan_action action = kill_late(plan, now_ms);
    if (plan->is_stopping)
        return action.kind != ACTION_NONE ? action : stop_all(plan, now_ms);
    if (action.kind == ACTION_NONE)
        action = end_replacement(plan, now_ms);
    if (action.kind == ACTION_NONE)
        action = tell_news(plan);
    if (action.kind == ACTION_NONE)
        action = stop_unwanted(plan, now_ms);
    if (action.kind == ACTION_NONE)
        action = stop_second_failure(plan, now_ms);
    if (action.kind == ACTION_NONE)
        action = fill_vacancy(plan, now_ms);
    if (action.kind == ACTION_NONE)
        action = let_accept(plan);
    if (action.kind == ACTION_NONE)
        action = begin_replacement(plan, now_ms);
    if (action.kind == ACTION_NONE)
        action = end_roll(plan);
    return action;
}

static void take_sooner(uint64_t *timeout_ms, uint64_t at_ms, uint64_t now_ms)
{
    uint64_t left_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    if (left_ms < *timeout_ms)
        *timeout_ms = left_ms;
}

uint64_t worker_plan_timeout_ms(const struct worker_plan *plan, uint64_t now_ms)
{
    uint64_t timeout_ms = UINT64_MAX;
    for (int i = 0; i < WORKER_PLAN_WORKERS_MAX; i++) {
        const struct planned_worker *worker = &plan->workers[i];
        if (is_there(worker) && worker->deadline_ms != 0 && !worker->is_killed)
            take_sooner(&timeout_ms, worker->deadline_ms, now_ms);
    }
    for (unsigned i = 0; i < plan->place_count && !plan->is_stopping; i++) {
        const struct worker_plan_place *place = &plan->places[i];
        if (place->current == WORKER_PLAN_NOBODY && place->start.until_ms > now_ms)
            take_sooner(&timeout_ms, place->start.until_ms, now_ms);
        if (place->current != WORKER_PLAN_NOBODY && place->retry.until_ms > now_ms)
            take_sooner(&timeout_ms, place->retry.until_ms, now_ms);
    }
    return timeout_ms;
}

void worker_plan_started(struct worker_plan *plan, int worker, pid_t pid, uint64_t now_ms)
{
    plan->workers[worker].pid = pid;
    plan->workers[worker].started_ms = now_ms;
}

int worker_plan_adopt(struct worker_plan *plan, pid_t pid, unsigned place, unsigned generation,
                      uint64_t started_ms, const struct worker_plan_report *report)
{
    int slot = find_state(plan, WORKER_NONE);
    if (slot == WORKER_PLAN_NOBODY || place >= WORKER_PLAN_PLACES_MAX ||
        plan->places[place].current != WORKER_PLAN_NOBODY)
        return WORKER_PLAN_NOBODY;
    plan->workers[slot] = (struct planned_worker){.state = WORKER_SERVING,
                                                  .pid = pid,
                                                  .place = place,
                                                  .generation = generation,
                                                  .is_accepting = true,
                                                  .started_ms = started_ms,
                                                  .report = *report};
    plan->places[place].current = slot;
    if (generation > plan->generation)
        plan->generation = plan->served_generation = generation;
    return slot;
}

void worker_plan_report(struct worker_plan *plan, int worker,
                        const struct worker_plan_report *report)
{
    struct planned_worker *the_worker = &plan->workers[worker];
    the_worker->report = *report;
    if (report->is_loaded && the_worker->state == WORKER_STARTING)
        the_worker->state = WORKER_SERVING;
}

void worker_plan_ask(struct worker_plan *plan, int worker, enum worker_plan_reason reason)
{
    struct planned_worker *the_worker = &plan->workers[worker];
    if (the_worker->wanted != REPLACE_LIMIT)
        the_worker->wanted = reason;
}

uint64_t worker_plan_exited(struct worker_plan *plan, int worker, uint64_t now_ms)
{
    struct planned_worker *the_worker = &plan->workers[worker];
    struct worker_plan_place *place = &plan->places[the_worker->place];
    uint64_t delay_ms = UINT64_MAX;
    if (place->successor == worker) {
        fail_replacement(plan, place, now_ms);
    } else if (place->current == worker) {
        place->current = place->successor;
        place->successor = WORKER_PLAN_NOBODY;
        if (place->current != WORKER_PLAN_NOBODY) {
            plan->workers[place->current].is_successor = false;
            plan->workers[place->current].deadline_ms = 0;
        } else if (!plan->is_stopping && the_worker->place < plan->place_count)
            delay_ms = restart_delay_died(&place->start, the_worker->started_ms, now_ms);
    }
    the_worker->state = WORKER_NONE;
    return delay_ms;
}

/* A successor of the previous roll may go on loading, and is replaced afterwards: otherwise no roll
 * would ever end while reloads come faster than the application loads. */
void worker_plan_roll(struct worker_plan *plan, uint64_t now_ms)
{
    plan->generation++;
    plan->roll = ROLL_RUNNING;
    for (unsigned i = 0; i < WORKER_PLAN_PLACES_MAX; i++) {
        struct worker_plan_place *place = &plan->places[i];
        place->retry = place->start = (struct restart_delay){0};
        if (place->successor != WORKER_PLAN_NOBODY &&
            plan->workers[place->successor].deadline_ms == 0)
            plan->workers[place->successor].deadline_ms = now_ms + WORKER_PLAN_SUPERSEDED_MS;
    }
}

void worker_plan_resize(struct worker_plan *plan, unsigned places)
{
    plan->place_count = places < WORKER_PLAN_PLACES_MAX ? places : WORKER_PLAN_PLACES_MAX;
}

void worker_plan_stop(struct worker_plan *plan, bool is_quick)
{
    plan->is_stopping = true;
    plan->is_quick = plan->is_quick || is_quick;
}

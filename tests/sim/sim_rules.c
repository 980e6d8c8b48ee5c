/*
 * What must hold, whatever the scenario. What waits after a round is judged from the frames
 * themselves and from what the fake ports know, against the rule that is in force; the worker's own
 * note of a group is believed only for when its frames were loaded.
 */
#include "sim_world.h"

/* Bytes that a sender may be owed without being told: of worker_hold.c. */
enum { GIVEN_BACK_BYTES_MAX = 8192 };

static const struct fake_queue *fake_of(const struct port_queue *queue)
{
    return CV_CONTAINER_OF(queue, struct fake_queue, base);
}

/* --- what waits after a round --- */

/* The rule is what the owner has stated, or keeps to the budget: T is at most twice D where packets
 * are dense (model_budget_time), give and take the margin of a tenth. */
static void check_rule(const struct hold_rule *rule, const struct hold_config *hold)
{
    switch (hold->mode) {
    case HOLD_OFF:
    case HOLD_NATURAL:
        SIM_CHECK(rule->time_max_ns == 0);
        break;
    case HOLD_FIXED:
        SIM_CHECK(rule->time_max_ns == hold->time_max_ns &&
                  rule->packets_max == hold->packets_max && rule->silence_max_ns == 0);
        break;
    case HOLD_ADAPTIVE:
        SIM_CHECK((double)rule->time_max_ns <= 2.2 * (double)hold->delay_budget_ns + 1);
        SIM_CHECK(rule->packets_max >= 1 && rule->packets_max <= HOLD_PACKETS_MAX);
        break;
    }
}

/* When a group that waits under a rule ends; it has a reason to wait until then. */
static uint64_t check_group(const struct worker *worker, const struct hold_rule *rule,
                            const struct hold_group *group, unsigned packets)
{
    uint64_t due_ns = group->batches[0].arrived_ns + rule->time_max_ns;

    SIM_CHECK(group->packets > 0 && group->batch_count > 0);
    SIM_CHECK(rule->time_max_ns > 0);
    SIM_CHECK(packets < rule->packets_max);
    SIM_CHECK(group->batch_count < HOLD_BATCHES_MAX);
    if (rule->silence_max_ns > 0)
        due_ns = CV_MIN(due_ns,
                        group->batches[group->batch_count - 1].arrived_ns + rule->silence_max_ns);
    SIM_CHECK(worker->now_ns < due_ns);
    return due_ns;
}

/* Frames may be pushed back, and with them those behind them that are for other ports. */
static bool pushes_back(const struct worker *worker)
{
    for (unsigned id = 0; id < worker->outlet_limit; id++)
        if (worker->outlets[id].port && worker->outlets[id].full == FULL_PUSH_BACK)
            return true;
    return false;
}

/* Frames aboard that wait for company: none is express or flooded, and the group began with the
 * first. */
static void check_aboard(const struct worker *worker, struct lane *lane)
{
    struct convoy *convoy = &lane->convoy;
    unsigned packets = 0;

    for (unsigned i = 0; i < convoy->count; i++) {
        for (const struct frame *frame = convoy_frames(convoy)[i]; frame;
             frame = frame->merged_next) {
            SIM_CHECK(!(frame->facts.flags & FRAME_EXPRESS) && !frame->is_shared);
            /* What was handed over or pushed back was taken before it was loaded. */
            if (frame->source->worker == worker->id && !pushes_back(worker))
                SIM_CHECK(frame->arrived_ns >= lane->waiting.batches[0].arrived_ns);
            packets++;
        }
    }
    SIM_CHECK(packets == convoy->packets);
    SIM_CHECK(lane->controller.rule.place == HOLD_PLACE_DATA);
    SIM_CHECK(!frame_pool_is_short(&worker->frames, NULL));
}

/* The guest was short of buffers: it has been told of all, and its patience is not at an end. */
static uint64_t check_blocked(const struct worker *worker, const struct lane *lane)
{
    const struct fake_queue *fake = fake_of(lane->queue);
    uint64_t due_ns = lane->convoy.blocked_since_ns + STALL_NS;

    SIM_CHECK(lane->convoy.count > 0 && fake->room == 0);
    SIM_CHECK(fake->news.packets == 0);
    SIM_CHECK(!lane->is_stalled);
    /* Nothing waits that harms others; that it did is found out at the end of a round. */
    SIM_CHECK(worker->now_ns >= lane->no_wait_until_ns ||
              worker->now_ns + NO_WAIT_NS == lane->no_wait_until_ns);
    SIM_CHECK(worker->now_ns < due_ns);
    return due_ns;
}

/* Until when something waits for the lane; UINT64_MAX: nothing does. */
static uint64_t check_lane(const struct worker *worker, struct lane *lane)
{
    const struct fake_queue *fake = fake_of(lane->queue);
    unsigned aboard = lane->convoy.packets, untold;

    if (lane->queue->worker != worker->id) {
        SIM_CHECK(aboard == 0 && lane->waiting.packets == 0);
        return UINT64_MAX;
    }
    SIM_CHECK(!fake->has_part);
    if (lane->convoy.blocked_since_ns)
        return check_blocked(worker, lane);
    untold = fake->news.packets;
    SIM_CHECK(lane->untold == untold);
    SIM_CHECK(lane->waiting.packets == aboard + untold);
    if (aboard + untold == 0)
        return UINT64_MAX;
    SIM_CHECK(lane->outlet->state == OUTLET_UP);
    check_rule(&lane->controller.rule, &lane->outlet->hold);
    SIM_CHECK(!fake->news.is_urgent);
    if (untold > 0)
        SIM_CHECK(worker->now_ns < fake->news.since_ns + lane->controller.rule.time_max_ns);
    if (aboard > 0)
        check_aboard(worker, lane);
    return check_group(worker, &lane->controller.rule, &lane->waiting, aboard + untold);
}

/* Until when the sender is not told of all that it can have back; UINT64_MAX: it knows all. */
static uint64_t check_sender(const struct worker *worker, const struct fake_queue *fake)
{
    const struct port_queue *queue = &fake->base;
    const struct hold_rule *rule = &queue->kick_rule;

    if (fake->back.packets == 0)
        return UINT64_MAX;
    check_rule(rule, &worker->outlets[queue->port->id].hold);
    SIM_CHECK(fake->back.bytes <= GIVEN_BACK_BYTES_MAX && fake->back.packets < queue->owed_max);
    SIM_CHECK(worker->now_ns < fake->back.since_ns + rule->time_max_ns);
    return check_group(worker, rule, &queue->given_back, queue->given_back.packets);
}

static uint64_t check_senders(const struct sim *sim, const struct worker *worker)
{
    uint64_t due_ns = UINT64_MAX;

    for (unsigned id = 0; id < SIM_PORTS_MAX; id++) {
        for (unsigned q = 0; sim->is_attached[id] && q < sim->ports[id].base.queue_count; q++) {
            const struct fake_queue *fake = &sim->ports[id].queues[q];

            if (fake->base.worker == worker->id)
                due_ns = CV_MIN(due_ns, check_sender(worker, fake));
        }
    }
    return due_ns;
}

void sim_check_round(const struct sim *sim, unsigned worker_id, bool has_moved)
{
    struct worker *worker = &sim->workers[worker_id];
    uint64_t due_ns = check_senders(sim, worker);
    bool is_paused = false;

    SIM_CHECK(worker->dirty_count == 0);
    for (unsigned id = 0; id < SIM_PORTS_MAX; id++) {
        for (unsigned q = 0; q < PORT_QUEUE_PAIRS_MAX; q++) {
            struct lane *lane = worker->outlets[id].lanes[q];

            if (!lane)
                continue;
            SIM_CHECK(lane->is_open || lane->convoy.count == 0);
            if (worker->outlets[id].state == OUTLET_PAUSED)
                is_paused |= lane->is_open;
            else
                due_ns = CV_MIN(due_ns, check_lane(worker, lane));
        }
    }
    /* What waits for a port that is being changed ends with that. */
    if (is_paused)
        return;
    SIM_CHECK(worker->next_due_ns <= due_ns);
    if (has_moved)
        return;
    /* Now it rests: without a busy loop, or a needless timer. */
    SIM_CHECK(worker->next_due_ns > worker->now_ns);
    SIM_CHECK(due_ns != UINT64_MAX || worker->next_due_ns == UINT64_MAX);
}

/* --- what holds at any time --- */

/* Frames of a worker's own queues that it has not got back. */
static unsigned outstanding(const struct sim *sim, unsigned worker)
{
    unsigned count = 0;

    for (unsigned id = 0; id < SIM_PORTS_MAX; id++)
        for (unsigned q = 0; sim->has_port[id] && q < sim->ports[id].base.queue_count; q++)
            if (sim->ports[id].queues[q].base.worker == worker)
                count += sim->ports[id].queues[q].base.outstanding;
    return count;
}

void sim_check(const struct sim *sim)
{
    for (unsigned w = 0; w < sim->worker_count; w++) {
        const struct worker *worker = &sim->workers[w];

        SIM_CHECK(frame_pool_left(&worker->frames) + outstanding(sim, w) ==
                  worker->frames.capacity);
        for (unsigned p = 0; p < sim->worker_count; p++)
            SIM_CHECK(worker->exchanges[p].in_flight <= EXCHANGE_FRAMES_MAX);
        for (unsigned i = 0; i < worker->open_count; i++) {
            SIM_CHECK(worker->open[i]->is_open);
            SIM_CHECK(worker->open[i]->convoy.count <= CONVOY_FRAMES_MAX);
        }
    }
}

void sim_check_balance(const struct sim *sim)
{
    uint64_t copies = sim->gone_copies, delivered = sim->gone_delivered, drops = 0;
    uint64_t merged = sim->gone_merged, to_merged = sim->gone_counters.to_merged;

    for (unsigned id = 0; id < SIM_PORTS_MAX; id++) {
        struct port_counters counters = sim_counters(sim, id);

        SIM_CHECK(sim_waiting(sim, id) == 0);
        for (unsigned r = 0; r < DROP_REASON_COUNT; r++)
            drops += counters.drops[r];
        if (!sim->has_port[id])
            continue;
        to_merged += counters.to_merged;
        SIM_CHECK(counters.to_merged <= counters.merges[MERGE_JOINED]);
        for (unsigned q = 0; q < sim->ports[id].base.queue_count; q++) {
            const struct fake_queue *queue = &sim->ports[id].queues[q];

            SIM_CHECK(queue->base.outstanding == 0 && queue->oldest == queue->newest);
            SIM_CHECK(queue->base.stash_count == 0);
            copies += queue->copies;
            delivered += queue->delivered;
            merged += queue->merged;
        }
        for (unsigned w = 0; w < sim->worker_count; w++)
            SIM_CHECK(sim->workers[w].outlets[id].counters.drops[DROP_NONE] == 0);
    }
    for (unsigned r = 0; r < DROP_REASON_COUNT; r++)
        drops += sim->gone_counters.drops[r];
    SIM_CHECK(copies == delivered + drops);
    SIM_CHECK(merged == to_merged);
    for (unsigned w = 0; w < sim->worker_count; w++) {
        SIM_CHECK(sim->workers[w].frames.buffer_count == FRAME_BUFFERS_MAX);
        SIM_CHECK(sim->workers[w].frames.small_count == FRAME_SMALL_BUFFERS_MAX);
    }
}

/*
 * What waits for company, in both directions, and what is learnt from it.
 *
 * To a guest: packets aboard a convoy, or delivered while the call waits, form a group under the
 * rule of the lane's controller. The controller is told what arrives, what deliveries and calls
 * take, and how long guests take to look; the histograms show what came of it.
 *
 * From a guest: its kicks are asked for in groups (worker_sleep.c), and the calls that give its
 * buffers back are made in groups, by a rule derived from what it sends. Only small frames wait
 * so: a sender that has many bytes out may be waiting for them.
 */
#include "base/clock.h"
#include "switch/worker.h"

/* How long a guest may take to look before that is no answer to the call any more. */
#define ANSWER_NS_MAX UINT64_C(5000000)

/* A guest is watched once in so long: each look may take a cache line from its processor. */
#define ANSWER_INTERVAL_NS UINT64_C(100000)

/* Bytes that a sender may be owed: TCP stops when too many are out (Linux: tcp_limit_output_bytes
 * and byte queue limits), and acknowledgements never come to that. */
enum { GIVEN_BACK_BYTES_MAX = 8192 };

/* --- to a guest --- */

void worker_inform_controller(struct worker *worker, struct lane *lane)
{
    struct controller *controller = &lane->controller;

    if (lane->queue->worker != worker->id)
        return;
    if (lane->fresh > 0)
        controller_arrived(controller, lane->fresh, lane->fresh_mergeable, worker->now_ns);
    lane->fresh = lane->fresh_mergeable = 0;
    if (worker->now_ns - controller->updated_ns >= CONTROLLER_INTERVAL_NS ||
        controller->must_derive)
        controller_update(controller, &lane->outlet->hold, worker->now_ns);
}

static void note_residence(struct lane *lane, uint64_t arrived_ns, uint64_t now_ns,
                           unsigned packets)
{
    histogram_record(&lane->histograms.residence, now_ns > arrived_ns ? now_ns - arrived_ns : 0,
                     packets);
}

unsigned worker_note_residence(struct worker *worker, struct lane *lane, unsigned count,
                               unsigned alike)
{
    struct frame **frames = convoy_frames(&lane->convoy);
    uint64_t arrived_ns = frames[0]->arrived_ns;
    unsigned packets = alike, noted = 0;

    /* Those of a burst have one time: they are recorded together. */
    for (unsigned i = alike; i < count; i++) {
        const struct frame *frame = frames[i];

        for (unsigned left = frame->merged_count + 1u; left > 0; left--, packets++) {
            if (CV_UNLIKELY(frame->arrived_ns != arrived_ns)) {
                note_residence(lane, arrived_ns, worker->clock_ns, packets - noted);
                arrived_ns = frame->arrived_ns;
                noted = packets;
            }
            if (left > 1)
                frame = frame->merged_next;
        }
    }
    note_residence(lane, arrived_ns, worker->clock_ns, packets - noted);
    return packets;
}

/* The lane's group waits no longer. */
static void group_departs(const struct worker *worker, struct lane *lane)
{
    struct port_counters *counters = &lane->outlet->counters;
    struct hold_group *group = &lane->waiting;

    if (group->packets == 0)
        return;
    controller_departed(&lane->controller, group, worker->now_ns);
    histogram_record(&lane->histograms.size, group->packets, 1);
    for (unsigned i = 0; i < group->batch_count; i++)
        histogram_record(&lane->histograms.added_delay,
                         worker->now_ns - group->batches[i].arrived_ns, group->batches[i].packets);
    if (group->batches[0].arrived_ns < worker->now_ns)
        counter_add(lane->controller.rule.place == HOLD_PLACE_DATA ? &counters->to_held_data
                                                                   : &counters->to_held_call,
                    1);
    hold_group_clear(group);
}

/* With HOLD_OFF what was just delivered is a group of its own, and has waited for nothing. */
static void group_is_single(const struct worker *worker, struct lane *lane)
{
    hold_group_clear(&lane->waiting);
    if (lane->untold == 0)
        return;
    lane->waiting.packets = lane->waiting.batches[0].packets = lane->untold;
    lane->waiting.batches[0].arrived_ns = worker->now_ns;
    lane->waiting.batch_count = 1;
}

static void watch_for_answer(struct worker *worker, struct lane *lane)
{
    if (lane->called_ns || !lane->outlet->port->ops->has_answered ||
        worker->answering_count == CV_COUNT_OF(worker->answering) ||
        worker->clock_ns - lane->watched_ns < ANSWER_INTERVAL_NS)
        return;
    lane->called_ns = lane->watched_ns = worker->clock_ns;
    lane->called_packets = CV_MAX(lane->untold, 1u);
    worker->answering[worker->answering_count++] = lane;
}

/* Tells the receiver, and the controller what that took. */
static void tell_receiver(struct worker *worker, struct lane *lane, bool always)
{
    uint64_t started_ns = clock_now_ns();
    bool was_called = lane->outlet->port->ops->announce(lane->queue, always);

    if (was_called) {
        worker->clock_ns = clock_now_ns();
        watch_for_answer(worker, lane);
    }
    controller_announced(&lane->controller, was_called,
                         was_called ? (double)(worker->clock_ns - started_ns) / 1e9 : 0);
}

void worker_announce(struct worker *worker, struct lane *lane)
{
    bool is_off = lane->outlet->hold.mode == HOLD_OFF;

    if (lane->untold > 0)
        tell_receiver(worker, lane, is_off);
    if (is_off)
        group_is_single(worker, lane);
    group_departs(worker, lane);
    lane->untold = 0;
}

static void stop_watching(struct worker *worker, unsigned index)
{
    worker->answering[index]->called_ns = 0;
    worker->answering[index] = worker->answering[--worker->answering_count];
}

void worker_look_for_answers(struct worker *worker)
{
    for (unsigned i = worker->answering_count; i-- > 0;) {
        struct lane *lane = worker->answering[i];
        uint64_t taken_ns = worker->now_ns - lane->called_ns;

        if ((int64_t)taken_ns <= 0)
            continue; /* called in this round */
        if (lane->outlet->port->ops->has_answered(lane->queue))
            controller_answered(&lane->controller, lane->called_packets, (double)taken_ns / 1e9);
        else if (taken_ns < ANSWER_NS_MAX)
            continue;
        stop_watching(worker, i);
    }
}

void worker_forget_answers(struct worker *worker, const struct port *port)
{
    for (unsigned i = worker->answering_count; i-- > 0;)
        if (!port || worker->answering[i]->queue->port == port)
            stop_watching(worker, i);
}

/* --- from a guest --- */

void worker_note_taken(struct worker *worker, struct port_queue *queue, unsigned count)
{
    const struct hold_config *hold = &worker->outlets[queue->port->id].hold;
    bool was_grouping = queue->kick_rule.time_max_ns > 0;

    if (CV_UNLIKELY(queue->is_resting)) {
        worker_end_rest(worker, queue);
        traffic_arrived_unseen(&queue->arrivals, count, worker->now_ns);
    } else {
        traffic_arrived(&queue->arrivals, count, worker->now_ns);
    }
    if (CV_UNLIKELY(queue->look_ns)) {
        queue->look_ns = 0;
        queue->port->ops->disarm_from(queue);
    }
    if (worker->now_ns - queue->updated_ns < CONTROLLER_INTERVAL_NS)
        return;
    queue->updated_ns = worker->now_ns;
    traffic_update(&queue->arrivals, worker->now_ns);
    /* What a kick costs here is a wake-up of this thread. */
    if (queue->groups_kicks)
        (void)controller_derive(&queue->kick_rule, &queue->arrivals,
                                worker->wake_s + worker->look_s, hold);
    /* Of what was given back before, and its sender was not told of, nothing was noted. */
    if (!was_grouping && (queue->is_dirty || queue->unpublished > 0))
        queue->given_back_bytes = GIVEN_BACK_BYTES_MAX + 1;
}

void worker_note_given_back(struct worker *worker, struct port_queue *queue,
                            struct frame *const *frames, unsigned count)
{
    hold_group_add(&queue->given_back, count, false, worker->now_ns);
    /* The first of a row has the length of all of it. */
    for (unsigned i = 0; i < count; i++)
        queue->given_back_bytes +=
            frames[i]->merged_count > 0
                ? frames[i]->facts.payload_offset + (uint32_t)frames[i]->vnet.gso_size
                : frames[i]->len;
}

void worker_tell_sender(struct worker *worker, struct port_queue *queue)
{
    (void)worker;
    queue->port->ops->announce_back(queue);
    if (queue->unpublished > 0) {
        /* That is still to be told of, and becomes visible all at once: its bytes are kept. */
        queue->given_back.packets = CV_MIN(queue->given_back.packets, queue->unpublished);
        return;
    }
    hold_group_clear(&queue->given_back);
    queue->given_back_bytes = 0;
}

/* Something that was given back is visible, and its sender was not told of it. */
static bool has_untold(const struct port_queue *queue)
{
    return queue->given_back.packets > queue->unpublished;
}

static uint64_t sender_due_ns(const struct port_queue *queue)
{
    if (queue->given_back.packets == 0 || queue->given_back.packets >= queue->owed_max ||
        queue->given_back_bytes > GIVEN_BACK_BYTES_MAX)
        return HOLD_NOW;
    return hold_due_ns(&queue->kick_rule, &queue->given_back);
}

void worker_tell_sender_in_time(struct worker *worker, struct port_queue *queue)
{
    if (CV_LIKELY(sender_due_ns(queue) <= worker->now_ns)) {
        worker_tell_sender(worker, queue);
    } else if (!queue->owes_announcement && has_untold(queue)) {
        queue->owes_announcement = true;
        worker->untold[worker->untold_count++] = queue;
    }
}

void worker_forget_sender(struct worker *worker, struct port_queue *queue)
{
    unsigned kept = 0;

    queue->kick_rule.time_max_ns = 0;
    if (!queue->owes_announcement)
        return;
    worker_tell_sender(worker, queue);
    queue->owes_announcement = false;
    for (unsigned i = 0; i < worker->untold_count; i++)
        if (worker->untold[i] != queue)
            worker->untold[kept++] = worker->untold[i];
    worker->untold_count = kept;
}

void worker_tell_senders(struct worker *worker, uint64_t until_ns)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < worker->untold_count; i++) {
        struct port_queue *queue = worker->untold[i];
        uint64_t due_ns = sender_due_ns(queue);

        if (due_ns > until_ns && has_untold(queue)) {
            worker->next_due_ns = CV_MIN(worker->next_due_ns, due_ns);
            worker->untold[kept++] = queue;
            continue;
        }
        queue->owes_announcement = false;
        if (has_untold(queue))
            worker_tell_sender(worker, queue);
    }
    worker->untold_count = kept;
}

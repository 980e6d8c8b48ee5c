/*
 * The way of a packet, in seven steps. A round takes a burst from every polled queue and brings
 * each of its frames to the convoys of its destinations; then every convoy that is due departs;
 * then the sources get their buffers back.
 *
 *   1 port_receive     take what has arrived                               (serve_queue)
 *   2 frame_parse      facts per frame; a malformed one is marked          (parse)
 *   3 bridge_lookup    which ports                                         (switch_frame)
 *   4 convoy_load      group by destination; merge inside                  (worker_load)
 *   5 convoy_due       for each open convoy: go now, or stay until when    (depart_due)
 *   6 port_deliver     one pass, one publication, at most one call         (worker_depart)
 *   7 port_release     every frame leaves here: sent or dropped            (worker_release)
 */
#include "switch/worker.h"

#include <string.h>

#include "base/clock.h"

#include "wire/offload.h"

/* Frames that are loaded before convoys depart: they should still be in the cache then. */
enum { ROUND_FRAMES_MAX = 256 };

/*
 * What a queue may cost in a round, in the long run. A burst may be larger, for the convoy's sake,
 * and is paid for in rounds that serve the others; when there are none, these cost next to nothing.
 */
enum { ROUND_BYTES_MAX = 64 * 1024 };

/* A frame costs about as much as copying so many bytes, however short it is. */
enum { FRAME_COST_BYTES = 256 };

/* Cutting off a segment costs about as much as copying so many bytes. */
enum { SEGMENT_COST_BYTES = 1536 };

/* After so many frames in a row that were not like the one before those of the burst are parsed
 * unseen. */
enum { PATTERN_MISSES_MAX = 4, PATTERN_SKIPPED = BURST_FRAMES_MAX };

/* --- 7 release --- */

void worker_mark_dirty(struct worker *worker, struct port_queue *queue)
{
    if (queue->is_dirty || !queue->port->ops->settle)
        return;
    queue->is_dirty = true;
    worker->dirty[worker->dirty_count++] = queue;
}

/* Frames of one queue of ours that nobody holds any more. */
static void release_run(struct worker *worker, struct frame *const *frames, unsigned count)
{
    struct port_queue *source = frames[0]->source;

    if (source->kick_rule.time_max_ns > 0)
        worker_note_given_back(worker, source, frames, count);
    source->port->ops->give_back(source, frames, count);
    source->outstanding -= count;
    worker_mark_dirty(worker, source);
    for (unsigned i = 0; i < count; i++)
        frame_pool_put(&worker->frames, frames[i]);
}

static void release_one(struct worker *worker, struct frame *frame)
{
    if (CV_UNLIKELY(frame->source->worker != worker->id)) {
        worker_hand_back(worker, frame);
        return;
    }
    assert(frame->holders > 0);
    if (--frame->holders == 0)
        release_run(worker, &frame, 1);
}

/* Frames from the first on that can be dealt with as one: taken together from one queue of ours,
 * each held by one convoy and in no row. */
static unsigned run_length(const struct worker *worker, struct frame *const *frames, unsigned count)
{
    const struct port_queue *source = frames[0]->source;
    uint64_t arrived_ns = frames[0]->arrived_ns;
    unsigned length = 0;

    if (CV_UNLIKELY(source->worker != worker->id))
        return 0;
    while (length < count && frames[length]->source == source &&
           frames[length]->arrived_ns == arrived_ns && frames[length]->holders == 1 &&
           frames[length]->merged_count == 0)
        length++;
    return length;
}

/* The frames of a row go back one by one. */
static void release_row(struct worker *worker, struct frame *frame)
{
    frame->merged_last = NULL;
    while (frame) {
        struct frame *next = frame->merged_next;

        frame->merged_next = NULL;
        release_one(worker, frame);
        frame = next;
    }
}

void worker_release(struct worker *worker, struct frame *frame)
{
    if (CV_UNLIKELY(frame->merged_count > 0))
        release_row(worker, frame);
    else
        release_one(worker, frame);
}

bool worker_purge_lane(struct worker *worker, struct lane *lane, const struct port_queue *source,
                       enum drop_reason reason)
{
    struct frame *removed[CONVOY_FRAMES_MAX];
    const struct port_ops *ops = lane->queue->port->ops;
    struct convoy *convoy = &lane->convoy;
    unsigned count, packets = convoy->packets, shared = convoy->shared;
    const struct frame *front;

    if (convoy->count == 0)
        return false;
    front = convoy_frames(convoy)[0];
    count = convoy_remove_source(convoy, source, removed);
    counter_add(&lane->outlet->counters.drops[reason], packets - convoy->packets);
    if (convoy->count == 0 && lane->untold == 0)
        hold_group_clear(&lane->waiting); /* what was dropped is no group */
    if (count > 0 && removed[0] == front) {
        if (ops->forget_front && lane->queue->worker == worker->id)
            ops->forget_front(lane->queue);
        /* The guest's patience with the next frame starts anew. */
        if (convoy->blocked_since_ns)
            convoy->blocked_since_ns = convoy->count > 0 ? worker->now_ns : 0;
    }
    for (unsigned i = 0; i < count; i++)
        worker_release(worker, removed[i]);
    return count > shared - convoy->shared;
}

/*
 * Buffers go back in order, so frames that wait for one guest hold back those behind them that have
 * long reached others. When that is too many, frames that are only held depart, and frames that
 * wait for a slow guest are dropped, unless that guest's port is to push back its senders. Other
 * workers are asked to do the same (let_go).
 */
static void unblock_source(struct worker *worker, struct port_queue *source)
{
    for (unsigned i = 0; i < worker->open_count; i++) {
        struct lane *lane = worker->open[i];

        if (lane->queue->worker != worker->id || !convoy_has_source(&lane->convoy, source))
            continue;
        worker_depart(worker, lane, worker->now_ns);
        if (!lane->convoy.blocked_since_ns || lane->outlet->full == FULL_PUSH_BACK)
            continue;
        /* A guest that takes a frame now and then would do the same harm again at once. But others
         * do not pay for a flood. */
        if (worker_purge_lane(worker, lane, source, DROP_QUEUE_FULL))
            lane->no_wait_until_ns = worker->now_ns + NO_WAIT_NS;
    }
    if (worker->peer_count == 1 || source->wants_back)
        return;
    __atomic_store_n(&source->wants_back, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < worker->peer_count; i++)
        worker_wake(&worker->peers[i]);
}

/* Frames of the source wait here, and it is another worker's and short of buffers. */
static bool wants_back(const struct worker *worker, const struct port_queue *source)
{
    return source->worker != worker->id && __atomic_load_n(&source->wants_back, __ATOMIC_RELAXED);
}

/* Ends frames that wait here for a slow guest, when other workers want them back. */
static void let_go(struct worker *worker, struct lane *lane)
{
    struct convoy *convoy = &lane->convoy;
    unsigned i = 0;

    while (i < convoy->count) {
        const struct port_queue *source = convoy_frames(convoy)[i++]->source;

        if (!wants_back(worker, source))
            continue;
        if (worker_purge_lane(worker, lane, source, DROP_QUEUE_FULL))
            lane->no_wait_until_ns = worker->now_ns + NO_WAIT_NS;
        i = 0;
    }
}

/* Publishes what was given back; lists the queues that are short of buffers (in place of `dirty`).
 */
static unsigned settle_dirty(struct worker *worker, struct port_queue **ret_short)
{
    unsigned count = worker->dirty_count, short_count = 0;

    worker->dirty_count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct port_queue *queue = worker->dirty[i];

        queue->is_dirty = false;
        if (CV_UNLIKELY(!queue->port->ops->settle(queue))) {
            ret_short[short_count++] = queue;
            continue;
        }
        if (CV_UNLIKELY(queue->wants_back))
            __atomic_store_n(&queue->wants_back, false, __ATOMIC_RELAXED);
        worker_tell_sender_in_time(worker, queue);
    }
    return short_count;
}

/* Senders that are short of buffers learn at once of those that they can have back. */
static void tell_short(struct worker *worker, struct port_queue *const *queues, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        worker_tell_sender(worker, queues[i]);
}

void worker_settle(struct worker *worker)
{
    unsigned short_count = settle_dirty(worker, worker->dirty);

    if (CV_LIKELY(short_count == 0))
        return;
    memcpy(worker->starved, worker->dirty, short_count * sizeof(worker->starved[0]));
    for (unsigned i = 0; i < short_count; i++)
        unblock_source(worker, worker->starved[i]);
    /* That has given back frames of these and of others. */
    tell_short(worker, worker->dirty, settle_dirty(worker, worker->dirty));
    tell_short(worker, worker->starved, short_count);
}

/* --- 6 deliver --- */

/* The guest has no buffers for the first frame. It is given STALL_NS; after that nothing waits for
 * it. */
static void lane_blocked(struct worker *worker, struct lane *lane)
{
    struct convoy *convoy = &lane->convoy;

    if (convoy->blocked_since_ns == 0)
        convoy->blocked_since_ns = worker->now_ns;
    if (worker->now_ns < lane->no_wait_until_ns) {
        (void)worker_purge_lane(worker, lane, NULL, DROP_QUEUE_FULL);
        return;
    }
    if (lane->is_stalled || worker->now_ns - convoy->blocked_since_ns >= STALL_NS) {
        lane->is_stalled = true;
        (void)worker_purge_lane(worker, lane, NULL, DROP_STALLED);
    } else if (worker->peer_count > 1 && lane->outlet->full != FULL_PUSH_BACK) {
        let_go(worker, lane);
    }
}

/* Frames from the front have been delivered: notes it, and gives them back. Returns packets. */
static unsigned frames_delivered(struct worker *worker, struct lane *lane, unsigned count)
{
    struct frame **frames = convoy_frames(&lane->convoy);
    unsigned run = run_length(worker, frames, count);
    unsigned packets = worker_note_residence(worker, lane, count, run);

    convoy_unload(&lane->convoy, count, packets);
    for (unsigned i = 0; i < count;) {
        if (CV_LIKELY(run > 0))
            release_run(worker, frames + i, run);
        else
            worker_release(worker, frames[i]);
        i += CV_MAX(run, 1u);
        run = i < count ? run_length(worker, frames + i, count - i) : 0;
    }
    return packets;
}

/* Delivers from the front until nothing is left (true) or the guest has no room. */
static bool lane_deliver(struct worker *worker, struct lane *lane)
{
    struct convoy *convoy = &lane->convoy;
    bool one_by_one = lane->outlet->hold.mode == HOLD_OFF;
    uint64_t started_ns = convoy->blocked_since_ns ? 0 : clock_now_ns();

    while (convoy->count > 0) {
        unsigned done = lane->outlet->port->ops->deliver(lane->queue, convoy_frames(convoy),
                                                         one_by_one ? 1 : convoy->count);
        unsigned packets;

        if (done == 0) {
            convoy_seal_first(convoy);
            if (lane->untold == 0) /* but perhaps a part of that frame was delivered */
                (void)lane->outlet->port->ops->announce(lane->queue, one_by_one);
            lane_blocked(worker, lane);
            return false;
        }
        worker->clock_ns = clock_now_ns();
        packets = frames_delivered(worker, lane, done);
        lane->untold += packets;
        if (started_ns)
            controller_delivered(&lane->controller, packets,
                                 (double)(worker->clock_ns - started_ns) / 1e9);
        started_ns = 0;
        convoy->blocked_since_ns = 0;
        lane->is_stalled = false;
        if (one_by_one)
            worker_announce(worker, lane);
    }
    return true;
}

void worker_depart(struct worker *worker, struct lane *lane, uint64_t until_ns)
{
    if (lane->outlet->state == OUTLET_PAUSED)
        return;
    if (lane->queue->worker != worker->id) {
        worker_hand_over(worker, lane);
        return;
    }
    /* A guest that is short of buffers must learn of those that it can have back. */
    if (!lane_deliver(worker, lane) || lane->controller.rule.place == HOLD_PLACE_DATA ||
        hold_due_ns(&lane->controller.rule, &lane->waiting) <= until_ns)
        worker_announce(worker, lane);
}

/* --- 5 due --- */

/* When the lane must be looked at again: its convoy departs, or patience with the guest ends. */
static uint64_t lane_due_ns(const struct worker *worker, const struct lane *lane)
{
    const struct convoy *convoy = &lane->convoy;

    if (convoy->blocked_since_ns)
        return convoy->blocked_since_ns + STALL_NS;
    /* Private buffers are a stock that all ports share. */
    if (CV_UNLIKELY(frame_pool_is_short(&worker->frames, NULL)) && convoy->count > 0)
        return HOLD_NOW;
    /* Another worker's lane holds frames for it; here they only gather for the length of a burst.
     */
    if (lane->queue->worker != worker->id)
        return HOLD_NOW;
    return hold_due_ns(&lane->controller.rule, &lane->waiting);
}

/* What only waits for company departs when another worker wants some of it back. */
static bool is_wanted_back(const struct worker *worker, const struct convoy *convoy)
{
    for (unsigned i = 0; worker->peer_count > 1 && i < convoy->count; i++)
        if (wants_back(worker, convoy->frames[convoy->first + i]->source))
            return true;
    return false;
}

/* True when something is to be done for the lane until then. A blocked one is tried in every round:
 * that costs one look at an index. Where only calls wait, data goes at once. */
static bool lane_is_due(const struct worker *worker, const struct lane *lane, uint64_t until_ns)
{
    bool has_data = lane->convoy.count > 0;

    return (has_data &&
            (lane->convoy.blocked_since_ns || lane->controller.rule.place == HOLD_PLACE_CALL)) ||
           lane_due_ns(worker, lane) <= until_ns || is_wanted_back(worker, &lane->convoy);
}

/* Convoys that are due until then depart; the others stay in the list. True: something departed. */
static bool depart_due(struct worker *worker, uint64_t until_ns)
{
    unsigned kept = 0;
    bool moved = false;

    worker->loaded_count = 0;
    worker->next_due_ns = UINT64_MAX;
    for (unsigned i = 0; i < worker->open_count; i++) {
        struct lane *lane = worker->open[i];
        unsigned count = lane->convoy.count;

        worker_inform_controller(worker, lane);
        if (lane_is_due(worker, lane, until_ns)) {
            worker_depart(worker, lane, until_ns);
            moved |= lane->convoy.count != count;
        }
        if (lane->convoy.count == 0 && lane->waiting.packets == 0) {
            lane->is_open = false;
            continue;
        }
        worker->next_due_ns = CV_MIN(worker->next_due_ns, lane_due_ns(worker, lane));
        worker->open[kept++] = lane;
    }
    worker->open_count = kept;
    return moved;
}

/* --- 4 load --- */

/* While private buffers are short, frames that occupy one do not wait for slow guests. */
static bool may_wait(const struct worker *worker, const struct lane *lane,
                     const struct frame *frame)
{
    return !lane->convoy.blocked_since_ns || frame->source->worker != worker->id ||
           !frame_pool_is_short(&worker->frames, frame);
}

/* Floods leave most of the places to what is meant for that guest alone. */
static bool has_place(const struct lane *lane, const struct frame *frame)
{
    return !convoy_is_full(&lane->convoy) &&
           (!frame->is_shared || lane->convoy.shared < CONVOY_FLOODED_MAX);
}

/* What delivering a frame may cost: its bytes, or the packets that it may have to be cut into. */
static uint64_t frame_cost_bytes(const struct frame *frame)
{
    if (CV_LIKELY(frame->vnet.gso_type == VNET_HDR_GSO_NONE))
        return frame->len + FRAME_COST_BYTES;
    return CV_MAX(frame->len + FRAME_COST_BYTES,
                  offload_segments(&frame->vnet, &frame->facts, frame->len) * SEGMENT_COST_BYTES);
}

/* The offloads for whose sake frames are merged. */
static unsigned lane_merges(const struct lane *lane)
{
    /* While the port is paused the control thread may change them; then the convoy is sealed. */
    return lane->outlet->merge ? __atomic_load_n(&lane->queue->offloads, __ATOMIC_RELAXED) : 0;
}

static void load_or_merge(struct lane *lane, struct frame *frame)
{
    unsigned offloads = lane_merges(lane);
    enum merge_refusal refusal;

    if (CV_LIKELY(!merge_concerns(frame, offloads))) {
        convoy_load(&lane->convoy, frame);
        return;
    }
    lane->fresh_mergeable += merge_may_verify(frame) && frame->len > frame->facts.payload_offset;
    if (convoy_merge(&lane->convoy, frame, offloads, &refusal) || refusal != MERGE_JOINED)
        counter_add(&lane->outlet->counters.merges[refusal], 1);
}

void worker_load(struct worker *worker, struct lane *lane, struct frame *frame)
{
    struct convoy *convoy = &lane->convoy;

    if (CV_LIKELY(frame->source->worker == worker->id))
        frame->source->debt_bytes += frame_cost_bytes(frame);
    if (CV_UNLIKELY(!has_place(lane, frame)))
        worker_depart(worker, lane, worker->now_ns);
    if (CV_UNLIKELY(!has_place(lane, frame) || !may_wait(worker, lane, frame))) {
        counter_add(&lane->outlet->counters.drops[DROP_QUEUE_FULL], 1);
        worker_release(worker, frame);
        return;
    }
    worker->loaded_count++;
    if (!lane->is_open) {
        lane->is_open = true;
        worker->open[worker->open_count++] = lane;
    }
    if (lane->queue->worker != worker->id) {
        convoy_load(convoy, frame);
        return;
    }
    lane->fresh++;
    /* What waits for the guest's buffers does not wait for company. */
    if (CV_LIKELY(!convoy->blocked_since_ns))
        hold_group_add(&lane->waiting, 1, (frame->facts.flags & FRAME_EXPRESS) || frame->is_shared,
                       worker->now_ns);
    load_or_merge(lane, frame);
    /* K packets are a convoy: it does not grow further while the burst goes on. */
    if (lane->controller.rule.time_max_ns > 0 &&
        lane->waiting.packets >= lane->controller.rule.packets_max)
        worker_depart(worker, lane, worker->now_ns);
}

/* Which queue of the port: always the same for the frames of one flow. */
static struct lane *outlet_lane(const struct outlet *outlet, const struct frame_facts *facts)
{
    return outlet->open[outlet->open_count == 1 ? 0 : facts->flow_hash % outlet->open_count];
}

static bool outlet_takes(const struct outlet *outlet)
{
    return outlet->state == OUTLET_UP || (outlet->state == OUTLET_PAUSED && outlet->open_count > 0);
}

/* --- 3 bridge --- */

static void frame_drop(struct worker *worker, struct frame *frame, enum drop_reason reason,
                       struct outlet *at)
{
    counter_add(&at->counters.drops[reason], 1);
    worker_release(worker, frame);
}

static void frame_flood(struct worker *worker, struct frame *frame)
{
    unsigned from = frame->source->port->id;
    unsigned copies = 0;

    frame->is_shared = true; /* before another worker sees it */
    for (unsigned id = 0; id < worker->outlet_limit; id++) {
        struct outlet *outlet = &worker->outlets[id];

        if (id == from || !outlet_takes(outlet))
            continue;
        frame->holders++;
        copies++;
        worker_load(worker, outlet_lane(outlet, &frame->facts), frame);
    }
    if (copies == 0)
        counter_add(&worker->outlets[from].counters.drops[DROP_NO_DESTINATION], 1);
    worker_release(worker, frame);
}

/* True when frames for this port may not be taken now, and their senders are to wait. */
static bool must_push_back(const struct worker *worker, const struct outlet *outlet,
                           const struct frame *frame)
{
    const struct lane *lane;

    if (CV_LIKELY(outlet->full != FULL_PUSH_BACK) || !frame->source->can_wait)
        return false;
    lane = outlet_lane(outlet, &frame->facts);
    return lane->queue->worker == worker->id && convoy_is_full(&lane->convoy);
}

/* Frames of a burst go the same way as the one before as a rule; then the table is spared. */
static struct bridge_verdict way_of(struct worker *worker, const struct frame *frame,
                                    const struct outlet *from)
{
    struct last_way *last = &worker->last_way;

    if (CV_LIKELY(last->is_known &&
                  memcmp(last->addresses, frame->head, sizeof(last->addresses)) == 0))
        return last->verdict;
    last->verdict = bridge_forward(worker->bridge, frame_dst(frame->head), frame_src(frame->head),
                                   from->port->id, worker->now_ns);
    memcpy(last->addresses, frame->head, sizeof(last->addresses));
    last->is_known = last->verdict.way == BRIDGE_ONE; /* the others may change with every frame */
    return last->verdict;
}

/* Brings a frame to its convoys. False: it was pushed back, nothing has happened yet. */
static bool switch_frame(struct worker *worker, struct frame *frame)
{
    struct outlet *from = &worker->outlets[frame->source->port->id];
    struct bridge_verdict verdict;
    struct outlet *to;

    if (CV_UNLIKELY(frame->drop)) {
        frame_drop(worker, frame, frame->drop, from);
        return true;
    }
    verdict = way_of(worker, frame, from);
    if (CV_UNLIKELY(verdict.way == BRIDGE_DROP)) {
        frame_drop(worker, frame, verdict.reason, from);
        return true;
    }
    if (CV_UNLIKELY(verdict.way == BRIDGE_FLOOD)) {
        frame_flood(worker, frame);
        return true;
    }
    to = &worker->outlets[verdict.port];
    if (CV_UNLIKELY(!outlet_takes(to))) {
        frame_drop(worker, frame, DROP_PORT_DOWN, to);
        return true;
    }
    if (CV_UNLIKELY(must_push_back(worker, to, frame)))
        return false;
    worker_load(worker, outlet_lane(to, &frame->facts), frame);
    return true;
}

/* --- 2 parse --- */

/* The facts of a frame: those of the one before where it is like that, as in a train of one flow.
 * Where flows alternate, and no frame is like the one before, the burst's others are not asked. */
static void find_facts(struct frame_pattern *pattern, struct frame *frame)
{
    if (pattern->skipped == 0 && CV_LIKELY(frame_pattern_fits(pattern, frame->head, frame->len))) {
        frame->facts = pattern->facts;
        pattern->misses = 0;
        return;
    }
    frame_parse(frame->head, frame->head_len, frame->len, &frame->facts);
    if (pattern->skipped > 0) {
        pattern->skipped--;
        return;
    }
    frame_pattern_learn(pattern, frame->head, frame->head_len, frame->len, &frame->facts);
    if (++pattern->misses < PATTERN_MISSES_MAX)
        return;
    pattern->misses = 0;
    pattern->skipped = PATTERN_SKIPPED;
    pattern->words = 0; /* it is not that of the frames to come */
}

static void parse(struct worker *worker, struct frame *frame)
{
    if (CV_UNLIKELY(frame->drop))
        return;
    find_facts(&worker->pattern, frame);
    if (CV_UNLIKELY(frame->facts.flags & FRAME_MALFORMED))
        frame->drop = DROP_MALFORMED;
    else if (CV_UNLIKELY(!offload_check(&frame->vnet, &frame->facts, frame->head_len, frame->len)))
        frame->drop = DROP_BAD_OFFLOAD;
}

/* --- 2 to 4, for frames that are like the one before --- */

/*
 * Frames of a burst that fit the pattern of one before, to whose addresses the last way belongs:
 * the same facts, the same way, the same lane. What was decided for that one holds for them, so
 * they come aboard at the price of a comparison.
 */
struct train {
    struct lane *lane;
    struct frame **places; /* in the lane's convoy ... */
    unsigned room;         /* ... so many */
    unsigned count;        /* frames put into them */
};

/* The lane of frames that fit the pattern, if they may be loaded there without a question; else
 * NULL. */
static struct lane *train_lane(const struct worker *worker)
{
    const struct frame_pattern *pattern = &worker->pattern;
    const struct outlet *outlet = &worker->outlets[worker->last_way.verdict.port];
    struct lane *lane;

    if (!worker->last_way.is_known || outlet->state != OUTLET_UP ||
        memcmp(pattern->value, worker->last_way.addresses, FRAME_ADDRESSES_BYTES) != 0)
        return NULL;
    lane = outlet_lane(outlet, &pattern->facts);
    return lane->queue->worker == worker->id && lane->is_open && !lane->convoy.blocked_since_ns &&
                   !merge_concerns_kind(pattern->facts.flags, lane_merges(lane))
               ? lane
               : NULL;
}

/* After a frame was switched: those behind it may be like it. */
static struct train train_begin(const struct worker *worker)
{
    struct train train = {.lane = train_lane(worker)};
    const struct hold_rule *rule;

    if (!train.lane)
        return train;
    train.places = convoy_places(&train.lane->convoy, &train.room);
    rule = &train.lane->controller.rule;
    /* The frame that makes the group complete is loaded as any other, and has it depart. */
    if (rule->time_max_ns > 0) {
        unsigned next = train.lane->waiting.packets + 1;

        train.room = rule->packets_max > next ? CV_MIN(train.room, rule->packets_max - next) : 0;
    }
    return train;
}

static bool train_takes(const struct worker *worker, const struct train *train,
                        const struct frame *frame)
{
    return train->count < train->room && !frame->drop && !frame->vnet.flags &&
           frame->vnet.gso_type == VNET_HDR_GSO_NONE &&
           frame_pattern_fits(&worker->pattern, frame->head, frame->len);
}

static void train_add(const struct worker *worker, struct train *train, struct frame *frame)
{
    frame->facts = worker->pattern.facts;
    frame->vnet = (struct virtio_net_hdr){.hdr_len = frame->facts.payload_offset};
    train->places[train->count++] = frame;
}

/* What worker_load does for one frame, for all of them. */
static void train_end(struct worker *worker, struct train *train, struct port_queue *source)
{
    struct lane *lane = train->lane;

    train->room = 0;
    if (train->count == 0)
        return;
    source->debt_bytes += (worker->pattern.frame_len + FRAME_COST_BYTES) * train->count;
    worker->loaded_count += train->count;
    lane->fresh += train->count;
    hold_group_add(&lane->waiting, train->count, worker->pattern.facts.flags & FRAME_EXPRESS,
                   worker->now_ns);
    convoy_fill(&lane->convoy, train->count);
    worker->pattern.misses = 0;
    train->count = 0;
}

/* --- 1 receive --- */

/* What no port knows of a frame. */
static void frame_init(struct frame *frame, uint64_t now_ns)
{
    frame->holders = 1;
    frame->is_shared = frame->checksum_is_good = false;
    frame->merged_count = 0; /* and it is in no row: whoever was has been taken out of it */
    frame->arrived_ns = now_ns;
}

/* Frames that a full port pushed back come before new ones. True: all of them could be moved. */
static bool serve_stash(struct worker *worker, struct port_queue *queue)
{
    while (queue->stash_first < queue->stash_count) {
        if (!switch_frame(worker, queue->stash[queue->stash_first]))
            return false;
        queue->stash_first++;
    }
    queue->stash_first = queue->stash_count = 0;
    return true;
}

static void count_burst(struct port_queue *queue, unsigned count, uint64_t bytes)
{
    queue->bursts++;
    counter_add(&queue->counters->from_bursts, 1);
    counter_add(&queue->counters->from_packets, count);
    counter_add(&queue->counters->from_bytes, bytes);
}

/*
 * How many frames may be taken from a queue. None while it pays for what its last frames have cost
 * beyond a round's worth (a flooded super-packet is copied to every port), and never
 * more than an equal share of the frames that are left, so that no sender takes the last ones.
 */
static unsigned burst_limit(const struct worker *worker, struct port_queue *queue)
{
    unsigned left = frame_pool_left(&worker->frames);

    if (CV_UNLIKELY(queue->debt_bytes > ROUND_BYTES_MAX)) {
        queue->debt_bytes -= ROUND_BYTES_MAX;
        queue->is_held_back = false; /* it is paid off round by round, whatever else happens */
        return 0;
    }
    queue->debt_bytes = 0;
    queue->is_held_back = left <= queue->outstanding;
    return queue->is_held_back ? 0 : CV_MIN(left - queue->outstanding, (unsigned)BURST_FRAMES_MAX);
}

/* Takes a burst from a queue and switches it. True: there was one, or there may be one next time.
 */
static bool serve_queue(struct worker *worker, struct port_queue *queue)
{
    struct frame *frames[BURST_FRAMES_MAX];
    struct train train = {0};
    unsigned count, first;
    uint64_t bytes = 0;

    worker->last_way.is_known = false;
    worker->pattern.misses = worker->pattern.skipped = 0; /* nobody pays for others' traffic */
    first = queue->stash_first;
    if (CV_UNLIKELY(queue->stash_count > 0) && !serve_stash(worker, queue)) {
        queue->is_held_back = true;
        return queue->stash_first != first;
    }
    queue->last_burst = BURST_FRAMES_MAX; /* for all that is known */
    count = burst_limit(worker, queue);
    if (CV_UNLIKELY(count == 0))
        return !queue->is_held_back;
    count = queue->port->ops->receive(queue, &worker->frames, frames, count);
    queue->last_burst = count;
    if (count == 0)
        return false;
    queue->active_ns = worker->now_ns;
    queue->outstanding += count;
    worker_note_taken(worker, queue, count);
    for (unsigned i = 0; i < count; i++) {
        if (i + FRAME_PREFETCH_AHEAD < count)
            frame_prefetch(frames[i + FRAME_PREFETCH_AHEAD]);
        bytes += frames[i]->len;
        frame_init(frames[i], worker->now_ns);
        if (train_takes(worker, &train, frames[i])) {
            train_add(worker, &train, frames[i]);
            continue;
        }
        train_end(worker, &train, queue);
        parse(worker, frames[i]);
        if (CV_UNLIKELY(queue->stash_count > 0) || CV_UNLIKELY(!switch_frame(worker, frames[i])))
            queue->stash[queue->stash_count++] = frames[i];
        else if (worker->pattern.words > 0)
            train = train_begin(worker);
    }
    train_end(worker, &train, queue);
    count_burst(queue, count, bytes);
    bulk_taken(&worker->bulk, bytes, worker->now_ns);
    queue->is_held_back = queue->stash_count > 0; /* its guest may have no reason to kick again */
    return true;
}

/* What departed is given back, and those are told who are to be told until then. */
static void end_round(struct worker *worker, uint64_t until_ns)
{
    worker_settle(worker);
    worker_tell_senders(worker, until_ns);
    worker_publish_handed_back(worker);
}

bool worker_round(struct worker *worker)
{
    bool moved = false;

    for (unsigned i = 0; i < worker->polled_count; i++) {
        moved |= serve_queue(worker, worker->polled[i]);
        if (worker->loaded_count >= ROUND_FRAMES_MAX)
            moved |= depart_due(worker, worker->now_ns);
    }
    moved |= worker_take_handed_over(worker);
    moved |= depart_due(worker, worker->now_ns);
    worker_look_for_answers(worker);
    end_round(worker, worker->now_ns);
    return moved;
}

bool worker_hasten(struct worker *worker, uint64_t until_ns)
{
    bool moved = depart_due(worker, until_ns);

    end_round(worker, until_ns);
    return moved;
}

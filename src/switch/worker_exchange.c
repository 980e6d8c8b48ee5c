/*
 * Frames for a queue that another worker serves. The convoy is handed over as a whole: its frames'
 * numbers go into a ring with one publication, and the peer loads them into its own convoy for that
 * queue. Frames come back the same way when they have left, since only the worker that took a frame
 * may give its buffer back.
 *
 * The giver counts what is under way to each peer and never exceeds the rings, so that handing back
 * can not fail.
 */
#include <errno.h>
#include <string.h>

#include "switch/worker.h"

static uint64_t handover_word(const struct worker *owner, const struct frame *frame,
                              const struct lane *lane)
{
    uint64_t number = (uint64_t)(frame - owner->frames.frames);
    uint64_t lane_number = lane->queue->port->id * PORT_QUEUE_PAIRS_MAX + lane->queue->index;

    return number << 32 | lane_number;
}

int worker_exchange_init(struct worker *worker)
{
    for (unsigned i = 0; i < worker->peer_count; i++) {
        struct exchange *exchange = &worker->exchanges[i];

        if (i != worker->id && (!spsc_init(&exchange->to_peer, EXCHANGE_FRAMES_MAX) ||
                                !spsc_init(&exchange->from_peer, EXCHANGE_FRAMES_MAX)))
            return -ENOMEM;
    }
    return 0;
}

void worker_exchange_uninit(struct worker *worker)
{
    for (unsigned i = 0; i < worker->peer_count; i++) {
        spsc_uninit(&worker->exchanges[i].to_peer);
        spsc_uninit(&worker->exchanges[i].from_peer);
    }
}

void worker_hand_over(struct worker *worker, struct lane *lane)
{
    struct exchange *exchange = &worker->exchanges[lane->queue->worker];
    struct frame **frames = convoy_frames(&lane->convoy);
    unsigned room = EXCHANGE_FRAMES_MAX - exchange->in_flight;
    unsigned count = CV_MIN(lane->convoy.count, room);

    for (unsigned i = 0; i < count; i++) {
        bool pushed = spsc_push(&exchange->to_peer, handover_word(worker, frames[i], lane));

        assert(pushed);
    }
    exchange->in_flight += count;
    for (unsigned i = count; i < lane->convoy.count; i++)
        worker_release(worker, frames[i]);
    counter_add(&lane->outlet->counters.drops[DROP_HANDOVER_FULL], lane->convoy.count - count);
    convoy_unload(&lane->convoy, lane->convoy.count, lane->convoy.packets);
    if (spsc_publish(&exchange->to_peer))
        worker_wake(&worker->peers[lane->queue->worker]);
}

void worker_hand_back(struct worker *worker, struct frame *frame)
{
    struct worker *owner = &worker->peers[frame->source->worker];
    bool pushed = spsc_push(&owner->exchanges[worker->id].from_peer,
                            (uint64_t)(frame - owner->frames.frames));

    assert(pushed);
}

void worker_publish_handed_back(struct worker *worker)
{
    for (unsigned i = 0; i < worker->peer_count; i++) {
        struct worker *owner = &worker->peers[i];

        if (i != worker->id && spsc_publish(&owner->exchanges[worker->id].from_peer))
            worker_wake(owner);
    }
}

bool worker_has_handed_over(const struct worker *worker)
{
    for (unsigned i = 0; i < worker->peer_count; i++)
        if (i != worker->id && (spsc_count(&worker->peers[i].exchanges[worker->id].to_peer) ||
                                spsc_count(&worker->exchanges[i].from_peer)))
            return true;
    return false;
}

static void take_back(struct worker *worker, struct exchange *exchange)
{
    uint32_t count = spsc_count(&exchange->from_peer);

    for (uint32_t i = 0; i < count; i++)
        worker_release(worker, &worker->frames.frames[spsc_pop(&exchange->from_peer)]);
    exchange->in_flight -= count;
    spsc_release(&exchange->from_peer);
}

/* Loads what one peer has handed over. Its port may have gone down or away since. */
static void take_over(struct worker *worker, struct worker *peer)
{
    struct spsc *ring = &peer->exchanges[worker->id].to_peer;
    uint32_t count = spsc_count(ring);
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t word = spsc_pop(ring);
        struct frame *frame = &peer->frames.frames[word >> 32];
        unsigned lane_number = (unsigned)(word & UINT32_MAX);
        struct outlet *outlet = &worker->outlets[lane_number / PORT_QUEUE_PAIRS_MAX];

        bytes += frame->len;
        if (outlet->state >= OUTLET_PAUSED) {
            worker_load(worker, outlet->lanes[lane_number % PORT_QUEUE_PAIRS_MAX], frame);
        } else {
            counter_add(&outlet->counters.drops[DROP_PORT_DOWN], 1);
            worker_release(worker, frame);
        }
    }
    spsc_release(ring);
    if (count > 0)
        bulk_taken(&worker->bulk, bytes, worker->now_ns);
}

bool worker_take_handed_over(struct worker *worker)
{
    bool moved = false;

    if (worker->peer_count == 1)
        return false;
    moved = worker_has_handed_over(worker);
    for (unsigned i = 0; i < worker->peer_count; i++) {
        if (i == worker->id)
            continue;
        take_over(worker, &worker->peers[i]);
        take_back(worker, &worker->exchanges[i]);
    }
    return moved;
}

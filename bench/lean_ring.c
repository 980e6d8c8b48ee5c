#include "lean_ring.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

/* Behind the last entry of each ring: where the other side wants to be told. */
static uint16_t *used_event(const struct lean_ring *lean)
{
    return &lean->avail->ring[lean->size];
}

static const uint16_t *avail_event(const struct lean_ring *lean)
{
    return (const uint16_t *)&lean->used->ring[lean->size];
}

void lean_ring_fault(struct lean_ring *lean, const char *what, unsigned value)
{
    if (lean->faults++ == 0)
        error_set(&lean->first_fault, -EPROTO, "%s (%u, used index %u, available index %u)", what,
                  value, lean->used_index, lean->published_index);
}

void lean_ring_init(struct lean_ring *lean, struct front_ring *ring)
{
    *lean = (struct lean_ring){.ring = ring,
                               .avail = ring->avail,
                               .used = ring->used,
                               .size = ring->options.size,
                               .mask = ring->mask,
                               .avail_index = ring->avail_index,
                               .used_index = ring->used_index,
                               .published_index = ring->published_index,
                               .to_guest = ring->options.to_guest,
                               .event_idx = ring->options.event_idx,
                               .in_order = ring->options.in_order};
    assert(ring->avail_index == ring->published_index);
    assert(front_ring_outstanding(ring) == (lean->to_guest ? lean->size : 0));
    for (unsigned place = 0; place < lean->size; place++) {
        if (!lean->to_guest)
            lean->avail->ring[place] = (uint16_t)place;
        lean->is_permuted |= lean->avail->ring[place] != place;
    }
    lean_ring_calls_decline(lean);
}

uint16_t lean_ring_mend(struct lean_ring *lean, uint16_t place, uint32_t id)
{
    if (id >= lean->size) {
        lean_ring_fault(lean, "used element names no descriptor", id);
        return lean->avail->ring[place];
    }
    if (lean->in_order) {
        lean_ring_fault(lean, "buffers given back out of order despite IN_ORDER", id);
        return lean->avail->ring[place];
    }
    lean->avail->ring[place] = (uint16_t)id;
    lean->is_permuted = true;
    lean->out_of_order++;
    return (uint16_t)id;
}

unsigned lean_ring_reclaim(struct lean_ring *lean)
{
    unsigned count = lean_ring_used(lean);

    if (lean->in_order) {
        lean->used_index = (uint16_t)(lean->used_index + count);
    } else {
        for (unsigned i = 0; i < count; i++)
            (void)lean_ring_take(lean);
    }
    lean_ring_calls_decline_again(lean);
    return count;
}

void lean_ring_bind(struct lean_ring *lean, uint16_t head, uint32_t len)
{
    assert(len <= lean->ring->options.slot_bytes);
    front_ring_put_desc(lean->ring, head, lean->ring->slot_addresses[head], len, 0, 0);
}

void lean_ring_publish(struct lean_ring *lean)
{
    uint16_t old = lean->published_index, new = lean->avail_index;
    bool wanted;

    if (old == new)
        return;
    __atomic_store_n(&lean->avail->index, new, __ATOMIC_RELEASE);
    lean->published_index = new;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the index is out before we look at the wish */
    if (lean->event_idx) {
        uint16_t event = __atomic_load_n(avail_event(lean), __ATOMIC_RELAXED);

        wanted = (uint16_t)(new - event - 1) < (uint16_t)(new - old);
    } else {
        wanted = !(__atomic_load_n(&lean->used->flags, __ATOMIC_RELAXED) & USED_NO_NOTIFY);
    }
    if (wanted)
        front_ring_kick(lean->ring);
}

void lean_ring_calls_decline(struct lean_ring *lean)
{
    /* Half a round away: not one that the device has just published, and is about to look for. */
    if (lean->event_idx)
        __atomic_store_n(used_event(lean), (uint16_t)(lean->used_index + 0x8000), __ATOMIC_RELAXED);
    else
        __atomic_store_n(&lean->avail->flags, AVAIL_NO_INTERRUPT, __ATOMIC_RELAXED);
    lean->declined_index = lean->used_index;
    lean->wants_calls = false;
}

bool lean_ring_calls_request(struct lean_ring *lean)
{
    if (lean->event_idx)
        __atomic_store_n(used_event(lean), lean->used_index, __ATOMIC_RELAXED);
    else
        __atomic_store_n(&lean->avail->flags, 0, __ATOMIC_RELAXED);
    lean->wants_calls = true;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the wish is out before we look at the index */
    return lean_ring_used(lean) > 0;
}

uint64_t lean_ring_calls_take(struct lean_ring *lean)
{
    uint64_t before = lean->ring->stats.calls;

    front_ring_calls_take(lean->ring);
    return lean->ring->stats.calls - before;
}

void lean_ring_describe(const struct lean_ring *lean, char *text, size_t bytes)
{
    struct front_ring ring = *lean->ring; /* as it would be had it gone this way itself */

    ring.used_index = lean->used_index;
    ring.avail_index = lean->avail_index;
    ring.published_index = lean->published_index;
    front_ring_describe(&ring, text, bytes);
}

/*
 * A ring whose descriptors are written once: what is left to do for a packet is to move an index.
 *
 * It takes over a front_ring (front/front_ring.h) that front_end_open has set up. Slot i of guest
 * memory belongs to descriptor i for good, and the available ring names the descriptors in turn, so
 * it need not be written again either, as long as the device gives chains back in the order in
 * which it got them. Where the used element names another than the available entry of its place
 * does, that entry is mended: the device has read it, and will read it again only when the driver
 * has gone round. So what a place in the ring holds is always what its available entry says.
 *
 * With IN_ORDER, used elements of a transmitq are not read at all (virtio 1.2, 2.7.13: they say
 * nothing that is not known). One thread uses a ring.
 */
#ifndef CONVOY_BENCH_LEAN_RING_H
#define CONVOY_BENCH_LEAN_RING_H

#include "front_ring.h"

struct lean_ring {
    struct front_ring *ring; /* the caller's; its own indices stand still meanwhile */
    struct front_avail *avail;
    const struct front_used *used;
    unsigned size;
    uint16_t mask;
    uint16_t avail_index;     /* next entry to offer */
    uint16_t used_index;      /* next used element to take */
    uint16_t published_index; /* what the device has been told */
    uint16_t declined_index;  /* used index when calls were last declined */
    bool to_guest;            /* a receiveq */
    bool event_idx, in_order; /* as negotiated */
    bool wants_calls;         /* a call was asked for and has not been taken */
    bool is_permuted;         /* descriptors have changed their places */
    uint64_t out_of_order;    /* places that were mended */
    uint64_t faults;          /* things that a device must never do */
    struct error first_fault;
};

/* A buffer that the device has given back. */
struct lean_buffer {
    uint16_t head; /* its descriptor, and slot */
    uint32_t len;  /* what the device has written, virtio-net header included */
};

/*
 * Takes over a ring: a receiveq as it is, whose buffers are all posted; a transmitq that has
 * nothing outstanding, whose slots get their lengths by lean_ring_bind before they are offered.
 * Calls are declined.
 */
void lean_ring_init(struct lean_ring *lean, struct front_ring *ring);

/* --- what the device has given back --- */

/* Used elements that have not been taken; one load. 0 and a fault: more than it was given. */
static inline unsigned lean_ring_used(struct lean_ring *lean);

/* For lean_ring_take: the used element at `place` names `id` instead of what was offered there. */
uint16_t lean_ring_mend(struct lean_ring *lean, uint16_t place, uint32_t id);

/* The next used element, which lean_ring_used has shown, without taking it. */
static inline struct lean_buffer lean_ring_peek(const struct lean_ring *lean, unsigned ahead)
{
    const struct front_used_elem *elem = &lean->used->ring[(lean->used_index + ahead) & lean->mask];

    return (struct lean_buffer){(uint16_t)(elem->id & lean->mask), elem->len};
}

/* Takes the next used element, which lean_ring_used has shown. */
static inline struct lean_buffer lean_ring_take(struct lean_ring *lean)
{
    uint16_t place = lean->used_index++ & lean->mask;
    struct front_used_elem elem = lean->used->ring[place];
    struct lean_buffer buffer = {(uint16_t)elem.id, elem.len};

    if (CV_UNLIKELY(elem.id != lean->avail->ring[place]))
        buffer.head = lean_ring_mend(lean, place, elem.id);
    return buffer;
}

/* Takes all that is given back of a transmitq; returns how many. */
unsigned lean_ring_reclaim(struct lean_ring *lean);

/* --- offering --- */

/* Places of a transmitq that are free, as of the last lean_ring_reclaim. */
static inline unsigned lean_ring_free(const struct lean_ring *lean)
{
    return lean->size - (uint16_t)(lean->avail_index - lean->used_index);
}

/* Buffers that the device holds or has given back unseen. */
static inline unsigned lean_ring_outstanding(const struct lean_ring *lean)
{
    return (uint16_t)(lean->avail_index - lean->used_index);
}

/* The slot that is offered `ahead` places from now. */
static inline uint16_t lean_ring_head(const struct lean_ring *lean, unsigned ahead)
{
    uint16_t place = (uint16_t)(lean->avail_index + ahead) & lean->mask;

    return lean->is_permuted ? lean->avail->ring[place] : place;
}

/* The slot's bytes, virtio-net header first. */
static inline uint8_t *lean_ring_slot(const struct lean_ring *lean, uint16_t head)
{
    return lean->ring->slots[head];
}

/* Says how much of a transmitq's slot is to be sent, header included; its place must be free. */
void lean_ring_bind(struct lean_ring *lean, uint16_t head, uint32_t len);

/* Offers the next `count` slots, and publishes. */
static inline void lean_ring_offer(struct lean_ring *lean, unsigned count);

/* Posts all buffers of a receiveq again that have been taken, and publishes. */
static inline void lean_ring_repost(struct lean_ring *lean)
{
    lean_ring_offer(lean, lean_ring_free(lean));
}

/* Makes what is offered visible, and kicks if the device asks for it. */
void lean_ring_publish(struct lean_ring *lean);

static inline void lean_ring_offer(struct lean_ring *lean, unsigned count)
{
    lean->avail_index = (uint16_t)(lean->avail_index + count);
    lean_ring_publish(lean);
}

/* --- calls --- */

/* Asks for no calls. With EVENT_IDX to be repeated, well within 32768 used elements. */
void lean_ring_calls_decline(struct lean_ring *lean);

/* The repetition, where it is time. */
static inline void lean_ring_calls_decline_again(struct lean_ring *lean)
{
    if (CV_UNLIKELY((uint16_t)(lean->used_index - lean->declined_index) >= 16384))
        lean_ring_calls_decline(lean);
}

/* Asks for a call at the next used element. True: there is one already, do not wait. */
bool lean_ring_calls_request(struct lean_ring *lean);

/* Takes what the call eventfd has counted, into the front_ring's stats; returns it. */
uint64_t lean_ring_calls_take(struct lean_ring *lean);

/* As front_ring_describe. */
void lean_ring_describe(const struct lean_ring *lean, char *text, size_t bytes);

/* Counts a fault; the first is kept in words. */
void lean_ring_fault(struct lean_ring *lean, const char *what, unsigned value);

static inline unsigned lean_ring_used(struct lean_ring *lean)
{
    uint16_t index = __atomic_load_n(&lean->used->index, __ATOMIC_ACQUIRE);
    uint16_t count = (uint16_t)(index - lean->used_index);

    if (CV_LIKELY(count <= (uint16_t)(lean->published_index - lean->used_index)))
        return count;
    lean_ring_fault(lean, "used index ahead of what was offered", index);
    return 0;
}

#endif

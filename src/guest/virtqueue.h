/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7) in a guest's memory.
 *
 * How it works: the driver publishes descriptor chains in the available ring; we take them in
 * order, and give them back in order through the used ring. `next_avail` and `next_used` are our
 * own and never read back from the guest. Used entries are written as they come (virtq_use) and
 * become visible all at once (virtq_show): one store for a whole convoy. Whether the driver wants a
 * call for them may be asked later (virtq_wants_call), for several convoys at once.
 *
 * Nothing the guest writes is trusted, or read twice: an index, a descriptor, an event index is
 * copied with one load, the copy is checked, the copy is used.
 *
 * Thread: the one worker that serves the queue.
 */
#ifndef CONVOY_GUEST_VIRTQUEUE_H
#define CONVOY_GUEST_VIRTQUEUE_H

#include <sys/uio.h>

#include "base/limits.h"
#include "guest/guest_fault.h"
#include "guest/guest_memory.h"

/* Layouts of virtio 1.2, 2.7.5 to 2.7.8, little-endian. */
struct virtq_desc {
    uint64_t address;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

enum virtq_desc_flags {
    VIRTQ_DESC_F_NEXT = 1,
    VIRTQ_DESC_F_WRITE = 2,
    VIRTQ_DESC_F_INDIRECT = 4,
};

struct virtq_used_elem {
    uint32_t id;
    uint32_t len;
};

enum { VIRTQ_AVAIL_F_NO_INTERRUPT = 1, VIRTQ_USED_F_NO_NOTIFY = 1 };

struct virtq_avail {
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[]; /* followed by used_event */
};

struct virtq_used {
    uint16_t flags;
    uint16_t idx;
    struct virtq_used_elem ring[]; /* followed by avail_event */
};

struct virtq {
    struct virtq_desc *desc;   /* table in guest memory */
    struct virtq_avail *avail; /* in guest memory */
    struct virtq_used *used;   /* in guest memory */
    const struct guest_memory *memory;
    uint32_t size;           /* entries, a power of two */
    uint16_t next_avail;     /* next available entry to take */
    uint16_t avail_seen;     /* our last copy of the driver's index */
    uint16_t next_used;      /* next used entry to write */
    uint16_t published_used; /* used index as the driver sees it */
    uint16_t asked_used;     /* up to where the driver was asked whether it wants a call */
    bool event_idx;          /* VIRTIO_RING_F_EVENT_IDX agreed */
    bool indirect;           /* VIRTIO_RING_F_INDIRECT_DESC agreed */
    bool kicks_disabled;     /* the driver has been told that it need not kick */
    int call_fd;             /* eventfd, -1: the guest polls; the session's */
};

/* What is needed to run a ring; addresses are the front end's virtual ones. */
struct virtq_setup {
    const struct guest_memory *memory;
    uint32_t size;
    uint64_t desc_user_address, avail_user_address, used_user_address;
    uint16_t base;     /* next available index */
    uint64_t features; /* agreed virtio features */
    int call_fd;
};

/* GUEST_FAULT_RING_UNMAPPED when the ring does not lie in the guest's memory. */
enum guest_fault virtq_start(struct virtq *virtq, const struct virtq_setup *setup) CV_MUST_CHECK;

/*
 * Chains that can be taken, at most `max`. Reads the driver's index only when what was seen before
 * does not suffice. Sets *ret_fault when the index is impossible (and returns 0).
 */
static inline unsigned virtq_available(struct virtq *virtq, unsigned max,
                                       enum guest_fault *ret_fault)
{
    unsigned count = (uint16_t)(virtq->avail_seen - virtq->next_avail);

    if (count >= max)
        return max;
    virtq->avail_seen = __atomic_load_n(&virtq->avail->idx, __ATOMIC_ACQUIRE);
    count = (uint16_t)(virtq->avail_seen - virtq->next_avail);
    if (CV_UNLIKELY(count > virtq->size)) {
        virtq->avail_seen = virtq->next_avail;
        *ret_fault = GUEST_FAULT_AVAIL_INDEX;
        return 0;
    }
    return CV_MIN(count, max);
}

/* Head of the chain `ahead` places behind the next one. Our copy, unchecked: virtq_walk checks it.
 */
static inline uint16_t virtq_head(const struct virtq *virtq, unsigned ahead)
{
    uint16_t index = (uint16_t)(virtq->next_avail + ahead);

    return __atomic_load_n(&virtq->avail->ring[index & (virtq->size - 1)], __ATOMIC_RELAXED);
}

/* Asks the processor for a descriptor that will be walked soon. */
static inline void virtq_prefetch_desc(const struct virtq *virtq, uint16_t guest_head)
{
    if (guest_head < virtq->size)
        __builtin_prefetch(&virtq->desc[guest_head]);
}

/* The chains up to `count` are ours now. */
static inline void virtq_take(struct virtq *virtq, unsigned count)
{
    virtq->next_avail = (uint16_t)(virtq->next_avail + count);
}

/* Chains as the places in our address space where their bytes lie. */
struct virtq_chain {
    unsigned count;                              /* pieces */
    unsigned steps;                              /* descriptors followed, empty ones included */
    uint64_t len;                                /* bytes of all pieces */
    struct iovec pieces[VIRTQ_CHAIN_PIECES_MAX]; /* none is empty */
};

static inline void virtq_chain_clear(struct virtq_chain *chain)
{
    chain->count = chain->steps = 0;
    chain->len = 0;
}

/*
 * Copies and checks the chain that starts at `guest_head` and appends its pieces to *chain; all its
 * descriptors must be writable (`to_guest`) or all readable. GUEST_FAULT_NONE, or what the guest
 * did wrong; CHAIN_LENGTH also when all chains in *chain together have more than
 * VIRTQ_CHAIN_PIECES_MAX descriptors or pieces.
 */
enum guest_fault virtq_walk(const struct virtq *virtq, uint16_t guest_head, bool to_guest,
                            struct virtq_chain *chain) CV_MUST_CHECK;

/* One descriptor with one load per half: a copy that cannot change any more. */
static inline struct virtq_desc virtq_desc_copy(const struct virtq_desc *guest_desc)
{
    const uint64_t *words = (const uint64_t *)guest_desc;
    uint64_t rest = __atomic_load_n(&words[1], __ATOMIC_RELAXED);

    return (struct virtq_desc){.address = __atomic_load_n(&words[0], __ATOMIC_RELAXED),
                               .len = (uint32_t)rest,
                               .flags = (uint16_t)(rest >> 32),
                               .next = (uint16_t)(rest >> 48)};
}

/*
 * The common case of virtq_walk, a chain of one descriptor that lies in one piece. False: it is
 * something else, right or wrong; ask virtq_walk.
 */
static inline bool virtq_walk_single(const struct virtq *virtq, uint16_t guest_head, bool to_guest,
                                     struct iovec *ret_piece)
{
    struct virtq_desc desc;
    uint64_t run_len = 0;

    if (CV_UNLIKELY(guest_head >= virtq->size))
        return false;
    desc = virtq_desc_copy(&virtq->desc[guest_head]);
    if (desc.flags != (to_guest ? VIRTQ_DESC_F_WRITE : 0) || desc.len == 0)
        return false;
    ret_piece->iov_base = guest_memory_at(virtq->memory, desc.address, desc.len, &run_len);
    ret_piece->iov_len = desc.len;
    return ret_piece->iov_base && run_len == desc.len;
}

/* Writes a used entry; `len` bytes were written into the chain. Not visible before virtq_publish.
 */
static inline void virtq_use(struct virtq *virtq, uint16_t head, uint32_t len)
{
    struct virtq_used_elem *elem = &virtq->used->ring[virtq->next_used & (virtq->size - 1)];

    elem->id = head;
    elem->len = len;
    virtq->next_used++;
}

/* Makes all used entries visible with one store. True: there were any. */
bool virtq_show(struct virtq *virtq);

/*
 * True when the driver wants a call for what became visible since it was last asked. A driver that
 * has found it all by itself meanwhile wants none.
 */
bool virtq_wants_call(struct virtq *virtq);

/* Both at once. */
static inline bool virtq_publish(struct virtq *virtq)
{
    (void)virtq_show(virtq);
    return virtq_wants_call(virtq);
}

/* True when the driver has seen everything that was visible when it was last asked, and waits for
 * more. Known with the event index only; false without. */
bool virtq_has_answered(const struct virtq *virtq);

/*
 * Calls the guest: one system call. False: it blocked until it was interrupted, which only a
 * descriptor that its owner has tampered with can do.
 */
bool virtq_call(const struct virtq *virtq) CV_MUST_CHECK;

/*
 * Asks the driver for a kick once `chains` more (at least 1) are available. Without the event index
 * it cannot be asked for more than one at a time: for more it is asked for nothing. True: so many
 * are available already and no kick may come for them; look again (virtio 1.2, 2.7.10.1, the race
 * that stalls rings).
 */
bool virtq_kicks_enable(struct virtq *virtq, unsigned chains);

/* Tells the driver that we look by ourselves. With the event index there is nothing to write. */
void virtq_kicks_disable(struct virtq *virtq);

#endif

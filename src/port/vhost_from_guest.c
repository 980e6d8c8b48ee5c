/*
 * From a guest's transmitq: descriptor chains become frames. Headers are copied once into the
 * frame; the payload stays where it is until the frame departs, and the chain is held until then.
 * Chains are given back in the order in which they were taken, whatever the order in which frames
 * end.
 *
 * A burst is taken in three passes, so that the cache misses of one frame overlap with those of the
 * next: heads, descriptors, bytes.
 */
#include "port/vhost_queue.h"

#include <string.h>
#include <unistd.h>

/* The shortest frame of common traffic: Ethernet's least without its checksum. */
enum { SHORT_HEAD_BYTES = 60 };

/* Bytes are asked for so many frames before they are read. */
enum { PREFETCH_AHEAD = 16 };

/* Every further piece of a chain costs about as much as copying so many bytes. */
enum { PIECE_COST_BYTES = 512 };

/* Chains in more than one piece are walked into this; too large for the stack of a burst. */
static _Thread_local struct virtq_chain scratch_chain;

void vhost_queue_fail(struct vhost_queue *queue, enum guest_fault fault)
{
    static const uint64_t one = 1;

    if (vhost_queue_has_failed(queue))
        return;
    __atomic_store_n(&queue->fault, fault, __ATOMIC_RELEASE);
    counter_add(&queue->base.counters->faults, 1);
    (void)!write(queue->fault_fd, &one, sizeof(one));
}

bool vhost_queue_lost_memory(struct vhost_queue *queue)
{
    const struct guest_memory *memory =
        queue->base.can_receive ? queue->from_guest.memory : queue->to_guest.memory;

    if (CV_LIKELY(!guest_memory_is_lost(memory)))
        return false;
    vhost_queue_fail(queue, GUEST_FAULT_MEMORY_LOST);
    return true;
}

/* Copies guest memory; the compiler must not read the original again. */
static void snapshot(void *to, const void *from_guest_memory, size_t n)
{
    memcpy(to, from_guest_memory, n);
    __asm__ volatile("" ::: "memory");
}

/* The same for a few bytes, as a rule, without a call; none of them is read twice. */
static void snapshot_rest(uint8_t *to, const uint8_t *from_guest_memory, size_t n)
{
    if (CV_UNLIKELY(n >= 16)) {
        snapshot(to, from_guest_memory, n);
        return;
    }
    for (; n >= 4; n -= 4, to += 4, from_guest_memory += 4)
        snapshot(to, from_guest_memory, 4);
    for (; n > 0; n--)
        snapshot(to++, from_guest_memory++, 1);
}

/* Sets the lengths of a frame whose chain holds `chain_len` bytes; false when it is no frame. */
static bool frame_set_len(struct frame *frame, const struct vhost_queue *queue, uint64_t chain_len)
{
    uint64_t len = chain_len - queue->hdr_bytes;

    frame->len = (uint32_t)len;
    frame->head_len = 0;
    frame->piece_count = 0;
    frame->vnet = (struct virtio_net_hdr){0};
    if (len >= 14 && len <= FRAME_BYTES_MAX)
        return true;
    frame->len = 0;
    frame->drop = DROP_MALFORMED;
    return false;
}

/* Reads a frame that lies in one piece. */
static void frame_load_single(struct frame *frame, const struct vhost_queue *queue,
                              const struct iovec *piece)
{
    const uint8_t *bytes = piece->iov_base;

    if (!frame_set_len(frame, queue, piece->iov_len))
        return;
    frame->head_len = (uint16_t)CV_MIN(frame->len, (uint32_t)FRAME_HEAD_BYTES_MAX);
    if (CV_LIKELY(queue->hdr_bytes == VNET_HDR_BYTES && frame->head_len >= SHORT_HEAD_BYTES)) {
        /* A length that the compiler knows is copied without a call. */
        snapshot(&frame->vnet, bytes, VNET_HDR_BYTES + SHORT_HEAD_BYTES);
        snapshot_rest(frame->head + SHORT_HEAD_BYTES, bytes + VNET_HDR_BYTES + SHORT_HEAD_BYTES,
                      frame->head_len - SHORT_HEAD_BYTES);
    } else {
        snapshot(&frame->vnet, bytes, queue->hdr_bytes);
        snapshot(frame->head, bytes + queue->hdr_bytes, frame->head_len);
    }
    frame->vnet.flags &= VNET_HDR_F_NEEDS_CSUM; /* what a guest says it has verified is no proof */
    if (frame->len > frame->head_len) {
        frame->pieces[0].iov_base = piece->iov_base + queue->hdr_bytes + frame->head_len;
        frame->pieces[0].iov_len = frame->len - frame->head_len;
        frame->piece_count = 1;
    }
}

/* A place in a row of pieces. */
struct chain_reader {
    const struct iovec *piece;
    size_t offset;
};

static void chain_read(struct chain_reader *reader, void *to, size_t n)
{
    while (n > 0) {
        size_t run = CV_MIN(n, reader->piece->iov_len - reader->offset);

        snapshot(to, reader->piece->iov_base + reader->offset, run);
        to = (uint8_t *)to + run;
        n -= run;
        reader->offset += run;
        if (reader->offset == reader->piece->iov_len) {
            reader->piece++;
            reader->offset = 0;
        }
    }
}

/* Reads a frame that lies in any number of pieces, cut anywhere. */
static void frame_load_chain(struct frame *frame, struct vhost_queue *queue,
                             struct virtq_chain *chain, struct frame_pool *pool)
{
    struct chain_reader reader = {chain->pieces, 0};
    unsigned rest;

    if (!frame_set_len(frame, queue, chain->len))
        return;
    chain_read(&reader, &frame->vnet, queue->hdr_bytes);
    frame->vnet.flags &= VNET_HDR_F_NEEDS_CSUM;
    frame->head_len = (uint16_t)CV_MIN(frame->len, (uint32_t)FRAME_HEAD_BYTES_MAX);
    chain_read(&reader, frame->head, frame->head_len);
    if (frame->len == frame->head_len)
        return;
    rest = chain->count - (unsigned)(reader.piece - chain->pieces);
    chain->pieces[chain->count - rest].iov_base += reader.offset;
    chain->pieces[chain->count - rest].iov_len -= reader.offset;
    if (rest <= FRAME_PIECES_MAX) {
        memcpy(frame->pieces, reader.piece, rest * sizeof(*reader.piece));
        frame->piece_count = (uint16_t)rest;
    } else if (frame_pool_linearise(pool, frame, reader.piece, rest)) {
        counter_add(&queue->base.counters->linearised, 1);
    } else {
        frame->drop = DROP_NO_MEMORY;
    }
}

/* Walks a chain that is not of the simple kind and reads its frame. */
static enum guest_fault frame_take_chain(struct vhost_queue *queue, uint16_t guest_head,
                                         struct frame_pool *pool, struct frame *frame)
{
    enum guest_fault fault;

    virtq_chain_clear(&scratch_chain);
    fault = virtq_walk(&queue->from_guest, guest_head, false, &scratch_chain);
    if (!fault && scratch_chain.len < queue->hdr_bytes)
        fault = GUEST_FAULT_HEADER_SHORT;
    if (!fault)
        frame_load_chain(frame, queue, &scratch_chain, pool);
    return fault;
}

static_assert(VIRTQ_SIZE_MAX <= UINT16_MAX + 1, "a slot's number fits source_slot");

/* Notes that the chain is ours now; the frame's slot names it from here on. */
static void outstanding_add(struct vhost_queue *queue, uint16_t head, struct frame *frame)
{
    uint32_t slot = queue->newest++ & (queue->from_guest.size - 1);

    queue->outstanding[slot] = (struct vhost_outstanding){.head = head};
    frame->source = &queue->base;
    frame->source_slot = (uint16_t)slot;
}

/* Frames that the pool can give, into ret_frames. */
static unsigned frames_get(struct frame_pool *pool, struct frame **ret_frames, unsigned max)
{
    unsigned count = 0;

    while (count < max && (ret_frames[count] = frame_pool_get(pool))) {
        ret_frames[count]->drop = DROP_NONE;
        frame_prefetch(ret_frames[count]);
        count++;
    }
    return count;
}

/* What delivering a frame may cost: its bytes, or the packets that it may have to be cut into. */
static uint64_t frame_cost_bytes(const struct frame *frame)
{
    uint64_t segments = frame->vnet.gso_size ? frame->len / frame->vnet.gso_size : 0;

    return CV_MAX((uint64_t)frame->len, segments * PIECE_COST_BYTES);
}

/* Asks for the cache lines of the first bytes of a frame; a chain in several pieces has none here.
 */
static void prefetch_head(const struct iovec *piece)
{
    if (CV_UNLIKELY(!piece->iov_base))
        return;
    __builtin_prefetch(piece->iov_base);
    __builtin_prefetch(piece->iov_base + CV_CACHE_LINE_BYTES);
}

unsigned vhost_receive(struct port_queue *base, struct frame_pool *pool, struct frame **ret_frames,
                       unsigned max)
{
    struct vhost_queue *queue = vhost_queue_of(base);
    struct virtq *virtq = &queue->from_guest;
    uint16_t heads[BURST_FRAMES_MAX];
    struct iovec pieces[BURST_FRAMES_MAX];
    enum guest_fault fault = GUEST_FAULT_NONE;
    unsigned available, count, taken;
    uint64_t cost_bytes = 0;

    if (CV_UNLIKELY(vhost_queue_has_failed(queue) || vhost_queue_lost_memory(queue)))
        return 0;
    available = virtq_available(virtq, CV_MIN(max, (unsigned)BURST_FRAMES_MAX), &fault);
    /* A ring holds no more than its size: what is outstanding cannot be available again. */
    if (available > virtq->size - (queue->newest - queue->oldest))
        fault = GUEST_FAULT_AVAIL_INDEX;
    if (CV_UNLIKELY(fault))
        vhost_queue_fail(queue, fault);
    if (available == 0 || fault)
        return 0;
    count = frames_get(pool, ret_frames, available);
    for (unsigned i = 0; i < count; i++) {
        heads[i] = virtq_head(virtq, i);
        virtq_prefetch_desc(virtq, heads[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        if (!virtq_walk_single(virtq, heads[i], false, &pieces[i]))
            pieces[i].iov_base = NULL;
        else if (i < PREFETCH_AHEAD)
            prefetch_head(&pieces[i]);
    }
    for (taken = 0; taken < count && cost_bytes < BURST_BYTES_MAX; taken++) {
        struct frame *frame = ret_frames[taken];

        if (taken + PREFETCH_AHEAD < count)
            prefetch_head(&pieces[taken + PREFETCH_AHEAD]);
        if (CV_LIKELY(pieces[taken].iov_base && pieces[taken].iov_len >= queue->hdr_bytes)) {
            frame_load_single(frame, queue, &pieces[taken]);
        } else {
            fault = frame_take_chain(queue, heads[taken], pool, frame);
            if (fault)
                break;
            cost_bytes += (uint64_t)scratch_chain.steps * PIECE_COST_BYTES;
        }
        cost_bytes += frame_cost_bytes(frame);
        outstanding_add(queue, heads[taken], frame);
        if (CV_UNLIKELY(queue->discard))
            frame->drop = DROP_QUEUE_DISABLED;
    }
    for (unsigned i = taken; i < count; i++)
        frame_pool_put(pool, ret_frames[i]);
    virtq_take(virtq, taken);
    if (CV_UNLIKELY(fault))
        vhost_queue_fail(queue, fault);
    return taken;
}

void vhost_give_back(struct port_queue *base, struct frame *const *frames, unsigned count)
{
    struct vhost_queue *queue = vhost_queue_of(base);
    uint32_t mask = queue->from_guest.size - 1;

    for (unsigned i = 0; i < count; i++) {
        struct vhost_outstanding *chain = &queue->outstanding[frames[i]->source_slot];

        if (CV_LIKELY(frames[i]->source_slot == (queue->oldest & mask))) {
            virtq_use(&queue->from_guest, chain->head, 0);
            queue->oldest++;
        } else {
            chain->is_done = true;
            queue->done_count++;
        }
    }
}

/* The guest can go on sending while what it sent is still out. */
static bool ring_has_room(const struct vhost_queue *queue)
{
    return queue->newest - queue->oldest <= queue->from_guest.size / 4 * 3;
}

bool vhost_settle(struct port_queue *base)
{
    struct vhost_queue *queue = vhost_queue_of(base);
    uint32_t mask = queue->from_guest.size - 1;

    while (queue->oldest != queue->newest && queue->outstanding[queue->oldest & mask].is_done) {
        virtq_use(&queue->from_guest, queue->outstanding[queue->oldest++ & mask].head, 0);
        queue->done_count--;
    }
    base->unpublished = queue->done_count;
    (void)virtq_show(&queue->from_guest);
    if (CV_UNLIKELY(queue->owes_calls)) {
        queue->owes_calls = false;
        if (base->can_receive)
            vhost_queue_call(queue, &queue->from_guest, &base->counters->from_calls);
        if (base->can_deliver)
            vhost_queue_call(queue, &queue->to_guest, &base->counters->to_calls);
    }
    /* Its payload may have been lost while it was copied, and nothing more may come from it. */
    if (base->can_receive)
        (void)vhost_queue_lost_memory(queue);
    return queue->done_count <= queue->from_guest.size / 4 &&
           (queue->done_count == 0 || ring_has_room(queue));
}

void vhost_announce_back(struct port_queue *base)
{
    struct vhost_queue *queue = vhost_queue_of(base);

    if (virtq_wants_call(&queue->from_guest))
        vhost_queue_call(queue, &queue->from_guest, &base->counters->from_calls);
}

bool vhost_arm_from(struct port_queue *base, unsigned packets)
{
    struct vhost_queue *queue = vhost_queue_of(base);

    if (vhost_queue_has_failed(queue))
        return false;
    return virtq_kicks_enable(&queue->from_guest, packets) ||
           queue->from_guest.next_avail != queue->from_guest.avail_seen;
}

void vhost_disarm_from(struct port_queue *base)
{
    virtq_kicks_disable(&vhost_queue_of(base)->from_guest);
}

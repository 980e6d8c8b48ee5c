/*
 * To a guest's receiveq: a convoy becomes used buffers. Each frame is copied once, from where it
 * lies; all of them are published with one store and announced with at most one call.
 *
 * The common case, a frame that fits the guest's next buffer, which lies in one piece, is done for
 * a whole group in passes (heads, descriptors, bytes), so that cache misses overlap.
 * Everything else (mergeable buffers, buffers in several pieces, super-packets for guests that take
 * none) goes through deliver_gather, frame by frame.
 */
#include "port/vhost_queue.h"

#include <string.h>

enum { GROUP_FRAMES_MAX = 64, HEAD_BLOCK_BYTES = 64 };

/* Buffers are asked for so many frames before they are written: that long their cache lines take
 * from the processor that read them last. */
enum { PREFETCH_AHEAD = 16 };

/* The receive buffers for one frame: chains taken in order until they hold it. */
struct gathered {
    unsigned chain_count;
    uint16_t heads[VIRTQ_CHAIN_PIECES_MAX];
    uint32_t lens[VIRTQ_CHAIN_PIECES_MAX]; /* bytes that each chain can hold */
    struct virtq_chain pieces;             /* of all chains */
};

static _Thread_local struct gathered gathered;

/* What became of a frame. */
enum outcome { OUTCOME_DELIVERED, OUTCOME_TOO_BIG, OUTCOME_NO_ROOM };

/* The header as this receiver may see it: no word of checksums to one that agreed to none. */
static struct virtio_net_hdr hdr_for_guest(const struct vhost_queue *queue,
                                           const struct frame *frame, unsigned buffers)
{
    struct virtio_net_hdr hdr = frame->vnet;

    if (!(queue->base.offloads & OFFLOAD_CSUM))
        hdr.flags = 0;
    hdr.num_buffers = (uint16_t)buffers;
    return hdr;
}

static_assert(offsetof(struct virtio_net_hdr, flags) == 0 &&
                  offsetof(struct virtio_net_hdr, num_buffers) == 10,
              "as hdr_write takes them");

/* A place in a row of writable pieces. */
struct chain_writer {
    const struct iovec *piece;
    size_t offset;
};

static void chain_write(struct chain_writer *writer, const void *from, size_t n)
{
    while (n > 0) {
        size_t run = CV_MIN(n, writer->piece->iov_len - writer->offset);

        memcpy(writer->piece->iov_base + writer->offset, from, run);
        from = (const uint8_t *)from + run;
        n -= run;
        writer->offset += run;
        if (writer->offset == writer->piece->iov_len) {
            writer->piece++;
            writer->offset = 0;
        }
    }
}

/* A frame, and of those merged into it the payload. */
static void frame_write(struct chain_writer *writer, const struct frame *frame)
{
    size_t skip = 0;

    for (; frame; frame = frame->merged_next) {
        chain_write(writer, frame->head + skip, frame->head_len - skip);
        for (unsigned i = 0; i < frame->piece_count; i++)
            chain_write(writer, frame->pieces[i].iov_base, frame->pieces[i].iov_len);
        skip = frame->merged_next ? frame->merged_next->facts.payload_offset : 0;
    }
}

/* The head of a small frame is copied in two blocks that overlap: lengths that the compiler knows
 * need no call. */
static void head_copy(uint8_t *to, const uint8_t *head, size_t len)
{
    enum { HALF = HEAD_BLOCK_BYTES / 2 };

    if (CV_LIKELY(len >= HALF && len <= HEAD_BLOCK_BYTES)) {
        memcpy(to, head, HALF);
        memcpy(to + len - HALF, head + len - HALF, HALF);
    } else if (len > HEAD_BLOCK_BYTES && len <= (size_t)2 * HEAD_BLOCK_BYTES) {
        memcpy(to, head, HEAD_BLOCK_BYTES);
        memcpy(to + len - HEAD_BLOCK_BYTES, head + len - HEAD_BLOCK_BYTES, HEAD_BLOCK_BYTES);
    } else {
        memcpy(to, head, len);
    }
}

/*
 * Writes the header of a frame in one buffer. The usual kind is made in registers: were it put
 * together in memory and copied from there, the copy's load would have to wait for every store
 * before it, those to the guest's memory among them.
 */
static void hdr_write(uint8_t *to, const struct vhost_queue *queue, const struct frame *frame)
{
    if (CV_LIKELY(queue->hdr_bytes == VNET_HDR_BYTES)) {
        uint64_t first;
        uint32_t rest;

        memcpy(&first, &frame->vnet, sizeof(first));
        memcpy(&rest, (const uint8_t *)&frame->vnet + sizeof(first), sizeof(rest));
        if (!(queue->base.offloads & OFFLOAD_CSUM))
            first &= ~UINT64_C(0xff);      /* flags */
        rest = (rest & 0xffff) | 1u << 16; /* num_buffers */
        memcpy(to, &first, sizeof(first));
        memcpy(to + sizeof(first), &rest, sizeof(rest));
    } else {
        struct virtio_net_hdr hdr = hdr_for_guest(queue, frame, 1);

        memcpy(to, &hdr, queue->hdr_bytes);
    }
}

/* Copies a frame into one piece of the guest's memory that is large enough. */
static void frame_copy(uint8_t *to, const struct vhost_queue *queue, const struct frame *frame)
{
    hdr_write(to, queue, frame);
    to += queue->hdr_bytes;
    if (CV_UNLIKELY(frame->merged_count > 0)) {
        struct iovec whole = {to, frame->len};
        struct chain_writer writer = {&whole, 0};

        frame_write(&writer, frame);
        return;
    }
    head_copy(to, frame->head, frame->head_len);
    to += frame->head_len;
    for (unsigned i = 0; i < frame->piece_count; i++) {
        memcpy(to, frame->pieces[i].iov_base, frame->pieces[i].iov_len);
        to += frame->pieces[i].iov_len;
    }
}

/*
 * Collects buffers that hold `bytes`. NO_ROOM: the guest has not posted enough. TOO_BIG: a single
 * buffer must do and does not; or half the ring is posted and does not, and drivers such as Linux's
 * post more only when more than half of it is used.
 */
static enum outcome buffers_gather(struct vhost_queue *queue, uint64_t bytes)
{
    struct virtq *virtq = &queue->to_guest;
    enum guest_fault fault = GUEST_FAULT_NONE;
    unsigned available = virtq_available(virtq, virtq->size, &fault);

    gathered.chain_count = 0;
    virtq_chain_clear(&gathered.pieces);
    for (unsigned i = 0; i < available && !fault && gathered.pieces.len < bytes; i++) {
        uint64_t len_before = gathered.pieces.len;

        if (i == (queue->mergeable ? CV_COUNT_OF(gathered.heads) : 1))
            return OUTCOME_TOO_BIG;
        gathered.heads[i] = virtq_head(virtq, i);
        fault = virtq_walk(virtq, gathered.heads[i], true, &gathered.pieces);
        if (!fault && i == 0 && gathered.pieces.len < queue->hdr_bytes)
            fault = GUEST_FAULT_BUFFER_SHORT;
        if (fault == GUEST_FAULT_CHAIN_LENGTH && i > 0)
            return OUTCOME_TOO_BIG; /* well-formed, but too small to be of use */
        gathered.lens[i] = (uint32_t)CV_MIN(gathered.pieces.len - len_before, UINT32_MAX);
        gathered.chain_count++;
    }
    if (CV_UNLIKELY(fault)) {
        vhost_queue_fail(queue, fault);
        return OUTCOME_NO_ROOM;
    }
    if (gathered.pieces.len >= bytes)
        return OUTCOME_DELIVERED;
    return available > virtq->size / 2 || (available > 0 && !queue->mergeable) ? OUTCOME_TOO_BIG
                                                                               : OUTCOME_NO_ROOM;
}

/* True when a frame no larger was too big, and the guest has posted nothing since. */
static bool still_too_big(const struct vhost_queue *queue, const struct frame *frame)
{
    return queue->too_big_len && frame->len >= queue->too_big_len &&
           queue->too_big_avail_seen ==
               __atomic_load_n(&queue->to_guest.avail->idx, __ATOMIC_RELAXED);
}

/* Delivers a frame that the guest takes as it is, into whatever buffers there are. */
static enum outcome deliver_gather(struct vhost_queue *queue, const struct frame *frame)
{
    uint64_t left = queue->hdr_bytes + frame->len;
    enum outcome outcome =
        still_too_big(queue, frame) ? OUTCOME_TOO_BIG : buffers_gather(queue, left);
    struct chain_writer writer = {gathered.pieces.pieces, 0};
    struct virtio_net_hdr hdr;

    if (outcome == OUTCOME_TOO_BIG) {
        queue->too_big_len = frame->len;
        queue->too_big_avail_seen = queue->to_guest.avail_seen;
    }
    if (outcome != OUTCOME_DELIVERED)
        return outcome;
    queue->too_big_len = 0; /* with fewer buffers left it may be worth waiting for more */
    hdr = hdr_for_guest(queue, frame, gathered.chain_count);
    chain_write(&writer, &hdr, queue->hdr_bytes);
    frame_write(&writer, frame);
    for (unsigned i = 0; i < gathered.chain_count; i++) {
        uint32_t len = (uint32_t)CV_MIN(left, gathered.lens[i]);

        virtq_use(&queue->to_guest, gathered.heads[i], len);
        left -= len;
    }
    virtq_take(&queue->to_guest, gathered.chain_count);
    counter_add(&queue->base.counters->to_packets, 1);
    counter_add(&queue->base.counters->to_merged, frame->merged_count);
    counter_add(&queue->base.counters->to_bytes, frame->len);
    return OUTCOME_DELIVERED;
}

/*
 * Delivers a frame as packets that the guest takes: cut, with checksums completed. When the guest
 * runs out of buffers in between, the next call goes on where this one stopped.
 */
static enum outcome deliver_cut(struct vhost_queue *queue, const struct frame *frame,
                                unsigned offloads)
{
    struct port_counters *counters = queue->base.counters;
    bool is_super = frame->vnet.gso_type != VNET_HDR_GSO_NONE;

    if (!queue->is_cutting) {
        segmenter_init(&queue->segmenter, frame, offloads);
        queue->is_cutting = segmenter_next(&queue->segmenter, &queue->segment);
        counter_add(is_super ? &counters->segmented : &counters->checksummed, 1);
    }
    while (queue->is_cutting) {
        enum outcome outcome = deliver_gather(queue, &queue->segment.frame);

        if (outcome == OUTCOME_NO_ROOM)
            return outcome;
        if (outcome == OUTCOME_TOO_BIG) {
            queue->is_cutting = false;
            return outcome;
        }
        queue->is_cutting = segmenter_next(&queue->segmenter, &queue->segment);
    }
    return OUTCOME_DELIVERED;
}

/* Delivers one frame in whatever way it takes. */
static enum outcome deliver_one(struct vhost_queue *queue, const struct frame *frame)
{
    enum outcome outcome;

    if (queue->is_cutting || !segment_fits(frame, queue->base.offloads))
        return deliver_cut(queue, frame, queue->base.offloads);
    outcome = deliver_gather(queue, frame);
    /* A guest may have agreed to super-packets and yet post buffers that hold none. */
    if (outcome == OUTCOME_TOO_BIG && frame->vnet.gso_type != VNET_HDR_GSO_NONE)
        outcome = deliver_cut(queue, frame, queue->base.offloads & OFFLOAD_CSUM);
    return outcome;
}

/* Lines of a long frame that are asked for before it is copied; the processor finds the others by
 * itself once it sees a row of them. */
enum { PREFETCH_PAYLOAD_LINES = 4, PREFETCH_PAYLOAD_AHEAD = 2 };

enum { PREFETCH_BUFFER_LINES = 2 }; /* of a buffer: header and head of a short frame */

/* Asks for the begin of a frame's payload, and of where it will be written. */
static void prefetch_payload(const struct frame *frame, const uint8_t *to)
{
    if (frame->piece_count == 0)
        return;
    for (size_t i = 0; i < PREFETCH_PAYLOAD_LINES; i++) {
        __builtin_prefetch((const uint8_t *)frame->pieces[0].iov_base + i * CV_CACHE_LINE_BYTES);
        __builtin_prefetch(to + (i + PREFETCH_BUFFER_LINES) * CV_CACHE_LINE_BYTES, 1);
    }
}

/* Asks for the cache lines of a buffer that a short frame will be written to. */
static void prefetch_buffer(const struct iovec *buffer)
{
    for (size_t i = 0; i < PREFETCH_BUFFER_LINES; i++)
        __builtin_prefetch(buffer->iov_base + i * CV_CACHE_LINE_BYTES, 1);
}

/* The guest's next buffers, as far as each is one piece; at most `count`. */
static unsigned buffers_walk(struct virtq *virtq, unsigned count, uint16_t *ret_heads,
                             struct iovec *ret_buffers)
{
    unsigned usable = 0;

    for (unsigned i = 0; i < count; i++) {
        ret_heads[i] = virtq_head(virtq, i);
        virtq_prefetch_desc(virtq, ret_heads[i]);
    }
    while (usable < count &&
           virtq_walk_single(virtq, ret_heads[usable], true, &ret_buffers[usable])) {
        if (usable < PREFETCH_AHEAD)
            prefetch_buffer(&ret_buffers[usable]);
        usable++;
    }
    return usable;
}

/* Delivers as many frames from the front as are of the common kind; returns how many. */
static unsigned deliver_group(struct vhost_queue *queue, struct frame *const *frames,
                              unsigned count)
{
    struct virtq *virtq = &queue->to_guest;
    uint16_t heads[GROUP_FRAMES_MAX];
    struct iovec buffers[GROUP_FRAMES_MAX];
    enum guest_fault fault = GUEST_FAULT_NONE;
    unsigned done = 0, usable, merged = 0;
    uint64_t bytes = 0;

    count = virtq_available(virtq, CV_MIN(count, (unsigned)GROUP_FRAMES_MAX), &fault);
    if (CV_UNLIKELY(fault))
        vhost_queue_fail(queue, fault);
    if (count == 0 || !virtq_walk_single(virtq, virtq_head(virtq, 0), true, &buffers[0]) ||
        frames[0]->len + queue->hdr_bytes > buffers[0].iov_len)
        return 0;
    usable = buffers_walk(virtq, count, heads, buffers);
    for (; done < usable; done++) {
        const struct frame *frame = frames[done];

        if (CV_UNLIKELY(frame->len + queue->hdr_bytes > buffers[done].iov_len ||
                        !segment_fits(frame, queue->base.offloads)))
            break;
        if (done + FRAME_PREFETCH_AHEAD < usable)
            frame_prefetch(frames[done + FRAME_PREFETCH_AHEAD]);
        if (done + PREFETCH_AHEAD < usable)
            prefetch_buffer(&buffers[done + PREFETCH_AHEAD]);
        if (done + PREFETCH_PAYLOAD_AHEAD < usable)
            prefetch_payload(frames[done + PREFETCH_PAYLOAD_AHEAD],
                             buffers[done + PREFETCH_PAYLOAD_AHEAD].iov_base);
        frame_copy(buffers[done].iov_base, queue, frame);
        virtq_use(virtq, heads[done], (uint32_t)(frame->len + queue->hdr_bytes));
        bytes += frame->len;
        merged += frame->merged_count;
    }
    virtq_take(virtq, done);
    counter_add(&queue->base.counters->to_packets, done);
    counter_add(&queue->base.counters->to_merged, merged);
    counter_add(&queue->base.counters->to_bytes, bytes);
    return done;
}

/* True when the front frame did not fit and the guest has posted nothing since. */
static bool still_short(struct vhost_queue *queue)
{
    if (CV_LIKELY(!queue->is_short))
        return false;
    return __atomic_load_n(&queue->to_guest.avail->idx, __ATOMIC_RELAXED) ==
           queue->short_avail_seen;
}

unsigned vhost_deliver(struct port_queue *base, struct frame *const *frames, unsigned count)
{
    struct vhost_queue *queue = vhost_queue_of(base);
    unsigned done = 0;

    if (CV_UNLIKELY(vhost_queue_has_failed(queue) || vhost_queue_lost_memory(queue) ||
                    still_short(queue)))
        return 0;
    queue->is_short = false;
    virtq_kicks_disable(&queue->to_guest);
    while (done < count && !vhost_queue_has_failed(queue)) {
        enum outcome outcome;
        unsigned group = queue->is_cutting ? 0 : deliver_group(queue, frames + done, count - done);

        done += group;
        if (group > 0)
            continue;
        outcome = deliver_one(queue, frames[done]);
        if (outcome == OUTCOME_NO_ROOM) {
            queue->is_short = true;
            queue->short_avail_seen = queue->to_guest.avail_seen;
            break;
        }
        if (outcome == OUTCOME_TOO_BIG)
            counter_add(&base->counters->drops[DROP_TOO_BIG],
                        segmenter_lost_packets(&queue->segmenter, frames[done]));
        done++;
    }
    if (virtq_show(&queue->to_guest))
        counter_add(&base->counters->to_convoys, 1);
    /* Nothing more may come for it that would notice. */
    (void)vhost_queue_lost_memory(queue);
    return done;
}

bool vhost_announce(struct port_queue *base, bool always)
{
    struct vhost_queue *queue = vhost_queue_of(base);
    bool has_news = queue->to_guest.asked_used != queue->to_guest.published_used;
    bool is_wanted = virtq_wants_call(&queue->to_guest) || (always && has_news);

    if (is_wanted)
        vhost_queue_call(queue, &queue->to_guest, &base->counters->to_calls);
    return is_wanted && queue->to_guest.call_fd >= 0;
}

bool vhost_has_answered(struct port_queue *base)
{
    return virtq_has_answered(&vhost_queue_of(base)->to_guest);
}

bool vhost_arm_to(struct port_queue *base)
{
    struct vhost_queue *queue = vhost_queue_of(base);

    if (vhost_queue_has_failed(queue))
        return false;
    return virtq_kicks_enable(&queue->to_guest, 1);
}

void vhost_forget_front(struct port_queue *base)
{
    struct vhost_queue *queue = vhost_queue_of(base);

    queue->is_cutting = false;
    queue->is_short = false;
}

/*
 * All that guests can write: the whole of their shared memory with rings, descriptors, indirect
 * tables and buffers, and what they do meanwhile. Frames of one guest are received, checked,
 * delivered to another and given back as a worker does it; asserts what must hold whatever the
 * memories say. Each lies between pages that cannot be touched.
 *
 * Input: a byte of options; the lengths of the script and of the sender's memory (two bytes each,
 * little-endian); the script; the sender's memory; the receiver's. Memory that is not given is
 * zero. In each: the transmitq's table, available and used ring, the same of the receiveq, then
 * free space; see queue_bed_init. Script: each byte an operation in its lowest three bits and an
 * argument in the others; a POKE is followed by an offset (two bytes; its highest bit names the
 * guest) and a value (two bytes).
 */
#include <string.h>

#include "guest/vhost_user.h"
#include "ring_bed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RING_SIZE = 16, GUEST_BYTES = 8192, INPUT_HEADER_BYTES = 5, HELD_MAX = 64 };

enum option { INDIRECT = 1, EVENT_IDX = 2, LEGACY = 4, MERGEABLE = 8, CSUM = 16, TSO = 32 };

enum operation {
    OFFER_FROM, /* the available index of the transmitq goes on by the argument */
    OFFER_TO,   /* the same of the receiveq */
    RECEIVE,    /* a burst; the frames are held */
    DELIVER,    /* the argument's first held frames */
    GIVE_BACK,  /* one held frame, in any order */
    SETTLE,
    POKE, /* a guest writes two bytes anywhere */
    ARM,
    OPERATION_COUNT
};

static struct queue_bed sender, receiver;
static struct frame *held[HELD_MAX];
static unsigned held_count;

/* --- what must hold --- */

static bool lies_in_memory(const void *bytes, size_t len)
{
    const struct guest_region *region = &sender.memory.memory.regions[0];
    uintptr_t offset = (uintptr_t)bytes - (uintptr_t)region->bytes;

    return offset <= region->size && len <= region->size - offset;
}

static void check_frame(const struct frame *frame)
{
    uint64_t len = frame->head_len;

    assert(frame->source == &sender.queue.base && frame->source_slot < RING_SIZE);
    if (frame->drop)
        return;
    assert(frame->len >= 14 && frame->len <= FRAME_BYTES_MAX);
    assert(frame->head_len == CV_MIN(frame->len, (uint32_t)FRAME_HEAD_BYTES_MAX));
    assert(frame->piece_count <= FRAME_PIECES_MAX);
    for (unsigned i = 0; i < frame->piece_count; i++) {
        const struct iovec *piece = &frame->pieces[i];

        assert(piece->iov_len > 0);
        if (frame->private_bytes)
            assert(piece->iov_base == frame->private_bytes);
        else
            assert(lies_in_memory(piece->iov_base, piece->iov_len));
        len += piece->iov_len;
    }
    assert(len == frame->len);
}

static void check_queues(void)
{
    const struct vhost_queue *from = &sender.queue, *to = &receiver.queue;

    assert(from->newest - from->oldest <= RING_SIZE);
    assert(held_count + from->done_count == from->newest - from->oldest);
    assert(frame_pool_left(&sender.pool) + held_count == sender.pool.capacity);
    assert(to->to_guest.next_avail == to->to_guest.next_used);
    assert(to->to_guest.next_used == to->to_guest.published_used);
    assert(sender.counters.faults <= 1 && receiver.counters.faults <= 1);
}

/* --- operations --- */

static void drop_held(unsigned i)
{
    vhost_give_back(&sender.queue.base, &held[i], 1);
    frame_pool_put(&sender.pool, held[i]);
    held_count--;
    memmove(&held[i], &held[i + 1], (held_count - i) * sizeof(held[0]));
    if (i == 0)
        vhost_forget_front(&receiver.queue.base); /* it may have been cut half-way */
}

static bool parse(struct frame *frame)
{
    frame_parse(frame->head, frame->head_len, frame->len, &frame->facts);
    return !(frame->facts.flags & FRAME_MALFORMED) &&
           offload_check(&frame->vnet, &frame->facts, frame->head_len, frame->len);
}

static void receive(unsigned max)
{
    unsigned count = vhost_receive(&sender.queue.base, &sender.pool, held + held_count,
                                   CV_MIN(max, HELD_MAX - held_count));

    for (unsigned i = 0; i < count; i++) {
        struct frame *frame = held[held_count + i];

        check_frame(frame);
        if (!frame->drop && !parse(frame))
            frame->drop = DROP_BAD_OFFLOAD;
    }
    held_count += count;
}

static void deliver(unsigned max)
{
    const struct port_counters *counters = &receiver.counters;
    uint64_t before = counters->to_packets + counters->drops[DROP_TOO_BIG];
    unsigned count = 0, done;

    while (held_count > 0 && held[0]->drop)
        drop_held(0);
    while (count < CV_MIN(max, held_count) && !held[count]->drop)
        count++;
    if (count == 0)
        return;
    done = vhost_deliver(&receiver.queue.base, held, count);
    if (max % 4)
        (void)vhost_announce(&receiver.queue.base, max % 2);
    assert(done <= count);
    assert(counters->to_packets + counters->drops[DROP_TOO_BIG] - before >= done);
    assert(done == count || receiver.queue.is_short || receiver.queue.fault);
    for (unsigned i = 0; i < done; i++) {
        vhost_give_back(&sender.queue.base, &held[i], 1);
        frame_pool_put(&sender.pool, held[i]);
    }
    held_count -= done;
    memmove(held, held + done, held_count * sizeof(held[0]));
}

static void offer(struct bed_ring *ring, unsigned count)
{
    ring->avail->idx = (uint16_t)(ring->avail->idx + count);
}

static void poke(const uint8_t *script)
{
    const struct queue_bed *bed = script[1] & 0x80 ? &receiver : &sender;
    size_t offset = ((size_t)script[0] | (size_t)script[1] << 8) % (GUEST_BYTES - 1);

    memcpy(bed->memory.memory.regions[0].bytes + offset, script + 2, 2);
}

/* One operation; returns how many bytes of the script it took. */
static size_t step(const uint8_t *script, size_t left)
{
    unsigned argument = script[0] / OPERATION_COUNT;

    switch ((enum operation)(script[0] % OPERATION_COUNT)) {
    case OFFER_FROM:
        offer(&sender.transmitq, argument);
        break;
    case OFFER_TO:
        offer(&receiver.receiveq, argument);
        break;
    case RECEIVE:
        receive(argument + 1);
        break;
    case DELIVER:
        deliver(argument + 1);
        break;
    case GIVE_BACK:
        if (held_count > 0)
            drop_held(argument % held_count);
        break;
    case SETTLE:
        (void)vhost_settle(&sender.queue.base);
        vhost_announce_back(&sender.queue.base);
        break;
    case POKE:
        if (left < 5)
            return left;
        poke(script + 1);
        return 5;
    default:
        (void)vhost_arm_from(&sender.queue.base, 1);
        (void)vhost_arm_to(&receiver.queue.base);
        vhost_disarm_from(&sender.queue.base);
        break;
    }
    return 1;
}

/* --- a run --- */

static void begin(unsigned options)
{
    struct queue_bed_options queue = {.size = RING_SIZE, .guest_bytes = GUEST_BYTES};

    if (options & INDIRECT)
        queue.features |= VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
    if (options & EVENT_IDX)
        queue.features |= VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX);
    queue.hdr_bytes = options & LEGACY ? VNET_HDR_LEGACY_BYTES : VNET_HDR_BYTES;
    queue.mergeable = options & MERGEABLE;
    queue.offloads = options & CSUM ? OFFLOAD_CSUM : 0;
    if (options & TSO)
        queue.offloads |= OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_USO4;
    queue_bed_init(&sender, &queue);
    queue_bed_init(&receiver, &queue);
    held_count = 0;
}

static void end(void)
{
    while (held_count > 0)
        drop_held(held_count - 1);
    (void)vhost_settle(&sender.queue.base);
    assert(sender.queue.oldest == sender.queue.newest && sender.queue.done_count == 0);
    assert(frame_pool_left(&sender.pool) == sender.pool.capacity);
    assert(sender.pool.buffer_count == FRAME_BUFFERS_MAX);
    queue_bed_uninit(&sender);
    queue_bed_uninit(&receiver);
}

/* As many bytes as are wanted and there; moves on behind them. */
static size_t take(const uint8_t **data, size_t *size, size_t wanted, const uint8_t **ret_bytes)
{
    size_t len = CV_MIN(wanted, *size);

    *ret_bytes = *data;
    *data += len;
    *size -= len;
    return len;
}

static size_t get16(const uint8_t *bytes)
{
    return (size_t)bytes[0] | (size_t)bytes[1] << 8;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *header, *script, *memory;
    size_t script_len, memory_len, at = 0;

    if (take(&data, &size, INPUT_HEADER_BYTES, &header) < INPUT_HEADER_BYTES)
        return 0;
    script_len = take(&data, &size, get16(header + 1), &script);
    begin(header[0]);
    memory_len = take(&data, &size, CV_MIN(get16(header + 3), (size_t)GUEST_BYTES), &memory);
    memcpy(sender.memory.memory.regions[0].bytes, memory, memory_len);
    memory_len = take(&data, &size, GUEST_BYTES, &memory);
    memcpy(receiver.memory.memory.regions[0].bytes, memory, memory_len);
    while (at < script_len) {
        at += step(script + at, script_len - at);
        check_queues();
    }
    end();
    return 0;
}

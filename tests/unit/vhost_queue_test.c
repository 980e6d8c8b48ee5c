/*
 * Goal: chains become frames and frames become used buffers as virtio 1.2, 5.1.6 says, whatever
 * pieces a guest cuts its memory into; buffers go back in order; what a guest does wrong stops its
 * queue and nothing else. Method: the real data path of port_vhost on rings that the test writes.
 * Threats C1, C8, C9, C18, C19.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/vhost_user.h"
#include "ring_bed.h"
#include "unit/wire_frames.h"

#define EVENT_IDX VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT  VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC)
#define ALL_OFFLOADS                                                                               \
    (OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN | OFFLOAD_USO4 | OFFLOAD_USO6)

static struct queue_bed bed;
static struct wire_frame wire;
static struct frame *frames[CONVOY_FRAMES_MAX];
static uint8_t bytes[70000];

static void start(const struct queue_bed_options *options)
{
    queue_bed_init(&bed, options);
}

static int stop(void **state)
{
    (void)state;
    queue_bed_uninit(&bed);
    return 0;
}

static unsigned receive(unsigned max)
{
    return vhost_receive(&bed.queue.base, &bed.pool, frames, max);
}

static void give_back(struct frame *frame)
{
    vhost_give_back(&bed.queue.base, frame);
    frame_pool_put(&bed.pool, frame);
}

static unsigned settle(void)
{
    (void)vhost_settle(&bed.queue.base);
    return bed_ring_used_count(&bed.transmitq);
}

/* `len` bytes that depend on their place, behind two addresses. */
static void make_frame(size_t len, uint32_t seed)
{
    wire_begin(&wire);
    wire_payload(&wire, len - 14, seed);
    wire.len = len;
    wire_be16(wire.bytes + 12, 0x88b5);
}

/* What a worker does with a frame that it has received. */
static bool parse(struct frame *frame)
{
    frame_parse(frame->head, frame->head_len, frame->len, &frame->facts);
    return offload_check(&frame->vnet, &frame->facts, frame->head_len, frame->len);
}

static void assert_frame_is_wire(const struct frame *frame)
{
    assert_int_equal(frame->drop, DROP_NONE);
    assert_int_equal(frame->len, wire.len);
    assert_int_equal(wire_linearise(frame, bytes), wire.len);
    assert_memory_equal(bytes, wire.bytes, wire.len);
}

/* --- from the guest --- */

/* Any length, cut into pieces of any size, arrives whole; with both lengths of header. */
static void frames_in_any_pieces(void **state)
{
    static const size_t lens[] = {14, 15, 60, 191, 192, 193, 204, 205, 1514, 9000};
    static const size_t cuts[] = {0, 1, 3, 9, 10, 11, 12, 13, 100, 204, 205, 1000};
    struct virtio_net_hdr hdr = {.flags = 1, .hdr_len = 14, .csum_start = 3, .csum_offset = 4};

    (void)state;
    for (unsigned i = 0; i < 2 * CV_COUNT_OF(lens) * CV_COUNT_OF(cuts); i++) {
        size_t len = lens[i / 2 % CV_COUNT_OF(lens)], cut = cuts[i / 2 / CV_COUNT_OF(lens)];

        if (cut > 0 && (len + 12) / cut > 1000)
            continue; /* more descriptors than any chain may have */
        start(&(struct queue_bed_options){.size = 1024, .hdr_bytes = i % 2 ? 10 : 12});
        make_frame(len, i);
        queue_bed_send(&bed, &hdr, wire.bytes, len, cut);
        assert_int_equal(receive(64), 1);
        assert_frame_is_wire(frames[0]);
        assert_memory_equal(&frames[0]->vnet, &hdr, 10);
        assert_int_equal(frames[0]->head_len, CV_MIN(len, (size_t)FRAME_HEAD_BYTES_MAX));
        assert_true(frames[0]->piece_count <= FRAME_PIECES_MAX);
        give_back(frames[0]);
        assert_int_equal(settle(), 1);
        assert_int_equal(frame_pool_left(&bed.pool), 2048);
        assert_int_equal(bed.pool.buffer_count, FRAME_BUFFERS_MAX);
        queue_bed_uninit(&bed);
    }
    start(&(struct queue_bed_options){0});
}

/* More pieces than a frame has room for: they are copied, counted, and can run out. */
static void many_pieces_are_linearised(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){.size = 256, .guest_bytes = 4u << 20});
    for (size_t pieces = FRAME_PIECES_MAX - 1; pieces <= FRAME_PIECES_MAX + 2; pieces++) {
        uint64_t before = bed.counters.linearised;

        make_frame(FRAME_HEAD_BYTES_MAX + 204 * pieces, (uint32_t)pieces);
        queue_bed_send(&bed, NULL, wire.bytes, wire.len, 204);
        assert_int_equal(receive(1), 1);
        assert_frame_is_wire(frames[0]);
        assert_int_equal(bed.counters.linearised - before, pieces > FRAME_PIECES_MAX);
        assert_int_equal(frames[0]->private_bytes != NULL, pieces > FRAME_PIECES_MAX);
        give_back(frames[0]);
        assert_int_equal(bed.pool.buffer_count, FRAME_BUFFERS_MAX);
    }
    bed.pool.buffer_count = 0;
    queue_bed_send(&bed, NULL, wire.bytes, wire.len, 204);
    assert_int_equal(receive(1), 1);
    assert_int_equal(frames[0]->drop, DROP_NO_MEMORY);
    give_back(frames[0]);
}

static void largest_frame(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){.guest_bytes = 4u << 20});
    make_frame(FRAME_BYTES_MAX, 1);
    queue_bed_send(&bed, NULL, wire.bytes, wire.len, 0);
    queue_bed_send(&bed, NULL, wire.bytes, wire.len, 300);
    assert_int_equal(receive(2), 2);
    assert_frame_is_wire(frames[0]);
    assert_frame_is_wire(frames[1]);
    give_back(frames[1]);
    give_back(frames[0]);
}

/* Runts and giants are taken, dropped as malformed, and given back: the guest runs on. */
static void frames_of_wrong_length(void **state)
{
    static const size_t lens[] = {0, 1, 13, FRAME_BYTES_MAX + 1, FRAME_BYTES_MAX + 100};

    (void)state;
    for (unsigned i = 0; i < 2 * CV_COUNT_OF(lens); i++) {
        start(&(struct queue_bed_options){.size = 1024, .hdr_bytes = i % 2 ? 10 : 12});
        make_frame(66000, 1);
        queue_bed_send(&bed, NULL, wire.bytes, lens[i / 2], i % 3 ? 200 : 0);
        make_frame(60, 1);
        queue_bed_send(&bed, NULL, wire.bytes, 60, 0);
        assert_int_equal(receive(64), 2);
        assert_int_equal(frames[0]->drop, DROP_MALFORMED);
        assert_int_equal(frames[0]->len, 0);
        assert_frame_is_wire(frames[1]);
        assert_int_equal(bed.queue.fault, GUEST_FAULT_NONE);
        give_back(frames[0]);
        give_back(frames[1]);
        assert_int_equal(settle(), 2);
        queue_bed_uninit(&bed);
    }
    start(&(struct queue_bed_options){0});
}

/* C8: a chain that ends within the header, or exactly with it. */
static void chains_shorter_than_the_header(void **state)
{
    (void)state;
    for (size_t hdr_bytes = 10; hdr_bytes <= 12; hdr_bytes += 2) {
        for (size_t len = 0; len <= hdr_bytes; len++) {
            for (size_t each = 0; each < 2; each++) {
                struct iovec pieces[16];
                uint8_t *at;

                start(&(struct queue_bed_options){.hdr_bytes = hdr_bytes});
                at = bed_alloc(&bed.memory, 0, 16, 1);
                for (unsigned i = 0; i < 16; i++)
                    pieces[i] = (struct iovec){at + i, 1};
                if (each == 0)
                    pieces[0].iov_len = len;
                bed_ring_add(&bed.transmitq, pieces, each && len ? (unsigned)len : 1, false);
                if (each && len == 0)
                    bed.transmitq.desc[0].len = 0;
                assert_int_equal(receive(64), len == hdr_bytes ? 1 : 0);
                assert_int_equal(bed.queue.fault,
                                 len == hdr_bytes ? GUEST_FAULT_NONE : GUEST_FAULT_HEADER_SHORT);
                if (len == hdr_bytes)
                    assert_int_equal(frames[0]->drop, DROP_MALFORMED);
                queue_bed_uninit(&bed);
            }
        }
    }
    start(&(struct queue_bed_options){0});
}

/* A fault in the middle of a burst: what came before is taken, the queue stops, once. */
static void fault_in_a_burst(void **state)
{
    uint64_t told = 0;

    (void)state;
    start(&(struct queue_bed_options){0});
    bed.queue.fault_fd = eventfd(0, EFD_NONBLOCK);
    make_frame(60, 1);
    for (unsigned i = 0; i < 3; i++)
        queue_bed_send(&bed, NULL, wire.bytes, 60, 0);
    bed_ring_offer(&bed.transmitq, 999);
    queue_bed_send(&bed, NULL, wire.bytes, 60, 0);
    assert_int_equal(receive(64), 3);
    assert_int_equal(bed.queue.fault, GUEST_FAULT_HEAD_RANGE);
    assert_int_equal(bed.queue.from_guest.next_avail,
                     3); /* a restart looks at the wrong one again */
    assert_int_equal(receive(64), 0);
    assert_int_equal(bed.counters.faults, 1);
    assert_int_equal(read(bed.queue.fault_fd, &told, sizeof(told)), sizeof(told));
    assert_int_equal(told, 1);
    assert_false(vhost_arm_from(&bed.queue.base));
    assert_false(vhost_arm_to(&bed.queue.base));
    assert_int_equal(vhost_deliver(&bed.queue.base, frames, 1, false), 0);
    for (unsigned i = 0; i < 3; i++)
        give_back(frames[i]);
    assert_int_equal(settle(), 3);
    assert_int_equal(frame_pool_left(&bed.pool), 2048);
    close(bed.queue.fault_fd);
}

/* Chains that are out cannot be available again: the ring holds no more than its size. */
static void ring_offered_twice(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){.size = 8});
    make_frame(60, 1);
    for (unsigned i = 0; i < 8; i++)
        queue_bed_send(&bed, NULL, wire.bytes, 60, 0);
    assert_int_equal(receive(5), 5);
    bed_ring_offer(&bed.transmitq, 0);
    assert_int_equal(receive(64), 0);
    assert_int_equal(bed.queue.fault, GUEST_FAULT_AVAIL_INDEX);
    for (unsigned i = 0; i < 5; i++)
        give_back(frames[i]);
}

/* Whatever the order in which frames end, chains go back in the order in which they came. */
static void buffers_go_back_in_order(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){.size = 8, .index = 65533});
    make_frame(60, 1);
    for (unsigned round = 0; round < 50; round++) {
        struct frame *taken[8];
        uint16_t first = bed.transmitq.next_desc;

        bed.memory.taken[0] = 65536; /* use the same memory again */
        for (unsigned i = 0; i < 8; i++)
            queue_bed_send(&bed, NULL, wire.bytes, 60, 0);
        assert_int_equal(receive(8), 8);
        memcpy(taken, frames, sizeof(taken));
        for (unsigned i = 0; i < 8; i++) {
            unsigned place = (i * 5 + round) % 8; /* every place once */
            unsigned gone = 0;

            give_back(taken[place]);
            taken[place] = NULL;
            while (gone < 8 && !taken[gone])
                gone++;
            assert_int_equal(settle(), gone);
        }
        for (unsigned i = 0; i < 8; i++)
            assert_int_equal(bed_ring_take_used(&bed.transmitq).id, (first + i) % 8);
    }
}

/* Gives back all but the first of `count` frames on a ring of 64; `limit` of them are no harm. */
static void stuck_behind_the_first(unsigned count, unsigned limit)
{
    start(&(struct queue_bed_options){.size = 64});
    make_frame(60, 1);
    for (unsigned i = 0; i < count; i++)
        queue_bed_send(&bed, NULL, wire.bytes, 60, 0);
    assert_int_equal(receive(64), count);
    assert_true(vhost_settle(&bed.queue.base));
    for (unsigned i = 1; i < count; i++) {
        give_back(frames[i]);
        assert_int_equal(vhost_settle(&bed.queue.base), i <= limit);
    }
    give_back(frames[0]);
    assert_true(vhost_settle(&bed.queue.base));
    assert_int_equal(bed_ring_used_count(&bed.transmitq), count);
}

/*
 * A sender whose buffers are held back by one that is out is told of: from a quarter of the ring,
 * or as soon as the ring is nearly used up.
 */
static void settle_tells_when_too_much_is_stuck(void **state)
{
    (void)state;
    stuck_behind_the_first(48, 16);
    queue_bed_uninit(&bed);
    stuck_behind_the_first(49, 0);
}

/* A ring that runs but is disabled is emptied without effect. */
static void disabled_ring_is_emptied(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){0});
    bed.queue.discard = true;
    make_frame(60, 1);
    queue_bed_send(&bed, NULL, wire.bytes, 60, 0);
    queue_bed_send(&bed, NULL, wire.bytes, 60, 7);
    assert_int_equal(receive(64), 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(frames[i]->drop, DROP_QUEUE_DISABLED);
        give_back(frames[i]);
    }
    assert_int_equal(settle(), 2);
}

/* No frame free: nothing is taken and nothing is lost. */
static void empty_pool_takes_nothing(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){0});
    make_frame(60, 1);
    queue_bed_send(&bed, NULL, wire.bytes, 60, 0);
    bed.pool.fresh = bed.pool.capacity;
    assert_int_equal(receive(64), 0);
    assert_true(vhost_arm_from(&bed.queue.base)); /* do not sleep on it */
    bed.pool.fresh = 0;
    assert_int_equal(receive(64), 1);
    assert_frame_is_wire(frames[0]);
    give_back(frames[0]);
}

static void senders_are_called_once_per_settle(void **state)
{
    uint64_t calls = 0;

    (void)state;
    start(&(struct queue_bed_options){0});
    bed.queue.from_guest.call_fd = eventfd(0, EFD_NONBLOCK);
    make_frame(60, 1);
    for (unsigned i = 0; i < 10; i++)
        queue_bed_send(&bed, NULL, wire.bytes, 60, 0);
    assert_int_equal(receive(64), 10);
    assert_int_equal(settle(), 0);
    for (unsigned i = 0; i < 10; i++)
        give_back(frames[i]);
    assert_int_equal(settle(), 10);
    assert_int_equal(read(bed.queue.from_guest.call_fd, &calls, sizeof(calls)), sizeof(calls));
    assert_int_equal(calls, 1);
    assert_int_equal(bed.counters.from_calls, 1);
    close(bed.queue.from_guest.call_fd);
}

/* --- to the guest --- */

/* A frame to deliver; it lies in private memory, head and pieces as asked. */
static struct frame *view(size_t head_len, size_t piece_bytes, struct virtio_net_hdr hdr)
{
    static struct frame frame;
    size_t lens[FRAME_PIECES_MAX];

    if (frame.len > 0)
        wire_unview(&frame);
    for (unsigned i = 0; i < CV_COUNT_OF(lens); i++)
        lens[i] = piece_bytes;
    wire_view(&wire, CV_MIN(head_len, wire.len), lens, piece_bytes ? CV_COUNT_OF(lens) : 0, &frame);
    frame.vnet = hdr;
    assert_true(parse(&frame));
    return &frame;
}

static unsigned deliver(struct frame *frame)
{
    return vhost_deliver(&bed.queue.base, &frame, 1, false);
}

/* The next used buffer of `room` bytes at `buffer` holds the frame behind this header. */
static void assert_delivered(const uint8_t *buffer, unsigned buffers)
{
    struct virtq_used_elem elem = bed_ring_take_used(&bed.receiveq);
    struct virtio_net_hdr hdr;

    assert_int_equal(elem.len, bed.queue.hdr_bytes + wire.len);
    memcpy(&hdr, buffer, bed.queue.hdr_bytes);
    if (bed.queue.hdr_bytes == 12)
        assert_int_equal(hdr.num_buffers, buffers);
    assert_memory_equal(buffer + bed.queue.hdr_bytes, wire.bytes, wire.len);
}

/* Frames of any length in buffers cut anyhow; not a byte behind the frame is written. */
static void delivery_into_any_pieces(void **state)
{
    static const size_t lens[] = {14, 60, 180, 192, 193, 1514, 9000};
    static const size_t cuts[] = {0, 1, 5, 10, 12, 13, 204, 1000};

    (void)state;
    for (unsigned i = 0; i < 4 * CV_COUNT_OF(lens) * CV_COUNT_OF(cuts); i++) {
        size_t len = lens[i / 4 % CV_COUNT_OF(lens)], cut = cuts[i / 4 / CV_COUNT_OF(lens)];
        size_t room = len + 12 + 3;
        uint8_t *buffer;

        if (cut > 0 && room / cut > 1000)
            continue;
        start(&(struct queue_bed_options){
            .size = 1024, .hdr_bytes = i & 1 ? 10 : 12, .mergeable = i & 2});
        make_frame(len, i);
        buffer = queue_bed_post(&bed, room, cut);
        memset(buffer, 0xee, room);
        assert_int_equal(deliver(view(192, len / 7, (struct virtio_net_hdr){0})), 1);
        assert_delivered(buffer, 1);
        for (size_t at = bed.queue.hdr_bytes + len; at < room; at++)
            assert_int_equal(buffer[at], 0xee);
        assert_int_equal(bed.counters.to_packets, 1);
        assert_int_equal(bed.counters.to_bytes, len);
        queue_bed_uninit(&bed);
    }
    start(&(struct queue_bed_options){0});
}

/* Mergeable buffers: as many as it takes, each with its own used entry, and the count in front. */
static void delivery_into_several_buffers(void **state)
{
    (void)state;
    for (size_t each = 12; each <= 200; each += 47) {
        size_t total, left, at = 0;
        unsigned needed;
        uint8_t *first = NULL;

        start(&(struct queue_bed_options){.mergeable = true});
        make_frame(1514, (uint32_t)each);
        total = left = wire.len + 12;
        needed = (unsigned)((total + each - 1) / each);
        for (unsigned i = 0; i < needed + 2; i++) {
            uint8_t *buffer = queue_bed_post(&bed, each, i % 3 ? 0 : 7); /* in a row in memory */

            first = first ? first : buffer;
        }
        assert_int_equal(deliver(view(192, 100, (struct virtio_net_hdr){0})), 1);
        assert_int_equal(bed_ring_used_count(&bed.receiveq), needed);
        assert_int_equal(((const struct virtio_net_hdr *)first)->num_buffers, needed);
        for (unsigned i = 0; i < needed; i++) {
            struct virtq_used_elem elem = bed_ring_take_used(&bed.receiveq);

            assert_int_equal(elem.len, CV_MIN(each, left));
            left -= elem.len;
            at += elem.len;
        }
        assert_int_equal(at, total);
        assert_memory_equal(first + 12, wire.bytes, wire.len);
        assert_int_equal(bed.counters.to_convoys, 1);
        queue_bed_uninit(&bed);
    }
    start(&(struct queue_bed_options){0});
}

/* A group: one publication, one call, and buffers used in the order in which they were posted. */
static void a_group_is_published_once(void **state)
{
    struct frame *group[100];
    uint64_t calls = 0;

    (void)state;
    start(&(struct queue_bed_options){0});
    bed.queue.to_guest.call_fd = eventfd(0, EFD_NONBLOCK);
    make_frame(60, 1);
    for (unsigned i = 0; i < 100; i++)
        queue_bed_post(&bed, 2048, i % 10 == 9 ? 100 : 0); /* some of them in pieces */
    for (unsigned i = 0; i < 100; i++)
        group[i] = view(192, 0, (struct virtio_net_hdr){0});
    assert_int_equal(vhost_deliver(&bed.queue.base, group, 100, false), 100);
    assert_int_equal(bed_ring_used_count(&bed.receiveq), 100);
    assert_int_equal(bed.counters.to_convoys, 1);
    assert_int_equal(bed.counters.to_calls, 1);
    assert_int_equal(read(bed.queue.to_guest.call_fd, &calls, sizeof(calls)), sizeof(calls));
    assert_int_equal(calls, 1);
    close(bed.queue.to_guest.call_fd);
}

/* `off` calls whatever the guest wishes; else its wish counts. */
static void calls_are_wished_or_forced(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){0});
    bed.queue.to_guest.call_fd = eventfd(0, EFD_NONBLOCK);
    bed.receiveq.avail->flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
    make_frame(60, 1);
    queue_bed_post(&bed, 2048, 0);
    queue_bed_post(&bed, 2048, 0);
    assert_int_equal(deliver(view(192, 0, (struct virtio_net_hdr){0})), 1);
    assert_int_equal(bed.counters.to_calls, 0);
    frames[0] = view(192, 0, (struct virtio_net_hdr){0});
    assert_int_equal(vhost_deliver(&bed.queue.base, frames, 1, true), 1);
    assert_int_equal(bed.counters.to_calls, 1);
    close(bed.queue.to_guest.call_fd);
}

/* C9: buffers that hold less than a header stop the port; never an underflow. */
static void runt_buffers(void **state)
{
    (void)state;
    make_frame(60, 1);
    for (unsigned i = 0; i < 2 * 2 * 12; i++) {
        size_t hdr_bytes = i & 1 ? 10 : 12, len = i / 4;

        if (len >= hdr_bytes)
            continue;
        start(&(struct queue_bed_options){.hdr_bytes = hdr_bytes, .mergeable = i & 2});
        queue_bed_post(&bed, len, 0);
        queue_bed_post(&bed, 2048, 0);
        assert_int_equal(deliver(view(192, 0, (struct virtio_net_hdr){0})), 0);
        assert_int_equal(bed.queue.fault, GUEST_FAULT_BUFFER_SHORT);
        assert_int_equal(bed_ring_used_count(&bed.receiveq), 0);
        queue_bed_uninit(&bed);
    }
    start(&(struct queue_bed_options){0});
}

/* Behind the first, mergeable buffers may be of any length, even none. */
static void runt_buffers_behind_the_first(void **state)
{
    uint64_t left;

    (void)state;
    start(&(struct queue_bed_options){.mergeable = true});
    make_frame(60, 1);
    left = 72;
    queue_bed_post(&bed, 12, 0);
    for (unsigned i = 0; i < 20; i++)
        queue_bed_post(&bed, i % 11, 0);
    assert_int_equal(deliver(view(192, 0, (struct virtio_net_hdr){0})), 1);
    while (bed_ring_used_count(&bed.receiveq) > 0)
        left -= bed_ring_take_used(&bed.receiveq).len;
    assert_int_equal(left, 0);
    assert_int_equal(bed.queue.fault, GUEST_FAULT_NONE);
}

/* What the guest will never have room for is dropped at once; its buffers stay. */
static void frames_that_are_too_big(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){.size = 8});
    make_frame(1514, 1);
    queue_bed_post(&bed, 1525, 0); /* one byte short */
    assert_int_equal(deliver(view(192, 0, (struct virtio_net_hdr){0})), 1);
    assert_int_equal(bed.counters.drops[DROP_TOO_BIG], 1);
    assert_int_equal(bed_ring_used_count(&bed.receiveq), 0);
    make_frame(1513, 1);
    assert_int_equal(deliver(view(192, 0, (struct virtio_net_hdr){0})), 1);
    assert_int_equal(bed.counters.to_packets, 1);
    queue_bed_uninit(&bed);

    /* mergeable: half a ring that is not enough never will be, for drivers that refill at half */
    start(&(struct queue_bed_options){.size = 8, .mergeable = true});
    for (unsigned i = 0; i < 4; i++) {
        queue_bed_post(&bed, 100, 0);
        assert_int_equal(deliver(view(192, 0, (struct virtio_net_hdr){0})), 0);
    }
    assert_int_equal(bed.counters.drops[DROP_TOO_BIG], 0);
    queue_bed_post(&bed, 100, 0);
    assert_int_equal(deliver(view(192, 0, (struct virtio_net_hdr){0})), 1);
    assert_int_equal(bed.counters.drops[DROP_TOO_BIG], 1);
}

/* In the middle of a group too: one buffer is a byte short for its frame. */
static void short_buffer_in_a_group(void **state)
{
    uint8_t *buffers[3];

    (void)state;
    start(&(struct queue_bed_options){.size = 8});
    make_frame(60, 1);
    for (unsigned i = 0; i < 3; i++) {
        buffers[i] = queue_bed_post(&bed, i == 1 ? 71 : 72, 0);
        frames[i] = view(192, 0, (struct virtio_net_hdr){0});
    }
    memset(buffers[2], 0xee, 72);
    assert_int_equal(vhost_deliver(&bed.queue.base, frames, 3, false), 3);
    assert_int_equal(bed.counters.drops[DROP_TOO_BIG], 2); /* the short one stays in front */
    assert_int_equal(bed.counters.to_packets, 1);
    assert_delivered(buffers[0], 1);
    assert_int_equal(buffers[2][0], 0xee);
}

/* C17: a ring of nothing but useless buffers costs a bounded walk and one dropped frame each. */
static void ring_of_useless_buffers(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){.size = 1024, .mergeable = true});
    queue_bed_post(&bed, 12, 0);
    for (unsigned i = 1; i < 1024; i++)
        queue_bed_post(&bed, i % 2, 0);
    make_frame(1514, 1);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(deliver(view(192, 0, (struct virtio_net_hdr){0})), 1);
    assert_int_equal(bed.counters.drops[DROP_TOO_BIG], 100);
    assert_int_equal(bed.queue.fault, GUEST_FAULT_NONE);
}

/* No room: not asked again before the guest has posted something; then the frame arrives. */
static void no_room_then_room(void **state)
{
    struct frame *frame;

    (void)state;
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        uint8_t *buffer;

        start(&(struct queue_bed_options){.features = event_idx ? EVENT_IDX : 0, .index = 65535});
        make_frame(60, 1);
        frame = view(192, 0, (struct virtio_net_hdr){0});
        assert_int_equal(deliver(frame), 0);
        assert_true(bed.queue.is_short);
        assert_false(vhost_arm_to(&bed.queue.base));
        if (event_idx)
            assert_int_equal(*bed_ring_avail_event(&bed.receiveq), 65535);
        assert_int_equal(deliver(frame), 0);
        buffer = queue_bed_post(&bed, 2048, 0);
        assert_true(vhost_arm_to(&bed.queue.base));
        assert_int_equal(deliver(frame), 1);
        assert_delivered(buffer, 1);
        assert_false(bed.queue.is_short);
        queue_bed_uninit(&bed);
    }
    start(&(struct queue_bed_options){0});
}

static void faults_of_receive_buffers(void **state)
{
    struct frame *frame;

    (void)state;
    start(&(struct queue_bed_options){0});
    make_frame(60, 1);
    frame = view(192, 0, (struct virtio_net_hdr){0});
    bed_ring_put(&bed.receiveq, 0, 0x100000, 2048, 0, 0); /* readable */
    bed_ring_offer(&bed.receiveq, 0);
    assert_int_equal(deliver(frame), 0);
    assert_int_equal(bed.queue.fault, GUEST_FAULT_DIRECTION);
    queue_bed_uninit(&bed);

    start(&(struct queue_bed_options){.size = 8});
    bed.receiveq.avail->idx = 9;
    assert_int_equal(deliver(frame), 0);
    assert_int_equal(bed.queue.fault, GUEST_FAULT_AVAIL_INDEX);
    queue_bed_uninit(&bed);

    start(&(struct queue_bed_options){0});
    bed_ring_put(&bed.receiveq, 0, 1, 2048, VIRTQ_DESC_F_WRITE, 0);
    bed_ring_offer(&bed.receiveq, 0);
    assert_int_equal(deliver(frame), 0);
    assert_int_equal(bed.queue.fault, GUEST_FAULT_UNMAPPED);
}

/* --- what the guest did not agree to --- */

static void make_tcp(size_t payload)
{
    wire_begin(&wire);
    wire_ipv4(&wire, 6, 0);
    wire_tcp(&wire, 0x10, 12);
    wire_payload(&wire, payload, 3);
    wire_finish(&wire);
}

/* The header that the guest sees in its next used buffer, and the frame's bytes. */
static struct virtio_net_hdr delivered_hdr(const uint8_t *buffer)
{
    struct virtio_net_hdr hdr = {0};

    memcpy(&hdr, buffer, bed.queue.hdr_bytes);
    return hdr;
}

/* Without GUEST_CSUM no flag passes, and a checksum that was asked for is complete. */
static void flags_for_guests_without_checksums(void **state)
{
    static const unsigned flags[] = {0, VNET_HDR_F_DATA_VALID, VNET_HDR_F_NEEDS_CSUM};

    (void)state;
    for (unsigned i = 0; i < 2 * CV_COUNT_OF(flags); i++) {
        unsigned wanted = flags[i / 2];
        struct virtio_net_hdr hdr = {0}, seen;
        uint8_t *buffer;

        start(&(struct queue_bed_options){.offloads = i % 2 ? OFFLOAD_CSUM : 0});
        make_tcp(100);
        if (wanted == VNET_HDR_F_NEEDS_CSUM)
            hdr = wire_hdr(&wire, 0);
        hdr.flags = (uint8_t)wanted;
        buffer = queue_bed_post(&bed, 2048, 0);
        assert_int_equal(deliver(view(192, 0, hdr)), 1);
        seen = delivered_hdr(buffer);
        assert_int_equal(seen.flags, i % 2 ? wanted : 0);
        if (wanted == VNET_HDR_F_NEEDS_CSUM && i % 2 == 0) {
            assert_int_equal(bed.counters.checksummed, 1);
            assert_int_equal(wire_sum(wire_pseudo_sum(wire.bytes + wire.l3, 4, 6, 132),
                                      buffer + 12 + wire.l4, 132),
                             0xffff);
        } else {
            assert_memory_equal(buffer + 12, wire.bytes, wire.len);
        }
        queue_bed_uninit(&bed);
    }
    start(&(struct queue_bed_options){0});
}

/* A guest that takes super-packets gets one as it is. */
static void super_packet_for_a_guest_that_takes_it(void **state)
{
    uint8_t *buffer;
    struct virtio_net_hdr seen;

    (void)state;
    start(&(struct queue_bed_options){.offloads = ALL_OFFLOADS});
    make_tcp(60000);
    buffer = queue_bed_post(&bed, 65562 + 12, 0);
    assert_int_equal(deliver(view(192, 4000, wire_hdr(&wire, 1448))), 1);
    seen = delivered_hdr(buffer);
    assert_int_equal(seen.gso_type, VNET_HDR_GSO_TCPV4);
    assert_int_equal(seen.gso_size, 1448);
    assert_int_equal(seen.flags, VNET_HDR_F_NEEDS_CSUM);
    assert_int_equal(seen.hdr_len, 66);
    assert_delivered(buffer, 1);
}

/* One super-packet of `payload` bytes cut for buffers of 2048; `posted` of them, then more. */
static void cut_in_steps(unsigned offloads, bool mergeable, unsigned first_posted, unsigned step)
{
    size_t payload = 20 * 1448 + 77, at = 0;
    struct frame *frame;
    unsigned done = 0;
    uint8_t *next;

    start(&(struct queue_bed_options){.offloads = offloads, .mergeable = mergeable});
    make_tcp(payload);
    frame = view(192, 4000, wire_hdr(&wire, 1448));
    next = queue_bed_post(&bed, 2048, 0);
    for (unsigned i = 1; i < first_posted; i++)
        queue_bed_post(&bed, 2048, 0);
    for (unsigned rounds = 0; !(done = deliver(frame)); rounds++) {
        assert_true(bed.queue.is_cutting && rounds < 100);
        assert_false(vhost_arm_to(&bed.queue.base));
        for (unsigned i = 0; i < step; i++)
            queue_bed_post(&bed, 2048, 0);
    }
    assert_int_equal(done, 1);
    assert_false(bed.queue.is_cutting);
    assert_int_equal(bed_ring_used_count(&bed.receiveq), 21);
    assert_int_equal(bed.counters.segmented, 1);
    assert_int_equal(bed.counters.to_packets, 21);
    for (unsigned i = 0; i < 21; i++, next += 2048) {
        size_t n = bed_ring_take_used(&bed.receiveq).len - 12 - 66;
        const uint8_t *packet = next + 12;

        assert_int_equal(n, i < 20 ? 1448 : 77);
        assert_memory_equal(packet + 66, wire.bytes + 66 + at, n);
        assert_int_equal(wire_get32(packet + 38), (uint32_t)(wire_get32(wire.bytes + 38) + at));
        assert_int_equal(delivered_hdr(next).gso_type, VNET_HDR_GSO_NONE);
        assert_int_equal(delivered_hdr(next).flags,
                         offloads & OFFLOAD_CSUM ? VNET_HDR_F_NEEDS_CSUM : 0);
        at += n;
    }
    assert_int_equal(at, payload);
    queue_bed_uninit(&bed);
}

/* The guest runs out of buffers in the middle: the next call goes on, nothing comes twice. */
static void super_packet_cut_in_steps(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        unsigned offloads = i & 1 ? OFFLOAD_CSUM : 0;

        cut_in_steps(offloads, i & 2, 21, 1);
        cut_in_steps(offloads, i & 2, 1, 1);
        cut_in_steps(offloads, i & 2, 7, 3);
    }
    start(&(struct queue_bed_options){0});
}

/* Super-packets were agreed to, but a single buffer holds none: cut all the same. */
static void super_packet_too_big_for_its_buffers(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){.offloads = ALL_OFFLOADS});
    make_tcp(3 * 1448);
    for (unsigned i = 0; i < 4; i++)
        queue_bed_post(&bed, 2048, 0);
    assert_int_equal(deliver(view(192, 4000, wire_hdr(&wire, 1448))), 1);
    assert_int_equal(bed_ring_used_count(&bed.receiveq), 3);
    assert_int_equal(bed.counters.segmented, 1);
    assert_int_equal(bed.counters.drops[DROP_TOO_BIG], 0);
}

/* The rest of a cut frame is forgotten when the frame is dropped: the next one starts anew. */
static void forgetting_a_cut_frame(void **state)
{
    struct frame *frame;
    uint8_t *buffer;

    (void)state;
    start(&(struct queue_bed_options){0});
    make_tcp(3 * 1448);
    queue_bed_post(&bed, 2048, 0);
    frame = view(192, 4000, wire_hdr(&wire, 1448));
    assert_int_equal(deliver(frame), 0);
    assert_int_equal(bed_ring_used_count(&bed.receiveq), 1);
    (void)bed_ring_take_used(&bed.receiveq);
    vhost_forget_front(&bed.queue.base);
    make_frame(60, 1);
    buffer = queue_bed_post(&bed, 2048, 0);
    assert_int_equal(deliver(view(192, 0, (struct virtio_net_hdr){0})), 1);
    assert_delivered(buffer, 1);
}

/* A segment that no buffer holds ends its super-packet: one drop, and the queue goes on. */
static void cut_segment_that_is_too_big(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){0});
    make_tcp(3 * 1448);
    queue_bed_post(&bed, 2048, 0);
    queue_bed_post(&bed, 512, 0);
    assert_int_equal(deliver(view(192, 4000, wire_hdr(&wire, 1448))), 1);
    assert_int_equal(bed.counters.drops[DROP_TOO_BIG], 1);
    assert_false(bed.queue.is_cutting);
    make_frame(60, 1);
    assert_int_equal(deliver(view(192, 0, (struct virtio_net_hdr){0})), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(frames_in_any_pieces, stop),
        cmocka_unit_test_teardown(many_pieces_are_linearised, stop),
        cmocka_unit_test_teardown(largest_frame, stop),
        cmocka_unit_test_teardown(frames_of_wrong_length, stop),
        cmocka_unit_test_teardown(chains_shorter_than_the_header, stop),
        cmocka_unit_test_teardown(fault_in_a_burst, stop),
        cmocka_unit_test_teardown(ring_offered_twice, stop),
        cmocka_unit_test_teardown(buffers_go_back_in_order, stop),
        cmocka_unit_test_teardown(settle_tells_when_too_much_is_stuck, stop),
        cmocka_unit_test_teardown(disabled_ring_is_emptied, stop),
        cmocka_unit_test_teardown(empty_pool_takes_nothing, stop),
        cmocka_unit_test_teardown(senders_are_called_once_per_settle, stop),
        cmocka_unit_test_teardown(delivery_into_any_pieces, stop),
        cmocka_unit_test_teardown(delivery_into_several_buffers, stop),
        cmocka_unit_test_teardown(a_group_is_published_once, stop),
        cmocka_unit_test_teardown(calls_are_wished_or_forced, stop),
        cmocka_unit_test_teardown(runt_buffers, stop),
        cmocka_unit_test_teardown(runt_buffers_behind_the_first, stop),
        cmocka_unit_test_teardown(frames_that_are_too_big, stop),
        cmocka_unit_test_teardown(short_buffer_in_a_group, stop),
        cmocka_unit_test_teardown(ring_of_useless_buffers, stop),
        cmocka_unit_test_teardown(no_room_then_room, stop),
        cmocka_unit_test_teardown(faults_of_receive_buffers, stop),
        cmocka_unit_test_teardown(flags_for_guests_without_checksums, stop),
        cmocka_unit_test_teardown(super_packet_for_a_guest_that_takes_it, stop),
        cmocka_unit_test_teardown(super_packet_cut_in_steps, stop),
        cmocka_unit_test_teardown(super_packet_too_big_for_its_buffers, stop),
        cmocka_unit_test_teardown(forgetting_a_cut_frame, stop),
        cmocka_unit_test_teardown(cut_segment_that_is_too_big, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Goal: chains become frames as virtio 1.2, 5.1.6.2 says, whatever pieces a guest cuts its memory
 * into; buffers go back in order; what a guest does wrong stops its queue and nothing else. Method:
 * the real data path of port_vhost on rings that the test writes. Threats C1, C8, C18, C19.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "ring_bed.h"
#include "unit/wire_frames.h"

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
    vhost_give_back(&bed.queue.base, &frame, 1);
    frame_pool_put(&bed.pool, frame);
}

static unsigned settle(void)
{
    (void)vhost_settle(&bed.queue.base);
    vhost_announce_back(&bed.queue.base);
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

static void assert_frame_is_wire(const struct frame *frame)
{
    assert_int_equal(frame->drop, DROP_NONE);
    assert_int_equal(frame->len, wire.len);
    assert_int_equal(wire_linearise(frame, bytes), wire.len);
    assert_memory_equal(bytes, wire.bytes, wire.len);
}

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
    assert_false(vhost_arm_from(&bed.queue.base, 1));
    assert_false(vhost_arm_to(&bed.queue.base));
    assert_int_equal(vhost_deliver(&bed.queue.base, frames, 1), 0);
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
            /* Sometimes several go back before the books are settled. */
            if (i == 7 || (i + round) % 3 == 0)
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
    assert_true(vhost_arm_from(&bed.queue.base, 1));  /* do not sleep on it */
    assert_true(vhost_arm_from(&bed.queue.base, 32)); /* nor until more have come */
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

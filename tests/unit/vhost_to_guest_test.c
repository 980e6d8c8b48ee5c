/*
 * Goal: frames become used buffers as virtio 1.2, 5.1.6.3 and 5.1.6.4 say, whatever buffers a guest
 * posts; what it did not agree to is done for it, also when it has room for a part only; nothing
 * behind a buffer is written. Method: the real data path of port_vhost on rings that the test
 * writes, frames in private memory. Threats C9, C17, C19.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "convoy/merge.h"
#include "guest/vhost_user.h"
#include "ring_bed.h"
#include "unit/row_frames.h"
#include "wire/ip.h"

#define EVENT_IDX VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX)
#define ALL_OFFLOADS                                                                               \
    (OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN | OFFLOAD_USO4 | OFFLOAD_USO6)

static struct queue_bed bed;
static struct wire_frame wire;
static struct frame *frames[CONVOY_FRAMES_MAX];

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
    return vhost_deliver(&bed.queue.base, &frame, 1);
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
    assert_int_equal(vhost_deliver(&bed.queue.base, group, 100), 100);
    assert_int_equal(bed_ring_used_count(&bed.receiveq), 100);
    assert_int_equal(bed.counters.to_convoys, 1);
    assert_int_equal(bed.counters.to_calls, 0); /* seen by who polls, and told when it is time */
    assert_true(vhost_announce(&bed.queue.base, false));
    assert_false(vhost_announce(&bed.queue.base, true)); /* there is nothing more to tell */
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
    assert_false(vhost_announce(&bed.queue.base, false));
    assert_int_equal(bed.counters.to_calls, 0);
    frames[0] = view(192, 0, (struct virtio_net_hdr){0});
    assert_int_equal(vhost_deliver(&bed.queue.base, frames, 1), 1);
    assert_true(vhost_announce(&bed.queue.base, true));
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
    assert_int_equal(vhost_deliver(&bed.queue.base, frames, 3), 3);
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

/* --- rows --- */

/* Three packets of TCP with 1448 bytes of payload each, merged. */
static struct frame *merged_row(void)
{
    static struct row_packet packet;
    static struct frame row[3];

    for (unsigned i = 0; i < CV_COUNT_OF(row); i++) {
        if (row[i].len > 0)
            wire_unview(&row[i]);
        make_tcp(1448);
        memcpy(packet.bytes, wire.bytes, wire.len);
        packet.len = wire.len;
        row_parse(&packet);
        packet.bytes[wire.l4 + TCP_FLAGS_OFFSET] = TCP_ACK;
        wire_be16(packet.bytes + wire.l3 + IPV4_ID_OFFSET, 7 + i);
        wire_be16(packet.bytes + wire.l4 + TCP_SEQUENCE_OFFSET + 2, i * 1448);
        row_fix_ip(&packet);
        row_fix_checksum(&packet, true);
        memcpy(wire.bytes, packet.bytes, packet.len);
        wire_view(&wire, 192, (size_t[]){2000}, 1, &row[i]);
        assert_true(parse(&row[i]));
        if (i > 0)
            assert_int_equal(merge_join(&row[0], &row[i], ALL_OFFLOADS), MERGE_JOINED);
    }
    return &row[0];
}

static void assert_counted(unsigned packets, unsigned merged, unsigned dropped)
{
    assert_int_equal(bed.counters.to_packets, packets);
    assert_int_equal(bed.counters.to_merged, merged);
    assert_int_equal(bed.counters.drops[DROP_TOO_BIG], dropped);
    queue_bed_uninit(&bed);
}

/* Every packet of a row is counted once: as a frame, as part of one, or as dropped. */
static void packets_of_rows_are_counted_once(void **state)
{
    (void)state;
    start(&(struct queue_bed_options){.offloads = ALL_OFFLOADS}); /* as it is: with others, ... */
    queue_bed_post(&bed, 65562, 0);
    assert_int_equal(deliver(merged_row()), 1);
    assert_counted(1, 2, 0);
    start(&(struct queue_bed_options){.offloads = ALL_OFFLOADS, .mergeable = true}); /* ... alone */
    for (unsigned i = 0; i < 4; i++)
        queue_bed_post(&bed, 2048, 0);
    assert_int_equal(deliver(merged_row()), 1);
    assert_counted(1, 2, 0);
    start(&(struct queue_bed_options){0}); /* cut again */
    for (unsigned i = 0; i < 3; i++)
        queue_bed_post(&bed, 2048, 0);
    assert_int_equal(deliver(merged_row()), 1);
    assert_counted(3, 0, 0);
    start(&(struct queue_bed_options){0}); /* cut, and one part is too big */
    queue_bed_post(&bed, 2048, 0);
    queue_bed_post(&bed, 512, 0);
    assert_int_equal(deliver(merged_row()), 1);
    assert_counted(1, 0, 2);
    start(&(struct queue_bed_options){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test_teardown(packets_of_rows_are_counted_once, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

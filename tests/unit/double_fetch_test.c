/*
 * Goal: threat C6. A guest that changes descriptors, indices, headers and packet bytes while they
 * are read gets at most its own queue stopped: what was checked is what is used, and nothing
 * outside its memory is touched. Method: a second thread rewrites everything that the guest shares,
 * as fast as it can, while frames are received, parsed, checked, delivered and given back; the
 * memory lies between pages that cannot be touched, and every frame is judged by its private copy.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "guest/vhost_user.h"
#include "ring_bed.h"
#include "unit/wire_frames.h"

#define RUN_NS UINT64_C(700000000) /* of each scenario */

enum {
    SIZE = 8,
    FRAME_BYTES = 1514, /* what is sent, a super-packet of three */
    CHAIN_BYTES = FRAME_BYTES + 12,
    SLOT_BYTES = 4096, /* of memory that each descriptor of a ring names */
    TABLE_DESCS = 8,   /* of each indirect table */
    FACTS_BYTES = offsetof(struct frame_facts, ip_protocol) + 1, /* without padding */
    GUEST_BYTES = 1 << 20, /* rings, slots and tables fill it to the last slot */
};

/* A guest that is at odds with itself. */
struct guest {
    struct queue_bed bed;
    uint8_t *slots[2];         /* of the transmitq, of the receiveq */
    struct virtq_desc *tables; /* one per descriptor of the transmitq */
    bool flips_transmitq, flips_receiveq;
    bool must_stop; /* atomic */
    pthread_t thread;
    uint64_t flips;
};

static struct guest sender, receiver;
static struct wire_frame wire;

static uint32_t xorshift(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    return *state ^= *state << 5;
}

/* --- the thread that changes its mind --- */

static void put16(uint16_t *to, uint32_t value)
{
    __atomic_store_n(to, (uint16_t)value, __ATOMIC_RELAXED);
}

/* One field of one descriptor becomes something that is right, or nearly. */
static void flip_desc(struct virtq_desc *desc, uint32_t count, uint32_t random, uint64_t memory_end)
{
    static const uint32_t lens[] = {0, 1, 11, 12, 13, 72, 1526, SLOT_BYTES, 9000, 70000};
    static const uint16_t flags[] = {0, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE,
                                     VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE};

    switch (random % 8) {
    case 0:
        put16(&desc->flags, flags[random / 8 % CV_COUNT_OF(flags)]);
        break;
    case 1:
        put16(&desc->next, random / 8 % (count + (random % 64 == 1)));
        break;
    case 2:
        if (random % 100 == 2) /* rarely, since it is nearly always noticed */
            __atomic_store_n(&desc->address, memory_end - random / 800 % 16, __ATOMIC_RELAXED);
        break;
    default:
        __atomic_store_n(&desc->len, lens[random / 8 % CV_COUNT_OF(lens)], __ATOMIC_RELAXED);
        break;
    }
}

/* The header and the first bytes of a frame: offsets, sizes and lengths that it may lie about. */
static void flip_frame(uint8_t *slot, uint32_t random)
{
    static const uint16_t values[] = {0, 1, 14, 34, 54, 66, 100, 1448, 1514, 65535, 0x4500, 0x0800};
    unsigned at = random / 16 % 96;
    uint16_t value = values[random % CV_COUNT_OF(values)];

    if (at >= sizeof(struct virtio_net_hdr) && random % 64 != 0)
        at %= sizeof(struct virtio_net_hdr);
    put16((uint16_t *)(slot + at / 2 * 2), value);
}

static void flip_ring(struct guest *guest, struct bed_ring *ring, uint8_t *slots, uint32_t random)
{
    uint64_t end = guest->bed.memory.memory.regions[0].guest_address + GUEST_BYTES;
    uint32_t i = random >> 16 & (SIZE - 1);

    switch (random % 4) {
    case 0:
        flip_desc(&ring->desc[i], SIZE, random >> 2, end);
        break;
    case 1:
        flip_desc(&guest->tables[random >> 16 & (SIZE * TABLE_DESCS - 1)], TABLE_DESCS, random >> 2,
                  end);
        break;
    case 2:
        flip_frame(slots + (size_t)i * SLOT_BYTES, random >> 2);
        break;
    default:
        put16(&ring->avail->ring[i], random >> 2 & (SIZE - 1));
        put16(&ring->used->idx, random); /* ours: it is never read back */
        put16(bed_ring_used_event(ring), random >> 3);
        break;
    }
}

static void *flip(void *context)
{
    struct guest *guest = context;
    uint32_t state = 12345;

    while (!__atomic_load_n(&guest->must_stop, __ATOMIC_RELAXED)) {
        uint32_t random = xorshift(&state);

        if (guest->flips_transmitq)
            flip_ring(guest, &guest->bed.transmitq, guest->slots[0], random);
        if (guest->flips_receiveq)
            flip_ring(guest, &guest->bed.receiveq, guest->slots[1], random);
        guest->flips++;
    }
    return NULL;
}

/* --- the guest's memory as it should be --- */

static void desc_right(struct guest *guest, struct bed_ring *ring, unsigned which, uint16_t i)
{
    uint8_t *slot = guest->slots[which] + (size_t)i * SLOT_BYTES;

    bed_ring_put(ring, i, bed_address(&guest->bed.memory, slot), which ? SLOT_BYTES : CHAIN_BYTES,
                 which ? VIRTQ_DESC_F_WRITE : 0, (i + 1) % SIZE);
}

/* Every fourth chain of the transmitq is an indirect table of many descriptors. */
static void table_right(struct guest *guest, uint16_t i)
{
    struct virtq_desc *table = guest->tables + (size_t)i * TABLE_DESCS;
    uint64_t slot = bed_address(&guest->bed.memory, guest->slots[0] + (size_t)i * SLOT_BYTES);

    for (uint16_t k = 0; k < TABLE_DESCS; k++) {
        bool is_last = k + 1 == TABLE_DESCS;

        table[k] =
            (struct virtq_desc){slot + (uint64_t)k * 200, is_last ? CHAIN_BYTES - k * 200u : 200,
                                is_last ? 0 : VIRTQ_DESC_F_NEXT, (uint16_t)(k + 1)};
    }
    bed_ring_put(&guest->bed.transmitq, i, bed_address(&guest->bed.memory, table),
                 TABLE_DESCS * sizeof(*table), VIRTQ_DESC_F_INDIRECT, 0);
}

static void make_right(struct guest *guest)
{
    for (uint16_t i = 0; i < SIZE; i++) {
        uint8_t *slot = guest->slots[0] + (size_t)i * SLOT_BYTES;
        struct virtio_net_hdr hdr = wire_hdr(&wire, 700);

        desc_right(guest, &guest->bed.transmitq, 0, i);
        desc_right(guest, &guest->bed.receiveq, 1, i);
        if (i % 4 == 0)
            table_right(guest, i);
        memcpy(slot, &hdr, sizeof(hdr));
        memcpy(slot + sizeof(hdr), wire.bytes, wire.len);
    }
}

static void guest_begin(struct guest *guest, bool mergeable, unsigned offloads)
{
    size_t lead;

    memset(guest, 0, sizeof(*guest));
    queue_bed_init(&guest->bed, &(struct queue_bed_options){
                                    .size = SIZE,
                                    .features = VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX) |
                                                VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
                                    .mergeable = mergeable,
                                    .offloads = offloads,
                                    .guest_bytes = GUEST_BYTES});
    guest->tables = bed_alloc(&guest->bed.memory, 0, sizeof(struct virtq_desc) * TABLE_DESCS * SIZE,
                              sizeof(struct virtq_desc));
    /* the last slot ends with the memory, so that one byte too many is one on a forbidden page */
    lead = GUEST_BYTES - guest->bed.memory.taken[0] - (size_t)2 * SIZE * SLOT_BYTES;
    (void)bed_alloc(&guest->bed.memory, 0, lead, 1);
    guest->slots[1] = bed_alloc(&guest->bed.memory, 0, (size_t)SIZE * SLOT_BYTES, 1);
    guest->slots[0] = bed_alloc(&guest->bed.memory, 0, (size_t)SIZE * SLOT_BYTES, 1);
    make_right(guest);
}

static void guest_start(struct guest *guest)
{
    if (guest->flips_transmitq || guest->flips_receiveq)
        assert_int_equal(pthread_create(&guest->thread, NULL, flip, guest), 0);
}

static void guest_end(struct guest *guest)
{
    if (guest->flips_transmitq || guest->flips_receiveq) {
        __atomic_store_n(&guest->must_stop, true, __ATOMIC_RELAXED);
        pthread_join(guest->thread, NULL);
        assert_true(guest->flips > 1000);
    }
    queue_bed_uninit(&guest->bed);
}

/* As after a reset of its driver: the rings start anew where they are. */
static void ring_restart(struct bed_ring *ring, struct virtq *virtq)
{
    struct virtq_setup setup;
    enum guest_fault fault;

    ring->avail->idx = virtq->next_avail;
    setup = bed_ring_setup(ring, VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX) |
                                     VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC));
    fault = virtq_start(virtq, &setup);
    assert_int_equal(fault, GUEST_FAULT_NONE);
}

static uint64_t faults, delivered;

static void mend(struct guest *guest)
{
    struct vhost_queue *queue = &guest->bed.queue;

    if (!queue->fault)
        return;
    faults++;
    queue->fault = GUEST_FAULT_NONE;
    queue->oldest = queue->newest = queue->done_count = 0;
    vhost_forget_front(&queue->base);
    ring_restart(&guest->bed.transmitq, &queue->from_guest);
    ring_restart(&guest->bed.receiveq, &queue->to_guest);
    make_right(guest);
}

/* Offers chains until the ring is full. */
static void offer(struct bed_ring *ring, const struct virtq *virtq, unsigned outstanding)
{
    while ((uint16_t)(ring->avail->idx - virtq->next_avail) + outstanding < SIZE)
        bed_ring_offer(ring, ring->next_desc++ & (SIZE - 1));
}

/* --- the judge --- */

static bool piece_is_ours(const struct frame *frame, const struct iovec *piece)
{
    const struct guest_region *region = &sender.bed.memory.memory.regions[0];
    const uint8_t *start = piece->iov_base, *low = region->bytes;

    if (frame->private_bytes)
        return start == frame->private_bytes && piece->iov_len <= FRAME_BUFFER_BYTES;
    return start >= low && piece->iov_len <= region->size &&
           (size_t)(start - low) <= region->size - piece->iov_len;
}

static void judge_view(const struct frame *frame)
{
    uint64_t len = frame->head_len;

    assert_true(frame->head_len <= FRAME_HEAD_BYTES_MAX && frame->head_len <= frame->len);
    assert_true(frame->len >= 14 && frame->len <= FRAME_BYTES_MAX);
    assert_true(frame->piece_count <= FRAME_PIECES_MAX);
    for (unsigned i = 0; i < frame->piece_count; i++) {
        assert_true(piece_is_ours(frame, &frame->pieces[i]));
        len += frame->pieces[i].iov_len;
    }
    assert_int_equal(len, frame->len);
}

/* The facts and the request are those of the bytes that are kept. */
static void judge_facts(const struct frame *frame)
{
    struct frame_facts facts;
    struct virtio_net_hdr hdr = frame->vnet;

    frame_parse(frame->head, frame->head_len, frame->len, &facts);
    assert_memory_equal(&facts, &frame->facts, FACTS_BYTES);
    assert_true(offload_check(&hdr, &facts, frame->head_len, frame->len));
    assert_memory_equal(&hdr, &frame->vnet, sizeof(hdr));
}

static bool parse(struct frame *frame)
{
    if (frame->drop)
        return false;
    judge_view(frame);
    frame_parse(frame->head, frame->head_len, frame->len, &frame->facts);
    return offload_check(&frame->vnet, &frame->facts, frame->head_len, frame->len);
}

/* A receiver that keeps still gets exactly the head that was judged, and the length. */
static void judge_delivery(const struct frame *frame)
{
    const uint8_t *buffer;
    struct virtq_used_elem elem;

    assert_int_equal(bed_ring_used_count(&receiver.bed.receiveq), 1);
    elem = bed_ring_take_used(&receiver.bed.receiveq);
    assert_true(elem.id < SIZE);
    assert_int_equal(elem.len, frame->len + VNET_HDR_BYTES);
    buffer = receiver.slots[1] + (size_t)elem.id * SLOT_BYTES;
    assert_memory_equal(buffer, &frame->vnet, 10);
    assert_memory_equal(buffer + VNET_HDR_BYTES, frame->head, frame->head_len);
}

static void deliver(struct frame *frame)
{
    struct vhost_queue *to = &receiver.bed.queue;
    bool fits = frame->len + VNET_HDR_BYTES <= SLOT_BYTES && segment_fits(frame, to->base.offloads);

    for (unsigned tries = 0; tries < 100; tries++) {
        offer(&receiver.bed.receiveq, &to->to_guest, 0);
        if (vhost_deliver(&to->base, &frame, 1) == 1) {
            (void)vhost_announce(&to->base, tries % 2);
            judge_facts(frame);
            delivered++;
            if (fits && !receiver.flips_receiveq)
                judge_delivery(frame);
            break;
        }
        mend(&receiver);
    }
    vhost_forget_front(&to->base);
    receiver.bed.receiveq.used_seen = to->to_guest.published_used;
}

static uint64_t move_a_burst(void)
{
    struct vhost_queue *from = &sender.bed.queue;
    struct frame *frames[BURST_FRAMES_MAX];
    unsigned count;

    offer(&sender.bed.transmitq, &from->from_guest, from->newest - from->oldest);
    count = vhost_receive(&from->base, &sender.bed.pool, frames, 16);
    for (unsigned i = 0; i < count; i++) {
        if (parse(frames[i]))
            deliver(frames[i]);
        vhost_give_back(&from->base, &frames[i], 1);
        frame_pool_put(&sender.bed.pool, frames[i]);
    }
    (void)vhost_settle(&from->base);
    vhost_announce_back(&from->base);
    assert_int_equal(from->oldest, from->newest);
    assert_int_equal(frame_pool_left(&sender.bed.pool), 2048);
    assert_int_equal(sender.bed.pool.buffer_count, FRAME_BUFFERS_MAX);
    mend(&sender);
    return count;
}

static void run(bool flips_sender, bool flips_receiver, bool mergeable, unsigned offloads)
{
    uint64_t frames = 0, end_ns;

    faults = delivered = 0;
    wire_begin(&wire);
    wire_ipv4(&wire, 6, 0);
    wire_tcp(&wire, 0x18, 12);
    wire_payload(&wire, FRAME_BYTES - 66, 5);
    wire_finish(&wire);
    guest_begin(&sender, false, 0);
    guest_begin(&receiver, mergeable, offloads);
    sender.flips_transmitq = flips_sender;
    receiver.flips_receiveq = flips_receiver;
    guest_start(&sender);
    guest_start(&receiver);
    end_ns = clock_now_ns() + RUN_NS;
    for (unsigned round = 0; clock_now_ns() < end_ns; round++) {
        frames += move_a_burst();
        if (round % 64 == 0) { /* what has been written over by and by starts anew */
            make_right(&sender);
            make_right(&receiver);
        }
    }
    guest_end(&sender);
    guest_end(&receiver);
    print_message("%llu frames, %llu delivered, %llu faults\n", (unsigned long long)frames,
                  (unsigned long long)delivered, (unsigned long long)faults);
    assert_true(delivered > 100);
}

static void sender_changes_its_mind(void **state)
{
    (void)state;
    run(true, false, false,
        OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN | OFFLOAD_USO4 | OFFLOAD_USO6);
}

static void receiver_changes_its_mind(void **state)
{
    (void)state;
    run(false, true, true, 0);
}

static void both_change_their_minds(void **state)
{
    (void)state;
    run(true, true, true, OFFLOAD_CSUM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sender_changes_its_mind),
        cmocka_unit_test(receiver_changes_its_mind),
        cmocka_unit_test(both_change_their_minds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Goal: the device's side of a split ring keeps every rule of virtio 1.2, section 2.7, and answers
 * every broken one with the right fault. Method: rings written word by word in memory between
 * pages that cannot be touched, and the real virtqueue on them. Threats C1 and C7.
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

#define EVENT_IDX VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT  VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC)

enum { SIZE = 256, N = VIRTQ_DESC_F_NEXT, W = VIRTQ_DESC_F_WRITE, I = VIRTQ_DESC_F_INDIRECT };

/* Three regions: two that adjoin in guest addresses, and one behind a gap. */
enum { LOW = 0x10000, LOW_SIZE = 0x20000, MIDDLE_SIZE = 0x3001, HIGH = 0x80000, HIGH_SIZE = 123 };

static struct bed bed;
static struct bed_ring ring;
static struct virtq virtq;
static struct virtq_chain chain;

static void start(unsigned size, uint64_t features, uint16_t index)
{
    static const struct bed_region regions[] = {
        {LOW, LOW_SIZE}, {LOW + LOW_SIZE, MIDDLE_SIZE}, {HIGH, HIGH_SIZE}};
    struct virtq_setup setup;

    bed_init(&bed, regions, CV_COUNT_OF(regions));
    bed_ring_init(&ring, &bed, size);
    ring.avail->idx = ring.used->idx = ring.used_seen = index;
    setup = bed_ring_setup(&ring, features);
    assert_int_equal(virtq_start(&virtq, &setup), GUEST_FAULT_NONE);
}

static int stop(void **state)
{
    (void)state;
    bed_uninit(&bed);
    return 0;
}

static enum guest_fault walk(uint16_t head, bool to_guest)
{
    virtq_chain_clear(&chain);
    return virtq_walk(&virtq, head, to_guest, &chain);
}

static uint8_t *at(uint64_t guest_address)
{
    uint64_t run_len;

    return guest_memory_at(&bed.memory, guest_address, 1, &run_len);
}

static void assert_piece(unsigned i, uint64_t guest_address, size_t len)
{
    assert_true(i < chain.count);
    assert_ptr_equal(chain.pieces[i].iov_base, at(guest_address));
    assert_int_equal(chain.pieces[i].iov_len, len);
}

/* An indirect table of `count` descriptors, empty. */
static struct virtq_desc *table_new(unsigned count)
{
    return bed_alloc(&bed, 0, count * sizeof(struct virtq_desc), 16);
}

static void put_table(uint16_t index, const struct virtq_desc *table, uint32_t len, uint16_t flags)
{
    bed_ring_put(&ring, index, bed_address(&bed, table), len, I | flags, 0);
}

/* --- walking what is right --- */

static void direct_chain(void **state)
{
    (void)state;
    start(SIZE, 0, 0);
    bed_ring_put(&ring, 7, LOW + 100, 10, N, 255);
    bed_ring_put(&ring, 255, LOW + 300, 1, N, 0);
    bed_ring_put(&ring, 0, LOW + 50, 4000, 0, 0xffff);
    assert_int_equal(walk(7, false), GUEST_FAULT_NONE);
    assert_int_equal(chain.count, 3);
    assert_int_equal(chain.len, 4011);
    assert_piece(0, LOW + 100, 10);
    assert_piece(1, LOW + 300, 1);
    assert_piece(2, LOW + 50, 4000);
}

static void indirect_chain(void **state)
{
    struct virtq_desc *table;

    (void)state;
    start(SIZE, INDIRECT, 0);
    table = table_new(3);
    table[0] = (struct virtq_desc){LOW + 10, 12, W | N, 2};
    table[2] = (struct virtq_desc){LOW + 40, 100, W | N, 1};
    table[1] = (struct virtq_desc){LOW + 200, 7, W, 77};
    put_table(3, table, 48, 0);
    assert_int_equal(walk(3, true), GUEST_FAULT_NONE);
    assert_int_equal(chain.count, 3);
    assert_int_equal(chain.len, 119);
    assert_piece(1, LOW + 40, 100);
    assert_piece(2, LOW + 200, 7);
}

/* virtio 1.2, 2.7.5.3.1 allows direct descriptors before the indirect one. The WRITE flag of a
 * descriptor that refers to a table means nothing (2.7.5.3.2). */
static void direct_then_indirect(void **state)
{
    struct virtq_desc *table;

    (void)state;
    start(SIZE, INDIRECT, 0);
    table = table_new(1);
    table[0] = (struct virtq_desc){LOW + 40, 100, 0, 0};
    bed_ring_put(&ring, 0, LOW, 12, N, 9);
    put_table(9, table, 16, W);
    assert_int_equal(walk(0, false), GUEST_FAULT_NONE);
    assert_int_equal(chain.count, 2);
    assert_int_equal(chain.len, 112);
}

/* A descriptor may lie across regions that adjoin in guest addresses, though they are far apart
 * here. */
static void chain_spans_regions(void **state)
{
    struct iovec piece;

    (void)state;
    start(SIZE, 0, 0);
    bed_ring_put(&ring, 0, LOW + LOW_SIZE - 3, 10, 0, 0);
    assert_int_equal(walk(0, false), GUEST_FAULT_NONE);
    assert_int_equal(chain.count, 2);
    assert_piece(0, LOW + LOW_SIZE - 3, 3);
    assert_piece(1, LOW + LOW_SIZE, 7);
    assert_false(virtq_walk_single(&virtq, 0, false, &piece));
}

static void empty_descriptors_add_nothing(void **state)
{
    (void)state;
    start(SIZE, 0, 0);
    bed_ring_put(&ring, 0, UINT64_MAX, 0, N, 1);
    bed_ring_put(&ring, 1, LOW, 5, N, 2);
    bed_ring_put(&ring, 2, 0, 0, 0, 0);
    assert_int_equal(walk(0, false), GUEST_FAULT_NONE);
    assert_int_equal(chain.count, 1);
    assert_piece(0, LOW, 5);
    bed_ring_put(&ring, 0, LOW, 0, 0, 0);
    assert_int_equal(walk(0, false), GUEST_FAULT_NONE);
    assert_int_equal(chain.len, 0);
}

/* The last byte of a region is part of it, also when the next region is elsewhere. */
static void last_byte_of_memory(void **state)
{
    struct iovec piece = {0};

    (void)state;
    start(SIZE, 0, 0);
    bed_ring_put(&ring, 0, HIGH, HIGH_SIZE, W, 0);
    assert_int_equal(walk(0, true), GUEST_FAULT_NONE);
    assert_piece(0, HIGH, HIGH_SIZE);
    assert_true(virtq_walk_single(&virtq, 0, true, &piece));
    assert_int_equal(piece.iov_len, HIGH_SIZE);
    memset(piece.iov_base, 1, piece.iov_len);
}

/* The short way takes only what the long way finds right, and finds the same. */
static void single_agrees_with_walk(void **state)
{
    static const uint64_t addresses[] = {0,
                                         LOW - 1,
                                         LOW,
                                         LOW + LOW_SIZE - 1,
                                         LOW + LOW_SIZE + MIDDLE_SIZE,
                                         HIGH,
                                         HIGH - 1,
                                         HIGH + 100,
                                         UINT64_MAX,
                                         HIGH + HIGH_SIZE,
                                         1,
                                         LOW + 5,
                                         LOW + LOW_SIZE,
                                         LOW + LOW_SIZE + MIDDLE_SIZE - 1};
    static const uint32_t lens[] = {0, 1, 2, 23, 24, 4096, UINT32_MAX};
    unsigned taken = 0;

    (void)state;
    start(SIZE, 0, 0);
    for (unsigned i = 0; i < CV_COUNT_OF(addresses) * CV_COUNT_OF(lens) * 16; i++) {
        uint16_t flags = i % 8, head = i % 16 < 8 ? 5 : SIZE;
        uint64_t address = addresses[i / 16 % CV_COUNT_OF(addresses)];
        uint32_t len = lens[i / 16 / CV_COUNT_OF(addresses)];
        struct iovec piece = {0};

        bed_ring_put(&ring, 5, address, len, flags, 6);
        for (int to_guest = 0; to_guest < 2; to_guest++) {
            if (!virtq_walk_single(&virtq, head, to_guest, &piece))
                continue;
            assert_int_equal(walk(head, to_guest), GUEST_FAULT_NONE);
            assert_int_equal(chain.count, 1);
            assert_memory_equal(&chain.pieces[0], &piece, sizeof(piece));
            taken++;
        }
    }
    assert_int_equal(taken, 2 * (5 + 1 + 4 + 3 + 5 + 5 + 1)); /* lengths that fit, by address */
}

/* --- walking what is wrong: C1 and C7 --- */

static void faults_of_addresses(void **state)
{
    static const struct {
        uint64_t address;
        uint32_t len;
    } wrong[] = {
        {0, 1},
        {LOW - 1, 1},
        {LOW - 1, 2},
        {LOW + LOW_SIZE + MIDDLE_SIZE, 1},
        {LOW + LOW_SIZE + MIDDLE_SIZE - 1, 2},
        {LOW, LOW_SIZE + MIDDLE_SIZE + 1},
        {HIGH, HIGH_SIZE + 1},
        {HIGH + HIGH_SIZE, 1},
        {HIGH, UINT32_MAX},
        {UINT64_MAX, 1},
        {UINT64_MAX, UINT32_MAX},
        {UINT64_MAX - 3, 0x20000},
        {LOW + (UINT64_C(1) << 63), 1},
    };

    (void)state;
    start(SIZE, 0, 0);
    for (unsigned i = 0; i < CV_COUNT_OF(wrong); i++) {
        bed_ring_put(&ring, 1, LOW, 20, N, 2);
        bed_ring_put(&ring, 2, wrong[i].address, wrong[i].len, 0, 0);
        assert_int_equal(walk(1, false), GUEST_FAULT_UNMAPPED);
        assert_int_equal(walk(2, false), GUEST_FAULT_UNMAPPED);
    }
}

static void faults_of_heads_and_links(void **state)
{
    struct virtq_desc *table;

    (void)state;
    start(SIZE, INDIRECT, 0);
    assert_int_equal(walk(SIZE, false), GUEST_FAULT_HEAD_RANGE);
    assert_int_equal(walk(0xffff, false), GUEST_FAULT_HEAD_RANGE);
    bed_ring_put(&ring, 0, LOW, 1, N, SIZE);
    assert_int_equal(walk(0, false), GUEST_FAULT_NEXT_RANGE);
    bed_ring_put(&ring, 0, LOW, 1, N, 0xffff);
    assert_int_equal(walk(0, false), GUEST_FAULT_NEXT_RANGE);
    /* Inside an indirect table the table's own length counts, not the ring's. */
    table = table_new(2);
    table[0] = (struct virtq_desc){LOW, 1, N, 2};
    put_table(1, table, 32, 0);
    assert_int_equal(walk(1, false), GUEST_FAULT_NEXT_RANGE);
}

static void circular_chains_end(void **state)
{
    struct virtq_desc *table;

    (void)state;
    start(SIZE, INDIRECT, 0);
    bed_ring_put(&ring, 0, LOW, 1, N, 0);
    assert_int_equal(walk(0, false), GUEST_FAULT_CHAIN_LENGTH);
    bed_ring_put(&ring, 1, LOW, 0, N, 2);
    bed_ring_put(&ring, 2, LOW, 0, N, 1);
    assert_int_equal(walk(1, false), GUEST_FAULT_CHAIN_LENGTH);
    table = table_new(2);
    table[0] = (struct virtq_desc){LOW, 1, W | N, 1};
    table[1] = (struct virtq_desc){LOW, 1, W | N, 0};
    put_table(3, table, 32, 0);
    assert_int_equal(walk(3, true), GUEST_FAULT_CHAIN_LENGTH);
}

/* A chain may be as long as VIRTQ_CHAIN_PIECES_MAX, and no longer. */
static void longest_chain(void **state)
{
    struct virtq_desc *table;
    unsigned max = VIRTQ_CHAIN_PIECES_MAX - 1; /* the one that names the table counts too */

    (void)state;
    start(SIZE, INDIRECT, 0);
    table = table_new(max + 1);
    for (uint16_t i = 0; i < max + 1; i++)
        table[i] = (struct virtq_desc){LOW + i, 1, i + 1u < max ? N : 0, (uint16_t)(i + 1)};
    put_table(0, table, (max + 1) * 16, 0);
    assert_int_equal(walk(0, false), GUEST_FAULT_NONE);
    assert_int_equal(chain.count, max);
    table[max - 1].flags = N;
    assert_int_equal(walk(0, false), GUEST_FAULT_CHAIN_LENGTH);
}

/* The pieces of several chains gather in one row; that row has an end too. */
static void gathered_chains_are_bounded(void **state)
{
    enum guest_fault fault = GUEST_FAULT_NONE;
    unsigned walks = 0;

    (void)state;
    start(SIZE, 0, 0);
    for (uint16_t i = 0; i < SIZE; i++)
        bed_ring_put(&ring, i, LOW + i, 1, i + 1 < SIZE ? W | N : W, i + 1);
    virtq_chain_clear(&chain);
    while (!fault && walks < 100) {
        fault = virtq_walk(&virtq, 0, true, &chain);
        walks++;
    }
    assert_int_equal(fault, GUEST_FAULT_CHAIN_LENGTH);
    assert_int_equal(walks, VIRTQ_CHAIN_PIECES_MAX / SIZE + 1);
    assert_true(chain.count <= VIRTQ_CHAIN_PIECES_MAX);
}

/* Empty descriptors add no pieces, but following them costs time, which is bounded as well. */
static void gathering_nothing_is_bounded(void **state)
{
    enum guest_fault fault = GUEST_FAULT_NONE;
    unsigned walks = 0;

    (void)state;
    start(SIZE, 0, 0);
    for (uint16_t i = 0; i < SIZE; i++)
        bed_ring_put(&ring, i, LOW, 0, i + 1 < SIZE ? W | N : W, i + 1);
    virtq_chain_clear(&chain);
    while (!fault && walks < 100) {
        fault = virtq_walk(&virtq, 0, true, &chain);
        walks++;
    }
    assert_int_equal(fault, GUEST_FAULT_CHAIN_LENGTH);
}

static void faults_of_indirect_tables(void **state)
{
    struct virtq_desc *table;
    static const uint32_t wrong_lens[] = {
        0, 1, 8, 15, 17, 24, 16 * 3 + 8, 16 * (32768 + 1), UINT32_MAX, 0xfffffff0};

    (void)state;
    start(SIZE, INDIRECT, 0);
    table = table_new(4);
    table[0] = (struct virtq_desc){LOW, 1, 0, 0};
    for (unsigned i = 0; i < CV_COUNT_OF(wrong_lens); i++) {
        put_table(0, table, wrong_lens[i], 0);
        assert_int_equal(walk(0, false), GUEST_FAULT_INDIRECT_TABLE);
    }
    put_table(0, table, 16, N);
    assert_int_equal(walk(0, false), GUEST_FAULT_INDIRECT_NESTED);
    table[0].flags = I;
    table[0].len = 16;
    table[0].address = bed_address(&bed, table);
    put_table(0, table, 16, 0);
    assert_int_equal(walk(0, false), GUEST_FAULT_INDIRECT_NESTED);
    bed_ring_put(&ring, 0, bed_address(&bed, table) + 4, 16, I, 0);
    assert_int_equal(walk(0, false), GUEST_FAULT_INDIRECT_TABLE);
    bed_ring_put(&ring, 0, HIGH + HIGH_SIZE + 5, 16, I, 0);
    assert_int_equal(walk(0, false), GUEST_FAULT_UNMAPPED);
    /* across two regions: it must lie in one */
    bed_ring_put(&ring, 0, LOW + LOW_SIZE - 16, 32, I, 0);
    assert_int_equal(walk(0, false), GUEST_FAULT_UNMAPPED);
    virtq.indirect = false;
    put_table(0, table, 16, 0);
    assert_int_equal(walk(0, false), GUEST_FAULT_INDIRECT_UNOFFERED);
}

/* A front end may map its memory at any address: what is aligned for the guest is not for us. */
static void indirect_table_that_is_aligned_only_for_the_guest(void **state)
{
    uint64_t address = HIGH + 8; /* HIGH is mapped at an odd address, since its size is odd */

    (void)state;
    start(SIZE, INDIRECT, 0);
    assert_int_not_equal((uintptr_t)at(address) % 8, 0);
    bed_ring_put(&ring, 0, address, 16, I, 0);
    assert_int_equal(walk(0, false), GUEST_FAULT_INDIRECT_TABLE);
}

static void faults_of_direction(void **state)
{
    struct iovec piece;

    (void)state;
    start(SIZE, 0, 0);
    for (unsigned flags = 0; flags < 2; flags++) {
        bool to_guest = flags == 0; /* asked for the other one */

        bed_ring_put(&ring, 0, LOW, 8, flags ? W : 0, 0);
        assert_int_equal(walk(0, to_guest), GUEST_FAULT_DIRECTION);
        assert_false(virtq_walk_single(&virtq, 0, to_guest, &piece));
        /* in the middle of a chain too */
        bed_ring_put(&ring, 1, LOW, 8, (to_guest ? W : 0) | N, 0);
        assert_int_equal(walk(1, to_guest), GUEST_FAULT_DIRECTION);
    }
}

/* --- where rings may lie --- */

static void rings_outside_memory(void **state)
{
    struct virtq_setup setup, wrong;

    (void)state;
    start(SIZE, EVENT_IDX, 0);
    setup = bed_ring_setup(&ring, EVENT_IDX);
    for (unsigned i = 0; i < 9; i++) {
        uint64_t end = (uintptr_t)bed.memory.regions[0].bytes + LOW_SIZE;
        uint64_t *part;

        wrong = setup;
        part = i % 3 == 0   ? &wrong.desc_user_address
               : i % 3 == 1 ? &wrong.avail_user_address
                            : &wrong.used_user_address;
        *part = i / 3 == 0 ? 0 : i / 3 == 1 ? *part + 1 : (end - 64) & ~UINT64_C(15);
        assert_int_equal(virtq_start(&virtq, &wrong), GUEST_FAULT_RING_UNMAPPED);
    }
    /* flush with the end of the memory: the two bytes of the event field count with the feature */
    wrong = setup;
    wrong.avail_user_address = (uintptr_t)bed.memory.regions[0].bytes + LOW_SIZE - 4 - 2 * SIZE;
    assert_int_equal(virtq_start(&virtq, &wrong), GUEST_FAULT_RING_UNMAPPED);
    wrong.features = 0;
    assert_int_equal(virtq_start(&virtq, &wrong), GUEST_FAULT_NONE);
}

/* After a restart the used index in memory says where to go on; the base says what to take next. */
static void start_resumes_at_both_indices(void **state)
{
    struct virtq_setup setup;

    (void)state;
    start(8, 0, 0);
    ring.avail->idx = 13;
    ring.used->idx = 9;
    setup = bed_ring_setup(&ring, 0);
    setup.base = 11;
    assert_int_equal(virtq_start(&virtq, &setup), GUEST_FAULT_NONE);
    assert_int_equal(virtq.next_used, 9);
    assert_false(virtq_publish(&virtq));
    assert_int_equal(ring.used->idx, 9);
}

/* --- indices --- */

static unsigned available(unsigned max)
{
    enum guest_fault fault = GUEST_FAULT_NONE;
    unsigned count = virtq_available(&virtq, max, &fault);

    assert_int_equal(fault, GUEST_FAULT_NONE);
    return count;
}

/* Chains go round a small ring far more often than its indices wrap at 65536. */
static void indices_wrap(void **state)
{
    uint16_t next_head = 0, oldest_head = 0;

    (void)state;
    start(8, 0, 65530);
    for (unsigned round = 0; round < 40000; round++) {
        unsigned offered = 1 + round % 8;

        for (unsigned i = 0; i < offered; i++)
            bed_ring_offer(&ring, next_head++ % 8);
        assert_int_equal(available(100), offered);
        for (unsigned i = 0; i < offered; i++) {
            assert_int_equal(virtq_head(&virtq, i), oldest_head % 8);
            virtq_use(&virtq, virtq_head(&virtq, i), round);
            oldest_head++;
        }
        virtq_take(&virtq, offered);
        assert_int_equal(bed_ring_used_count(&ring), 0);
        assert_true(virtq_publish(&virtq));
        assert_int_equal(bed_ring_used_count(&ring), offered);
        while (bed_ring_used_count(&ring) > 0) {
            struct virtq_used_elem elem = bed_ring_take_used(&ring);

            assert_int_equal(elem.len, round);
        }
    }
    assert_int_equal(available(1), 0);
}

/* The index is read only when what was seen does not suffice: once per burst, not per chain. */
static void available_trusts_what_it_saw(void **state)
{
    (void)state;
    start(8, 0, 0);
    for (unsigned i = 0; i < 5; i++)
        bed_ring_offer(&ring, 0);
    assert_int_equal(available(3), 3);
    ring.avail->idx = 1; /* the guest goes back: what was seen stands */
    assert_int_equal(available(5), 5);
}

static void available_index_that_runs_ahead(void **state)
{
    static const uint16_t wrong[] = {9, 10, 100, 32768, 65535};
    enum guest_fault fault;

    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(wrong); i++) {
        start(8, 0, 65533);
        ring.avail->idx = (uint16_t)(65533 + wrong[i]);
        fault = GUEST_FAULT_NONE;
        assert_int_equal(virtq_available(&virtq, 64, &fault), 0);
        assert_int_equal(fault, GUEST_FAULT_AVAIL_INDEX);
        bed_uninit(&bed);
    }
    start(8, 0, 65533);
    ring.avail->idx = (uint16_t)(65533 + 8);
    assert_int_equal(available(64), 8);
}

/* The largest ring: all of it may be available, and one more may not. */
static void largest_ring(void **state)
{
    static const struct bed_region region = {0, 4u << 20};
    struct virtq_setup setup;
    enum guest_fault fault = GUEST_FAULT_NONE;

    (void)state;
    bed_init(&bed, &region, 1);
    bed_ring_init(&ring, &bed, VIRTQ_SIZE_MAX);
    setup = bed_ring_setup(&ring, EVENT_IDX | INDIRECT);
    assert_int_equal(virtq_start(&virtq, &setup), GUEST_FAULT_NONE);
    ring.avail->idx = 32768;
    assert_int_equal(available(UINT16_MAX), 32768);
    ring.avail->idx = 32769;
    assert_int_equal(virtq_available(&virtq, UINT16_MAX, &fault), 0);
    assert_int_equal(fault, GUEST_FAULT_AVAIL_INDEX);
}

/* --- notifications --- */

static void calls_by_flag(void **state)
{
    (void)state;
    start(8, 0, 0);
    assert_false(virtq_publish(&virtq)); /* nothing new */
    virtq_use(&virtq, 0, 1);
    assert_true(virtq_publish(&virtq));
    ring.avail->flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
    virtq_use(&virtq, 0, 1);
    assert_false(virtq_publish(&virtq));
    assert_int_equal(ring.used->idx, 2);
    /* the event field is not looked at without the feature, the flag not with it */
    *bed_ring_used_event(&ring) = 2;
    virtq_use(&virtq, 0, 1);
    assert_false(virtq_publish(&virtq));
    virtq.event_idx = true;
    *bed_ring_used_event(&ring) = 3;
    virtq_use(&virtq, 0, 1);
    assert_true(virtq_publish(&virtq));
}

static void call_writes_the_eventfd(void **state)
{
    uint64_t count = 0;

    (void)state;
    start(8, 0, 0);
    assert_true(virtq_call(&virtq)); /* without a descriptor: nothing happens */
    virtq.call_fd = eventfd(0, EFD_NONBLOCK);
    assert_true(virtq_call(&virtq));
    assert_true(virtq_call(&virtq));
    assert_int_equal(read(virtq.call_fd, &count, sizeof(count)), sizeof(count));
    assert_int_equal(count, 2);
    close(virtq.call_fd);
}

/* virtio 1.2, 2.7.10.1: after asking for kicks, look again. */
static void kicks_enable_looks_again(void **state)
{
    (void)state;
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        start(8, event_idx ? EVENT_IDX : 0, 65535);
        virtq_kicks_disable(&virtq);
        assert_int_equal(ring.used->flags, event_idx ? 0 : VIRTQ_USED_F_NO_NOTIFY);
        assert_false(virtq_kicks_enable(&virtq, 1));
        assert_int_equal(ring.used->flags, 0);
        if (event_idx)
            assert_int_equal(*bed_ring_avail_event(&ring), 65535);
        virtq_kicks_disable(&virtq);
        bed_ring_offer(&ring, 0);
        assert_true(virtq_kicks_enable(&virtq, 1)); /* published before we asked: no kick came */
        assert_int_equal(available(1), 1);
        virtq_take(&virtq, 1);
        assert_false(virtq_kicks_enable(&virtq, 1));
        if (event_idx)
            assert_int_equal(*bed_ring_avail_event(&ring), 0);
        bed_uninit(&bed);
    }
    start(8, 0, 0);
}

/* Asked for several, it says so only when all of them are there: for fewer the driver will kick at
 * the event. Also where the index wraps at 65536 in between. */
static void kicks_enable_counts(void **state)
{
    (void)state;
    for (uint16_t taken = 65536 - 20; taken != 20; taken++) {
        for (unsigned chains = 1; chains <= 16; chains += 5) {
            start(16, EVENT_IDX, taken);
            for (unsigned offered = 0; offered < chains; offered++) {
                assert_false(virtq_kicks_enable(&virtq, chains));
                assert_int_equal(*bed_ring_avail_event(&ring), (uint16_t)(taken + chains - 1));
                bed_ring_offer(&ring, 0);
            }
            /* Before and at the event the driver kicks by itself; all are there when we ask. */
            assert_true(virtq_kicks_enable(&virtq, chains));
            while (ring.avail->idx != (uint16_t)(taken + 16)) {
                bed_ring_offer(&ring, 0);
                assert_true(virtq_kicks_enable(&virtq, chains));
            }
            bed_uninit(&bed);
        }
    }
    start(8, 0, 0);
}

/* What was seen and not taken counts for nothing: the event lies behind it. */
static void kicks_enable_counts_from_what_was_seen(void **state)
{
    (void)state;
    start(16, EVENT_IDX, 65530);
    for (unsigned i = 0; i < 5; i++)
        bed_ring_offer(&ring, 0);
    assert_int_equal(available(5), 5);
    virtq_take(&virtq, 2);
    assert_false(virtq_kicks_enable(&virtq, 4));
    assert_int_equal(*bed_ring_avail_event(&ring), (uint16_t)(65530 + 5 + 4 - 1));
    for (unsigned i = 0; i < 3; i++)
        bed_ring_offer(&ring, 0);
    assert_false(virtq_kicks_enable(&virtq, 4));
    bed_ring_offer(&ring, 0);
    assert_true(virtq_kicks_enable(&virtq, 4));
}

/* Without the event index the driver is asked for the next one, or for none; who wants more is told
 * when they are there all the same. */
static void kicks_enable_counts_without_event_index(void **state)
{
    (void)state;
    start(16, 0, 65534);
    virtq_kicks_disable(&virtq);
    assert_false(virtq_kicks_enable(&virtq, 3));
    assert_int_equal(ring.used->flags, VIRTQ_USED_F_NO_NOTIFY);
    for (unsigned i = 0; i < 2; i++)
        bed_ring_offer(&ring, 0);
    assert_false(virtq_kicks_enable(&virtq, 3));
    assert_true(virtq_kicks_enable(&virtq, 1));
    assert_int_equal(ring.used->flags, 0);
    bed_ring_offer(&ring, 0);
    assert_true(virtq_kicks_enable(&virtq, 3));
    assert_int_equal(ring.used->flags, VIRTQ_USED_F_NO_NOTIFY);
}

static void every_fault_has_a_sentence(void **state)
{
    (void)state;
    start(8, 0, 0);
    for (int fault = 0; fault < GUEST_FAULT_COUNT; fault++)
        assert_true(strlen(guest_fault_text((enum guest_fault)fault)) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(direct_chain, stop),
        cmocka_unit_test_teardown(indirect_chain, stop),
        cmocka_unit_test_teardown(direct_then_indirect, stop),
        cmocka_unit_test_teardown(chain_spans_regions, stop),
        cmocka_unit_test_teardown(empty_descriptors_add_nothing, stop),
        cmocka_unit_test_teardown(last_byte_of_memory, stop),
        cmocka_unit_test_teardown(single_agrees_with_walk, stop),
        cmocka_unit_test_teardown(faults_of_addresses, stop),
        cmocka_unit_test_teardown(faults_of_heads_and_links, stop),
        cmocka_unit_test_teardown(circular_chains_end, stop),
        cmocka_unit_test_teardown(longest_chain, stop),
        cmocka_unit_test_teardown(gathered_chains_are_bounded, stop),
        cmocka_unit_test_teardown(gathering_nothing_is_bounded, stop),
        cmocka_unit_test_teardown(faults_of_indirect_tables, stop),
        cmocka_unit_test_teardown(indirect_table_that_is_aligned_only_for_the_guest, stop),
        cmocka_unit_test_teardown(faults_of_direction, stop),
        cmocka_unit_test_teardown(rings_outside_memory, stop),
        cmocka_unit_test_teardown(start_resumes_at_both_indices, stop),
        cmocka_unit_test_teardown(indices_wrap, stop),
        cmocka_unit_test_teardown(available_trusts_what_it_saw, stop),
        cmocka_unit_test_teardown(available_index_that_runs_ahead, stop),
        cmocka_unit_test_teardown(largest_ring, stop),
        cmocka_unit_test_teardown(calls_by_flag, stop),
        cmocka_unit_test_teardown(call_writes_the_eventfd, stop),
        cmocka_unit_test_teardown(kicks_enable_looks_again, stop),
        cmocka_unit_test_teardown(kicks_enable_counts, stop),
        cmocka_unit_test_teardown(kicks_enable_counts_from_what_was_seen, stop),
        cmocka_unit_test_teardown(kicks_enable_counts_without_event_index, stop),
        cmocka_unit_test_teardown(every_fault_has_a_sentence, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

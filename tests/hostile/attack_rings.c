/* The guest breaks the rules of its rings: addresses, chains, indices, buffers, double fetches. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "guest/vhost_user.h"
#include "hostile.h"

enum { NEXT = FRONT_DESC_NEXT, WRITE = FRONT_DESC_WRITE, INDIRECT = FRONT_DESC_INDIRECT };

static struct front_end_options two_regions(const struct hostile *h)
{
    struct front_end_options options = h->attacker;

    options.region_count = 2;
    options.regions[0] = (struct guest_ram_layout){UINT64_C(0x40000000), 8 << 20, 0};
    options.regions[1] = (struct guest_ram_layout){UINT64_C(0x40800000), 8 << 20, 0}; /* adjacent */
    options.receive_bytes = 2048;
    return options;
}

/* A frame to everybody, with its virtio-net header, in guest memory of its own; returns its bytes.
 */
static uint8_t *put_frame(struct front_end *fe, size_t len, uint64_t *ret_address)
{
    uint8_t *bytes = guest_ram_alloc(&fe->ram, 0, 12 + len, 64);

    assert(bytes);
    memset(bytes + 12, 0xff, 6);
    memcpy(bytes + 18, hostile_attacker_mac, 6);
    bytes[24] = 0x88;
    bytes[25] = 0xb7;
    *ret_address = guest_ram_address(&fe->ram, bytes);
    return bytes;
}

/* Offers the chain that starts at descriptor 0 of the transmitq. */
static void offer_head(struct front_end *fe, unsigned ring, uint16_t head)
{
    front_ring_put_avail(&fe->rings[ring], head);
    front_ring_put_avail_index(&fe->rings[ring], fe->rings[ring].avail_index);
}

/* --- C1: addresses --- */

static const struct {
    const char *what;
    uint64_t address;
    uint32_t len;
} wrong_buffers[] = {
    {"address 0", 0, 1000},
    {"just before the first region", 0x40000000 - 100, 1000},
    {"over the end of the last region", 0x40000000 + (16 << 20) - 100, 1000},
    {"behind the last region", 0x40000000 + (16 << 20), 100},
    {"address + length wraps", UINT64_MAX - 10, 1000},
    {"address + length is 2^64", UINT64_MAX - 999, 1000},
    {"the upper half", UINT64_C(1) << 63, 1000},
    {"length 2^32 - 1", 0x40000000, UINT32_MAX},
};

static void transmit_addresses(struct hostile *h)
{
    struct front_end_options options = two_regions(h);

    for (unsigned i = 0; i < CV_COUNT_OF(wrong_buffers); i++) {
        uint64_t before = hostile_counter(h, "faults");
        struct front_end fe;

        if (!hostile_open(h, &fe, &options))
            return;
        front_ring_put_desc(&fe.rings[1], 0, wrong_buffers[i].address, wrong_buffers[i].len, 0, 0);
        offer_head(&fe, 1, 0);
        if (wrong_buffers[i].len != UINT32_MAX)
            hostile_expect_fault(h, before, wrong_buffers[i].what);
        hostile_close(&fe);
    }
}

static void receive_addresses(struct hostile *h)
{
    struct front_end_options options = two_regions(h);

    for (unsigned i = 0; i < CV_COUNT_OF(wrong_buffers); i++) {
        uint64_t before = hostile_counter(h, "faults");
        struct front_end fe;

        if (!hostile_open_unposted(h, &fe, &options))
            return;
        front_ring_put_desc(&fe.rings[0], 0, wrong_buffers[i].address, wrong_buffers[i].len, WRITE,
                            0);
        offer_head(&fe, 0, 0);
        hostile_probe_broadcast(h, 1200);
        if (wrong_buffers[i].len != UINT32_MAX)
            hostile_expect_fault(h, before, wrong_buffers[i].what);
        hostile_close(&fe);
    }
}

/* Zero-length descriptors, alone and within a chain: ignored or a fault, nothing else. */
static void zero_lengths(struct hostile *h)
{
    for (unsigned i = 0; i < 4; i++) {
        struct front_end_options options = two_regions(h);
        struct front_end fe;
        uint64_t address;

        if (!hostile_open(h, &fe, &options))
            return;
        put_frame(&fe, 100, &address);
        for (uint16_t d = 0; d < 4; d++)
            front_ring_put_desc(&fe.rings[1], d, address + (d > i ? 12 : 0),
                                d == i   ? 0
                                : d == 0 ? 12
                                         : 100 / 2,
                                d < 3 ? NEXT : 0, d + 1);
        offer_head(&fe, 1, 0);
        front_ring_put_desc(&fe.rings[1], 9, address, 0, 0, 0);
        offer_head(&fe, 1, 9);
        poll(NULL, 0, 5);
        hostile_close(&fe);
    }
}

/* A buffer over two regions that are neighbours for the guest, but not for us: arrives whole, or is
 * a fault. */
static void buffer_over_two_regions(struct hostile *h)
{
    struct front_end_options options = two_regions(h);
    uint64_t before = hostile_counter(h, "faults"), border = 0x40800000 - 40;
    uint8_t bytes[2048];
    struct front_end fe;
    size_t len = 0;

    if (!hostile_open(h, &fe, &options))
        return;
    hostile_drain(h, &h->probe, "probe");
    for (unsigned i = 0; i < 112;
         i++) { /* the frame counts up from its first byte behind the header */
        uint8_t *place = i < 40 ? fe.ram.regions[0].bytes + (8 << 20) - 40 + i
                                : fe.ram.regions[1].bytes + i - 40;

        *place = i < 12 ? 0 : i < 18 ? 0xff : i < 24 ? hostile_attacker_mac[i - 18] : (uint8_t)i;
    }
    front_ring_put_desc(&fe.rings[1], 0, border, 112, 0, 0);
    offer_head(&fe, 1, 0);
    while (hostile_counter(h, "faults") == before && len != 100) {
        if (!hostile_expect(
                h, front_end_wait_frame(&h->probe, 0, NULL, bytes, sizeof(bytes), &len) == 0,
                "neither a frame nor a fault"))
            break;
    }
    for (unsigned i = 24; len == 100 && i < 112; i++)
        hostile_expect(h, bytes[i - 12] == i, "byte %u of the frame is %u", i - 12, bytes[i - 12]);
    hostile_close(&fe);
}

/* --- C7: chains --- */

struct chain_attack {
    const char *what;
    unsigned count;
    struct {
        uint16_t flags, next;
        uint32_t len;
    } descs[4];
};

static const struct chain_attack wrong_chains[] = {
    {"next beyond the ring", 1, {{NEXT, 256, 100}}},
    {"next far beyond the ring", 1, {{NEXT, 65535, 100}}},
    {"a descriptor that follows itself", 1, {{NEXT, 0, 100}}},
    {"a circle of two", 2, {{NEXT, 1, 100}, {NEXT, 0, 100}}},
    {"a circle of empty descriptors", 2, {{NEXT, 1, 0}, {NEXT, 0, 0}}},
    {"a circle behind a head", 3, {{NEXT, 1, 12}, {NEXT, 2, 1}, {NEXT, 1, 1}}},
    {"write-only in a transmitq", 1, {{WRITE, 0, 100}}},
    {"write-only behind readable", 2, {{NEXT, 1, 100}, {WRITE, 0, 100}}},
};

static void chains_out_of_range(struct hostile *h)
{
    for (unsigned i = 0; i < CV_COUNT_OF(wrong_chains); i++) {
        const struct chain_attack *chain = &wrong_chains[i];
        uint64_t before = hostile_counter(h, "faults"), address;
        struct front_end_options options = two_regions(h);
        struct front_end fe;

        if (!hostile_open(h, &fe, &options))
            return;
        put_frame(&fe, 200, &address);
        for (uint16_t d = 0; d < chain->count; d++)
            front_ring_put_desc(&fe.rings[1], d, address, chain->descs[d].len,
                                chain->descs[d].flags, chain->descs[d].next);
        offer_head(&fe, 1, 0);
        hostile_expect_fault(h, before, chain->what);
        hostile_close(&fe);
    }
}

/* The same in a receiveq, where a descriptor that is not write-only is as wrong. */
static void receive_chains_out_of_range(struct hostile *h)
{
    static const uint16_t flags[][2] = {{NEXT | WRITE, 256}, {NEXT | WRITE, 0}, {0, 0}, {NEXT, 0}};

    for (unsigned i = 0; i < CV_COUNT_OF(flags); i++) {
        uint64_t before = hostile_counter(h, "faults"), address;
        struct front_end_options options = two_regions(h);
        struct front_end fe;

        options.features &= ~VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
        if (!hostile_open_unposted(h, &fe, &options))
            return;
        put_frame(&fe, 200, &address);
        front_ring_put_desc(&fe.rings[0], 0, address, 20, flags[i][0], flags[i][1]);
        offer_head(&fe, 0, 0);
        hostile_probe_broadcast(h, 600);
        hostile_expect_fault(h, before, "receive chain");
        hostile_close(&fe);
    }
}

/* Heads beyond the table, and an available index that runs ahead of what a ring holds. */
static void heads_and_indices(struct hostile *h)
{
    static const uint16_t heads[] = {256, 257, 0x7fff, 0xffff};
    static const uint16_t steps[] = {257, 300, 0x8000, 0xffff};

    for (unsigned i = 0; i < CV_COUNT_OF(heads) + CV_COUNT_OF(steps); i++) {
        uint64_t before = hostile_counter(h, "faults");
        struct front_end fe;

        if (!hostile_open(h, &fe, &h->attacker))
            return;
        if (i < CV_COUNT_OF(heads))
            offer_head(&fe, 1, heads[i]);
        else
            front_ring_put_avail_index(&fe.rings[1], steps[i - CV_COUNT_OF(heads)]);
        hostile_expect_fault(h, before, i < CV_COUNT_OF(heads) ? "head" : "available index");
        hostile_close(&fe);
    }
}

/* The same head many times over, and heads offered again before they are given back. */
static void heads_offered_twice(struct hostile *h)
{
    struct front_end_options options = two_regions(h);
    struct front_end fe;
    uint64_t address;

    for (unsigned i = 0; i < 2; i++) {
        if (!hostile_open_unposted(h, &fe, &options))
            return;
        put_frame(&fe, 100, &address);
        front_ring_put_desc(&fe.rings[i], 0, address, 112, i ? 0 : WRITE, 0);
        for (unsigned n = 0; n < 256; n++)
            front_ring_put_avail(&fe.rings[i], 0);
        front_ring_put_avail_index(&fe.rings[i], 256);
        for (unsigned n = 0; n < 300; n++)
            hostile_probe_broadcast(h, 90);
        hostile_close(&fe);
    }
}

struct indirect_attack {
    const char *what;
    uint64_t offset; /* from the table that the test has filled */
    uint32_t len;
    uint16_t outer_flags, inner_flags, inner_next;
};

static const struct indirect_attack wrong_indirects[] = {
    {"table of 0 bytes", 0, 0, INDIRECT, 0, 0},
    {"table of 8 bytes", 0, 8, INDIRECT, 0, 0},
    {"table of 17 bytes", 0, 17, INDIRECT, 0, 0},
    {"table of 2^32 - 16 bytes", 0, UINT32_MAX - 15, INDIRECT, 0, 0},
    {"table not mapped", UINT64_C(1) << 40, 16, INDIRECT, 0, 0},
    {"table over the end of memory", (16 << 20) - 8, 16, INDIRECT, 0, 0},
    {"indirect within indirect", 0, 16, INDIRECT, INDIRECT, 0},
    {"indirect and next", 0, 16, INDIRECT | NEXT, 0, 0},
    {"next beyond the table", 0, 16, INDIRECT, NEXT, 1},
    {"next far beyond the table", 0, 16, INDIRECT, NEXT, 65535},
    {"a circle in the table", 0, 16, INDIRECT, NEXT, 0},
    {"write-only in the table", 0, 16, INDIRECT, WRITE, 0},
};

static void indirect_tables(struct hostile *h)
{
    for (unsigned i = 0; i < CV_COUNT_OF(wrong_indirects); i++) {
        const struct indirect_attack *a = &wrong_indirects[i];
        uint64_t before = hostile_counter(h, "faults"), address, table_address;
        struct front_end_options options = two_regions(h);
        struct front_desc *table;
        struct front_end fe;

        if (!hostile_open(h, &fe, &options))
            return;
        put_frame(&fe, 100, &address);
        table = guest_ram_alloc(&fe.ram, 0, 4096, 16);
        *table = (struct front_desc){address, 112, a->inner_flags, a->inner_next};
        table_address = guest_ram_address(&fe.ram, table);
        if (a->offset)
            table_address = 0x40000000;
        front_ring_put_desc(&fe.rings[1], 0, table_address + a->offset, a->len, a->outer_flags, 1);
        front_ring_put_desc(&fe.rings[1], 1, address, 112, 0, 0);
        offer_head(&fe, 1, 0);
        hostile_expect_fault(h, before, a->what);
        hostile_close(&fe);
    }
}

static void indirect_not_agreed(struct hostile *h)
{
    uint64_t before = hostile_counter(h, "faults"), address;
    struct front_end_options options = two_regions(h);
    struct front_desc *table;
    struct front_end fe;

    options.features &= ~VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
    if (!hostile_open(h, &fe, &options))
        return;
    put_frame(&fe, 100, &address);
    table = guest_ram_alloc(&fe.ram, 0, 16, 16);
    *table = (struct front_desc){address, 112, 0, 0};
    front_ring_put_desc(&fe.rings[1], 0, guest_ram_address(&fe.ram, table), 16, INDIRECT, 0);
    offer_head(&fe, 1, 0);
    hostile_expect_fault(h, before, "indirect without the feature");
    hostile_close(&fe);
}

/* --- C8, C19: frames in odd pieces --- */

/* Waits at the probe for the attacker's frame; false when another or none came. */
static bool arrives_intact(struct hostile *h, const uint8_t *frame, size_t len)
{
    uint8_t bytes[2048];
    size_t got;

    do {
        if (front_end_wait_frame(&h->probe, 0, NULL, bytes, sizeof(bytes), &got) < 0)
            return false;
    } while (memcmp(bytes + 6, hostile_attacker_mac, 6) != 0);
    return got == len && memcmp(bytes, frame, len) == 0;
}

/* Header and frame over descriptors of any size, direct and indirect: legal, and arrives byte for
 * byte. */
static void legal_pieces(struct hostile *h)
{
    static const struct front_cut cuts[] = {
        {.each_bytes = 1},
        {.each_bytes = 2},
        {.each_bytes = 5},
        {.each_bytes = 7},
        {.piece_count = 1, .piece_bytes = {12}},
        {.piece_count = 2, .piece_bytes = {12, 14}},
        {.piece_count = 3, .piece_bytes = {5, 5, 2}},
        {.piece_count = 4, .piece_bytes = {1, 10, 2, 12}},
        {.piece_count = 12, .piece_bytes = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
        {.piece_count = 6, .piece_bytes = {11, 2, 13, 19, 1, 7}},
    };
    static const uint16_t lens[] = {14, 15, 20, 33, 42, 60, 200, 1000, 1514};

    for (unsigned i = 0; i < 2 * CV_COUNT_OF(cuts); i++) {
        struct front_end fe;
        uint8_t frame[1514];

        if (!hostile_open(h, &fe, &h->attacker))
            return;
        hostile_drain(h, &h->probe, "probe");
        fe.rings[1].cut = cuts[i / 2];
        fe.rings[1].cut.indirect = i % 2;
        for (unsigned n = 0; n < CV_COUNT_OF(lens); n++) {
            uint32_t each = cuts[i / 2].each_bytes;

            if (each && lens[n] + 12u > 255 * each) /* more pieces than the ring has descriptors */
                continue;
            for (unsigned b = 0; b < lens[n]; b++)
                frame[b] = (uint8_t)(b * 7 + n);
            memcpy(frame, hostile_probe_mac, 6);
            memcpy(frame + 6, hostile_attacker_mac, 6);
            memcpy(frame + 12, "\x88\xb7", 2);
            hostile_expect(h, front_end_send(&fe, 0, NULL, frame, lens[n]) == 0, "cannot send");
            hostile_expect(h, arrives_intact(h, frame, lens[n]), "cut %u: frame of %u bytes", i,
                           lens[n]);
        }
        hostile_close(&fe);
    }
}

/* Chains shorter than the header, or exactly as long: a fault or a drop. */
static void chains_shorter_than_header(struct hostile *h)
{
    for (uint32_t len = 1; len <= 12 + 13; len++) {
        uint64_t faults = hostile_counter(h, "faults"), drops = hostile_counter(h, "dropped"),
                 address;
        struct front_end_options options = two_regions(h);
        struct front_end fe;

        if (!hostile_open(h, &fe, &options))
            return;
        put_frame(&fe, 100, &address);
        for (uint16_t d = 0; d < len; d++) /* one byte each, or all in one */
            front_ring_put_desc(&fe.rings[1], d, address + d, len % 2 ? 1 : len,
                                len % 2 && d + 1u < len ? NEXT : 0, d + 1);
        offer_head(&fe, 1, 0);
        if (len < 12)
            hostile_expect_fault(h, faults, "chain shorter than the header");
        else
            hostile_expect(h, hostile_await_counter(h, "dropped", drops + 1),
                           "a frame of %u bytes was not dropped", len - 12);
        hostile_close(&fe);
    }
}

/* A frame in more pieces than any frame has, up to the whole ring and the largest indirect table.
 */
static void as_many_pieces_as_possible(struct hostile *h)
{
    static const uint32_t each[] = {1, 2, 4, 6};

    for (unsigned i = 0; i < 2 * CV_COUNT_OF(each); i++) {
        struct front_end_options options = h->attacker;
        uint8_t frame[1514] = {0};
        struct front_end fe;
        size_t len;

        options.size = i % 2 ? 1024 : 256;
        if (!hostile_open(h, &fe, &options))
            return;
        hostile_drain(h, &h->probe, "probe");
        len = CV_MIN((size_t)1514, options.size * each[i / 2] - 12);
        memcpy(frame, hostile_probe_mac, 6);
        memcpy(frame + 6, hostile_attacker_mac, 6);
        for (size_t b = 14; b < len; b++)
            frame[b] = (uint8_t)b;
        fe.rings[1].cut.each_bytes = each[i / 2];
        for (unsigned n = 0; n < 20; n++) {
            hostile_expect(h, front_end_send(&fe, 0, NULL, frame, len) == 0, "cannot send");
            hostile_expect(h, arrives_intact(h, frame, len), "%zu bytes in pieces of %u", len,
                           each[i / 2]);
        }
        hostile_close(&fe);
    }
}

/* --- C9: receive buffers --- */

/* Buffers of 0 to 11 bytes cannot hold the header: a fault, merged or not. */
static void runt_receive_buffers(struct hostile *h)
{
    for (uint32_t len = 1; len < 12; len++) {
        for (unsigned mergeable = 0; mergeable < 2; mergeable++) {
            uint64_t before = hostile_counter(h, "faults"), address;
            struct front_end_options options = two_regions(h);
            struct front_end fe;

            if (!mergeable)
                options.features &= ~VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
            if (!hostile_open_unposted(h, &fe, &options))
                return;
            put_frame(&fe, 100, &address);
            for (uint16_t d = 0; d < 200; d++) {
                front_ring_put_desc(&fe.rings[0], d, address, len, WRITE, 0);
                front_ring_put_avail(&fe.rings[0], d);
            }
            front_ring_put_avail_index(&fe.rings[0], 200);
            hostile_probe_broadcast(h, 100);
            hostile_expect_fault(h, before, "receive buffer shorter than the header");
            hostile_close(&fe);
        }
    }
}

/* Buffers that hold the header and next to nothing: frames are spread over many, or dropped, never
 * more written. */
static void tiny_receive_buffers(struct hostile *h)
{
    for (uint32_t len = 12; len < 40; len += 1 + len / 16) {
        for (unsigned mergeable = 0; mergeable < 2; mergeable++) {
            struct front_end_options options = h->attacker;
            struct front_end fe;

            if (!mergeable)
                options.features &= ~VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
            if (!hostile_open_unposted(h, &fe, &options))
                return;
            fe.rings[0].post_bytes = len;
            front_ring_post(&fe.rings[0], 256);
            for (unsigned n = 0; n < 50; n++)
                hostile_probe_broadcast(h, 60 + n * 29);
            hostile_drain(h, &fe, "attacker");
            hostile_expect(h, fe.rings[0].stats.faults == 0, "buffers of %u bytes: %s", len,
                           fe.rings[0].first_fault.text);
            for (unsigned slot = 0; slot < 256; slot++)
                hostile_expect(h, fe.rings[0].slots[slot][len] == 0,
                               "written behind a buffer of %u", len);
            hostile_close(&fe);
        }
    }
}

/* --- C6: double fetch --- */

struct flipper {
    struct front_end *fe;
    bool stop;
};

/* Turns fields of descriptors and headers to and fro as fast as it can. */
static void *flip(void *context)
{
    static const uint64_t values[] = {0, 1, 11, 12, 60, 1514, 65535, UINT32_MAX};
    struct flipper *flipper = context;
    struct front_ring *ring = &flipper->fe->rings[1], *receive = &flipper->fe->rings[0];
    uint64_t random = 1;

    while (!__atomic_load_n(&flipper->stop, __ATOMIC_RELAXED)) {
        uint16_t d = (uint16_t)(random >> 33) & ring->mask;
        uint64_t value = values[(random >> 50) % CV_COUNT_OF(values)];
        uint8_t *slot = ring->slots[d];
        volatile struct front_desc *desc = &ring->desc[d], *to_us = &receive->desc[d];
        struct front_desc good = *desc;
        struct virtio_net_hdr hdr = {(uint8_t)value,
                                     (uint8_t)(value >> 1),
                                     (uint16_t)value,
                                     (uint16_t)value,
                                     (uint16_t)(value + 34),
                                     16,
                                     0};

        memcpy(slot, &hdr, sizeof(hdr));
        slot[12 + 12] = (uint8_t)random; /* the EtherType, and what follows */
        slot[12 + 14] = (uint8_t)(random >> 8);
        slot[12 + 46] = (uint8_t)(random >> 16);
        desc->len = (uint32_t)value;
        to_us->len = (uint32_t)value;
        desc->flags ^= NEXT;
        desc->next = (uint16_t)random;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        desc->len = good.len;
        desc->flags = 0;
        to_us->len = receive->options.slot_bytes;
        memset(slot, 0, sizeof(hdr));
        random = random * UINT64_C(6364136223846793005) + 1;
    }
    return NULL;
}

/* Sends bursts until time is up or the port is stopped for a fault. */
static void send_under_flips(struct front_end *fe, uint64_t deadline_ns)
{
    struct front_ring *ring = &fe->rings[1];
    unsigned idle = 0;

    while (clock_now_ns() < deadline_ns && idle < 200) {
        unsigned got = 0;

        idle = front_ring_reclaim(ring) ? 0 : idle + 1;
        for (uint8_t *frame; got < 64 && (frame = front_ring_reserve(ring)); got++) {
            memcpy(frame, hostile_probe_mac, 6);
            memcpy(frame + 6, hostile_attacker_mac, 6);
            memcpy(frame + 12, "\x08\x00\x45", 3);
            if (!front_ring_commit(ring, NULL, 60 + 97 * (got % 16)))
                break;
        }
        front_ring_publish(ring);
        if (idle > 20)
            poll(NULL, 0, 1);
    }
}

static void double_fetch(struct hostile *h)
{
    uint64_t deadline_ns = clock_now_ns() + 1500 * UINT64_C(1000000);

    while (clock_now_ns() < deadline_ns && !h->failed) {
        struct front_end fe;
        struct flipper flipper = {.fe = &fe};
        pthread_t thread;

        if (!hostile_open(h, &fe, &h->attacker))
            return;
        if (pthread_create(&thread, NULL, flip, &flipper) != 0)
            return;
        for (unsigned i = 0; i < 4; i++)
            hostile_probe_broadcast(h, 1000);
        send_under_flips(&fe, deadline_ns);
        __atomic_store_n(&flipper.stop, true, __ATOMIC_RELAXED);
        pthread_join(thread, NULL);
        hostile_close(&fe);
    }
}

const struct hostile_test ring_tests[] = {
    {"C1", "addresses of frames to send", transmit_addresses, MARK_WARNING},
    {"C1", "addresses of receive buffers", receive_addresses, MARK_WARNING},
    {"C1", "zero lengths", zero_lengths, 0},
    {"C1", "buffer over two regions", buffer_over_two_regions, 0},
    {"C6", "double fetch", double_fetch, 0},
    {"C7", "chains out of range", chains_out_of_range, MARK_WARNING},
    {"C7", "receive chains out of range", receive_chains_out_of_range, MARK_WARNING},
    {"C7", "heads and indices", heads_and_indices, MARK_WARNING},
    {"C7", "heads offered twice", heads_offered_twice, 0},
    {"C7", "indirect tables", indirect_tables, MARK_WARNING},
    {"C7", "indirect not agreed", indirect_not_agreed, MARK_WARNING},
    {"C8", "legal pieces", legal_pieces, 0},
    {"C8", "chains shorter than the header", chains_shorter_than_header, MARK_WARNING},
    {"C19", "as many pieces as possible", as_many_pieces_as_possible, 0},
    {"C9", "runt receive buffers", runt_receive_buffers, MARK_WARNING},
    {"C9", "tiny receive buffers", tiny_receive_buffers, 0},
};
const unsigned ring_test_count = CV_COUNT_OF(ring_tests);

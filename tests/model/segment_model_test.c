/*
 * Goal: the segmenter does exactly what an obvious program does on a linear buffer, for random and
 * for all small super-packets, in any pieces, for any receiver. Method: the reference below copies
 * headers and payload, writes each field with its own arithmetic and sums everything anew, byte by
 * byte; every segment must equal it in every byte. Then the receiver's view: each checksum is
 * verified, and the payloads in a row are the super-packet's payload.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "convoy/segment.h"
#include "unit/wire_frames.h"

enum { RANDOM_CASES = 6000, SEED = 20240611, ROW_MAX = 64 };

static struct wire_frame wire, part;
static struct frame super, merged[ROW_MAX];
static struct segment segment;
static uint8_t expected[70000], actual[70000], rebuilt[70000];
static uint64_t random_state;

/* xorshift64*: the same numbers on every machine. */
static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * UINT64_C(2685821657736338717)) >> 32) % limit;
}

static bool random_bit(void)
{
    return random_below(2) != 0;
}

/* The reference: segment `index` of the super-packet in `wire`; returns its length. */
static size_t reference(size_t gso_size, size_t index, bool complete)
{
    size_t all = wire.len - wire.payload;
    size_t offset = index * gso_size;
    size_t payload = offset + gso_size < all ? gso_size : all - offset;
    size_t len = wire.payload + payload;
    size_t l4_len = len - wire.l4;
    uint8_t *ip = expected + wire.l3;
    uint8_t *l4 = expected + wire.l4;
    uint8_t *field = l4 + wire_csum_offset(&wire);
    bool first = index == 0, last = offset + payload == all;
    uint32_t sum;

    memcpy(expected, wire.bytes, wire.payload);
    memcpy(expected + wire.payload, wire.bytes + wire.payload + offset, payload);
    if (wire.version == 4) {
        wire_be16(ip + 2, len - wire.l3);
        wire_be16(ip + 4, wire_get16(ip + 4) + index);
        wire_be16(ip + 10, 0);
        wire_be16(ip + 10, ~wire_sum(0, ip, wire.l4 - wire.l3));
    } else {
        wire_be16(ip + 4, len - wire.l3 - 40);
    }
    if (wire.protocol == 6) {
        uint32_t sequence = wire_get32(l4 + 4) + (uint32_t)offset;

        wire_be16(l4 + 4, sequence >> 16);
        wire_be16(l4 + 6, sequence & 0xffff);
        l4[13] &= last ? 0xff : 0xf6;
        l4[13] &= first ? 0xff : 0x7f;
    } else {
        wire_be16(l4 + 4, l4_len);
    }
    wire_be16(field, 0);
    sum = wire_pseudo_sum(ip, wire.version, wire.protocol, l4_len);
    if (complete) {
        sum = ~wire_sum(sum, l4, l4_len) & 0xffff;
        sum = sum == 0 && wire.protocol == 17 ? 0xffff : sum;
    }
    wire_be16(field, sum);
    return len;
}

/* What the receiver of `actual` would find. */
static void assert_receiver_accepts(size_t len, bool complete)
{
    const uint8_t *ip = actual + wire.l3;
    size_t l4_len = len - wire.l4;
    uint32_t sum = wire_pseudo_sum(ip, wire.version, wire.protocol, l4_len);
    const struct virtio_net_hdr *vnet = &segment.frame.vnet;

    assert_int_equal(vnet->gso_type, VNET_HDR_GSO_NONE);
    if (complete) {
        assert_int_equal(wire_sum(sum, actual + wire.l4, l4_len), 0xffff);
        assert_int_equal(vnet->flags, 0);
    } else {
        assert_int_equal(vnet->flags, VNET_HDR_F_NEEDS_CSUM);
        assert_int_equal(vnet->csum_start, wire.l4);
        assert_int_equal(vnet->csum_offset, wire_csum_offset(&wire));
    }
}

/* Cuts `super` and compares every segment with the reference and the whole with the original. */
static void cut_and_compare(size_t gso_size, unsigned offloads)
{
    bool complete = !(offloads & OFFLOAD_CSUM);
    struct segmenter segmenter;
    size_t count = 0, rebuilt_len = 0, payload = wire.len - wire.payload;

    segmenter_init(&segmenter, &super, offloads);
    while (segmenter_next(&segmenter, &segment)) {
        size_t len = segment.frame.len;

        assert_true(count * gso_size < payload);
        assert_int_equal(wire_linearise(&segment.frame, actual), len);
        assert_int_equal(reference(gso_size, count, complete), len);
        assert_memory_equal(actual, expected, len);
        assert_receiver_accepts(len, complete);
        memcpy(rebuilt + rebuilt_len, actual + wire.payload, len - wire.payload);
        rebuilt_len += len - wire.payload;
        count++;
    }
    assert_int_equal(count, (payload + gso_size - 1) / gso_size);
    assert_int_equal(count, offload_segments(&super.vnet, &super.facts, super.len));
    assert_int_equal(rebuilt_len, payload);
    assert_memory_equal(rebuilt, wire.bytes + wire.payload, payload);
}

/* Headers of any kind that fit the snapshot. */
static void random_headers(void)
{
    uint8_t protocol = random_bit() ? 6 : 17;

    wire_begin(&wire);
    for (uint32_t tags = random_below(3); tags > 0; tags--)
        wire_vlan(&wire, random_bit() ? 0x8100 : 0x88a8, random_below(4096));
    if (random_bit()) {
        wire_ipv4(&wire, protocol, random_bit() ? 0 : 4 * random_below(11));
        wire_be16(wire.bytes + wire.l3 + 4, random_below(65536));
    } else {
        wire_ipv6(&wire, protocol);
        for (uint32_t extensions = random_below(4); extensions > 0; extensions--)
            wire_extension(&wire, random_bit() ? 0 : 60, 8);
    }
    if (protocol == 6) {
        wire_tcp(&wire, (uint8_t)random_below(256), 4 * random_below(11));
        for (size_t i = 4; i < 8; i++)
            wire.bytes[wire.l4 + i] = (uint8_t)random_below(256);
    } else {
        wire_udp(&wire, random_below(65536), random_below(65536));
    }
}

/* Mostly small, sometimes as long as IP allows. */
static size_t random_payload_len(void)
{
    size_t most = 65535 - (wire.payload - wire.l3);

    switch (random_below(16)) {
    case 0:
        return most - random_below(3);
    case 1:
        return 2 + random_below((uint32_t)most - 2);
    default:
        return 2 + random_below(4000);
    }
}

/* Shows `from`, which has the headers of `wire`, in any head and pieces. */
static void random_view(const struct wire_frame *from, struct frame *ret_frame)
{
    size_t lens[FRAME_PIECES_MAX];
    size_t head_max = CV_MIN(from->len, FRAME_HEAD_BYTES_MAX);
    size_t head_len = wire.payload + random_below((uint32_t)(head_max - wire.payload) + 1);
    size_t count = random_below(FRAME_PIECES_MAX + 1);

    for (size_t i = 0; i < count; i++)
        lens[i] = random_below(4) == 0 ? random_below(3) : random_below((uint32_t)from->len);
    wire_view(from, head_len, lens, count, ret_frame);
}

/* Shows `wire` as a row, as merging leaves it: a frame for each segment's payload. */
static void random_row(size_t gso_size)
{
    for (size_t at = wire.payload; at < wire.len; at += gso_size) {
        size_t n = CV_MIN(gso_size, wire.len - at);
        struct frame *frame = at == wire.payload ? &super : &merged[super.merged_count];

        part.len = 0;
        memcpy(wire_extend(&part, wire.payload), wire.bytes, wire.payload);
        memcpy(wire_extend(&part, n), wire.bytes + at, n);
        random_view(&part, frame);
        frame_parse(frame->head, frame->head_len, wire.len, &frame->facts);
        if (frame == &super)
            continue;
        *(super.merged_count == 0 ? &super.merged_next : &super.merged_last->merged_next) = frame;
        super.merged_last = frame;
        super.merged_count++;
    }
    super.len = (uint32_t)wire.len;
}

static void unview_row(void)
{
    for (unsigned i = 0; i < super.merged_count; i++)
        wire_unview(&merged[i]);
    wire_unview(&super);
}

static void assert_accepted(void)
{
    frame_parse(super.head, super.head_len, super.len, &super.facts);
    assert_int_equal(super.facts.l4_offset, wire.l4);
    assert_int_equal(super.facts.payload_offset, wire.payload);
    assert_true(offload_check(&super.vnet, &super.facts, super.head_len, super.len));
}

/* CONVOY_TEST_SEED runs other cases; the one in use is printed. */
static void test_random_super_packets(void **state)
{
    const char *given = getenv("CONVOY_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : SEED;

    (void)state;
    print_message("CONVOY_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < RANDOM_CASES; i++) {
        size_t payload, least;
        uint16_t gso_size;

        random_state = (seed + i) * UINT64_C(0x9e3779b97f4a7c15) | 1;
        random_headers();
        payload = random_payload_len();
        wire_payload(&wire, payload, random_below(1u << 31));
        wire_finish(&wire);
        least = (payload + OFFLOAD_SEGMENTS_MAX - 1) / OFFLOAD_SEGMENTS_MAX;
        gso_size = (uint16_t)(least + random_below((uint32_t)CV_MIN(payload - least, 3000)));
        if (payload <= (size_t)gso_size * ROW_MAX && random_bit())
            random_row(gso_size);
        else
            random_view(&wire, &super);
        super.vnet = wire_hdr(&wire, gso_size);
        if (wire.protocol == 6 && random_bit())
            super.vnet.gso_type |= VNET_HDR_GSO_ECN;
        assert_accepted();
        cut_and_compare(gso_size, random_below(64));
        unview_row();
    }
}

/* Every payload up to 33 bytes, every gso_size, every border of head and pieces. */
static void test_all_small_super_packets(void **state)
{
    (void)state;
    for (size_t payload = 2; payload <= 33; payload++) {
        wire_begin(&wire);
        wire_ipv4(&wire, payload % 2 ? 6 : 17, 0);
        if (payload % 2)
            wire_tcp(&wire, 0xff, 0);
        else
            wire_udp(&wire, 1, 2);
        wire_payload(&wire, payload, (uint32_t)payload);
        wire_finish(&wire);
        for (size_t gso_size = 1; gso_size < payload; gso_size++) {
            for (size_t in_head = 0; in_head <= payload; in_head += 3) {
                const size_t lens[3] = {payload / 3, 1, 2};

                wire_view(&wire, wire.payload + in_head, lens, 1 + gso_size % 3, &super);
                super.vnet = wire_hdr(&wire, (uint16_t)gso_size);
                assert_accepted();
                cut_and_compare(gso_size, 0);
                cut_and_compare(gso_size, OFFLOAD_CSUM);
                wire_unview(&super);
            }
        }
    }
}

/* Plain frames with a checksum anywhere behind the headers, in any pieces. */
static void test_random_checksums(void **state)
{
    (void)state;
    random_state = SEED;
    for (unsigned i = 0; i < RANDOM_CASES; i++) {
        struct segmenter segmenter;
        size_t start, field;
        uint32_t sum;

        random_headers();
        wire_payload(&wire, 2 + random_below(600), i + 1);
        wire_finish(&wire);
        random_view(&wire, &super);
        frame_parse(super.head, super.head_len, super.len, &super.facts);
        start = wire.l4 + random_below((uint32_t)(wire.len - wire.l4 - 1));
        field = start + random_below((uint32_t)(wire.len - start - 1));
        super.vnet = (struct virtio_net_hdr){.flags = VNET_HDR_F_NEEDS_CSUM,
                                             .csum_start = (uint16_t)start,
                                             .csum_offset = (uint16_t)(field - start)};
        assert_true(offload_check(&super.vnet, &super.facts, super.head_len, super.len));
        memcpy(expected, wire.bytes, wire.len);
        sum = ~wire_sum(0, wire.bytes + start, wire.len - start) & 0xffff;
        wire_be16(expected + field, sum == 0 && field - start == 6 ? 0xffff : sum);

        segmenter_init(&segmenter, &super, random_below(64) & ~(unsigned)OFFLOAD_CSUM);
        assert_true(segmenter_next(&segmenter, &segment));
        assert_int_equal(wire_linearise(&segment.frame, actual), wire.len);
        assert_memory_equal(actual, expected, wire.len);
        assert_false(segmenter_next(&segmenter, &segment));
        wire_unview(&super);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_super_packets),
        cmocka_unit_test(test_all_small_super_packets),
        cmocka_unit_test(test_random_checksums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Goal: no virtio-net header passes that does not fit its frame (threat C10), and what passes is
 * rewritten to what was understood. Method: honest headers of every kind, then each field alone set
 * to each of its 65536 or 256 values, against the rule written out once more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/wire_frames.h"
#include "wire/offload.h"

static struct wire_frame wire;

static struct frame_facts facts_of(size_t head_len)
{
    struct frame_facts facts;

    frame_parse(wire.bytes, CV_MIN(wire.len, head_len), wire.len, &facts);
    return facts;
}

static bool check(struct virtio_net_hdr *hdr)
{
    struct frame_facts facts = facts_of(FRAME_HEAD_BYTES_MAX);

    return offload_check(hdr, &facts, CV_MIN(wire.len, FRAME_HEAD_BYTES_MAX), wire.len);
}

static void build(unsigned version, uint8_t protocol, size_t payload)
{
    wire_begin(&wire);
    if (version == 4)
        wire_ipv4(&wire, protocol, 0);
    else
        wire_ipv6(&wire, protocol);
    if (protocol == 6)
        wire_tcp(&wire, 0x10, 12);
    else
        wire_udp(&wire, 1, 2);
    wire_payload(&wire, payload, 1);
    wire_finish(&wire);
}

static void test_nothing_asked(void **state)
{
    struct virtio_net_hdr hdr = {.hdr_len = 0xffff,
                                 .gso_size = 7,
                                 .csum_start = 0xffff,
                                 .csum_offset = 0xffff,
                                 .num_buffers = 9};
    struct frame_facts facts;

    (void)state;
    build(4, 17, 10);
    assert_true(check(&hdr));
    facts = facts_of(FRAME_HEAD_BYTES_MAX);
    assert_int_equal(hdr.flags, 0);
    assert_int_equal(hdr.hdr_len, 42);
    assert_int_equal(hdr.gso_size, 0);
    assert_int_equal(hdr.csum_start, 0);
    assert_int_equal(hdr.csum_offset, 0);
    assert_int_equal(hdr.num_buffers, 0);
    assert_int_equal(offload_needs(&hdr, &facts), 0);
    assert_int_equal(offload_segments(&hdr, &facts, wire.len), 1);
}

static void test_unknown_flags_are_cleared(void **state)
{
    (void)state;
    build(4, 17, 10);
    for (unsigned flags = 0; flags < 256; flags++) {
        struct virtio_net_hdr hdr = wire_hdr(&wire, 0);

        hdr.flags = (uint8_t)flags;
        assert_true(check(&hdr));
        assert_int_equal(hdr.flags, flags & 3);
    }
}

static void test_malformed_frame(void **state)
{
    struct virtio_net_hdr hdr = {0};

    (void)state;
    for (wire.len = 0; wire.len < 14; wire.len++)
        assert_false(check(&hdr));
}

/* Any place is good as long as it lies behind the headers that were believed and in the frame. */
static void test_csum_start(void **state)
{
    (void)state;
    build(4, 17, 500);
    for (unsigned start = 0; start <= 0xffff; start++) {
        struct virtio_net_hdr hdr = wire_hdr(&wire, 0);

        hdr.csum_start = (uint16_t)start;
        assert_int_equal(check(&hdr), start >= 34 && start + 6 + 2 <= wire.len);
    }
}

static void test_csum_offset(void **state)
{
    (void)state;
    build(6, 17, 500);
    for (unsigned offset = 0; offset <= 0xffff; offset++) {
        struct virtio_net_hdr hdr = wire_hdr(&wire, 0);

        hdr.csum_offset = (uint16_t)offset;
        assert_int_equal(check(&hdr), 54 + offset + 2 <= wire.len);
        if (54 + offset + 2 <= wire.len)
            assert_int_equal(hdr.csum_offset, offset);
    }
}

/* Without a transport header that we know, the sum still stays off Ethernet and VLAN tags. */
static void test_csum_floor_of_unknown_frames(void **state)
{
    (void)state;
    wire_begin(&wire);
    wire_vlan(&wire, 0x8100, 1);
    wire_vlan(&wire, 0x8100, 2);
    wire_be16(wire.bytes + wire.type_at, 0x88b5);
    wire_payload(&wire, 100, 1);
    for (unsigned start = 0; start < 200; start++) {
        struct virtio_net_hdr hdr = {.flags = VNET_HDR_F_NEEDS_CSUM, .csum_start = (uint16_t)start};

        assert_int_equal(check(&hdr), start >= 22 && start + 2 <= wire.len);
    }
}

/* A tunnel's inner checksum, far behind the head. */
static void test_tunnel_csum_behind_head(void **state)
{
    struct virtio_net_hdr hdr = {.flags = VNET_HDR_F_NEEDS_CSUM, .csum_offset = 16};
    struct frame_facts facts;

    (void)state;
    wire_begin(&wire);
    wire_ipv4(&wire, 47, 0);
    wire_payload(&wire, 1000, 1);
    wire_finish(&wire);
    hdr.csum_start = 900;
    assert_true(check(&hdr));
    facts = facts_of(FRAME_HEAD_BYTES_MAX);
    assert_int_equal(offload_needs(&hdr, &facts), OFFLOAD_CSUM);
    assert_int_equal(hdr.hdr_len, 0);
}

static void test_needs_of_every_kind(void **state)
{
    static const struct {
        unsigned version;
        uint8_t protocol;
        bool ecn;
        unsigned needs;
    } kinds[] = {
        {4, 6, false, OFFLOAD_CSUM | OFFLOAD_TSO4},
        {4, 6, true, OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_ECN},
        {6, 6, false, OFFLOAD_CSUM | OFFLOAD_TSO6},
        {6, 6, true, OFFLOAD_CSUM | OFFLOAD_TSO6 | OFFLOAD_ECN},
        {4, 17, false, OFFLOAD_CSUM | OFFLOAD_USO4},
        {6, 17, false, OFFLOAD_CSUM | OFFLOAD_USO6},
    };

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(kinds); i++) {
        struct virtio_net_hdr hdr;
        struct frame_facts facts;

        build(kinds[i].version, kinds[i].protocol, 4001);
        hdr = wire_hdr(&wire, 1000);
        hdr.gso_type |= kinds[i].ecn ? VNET_HDR_GSO_ECN : 0;
        hdr.hdr_len = 3;
        assert_true(check(&hdr));
        facts = facts_of(FRAME_HEAD_BYTES_MAX);
        assert_int_equal(offload_needs(&hdr, &facts), kinds[i].needs);
        assert_int_equal(offload_segments(&hdr, &facts, wire.len), 5);
        assert_int_equal(hdr.hdr_len, wire.payload);
    }
}

/* Each of the 256 types on each kind of frame: the type must name the frame's own protocols. */
static void test_every_gso_type(void **state)
{
    (void)state;
    for (unsigned version = 4; version <= 6; version += 2) {
        for (unsigned protocol = 6; protocol <= 17; protocol += 11) {
            unsigned right = protocol == 17 ? 5 : version == 4 ? 1 : 4;

            build(version, (uint8_t)protocol, 4000);
            for (unsigned type = 0; type < 256; type++) {
                struct virtio_net_hdr hdr = wire_hdr(&wire, 1000);
                bool tcp_with_ecn = protocol == 6 && type == (right | 0x80);

                hdr.gso_type = (uint8_t)type;
                assert_int_equal(check(&hdr), type == 0 || type == right || tcp_with_ecn);
            }
        }
    }
}

static void test_every_gso_size(void **state)
{
    enum { PAYLOAD = 40000 };

    (void)state;
    for (unsigned version = 4; version <= 6; version += 2) {
        build(version, 6, PAYLOAD);
        for (unsigned size = 0; size <= 0xffff; size++) {
            struct virtio_net_hdr hdr = wire_hdr(&wire, 1);
            unsigned segments = size == 0 ? 0 : (PAYLOAD + size - 1) / size;
            bool good = segments >= 1 && segments <= OFFLOAD_SEGMENTS_MAX;

            hdr.gso_size = (uint16_t)size;
            assert_int_equal(check(&hdr), good);
            if (good && segments == 1) {
                assert_int_equal(hdr.gso_type, VNET_HDR_GSO_NONE);
                assert_int_equal(hdr.gso_size, 0);
                assert_int_equal(hdr.flags, VNET_HDR_F_NEEDS_CSUM);
            }
        }
    }
}

static void test_most_segments(void **state)
{
    (void)state;
    for (size_t payload = OFFLOAD_SEGMENTS_MAX - 1; payload <= OFFLOAD_SEGMENTS_MAX + 1;
         payload++) {
        struct virtio_net_hdr hdr;

        build(4, 17, payload);
        hdr = wire_hdr(&wire, 1);
        assert_int_equal(check(&hdr), payload <= OFFLOAD_SEGMENTS_MAX);
    }
}

static void test_gso_needs_its_own_csum(void **state)
{
    (void)state;
    build(4, 6, 3000);
    for (unsigned value = 0; value <= 0xffff; value++) {
        struct virtio_net_hdr hdr = wire_hdr(&wire, 1000);

        hdr.csum_start = (uint16_t)value;
        assert_int_equal(check(&hdr), value == wire.l4);
        hdr = wire_hdr(&wire, 1000);
        hdr.csum_offset = (uint16_t)value;
        assert_int_equal(check(&hdr), value == 16);
        hdr = wire_hdr(&wire, 1000);
        hdr.hdr_len = (uint16_t)value; /* never believed */
        assert_true(check(&hdr));
        assert_int_equal(hdr.hdr_len, wire.payload);
    }
    for (unsigned flags = 0; flags < 256; flags++) {
        struct virtio_net_hdr hdr = wire_hdr(&wire, 1000);

        hdr.flags = (uint8_t)flags;
        assert_int_equal(check(&hdr), flags & VNET_HDR_F_NEEDS_CSUM);
    }
}

static void test_gso_needs_whole_headers_in_head(void **state)
{
    (void)state;
    build(6, 6, 3000);
    for (size_t head_len = 0; head_len <= 192; head_len++) {
        struct virtio_net_hdr hdr = wire_hdr(&wire, 1000);
        struct frame_facts facts = facts_of(head_len);

        assert_int_equal(offload_check(&hdr, &facts, head_len, wire.len), head_len >= wire.payload);
        /* nor is it enough that the facts were read from more than the snapshot holds */
        hdr = wire_hdr(&wire, 1000);
        facts = facts_of(FRAME_HEAD_BYTES_MAX);
        assert_int_equal(offload_check(&hdr, &facts, head_len, wire.len), head_len >= wire.payload);
    }
}

static void test_gso_on_fragment_and_extension(void **state)
{
    struct virtio_net_hdr hdr;

    (void)state;
    build(4, 6, 3000);
    wire_be16(wire.bytes + 20, 0x2000);
    hdr = wire_hdr(&wire, 1000);
    assert_false(check(&hdr));
    wire_begin(&wire);
    wire_ipv6(&wire, 17);
    wire_extension(&wire, 60, 16);
    wire_udp(&wire, 1, 2);
    wire_payload(&wire, 3000, 1);
    wire_finish(&wire);
    hdr = wire_hdr(&wire, 1000);
    assert_true(check(&hdr));
}

/* Padding behind the IP packet would be cut into payload; a frame of one segment may have it. */
static void test_gso_with_trailer(void **state)
{
    struct virtio_net_hdr hdr;

    (void)state;
    build(4, 6, 3000);
    wire_payload(&wire, 1, 1);
    hdr = wire_hdr(&wire, 1000);
    assert_false(check(&hdr));
    hdr = wire_hdr(&wire, 4000);
    assert_true(check(&hdr));
    assert_int_equal(hdr.gso_type, VNET_HDR_GSO_NONE);
}

/* The longest super-packet that IP's length fields can name passes, one byte more does not. */
static void test_gso_longest(void **state)
{
    (void)state;
    for (unsigned version = 4; version <= 6; version += 2) {
        size_t headers = version == 4 ? 20 : 0;

        for (size_t more = 0; more < 3; more++) {
            struct virtio_net_hdr hdr;
            struct frame_facts facts;

            build(version, 6, 65535 - headers - 32 + more);
            hdr = wire_hdr(&wire, 1448);
            facts = facts_of(FRAME_HEAD_BYTES_MAX);
            assert_int_equal(offload_check(&hdr, &facts, FRAME_HEAD_BYTES_MAX, wire.len),
                             more == 0);
        }
    }
}

static void test_empty_payload(void **state)
{
    struct virtio_net_hdr hdr;

    (void)state;
    build(4, 6, 0);
    hdr = wire_hdr(&wire, 1000);
    assert_true(check(&hdr));
    assert_int_equal(hdr.gso_type, VNET_HDR_GSO_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_asked),
        cmocka_unit_test(test_unknown_flags_are_cleared),
        cmocka_unit_test(test_malformed_frame),
        cmocka_unit_test(test_csum_start),
        cmocka_unit_test(test_csum_offset),
        cmocka_unit_test(test_csum_floor_of_unknown_frames),
        cmocka_unit_test(test_tunnel_csum_behind_head),
        cmocka_unit_test(test_needs_of_every_kind),
        cmocka_unit_test(test_every_gso_type),
        cmocka_unit_test(test_every_gso_size),
        cmocka_unit_test(test_most_segments),
        cmocka_unit_test(test_gso_needs_its_own_csum),
        cmocka_unit_test(test_gso_needs_whole_headers_in_head),
        cmocka_unit_test(test_gso_on_fragment_and_extension),
        cmocka_unit_test(test_gso_with_trailer),
        cmocka_unit_test(test_gso_longest),
        cmocka_unit_test(test_empty_payload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

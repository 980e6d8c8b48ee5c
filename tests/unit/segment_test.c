/*
 * Goal: what a receiver did not negotiate is done for it: cutting (RFC 9293 sequence numbers, FIN
 * and PSH on the last segment, CWR on the first, IP ids and lengths) and checksums, wherever in
 * head and pieces these lie; rows of merged frames too. Method: frames made by hand, expectations
 * written out; the model test does the same for random ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "convoy/segment.h"
#include "unit/wire_frames.h"

static struct wire_frame wire;
static struct frame super, merged[8];
static struct segment segment;
static uint8_t bytes[70000]; /* the segment in one row */

/* Shows `wire` as `super`, parsed and checked as the receive side does it. */
static void view_super(size_t head_len, const size_t *lens, size_t lens_count, uint16_t gso_size)
{
    wire_view(&wire, head_len, lens, lens_count, &super);
    frame_parse(super.head, super.head_len, super.len, &super.facts);
    super.vnet = wire_hdr(&wire, gso_size);
    assert_true(offload_check(&super.vnet, &super.facts, super.head_len, super.len));
}

/* The next segment, whatever lies in its memory before. After the last nothing is written. */
static bool next(struct segmenter *segmenter)
{
    static struct segment last, garbage;

    memcpy(&last, &segment, sizeof(segment));
    memset(&segment, 0xa5, sizeof(segment));
    memset(&garbage, 0xa5, sizeof(garbage));
    if (!segmenter_next(segmenter, &segment)) {
        assert_memory_equal(&segment, &garbage, sizeof(segment));
        memcpy(&segment, &last, sizeof(segment));
        return false;
    }
    for (unsigned i = 0; i < segment.frame.piece_count; i++)
        assert_true(segment.frame.pieces[i].iov_len > 0);
    assert_int_equal(wire_linearise(&segment.frame, bytes), segment.frame.len);
    return true;
}

/*
 * Shows `wire` as a row, as merging leaves it: `super` with the first segment's payload, and a
 * frame for each of the others, with `in_head` bytes of payload in every head.
 */
static void view_row(size_t in_head, const size_t *lens, size_t lens_count, uint16_t gso_size)
{
    static struct wire_frame part;

    for (size_t at = wire.payload; at < wire.len; at += gso_size) {
        size_t n = CV_MIN(gso_size, wire.len - at);
        struct frame *frame = at == wire.payload ? &super : &merged[super.merged_count];

        part.len = 0;
        memcpy(wire_extend(&part, wire.payload), wire.bytes, wire.payload);
        memcpy(wire_extend(&part, n), wire.bytes + at, n);
        wire_view(&part, wire.payload + CV_MIN(in_head, n), lens, lens_count, frame);
        frame_parse(frame->head, frame->head_len, wire.len, &frame->facts);
        if (frame == &super)
            continue;
        *(super.merged_count == 0 ? &super.merged_next : &super.merged_last->merged_next) = frame;
        super.merged_last = frame;
        super.merged_count++;
    }
    super.len = (uint32_t)wire.len;
    super.vnet = wire_hdr(&wire, gso_size);
    assert_true(offload_check(&super.vnet, &super.facts, super.head_len, super.len));
}

static void unview_row(void)
{
    for (unsigned i = 0; i < super.merged_count; i++)
        wire_unview(&merged[i]);
    wire_unview(&super);
}

/* The transport checksum of the segment in `bytes` is what a receiver would accept. */
static void assert_checksums(bool complete)
{
    const uint8_t *ip = bytes + wire.l3;
    size_t l4_len = segment.frame.len - wire.l4;
    uint32_t pseudo = wire_pseudo_sum(ip, wire.version, wire.protocol, l4_len);

    if (wire.version == 4)
        assert_int_equal(wire_sum(0, ip, wire.l4 - wire.l3), 0xffff);
    if (complete)
        assert_int_equal(wire_sum(pseudo, bytes + wire.l4, l4_len), 0xffff);
    else
        assert_int_equal(wire_get16(bytes + wire.l4 + wire_csum_offset(&wire)), pseudo);
}

static void assert_no_wishes(void)
{
    static const struct virtio_net_hdr none;

    assert_memory_equal(&segment.frame.vnet, &none, sizeof(none));
}

static void test_fits(void **state)
{
    (void)state;
    wire_begin(&wire);
    wire_ipv4(&wire, 6, 0);
    wire_tcp(&wire, 0x90, 0);
    wire_payload(&wire, 3000, 1);
    wire_finish(&wire);
    view_super(100, NULL, 0, 1000);
    assert_true(segment_fits(&super, OFFLOAD_CSUM | OFFLOAD_TSO4));
    assert_false(segment_fits(&super, OFFLOAD_CSUM | OFFLOAD_TSO6 | OFFLOAD_USO4));
    assert_false(segment_fits(&super, OFFLOAD_TSO4));
    super.vnet.gso_type |= VNET_HDR_GSO_ECN;
    assert_false(segment_fits(&super, OFFLOAD_CSUM | OFFLOAD_TSO4));
    assert_true(segment_fits(&super, OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_ECN));
    super.vnet = (struct virtio_net_hdr){0};
    assert_true(segment_fits(&super, 0));
    wire_unview(&super);
}

/* Three TCP segments with every flag set, ids and sequence numbers that wrap. */
static void cut_tcp(unsigned offloads, size_t head_len, const size_t *lens, size_t lens_count)
{
    static const uint8_t flags[3] = {0xf6, 0x76, 0x7f}; /* CWR first; PSH and FIN last */
    struct segmenter segmenter;

    wire_begin(&wire);
    wire_vlan(&wire, 0x8100, 3);
    wire_ipv4(&wire, 6, 8);
    wire_tcp(&wire, 0xff, 12);
    wire_payload(&wire, 2500, 1);
    wire_finish(&wire);
    view_super(head_len, lens, lens_count, 1000);
    segmenter_init(&segmenter, &super, offloads);
    for (uint32_t i = 0; i < 3; i++) {
        size_t payload = i < 2 ? 1000 : 500;

        assert_true(next(&segmenter));
        assert_int_equal(segment.frame.len, wire.payload + payload);
        assert_memory_equal(bytes, wire.bytes, wire.l3 + 2);
        assert_int_equal(wire_get16(bytes + wire.l3 + 2), segment.frame.len - wire.l3);
        assert_int_equal(wire_get16(bytes + wire.l3 + 4), (0xfffe + i) & 0xffff);
        assert_memory_equal(bytes + wire.l4, wire.bytes + wire.l4, 4);
        assert_int_equal(wire_get32(bytes + wire.l4 + 4), 0xfffff000u + 1000 * i);
        assert_int_equal(bytes[wire.l4 + 13], flags[i]);
        assert_memory_equal(bytes + wire.payload, wire.bytes + wire.payload + 1000 * i, payload);
        assert_checksums(!(offloads & OFFLOAD_CSUM));
        if (!(offloads & OFFLOAD_CSUM))
            assert_no_wishes();
    }
    assert_false(next(&segmenter));
    assert_false(next(&segmenter));
    wire_unview(&super);
}

static void test_tcp_for_receiver_of_nothing(void **state)
{
    static const size_t lens[] = {0, 1, 700, 0, 3, 999, 1};

    (void)state;
    cut_tcp(0, 192, NULL, 0);
    cut_tcp(0, 192, lens, CV_COUNT_OF(lens));
    cut_tcp(0, 18 + 28 + 32, lens, CV_COUNT_OF(lens));
    cut_tcp(0, 18 + 28 + 33, lens, CV_COUNT_OF(lens));
}

static void test_tcp_for_receiver_of_checksums(void **state)
{
    (void)state;
    cut_tcp(OFFLOAD_CSUM, 192, NULL, 0);
    assert_int_equal(segment.frame.vnet.flags, VNET_HDR_F_NEEDS_CSUM);
    assert_int_equal(segment.frame.vnet.gso_type, VNET_HDR_GSO_NONE);
    assert_int_equal(segment.frame.vnet.gso_size, 0);
    assert_int_equal(segment.frame.vnet.csum_start, wire.l4);
    assert_int_equal(segment.frame.vnet.csum_offset, 16);
    cut_tcp(OFFLOAD_TSO4, 192, NULL, 0); /* no CSUM: TSO means nothing */
    assert_no_wishes();
}

/* All of a small super-packet's payload lies in the snapshot; there is no piece at all. */
static void test_payload_in_snapshot(void **state)
{
    struct segmenter segmenter;
    unsigned count = 0;

    (void)state;
    wire_begin(&wire);
    wire_ipv6(&wire, 17);
    wire_udp(&wire, 1, 2);
    wire_payload(&wire, 100, 1);
    wire_finish(&wire);
    view_super(wire.len, NULL, 0, 7);
    super.piece_count = 0;
    segmenter_init(&segmenter, &super, 0);
    for (; next(&segmenter); count++) {
        assert_int_equal(segment.frame.piece_count, 0);
        assert_memory_equal(bytes + wire.payload, wire.bytes + wire.payload + 7 * count,
                            segment.frame.len - wire.payload);
        assert_checksums(true);
    }
    assert_int_equal(count, 15);
    super.piece_count = 1;
    wire_unview(&super);
}

/* UDP over IPv6 with extension headers: both length fields, and the last datagram shorter. */
static void test_udp_behind_extensions(void **state)
{
    struct segmenter segmenter;

    (void)state;
    wire_begin(&wire);
    wire_ipv6(&wire, 17);
    wire_extension(&wire, 0, 8);
    wire_extension(&wire, 60, 24);
    wire_udp(&wire, 1, 2);
    wire_payload(&wire, 1201, 1);
    wire_finish(&wire);
    for (unsigned offloads = 0; offloads <= OFFLOAD_CSUM; offloads += OFFLOAD_CSUM) {
        view_super(150, NULL, 0, 400);
        segmenter_init(&segmenter, &super, offloads);
        for (unsigned i = 0; i < 4; i++) {
            size_t payload = i < 3 ? 400 : 1;

            assert_true(next(&segmenter));
            assert_int_equal(wire_get16(bytes + wire.l3 + 4), 32 + 8 + payload);
            assert_int_equal(wire_get16(bytes + wire.l4 + 4), 8 + payload);
            assert_memory_equal(bytes + wire.payload, wire.bytes + wire.payload + 400 * i, payload);
            assert_checksums(offloads == 0);
        }
        assert_false(next(&segmenter));
        wire_unview(&super);
    }
}

/*
 * With a routing header the pseudo-header holds the final destination (RFC 8200, 8.1), which is not
 * in the IPv6 header. Only the sender's own sum knows it: it must survive the cut.
 */
static void test_pseudo_header_of_routing_header(void **state)
{
    static const uint8_t final[16] = {0xfd, 9, 9, 9, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8};
    struct segmenter segmenter;
    uint8_t ip[40];

    (void)state;
    wire_begin(&wire);
    wire_ipv6(&wire, 6);
    wire_extension(&wire, 43, 24);
    wire_tcp(&wire, 0x10, 0);
    wire_payload(&wire, 900, 1);
    wire_finish(&wire);
    memcpy(ip, wire.bytes + wire.l3, sizeof(ip));
    memcpy(ip + 24, final, sizeof(final));
    wire_be16(wire.bytes + wire.l4 + 16, wire_pseudo_sum(ip, 6, 6, wire.len - wire.l4));
    view_super(192, NULL, 0, 300);
    segmenter_init(&segmenter, &super, 0);
    while (next(&segmenter)) {
        size_t l4_len = segment.frame.len - wire.l4;

        assert_int_equal(wire_sum(wire_pseudo_sum(ip, 6, 6, l4_len), bytes + wire.l4, l4_len),
                         0xffff);
    }
    wire_unview(&super);
}

/* A plain frame goes through whole; only the wish for a checksum is done or handed on. */
static void test_plain_frame(void **state)
{
    static const size_t lens[] = {10, 0, 21};
    struct segmenter segmenter;

    (void)state;
    wire_begin(&wire);
    wire_ipv4(&wire, 17, 0);
    wire_udp(&wire, 1, 2);
    wire_payload(&wire, 333, 1);
    wire_finish(&wire);
    view_super(60, lens, CV_COUNT_OF(lens), 0);
    segmenter_init(&segmenter, &super, OFFLOAD_CSUM);
    assert_true(next(&segmenter));
    assert_int_equal(segment.frame.len, wire.len);
    assert_memory_equal(bytes, wire.bytes, wire.len);
    assert_memory_equal(&segment.frame.vnet, &super.vnet, sizeof(super.vnet));
    assert_false(next(&segmenter));

    segmenter_init(&segmenter, &super, 0);
    assert_true(next(&segmenter));
    assert_checksums(true);
    assert_no_wishes();
    assert_false(next(&segmenter));
    wire_unview(&super);
}

/* A receiver without checksum offload must see no flag at all (virtio 1.2, 5.1.6.4.1). */
static void test_data_valid(void **state)
{
    struct segmenter segmenter;

    (void)state;
    wire_begin(&wire);
    wire_payload(&wire, 100, 1);
    wire_view(&wire, 100, NULL, 0, &super);
    frame_parse(super.head, super.head_len, super.len, &super.facts);
    super.vnet = (struct virtio_net_hdr){.flags = VNET_HDR_F_DATA_VALID};
    assert_true(offload_check(&super.vnet, &super.facts, super.head_len, super.len));
    segmenter_init(&segmenter, &super, 0);
    assert_true(next(&segmenter));
    assert_no_wishes();
    assert_memory_equal(bytes, wire.bytes, wire.len);
    segmenter_init(&segmenter, &super, OFFLOAD_CSUM);
    assert_true(next(&segmenter));
    assert_int_equal(segment.frame.vnet.flags, VNET_HDR_F_DATA_VALID);
    wire_unview(&super);
}

/* Sums to zero: stored as all ones for UDP (RFC 768), as it is for TCP. */
static void test_zero_sum(void **state)
{
    (void)state;
    for (unsigned protocol = 6; protocol <= 17; protocol += 11) {
        struct segmenter segmenter;
        uint32_t sum;

        wire_begin(&wire);
        wire_ipv4(&wire, (uint8_t)protocol, 0);
        if (protocol == 6)
            wire_tcp(&wire, 0x10, 0);
        else
            wire_udp(&wire, 1, 2);
        wire_payload(&wire, 10, 1);
        wire_be16(wire.bytes + wire.payload, 0);
        wire_finish(&wire);
        sum = wire_sum(0, wire.bytes + wire.l4, wire.len - wire.l4);
        wire_be16(wire.bytes + wire.payload, ~sum);
        view_super(wire.len, NULL, 0, 0);
        segmenter_init(&segmenter, &super, 0);
        assert_true(next(&segmenter));
        assert_checksums(true);
        assert_int_equal(wire_get16(bytes + wire.l4 + wire_csum_offset(&wire)),
                         protocol == 17 ? 0xffff : 0);
        wire_unview(&super);
    }
}

/*
 * A checksum at every place of a tunnelled packet: in the head, across its end, in a piece, across
 * two pieces, at the very end of the frame. Only its two bytes change, and nothing of the sender's.
 */
static void test_checksum_anywhere(void **state)
{
    static const size_t lens[] = {7, 1, 0, 1, 30};
    enum { START = 40 };

    (void)state;
    for (size_t field = START; field + 2 <= 34 + 120; field++) {
        struct segmenter segmenter;
        uint32_t sum;

        wire_begin(&wire);
        wire_ipv4(&wire, 47, 0);
        wire_payload(&wire, 120, (uint32_t)field);
        wire_finish(&wire);
        wire_view(&wire, 60, lens, CV_COUNT_OF(lens), &super);
        frame_parse(super.head, super.head_len, super.len, &super.facts);
        super.vnet = (struct virtio_net_hdr){.flags = VNET_HDR_F_NEEDS_CSUM,
                                             .csum_start = START,
                                             .csum_offset = (uint16_t)(field - START)};
        assert_true(offload_check(&super.vnet, &super.facts, super.head_len, super.len));
        sum = ~wire_sum(0, wire.bytes + START, wire.len - START) & 0xffff;

        segmenter_init(&segmenter, &super, 0);
        assert_true(next(&segmenter));
        assert_int_equal(segment.frame.len, wire.len);
        assert_int_equal(wire_get16(bytes + field), sum);
        assert_memory_equal(bytes, wire.bytes, field);
        assert_memory_equal(bytes + field + 2, wire.bytes + field + 2, wire.len - field - 2);
        assert_no_wishes();
        assert_int_equal(wire_linearise(&super, bytes), wire.len);
        assert_memory_equal(bytes, wire.bytes, wire.len);
        wire_unview(&super);
    }
}

/* The sum starts behind the head, in the middle of a piece, at an odd byte. */
static void test_sum_starts_in_pieces(void **state)
{
    static const size_t lens[] = {7, 11, 1, 30};

    (void)state;
    for (size_t start = 50; start < 120; start++) {
        struct segmenter segmenter;

        wire_begin(&wire);
        wire_ipv4(&wire, 47, 0);
        wire_payload(&wire, 100, (uint32_t)start);
        wire_finish(&wire);
        wire_view(&wire, 60, lens, CV_COUNT_OF(lens), &super);
        frame_parse(super.head, super.head_len, super.len, &super.facts);
        super.vnet = (struct virtio_net_hdr){
            .flags = VNET_HDR_F_NEEDS_CSUM, .csum_start = (uint16_t)start, .csum_offset = 4};
        assert_true(offload_check(&super.vnet, &super.facts, super.head_len, super.len));
        segmenter_init(&segmenter, &super, 0);
        assert_true(next(&segmenter));
        assert_int_equal(wire_get16(bytes + start + 4),
                         ~wire_sum(0, wire.bytes + start, wire.len - start) & 0xffff);
        wire_unview(&super);
    }
}

/*
 * A row is cut into what its frames hold, wherever that lies, and no segment is a row itself. The
 * payload must come from the frames that were merged: each has memory of its own here.
 */
static void test_row(void **state)
{
    static const size_t lens[] = {0, 1, 300, 0, 3};
    struct segmenter segmenter;

    (void)state;
    for (unsigned i = 0; i < 8 * 6; i++) {
        size_t lens_count = i % 6, payload = i % 2 ? 2500 : 3000;
        unsigned offloads = i & 8 ? OFFLOAD_CSUM | OFFLOAD_TSO6 : 0;

        wire_begin(&wire);
        wire_ipv6(&wire, 6);
        wire_tcp(&wire, 0x99, 12); /* CWR, ACK, PSH and FIN */
        wire_payload(&wire, payload, i);
        wire_finish(&wire);
        view_row(i / 6 * 13, lens, lens_count, 1000);
        assert_int_equal(super.merged_count, 2);
        super.checksum_is_good = true;
        super.arrived_ns = 77;
        segmenter_init(&segmenter, &super, offloads);
        for (uint32_t n = 0; n < 3; n++) {
            assert_true(next(&segmenter));
            assert_int_equal(segment.frame.len - wire.payload, CV_MIN(1000, payload - 1000 * n));
            assert_memory_equal(bytes + wire.payload, wire.bytes + wire.payload + 1000 * n,
                                segment.frame.len - wire.payload);
            assert_int_equal(wire_get32(bytes + wire.l4 + 4), 0xfffff000u + 1000 * n);
            assert_int_equal(bytes[wire.l4 + 13], n == 0 ? 0x90 : n == 1 ? 0x10 : 0x19);
            assert_checksums(!(offloads & OFFLOAD_CSUM));
            assert_int_equal(segment.frame.merged_count, 0);
            assert_null(segment.frame.merged_next);
            assert_null(segment.frame.merged_last);
            assert_false(segment.frame.is_shared || segment.frame.checksum_is_good);
            assert_int_equal(segment.frame.arrived_ns, 77);
        }
        assert_false(next(&segmenter));
        unview_row();
    }
}

/* As many pieces as a frame of a row may have: each segment has the room. */
static void test_row_of_most_pieces(void **state)
{
    size_t lens[FRAME_PIECES_MAX];
    struct segmenter segmenter;

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(lens); i++)
        lens[i] = 5;
    wire_begin(&wire);
    wire_ipv4(&wire, 17, 0);
    wire_udp(&wire, 1, 2);
    wire_payload(&wire, 400, 1);
    wire_finish(&wire);
    view_row(0, lens, CV_COUNT_OF(lens), 100);
    segmenter_init(&segmenter, &super, 0);
    for (size_t n = 0; n < 4; n++) {
        assert_true(next(&segmenter));
        assert_int_equal(segment.frame.piece_count, FRAME_PIECES_MAX);
        assert_memory_equal(bytes + wire.payload, wire.bytes + wire.payload + 100 * n, 100);
        assert_int_equal(wire_get16(bytes + wire.l4 + 4), 108);
        assert_checksums(true);
    }
    assert_false(next(&segmenter));
    unview_row();
}

/* As many pieces as a frame may have, and a checksum inside one of them: the two spares are enough.
 */
static void test_most_pieces(void **state)
{
    size_t lens[FRAME_PIECES_MAX];
    struct segmenter segmenter;

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(lens); i++)
        lens[i] = 5;
    wire_begin(&wire);
    wire_ipv4(&wire, 47, 0);
    wire_payload(&wire, 10 + 5 * FRAME_PIECES_MAX, 1);
    wire_finish(&wire);
    wire_view(&wire, 44, lens, CV_COUNT_OF(lens), &super);
    frame_parse(super.head, super.head_len, super.len, &super.facts);
    super.vnet = (struct virtio_net_hdr){
        .flags = VNET_HDR_F_NEEDS_CSUM, .csum_start = 44, .csum_offset = 11};
    segmenter_init(&segmenter, &super, 0);
    assert_true(next(&segmenter));
    assert_int_equal(segment.frame.piece_count, FRAME_PIECES_MAX + 2);
    assert_int_equal(wire_get16(bytes + 55), ~wire_sum(0, wire.bytes + 44, wire.len - 44) & 0xffff);
    wire_unview(&super);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fits),
        cmocka_unit_test(test_tcp_for_receiver_of_nothing),
        cmocka_unit_test(test_tcp_for_receiver_of_checksums),
        cmocka_unit_test(test_payload_in_snapshot),
        cmocka_unit_test(test_udp_behind_extensions),
        cmocka_unit_test(test_pseudo_header_of_routing_header),
        cmocka_unit_test(test_plain_frame),
        cmocka_unit_test(test_data_valid),
        cmocka_unit_test(test_zero_sum),
        cmocka_unit_test(test_checksum_anywhere),
        cmocka_unit_test(test_sum_starts_in_pieces),
        cmocka_unit_test(test_most_pieces),
        cmocka_unit_test(test_row),
        cmocka_unit_test(test_row_of_most_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

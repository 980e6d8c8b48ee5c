/*
 * Goal: segments of one flow become a true super-packet that can be cut back into exactly what came
 * in, and each rule of merging refuses what breaks it, with its own reason and without changing
 * anything. Method: clean flows of every kind, which must merge; then the same with one thing
 * changed. Every row is held against the property of row_frames.h. For checksums see
 * merge_checksum_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/merge_flow.h"

/* --- what merges --- */

/* Every kind of flow, with and without tags, for every way to know that a checksum is right. */
static void test_clean_flows(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KIND_COUNT * 3 * SUMS_COUNT; i++) {
        struct frame *super;

        begin(i % KIND_COUNT);
        flow.tags = i / KIND_COUNT % 3;
        flow.sums = i / KIND_COUNT / 3;
        super = add(301);
        for (unsigned joined = 1; joined < 5; joined++) {
            assert_int_equal(join(super, add(301)), MERGE_JOINED);
            assert_row_of(super, joined + 1);
        }
        assert_int_equal(join(super, add(300)), MERGE_JOINED);
        assert_row_of(super, 6);
        assert_int_equal(super->vnet.gso_size, 301);
        assert_int_equal(super->vnet.hdr_len, super->facts.payload_offset);
        assert_int_equal(join(super, add(300)), MERGE_REFUSED_SIZE);
    }
}

/* Packets of one flow whose checksums are known in different ways. */
static void test_mixed_sums(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        struct frame *super;

        begin(kind);
        super = add(200);
        for (unsigned i = 1; i < 9; i++) {
            flow.sums = i % SUMS_COUNT;
            assert_int_equal(join(super, add(200)), MERGE_JOINED);
            assert_row_of(super, i + 1);
        }
    }
}

static void test_gso_types(void **state)
{
    static const uint8_t types[KIND_COUNT] = {VNET_HDR_GSO_TCPV4, VNET_HDR_GSO_TCPV6,
                                              VNET_HDR_GSO_UDP_L4, VNET_HDR_GSO_UDP_L4};

    (void)state;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        struct frame *super;

        begin(kind);
        super = add(10);
        assert_int_equal(join(super, add(10)), MERGE_JOINED);
        assert_int_equal(super->vnet.gso_type, types[kind]);
        assert_int_equal(super->vnet.flags, VNET_HDR_F_NEEDS_CSUM);
    }
}

/* PSH and FIN come with the last, which may be as long as the others; nothing follows them. */
static void test_last_segment(void **state)
{
    static const uint8_t flags[] = {TCP_PSH, TCP_FIN, TCP_PSH | TCP_FIN};

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct frame *super;
        unsigned last;

        begin(i % 2 ? TCP4 : TCP6);
        super = add(100);
        assert_int_equal(join(super, add(100)), MERGE_JOINED);
        assert_false(super->facts.flags & FRAME_EXPRESS);
        last = make(i < 3 ? 100 : 99);
        l4_of(last)[TCP_FLAGS_OFFSET] |= flags[i / 2];
        fix(last);
        assert_int_equal(join(super, show(last)), MERGE_JOINED);
        assert_true(super->facts.flags & FRAME_EXPRESS);
        assert_row_of(super, 3);
        assert_int_equal(join(super, add(100)), MERGE_REFUSED_FLAGS);
    }
}

/* CWR on the first is what VNET_HDR_GSO_ECN says; a receiver that does not know it gets no row. */
static void test_cwr_on_first(void **state)
{
    (void)state;
    for (enum kind kind = TCP4; kind <= TCP6; kind++) {
        struct frame *super, *second;
        unsigned first;

        begin(kind);
        first = make(100);
        l4_of(first)[TCP_FLAGS_OFFSET] |= TCP_CWR;
        fix(first);
        super = show(first);
        second = add(100);
        assert_int_equal(join_for(super, second, ALL & ~OFFLOAD_ECN), MERGE_REFUSED_FLAGS);
        assert_int_equal(join(super, second), MERGE_JOINED);
        assert_true(super->vnet.gso_type & VNET_HDR_GSO_ECN);
        assert_int_equal(join(super, add(100)), MERGE_JOINED);
        assert_row_of(super, 3);
        assert_false(segment_fits(super, ALL & ~OFFLOAD_ECN));
    }
}

/* ECE is on every packet until the sender has answered it: it is merged, and stays. */
static void test_ece_on_all(void **state)
{
    struct frame *super = NULL;

    (void)state;
    begin(TCP4);
    for (unsigned i = 0; i < 3; i++) {
        unsigned n = make(100);

        l4_of(n)[TCP_FLAGS_OFFSET] |= 0x40;
        fix(n);
        if (i == 0)
            super = show(n);
        else
            assert_int_equal(join_for(super, show(n), ALL & ~OFFLOAD_ECN), MERGE_JOINED);
    }
    assert_row_of(super, 3);
}

/* Payload in the head, at its end, in odd pieces, in empty ones; each packet seen differently. */
static void test_heads_and_pieces(void **state)
{
    static const size_t lens[] = {0, 1, 0, 3, 50, 0, 7};

    (void)state;
    for (size_t more = 0; more <= 60; more++) {
        struct frame *super = NULL;

        begin(more % KIND_COUNT);
        for (unsigned i = 0; i < 4; i++) {
            unsigned n = make(120 - (i == 3));
            size_t in_head = i % 2 ? more : 60 - more;

            fix(n);
            show_in(n, packets[n].facts.payload_offset + in_head, lens, i * 2);
            if (i == 0)
                super = &frames[n];
            else
                assert_int_equal(join(super, &frames[n]), MERGE_JOINED);
        }
        assert_row_of(super, 4);
    }
}

/* A packet of 1500 bytes each: 45 of them are the largest super-packet. */
static void test_full_segments(void **state)
{
    struct frame *super;

    (void)state;
    for (enum kind kind = TCP4; kind <= TCP6; kind++) {
        size_t payload = kind == TCP4 ? 1448 : 1428;

        begin(kind);
        super = add(payload);
        for (unsigned i = 1; i < 45; i++)
            assert_int_equal(join(super, add(payload)), MERGE_JOINED);
        assert_row_of(super, 45);
        assert_int_equal(super->len, super->facts.payload_offset + 45 * payload);
        assert_int_equal(join(super, add(payload)), MERGE_REFUSED_FULL);
    }
}

/* --- limits --- */

static void test_most_frames(void **state)
{
    struct frame *super;

    (void)state;
    begin(UDP4);
    super = add(9);
    for (unsigned i = 1; i < MERGE_FRAMES_MAX; i++)
        assert_int_equal(join(super, add(9)), MERGE_JOINED);
    assert_row_of(super, MERGE_FRAMES_MAX);
    assert_int_equal(join(super, add(9)), MERGE_REFUSED_FULL);
}

/* An IP packet of 65535 bytes is the largest (of IPv6 too), and FRAME_BYTES_MAX with two tags. */
static void test_most_bytes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KIND_COUNT * 3; i++) {
        struct frame *super;
        size_t headers, most;

        begin(i % KIND_COUNT);
        flow.tags = i / KIND_COUNT;
        super = add(32000);
        headers = super->facts.payload_offset;
        most = CV_MIN(65535 + super->facts.l3_offset, FRAME_BYTES_MAX) - headers;
        assert_int_equal(join(super, add(32000)), MERGE_JOINED);
        (void)make(most - 64000 + 1);
        fix(2);
        assert_int_equal(join(super, show(2)), MERGE_REFUSED_FULL);
        unview_all();
        flow.payload_bytes = 0;
        super = add(32000);
        assert_int_equal(join(super, add(32000)), MERGE_JOINED);
        assert_int_equal(join(super, add(most - 64000)), MERGE_JOINED);
        assert_row_of(super, 3);
    }
}

static void test_most_pieces(void **state)
{
    size_t lens[FRAME_PIECES_MAX];
    struct frame *super;

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(lens); i++)
        lens[i] = 2;
    begin(TCP4);
    fix(make(200));
    super = show_in(0, 66, lens, FRAME_PIECES_MAX);
    fix(make(200));
    assert_int_equal(join(super, show_in(1, 66, lens, MERGE_PIECES_MAX)), MERGE_JOINED);
    fix(make(200));
    assert_int_equal(join(super, show_in(2, 66, lens, MERGE_PIECES_MAX + 1)), MERGE_REFUSED_PIECES);
    assert_row_of(super, 2);
}

/* --- what does not --- */

/* One byte of a header changed, in the first of two packets, in the second, or in both. */
struct edit {
    const char *what;
    unsigned kinds; /* 1 << enum kind */
    uint8_t in_l4;  /* counted from the transport header, not from the IP header */
    uint8_t offset;
    uint8_t change;  /* XORed */
    uint8_t packets; /* 1: the first, 2: the second, 3: both */
    enum merge_refusal refusal;
};

enum { V4 = 1 << TCP4 | 1 << UDP4, V6 = 1 << TCP6 | 1 << UDP6, TCP = 1 << TCP4 | 1 << TCP6 };

static const struct edit edits[] = {
    {"TOS", V4, 0, 1, 0x04, 2, MERGE_REFUSED_IP},
    {"congestion experienced", V4, 0, 1, 0x03, 1, MERGE_REFUSED_IP},
    {"DF", V4, 0, 6, 0x40, 2, MERGE_REFUSED_IP},
    {"reserved bit of IPv4", V4, 0, 6, 0x80, 2, MERGE_REFUSED_IP},
    {"TTL", V4, 0, 8, 0x01, 2, MERGE_REFUSED_IP},
    {"id, low byte", V4, 0, 5, 0x01, 2, MERGE_REFUSED_IP_ID},
    {"id, high byte", V4, 0, 4, 0x80, 2, MERGE_REFUSED_IP_ID},
    {"traffic class, high bits", V6, 0, 0, 0x01, 2, MERGE_REFUSED_IP},
    {"traffic class, low bits", V6, 0, 1, 0x30, 2, MERGE_REFUSED_IP},
    {"flow label, high bits", V6, 0, 1, 0x01, 2, MERGE_REFUSED_IP},
    {"flow label", V6, 0, 3, 0x01, 1, MERGE_REFUSED_IP},
    {"hop limit", V6, 0, 7, 0x01, 2, MERGE_REFUSED_IP},
    {"sequence number", TCP, 1, 7, 0x01, 2, MERGE_REFUSED_SEQUENCE},
    {"sequence number, high byte", TCP, 1, 4, 0x80, 1, MERGE_REFUSED_SEQUENCE},
    {"acknowledgement number", TCP, 1, 11, 0x01, 2, MERGE_REFUSED_ACKNOWLEDGEMENT},
    {"acknowledgement number, high byte", TCP, 1, 8, 0x80, 2, MERGE_REFUSED_ACKNOWLEDGEMENT},
    {"window", TCP, 1, 15, 0x01, 2, MERGE_REFUSED_ACKNOWLEDGEMENT},
    {"reserved bits of TCP", TCP, 1, 12, 0x08, 2, MERGE_REFUSED_FLAGS},
    {"accurate ECN", TCP, 1, 12, 0x01, 2, MERGE_REFUSED_FLAGS},
    {"ECE", TCP, 1, 13, 0x40, 2, MERGE_REFUSED_FLAGS},
    {"ECE before", TCP, 1, 13, 0x40, 1, MERGE_REFUSED_FLAGS},
    {"CWR", TCP, 1, 13, TCP_CWR, 2, MERGE_REFUSED_FLAGS},
    {"CWR twice", TCP, 1, 13, TCP_CWR, 3, MERGE_REFUSED_FLAGS},
    {"SYN", TCP, 1, 13, TCP_SYN, 2, MERGE_REFUSED_FLAGS},
    {"SYN twice", TCP, 1, 13, TCP_SYN, 3, MERGE_REFUSED_FLAGS},
    {"RST", TCP, 1, 13, TCP_RST, 2, MERGE_REFUSED_FLAGS},
    {"RST twice", TCP, 1, 13, TCP_RST, 3, MERGE_REFUSED_FLAGS},
    {"URG", TCP, 1, 13, TCP_URG, 2, MERGE_REFUSED_FLAGS},
    {"URG twice", TCP, 1, 13, TCP_URG, 3, MERGE_REFUSED_FLAGS},
    {"no ACK", TCP, 1, 13, TCP_ACK, 2, MERGE_REFUSED_FLAGS},
    {"no ACK twice", TCP, 1, 13, TCP_ACK, 3, MERGE_REFUSED_FLAGS},
    {"PSH before", TCP, 1, 13, TCP_PSH, 1, MERGE_REFUSED_FLAGS},
    {"PSH twice", TCP, 1, 13, TCP_PSH, 3, MERGE_REFUSED_FLAGS},
    {"FIN before", TCP, 1, 13, TCP_FIN, 1, MERGE_REFUSED_FLAGS},
    {"FIN twice", TCP, 1, 13, TCP_FIN, 3, MERGE_REFUSED_FLAGS},
    {"urgent pointer", TCP, 1, 19, 0x01, 2, MERGE_REFUSED_FLAGS},
    {"first option", TCP, 1, 20, 0x01, 2, MERGE_REFUSED_OPTIONS},
    {"last option", TCP, 1, 31, 0x01, 2, MERGE_REFUSED_OPTIONS},
    {"nothing", V4 | V6, 0, 0, 0, 3, MERGE_JOINED},
    {"PSH", TCP, 1, 13, TCP_PSH, 2, MERGE_JOINED},
    {"FIN", TCP, 1, 13, TCP_FIN, 2, MERGE_JOINED},
    {"same ECE", TCP, 1, 13, 0x40, 3, MERGE_JOINED},
    {"same reserved bits", TCP, 1, 12, 0x0e, 3, MERGE_JOINED},
    {"same urgent pointer", TCP, 1, 19, 0x01, 3, MERGE_JOINED},
    {"same options", TCP, 1, 25, 0x55, 3, MERGE_JOINED},
    {"same TOS", V4, 0, 1, 0xff, 3, MERGE_JOINED},
    {"same DF", V4, 0, 6, 0x40, 3, MERGE_JOINED},
    {"same flow label", V6, 0, 2, 0xff, 3, MERGE_JOINED},
};

static void apply(unsigned n, const struct edit *edit)
{
    (edit->in_l4 ? l4_of(n) : ip_of(n))[edit->offset] ^= edit->change;
    fix(n);
}

/* Each with every way of knowing the checksum, since none may come in place of a rule. */
static void test_one_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(edits) * KIND_COUNT * SUMS_COUNT; i++) {
        const struct edit *edit = &edits[i / KIND_COUNT / SUMS_COUNT];
        enum kind kind = i / SUMS_COUNT % KIND_COUNT;
        enum merge_refusal refusal;

        if (!(edit->kinds & 1u << kind))
            continue;
        begin(kind);
        flow.sums = i % SUMS_COUNT;
        fix(make(100));
        fix(make(100));
        for (unsigned n = 0; n < 2; n++)
            if (edit->packets & 1u << n)
                apply(n, edit);
        refusal = join(show(0), show(1));
        if (refusal != edit->refusal)
            fail_msg("%s: %s", edit->what, merge_refusal_name(refusal));
        if (refusal == MERGE_JOINED)
            assert_row_of(&frames[0], 2);
    }
}

/*
 * Every bit of the headers alone, in the second of three packets, with and without sums that fit:
 * whatever merges in spite of it can be cut back.
 */
static void test_every_bit(void **state)
{
    unsigned joined = 0;

    (void)state;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        for (size_t bit = 0; bit < 8 * 98; bit++) {
            struct frame *super;
            bool accepted;

            begin(kind);
            flow.tags = 2;
            super = add(100);
            fix(make(100));
            if (bit / 8 >= packets[1].facts.payload_offset)
                break;
            packets[1].bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (bit % 3 == 0)
                fix(1);
            packets[1].vnet.flags = 0;
            accepted = accept(1);
            add(100);
            if (!accepted || !merge_concerns(&frames[1], ALL) ||
                !merge_same_flow(super, &frames[1]) || join(super, &frames[1]) != MERGE_JOINED)
                continue;
            joined++;
            assert_row_of(super, 2);
            if (join(super, &frames[2]) == MERGE_JOINED)
                assert_row_of(super, 3);
        }
    }
    assert_true(joined > 0);
}

static void test_empty(void **state)
{
    struct frame *super;

    (void)state;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        begin(kind);
        super = add(100);
        assert_int_equal(join(super, add(0)), MERGE_REFUSED_EMPTY);
        begin(kind);
        super = add(0);
        assert_int_equal(join(super, add(100)), MERGE_REFUSED_EMPTY);
        begin(kind);
        super = add(0);
        assert_int_equal(join(super, add(0)), MERGE_REFUSED_EMPTY);
    }
}

static void test_size(void **state)
{
    struct frame *super;

    (void)state;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        begin(kind);
        super = add(100);
        assert_int_equal(join(super, add(101)), MERGE_REFUSED_SIZE);
        begin(kind);
        super = add(100);
        assert_int_equal(join(super, add(100)), MERGE_JOINED);
        assert_int_equal(join(super, add(101)), MERGE_REFUSED_SIZE);
        begin(kind);
        super = add(100);
        assert_int_equal(join(super, add(1)), MERGE_JOINED);
        assert_int_equal(join(super, add(1)), MERGE_REFUSED_SIZE);
        assert_row_of(super, 2);
    }
}

/* IP options and extension headers, even equal ones, and one of another length. */
static void test_ip_options(void **state)
{
    struct frame *super;

    (void)state;
    for (unsigned i = 0; i < KIND_COUNT * 3; i++) {
        begin(i % KIND_COUNT);
        flow.ip_bytes = i / KIND_COUNT == 1 ? 0 : 8;
        super = add(50);
        flow.ip_bytes = i / KIND_COUNT == 2 ? 0 : 8;
        assert_int_equal(join(super, add(50)), MERGE_REFUSED_IP);
    }
}

static void test_tcp_option_lengths(void **state)
{
    struct frame *super;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        begin(i % 2 ? TCP4 : TCP6);
        flow.option_bytes = i < 2 ? 0 : 24;
        super = add(50);
        flow.option_bytes = 12;
        assert_int_equal(join(super, add(50)), MERGE_REFUSED_OPTIONS);
    }
}

/* Bytes behind the IP packet, and behind a UDP datagram inside it. */
static void test_padding(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KIND_COUNT * 2; i++) {
        unsigned n = i / KIND_COUNT;

        begin(i % KIND_COUNT);
        fix(make(20));
        fix(make(20));
        packets[n].bytes[packets[n].len++] = 0;
        assert_int_equal(join(show(0), show(1)), MERGE_REFUSED_PADDING);
        assert_true(frames[n].facts.flags & FRAME_TRAILER);
    }
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = i / 2 % 2;

        begin(i % 2 ? UDP4 : UDP6);
        flow.sums = NEEDS_CSUM; /* summing the datagram could find the wrong length too */
        fix(make(20));
        fix(make(20));
        wire_be16(l4_of(n) + 4, i < 4 ? 27 : 29);
        assert_int_equal(join(show(0), show(1)), MERGE_REFUSED_PADDING);
    }
}

/* A super-packet of a guest is taken as it is, and a row does not join another. */
static void test_super_packets(void **state)
{
    struct frame *super, *other;

    (void)state;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        for (unsigned n = 0; n < 2; n++) {
            begin(kind);
            flow.sums = NEEDS_CSUM;
            fix(make(100));
            fix(make(100));
            packets[n].vnet.gso_type = is_tcp() ? is_v4() ? 1 : 4 : 5;
            packets[n].vnet.gso_size = 50;
            assert_int_equal(join(show(0), show(1)), MERGE_REFUSED_SUPER);
        }
        begin(kind);
        super = add(100);
        assert_int_equal(join(super, add(100)), MERGE_JOINED);
        other = add(100);
        assert_int_equal(join(other, add(100)), MERGE_JOINED);
        assert_int_equal(join(super, other), MERGE_REFUSED_SUPER);
        assert_row_of(super, 2);
    }
}

/* --- whom it concerns --- */

static void test_concerns(void **state)
{
    static const unsigned needed[KIND_COUNT] = {OFFLOAD_TSO4, OFFLOAD_TSO6, OFFLOAD_USO4,
                                                OFFLOAD_USO6};

    (void)state;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        struct frame *frame;

        begin(kind);
        frame = add(100);
        for (unsigned offloads = 0; offloads <= ALL; offloads++)
            assert_int_equal(merge_concerns(frame, offloads),
                             (offloads & needed[kind]) && (offloads & OFFLOAD_CSUM));
        frame->is_shared = true;
        assert_false(merge_concerns(frame, ALL));
    }
    begin(TCP4);
    make(100);
    ip_of(0)[9] = 47;
    fix(0);
    assert_false(merge_concerns(show(0), ALL));
    begin(TCP4);
    make(100);
    ip_of(0)[6] = 0x20; /* a first fragment */
    fix(0);
    assert_false(merge_concerns(show(0), ALL));
}

/*
 * Every bit of what makes a flow, in two frames that a hash does not tell apart: addresses, tags,
 * ports. All other bits of the headers leave the flow as it is, but those that move the ports.
 */
static void test_same_flow(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        for (size_t bit = 0; bit < 8 * 98; bit++) {
            size_t l3, l4, at = bit / 8;
            bool in_flow;

            begin(kind);
            flow.tags = 2;
            make(10);
            make(10);
            l3 = packets[1].facts.l3_offset;
            l4 = packets[1].facts.l4_offset;
            if (at >= packets[1].facts.payload_offset)
                break;
            in_flow = at < l3 || (is_v4() ? at >= l3 + 12 : at >= l3 + 8);
            in_flow = at < l4 ? in_flow : at < l4 + 4;
            packets[1].bytes[at] ^= (uint8_t)(1 << bit % 8);
            fix(0);
            fix(1);
            show(0);
            if (!accept(1) || !merge_concerns(&frames[1], ALL) || packets[1].facts.l4_offset != l4)
                continue;
            assert_true(in_flow || frames[0].facts.flow_hash == frames[1].facts.flow_hash);
            frames[1].facts.flow_hash = frames[0].facts.flow_hash;
            assert_int_equal(merge_same_flow(&frames[0], &frames[1]), !in_flow);
        }
    }
}

/* Of different protocols, IP versions and numbers of tags, with equal hashes; and by the hash. */
static void test_other_flow(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KIND_COUNT * KIND_COUNT; i++) {
        begin(i % KIND_COUNT);
        fix(make(10));
        flow.kind = i / KIND_COUNT;
        fix(make(10));
        show(0);
        show(1);
        frames[1].facts.flow_hash = frames[0].facts.flow_hash;
        assert_int_equal(merge_same_flow(&frames[0], &frames[1]), i % KIND_COUNT == i / KIND_COUNT);
        frames[1].facts.flow_hash++;
        assert_false(merge_same_flow(&frames[0], &frames[1]));
    }
    begin(TCP4);
    add(10);
    flow.tags = 1;
    add(10);
    frames[1].facts.flow_hash = frames[0].facts.flow_hash;
    assert_false(merge_same_flow(&frames[0], &frames[1]));
}

static void test_refusals_have_words(void **state)
{
    (void)state;
    for (int i = 0; i < MERGE_REFUSAL_COUNT; i++) {
        assert_true(strlen(merge_refusal_name(i)) > 0 && strlen(merge_refusal_text(i)) > 0);
        for (int other = 0; other < i; other++)
            assert_string_not_equal(merge_refusal_name(i), merge_refusal_name(other));
    }
    assert_string_equal(merge_refusal_name(MERGE_JOINED), "joined");
    assert_string_equal(merge_refusal_name(MERGE_REFUSED_IP_ID), "ip_id");
    assert_string_equal(merge_refusal_name(MERGE_REFUSED_FULL), "full");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean_flows),
        cmocka_unit_test(test_mixed_sums),
        cmocka_unit_test(test_gso_types),
        cmocka_unit_test(test_last_segment),
        cmocka_unit_test(test_cwr_on_first),
        cmocka_unit_test(test_ece_on_all),
        cmocka_unit_test(test_heads_and_pieces),
        cmocka_unit_test(test_full_segments),
        cmocka_unit_test(test_most_frames),
        cmocka_unit_test(test_most_bytes),
        cmocka_unit_test(test_most_pieces),
        cmocka_unit_test(test_one_field),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_ip_options),
        cmocka_unit_test(test_tcp_option_lengths),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_super_packets),
        cmocka_unit_test(test_concerns),
        cmocka_unit_test(test_same_flow),
        cmocka_unit_test(test_other_flow),
        cmocka_unit_test(test_refusals_have_words),
    };

    return cmocka_run_group_tests(tests, NULL, flow_teardown);
}

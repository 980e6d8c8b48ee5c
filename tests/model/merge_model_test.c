/*
 * Goal: merging takes what it can and nothing else, for random traffic: several flows at once, of
 * TCP and UDP over IPv4 and IPv6, with tags, options, timestamps, ECN, PSH, FIN, all kinds of
 * checksums and of damage, in any heads and pieces, lost, doubled and reordered. Method: every
 * frame is offered to the newest frame of its flow, as a convoy does. A slow and obvious model says
 * whether it must join: it writes the super-packet's headers from the first packet, cuts it by hand
 * and compares with what came. In the end each row is cut by the real segmenter and must give its
 * packets back byte for byte in the order of their arrival, each exactly once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "convoy/merge.h"
#include "unit/row_frames.h"

enum { RANDOM_CASES = 4000, SEED = 20240611, FLOWS_MAX = 4, PACKETS_MAX = 200, ALL = 63 };

/* A sender in the middle of a connection. */
struct flow {
    uint8_t version, protocol, tags, ip_options, tcp_options;
    uint8_t flags;        /* TCP flags of all its packets */
    uint8_t sums;         /* how it shows that its checksums are right: enum sums */
    uint16_t id;          /* of its next packet; its port too is told by `number` */
    uint16_t number;      /* no two flows of a case have the same */
    uint32_t sequence;    /* of its next packet */
    uint32_t timestamp;   /* what it writes into its options */
    size_t segment_bytes; /* payload of its packets */
};

enum sums { COMPLETE, NEEDS_CSUM, DATA_VALID, SUMS_COUNT };

static struct wire_frame wire;
static struct flow flows[FLOWS_MAX];
static struct row_packet packets[PACKETS_MAX]; /* as they were sent */
static unsigned packet_count;
static struct frame frames[PACKETS_MAX]; /* as they arrive */
static unsigned frame_count;
static const struct row_packet *packet_of[PACKETS_MAX]; /* which a frame shows */
static struct frame *supers[PACKETS_MAX];
static unsigned super_count;
static unsigned long results[MERGE_REFUSAL_COUNT]; /* of all attempts to join */
static uint64_t random_state, case_seed;

/* xorshift64*: the same numbers on every machine. */
static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * UINT64_C(2685821657736338717)) >> 32) % limit;
}

static bool one_in(uint32_t n)
{
    return random_below(n) == 0;
}

static void expect(bool holds, const char *what)
{
    if (!holds)
        fail_msg("CONVOY_TEST_SEED=%llu: %s", (unsigned long long)case_seed, what);
}

/* --- the model --- */

/* Segment `index` of a super-packet with the headers of `first`; `packet` has its payload. */
static void model_cut(const struct row_packet *first, const struct row_packet *packet, size_t index,
                      bool last, struct row_packet *ret_cut)
{
    const struct frame_facts *facts = &first->facts;
    size_t payload = packet->len - packet->facts.payload_offset;
    size_t segment = first->len - facts->payload_offset;
    uint8_t *ip = ret_cut->bytes + facts->l3_offset, *l4 = ret_cut->bytes + facts->l4_offset;
    uint8_t flags = packet->bytes[packet->facts.l4_offset + 13];

    memcpy(ret_cut->bytes, first->bytes, facts->payload_offset);
    memcpy(ret_cut->bytes + facts->payload_offset, packet->bytes + packet->facts.payload_offset,
           payload);
    ret_cut->len = facts->payload_offset + payload;
    ret_cut->facts = *facts;
    if (facts->flags & FRAME_IPV4)
        wire_be16(ip + 4, wire_get16(ip + 4) + index);
    if (facts->flags & FRAME_TCP) {
        uint32_t sequence = wire_get32(l4 + 4) + (uint32_t)(index * segment);

        wire_be16(l4 + 4, sequence >> 16);
        wire_be16(l4 + 6, sequence);
        l4[13] = (uint8_t)((l4[13] & ~9) | (last ? flags & 9 : 0)); /* FIN and PSH */
        l4[13] &= index > 0 ? 0x7f : 0xff;                          /* CWR */
    }
    row_fix_ip(ret_cut);
    row_fix_checksum(ret_cut, true);
}

/* True when cutting gives `packet` back, with every checksum complete. */
static bool model_restores(const struct row_packet *first, const struct row_packet *packet,
                           size_t index, bool last)
{
    static struct row_packet cut, expected;

    model_cut(first, packet, index, last, &cut);
    row_expect(packet, true, &expected);
    return cut.len == expected.len && memcmp(cut.bytes, expected.bytes, cut.len) == 0;
}

/* What no super-packet is made of, though cutting might restore it. */
static bool model_takes(const struct row_packet *packet, const struct row_packet *first)
{
    const struct frame_facts *facts = &packet->facts;
    const uint8_t *l4 = packet->bytes + facts->l4_offset;
    size_t payload = packet->len - facts->payload_offset;
    bool tcp = facts->flags & FRAME_TCP;

    if (packet->vnet.gso_type != VNET_HDR_GSO_NONE || payload == 0 ||
        payload > first->len - first->facts.payload_offset || (facts->flags & FRAME_TRAILER))
        return false;
    if (facts->l4_offset - facts->l3_offset != (facts->flags & FRAME_IPV4 ? 20 : 40))
        return false;
    if (tcp && (l4[13] & 0x36) != 0x10) /* URG, ACK, RST, SYN */
        return false;
    if (packet->vnet.flags & VNET_HDR_F_NEEDS_CSUM)
        return packet->vnet.csum_start == facts->l4_offset &&
               packet->vnet.csum_offset == (tcp ? 16 : 6);
    return tcp ? wire_get16(l4 + 16) != 0xffff : wire_get16(l4 + 6) != 0;
}

/* Whether `frame` must join the row of `super`. */
static bool model_joins(const struct frame *super, const struct frame *frame, unsigned offloads)
{
    const struct row_packet *first = packet_of[super - frames];
    const struct row_packet *packet = packet_of[frame - frames];
    const struct frame *last = super->merged_count > 0 ? super->merged_last : super;
    const struct row_packet *before = packet_of[last - frames];
    size_t payload = packet->len - packet->facts.payload_offset;
    size_t segment = first->len - first->facts.payload_offset;
    bool is_cwr =
        (first->facts.flags & FRAME_TCP) && (first->bytes[first->facts.l4_offset + 13] & 0x80);

    if (!model_takes(first, first) || !model_takes(packet, first))
        return false;
    if (super->merged_count + 2 > MERGE_FRAMES_MAX || frame->piece_count > MERGE_PIECES_MAX ||
        super->len + payload > FRAME_BYTES_MAX ||
        super->len + payload - first->facts.l3_offset > 65535)
        return false;
    if (is_cwr && !(offloads & OFFLOAD_ECN))
        return false;
    return before->len - before->facts.payload_offset == segment &&
           model_restores(first, before, super->merged_count, false) &&
           model_restores(first, packet, super->merged_count + 1u, true);
}

/* --- random traffic --- */

static void random_flow(struct flow *flow, uint16_t number)
{
    static const uint8_t option_bytes[] = {0, 12, 12, 12, 24, 40};

    *flow = (struct flow){
        .version = one_in(2) ? 4 : 6,
        .protocol = one_in(3) ? 17 : 6,
        .tags = (uint8_t)(random_below(4) % 3),
        .ip_options = one_in(40) ? 8 : 0,
        .tcp_options = option_bytes[random_below(CV_COUNT_OF(option_bytes))],
        .flags = one_in(8) ? 0x50 : 0x10,
        .sums = (uint8_t)random_below(SUMS_COUNT),
        .id = (uint16_t)random_below(65536),
        .number = number,
        .sequence = random_below(1u << 31) * 2,
        .timestamp = random_below(1u << 31),
        .segment_bytes = one_in(3) ? 1448 : 1 + random_below(one_in(10) ? 20000 : 900),
    };
}

/* The flow's headers, as a sender writes them that makes no mistake. */
static void write_headers(const struct flow *flow)
{
    uint8_t *l4;

    wire_begin(&wire);
    for (unsigned i = 0; i < flow->tags; i++)
        wire_vlan(&wire, i + 1u < flow->tags ? 0x88a8 : 0x8100, 5 + i);
    if (flow->version == 4) {
        wire_ipv4(&wire, flow->protocol, flow->ip_options);
        wire_be16(wire.bytes + wire.l3 + 4, flow->id);
    } else {
        wire_ipv6(&wire, flow->protocol);
        if (flow->ip_options > 0)
            wire_extension(&wire, 60, flow->ip_options);
    }
    l4 = wire.bytes + wire.l4;
    if (flow->protocol == 6) {
        wire_tcp(&wire, flow->flags, flow->tcp_options);
        wire_be16(l4 + 4, flow->sequence >> 16);
        wire_be16(l4 + 6, flow->sequence);
        if (flow->tcp_options >= 12) {
            l4[22] = 8; /* timestamps */
            l4[23] = 10;
            wire_be16(l4 + 24, flow->timestamp >> 16);
            wire_be16(l4 + 26, flow->timestamp);
        }
    } else {
        wire_udp(&wire, 1000, 0);
    }
    wire_be16(l4 + 2, 2000u + flow->number);
}

/* Something changes in the flow, for the packets to come too. */
static void move_flow(struct flow *flow)
{
    switch (random_below(8)) {
    case 0:
        flow->timestamp++;
        break;
    case 1:
        flow->tcp_options = flow->tcp_options == 12 ? 24 : 12; /* a SACK comes or goes */
        break;
    case 2:
        flow->flags ^= 0x40; /* ECE */
        break;
    case 3:
        flow->id += (uint16_t)random_below(4);
        break;
    case 4:
        flow->segment_bytes = 1 + random_below(1500);
        break;
    case 5:
        flow->sums = (uint8_t)random_below(SUMS_COUNT);
        break;
    default: /* what was sent does not arrive */
        flow->sequence += (uint32_t)flow->segment_bytes;
        flow->id++;
        break;
    }
}

/* A header byte of this packet is another: one that means something, or any. */
static void change_headers(struct row_packet *packet)
{
    static const uint8_t tcp_flags[] = {1, 2, 4, 8, 8, 8, 0x10, 0x20, 0x40, 0x80, 0x80};
    uint8_t *l4 = packet->bytes + packet->facts.l4_offset;
    size_t at = packet->facts.l3_offset +
                random_below(packet->facts.payload_offset - packet->facts.l3_offset);

    if ((packet->facts.flags & FRAME_TCP) && !one_in(3))
        l4[13] ^= tcp_flags[random_below(CV_COUNT_OF(tcp_flags))];
    else
        packet->bytes[at] ^= (uint8_t)(1u << random_below(8));
}

/* Sums that are right in the flow's way, and what the sender says of them. */
static void finish(struct row_packet *packet, uint8_t sums)
{
    bool tcp;

    row_parse(packet);
    row_fix_ip(packet);
    row_fix_checksum(packet, sums != NEEDS_CSUM);
    tcp = packet->facts.flags & FRAME_TCP;
    memset(&packet->vnet, 0, sizeof(packet->vnet));
    if (!(packet->facts.flags & (FRAME_TCP | FRAME_UDP)))
        return;
    if (sums == DATA_VALID)
        packet->vnet.flags = VNET_HDR_F_DATA_VALID;
    if (sums == NEEDS_CSUM)
        packet->vnet = (struct virtio_net_hdr){.flags = VNET_HDR_F_NEEDS_CSUM,
                                               .csum_start = packet->facts.l4_offset,
                                               .csum_offset = tcp ? 16 : 6};
}

/* What breaks behind the sums: sums, lengths, wishes, bytes behind the packet. */
static void damage(struct row_packet *packet)
{
    const struct frame_facts *facts = &packet->facts;
    bool tcp = facts->flags & FRAME_TCP;
    uint8_t *l4 = packet->bytes + facts->l4_offset;
    size_t gso_size = (packet->len - facts->payload_offset) / 2 + 1;

    switch (random_below(6)) {
    case 0:
        packet->bytes[random_below((uint32_t)packet->len)] ^= (uint8_t)(1u << random_below(8));
        break;
    case 1:
        packet->bytes[packet->len++] = 0;
        break;
    case 2:
        if (!tcp)
            wire_be16(l4 + (one_in(2) ? 4 : 6), one_in(2) ? 0 : 20);
        break;
    case 3:
        packet->vnet.csum_start += 2;
        break;
    case 4:
        wire_be16(l4 + (tcp ? 16 : 6), one_in(2) ? 0xffff : random_below(65536));
        break;
    default:
        if (packet->vnet.flags != VNET_HDR_F_NEEDS_CSUM)
            break;
        packet->vnet.gso_size = (uint16_t)gso_size;
        packet->vnet.gso_type = !tcp ? 5 : facts->flags & FRAME_IPV4 ? 1 : 4;
        break;
    }
}

/* The flow's next packet. About one in `trouble` is not what one would like to merge. */
static void send(struct flow *flow, uint32_t trouble)
{
    struct row_packet *packet = &packets[packet_count++];
    size_t payload = flow->segment_bytes;

    if (one_in(trouble))
        payload = one_in(6) ? 0 : one_in(6) ? payload + 1 : random_below((uint32_t)payload) + 1;
    write_headers(flow);
    wire_payload(&wire, payload, random_below(1u << 31));
    wire_finish(&wire);
    memcpy(packet->bytes, wire.bytes, wire.len);
    packet->len = wire.len;
    row_parse(packet);
    if (one_in(trouble))
        change_headers(packet);
    finish(packet, flow->sums);
    if (one_in(trouble) && (packet->facts.flags & (FRAME_TCP | FRAME_UDP)))
        damage(packet);
    flow->sequence += (uint32_t)payload;
    flow->id++;
    if (one_in(trouble))
        move_flow(flow);
}

/* --- arrival --- */

/* A packet arrives, in any head that has its headers, and in any pieces. False: it is dropped. */
static bool arrive(struct row_packet *packet, uint32_t pieces_max)
{
    struct frame *frame = &frames[frame_count];
    size_t lens[FRAME_PIECES_MAX];
    size_t count = one_in(8) ? random_below(pieces_max + 1) : random_below(4);
    size_t most = CV_MIN(packet->len, FRAME_HEAD_BYTES_MAX);
    size_t least = CV_MIN(CV_MAX(packet->facts.payload_offset, 14), most);
    size_t head_len = one_in(4) ? least + random_below((uint32_t)(most - least) + 1) : most;

    for (size_t i = 0; i < count; i++)
        lens[i] = one_in(4) ? random_below(3) : random_below((uint32_t)packet->len);
    memcpy(wire.bytes, packet->bytes, packet->len);
    wire.len = packet->len;
    wire_view(&wire, head_len, lens, count, frame);
    frame_parse(frame->head, frame->head_len, frame->len, &frame->facts);
    frame->vnet = packet->vnet;
    if (!offload_check(&frame->vnet, &frame->facts, frame->head_len, frame->len)) {
        wire_unview(frame);
        return false;
    }
    packet->vnet = frame->vnet;
    packet_of[frame_count++] = packet;
    return true;
}

/* Offers the newest frame to the newest of its flow. */
static void load_newest(unsigned offloads)
{
    struct frame *frame = &frames[frame_count - 1];

    for (unsigned i = super_count; i > 0 && merge_concerns(frame, offloads); i--) {
        struct frame *super = supers[i - 1];
        enum merge_refusal refusal;
        bool joins;

        if (!merge_concerns(super, offloads) || !merge_same_flow(super, frame))
            continue;
        joins = model_joins(super, frame, offloads);
        refusal = merge_join(super, frame, offloads);
        results[refusal]++;
        if (joins != (refusal == MERGE_JOINED))
            fail_msg("CONVOY_TEST_SEED=%llu: the model says %s, but: %s",
                     (unsigned long long)case_seed, joins ? "yes" : "no",
                     merge_refusal_text(refusal));
        if (refusal == MERGE_JOINED)
            return;
        break;
    }
    supers[super_count++] = frame;
}

/* Rows give back their packets in the order of arrival; a frame that stayed alone is as it came. */
static void check_all(unsigned offloads)
{
    const struct row_packet *row[PACKETS_MAX];
    unsigned seen = 0;

    for (unsigned i = 0; i < super_count; i++) {
        const struct frame *super = supers[i];
        unsigned count = 0;

        for (const struct frame *frame = super; frame; frame = frame->merged_next) {
            expect(!frame->merged_next || frame->merged_next > frame, "order of arrival");
            row[count++] = packet_of[frame - frames];
        }
        seen += count;
        if (count > 1) {
            const char *fault = row_fault(super, row, count, 0);

            fault = fault ? fault : row_fault(super, row, count, OFFLOAD_CSUM);
            fault = fault ? fault : row_fault(super, row, count, random_below(64));
            expect(fault == NULL, fault);
            expect(segment_fits(super, offloads), "the receiver cannot take the row");
        } else {
            expect(wire_linearise(super, wire.bytes) == row[0]->len, "length of a lone frame");
            expect(memcmp(wire.bytes, row[0]->bytes, row[0]->len) == 0, "bytes of a lone frame");
        }
    }
    expect(seen == frame_count, "each packet once");
}

static void end_case(void)
{
    for (unsigned i = 0; i < frame_count; i++)
        wire_unview(&frames[i]);
    packet_count = frame_count = super_count = 0;
}

/* One case: flows send in turns; the network loses, doubles and reorders what they send. */
static void run_case(unsigned offloads)
{
    uint32_t trouble = one_in(3) ? 1000000 : 3 + random_below(60);
    unsigned flow_count = 1 + random_below(FLOWS_MAX),
             sent = 20 + random_below(PACKETS_MAX / 2 - 20);
    unsigned next = 0;

    for (unsigned i = 0; i < flow_count; i++)
        random_flow(&flows[i], (uint16_t)(i % (1 + random_below(flow_count))));
    for (unsigned i = 0; i < sent; i++)
        send(&flows[random_below(flow_count)], trouble);
    while (next < packet_count) {
        struct row_packet *packet = &packets[next];
        bool is_late = one_in(trouble) && next + 1 < packet_count;

        if (is_late && arrive(packet + 1, FRAME_PIECES_MAX))
            load_newest(offloads);
        if (!one_in(trouble) && arrive(packet, FRAME_PIECES_MAX))
            load_newest(offloads);
        if (one_in(trouble) && arrive(packet, FRAME_PIECES_MAX))
            load_newest(offloads);
        next += is_late ? 2 : 1;
    }
    check_all(offloads);
    end_case();
}

/* CONVOY_TEST_SEED runs other cases, the failed one first; the one in use is printed. */
static void test_random_traffic(void **state)
{
    const char *given = getenv("CONVOY_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : SEED;

    (void)state;
    print_message("CONVOY_TEST_SEED=%llu\n", (unsigned long long)seed);
    memset(results, 0, sizeof(results));
    for (uint64_t i = 0; i < RANDOM_CASES; i++) {
        case_seed = seed + i;
        random_state = case_seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
        run_case(one_in(8) ? random_below(64) : ALL);
    }
    for (int i = 0; i < MERGE_REFUSAL_COUNT; i++) {
        print_message("%16s %8lu\n", merge_refusal_name(i), results[i]);
        assert_true(results[i] > 0); /* otherwise a rule was not tried */
    }
}

/* Flows in which nothing goes wrong, side by side: rows of 45 full segments, and as many UDP. */
static void test_clean_flows(void **state)
{
    enum { EACH = 45 };

    (void)state;
    end_case(); /* where a case before has failed */
    random_state = case_seed = SEED;
    for (unsigned i = 0; i < FLOWS_MAX; i++) {
        random_flow(&flows[i], (uint16_t)i);
        flows[i].version = i % 2 ? 4 : 6;
        flows[i].protocol = i / 2 ? 17 : 6;
        flows[i].ip_options = 0;
        flows[i].tcp_options = 12;
        flows[i].segment_bytes = flows[i].version == 4 ? 1448 : 1428;
    }
    for (unsigned i = 0; i < EACH * FLOWS_MAX; i++) {
        send(&flows[i % FLOWS_MAX], UINT32_MAX);
        assert_true(arrive(&packets[i], MERGE_PIECES_MAX));
        load_newest(ALL);
    }
    assert_int_equal(super_count, FLOWS_MAX);
    for (unsigned i = 0; i < FLOWS_MAX; i++)
        assert_int_equal(supers[i]->merged_count, EACH - 1);
    check_all(ALL);
    end_case();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_traffic),
        cmocka_unit_test(test_clean_flows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

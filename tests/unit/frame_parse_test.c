/*
 * Goal: facts are right for every kind of frame, and no length field, however it lies, yields a
 * fact that reaches outside the head (threats C11, C22). Method: frames built layer by layer, then
 * one field at a time set to every edge; heads lie in memory of exactly their size, so that a
 * sanitizer sees any read behind them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/wire_frames.h"
#include "wire/ip.h"

static struct wire_frame wire;

/* Parses the first `head_len` bytes, from a copy that ends where the head ends. */
static struct frame_facts parse_head(size_t head_len)
{
    struct frame_facts facts;
    uint8_t *head = malloc(head_len + 1);

    assert_non_null(head);
    memcpy(head + 1, wire.bytes, head_len);
    frame_parse(head + 1, head_len, wire.len, &facts);
    free(head);
    return facts;
}

static struct frame_facts parse(void)
{
    return parse_head(CV_MIN(wire.len, FRAME_HEAD_BYTES_MAX));
}

/* What holds for any bytes whatever. */
static void assert_sound(const struct frame_facts *facts, size_t head_len)
{
    const unsigned ip = FRAME_IPV4 | FRAME_IPV6;
    const unsigned transport = FRAME_TCP | FRAME_UDP;

    assert_true(facts->l3_offset <= head_len);
    assert_true(facts->l4_offset <= head_len);
    assert_true(facts->payload_offset <= head_len);
    assert_int_equal(facts->payload_offset != 0, (facts->flags & transport) != 0);
    assert_true((facts->flags & ip) != ip && (facts->flags & transport) != transport);
    if (facts->flags & transport) {
        assert_true(facts->flags & ip);
        assert_false(facts->flags & FRAME_FRAGMENT);
        assert_true(facts->l4_offset > facts->l3_offset);
        assert_true(facts->payload_offset >= facts->l4_offset + 8);
    }
    if (!(facts->flags & ip)) {
        assert_int_equal(facts->ip_protocol, 0);
        assert_int_equal(facts->l4_offset, 0);
        assert_int_equal(facts->flags & (FRAME_FRAGMENT | FRAME_TRAILER), 0);
    }
}

static void build_tcp4(uint8_t flags)
{
    wire_begin(&wire);
    wire_ipv4(&wire, 6, 0);
    wire_tcp(&wire, flags, 12);
    wire_payload(&wire, 100, 1);
    wire_finish(&wire);
}

static void build_udp(unsigned version, unsigned src_port, unsigned dst_port)
{
    wire_begin(&wire);
    if (version == 4)
        wire_ipv4(&wire, 17, 0);
    else
        wire_ipv6(&wire, 17);
    wire_udp(&wire, src_port, dst_port);
    wire_payload(&wire, 18, 1);
    wire_finish(&wire);
}

static void test_plain_ipv4_udp(void **state)
{
    struct frame_facts facts;

    (void)state;
    build_udp(4, 1000, 2000);
    facts = parse();
    assert_true(frame_dst(wire.bytes) == UINT64_C(0x525400000001));
    assert_true(frame_src(wire.bytes) == UINT64_C(0x525400000002));
    assert_int_equal(facts.flags, FRAME_IPV4 | FRAME_UDP);
    assert_int_equal(facts.ethertype, 0x0800);
    assert_int_equal(facts.vlan_tci, 0);
    assert_int_equal(facts.l3_offset, 14);
    assert_int_equal(facts.l4_offset, 34);
    assert_int_equal(facts.payload_offset, 42);
    assert_int_equal(facts.ip_protocol, 17);
}

static void test_ipv4_options_and_tcp_options(void **state)
{
    struct frame_facts facts;

    (void)state;
    wire_begin(&wire);
    wire_ipv4(&wire, 6, 40);
    wire_tcp(&wire, 0x10, 40);
    wire_payload(&wire, 5, 1);
    wire_finish(&wire);
    facts = parse();
    assert_int_equal(facts.flags, FRAME_IPV4 | FRAME_TCP);
    assert_int_equal(facts.l4_offset, 14 + 60);
    assert_int_equal(facts.payload_offset, 14 + 60 + 60);
}

/* The largest headers that are walked whole fit the snapshot. */
static void test_four_tags_ipv6_and_full_tcp(void **state)
{
    struct frame_facts facts;

    (void)state;
    wire_begin(&wire);
    wire_vlan(&wire, 0x88a8, 0xe123);
    for (unsigned i = 0; i < 3; i++)
        wire_vlan(&wire, 0x8100, i);
    wire_ipv6(&wire, 6);
    wire_tcp(&wire, 0x10, 40);
    wire_finish(&wire);
    facts = parse();
    assert_int_equal(facts.flags, FRAME_VLAN | FRAME_IPV6 | FRAME_TCP);
    assert_int_equal(facts.vlan_tci, 0xe123);
    assert_int_equal(facts.ethertype, 0x86dd);
    assert_int_equal(facts.l3_offset, 30);
    assert_int_equal(facts.payload_offset, 30 + 40 + 60);
}

static void test_fifth_tag_is_not_walked(void **state)
{
    struct frame_facts facts;

    (void)state;
    wire_begin(&wire);
    for (unsigned i = 0; i < 5; i++)
        wire_vlan(&wire, 0x8100, 7 + i);
    wire_ipv4(&wire, 17, 0);
    wire_udp(&wire, 1, 67);
    wire_finish(&wire);
    facts = parse();
    assert_int_equal(facts.flags, FRAME_VLAN);
    assert_int_equal(facts.vlan_tci, 7);
    assert_int_equal(facts.ethertype, 0x8100);
    assert_int_equal(facts.l3_offset, 30);
}

/* A frame of every length from nothing on: facts appear only with the whole header they stand for.
 */
static void test_every_truncation(void **state)
{
    (void)state;
    wire_begin(&wire);
    wire_vlan(&wire, 0x8100, 5);
    wire_ipv4(&wire, 6, 4);
    wire_tcp(&wire, 0x10, 8);
    wire_payload(&wire, 40, 1);
    wire_finish(&wire);
    for (size_t n = 0; n <= wire.len; n++) {
        struct frame_facts facts = parse_head(n);

        assert_sound(&facts, n);
        assert_int_equal((facts.flags & FRAME_MALFORMED) != 0, n < 18);
        assert_int_equal((facts.flags & FRAME_VLAN) != 0, n >= 18);
        assert_int_equal((facts.flags & FRAME_IPV4) != 0, n >= wire.l4);
        assert_int_equal((facts.flags & FRAME_TCP) != 0, n >= wire.payload);
    }
}

/* The same with the frame itself cut short: its IP length then exceeds it, and is not believed. */
static void test_every_short_frame(void **state)
{
    size_t whole;

    (void)state;
    build_tcp4(0x10);
    whole = wire.len;
    for (size_t n = 0; n < whole; n++) {
        struct frame_facts facts;

        wire.len = n;
        facts = parse_head(n);
        assert_sound(&facts, n);
        assert_int_equal(facts.flags, n < 14 ? FRAME_MALFORMED : 0);
    }
}

static void test_multicast_source_is_malformed(void **state)
{
    (void)state;
    build_udp(4, 1, 2);
    wire.bytes[6] |= 1;
    assert_true(parse().flags & FRAME_MALFORMED);
    wire.bytes[6] &= 0xfe;
    wire.bytes[0] |= 1;
    assert_false(parse().flags & FRAME_MALFORMED);
    assert_true(frame_dst(wire.bytes) & MAC_MULTICAST_BIT);
}

static void test_every_version_and_ihl(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        struct frame_facts facts;
        unsigned header_len = (first & 15) * 4;

        build_tcp4(0x10);
        wire.bytes[14] = (uint8_t)first;
        facts = parse();
        assert_sound(&facts, wire.len);
        assert_int_equal((facts.flags & FRAME_IPV4) != 0, first >> 4 == 4 && header_len >= 20);
        if (facts.flags & FRAME_IPV4)
            assert_int_equal(facts.l4_offset, 14 + header_len);
    }
}

/* Every total length: too small for the header, too small for TCP, right, too large. */
static void test_every_ipv4_total_length(void **state)
{
    (void)state;
    build_tcp4(0x10);
    for (size_t total = 0; total <= 0xffff; total++) {
        struct frame_facts facts;
        bool fits = total >= 20 && total <= wire.len - 14;

        wire_be16(wire.bytes + 16, total);
        facts = parse();
        assert_int_equal((facts.flags & FRAME_IPV4) != 0, fits);
        assert_int_equal((facts.flags & FRAME_TCP) != 0, fits && total >= 20 + 32);
        assert_int_equal((facts.flags & FRAME_TRAILER) != 0, fits && total < wire.len - 14);
        assert_sound(&facts, wire.len);
    }
}

static void test_every_ipv6_payload_length(void **state)
{
    (void)state;
    build_udp(6, 1, 2);
    for (size_t payload = 0; payload <= 0xffff; payload++) {
        struct frame_facts facts;
        bool fits = payload + 54 <= wire.len;

        wire_be16(wire.bytes + 18, payload);
        facts = parse();
        assert_int_equal((facts.flags & FRAME_IPV6) != 0, fits);
        assert_int_equal((facts.flags & FRAME_UDP) != 0, fits && payload >= 8);
        assert_int_equal((facts.flags & FRAME_TRAILER) != 0, fits && payload + 54 < wire.len);
        assert_sound(&facts, wire.len);
    }
}

static void test_every_tcp_data_offset(void **state)
{
    (void)state;
    for (unsigned offset = 0; offset < 16; offset++) {
        struct frame_facts facts;

        wire_begin(&wire);
        wire_ipv4(&wire, 6, 0);
        wire_tcp(&wire, 0x10, 0);
        wire_payload(&wire, 24, 1);
        wire_finish(&wire);
        wire.bytes[wire.l4 + 12] = (uint8_t)(offset << 4 | 0x0f);
        facts = parse();
        assert_sound(&facts, wire.len);
        assert_int_equal((facts.flags & FRAME_TCP) != 0, offset >= 5 && offset <= 11);
    }
}

static void test_fragments_have_no_transport(void **state)
{
    static const uint16_t fragments[] = {0x2000, 0x0001, 0x3fff, 0x1fff, 0x6000};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(fragments); i++) {
        struct frame_facts facts;

        build_udp(4, 1, 67);
        wire_be16(wire.bytes + 20, fragments[i]);
        facts = parse();
        assert_int_equal(facts.flags, FRAME_IPV4 | FRAME_FRAGMENT);
        assert_int_equal(facts.l4_offset, 0);
        assert_int_equal(facts.ip_protocol, 17);
    }
    build_udp(4, 1, 2);
    wire_be16(wire.bytes + 20, 0xc000); /* Don't Fragment and the reserved bit are no fragment */
    assert_int_equal(parse().flags, FRAME_IPV4 | FRAME_UDP);
}

static void test_ipv6_extensions(void **state)
{
    static const uint8_t kinds[] = {0, 43, 60, 51};
    struct frame_facts facts;

    (void)state;
    wire_begin(&wire);
    wire_ipv6(&wire, 17);
    for (size_t i = 0; i < CV_COUNT_OF(kinds); i++)
        wire_extension(&wire, kinds[i], i == 1 ? 24 : 8);
    wire_udp(&wire, 5, 6);
    wire_finish(&wire);
    facts = parse();
    assert_int_equal(facts.flags, FRAME_IPV6 | FRAME_UDP);
    assert_int_equal(facts.l4_offset, 54 + 24 + 3 * 8);
    assert_int_equal(facts.ip_protocol, 17);
}

static void test_ipv6_fragment(void **state)
{
    struct frame_facts facts;

    (void)state;
    wire_begin(&wire);
    wire_ipv6(&wire, 17);
    wire_extension(&wire, 0, 8);
    wire_extension(&wire, 44, 8);
    wire_udp(&wire, 5, 6);
    wire_finish(&wire);
    facts = parse();
    assert_int_equal(facts.flags, FRAME_IPV6 | FRAME_FRAGMENT);
    assert_int_equal(facts.l4_offset, 0);
    assert_int_equal(facts.ip_protocol, 17);
}

static void test_ipv6_extensions_truncated(void **state)
{
    (void)state;
    wire_begin(&wire);
    wire_ipv6(&wire, 17);
    wire_extension(&wire, 0, 8);
    wire_extension(&wire, 43, 24);
    wire_extension(&wire, 51, 12);
    wire_udp(&wire, 5, 6);
    wire_finish(&wire);
    for (size_t n = 54; n <= wire.len; n++) {
        struct frame_facts facts = parse_head(n);

        assert_sound(&facts, n);
        assert_int_equal(facts.ip_protocol, n < 62 ? 0 : n < 86 ? 43 : n < 98 ? 51 : 17);
        assert_int_equal((facts.flags & FRAME_UDP) != 0, n >= wire.payload);
    }
}

/* Eight extension headers are walked, a ninth is not, and neither is one longer than the packet. */
static void test_ipv6_extension_bounds(void **state)
{
    struct frame_facts facts;

    (void)state;
    for (unsigned count = 7; count <= 10; count++) {
        wire_begin(&wire);
        wire_ipv6(&wire, 17);
        for (unsigned i = 0; i < count; i++)
            wire_extension(&wire, 60, 8);
        wire_udp(&wire, 5, 6);
        wire_finish(&wire);
        facts = parse();
        assert_sound(&facts, wire.len);
        assert_int_equal((facts.flags & FRAME_UDP) != 0, count <= 8);
        assert_int_equal(facts.ip_protocol, count <= 8 ? 17 : 60);
    }
    for (unsigned len = 0; len < 256; len++) {
        wire_begin(&wire);
        wire_ipv6(&wire, 17);
        wire_extension(&wire, 60, 8);
        wire_payload(&wire, 40, 1);
        wire_finish(&wire);
        wire.bytes[55] = (uint8_t)len;
        facts = parse();
        assert_sound(&facts, wire.len);
        assert_int_equal((facts.flags & FRAME_UDP) != 0, len <= 4);
        assert_int_equal(facts.ip_protocol, len <= 5 ? 17 : 60);
    }
}

/* IP protocol 0 and all others: nothing but TCP and UDP has transport facts. */
static void test_every_protocol(void **state)
{
    (void)state;
    for (unsigned version = 4; version <= 6; version += 2) {
        for (unsigned protocol = 0; protocol < 256; protocol++) {
            struct frame_facts facts;
            unsigned transport = protocol == 6 ? FRAME_TCP : protocol == 17 ? FRAME_UDP : 0;

            build_udp(version, 1, 2);
            wire_payload(&wire, 40, 3);
            wire_finish(&wire);
            wire.bytes[version == 4 ? 23 : 20] = (uint8_t)protocol;
            memset(wire.bytes + wire.l4, 0, 20);
            wire.bytes[wire.l4 + 12] = 0x50;
            facts = parse();
            assert_sound(&facts, wire.len);
            assert_int_equal(facts.flags & (FRAME_TCP | FRAME_UDP), transport);
            assert_int_equal((facts.flags & FRAME_EXPRESS) != 0,
                             protocol == (version == 4 ? 1 : 58));
        }
    }
}

static void test_express_tcp_flags(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 256; flags++) {
        build_tcp4((uint8_t)flags);
        assert_int_equal((parse().flags & FRAME_EXPRESS) != 0, (flags & 0x0f) != 0);
    }
}

static void test_express_dhcp(void **state)
{
    (void)state;
    for (unsigned version = 4; version <= 6; version += 2) {
        for (unsigned port = 0; port < 1000; port++) {
            bool dhcp = port == 67 || port == 68 || port == 546 || port == 547;

            build_udp(version, 40000, port);
            assert_int_equal((parse().flags & FRAME_EXPRESS) != 0, dhcp);
        }
    }
}

static void test_express_traffic_class(void **state)
{
    (void)state;
    for (unsigned class = 0; class < 256; class ++) {
        bool express = class >> 2 == 46 || class >> 2 == 48;

        build_udp(4, 1, 2);
        wire.bytes[15] = (uint8_t) class;
        assert_int_equal((parse().flags & FRAME_EXPRESS) != 0, express);
        build_udp(6, 1, 2);
        wire.bytes[14] = (uint8_t)(0x60 | class >> 4);
        wire.bytes[15] = (uint8_t)(class << 4 | 0x0f);
        assert_int_equal((parse().flags & FRAME_EXPRESS) != 0, express);
    }
}

static void test_express_arp_and_others(void **state)
{
    (void)state;
    wire_begin(&wire);
    wire_payload(&wire, 46, 1);
    for (unsigned type = 0; type <= 0xffff; type++) {
        struct frame_facts facts;

        wire_be16(wire.bytes + 12, type);
        facts = parse();
        assert_sound(&facts, wire.len);
        assert_int_equal((facts.flags & FRAME_EXPRESS) != 0, type == 0x0806);
    }
}

/* Bad neighbour options, and anything else in ICMPv6, are never looked into. */
static void test_neighbour_discovery(void **state)
{
    (void)state;
    for (unsigned type = 133; type <= 137; type++) {
        struct frame_facts facts;

        wire_begin(&wire);
        wire_ipv6(&wire, 58);
        wire_payload(&wire, 32, 1);
        wire_finish(&wire);
        wire.bytes[54] = (uint8_t)type;
        memset(wire.bytes + 54 + 24, 0, 8); /* an option of length zero (CVE-2023-5366) */
        facts = parse();
        assert_int_equal(facts.flags, FRAME_IPV6 | FRAME_EXPRESS);
        assert_int_equal(facts.l4_offset, 54);
        assert_int_equal(facts.payload_offset, 0);
    }
}

static void test_hash_is_one_per_flow(void **state)
{
    uint32_t hash;

    (void)state;
    build_tcp4(0x10);
    hash = parse().flow_hash;
    wire.bytes[wire.l4 + 4] ^= 0x55; /* sequence number */
    wire.bytes[wire.l3 + 5] ^= 0x55; /* IP id */
    wire.bytes[wire.l3 + 8] ^= 0x55; /* TTL */
    wire.bytes[wire.payload] ^= 0x55;
    assert_int_equal(parse().flow_hash, hash);
    for (size_t at = 26; at < 38; at++) { /* addresses and ports */
        for (unsigned bit = 0; bit < 8; bit++) {
            wire.bytes[at] ^= (uint8_t)(1u << bit);
            assert_int_not_equal(parse().flow_hash, hash);
            wire.bytes[at] ^= (uint8_t)(1u << bit);
        }
    }
    for (size_t at = 0; at < 32 * 8; at++) {
        build_udp(6, 1, 2);
        hash = parse().flow_hash;
        wire.bytes[22 + at / 8] ^= (uint8_t)(1u << at % 8);
        assert_int_not_equal(parse().flow_hash, hash);
    }
}

/* Neighbouring ports and addresses, as clients use them, spread evenly over few and many buckets.
 */
static void test_hash_spreads(void **state)
{
    enum { FLOWS = 16384, BUCKETS = 256 };
    unsigned low[BUCKETS] = {0}, high[BUCKETS] = {0};

    (void)state;
    for (unsigned i = 0; i < FLOWS; i++) {
        uint32_t hash;

        build_udp(4, 32768 + (i & 1023), 53);
        wire.bytes[29] = (uint8_t)(i >> 10);
        hash = parse().flow_hash;
        low[hash % BUCKETS]++;
        high[hash >> 24]++;
    }
    for (unsigned i = 0; i < BUCKETS; i++) { /* the mean is 64; five deviations are 40 */
        assert_in_range(low[i], 24, 104);
        assert_in_range(high[i], 24, 104);
    }
}

/* Frames of 0 to 64 arbitrary bytes, with the types and versions that lead furthest in. */
static void test_short_noise(void **state)
{
    static const uint16_t types[] = {0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806, 0x0000};
    uint32_t seed = 1;

    (void)state;
    for (unsigned round = 0; round < 60000; round++) {
        struct frame_facts facts;

        wire_begin(&wire);
        wire_payload(&wire, 50, seed++);
        wire.bytes[6] &= 0xfe;
        wire_be16(wire.bytes + 12, types[round % 6]);
        if (round % 6 < 2 && round % 5 != 0)
            wire.bytes[14] = (uint8_t)((round % 6 == 0 ? 0x40 : 0x60) | (wire.bytes[14] & 0x07));
        if (round % 3 != 0) {
            wire.bytes[16] = wire.bytes[18] = 0;
            wire.bytes[17] &= 0x3f;
            wire.bytes[19] &= 0x1f;
        }
        wire.len = round % 65;
        facts = parse_head(wire.len);
        assert_sound(&facts, wire.len);
    }
}

/* --- patterns --- */

static bool same_facts(const struct frame_facts *a, const struct frame_facts *b)
{
    return memcmp(a, b, offsetof(struct frame_facts, ip_protocol) + 1) == 0;
}

static struct frame_pattern learn(size_t head_len)
{
    struct frame_pattern pattern = {.words = 0};
    struct frame_facts facts = parse_head(head_len);

    frame_pattern_learn(&pattern, wire.bytes, head_len, wire.len, &facts);
    return pattern;
}

/* Changes every bit of the first 80 bytes in turn. What still fits must have the same facts;
 * returns how many bits may change so. */
static unsigned bits_that_may_change(void)
{
    struct frame_pattern pattern = learn(CV_MIN(wire.len, FRAME_HEAD_BYTES_MAX));
    unsigned count = 0;

    assert_true(pattern.words == 0 || frame_pattern_fits(&pattern, wire.bytes, wire.len));
    assert_false(frame_pattern_fits(&pattern, wire.bytes, wire.len - 1));
    for (unsigned bit = 0; bit < 80 * 8; bit++) {
        struct frame_facts facts;

        wire.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        facts = parse();
        if (frame_pattern_fits(&pattern, wire.bytes, wire.len)) {
            assert_true(same_facts(&facts, &pattern.facts));
            count++;
        }
        wire.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    return count;
}

/* Identification, time to live, checksums, sequence numbers and payload: trains differ in those. */
static void test_pattern_fits_a_train(void **state)
{
    (void)state;
    build_udp(4, 1000, 2000);
    wire_payload(&wire, 40, 1);
    assert_int_equal(bits_that_may_change(), (2 + 1 + 2 + 4 + 80 - 42) * 8);
    build_udp(6, 1000, 2000);
    wire_payload(&wire, 40, 1);
    assert_int_equal(bits_that_may_change(), (2 + 1 + 4 + 80 - 62) * 8);
    build_tcp4(TCP_ACK);
    assert_int_equal(bits_that_may_change(), (2 + 1 + 2 + 8 + 80 - 48) * 8);
    wire_begin(&wire);
    wire_ipv6(&wire, PROTOCOL_TCP);
    wire_tcp(&wire, TCP_ACK, 0);
    wire_payload(&wire, 100, 1);
    wire_finish(&wire);
    assert_int_equal(bits_that_may_change(), (2 + 1 + 8 + 80 - 68) * 8);
}

/* Behind the headers that were built so far. */
static void assert_udp_has_no_pattern(void)
{
    wire_udp(&wire, 1, 2);
    wire_payload(&wire, 60, 1);
    wire_finish(&wire);
    assert_int_equal(bits_that_may_change(), 0);
}

static void test_pattern_of_nothing_else(void **state)
{
    (void)state;
    wire_begin(&wire);
    wire_vlan(&wire, ETHERTYPE_VLAN, 5);
    wire_ipv4(&wire, PROTOCOL_UDP, 0);
    assert_udp_has_no_pattern();
    wire_begin(&wire);
    wire_ipv4(&wire, PROTOCOL_UDP, 8);
    assert_udp_has_no_pattern();
    wire_begin(&wire);
    wire_ipv6(&wire, PROTOCOL_UDP);
    wire_extension(&wire, PROTOCOL_HOP_BY_HOP, 8);
    assert_udp_has_no_pattern();
    wire_begin(&wire);
    wire_ipv4(&wire, PROTOCOL_ICMP, 0);
    wire_payload(&wire, 60, 1);
    wire_finish(&wire);
    assert_int_equal(bits_that_may_change(), 0);
    build_udp(4, 1, 2);
    wire_payload(&wire, 60, 1);
    wire.bytes[14 + IPV4_FRAGMENT_OFFSET] |= 0x20; /* more fragments */
    assert_int_equal(bits_that_may_change(), 0);
}

/* A pattern reads no byte that was not at hand. */
static void test_pattern_of_a_short_head(void **state)
{
    struct frame_pattern pattern;

    (void)state;
    build_udp(4, 1, 2);
    pattern = learn(39);
    assert_int_equal(pattern.words, 0);
    assert_false(frame_pattern_fits(&pattern, wire.bytes, wire.len));
    pattern = learn(42);
    assert_int_equal(pattern.words, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_ipv4_udp),
        cmocka_unit_test(test_ipv4_options_and_tcp_options),
        cmocka_unit_test(test_four_tags_ipv6_and_full_tcp),
        cmocka_unit_test(test_fifth_tag_is_not_walked),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_every_short_frame),
        cmocka_unit_test(test_multicast_source_is_malformed),
        cmocka_unit_test(test_every_version_and_ihl),
        cmocka_unit_test(test_every_ipv4_total_length),
        cmocka_unit_test(test_every_ipv6_payload_length),
        cmocka_unit_test(test_every_tcp_data_offset),
        cmocka_unit_test(test_fragments_have_no_transport),
        cmocka_unit_test(test_ipv6_extensions),
        cmocka_unit_test(test_ipv6_fragment),
        cmocka_unit_test(test_ipv6_extensions_truncated),
        cmocka_unit_test(test_ipv6_extension_bounds),
        cmocka_unit_test(test_every_protocol),
        cmocka_unit_test(test_express_tcp_flags),
        cmocka_unit_test(test_express_dhcp),
        cmocka_unit_test(test_express_traffic_class),
        cmocka_unit_test(test_express_arp_and_others),
        cmocka_unit_test(test_neighbour_discovery),
        cmocka_unit_test(test_hash_is_one_per_flow),
        cmocka_unit_test(test_hash_spreads),
        cmocka_unit_test(test_short_noise),
        cmocka_unit_test(test_pattern_fits_a_train),
        cmocka_unit_test(test_pattern_of_nothing_else),
        cmocka_unit_test(test_pattern_of_a_short_head),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

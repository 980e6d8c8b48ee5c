/*
 * Goal: the proof that merging changes nothing is worth what its three parts are: the reference
 * cutter, the ledger, and the generator of disturbed streams. Method: a super-packet is put
 * together here from packets that are known, so that cutting must give these back; headers that
 * contradict themselves must be refused; the ledger is shown every way to go wrong; the generator's
 * packets are read by a parser of their own, and its disturbances counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cutter.h"
#include "disturb.h"
#include "traffic.h"
#include "traffic_bytes.h"

static const uint8_t mac_a[6] = {0x52, 0x54, 0, 0, 0, 0xa}, mac_b[6] = {0x52, 0x54, 0, 0, 0, 0xb};

/* --- the cutter --- */

struct cut {
    unsigned count;
    size_t lens[64];
    uint8_t packets[64][2000];
};

static void keep(void *context, const uint8_t *packet, size_t len)
{
    struct cut *cut = context;

    assert_true(cut->count < 64 && len <= 2000);
    cut->lens[cut->count] = len;
    memcpy(cut->packets[cut->count++], packet, len);
}

/* The builder makes the same stream once as a super-packet and once as packets of its own. */
static void cutting_gives_back_the_packets(void **state)
{
    static const enum traffic_kind kinds[] = {TRAFFIC_TCP4, TRAFFIC_TCP6, TRAFFIC_UDP4,
                                              TRAFFIC_UDP6};
    static const size_t payloads[] = {1000, 1001, 1999, 2000, 5500, 30000, 62000};

    (void)state;
    for (unsigned k = 0; k < CV_COUNT_OF(kinds); k++) {
        for (unsigned p = 0; p < CV_COUNT_OF(payloads); p++) {
            static struct cut cut;
            static uint8_t super[66000], single[2000];
            struct traffic_source source, again;
            struct virtio_net_hdr hdr, single_hdr;
            size_t mss = 1000, left = payloads[p], len;
            struct error error = {""};

            if (left % mss > 0 && left % mss < 17)
                left += 17; /* a datagram needs its record */
            traffic_source_init(&source, kinds[k], 3, mac_b, mac_a);
            source.ip_id = 65530;
            again = source;
            len = traffic_stream_build(&source, super, left, mss, &hdr);
            cut.count = 0;
            assert_int_equal(cutter_cut(&hdr, super, len, keep, &cut, &error),
                             (left + mss - 1) / mss);
            assert_string_equal(error.text, "");
            for (unsigned i = 0; left > 0; i++) {
                size_t payload = CV_MIN(left, mss);

                len = traffic_stream_build(&again, single, payload, mss, &single_hdr);
                assert_int_equal(cut.lens[i], len);
                assert_memory_equal(cut.packets[i], single, len);
                left -= payload;
            }
        }
    }
}

/* A super-packet of three segments of 100 bytes, with these TCP flags. */
static size_t build_tcp(uint8_t *frame, uint8_t flags, struct virtio_net_hdr *hdr)
{
    struct traffic_source source;

    traffic_source_init(&source, TRAFFIC_TCP4, 3, mac_b, mac_a);
    source.headers[source.l4_offset + 13] = flags;
    return traffic_stream_build(&source, frame, 300, 100, hdr);
}

/* CWR stays with the first packet; FIN and PSH with the last (RFC 3168, 6.1.2; RFC 9293). */
static void flags_go_where_they_belong(void **state)
{
    static struct cut cut;
    uint8_t frame[1000];
    struct virtio_net_hdr hdr;
    struct error error;
    size_t len = build_tcp(frame, 0x99, &hdr); /* CWR, ACK, PSH, FIN */

    (void)state;
    hdr.gso_type |= VNET_HDR_GSO_ECN;
    assert_int_equal(cutter_cut(&hdr, frame, len, keep, &cut, &error), 3);
    assert_int_equal(cut.packets[0][47], 0x90);
    assert_int_equal(cut.packets[1][47], 0x10);
    assert_int_equal(cut.packets[2][47], 0x19);
    assert_int_equal(get_be32(cut.packets[2] + 38) - get_be32(cut.packets[0] + 38), 200);
    assert_int_equal(get_be16(cut.packets[2] + 18), get_be16(cut.packets[0] + 18) + 2);
}

static void contradictions_are_refused(void **state)
{
    static struct cut cut;
    uint8_t good[1000], frame[1000];
    struct virtio_net_hdr good_hdr;
    size_t len = build_tcp(good, 0x10, &good_hdr);

    (void)state;
    for (unsigned fault = 0; fault < 14; fault++) {
        struct virtio_net_hdr hdr = good_hdr;
        struct error error = {""};

        memcpy(frame, good, len);
        hdr.flags = fault == 0 ? 0 : hdr.flags;
        hdr.csum_start += fault == 1;
        hdr.csum_offset += fault == 2;
        hdr.gso_type = fault == 3 ? VNET_HDR_GSO_TCPV6 : hdr.gso_type;
        hdr.gso_type |= fault == 4 ? VNET_HDR_GSO_ECN : 0;
        hdr.gso_size = fault == 5 ? 0 : hdr.gso_size;
        hdr.hdr_len += fault == 6;
        frame[50] ^= fault == 7;                /* pseudo-header sum */
        frame[17] += fault == 8;                /* IP's total length, and so its sum */
        frame[24] ^= fault == 9;                /* IP's sum alone */
        frame[46] |= fault == 10 ? 0xf0 : 0;    /* a TCP header longer than it was */
        frame[14] |= fault == 11 ? 0x0f : 0;    /* an IP header likewise */
        frame[46] &= fault == 12 ? 0x0f : 0xff; /* a TCP header of no words */
        cut.count = 0;
        assert_int_equal(cutter_cut(&hdr, frame, len - (fault == 13), keep, &cut, &error), 0);
        assert_int_equal(cut.count, 0);
        assert_true(strlen(error.text) > 10);
    }
}

/* What is no super-packet passes as it is, but for a checksum that was left to be completed. */
static void other_frames_pass(void **state)
{
    static struct cut cut;
    struct traffic_source source;
    struct virtio_net_hdr hdr;
    struct error error;
    uint8_t frame[200], complete[200];

    (void)state;
    for (unsigned kind = TRAFFIC_ETHER; kind <= TRAFFIC_TCP6; kind++) {
        for (unsigned offload = 0; offload < 2; offload++) {
            traffic_source_init(&source, (enum traffic_kind)kind, 3, mac_b, mac_a);
            if (kind == TRAFFIC_UDP4 && !offload)
                source.ip_id = 5; /* this one has no checksum at all */
            traffic_frame_build(&source, complete, 100, &hdr);
            source.next_number--;
            source.ip_id--;
            source.offload_csum = offload;
            traffic_frame_build(&source, frame, 100, &hdr);
            cut.count = 0;
            assert_int_equal(cutter_cut(&hdr, frame, 100, keep, &cut, &error), 1);
            assert_int_equal(cut.lens[0], 100);
            if (kind != TRAFFIC_UDP4)
                assert_memory_equal(cut.packets[0], complete, 100);
            else
                assert_int_equal(get_be16(cut.packets[0] + 40) != 0, offload);
        }
    }
}

/* --- the ledger --- */

struct ledger_fixture {
    struct ledger ledger;
    uint8_t packet[100];
};

static void make(struct ledger_fixture *f, unsigned number)
{
    memset(f->packet, 0, sizeof(f->packet));
    put_be32(f->packet + 60, number);
}

static void enter(struct ledger_fixture *f, unsigned from, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        make(f, from + i);
        ledger_enter(&f->ledger, 1, f->packet, sizeof(f->packet));
    }
}

static void judge(struct ledger_fixture *f, unsigned number)
{
    make(f, number);
    ledger_judge(&f->ledger, 1, f->packet, sizeof(f->packet));
}

static void assert_counts(const struct ledger_fixture *f, uint64_t arrived, uint64_t lost,
                          uint64_t reordered, uint64_t doubled, uint64_t altered)
{
    const struct ledger_counts *counts = &f->ledger.counts;

    assert_int_equal(counts->arrived, arrived);
    assert_int_equal(counts->lost, lost);
    assert_int_equal(counts->reordered, reordered);
    assert_int_equal(counts->doubled, doubled);
    assert_int_equal(counts->altered, altered);
    assert_int_equal(f->ledger.first_wrong[0] != '\0', lost + reordered + doubled + altered > 0);
}

static void the_ledger_sees_everything(void **state)
{
    static struct ledger_fixture f;

    (void)state;
    assert_int_equal(ledger_init(&f.ledger, 2), 0);
    for (unsigned round = 0; round < 3 * LEDGER_PACKETS; round += 10) {
        enter(&f, round, 10);
        assert_int_equal(ledger_under_way(&f.ledger), 10);
        for (unsigned i = 0; i < 10; i++)
            judge(&f, round + i);
    }
    assert_counts(&f, f.ledger.counts.sent, 0, 0, 0, 0);
    ledger_uninit(&f.ledger);

    assert_int_equal(ledger_init(&f.ledger, 2), 0);
    enter(&f, 0, 10);
    judge(&f, 0);
    judge(&f, 2); /* 1 was passed over ... */
    assert_counts(&f, 2, 1, 0, 0, 0);
    judge(&f, 1); /* ... and came late */
    assert_counts(&f, 3, 0, 1, 0, 0);
    judge(&f, 1);
    assert_counts(&f, 3, 0, 1, 1, 0);
    judge(&f, 77);
    assert_counts(&f, 3, 0, 1, 1, 1);
    make(&f, 3);
    ledger_judge(&f.ledger, 0, f.packet, sizeof(f.packet)); /* in another flow */
    ledger_judge(&f.ledger, 1, f.packet, sizeof(f.packet) - 1);
    assert_counts(&f, 3, 0, 1, 1, 3);
    assert_int_equal(ledger_under_way(&f.ledger), 7);
    ledger_give_up(&f.ledger);
    assert_counts(&f, 3, 7, 1, 1, 3);
    assert_int_equal(ledger_under_way(&f.ledger), 0);
    ledger_uninit(&f.ledger);
}

/* What is sent twice arrives twice, and only then. */
static void the_ledger_expects_what_is_sent_twice(void **state)
{
    static struct ledger_fixture f;

    (void)state;
    assert_int_equal(ledger_init(&f.ledger, 2), 0);
    enter(&f, 5, 1);
    enter(&f, 5, 1);
    enter(&f, 6, 1);
    judge(&f, 5);
    judge(&f, 5);
    judge(&f, 6);
    assert_counts(&f, 3, 0, 0, 0, 0);
    enter(&f, 7, 1);
    enter(&f, 7, 1);
    enter(&f, 8, 1);
    judge(&f, 7);
    judge(&f, 8);
    assert_counts(&f, 5, 1, 0, 0, 0);
    ledger_uninit(&f.ledger);
}

/* --- the generator --- */

/* Every packet parses, fits Ethernet, and has a right checksum unless it is one of the few. */
static void generated_packets_are_sound(void **state)
{
    static const enum traffic_kind kinds[] = {TRAFFIC_TCP4, TRAFFIC_TCP6, TRAFFIC_UDP4,
                                              TRAFFIC_UDP6};

    (void)state;
    for (unsigned k = 0; k < CV_COUNT_OF(kinds); k++) {
        struct disturb_options options = {
            .kind = kinds[k], .flows = 30, .loss = 0.05, .reorder = 0.05, .duplicate = 0.05};
        struct disturber d;
        unsigned wrong = 0, opaque = 0, count = 50000, flow;
        uint8_t packet[LEDGER_PACKET_BYTES_MAX];

        assert_int_equal(disturber_init(&d, &options, mac_b, mac_a), 0);
        for (unsigned i = 0; i < count; i++) {
            size_t len = disturber_next(&d, packet, &flow);
            struct cutter_view view;
            uint64_t sum;

            assert_true(flow < 30 && len >= 60 && len <= 1518);
            assert_true(cutter_view(packet, len, &view));
            assert_int_equal(packet[view.l3_offset + (view.ipv6 ? 23 : 15)], flow);
            if (view.l4_offset == 0) {
                opaque++;
                continue;
            }
            assert_int_equal(view.tcp, kinds[k] == TRAFFIC_TCP4 || kinds[k] == TRAFFIC_TCP6);
            sum = sum_pseudo_header(packet + view.l3_offset, view.ipv6, view.tcp ? 6 : 17,
                                    view.end - view.l4_offset);
            if (!view.tcp && get_be16(packet + view.l4_offset + 6) == 0)
                continue;
            wrong += sum_fold(sum_add(sum, packet + view.l4_offset, view.end - view.l4_offset)) !=
                     0xffff;
        }
        assert_in_range(wrong, count / 600, count / 150);
        assert_in_range(opaque, k % 2 == 0 ? count / 1000 : 0, k % 2 == 0 ? count / 250 : 0);
        assert_in_range(d.left_out, count / 22, count / 18);
        assert_in_range(d.swapped, count / 30, count / 18);
        assert_in_range(d.doubled, count / 30, count / 18);
        disturber_uninit(&d);
    }
}

/* Of an undisturbed stream most packets continue the one before, so that there is what to merge. */
static void generated_streams_can_be_merged(void **state)
{
    struct disturb_options options = {.kind = TRAFFIC_TCP4, .flows = 1};
    uint8_t packet[LEDGER_PACKET_BYTES_MAX];
    unsigned follows = 0, count = 10000, flow;
    uint32_t next = 0;
    struct disturber d;

    (void)state;
    assert_int_equal(disturber_init(&d, &options, mac_b, mac_a), 0);
    for (unsigned i = 0; i < count; i++) {
        struct cutter_view view;
        size_t len = disturber_next(&d, packet, &flow);

        assert_true(cutter_view(packet, len, &view));
        if (view.l4_offset == 0)
            continue;
        follows += get_be32(packet + view.l4_offset + 4) == next;
        next = get_be32(packet + view.l4_offset + 4) + (uint32_t)(view.end - view.payload_offset);
    }
    assert_in_range(follows, count * 98 / 100, count);
    disturber_uninit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cutting_gives_back_the_packets),
        cmocka_unit_test(flags_go_where_they_belong),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(other_frames_pass),
        cmocka_unit_test(the_ledger_sees_everything),
        cmocka_unit_test(the_ledger_expects_what_is_sent_twice),
        cmocka_unit_test(generated_packets_are_sound),
        cmocka_unit_test(generated_streams_can_be_merged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

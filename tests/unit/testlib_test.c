/*
 * Goal: what other tests believe is itself tested. The traffic checker must see every loss,
 * doubling, reordering and alteration, and accept what a right switch does. Method: frames are
 * built, damaged in one known way, and judged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crc32c.h"
#include "traffic.h"
#include "traffic_bytes.h"

static const uint8_t mac_a[6] = {0x52, 0x54, 0, 0, 0, 0xa}, mac_b[6] = {0x52, 0x54, 0, 0, 0, 0xb};

static const enum traffic_kind all_kinds[] = {TRAFFIC_ETHER, TRAFFIC_UDP4, TRAFFIC_UDP6,
                                              TRAFFIC_TCP4, TRAFFIC_TCP6};

struct fixture {
    struct traffic_source source;
    struct traffic_checker checker;
    struct virtio_net_hdr hdr;
    uint8_t frame[66000];
};

static struct fixture *fixture_new(enum traffic_kind kind, bool offload_csum, unsigned takes)
{
    struct fixture *f = malloc(sizeof(*f));

    assert_non_null(f);
    traffic_source_init(&f->source, kind, 7, mac_b, mac_a);
    f->source.offload_csum = offload_csum;
    assert_int_equal(traffic_checker_init(&f->checker, 7, 1, takes), 0);
    return f;
}

static void fixture_free(struct fixture *f)
{
    traffic_checker_uninit(&f->checker);
    free(f);
}

static void send_number(struct fixture *f, uint64_t number, size_t len)
{
    f->source.next_number = number;
    traffic_frame_build(&f->source, f->frame, len, &f->hdr);
    traffic_check(&f->checker, &f->hdr, f->frame, len);
}

/* RFC 3720, B.4: 32 bytes of zeros, of ones, and rising. */
static void crc_vectors(void **state)
{
    uint8_t bytes[32];
    uint32_t crc;

    (void)state;
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(crc32c_finish(crc32c_add(CRC32C_START, bytes, 32)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(crc32c_finish(crc32c_add(CRC32C_START, bytes, 32)), 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(crc32c_finish(crc32c_add_portable(CRC32C_START, bytes, 32)), 0x46dd794e);
    for (size_t cut = 0; cut <= 32; cut++) {
        crc = crc32c_add(crc32c_add(CRC32C_START, bytes, cut), bytes + cut, 32 - cut);
        assert_int_equal(crc32c_finish(crc), 0x46dd794e);
    }
}

/* Every kind and every length, with and without checksum offload, is accepted as it was built. */
static void numbered_frames_are_right(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * CV_COUNT_OF(all_kinds); i++) {
        struct fixture *f = fixture_new(all_kinds[i / 2], i % 2, TRAFFIC_TAKES_CSUM);
        size_t len = traffic_frame_len_min(&f->source);
        uint64_t sent = 0;

        for (; len <= 1514; len++)
            send_number(f, sent++, len);
        assert_string_equal(f->checker.first_wrong, "");
        assert_int_equal(f->checker.counts.frames, sent);
        assert_int_equal(traffic_lost(&f->checker, 7, sent), 0);
        fixture_free(f);
    }
}

/* One bit turned anywhere in a frame is never taken for a good frame. */
static void every_bit_matters(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(all_kinds); i++) {
        struct fixture *f = fixture_new(all_kinds[i], false, 0);
        size_t len = traffic_frame_len_min(&f->source) + 33;

        traffic_frame_build(&f->source, f->frame, len, &f->hdr);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            f->frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
            traffic_check(&f->checker, &f->hdr, f->frame, len);
            f->frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        /* a frame that changed its type or port is foreign, and then lost */
        assert_int_equal(f->checker.flows[0].distinct, 0);
        assert_int_equal(f->checker.counts.altered + f->checker.counts.foreign, 8 * len);
        assert_in_range(f->checker.counts.foreign, 16, 80);
        fixture_free(f);
    }
}

static void cut_and_longer_frames_are_altered(void **state)
{
    struct fixture *f = fixture_new(TRAFFIC_UDP4, false, 0);

    (void)state;
    traffic_frame_build(&f->source, f->frame, 300, &f->hdr);
    traffic_check(&f->checker, &f->hdr, f->frame, 299);
    traffic_check(&f->checker, &f->hdr, f->frame, 301);
    assert_int_equal(f->checker.counts.altered, 2);
    fixture_free(f);
}

static void order_is_judged(void **state)
{
    struct fixture *f = fixture_new(TRAFFIC_ETHER, false, 0);
    const struct traffic_counts *counts = &f->checker.counts;

    (void)state;
    send_number(f, 0, 60);
    send_number(f, 1, 60);
    send_number(f, 1, 60);
    assert_int_equal(counts->doubled, 1);
    send_number(f, 5, 60);
    assert_int_equal(counts->reordered, 0);
    assert_int_equal(traffic_lost(&f->checker, 7, 6), 3);
    send_number(f, 3, 60);
    assert_int_equal(counts->reordered, 1);
    assert_int_equal(traffic_lost(&f->checker, 7, 6), 2);
    send_number(f, 3, 60);
    assert_int_equal(counts->doubled, 2);
    assert_int_equal(counts->altered, 0);
    fixture_free(f);
}

/* The window of remembered numbers goes round many times, with holes. */
static void window_wraps(void **state)
{
    struct fixture *f = fixture_new(TRAFFIC_ETHER, false, 0);
    uint64_t sent = 5 * TRAFFIC_WINDOW + 17;

    (void)state;
    for (uint64_t i = 0; i < sent; i++) {
        if (i % 1000 != 999)
            send_number(f, i, 60);
    }
    assert_int_equal(traffic_lost(&f->checker, 7, sent), sent / 1000);
    send_number(f, sent + 3 * TRAFFIC_WINDOW, 60);
    send_number(f, sent + 3 * TRAFFIC_WINDOW - 9, 60);
    assert_int_equal(f->checker.counts.reordered, 1);
    assert_int_equal(f->checker.counts.doubled, 0);
    fixture_free(f);
}

static void streams_are_right(void **state)
{
    const unsigned all =
        TRAFFIC_TAKES_CSUM | TRAFFIC_TAKES_TSO4 | TRAFFIC_TAKES_TSO6 | TRAFFIC_TAKES_USO;
    static const size_t lens[] = {17, 1400, 1401 + 17, 20001, 64000};

    (void)state;
    for (unsigned k = 1; k < CV_COUNT_OF(all_kinds); k++) {
        struct fixture *f = fixture_new(all_kinds[k], false, all);
        uint64_t supers = 0;

        for (unsigned round = 0; round < 200; round++) {
            size_t payload = lens[round % CV_COUNT_OF(lens)];
            size_t len = traffic_stream_build(&f->source, f->frame, payload, 1400, &f->hdr);

            supers += f->hdr.gso_type != VNET_HDR_GSO_NONE;
            traffic_check(&f->checker, &f->hdr, f->frame, len);
        }
        assert_string_equal(f->checker.first_wrong, "");
        assert_int_equal(f->checker.counts.super, supers);
        assert_int_equal(traffic_lost_bytes(&f->checker, 7, f->source.next_offset), 0);
        fixture_free(f);
    }
}

/* A super-packet is wrong for a receiver that did not agree to it, or with a wrong request. */
static void wrong_super_packets_are_seen(void **state)
{
    struct fixture *f = fixture_new(TRAFFIC_TCP4, false, TRAFFIC_TAKES_CSUM);
    struct virtio_net_hdr hdr;
    size_t len = traffic_stream_build(&f->source, f->frame, 5000, 1400, &f->hdr);

    (void)state;
    traffic_check(&f->checker, &f->hdr, f->frame, len);
    assert_int_equal(f->checker.counts.altered, 1);
    f->checker.takes |= TRAFFIC_TAKES_TSO4;
    hdr = f->hdr;
    hdr.gso_size = 0;
    traffic_check(&f->checker, &hdr, f->frame, len);
    hdr.gso_size = 1401 + 60;
    traffic_check(&f->checker, &hdr, f->frame, len);
    hdr = f->hdr;
    hdr.flags = 0;
    traffic_check(&f->checker, &hdr, f->frame, len);
    hdr = f->hdr;
    hdr.csum_start++;
    traffic_check(&f->checker, &hdr, f->frame, len);
    f->frame[1000] ^= 1;
    traffic_check(&f->checker, &f->hdr, f->frame, len);
    assert_int_equal(f->checker.counts.altered, 6);
    f->frame[1000] ^= 1;
    traffic_check(&f->checker, &f->hdr, f->frame, len);
    assert_int_equal(f->checker.counts.altered, 6);
    assert_int_equal(traffic_lost_bytes(&f->checker, 7, 5000), 0);
    fixture_free(f);
}

static void stream_order_is_judged(void **state)
{
    struct fixture *f = fixture_new(TRAFFIC_TCP6, false, 0);
    uint8_t frames[4][1514];
    struct virtio_net_hdr hdr[4];
    size_t len = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        len = traffic_stream_build(&f->source, frames[i], 1000, 1400, &hdr[i]);
    traffic_check(&f->checker, &hdr[0], frames[0], len);
    traffic_check(&f->checker, &hdr[3], frames[3], len);
    assert_int_equal(traffic_lost_bytes(&f->checker, 7, 4000), 2000);
    traffic_check(&f->checker, &hdr[1], frames[1], len);
    assert_int_equal(f->checker.counts.reordered, 1);
    traffic_check(&f->checker, &hdr[2], frames[2], len);
    assert_int_equal(traffic_lost_bytes(&f->checker, 7, 4000), 0);
    traffic_check(&f->checker, &hdr[2], frames[2], len);
    assert_int_equal(f->checker.counts.doubled, 1);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_vectors),
        cmocka_unit_test(numbered_frames_are_right),
        cmocka_unit_test(every_bit_matters),
        cmocka_unit_test(cut_and_longer_frames_are_altered),
        cmocka_unit_test(order_is_judged),
        cmocka_unit_test(window_wraps),
        cmocka_unit_test(streams_are_right),
        cmocka_unit_test(wrong_super_packets_are_seen),
        cmocka_unit_test(stream_order_is_judged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

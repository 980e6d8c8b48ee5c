/*
 * Goal: the wide sum equals RFC 1071's sum for every length, every alignment and every way of
 * cutting the bytes into pieces. Method: known examples, then all small cases against a sum taken
 * byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/wire_frames.h"
#include "wire/checksum.h"

/* Folded and complemented, as a number. */
static unsigned finish(const struct checksum *checksum)
{
    uint16_t stored = checksum_finish(checksum);

    return (unsigned)wire_get16((const uint8_t *)&stored);
}

static unsigned slow(const uint8_t *bytes, size_t n)
{
    return ~wire_sum(0, bytes, n) & 0xffff;
}

static void test_rfc_1071_example(void **state)
{
    static const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    struct checksum checksum = {0};

    (void)state;
    checksum_add(&checksum, bytes, sizeof(bytes));
    assert_int_equal(finish(&checksum), 0xffff - 0xddf2);
}

static void test_ipv4_header(void **state)
{
    static const uint8_t header[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                                     0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
    struct checksum checksum = {0};

    (void)state;
    checksum_add(&checksum, header, 10);
    checksum_add(&checksum, header + 12, 8);
    assert_int_equal(finish(&checksum), 0xb861);
    checksum_add(&checksum, header + 10, 2);
    assert_int_equal(finish(&checksum), 0);
}

static void test_nothing_and_all_ones(void **state)
{
    struct checksum checksum = {0};
    uint8_t ones[256] = {0};

    (void)state;
    checksum_add(&checksum, ones, 0);
    assert_int_equal(finish(&checksum), 0xffff);
    memset(ones, 0xff, sizeof(ones));
    for (int i = 0; i < 1000; i++)
        checksum_add(&checksum, ones, sizeof(ones));
    assert_int_equal(finish(&checksum), 0);
}

/* All lengths up to four blocks, at all eight alignments. */
static void test_every_length_and_alignment(void **state)
{
    uint8_t bytes[8 + 260];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 151 + 200);
    for (size_t start = 0; start < 8; start++) {
        for (size_t n = 0; n <= 260; n++) {
            struct checksum checksum = {0};

            checksum_add(&checksum, bytes + start, n);
            assert_int_equal(finish(&checksum), slow(bytes + start, n));
        }
    }
}

/* Three pieces cut at every two places: odd pieces behind odd pieces included. */
static void test_every_cut(void **state)
{
    enum { BYTES = 97 };
    uint8_t bytes[BYTES];

    (void)state;
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(255 - i * 37);
    for (size_t a = 0; a <= BYTES; a++) {
        for (size_t b = a; b <= BYTES; b++) {
            struct checksum checksum = {0};

            checksum_add(&checksum, bytes, a);
            checksum_add(&checksum, bytes + a, b - a);
            checksum_add(&checksum, bytes + b, BYTES - b);
            assert_int_equal(finish(&checksum), slow(bytes, BYTES));
        }
    }
}

static void test_long_with_carries(void **state)
{
    static uint8_t bytes[65535];
    struct checksum checksum = {0};

    (void)state;
    memset(bytes, 0xff, sizeof(bytes));
    bytes[65534] = 0x80;
    checksum_add(&checksum, bytes, sizeof(bytes));
    assert_int_equal(finish(&checksum), slow(bytes, sizeof(bytes)));
}

static void test_pseudo_headers(void **state)
{
    static struct wire_frame wire;

    (void)state;
    for (unsigned version = 4; version <= 6; version += 2) {
        struct checksum checksum = {0};
        const uint8_t *ip = wire.bytes + 14;

        wire_begin(&wire);
        if (version == 4)
            wire_ipv4(&wire, 17, 0);
        else
            wire_ipv6(&wire, 17);
        if (version == 4)
            checksum_add_pseudo_header_v4(&checksum, ip, 17, 0xfedc);
        else
            checksum_add_pseudo_header_v6(&checksum, ip, 17, 0x1fedc);
        assert_int_equal(finish(&checksum),
                         ~wire_pseudo_sum(ip, version, 17, version == 4 ? 0xfedc : 0x1fedc) &
                             0xffff);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_1071_example),
        cmocka_unit_test(test_ipv4_header),
        cmocka_unit_test(test_nothing_and_all_ones),
        cmocka_unit_test(test_every_length_and_alignment),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_long_with_carries),
        cmocka_unit_test(test_pseudo_headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

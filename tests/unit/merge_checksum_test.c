/*
 * Goal: nothing is merged whose checksums are not known to be right, and written as cutting would
 * write them; nothing is summed twice. Method: pairs of packets that merge but for a checksum that
 * is wrong, absent, promised, or right in another way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/merge_flow.h"

/* A wrong byte anywhere in head or pieces, in either packet. */
static void test_wrong_transport_checksum(void **state)
{
    static const size_t lens[] = {3, 1, 10};

    (void)state;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        for (unsigned i = 0; i < 40; i++) {
            unsigned n = i % 2;

            begin(kind);
            fix(make(40));
            fix(make(40));
            packets[n].bytes[packets[n].facts.payload_offset + i] ^= 0x10;
            show_in(0, 90, lens, 3);
            show_in(1, 90, lens, 3);
            assert_int_equal(join(&frames[0], &frames[1]), MERGE_REFUSED_CHECKSUM);
            assert_false(frames[n].checksum_is_good);
        }
    }
}

static void test_wrong_ipv4_checksum(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * SUMS_COUNT * 2; i++) {
        unsigned n = i / SUMS_COUNT / 2;

        begin(i % 2 ? TCP4 : UDP4);
        flow.sums = i / 2 % SUMS_COUNT;
        fix(make(40));
        fix(make(40));
        ip_of(n)[10] ^= 1;
        assert_int_equal(join(show(0), show(1)), MERGE_REFUSED_CHECKSUM);
    }
}

/* NEEDS_CSUM is believed over the very packet, with the very sum of its pseudo-header. */
static void test_wrong_wish(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KIND_COUNT * 3 * 2; i++) {
        unsigned n = i / 3 / KIND_COUNT;
        uint8_t *field;

        begin(i % KIND_COUNT);
        flow.sums = NEEDS_CSUM;
        fix(make(40));
        fix(make(40));
        field = l4_of(n) + (is_tcp() ? 16 : 6);
        if (i / KIND_COUNT % 3 == 0)
            field[1] ^= 1;
        else if (i / KIND_COUNT % 3 == 1)
            packets[n].vnet.csum_start += 2;
        else
            packets[n].vnet.csum_offset += 2;
        assert_int_equal(join(show(0), show(1)), MERGE_REFUSED_CHECKSUM);
    }
}

/* UDP without a checksum could not be cut into what it was, whatever the uplink says. */
static void test_udp_without_checksum(void **state)
{
    struct frame *super, *frame;

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = i / 2 % 2;

        begin(i % 2 ? UDP4 : UDP6);
        flow.sums = i < 4 ? COMPLETE : DATA_VALID;
        fix(make(40));
        fix(make(40));
        wire_be16(l4_of(n) + 6, 0);
        super = show(0);
        frame = show(1);
        assert_int_equal(merge_may_verify(super), n == 1);
        assert_int_equal(merge_may_verify(frame), n == 0);
        assert_int_equal(join(super, frame), MERGE_REFUSED_CHECKSUM);
    }
}

/* DATA_VALID is believed without a look: a wrong checksum behind it becomes a right one. */
static void test_data_valid_is_believed(void **state)
{
    struct frame *super;

    (void)state;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        begin(kind);
        flow.sums = DATA_VALID;
        fix(make(40));
        packets[0].bytes[packets[0].facts.payload_offset + 7] ^= 1;
        super = show(0);
        assert_int_equal(join(super, add(40)), MERGE_JOINED);
        assert_row_of(super, 2);
    }
}

/* Makes the packet's transport checksum come out as zero, by two bytes of its payload. */
static void zero_sum(unsigned n)
{
    uint8_t *payload = packets[n].bytes + packets[n].facts.payload_offset;
    size_t field = is_tcp() ? 16 : 6;

    wire_be16(payload, 0);
    fix(n);
    memcpy(payload, l4_of(n) + field, 2);
    wire_be16(l4_of(n) + field, is_tcp() ? 0 : 0xffff);
}

/*
 * A sum of zero has two ways to be written, and both verify. Cutting writes zero for TCP and all
 * ones for UDP; the other is refused, vouched for or not, since it would not come back.
 */
static void test_two_zeros(void **state)
{
    struct frame *super;

    (void)state;
    for (unsigned i = 0; i < KIND_COUNT * 2; i++) {
        begin(i % KIND_COUNT);
        fix(make(40));
        zero_sum(0);
        super = show(0);
        assert_int_equal(join(super, add(40)), MERGE_JOINED);
        assert_row_of(super, 2);
        if (!is_tcp())
            continue; /* UDP's other zero means that there is no checksum */
        begin(i % KIND_COUNT);
        fix(make(40));
        zero_sum(0);
        wire_be16(l4_of(0) + 16, 0xffff);
        packets[0].vnet.flags = i < KIND_COUNT ? 0 : VNET_HDR_F_DATA_VALID;
        super = show(0);
        assert_int_equal(join(super, add(40)), MERGE_REFUSED_CHECKSUM);
    }
}

/* The same for the IPv4 header: all ones verify where the checksum is zero. */
static void test_two_zeros_of_ipv4(void **state)
{
    struct frame *super;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        begin(TCP4);
        for (unsigned n = 0; n < 2; n++) {
            make(40);
            wire_be16(ip_of(n) + 12, 0);
        }
        fix(0);
        memcpy(ip_of(0) + 12, ip_of(0) + 10, 2);
        memcpy(ip_of(1) + 12, ip_of(0) + 10, 2);
        fix(0);
        fix(1);
        assert_int_equal(wire_get16(ip_of(0) + 10), 0);
        wire_be16(ip_of(0) + 10, i == 0 ? 0 : 0xffff);
        super = show(0);
        assert_int_equal(join(super, show(1)), i == 0 ? MERGE_JOINED : MERGE_REFUSED_CHECKSUM);
        if (i == 0)
            assert_row_of(super, 2);
    }
}

/* What was verified once is not summed again, though the sender has changed it since. */
static void test_summed_once(void **state)
{
    struct frame *super, *second, *third;

    (void)state;
    begin(TCP4);
    super = add(200);
    second = add(200);
    third = add(200);
    assert_int_equal(join(super, second), MERGE_JOINED);
    assert_true(super->checksum_is_good && second->checksum_is_good);
    *(uint8_t *)super->pieces[0].iov_base ^= 1;
    assert_int_equal(join(super, third), MERGE_JOINED);
    begin(TCP4);
    super = add(200);
    second = add(200);
    second->checksum_is_good = true;
    *(uint8_t *)second->pieces[0].iov_base ^= 1;
    assert_int_equal(join(super, second), MERGE_JOINED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_transport_checksum),
        cmocka_unit_test(test_wrong_ipv4_checksum),
        cmocka_unit_test(test_wrong_wish),
        cmocka_unit_test(test_udp_without_checksum),
        cmocka_unit_test(test_data_valid_is_believed),
        cmocka_unit_test(test_two_zeros),
        cmocka_unit_test(test_two_zeros_of_ipv4),
        cmocka_unit_test(test_summed_once),
    };

    return cmocka_run_group_tests(tests, NULL, flow_teardown);
}

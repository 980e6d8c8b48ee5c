/*
 * Goal: a group departs at the first of its reasons, and no sooner; groups remember who came when.
 * Method: each reason alone and in company, a nanosecond before and at its moment; logs of arrivals
 * at their limit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "convoy/hold.h"

static const struct hold_rule natural = {.packets_max = 256};
static const struct hold_rule holding = {.packets_max = 4, .time_max_ns = 1000};

static struct hold_group group;

static void add(unsigned packets, bool is_express, uint64_t now_ns)
{
    for (unsigned i = 0; i < packets; i++)
        hold_group_add(&group, 1, is_express, now_ns);
}

static void start(unsigned packets, uint64_t now_ns)
{
    hold_group_clear(&group);
    add(packets, false, now_ns);
}

static void places_have_names(void **state)
{
    (void)state;
    assert_string_equal(hold_place_name(HOLD_PLACE_CALL), "call");
    assert_string_equal(hold_place_name(HOLD_PLACE_DATA), "data");
}

static void no_time_is_no_waiting(void **state)
{
    (void)state;
    start(1, 500);
    assert_int_equal(hold_due_ns(&natural, &group), HOLD_NOW);
}

static void an_empty_group_is_due(void **state)
{
    struct hold_rule rule = {.packets_max = 99, .time_max_ns = 1000, .silence_max_ns = 300};

    (void)state;
    hold_group_clear(&group);
    assert_int_equal(hold_due_ns(&rule, &group), HOLD_NOW);
}

static void the_first_packet_sets_the_time(void **state)
{
    (void)state;
    start(1, 500);
    assert_int_equal(hold_due_ns(&holding, &group), 1500);
    add(2, false, 900);
    assert_int_equal(hold_due_ns(&holding, &group), 1500);
}

static void enough_packets_depart(void **state)
{
    (void)state;
    start(3, 500);
    assert_int_equal(hold_due_ns(&holding, &group), 1500);
    add(1, false, 600);
    assert_int_equal(hold_due_ns(&holding, &group), HOLD_NOW);
    add(1, false, 600);
    assert_int_equal(hold_due_ns(&holding, &group), HOLD_NOW);
}

static void express_takes_all_with_it(void **state)
{
    (void)state;
    start(1, 500);
    add(1, true, 600);
    assert_int_equal(hold_due_ns(&holding, &group), HOLD_NOW);
    add(1, false, 700);
    assert_int_equal(hold_due_ns(&holding, &group), HOLD_NOW);
    start(1, 800);
    assert_int_equal(hold_due_ns(&holding, &group), 1800);
}

static void silence_ends_a_burst(void **state)
{
    struct hold_rule rule = {.packets_max = 99, .time_max_ns = 1000, .silence_max_ns = 300};

    (void)state;
    start(1, 500);
    assert_int_equal(hold_due_ns(&rule, &group), 800);
    add(1, false, 750);
    assert_int_equal(hold_due_ns(&rule, &group), 1050);
    add(1, false, 1300);
    assert_int_equal(hold_due_ns(&rule, &group), 1500);
}

static void batches_are_remembered(void **state)
{
    (void)state;
    start(3, 500);
    add(2, false, 501);
    assert_int_equal(group.packets, 5);
    assert_int_equal(group.batch_count, 2);
    assert_int_equal(group.batches[0].arrived_ns, 500);
    assert_int_equal(group.batches[0].packets, 3);
    assert_int_equal(group.batches[1].arrived_ns, 501);
    assert_int_equal(group.batches[1].packets, 2);
}

/* A full log is a reason to depart; what comes on top of it is counted, and nothing is overrun. */
static void a_full_log_departs(void **state)
{
    struct hold_rule rule = {.packets_max = 10000, .time_max_ns = 1000000};
    struct {
        struct hold_group group;
        uint8_t behind[64];
    } fenced;
    unsigned packets = 0;

    (void)state;
    memset(&fenced, 0x5a, sizeof(fenced));
    hold_group_clear(&fenced.group);
    for (unsigned i = 0; i < HOLD_BATCHES_MAX; i++) {
        if (i > 0)
            assert_int_equal(hold_due_ns(&rule, &fenced.group), 1000100);
        hold_group_add(&fenced.group, 1, false, 100 + i);
    }
    assert_int_equal(hold_due_ns(&rule, &fenced.group), HOLD_NOW);
    for (unsigned i = 0; i < 10; i++)
        hold_group_add(&fenced.group, 1, false, 5000 + i);
    assert_int_equal(fenced.group.packets, HOLD_BATCHES_MAX + 10);
    assert_int_equal(fenced.group.batch_count, HOLD_BATCHES_MAX);
    for (unsigned i = 0; i < HOLD_BATCHES_MAX; i++)
        packets += fenced.group.batches[i].packets;
    assert_int_equal(packets, HOLD_BATCHES_MAX + 10);
    for (unsigned i = 0; i < sizeof(fenced.behind); i++)
        assert_int_equal(fenced.behind[i], 0x5a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_have_names),     cmocka_unit_test(no_time_is_no_waiting),
        cmocka_unit_test(an_empty_group_is_due), cmocka_unit_test(the_first_packet_sets_the_time),
        cmocka_unit_test(enough_packets_depart), cmocka_unit_test(express_takes_all_with_it),
        cmocka_unit_test(silence_ends_a_burst),  cmocka_unit_test(batches_are_remembered),
        cmocka_unit_test(a_full_log_departs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

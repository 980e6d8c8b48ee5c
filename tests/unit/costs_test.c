/*
 * Goal: c0 and c1 come out of transfers whatever their sizes, noise and interruptions, are usable
 * from the first on, and follow when the costs change. Method: transfers along a known line, with
 * seeded noise and outliers; where sizes cannot tell c0 from c1, what the line says of that size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <cmocka.h>

#include "convoy/costs.h"

#define C0 800e-9
#define C1 90e-9

static const struct costs_trust trust = {.memory = 256, .times_max = 8};

static struct costs costs;

static void start(void)
{
    costs = (struct costs){0};
    srand48(3);
}

static double line_at(double packets)
{
    return costs.line.transfer_s + costs.line.packet_s * packets;
}

static unsigned size_from(unsigned least, unsigned most)
{
    return least + (unsigned)(drand48() * (most - least + 1));
}

/* Transfers along a line, of sizes in a range, each up to so much (a share) too slow or too fast.
 */
static void observe(unsigned count, double c0, double c1, unsigned least, unsigned most,
                    double noise)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned packets = size_from(least, most);

        costs_observe(&costs, &trust, packets,
                      (c0 + c1 * packets) * (1 + noise * (2 * drand48() - 1)));
        assert_true(costs.line.transfer_s >= 0 && costs.line.packet_s >= 0);
    }
}

static void assert_within(double actual, double expected, double share)
{
    if (!(fabs(actual - expected) <= share * expected)) {
        print_error("%g instead of %g\n", actual, expected);
        fail();
    }
}

static void exact_samples_give_the_line(void **state)
{
    (void)state;
    start();
    costs_observe(&costs, &trust, 1, C0 + C1);
    costs_observe(&costs, &trust, 5, C0 + 5 * C1);
    assert_within(costs.line.transfer_s, C0, 1e-6);
    assert_within(costs.line.packet_s, C1, 1e-6);
    observe(1000, C0, C1, 1, 64, 0);
    assert_within(costs.line.transfer_s, C0, 1e-6);
    assert_within(costs.line.packet_s, C1, 1e-6);
}

static void noise_is_averaged_out(void **state)
{
    (void)state;
    start();
    observe(1000, C0, C1, 1, 32, 0.3);
    assert_within(costs.line.transfer_s, C0, 0.2);
    assert_within(costs.line.packet_s, C1, 0.15);
}

/* The first transfer says what one like it costs, and gives both terms some of that. */
static void usable_from_the_first(void **state)
{
    (void)state;
    for (unsigned packets = 1; packets <= 256; packets *= 4) {
        start();
        costs_observe(&costs, &trust, packets, 1e-6);
        assert_within(line_at(packets), 1e-6, 1e-6);
        assert_true(costs.line.transfer_s > 0 && costs.line.packet_s > 0);
    }
}

/* Of one size only: c0 and c1 cannot be told apart, but that size is known. */
static void sizes_all_equal(void **state)
{
    (void)state;
    for (unsigned packets = 1; packets <= 256; packets *= 16) {
        start();
        observe(5000, C0, C1, packets, packets, 0.2);
        assert_within(line_at(packets), C0 + packets * C1, 0.05);
        assert_true(costs.line.transfer_s > 0 && costs.line.packet_s > 0);
    }
}

/* Once known, the slope outlives a time in which nothing tells it, and c0 follows alone. */
static void the_slope_is_kept(void **state)
{
    (void)state;
    start();
    observe(1000, C0, C1, 1, 64, 0.05);
    observe(20000, C0, C1, 32, 32, 0.05);
    assert_within(costs.line.packet_s, C1, 0.15);
    assert_within(line_at(32), C0 + 32 * C1, 0.02);
    observe(20000, 2 * C0, C1, 32, 32, 0.05);
    assert_within(costs.line.packet_s, C1, 0.15);
    assert_within(line_at(32), 2 * C0 + 32 * C1, 0.02);
    /* Sizes that hardly differ are no better than one. */
    observe(20000, C0, C1, 31, 33, 0.2);
    assert_within(costs.line.packet_s, C1, 0.15);
}

/* One sample in a hundred with a time slice of another thread in it. */
static void interruptions_count_little(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 100; i++) {
        observe(99, C0, C1, 1, 32, 0.1);
        costs_observe(&costs, &trust, size_from(1, 32), 4e-3);
    }
    assert_within(line_at(16), C0 + 16 * C1, 0.25);
    assert_within(line_at(1), C0 + C1, 0.6);
}

/* The very first one may be such a sample: it must not stand for the next hundreds. */
static void a_freak_at_the_start(void **state)
{
    (void)state;
    start();
    costs_observe(&costs, &trust, 3, 4e-3);
    observe(3, C0, C1, 1, 32, 0.1);
    assert_true(line_at(16) < 2 * (C0 + 16 * C1));
    observe(50, C0, C1, 1, 32, 0.1);
    assert_within(line_at(16), C0 + 16 * C1, 0.1);
}

/* Costs that did change are believed, also when they are far beyond what a sample counts. */
static void changes_are_followed(void **state)
{
    (void)state;
    start();
    observe(1000, C0, C1, 1, 32, 0.1);
    observe(2000, 50 * C0, 50 * C1, 1, 32, 0.1);
    assert_within(line_at(16), 50 * (C0 + 16 * C1), 0.05);
    observe(2000, C0, C1, 1, 32, 0.1);
    assert_within(line_at(16), C0 + 16 * C1, 0.05);
}

static void no_negative_terms(void **state)
{
    (void)state;
    /* Dearer than in proportion: c0 would be negative. */
    start();
    for (unsigned i = 0; i < 500; i++) {
        unsigned packets = 1 + i % 32;

        costs_observe(&costs, &trust, packets, 1e-9 * packets * packets);
    }
    assert_true(costs.line.transfer_s == 0);
    assert_true(costs.line.packet_s > 0);
    /* The more the cheaper: c1 would be. */
    start();
    for (unsigned i = 0; i < 500; i++) {
        unsigned packets = 1 + i % 32;

        costs_observe(&costs, &trust, packets, 1e-6 - 20e-9 * packets);
    }
    assert_true(costs.line.packet_s == 0);
    assert_within(costs.line.transfer_s, 0.67e-6, 0.05);
}

/* A clock too coarse to see a transfer: nothing divides by it, and it is no line for ever. */
static void times_of_nothing(void **state)
{
    (void)state;
    start();
    observe(100, 0, 0, 1, 32, 0);
    assert_true(costs.line.transfer_s == 0 && costs.line.packet_s == 0);
    observe(2000, C0, C1, 1, 32, 0.1);
    assert_within(line_at(16), C0 + 16 * C1, 0.05);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_samples_give_the_line), cmocka_unit_test(noise_is_averaged_out),
        cmocka_unit_test(usable_from_the_first),       cmocka_unit_test(sizes_all_equal),
        cmocka_unit_test(the_slope_is_kept),           cmocka_unit_test(interruptions_count_little),
        cmocka_unit_test(a_freak_at_the_start),        cmocka_unit_test(changes_are_followed),
        cmocka_unit_test(no_negative_terms),           cmocka_unit_test(times_of_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

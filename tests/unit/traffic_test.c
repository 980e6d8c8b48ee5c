/*
 * Goal: the rate follows the load within milliseconds, and company and burstiness are those of the
 * arrivals. Method: arrivals whose rate, company and variation can be worked out by hand, a fake
 * clock, an update each millisecond. Random arrivals are seeded; what is asserted of them leaves
 * room for four standard deviations or so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "convoy/traffic.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

static struct traffic traffic;
static uint64_t now_ns, due_ns;

static void start(void)
{
    traffic = (struct traffic){0};
    now_ns = 5 * S;
    due_ns = now_ns + MS;
    srand48(7);
}

/* `packets` come a gap after the last; updates are made as the worker does, with packets. */
static void come(unsigned packets, uint64_t gap_ns)
{
    now_ns += gap_ns;
    traffic_arrived(&traffic, packets, now_ns);
    if (now_ns >= due_ns) {
        traffic_update(&traffic, now_ns);
        due_ns = now_ns + MS;
    }
}

static void come_evenly(unsigned packets, uint64_t gap_ns, uint64_t length_ns)
{
    for (uint64_t end_ns = now_ns + length_ns; now_ns < end_ns;)
        come(packets, gap_ns);
}

static uint64_t random_gap_ns(double rate)
{
    return (uint64_t)(-log1p(-drand48()) / rate * 1e9 + 0.5);
}

static void come_randomly(double rate, uint64_t length_ns)
{
    for (uint64_t end_ns = now_ns + length_ns; now_ns < end_ns;)
        come(1, random_gap_ns(rate));
}

static void assert_within(double actual, double expected, double share)
{
    if (!(fabs(actual - expected) <= share * expected)) {
        print_error("%g instead of %g\n", actual, expected);
        fail();
    }
}

static void nothing_is_known_at_first(void **state)
{
    (void)state;
    start();
    traffic_update(&traffic, now_ns);
    assert_true(traffic.rate == 0);
    assert_true(traffic_company(&traffic, 1) == 0);
    assert_true(traffic_together(&traffic) == 0);
    assert_true(traffic_close_gap(&traffic, 1) == 0);
    assert_true(traffic_burstiness(&traffic) == 1);
}

/* The clock starts with the first packet: the machine's uptime before it does not count. */
static void the_first_packet_starts_the_clock(void **state)
{
    (void)state;
    start();
    come_evenly(1, 100 * US, 30 * MS);
    assert_within(traffic.rate, 1e4, 0.02);
}

static void rates_of_all_sizes(void **state)
{
    (void)state;
    for (double rate = 10; rate <= 1e7; rate *= 10) {
        double samples, sum = 0;

        start();
        come_randomly(rate, 200 * MS + (uint64_t)(1e10 / rate));
        /* The mean of the estimate; each single one varies as much as its memory is short. */
        for (samples = 0; samples < 400; samples++) {
            come_randomly(rate, 2 * MS);
            sum += traffic.rate;
        }
        if (rate >= 1e3)
            assert_within(sum / samples, rate, 0.08);
        /* Looked at when a packet has just come, that one counts as one in the memory's time. */
        assert_true(sum / samples < 1.2 * (rate + 1e9 / (double)TRAFFIC_MEMORY_NS));
        if (rate >= 1e5)
            assert_within(traffic.rate, rate, 4 / sqrt(2 * rate * (double)TRAFFIC_MEMORY_NS / 1e9));
    }
}

static void steps_are_followed(void **state)
{
    (void)state;
    start();
    come_evenly(1, 100 * US, 100 * MS);
    come_evenly(1, US, 15 * MS);
    assert_within(traffic.rate, 1e6, 0.05);
    come_evenly(1, US, 35 * MS);
    assert_within(traffic.rate, 1e6, 0.01);
    come_evenly(1, 100 * US, 15 * MS);
    assert_true(traffic.rate < 0.05e6);
    come_evenly(1, 100 * US, 35 * MS);
    assert_within(traffic.rate, 1e4, 0.05);
}

static void silence_is_not_forgotten(void **state)
{
    (void)state;
    start();
    come_evenly(1, US, 100 * MS);
    come(1, S);
    assert_within(traffic.rate, 1, 0.01);
    come(1, S);
    assert_within(traffic.rate, 1, 0.01);
}

/* The same number of packets in the same time is one rate, however often it is asked for. */
static void updates_at_any_distance(void **state)
{
    double rates[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        start();
        for (unsigned j = 0; j < 4000; j++) {
            now_ns += 10 * US;
            traffic_arrived(&traffic, 1, now_ns);
            if (j % (1 + 199 * i) == 0)
                traffic_update(&traffic, now_ns);
        }
        traffic_update(&traffic, now_ns);
        traffic_update(&traffic, now_ns);
        traffic_update(&traffic, now_ns - 1);
        rates[i] = traffic.rate;
    }
    assert_within(rates[0], 1e5, 0.01);
    assert_within(rates[1], 1e5, 0.01);
    assert_within(rates[2], 1e5, 0.01);
}

static void windows_are_edges(void **state)
{
    (void)state;
    assert_true(traffic_window(0) == 0);
    assert_true(traffic_window(0.9e-9) == 0);
    assert_within(traffic_window(1e-9), 1e-9, 1e-9);
    assert_within(traffic_window(3.5e-9), 3e-9, 1e-9);
    assert_within(traffic_window(40e-6), 32768e-9 * 1.0, 0.25);
    assert_within(traffic_window(3600), 2.147483648, 1e-9);
    for (double window_s = 4e-9; window_s < 2; window_s *= 1.01) {
        double edge_s = traffic_window(window_s);

        assert_true(edge_s <= window_s * (1 + 1e-9) && edge_s >= 0.8 * window_s);
        assert_within(traffic_window(edge_s), edge_s, 1e-9);
    }
}

static void company_of_even_arrivals(void **state)
{
    (void)state;
    for (uint64_t gap_ns = 5; gap_ns < S; gap_ns += 1 + gap_ns / 3) {
        double gap_s = (double)gap_ns / 1e9;

        start();
        for (unsigned i = 0; i < 100; i++)
            come(1, gap_ns);
        traffic_update(&traffic, now_ns + 1);
        assert_true(traffic_company(&traffic, 0.99 * gap_s) == 0);
        assert_within(traffic_company(&traffic, 1.25 * gap_s + 1e-9), 1, 1e-6);
        assert_within(traffic_close_gap(&traffic, 2 * gap_s), gap_s, 0.13);
        /* Of gaps as long as the memory too few are left to say. */
        assert_true(traffic_burstiness(&traffic) < 0.01 ||
                    (gap_ns > MS && traffic_burstiness(&traffic) == 1));
        assert_true(traffic_together(&traffic) == 0);
    }
}

static void company_of_random_arrivals(void **state)
{
    (void)state;
    for (double rate = 3e4; rate <= 1e6; rate *= 3) {
        start();
        come_randomly(rate, 100 * MS);
        for (double mean = 0.1; mean < 5; mean *= 2) {
            double window_s = traffic_window(mean / rate), expected = -expm1(-rate * window_s);
            double gaps = traffic.gap_weight;

            assert_within(traffic_company(&traffic, mean / rate), expected,
                          0.05 + 4 * sqrt((1 - expected) / expected / gaps));
        }
        assert_within(traffic_burstiness(&traffic), 1, 0.5);
    }
}

/* What comes together is company at no distance; it does not look like bursts. */
static void packets_that_come_together(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 2000; i++)
        come(8, 20 * US);
    assert_within(traffic.rate, 4e5, 0.01);
    assert_within(traffic_together(&traffic), 7.0 / 8, 0.01);
    assert_within(traffic_company(&traffic, 10e-6), 7.0 / 8, 0.01);
    assert_within(traffic_company(&traffic, 30e-6), 1, 0.001);
    assert_within(traffic_close_gap(&traffic, 30e-6), 20e-6, 0.13);
    assert_true(traffic_burstiness(&traffic) < 0.01);

    /* So does a second call in the same round. */
    start();
    for (unsigned i = 0; i < 2000; i++) {
        come(3, 20 * US);
        come(1, 0);
    }
    assert_within(traffic_together(&traffic), 3.0 / 4, 0.01);
}

/* All that came during a lost time slice is no batch like others. */
static void what_came_while_nobody_looked(void **state)
{
    (void)state;
    start();
    come_evenly(1, US, 50 * MS);
    come(3000, 3 * MS);
    come_evenly(1, US, 2 * MS);
    assert_true(traffic_together(&traffic) < 0.25);
    assert_within(traffic.rate, 1e6, 0.02);
}

/* --- packets that nobody saw come --- */

/* `packets` were found at once, `span_ns` after those before; updates as with come. */
static void come_unseen(unsigned packets, uint64_t span_ns)
{
    now_ns += span_ns;
    traffic_arrived_unseen(&traffic, packets, now_ns);
    if (now_ns >= due_ns) {
        traffic_update(&traffic, now_ns);
        due_ns = now_ns + MS;
    }
}

/* They count as at even distances: nothing else than if each had been seen. */
static void unseen_packets_came_evenly(void **state)
{
    (void)state;
    for (uint64_t gap_ns = 5; gap_ns <= 1000; gap_ns *= 2) {
        double gap_s = (double)gap_ns / 1e9;

        start();
        come(1, US);
        while (traffic.updated_ns < 5 * S + 40 * MS)
            come_unseen(32, 32 * gap_ns);
        assert_within(traffic.rate, 1e9 / (double)gap_ns, 0.01);
        assert_true(traffic_together(&traffic) == 0);
        assert_true(traffic_company(&traffic, 0.99 * gap_s) == 0);
        assert_within(traffic_company(&traffic, 1.25 * gap_s + 1e-9), 1, 0.001);
        assert_within(traffic_close_gap(&traffic, 2 * gap_s), gap_s, 0.13);
        assert_true(traffic_burstiness(&traffic) < 0.02);
    }
}

/* Whether a stream is seen or not now and then, it remains the same stream. */
static void unseen_packets_among_seen_ones(void **state)
{
    (void)state;
    start();
    while (now_ns < 5 * S + 50 * MS) {
        for (unsigned i = 0; i < 20; i++)
            come(1, 200);
        come_unseen(30, 30 * 200);
    }
    assert_within(traffic.rate, 5e6, 0.01);
    assert_within(traffic_company(&traffic, 300e-9), 1, 0.001);
    assert_within(traffic_close_gap(&traffic, 1e-6), 200e-9, 0.13);
    assert_true(traffic_burstiness(&traffic) < 0.02);
}

/* The first ever start the clock; there is no gap before them. */
static void first_packets_are_unseen(void **state)
{
    (void)state;
    start();
    traffic_arrived_unseen(&traffic, 1, now_ns);
    assert_int_equal(traffic.last_ns, now_ns);
    assert_int_equal(traffic.updated_ns, now_ns);
    traffic_update(&traffic, now_ns + MS);
    assert_true(traffic.gap_weight == 0);

    start();
    come_unseen(32, 0);
    while (now_ns < 5 * S + 40 * MS)
        come_unseen(32, 32 * US);
    assert_within(traffic.rate, 1e6, 0.01);
}

/* More than nanoseconds, or in no time at all, or time seems to run back: gaps are never shorter
 * than the shortest above 0, and there is one for each packet. */
static void more_unseen_packets_than_nanoseconds(void **state)
{
    (void)state;
    start();
    come(1, US);
    come_unseen(50, 49);
    come_unseen(10, 0);
    traffic_arrived_unseen(&traffic, 5, now_ns - 100);
    assert_int_equal(traffic.gap_fresh[0], 0);
    assert_int_equal(traffic.gap_fresh[1], 65);
    assert_int_equal(traffic.fresh_packets, 66);
    traffic_update(&traffic, 5 * S + US + MS);
    assert_true(traffic_together(&traffic) == 0);
    assert_true(traffic_company(&traffic, 2.5e-9) == 1);
}

/* 20 packets 2 us apart, then a millisecond of nothing. */
static void bursts(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 200; i++)
        come(1, i % 20 == 0 ? MS : 2 * US);
    assert_within(traffic_company(&traffic, 50e-6), 0.95, 0.02);
    assert_within(traffic_close_gap(&traffic, 50e-6), 2e-6, 0.13);
    /* mean 51.9 us, mean square 0.05 ms^2 */
    assert_within(traffic_burstiness(&traffic), 17.6, 0.2);
}

/* Requests that wait for their answers are never followed. */
static void old_company_is_forgotten(void **state)
{
    (void)state;
    start();
    come_evenly(1, US, 200 * MS);
    assert_within(traffic_company(&traffic, 50e-6), 1, 0.01);
    come_evenly(1, 100 * US, 40 * MS);
    assert_true(traffic_company(&traffic, 50e-6) * traffic.gap_weight < 1);
    assert_true(traffic_company(&traffic, 50e-6) < 0.03);
}

/* A dense millisecond weighs no more than any other, and nothing decays into denormal numbers. */
static void memory_is_bounded(void **state)
{
    (void)state;
    start();
    come_evenly(1, 100, 100 * MS);
    assert_true(traffic.gap_weight < 5.5 * TRAFFIC_GAPS_PER_UPDATE);
    come_evenly(1, 900 * US, S);
    for (unsigned i = 0; i < TRAFFIC_GAP_BUCKETS; i++)
        assert_true(traffic.gap_share[i] == 0 || traffic.gap_share[i] > 1e-7f);
    assert_true(traffic_company(&traffic, 1e-6) == 0);
}

/* A worker's time does not run back, but nothing breaks if it seems to. */
static void time_that_stands_still(void **state)
{
    (void)state;
    start();
    traffic_arrived(&traffic, 1, now_ns);
    traffic_arrived(&traffic, 1, now_ns - 5);
    traffic_arrived(&traffic, 1, now_ns - 5 + 3 * S);
    traffic_update(&traffic, now_ns + 3 * S);
    assert_within(traffic_together(&traffic), 0.5, 1e-6);
    assert_true(traffic_company(&traffic, 2) < 0.6);
    assert_true(traffic_burstiness(&traffic) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_at_first),
        cmocka_unit_test(the_first_packet_starts_the_clock),
        cmocka_unit_test(rates_of_all_sizes),
        cmocka_unit_test(steps_are_followed),
        cmocka_unit_test(silence_is_not_forgotten),
        cmocka_unit_test(updates_at_any_distance),
        cmocka_unit_test(windows_are_edges),
        cmocka_unit_test(company_of_even_arrivals),
        cmocka_unit_test(company_of_random_arrivals),
        cmocka_unit_test(packets_that_come_together),
        cmocka_unit_test(what_came_while_nobody_looked),
        cmocka_unit_test(unseen_packets_came_evenly),
        cmocka_unit_test(unseen_packets_among_seen_ones),
        cmocka_unit_test(first_packets_are_unseen),
        cmocka_unit_test(more_unseen_packets_than_nanoseconds),
        cmocka_unit_test(bursts),
        cmocka_unit_test(old_company_is_forgotten),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(time_that_stands_still),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

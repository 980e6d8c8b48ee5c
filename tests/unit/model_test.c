/*
 * Goal: the formulas of the model are what the header says, over everything that a network can
 * bring. Method: each is computed again as it stands there, term by term in long double, and
 * compared to twelve digits; where even that has no room (rates and times at the far ends) it is
 * held against the limits that can be worked out by hand. That the formulas are true of traffic is
 * for tests/model/queueing_model_test.c to show.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>

#include "convoy/model.h"

#define DIGITS 1e-12L

static void check_close(double actual, long double expected, long double tolerance, int line)
{
    if (!(fabsl((long double)actual - expected) <= tolerance * fabsl(expected))) {
        print_error("line %d: %.17g instead of %.17Lg\n", line, actual, expected);
        fail();
    }
}

#define assert_close(actual, expected) check_close(actual, expected, DIGITS, __LINE__)
#define assert_near(actual, expected)  check_close(actual, expected, 1e-6L, __LINE__)

/* Pr{Poisson(mean) = n}, one factor after the other; in an order in which nothing overflows. */
static long double reference_point(unsigned n, long double mean)
{
    long double point = 1, left = mean;

    for (unsigned i = 1; i <= n; i++) {
        point *= mean / i;
        while (point > 1 && left > 1) {
            point *= expl(-1);
            left--;
        }
    }
    return point * expl(-left);
}

/* Pr{Poisson(mean) >= n}: all terms from n on, up to where the distribution has long ended. */
static long double reference_tail(unsigned n, long double mean)
{
    unsigned end = (unsigned)(mean + 60 * sqrtl(mean) + 200) + n;
    long double point = reference_point(n, mean), sum = 0;

    for (unsigned i = n; i < end; i++) {
        sum += point;
        point *= mean / (i + 1);
    }
    return sum;
}

/* The two sums of the header, and that of E[B^2] = sum (2n-1) Pr{B >= n}. */
struct reference {
    long double size, wait, square;
};

static struct reference reference(double rate, unsigned packets_max, double time_s)
{
    struct reference result = {.size = 1, .wait = 0, .square = 1};
    long double mean = (long double)rate * time_s;

    for (unsigned n = 1; n < packets_max; n++) {
        long double tail = reference_tail(n, mean);

        result.size += tail;
        result.wait += n * tail;
        result.square += (2 * n + 1) * tail;
    }
    result.wait /= rate * result.size;
    return result;
}

static void poisson_tails(void **state)
{
    static const double means[] = {1e-9, 0.01, 0.5, 1, 3, 17.3, 100, 255.5, 700};

    (void)state;
    assert_close(model_poisson_tail(3, 2), 1 - 5 * expl(-2));
    assert_true(model_poisson_tail(0, 5) == 1);
    assert_true(model_poisson_tail(0, 0) == 1);
    assert_true(model_poisson_tail(1, 0) == 0);
    for (size_t i = 0; i < sizeof(means) / sizeof(means[0]); i++) {
        for (unsigned n = 1; n <= 1000; n += 1 + n / 7) {
            long double expected = reference_tail(n, means[i]);

            /* Numbers that a double cannot hold to all digits are nothing, more or less. */
            if (expected > 1e-290L)
                check_close(model_poisson_tail(n, means[i]), expected, 1e-11L, __LINE__);
            else
                assert_true(model_poisson_tail(n, means[i]) <= 1e-289);
        }
    }
}

/* Where the sums of the reference would take for ever or leave the numbers. */
static void poisson_tails_far_out(void **state)
{
    (void)state;
    assert_true(model_poisson_tail(255, 1e8) == 1);
    assert_true(model_poisson_tail(4000000000u, 1e8) == 0);
    assert_true(model_poisson_tail(256, 1e-300) == 0);
    /* Ramanujan: Pr{N < mean} and a third of the point at the mean (1 / sqrt(2 pi mean)) are half.
     */
    check_close(model_poisson_tail(100000000, 1e8), 0.5 + 1 / sqrt(2 * 3.14159265358979 * 1e8) / 3,
                1e-8L, __LINE__);
    /* One step up loses one point; each tail is good to nine digits here. */
    check_close(model_poisson_tail(1000000, 1e6) - model_poisson_tail(1000001, 1e6),
                1 / sqrt(2 * 3.14159265358979 * 1e6), 1e-5L, __LINE__);
}

static void sizes_and_waits(void **state)
{
    static const double means[] = {1e-6, 0.03, 0.5, 1, 2.5, 9, 40, 254, 256, 400};
    static const unsigned limits[] = {1, 2, 3, 4, 5, 8, 32, 255, 256, 600};
    static const double rates[] = {1, 3e3, 1e8};

    (void)state;
    for (size_t i = 0; i < sizeof(means) / sizeof(means[0]); i++) {
        for (size_t j = 0; j < sizeof(limits) / sizeof(limits[0]); j++) {
            struct reference unit = reference(1, limits[j], means[i]);

            for (size_t k = 0; k < sizeof(rates) / sizeof(rates[0]); k++) {
                double rate = rates[k], time_s = means[i] / rate;

                assert_close(model_mean_size(rate, limits[j], time_s), unit.size);
                assert_close(model_mean_square_size(rate, limits[j], time_s), unit.square);
                assert_close(model_mean_wait(rate, limits[j], time_s), unit.wait / rate);
                assert_close(model_release_interval(rate, limits[j], time_s), unit.size / rate);
                assert_true(model_mean_wait(rate, limits[j], time_s) <= time_s);
            }
        }
    }
}

/* Company beyond the first packet keeps its digits where it is one in a million million. */
static void rare_company_is_not_lost(void **state)
{
    double wait_s = model_mean_wait(1, 256, 1e-12);

    (void)state;
    assert_near(wait_s, 1e-12);
    assert_true(wait_s <= 1e-12);
    assert_near(model_mean_wait(1e-3, 2, 1e-9), 1e-9);
}

static void far_ends_of_rates_and_times(void **state)
{
    (void)state;
    for (double rate = 1; rate <= 1e8; rate *= 10) {
        for (unsigned limit = 1; limit <= 1u << 20; limit *= 4) {
            /* No time: alone. */
            assert_true(model_mean_size(rate, limit, 0) == 1);
            assert_true(model_mean_square_size(rate, limit, 0) == 1);
            assert_true(model_mean_wait(rate, limit, 0) == 0);
            /* Time enough: full, and the first waits for K-1 more. */
            assert_close(model_mean_size(rate, limit, 1e8), limit);
            assert_close(model_mean_square_size(rate, limit, 1e8), (double)limit * limit);
            assert_close(model_mean_wait(rate, limit, 1e8), (limit - 1.0) / (2 * rate));
        }
        /* No limit but time: 1 + m, and what integrating the queue over T gives. */
        for (double time_s = 1e-9; time_s <= 1; time_s *= 10) {
            long double mean = (long double)rate * time_s;

            assert_near(model_mean_size(rate, UINT32_MAX, time_s), 1 + mean);
            assert_near(model_mean_square_size(rate, UINT32_MAX, time_s),
                        1 + 3 * mean + mean * mean);
            assert_near(model_mean_wait(rate, UINT32_MAX, time_s),
                        time_s * (1 + mean / 2) / (1 + mean));
        }
    }
}

/* More patience makes larger convoys and longer waits, never the reverse. */
static void grows_with_patience(void **state)
{
    (void)state;
    for (double mean = 0.001; mean < 2000; mean *= 1.5) {
        for (unsigned limit = 2; limit <= 300; limit += 1 + limit / 5) {
            double size = model_mean_size(1e6, limit, mean / 1e6);
            double square = model_mean_square_size(1e6, limit, mean / 1e6);
            double wait_s = model_mean_wait(1e6, limit, mean / 1e6);
            double slack = 1 + 1e-12;

            assert_true(size >= 1 && size <= limit * slack);
            assert_true(square * slack >= size * size && square <= limit * size * slack);
            assert_true(wait_s <= (limit - 1) / 2e6 * slack);
            assert_true(model_mean_size(1e6, limit + 1, mean / 1e6) * slack >= size);
            assert_true(model_mean_wait(1e6, limit + 1, mean / 1e6) * slack >= wait_s);
            assert_true(model_mean_size(1e6, limit, mean / 0.9e6) * slack >= size);
            assert_true(model_mean_wait(1e6, limit, mean / 0.9e6) * slack >= wait_s);
        }
    }
}

static void the_channel(void **state)
{
    static const struct model_costs costs = {.transfer_s = 3e-6, .packet_s = 0.5e-6};
    static const struct model_costs copying = {.transfer_s = 0, .packet_s = 2e-6};
    double size = model_mean_size(2e5, 16, 20e-6), square = model_mean_square_size(2e5, 16, 20e-6);
    double busy, service_2;

    (void)state;
    assert_close(model_capacity(&costs, 1), 1 / 3.5e-6L);
    assert_close(model_capacity(&costs, 6), 1e6L);
    assert_close(model_utilisation(2e5, 1, 0, &costs), 0.7L);

    busy = model_utilisation(2e5, 16, 20e-6, &costs);
    assert_close(busy, 2e5 / model_capacity(&costs, size));
    service_2 = 9e-12 + 3e-12 * size + 0.25e-12 * square;
    assert_close(model_channel_wait(2e5, 16, 20e-6, &costs),
                 2e5 / size * service_2 / (2 * (1 - busy)));
    assert_close(model_total_delay(2e5, 16, 20e-6, &costs),
                 model_mean_wait(2e5, 16, 20e-6) + model_channel_wait(2e5, 16, 20e-6, &costs) +
                     3e-6 + 0.5e-6 * square / size);

    /* Alone, with one fixed cost: the wait of M/D/1 is the service times busy / (2 (1 - busy)). */
    assert_close(model_channel_wait(4e5, 1, 1, &copying), 2e-6L * 0.8L / (2 * 0.2L));
    assert_close(model_total_delay(4e5, 1, 1, &copying), 2e-6L * 3);
}

/* Without aggregation the delay diverges where rate (c0 + c1) reaches 1; with it, it does not. */
static void divergence(void **state)
{
    static const struct model_costs costs = {.transfer_s = 3e-6, .packet_s = 1e-6};

    (void)state;
    assert_true(model_total_delay(0.2499e6, 1, 0, &costs) < 1);
    assert_true(isinf(model_channel_wait(0.25e6, 1, 0, &costs)));
    assert_true(isinf(model_total_delay(0.3e6, 1, 0, &costs)));
    assert_true(model_total_delay(0.3e6, 256, 50e-6, &costs) < 60e-6);
    assert_true(isinf(model_total_delay(1.1e6, 256, 1, &costs)));
}

static void the_budget(void **state)
{
    (void)state;
    for (double rate = 1; rate <= 1e8; rate *= 3) {
        for (double budget_s = 1e-6; budget_s < 0.1; budget_s *= 5) {
            long double packets = (long double)rate * budget_s;
            double time_s = model_budget_time(rate, budget_s);

            assert_close(time_s, (packets - 1 + sqrtl(1 + packets * packets)) / rate);
            assert_true(time_s >= budget_s && time_s <= 2 * budget_s);
            /* It is the T of which the mean wait is the budget. */
            assert_near(model_mean_wait(rate, UINT32_MAX, time_s), budget_s);
            assert_true(model_budget_packets(rate, budget_s) <= 1 + 2 * packets + 1e-6L);
            assert_true(model_budget_packets(rate, budget_s) > 2 * packets - 1e-6L);
        }
    }
    assert_true(model_budget_time(1e6, 0) == 0);
    assert_true(model_budget_packets(1e6, 0) == 1);
    /* 2 * 1e5 * 50e-6 is 10 but for rounding. */
    assert_true(model_budget_packets(1e5, 50e-6) == 11);
    assert_true(model_budget_packets(0.99e5, 50e-6) == 10);
}

/* Cost of one packet: its share of a transfer, and its wait. */
static double cost(double rate, double ratio_s, double time_s)
{
    return ratio_s / model_mean_size(rate, UINT32_MAX, time_s) +
           model_mean_wait(rate, UINT32_MAX, time_s);
}

static void the_least_cost(void **state)
{
    (void)state;
    for (double rate = 1e2; rate <= 1e8; rate *= 7) {
        for (double ratio_s = 1e-7; ratio_s < 1; ratio_s *= 3) {
            double time_s = model_least_cost_time(rate, ratio_s);

            if (rate * ratio_s <= 1) {
                assert_true(time_s == 0);
                assert_true(cost(rate, ratio_s, 0) <= cost(rate, ratio_s, 0.01 / rate));
                continue;
            }
            assert_near(time_s, (sqrtl(2 * (long double)rate * ratio_s - 1) - 1) / rate);
            for (double other = 0.5; other <= 2; other += 0.1)
                assert_true(cost(rate, ratio_s, time_s) <=
                            cost(rate, ratio_s, other * time_s) * (1 + 1e-9));
            assert_true(cost(rate, ratio_s, time_s) < cost(rate, ratio_s, 0.5 * time_s));
            assert_true(cost(rate, ratio_s, time_s) < cost(rate, ratio_s, 2 * time_s));
        }
    }
    /* Low rates: never. High ones: less again. */
    assert_true(model_least_cost_time(1e4, 1e-4) == 0);
    assert_true(model_least_cost_time(3e4, 1e-4) > model_least_cost_time(1.1e4, 1e-4));
    assert_true(model_least_cost_time(3e4, 1e-4) > model_least_cost_time(1e6, 1e-4));
}

static void the_least_cost_by_number(void **state)
{
    (void)state;
    for (double worth = 0; worth < 1e5; worth = worth * 1.3 + 0.01) {
        double packets = model_least_cost_packets(1e6, worth / 1e6);
        double least = worth / packets + (packets - 1) / 2;

        assert_true(packets >= 1);
        assert_true(least <= worth / (packets + 1) + packets / 2 + 1e-9);
        if (packets > 1)
            assert_true(least <= worth / (packets - 1) + (packets - 2) / 2 + 1e-9);
    }
    /* At the very edge, two or one cost the same. */
    assert_true(model_least_cost_packets(1e6, 1e-6) == 2);
    assert_true(model_least_cost_packets(1e6, 0.99e-6) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poisson_tails),
        cmocka_unit_test(poisson_tails_far_out),
        cmocka_unit_test(sizes_and_waits),
        cmocka_unit_test(rare_company_is_not_lost),
        cmocka_unit_test(far_ends_of_rates_and_times),
        cmocka_unit_test(grows_with_patience),
        cmocka_unit_test(the_channel),
        cmocka_unit_test(divergence),
        cmocka_unit_test(the_budget),
        cmocka_unit_test(the_least_cost),
        cmocka_unit_test(the_least_cost_by_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Goal: the formulas of convoy/model.h are true of traffic, within 2 %. Method: a simulation that
 * knows none of them. Packets come at random moments; one that finds no convoy opens one; it
 * departs with its K-th packet or T after its first; a server takes convoys one after the other.
 * What the simulation counts is compared with what the model says, over a grid of rates, K, T and
 * service.
 *
 * The wait for the channel is exact where convoys come as a Poisson process, which the simulation
 * can also make them do. Behind the real rule it is an upper bound: a table says how far above.
 *
 * Then the two closed rules: the T of the budget spends the budget, and the T of least cost costs
 * least, by simulated convoys and waits alone.
 *
 * Numbers are seeded, so a run is the same every time; sizes of samples are such that chance alone
 * (three standard errors, mostly more) stays within what is asserted for any seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>

#include "convoy/model.h"

#define TOLERANCE 0.02

enum { COUNT_UNLIMITED = 1u << 30 };

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* --- the simulation --- */

static uint64_t random_state;

/* SplitMix64 (Steele, Lea, Flood 2014), to (0, 1]. */
static double random_unit(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return ((double)((z ^ (z >> 31)) >> 11) + 1) / 0x1p53;
}

static double random_gap(double rate)
{
    return -log(random_unit()) / rate;
}

struct rule {
    double rate;          /* packets per second */
    unsigned packets_max; /* K */
    double time_s;        /* T */
};

/* What arrives next; times are since the last departure, so that they keep their digits. */
struct stream {
    double next_s;
};

/* One convoy: from its first packet to its departure. */
struct trip {
    double idle_s; /* from the departure before to the first packet */
    double open_s; /* from there to departure */
    double wait_s; /* of all its packets, added up */
    unsigned packets;
};

static struct trip depart(struct stream *stream, const struct rule *rule)
{
    struct trip trip = {.idle_s = stream->next_s};
    double arrived_s = 0, arrivals_s = 0;

    for (;;) {
        double next_s = arrived_s + random_gap(rule->rate);

        trip.packets++;
        arrivals_s += arrived_s;
        trip.open_s = trip.packets == rule->packets_max ? arrived_s : rule->time_s;
        if (trip.packets == rule->packets_max || next_s > rule->time_s) {
            stream->next_s = next_s - trip.open_s;
            trip.wait_s = trip.packets * trip.open_s - arrivals_s;
            return trip;
        }
        arrived_s = next_s;
    }
}

static struct stream stream_begin(uint64_t seed, const struct rule *rule)
{
    random_state = seed;
    return (struct stream){.next_s = random_gap(rule->rate)};
}

/* --- comparing --- */

static unsigned compared;
static double worst;

static void compare(const char *what, const struct rule *rule, double simulated, double predicted)
{
    double error = predicted == simulated ? 0 : fabs(predicted / simulated - 1);

    compared++;
    worst = fmax(worst, error);
    if (error > TOLERANCE) {
        print_error("%s at rate %g, K %u, T %g: simulated %g, the model says %g (%+.2f %%)\n", what,
                    rule->rate, rule->packets_max, rule->time_s, simulated, predicted,
                    100 * (predicted / simulated - 1));
        fail();
    }
}

static void print_worst(const char *what)
{
    print_message("%s: %u figures, worst error %.2f %%\n", what, compared, 100 * worst);
    assert_true(compared > 0);
    compared = 0;
    worst = 0;
}

/* --- the rule --- */

static void compare_rule(const struct rule *rule, const struct model_costs *costs)
{
    enum { PACKETS = 400000, TRIPS_MIN = 20000 };
    struct stream stream = stream_begin(1, rule);
    double trips = 0, packets = 0, squares = 0, wait_s = 0, elapsed_s = 0, busy_s = 0;

    while (packets < PACKETS || trips < TRIPS_MIN) {
        struct trip trip = depart(&stream, rule);

        trips++;
        packets += trip.packets;
        squares += (double)trip.packets * trip.packets;
        wait_s += trip.wait_s;
        elapsed_s += trip.idle_s + trip.open_s;
        busy_s += costs->transfer_s + trip.packets * costs->packet_s;
    }
    compare("E[B]", rule, packets / trips,
            model_mean_size(rule->rate, rule->packets_max, rule->time_s));
    compare("E[B^2]", rule, squares / trips,
            model_mean_square_size(rule->rate, rule->packets_max, rule->time_s));
    compare("E[W]", rule, wait_s / packets,
            model_mean_wait(rule->rate, rule->packets_max, rule->time_s));
    compare("release interval", rule, elapsed_s / trips,
            model_release_interval(rule->rate, rule->packets_max, rule->time_s));
    compare("capacity", rule, packets / busy_s,
            model_capacity(costs, model_mean_size(rule->rate, rule->packets_max, rule->time_s)));
    compare("utilisation", rule, busy_s / elapsed_s,
            model_utilisation(rule->rate, rule->packets_max, rule->time_s, costs));
}

static void the_rule(void **state)
{
    static const double rates[] = {1e3, 1e5, 1e7};
    static const unsigned limits[] = {1, 2, 3, 8, 32, 256};
    static const double times_s[] = {0, 1e-6, 10e-6, 50e-6, 200e-6, 1e-3};
    static const struct model_costs costs[] = {{3e-6, 0.1e-6}, {0.2e-6, 0.2e-6}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rates); i++)
        for (size_t j = 0; j < COUNT_OF(limits); j++)
            for (size_t k = 0; k < COUNT_OF(times_s); k++)
                compare_rule(&(struct rule){rates[i], limits[j], times_s[k]},
                             &costs[(i + j + k) % COUNT_OF(costs)]);
    print_worst("the rule");
}

/* --- the channel --- */

/* What a server that takes convoys in turn makes of them. */
struct channel {
    double wait_s;         /* of a convoy, mean */
    double wait_error_s;   /* its standard error */
    double packet_delay_s; /* of a packet, from arrival to the end of its convoy's transfer, mean */
    double packet_error_s;
};

enum { BATCHES = 50 };

/* The mean of BATCHES figures, and by how much it is uncertain: batches are long against the time
 * for which the queue remembers. */
static void summarise(const double *figures, double *ret_mean, double *ret_error)
{
    double sum = 0, squares = 0;

    for (unsigned i = 0; i < BATCHES; i++)
        sum += figures[i];
    for (unsigned i = 0; i < BATCHES; i++)
        squares += (figures[i] - sum / BATCHES) * (figures[i] - sum / BATCHES);
    *ret_mean = sum / BATCHES;
    *ret_error = sqrt(squares / (BATCHES - 1.0) / BATCHES);
}

/* Convoys from the rule; they reach the channel when they depart, or, to be what the formula
 * assumes, at the moments of a Poisson process of the same rate. */
static struct channel run_channel(const struct rule *rule, const struct model_costs *costs,
                                  bool is_poisson, unsigned trips_per_batch)
{
    double convoy_rate = 1 / model_release_interval(rule->rate, rule->packets_max, rule->time_s);
    struct stream stream = stream_begin(2, rule);
    double waits_s[BATCHES], delays_s[BATCHES], backlog_s = 0;
    struct channel channel;

    for (unsigned i = 0; i < BATCHES; i++) {
        double wait_s = 0, delay_s = 0, packets = 0;

        for (unsigned j = 0; j < trips_per_batch; j++) {
            struct trip trip = depart(&stream, rule);
            double gap_s = is_poisson ? random_gap(convoy_rate) : trip.idle_s + trip.open_s;
            double service_s = costs->transfer_s + trip.packets * costs->packet_s;

            backlog_s = fmax(backlog_s - gap_s, 0);
            wait_s += backlog_s;
            delay_s += trip.wait_s + trip.packets * (backlog_s + service_s);
            packets += trip.packets;
            backlog_s += service_s;
        }
        waits_s[i] = wait_s / trips_per_batch;
        delays_s[i] = delay_s / packets;
    }
    summarise(waits_s, &channel.wait_s, &channel.wait_error_s);
    summarise(delays_s, &channel.packet_delay_s, &channel.packet_error_s);
    return channel;
}

/* Service that keeps the channel busy for this share of time, `fixed` of it for the transfers. */
static struct model_costs costs_for(const struct rule *rule, double busy, double fixed)
{
    double size = model_mean_size(rule->rate, rule->packets_max, rule->time_s);

    return (struct model_costs){
        .transfer_s = fixed * busy * size / rule->rate,
        .packet_s = (1 - fixed) * busy / rule->rate,
    };
}

static const struct rule channel_rules[] = {
    {1e6, 1, 50e-6}, {1e5, 2, 20e-6}, {1e6, 4, 2e-6}, {1e6, 32, 2e-6}, {1e6, 12, 10e-6},
};
static const double channel_busy[] = {0.3, 0.6, 0.8};
static const double channel_fixed[] = {0.2, 0.8};

/* Figures for one rule and service; `trips` is for a queue that is hardly busy. */
static void compare_channel(const struct rule *rule, double busy, double fixed)
{
    struct model_costs costs = costs_for(rule, busy, fixed);
    unsigned trips = (unsigned)(14000 / (1 - busy));
    struct channel channel = run_channel(rule, &costs, true, trips);

    compare("wait for the channel", rule, channel.wait_s,
            model_channel_wait(rule->rate, rule->packets_max, rule->time_s, &costs));
    compare("total delay", rule, channel.packet_delay_s,
            model_total_delay(rule->rate, rule->packets_max, rule->time_s, &costs));
    if (rule->packets_max > 1)
        return;
    channel = run_channel(rule, &costs, false, trips);
    compare("wait for the channel, real releases", rule, channel.wait_s,
            model_channel_wait(rule->rate, 1, rule->time_s, &costs));
    compare("total delay, real releases", rule, channel.packet_delay_s,
            model_total_delay(rule->rate, 1, rule->time_s, &costs));
}

static void the_channel(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(channel_rules); i++)
        for (size_t j = 0; j < COUNT_OF(channel_busy); j++)
            for (size_t k = 0; k < COUNT_OF(channel_fixed); k++)
                compare_channel(&channel_rules[i], channel_busy[j], channel_fixed[k]);
    print_worst("the channel");
}

static void bound_pipeline(const struct rule *rule, double busy, double fixed)
{
    struct model_costs costs = costs_for(rule, busy, fixed);
    struct channel channel = run_channel(rule, &costs, false, 4000);
    double wait_s = model_channel_wait(rule->rate, rule->packets_max, rule->time_s, &costs);
    double delay_s = model_total_delay(rule->rate, rule->packets_max, rule->time_s, &costs);

    print_message("%8g %4u %6.1f %5.1f %6.1f | %9.3f %9.3f | %9.3f %9.3f %+6.1f %%\n", rule->rate,
                  rule->packets_max, rule->time_s * 1e6, busy, fixed, channel.wait_s * 1e6,
                  wait_s * 1e6, channel.packet_delay_s * 1e6, delay_s * 1e6,
                  100 * (delay_s / channel.packet_delay_s - 1));
    assert_true(channel.wait_s - 3 * channel.wait_error_s <= wait_s);
    assert_true(channel.packet_delay_s - 3 * channel.packet_error_s <= delay_s);
}

static void the_real_pipeline_stays_below(void **state)
{
    static const struct rule rules[] = {
        {1e6, 1, 0},    {1e6, 2, 0.2e-6}, {1e6, 2, 1e-6},    {1e5, 2, 20e-6},
        {1e6, 4, 2e-6}, {1e6, 32, 20e-6}, {1e6, 256, 50e-6},
    };

    (void)state;
    print_message(
        "    rate    K  T, us  busy  of c0 | wait for channel, us |      total delay, us\n"
        "                                | simulated     bound | simulated     bound\n");
    for (size_t i = 0; i < COUNT_OF(rules); i++)
        for (size_t j = 0; j < COUNT_OF(channel_busy); j++)
            for (size_t k = 0; k < COUNT_OF(channel_fixed); k++)
                bound_pipeline(&rules[i], channel_busy[j], channel_fixed[k]);
}

/* --- the closed rules --- */

/* Mean wait of a packet, and transfers per packet. */
struct yield {
    double wait_s;
    double transfers;
};

static struct yield run_rule(uint64_t seed, const struct rule *rule, unsigned packets_min)
{
    struct stream stream = stream_begin(seed, rule);
    double trips = 0, packets = 0, wait_s = 0;

    while (packets < packets_min) {
        struct trip trip = depart(&stream, rule);

        trips++;
        packets += trip.packets;
        wait_s += trip.wait_s;
    }
    return (struct yield){.wait_s = wait_s / packets, .transfers = trips / packets};
}

static void the_budget_is_spent(void **state)
{
    static const double budgets_s[] = {10e-6, 25e-6, 50e-6, 100e-6};

    (void)state;
    for (double rate = 1e3; rate <= 1.1e7; rate *= 10) {
        for (size_t i = 0; i < COUNT_OF(budgets_s); i++) {
            struct rule rule = {rate, COUNT_UNLIMITED, model_budget_time(rate, budgets_s[i])};
            struct yield unlimited = run_rule(3, &rule, 500000), limited;

            compare("the budget", &rule, unlimited.wait_s, budgets_s[i]);
            rule.packets_max = (unsigned)model_budget_packets(rate, budgets_s[i]);
            limited = run_rule(4, &rule, 500000);
            assert_true(limited.wait_s <= budgets_s[i] * 1.005);
            /* ... and the limit does not spoil it: most of the transfers are still saved. */
            assert_true(limited.transfers <= 1.6 * unlimited.transfers);
        }
    }
    print_worst("the budget");
}

/* Seeds for costs at different T: the same arrivals for all, so that most of chance cancels. */
enum { COST_RUNS = 20 };

static void costs_of(const struct rule *rule, double ratio_s, double ret_costs[COST_RUNS])
{
    for (unsigned i = 0; i < COST_RUNS; i++) {
        struct yield yield = run_rule(100 + i, rule, 10000);

        ret_costs[i] = yield.transfers * ratio_s + yield.wait_s;
    }
}

/* That T costs no more than another, beyond what chance can be. */
static void assert_not_dearer(double rate, double ratio_s, double time_s, double other_s)
{
    struct rule rule = {rate, COUNT_UNLIMITED, time_s}, other = {rate, COUNT_UNLIMITED, other_s};
    double costs[COST_RUNS], others[COST_RUNS], mean = 0, squares = 0, error;

    costs_of(&rule, ratio_s, costs);
    costs_of(&other, ratio_s, others);
    for (unsigned i = 0; i < COST_RUNS; i++)
        mean += (costs[i] - others[i]) / COST_RUNS;
    for (unsigned i = 0; i < COST_RUNS; i++)
        squares += (costs[i] - others[i] - mean) * (costs[i] - others[i] - mean);
    error = sqrt(squares / (COST_RUNS - 1.0) / COST_RUNS);
    if (mean > 3 * error) {
        print_error("rate %g, q %g: T %g costs %g more than T %g (+- %g)\n", rate, ratio_s, time_s,
                    mean, other_s, error);
        fail();
    }
}

/* That T = `other_s` is clearly dearer: the comparison above can tell. */
static bool is_dearer(double rate, double ratio_s, double time_s, double other_s)
{
    struct rule rule = {rate, COUNT_UNLIMITED, time_s}, other = {rate, COUNT_UNLIMITED, other_s};
    double costs[COST_RUNS], others[COST_RUNS], sum = 0, other_sum = 0;

    costs_of(&rule, ratio_s, costs);
    costs_of(&other, ratio_s, others);
    for (unsigned i = 0; i < COST_RUNS; i++) {
        sum += costs[i];
        other_sum += others[i];
    }
    return other_sum > sum;
}

static void the_least_cost_is_least(void **state)
{
    static const double worths[] = {1.5, 4, 30, 1000}; /* rate q */
    static const double others[] = {0.5, 0.8, 1.25, 2};

    (void)state;
    for (double rate = 1e3; rate <= 1.1e7; rate *= 100) {
        for (size_t i = 0; i < COUNT_OF(worths); i++) {
            double ratio_s = worths[i] / rate, time_s = model_least_cost_time(rate, ratio_s);

            assert_true(time_s > 0);
            for (size_t j = 0; j < COUNT_OF(others); j++)
                assert_not_dearer(rate, ratio_s, time_s, others[j] * time_s);
            assert_not_dearer(rate, ratio_s, time_s, 0);
            if (worths[i] < 4)
                continue;
            assert_true(is_dearer(rate, ratio_s, time_s, 0));
            assert_true(is_dearer(rate, ratio_s, time_s, 2 * time_s));
            assert_true(is_dearer(rate, ratio_s, time_s, 0.5 * time_s));
        }
        for (double worth = 0.1; worth <= 1; worth += 0.3) {
            assert_true(model_least_cost_time(rate, worth / rate) == 0);
            assert_not_dearer(rate, worth / rate, 0, 0.1 / rate);
            assert_not_dearer(rate, worth / rate, 0, 1 / rate);
            assert_true(is_dearer(rate, worth / rate, 0, 2 / rate));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rule),
        cmocka_unit_test(the_channel),
        cmocka_unit_test(the_real_pipeline_stays_below),
        cmocka_unit_test(the_budget_is_spent),
        cmocka_unit_test(the_least_cost_is_least),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

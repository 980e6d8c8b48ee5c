/*
 * Goal: the controller keeps the owner's word (a lone packet never waits, the mean added delay
 * stays within the budget, waiting happens only where it pays), says truly what it does, follows
 * changes of load within 50 ms, and otherwise leaves its rule alone. Method: a small world around
 * it: packets come from seeded or regular sources on a fake clock, wait in a group under the
 * controller's live rule through hold_due_ns, and depart; what they waited is counted
 * independently. The world looks at its packets at once, or in rounds as a worker does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <cmocka.h>

#include "convoy/controller.h"

#define US    UINT64_C(1000)
#define MS    UINT64_C(1000000)
#define S     UINT64_C(1000000000)
#define NEVER UINT64_MAX

/* What transfers cost in this world. */
#define TRANSFER_S 500e-9
#define PACKET_S   80e-9
#define CALL_S     1e-6

/* --- the world --- */

/* When packets come. `gap_ns` is asked for the time to the next packet after each; with `answers`
 * the time starts when the last one has departed. */
struct source {
    uint64_t (*gap_ns)(struct source *source);
    double rate;
    uint64_t period_ns; /* regular sources: distance; bursts: from one's end to the next's start */
    unsigned burst;     /* packets of a burst ... */
    uint64_t within_ns; /* ... and their distance */
    unsigned count;     /* packets so far */
    bool answers;
};

struct world {
    struct source source;
    struct hold_config hold;
    uint64_t round_ns; /* how often packets are looked at; 0: at once */
    bool mergeable;
    uint64_t now_ns, next_ns;
    struct controller controller;
    struct hold_group group;
    /* since world_measure: */
    uint64_t since_ns;
    double groups, packets, wait_s, longest_s;
    double predicted_size, predicted_wait_s; /* added up over the same groups, and packets */
    unsigned changes;                        /* of K, T, place, or whether silence counts */
    struct hold_rule rule;
};

static struct world world;

static uint64_t random_gap(struct source *source)
{
    return (uint64_t)(-log1p(-drand48()) / source->rate * 1e9 + 0.5);
}

static uint64_t regular_gap(struct source *source)
{
    return source->period_ns;
}

static uint64_t burst_gap(struct source *source)
{
    return source->count % source->burst == 0 ? source->period_ns : source->within_ns;
}

static struct source poisson(double rate)
{
    return (struct source){.gap_ns = random_gap, .rate = rate};
}

static struct source even(uint64_t period_ns)
{
    return (struct source){.gap_ns = regular_gap, .period_ns = period_ns};
}

static struct source requests(uint64_t round_trip_ns)
{
    return (struct source){.gap_ns = regular_gap, .period_ns = round_trip_ns, .answers = true};
}

static struct source bursts(unsigned packets, uint64_t within_ns, uint64_t pause_ns)
{
    return (struct source){
        .gap_ns = burst_gap, .period_ns = pause_ns, .burst = packets, .within_ns = within_ns};
}

static struct hold_config adaptive(uint64_t budget_ns, double weight)
{
    return (struct hold_config){
        .mode = HOLD_ADAPTIVE, .delay_budget_ns = budget_ns, .delay_weight = weight};
}

/* From now on this comes. */
static void world_hear(struct source source)
{
    world.source = source;
    world.next_ns = world.now_ns + source.gap_ns(&world.source);
}

static void world_init(struct hold_config hold, struct source source, uint64_t round_ns)
{
    srand48(11);
    world = (struct world){.hold = hold, .round_ns = round_ns, .mergeable = true, .now_ns = 3 * S};
    controller_init(&world.controller, &world.hold);
    /* What transfers cost is known; controller_announced has its own tests. */
    for (unsigned i = 1; i <= 64; i++) {
        controller_delivered(&world.controller, i, TRANSFER_S + PACKET_S * i);
        controller_announced(&world.controller, true, CALL_S);
    }
    world_hear(source);
}

static void world_measure(void)
{
    world.groups = world.packets = world.wait_s = world.longest_s = 0;
    world.predicted_size = world.predicted_wait_s = 0;
    world.changes = 0;
    world.rule = world.controller.rule;
    world.since_ns = world.now_ns;
}

static void note_change(void)
{
    const struct hold_rule *now = &world.controller.rule, *before = &world.rule;

    world.changes += now->packets_max != before->packets_max ||
                     now->time_max_ns != before->time_max_ns || now->place != before->place ||
                     (now->silence_max_ns > 0) != (before->silence_max_ns > 0);
    world.rule = *now;
}

static void group_departs(void)
{
    for (unsigned i = 0; i < world.group.batch_count; i++) {
        double wait_s = (double)(world.now_ns - world.group.batches[i].arrived_ns) / 1e9;

        world.wait_s += wait_s * world.group.batches[i].packets;
        world.longest_s = fmax(world.longest_s, wait_s);
    }
    world.groups++;
    world.packets += world.group.packets;
    world.predicted_size += world.controller.predicted_size;
    world.predicted_wait_s += world.controller.predicted_wait_s * world.group.packets;
    controller_departed(&world.controller, &world.group, world.now_ns);
    hold_group_clear(&world.group);
    if (world.source.answers)
        world.next_ns = world.now_ns + world.source.gap_ns(&world.source);
}

/* All that has come by now; as in the worker a full group does not wait for the round's end. */
static void packets_arrive(void)
{
    unsigned count = 0;

    while (world.next_ns <= world.now_ns) {
        count++;
        world.source.count++;
        world.next_ns =
            world.source.answers ? NEVER : world.next_ns + world.source.gap_ns(&world.source);
    }
    if (count == 0)
        return;
    controller_arrived(&world.controller, count, world.mergeable ? count : 0, world.now_ns);
    controller_update(&world.controller, &world.hold, world.now_ns);
    note_change();
    for (; count > 0; count--) {
        hold_group_add(&world.group, false, world.now_ns);
        if (world.controller.rule.time_max_ns > 0 &&
            hold_due_ns(&world.controller.rule, &world.group) == HOLD_NOW)
            group_departs();
    }
}

static uint64_t round_after(uint64_t at_ns)
{
    return world.round_ns == 0 ? at_ns
                               : (at_ns + world.round_ns - 1) / world.round_ns * world.round_ns;
}

static void world_run(uint64_t length_ns)
{
    for (uint64_t end_ns = world.now_ns + length_ns; world.now_ns < end_ns;) {
        uint64_t due_ns = NEVER;

        if (world.group.packets > 0)
            due_ns = CV_MAX(hold_due_ns(&world.controller.rule, &world.group), world.now_ns);
        world.now_ns = round_after(CV_MIN(due_ns, world.next_ns));
        packets_arrive();
        if (world.group.packets > 0 &&
            hold_due_ns(&world.controller.rule, &world.group) <= world.now_ns)
            group_departs();
    }
}

static double measured_wait_s(void)
{
    return world.wait_s / world.packets;
}

static double measured_size(void)
{
    return world.packets / world.groups;
}

static bool is_holding(void)
{
    return world.controller.rule.time_max_ns > 0;
}

static void assert_within(double actual, double expected, double share)
{
    if (!(fabs(actual - expected) <= share * fabs(expected))) {
        print_error("%g instead of %g\n", actual, expected);
        fail();
    }
}

/* --- nobody waits alone --- */

static void assert_nobody_waited(void)
{
    if (world.packets == 0 || world.longest_s > 0) {
        print_error("%g packets, longest wait %g s, T %lu ns\n", world.packets, world.longest_s,
                    (unsigned long)world.controller.rule.time_max_ns);
        fail();
    }
}

static void a_lone_packet_never_waits(void **state)
{
    static const struct source sources[] = {
        {.gap_ns = random_gap, .rate = 100},
        {.gap_ns = regular_gap, .period_ns = 10 * MS},
        {.gap_ns = regular_gap, .period_ns = S},
    };

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(sources); i++) {
        world_init(adaptive(100 * US, 1e-6), sources[i], 0);
        world.mergeable = false;
        world_measure();
        world_run(30 * S);
        assert_nobody_waited();
        assert_int_equal(world.changes, 0);
    }
}

/* Each request is sent when the answer to the last has come: whoever waits waits for nothing. */
static void requests_never_wait(void **state)
{
    static const uint64_t round_trips_ns[] = {15 * US, 60 * US, 100 * US, 400 * US, 3 * MS};
    static const uint64_t budgets_ns[] = {10 * US, 25 * US, 50 * US};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(round_trips_ns); i++) {
        for (size_t j = 0; j < CV_COUNT_OF(budgets_ns); j++) {
            if (round_trips_ns[i] < 2 * budgets_ns[j])
                continue; /* may be shorter than T */
            world_init(adaptive(budgets_ns[j], 1e-6), requests(round_trips_ns[i]), 0);
            world_measure();
            world_run(2 * S);
            assert_nobody_waited();
            /* Nor do they after a bulk transfer, once that is over for 50 ms. */
            world_hear(poisson(1e6));
            world_run(100 * MS);
            assert_true(is_holding());
            world_hear(requests(round_trips_ns[i]));
            world_run(50 * MS);
            world_measure();
            world_run(S);
            assert_nobody_waited();
        }
    }
}

/* Answers that come within T look like company. Holding finds out, and gives it up but for a trial
 * now and then: it costs such a stream less than half a percent. */
static void quick_requests_hardly_wait(void **state)
{
    (void)state;
    for (uint64_t round_trip_ns = 10 * US; round_trip_ns < 100 * US; round_trip_ns += 9 * US) {
        world_init(adaptive(50 * US, 1e-6), requests(round_trip_ns), 0);
        world_run(500 * MS);
        world_measure();
        world_run(5 * S);
        if (measured_wait_s() > 0.005 * (double)round_trip_ns / 1e9 ||
            world.packets < 0.995 * 5e9 / (double)round_trip_ns) {
            print_error("answers in %lu ns: wait %g us on average\n", (unsigned long)round_trip_ns,
                        measured_wait_s() * 1e6);
            fail();
        }
        /* What comes faster than that is held at once, what does not before long. */
        world_hear(poisson(1e6));
        world_run(50 * MS);
        assert_true(is_holding());
        world_hear(requests(round_trip_ns));
        world_run(200 * MS);
        assert_false(is_holding());
        world_hear(poisson(1e9 / (double)round_trip_ns));
        world_run(4 * S);
        assert_true(is_holding());
    }
}

static void distances_longer_than_t_never_wait(void **state)
{
    (void)state;
    /* The T of a budget is at most twice the budget. */
    for (uint64_t distance_ns = 101 * US; distance_ns < 20 * MS; distance_ns *= 2) {
        world_init(adaptive(50 * US, 1e-6), even(distance_ns), 0);
        world_measure();
        world_run(2 * S);
        assert_nobody_waited();
    }
    /* Nor do batches, however many packets come in each. */
    for (unsigned packets = 2; packets <= 64; packets *= 2) {
        world_init(adaptive(50 * US, 1e-6), bursts(packets, 0, 150 * US), 0);
        world_measure();
        world_run(S);
        assert_nobody_waited();
        assert_within(measured_size(), packets, 0.01);
    }
}

static void the_first_after_silence_does_not_wait(void **state)
{
    (void)state;
    world_init(adaptive(50 * US, 1e-6), poisson(1e6), 0);
    world_run(100 * MS);
    for (uint64_t silence_ns = 4 * MS + 1; silence_ns < S; silence_ns *= 3) {
        world_hear(poisson(1e6));
        world_run(50 * MS);
        assert_true(is_holding());
        world_hear((struct source){.gap_ns = regular_gap, .period_ns = silence_ns});
        while (world.group.packets > 0)
            world_run(1);
        world_measure();
        world_run(silence_ns);
        assert_nobody_waited();
    }
}

static void waiting_must_pay(void **state)
{
    double transfer_s = TRANSFER_S + CALL_S;

    (void)state;
    /* q is 1.5 us / 0.1 = 15 us: below 67,000 packets per second a transfer is cheaper. */
    for (double rate = 1e3; rate < 0.9 * 0.1 / transfer_s; rate *= 2) {
        world_init(adaptive(50 * US, 0.1), poisson(rate), 0);
        world_run(20 * MS);
        world_measure();
        world_run(S);
        assert_within(world.controller.cost_ratio_s, transfer_s / 0.1, 0.1);
        assert_nobody_waited();
    }
    for (double rate = 2.2 * 0.1 / transfer_s; rate < 5e6; rate *= 2) {
        world_init(adaptive(50 * US, 0.1), poisson(rate), 0);
        world_run(50 * MS);
        assert_true(is_holding());
        assert_within((double)world.controller.rule.time_max_ns / 1e9,
                      model_least_cost_time(rate, transfer_s / 0.1), 0.25);
    }
}

/* --- the budget, and what the model says of it --- */

static void check_budget(uint64_t budget_ns, double rate, uint64_t round_ns)
{
    double budget_s = (double)budget_ns / 1e9, predicted_size, predicted_wait_s;
    /* What waits is looked at once per round, so it may wait half of one longer on average. */
    double grain_s = (double)round_ns / 1e9;

    world_init(adaptive(budget_ns, 1e-6), poisson(rate), round_ns);
    world_run(60 * MS);
    world_measure();
    world_run(100 * MS + (uint64_t)(2e13 / rate));
    predicted_size = world.predicted_size / world.groups;
    predicted_wait_s = world.predicted_wait_s / world.packets;
    if (measured_wait_s() > 1.1 * budget_s + grain_s / 2 ||
        fabs(measured_size() / predicted_size - 1) > 0.2 ||
        fabs(measured_wait_s() - predicted_wait_s) >
            0.2 * predicted_wait_s + 0.02 * budget_s + grain_s) {
        print_error("budget %g us, rate %g, rounds of %g us: waits %g us (predicted %g), groups of "
                    "%g (predicted %g)\n",
                    budget_s * 1e6, rate, grain_s * 1e6, measured_wait_s() * 1e6,
                    predicted_wait_s * 1e6, measured_size(), predicted_size);
        fail();
    }
    /* The budget is used where there is company within it: about half of it at least, since K and
     * T each would spend it alone. */
    if (rate * budget_s >= 0.5 && rate * budget_s < 20 && grain_s < budget_s / 4)
        assert_true(measured_wait_s() > 0.45 * budget_s);
}

static void the_budget_holds(void **state)
{
    static const uint64_t budgets_ns[] = {10 * US, 25 * US, 50 * US, 100 * US};
    static const uint64_t rounds_ns[] = {0, 1 * US, 4 * US};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(budgets_ns); i++)
        for (size_t j = 0; j < CV_COUNT_OF(rounds_ns); j++)
            for (double rate = 1e3; rate <= 1.1e7; rate *= sqrt(10))
                check_budget(budgets_ns[i], rate, rounds_ns[j]);
}

/* Even distances, and bursts: Poisson overstates what waiting brings, the budget holds all the
 * same. */
static void the_budget_holds_for_other_arrivals(void **state)
{
    (void)state;
    for (uint64_t distance_ns = 300; distance_ns < 100 * US; distance_ns += distance_ns / 6) {
        world_init(adaptive(50 * US, 1e-6), even(distance_ns), 0);
        world_run(200 * MS);
        world_measure();
        world_run(300 * MS);
        assert_true(measured_wait_s() <= 1.1 * 50e-6);
    }
    for (unsigned packets = 2; packets < 500; packets *= 2) {
        for (uint64_t within_ns = 0; within_ns < 30 * US; within_ns = within_ns * 2 + 500) {
            for (uint64_t pause_ns = 20 * US; pause_ns < 30 * MS; pause_ns *= 3) {
                world_init(adaptive(50 * US, 1e-6), bursts(packets, within_ns, pause_ns), 0);
                world_run(200 * MS);
                world_measure();
                world_run(300 * MS);
                if (measured_wait_s() > 1.1 * 50e-6) {
                    print_error("%u packets %lu ns apart, pauses of %lu ns: %g us\n", packets,
                                (unsigned long)within_ns, (unsigned long)pause_ns,
                                measured_wait_s() * 1e6);
                    fail();
                }
            }
        }
    }
}

static void bursts_travel_together(void **state)
{
    (void)state;
    world_init(adaptive(50 * US, 1e-6), bursts(20, 2 * US, MS), 0);
    world_run(50 * MS);
    world_measure();
    world_run(S);
    assert_true(is_holding());
    assert_in_range(world.controller.rule.silence_max_ns, 3 * US, 6 * US);
    assert_true(measured_size() > 18);
    assert_true(measured_wait_s() < 30e-6);
    assert_true(world.longest_s < 50e-6);
    /* When the pauses end, silence is no reason any more. */
    world_hear(poisson(5e5));
    world_run(50 * MS);
    assert_true(is_holding());
    assert_int_equal(world.controller.rule.silence_max_ns, 0);
}

/* What is found together travels together; a round that is longer than T is all the waiting. */
static void batches_are_not_cut(void **state)
{
    (void)state;
    world_init(adaptive(10 * US, 1e-6), bursts(16, 0, 12 * US), 0);
    world_run(50 * MS);
    world_measure();
    world_run(200 * MS);
    assert_true(fmod(measured_size(), 16) < 1e-3);
    assert_true(measured_wait_s() <= 1.1 * 10e-6);
}

/* Packets per second that the channel could carry, were it busy. */
static double capacity(double mean_size)
{
    return 1 / (PACKET_S + (TRANSFER_S + CALL_S) / mean_size);
}

/* No rule that never changes does better at the same delay; nor, where it is costs that end the
 * waiting, does any cost much less. */
static void no_worse_than_the_best_static_rule(void **state)
{
    static const double weights[] = {1e-6, 0.005, 0.02, 0.1};

    (void)state;
    for (double rate = 1e4; rate <= 1e7; rate *= sqrt(10)) {
        for (size_t i = 0; i < CV_COUNT_OF(weights); i++) {
            double ratio_s = (TRANSFER_S + CALL_S) / weights[i], own, best = 1, least = ratio_s;

            world_init(adaptive(50 * US, weights[i]), poisson(rate), 0);
            world_run(60 * MS);
            world_measure();
            world_run((uint64_t)(3e14 / rate));
            for (unsigned limit = 2; limit <= HOLD_BATCHES_MAX; limit += 1 + limit / 8) {
                for (double time_s = 0.2e-6; time_s < 100e-6; time_s *= 1.1) {
                    double size = model_mean_size(rate, limit, time_s);
                    double wait_s = model_mean_wait(rate, limit, time_s);

                    if (wait_s <= measured_wait_s())
                        best = fmax(best, size);
                    if (wait_s <= 50e-6)
                        least = fmin(least, wait_s + ratio_s / size);
                }
            }
            own = measured_wait_s() + ratio_s / measured_size();
            if (capacity(measured_size()) < 0.95 * capacity(best) ||
                (i > 0 && own > 1.15 * least)) {
                print_error("rate %g, weight %g: groups of %g at %g us, best static %g; costs %g, "
                            "least %g\n",
                            rate, weights[i], measured_size(), measured_wait_s() * 1e6, best, own,
                            least);
                fail();
            }
        }
    }
}

/* --- steady and quick --- */

static void a_steady_load_has_a_steady_rule(void **state)
{
    (void)state;
    for (double weight = 1e-6; weight < 1; weight *= 1e5) {
        for (double rate = 1e2; rate < 2e7; rate *= sqrt(10)) {
            double rule_changes;

            world_init(adaptive(50 * US, weight), poisson(rate), 0);
            world_run(100 * MS);
            world_measure();
            world_run(rate > 3e6 ? 300 * MS : S);
            rule_changes = world.changes / ((double)(world.now_ns - world.since_ns) / 1e9);
            if (rule_changes > 30) {
                print_error("rate %g, weight %g: %g changes a second\n", rate, weight,
                            rule_changes);
                fail();
            }
        }
    }
}

static void assert_near_rule(const struct hold_rule *rule, const struct hold_rule *expected)
{
    double time_ns = (double)expected->time_max_ns, packets = expected->packets_max;

    /* Two rules that are both within the margin of what is right; the small ones by one packet. */
    assert_within((double)rule->time_max_ns, time_ns, 0.25);
    assert_true(fabs(rule->packets_max - packets) <= 1 + 0.25 * packets);
}

static void steps_settle_within_50_ms(void **state)
{
    static const double rates[] = {1e6, 3e4, 2e5, 3e6, 2e4, 1e6, 1e5};
    struct hold_rule settled[CV_COUNT_OF(rates)];

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(rates); i++) {
        world_init(adaptive(50 * US, 0.005), poisson(rates[i]), 0);
        world_run(300 * MS);
        settled[i] = world.controller.rule;
        assert_true(is_holding());
    }
    world_init(adaptive(50 * US, 0.005), poisson(100), 0);
    world_run(S);
    for (size_t i = 0; i < CV_COUNT_OF(rates); i++) {
        world_hear(poisson(rates[i]));
        world_run(50 * MS);
        assert_near_rule(&world.controller.rule, &settled[i]);
    }
    world_hear(poisson(100));
    world_run(50 * MS);
    assert_false(is_holding());
}

/* From hardly anything to much, and back by ten times: within 15 ms most of it is done. */
static void most_of_a_step_takes_15_ms(void **state)
{
    (void)state;
    world_init(adaptive(50 * US, 1e-6), poisson(1e3), 0);
    world_run(100 * MS);
    world_hear(poisson(5e5));
    world_run(15 * MS);
    assert_in_range(world.controller.rule.packets_max, 40, 62);
    world_run(50 * MS);
    world_hear(poisson(5e4));
    world_run(15 * MS);
    assert_in_range(world.controller.rule.packets_max, 5, 10);
}

/* --- the owner --- */

static void set(struct hold_config hold)
{
    world.hold = hold;
    controller_set(&world.controller, &world.hold);
}

static void modes(void **state)
{
    (void)state;
    world_init((struct hold_config){.mode = HOLD_NATURAL}, poisson(1e6), 4 * US);
    world_run(50 * MS);
    assert_false(is_holding());
    assert_int_equal(world.controller.rule.packets_max, HOLD_PACKETS_MAX);
    assert_int_equal(world.controller.rule.silence_max_ns, 0);
    assert_true(world.controller.company == 1);
    world_measure();
    world_run(50 * MS);
    assert_nobody_waited();
    /* What is found together leaves together, says the model too. */
    assert_within(world.controller.predicted_size, measured_size(), 0.2);
    assert_true(world.controller.predicted_wait_s == 0);

    set((struct hold_config){.mode = HOLD_OFF});
    assert_false(is_holding());
    assert_int_equal(world.controller.rule.packets_max, 1);
    assert_true(world.controller.predicted_size == 1);
    world_run(10 * MS);
    assert_false(is_holding());

    /* A stated rule is in force at once. */
    set((struct hold_config){.mode = HOLD_FIXED, .packets_max = 8, .time_max_ns = 50 * US});
    assert_int_equal(world.controller.rule.packets_max, 8);
    assert_int_equal(world.controller.rule.time_max_ns, 50 * US);
    world_run(10 * MS);
    assert_int_equal(world.controller.rule.packets_max, 8);
    assert_int_equal(world.controller.rule.time_max_ns, 50 * US);
    assert_within(world.controller.predicted_size, 8, 0.01);
    world_hear(poisson(5e4));
    world.round_ns = 0;
    world_run(100 * MS);
    assert_within(world.controller.predicted_size, model_mean_size(5e4, 8, 50e-6), 0.15);
    assert_within(world.controller.predicted_wait_s, model_mean_wait(5e4, 8, 50e-6), 0.15);
    /* ... also after a silence. */
    world_hear(even(10 * MS));
    world_run(20 * MS);
    assert_int_equal(world.controller.rule.time_max_ns, 50 * US);

    /* One that is to be derived is, with the next packet. */
    set(adaptive(50 * US, 1e-6));
    assert_false(is_holding());
    world_hear(poisson(1e6));
    world_run(50 * MS);
    assert_true(is_holding());
}

static void a_new_budget_or_weight_counts_at_once(void **state)
{
    uint64_t before_ns;

    (void)state;
    world_init(adaptive(50 * US, 1e-6), poisson(1e6), 0);
    world_run(60 * MS);
    before_ns = world.controller.rule.time_max_ns;
    assert_in_range(before_ns, 80 * US, 110 * US);

    /* Also by less than the margin that steady loads need. */
    set(adaptive(53 * US, 1e-6));
    world_run(10 * US);
    assert_true(world.controller.rule.time_max_ns > before_ns);
    set(adaptive(10 * US, 1e-6));
    world_run(10 * US);
    assert_in_range(world.controller.rule.time_max_ns, 16 * US, 22 * US);
    assert_in_range(world.controller.rule.packets_max, 20, 24);

    set(adaptive(50 * US, 0.1));
    world_run(10 * US);
    assert_within((double)world.controller.rule.time_max_ns / 1e9,
                  model_least_cost_time(1e6, 15e-6), 0.15);
    set(adaptive(50 * US, 100));
    world_run(10 * US);
    assert_false(is_holding());
    set(adaptive(0, 1e-6));
    world_run(10 * US);
    assert_false(is_holding());
    /* Waiting that is worth nothing at all is bounded by the budget. */
    set(adaptive(50 * US, 0));
    world_run(10 * US);
    assert_in_range(world.controller.rule.time_max_ns, 80 * US, 110 * US);
}

static void an_update_takes_its_time(void **state)
{
    struct controller controller;
    struct hold_config hold = adaptive(50 * US, 1e-6);

    (void)state;
    controller_init(&controller, &hold);
    controller_arrived(&controller, 1, 0, 5 * S);
    controller_update(&controller, &hold, 5 * S);
    assert_int_equal(controller.updated_ns, 5 * S);
    controller_update(&controller, &hold, 5 * S + CONTROLLER_INTERVAL_NS - 1);
    assert_int_equal(controller.updated_ns, 5 * S);
    controller_update(&controller, &hold, 5 * S + CONTROLLER_INTERVAL_NS);
    assert_int_equal(controller.updated_ns, 5 * S + CONTROLLER_INTERVAL_NS);
    controller_set(&controller, &hold);
    controller_update(&controller, &hold, 5 * S + CONTROLLER_INTERVAL_NS + 1);
    assert_int_equal(controller.updated_ns, 5 * S + CONTROLLER_INTERVAL_NS + 1);
}

/* --- costs and places --- */

static struct controller learner;
static const struct hold_config unit_weight = {
    .mode = HOLD_ADAPTIVE, .delay_budget_ns = 50000, .delay_weight = 1};

static void learn(unsigned packets, unsigned mergeable)
{
    static uint64_t now_ns = 7 * S;

    now_ns += 2 * MS;
    controller_arrived(&learner, packets, mergeable, now_ns);
    controller_update(&learner, &unit_weight, now_ns);
}

static void holding_saves_by_place(void **state)
{
    (void)state;
    controller_init(&learner, &unit_weight);
    learn(1, 0);
    assert_true(learner.cost_ratio_s == 0);
    for (unsigned i = 1; i < 100; i++) {
        controller_delivered(&learner, i, 2e-6 + 1e-7 * i);
        controller_announced(&learner, true, 3e-6);
        controller_answered(&learner, i, 5e-6 + 2e-7 * i);
    }
    learn(1, 0);
    assert_int_equal(learner.rule.place, HOLD_PLACE_CALL);
    assert_within(learner.cost_ratio_s, 8e-6, 1e-3);
    learn(2000, 2000);
    assert_int_equal(learner.rule.place, HOLD_PLACE_DATA);
    assert_within(learner.cost_ratio_s, 10e-6, 1e-3);
    /* A guest that polls wants no calls: then only the transfer is saved, or nothing. */
    for (unsigned i = 0; i < 300; i++)
        controller_announced(&learner, false, 0);
    learn(2000, 2000);
    assert_within(learner.cost_ratio_s, 2e-6, 1e-2);
    assert_within(learner.call_s, 3e-6, 1e-3);
    learn(20000, 0);
    assert_int_equal(learner.rule.place, HOLD_PLACE_CALL);
    assert_true(learner.cost_ratio_s < 0.01e-6);
}

static void calls_wanted_and_their_cost(void **state)
{
    (void)state;
    controller_init(&learner, &unit_weight);
    assert_true(learner.calls_wanted == 1);
    controller_announced(&learner, true, 2e-6);
    assert_within(learner.call_s, 2e-6, 1e-9);
    for (unsigned i = 0; i < 400; i++)
        controller_announced(&learner, i % 4 == 0, 2e-6);
    assert_within(learner.calls_wanted, 0.25, 0.2);
    /* A lost time slice is no call's cost. */
    controller_announced(&learner, true, 10e-3);
    assert_true(learner.call_s < 2.3e-6);
    for (unsigned i = 0; i < 1000; i++)
        controller_announced(&learner, true, 40e-6);
    assert_within(learner.call_s, 40e-6, 0.01);
}

static void places_change_with_hysteresis(void **state)
{
    (void)state;
    controller_init(&learner, &unit_weight);
    for (unsigned i = 0; i < 100; i++)
        learn(100, 45);
    assert_int_equal(learner.rule.place, HOLD_PLACE_CALL);
    assert_within(learner.merge_share, 0.45, 0.01);
    for (unsigned i = 0; i < 100; i++)
        learn(100, 60);
    assert_int_equal(learner.rule.place, HOLD_PLACE_DATA);
    for (unsigned i = 0; i < 100; i++)
        learn(100, 35);
    assert_int_equal(learner.rule.place, HOLD_PLACE_DATA);
    for (unsigned i = 0; i < 100; i++)
        learn(100, 25);
    assert_int_equal(learner.rule.place, HOLD_PLACE_CALL);
}

/* --- the record --- */

static void the_record_adds_up_and_fades(void **state)
{
    struct hold_config hold = {.mode = HOLD_FIXED, .packets_max = 8, .time_max_ns = 50000};
    struct hold_group group;

    (void)state;
    controller_init(&learner, &hold);
    learner.predicted_size = 3;
    learner.predicted_wait_s = 20e-6;
    hold_group_clear(&group);
    for (unsigned i = 0; i < 3; i++)
        hold_group_add(&group, false, S);
    hold_group_add(&group, false, S + 30 * US);
    controller_departed(&learner, &group, S + 50 * US);
    hold_group_clear(&group);
    hold_group_add(&group, false, S + 60 * US);
    controller_departed(&learner, &group, S + 60 * US);
    assert_within(learner.record.groups, 2, 1e-9);
    assert_within(learner.record.packets, 5, 1e-9);
    assert_within(learner.record.wait_s, 170e-6, 1e-9);
    assert_within(learner.record.predicted_size, 6, 1e-9);
    assert_within(learner.record.predicted_wait_s, 100e-6, 1e-9);

    learner.updated_ns = S;
    controller_update(&learner, &hold, 2 * S);
    assert_within(learner.record.groups, 2 * exp(-1), 1e-9);
    assert_within(learner.record.packets, 5 * exp(-1), 1e-9);
    assert_within(learner.record.wait_s, 170e-6 * exp(-1), 1e-9);
    assert_within(learner.record.predicted_size, 6 * exp(-1), 1e-9);
    assert_within(learner.record.predicted_wait_s, 100e-6 * exp(-1), 1e-9);
}

/* --- looking ahead --- */

static void the_outlook_at_todays_rate_is_today(void **state)
{
    struct controller_outlook outlook;
    const struct controller *controller = &world.controller;

    (void)state;
    world_init(adaptive(50 * US, 0.005), poisson(3e5), 0);
    world_run(100 * MS);
    controller_look_ahead(controller, &world.hold, controller->arrivals.rate, &outlook);
    assert_true(outlook.rate == controller->arrivals.rate);
    assert_memory_equal(&outlook.rule, &controller->rule, sizeof(outlook.rule));
    assert_within(outlook.mean_size, controller->predicted_size, 0.05);
    assert_within(outlook.mean_wait_s, controller->predicted_wait_s, 0.05);
    assert_within(outlook.capacity, 1 / (PACKET_S + (TRANSFER_S + CALL_S) / outlook.mean_size),
                  0.01);
    assert_within(outlook.utilisation, outlook.rate / outlook.capacity, 1e-9);
}

static void the_outlook_at_twice_the_load_comes_true(void **state)
{
    struct controller_outlook outlook;

    (void)state;
    for (double rate = 2e4; rate < 3e6; rate *= 5) {
        world_init(adaptive(50 * US, 0.005), poisson(rate), 0);
        world_run(100 * MS);
        controller_look_ahead(&world.controller, &world.hold, 2 * world.controller.arrivals.rate,
                              &outlook);
        world_hear(poisson(2 * rate));
        world_run(60 * MS);
        world_measure();
        world_run(100 * MS);
        assert_near_rule(&world.controller.rule, &outlook.rule);
        assert_within(measured_size(), outlook.mean_size, 0.25);
        assert_within(measured_wait_s(), outlook.mean_wait_s, 0.25);
    }
}

static void the_outlook_without_traffic(void **state)
{
    struct controller_outlook outlook;
    struct hold_config hold = adaptive(50 * US, 1e-6);

    (void)state;
    controller_init(&learner, &hold);
    controller_look_ahead(&learner, &hold, 0, &outlook);
    assert_true(outlook.mean_size == 1 && outlook.mean_wait_s == 0);
    assert_true(outlook.capacity == 0 && outlook.utilisation == 0);
    controller_look_ahead(&learner, &hold, 1e6, &outlook);
    assert_int_equal(outlook.rule.time_max_ns, 0);
    controller_delivered(&learner, 1, 1e-6);
    controller_look_ahead(&learner, &hold, 2e6, &outlook);
    assert_within(outlook.capacity, 1e6, 1e-6);
    assert_within(outlook.utilisation, 2, 1e-6);
    hold.mode = HOLD_OFF;
    controller_look_ahead(&learner, &hold, 2e6, &outlook);
    assert_true(outlook.mean_size == 1);
    /* Traffic was known, and none is asked for. */
    world_init(adaptive(50 * US, 1e-6), poisson(3e5), 0);
    world_run(100 * MS);
    controller_look_ahead(&world.controller, &world.hold, 0, &outlook);
    assert_int_equal(outlook.rule.time_max_ns, 0);
    assert_true(outlook.utilisation == 0);
}

/* --- on the way out of a guest --- */

static void derived_for_another_transfer(void **state)
{
    struct hold_config hold = adaptive(50 * US, 0.1);
    struct hold_rule rule = {.packets_max = HOLD_PACKETS_MAX, .place = HOLD_PLACE_DATA};

    (void)state;
    world_init(hold, poisson(1e6), 0);
    world_run(100 * MS);
    assert_within(controller_derive(&rule, &world.controller.arrivals, 4e-6, &hold), 1, 0.2);
    assert_within((double)rule.time_max_ns / 1e9, model_least_cost_time(1e6, 40e-6), 0.15);
    assert_int_equal(rule.place, HOLD_PLACE_DATA);
    /* What is free needs no company. */
    assert_true(controller_derive(&rule, &world.controller.arrivals, 0, &hold) == 1);
    assert_int_equal(rule.time_max_ns, 0);
    assert_int_equal(rule.packets_max, HOLD_PACKETS_MAX);
    hold = (struct hold_config){.mode = HOLD_FIXED, .packets_max = 9, .time_max_ns = 77};
    assert_true(controller_derive(&rule, &world.controller.arrivals, 1, &hold) == 1);
    assert_int_equal(rule.time_max_ns, 77);
    assert_int_equal(rule.packets_max, 9);
    assert_int_equal(rule.place, HOLD_PLACE_DATA);
    /* Nobody is ever followed. */
    hold = adaptive(50 * US, 1e-6);
    world_init(hold, requests(200 * US), 0);
    world_run(100 * MS);
    assert_true(controller_derive(&rule, &world.controller.arrivals, 4e-6, &hold) == 0);
    assert_int_equal(rule.time_max_ns, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_packet_never_waits),
        cmocka_unit_test(requests_never_wait),
        cmocka_unit_test(quick_requests_hardly_wait),
        cmocka_unit_test(distances_longer_than_t_never_wait),
        cmocka_unit_test(the_first_after_silence_does_not_wait),
        cmocka_unit_test(waiting_must_pay),
        cmocka_unit_test(the_budget_holds),
        cmocka_unit_test(the_budget_holds_for_other_arrivals),
        cmocka_unit_test(bursts_travel_together),
        cmocka_unit_test(batches_are_not_cut),
        cmocka_unit_test(no_worse_than_the_best_static_rule),
        cmocka_unit_test(a_steady_load_has_a_steady_rule),
        cmocka_unit_test(steps_settle_within_50_ms),
        cmocka_unit_test(most_of_a_step_takes_15_ms),
        cmocka_unit_test(modes),
        cmocka_unit_test(a_new_budget_or_weight_counts_at_once),
        cmocka_unit_test(an_update_takes_its_time),
        cmocka_unit_test(holding_saves_by_place),
        cmocka_unit_test(calls_wanted_and_their_cost),
        cmocka_unit_test(places_change_with_hysteresis),
        cmocka_unit_test(the_record_adds_up_and_fades),
        cmocka_unit_test(the_outlook_at_todays_rate_is_today),
        cmocka_unit_test(the_outlook_at_twice_the_load_comes_true),
        cmocka_unit_test(the_outlook_without_traffic),
        cmocka_unit_test(derived_for_another_transfer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

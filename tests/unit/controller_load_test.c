/*
 * Goal: under any load the controller keeps the owner's word: a lone packet never waits, the mean
 * added delay stays within the budget, waiting happens only where it pays; what it predicts comes
 * true; it follows changes of load within 50 ms, and otherwise leaves its rule alone. Method: the
 * world of controller_world.h, with arrivals of all kinds.
 */
#include "unit/controller_world.h"

/* --- nobody waits alone --- */

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
    /* Holding starts where it pays well, and once it has, goes on as long as it pays at all. */
    world_init(adaptive(50 * US, 0.1), poisson(1.2 * 0.1 / transfer_s), 0);
    world_run(20 * MS);
    world_measure();
    world_run(500 * MS);
    assert_nobody_waited();
    world_hear(poisson(2 * 0.1 / transfer_s));
    world_run(100 * MS);
    world_hear(poisson(1.3 * 0.1 / transfer_s));
    world_run(100 * MS);
    assert_true(is_holding());
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

/* A worker that wakes too late makes waits longer: T gives way, or holding does where no T would
 * do. */
static void the_budget_holds_for_a_late_worker(void **state)
{
    static const uint64_t late_ns[] = {5 * US, 20 * US, 60 * US, 300 * US};
    static const uint64_t budgets_ns[] = {10 * US, 50 * US};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(late_ns) * CV_COUNT_OF(budgets_ns); i++) {
        uint64_t late = late_ns[i / 2], budget = budgets_ns[i % 2];

        for (double rate = 1e4; rate <= 1e6; rate *= sqrt(10)) {
            world_init(adaptive(budget, 1e-6), poisson(rate), 0);
            world.late_ns = late;
            world_run(2 * S);
            world_measure();
            world_run(2 * S);
            if (measured_wait_s() > 1.1e-9 * (double)budget) {
                print_error("%lu us late, budget %lu us, rate %g: %g us\n",
                            (unsigned long)(late / US), (unsigned long)(budget / US), rate,
                            measured_wait_s() * 1e6);
                fail();
            }
            if (2 * late <= budget && rate > 2e4)
                assert_true(is_holding());
        }
    }
    /* Bursts so dense that company comes within any T, and so far apart that no K ends it. */
    world_init(adaptive(10 * US, 1e-6), bursts(3, 300, 500 * US), 0);
    world.late_ns = 60 * US;
    world_run(2 * S);
    world_measure();
    world_run(2 * S);
    assert_true(measured_wait_s() <= 1.1 * 10e-6);
}

/* All of a machine stands still for a while now and then, and what waits then waits long. That is
 * no reason to let all others wait shorter. */
static void lost_time_slices_leave_the_rule_alone(void **state)
{
    (void)state;
    world_init(adaptive(50 * US, 1e-6), poisson(3e5), 0);
    world_run(100 * MS);
    for (unsigned i = 0; i < 100; i++) {
        world_run(5 * MS);
        while (world.group.packets < 20)
            world_run(1);
        world.now_ns += 3500 * US;
        world_hear(poisson(3e5));
        world_run(2 * MS);
        assert_in_range(world.controller.rule.time_max_ns, 75 * US, 105 * US);
    }
}

/* Poisson, but for a pause of the sender now and then. */
static uint64_t paused_gap(struct source *source)
{
    return random_gap(source) + (source->count % 20000 == 0 ? 500 * US : 0);
}

/* Pauses spread the gaps as bursts do, but silence between them tells nothing: groups are not cut.
 */
static void pauses_are_no_bursts(void **state)
{
    (void)state;
    world_init(adaptive(25 * US, 1e-6), (struct source){.gap_ns = paused_gap, .rate = 1e6}, 0);
    world_run(50 * MS);
    world_measure();
    world_run(S / 2);
    assert_true(traffic_burstiness(&world.controller.arrivals) > 1);
    assert_int_equal(world.controller.rule.silence_max_ns, 0);
    assert_within(measured_size(), world.predicted_size / world.groups, 0.1);
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
        cmocka_unit_test(the_budget_holds_for_a_late_worker),
        cmocka_unit_test(lost_time_slices_leave_the_rule_alone),
        cmocka_unit_test(pauses_are_no_bursts),
        cmocka_unit_test(bursts_travel_together),
        cmocka_unit_test(batches_are_not_cut),
        cmocka_unit_test(no_worse_than_the_best_static_rule),
        cmocka_unit_test(a_steady_load_has_a_steady_rule),
        cmocka_unit_test(steps_settle_within_50_ms),
        cmocka_unit_test(most_of_a_step_takes_15_ms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

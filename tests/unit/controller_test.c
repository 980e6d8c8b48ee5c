/*
 * Goal: the controller does what its owner states, prices transfers by what waiting would save,
 * accounts for every group, and says what the model says of other loads. Method: each by hand, or
 * in the world of controller_world.h; how it fares under all kinds of load is for
 * controller_load_test.c to show.
 */
#include "unit/controller_world.h"

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
    for (unsigned i = 0; i < 2500; i++)
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
    for (unsigned i = 0; i < 2500; i++)
        controller_announced(&learner, i % 4 == 0, 2e-6);
    assert_within(learner.calls_wanted, 0.25, 0.02);
    /* A lost time slice is no call's cost. */
    controller_announced(&learner, true, 10e-3);
    assert_true(learner.call_s < 2.3e-6);
    for (unsigned i = 0; i < 2500; i++)
        controller_announced(&learner, true, 40e-6);
    assert_within(learner.call_s, 40e-6, 0.01);
}

/* 500 answers, for groups of 20 to 49 packets. Each tenth time the guest was busy with something
 * else, or has looked by chance. */
static void answer(double call_s, double packet_s)
{
    for (unsigned i = 0; i < 500; i++) {
        unsigned packets = 20 + (unsigned)(drand48() * 30);
        double seconds = (call_s + packet_s * packets) * (0.7 + 0.6 * drand48());

        controller_answered(&learner, packets, drand48() < 0.1 ? 10e-6 * drand48() : seconds);
    }
}

/* The guest's other work is no cost of calls, and its swings must not move rules. */
static void what_a_guest_does_besides_is_no_cost(void **state)
{
    double least = 1, most = 0;

    (void)state;
    srand48(5);
    controller_init(&learner, &unit_weight);
    for (unsigned i = 0; i < 20; i++)
        answer(1e-6, 50e-9);
    for (unsigned i = 0; i < 100; i++) {
        answer(1e-6, 50e-9);
        least = fmin(least, learner.answer.line.transfer_s);
        most = fmax(most, learner.answer.line.transfer_s);
    }
    print_message("1 us a call, learnt as %g to %g us\n", least * 1e6, most * 1e6);
    assert_true(most < 1.35e-6);
    assert_true(most - least < 0.3e-6);
    /* Calls that really cost more are noticed within 15,000 answers. */
    for (unsigned i = 0; i < 30; i++)
        answer(20e-6, 50e-9);
    assert_true(learner.answer.line.transfer_s > 15e-6);
    /* Another guest need not pay for that. */
    controller_announced(&learner, false, 0);
    controller_forget_guest(&learner);
    assert_true(learner.answer.weight == 0 && learner.answer.line.transfer_s == 0);
    assert_true(learner.calls_wanted == 1);
    answer(1e-6, 50e-9);
    assert_within(learner.answer.line.transfer_s, 1e-6, 0.5);
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
        hold_group_add(&group, 1, false, S);
    hold_group_add(&group, 1, false, S + 30 * US);
    controller_departed(&learner, &group, S + 50 * US);
    hold_group_clear(&group);
    hold_group_add(&group, 1, false, S + 60 * US);
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

/* What was given up now is not promised for tomorrow. */
static void the_outlook_for_quick_requests(void **state)
{
    struct controller_outlook outlook;

    (void)state;
    world_init(adaptive(50 * US, 1e-6), requests(25 * US), 0);
    world_run(500 * MS);
    assert_false(is_holding());
    assert_true(world.controller.company == 0);
    controller_look_ahead(&world.controller, &world.hold, 8e4, &outlook);
    assert_int_equal(outlook.rule.time_max_ns, 0);
    assert_true(outlook.mean_size == 1);
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
        cmocka_unit_test(modes),
        cmocka_unit_test(a_new_budget_or_weight_counts_at_once),
        cmocka_unit_test(an_update_takes_its_time),
        cmocka_unit_test(holding_saves_by_place),
        cmocka_unit_test(calls_wanted_and_their_cost),
        cmocka_unit_test(what_a_guest_does_besides_is_no_cost),
        cmocka_unit_test(places_change_with_hysteresis),
        cmocka_unit_test(the_record_adds_up_and_fades),
        cmocka_unit_test(the_outlook_at_todays_rate_is_today),
        cmocka_unit_test(the_outlook_at_twice_the_load_comes_true),
        cmocka_unit_test(the_outlook_for_quick_requests),
        cmocka_unit_test(the_outlook_without_traffic),
        cmocka_unit_test(derived_for_another_transfer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

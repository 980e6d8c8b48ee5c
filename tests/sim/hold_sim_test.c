/*
 * Goal: convoys depart when the rule of their mode says, and calls are made likewise, in both
 * directions; nothing waits that must not, and nothing is forgotten. Method: the real worker_round
 * on fake ports, at moments that the test chooses; sim_rules.c judges every round besides.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim_world.h"

enum { K = 32, T_NS = 50000 }; /* of sim_port_config */

/* A world of one worker and three ports of this mode, with all the room in the world. */
static struct sim *world_new(enum hold_mode mode)
{
    struct port_config config = sim_port_config(mode, FULL_DROP);
    struct sim *sim = sim_new(1, 1);

    for (unsigned id = 0; id < 3; id++)
        sim_port_add(sim, id, &config)->queues[0].room = 1u << 20;
    return sim;
}

/* A round with a burst of `count` frames for port 1. */
static void burst(struct sim *sim, unsigned count)
{
    fake_queue_arrive_for(sim_queue(sim, 0), 1, count);
    sim_round(sim, 0);
}

/* --- off, natural --- */

static void off_delivers_each_frame_alone(void **state)
{
    struct sim *sim = world_new(HOLD_OFF);
    struct fake_queue *to = sim_queue(sim, 1);

    (void)state;
    fake_queue_arrive_for(sim_queue(sim, 0), 1, 40);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 40);
    assert_int_equal(to->deliveries, 40);
    assert_int_equal(to->calls, 40); /* wanted or not: the machine has not looked yet */
    sim_free(sim);
}

/* What is merged is one frame, here too. */
static void off_delivers_each_row_alone(void **state)
{
    struct sim *sim = world_new(HOLD_OFF);
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, 1);
    struct hold_config hold = sim->ports[1].base.config.hold;

    (void)state;
    sim_take_rows(sim, &sim->ports[1]);
    sim_set_hold(sim, 1, &hold, true);
    for (unsigned i = 0; i < 3; i++) {
        fake_queue_arrive_for(from, 1, 1);
        fake_queue_segments_for(from, 1, 4, 100);
    }
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 15);
    assert_int_equal(to->deliveries, 4);
    assert_int_equal(to->calls, 4);
    sim_free(sim);
}

static void natural_is_one_group_per_burst(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL);
    struct fake_queue *to = sim_queue(sim, 2);

    (void)state;
    fake_queue_arrive_for(sim_queue(sim, 0), 2, 40);
    fake_queue_arrive_for(sim_queue(sim, 1), 2, 20);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 60);
    assert_int_equal(to->deliveries, 1);
    assert_int_equal(sim_queue(sim, 0)->settles, 1);
    /* a burst has an end */
    fake_queue_arrive_for(sim_queue(sim, 0), 2, BURST_FRAMES_MAX + 1);
    sim_round(sim, 0);
    assert_int_equal(to->last_group, BURST_FRAMES_MAX);
    sim_round(sim, 0);
    assert_int_equal(to->last_group, 1);
    assert_int_equal(sim_counters(sim, 0).from_bursts, 3);
    sim_free(sim);
}

/* Whatever the load, nothing waits beyond the round; a machine that looks by itself is not called.
 */
static void natural_never_holds(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL);
    struct fake_queue *to = sim_queue(sim, 1);

    (void)state;
    for (unsigned i = 1; i <= 200; i++) {
        burst(sim, 1 + i % 40);
        assert_int_equal(to->tells, i);
        assert_int_equal(to->news.packets, 0);
        assert_int_equal(sim->workers[0].next_due_ns, UINT64_MAX);
        fake_queue_look(to, i % 2); /* it polls, or waits for a call */
        sim->now_ns += 1000;
    }
    assert_int_equal(to->calls, 100); /* the first, and one after each time that it stopped */
    assert_int_equal(sim_counters(sim, 1).to_held_call + sim_counters(sim, 1).to_held_data, 0);
    sim_free(sim);
}

/* What was loaded departs while it is in the cache, in the middle of a long round if need be, and
 * what a convoy has no place for does not wait for the round's end either. */
static void long_round_departs_in_the_middle(void **state)
{
    struct port_config config = sim_port_config(HOLD_NATURAL, FULL_DROP);
    struct sim *sim = sim_new(1, 1);

    (void)state;
    for (unsigned id = 0; id < 5; id++)
        sim_port_add(sim, id, &config)->queues[0].room = 1u << 20;
    fake_queue_arrive_for(sim_queue(sim, 0), 3, 150);
    fake_queue_arrive_for(sim_queue(sim, 1), 4, 150);
    fake_queue_arrive_for(sim_queue(sim, 2), 3, 50);
    sim_round(sim, 0);
    assert_int_equal(sim_queue(sim, 3)->deliveries, 2);
    assert_int_equal(sim_queue(sim, 3)->last_group, 50);
    assert_int_equal(sim_queue(sim, 4)->deliveries, 1);
    fake_queue_arrive_for(sim_queue(sim, 0), 4, 150);
    fake_queue_arrive_for(sim_queue(sim, 1), 4, CONVOY_FRAMES_MAX - 150 + 7);
    sim_round(sim, 0);
    assert_int_equal(sim_queue(sim, 4)->deliveries, 3);
    assert_int_equal(sim_queue(sim, 4)->last_group, 7);
    sim_free(sim);
}

/* --- fixed --- */

/* K frames, or T after the first, or at once with an express frame; not a nanosecond earlier. */
static void fixed_departs_when_due(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED); /* K = 32, T = 50 us */
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, 1);
    struct fake_arrival express = {.dst = fake_port_mac(1), .len = 60, .is_express = true};

    (void)state;
    sim_hold_data(sim, 1);
    fake_queue_arrive_for(from, 1, 1);
    sim_round(sim, 0);
    assert_int_equal(sim->workers[0].next_due_ns, sim->now_ns + 50000);
    sim->now_ns += 20000;
    fake_queue_arrive_for(from, 1, 30);
    sim_round(sim, 0);
    sim->now_ns += 29999;
    assert_false(sim_round(sim, 0));
    assert_int_equal(to->delivered, 0);
    sim->now_ns += 1;
    sim_round(sim, 0);
    assert_int_equal(to->last_group, 31);
    assert_int_equal(sim->workers[0].next_due_ns, UINT64_MAX); /* no timer */

    fake_queue_arrive_for(from, 1, 31);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 31);
    fake_queue_arrive_for(from, 1, 1);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 63);

    fake_queue_arrive_for(from, 1, 5);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 63);
    sim->now_ns += 10;
    fake_queue_arrive(from, &express);
    sim_round(sim, 0);
    assert_int_equal(to->last_group, 6);
    /* the express frame is gone: the next convoy waits again */
    fake_queue_arrive_for(from, 1, 1);
    sim_round(sim, 0);
    assert_int_equal(sim_waiting(sim, 1), 1);
    assert_int_equal(sim_counters(sim, 1).to_held_data, 2); /* the others left as they came */
    sim_free(sim);
}

/* Express datagrams of one flow, more than K: those behind the group that K ends go at once too. */
static void express_train_waits_for_nobody(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED); /* K = 32, T = 50 us */
    struct fake_queue *to = sim_queue(sim, 1);
    struct fake_arrival express = {
        .dst = fake_port_mac(1), .len = 60, .is_datagram = true, .is_express = true};

    (void)state;
    for (unsigned i = 0; i < 35; i++)
        fake_queue_arrive(sim_queue(sim, 0), &express);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 35);
    assert_int_equal(sim->workers[0].next_due_ns, UINT64_MAX);
    assert_int_equal(sim_lane(sim, 1)->untold, 0);
    sim_free(sim);
}

/* Where nothing can be merged only the call waits: data is there at once, for who polls. */
static void fixed_calls_when_due(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED); /* K = 32, T = 50 us */
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, 1);
    struct fake_arrival express = {.dst = fake_port_mac(1), .len = 60, .is_express = true};

    (void)state;
    fake_queue_arrive_for(from, 1, 1);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 1);
    assert_int_equal(to->tells, 0);
    assert_int_equal(sim->workers[0].next_due_ns, sim->now_ns + 50000);
    sim->now_ns += 20000;
    fake_queue_arrive_for(from, 1, 30);
    sim_round(sim, 0);
    sim->now_ns += 29999;
    assert_false(sim_round(sim, 0));
    assert_int_equal(to->delivered, 31);
    assert_int_equal(to->tells, 0);
    sim->now_ns += 1;
    sim_round(sim, 0);
    assert_int_equal(to->last_told, 31);
    assert_int_equal(sim->workers[0].next_due_ns, UINT64_MAX); /* no timer */

    fake_queue_arrive_for(from, 1, 31);
    sim_round(sim, 0);
    assert_int_equal(to->tells, 1);
    fake_queue_arrive_for(from, 1, 1);
    sim_round(sim, 0);
    assert_int_equal(to->last_told, 32);

    fake_queue_arrive_for(from, 1, 5);
    sim_round(sim, 0);
    assert_int_equal(to->tells, 2);
    sim->now_ns += 10;
    fake_queue_arrive(from, &express);
    sim_round(sim, 0);
    assert_int_equal(to->last_told, 6);
    assert_int_equal(sim_counters(sim, 1).to_held_call, 2);
    sim_free(sim);
}

/* Who has found all of them by itself meanwhile is not called. */
static void who_looks_is_not_called(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *to = sim_queue(sim, 1);

    (void)state;
    for (unsigned looks = 0; looks < 2; looks++) {
        burst(sim, 5);
        if (looks)
            fake_queue_look(to, false);
        sim->now_ns += T_NS;
        sim_round(sim, 0);
        assert_int_equal(to->tells, looks + 1);
        assert_int_equal(to->calls, 1);
        fake_queue_look(to, false);
    }
    sim_free(sim);
}

/* K packets are a convoy, also in the middle of a burst. */
static void convoys_are_cut_at_k(void **state)
{
    for (unsigned data = 0; data < 2; data++) {
        struct sim *sim = world_new(HOLD_FIXED);
        struct fake_queue *to = sim_queue(sim, 1);

        (void)state;
        if (data)
            sim_hold_data(sim, 1);
        burst(sim, K - 10);
        burst(sim, 10 + K + 5);
        assert_int_equal(to->tells, 2);
        assert_int_equal(to->last_told, K);
        assert_int_equal(to->delivered, data ? 2 * K : 2 * K + 5);
        if (data)
            assert_int_equal(to->last_group, K);
        sim->now_ns += T_NS;
        sim_round(sim, 0);
        assert_int_equal(to->last_told, 5);
        sim_free(sim);
    }
}

/* An express frame takes along what waited before it and what came with it. */
static void express_takes_all_along(void **state)
{
    struct fake_arrival express = {.dst = fake_port_mac(1), .len = 60, .is_express = true};

    for (unsigned data = 0; data < 2; data++) {
        struct sim *sim = world_new(HOLD_FIXED);
        struct fake_queue *to = sim_queue(sim, 1);

        (void)state;
        if (data)
            sim_hold_data(sim, 1);
        burst(sim, 3);
        assert_int_equal(to->tells, 0);
        sim->now_ns += 1000;
        fake_queue_arrive_for(sim_queue(sim, 0), 1, 4);
        fake_queue_arrive(sim_queue(sim, 0), &express);
        burst(sim, 5);
        assert_int_equal(to->last_told, 3 + 4 + 1 + 5);
        assert_int_equal(to->tells, 1);
        burst(sim, 1); /* who comes next waits again */
        assert_int_equal(to->tells, 1);
        sim_free(sim);
    }
}

static void hold_changes_at_once(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct port *port = &sim->ports[1].base;

    (void)state;
    sim_hold_data(sim, 1);
    fake_queue_arrive_for(sim_queue(sim, 0), 1, 3);
    sim_round(sim, 0);
    assert_int_equal(sim_waiting(sim, 1), 3);
    port->config.hold.mode = HOLD_NATURAL;
    assert_true(worker_step_set_hold(&sim->workers[0], port));
    sim_round(sim, 0);
    assert_int_equal(sim_waiting(sim, 1), 0);
    sim_free(sim);
}

/* The first group under a new rule knows nothing of what went before. */
static void first_group_has_its_whole_time(void **state)
{
    static const enum hold_mode modes[] = {HOLD_OFF, HOLD_NATURAL};

    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(modes); i++) {
        struct sim *sim = world_new(modes[i]);
        struct hold_config hold = sim->ports[1].base.config.hold;

        burst(sim, 1);
        assert_int_equal(sim_queue(sim, 1)->tells, 1);
        hold.mode = HOLD_FIXED;
        sim_set_hold(sim, 1, &hold, false);
        sim->now_ns += 2 * T_NS;
        burst(sim, 1);
        assert_int_equal(sim_queue(sim, 1)->tells, 1);
        assert_int_equal(sim->workers[0].next_due_ns, sim->now_ns + T_NS);
        sim_free(sim);
    }
}

/* --- guests that are short of buffers, or stop --- */

/* A guest without free buffers must learn at once which it can have back: no call waits then. */
static void short_guest_is_called_at_once(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *to = sim_queue(sim, 1);

    (void)state;
    to->room = 3;
    fake_queue_arrive_for(sim_queue(sim, 0), 1, 5);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 3);
    assert_int_equal(to->last_told, 3);
    sim_free(sim);
}

/* Also when no frame waits for it: it was given up, or frames for it have harmed others. */
static void short_guest_is_called_when_nothing_waits(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *to = sim_queue(sim, 1);

    (void)state;
    sim_lane(sim, 1)->no_wait_until_ns = sim->now_ns + NO_WAIT_NS;
    to->room = 3;
    burst(sim, 5);
    assert_int_equal(to->last_told, 3);
    assert_int_equal(sim_drops(sim, 1, DROP_QUEUE_FULL), 2);
    assert_int_equal(sim->workers[0].next_due_ns, UINT64_MAX);
    sim_free(sim);
}

/*
 * The part of a super-packet that a guest had buffers for is told of, or the guest never learns
 * that it has used buffers; whether the rest waits or not.
 */
static void short_guest_is_called_for_a_part(void **state)
{
    for (unsigned waits = 0; waits < 2; waits++) {
        struct sim *sim = world_new(HOLD_NATURAL);
        struct fake_queue *to = sim_queue(sim, 1);

        (void)state;
        to->room = 0;
        to->takes_parts = true;
        sim_lane(sim, 1)->is_stalled = !waits;
        burst(sim, 1);
        assert_int_equal(sim_waiting(sim, 1), waits);
        assert_int_equal(to->calls, 1);
        sim_free(sim);
    }
}

/* Frames that were given up did not depart: they leave no timer and no trace of a group. */
static void given_up_frames_are_no_group(void **state)
{
    for (unsigned data = 0; data < 2; data++) {
        struct sim *sim = world_new(HOLD_FIXED);
        const struct lane *lane = sim_lane(sim, 1);

        (void)state;
        if (data)
            sim_hold_data(sim, 1);
        sim_queue(sim, 1)->room = 0;
        sim_lane(sim, 1)->is_stalled = true;
        burst(sim, 5);
        sim->now_ns += T_NS;
        sim_round(sim, 0);
        assert_int_equal(sim_drops(sim, 1, DROP_STALLED), 5);
        assert_int_equal(sim->workers[0].next_due_ns, UINT64_MAX);
        assert_int_equal(lane->histograms.added_delay.count, 0);
        sim_free(sim);
    }
}

/* A port that stops: its guest is told of what it has been given, while its rings are there. */
static void stopping_tells_the_guest(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);

    (void)state;
    fake_queue_arrive_for(sim_queue(sim, 0), 1, 3);
    sim_round(sim, 0);
    assert_int_equal(sim_queue(sim, 1)->tells, 0);
    sim_port_detach(sim, 1);
    assert_int_equal(sim_queue(sim, 1)->last_told, 3);
    /* What calls cost this guest is not what they cost the next one. */
    sim_lane(sim, 1)->controller.answer.weight = 1;
    sim_port_attach(sim, 1);
    assert_true(sim_lane(sim, 1)->controller.answer.weight == 0);
    sim_free(sim);
}

/* Frames that have waited for a port to come back wait no longer, whoever comes with them. */
static void coming_back_departs_what_waited(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *to = sim_queue(sim, 1);

    (void)state;
    sim_hold_data(sim, 1);
    burst(sim, 3);
    sim_port_detach(sim, 1);
    sim->now_ns += T_NS;
    burst(sim, 2);
    assert_int_equal(sim_waiting(sim, 1), 5);
    sim->now_ns += T_NS;
    sim_port_attach(sim, 1);
    burst(sim, 1);
    assert_true(to->delivered >= 5);
    assert_int_equal(to->news.packets, 0);
    sim_free(sim);
}

/*
 * While private buffers are short (here: with frames that wait on another worker) no data is held;
 * calls may wait, and nobody spins over them.
 */
static void nothing_is_held_while_buffers_are_short(void **state)
{
    struct port_config config = sim_port_config(HOLD_FIXED, FULL_DROP);
    struct fake_arrival large = {.dst = fake_port_mac(1), .len = 9000, .is_private = true};
    struct sim *sim = sim_new(2, 1);
    const struct worker *worker = &sim->workers[0];
    struct fake_queue *to;

    (void)state;
    for (unsigned id = 0; id < 3; id++) /* 0 and 2 are served by worker 0 */
        sim_port_add(sim, id, &config);
    to = sim_queue(sim, 2);
    to->room = 1000;
    for (unsigned i = 0; i < FRAME_BUFFERS_MAX / 2 + 10; i++) {
        fake_queue_arrive(sim_queue(sim, 0), &large);
        sim_round_all(sim);
    }
    assert_true(frame_pool_is_short(&worker->frames, NULL));
    fake_queue_arrive_for(sim_queue(sim, 0), 2, 1);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 1);
    assert_int_equal(to->tells, 0);
    assert_int_equal(worker->next_due_ns, sim->now_ns + T_NS);
    sim->now_ns += T_NS;
    sim_round(sim, 0);
    assert_int_equal(to->tells, 1);
    sim_hold_data(sim, 2);
    fake_queue_arrive_for(sim_queue(sim, 0), 2, 1);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 2);
    assert_int_equal(to->tells, 2);
    sim_free(sim);
}

/* --- adaptive --- */

/* `count` frames for port 1, one in each `gap_ns`, into a machine that looks when it is called. */
static void stream(struct sim *sim, unsigned count, uint64_t gap_ns)
{
    struct fake_queue *to = sim_queue(sim, 1);

    for (unsigned i = 0; i < count; i++) {
        uint64_t next_ns = sim->now_ns + gap_ns, calls = to->calls;

        burst(sim, 1);
        while (sim->now_ns < next_ns) {
            sim->now_ns = CV_MIN(next_ns, CV_MAX(sim->workers[0].next_due_ns, sim->now_ns + 1));
            if (sim->now_ns < next_ns)
                sim_round(sim, 0);
        }
        if (to->calls != calls)
            fake_queue_look(to, false);
    }
}

static struct sim *adaptive_new(uint64_t budget_ns)
{
    struct sim *sim = world_new(HOLD_ADAPTIVE);
    struct hold_config hold = {HOLD_ADAPTIVE, .delay_budget_ns = budget_ns, .delay_weight = 0.1};

    fake_port_costs = (struct fake_costs){.delivery_ns = 300, .packet_ns = 50, .call_ns = 2000};
    sim_set_hold(sim, 1, &hold, false);
    return sim;
}

/* Dense traffic is called for in groups, within the budget on average. */
static void adaptive_groups_what_is_dense(void **state)
{
    struct sim *sim = adaptive_new(50000);
    struct fake_queue *to = sim_queue(sim, 1);
    struct controller_record *record = &sim_lane(sim, 1)->controller.record;
    uint64_t calls;

    (void)state;
    stream(sim, 5000, 3000);
    assert_true(sim_lane(sim, 1)->controller.rule.time_max_ns > 0);
    calls = to->calls;
    *record = (struct controller_record){0};
    stream(sim, 5000, 3000);
    assert_in_range(to->calls - calls, 1, 5000 / 3);
    assert_true(record->wait_s <= record->packets * 50e-6);
    assert_true(sim_counters(sim, 1).to_held_call > 1000);
    assert_int_equal(sim_counters(sim, 1).to_held_data, 0);
    sim_free(sim);
}

/* Whatever was learnt before: who comes after a silence leaves at once, and so do those who come
 * one at a time. */
static void adaptive_lone_packet_never_waits(void **state)
{
    struct sim *sim = adaptive_new(1000000);
    struct fake_queue *to = sim_queue(sim, 1);

    (void)state;
    stream(sim, 5000, 3000);
    assert_true(sim_lane(sim, 1)->controller.rule.time_max_ns > 0);
    sim->now_ns = CV_MAX(sim->now_ns, CV_MIN(sim->workers[0].next_due_ns, sim->now_ns + T_NS));
    sim_round(sim, 0); /* the last of them departs */
    for (unsigned i = 0; i < 300; i++) {
        uint64_t tells = to->tells;

        sim->now_ns += 10000000; /* 100 packets a second */
        burst(sim, 1);
        assert_int_equal(to->tells, tells + 1);
        fake_queue_look(to, false);
    }
    sim_free(sim);
}

/* Where no call is wanted nothing is saved by waiting. */
static void adaptive_does_not_hold_for_who_polls(void **state)
{
    struct sim *sim = adaptive_new(50000);
    struct fake_queue *to = sim_queue(sim, 1);

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        burst(sim, 1);
        fake_queue_look(to, true);
        sim->now_ns += 3000;
    }
    assert_int_equal(to->calls, 1);
    assert_int_equal(sim_lane(sim, 1)->controller.rule.time_max_ns, 0);
    assert_int_equal(to->news.packets, 0);
    sim_free(sim);
}

/* How long guests take to look is learnt; of one that does not look, nothing. */
static void answers_are_timed(void **state)
{
    struct sim *sim = adaptive_new(50000);
    struct fake_queue *to = sim_queue(sim, 1);
    const struct costs *answer = &sim_lane(sim, 1)->controller.answer;

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        sim->now_ns += 200000;
        burst(sim, 1);
        sim->now_ns += 7000;
        fake_queue_look(to, false);
        sim_round(sim, 0);
    }
    assert_true(answer->weight > 0);
    assert_float_equal(answer->line.transfer_s + answer->line.packet_s, 7e-6, 1e-6);
    to->call_event = UINT64_MAX; /* a driver without the event index: never seen to look */
    sim_free(sim);
}

/* --- the other direction --- */

/* A world in which port 0 can be told of several buffers at once. */
static struct sim *grouping_new(enum hold_mode mode)
{
    struct sim *sim = world_new(mode);

    sim_queue(sim, 0)->base.groups_kicks = true;
    return sim;
}

/* Small frames: told of K buffers, or T after the first that came back. */
static void given_back_is_told_when_due(void **state)
{
    struct sim *sim = grouping_new(HOLD_FIXED);
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    burst(sim, 5);
    assert_int_equal(from->back.packets, 5); /* it can have them, if it looks */
    assert_int_equal(from->back_tells, 0);
    sim->now_ns += T_NS - 1;
    burst(sim, 5);
    assert_int_equal(from->back_tells, 0);
    assert_int_equal(sim->workers[0].next_due_ns, sim->now_ns + 1);
    sim->now_ns += 1;
    sim_round(sim, 0);
    assert_int_equal(from->last_back, 10);
    sim->now_ns += 10 * T_NS;
    burst(sim, K - 1);
    assert_int_equal(from->back_tells, 1);
    burst(sim, 1);
    assert_int_equal(from->last_back, K);
    sim_free(sim);
}

/* A sender that has many bytes out may be waiting for them: only small frames are grouped. */
static void many_bytes_are_told_at_once(void **state)
{
    struct sim *sim = grouping_new(HOLD_FIXED);
    struct fake_queue *from = sim_queue(sim, 0);
    struct fake_arrival frame = {.dst = fake_port_mac(1), .len = 8192};

    (void)state;
    fake_queue_arrive(from, &frame);
    sim_round(sim, 0);
    assert_int_equal(from->back_tells, 0);
    burst(sim, 1);
    assert_int_equal(from->last_back, 2);
    frame.len = 8193;
    fake_queue_arrive(from, &frame);
    sim_round(sim, 0);
    assert_int_equal(from->back_tells, 2);
    sim_free(sim);
}

/* Buffers go back in order: one that was still out may bring many behind it. */
static void bytes_that_were_stuck_count(void **state)
{
    struct sim *sim = grouping_new(HOLD_FIXED);
    struct fake_queue *from = sim_queue(sim, 0);
    struct fake_arrival frame = {.dst = fake_port_mac(1), .len = 9000};

    (void)state;
    sim_queue(sim, 2)->room = 0;
    fake_queue_arrive_for(from, 2, 1);
    fake_queue_arrive(from, &frame);
    sim_round(sim, 0);
    assert_int_equal(from->back.packets, 0);
    sim_queue(sim, 2)->room = 1;
    sim->now_ns += 10 * T_NS;
    sim_round(sim, 0);
    assert_int_equal(from->last_back, 2);
    burst(sim, 1); /* small ones wait again */
    assert_int_equal(from->back.packets, 1);
    sim_free(sim);
}

/* Bytes are those of the frames, whatever they were merged into. */
static void bytes_of_rows_are_not_counted_twice(void **state)
{
    struct sim *sim = grouping_new(HOLD_FIXED);
    struct hold_config hold = sim->ports[1].base.config.hold;
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    hold.mode = HOLD_NATURAL;
    sim_take_rows(sim, &sim->ports[1]);
    sim_set_hold(sim, 1, &hold, true);
    fake_queue_segments_for(from, 1, 8, 1000);
    sim_round(sim, 0);
    assert_int_equal(sim_queue(sim, 1)->last_group, 1);
    assert_int_equal(from->back.packets, 8);
    assert_int_equal(from->back_tells, 0);
    sim_free(sim);
}

static void nobody_else_waits_for_his_buffers(void **state)
{
    static const enum hold_mode modes[] = {HOLD_OFF, HOLD_NATURAL, HOLD_FIXED};

    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(modes); i++) {
        struct sim *sim = world_new(modes[i]);

        /* Without a count of its kicks a queue is told at once, in any mode. */
        sim_queue(sim, 0)->base.groups_kicks = modes[i] != HOLD_FIXED;
        burst(sim, 5);
        assert_int_equal(sim_queue(sim, 0)->last_back, 5);
        sim_free(sim);
    }
}

/* The rule changes, or the port stops: nothing stays untold. */
static void nobody_is_forgotten(void **state)
{
    for (unsigned stops = 0; stops < 2; stops++) {
        struct sim *sim = grouping_new(HOLD_FIXED);
        struct hold_config hold = sim->ports[0].base.config.hold;

        (void)state;
        burst(sim, 5);
        assert_int_equal(sim_queue(sim, 0)->back_tells, 0);
        hold.mode = HOLD_NATURAL;
        if (stops) {
            sim_port_detach(sim, 0);
            assert_int_equal(sim_queue(sim, 0)->last_back, 5);
            sim_port_attach(sim, 0);
        } else {
            sim_set_hold(sim, 0, &hold, false);
            sim_round(sim, 0);
            assert_int_equal(sim_queue(sim, 0)->last_back, 5);
        }
        sim_free(sim);
    }
}

/* A sender whose ring is stuck behind frames that wait is told of every buffer at once. */
static void stuck_sender_is_told_at_once(void **state)
{
    struct sim *sim = grouping_new(HOLD_FIXED);
    struct hold_config hold = {HOLD_FIXED, .packets_max = 256, .time_max_ns = 1000000};
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    sim_set_hold(sim, 0, &hold, false);
    sim_queue(sim, 2)->room = 0;
    fake_queue_arrive_for(from, 2, 1);
    while (sim_drops(sim, 2, DROP_QUEUE_FULL) == 0) {
        burst(sim, 16);
        assert_int_equal(from->back_tells, sim_drops(sim, 2, DROP_QUEUE_FULL));
    }
    assert_true(from->last_back > FAKE_RING_FRAMES / 4);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(off_delivers_each_frame_alone),
        cmocka_unit_test(off_delivers_each_row_alone),
        cmocka_unit_test(natural_is_one_group_per_burst),
        cmocka_unit_test(natural_never_holds),
        cmocka_unit_test(long_round_departs_in_the_middle),
        cmocka_unit_test(fixed_departs_when_due),
        cmocka_unit_test(express_train_waits_for_nobody),
        cmocka_unit_test(fixed_calls_when_due),
        cmocka_unit_test(who_looks_is_not_called),
        cmocka_unit_test(convoys_are_cut_at_k),
        cmocka_unit_test(express_takes_all_along),
        cmocka_unit_test(hold_changes_at_once),
        cmocka_unit_test(first_group_has_its_whole_time),
        cmocka_unit_test(short_guest_is_called_at_once),
        cmocka_unit_test(short_guest_is_called_when_nothing_waits),
        cmocka_unit_test(short_guest_is_called_for_a_part),
        cmocka_unit_test(given_up_frames_are_no_group),
        cmocka_unit_test(stopping_tells_the_guest),
        cmocka_unit_test(coming_back_departs_what_waited),
        cmocka_unit_test(nothing_is_held_while_buffers_are_short),
        cmocka_unit_test(adaptive_groups_what_is_dense),
        cmocka_unit_test(adaptive_lone_packet_never_waits),
        cmocka_unit_test(adaptive_does_not_hold_for_who_polls),
        cmocka_unit_test(answers_are_timed),
        cmocka_unit_test(given_back_is_told_when_due),
        cmocka_unit_test(many_bytes_are_told_at_once),
        cmocka_unit_test(bytes_that_were_stuck_count),
        cmocka_unit_test(bytes_of_rows_are_not_counted_twice),
        cmocka_unit_test(nobody_else_waits_for_his_buffers),
        cmocka_unit_test(nobody_is_forgotten),
        cmocka_unit_test(stuck_sender_is_told_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

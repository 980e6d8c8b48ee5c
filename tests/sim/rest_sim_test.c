/*
 * Goal: a worker sleeps when nothing is to be done and is awake when something is: kicks are asked
 * for in groups and looked after in time, timers are set for whatever waits, no wake-up is lost and
 * no processor time wasted. Method: whole workers (sim_loop.h) on fake ports whose kicks are real
 * eventfds, at moments that a test or a seed chooses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim_loop.h"

enum {
    POLL_NS = 5000,
    LATE_NS = 3000,
    K = 32, /* of sim_port_config */
    T_NS = 50000,
    ROUND_NS = 1000, /* a turn or two */
    PORTS = 3,
    STEPS_NS = 20000000, /* of chaos */
    SEEDS = 300,
};

/* One worker and three ports of this mode, whose kicks can be counted. All are asleep. */
static struct sim *world_new(enum hold_mode mode)
{
    struct sim_loop_config loop = {.poll_ns = POLL_NS, .late_ns = LATE_NS, .is_evenly_late = true};
    struct port_config config = sim_port_config(mode, FULL_DROP);
    struct sim *sim = sim_new(1, 1);

    sim_loop_begin(sim, &loop);
    for (unsigned id = 0; id < PORTS; id++) {
        struct fake_queue *queue = &sim_port_add(sim, id, &config)->queues[0];

        queue->base.groups_kicks = true;
        queue->room = 1u << 20;
    }
    sim_loop_run(sim, sim->now_ns + 1000000);
    assert_int_equal(sim_loop_deadline(sim, 0), UINT64_MAX);
    return sim;
}

static void run_for(struct sim *sim, uint64_t ns)
{
    sim_loop_run(sim, sim->now_ns + ns);
}

/* `count` frames from port 0 to port 1, now. */
static void arrive(struct sim *sim, uint64_t count)
{
    fake_port_now_ns = sim->now_ns;
    fake_queue_arrive_for(sim_queue(sim, 0), 1, (unsigned)count);
}

/* --- kicks --- */

/* Also after a packet that is alone. */
static void idle_worker_sleeps_without_a_timer(void **state)
{
    static const enum hold_mode modes[] = {HOLD_OFF, HOLD_NATURAL, HOLD_FIXED, HOLD_ADAPTIVE};

    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(modes); i++) {
        struct sim *sim = world_new(modes[i]);
        uint64_t sleeps;

        arrive(sim, 1);
        run_for(sim, 1000000);
        assert_int_equal(sim_queue(sim, 1)->tells, 1);
        sleeps = sim->workers[0].sleeps;
        run_for(sim, 1000000000);
        assert_int_equal(sim->workers[0].sleeps, sleeps);
        for (unsigned id = 0; id < PORTS; id++)
            assert_int_equal(sim_queue(sim, id)->asked_for, 1);
        sim_free(sim);
    }
}

/* One frame in so many ns, `count` times; returns how often the guest had to kick. */
static uint64_t kicks_of(struct sim *sim, unsigned count, uint64_t gap_ns)
{
    uint64_t before = sim_queue(sim, 0)->kicks, delivered = sim_queue(sim, 1)->delivered;

    for (unsigned i = 0; i < count; i++) {
        arrive(sim, 1);
        run_for(sim, gap_ns);
    }
    assert_int_equal(sim_queue(sim, 1)->delivered, delivered + count);
    return sim_queue(sim, 0)->kicks - before;
}

/* The first frame after a silence kicks, and so may the next; then the queue is polled as long as
 * frames come soon, and no longer. */
static void kick_wakes_and_polling_ends(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL);
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    assert_in_range(kicks_of(sim, 10, POLL_NS / 2), 1, 2);
    assert_int_equal(from->asked_for, 0); /* it is polled */
    run_for(sim, POLL_NS + ROUND_NS);
    assert_int_equal(from->asked_for, 1);
    assert_int_equal(sim_loop_deadline(sim, 0), UINT64_MAX);
    assert_in_range(sim_loop_idle_turns(sim, 0), 1, 500);
    sim_free(sim);
}

/* Where the next frame comes later than polling lasts, the worker soon sleeps at once. */
static void slow_queue_is_not_polled(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL);
    uint64_t idle_turns;

    (void)state;
    (void)kicks_of(sim, 10, POLL_NS / 2);
    assert_int_equal(sim_queue(sim, 0)->base.poll_ns, POLL_NS);
    assert_int_equal(kicks_of(sim, 6, 20 * POLL_NS), 5); /* the first of them was polled for */
    assert_int_equal(sim_queue(sim, 0)->base.poll_ns, 0);
    idle_turns = sim_loop_idle_turns(sim, 0);
    arrive(sim, 1);
    run_for(sim, 20 * POLL_NS);
    assert_in_range(sim_loop_idle_turns(sim, 0) - idle_turns, 0, 2);
    assert_in_range(kicks_of(sim, 10, POLL_NS / 2), 1, 2);
    sim_free(sim);
}

/* A queue whose rule says so is asked for K first, looked at T later, and only then asked for one.
 */
static void kicks_are_asked_for_in_groups(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *from = sim_queue(sim, 0);
    uint64_t asked_ns;

    (void)state;
    arrive(sim, 1);
    while (from->asked_for != K)
        run_for(sim, 1);
    asked_ns = sim->now_ns;
    assert_in_range(from->base.look_ns, asked_ns + T_NS - ROUND_NS, asked_ns + T_NS);
    run_for(sim, T_NS - 2 * ROUND_NS);
    assert_int_equal(from->asked_for, K);
    run_for(sim, LATE_NS + 4 * ROUND_NS);
    assert_int_equal(from->asked_for, 1);
    assert_int_equal(from->kicks, 1);
    run_for(sim, T_NS + LATE_NS);
    assert_int_equal(sim_loop_deadline(sim, 0), UINT64_MAX);
    sim_free(sim);
}

/* Frames that come while K is asked for: at K there is a kick; fewer are found T later. */
static void frames_of_a_group_are_taken_in_time(void **state)
{
    for (unsigned count = 1; count <= K; count += K - 1) {
        struct sim *sim = world_new(HOLD_FIXED);
        struct fake_queue *from = sim_queue(sim, 0);
        uint64_t kicks;

        (void)state;
        arrive(sim, 1);
        while (from->asked_for != K)
            run_for(sim, 1);
        kicks = from->kicks;
        from->longest_wait_ns = 0;
        for (unsigned i = 0; i < count; i++) {
            arrive(sim, 1);
            run_for(sim, 10);
        }
        run_for(sim, ROUND_NS);
        assert_int_equal(from->taken, count < K ? 1 : 1 + K);
        assert_int_equal(from->kicks - kicks, count == K);
        run_for(sim, T_NS + LATE_NS);
        assert_int_equal(from->taken, 1 + count);
        assert_in_range(from->longest_wait_ns, 1, T_NS + LATE_NS + ROUND_NS);
        sim_free(sim);
    }
}

/* The port stops, or its rule changes, while K is asked for and fewer have come. */
static void group_that_is_asked_for_is_not_forgotten(void **state)
{
    for (unsigned stops = 0; stops < 2; stops++) {
        struct sim *sim = world_new(HOLD_FIXED);
        struct hold_config natural = {HOLD_NATURAL};
        struct fake_queue *from = sim_queue(sim, 0);

        (void)state;
        arrive(sim, 1);
        while (from->asked_for != K)
            run_for(sim, 1);
        arrive(sim, 3);
        run_for(sim, ROUND_NS);
        assert_int_equal(from->taken, 1);
        if (stops) {
            sim_port_detach(sim, 0);
            assert_int_equal(from->asked_for, 1); /* whoever serves it next gets its kick */
            sim_port_attach(sim, 0);
        } else {
            sim_set_hold(sim, 0, &natural, false);
        }
        run_for(sim, T_NS + LATE_NS + ROUND_NS);
        assert_int_equal(from->taken, 4);
        run_for(sim, 2 * T_NS);
        assert_int_equal(sim_loop_deadline(sim, 0), UINT64_MAX);
        sim_free(sim);
    }
}

/* Who cannot count its kicks is asked for the next one only. */
static void others_are_asked_for_one(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);

    (void)state;
    sim_queue(sim, 0)->base.groups_kicks = false;
    arrive(sim, 1);
    for (unsigned i = 0; i < 2 * T_NS; i += 10) {
        run_for(sim, 10);
        assert_in_range(sim_queue(sim, 0)->asked_for, 0, 1);
    }
    sim_free(sim);
}

/* A ring that its driver has not enabled is not looked at before it is kicked. */
static void disabled_queue_waits_for_its_kick(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL);
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    sim_port_detach(sim, 0);
    from->base.waits_for_kick = true;
    from->asked_for = 0;
    from->kick_event = from->taken + 3;
    sim_port_attach(sim, 0);
    arrive(sim, 3);
    run_for(sim, 1000000);
    assert_int_equal(from->taken, 0);
    arrive(sim, 1);
    run_for(sim, ROUND_NS);
    assert_int_equal(from->taken, 4);
    sim_free(sim);
}

/* --- timers --- */

/* A call that waits is made in time although the timer is late, once its lateness is known. */
static void call_is_made_in_time(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *to = sim_queue(sim, 1);

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        uint64_t tells = to->tells, now_ns = sim->now_ns;

        arrive(sim, 2);
        while (to->tells == tells)
            run_for(sim, 1);
        assert_in_range(sim->now_ns - now_ns, T_NS,
                        T_NS + ROUND_NS + (i < 80 ? LATE_NS : LATE_NS / 4));
        run_for(sim, 1000000);
        assert_int_equal(sim_loop_deadline(sim, 0), UINT64_MAX);
    }
    assert_float_equal(sim->workers[0].wake_s, LATE_NS * 1e-9, LATE_NS * 0.25e-9);
    sim_free(sim);
}

/* Buffers that are given back likewise: only the sender's count of them is in the way of sleep. */
static void sender_is_told_in_time(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct hold_config natural = {HOLD_NATURAL};
    struct fake_queue *from = sim_queue(sim, 0);
    uint64_t now_ns;

    (void)state;
    sim_set_hold(sim, 1, &natural, false);
    arrive(sim, 2);
    now_ns = sim->now_ns;
    while (from->back_tells == 0)
        run_for(sim, 1);
    assert_in_range(sim->now_ns - now_ns, T_NS, T_NS + LATE_NS + ROUND_NS);
    sim_free(sim);
}

/* A guest that is short of buffers is asked to kick when it has some; its patience has a timer. */
static void short_guest_is_asked_for_room(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL);
    struct fake_queue *to = sim_queue(sim, 1);

    (void)state;
    to->room = 0;
    arrive(sim, 5);
    run_for(sim, 1000000);
    assert_in_range(sim_loop_deadline(sim, 0), sim->now_ns, sim->now_ns + STALL_NS);
    fake_queue_add_room(to, 2);
    run_for(sim, ROUND_NS);
    assert_int_equal(to->delivered, 2);
    run_for(sim, STALL_NS + LATE_NS);
    assert_int_equal(sim_drops(sim, 1, DROP_STALLED), 3);
    assert_int_equal(sim_loop_deadline(sim, 0), UINT64_MAX);
    sim_free(sim);
}

/* Nor are frames that a full port has pushed back forgotten: their sender need not kick again. */
static void pushed_back_frames_are_not_slept_over(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL);
    struct fake_queue *to = sim_queue(sim, 1);

    (void)state;
    sim->workers[0].outlets[1].full = FULL_PUSH_BACK;
    to->room = 0;
    arrive(sim, FAKE_RING_FRAMES / 2);
    fake_queue_arrive_for(sim_queue(sim, 2), 1, FAKE_RING_FRAMES / 2 + 30);
    run_for(sim, 1000000);
    assert_int_equal(sim_queue(sim, 2)->base.poll_ns, 0);
    assert_int_equal(sim_queue(sim, 2)->base.stash_count, 30);
    fake_queue_add_room(to, 1u << 20);
    run_for(sim, 1000000);
    assert_int_equal(to->delivered, FAKE_RING_FRAMES + 30);
    sim_free(sim);
}

static void next_of_stream(struct sim *sim, uint64_t left)
{
    fake_queue_arrive_for(sim_queue(sim, 0), 1, 1);
    fake_queue_look(sim_queue(sim, 1), false);
    if (left > 0)
        sim_loop_at(sim, sim->now_ns + 2000, next_of_stream, left - 1);
}

/* Dense traffic, held and grouped in both directions, that ends: nothing of that remains. */
static void traffic_that_ends_leaves_no_timer(void **state)
{
    struct sim *sim = world_new(HOLD_ADAPTIVE);
    struct hold_config hold = {HOLD_ADAPTIVE, .delay_budget_ns = 50000, .delay_weight = 0.1};
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, 1);
    uint64_t sleeps;

    (void)state;
    fake_port_costs = (struct fake_costs){.delivery_ns = 300, .packet_ns = 50, .call_ns = 2000};
    for (unsigned id = 0; id < 2; id++)
        sim_set_hold(sim, id, &hold, false);
    sim_loop_at(sim, sim->now_ns, next_of_stream, 10000);
    run_for(sim, 2000 * 9000);
    assert_true(sim_lane(sim, 1)->controller.rule.time_max_ns > 0);
    assert_true(from->base.kick_rule.time_max_ns > 0);
    run_for(sim, 2000 * 3000 + 1000000);
    assert_int_equal(to->delivered, 10001);
    assert_in_range(to->tells, 1, 10001 / 3);
    assert_in_range(from->back_tells, 1, 10001 / 2);
    assert_int_equal(sim_loop_deadline(sim, 0), UINT64_MAX);
    sleeps = sim->workers[0].sleeps;
    run_for(sim, 1000000000);
    assert_int_equal(sim->workers[0].sleeps, sleeps);
    sim_free(sim);
}

/* --- busy workers --- */

static void one_more_frame(struct sim *sim, uint64_t to)
{
    struct fake_queue *from = sim_queue(sim, 2);

    fake_port_now_ns = sim->now_ns;
    if (fake_queue_free(from) > 0)
        fake_queue_arrive_for(from, (unsigned)to, 1);
}

/* One queue never rests; kicks of another are heard all the same. */
static void loud_guest_does_not_drown_the_others(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL);
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    for (unsigned i = 0; i < 4000; i++)
        sim_loop_at(sim, sim->now_ns + i * 100, one_more_frame, 1);
    arrive(sim, 1);
    run_for(sim, 100000); /* ... but it does not look at a quiet queue for ever */
    assert_int_equal(from->taken, 1);
    assert_int_equal(from->asked_for, 1);
    from->longest_wait_ns = 0;
    arrive(sim, 1);
    run_for(sim, 100000);
    assert_int_equal(from->taken, 2);
    assert_in_range(from->longest_wait_ns, 1, 10000 + ROUND_NS); /* GLANCE_NS */
    assert_in_range(sim_queue(sim, 2)->longest_wait_ns, 1, ROUND_NS);
    sim_free(sim);
}

/*
 * A queue that is held back, since the worker is out of frames, while K is asked for: nothing is
 * lost, and nobody spins until the others come back. The worker's stock is made small for that.
 */
static void queue_that_is_held_back_rests(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, 1);
    uint64_t turns;

    (void)state;
    frame_pool_uninit(&sim->workers[0].frames);
    assert_int_equal(frame_pool_init(&sim->workers[0].frames, 64), 0);
    arrive(sim, 1);
    while (from->asked_for != K)
        run_for(sim, 1);
    to->room = 0;
    fake_queue_arrive_for(sim_queue(sim, 2), 1, 64); /* another sender takes all frames */
    run_for(sim, 10 * ROUND_NS);
    assert_int_equal(frame_pool_left(&sim->workers[0].frames), 0);
    arrive(sim, 3);
    turns = sim_loop_idle_turns(sim, 0);
    run_for(sim, 10 * T_NS);
    assert_true(from->base.is_held_back);
    assert_in_range(sim_loop_idle_turns(sim, 0), turns, turns + 500);
    fake_queue_add_room(to, 1000);
    run_for(sim, 2 * T_NS + LATE_NS);
    assert_int_equal(from->taken, 4);
    sim_free(sim);
}

/* --- several workers --- */

/* What crosses to a worker that sleeps wakes it, and so does what comes back from it. */
static void handing_over_wakes(void **state)
{
    struct sim_loop_config loop = {.poll_ns = 0}; /* who has nothing to do sleeps at once */
    struct port_config config = sim_port_config(HOLD_NATURAL, FULL_DROP);
    struct sim *sim = sim_new(3, 1);

    (void)state;
    sim_loop_begin(sim, &loop);
    for (unsigned id = 0; id < PORTS; id++)
        sim_port_add(sim, id, &config)->queues[0].room = 1000;
    run_for(sim, 1000000);
    arrive(sim, 5);
    run_for(sim, 2 * ROUND_NS);
    assert_int_equal(sim_queue(sim, 1)->delivered, 5);
    run_for(sim, 2 * ROUND_NS);
    assert_int_equal(sim_queue(sim, 0)->base.outstanding, 0);
    assert_int_equal(sim_queue(sim, 0)->last_back, 5);
    run_for(sim, 1000000);
    for (unsigned w = 0; w < 3; w++)
        assert_int_equal(sim_loop_deadline(sim, w), UINT64_MAX);
    sim_free(sim);
}

/* --- chaos --- */

static struct fake_queue *random_queue(struct sim *sim)
{
    struct fake_port *port = &sim->ports[sim_random(sim, PORTS)];

    return &port->queues[sim_random(sim, port->base.queue_count)];
}

static void frames_come(struct sim *sim, uint64_t count)
{
    struct fake_queue *queue = random_queue(sim);
    unsigned id = (unsigned)sim_random(sim, PORTS);

    count = CV_MIN(count, fake_queue_free(queue));
    if (sim_random(sim, 2))
        fake_queue_segments_for(queue, id, (unsigned)count, 200);
    else
        fake_queue_arrive_for(queue, id, (unsigned)count);
}

static void room_comes(struct sim *sim, uint64_t count)
{
    fake_queue_add_room(random_queue(sim), (unsigned)count);
}

static void machine_looks(struct sim *sim, uint64_t goes_on)
{
    fake_queue_look(random_queue(sim), goes_on);
}

static struct hold_config random_hold(struct sim *sim)
{
    return (struct hold_config){.mode = (enum hold_mode)sim_random(sim, HOLD_ADAPTIVE + 1),
                                .packets_max = 2 + (unsigned)sim_random(sim, 60),
                                .time_max_ns = 1 + sim_random(sim, 200000),
                                .delay_budget_ns = 1000 + sim_random(sim, 100000),
                                .delay_weight = 0.01};
}

static void hold_changes(struct sim *sim, uint64_t merge)
{
    struct hold_config hold = random_hold(sim);

    sim_set_hold(sim, (unsigned)sim_random(sim, PORTS), &hold, merge);
}

static void port_stops(struct sim *sim, uint64_t for_ns)
{
    unsigned id = (unsigned)sim_random(sim, PORTS);

    sim_port_detach(sim, id);
    sim->now_ns += sim_random(sim, for_ns);
    sim_port_attach(sim, id);
}

/* Bursts, streams, and quiet in between. */
static void plan(struct sim *sim)
{
    uint64_t at_ns = sim->now_ns, end_ns = sim->now_ns + STEPS_NS;

    while (at_ns < end_ns) {
        static const uint64_t gaps_ns[] = {1000, 5000, 20000, 200000};
        uint64_t gap_ns = gaps_ns[sim_random(sim, 4)], what = sim_random(sim, 40);

        for (unsigned n = 0; what < 30 && n < 50; n++)
            sim_loop_at(sim, at_ns += sim_random(sim, gap_ns), frames_come,
                        1 + sim_random(sim, sim_random(sim, 8) == 0 ? 100 : 2));
        for (unsigned n = 0; n < 10; n++)
            sim_loop_at(sim, at_ns - sim_random(sim, 20000), machine_looks, sim_random(sim, 2));
        sim_loop_at(sim, at_ns, room_comes, sim_random(sim, 300));
        if (what >= 30 && what < 35)
            sim_loop_at(sim, at_ns, hold_changes, sim_random(sim, 2));
        else if (what >= 35)
            sim_loop_at(sim, at_ns, port_stops, 20000);
        at_ns += sim_random(sim, 10 * gap_ns);
    }
}

static void scenario(uint64_t seed)
{
    struct sim *sim = sim_new(1 + seed % SIM_WORKERS_MAX, seed);
    struct sim_loop_config loop = {.poll_ns = sim_random(sim, 3) * 3000,
                                   .late_ns = sim_random(sim, 2) * 5000};
    enum full_policy full = (enum full_policy)sim_random(sim, 2);

    sim_loop_begin(sim, &loop);
    if (sim_random(sim, 2))
        fake_port_costs = (struct fake_costs){
            .delivery_ns = 300, .packet_ns = 50, .call_ns = sim_random(sim, 3000)};
    for (unsigned w = 0; w < sim->worker_count && sim_random(sim, 2); w++) {
        frame_pool_uninit(&sim->workers[w].frames);
        assert_int_equal(frame_pool_init(&sim->workers[w].frames, 100), 0);
    }
    for (unsigned id = 0; id < PORTS; id++) {
        struct port_config config = sim_port_config(HOLD_NATURAL, full);
        struct fake_port *port;

        config.hold = random_hold(sim);
        config.merge = true;
        config.queue_pairs = 1 + (unsigned)sim_random(sim, 2);
        port = sim_take_rows(sim, sim_port_add(sim, id, &config));
        for (unsigned q = 0; q < config.queue_pairs; q++) {
            port->queues[q].base.groups_kicks = sim_random(sim, 4) > 0;
            port->queues[q].room = (unsigned)sim_random(sim, 2000);
        }
    }
    plan(sim);
    sim_loop_run(sim, sim->now_ns + STEPS_NS + 10 * STALL_NS);
    for (unsigned w = 0; w < sim->worker_count; w++)
        SIM_CHECK(sim_loop_deadline(sim, w) == UINT64_MAX);
    sim_free(sim);
}

static void chaos(void **state)
{
    (void)state;
    sim_run_seeds(scenario, SEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_worker_sleeps_without_a_timer),
        cmocka_unit_test(kick_wakes_and_polling_ends),
        cmocka_unit_test(slow_queue_is_not_polled),
        cmocka_unit_test(kicks_are_asked_for_in_groups),
        cmocka_unit_test(frames_of_a_group_are_taken_in_time),
        cmocka_unit_test(group_that_is_asked_for_is_not_forgotten),
        cmocka_unit_test(others_are_asked_for_one),
        cmocka_unit_test(disabled_queue_waits_for_its_kick),
        cmocka_unit_test(call_is_made_in_time),
        cmocka_unit_test(sender_is_told_in_time),
        cmocka_unit_test(short_guest_is_asked_for_room),
        cmocka_unit_test(pushed_back_frames_are_not_slept_over),
        cmocka_unit_test(traffic_that_ends_leaves_no_timer),
        cmocka_unit_test(loud_guest_does_not_drown_the_others),
        cmocka_unit_test(queue_that_is_held_back_rests),
        cmocka_unit_test(handing_over_wakes),
        cmocka_unit_test(chaos),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

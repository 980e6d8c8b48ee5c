/*
 * Goal: a worker sleeps when nothing is to be done and is awake when something is: kicks are asked
 * for in groups and looked after in time, timers are set for whatever waits, no wake-up is lost and
 * no processor time wasted. Method: whole workers (sim_loop.h) on fake ports whose kicks are real
 * eventfds, at moments that a test or a seed chooses.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim_loop.h"

enum {
    POLL_NS = 5000,
    LATE_NS = 3000,
    K = 32, /* of sim_port_config */
    T_NS = 50000,
    ROUND_NS = 1000, /* a turn or two */
    PORTS = 3,
    RESTLESS_NS = 500000,
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
        queue->base.kicks_max = FAKE_RING_FRAMES / 2;
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

enum { LONG_POLL_NS = 200000, BURST_GAP_NS = 100000, SUPER_BYTES = 60000, BURSTS = 100 };

/* The share of the time, in percent, that a worker sleeps when bursts of so many super-packets come
 * for long, with a silence between them for which it would poll. */
static uint64_t slept_between_bursts(struct sim *sim, unsigned packets)
{
    uint64_t slept_ns = 0, started_ns = 0;

    for (unsigned i = 0; i < 2 * BURSTS; i++) {
        if (i == BURSTS) {
            slept_ns = sim_loop_slept_ns(sim, 0);
            started_ns = sim->now_ns;
        }
        fake_port_now_ns = sim->now_ns;
        fake_queue_segments_for(sim_queue(sim, 0), 1, packets, SUPER_BYTES);
        run_for(sim, BURST_GAP_NS);
    }
    return 100 * (sim_loop_slept_ns(sim, 0) - slept_ns) / (sim->now_ns - started_ns);
}

/* Traffic in bulk is slept for; small bursts, also those that bulk falls apart into, are polled
 * for. */
static void bulk_is_not_polled_for(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL);

    (void)state;
    sim->workers[0].poll_ns = LONG_POLL_NS;
    sim->workers[0].may_defer = sched_getscheduler(0) == SCHED_OTHER;
    assert_in_range(slept_between_bursts(sim, 1), 0, 5);
    assert_int_not_equal(sched_getscheduler(0), SCHED_BATCH);
    assert_in_range(slept_between_bursts(sim, 16), 60, 100);
    assert_int_equal(sched_getscheduler(0) == SCHED_BATCH, sim->workers[0].may_defer);
    assert_in_range(slept_between_bursts(sim, 1), 0, 5);
    assert_int_not_equal(sched_getscheduler(0), SCHED_BATCH);
    assert_int_equal(sim_queue(sim, 1)->delivered, 2 * BURSTS * (1 + 16 + 1));
    /* Who has a processor of its own uses it. */
    sim->workers[0].cpu = 0;
    assert_in_range(slept_between_bursts(sim, 16), 0, 5);
    sim_free(sim);
}

/* What the worker has slept between is not one burst, though no look was in vain for long. */
static void sleeping_ends_a_burst(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL);

    (void)state;
    for (unsigned i = 0; i < BURSTS; i++) {
        fake_port_now_ns = sim->now_ns;
        fake_queue_segments_for(sim_queue(sim, 0), 1, 1, SUPER_BYTES);
        run_for(sim, 1000000);
    }
    assert_int_equal(sim_queue(sim, 0)->base.poll_ns, 0);
    assert_int_equal(sim->workers[0].bulk.bytes, SUPER_BYTES);
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
    run_for(sim, 2 * ROUND_NS); /* ... and then it goes on at once */
    assert_int_equal(from->taken, 4);
    sim_free(sim);
}

/* --- dense traffic --- */

/* Frames of port 0 for port 1, one in `gap_ns`, so many more; and what was seen of its queue when
 * they came. */
static struct stream {
    uint64_t gap_ns, next_ns, left;
    unsigned window; /* so many at a time, the next when all of them have been delivered; 0: any */
    uint64_t came, resting; /* of those, while the queue rested */
} stream;

static void next_of_dense(struct sim *sim, uint64_t unused)
{
    struct fake_queue *from = sim_queue(sim, 0);
    uint64_t sent = from->taken + from->arrival_count;
    bool may_send =
        stream.window == 0 || sent % stream.window != 0 || sim_queue(sim, 1)->delivered == sent;

    if (may_send && fake_queue_free(from) > 0) {
        stream.came++;
        stream.resting += from->base.is_resting;
        fake_queue_arrive_for(from, 1, 1);
    }
    stream.next_ns += stream.gap_ns;
    if (--stream.left > 0)
        sim_loop_at(sim, stream.next_ns, next_of_dense, unused);
}

static void stream_begin(struct sim *sim, uint64_t gap_ns, uint64_t length_ns)
{
    stream = (struct stream){.gap_ns = gap_ns, .next_ns = sim->now_ns, .left = length_ns / gap_ns};
    sim_loop_at(sim, sim->now_ns, next_of_dense, 0);
}

/* Until so many more are to come. */
static void stream_until(struct sim *sim, uint64_t left)
{
    while (stream.left > left)
        run_for(sim, stream.gap_ns);
}

/* What a stream has cost; all numbers are differences. */
struct effort {
    uint64_t kicks, bursts, slept_ns, sleeps, idle_turns, taken_ns;
};

static struct effort effort_now(struct sim *sim)
{
    return (struct effort){.kicks = sim_queue(sim, 0)->kicks,
                           .bursts = sim_queue(sim, 0)->base.bursts,
                           .slept_ns = sim_loop_slept_ns(sim, 0),
                           .sleeps = sim->workers[0].sleeps,
                           .idle_turns = sim_loop_idle_turns(sim, 0),
                           .taken_ns = sim->now_ns};
}

static struct effort effort_since(struct sim *sim, const struct effort *before)
{
    struct effort now = effort_now(sim);

    return (struct effort){.kicks = now.kicks - before->kicks,
                           .bursts = now.bursts - before->bursts,
                           .slept_ns = now.slept_ns - before->slept_ns,
                           .sleeps = now.sleeps - before->sleeps,
                           .idle_turns = now.idle_turns - before->idle_turns,
                           .taken_ns = now.taken_ns - before->taken_ns};
}

enum { DENSE_NS = 5000000, LEARN_NS = 10000000 };

/* What DENSE_NS of a stream cost that has been known for long, of which so many frames at a time
 * come from now on. */
static struct effort effort_of_windows(struct sim *sim, uint64_t gap_ns, unsigned window)
{
    struct effort before;

    stream_begin(sim, gap_ns, LEARN_NS + DENSE_NS);
    stream_until(sim, DENSE_NS / gap_ns);
    before = effort_now(sim);
    sim_queue(sim, 0)->longest_wait_ns = stream.came = stream.resting = 0;
    stream.window = window;
    stream_until(sim, 0);
    return effort_since(sim, &before);
}

static struct effort effort_of_stream(struct sim *sim, uint64_t gap_ns)
{
    return effort_of_windows(sim, gap_ns, 0);
}

/* One kick for K frames, and the worker sleeps until it comes; the frames wait for that long. */
static void dense_stream_is_taken_in_groups(void **state)
{
    static const uint64_t gaps_ns[] = {100, 150, 250, 500};

    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(gaps_ns); i++) {
        struct sim *sim = world_new(HOLD_FIXED);
        struct effort effort = effort_of_stream(sim, gaps_ns[i]);
        uint64_t groups = DENSE_NS / gaps_ns[i] / K;

        assert_in_range(effort.kicks, groups * 3 / 4, groups + 1);
        assert_in_range(effort.sleeps, effort.kicks, effort.kicks + 2);
        assert_in_range(effort.bursts, effort.kicks, 2 * effort.kicks + 2);
        assert_in_range(effort.slept_ns, effort.taken_ns * 3 / 4, effort.taken_ns);
        assert_in_range(effort.idle_turns, 0, effort.kicks);
        assert_in_range(sim_queue(sim, 0)->longest_wait_ns, (K - 3) * gaps_ns[i],
                        K * gaps_ns[i] + ROUND_NS);
        run_for(sim, T_NS + LATE_NS + ROUND_NS);
        assert_int_equal(sim_queue(sim, 1)->delivered, (LEARN_NS + DENSE_NS) / gaps_ns[i]);
        sim_free(sim);
    }
}

/* A call that is due before the next kick, and sooner than a timer wakes, waits for nobody: it is
 * made before the worker sleeps. One that is due later waits for those who come. */
static void nobody_waits_for_a_queue_that_rests(void **state)
{
    enum { GAP_NS = 500, KICK_NS = K * GAP_NS };
    uint64_t tells[2];

    (void)state;
    for (unsigned later = 0; later < 2; later++) {
        struct sim *sim = world_new(HOLD_FIXED);
        struct hold_config hold = {HOLD_FIXED, .packets_max = 2 * K - 1,
                                   .time_max_ns = later ? 2 * KICK_NS : LATE_NS};
        struct effort effort;

        sim_set_hold(sim, 1, &hold, false);
        effort = effort_of_stream(sim, GAP_NS);
        tells[later] = sim_queue(sim, 1)->tells;
        assert_in_range(effort.sleeps, effort.kicks, effort.kicks + 2);
        assert_in_range(effort.idle_turns, 0, effort.kicks);
        sim_free(sim);
    }
    assert_in_range(tells[1], 1, tells[0] * 3 / 4);
}

/* Likewise where the rule is derived: fewer kicks than for the smallest group worth a sleep. What
 * came during a sleep did not come together. */
static void dense_stream_rests_by_the_model(void **state)
{
    struct sim *sim = world_new(HOLD_ADAPTIVE);
    struct hold_config hold = {HOLD_ADAPTIVE, .delay_budget_ns = 50000, .delay_weight = 0.01};
    struct effort effort;

    (void)state;
    sim_set_hold(sim, 0, &hold, false);
    effort = effort_of_stream(sim, 200);
    assert_in_range(effort.kicks, DENSE_NS / 200 / (FAKE_RING_FRAMES / 2), DENSE_NS / 200 / 16);
    assert_in_range(effort.slept_ns, DENSE_NS / 2, DENSE_NS);
    assert_in_range(sim_queue(sim, 0)->longest_wait_ns, 16 * 200,
                    hold.delay_budget_ns + LATE_NS + ROUND_NS);
    assert_true(traffic_together(&sim_queue(sim, 0)->base.arrivals) < 0.2);
    run_for(sim, 2 * T_NS);
    assert_int_equal(sim_queue(sim, 1)->delivered, (LEARN_NS + DENSE_NS) / 200);
    sim_free(sim);
}

/* A stream ends after any number of frames of a group: the rest of them is taken in time, and soon
 * the guest is asked for the next one. Whether some were found or not, its queue seemed dense and
 * was not. */
static void dense_stream_that_ends_leaves_nothing(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *from = sim_queue(sim, 0);
    unsigned rested = 0, waited = 0;
    uint64_t ended_ns;
    bool was_resting;

    (void)state;
    stream_begin(sim, 200, LEARN_NS);
    stream_until(sim, 0);
    for (unsigned i = 0; i < 3 * K; i++) {
        run_for(sim, 4 * T_NS); /* it is asked for the next one */
        stream_begin(sim, 200, 1000000 + i * 200);
        stream_until(sim, 0);
        was_resting = from->base.is_resting;
        ended_ns = sim->now_ns;
        rested += was_resting;
        waited += was_resting && from->arrival_count > 0;
        from->longest_wait_ns = 0;
        run_for(sim, T_NS + LATE_NS + ROUND_NS);
        assert_int_equal(from->arrival_count, 0);
        assert_in_range(from->longest_wait_ns, 0, T_NS + LATE_NS + ROUND_NS);
        assert_int_equal(sim_queue(sim, 1)->delivered, from->taken);
        run_for(sim, T_NS + LATE_NS + POLL_NS + 2 * ROUND_NS);
        assert_int_equal(from->asked_for, 1);
        assert_false(from->base.is_resting);
        if (was_resting)
            assert_in_range(from->base.restless_until_ns, ended_ns + RESTLESS_NS,
                            ended_ns + RESTLESS_NS + T_NS + LATE_NS + ROUND_NS);
        assert_int_equal(sim_loop_deadline(sim, 0), UINT64_MAX);
    }
    assert_in_range(rested, 2 * K, 3 * K);
    assert_in_range(waited, K, 3 * K);
    sim_free(sim);
}

/* Windows of 20 frames, each sent when the last has been delivered: K never come. A rest fails
 * once in RESTLESS_NS, not with each window. Calls wait for nothing here. */
static void sender_that_waits_is_polled(void **state)
{
    static const enum hold_mode modes[] = {HOLD_NATURAL, HOLD_FIXED};
    uint64_t came[2];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct sim *sim = world_new(modes[i]);
        struct hold_config natural = {HOLD_NATURAL};
        struct effort effort;

        sim_set_hold(sim, 1, &natural, false);
        effort = effort_of_windows(sim, 200, 20);
        came[i] = stream.came;
        assert_in_range(effort.sleeps, i == 0 ? 0 : DENSE_NS / (RESTLESS_NS + T_NS) / 2,
                        i == 0 ? 0 : DENSE_NS / RESTLESS_NS + 2);
        run_for(sim, 2 * T_NS);
        sim_free(sim);
    }
    assert_in_range(came[1], came[0] * 8 / 10, came[0]);
}

/* The worker neither sleeps nor asks for more than one while the stream lasts. */
static void assert_is_polled(struct sim *sim, uint64_t gap_ns)
{
    struct effort effort = effort_of_stream(sim, gap_ns);

    assert_int_equal(effort.sleeps, 0);
    assert_int_equal(effort.kicks, 0);
    assert_int_equal(stream.resting, 0);
    assert_int_equal(sim_queue(sim, 0)->asked_for, 0);
    assert_in_range(stream.came, DENSE_NS / gap_ns * 99 / 100, DENSE_NS / gap_ns);
}

static void natural_never_rests(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL);

    (void)state;
    assert_is_polled(sim, 200);
    sim_free(sim);
}

/* Nor does who cannot be asked for a kick for several, although it can wait for them. */
static void queue_that_cannot_be_asked_never_rests(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);

    (void)state;
    sim_queue(sim, 0)->base.kicks_max = 0;
    assert_is_polled(sim, 200);
    sim_free(sim);
}

/* Nor who finds many each time it looks, since each takes nearly as long as the next takes to come.
 */
static void worker_that_is_behind_does_not_rest(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);

    (void)state;
    fake_port_costs.packet_ns = 190;
    assert_is_polled(sim, 200);
    fake_port_costs.packet_ns = 0;
    sim_free(sim);
}

static void one_in_three_us(struct sim *sim, uint64_t left)
{
    fake_queue_arrive_for(sim_queue(sim, 2), 1, 1);
    if (left > 0)
        sim_loop_at(sim, sim->now_ns + 3000, one_in_three_us, left - 1);
}

/* Nor while another queue is polled for its next frame, which comes soon, and alone: nobody is
 * asked for anything meanwhile. */
static void sparse_queue_keeps_the_worker_awake(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);

    (void)state;
    sim_queue(sim, 2)->base.groups_kicks = false;
    sim_loop_at(sim, sim->now_ns, one_in_three_us, (LEARN_NS + DENSE_NS) / 3000 - 1);
    assert_is_polled(sim, 200);
    assert_int_equal(sim_queue(sim, 2)->base.poll_ns, POLL_NS);
    assert_in_range(sim_queue(sim, 2)->taken, (LEARN_NS + DENSE_NS) / 3000 * 95 / 100,
                    (LEARN_NS + DENSE_NS) / 3000);
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

/* What all runs together have reached. */
static struct reached {
    uint64_t dense, resting; /* frames of dense streams; while their queue rested */
} reached;

/* A stream of which so many frames more come, one in `gap_ns` as a mean. */
struct dense {
    unsigned to, left;
    uint64_t gap_ns;
};
static struct dense dense_streams[PORTS];

static void next_of_random_stream(struct sim *sim, uint64_t port)
{
    struct dense *dense = &dense_streams[port];
    struct fake_queue *from = sim_queue(sim, (unsigned)port);

    if (fake_queue_free(from) > 0) {
        fake_queue_arrive_for(from, dense->to, 1);
        reached.dense++;
        reached.resting += from->base.is_resting;
    }
    if (sim_random(sim, 100) == 0)
        fake_queue_add_room(sim_queue(sim, dense->to), 100);
    if (--dense->left > 0)
        sim_loop_at(sim, sim->now_ns + 1 + sim_random(sim, 2 * dense->gap_ns),
                    next_of_random_stream, port);
}

/* Frames of a port come so densely for some milliseconds that its queue may rest. */
static void dense_stream_comes(struct sim *sim, uint64_t port)
{
    struct dense *dense = &dense_streams[port];

    if (dense->left > 0)
        return;
    *dense = (struct dense){.to = (unsigned)sim_random(sim, PORTS),
                            .left = 4000 + (unsigned)sim_random(sim, 4000),
                            .gap_ns = 100 + sim_random(sim, 300)};
    next_of_random_stream(sim, port);
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
    sim_loop_at(sim, sim->now_ns + sim_random(sim, STEPS_NS / 2), dense_stream_comes,
                sim_random(sim, PORTS));
    if (sim_random(sim, 4) == 0)
        sim_loop_at(sim, sim->now_ns + sim_random(sim, STEPS_NS), dense_stream_comes,
                    sim_random(sim, PORTS));
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
            port->queues[q].base.kicks_max = sim_random(sim, 4) > 0 ? FAKE_RING_FRAMES / 2 : 0;
            port->queues[q].room = (unsigned)sim_random(sim, 2000);
        }
    }
    memset(dense_streams, 0, sizeof(dense_streams));
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
    if (!getenv("CONVOY_SIM_SEED"))
        assert_in_range(reached.resting, reached.dense / 100, reached.dense);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_worker_sleeps_without_a_timer),
        cmocka_unit_test(kick_wakes_and_polling_ends),
        cmocka_unit_test(slow_queue_is_not_polled),
        cmocka_unit_test(bulk_is_not_polled_for),
        cmocka_unit_test(sleeping_ends_a_burst),
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
        cmocka_unit_test(dense_stream_is_taken_in_groups),
        cmocka_unit_test(nobody_waits_for_a_queue_that_rests),
        cmocka_unit_test(dense_stream_rests_by_the_model),
        cmocka_unit_test(dense_stream_that_ends_leaves_nothing),
        cmocka_unit_test(sender_that_waits_is_polled),
        cmocka_unit_test(natural_never_rests),
        cmocka_unit_test(queue_that_cannot_be_asked_never_rests),
        cmocka_unit_test(worker_that_is_behind_does_not_rest),
        cmocka_unit_test(sparse_queue_keeps_the_worker_awake),
        cmocka_unit_test(handing_over_wakes),
        cmocka_unit_test(chaos),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

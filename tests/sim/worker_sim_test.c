/*
 * Goal: one worker keeps the rules of the design: flooding, what waits is bounded, a guest that
 * stops is given up and taken back, a full port drops or pushes back as it says. Method: the real
 * worker_round on fake ports, at moments that the test chooses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim_world.h"

/* A world of one worker and three ports of this mode and policy, with all the room in the world. */
static struct sim *world_new(enum hold_mode mode, enum full_policy full)
{
    struct port_config config = sim_port_config(mode, full);
    struct sim *sim = sim_new(1, 1);

    for (unsigned id = 0; id < 3; id++)
        sim_port_add(sim, id, &config)->queues[0].room = 1u << 20;
    return sim;
}

/* --- where frames go --- */

static void floods_copies_to_all_others(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);
    struct fake_arrival broadcast = {.dst = MAC_BROADCAST, .len = 60};

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        fake_queue_arrive(sim_queue(sim, 0), &broadcast);
    sim_queue(sim, 0)->copies = 10; /* one more than the one that the port counts itself */
    sim_round(sim, 0);
    assert_int_equal(sim_queue(sim, 0)->delivered, 0);
    assert_int_equal(sim_queue(sim, 1)->delivered, 10);
    assert_int_equal(sim_queue(sim, 2)->delivered, 10);
    assert_int_equal(sim_queue(sim, 0)->base.outstanding, 0);
    sim_free(sim);
}

/* One of two receivers is slow: the sender's buffer stays out until both have their copy. */
static void copies_share_one_buffer(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);
    struct fake_arrival broadcast = {.dst = MAC_BROADCAST, .len = 60};

    (void)state;
    sim_queue(sim, 2)->room = 0;
    sim_queue(sim, 0)->copies = 1;
    fake_queue_arrive(sim_queue(sim, 0), &broadcast);
    sim_round(sim, 0);
    assert_int_equal(sim_queue(sim, 1)->delivered, 1);
    assert_int_equal(sim_queue(sim, 0)->base.outstanding, 1);
    sim_queue(sim, 2)->room = 1;
    sim_round(sim, 0);
    assert_int_equal(sim_queue(sim, 2)->delivered, 1);
    assert_int_equal(sim_queue(sim, 0)->base.outstanding, 0);
    sim_free(sim);
}

static void drops_before_the_bridge_are_counted(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);
    struct fake_queue *from = sim_queue(sim, 0);
    struct fake_arrival wrong = {.dst = fake_port_mac(1), .len = 60, .is_wrong = true};

    (void)state;
    fake_queue_arrive(from, &wrong);
    fake_queue_arrive_for(from, 0, 1); /* to itself */
    wrong = (struct fake_arrival){.dst = UINT64_C(0x0180c2000002), .len = 60};
    fake_queue_arrive(from, &wrong);
    sim_round(sim, 0);
    assert_int_equal(sim_drops(sim, 0, DROP_MALFORMED), 1);
    assert_int_equal(sim_drops(sim, 0, DROP_SAME_PORT), 1);
    assert_int_equal(sim_drops(sim, 0, DROP_LINK_LOCAL), 1);
    assert_int_equal(from->base.outstanding, 0);
    sim_free(sim);
}

/* Trains to two ports by turns, and single frames, so that patterns are learnt and given up: each
 * goes its way. */
static void trains_alternate(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);

    (void)state;
    for (unsigned length = 10; length >= 1; length /= 10) {
        uint64_t before[2] = {sim_queue(sim, 1)->delivered, sim_queue(sim, 2)->delivered};

        for (unsigned i = 0; i < 8; i++)
            fake_queue_arrive_for(sim_queue(sim, 0), 1 + i % 2, length);
        sim_round(sim, 0);
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(sim_queue(sim, 1 + i)->delivered, before[i] + 4 * (uint64_t)length);
    }
    sim_free(sim);
}

static void nobody_else_is_up(void **state)
{
    struct port_config config = sim_port_config(HOLD_NATURAL, FULL_DROP);
    struct sim *sim = sim_new(1, 1);
    struct fake_arrival broadcast = {.dst = MAC_BROADCAST, .len = 60};

    (void)state;
    sim_port_add(sim, 0, &config);
    fake_queue_arrive(sim_queue(sim, 0), &broadcast);
    sim_round(sim, 0);
    assert_int_equal(sim_drops(sim, 0, DROP_NO_DESTINATION), 1);
    sim_free(sim);
}

/* --- guests that are slow, or stop --- */

/* Sends until nothing more is taken; returns how many frames the switch has taken. */
static uint64_t send_until_full(struct sim *sim, unsigned id, unsigned to)
{
    struct fake_queue *from = sim_queue(sim, id);

    for (unsigned i = 0; i < 40; i++) {
        fake_queue_arrive_for(from, to, fake_queue_free(from));
        sim_round(sim, 0);
    }
    return from->taken;
}

/* What waits is bounded; what does not fit is dropped at the port that it was for. */
static void full_port_drops(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);
    struct fake_queue *to = sim_queue(sim, 2);
    unsigned next_burst;

    (void)state;
    to->room = 0;
    send_until_full(sim, 0, 2); /* a ring's worth: all of it waits */
    assert_int_equal(sim_waiting(sim, 2), FAKE_RING_FRAMES);
    send_until_full(sim, 1, 2);
    assert_int_equal(sim_waiting(sim, 2), CONVOY_FRAMES_MAX);
    assert_int_equal(sim_drops(sim, 2, DROP_QUEUE_FULL), sim_queue(sim, 1)->taken);
    to->room = 1u << 20;
    next_burst = CV_MIN(sim_queue(sim, 1)->arrival_count, (unsigned)BURST_FRAMES_MAX);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, CONVOY_FRAMES_MAX + next_burst);
    sim_free(sim);
}

/* A flood fills but some of the places at a guest that is short of buffers. */
static void flood_leaves_places(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, 1);
    unsigned count = CONVOY_FLOODED_MAX + 30; /* few enough for the sender to wait for */
    struct fake_arrival broadcast = {.dst = MAC_BROADCAST, .len = 60};

    (void)state;
    to->room = 0;
    for (unsigned i = 0; i < count; i++)
        fake_queue_arrive(from, &broadcast);
    from->copies = count;
    sim_round(sim, 0);
    assert_int_equal(sim_waiting(sim, 1), CONVOY_FLOODED_MAX);
    assert_int_equal(sim_drops(sim, 1, DROP_QUEUE_FULL), 30);
    fake_queue_arrive_for(sim_queue(sim, 2), 1, CONVOY_FRAMES_MAX - CONVOY_FLOODED_MAX);
    sim_round(sim, 0);
    assert_int_equal(sim_waiting(sim, 1), CONVOY_FRAMES_MAX);
    assert_int_equal(sim_drops(sim, 1, DROP_QUEUE_FULL), 30);
    /* Those that leave make places again, one by one. */
    to->room = 10;
    sim_round(sim, 0);
    from->copies++;
    fake_queue_arrive(from, &broadcast);
    sim_round(sim, 0);
    assert_int_equal(sim_drops(sim, 1, DROP_QUEUE_FULL), 30);
    to->room = 1u << 20;
    sim_round(sim, 0);
    assert_int_equal(to->delivered, CONVOY_FRAMES_MAX + 1);
    sim_free(sim);
}

/* Nor does what waits for a busy guest keep a broadcast from it. */
static void busy_guest_is_flooded_too(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);
    struct fake_arrival broadcast = {.dst = MAC_BROADCAST, .len = 60};

    (void)state;
    sim_queue(sim, 1)->room = 0;
    fake_queue_arrive_for(sim_queue(sim, 2), 1, 200);
    sim_round(sim, 0);
    sim_round(sim, 0);
    sim_queue(sim, 0)->copies = 1;
    fake_queue_arrive(sim_queue(sim, 0), &broadcast);
    sim_round(sim, 0);
    assert_int_equal(sim_waiting(sim, 1), 201);
    assert_int_equal(sim_drops(sim, 1, DROP_QUEUE_FULL), 0);
    sim_free(sim);
}

/* From the round on in which frames are pushed back, their queue is not to be slept over. */
static void pushed_back_queue_is_held_back(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_PUSH_BACK);
    struct fake_queue *from = sim_queue(sim, 1);

    (void)state;
    sim_queue(sim, 2)->room = 0;
    fake_queue_arrive_for(sim_queue(sim, 0), 2, CONVOY_FRAMES_MAX / 2);
    fake_queue_arrive_for(from, 2, CONVOY_FRAMES_MAX / 2 + 30);
    sim_round(sim, 0);
    assert_int_equal(from->base.stash_count, 30);
    assert_true(from->base.is_held_back);
    sim_queue(sim, 2)->room = 1u << 20;
    sim_round(sim, 0);
    sim_round(sim, 0);
    assert_false(from->base.is_held_back);
    assert_int_equal(sim_queue(sim, 2)->delivered, CONVOY_FRAMES_MAX + 30);
    sim_free(sim);
}

static void full_port_pushes_back(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_PUSH_BACK);
    struct fake_queue *to = sim_queue(sim, 2);
    uint64_t taken;

    (void)state;
    to->room = 0;
    send_until_full(sim, 0, 2);
    taken = send_until_full(sim, 1, 2);
    assert_in_range(taken, 1, BURST_FRAMES_MAX); /* no more is taken than one stash holds */
    assert_int_equal(sim_waiting(sim, 2), CONVOY_FRAMES_MAX);
    for (unsigned i = 0; i < 1000; i++) {
        to->room = 1 + i % 3;
        sim_round(sim, 0);
    }
    assert_int_equal(to->delivered, sim_queue(sim, 0)->taken + sim_queue(sim, 1)->taken);
    for (unsigned r = 0; r < DROP_REASON_COUNT; r++)
        assert_int_equal(sim_drops(sim, 2, r), 0);
    sim_free(sim);
}

/* Push-back holds a sender; it does not hold it for ever. */
static void stalled_guest_is_given_up(void **state)
{
    for (int full = FULL_DROP; full <= FULL_PUSH_BACK; full++) {
        struct sim *sim = world_new(HOLD_NATURAL, (enum full_policy)full);
        struct fake_queue *to = sim_queue(sim, 2);

        (void)state;
        to->room = 0;
        fake_queue_arrive_for(sim_queue(sim, 0), 2, 10);
        sim_round(sim, 0);
        assert_int_equal(sim->workers[0].next_due_ns, sim->now_ns + STALL_NS);
        sim->now_ns += STALL_NS - 1;
        sim_round(sim, 0);
        assert_int_equal(sim_waiting(sim, 2), 10);
        sim->now_ns += 1;
        sim_round(sim, 0);
        assert_int_equal(sim_drops(sim, 2, DROP_STALLED), 10);
        assert_int_equal(sim_queue(sim, 0)->base.outstanding, 0);
        assert_int_equal(sim->workers[0].next_due_ns, UINT64_MAX);
        /* nothing waits for it from now on ... */
        fake_queue_arrive_for(sim_queue(sim, 0), 2, 5);
        sim_round(sim, 0);
        assert_int_equal(sim_drops(sim, 2, DROP_STALLED), 15);
        /* ... until it takes something again */
        to->room = 2;
        fake_queue_arrive_for(sim_queue(sim, 0), 2, 5);
        sim_round(sim, 0);
        assert_int_equal(to->delivered, 2);
        assert_int_equal(sim_waiting(sim, 2), 3);
        sim_free(sim);
    }
}

/* A guest that takes a little at a time is slow, not stalled. */
static void slow_guest_is_not_stalled(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);
    struct fake_queue *to = sim_queue(sim, 2);

    (void)state;
    to->room = 0;
    fake_queue_arrive_for(sim_queue(sim, 0), 2, 10);
    for (unsigned i = 0; i < 10; i++) {
        sim_round(sim, 0);
        sim->now_ns += STALL_NS - 1;
        to->room = 1;
    }
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 10);
    sim_free(sim);
}

/* A guest that took nothing for long is replaced by another: that one has its own time. */
static void next_guest_has_its_own_patience(void **state)
{
    for (unsigned waited = 0; waited < 2; waited++) {
        struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);
        struct fake_queue *to = sim_queue(sim, 2);

        (void)state;
        to->room = 0;
        fake_queue_arrive_for(sim_queue(sim, 0), 2, 10);
        sim_round(sim, 0);
        sim->now_ns += waited ? STALL_NS - 1 : STALL_NS; /* nearly given up, or given up */
        sim_round(sim, 0);
        sim_port_detach(sim, 2);
        sim->now_ns += STALL_NS;
        sim_port_attach(sim, 2);
        fake_queue_arrive_for(sim_queue(sim, 0), 2, 10);
        sim_round(sim, 0);
        assert_int_equal(sim_waiting(sim, 2), waited ? 20 : 10);
        sim_free(sim);
    }
}

/* Frames for a slow guest keep back the buffers of those behind them; not without limit. */
static void slow_guest_does_not_starve_a_sender(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    sim_queue(sim, 2)->room = 0;
    fake_queue_arrive_for(from, 2, 1);
    for (unsigned i = 0; i < 100; i++) {
        fake_queue_arrive_for(from, 1, fake_queue_free(from));
        sim_round(sim, 0);
    }
    assert_true(sim_queue(sim, 1)->delivered > 10 * FAKE_RING_FRAMES);
    assert_int_equal(sim_drops(sim, 2, DROP_QUEUE_FULL), 1);
    sim_free(sim);
}

/* What a sender owes for copies of large frames delays it; it is not forgotten over a push-back. */
static void debt_is_paid_after_a_push_back(void **state)
{
    struct port_config config = sim_port_config(HOLD_NATURAL, FULL_PUSH_BACK);
    struct sim *sim = sim_new(1, 1);
    struct fake_arrival large = {.dst = fake_port_mac(2), .len = 60000};
    struct fake_queue *from;

    (void)state;
    for (unsigned id = 0; id < SIM_PORTS_MAX; id++)
        sim_port_add(sim, id, &config)->queues[0].room = 1u << 20;
    from = sim_queue(sim, 0);
    sim_queue(sim, 2)->room = 0;
    send_until_full(sim, 1, 2);
    fake_queue_arrive(from, &large); /* pushed back, and with it what comes behind it */
    large.dst = MAC_BROADCAST;
    for (unsigned i = 0; i < 4; i++)
        fake_queue_arrive(from, &large);
    fake_queue_arrive_for(from, 3, 20);
    from->copies = (uint64_t)4 * (SIM_PORTS_MAX - 2); /* that the port does not count itself */
    sim_round(sim, 0);
    assert_true(from->base.stash_count > 0);
    sim_queue(sim, 2)->room = 1u << 20;
    sim_settle(sim);
    assert_int_equal(sim_queue(sim, 3)->delivered, 4 + 20);
    sim_free(sim);
}

/* A flood of short frames costs others as much per frame as one of long frames, whether the frames
 * find places or not. */
static void short_frames_cost_too(void **state)
{
    (void)state;
    for (unsigned room = 0; room < 2; room++) {
        struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);
        struct fake_arrival broadcast = {.dst = MAC_BROADCAST, .len = 60};
        struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, 1);
        unsigned count = 150;

        to->room = room << 20;
        for (unsigned i = 0; i < count; i++)
            fake_queue_arrive(from, &broadcast);
        from->copies = count; /* that the port does not count itself */
        sim_round(sim, 0);
        to->room = 1u << 20;
        fake_queue_arrive_for(from, 1, 1);
        fake_queue_arrive_for(sim_queue(sim, 2), 1, 1);
        sim_round(sim, 0);
        assert_int_equal(sim_queue(sim, 2)->arrival_count, 0);
        assert_int_equal(from->arrival_count, 1); /* it pays */
        sim_settle(sim);
        assert_int_equal(from->arrival_count, 0);
        sim_free(sim);
    }
}

/* Private buffers are few: a guest that takes nothing cannot have all of them. */
static void private_buffers_are_shared(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, FULL_DROP);
    struct fake_arrival arrival = {.dst = fake_port_mac(2), .len = 9000, .is_private = true};
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    sim_queue(sim, 2)->room = 0;
    for (unsigned i = 0; i < 20; i++) {
        while (fake_queue_free(from) > 0)
            fake_queue_arrive(from, &arrival);
        sim_round(sim, 0);
    }
    assert_in_range(sim->workers[0].frames.buffer_count, FRAME_BUFFERS_MAX / 4, FRAME_BUFFERS_MAX);
    assert_true(sim_drops(sim, 2, DROP_QUEUE_FULL) > 0);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floods_copies_to_all_others),
        cmocka_unit_test(copies_share_one_buffer),
        cmocka_unit_test(drops_before_the_bridge_are_counted),
        cmocka_unit_test(trains_alternate),
        cmocka_unit_test(nobody_else_is_up),
        cmocka_unit_test(full_port_drops),
        cmocka_unit_test(flood_leaves_places),
        cmocka_unit_test(busy_guest_is_flooded_too),
        cmocka_unit_test(pushed_back_queue_is_held_back),
        cmocka_unit_test(full_port_pushes_back),
        cmocka_unit_test(stalled_guest_is_given_up),
        cmocka_unit_test(slow_guest_is_not_stalled),
        cmocka_unit_test(next_guest_has_its_own_patience),
        cmocka_unit_test(slow_guest_does_not_starve_a_sender),
        cmocka_unit_test(debt_is_paid_after_a_push_back),
        cmocka_unit_test(short_frames_cost_too),
        cmocka_unit_test(private_buffers_are_shared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

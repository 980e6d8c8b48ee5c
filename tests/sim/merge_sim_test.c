/*
 * Goal: a worker merges what may be merged and nothing else: where, when and for whom; what is
 * merged is delivered, dropped and given back like any other frames. Method: the real worker_round
 * on fake ports, which judge every frame of a row; segments of TCP at moments that the test
 * chooses. How two frames become one, byte by byte, is for tests/unit/merge_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim_world.h"

enum { SEGMENT_BYTES = 1514, SHORT_BYTES = 200, RECEIVER = 1 };

/* Ports of this mode that merge, of machines that take super-packets of TCP over IPv4. */
static struct sim *world_new(enum hold_mode mode, unsigned workers, unsigned ports)
{
    struct port_config config = sim_port_config(mode, FULL_DROP);
    struct sim *sim = sim_new(workers, 1);

    config.merge = true;
    for (unsigned id = 0; id < ports; id++)
        sim_take_rows(sim, sim_port_add(sim, id, &config))->queues[0].room = 1u << 20;
    return sim;
}

static struct fake_arrival segment_to(unsigned id)
{
    return (struct fake_arrival){
        .dst = fake_port_mac(id), .len = SEGMENT_BYTES, .is_segment = true};
}

static uint64_t refusals(const struct sim *sim, unsigned id, enum merge_refusal refusal)
{
    return sim_counters(sim, id).merges[refusal];
}

/* --- what becomes a row --- */

static void segments_of_a_burst_are_one_frame(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, 1, 2);
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, RECEIVER);

    (void)state;
    fake_queue_segments_for(from, RECEIVER, 10, SEGMENT_BYTES);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 10);
    assert_int_equal(to->merged, 9);
    assert_int_equal(to->last_group, 1);
    assert_int_equal(sim_counters(sim, RECEIVER).to_merged, 9);
    assert_int_equal(sim_counters(sim, RECEIVER).to_packets, 1);
    assert_int_equal(refusals(sim, RECEIVER, MERGE_JOINED), 9);
    /* they go back one by one */
    assert_int_equal(from->base.outstanding, 0);
    assert_int_equal(from->last_back, 10);
    sim_free(sim);
}

/* Only for who takes super-packets, and only if the owner wishes it. */
static void nobody_gets_what_he_did_not_ask_for(void **state)
{
    for (unsigned missing = 0; missing < 3; missing++) {
        struct sim *sim = world_new(HOLD_NATURAL, 1, 2);
        struct fake_port *port = &sim->ports[RECEIVER];

        (void)state;
        sim_port_detach(sim, RECEIVER);
        if (missing == 0)
            port->base.config.merge = false;
        else
            port->queues[0].base.offloads &= ~(missing == 1 ? OFFLOAD_TSO4 : OFFLOAD_CSUM);
        sim_port_attach(sim, RECEIVER);
        fake_queue_segments_for(sim_queue(sim, 0), RECEIVER, 10, SEGMENT_BYTES);
        sim_round(sim, 0);
        assert_int_equal(port->queues[0].delivered, 10);
        assert_int_equal(port->queues[0].last_group, 10);
        for (unsigned r = 0; r < MERGE_REFUSAL_COUNT; r++)
            assert_int_equal(refusals(sim, RECEIVER, r), 0);
        sim_free(sim);
    }
}

/* Frames of other kinds do not end a row; what continues it overtakes only them. */
static void others_between_do_not_matter(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, 1, 3);
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, RECEIVER);

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        fake_queue_segments_for(from, RECEIVER, 2, SEGMENT_BYTES);
        fake_queue_arrive_for(from, RECEIVER, 1);
        fake_queue_segments_for(from, 2, 1, SEGMENT_BYTES);
    }
    fake_queue_segments_for(sim_queue(sim, 2), RECEIVER, 5, SEGMENT_BYTES);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 8 + 4 + 5);
    assert_int_equal(to->last_group, 1 + 4 + 1);
    assert_int_equal(sim_queue(sim, 2)->last_group, 1);
    sim_free(sim);
}

/* A segment from elsewhere in the stream, or one that is pushed, ends the row before or with it. */
static void rows_end(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, 1, 2);
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, RECEIVER);
    struct fake_arrival misplaced = segment_to(RECEIVER), pushed = segment_to(RECEIVER);

    (void)state;
    misplaced.is_misplaced = pushed.is_express = true;
    fake_queue_segments_for(from, RECEIVER, 3, SEGMENT_BYTES);
    fake_queue_arrive(from, &misplaced);
    fake_queue_segments_for(from, RECEIVER, 3, SEGMENT_BYTES);
    sim_round(sim, 0);
    assert_int_equal(to->last_group, 3);
    assert_int_equal(refusals(sim, RECEIVER, MERGE_REFUSED_SEQUENCE), 2); /* there and back */
    fake_queue_segments_for(from, RECEIVER, 3, SEGMENT_BYTES);
    fake_queue_arrive(from, &pushed);
    fake_queue_segments_for(from, RECEIVER, 3, SEGMENT_BYTES);
    sim_round(sim, 0);
    assert_int_equal(to->last_group, 2);
    assert_int_equal(refusals(sim, RECEIVER, MERGE_REFUSED_FLAGS), 1);
    sim_free(sim);
}

/* A segment that others may see is not edited, and nothing behind it overtakes it. */
static void flooded_segments_stay_alone(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, 1, 3);
    struct fake_queue *from = sim_queue(sim, 0);
    struct fake_arrival flooded = segment_to(RECEIVER);

    (void)state;
    flooded.dst = MAC_BROADCAST;
    fake_queue_segments_for(from, RECEIVER, 3, SEGMENT_BYTES);
    for (unsigned i = 0; i < 2; i++)
        fake_queue_arrive(from, &flooded);
    from->copies = 2; /* that the port does not count itself */
    fake_queue_segments_for(from, RECEIVER, 3, SEGMENT_BYTES);
    sim_round(sim, 0);
    assert_int_equal(sim_queue(sim, RECEIVER)->last_group, 1 + 2 + 1);
    assert_int_equal(sim_queue(sim, 2)->last_group, 2);
    sim_free(sim);
}

static bool takes_all(void *context, const struct fake_port *port, mac_addr dst)
{
    (void)context;
    (void)port;
    (void)dst;
    return true;
}

/* The same for one flow of which some segments are flooded, while its address is not known. */
static void flow_that_is_flooded_for_a_while(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, 1, 3);
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, RECEIVER);
    mac_addr mac = fake_port_mac(RECEIVER);

    (void)state;
    sim->ports[2].takes = takes_all;
    to->room = 0;
    fake_queue_arrive_for(from, RECEIVER, 1);
    fake_queue_segments_for(from, RECEIVER, 3, SHORT_BYTES);
    sim_round(sim, 0);
    assert_int_equal(bridge_remove_static(sim->bridge, mac), 0);
    fake_queue_segments_for(from, RECEIVER, 2, SHORT_BYTES);
    from->copies += 2; /* that the port does not count itself */
    sim_round(sim, 0);
    assert_int_equal(bridge_add_static(sim->bridge, mac, RECEIVER), 0);
    fake_queue_segments_for(from, RECEIVER, 3, SHORT_BYTES);
    sim_round(sim, 0);
    to->room = 100;
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 1 + 3 + 2 + 3);
    assert_int_equal(to->last_group, 1 + 1 + 2 + 1);
    assert_int_equal(sim_queue(sim, 2)->delivered, 2);
    sim_free(sim);
}

/* --- across bursts --- */

/* Two bursts within T: one frame where data waits, two where only the call does. */
static void merging_across_bursts_needs_the_data_to_wait(void **state)
{
    for (unsigned data = 0; data < 2; data++) {
        struct sim *sim = world_new(HOLD_FIXED, 1, 2);
        struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, RECEIVER);

        (void)state;
        if (data)
            sim_hold_data(sim, RECEIVER);
        for (unsigned i = 0; i < 2; i++) {
            fake_queue_segments_for(from, RECEIVER, 5, SEGMENT_BYTES);
            sim_round(sim, 0);
            sim->now_ns += 10000;
        }
        assert_int_equal(to->delivered, data ? 0 : 10);
        sim->now_ns += 30000;
        sim_round(sim, 0);
        assert_int_equal(to->delivered, 10);
        assert_int_equal(to->tells, 1);
        assert_int_equal(to->deliveries, data ? 1 : 2);
        assert_int_equal(to->across_bursts, data ? 5 : 0);
        assert_int_equal(to->merged, data ? 9 : 8);
        sim_free(sim);
    }
}

/* `count` bursts of one frame each, a round after each; every tenth millisecond of a second. */
static void stream(struct sim *sim, unsigned count, bool mergeable)
{
    for (unsigned i = 0; i < count; i++) {
        if (mergeable)
            fake_queue_segments_for(sim_queue(sim, 0), RECEIVER, 1, SEGMENT_BYTES);
        else
            fake_queue_arrive_for(sim_queue(sim, 0), RECEIVER, 1);
        sim_round(sim, 0);
        sim->now_ns += 10000;
    }
}

/* The place is chosen by what came: data once more than half is of a kind that is merged, the call
 * again when it is much less. */
static void place_follows_the_traffic(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED, 1, 2);
    const struct lane *lane = sim_lane(sim, RECEIVER);

    (void)state;
    assert_int_equal(lane->controller.rule.place, HOLD_PLACE_CALL);
    stream(sim, 1000, false);
    assert_int_equal(lane->controller.rule.place, HOLD_PLACE_CALL);
    assert_int_equal(sim_counters(sim, RECEIVER).to_held_data, 0);
    stream(sim, 1000, true);
    assert_int_equal(lane->controller.rule.place, HOLD_PLACE_DATA);
    assert_true(sim_counters(sim, RECEIVER).to_held_data > 0);
    assert_true(sim_queue(sim, RECEIVER)->across_bursts > 500);
    for (unsigned i = 0; i < 1000; i++)
        stream(sim, 1, i % 5 > 1); /* 60 %: nothing changes */
    assert_int_equal(lane->controller.rule.place, HOLD_PLACE_DATA);
    stream(sim, 1000, false);
    assert_int_equal(lane->controller.rule.place, HOLD_PLACE_CALL);
    for (unsigned i = 0; i < 1000; i++)
        stream(sim, 1, i % 5 > 2); /* 40 %: nothing changes */
    assert_int_equal(lane->controller.rule.place, HOLD_PLACE_CALL);
    sim_free(sim);
}

/* K counts packets as they arrived, however few frames they have become. */
static void rows_count_as_what_they_were(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED, 1, 2); /* K = 32 */
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, RECEIVER);

    (void)state;
    sim_hold_data(sim, RECEIVER);
    fake_queue_segments_for(from, RECEIVER, 31, SHORT_BYTES);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 0);
    assert_int_equal(sim_waiting(sim, RECEIVER), 31);
    assert_int_equal(sim_lane(sim, RECEIVER)->convoy.count, 1);
    fake_queue_segments_for(from, RECEIVER, 1, SHORT_BYTES);
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 32);
    assert_int_equal(to->last_told, 32);
    sim_free(sim);
}

/* --- what can happen to a row --- */

/* Its frames come back to the worker that took them, each once. */
static void row_of_another_worker(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, 2, 2); /* port 0 is served by worker 0, 1 by 1 */
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, RECEIVER);

    (void)state;
    fake_queue_segments_for(from, RECEIVER, 20, SEGMENT_BYTES);
    sim_round(sim, 0);
    assert_int_equal(sim->workers[0].exchanges[1].in_flight, 20);
    sim_round(sim, 1);
    assert_int_equal(to->delivered, 20);
    assert_int_equal(to->last_group, 1);
    sim_round(sim, 0);
    assert_int_equal(from->base.outstanding, 0);
    assert_int_equal(from->last_back, 20);
    assert_int_equal(sim->workers[0].exchanges[1].in_flight, 0);
    sim_free(sim);
}

/* Two bursts of the other worker meet in one convoy here. */
static void row_grows_by_what_is_handed_over(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED, 2, 2);

    (void)state;
    sim_hold_data(sim, RECEIVER);
    for (unsigned i = 0; i < 2; i++) {
        fake_queue_segments_for(sim_queue(sim, 0), RECEIVER, 5, SEGMENT_BYTES);
        sim_round(sim, 0);
        sim_round(sim, 1);
        sim->now_ns += 1000;
    }
    assert_int_equal(sim_waiting(sim, RECEIVER), 10);
    assert_int_equal(sim_lane(sim, RECEIVER)->convoy.count, 1);
    sim->now_ns += 48000;
    sim_round_all(sim);
    assert_int_equal(sim_queue(sim, RECEIVER)->across_bursts, 5);
    sim_free(sim);
}

/* The sender goes while a row of it waits: all its packets are counted, none is used again. */
static void sender_of_a_row_goes(void **state)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        struct sim *sim = world_new(HOLD_NATURAL, workers, 3);

        (void)state;
        sim_queue(sim, RECEIVER)->room = 0;
        fake_queue_segments_for(sim_queue(sim, 0), RECEIVER, 30, SEGMENT_BYTES);
        fake_queue_segments_for(sim_queue(sim, 2), RECEIVER, 3, SEGMENT_BYTES);
        for (unsigned i = 0; i < 3; i++)
            sim_round_all(sim);
        assert_int_equal(sim_waiting(sim, RECEIVER), 33);
        assert_int_equal(sim_lane(sim, RECEIVER)->convoy.count, 2);
        sim_port_remove(sim, 0);
        assert_int_equal(sim_drops(sim, RECEIVER, DROP_SENDER_GONE), 30);
        assert_int_equal(sim_waiting(sim, RECEIVER), 3);
        sim_queue(sim, RECEIVER)->room = 1;
        sim_round_all(sim);
        assert_int_equal(sim_queue(sim, RECEIVER)->delivered, 3);
        sim_free(sim);
    }
}

/* The receiver goes while a row waits for it. */
static void receiver_of_a_row_goes(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED, 1, 2);

    (void)state;
    sim_hold_data(sim, RECEIVER);
    fake_queue_segments_for(sim_queue(sim, 0), RECEIVER, 30, SEGMENT_BYTES);
    sim_round(sim, 0);
    assert_int_equal(sim_waiting(sim, RECEIVER), 30);
    sim_port_detach(sim, RECEIVER);
    sim_queue(sim, RECEIVER)->base.can_deliver = false;
    sim_port_attach(sim, RECEIVER);
    assert_int_equal(sim_drops(sim, RECEIVER, DROP_PORT_DOWN), 30);
    assert_int_equal(sim_queue(sim, 0)->base.outstanding, 0);
    sim_free(sim);
}

/* What waits when a guest comes back with other offloads is as it was; what comes then is not
 * merged, and does not overtake. */
static void receiver_takes_rows_no_more(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED, 1, 2);
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, RECEIVER);

    (void)state;
    sim_hold_data(sim, RECEIVER);
    fake_queue_segments_for(from, RECEIVER, 5, SEGMENT_BYTES);
    sim_round(sim, 0);
    sim_port_detach(sim, RECEIVER);
    to->base.offloads = 0;
    sim_port_attach(sim, RECEIVER);
    sim->now_ns += 1;
    fake_queue_segments_for(from, RECEIVER, 5, SEGMENT_BYTES);
    sim_round(sim, 0);
    sim->now_ns += 50000;
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 10);
    assert_int_equal(to->merged, 4);
    sim_free(sim);
}

/*
 * The owner has merging switched off and on again while segments wait. Those that came meanwhile
 * are not remembered as the last of their flow, and must not be overtaken all the same.
 */
static void switching_overtakes_nothing(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED, 1, 2);
    struct hold_config hold = sim->ports[RECEIVER].base.config.hold;
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, RECEIVER);
    struct fake_arrival misplaced = segment_to(RECEIVER);

    (void)state;
    misplaced.is_misplaced = true;
    sim_hold_data(sim, RECEIVER);
    fake_queue_segments_for(from, RECEIVER, 5, SEGMENT_BYTES);
    sim_round(sim, 0);
    sim_set_hold(sim, RECEIVER, &hold, false);
    sim_hold_data(sim, RECEIVER);
    sim->now_ns += 1;
    fake_queue_arrive(from, &misplaced);
    sim_round(sim, 0);
    sim_set_hold(sim, RECEIVER, &hold, true);
    sim_hold_data(sim, RECEIVER);
    sim->now_ns += 1;
    fake_queue_segments_for(from, RECEIVER, 5, SEGMENT_BYTES);
    sim_round(sim, 0);
    sim->now_ns += 50000;
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 11);
    assert_int_equal(to->last_group, 3);
    sim_free(sim);
}

/* The first of what waits may have been delivered in part: it grows no more, those behind do. */
static void front_of_a_short_guest_grows_no_more(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, 1, 2);
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, RECEIVER);

    (void)state;
    to->room = 0;
    for (unsigned i = 0; i < 4; i++) {
        fake_queue_segments_for(from, RECEIVER, 3, SEGMENT_BYTES);
        sim_round(sim, 0);
        sim->now_ns += 1000;
    }
    assert_int_equal(sim_waiting(sim, RECEIVER), 12);
    assert_int_equal(sim_lane(sim, RECEIVER)->convoy.count, 2);
    to->room = 1;
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 3);
    to->room = 1;
    sim_round(sim, 0);
    assert_int_equal(to->delivered, 12);
    sim_free(sim);
}

/* Rows that wait for a slow guest hold back their sender's ring by every frame in them. */
static void rows_do_not_starve_a_sender(void **state)
{
    struct sim *sim = world_new(HOLD_NATURAL, 1, 3);
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    sim_queue(sim, RECEIVER)->room = 0;
    fake_queue_segments_for(from, RECEIVER, 60, SEGMENT_BYTES);
    for (unsigned i = 0; i < 100; i++) {
        fake_queue_arrive_for(from, 2, fake_queue_free(from));
        sim_round(sim, 0);
        sim->now_ns += 1000;
    }
    assert_true(sim_queue(sim, 2)->delivered > 10 * FAKE_RING_FRAMES);
    assert_int_equal(sim_drops(sim, RECEIVER, DROP_QUEUE_FULL), 60);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_of_a_burst_are_one_frame),
        cmocka_unit_test(nobody_gets_what_he_did_not_ask_for),
        cmocka_unit_test(others_between_do_not_matter),
        cmocka_unit_test(rows_end),
        cmocka_unit_test(flooded_segments_stay_alone),
        cmocka_unit_test(flow_that_is_flooded_for_a_while),
        cmocka_unit_test(merging_across_bursts_needs_the_data_to_wait),
        cmocka_unit_test(place_follows_the_traffic),
        cmocka_unit_test(rows_count_as_what_they_were),
        cmocka_unit_test(row_of_another_worker),
        cmocka_unit_test(row_grows_by_what_is_handed_over),
        cmocka_unit_test(sender_of_a_row_goes),
        cmocka_unit_test(receiver_of_a_row_goes),
        cmocka_unit_test(receiver_takes_rows_no_more),
        cmocka_unit_test(switching_overtakes_nothing),
        cmocka_unit_test(front_of_a_short_guest_grows_no_more),
        cmocka_unit_test(rows_do_not_starve_a_sender),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

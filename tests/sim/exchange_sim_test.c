/*
 * Goal: frames between queues of different workers cross in groups, come back to the worker that
 * took them, and are bounded on the way. Method: two workers stepped alternately in one thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim_world.h"

/* Ports take workers in turn: even ports are served by worker 0, odd ones by worker 1. */
static struct sim *world_new(unsigned ports, unsigned pairs)
{
    struct port_config config = sim_port_config(HOLD_NATURAL, FULL_DROP);
    struct sim *sim = sim_new(2, 1);

    config.queue_pairs = pairs;
    for (unsigned id = 0; id < ports; id++) {
        struct fake_port *port = sim_port_add(sim, id, &config);

        for (unsigned q = 0; q < pairs; q++)
            port->queues[q].room = 1u << 20;
    }
    return sim;
}

static void a_convoy_crosses_as_one(void **state)
{
    struct sim *sim = world_new(2, 1);
    struct exchange *exchange = &sim->workers[0].exchanges[1];

    (void)state;
    fake_queue_arrive_for(sim_queue(sim, 0), 1, 40);
    sim_round(sim, 0);
    assert_int_equal(spsc_count(&exchange->to_peer), 40);
    assert_int_equal(exchange->in_flight, 40);
    assert_int_equal(sim_queue(sim, 1)->delivered, 0);
    sim_round(sim, 1);
    assert_int_equal(sim_queue(sim, 1)->delivered, 40);
    assert_int_equal(sim_queue(sim, 1)->deliveries, 1);
    assert_int_equal(spsc_count(&exchange->from_peer), 40);
    assert_int_equal(sim_queue(sim, 0)->base.outstanding, 40);
    sim_round(sim, 0);
    assert_int_equal(sim_queue(sim, 0)->base.outstanding, 0);
    assert_int_equal(exchange->in_flight, 0);
    assert_int_equal(sim_queue(sim, 0)->settles, 1);
    sim_free(sim);
}

/* The copies of a flooded frame that go to one worker are counted one by one. */
static void flooded_copies_cross(void **state)
{
    struct sim *sim = world_new(6, 1);
    struct fake_arrival broadcast = {.dst = MAC_BROADCAST, .len = 60};

    (void)state;
    sim_queue(sim, 0)->copies = 4; /* one more than the one that the port counts itself */
    fake_queue_arrive(sim_queue(sim, 0), &broadcast);
    sim_round(sim, 0);
    assert_int_equal(sim->workers[0].exchanges[1].in_flight, 3);
    sim_round(sim, 1);
    sim_round(sim, 0);
    for (unsigned id = 1; id < 6; id++)
        assert_int_equal(sim_queue(sim, id)->delivered, 1);
    assert_int_equal(sim_queue(sim, 0)->base.outstanding, 0);
    sim_free(sim);
}

/* `fixed` holds where the queue is served, counted from when the frame got there. */
static void holding_is_the_serving_workers(void **state)
{
    struct port_config config = sim_port_config(HOLD_FIXED, FULL_DROP); /* 50 us */
    struct sim *sim = world_new(2, 1);

    (void)state;
    sim_port_add(sim, 3, &config)->queues[0].room = 100;
    assert_int_equal(sim_queue(sim, 3)->base.worker, 0);
    sim_hold_data(sim, 3);
    fake_queue_arrive_for(sim_queue(sim, 1), 3, 2);
    sim_round(sim, 1);
    assert_int_equal(sim_waiting(sim, 3), 0);
    sim_round(sim, 0);
    assert_int_equal(sim_waiting(sim, 3), 2);
    sim->now_ns += 49999;
    assert_false(sim_round_all(sim));
    sim->now_ns += 1;
    sim_round_all(sim);
    assert_int_equal(sim_queue(sim, 3)->last_group, 2);
    sim_free(sim);
}

/* A worker that is behind bounds what others can hand to it, and what they lose is counted. */
static void worker_that_is_behind(void **state)
{
    struct sim *sim = world_new(SIM_PORTS_MAX, PORT_QUEUE_PAIRS_MAX);
    struct fake_arrival broadcast = {.dst = MAC_BROADCAST, .len = 60};
    uint64_t lost = 0;

    (void)state;
    for (unsigned id = 0; id < SIM_PORTS_MAX; id++) {
        for (unsigned q = 0; q < PORT_QUEUE_PAIRS_MAX; q++) {
            struct fake_queue *queue = &sim->ports[id].queues[q];

            if (queue->base.worker != 0)
                continue;
            while (fake_queue_free(queue) > 0)
                fake_queue_arrive(queue, &broadcast);
            queue->copies = (uint64_t)FAKE_RING_FRAMES * (SIM_PORTS_MAX - 2);
        }
    }
    for (unsigned i = 0; i < 100; i++)
        sim_round(sim, 0);
    assert_int_equal(sim->workers[0].exchanges[1].in_flight, EXCHANGE_FRAMES_MAX);
    for (unsigned id = 0; id < SIM_PORTS_MAX; id++)
        lost += sim_drops(sim, id, DROP_HANDOVER_FULL);
    assert_true(lost > 0);
    sim_settle(sim);
    assert_int_equal(sim->workers[0].exchanges[1].in_flight, 0);
    sim_free(sim);
}

/* Frames wait on the other worker; then their sender goes away: nothing of it is used again. */
static void sender_goes_while_its_frames_wait_elsewhere(void **state)
{
    struct sim *sim = world_new(3, 1);

    (void)state;
    sim_queue(sim, 1)->room = 0;
    fake_queue_arrive_for(sim_queue(sim, 0), 1, 100);
    fake_queue_arrive_for(sim_queue(sim, 2), 1, 3);
    for (unsigned i = 0; i < 4; i++)
        sim_round_all(sim);
    assert_int_equal(sim_waiting(sim, 1), 103);
    fake_queue_arrive_for(sim_queue(sim, 0), 1, 20);
    sim_round(sim, 0); /* these are between the workers when it goes */
    sim_port_remove(sim, 0);
    assert_int_equal(sim_drops(sim, 1, DROP_SENDER_GONE), 120);
    assert_int_equal(sim_waiting(sim, 1), 3);
    sim_queue(sim, 1)->room = 10;
    sim_round_all(sim);
    assert_int_equal(sim_queue(sim, 1)->delivered, 3);
    sim_free(sim);
}

/* One of two queues of a port stops; what waits for it ends, also on its way from elsewhere. */
static void one_queue_of_a_port_stops(void **state)
{
    struct sim *sim = world_new(2, 2);
    struct fake_queue *stopped;
    unsigned lane;

    (void)state;
    sim_queue(sim, 1)->room = sim->ports[1].queues[1].room = 0;
    fake_queue_arrive_for(&sim->ports[0].queues[0], 1, 10); /* one flow: all on one lane */
    fake_queue_arrive_for(&sim->ports[0].queues[1], 1, 10);
    for (unsigned i = 0; i < 3; i++)
        sim_round_all(sim);
    assert_int_equal(sim_waiting(sim, 1), 20);
    lane = sim->workers[1].outlets[1].lanes[0]->convoy.count +
                       sim->workers[0].outlets[1].lanes[0]->convoy.count >
                   0
               ? 0
               : 1;
    stopped = &sim->ports[1].queues[lane];
    sim_port_detach(sim, 1);
    stopped->base.can_deliver = false;
    sim_port_attach(sim, 1);
    assert_int_equal(sim_drops(sim, 1, DROP_PORT_DOWN), 20);
    assert_int_equal(sim_waiting(sim, 1), 0);
    sim->ports[1].queues[1 - lane].room = 100;
    fake_queue_arrive_for(&sim->ports[0].queues[0], 1, 10);
    sim_settle(sim);
    assert_int_equal(sim->ports[1].queues[1 - lane].delivered, 10);
    sim_free(sim);
}

/*
 * Frames that wait for a slow guest on another worker keep back the buffers of those behind them
 * as much as if they waited here: the sender's traffic to others must go on all the same.
 */
static void slow_guest_elsewhere_does_not_starve_a_sender(void **state)
{
    struct sim *sim = world_new(3, 1);
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    sim_queue(sim, 1)->room = 0; /* served by worker 1; ports 0 and 2 by worker 0 */
    fake_queue_arrive_for(from, 1, 1);
    for (unsigned i = 0; i < 100; i++) {
        fake_queue_arrive_for(from, 2, fake_queue_free(from));
        sim_round_all(sim);
        sim->now_ns += 1000;
    }
    assert_true(sim_queue(sim, 2)->delivered > 10 * FAKE_RING_FRAMES);
    assert_int_equal(sim_drops(sim, 1, DROP_QUEUE_FULL), 1);
    sim_free(sim);
}

/* Likewise frames that wait for company there: nobody has to be slow for that. */
static void holding_elsewhere_does_not_starve_a_sender(void **state)
{
    struct sim *sim = world_new(3, 1);
    struct hold_config hold = {
        .mode = HOLD_FIXED, .packets_max = HOLD_PACKETS_MAX, .time_max_ns = 1000000000};
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    sim_set_hold(sim, 1, &hold, true);
    sim_hold_data(sim, 1);
    fake_queue_arrive_for(from, 1, 1);
    sim_settle(sim);
    assert_int_equal(sim_waiting(sim, 1), 1);
    for (unsigned i = 0; i < 100; i++) {
        fake_queue_arrive_for(from, 2, fake_queue_free(from));
        sim_hold_data(sim, 1);
        sim_round_all(sim);
        sim->now_ns += 1000;
    }
    assert_true(sim_queue(sim, 2)->delivered > 10 * FAKE_RING_FRAMES);
    assert_int_equal(sim_queue(sim, 1)->delivered, 1);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_convoy_crosses_as_one),
        cmocka_unit_test(flooded_copies_cross),
        cmocka_unit_test(holding_is_the_serving_workers),
        cmocka_unit_test(worker_that_is_behind),
        cmocka_unit_test(sender_goes_while_its_frames_wait_elsewhere),
        cmocka_unit_test(one_queue_of_a_port_stops),
        cmocka_unit_test(slow_guest_elsewhere_does_not_starve_a_sender),
        cmocka_unit_test(holding_elsewhere_does_not_starve_a_sender),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

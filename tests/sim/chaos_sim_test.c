/*
 * Goal: whatever happens in whatever order, no frame is lost without a counted reason, doubled,
 * reordered or kept, no guest left untold: every rule that fake_judge.c and sim_rules.c know.
 * Method: seeded random runs of one to three workers on ports of all modes and policies: bursts and
 * streams, plain and of TCP that is merged, receivers that are slow, stop, look or poll, time that
 * creeps and leaps, rules and merging switched, ports that pause, come back with fewer queues and
 * other offloads, go away for good. A failure prints its seed. What the runs are meant to reach
 * (rows, groups of every kind) is counted, and must have been reached.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim_world.h"

enum { STEPS = 3000, SEEDS = 300, TRANSIENT_PORT = SIM_PORTS_MAX - 1 };

struct chaos {
    struct sim *sim;
    unsigned port_count;
    bool has_push_back;           /* then no frame is flooded: see copies_of */
    bool has_leaps;               /* long silences are common, or rare */
    bool is_bound[SIM_PORTS_MAX]; /* the machine's second address; else frames for it are flooded */
};

/* What all runs together have reached. */
static struct reached {
    uint64_t held_calls, held_data, adaptive_held, merged, across_bursts, told_of_several_back;
} reached;

/* The second address of the machine behind a port. */
static mac_addr second_mac(unsigned id)
{
    return fake_port_mac(id) + 0x100;
}

/* A flooded frame goes to all ports that are up or paused for the worker that took it. */
static uint64_t copies_of(void *context, const struct fake_queue *from, mac_addr dst)
{
    const struct chaos *chaos = context;
    const struct worker *worker = &chaos->sim->workers[from->base.worker];
    unsigned second = (unsigned)(dst - second_mac(0));
    uint64_t copies = 0;

    if (!(dst & MAC_MULTICAST_BIT) && (second >= SIM_PORTS_MAX || chaos->is_bound[second]))
        return 1;
    for (unsigned id = 0; id < SIM_PORTS_MAX; id++) {
        const struct outlet *outlet = &worker->outlets[id];

        if (id != from->base.port->id && outlet->state >= OUTLET_PAUSED && outlet->open_count > 0)
            copies++;
    }
    return CV_MAX(copies, UINT64_C(1)); /* none at all is a drop */
}

/* Whether it is bound when it is delivered tells nothing of when it was switched. */
static bool takes(void *context, const struct fake_port *port, mac_addr dst)
{
    const struct chaos *chaos = context;
    unsigned id = port->base.id;

    return (dst & MAC_MULTICAST_BIT) || dst == fake_port_mac(id) || dst == second_mac(id) ||
           (!chaos->has_push_back && dst >= second_mac(0) && dst < second_mac(SIM_PORTS_MAX));
}

/* From `least` to 1000 times that, all orders of magnitude alike. */
static double random_scale(struct sim *sim, double least)
{
    static const double steps[] = {1, 3, 10, 30, 100, 300, 1000};

    return least * steps[sim_random(sim, CV_COUNT_OF(steps))];
}

static struct hold_config random_hold(struct sim *sim)
{
    return (struct hold_config){
        .mode = (enum hold_mode)sim_random(sim, HOLD_ADAPTIVE + 1),
        .packets_max = 1 + (unsigned)sim_random(sim, 256),
        .time_max_ns = 1 + sim_random(sim, 200000),
        .delay_budget_ns = (uint64_t)random_scale(sim, 1000),
        .delay_weight = random_scale(sim, 0.001),
    };
}

static unsigned random_offloads(struct sim *sim)
{
    static const unsigned choice[] = {0, OFFLOAD_CSUM, OFFLOAD_CSUM | OFFLOAD_TSO4,
                                      OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN};

    return choice[CV_MAX(sim_random(sim, 4), sim_random(sim, 4))];
}

static void port_add(struct chaos *chaos, unsigned id)
{
    struct sim *sim = chaos->sim;
    struct port_config config = {
        .hold = random_hold(sim),
        .merge = sim_random(sim, 4) > 0,
        .full = chaos->has_push_back ? (enum full_policy)sim_random(sim, 2) : FULL_DROP,
        .queue_pairs = 1 + (unsigned)sim_random(sim, 3),
    };
    struct fake_port *port = sim_port_add(sim, id, &config);

    port->copies_of = copies_of;
    port->takes = takes;
    port->context = chaos;
    sim_port_detach(sim, id);
    for (unsigned q = 0; q < config.queue_pairs; q++) {
        port->queues[q].base.offloads = random_offloads(sim);
        port->queues[q].base.groups_kicks = sim_random(sim, 2);
        port->queues[q].takes_parts = sim_random(sim, 4) == 0;
    }
    sim_port_attach(sim, id);
}

/* A queue of a port that is there. */
static struct fake_queue *random_queue(struct chaos *chaos)
{
    unsigned id = (unsigned)sim_random(chaos->sim, chaos->port_count);
    struct fake_port *port = &chaos->sim->ports[id];

    return &port->queues[sim_random(chaos->sim, port->base.queue_count)];
}

static mac_addr random_dst(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;
    unsigned id = (unsigned)sim_random(sim, chaos->port_count);

    if (!chaos->has_push_back && sim_random(sim, 12) == 0)
        return MAC_BROADCAST;
    return sim_random(sim, 5) == 0 ? second_mac(id) : fake_port_mac(id);
}

static struct fake_arrival random_frame(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;
    uint32_t len_limit = sim_random(sim, 8) == 0 ? 65000 : 1455;
    struct fake_arrival arrival = {
        .dst = random_dst(chaos),
        .len = FAKE_FRAME_BYTES_MIN +
               (uint32_t)(sim_random(sim, 4) == 0 ? sim_random(sim, len_limit) : 0),
        .is_express = sim_random(sim, 50) == 0,
        .is_wrong = sim_random(sim, 60) == 0,
    };

    arrival.is_private = arrival.len > FAKE_FRAME_BYTES_MIN && sim_random(sim, 3) == 0;
    return arrival;
}

/* Of a flow of equal datagrams; now and then one asks for what cannot be. */
static struct fake_arrival random_datagram(struct chaos *chaos, mac_addr dst)
{
    return (struct fake_arrival){.dst = dst,
                                 .len = FAKE_FRAME_BYTES_MIN,
                                 .is_datagram = true,
                                 .is_express = sim_random(chaos->sim, 60) == 0,
                                 .is_refused = sim_random(chaos->sim, 40) == 0};
}

/* Of a flow of equal segments; now and then one is short, pushed, or from elsewhere. */
static struct fake_arrival random_segment(struct chaos *chaos, mac_addr dst, uint32_t len)
{
    struct sim *sim = chaos->sim;
    bool is_short = sim_random(sim, 40) == 0;

    return (struct fake_arrival){
        .dst = dst,
        .len = is_short ? FAKE_SEGMENT_BYTES_MIN + (uint32_t)sim_random(sim, 30) : len,
        .is_segment = true,
        .is_express = sim_random(sim, 40) == 0,
        .is_misplaced = sim_random(sim, 30) == 0,
        .is_private = len > FAKE_SEGMENT_BYTES_MIN && sim_random(sim, 8) == 0,
    };
}

static uint32_t random_segment_len(struct sim *sim)
{
    static const uint32_t lens[] = {100, 600, 1514, 4000};

    return lens[sim_random(sim, CV_COUNT_OF(lens))];
}

/* Frames of all kinds, some of them of two flows. */
static void burst_arrives(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;
    bool transient = sim->has_port[TRANSIENT_PORT] && sim_random(sim, 8) == 0;
    struct fake_queue *queue =
        transient ? &sim->ports[TRANSIENT_PORT].queues[0] : random_queue(chaos);
    unsigned free = fake_queue_free(queue), few = sim_random(sim, 2) ? CV_MIN(free, 5u) : free;
    unsigned count = (unsigned)sim_random(sim, 1 + few);
    uint64_t segments_in_4 = sim_random(sim, 5), datagrams_in_8 = sim_random(sim, 9);
    uint32_t segment_len = random_segment_len(sim);
    mac_addr flow_dst = random_dst(chaos), datagrams_dst = random_dst(chaos);

    for (unsigned i = 0; i < count; i++) {
        struct fake_arrival arrival;

        if (sim_random(sim, 4) < segments_in_4)
            arrival = random_segment(chaos, flow_dst, segment_len);
        else if (sim_random(sim, 8) < datagrams_in_8)
            arrival =
                random_datagram(chaos, sim_random(sim, 30) ? datagrams_dst : random_dst(chaos));
        else
            arrival = random_frame(chaos);
        fake_queue_arrive(queue, &arrival);
    }
}

static void machines_look(struct chaos *chaos)
{
    struct fake_port *port = &chaos->sim->ports[sim_random(chaos->sim, chaos->port_count)];

    for (unsigned q = 0; q < port->base.queue_count; q++)
        fake_queue_look(&port->queues[q], sim_random(chaos->sim, 4) == 0);
}

static void note_held(const struct sim *sim)
{
    for (unsigned w = 0; w < sim->worker_count; w++)
        for (unsigned i = 0; i < sim->workers[w].open_count; i++)
            reached.adaptive_held += sim->workers[w].open[i]->outlet->hold.mode == HOLD_ADAPTIVE &&
                                     sim->workers[w].open[i]->controller.rule.time_max_ns > 0 &&
                                     sim->workers[w].open[i]->waiting.packets > 0;
}

/* Packets at about even distances for a while, to a machine that has room and looks when called:
 * what an adaptive rule is learnt from. */
static void stream_arrives(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;
    struct fake_queue *queue = random_queue(chaos);
    unsigned id = (unsigned)sim_random(sim, chaos->port_count), count = 100 + sim_random(sim, 400);
    uint64_t gap_ns = 500 + sim_random(sim, 15000);
    bool of_segments = sim_random(sim, 2);

    for (unsigned i = 0; i < count; i++) {
        if (fake_queue_free(queue) > 0 && of_segments)
            fake_queue_segments_for(queue, id, 1, 600);
        else if (fake_queue_free(queue) > 0)
            fake_queue_arrive_for(queue, id, 1);
        for (unsigned q = 0; q < sim->ports[id].base.queue_count; q++) {
            sim->ports[id].queues[q].room = 1000;
            fake_queue_look(&sim->ports[id].queues[q], sim_random(sim, 4) > 0);
        }
        sim->now_ns += sim_random(sim, 2 * gap_ns);
        for (unsigned w = 0; w < sim->worker_count; w++)
            if (sim_random(sim, 4) > 0)
                sim_round(sim, w);
        note_held(sim);
    }
}

static void room_changes(struct chaos *chaos)
{
    static const unsigned limits[] = {1, 5, 64, 300, 2000};
    struct sim *sim = chaos->sim;

    random_queue(chaos)->room = (unsigned)sim_random(sim, limits[sim_random(sim, 5)]);
    if (sim->has_port[TRANSIENT_PORT])
        sim->ports[TRANSIENT_PORT].queues[0].room = (unsigned)sim_random(sim, 3);
}

static void time_passes(struct chaos *chaos)
{
    static const uint64_t limits_ns[] = {1000, 1000, 3000, 10000, 100000, 2 * STALL_NS};
    struct sim *sim = chaos->sim;
    bool may_leap = chaos->has_leaps || sim_random(sim, 20) == 0;

    sim->now_ns += sim_random(sim, limits_ns[sim_random(sim, may_leap ? 6 : 5)]);
}

/* A front end changes something: the port stops for a while and comes back otherwise. */
static void port_pauses(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;
    unsigned id = (unsigned)sim_random(sim, chaos->port_count);
    struct fake_port *port = &sim->ports[id];
    bool is_down = sim_random(sim, 4) == 0;

    sim_port_detach(sim, id);
    while (sim_random(sim, 4) > 0) {
        time_passes(chaos);
        sim_round(sim, (unsigned)sim_random(sim, sim->worker_count));
    }
    for (unsigned q = 0; q < port->base.queue_count; q++) {
        port->queues[q].base.can_deliver = !is_down && sim_random(sim, 4) > 0;
        port->queues[q].base.can_receive = !is_down && sim_random(sim, 4) > 0;
        if (sim_random(sim, 2) == 0)
            port->queues[q].base.offloads = random_offloads(sim);
    }
    sim_port_attach(sim, id);
}

static void note_reached(const struct port_counters *counters, const struct fake_port *port)
{
    reached.held_calls += counters->to_held_call;
    reached.held_data += counters->to_held_data;
    reached.merged += counters->to_merged;
    for (unsigned q = 0; q < port->base.queue_count; q++) {
        reached.across_bursts += port->queues[q].across_bursts;
        reached.told_of_several_back += port->queues[q].last_back > 1;
    }
}

static void transient_port_comes_or_goes(struct chaos *chaos)
{
    if (chaos->has_push_back)
        return;
    if (chaos->sim->has_port[TRANSIENT_PORT])
        sim_port_remove(chaos->sim, TRANSIENT_PORT);
    else
        port_add(chaos, TRANSIENT_PORT);
}

static void hold_changes(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;
    unsigned id = (unsigned)sim_random(sim, chaos->port_count);
    struct hold_config hold = random_hold(sim);

    if (sim_random(sim, 2) == 0)
        hold = sim->ports[id].base.config.hold; /* merging alone */
    sim_set_hold(sim, id, &hold, sim_random(sim, 2));
}

/* The operator binds or frees the second address of a machine. */
static void binding_changes(struct chaos *chaos, unsigned id)
{
    int result = chaos->is_bound[id] ? bridge_remove_static(chaos->sim->bridge, second_mac(id))
                                     : bridge_add_static(chaos->sim->bridge, second_mac(id), id);
    assert_int_equal(result, 0);
    chaos->is_bound[id] = !chaos->is_bound[id];
}

static void one_step(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;
    uint64_t what = sim_random(sim, 400);

    if (what < 3)
        sim_settle(sim);
    else if (what < 100)
        burst_arrives(chaos);
    else if (what < 140)
        room_changes(chaos);
    else if (what < 190)
        time_passes(chaos);
    else if (what < 220)
        machines_look(chaos);
    else if (what < 385)
        sim_round(sim, (unsigned)sim_random(sim, sim->worker_count));
    else if (what < 388)
        stream_arrives(chaos);
    else if (what < 392)
        port_pauses(chaos);
    else if (what < 394)
        transient_port_comes_or_goes(chaos);
    else if (what < 396 && !chaos->has_push_back)
        binding_changes(chaos, (unsigned)sim_random(sim, chaos->port_count));
    else
        hold_changes(chaos);
}

static void begin(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;

    sim->steps_others = true;
    chaos->has_push_back = sim_random(sim, 2);
    chaos->has_leaps = sim_random(sim, 4) == 0;
    chaos->port_count = 2 + (unsigned)sim_random(sim, 5);
    if (sim_random(sim, 4) > 0)
        fake_port_costs = (struct fake_costs){.delivery_ns = sim_random(sim, 2000),
                                              .packet_ns = sim_random(sim, 200),
                                              .call_ns = sim_random(sim, 5000)};
    for (unsigned w = 0; w < sim->worker_count; w++)
        sim->workers[w].wake_s = (double)sim_random(sim, 20) * 1e-6;
    for (unsigned id = 0; id < chaos->port_count; id++) {
        port_add(chaos, id);
        binding_changes(chaos, id);
    }
}

static void scenario(uint64_t seed)
{
    struct chaos chaos = {.sim = sim_new(1 + seed % SIM_WORKERS_MAX, seed)};

    begin(&chaos);
    for (unsigned i = 0; i < STEPS; i++)
        one_step(&chaos);
    for (unsigned id = 0; id < chaos.port_count; id++) {
        struct port_counters counters = sim_counters(chaos.sim, id);

        note_reached(&counters, &chaos.sim->ports[id]);
    }
    sim_free(chaos.sim);
}

static void chaos(void **state)
{
    (void)state;
    sim_run_seeds(scenario, SEEDS);
    print_message("held: calls %llu, data %llu, adaptive rounds %llu; merged %llu, across bursts "
                  "%llu; buffers told of in groups %llu\n",
                  (unsigned long long)reached.held_calls, (unsigned long long)reached.held_data,
                  (unsigned long long)reached.adaptive_held, (unsigned long long)reached.merged,
                  (unsigned long long)reached.across_bursts,
                  (unsigned long long)reached.told_of_several_back);
    if (getenv("CONVOY_SIM_SEED"))
        return; /* one run need not reach everything */
    assert_true(reached.held_calls > 0 && reached.held_data > 0 && reached.adaptive_held > 0);
    assert_true(reached.merged > 0 && reached.across_bursts > 0);
    assert_true(reached.told_of_several_back > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chaos),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

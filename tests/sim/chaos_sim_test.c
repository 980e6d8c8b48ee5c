/*
 * Goal: whatever happens in whatever order, no frame is lost without a counted reason, doubled,
 * reordered or kept: every rule that fake_port.c and sim_world.c know. Method: seeded random runs
 * of one to three workers on ports of all modes and policies: bursts, receivers that are slow or
 * stop, time that creeps and leaps, ports that pause, come back with fewer queues, go away for
 * good. A failure prints its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim_world.h"

enum { STEPS = 1500, SEEDS = 300, TRANSIENT_PORT = SIM_PORTS_MAX - 1 };

struct chaos {
    struct sim *sim;
    unsigned port_count;
    bool has_push_back; /* then no frame is flooded: see copies_of */
};

/* A flooded frame goes to all ports that are up or paused for the worker that took it. */
static uint64_t copies_of(void *context, const struct fake_queue *from, mac_addr dst)
{
    const struct sim *sim = context;
    const struct worker *worker = &sim->workers[from->base.worker];
    uint64_t copies = 0;

    if (!(dst & MAC_MULTICAST_BIT))
        return 1;
    for (unsigned id = 0; id < SIM_PORTS_MAX; id++) {
        const struct outlet *outlet = &worker->outlets[id];

        if (id != from->base.port->id && outlet->state >= OUTLET_PAUSED && outlet->open_count > 0)
            copies++;
    }
    return CV_MAX(copies, UINT64_C(1)); /* none at all is a drop */
}

static struct port_config random_config(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;
    struct port_config config =
        sim_port_config((enum hold_mode)sim_random(sim, 3),
                        chaos->has_push_back ? (enum full_policy)sim_random(sim, 2) : FULL_DROP);

    config.hold.packets_max = 1 + (unsigned)sim_random(sim, 256);
    config.hold.time_max_ns = sim_random(sim, 200000);
    config.queue_pairs = 1 + (unsigned)sim_random(sim, 3);
    return config;
}

static void port_add(struct chaos *chaos, unsigned id)
{
    struct port_config config = random_config(chaos);
    struct fake_port *port = sim_port_add(chaos->sim, id, &config);

    port->copies_of = copies_of;
    port->context = chaos->sim;
}

/* A queue of a port that is there. */
static struct fake_queue *random_queue(struct chaos *chaos)
{
    unsigned id = (unsigned)sim_random(chaos->sim, chaos->port_count);
    struct fake_port *port = &chaos->sim->ports[id];

    return &port->queues[sim_random(chaos->sim, port->base.queue_count)];
}

static void burst_arrives(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;
    struct fake_queue *queue = random_queue(chaos);
    unsigned count = (unsigned)sim_random(sim, 1 + fake_queue_free(queue));
    uint32_t len_limit = sim_random(sim, 3) == 0 ? 65000 : 1455;
    bool transient = sim->has_port[TRANSIENT_PORT] && sim_random(sim, 8) == 0;

    if (transient) {
        queue = &sim->ports[TRANSIENT_PORT].queues[0];
        count = (unsigned)sim_random(sim, 1 + fake_queue_free(queue));
    }
    for (unsigned i = 0; i < count; i++) {
        struct fake_arrival arrival = {
            .dst = fake_port_mac((unsigned)sim_random(sim, chaos->port_count)),
            .len = 60 + (uint32_t)(sim_random(sim, 4) == 0 ? sim_random(sim, len_limit) : 0),
            .is_express = sim_random(sim, 50) == 0,
            .is_wrong = sim_random(sim, 60) == 0,
        };

        arrival.is_private = arrival.len > 60 && sim_random(sim, 3) == 0;
        if (!chaos->has_push_back && sim_random(sim, 10) == 0)
            arrival.dst = MAC_BROADCAST;
        fake_queue_arrive(queue, &arrival);
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

static void time_passes(struct sim *sim)
{
    static const uint64_t limits_ns[] = {1000, 1000, 10000, 100000, 2 * STALL_NS};

    sim->now_ns += sim_random(sim, limits_ns[sim_random(sim, 5)]);
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
        time_passes(sim);
        sim_round(sim, (unsigned)sim_random(sim, sim->worker_count));
    }
    for (unsigned q = 0; q < port->base.queue_count; q++) {
        port->queues[q].base.can_deliver = !is_down && sim_random(sim, 4) > 0;
        port->queues[q].base.can_receive = !is_down && sim_random(sim, 4) > 0;
    }
    sim_port_attach(sim, id);
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
    struct port_config config = random_config(chaos);

    sim_set_hold(sim, id, &config.hold, config.merge);
}

static void one_step(struct chaos *chaos)
{
    struct sim *sim = chaos->sim;
    uint64_t what = sim_random(sim, 400);

    if (what < 3)
        sim_settle(sim);
    else if (what < 120)
        burst_arrives(chaos);
    else if (what < 180)
        room_changes(chaos);
    else if (what < 220)
        time_passes(sim);
    else if (what < 390)
        sim_round(sim, (unsigned)sim_random(sim, sim->worker_count));
    else if (what < 395)
        port_pauses(chaos);
    else if (what < 397)
        transient_port_comes_or_goes(chaos);
    else
        hold_changes(chaos);
}

static void scenario(uint64_t seed)
{
    struct chaos chaos = {.sim = sim_new(1 + seed % SIM_WORKERS_MAX, seed)};

    chaos.sim->steps_others = true;
    chaos.has_push_back = sim_random(chaos.sim, 2);
    chaos.port_count = 2 + (unsigned)sim_random(chaos.sim, 5);
    for (unsigned id = 0; id < chaos.port_count; id++)
        port_add(&chaos, id);
    for (unsigned i = 0; i < STEPS; i++)
        one_step(&chaos);
    sim_free(chaos.sim);
}

static void chaos(void **state)
{
    (void)state;
    sim_run_seeds(scenario, SEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chaos),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

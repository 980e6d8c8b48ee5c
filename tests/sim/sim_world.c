#include "sim_world.h"

#include "sim_loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

enum { QUEUES_PER_PORT = PORT_QUEUE_PAIRS_MAX, SETTLE_ROUNDS_MAX = 100000 };

static uint64_t current_seed;

void sim_fail(const char *sentence)
{
    sim_loop_escape(sentence);
    fail_msg("%s (CONVOY_SIM_SEED=%llu repeats it)", sentence, (unsigned long long)current_seed);
}

/* SplitMix64 (Steele, Lea and Flood, 2014). */
uint64_t sim_random(struct sim *sim, uint64_t limit)
{
    uint64_t z = sim->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % limit;
}

uint64_t sim_clock_tick_ns;

/* Linked in place of the C library's: the clock of whoever is stepped now. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    uint64_t now_ns = fake_port_now_ns + fake_port_spent_ns;

    (void)clock;
    fake_port_spent_ns += sim_clock_tick_ns;
    *ret_now = (struct timespec){(time_t)(now_ns / 1000000000), (long)(now_ns % 1000000000)};
    return 0;
}

/* --- the world --- */

struct sim *sim_new(unsigned workers, uint64_t seed)
{
    struct bridge_config config = {.age_ns = BRIDGE_AGE_NS_DEFAULT,
                                   .entries_per_port_max = BRIDGE_ENTRIES_PER_PORT_DEFAULT};
    struct sim *sim = calloc(1, sizeof(*sim));

    assert_non_null(sim);
    current_seed = sim->seed = sim->random = seed;
    fake_port_fail = sim_fail;
    fake_port_costs = (struct fake_costs){0};
    fake_port_spent_ns = sim_clock_tick_ns = 0;
    fake_port_now_ns = sim->now_ns = 1000000000;
    sim->bridge = bridge_new(&config);
    sim->worker_count = workers;
    sim->workers = calloc(workers, sizeof(sim->workers[0]));
    assert_true(sim->bridge && sim->workers);
    for (unsigned i = 0; i < workers; i++) {
        struct worker *worker = &sim->workers[i];

        worker->id = i;
        worker->bridge = sim->bridge;
        worker->peers = sim->workers;
        worker->peer_count = workers;
        worker->cpu = worker->epoll_fd = worker->wake_fd = -1;
        worker->watchdog = &sim->watchdog;
    }
    for (unsigned i = 0; i < workers; i++)
        assert_int_equal(worker_init(&sim->workers[i]), 0);
    return sim;
}

/* A worker's moment begins, and ends when it has done what takes time. */
static struct worker *enter(struct sim *sim, unsigned worker)
{
    sim_loop_wake(sim, worker);
    fake_port_now_ns = sim->workers[worker].now_ns = sim->now_ns;
    fake_port_spent_ns = 0;
    return &sim->workers[worker];
}

static void leave(struct sim *sim)
{
    sim->now_ns += fake_port_spent_ns;
    fake_port_spent_ns = 0;
}

bool sim_round(struct sim *sim, unsigned worker)
{
    bool moved = worker_round(enter(sim, worker));

    sim_check(sim);
    sim_check_round(sim, worker, moved);
    leave(sim);
    return moved;
}

bool sim_round_all(struct sim *sim)
{
    bool moved = false;

    for (unsigned i = 0; i < sim->worker_count; i++)
        moved |= sim_round(sim, i);
    return moved;
}

/*
 * Workers that move nothing any more go to sleep. What has arrived and was not taken must be held
 * back by frames that are still out: their return is what will wake somebody.
 */
static void check_rest(const struct sim *sim)
{
    for (unsigned id = 0; id < SIM_PORTS_MAX; id++) {
        for (unsigned q = 0; sim->is_attached[id] && q < sim->ports[id].base.queue_count; q++) {
            const struct fake_queue *queue = &sim->ports[id].queues[q];

            if (queue->base.can_receive && queue->arrival_count > 0)
                SIM_CHECK(queue->base.is_held_back && queue->base.outstanding > 0);
        }
    }
}

void sim_settle(struct sim *sim)
{
    unsigned rounds = 0;

    while (sim_round_all(sim))
        SIM_CHECK(rounds++ < SETTLE_ROUNDS_MAX);
    check_rest(sim);
}

/* --- ports: what vswitch.c does, one step at a time --- */

/* Other workers go on while one carries out its step. */
static void step_others(struct sim *sim)
{
    while (sim->steps_others && sim_random(sim, 3) > 0) {
        sim->now_ns += sim_random(sim, 2000);
        sim_round(sim, (unsigned)sim_random(sim, sim->worker_count));
    }
}

static void step_all(struct sim *sim, bool (*step)(struct worker *, void *), void *context)
{
    for (unsigned i = 0; i < sim->worker_count; i++) {
        unsigned tries = 0;

        step_others(sim);
        while (!step(enter(sim, i), context)) {
            SIM_CHECK(tries++ < SETTLE_ROUNDS_MAX);
            leave(sim);
            sim->now_ns += 1000;
            sim_round_all(sim);
        }
        leave(sim);
    }
}

struct port_config sim_port_config(enum hold_mode mode, enum full_policy full)
{
    return (struct port_config){.hold = {.mode = mode, .packets_max = 32, .time_max_ns = 50000},
                                .full = full,
                                .queue_pairs = 1};
}

void sim_port_attach(struct sim *sim, unsigned id)
{
    fake_port_now_ns = sim->now_ns;
    fake_port_set_running(&sim->ports[id], true);
    fake_port_note_merging(&sim->ports[id]);
    sim->is_attached[id] = true;
    step_all(sim, worker_step_attach, &sim->ports[id].base);
    /* Attaching settles once, for what the guest was owed before; tests count what comes after. */
    for (unsigned i = 0; i < sim->ports[id].base.queue_count; i++)
        CV_CONTAINER_OF(sim->ports[id].base.queues[i], struct fake_queue, base)->settles = 0;
}

void sim_port_detach(struct sim *sim, unsigned id)
{
    struct port *port = &sim->ports[id].base;

    step_all(sim, worker_step_pause, port);
    fake_port_set_paused(&sim->ports[id]);
    step_all(sim, worker_step_purge, port);
    step_all(sim, worker_step_purge, port);
    step_all(sim, worker_step_settled, port);
    fake_port_set_running(&sim->ports[id], false);
    sim->is_attached[id] = false;
}

static void lanes_alloc(struct sim *sim, struct fake_port *port)
{
    for (unsigned w = 0; w < sim->worker_count; w++) {
        struct outlet *outlet = &sim->workers[w].outlets[port->base.id];

        for (unsigned q = 0; q < port->base.queue_count; q++) {
            outlet->lanes[q] = calloc(1, sizeof(*outlet->lanes[q]));
            assert_non_null(outlet->lanes[q]);
            outlet->lanes[q]->outlet = outlet;
            outlet->lanes[q]->queue = port->base.queues[q];
            controller_init(&outlet->lanes[q]->controller, &port->base.config.hold);
        }
    }
}

static void lanes_free(struct sim *sim, unsigned id)
{
    for (unsigned w = 0; w < sim->worker_count; w++) {
        for (unsigned q = 0; q < PORT_QUEUE_PAIRS_MAX; q++) {
            free(sim->workers[w].outlets[id].lanes[q]);
            sim->workers[w].outlets[id].lanes[q] = NULL;
        }
    }
}

struct fake_port *sim_port_add(struct sim *sim, unsigned id, const struct port_config *config)
{
    struct fake_port *port = &sim->ports[id];

    fake_port_init(port, config, id, id * QUEUES_PER_PORT);
    snprintf(port->base.config.name, sizeof(port->base.config.name), "port%u", id);
    for (unsigned q = 0; q < config->queue_pairs; q++) {
        struct port_queue *queue = &port->queues[q].base;

        queue->worker = (sim->next_worker + q) % sim->worker_count;
        if (sim->loop) {
            queue->wake_from_fd = eventfd(0, EFD_NONBLOCK);
            queue->wake_to_fd = eventfd(0, EFD_NONBLOCK);
            assert_true(queue->wake_from_fd >= 0 && queue->wake_to_fd >= 0);
        }
        queue->can_receive = queue->can_deliver = true;
    }
    sim->next_worker++;
    lanes_alloc(sim, port);
    for (unsigned p = 0; p < SIM_PORTS_MAX; p++)
        for (unsigned own = 0; own < QUEUES_PER_PORT; own++)
            fake_port_forget_source(&sim->ports[p], id * QUEUES_PER_PORT + own);
    assert_int_equal(bridge_add_static(sim->bridge, fake_port_mac(id), id), 0);
    sim->has_port[id] = true;
    sim_port_attach(sim, id);
    return port;
}

struct fake_port *sim_take_rows(struct sim *sim, struct fake_port *port)
{
    for (unsigned q = 0; q < port->base.queue_count; q++)
        port->queues[q].base.offloads = OFFLOAD_CSUM | OFFLOAD_TSO4;
    fake_port_now_ns = sim->now_ns;
    fake_port_note_merging(port);
    return port;
}

void sim_set_hold(struct sim *sim, unsigned id, const struct hold_config *hold, bool merge)
{
    struct fake_port *port = &sim->ports[id];

    port->base.config.hold = *hold;
    port->base.config.merge = merge;
    fake_port_now_ns = sim->now_ns;
    fake_port_note_merging(port);
    for (unsigned w = 0; w < sim->worker_count; w++) {
        assert_true(worker_step_set_hold(enter(sim, w), &port->base));
        leave(sim);
    }
}

void sim_hold_data(struct sim *sim, unsigned id)
{
    for (unsigned w = 0; w < sim->worker_count; w++) {
        for (unsigned q = 0; q < sim->ports[id].base.queue_count; q++) {
            struct lane *lane = sim->workers[w].outlets[id].lanes[q];

            controller_update(&lane->controller, &lane->outlet->hold, sim->now_ns);
            lane->controller.rule.place = HOLD_PLACE_DATA;
        }
    }
}

void sim_port_remove(struct sim *sim, unsigned id)
{
    struct fake_port *port = &sim->ports[id];

    if (sim->is_attached[id])
        sim_port_detach(sim, id);
    /* A worker drops what waits, then its counters are gone. */
    for (unsigned w = 0; w < sim->worker_count; w++) {
        struct outlet *outlet = &sim->workers[w].outlets[id];
        unsigned waiting = 0;

        step_others(sim);
        for (unsigned q = 0; q < port->base.queue_count; q++)
            waiting += outlet->lanes[q]->convoy.packets;
        port_counters_add(&sim->gone_counters, &outlet->counters);
        sim->gone_counters.drops[DROP_PORT_DOWN] += waiting;
        assert_true(worker_step_remove(enter(sim, w), &port->base));
    }
    for (unsigned q = 0; q < port->base.queue_count; q++) {
        sim->gone_copies += port->queues[q].copies;
        sim->gone_delivered += port->queues[q].delivered;
        sim->gone_merged += port->queues[q].merged;
        if (port->queues[q].base.wake_from_fd >= 0) {
            close(port->queues[q].base.wake_from_fd);
            close(port->queues[q].base.wake_to_fd);
        }
    }
    lanes_free(sim, id);
    bridge_forget_port(sim->bridge, id);
    fake_port_uninit(port);
    sim->has_port[id] = false;
}

/* --- counters --- */

struct port_counters sim_counters(const struct sim *sim, unsigned id)
{
    struct port_counters sum = {0};

    for (unsigned w = 0; w < sim->worker_count; w++)
        port_counters_add(&sum, &sim->workers[w].outlets[id].counters);
    return sum;
}

uint64_t sim_drops(const struct sim *sim, unsigned id, enum drop_reason reason)
{
    return sim_counters(sim, id).drops[reason];
}

unsigned sim_waiting(const struct sim *sim, unsigned id)
{
    unsigned waiting = 0;

    for (unsigned w = 0; w < sim->worker_count; w++)
        for (unsigned q = 0; q < PORT_QUEUE_PAIRS_MAX; q++)
            if (sim->workers[w].outlets[id].lanes[q])
                waiting += sim->workers[w].outlets[id].lanes[q]->convoy.packets;
    return waiting;
}

/* Receivers that take everything, and time: nothing may be left. */
static void come_to_rest(struct sim *sim)
{
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned id = 0; id < SIM_PORTS_MAX; id++)
            for (unsigned q = 0; sim->has_port[id] && q < sim->ports[id].base.queue_count; q++)
                sim->ports[id].queues[q].room = 1u << 20;
        sim_settle(sim);
        sim->now_ns += STALL_NS / 10;
    }
}

void sim_free(struct sim *sim)
{
    sim_loop_end(sim);
    for (unsigned id = 0; id < SIM_PORTS_MAX; id++)
        if (sim->has_port[id] && !sim->is_attached[id])
            sim_port_attach(sim, id);
    come_to_rest(sim);
    sim_check_balance(sim);
    for (unsigned id = 0; id < SIM_PORTS_MAX; id++)
        if (sim->has_port[id])
            sim_port_remove(sim, id);
    sim_check_balance(sim);
    for (unsigned i = 0; i < sim->worker_count; i++) {
        SIM_CHECK(sim->workers[i].polled_count == 0 && sim->workers[i].open_count == 0);
        worker_uninit(&sim->workers[i]);
    }
    bridge_free(sim->bridge);
    free(sim->workers);
    free(sim);
}

void sim_run_seeds(void (*scenario)(uint64_t seed), unsigned count)
{
    const char *only = getenv("CONVOY_SIM_SEED");

    if (only) {
        scenario(strtoull(only, NULL, 0));
        return;
    }
    for (unsigned i = 1; i <= count; i++)
        scenario(i);
}

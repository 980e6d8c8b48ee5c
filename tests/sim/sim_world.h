/*
 * Real workers without their threads, on fake ports and a clock that the test moves. Everything is
 * stepped by one thread in an order that a seed decides, so that a failure repeats exactly; the
 * seed is printed when a rule is broken, and CONVOY_SIM_SEED runs that one alone.
 */
#ifndef CONVOY_TESTS_SIM_WORLD_H
#define CONVOY_TESTS_SIM_WORLD_H

#include "fake_port.h"
#include "switch/worker.h"
#include "wire/offload.h"

enum { SIM_PORTS_MAX = 8, SIM_WORKERS_MAX = 3 };

struct sim {
    uint64_t seed, random; /* as given; state of the generator */
    uint64_t now_ns;       /* deliveries and calls add what they take (fake_port_costs) */
    struct bridge *bridge;
    unsigned worker_count;
    struct worker *workers;
    struct fake_port ports[SIM_PORTS_MAX];
    bool has_port[SIM_PORTS_MAX], is_attached[SIM_PORTS_MAX];
    unsigned next_worker;
    /* Of ports that are gone, and of counters that went with them. */
    uint64_t gone_copies, gone_delivered, gone_merged;
    struct port_counters gone_counters;
    struct watchdog watchdog; /* it rests: nobody hangs here */
    struct sim_loop *loop;    /* workers run their whole loop; NULL: rounds alone */
    bool steps_others;        /* detaching and attaching lets other workers run in between */
};

/* What a look at the clock takes; 0 by default. */
extern uint64_t sim_clock_tick_ns;

/* Prints the sentence and the seed, and fails the test. */
void sim_fail(const char *sentence);
#define SIM_CHECK(condition)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sim_fail(__FILE__ ": " #condition);                                                    \
    } while (0)

struct sim *sim_new(unsigned workers, uint64_t seed);
/* Lets everything come to rest, removes all ports, and checks that nothing was lost. */
void sim_free(struct sim *sim);

/* A number below `limit`. */
uint64_t sim_random(struct sim *sim, uint64_t limit);

/* Adds port `id` with queues on workers in turn; it is attached. The address fake_port_mac(id) is
 * bound to it. */
struct fake_port *sim_port_add(struct sim *sim, unsigned id, const struct port_config *config);
/* A configuration with one queue pair. */
struct port_config sim_port_config(enum hold_mode mode, enum full_policy full);
/* The machine behind a port takes super-packets of TCP over IPv4. Returns the port. */
struct fake_port *sim_take_rows(struct sim *sim, struct fake_port *port);
/* For the next millisecond what is held for the port are data, as where frames are merged; else it
 * is calls. */
void sim_hold_data(struct sim *sim, unsigned id);
/* In the way of the switch: pause, purge, settled on all workers; then the port is not used. */
void sim_port_detach(struct sim *sim, unsigned id);
void sim_port_attach(struct sim *sim, unsigned id);
void sim_port_remove(struct sim *sim, unsigned id);
/* The owner's wish changes while the port runs. */
void sim_set_hold(struct sim *sim, unsigned id, const struct hold_config *hold, bool merge);

/* One round of one worker, or of each in turn; true: something moved. */
bool sim_round(struct sim *sim, unsigned worker);
bool sim_round_all(struct sim *sim);
/* Rounds at this moment until nothing moves any more. */
void sim_settle(struct sim *sim);

/* What all workers counted for a port. */
struct port_counters sim_counters(const struct sim *sim, unsigned id);
uint64_t sim_drops(const struct sim *sim, unsigned id, enum drop_reason reason);
/* Packets in all convoys for a port. */
unsigned sim_waiting(const struct sim *sim, unsigned id);

static inline struct fake_queue *sim_queue(struct sim *sim, unsigned id)
{
    return &sim->ports[id].queues[0];
}

/* The way to its first queue, of the worker that serves it. */
static inline struct lane *sim_lane(struct sim *sim, unsigned id)
{
    return sim->workers[sim_queue(sim, id)->base.worker].outlets[id].lanes[0];
}

/* sim_rules.c */

/* Rules that hold between any two rounds: stocks are whole, what waits is bounded. */
void sim_check(const struct sim *sim);
/* Rules that hold after a round of a worker, which has moved something or not: what still waits,
 * frames, calls and given buffers, has a reason, a time at which it ends, and a timer for that. */
void sim_check_round(const struct sim *sim, unsigned worker, bool has_moved);
/* Rules that hold when nothing waits any more: every copy was delivered or dropped for a reason. */
void sim_check_balance(const struct sim *sim);

/* Runs `scenario` for `count` seeds, or for that of CONVOY_SIM_SEED. */
void sim_run_seeds(void (*scenario)(uint64_t seed), unsigned count);

#endif

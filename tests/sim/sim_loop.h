/*
 * Workers with their whole loop, as their threads run it: rounds, glances at descriptors, sleep.
 * Each is a coroutine that gives way after every turn and while it sleeps; kicks are real eventfds
 * in the worker's real epoll, only its timeouts are taken on the simulation's clock. What happens
 * outside (packets, machines, the control side) is planned beforehand, by time.
 *
 * Whenever a worker goes to sleep it is judged: nobody waits for it but those who will wake it, and
 * it has a timer for whatever is due. It must not keep turning without anything to do either.
 */
#ifndef CONVOY_TESTS_SIM_LOOP_H
#define CONVOY_TESTS_SIM_LOOP_H

#include "sim_world.h"

/* To be called before ports are added; sim_free ends it. Workers poll for `poll_ns`; their timers
 * are late by up to `late_ns`, or, with is_evenly_late, by just that. */
struct sim_loop_config {
    uint64_t poll_ns;
    uint64_t late_ns;
    bool is_evenly_late;
};
void sim_loop_begin(struct sim *sim, const struct sim_loop_config *config);

/* Something is to happen at a time; what happens at the same time happens in this order. */
void sim_loop_at(struct sim *sim, uint64_t at_ns, void (*happen)(struct sim *sim, uint64_t what),
                 uint64_t what);

/* Lets time pass until `until_ns`. */
void sim_loop_run(struct sim *sim, uint64_t until_ns);

/* The worker, which may sleep, is brought to where it does what the control side asks. */
void sim_loop_wake(struct sim *sim, unsigned worker);

/* When a worker that sleeps wakes up by itself; UINT64_MAX: never. 0: it does not sleep. */
uint64_t sim_loop_deadline(const struct sim *sim, unsigned worker);

/* Turns that moved nothing and did not sleep, so far. */
uint64_t sim_loop_idle_turns(const struct sim *sim, unsigned worker);

/* How long it has slept so far, the sleep that it is in left out. */
uint64_t sim_loop_slept_ns(const struct sim *sim, unsigned worker);

/* A rule is broken on a worker's stack: goes on where the test can fail. Returns where there is no
 * such stack. */
void sim_loop_escape(const char *sentence);

void sim_loop_end(struct sim *sim);

#endif

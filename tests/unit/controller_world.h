/*
 * A small world around a controller: packets come from seeded or regular sources on a fake clock,
 * wait in a group under the controller's live rule through hold_due_ns, and depart; what they
 * waited is counted independently. The world looks at its packets at once, or in rounds as a worker
 * does.
 */
#ifndef TESTS_UNIT_CONTROLLER_WORLD_H
#define TESTS_UNIT_CONTROLLER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <cmocka.h>

#include "convoy/controller.h"

#define US    UINT64_C(1000)
#define MS    UINT64_C(1000000)
#define S     UINT64_C(1000000000)
#define NEVER UINT64_MAX

/* What transfers cost in this world. */
#define TRANSFER_S 500e-9
#define PACKET_S   80e-9
#define CALL_S     1e-6

/* When packets come. `gap_ns` is asked for the time to the next packet after each; with `answers`
 * the time starts when the last one has departed. */
struct source {
    uint64_t (*gap_ns)(struct source *source);
    double rate;
    uint64_t period_ns; /* regular sources: distance; bursts: from one's end to the next's start */
    unsigned burst;     /* packets of a burst ... */
    uint64_t within_ns; /* ... and their distance */
    unsigned count;     /* packets so far */
    bool answers;
};

struct world {
    struct source source;
    struct hold_config hold;
    uint64_t round_ns; /* how often packets are looked at; 0: at once */
    uint64_t late_ns;  /* how much later than due groups depart */
    bool mergeable;
    uint64_t now_ns, next_ns;
    struct controller controller;
    struct hold_group group;
    /* since world_measure: */
    uint64_t since_ns;
    double groups, packets, wait_s, longest_s;
    double predicted_size, predicted_wait_s; /* added up over the same groups, and packets */
    unsigned changes;                        /* of K, T, place, or whether silence counts */
    struct hold_rule rule;
};

static struct world world;

static inline uint64_t random_gap(struct source *source)
{
    return (uint64_t)(-log1p(-drand48()) / source->rate * 1e9 + 0.5);
}

static inline uint64_t regular_gap(struct source *source)
{
    return source->period_ns;
}

static inline uint64_t burst_gap(struct source *source)
{
    return source->count % source->burst == 0 ? source->period_ns : source->within_ns;
}

static inline struct source poisson(double rate)
{
    return (struct source){.gap_ns = random_gap, .rate = rate};
}

static inline struct source even(uint64_t period_ns)
{
    return (struct source){.gap_ns = regular_gap, .period_ns = period_ns};
}

static inline struct source requests(uint64_t round_trip_ns)
{
    return (struct source){.gap_ns = regular_gap, .period_ns = round_trip_ns, .answers = true};
}

static inline struct source bursts(unsigned packets, uint64_t within_ns, uint64_t pause_ns)
{
    return (struct source){
        .gap_ns = burst_gap, .period_ns = pause_ns, .burst = packets, .within_ns = within_ns};
}

static inline struct hold_config adaptive(uint64_t budget_ns, double weight)
{
    return (struct hold_config){
        .mode = HOLD_ADAPTIVE, .delay_budget_ns = budget_ns, .delay_weight = weight};
}

/* From now on this comes. */
static inline void world_hear(struct source source)
{
    world.source = source;
    world.next_ns = world.now_ns + source.gap_ns(&world.source);
}

static inline void world_init(struct hold_config hold, struct source source, uint64_t round_ns)
{
    srand48(11);
    world = (struct world){.hold = hold, .round_ns = round_ns, .mergeable = true, .now_ns = 3 * S};
    controller_init(&world.controller, &world.hold);
    /* What transfers cost is known; controller_announced has its own tests. */
    for (unsigned i = 1; i <= 64; i++) {
        controller_delivered(&world.controller, i, TRANSFER_S + PACKET_S * i);
        controller_announced(&world.controller, true, CALL_S);
    }
    world_hear(source);
}

static inline void world_measure(void)
{
    world.groups = world.packets = world.wait_s = world.longest_s = 0;
    world.predicted_size = world.predicted_wait_s = 0;
    world.changes = 0;
    world.rule = world.controller.rule;
    world.since_ns = world.now_ns;
}

static inline void note_change(void)
{
    const struct hold_rule *now = &world.controller.rule, *before = &world.rule;

    world.changes += now->packets_max != before->packets_max ||
                     now->time_max_ns != before->time_max_ns || now->place != before->place ||
                     (now->silence_max_ns > 0) != (before->silence_max_ns > 0);
    world.rule = *now;
}

static inline void group_departs(void)
{
    for (unsigned i = 0; i < world.group.batch_count; i++) {
        double wait_s = (double)(world.now_ns - world.group.batches[i].arrived_ns) / 1e9;

        world.wait_s += wait_s * world.group.batches[i].packets;
        world.longest_s = fmax(world.longest_s, wait_s);
    }
    world.groups++;
    world.packets += world.group.packets;
    world.predicted_size += world.controller.predicted_size;
    world.predicted_wait_s += world.controller.predicted_wait_s * world.group.packets;
    controller_departed(&world.controller, &world.group, world.now_ns);
    hold_group_clear(&world.group);
    if (world.source.answers)
        world.next_ns = world.now_ns + world.source.gap_ns(&world.source);
}

/* All that has come by now; as in the worker a full group does not wait for the round's end. */
static inline void packets_arrive(void)
{
    unsigned count = 0;

    while (world.next_ns <= world.now_ns) {
        count++;
        world.source.count++;
        world.next_ns =
            world.source.answers ? NEVER : world.next_ns + world.source.gap_ns(&world.source);
    }
    if (count == 0)
        return;
    controller_arrived(&world.controller, count, world.mergeable ? count : 0, world.now_ns);
    controller_update(&world.controller, &world.hold, world.now_ns);
    note_change();
    for (; count > 0; count--) {
        hold_group_add(&world.group, 1, false, world.now_ns);
        if (world.controller.rule.time_max_ns > 0 &&
            hold_due_ns(&world.controller.rule, &world.group) == HOLD_NOW)
            group_departs();
    }
}

static inline uint64_t round_after(uint64_t at_ns)
{
    return world.round_ns == 0 ? at_ns
                               : (at_ns + world.round_ns - 1) / world.round_ns * world.round_ns;
}

static inline bool is_due(void)
{
    uint64_t due_ns = hold_due_ns(&world.controller.rule, &world.group);

    return world.group.packets > 0 &&
           (due_ns == HOLD_NOW || due_ns + world.late_ns <= world.now_ns);
}

static inline void world_run(uint64_t length_ns)
{
    for (uint64_t end_ns = world.now_ns + length_ns; world.now_ns < end_ns;) {
        uint64_t due_ns = NEVER;

        if (world.group.packets > 0)
            due_ns = CV_MAX(hold_due_ns(&world.controller.rule, &world.group) + world.late_ns,
                            world.now_ns);
        world.now_ns = round_after(CV_MAX(CV_MIN(due_ns, world.next_ns), world.now_ns));
        packets_arrive();
        if (is_due())
            group_departs();
    }
}

static inline double measured_wait_s(void)
{
    return world.wait_s / world.packets;
}

static inline double measured_size(void)
{
    return world.packets / world.groups;
}

static inline bool is_holding(void)
{
    return world.controller.rule.time_max_ns > 0;
}

static inline void assert_within(double actual, double expected, double share)
{
    if (!(fabs(actual - expected) <= share * fabs(expected))) {
        print_error("%g instead of %g\n", actual, expected);
        fail();
    }
}

static inline void assert_near_rule(const struct hold_rule *rule, const struct hold_rule *expected)
{
    double time_ns = (double)expected->time_max_ns, packets = expected->packets_max;

    /* Two rules that are both within the margin of what is right; the small ones by one packet. */
    assert_within((double)rule->time_max_ns, time_ns, 0.25);
    assert_true(fabs(rule->packets_max - packets) <= 1 + 0.25 * packets);
}

static inline void assert_nobody_waited(void)
{
    if (world.packets == 0 || world.longest_s > 0) {
        print_error("%g packets, longest wait %g s, T %lu ns\n", world.packets, world.longest_s,
                    (unsigned long)world.controller.rule.time_max_ns);
        fail();
    }
}

#endif

/*
 * From measurement to rule: one controller for each queue that frames go to. The worker tells it
 * what arrives, what transfers and calls cost, and when the guest answers; about once in a
 * millisecond it derives K and T from the model:
 *
 *   T = min(T of least cost, T of the delay budget),  K = min(K of either)
 *
 * Whether waiting pays at all is asked of the traffic rather than of its rate alone: where fewer
 * packets are followed by another within T than Poisson arrivals of that rate would be (requests
 * that each wait for an answer, even distances longer than T), the rate is scaled down by as much,
 * in the end to "never". Nothing waits either before some packets were seen to be followed, nor
 * when packets come after a silence, before a millisecond of them has been seen: a lone packet
 * never waits. Requests that are answered within T look like company until they are made to wait;
 * when nobody joins them then, holding is given up for a while. Where arrivals come in bursts,
 * silence of two mean gaps ends a convoy. Where groups are measured to wait longer than the budget
 * all the same, T is shortened by as much. A rule changes only by a margin (hysteresis), so that it
 * does not flutter.
 *
 * Packets that are found together (a burst from a ring, or what came while the worker was busy)
 * travel together anyway. So what the rules are asked is whether to wait for the next such batch:
 * the rate is that of batches, a transfer is weighed against the waiting of a whole batch, and K
 * counts batches of mean size. Where packets come one by one this is the plain rule.
 *
 * What a transfer costs depends on what waiting would save: holding data saves c0 of the worker and
 * the call; holding the call saves the call alone, and nothing where the guest wants none. A call
 * costs the worker a system call and the guest what its ring shows: the time until it has looked,
 * beyond what it needs for the packets. Costs change less with the load than they seem to, so those
 * of calls are learnt with a long memory: their noise must not move K and T.
 *
 * Pure; one thread.
 */
#ifndef CONVOY_CONVOY_CONTROLLER_H
#define CONVOY_CONVOY_CONTROLLER_H

#include "config/port_config.h"
#include "convoy/costs.h"
#include "convoy/hold.h"
#include "convoy/traffic.h"

/* How often rules are derived anew. */
#define CONTROLLER_INTERVAL_NS UINT64_C(1000000)

/* What groups did, with a memory of a second or so: next to what the model said they would do. */
struct controller_record {
    double groups;           /* decaying count of groups that departed */
    double packets;          /* ... packets in them, */
    double wait_s;           /* ... and their waits, added up */
    double predicted_size;   /* what the model said, added up over the same groups */
    double predicted_wait_s; /* ... E[W] times packets */
};

/* Whether those that wait are joined as the model says. */
struct controller_trial {
    unsigned fresh;           /* groups that waited since the last update */
    double joined;            /* groups that waited and were joined */
    double expected;          /* ... that should have been, by the model */
    double rate;              /* batches per second when it began, or last went well */
    uint64_t futile_ns;       /* for how long holding was given up last; 0: it went well */
    uint64_t futile_until_ns; /* nothing is held until then */
};

struct controller {
    struct traffic arrivals;
    struct costs transfer; /* worker: seconds to deliver a group, without the call */
    struct costs answer;   /* guest: seconds from a call until it had looked, by packets */
    double call_s;         /* worker: seconds for a call; decaying mean */
    double calls_wanted;   /* share of groups (0 to 1) for which the guest wanted a call */
    double merge_share;    /* share of packets (0 to 1) of a kind that is merged here */
    uint64_t updated_ns;   /* when the rule was last derived */
    struct hold_rule rule; /* current */
    double cost_ratio_s;   /* q that it was derived from */
    double company;        /* scale of the rate, 0 to 1: 1 for Poisson arrivals and denser ones */
    double predicted_size; /* E[B] and E[W] of the rule at the rate it was derived from */
    double predicted_wait_s;
    double budget_s;       /* D, as the owner set it */
    double trim;           /* what is left of the budget for T, since groups wait longer: up to 1 */
    double recent_packets; /* departed lately, decaying, ... */
    double recent_wait_s;  /* ... and their waits, added up, but for lost time slices */
    bool must_derive;      /* the owner's wish has changed */
    bool is_given_up;      /* a trial failed: nothing is held, whatever the arrivals look like */
    bool was_silent;       /* packets came after a silence: nothing is known of their company */
    unsigned fresh_packets, fresh_mergeable; /* arrived since updated_ns */
    struct controller_trial trial;
    struct controller_record record;
};

void controller_init(struct controller *controller, const struct hold_config *hold);

/* Packets came together for the queue; `mergeable` of them are of a kind that is merged here. */
void controller_arrived(struct controller *controller, unsigned packets, unsigned mergeable,
                        uint64_t now_ns);

/* A group was delivered (not counting the call) in `seconds`. */
void controller_delivered(struct controller *controller, unsigned packets, double seconds);

/* A group was announced: the guest wanted a call, which took `seconds`, or it wanted none. */
void controller_announced(struct controller *controller, bool was_wanted, double seconds);

/* The guest has looked, so many seconds after it was called for so many packets. */
void controller_answered(struct controller *controller, unsigned packets, double seconds);

/* A group departed (or was called for), having waited under the rule. Accounts for its packets. */
void controller_departed(struct controller *controller, const struct hold_group *group,
                         uint64_t now_ns);

/* Derives the rule; does nothing when that was done within CONTROLLER_INTERVAL_NS, unless `hold`
 * was changed (controller_set). */
void controller_update(struct controller *controller, const struct hold_config *hold,
                       uint64_t now_ns);

/* Another guest may be at the ring: what calls cost the one before is forgotten. */
void controller_forget_guest(struct controller *controller);

/* The owner's wish has changed. A rule that it states is in force at once; else nothing waits until
 * the next update, which derives the rule anew. What was learnt is kept. */
void controller_set(struct controller *controller, const struct hold_config *hold);

/*
 * The core of it, also for what is held on the way out of a guest: K and T for these arrivals when
 * a transfer costs `transfer_s` seconds, from `hold`'s budget and weight, with hysteresis against
 * *rule as it was. In other modes than HOLD_ADAPTIVE the rule is what `hold` says. Leaves
 * rule->place alone. Returns company: 0 where no packet is worth waiting for, 1 also where that was
 * not asked since waiting does not pay at any company.
 */
double controller_derive(struct hold_rule *rule, const struct traffic *arrivals, double transfer_s,
                         const struct hold_config *hold);

/* What the model says of a rate under the rule as the controller would derive it there, if the
 * arrivals of now came so many times as fast: for "at twice the load". */
struct controller_outlook {
    double rate; /* packets per second */
    struct hold_rule rule;
    double mean_size;   /* E[B] */
    double mean_wait_s; /* E[W] */
    double utilisation; /* share of the worker's time; from 1 on it does not keep up */
    double capacity;    /* packets per second; 0 while no transfer was seen */
};

void controller_look_ahead(const struct controller *controller, const struct hold_config *hold,
                           double rate, struct controller_outlook *ret_outlook);

#endif

/*
 * The switch as the control side sees it: ports that come and go, what they count, the bridge
 * between them. What workers do with packets is in switch/worker.h.
 *
 * Thread: control, throughout. Calls that change what workers use wait for them at a burst
 * boundary, microseconds as a rule.
 */
#ifndef CONVOY_SWITCH_VSWITCH_H
#define CONVOY_SWITCH_VSWITCH_H

#include "base/error.h"
#include "base/reactor.h"
#include "bridge/bridge.h"
#include "config/config.h"
#include "convoy/controller.h"
#include "metrics/convoy_histograms.h"
#include "metrics/counters.h"

struct vswitch;

/* Starts the workers. NULL with a sentence on failure. `reactor` must outlive the switch. */
struct vswitch *vswitch_new(const struct config *config, struct reactor *reactor,
                            struct error *error);

/* Stops the workers and removes every port. */
void vswitch_free(struct vswitch *vswitch);

/*
 * Adds a port (checked by port_config_finish) and starts to listen or connect. -EEXIST: the name,
 * socket or interface is taken; -ENOSPC: too many ports; or what the system said. Always with a
 * sentence.
 */
int vswitch_port_add(struct vswitch *vswitch, const struct port_config *config,
                     struct error *error) CV_MUST_CHECK;

/* Removes a port; frames on their way to it are dropped and counted. -ENOENT. */
int vswitch_port_remove(struct vswitch *vswitch, const char *name,
                        struct error *error) CV_MUST_CHECK;

/* Changes when the port's convoys depart and whether frames are merged, without losing a frame.
 * -ENOENT. */
int vswitch_port_set_hold(struct vswitch *vswitch, const char *name, const struct hold_config *hold,
                          bool merge, struct error *error) CV_MUST_CHECK;

/* Binds an address to a port for good (see bridge_add_static). */
int vswitch_static_mac_add(struct vswitch *vswitch, mac_addr mac, const char *port_name,
                           struct error *error) CV_MUST_CHECK;
int vswitch_static_mac_remove(struct vswitch *vswitch, mac_addr mac,
                              struct error *error) CV_MUST_CHECK;

enum port_state {
    PORT_STATE_WAITING,   /* no front end is connected (vhost-user) */
    PORT_STATE_CONNECTED, /* a front end is connected, its guest has not started the queues */
    PORT_STATE_RUNNING,   /* frames flow */
};

const char *port_state_name(enum port_state state);

/* What is to be known of a port at one moment. */
struct port_status {
    unsigned id;
    struct port_config config;
    enum port_state state;
    char last_fault[256]; /* why it was last stopped; "" when it never was */
    uint64_t features;    /* agreed virtio features (vhost-user) */
    unsigned queue_pairs_running;
    uint64_t guest_memory_bytes;
    uint64_t frames_waiting; /* frames held for it now */
    struct port_counters counters;
};

/* -ENOENT when there is no such port. */
int vswitch_port_status(struct vswitch *vswitch, const char *name,
                        struct port_status *ret_status) CV_MUST_CHECK;

/* Calls `visit` for every port in the order of their ids. `visit` must not add or remove ports. */
void vswitch_for_each_port(struct vswitch *vswitch,
                           void (*visit)(const struct port_status *status, void *context),
                           void *context);

/* How the convoys of one queue pair do: what its controller has learnt and derived from that. */
struct queue_tuning {
    bool to_port;         /* frames can go to the port through it; else only from_ counts */
    bool from_port;       /* frames can come from the port through it */
    bool merges;          /* the receiver takes super-packets, and the port may merge */
    struct controller to; /* arrivals for the port, costs, rule, record */
    struct controller_outlook now, twice; /* what the model says of today's rate, and of twice it */
    struct traffic from;                  /* packets taken from the port */
    struct hold_rule
        from_rule; /* how its kicks and the calls that give its buffers back are grouped */
};

/* Everything about how a port's convoys are formed, at one moment. Large. */
struct port_tuning {
    struct port_config config;
    unsigned queue_count;
    struct queue_tuning queues[PORT_QUEUE_PAIRS_MAX];
    struct convoy_histograms histograms; /* of all queues, since the port was added */
};

/* -ENOENT when there is no such port. */
int vswitch_port_tuning(struct vswitch *vswitch, const char *name,
                        struct port_tuning *ret_tuning) CV_MUST_CHECK;

struct worker_status {
    int cpu;              /* processor it is bound to, -1: any */
    uint64_t cpu_time_ns; /* processor time used so far */
    uint64_t rounds;      /* times round its loop */
    uint64_t sleeps;      /* times it went to sleep */
};

unsigned vswitch_worker_count(const struct vswitch *vswitch);
void vswitch_worker_status(struct vswitch *vswitch, unsigned index,
                           struct worker_status *ret_status);

/* The address table, for listing. */
struct bridge *vswitch_bridge(struct vswitch *vswitch);

#endif

/*
 * A port: one interface of the switch, whatever kind of channel is behind it. The worker knows only
 * what stands here; each kind (vhost-user, TAP, later AF_XDP or Xen's netif rings) implements it.
 *
 * A port has queue pairs. Each pair belongs to one worker while it is attached, and everything
 * marked "data path" is called by that worker alone. Everything marked "control" is called by the
 * control thread; before it changes what a worker may be using, it has the queues detached.
 */
#ifndef CONVOY_PORT_PORT_H
#define CONVOY_PORT_PORT_H

#include "base/error.h"
#include "base/log.h"
#include "base/reactor.h"
#include "config/port_config.h"
#include "convoy/frame_pool.h"
#include "convoy/hold.h"
#include "convoy/traffic.h"
#include "metrics/counters.h"

struct port;
struct port_queue;

/* What the control side can tell of a port. */
struct port_facts {
    bool is_connected;           /* vhost-user: a front end is there; TAP: always */
    uint64_t features;           /* agreed virtio features, 0 where there are none */
    uint64_t guest_memory_bytes; /* of the guest, mapped here */
    const char *last_fault;      /* sentence, "" for none; valid until the port's next event */
};

struct port_ops {
    /*
     * Data path. Takes at most `max` frames that have arrived, in order, from `pool` into
     * ret_frames, and stops when they have some BURST_BYTES_MAX bytes; returns how many. A frame
     * that cannot be switched has `drop` set. Each frame is later given back exactly once.
     */
    unsigned (*receive)(struct port_queue *queue, struct frame_pool *pool,
                        struct frame **ret_frames, unsigned max);

    /*
     * Data path. Delivers frames in order, with one publication; who polls sees them at once.
     * Returns how many from the front are done with: delivered, or dropped and counted. Fewer than
     * `count`: there is no room for the next.
     */
    unsigned (*deliver)(struct port_queue *queue, struct frame *const *frames, unsigned count);

    /*
     * Data path. Tells the receiver of all that was delivered since it was last told, with at most
     * one notification: if it wants one, or `always`. True: it was notified.
     */
    bool (*announce)(struct port_queue *queue, bool always);

    /* Data path. True when the receiver has seen all that it was last told of. May be NULL. */
    bool (*has_answered)(struct port_queue *queue);

    /*
     * Data path. The frame that did not fit in the last deliver, of which a part may have been
     * delivered, will not be offered again. May be NULL.
     */
    void (*forget_front)(struct port_queue *queue);

    /* Data path. The buffers of these frames (at least one) are free again; the sender learns it
     * with the next settle. */
    void (*give_back)(struct port_queue *queue, struct frame *const *frames, unsigned count);

    /*
     * Data path. Publishes what was given back, and sets `unpublished`. False: much more was given
     * back than could be published, since older frames are still out. May be NULL; then so is
     * announce_back.
     */
    bool (*settle)(struct port_queue *queue);

    /* Data path. Tells the sender of all that was published since it was last told, if it wishes.
     */
    void (*announce_back)(struct port_queue *queue);

    /*
     * Data path. Asks for a wake-up on wake_from_fd when `packets` frames (at least 1) have
     * arrived, or on wake_to_fd when there is room to deliver. For more than one the worker looks
     * itself in time: what cannot count asks for none. True: so many are there already, look
     * again.
     */
    bool (*arm_from)(struct port_queue *queue, unsigned packets);
    bool (*arm_to)(struct port_queue *queue);
    /* Data path. The worker looks by itself: no wake-ups needed. */
    void (*disarm_from)(struct port_queue *queue);

    /* Control. */
    void (*read_facts)(const struct port *port, struct port_facts *ret_facts);
    /* Control. Detaches, disconnects and frees the port. */
    void (*free)(struct port *port);
};

/* A queue pair. Embedded in the kind's own struct. */
struct port_queue {
    struct port *port;
    unsigned index;      /* which pair of the port */
    unsigned worker;     /* the worker that serves it; fixed for the port's life */
    bool can_receive;    /* frames can come from it; set before it is attached */
    bool can_deliver;    /* frames can go to it; set before it is attached */
    bool can_wait;       /* its sender may be pushed back: it is one guest, and nobody else's way */
    bool waits_for_kick; /* not to be looked at before it is kicked; set before it is attached */
    unsigned owed_max;   /* frames given back that its sender may not know of; set likewise */
    unsigned kicks_max;  /* frames that a kick may wait for while more come; 0: it cannot be asked
                            for that; set likewise */
    bool groups_kicks;   /* its wake-ups can wait for several frames; set before it is attached */
    unsigned offloads;   /* what its receiver takes: a set of enum offload; set likewise */
    int wake_from_fd;    /* becomes readable as arm_from says; -1: none */
    int wake_to_fd;      /* becomes readable as arm_to says; -1: never short of room */
    struct port_counters *counters; /* of its worker; set when attached */

    /* The worker's bookkeeping while the pair is attached. */
    unsigned outstanding; /* frames taken and not given back */
    bool is_polled;       /* looked at in every round; otherwise armed */
    bool is_held_back;    /* it may have frames, but they must wait for others to come back */
    uint64_t debt_bytes;  /* copies that its last frames have caused */
    bool is_dirty;        /* something was given back since the last settle */
    bool wants_back;      /* atomic: its frames are not to wait for slow guests of other workers */
    uint64_t active_ns;   /* when it last had a frame */
    uint64_t poll_ns;     /* how long it is polled for its next frame, as its kicks have shown */
    unsigned bursts, bursts_at_kick; /* ever taken, free running; and until its last kick */
    uint64_t look_ns;     /* it was asked for a kick for several frames: look by then; 0: was not */
    bool is_resting;      /* ... since its traffic is dense: nobody sees when they come ... */
    uint64_t kick_due_ns; /* ... and by what is known of it it kicks then */
    uint64_t restless_until_ns; /* it seemed dense and was not: no rest until then */
    unsigned last_burst;     /* frames found when it was last looked at; when nobody looked, many */
    struct traffic arrivals; /* frames taken */
    uint64_t updated_ns;     /* when kick_rule was last derived */
    struct hold_rule kick_rule;   /* how its kicks, and calls that give buffers back, are grouped */
    struct hold_group given_back; /* frames given back that its sender was not told of ... */
    uint64_t given_back_bytes;    /* ... and their bytes */
    unsigned unpublished;         /* frames given back that older ones keep from being published */
    bool owes_announcement;       /* in the worker's list of such queues */
    unsigned stash_first;         /* frames that a full port pushed back: stash[first .. count) */
    unsigned stash_count;
    struct frame *stash[BURST_FRAMES_MAX];
};

/* What a port asks of the switch it is part of. */
struct port_host {
    /*
     * On return no worker uses any queue of the port, and every frame taken from it was given back.
     * Frames for it wait: the port is expected to be attached again at once.
     */
    void (*detach)(struct port_host *host, struct port *port);
    /*
     * Queues with can_receive or can_deliver start to run. With no such queue the port is down, and
     * frames for it are dropped. Sets is_attached.
     */
    void (*attach)(struct port_host *host, struct port *port);
};

struct port {
    const struct port_ops *ops;
    struct port_host *host;
    unsigned id;               /* index in the switch's table */
    struct port_config config; /* `hold` is current, the rest as it was added */
    unsigned queue_count;      /* pairs it has */
    struct port_queue *queues[PORT_QUEUE_PAIRS_MAX];
    bool is_attached; /* control: a worker uses a queue of it */
};

/* The kinds. Each makes a port that waits for its front end or is running; a negative errno with a
 * sentence if it cannot. */
int port_vhost_new(const struct port_config *config, unsigned id, struct port_host *host,
                   struct reactor *reactor, struct port **ret_port,
                   struct error *error) CV_MUST_CHECK;
int port_tap_new(const struct port_config *config, unsigned id, struct port_host *host,
                 struct port **ret_port, struct error *error) CV_MUST_CHECK;

#endif

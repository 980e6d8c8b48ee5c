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
     * Data path. Delivers frames in order, with one publication and at most one notification
     * (`notify_always`: with one whatever the receiver wishes). Returns how many from the front are
     * done with: delivered, or dropped and counted. Fewer than `count`: there is no room for the
     * next.
     */
    unsigned (*deliver)(struct port_queue *queue, struct frame *const *frames, unsigned count,
                        bool notify_always);

    /*
     * Data path. The frame that did not fit in the last deliver, of which a part may have been
     * delivered, will not be offered again. May be NULL.
     */
    void (*forget_front)(struct port_queue *queue);

    /* Data path. The frame's buffer is free again; the sender learns it with the next settle. */
    void (*give_back)(struct port_queue *queue, struct frame *frame);

    /*
     * Data path. Publishes what was given back, with at most one notification. False: much more was
     * given back than could be published, since older frames are still out. May be NULL.
     */
    bool (*settle)(struct port_queue *queue);

    /*
     * Data path. Asks for a wake-up on wake_from_fd when frames arrive, or on wake_to_fd when there
     * is room to deliver. True: it is so already, look again.
     */
    bool (*arm_from)(struct port_queue *queue);
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
    unsigned stash_first; /* frames that a full port pushed back: stash[first .. count) */
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

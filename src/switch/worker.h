/*
 * A worker: the thread that moves packets. It owns some queue pairs and everything about the frames
 * that come from them; nobody else touches these while it runs. worker.c is the way of a packet;
 * worker_sleep.c says when the thread rests; worker_exchange.c how frames reach the queues of
 * another worker; worker_control.c what the control thread asks of it.
 */
#ifndef CONVOY_SWITCH_WORKER_H
#define CONVOY_SWITCH_WORKER_H

#include <pthread.h>
#include <semaphore.h>

#include "base/spsc.h"
#include "bridge/bridge.h"
#include "convoy/bulk.h"
#include "convoy/convoy.h"
#include "convoy/controller.h"
#include "metrics/convoy_histograms.h"
#include "port/port.h"
#include "switch/watchdog.h"

/* How long frames wait for a guest that takes none, before they are dropped. */
#define STALL_NS UINT64_C(100000000)

/* How long nothing waits for a guest after frames that waited for it held back others. */
#define NO_WAIT_NS UINT64_C(20000000)

enum {
    LANES_MAX = PORTS_MAX * PORT_QUEUE_PAIRS_MAX,
    EXCHANGE_FRAMES_MAX = WORKER_FRAMES_MAX, /* frames of one worker that another has in hand */
    LANES_ANSWERING_MAX = 8,                 /* lanes whose answers are watched for at a time */
};

struct outlet;
struct worker;

/*
 * The way to one queue of a port: the convoy that forms for it. Only the worker that serves the
 * queue holds and merges; on the others a lane gathers for the length of a burst.
 */
struct lane {
    struct outlet *outlet;
    struct port_queue *queue;
    bool is_open;              /* in the worker's list of lanes where something waits */
    uint64_t no_wait_until_ns; /* until then nothing waits: its waiting frames did harm to others */
    bool is_stalled; /* the guest took nothing for STALL_NS; nothing waits until it does again */
    unsigned fresh;  /* packets that came since the controller was told of any ... */
    unsigned fresh_mergeable; /* ... those of them of a kind that is merged */
    struct convoy convoy;
    struct hold_group
        waiting;     /* packets that wait for company: aboard, or delivered and not told */
    unsigned untold; /* packets delivered that the guest was not told of */
    struct controller controller;
    uint64_t called_ns;      /* a call whose answer is watched for; 0: none */
    uint64_t watched_ns;     /* when an answer was last watched for */
    unsigned called_packets; /* that it told of */
    struct convoy_histograms histograms;
};

enum outlet_state {
    OUTLET_ABSENT, /* no such port */
    OUTLET_DOWN,   /* nothing can be delivered: frames are dropped */
    OUTLET_PAUSED, /* for a moment: frames wait */
    OUTLET_UP,
};

/* One port as one worker sees it. */
struct outlet {
    enum outlet_state state;
    struct port *port;
    struct hold_config hold;
    bool merge;
    enum full_policy full;
    unsigned open_count;                      /* queues that frames are spread over ... */
    struct lane *open[PORT_QUEUE_PAIRS_MAX];  /* ... and the lanes to them */
    struct lane *lanes[PORT_QUEUE_PAIRS_MAX]; /* of all queues; allocated by the control thread */
    struct port_counters counters;            /* written by this worker only */
};

/* From one worker to one other. */
struct exchange {
    struct spsc to_peer;   /* frames handed over: frame number and lane */
    struct spsc from_peer; /* numbers of frames that came back */
    unsigned in_flight;    /* handed over and not back yet; the giver's */
};

/* A request of the control thread, carried out between two bursts. */
struct worker_command {
    /* True: done. False: call again in the next round. */
    bool (*step)(struct worker *worker, void *context);
    void *context;
    sem_t done;
};

/* Where the burst's last frame went. */
struct last_way {
    bool is_known; /* and another one between these addresses goes there too */
    uint8_t addresses[FRAME_ADDRESSES_BYTES];
    struct bridge_verdict verdict;
};

struct worker {
    unsigned id;
    struct bridge *bridge;
    struct watchdog *watchdog;
    struct worker *peers; /* all workers, this one included */
    unsigned peer_count;
    uint64_t poll_ns;             /* how long a queue without frames is polled */
    struct last_way last_way;     /* of the burst that is being switched */
    struct frame_pattern pattern; /* the last frame that was parsed */
    uint64_t now_ns;              /* read once per round */
    uint64_t clock_ns;            /* read after each delivery */

    struct frame_pool frames;
    unsigned polled_count;
    struct port_queue *polled[LANES_MAX]; /* queues that are looked at in every round */
    unsigned dirty_count;
    struct port_queue *dirty[LANES_MAX];   /* queues that have something to settle */
    struct port_queue *starved[LANES_MAX]; /* for worker_settle alone */
    unsigned untold_count;
    struct port_queue *untold[LANES_MAX]; /* queues whose senders are to be told later */
    unsigned answering_count;
    struct lane
        *answering[LANES_ANSWERING_MAX]; /* lanes whose guest was called and has not looked */
    unsigned loaded_count;               /* frames loaded since convoys last departed */
    unsigned open_count;
    struct lane *open[LANES_MAX]; /* lanes whose convoys are not empty */
    uint64_t next_due_ns;         /* when the next convoy departs or is given up */
    uint64_t look_due_ns;         /* when a queue that was asked for a group must be looked at */
    uint64_t kick_due_ns;         /* when the first of those that rest is expected to kick */
    double wake_s;                /* measured: how late a timer wakes us, decaying mean */
    uint64_t learnt_ns;           /* when wake_s last was */
    double look_s;                /* measured: a look at the descriptors, decaying mean */
    struct bulk bulk;             /* whether to sleep between bursts */
    bool may_defer;        /* nobody has chosen a scheduling policy for us, nor a processor */
    bool defers;           /* to guests: it is scheduled as SCHED_BATCH */
    unsigned outlet_limit; /* outlets[outlet_limit ..] are all absent */
    struct outlet outlets[PORTS_MAX];
    struct exchange exchanges[WORKERS_MAX]; /* to each peer */

    int epoll_fd;
    int wake_fd;                    /* eventfd: somebody wants something */
    uint64_t looked_ns;             /* when the descriptors were last looked at */
    bool is_asleep;                 /* atomic: a wake_fd write is needed */
    struct worker_command *command; /* atomic: what the control thread wants */
    bool must_stop;
    uint64_t rounds, sleeps; /* counters, written by this worker only */
    pthread_t thread;
    int cpu;
    bool is_running;
};

/* worker.c */

/* One round: everything that can move, moves. True: something did. */
bool worker_round(struct worker *worker);
/* Before a sleep that nothing is expected to end before `until_ns`: whose time is up until then
 * would wait for company in vain, and goes now. True: something moved, so others may go on too. */
bool worker_hasten(struct worker *worker, uint64_t until_ns);
/* A frame has left one convoy, or ended before any; the last one gives it back. */
void worker_release(struct worker *worker, struct frame *frame);
/* The receiver is told of what was delivered, and what waits waits no longer. */
void worker_announce(struct worker *worker, struct lane *lane);
/* Takes a frame aboard the convoy of a lane, or drops it. */
void worker_load(struct worker *worker, struct lane *lane, struct frame *frame);
/* Sends off what can leave now; the receiver is told if that is due until then. */
void worker_depart(struct worker *worker, struct lane *lane, uint64_t until_ns);
/* Ends the lane's frames that came from `source` (NULL: all), counted under `reason`. True: some of
 * them were meant for this port alone. */
bool worker_purge_lane(struct worker *worker, struct lane *lane, const struct port_queue *source,
                       enum drop_reason reason);
/* The queue has something to settle. */
void worker_mark_dirty(struct worker *worker, struct port_queue *queue);
/* Publishes what was given back to sources in this round. */
void worker_settle(struct worker *worker);

/* worker_hold.c */

/* What came for the lane is told to its controller, which derives a new rule now and then. */
void worker_inform_controller(struct worker *worker, struct lane *lane);
/* The first `count` frames aboard (at least one) have just been delivered; the first `alike` of
 * them arrived together, and none of these is a row. Returns the packets that all were when they
 * arrived.
 */
unsigned worker_note_residence(struct worker *worker, struct lane *lane, unsigned count,
                               unsigned alike);
/* Looks whether guests that were called have looked since. */
void worker_look_for_answers(struct worker *worker);
/* Answers are no longer watched for: of one port (its rings may go), or of all (NULL). */
void worker_forget_answers(struct worker *worker, const struct port *port);
/* Frames were taken from the queue: derives anew how its kicks are grouped. */
void worker_note_taken(struct worker *worker, struct port_queue *queue, unsigned count);
/* Frames are being given back to a queue whose sender is told of several at a time. */
void worker_note_given_back(struct worker *worker, struct port_queue *queue,
                            struct frame *const *frames, unsigned count);
/* The sender is told of what was given back: now, or when its rule says so. */
void worker_tell_sender(struct worker *worker, struct port_queue *queue);
void worker_tell_sender_in_time(struct worker *worker, struct port_queue *queue);
/* The sender is told of everything; from now on it is told at once. */
void worker_forget_sender(struct worker *worker, struct port_queue *queue);
/* Tells those senders whose time comes until then. */
void worker_tell_senders(struct worker *worker, uint64_t until_ns);

/* worker_sleep.c */

int worker_sleep_init(struct worker *worker) CV_MUST_CHECK;
void worker_sleep_uninit(struct worker *worker);
/* Learns how late timers wake this thread; takes a millisecond. */
void worker_learn_wake(struct worker *worker);
void worker_watch_queue(struct worker *worker, struct port_queue *queue);
void worker_unwatch_queue(struct worker *worker, struct port_queue *queue);
/* Looks at the queue in every round from now on. */
void worker_poll_queue(struct worker *worker, struct port_queue *queue);
/* The queue rests no more: frames of it were found, or its time is over. */
void worker_end_rest(const struct worker *worker, struct port_queue *queue);
/* After a round that moved something: looks for wake-ups now and then. */
void worker_glance(struct worker *worker);
/* After a round that moved nothing, or all that was to be had of dense queues: arms queues that
 * were idle for long or are dense, sleeps when all are armed. */
void worker_rest(struct worker *worker);
/* Any thread: makes a sleeping worker look. */
void worker_wake(struct worker *worker);

/* worker_exchange.c */

int worker_exchange_init(struct worker *worker) CV_MUST_CHECK;
void worker_exchange_uninit(struct worker *worker);
/* Hands the lane's frames to the worker that serves its queue: one publication for all. */
void worker_hand_over(struct worker *worker, struct lane *lane);
/* Takes what peers handed over, and what came back from them. True: there was something. */
bool worker_take_handed_over(struct worker *worker);
/* Gives a frame of a peer back to it. */
void worker_hand_back(struct worker *worker, struct frame *frame);
/* Shows peers what was handed back to them. */
void worker_publish_handed_back(struct worker *worker);
bool worker_has_handed_over(const struct worker *worker);

/* worker_control.c: called by the control thread */

/* Prepares a worker whose id, bridge, peers, poll_ns and cpu are set; its descriptors are -1.
 * Negative errno. */
int worker_init(struct worker *worker) CV_MUST_CHECK;
void worker_uninit(struct worker *worker);
/* Starts the thread, once all peers are prepared. Negative errno. */
int worker_start(struct worker *worker) CV_MUST_CHECK;
void worker_stop(struct worker *worker);
/* Has `step` carried out between bursts, and waits for it. */
void worker_call(struct worker *worker, bool (*step)(struct worker *worker, void *context),
                 void *context);
/* Steps for worker_call; context is a struct port. */
bool worker_step_pause(struct worker *worker, void *port);
bool worker_step_purge(struct worker *worker, void *port);
bool worker_step_settled(struct worker *worker, void *port);
bool worker_step_attach(struct worker *worker, void *port);
bool worker_step_remove(struct worker *worker, void *port);
bool worker_step_set_hold(struct worker *worker, void *port);
/* Context: the struct port_status of the port; adds to its frames_waiting. */
bool worker_step_count_waiting(struct worker *worker, void *status);
/* Context: struct worker_tuning_request; fills what this worker knows. */
bool worker_step_read_tuning(struct worker *worker, void *request);

struct worker_tuning_request {
    const struct port *port;
    struct port_tuning *tuning; /* of switch/vswitch.h */
};

#endif

/*
 * What bench_open.c sets up and bench_run.c runs. While threads run, a thread writes its senders
 * and receivers and their guests' checkers; the thread of bench_run writes the plan of a phase
 * before it announces the phase; counts are read by anybody.
 */
#ifndef CONVOY_BENCH_BENCH_STATE_H
#define CONVOY_BENCH_BENCH_STATE_H

#include <pthread.h>
#include <sched.h>

#include "bench_receiver.h"
#include "bench_run.h"
#include "bench_sender.h"

struct bench_guest {
    struct front_end fe;
    bool is_open;
    bool sends, receives;
    bool is_heard;                  /* by another guest, once */
    struct bench_frames frames;     /* where it sends */
    struct traffic_source *sources; /* verify and sends: by flow */
    struct traffic_checker checker; /* verify and receives */
    bool has_checker;
};

/* What the threads do; every thread acknowledges a phase in which nothing is sent. */
enum bench_phase {
    BENCH_PHASE_REST,    /* take what comes, send nothing */
    BENCH_PHASE_WARM_UP, /* send */
    BENCH_PHASE_READY,   /* begin to count anew; take what comes, send nothing */
    BENCH_PHASE_MEASURE, /* send from from_ns to to_ns, note the counts, then rest */
    BENCH_PHASE_END,
};

struct bench_thread {
    struct bench *bench;
    unsigned index;
    pthread_t thread;
    bool is_started;
    unsigned phase;       /* number of the phase that it is in; atomic */
    bool is_measured;     /* it has noted its counts; atomic */
    uint64_t measured_ns; /* from from_ns until it did */
    uint64_t looked_ns;   /* BENCH_PHASE_REST: of its last turn; atomic */
};

struct bench {
    struct bench_options options;
    struct bench_guest *guests;
    struct bench_sender *senders;
    unsigned sender_count;
    struct bench_receiver *receivers;
    unsigned receiver_count;
    unsigned flow_count; /* of each sending guest */
    struct bench_thread threads[BENCH_THREADS_MAX];
    unsigned thread_count;
    uint8_t thread_of[BENCH_GUESTS_MAX]; /* which thread drives a guest */
    bool is_broken; /* a guest hung or a thread was lost: only bench_close is left */
    unsigned run_count;
    int sched_policy; /* of the caller of bench_run, and of the threads */
    struct sched_param sched_param;
    /* the plan */
    enum bench_phase phase;
    unsigned phase_number;   /* atomic; rises when all else of the plan is set */
    uint64_t from_ns, to_ns; /* of BENCH_PHASE_MEASURE; to_ns atomic, since it may come early, and
                                it stays */
    uint64_t step_ns;        /* when options.then begins; 0 */
    uint64_t started_ns;     /* of the run; atomic */
    /* noted at to_ns, by guest */
    struct bench_guest_result noted[BENCH_GUESTS_MAX];
    uint64_t noted_sent_bytes[BENCH_GUESTS_MAX], noted_late[BENCH_GUESTS_MAX];
    /* the first thing that went wrong in a thread */
    pthread_mutex_t lock;
    bool has_failed; /* atomic */
    int failure;
    struct error failure_text;
};

/* The other guests that guest `guest` sends to; returns how many. */
unsigned bench_destinations(const struct bench_options *options, unsigned guest,
                            unsigned ret_guests[BENCH_GUESTS_MAX]);
/* Those that send to it: *ret_first and those behind; returns how many. */
unsigned bench_sources(const struct bench_options *options, unsigned guest, unsigned *ret_first);

/* True once bench_interrupt was called. */
bool bench_is_interrupted(void);

/* Guests that send nothing are heard once more: a switch forgets who is silent. */
int bench_announce_again(struct bench *bench, struct error *error) CV_MUST_CHECK;

#endif

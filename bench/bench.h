/*
 * convoy-bench: synthetic guests at any vhost-user switch, and what they measure.
 *
 * How it works: each guest is a front end (front/front_end.h) with rings of its own. Before the
 * start every descriptor is written once and every transmit slot gets its frame (frames.h); from
 * then on only ring indices move, and the few bytes of a frame that carry its number and time
 * (stamp.h). So the guests cost a few nanoseconds a packet, and the switch is the limit. Guests are
 * dealt out to threads (options.cpus); a thread drives its guests in turn and never sleeps: what is
 * due is sent, what has arrived is taken.
 *
 * The parts:
 *   bench_options.[ch]  words of the command line to struct bench_options, and the help
 *   frames.[ch]         what is sent: sizes, flows, kinds, captures; the check of what arrives
 *   lean_ring.[ch]      a front_ring whose descriptors stay as they are
 *   bench_run.[ch]      guests, threads, one measured run
 *   search.[ch]         the highest rate without loss, by many runs (RFC 2544, 26.1)
 *   process_cost.[ch]   what the switch's process costs: processor time, memory
 *   report.[ch]         a result as lines for people, JSON and CSV
 *   main.c              the order of it all
 */
#ifndef CONVOY_BENCH_BENCH_H
#define CONVOY_BENCH_BENCH_H

#include "base/error.h"
#include "base/histogram.h"
#include "traffic.h"

enum {
    BENCH_GUESTS_MAX = 256,
    BENCH_PAIRS_MAX = 8,
    BENCH_THREADS_MAX = 64,
    BENCH_FLOWS_MAX = 1024, /* of each sending guest */
    BENCH_SIZE_MIN = 60,    /* bytes of a frame, without the frame check sequence */
    BENCH_SIZE_MAX = 65549, /* a super-packet: 65535 bytes of IP and an Ethernet header */
    BENCH_MTU_FRAME = 1518, /* frames beyond are super-packets */
    BENCH_RING_MAX = 32768,
    BENCH_BURST_MAX = 1024,
};

/* Who sends to whom; guests are numbered from 0 in the order of their sockets. */
enum bench_pattern {
    BENCH_PAIRS,   /* 2n to 2n + 1 */
    BENCH_BOTH,    /* 2n and 2n + 1 to each other */
    BENCH_RING,    /* n to n + 1, the last to the first */
    BENCH_FAN_IN,  /* all others to 0 */
    BENCH_FAN_OUT, /* 0 to all others in turn */
};

/* How a guest learns that something has arrived. */
enum bench_receive {
    BENCH_POLL, /* looks at the used index without end and never asks for a call */
    BENCH_CALL, /* as Linux's NAPI: asks for a call when its ring is empty, looks again after it */
};

enum bench_sizes { BENCH_FIXED, BENCH_IMIX, BENCH_CAPTURE };

struct bench_options {
    const char *sockets[BENCH_GUESTS_MAX]; /* paths */
    bool listens[BENCH_GUESTS_MAX];        /* "listen:PATH": the switch connects */
    unsigned guest_count;
    unsigned pairs;     /* queue pairs of each guest; default 1 */
    unsigned ring_size; /* entries; default 1024 */
    enum bench_pattern pattern;
    enum bench_receive receive;
    enum traffic_kind kind; /* of the frames: TRAFFIC_UDP4 ... TRAFFIC_TCP6 */
    enum bench_sizes sizes;
    unsigned size_bytes;      /* BENCH_FIXED: of the frame, without FCS */
    const char *capture_path; /* BENCH_CAPTURE */
    unsigned flows;           /* of each sending guest; default 1 */
    bool offloads;            /* negotiate checksum and segmentation offloads; for super-packets */
    bool mergeable;           /* negotiate MRG_RXBUF; default true */
    bool verify;              /* numbered frames, each checked whole on arrival; slower */
    const char *arrivals; /* front/arrivals.h, total of all senders; NULL: as fast as possible */
    const char *then;     /* arrivals from half of the time on; NULL: the same */
    uint64_t duration_ns; /* of the measured part; default 3 s */
    uint64_t warm_up_ns;  /* before it; default 0.5 s */
    unsigned sample;      /* delay is measured of every n-th frame, or of as many more as are
                             needed to meet every flow; default 16, 1: each */
    unsigned burst;       /* frames sent to a ring at most before others have their turn; 32 */
    unsigned cpus[BENCH_THREADS_MAX]; /* one thread on each */
    unsigned cpu_count;               /* 0: one thread, wherever the system puts it */
    int switch_pid;                   /* 0: not known */
    bool search;                      /* for the highest rate with at most `loss_max` lost */
    double loss_max;                  /* share, default 0 */
    bool quiet;                       /* no progress line */
    const char *json_path, *csv_path; /* "-": standard output; NULL: none */
    const char *label;                /* first column of CSV, member of JSON; default "" */
    int timeout_ms;                   /* for a guest that hangs; default 10000 */
};

/* What one guest has seen in the measured part. */
struct bench_guest_result {
    uint64_t sent;           /* frames published (packets, where super-packets count as many) */
    uint64_t received;       /* likewise */
    uint64_t received_bytes; /* of frames, without FCS; super-packets as if cut */
    uint64_t kicks;          /* that the switch wanted and got */
    uint64_t calls;          /* that the switch made */
    double received_pps;
};

struct bench_result {
    double seconds; /* measured part, as long as it was */
    double offered; /* packets per second that the arrivals asked for; 0: as fast as possible */
    uint64_t sent, received, sent_bytes, received_bytes;
    uint64_t lost;   /* sent and not received, when all is drained; not below 0 */
    uint64_t late;   /* sent 5 us or more behind their time */
    uint64_t unsent; /* packets due in the measured part that had not gone when it was over */
    uint64_t kicks, calls;
    double fairness;           /* Jain's index over the guests that are sent to */
    struct histogram delay_ns; /* from when a frame was due (or published, as fast as possible)
                                  until the receiver knew of it */
    double jitter_ns;          /* RFC 3550, 6.4.1; the mean over flows that were sampled */
    uint64_t altered, reordered, doubled; /* --verify */
    char first_wrong[256];
    uint64_t switch_cpu_ns; /* of the switch's process; 0: not known */
    double switch_seconds;  /* in which it had that: the measured part, but for waking up */
    uint64_t switch_rss_bytes, switch_rss_peak_bytes;
    unsigned guest_count;
    struct bench_guest_result guests[BENCH_GUESTS_MAX];
    uint64_t features; /* virtio, as negotiated with the first guest */
    char features_text[256];
    uint64_t step_ns;      /* CLOCK_MONOTONIC when options.then began; 0 */
    uint64_t missed_calls; /* asked for by a guest that is called, and not there after 200 ms */
    uint64_t out_of_order; /* buffers that the switch gave back before older ones */
};

#endif

/*
 * Frees a worker that hangs in a system call. There is one such call on the packet's way that a
 * peer can make block: the write to its eventfd, when it clears O_NONBLOCK on the descriptor that
 * both sides share and fills the counter. The watchdog sends the worker a signal, the call ends
 * with EINTR, and the port that owns the descriptor is stopped.
 *
 * It ticks only while some worker is awake: the first worker that wakes up afterwards starts it
 * again, so that an idle switch has no timer.
 *
 * Thread: control, but for watchdog_notice.
 */
#ifndef CONVOY_SWITCH_WATCHDOG_H
#define CONVOY_SWITCH_WATCHDOG_H

#include "base/error.h"
#include "base/reactor.h"
#include "base/limits.h"

struct worker;

/* How long a worker may take for one round before it is taken to hang. */
#define WORKER_HANG_NS UINT64_C(100000000)

struct watchdog {
    struct reactor *reactor;
    struct reactor_watch watch; /* eventfd: a worker has woken up */
    struct reactor_timer timer;
    bool is_resting; /* atomic: no timer is set; whoever wakes up must say so */
    unsigned worker_count;
    struct worker *workers;
    uint64_t rounds_seen[WORKERS_MAX]; /* how far each worker was at the last tick */
};

/* Negative errno with a sentence. */
int watchdog_init(struct watchdog *watchdog, struct reactor *reactor, struct worker *workers,
                  unsigned worker_count, struct error *error) CV_MUST_CHECK;
void watchdog_uninit(struct watchdog *watchdog);

/* Ends the system call that a worker may hang in; harmless when it does not. */
void watchdog_interrupt(const struct worker *worker);

/* Any worker, when it has slept. */
void watchdog_notice(struct watchdog *watchdog);

#endif

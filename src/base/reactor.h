/*
 * The control thread's event loop: callbacks for file descriptors and one-shot timers. It sleeps in
 * the kernel until something happens; with no timer set it sets none there either.
 *
 * Thread: everything here belongs to the thread that calls reactor_run.
 */
#ifndef CONVOY_BASE_REACTOR_H
#define CONVOY_BASE_REACTOR_H

#include <sys/epoll.h>

#include "base/compiler.h"

struct reactor;

/* A watched descriptor. The caller owns the struct and the descriptor. */
struct reactor_watch {
    int fd;
    void (*ready)(struct reactor_watch *watch, uint32_t epoll_events);
};

/* A timer that fires once. The caller owns the struct; zero-initialised it is not set. */
struct reactor_timer {
    void (*expired)(struct reactor_timer *timer);
    uint64_t due_ns;
    bool is_set;
    struct reactor_timer *next;  /* in the reactor's list ... */
    struct reactor_timer **link; /* ... and what points to it there */
};

struct reactor *reactor_new(void);
void reactor_free(struct reactor *reactor);

/* Watches `watch->fd` for `epoll_events` (level triggered). Negative errno from epoll_ctl. */
int reactor_add(struct reactor *reactor, struct reactor_watch *watch,
                uint32_t epoll_events) CV_MUST_CHECK;
int reactor_modify(struct reactor *reactor, struct reactor_watch *watch,
                   uint32_t epoll_events) CV_MUST_CHECK;
/* Stops watching; call before the descriptor is closed. Safe from any callback: `ready` of this
 * watch is not called any more, also if it was ready already. */
void reactor_remove(struct reactor *reactor, struct reactor_watch *watch);

/* Sets a timer, or moves it if it is set. */
void reactor_timer_set(struct reactor *reactor, struct reactor_timer *timer, uint64_t due_ns);
void reactor_timer_clear(struct reactor_timer *timer);

/* Runs until reactor_stop. */
int reactor_run(struct reactor *reactor) CV_MUST_CHECK;
void reactor_stop(struct reactor *reactor);

#endif

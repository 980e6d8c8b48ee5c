#include "base/reactor.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

enum { EVENTS_PER_WAIT_MAX = 64 };

struct reactor {
    int epoll_fd;
    bool stopped;
    struct reactor_timer *timers; /* those that are set, in no order: they are few */
    struct epoll_event events[EVENTS_PER_WAIT_MAX]; /* what the last wait returned */
    int event_count;
};

struct reactor *reactor_new(void)
{
    struct reactor *reactor = calloc(1, sizeof(*reactor));

    if (!reactor)
        return NULL;
    reactor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (reactor->epoll_fd < 0) {
        free(reactor);
        return NULL;
    }
    return reactor;
}

void reactor_free(struct reactor *reactor)
{
    if (!reactor)
        return;
    close(reactor->epoll_fd);
    free(reactor);
}

static int reactor_control(struct reactor *reactor, int operation, struct reactor_watch *watch,
                           uint32_t epoll_events)
{
    struct epoll_event event = {.events = epoll_events, .data.ptr = watch};

    return epoll_ctl(reactor->epoll_fd, operation, watch->fd, &event) < 0 ? -errno : 0;
}

int reactor_add(struct reactor *reactor, struct reactor_watch *watch, uint32_t epoll_events)
{
    return reactor_control(reactor, EPOLL_CTL_ADD, watch, epoll_events);
}

int reactor_modify(struct reactor *reactor, struct reactor_watch *watch, uint32_t epoll_events)
{
    return reactor_control(reactor, EPOLL_CTL_MOD, watch, epoll_events);
}

void reactor_remove(struct reactor *reactor, struct reactor_watch *watch)
{
    (void)reactor_control(reactor, EPOLL_CTL_DEL, watch, 0);
    /* Events of this round that were not handed out yet must not reach a watch that may be freed.
     */
    for (int i = 0; i < reactor->event_count; i++)
        if (reactor->events[i].data.ptr == watch)
            reactor->events[i].data.ptr = NULL;
}

void reactor_timer_set(struct reactor *reactor, struct reactor_timer *timer, uint64_t due_ns)
{
    reactor_timer_clear(timer);
    timer->due_ns = due_ns;
    timer->is_set = true;
    timer->next = reactor->timers;
    timer->link = &reactor->timers;
    if (timer->next)
        timer->next->link = &timer->next;
    reactor->timers = timer;
}

void reactor_timer_clear(struct reactor_timer *timer)
{
    if (!timer->is_set)
        return;
    *timer->link = timer->next;
    if (timer->next)
        timer->next->link = timer->link;
    timer->is_set = false;
}

static struct reactor_timer *reactor_next_timer(struct reactor *reactor)
{
    struct reactor_timer *next = NULL;

    for (struct reactor_timer *timer = reactor->timers; timer; timer = timer->next)
        if (!next || timer->due_ns < next->due_ns)
            next = timer;
    return next;
}

/* Fires what is due; returns the milliseconds to the next timer, rounded up, or -1 for none. */
static int reactor_run_timers(struct reactor *reactor)
{
    struct reactor_timer *timer;

    while (!reactor->stopped && (timer = reactor_next_timer(reactor))) {
        uint64_t now_ns = clock_now_ns();

        if (timer->due_ns > now_ns)
            return (int)CV_MIN((timer->due_ns - now_ns + 999999) / 1000000, (uint64_t)1000000);
        reactor_timer_clear(timer);
        timer->expired(timer);
    }
    return -1;
}

int reactor_run(struct reactor *reactor)
{
    while (!reactor->stopped) {
        int timeout_ms = reactor_run_timers(reactor);

        if (reactor->stopped)
            break;
        reactor->event_count =
            epoll_wait(reactor->epoll_fd, reactor->events, EVENTS_PER_WAIT_MAX, timeout_ms);
        if (reactor->event_count < 0 && errno != EINTR)
            return -errno;
        for (int i = 0; i < reactor->event_count; i++) {
            struct reactor_watch *watch = reactor->events[i].data.ptr;

            if (watch)
                watch->ready(watch, reactor->events[i].events);
        }
        reactor->event_count = 0;
    }
    return 0;
}

void reactor_stop(struct reactor *reactor)
{
    reactor->stopped = true;
}

#include "switch/watchdog.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "switch/worker.h"

static bool is_asleep(const struct worker *worker)
{
    return __atomic_load_n(&worker->is_asleep, __ATOMIC_SEQ_CST);
}

static void set_timer(struct watchdog *watchdog)
{
    for (unsigned i = 0; i < watchdog->worker_count; i++)
        watchdog->rounds_seen[i] = __atomic_load_n(&watchdog->workers[i].rounds, __ATOMIC_RELAXED);
    reactor_timer_set(watchdog->reactor, &watchdog->timer, clock_now_ns() + WORKER_HANG_NS);
}

static bool all_asleep(const struct watchdog *watchdog)
{
    for (unsigned i = 0; i < watchdog->worker_count; i++)
        if (!is_asleep(&watchdog->workers[i]))
            return false;
    return true;
}

void watchdog_interrupt(const struct worker *worker)
{
    (void)pthread_kill(worker->thread, SIGUSR1);
}

static void tick(struct reactor_timer *timer)
{
    struct watchdog *watchdog = CV_CONTAINER_OF(timer, struct watchdog, timer);

    for (unsigned i = 0; i < watchdog->worker_count; i++) {
        struct worker *worker = &watchdog->workers[i];
        uint64_t rounds = __atomic_load_n(&worker->rounds, __ATOMIC_RELAXED);

        if (!is_asleep(worker) && rounds == watchdog->rounds_seen[i])
            watchdog_interrupt(worker);
    }
    __atomic_store_n(&watchdog->is_resting, true, __ATOMIC_SEQ_CST);
    /* A worker that woke up before it could see that we rest must be seen by us now. */
    if (all_asleep(watchdog))
        return;
    __atomic_store_n(&watchdog->is_resting, false, __ATOMIC_SEQ_CST);
    set_timer(watchdog);
}

static void woken(struct reactor_watch *watch, uint32_t epoll_events)
{
    struct watchdog *watchdog = CV_CONTAINER_OF(watch, struct watchdog, watch);
    uint64_t count;

    (void)epoll_events;
    (void)!read(watch->fd, &count, sizeof(count));
    if (!watchdog->timer.is_set)
        set_timer(watchdog);
}

/* It has nothing to do: that a system call ends early is all that is wanted. */
static void interrupt(int signal_number)
{
    (void)signal_number;
}

int watchdog_init(struct watchdog *watchdog, struct reactor *reactor, struct worker *workers,
                  unsigned worker_count, struct error *error)
{
    struct sigaction action = {.sa_handler = interrupt}; /* and not SA_RESTART */
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int result;

    *watchdog = (struct watchdog){.reactor = reactor,
                                  .watch = {fd, woken},
                                  .timer = {.expired = tick},
                                  .is_resting = true,
                                  .worker_count = worker_count,
                                  .workers = workers};
    if (fd < 0 || sigaction(SIGUSR1, &action, NULL) < 0)
        return error_set(error, -errno, "cannot prepare the watchdog: %s", strerror(errno));
    result = reactor_add(reactor, &watchdog->watch, EPOLLIN);
    return result < 0 ? error_set(error, result, "cannot watch an eventfd: %s", strerror(-result))
                      : 0;
}

void watchdog_uninit(struct watchdog *watchdog)
{
    if (!watchdog->reactor || watchdog->watch.fd < 0)
        return;
    reactor_timer_clear(&watchdog->timer);
    reactor_remove(watchdog->reactor, &watchdog->watch);
    close(watchdog->watch.fd);
}

void watchdog_notice(struct watchdog *watchdog)
{
    static const uint64_t one = 1;

    if (__atomic_load_n(&watchdog->is_resting, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&watchdog->is_resting, false, __ATOMIC_SEQ_CST))
        (void)!write(watchdog->watch.fd, &one, sizeof(one));
}

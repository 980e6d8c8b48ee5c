/*
 * When a worker rests. A queue that has had no frames for a while is armed: its guest is asked to
 * kick, or for one kick for several frames when its traffic tells that they come soon; then it is
 * looked at once more in time. The while is at most the worker's poll_ns. It is shorter for a queue
 * whose kicks have shown that it is silent for longer as a rule: polling it would find nothing, and
 * would take a processor that a guest may need. And it is shorter while traffic comes in bulk
 * (convoy/bulk.h). A queue whose traffic is dense may rest although it had frames a moment ago:
 * asked for one kick for a convoy. When no queue is left to poll, the thread sleeps in epoll until
 * a kick, a request of another thread, or the moment at which a convoy is due. With no convoy
 * waiting there is no timer, so an idle switch uses no processor time at all.
 *
 * Descriptors are watched for edges: every kick is an event of its own, and nobody has to read
 * the eventfd to clear it.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "switch/worker.h"

/* How long a busy worker goes on before it looks whether armed queues have been kicked. */
#define GLANCE_NS UINT64_C(10000)

/* A dense queue that did not kick in time (a sender that waits for answers before it goes on) is
 * polled for so long before it is tried again. */
#define RESTLESS_NS UINT64_C(500000)

enum {
    EVENTS_PER_WAIT_MAX = 64,
    REST_PACKETS_MIN = 16, /* fewer are no reason to sleep while more come */
    REST_BURST_SHARE = 4,  /* who finds more than this part of them is behind */
    POLL_SHARE_MIN = 8,    /* a queue is polled for this part of poll_ns, or not at all */
};

/* What is learnt of the thread's own wake-ups: means over about so many of them. A wake-up that
 * comes later than this was not late, the thread was kept from running. */
enum { MEAN_SAMPLES = 16 };
#define WAKE_S_MAX        100e-6
#define LEARNING_SLEEP_NS UINT64_C(50000)
#define LEARN_AGAIN_NS    UINT64_C(100000000)

static_assert(HOLD_PACKETS_MAX / REST_BURST_SHARE < BURST_FRAMES_MAX,
              "a queue that pays its debt is never taken for one without frames");

/* An event names its queue; the lowest bit of the pointer says which direction. */
enum { WAKE_FROM = 0, WAKE_TO = 1 };

int worker_sleep_init(struct worker *worker)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0};

    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (worker->epoll_fd < 0 || worker->wake_fd < 0 ||
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0)
        return -errno;
    return 0;
}

void worker_sleep_uninit(struct worker *worker)
{
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
}

static void watch(struct worker *worker, struct port_queue *queue, int fd, unsigned direction)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET,
                                .data.u64 = (uintptr_t)queue | direction};

    if (fd >= 0 && epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        log_warning("%s: its kick descriptor cannot be watched: %s", queue->port->config.name,
                    strerror(errno));
}

/* A watch reports at once what the eventfd counted before, which nobody ever reads. */
static void forget_kicks(const struct port_queue *queue)
{
    uint64_t count;
    struct iovec place = {&count, sizeof(count)};

    (void)!preadv2(queue->wake_from_fd, &place, 1, -1, RWF_NOWAIT);
}

void worker_watch_queue(struct worker *worker, struct port_queue *queue)
{
    if (queue->waits_for_kick)
        forget_kicks(queue);
    if (queue->can_receive)
        watch(worker, queue, queue->wake_from_fd, WAKE_FROM);
    if (queue->can_deliver)
        watch(worker, queue, queue->wake_to_fd, WAKE_TO);
}

void worker_unwatch_queue(struct worker *worker, struct port_queue *queue)
{
    if (queue->can_receive && queue->wake_from_fd >= 0)
        (void)epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, queue->wake_from_fd, NULL);
    if (queue->can_deliver && queue->wake_to_fd >= 0)
        (void)epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, queue->wake_to_fd, NULL);
}

void worker_poll_queue(struct worker *worker, struct port_queue *queue)
{
    if (!queue->can_receive)
        return;
    /* Also one that is polled: what it kicked for may have come after it was last looked at. */
    queue->port->ops->disarm_from(queue);
    if (queue->is_polled)
        return;
    queue->is_polled = true;
    queue->active_ns = worker->now_ns;
    worker->polled[worker->polled_count++] = queue;
}

/* The queue has kicked, or its time has come: it is polled like the others again. */
static void end_grouping(struct worker *worker, struct port_queue *queue)
{
    queue->look_ns = 0;
    queue->port->ops->disarm_from(queue);
    queue->active_ns = worker->now_ns;
}

/*
 * A kick tells how long the queue was silent: polling would have found its frame; or polling has
 * found nothing since the kick before, which is known only of a worker that slept: a busy one sees
 * kicks late.
 */
static void learn_silence(const struct worker *worker, struct port_queue *queue)
{
    uint64_t late_ns = (uint64_t)(worker->wake_s * 1e9);

    if (worker->now_ns - queue->active_ns <= worker->poll_ns + late_ns)
        queue->poll_ns = worker->poll_ns;
    else if (worker->is_asleep && !queue->look_ns && queue->bursts - queue->bursts_at_kick < 2)
        queue->poll_ns = queue->poll_ns > worker->poll_ns / POLL_SHARE_MIN ? queue->poll_ns / 2 : 0;
    queue->bursts_at_kick = queue->bursts;
}

static void woken(struct worker *worker, const struct epoll_event *event)
{
    struct port_queue *queue = (struct port_queue *)(uintptr_t)(event->data.u64 & ~UINT64_C(1));
    uint64_t count;

    if (!queue) {
        (void)!read(worker->wake_fd, &count, sizeof(count));
        return;
    }
    counter_add(&queue->counters->kicks, 1);
    /* Room to deliver needs no more than a round: blocked convoys are tried in each. */
    if ((event->data.u64 & 1) != WAKE_FROM)
        return;
    if (queue->look_ns || !queue->is_polled)
        learn_silence(worker, queue);
    if (queue->look_ns)
        end_grouping(worker, queue);
    worker_poll_queue(worker, queue);
}

/* Looks at the descriptors, for `timeout` (NULL: until something happens). True: it has. */
static bool look(struct worker *worker, const struct timespec *timeout)
{
    struct epoll_event events[EVENTS_PER_WAIT_MAX];
    int count = epoll_pwait2(worker->epoll_fd, events, EVENTS_PER_WAIT_MAX, timeout, NULL);

    worker->now_ns = worker->looked_ns = clock_now_ns();
    for (int i = 0; i < count; i++)
        woken(worker, &events[i]);
    return count > 0;
}

/*
 * Of a queue whose traffic is dense: for how many frames it may be asked to kick at once, although
 * it had some a moment ago. Polling finds them a few at a time, and takes the whole processor for
 * it; asleep until there is a convoy of them, the worker takes what they cost. Half of T is left
 * for chance. 0: so few come within that that they are not worth a kick and a wake-up, or so many
 * were just found that the worker is behind.
 */
static unsigned dense_packets(const struct worker *worker, const struct port_queue *queue)
{
    const struct hold_rule *rule = &queue->kick_rule;
    unsigned packets = CV_MIN(rule->packets_max, queue->kicks_max);
    double expected;

    if (rule->time_max_ns == 0 || queue->last_burst > packets / REST_BURST_SHARE ||
        queue->look_ns || !queue->groups_kicks || worker->now_ns < queue->restless_until_ns)
        return 0;
    expected = queue->arrivals.rate * (double)rule->time_max_ns / 2e9;
    packets = (unsigned)CV_MIN(expected, (double)packets);
    return packets >= REST_PACKETS_MIN && queue->last_burst <= packets / REST_BURST_SHARE ? packets
                                                                                          : 0;
}

/*
 * Asks the guest for a kick. One whose traffic is dense is asked for one for a convoy of frames;
 * one that has been idle for long and soon sends more, as its traffic tells, first for one for
 * several frames; both are looked at once more in time. The others, and whoever kept silent till
 * then, for a kick for the next frame. True: it is asked, and it will kick.
 */
static bool arm_queue(struct worker *worker, struct port_queue *queue, unsigned dense)
{
    const struct hold_rule *rule = &queue->kick_rule;
    bool may_group = !queue->look_ns && queue->groups_kicks && rule->time_max_ns > 0;
    unsigned packets = 1;

    if (dense > 0)
        packets = dense;
    else if (may_group)
        packets = CV_MIN(rule->packets_max, queue->owed_max);
    worker_end_rest(worker, queue);
    if (queue->port->ops->arm_from(queue, packets)) {
        end_grouping(worker, queue);
        return false;
    }
    queue->look_ns = may_group ? worker->now_ns + rule->time_max_ns : 0;
    queue->is_resting = dense > 0;
    if (queue->is_resting)
        queue->kick_due_ns = worker->now_ns + (uint64_t)(dense * 1e9 / queue->arrivals.rate);
    return true;
}

void worker_end_rest(const struct worker *worker, struct port_queue *queue)
{
    if (queue->is_resting && queue->look_ns && worker->now_ns >= queue->look_ns)
        queue->restless_until_ns = worker->now_ns + RESTLESS_NS;
    queue->is_resting = false;
}

/*
 * A look was in vain. While traffic comes in bulk, a worker that is woken interrupts no guest that
 * runs: the sender that has just kicked has more to send, the receiver is not done with what it
 * has, and the convoy grows meanwhile. Else it is woken for single packets, whose way must not
 * wait until a guest that computes has used up its slice.
 */
static void note_silence(struct worker *worker)
{
    static const struct sched_param none;

    bulk_silent(&worker->bulk, worker->now_ns);
    if (CV_LIKELY(worker->bulk.is_bulk == worker->defers) || !worker->may_defer)
        return;
    worker->defers = worker->bulk.is_bulk;
    (void)sched_setscheduler(0, worker->defers ? SCHED_BATCH : SCHED_OTHER, &none);
}

/* A thread that is bound has the processor that it was given, and polls it as it was told. */
static uint64_t poll_ns(const struct worker *worker, const struct port_queue *queue)
{
    return worker->cpu < 0 ? bulk_poll_ns(&worker->bulk, queue->poll_ns) : queue->poll_ns;
}

/* Arms what was idle for long, and, when there is nothing else to do (`may_rest`), what is dense.
 * True: something is still worth polling. */
static bool arm_idle_queues(struct worker *worker, bool may_rest)
{
    bool is_polling = false;
    unsigned kept = 0;

    worker->kick_due_ns = UINT64_MAX;
    worker->look_due_ns = UINT64_MAX;
    for (unsigned i = 0; i < worker->polled_count; i++) {
        struct port_queue *queue = worker->polled[i];
        unsigned dense = may_rest ? dense_packets(worker, queue) : 0;
        bool is_idle = !queue->is_held_back &&
                       (dense > 0 || worker->now_ns - queue->active_ns >= poll_ns(worker, queue));

        if (is_idle && worker->now_ns >= queue->look_ns && arm_queue(worker, queue, dense) &&
            !queue->look_ns) {
            queue->is_polled = false;
            continue;
        }
        worker->polled[kept++] = queue;
        /* What a queue that is held back waits for is with other ports, whose kicks or patience
         * end the sleep. */
        if (queue->is_held_back)
            continue;
        if (queue->is_resting)
            worker->kick_due_ns = CV_MIN(worker->kick_due_ns, queue->kick_due_ns);
        if (queue->look_ns)
            worker->look_due_ns = CV_MIN(worker->look_due_ns, queue->look_ns);
        else
            is_polling = true;
    }
    worker->polled_count = kept;
    return is_polling;
}

static void glance(struct worker *worker)
{
    static const struct timespec no_time;
    uint64_t started_ns = clock_now_ns();

    if (!look(worker, &no_time))
        worker->look_s +=
            ((double)(worker->now_ns - started_ns) / 1e9 - worker->look_s) / MEAN_SAMPLES;
}

/* Nothing but a few frames of dense queues is to be had by going on. */
static bool may_rest(const struct worker *worker)
{
    for (unsigned i = 0; i < worker->polled_count; i++) {
        const struct port_queue *queue = worker->polled[i];

        if (queue->is_held_back || (!queue->look_ns && dense_packets(worker, queue) == 0))
            return false;
    }
    return worker->polled_count > 0;
}

void worker_glance(struct worker *worker)
{
    if (may_rest(worker)) {
        worker_rest(worker);
        return;
    }
    if (worker->now_ns - worker->looked_ns < GLANCE_NS)
        return;
    /* Beside busy queues idle ones must not be polled for ever. */
    (void)arm_idle_queues(worker, false);
    glance(worker);
}

/* Asks guests that are short of buffers for a kick. True: one has posted some meanwhile. */
static bool arm_blocked_lanes(struct worker *worker)
{
    bool has_room = false;

    for (unsigned i = 0; i < worker->open_count; i++) {
        const struct lane *lane = worker->open[i];

        /* While the port is paused its rings may be gone. */
        if (lane->convoy.blocked_since_ns && lane->outlet->state == OUTLET_UP &&
            lane->queue->worker == worker->id)
            has_room |= lane->queue->port->ops->arm_to(lane->queue);
    }
    return has_room;
}

/* Sleeps until something happens or the time has come, and learns how late a timer wakes it. */
static void sleep_for(struct worker *worker, uint64_t left_ns)
{
    struct timespec timeout = {(time_t)(left_ns / 1000000000), (long)(left_ns % 1000000000)};
    uint64_t due_ns = clock_now_ns() + left_ns;

    if (look(worker, &timeout) || worker->now_ns < due_ns)
        return;
    worker->learnt_ns = worker->now_ns;
    worker->wake_s +=
        (CV_MIN((double)(worker->now_ns - due_ns) / 1e9, WAKE_S_MAX) - worker->wake_s) /
        MEAN_SAMPLES;
}

/*
 * How long to sleep for something that is due: a timer wakes late, so it is set early, and what is
 * too near to be slept for is looked at at once (0). Now and then half of that time is slept, or a
 * spell of late timers would never be known to be over. Where a queue rests that will have
 * kicked before then, by what is known of it, the timer is only for the case that it does not.
 */
static uint64_t sleep_ns(const struct worker *worker, uint64_t now_ns, uint64_t due_ns)
{
    uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    bool is_kicked = worker->kick_due_ns > now_ns && worker->kick_due_ns <= due_ns;
    uint64_t early_ns = is_kicked ? 0 : (uint64_t)(worker->wake_s * 1e9);

    if (left_ns > early_ns)
        return left_ns - early_ns;
    return now_ns - worker->learnt_ns >= LEARN_AGAIN_NS ? left_ns / 2 : 0;
}

static void sleep_until(struct worker *worker, uint64_t due_ns)
{
    uint64_t now_ns = clock_now_ns(); /* the round has taken its time */
    uint64_t left_ns = sleep_ns(worker, now_ns, due_ns);

    if (left_ns == 0) {
        if (now_ns - worker->looked_ns >= GLANCE_NS)
            glance(worker);
        return;
    }
    __atomic_store_n(&worker->is_asleep, true, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    /* Whoever asked before it could see that we sleep must be seen by us now. */
    if (!__atomic_load_n(&worker->command, __ATOMIC_SEQ_CST) && !worker_has_handed_over(worker)) {
        counter_add(&worker->sleeps, 1);
        /* What guests do while we sleep is not timed. */
        worker_forget_answers(worker, NULL);
        if (due_ns == UINT64_MAX)
            (void)look(worker, NULL);
        else
            sleep_for(worker, left_ns);
        note_silence(worker);
    }
    __atomic_store_n(&worker->is_asleep, false, __ATOMIC_SEQ_CST);
    watchdog_notice(worker->watchdog);
}

void worker_learn_wake(struct worker *worker)
{
    for (int i = 0; i < MEAN_SAMPLES; i++) {
        glance(worker);
        sleep_for(worker, LEARNING_SLEEP_NS);
    }
}

/*
 * Before a sleep that a kick is expected to end: until when a group is due that would wait in vain,
 * since those that rest send nothing before their kick. Only what is too near for a timer: then the
 * worker would poll for it, and others may send meanwhile after all.
 */
static uint64_t hasty_until_ns(const struct worker *worker)
{
    uint64_t until_ns = worker->now_ns + (uint64_t)(worker->wake_s * 1e9);

    if (worker->kick_due_ns == UINT64_MAX)
        return worker->now_ns;
    return CV_MIN(until_ns, CV_MIN(worker->kick_due_ns, worker->look_due_ns));
}

/* Makes everything ready for a sleep. False: something is still worth polling. */
static bool prepare_sleep(struct worker *worker)
{
    uint64_t hasty_ns;

    if (arm_idle_queues(worker, may_rest(worker)))
        return false;
    hasty_ns = hasty_until_ns(worker);
    if (worker->next_due_ns < hasty_ns && worker_hasten(worker, hasty_ns))
        return false;
    return !arm_blocked_lanes(worker);
}

void worker_rest(struct worker *worker)
{
    note_silence(worker);
    if (!prepare_sleep(worker)) {
        if (worker->now_ns - worker->looked_ns >= GLANCE_NS)
            glance(worker);
        return;
    }
    sleep_until(worker, CV_MIN(worker->next_due_ns, worker->look_due_ns));
}

void worker_wake(struct worker *worker)
{
    static const uint64_t one = 1;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&worker->is_asleep, __ATOMIC_SEQ_CST))
        (void)!write(worker->wake_fd, &one, sizeof(one));
}

/*
 * A worker's life, and what the control thread asks of it. A request is a step that the worker
 * carries out between two bursts, so that it may touch everything that the worker owns; the control
 * thread waits for it.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "switch/vswitch.h"
#include "switch/worker.h"

/* --- the thread --- */

static void run_command(struct worker *worker)
{
    struct worker_command *command = __atomic_load_n(&worker->command, __ATOMIC_ACQUIRE);

    if (CV_LIKELY(!command))
        return;
    if (!command->step(worker, command->context))
        return;
    __atomic_store_n(&worker->command, NULL, __ATOMIC_RELEASE);
    sem_post(&command->done);
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    char name[16];

    snprintf(name, sizeof(name), "worker-%u", worker->id);
    (void)prctl(PR_SET_NAME, name);
    worker->may_defer = worker->cpu < 0 && sched_getscheduler(0) == SCHED_OTHER;
    /* Convoys are held for microseconds: the default slack of 50 would be all of it. */
    (void)prctl(PR_SET_TIMERSLACK, 1);
    worker_learn_wake(worker);
    for (;;) {
        worker->now_ns = clock_now_ns();
        counter_add(&worker->rounds, 1);
        run_command(worker);
        if (worker->must_stop)
            break; /* nobody would wake it again */
        if (worker_round(worker))
            worker_glance(worker);
        else
            worker_rest(worker);
    }
    return NULL;
}

static void worker_bind(struct worker *worker)
{
    cpu_set_t cpus;
    int result;

    if (worker->cpu < 0)
        return;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)worker->cpu, &cpus);
    result = pthread_setaffinity_np(worker->thread, sizeof(cpus), &cpus);
    if (result)
        log_warning("worker %u cannot be bound to processor %d: %s", worker->id, worker->cpu,
                    strerror(result));
}

int worker_init(struct worker *worker)
{
    int result = frame_pool_init(&worker->frames, WORKER_FRAMES_MAX);

    if (result == 0)
        result = worker_sleep_init(worker);
    if (result == 0)
        result = worker_exchange_init(worker);
    return result;
}

void worker_uninit(struct worker *worker)
{
    worker_exchange_uninit(worker);
    worker_sleep_uninit(worker);
    frame_pool_uninit(&worker->frames);
}

int worker_start(struct worker *worker)
{
    int result = -pthread_create(&worker->thread, NULL, worker_main, worker);

    if (result < 0)
        return result;
    worker->is_running = true;
    worker_bind(worker);
    return 0;
}

static bool step_stop(struct worker *worker, void *context)
{
    (void)context;
    worker->must_stop = true;
    return true;
}

void worker_stop(struct worker *worker)
{
    if (!worker->is_running)
        return;
    worker_call(worker, step_stop, NULL);
    pthread_join(worker->thread, NULL);
    worker->is_running = false;
}

/* False: the time has come first. */
static bool wait_until(sem_t *semaphore, uint64_t due_ns)
{
    struct timespec due = {(time_t)(due_ns / 1000000000), (long)(due_ns % 1000000000)};

    while (sem_clockwait(semaphore, CLOCK_MONOTONIC, &due) < 0)
        if (errno == ETIMEDOUT)
            return false;
    return true;
}

void worker_call(struct worker *worker, bool (*step)(struct worker *worker, void *context),
                 void *context)
{
    struct worker_command command = {.step = step, .context = context};

    sem_init(&command.done, 0, 0);
    __atomic_store_n(&worker->command, &command, __ATOMIC_SEQ_CST);
    worker_wake(worker);
    /* The watchdog cannot run while we wait here: we stand in for it. */
    while (!wait_until(&command.done, clock_now_ns() + WORKER_HANG_NS))
        watchdog_interrupt(worker);
    /* What the step has done is seen here; ThreadSanitizer knows nothing of sem_clockwait. */
    assert(!__atomic_load_n(&worker->command, __ATOMIC_ACQUIRE));
    sem_destroy(&command.done);
}

/* --- stopping a port --- */

static bool is_ours(const struct worker *worker, const struct port_queue *queue)
{
    return queue->worker == worker->id;
}

static void forget_polled(struct worker *worker, struct port_queue *queue)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < worker->polled_count; i++)
        if (worker->polled[i] != queue)
            worker->polled[kept++] = worker->polled[i];
    worker->polled_count = kept;
    queue->is_polled = queue->is_resting = false;
    queue->look_ns = 0;
}

static void drop_stash(struct worker *worker, struct port_queue *queue)
{
    unsigned count = queue->stash_count - queue->stash_first;

    counter_add(&queue->counters->drops[DROP_SENDER_GONE], count);
    for (unsigned i = queue->stash_first; i < queue->stash_count; i++)
        worker_release(worker, queue->stash[i]);
    queue->stash_first = queue->stash_count = 0;
}

/* What the guest of a port that stops has been given, it is told of while its rings are there. */
static void tell_guest(struct worker *worker, const struct port *port)
{
    const struct outlet *outlet = &worker->outlets[port->id];

    for (unsigned i = 0; i < port->queue_count; i++)
        if (is_ours(worker, port->queues[i]) && outlet->lanes[i]->untold > 0)
            worker_announce(worker, outlet->lanes[i]);
}

bool worker_step_pause(struct worker *worker, void *context)
{
    struct port *port = context;

    tell_guest(worker, port);
    worker_forget_answers(worker, port);
    worker->outlets[port->id].state = OUTLET_PAUSED;
    for (unsigned i = 0; i < port->queue_count; i++) {
        struct port_queue *queue = port->queues[i];

        if (!is_ours(worker, queue))
            continue;
        /* Whoever serves the queue next must not have to look at it to learn that it has frames. */
        if (queue->is_polled)
            (void)queue->port->ops->arm_from(queue, 1);
        forget_polled(worker, queue);
        worker_unwatch_queue(worker, queue);
        worker_forget_sender(worker, queue);
        drop_stash(worker, queue);
    }
    return true;
}

/* Frames of the queue leave the lane: delivered if that can be now, else dropped. */
static void clear_source(struct worker *worker, struct lane *lane, const struct port_queue *source)
{
    if (!convoy_has_source(&lane->convoy, source))
        return;
    worker_depart(worker, lane, worker->now_ns);
    (void)worker_purge_lane(worker, lane, source, DROP_SENDER_GONE);
}

bool worker_step_purge(struct worker *worker, void *context)
{
    struct port *port = context;

    (void)worker_take_handed_over(worker);
    for (unsigned i = 0; i < worker->open_count; i++)
        for (unsigned q = 0; q < port->queue_count; q++)
            clear_source(worker, worker->open[i], port->queues[q]);
    worker_settle(worker);
    worker_publish_handed_back(worker);
    return true;
}

bool worker_step_settled(struct worker *worker, void *context)
{
    struct port *port = context;

    (void)worker_take_handed_over(worker);
    worker_settle(worker);
    worker_publish_handed_back(worker);
    for (unsigned i = 0; i < port->queue_count; i++)
        if (is_ours(worker, port->queues[i]) && port->queues[i]->outstanding > 0)
            return false;
    return true;
}

/* --- starting a port --- */

/*
 * Ends what waits for queues of the port: all of them, or those that cannot be delivered to. The
 * others start with a guest that may be another one, and whose patience is new: what has waited
 * for it departs, and as it takes other super-packets perhaps, nothing more is merged with that.
 */
static void reset_lanes(struct worker *worker, struct outlet *outlet, bool all)
{
    for (unsigned i = 0; i < PORT_QUEUE_PAIRS_MAX; i++) {
        struct lane *lane = outlet->lanes[i];

        if (!lane)
            continue;
        if (lane->convoy.count > 0 && (all || !lane->queue->can_deliver))
            (void)worker_purge_lane(worker, lane, NULL, DROP_PORT_DOWN);
        lane->is_stalled = false;
        lane->convoy.blocked_since_ns = 0;
        hold_group_clear(&lane->waiting);
        controller_forget_guest(&lane->controller);
        lane->untold = lane->fresh = lane->fresh_mergeable = 0;
        convoy_seal(&lane->convoy);
        if (lane->convoy.count > 0)
            worker_depart(worker, lane, worker->now_ns);
    }
    worker_settle(worker);
    worker_publish_handed_back(worker);
}

bool worker_step_attach(struct worker *worker, void *context)
{
    struct port *port = context;
    struct outlet *outlet = &worker->outlets[port->id];

    outlet->port = port;
    outlet->hold = port->config.hold;
    outlet->merge = port->config.merge;
    outlet->full = port->config.full;
    outlet->open_count = 0;
    for (unsigned i = 0; i < port->queue_count; i++) {
        struct port_queue *queue = port->queues[i];

        if (queue->can_deliver)
            outlet->open[outlet->open_count++] = outlet->lanes[i];
        if (!is_ours(worker, queue))
            continue;
        queue->counters = &outlet->counters;
        worker_watch_queue(worker, queue);
        /* Whatever the guest is owed from before, it gets now: reset_lanes settles. */
        worker_mark_dirty(worker, queue);
        if (!queue->waits_for_kick)
            worker_poll_queue(worker, queue);
    }
    outlet->state = outlet->open_count > 0 ? OUTLET_UP : OUTLET_DOWN;
    worker->outlet_limit = CV_MAX(worker->outlet_limit, port->id + 1);
    reset_lanes(worker, outlet, false);
    return true;
}

bool worker_step_remove(struct worker *worker, void *context)
{
    const struct port *port = context;
    struct outlet *outlet = &worker->outlets[port->id];
    unsigned kept = 0;

    reset_lanes(worker, outlet, true);
    for (unsigned i = 0; i < worker->open_count; i++) {
        if (worker->open[i]->outlet == outlet)
            worker->open[i]->is_open = false;
        else
            worker->open[kept++] = worker->open[i];
    }
    worker->open_count = kept;
    outlet->state = OUTLET_ABSENT;
    outlet->counters = (struct port_counters){0};
    return true;
}

bool worker_step_count_waiting(struct worker *worker, void *context)
{
    struct port_status *status = context;
    const struct outlet *outlet = &worker->outlets[status->id];

    for (unsigned i = 0; i < PORT_QUEUE_PAIRS_MAX; i++)
        if (outlet->lanes[i])
            status->frames_waiting += outlet->lanes[i]->convoy.packets;
    return true;
}

bool worker_step_set_hold(struct worker *worker, void *context)
{
    const struct port *port = context;
    struct outlet *outlet = &worker->outlets[port->id];

    outlet->hold = port->config.hold;
    outlet->merge = port->config.merge;
    for (unsigned i = 0; i < port->queue_count; i++) {
        if (!is_ours(worker, port->queues[i]))
            continue;
        controller_set(&outlet->lanes[i]->controller, &outlet->hold);
        convoy_seal(&outlet->lanes[i]->convoy);
        port->queues[i]->kick_rule = (struct hold_rule){0};
        port->queues[i]->updated_ns = 0;
    }
    return true;
}

bool worker_step_read_tuning(struct worker *worker, void *context)
{
    const struct worker_tuning_request *request = context;
    const struct port *port = request->port;
    const struct outlet *outlet = &worker->outlets[port->id];

    for (unsigned i = 0; i < port->queue_count; i++) {
        struct queue_tuning *queue = &request->tuning->queues[i];
        const struct lane *lane = outlet->lanes[i];

        if (!is_ours(worker, port->queues[i]))
            continue;
        queue->to_port = port->queues[i]->can_deliver;
        queue->from_port = port->queues[i]->can_receive;
        queue->merges = outlet->merge && (port->queues[i]->offloads & ~OFFLOAD_CSUM) != 0;
        queue->to = lane->controller;
        queue->from = port->queues[i]->arrivals;
        queue->from_rule = port->queues[i]->kick_rule;
    }
    return true;
}

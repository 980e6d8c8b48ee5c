#include "sim_loop.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <ucontext.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifdef HAS_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum {
    EVENTS_MAX = 8192,
    STACK_BYTES = 256 * 1024,
    CLOCK_TICK_NS = 25,
    LEARNING_NS = 5000000, /* workers have learnt by then how late their timers are */
    TURN_NS = 100,         /* what a turn takes, besides what ports and the clock take */
    IDLE_TURNS_MAX = 3000, /* in a row: polling, and waiting for a time that is near */
    SLEEP_SLACK_NS = 1000, /* between a look at the clock and the sleep that follows */
};

struct event {
    uint64_t at_ns;
    void (*happen)(struct sim *sim, uint64_t what);
    uint64_t what;
};

/* One worker's coroutine. */
struct sleeper {
    ucontext_t context;
    uint8_t *stack;
    void *asan_stack; /* AddressSanitizer's, while it does not run */
    bool is_asleep;
    uint64_t deadline_ns; /* while it sleeps: when its timer ends; UINT64_MAX: it has none */
    uint64_t wakes_ns;    /* ... and when it notices */
    uint64_t slept_ns;
    uint64_t idle_turns, idle_in_row;
};

struct sim_loop {
    struct sim *sim;
    struct sim_loop_config config;
    struct event events[EVENTS_MAX];
    unsigned event_count, event_first;
    struct sleeper sleepers[SIM_WORKERS_MAX];
    ucontext_t main_context;
    void *main_asan_stack;
    const void *main_bottom;
    size_t main_bytes;
    unsigned running;        /* worker whose coroutine runs; SIM_WORKERS_MAX: none does */
    const char *broken_rule; /* by that one */
};

static struct sim_loop *current;

/* --- coroutines --- */

static void before_switch(void **save, const void *bottom, size_t bytes)
{
#ifdef HAS_ASAN
    __sanitizer_start_switch_fiber(save, bottom, bytes);
#else
    (void)save;
    (void)bottom;
    (void)bytes;
#endif
}

static void after_switch(void *save, const void **ret_bottom, size_t *ret_bytes)
{
#ifdef HAS_ASAN
    __sanitizer_finish_switch_fiber(save, ret_bottom, ret_bytes);
#else
    (void)save;
    (void)ret_bottom;
    (void)ret_bytes;
#endif
}

/* From a worker back to whoever let it run. */
static void give_way(struct sim_loop *loop)
{
    struct sleeper *sleeper = &loop->sleepers[loop->running];

    before_switch(&sleeper->asan_stack, loop->main_bottom, loop->main_bytes);
    swapcontext(&sleeper->context, &loop->main_context);
    after_switch(sleeper->asan_stack, &loop->main_bottom, &loop->main_bytes);
}

/* Lets a worker run until it gives way. */
static void resume(struct sim_loop *loop, unsigned worker)
{
    struct sleeper *sleeper = &loop->sleepers[worker];

    assert(loop->running == SIM_WORKERS_MAX);
    loop->running = worker;
    fake_port_now_ns = loop->sim->now_ns;
    fake_port_spent_ns = 0;
    before_switch(&loop->main_asan_stack, sleeper->stack, STACK_BYTES);
    swapcontext(&loop->main_context, &sleeper->context);
    after_switch(loop->main_asan_stack, NULL, NULL);
    loop->sim->now_ns += fake_port_spent_ns;
    fake_port_spent_ns = 0;
    loop->running = SIM_WORKERS_MAX;
    if (loop->broken_rule)
        sim_fail(loop->broken_rule);
}

void sim_loop_escape(const char *sentence)
{
    if (!current || current->running == SIM_WORKERS_MAX)
        return;
    current->broken_rule = sentence;
    give_way(current);
}

/* --- what a worker does --- */

/* As worker_main does it. The control side's steps are carried out between turns. */
static void turn(struct sim_loop *loop, unsigned id)
{
    struct worker *worker = &loop->sim->workers[id];
    struct sleeper *sleeper = &loop->sleepers[id];
    uint64_t sleeps = worker->sleeps;
    bool moved;

    moved = sim_round(loop->sim, id);
    fake_port_now_ns = loop->sim->now_ns;
    fake_port_spent_ns = TURN_NS;
    if (moved)
        worker_glance(worker);
    else
        worker_rest(worker);
    if (moved || worker->sleeps != sleeps) {
        sleeper->idle_in_row = 0;
        return;
    }
    sleeper->idle_turns++;
    SIM_CHECK(sleeper->idle_in_row++ < IDLE_TURNS_MAX);
}

static void worker_loop(int id)
{
    after_switch(NULL, &current->main_bottom, &current->main_bytes);
    worker_learn_wake(&current->sim->workers[id]);
    for (;;) {
        turn(current, (unsigned)id);
        give_way(current);
    }
}

/* --- sleep --- */

/* The machine knows when to kick; or the queue is looked at in time without. */
static void check_asleep_queue(const struct fake_queue *queue, uint64_t deadline_ns)
{
    const struct port_queue *base = &queue->base;

    if (!base->can_receive || base->is_held_back || (base->waits_for_kick && !queue->asked_for))
        return;
    SIM_CHECK(queue->asked_for > 0);
    SIM_CHECK(queue->arrival_count < queue->asked_for);
    SIM_CHECK(queue->kick_event == queue->taken + queue->asked_for - 1);
    if (queue->asked_for > 1)
        SIM_CHECK(base->look_ns > 0 && deadline_ns <= base->look_ns + SLEEP_SLACK_NS);
}

/* Nobody waits for a worker that sleeps but those who wake it, or whose time has not come. */
static void check_asleep(const struct sim *sim, unsigned id, uint64_t deadline_ns)
{
    const struct worker *worker = &sim->workers[id];

    SIM_CHECK(!worker_has_handed_over(worker));
    SIM_CHECK(worker->next_due_ns == UINT64_MAX ||
              deadline_ns <= worker->next_due_ns + SLEEP_SLACK_NS);
    for (unsigned p = 0; p < SIM_PORTS_MAX; p++)
        for (unsigned q = 0; sim->is_attached[p] && q < sim->ports[p].base.queue_count; q++)
            if (sim->ports[p].queues[q].base.worker == id && !sim->ports[p].queues[q].is_paused)
                check_asleep_queue(&sim->ports[p].queues[q], deadline_ns);
    for (unsigned i = 0; i < worker->open_count; i++) {
        const struct lane *lane = worker->open[i];

        if (lane->convoy.blocked_since_ns && lane->outlet->state == OUTLET_UP)
            SIM_CHECK(fake_queue_of(lane->queue)->wants_room);
    }
}

static uint64_t lateness_ns(struct sim_loop *loop)
{
    if (loop->config.is_evenly_late || loop->config.late_ns == 0)
        return loop->config.late_ns;
    return sim_random(loop->sim, loop->config.late_ns);
}

int __real_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask);
int __wrap_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask);

/* Linked in place of the C library's. A worker that would wait gives way until it is woken. */
int __wrap_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask)
{
    static const struct timespec no_time;
    int count = __real_epoll_pwait2(fd, events, max, &no_time, mask);
    uint64_t now_ns = fake_port_now_ns + fake_port_spent_ns;
    struct sleeper *sleeper;

    if (count != 0 || (timeout && timeout->tv_sec == 0 && timeout->tv_nsec == 0))
        return count;
    assert(current && current->running < SIM_WORKERS_MAX);
    sleeper = &current->sleepers[current->running];
    sleeper->deadline_ns = UINT64_MAX;
    if (timeout)
        sleeper->deadline_ns =
            now_ns + (uint64_t)timeout->tv_sec * 1000000000 + (uint64_t)timeout->tv_nsec;
    sleeper->wakes_ns = timeout ? sleeper->deadline_ns + lateness_ns(current) : UINT64_MAX;
    check_asleep(current->sim, current->running, sleeper->deadline_ns);
    sleeper->is_asleep = true;
    give_way(current);
    sleeper->is_asleep = false;
    sleeper->slept_ns += fake_port_now_ns - now_ns;
    return __real_epoll_pwait2(fd, events, max, &no_time, mask);
}

/* --- time --- */

static bool is_called(const struct sim_loop *loop, unsigned worker)
{
    struct pollfd pollfd = {.fd = loop->sim->workers[worker].epoll_fd, .events = POLLIN};

    return poll(&pollfd, 1, 0) > 0;
}

static bool can_run(const struct sim_loop *loop, unsigned worker)
{
    const struct sleeper *sleeper = &loop->sleepers[worker];

    return !sleeper->is_asleep || loop->sim->now_ns >= sleeper->wakes_ns || is_called(loop, worker);
}

/* All sleep: time passes until something happens, a timer ends, or `until_ns`. */
static void pass_time(struct sim_loop *loop, uint64_t until_ns)
{
    struct sim *sim = loop->sim;
    uint64_t next_ns = until_ns;

    if (loop->event_first < loop->event_count)
        next_ns = CV_MIN(next_ns, loop->events[loop->event_first].at_ns);
    for (unsigned w = 0; w < sim->worker_count; w++) {
        check_asleep(sim, w, loop->sleepers[w].deadline_ns);
        next_ns = CV_MIN(next_ns, loop->sleepers[w].wakes_ns);
    }
    sim->now_ns = CV_MAX(sim->now_ns, next_ns);
}

static void run_events(struct sim_loop *loop)
{
    while (loop->event_first < loop->event_count &&
           loop->events[loop->event_first].at_ns <= loop->sim->now_ns) {
        struct event event = loop->events[loop->event_first++];

        for (unsigned w = 0; w < loop->sim->worker_count; w++)
            loop->sleepers[w].idle_in_row = 0;
        fake_port_now_ns = loop->sim->now_ns;
        event.happen(loop->sim, event.what);
    }
}

/* One worker that can run has a turn. False: all sleep. */
static bool run_one(struct sim_loop *loop)
{
    unsigned count = loop->sim->worker_count, first = (unsigned)sim_random(loop->sim, count);

    for (unsigned i = 0; i < count; i++) {
        unsigned worker = (first + i) % count;

        if (!can_run(loop, worker))
            continue;
        resume(loop, worker);
        return true;
    }
    return false;
}

void sim_loop_run(struct sim *sim, uint64_t until_ns)
{
    while (sim->now_ns < until_ns) {
        run_events(sim->loop);
        if (!run_one(sim->loop))
            pass_time(sim->loop, until_ns);
    }
}

static void forget_past_events(struct sim_loop *loop)
{
    loop->event_count -= loop->event_first;
    memmove(loop->events, &loop->events[loop->event_first],
            loop->event_count * sizeof(loop->events[0]));
    loop->event_first = 0;
}

void sim_loop_at(struct sim *sim, uint64_t at_ns, void (*happen)(struct sim *sim, uint64_t what),
                 uint64_t what)
{
    struct sim_loop *loop = sim->loop;
    unsigned at;

    if (loop->event_count == EVENTS_MAX)
        forget_past_events(loop);
    assert_true(loop->event_count < EVENTS_MAX);
    at = loop->event_count;
    while (at > loop->event_first && loop->events[at - 1].at_ns > at_ns)
        at--;
    memmove(&loop->events[at + 1], &loop->events[at],
            (loop->event_count - at) * sizeof(loop->events[0]));
    loop->events[at] = (struct event){at_ns, happen, what};
    loop->event_count++;
}

void sim_loop_wake(struct sim *sim, unsigned worker)
{
    struct sim_loop *loop = sim->loop;

    if (!loop || loop->running != SIM_WORKERS_MAX || !loop->sleepers[worker].is_asleep)
        return;
    worker_wake(&sim->workers[worker]);
    SIM_CHECK(is_called(loop, worker));
    resume(loop, worker);
    SIM_CHECK(!loop->sleepers[worker].is_asleep);
}

uint64_t sim_loop_deadline(const struct sim *sim, unsigned worker)
{
    const struct sleeper *sleeper = &sim->loop->sleepers[worker];

    return sleeper->is_asleep ? sleeper->deadline_ns : 0;
}

uint64_t sim_loop_idle_turns(const struct sim *sim, unsigned worker)
{
    return sim->loop->sleepers[worker].idle_turns;
}

uint64_t sim_loop_slept_ns(const struct sim *sim, unsigned worker)
{
    return sim->loop->sleepers[worker].slept_ns;
}

void sim_loop_begin(struct sim *sim, const struct sim_loop_config *config)
{
    struct sim_loop *loop = calloc(1, sizeof(*loop));

    assert_non_null(loop);
    *loop = (struct sim_loop){.sim = sim, .config = *config, .running = SIM_WORKERS_MAX};
    sim->loop = current = loop;
    sim_clock_tick_ns = CLOCK_TICK_NS;
    for (unsigned w = 0; w < sim->worker_count; w++) {
        struct sleeper *sleeper = &loop->sleepers[w];

        sim->workers[w].poll_ns = config->poll_ns;
        sleeper->stack = malloc(STACK_BYTES);
        assert_non_null(sleeper->stack);
        getcontext(&sleeper->context);
        sleeper->context.uc_stack.ss_sp = sleeper->stack;
        sleeper->context.uc_stack.ss_size = STACK_BYTES;
        makecontext(&sleeper->context, (void (*)(void))worker_loop, 1, (int)w);
        sim->workers[w].next_due_ns = UINT64_MAX;
    }
    sim_loop_run(sim, sim->now_ns + LEARNING_NS);
}

void sim_loop_end(struct sim *sim)
{
    if (!sim->loop)
        return;
    for (unsigned w = 0; w < sim->worker_count; w++) {
        sim_loop_wake(sim, w);
        free(sim->loop->sleepers[w].stack);
    }
    free(sim->loop);
    sim->loop = current = NULL;
    sim_clock_tick_ns = 0;
}

/*
 * When a worker rests. The real worker goes through rounds, glances and rests as its thread does,
 * but epoll is ours: kicks of the fake ports are seen there, and a sleep moves the clock by its
 * timeout and by how late the timer is. Judged is what the thread would do: that it sleeps without
 * a timer when nothing is due, until just the right time when something is, and never spins while
 * nothing can be done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim_world.h"

enum { K = 32, STEPS_MAX = 100000 };
#define T_NS     UINT64_C(50000)
#define POLL_NS  UINT64_C(20000)
#define ROUND_NS UINT64_C(500)  /* what a round takes */
#define LATE_NS  UINT64_C(3000) /* how late the timer is */

#define FOREVER_NS UINT64_MAX

/* What epoll was asked for last, by a call that would have slept. */
static uint64_t slept_ns;
static unsigned sleeps;

/* Frames from port 0 for port 1 that arrive half way through the next sleep. */
static struct fake_queue *sender;
static unsigned arriving;

int __real_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *signals);
int __wrap_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *signals);
int __wrap_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *signals)
{
    static const struct timespec no_time;
    uint64_t timeout_ns =
        timeout ? (uint64_t)timeout->tv_sec * 1000000000 + (uint64_t)timeout->tv_nsec : FOREVER_NS;
    int count = __real_epoll_pwait2(fd, events, max, &no_time, signals);

    if (count != 0 || timeout_ns == 0)
        return count;
    slept_ns = timeout_ns;
    sleeps++;
    if (arriving > 0) {
        fake_queue_arrive_for(sender, 1, arriving);
        arriving = 0;
        count = __real_epoll_pwait2(fd, events, max, &no_time, signals);
    }
    if (timeout)
        fake_port_now_ns += count > 0 ? timeout_ns / 2 : timeout_ns + LATE_NS;
    return count;
}

static struct watchdog watchdog; /* nobody to be told */

static struct worker *worker_of(struct sim *sim)
{
    return &sim->workers[0];
}

static void add_kick_fd(struct fake_queue *queue)
{
    queue->base.wake_from_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(queue->base.wake_from_fd >= 0);
}

/* One worker, ports 0 and 1; port 0 kicks, for several frames where it is asked to. */
static struct sim *world_new(enum hold_mode mode)
{
    struct sim *sim = sim_new(1, 1);
    struct port_config config = sim_port_config(mode, FULL_DROP);
    struct fake_queue *from;

    config.hold.packets_max = K;
    config.hold.time_max_ns = T_NS;
    config.hold.delay_budget_ns = 50000;
    config.hold.delay_weight = 0.1;
    worker_of(sim)->watchdog = &watchdog;
    worker_of(sim)->poll_ns = POLL_NS;
    for (unsigned id = 0; id < 2; id++)
        sim_port_add(sim, id, &config)->queues[0].room = 1u << 20;
    from = sender = sim_queue(sim, 0);
    from->base.groups_kicks = true;
    sim_port_detach(sim, 0);
    add_kick_fd(from);
    sim_port_attach(sim, 0);
    fake_port_now_ns = sim->now_ns;
    worker_learn_wake(worker_of(sim));
    sim->now_ns = fake_port_now_ns;
    sleeps = 0;
    return sim;
}

static void world_free(struct sim *sim)
{
    int fd = sim_queue(sim, 0)->base.wake_from_fd;

    sim_free(sim);
    close(fd);
}

/* What the thread does once around. True: it slept. */
static bool step(struct sim *sim)
{
    struct worker *worker = worker_of(sim);
    unsigned before = sleeps;
    bool moved;

    moved = sim_round(sim, 0);
    fake_port_now_ns = sim->now_ns;
    if (moved)
        worker_glance(worker);
    else
        worker_rest(worker);
    sim->now_ns = fake_port_now_ns + ROUND_NS;
    return sleeps != before;
}

/* Steps until the worker sleeps, for how long; FOREVER_NS: without a timer. */
static uint64_t steps_to_sleep(struct sim *sim)
{
    for (unsigned i = 0; i < STEPS_MAX; i++)
        if (step(sim))
            return slept_ns;
    fail_msg("the worker does not sleep");
    return 0;
}

/* Until it sleeps without a timer; returns how many sleeps with one there were before. */
static unsigned steps_to_idle(struct sim *sim)
{
    unsigned timers = 0;

    while (steps_to_sleep(sim) != FOREVER_NS)
        assert_true(timers++ < 1000);
    return timers;
}

/* --- nothing is due --- */

static void idle_sets_no_timer(void **state)
{
    static const enum hold_mode modes[] = {HOLD_OFF, HOLD_NATURAL, HOLD_ADAPTIVE};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(modes); i++) {
        struct sim *sim = world_new(modes[i]);

        assert_int_equal(steps_to_idle(sim), 0);
        fake_queue_arrive_for(sim_queue(sim, 0), 1, 1);
        /* The kick is seen, the packet delivered and told of, and no timer was needed for it. */
        assert_int_equal(steps_to_idle(sim), 0);
        assert_int_equal(sim_queue(sim, 1)->delivered, 1);
        assert_int_equal(sim_queue(sim, 1)->news.packets, 0);
        world_free(sim);
    }
}

/* Dense traffic, held and grouped in both directions, that ends: then there is no timer either. */
static void traffic_that_ends_leaves_no_timer(void **state)
{
    struct sim *sim = world_new(HOLD_ADAPTIVE);
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, 1);
    bool has_held = false, has_grouped = false;

    (void)state;
    fake_port_costs = (struct fake_costs){.delivery_ns = 500, .packet_ns = 50, .call_ns = 5000};
    for (unsigned i = 0; i < 20000; i++) {
        if (i % 4 == 0 && fake_queue_free(from) > 0)
            fake_queue_arrive_for(from, 1, 1);
        (void)step(sim);
        if (to->calls > 0 && i % 8 == 0)
            fake_queue_look(to, false);
        has_held |= sim_lane(sim, 1)->controller.rule.time_max_ns > 0;
        has_grouped |= from->base.kick_rule.time_max_ns > 0;
    }
    assert_true(has_held && has_grouped);
    assert_true(steps_to_idle(sim) <= 4);
    assert_int_equal(to->news.packets, 0);
    assert_int_equal(from->back.packets, 0);
    assert_int_equal(worker_of(sim)->polled_count, 0);
    world_free(sim);
}

/* --- something is due --- */

/* A call that waits is made at its time: the timer is set early by as much as it is late. */
static void held_call_is_made_in_time(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *from = sim_queue(sim, 0), *to = sim_queue(sim, 1);
    uint64_t started_ns;

    (void)state;
    assert_in_range((uint64_t)(worker_of(sim)->wake_s * 1e9), LATE_NS / 2, LATE_NS);
    from->base.groups_kicks = false;
    fake_queue_arrive_for(from, 1, 1);
    while (to->delivered < 1)
        (void)step(sim);
    assert_int_equal(to->news.packets, 1);
    started_ns = sim_lane(sim, 1)->waiting.batches[0].arrived_ns;
    assert_in_range(steps_to_sleep(sim), T_NS - POLL_NS - 2 * LATE_NS, T_NS - LATE_NS / 2);
    while (to->news.packets > 0)
        (void)step(sim);
    assert_in_range(worker_of(sim)->now_ns, started_ns + T_NS, started_ns + T_NS + LATE_NS);
    world_free(sim);
}

/* A queue whose traffic tells that more comes soon: it is asked for one kick for K frames, and
 * looked at after T; found empty then, it is asked for a kick for the next. */
static void kicks_are_grouped_once(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *from = sim_queue(sim, 0);

    (void)state;
    assert_int_equal(steps_to_idle(sim), 0);
    fake_queue_arrive_for(from, 1, K); /* enough for its own groups to end at once */
    assert_in_range(steps_to_sleep(sim), T_NS - 10 * ROUND_NS, T_NS);
    assert_int_equal(from->asked_for, K);
    assert_true(from->base.look_ns > 0 && from->base.is_polled);
    assert_int_equal(steps_to_sleep(sim), FOREVER_NS);
    assert_int_equal(from->asked_for, 1);
    assert_true(from->base.look_ns == 0 && !from->base.is_polled);
    world_free(sim);
}

/* Fewer frames than were asked for do not kick; they are seen after T. As many end the sleep. */
static void grouped_frames_are_seen_in_time(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *from = sim_queue(sim, 0);
    uint64_t armed_ns;

    (void)state;
    for (unsigned count = 1; count <= K; count += K - 1) {
        fake_queue_arrive_for(from, 1, K);
        while (from->arrival_count > 0 || from->base.active_ns + POLL_NS > sim->now_ns + ROUND_NS)
            (void)step(sim);
        arriving = count;
        armed_ns = sim->now_ns;
        (void)steps_to_sleep(sim);
        assert_int_equal(from->arrival_count, count);
        assert_int_equal(from->base.look_ns == 0, count == K); /* it has kicked */
        (void)step(sim);
        assert_int_equal(from->arrival_count, 0);
        assert_in_range(sim->now_ns, armed_ns, armed_ns + T_NS + LATE_NS + 10 * ROUND_NS);
        (void)steps_to_idle(sim);
    }
    world_free(sim);
}

/* A queue that has been asked for a group, and then is held back since the worker has no frames
 * left: until others give some back there is nothing to be done, so the worker does not spin. */
static void held_back_queue_does_not_spin(void **state)
{
    struct sim *sim = world_new(HOLD_FIXED);
    struct fake_queue *from = sim_queue(sim, 0);
    struct frame_pool *pool = &worker_of(sim)->frames;
    struct frame_pool all;

    (void)state;
    fake_queue_arrive_for(from, 1, K);
    (void)steps_to_sleep(sim);
    assert_true(from->base.look_ns > 0);
    all = *pool;
    pool->fresh = pool->capacity;
    pool->free_count = 0;
    fake_queue_arrive_for(from, 1, 1);
    sim->now_ns += 2 * T_NS;
    /* Rounds by themselves: the rules of the simulation know that no frame is missing. */
    worker_of(sim)->now_ns = fake_port_now_ns = sim->now_ns;
    sleeps = 0;
    for (unsigned i = 0; i < 100 && sleeps == 0; i++) {
        if (!worker_round(worker_of(sim)))
            worker_rest(worker_of(sim));
        worker_of(sim)->now_ns = fake_port_now_ns += ROUND_NS;
    }
    assert_true(from->base.is_held_back);
    assert_int_equal(sleeps, 1);
    /* With frames again it is served, and goes the way of all queues. */
    *pool = all;
    sim->now_ns = fake_port_now_ns;
    (void)steps_to_idle(sim);
    assert_int_equal(from->arrival_count, 0);
    world_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_sets_no_timer),
        cmocka_unit_test(traffic_that_ends_leaves_no_timer),
        cmocka_unit_test(held_call_is_made_in_time),
        cmocka_unit_test(kicks_are_grouped_once),
        cmocka_unit_test(grouped_frames_are_seen_in_time),
        cmocka_unit_test(held_back_queue_does_not_spin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * One measured run: threads that drive the guests' rings, the phases that they go through together,
 * and what comes of it.
 *
 * Between warm-up and the measured part nothing is sent until what is under way has arrived, so
 * that sent and received can be held against each other to the packet, whoever sends to whom; it
 * takes some milliseconds, in which caches stay warm and addresses known.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "bench_state.h"
#include "guest/vhost_user.h"
#include "process_cost.h"

#define MILLISECOND_NS UINT64_C(1000000)
#define START_NS       MILLISECOND_NS         /* from the announcement of a phase to its begin */
#define SLICE_NS       (20 * MILLISECOND_NS)  /* between looks at whether to go on */
#define REST_QUIET_NS  (20 * MILLISECOND_NS)  /* what has not come by then will not, or hardly */
#define DRAIN_QUIET_NS (100 * MILLISECOND_NS) /* likewise at the end */

static int interrupted; /* atomic */

void bench_interrupt(void)
{
    __atomic_store_n(&interrupted, 1, __ATOMIC_RELAXED);
}

bool bench_is_interrupted(void)
{
    return __atomic_load_n(&interrupted, __ATOMIC_RELAXED) != 0;
}

/* --- what goes wrong --- */

static void fail(struct bench *bench, int code, const struct error *error)
{
    pthread_mutex_lock(&bench->lock);
    if (!bench->has_failed) {
        bench->failure = code;
        bench->failure_text = *error;
        __atomic_store_n(&bench->has_failed, true, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&bench->lock);
}

static void fail_hung(struct bench *bench, const struct bench_sender *sender)
{
    struct error error;
    char state[256];

    lean_ring_describe(&sender->lean, state, sizeof(state));
    error_set(&error, -ETIMEDOUT,
              "guest %u (%s): the switch has taken nothing for %d ms from transmit ring %u, which "
              "stands at: %s",
              sender->guest, bench->options.sockets[sender->guest], bench->options.timeout_ms,
              2 * sender->pair + 1, state);
    fail(bench, -ETIMEDOUT, &error);
}

static void fail_faulty(struct bench *bench, unsigned guest, const struct lean_ring *lean)
{
    struct error error;

    error_set(&error, -EPROTO, "guest %u (%s): the switch breaks the rules: %.300s", guest,
              bench->options.sockets[guest], lean->first_fault.text);
    fail(bench, -EPROTO, &error);
}

/* --- threads --- */

static bool is_mine(const struct bench_thread *thread, unsigned guest)
{
    return thread->bench->thread_of[guest] == thread->index;
}

static struct front_ring *ring_of(struct bench *bench, unsigned guest, unsigned index)
{
    return &bench->guests[guest].fe.rings[index];
}

/* Kicks of a guest's transmit rings and calls of its receive rings. Calls that wait are counted,
 * but not those that a guest which is called has still to be woken by. */
static void count_notifications(struct bench *bench, unsigned guest, uint64_t *ret_kicks,
                                uint64_t *ret_calls)
{
    bool is_called = bench->options.receive == BENCH_CALL;

    *ret_kicks = *ret_calls = 0;
    for (unsigned i = 0; i < 2 * bench->options.pairs; i++) {
        struct front_ring *ring = ring_of(bench, guest, i);

        if (!ring->options.to_guest) {
            *ret_kicks += ring->stats.kicks;
            continue;
        }
        if (!is_called)
            front_ring_calls_take(ring);
        *ret_calls += ring->stats.calls;
    }
}

/* The measured part begins: counts are 0; those of the rings are noted to be subtracted. */
static void begin_measuring(struct bench_thread *thread)
{
    struct bench *bench = thread->bench;

    for (unsigned i = 0; i < bench->receiver_count; i++) {
        if (is_mine(thread, bench->receivers[i].guest))
            bench_receiver_start(&bench->receivers[i]);
    }
    for (unsigned guest = 0; guest < bench->options.guest_count; guest++) {
        struct bench_guest *g = &bench->guests[guest];

        if (!is_mine(thread, guest))
            continue;
        bench->noted[guest] = (struct bench_guest_result){.sent = 0};
        bench->noted_sent_bytes[guest] = bench->noted_late[guest] = 0;
        count_notifications(bench, guest, &bench->noted[guest].kicks, &bench->noted[guest].calls);
        if (!g->has_checker)
            continue;
        memset(&g->checker.counts, 0, sizeof(g->checker.counts));
        g->checker.first_wrong[0] = '\0';
    }
}

static bool phase_sends(enum bench_phase phase)
{
    return phase == BENCH_PHASE_WARM_UP || phase == BENCH_PHASE_MEASURE;
}

static void enter_phase(struct bench_thread *thread, enum bench_phase phase)
{
    struct bench *bench = thread->bench;

    if (phase == BENCH_PHASE_READY)
        begin_measuring(thread);
    for (unsigned i = 0; i < bench->sender_count; i++) {
        if (is_mine(thread, bench->senders[i].guest) && phase_sends(phase))
            bench_sender_start(&bench->senders[i], bench->from_ns,
                               phase == BENCH_PHASE_MEASURE ? bench->step_ns : 0);
    }
}

/* The measured part is over: what has been counted is noted. */
static void end_measuring(struct bench_thread *thread, uint64_t now_ns)
{
    struct bench *bench = thread->bench;

    for (unsigned i = 0; i < bench->sender_count; i++) {
        const struct bench_sender *sender = &bench->senders[i];

        if (!is_mine(thread, sender->guest))
            continue;
        bench->noted[sender->guest].sent += sender->packets;
        bench->noted_sent_bytes[sender->guest] += sender->bytes;
        bench->noted_late[sender->guest] += sender->late;
    }
    for (unsigned i = 0; i < bench->receiver_count; i++) {
        const struct bench_receiver *receiver = &bench->receivers[i];

        if (!is_mine(thread, receiver->guest))
            continue;
        bench->noted[receiver->guest].received += receiver->packets;
        bench->noted[receiver->guest].received_bytes += receiver->bytes;
    }
    thread->measured_ns = now_ns - bench->from_ns;
    for (unsigned guest = 0; guest < bench->options.guest_count; guest++) {
        struct bench_guest_result *noted = &bench->noted[guest];
        uint64_t kicks, calls;

        if (!is_mine(thread, guest))
            continue;
        count_notifications(bench, guest, &kicks, &calls);
        noted->kicks = kicks - noted->kicks;
        noted->calls = calls - noted->calls;
        noted->received_pps = (double)noted->received * 1e9 / (double)thread->measured_ns;
    }
    __atomic_store_n(&thread->is_measured, true, __ATOMIC_RELEASE);
}

/* Each of the thread's rings has its turn. */
static void take_turns(struct bench_thread *thread, bool sends, uint64_t now_ns)
{
    struct bench *bench = thread->bench;
    uint64_t timeout_ns = (uint64_t)bench->options.timeout_ms * MILLISECOND_NS;

    for (unsigned i = 0; i < bench->sender_count; i++) {
        struct bench_sender *sender = &bench->senders[i];

        if (!is_mine(thread, sender->guest))
            continue;
        if (sends)
            (void)bench_sender_turn(sender, bench->sender_count > 1 ? clock_now_ns() : now_ns,
                                    timeout_ns);
        else
            bench_sender_rest(sender, now_ns, timeout_ns);
        if (CV_UNLIKELY(sender->is_hung))
            fail_hung(bench, sender);
        if (CV_UNLIKELY(sender->lean.faults > 0))
            fail_faulty(bench, sender->guest, &sender->lean);
    }
    for (unsigned i = 0; i < bench->receiver_count; i++) {
        struct bench_receiver *receiver = &bench->receivers[i];

        if (!is_mine(thread, receiver->guest))
            continue;
        (void)bench_receiver_turn(receiver);
        if (CV_UNLIKELY(receiver->lean.faults > 0))
            fail_faulty(bench, receiver->guest, &receiver->lean);
    }
}

static void *run_thread(void *context)
{
    struct bench_thread *thread = context;
    struct bench *bench = thread->bench;
    enum bench_phase phase = BENCH_PHASE_REST;
    bool is_measuring = false;

    for (;;) {
        unsigned number = __atomic_load_n(&bench->phase_number, __ATOMIC_ACQUIRE);
        uint64_t now_ns = clock_now_ns();

        if (number != thread->phase) {
            phase = bench->phase;
            if (phase == BENCH_PHASE_END)
                return NULL;
            enter_phase(thread, phase);
            is_measuring = phase == BENCH_PHASE_MEASURE;
            __atomic_store_n(&thread->phase, number, __ATOMIC_RELEASE);
        }
        if (is_measuring && now_ns >= __atomic_load_n(&bench->to_ns, __ATOMIC_RELAXED)) {
            end_measuring(thread, now_ns);
            is_measuring = false;
            phase = BENCH_PHASE_REST;
        }
        take_turns(thread, phase_sends(phase) && now_ns >= bench->from_ns, now_ns);
        if (!phase_sends(phase))
            bench_count_set(&thread->looked_ns, now_ns);
    }
}

static int start_thread(struct bench *bench, unsigned index, struct error *error)
{
    struct bench_thread *thread = &bench->threads[index];
    pthread_attr_t attr;
    cpu_set_t cpus;
    int rc;

    *thread = (struct bench_thread){.bench = bench, .index = index, .phase = bench->phase_number};
    pthread_attr_init(&attr);
    pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attr, bench->sched_policy);
    pthread_attr_setschedparam(&attr, &bench->sched_param);
    if (bench->options.cpu_count > 0) {
        CPU_ZERO(&cpus);
        CPU_SET(bench->options.cpus[index], &cpus);
        pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
    }
    rc = pthread_create(&thread->thread, &attr, run_thread, thread);
    pthread_attr_destroy(&attr);
    if (rc == 0) {
        thread->is_started = true;
        return 0;
    }
    if (bench->options.cpu_count > 0)
        return error_set(error, -rc, "no thread on processor %u: %s", bench->options.cpus[index],
                         strerror(rc));
    return error_set(error, -rc, "no thread: %s", strerror(rc));
}

static void set_phase(struct bench *bench, enum bench_phase phase, uint64_t from_ns, uint64_t to_ns)
{
    bench->phase = phase;
    bench->from_ns = from_ns;
    bench->to_ns = to_ns;
    __atomic_store_n(&bench->phase_number, bench->phase_number + 1, __ATOMIC_RELEASE);
}

static void stop_threads(struct bench *bench)
{
    set_phase(bench, BENCH_PHASE_END, 0, bench->to_ns);
    for (unsigned i = 0; i < bench->thread_count; i++) {
        if (bench->threads[i].is_started)
            pthread_join(bench->threads[i].thread, NULL);
        bench->threads[i].is_started = false;
    }
}

/* --- waiting for them --- */

/* Not before `until_ns`, unless something goes wrong, or also when the run is interrupted. */
static int await_time(struct bench *bench, uint64_t until_ns, bool may_interrupt,
                      struct error *error)
{
    for (;;) {
        uint64_t now_ns = clock_now_ns();
        struct timespec slice = {0};

        if (__atomic_load_n(&bench->has_failed, __ATOMIC_ACQUIRE)) {
            *error = bench->failure_text;
            return bench->failure;
        }
        if (may_interrupt && bench_is_interrupted())
            return error_set(error, -EINTR, "interrupted");
        if (now_ns >= until_ns)
            return 0;
        slice.tv_nsec = (long)CV_MIN(until_ns - now_ns, SLICE_NS);
        nanosleep(&slice, NULL);
    }
}

/* All threads are in the last phase, have noted their counts where they are to, and have looked at
 * their rings at `since_ns` or later: a thread may lack a processor for long. */
static bool all_rest(const struct bench *bench, bool are_measured, uint64_t since_ns)
{
    for (unsigned i = 0; i < bench->thread_count; i++) {
        const struct bench_thread *thread = &bench->threads[i];

        if (__atomic_load_n(&thread->phase, __ATOMIC_ACQUIRE) != bench->phase_number)
            return false;
        if (are_measured && !__atomic_load_n(&thread->is_measured, __ATOMIC_ACQUIRE))
            return false;
        if (bench_count_get(&thread->looked_ns) < since_ns)
            return false;
    }
    return true;
}

struct totals {
    uint64_t sent, received, outstanding;
    bool is_waiting; /* a guest has something that it was not yet called for */
};

static struct totals total_up(const struct bench *bench)
{
    struct totals totals = {0};

    for (unsigned i = 0; i < bench->sender_count; i++) {
        totals.sent += bench_count_get(&bench->senders[i].packets);
        totals.outstanding += bench_count_get(&bench->senders[i].outstanding);
    }
    for (unsigned i = 0; i < bench->receiver_count; i++) {
        totals.received += bench_count_get(&bench->receivers[i].packets);
        totals.is_waiting |= bench_count_get(&bench->receivers[i].waiting_ns) > 0;
    }
    return totals;
}

/* Until all that was sent has arrived, or nothing has come for `quiet_ns`. What is measured is
 * awaited also when the run is interrupted. */
static int await_rest(struct bench *bench, bool are_measured, uint64_t quiet_ns,
                      struct error *error)
{
    uint64_t moved_ns = clock_now_ns();
    struct totals last = total_up(bench);
    int rc = 0;

    while (rc == 0) {
        uint64_t now_ns = clock_now_ns();
        bool at_rest = all_rest(bench, are_measured, 0);
        struct totals totals = total_up(bench);

        if (!at_rest || totals.received != last.received || totals.sent != last.sent ||
            totals.outstanding > 0 ||
            totals.is_waiting) /* it moves, or a thread will find that it does not */
            moved_ns = now_ns;
        if (at_rest && totals.outstanding == 0 &&
            (totals.received == totals.sent ||
             (now_ns - moved_ns > quiet_ns && all_rest(bench, are_measured, moved_ns + quiet_ns))))
            return 0;
        last = totals;
        rc = await_time(bench, now_ns + MILLISECOND_NS, !are_measured, error);
    }
    return rc;
}

/* --- the run --- */

static int plan_arrivals(struct bench *bench, const char *arrivals, struct error *error)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < bench->sender_count; i++)
        rc = bench_sender_set_arrivals(&bench->senders[i], arrivals, bench->options.then, i,
                                       bench->sender_count,
                                       bench->run_count * UINT64_C(1000003) + i + 1, error);
    return rc;
}

static int warm_up(struct bench *bench, struct error *error)
{
    uint64_t from_ns = clock_now_ns() + START_NS;
    int rc = 0;

    bench_count_set(&bench->started_ns, from_ns);
    if (bench->options.warm_up_ns > 0) {
        set_phase(bench, BENCH_PHASE_WARM_UP, from_ns, UINT64_MAX);
        rc = await_time(bench, from_ns + bench->options.warm_up_ns, true, error);
    }
    if (rc < 0)
        return rc;
    set_phase(bench, BENCH_PHASE_REST, 0, 0);
    return await_rest(bench, false, REST_QUIET_NS, error);
}

/* The switch's processor time, and when it was read. */
static int read_cpu(const struct bench *bench, uint64_t *ret_cpu_ns, uint64_t *ret_at_ns,
                    struct error *error)
{
    *ret_cpu_ns = 0;
    *ret_at_ns = clock_now_ns();
    return bench->options.switch_pid > 0
               ? process_cpu_read(bench->options.switch_pid, ret_cpu_ns, error)
               : 0;
}

/* After the measured part, since it takes the kernel a while. */
static int read_memory(const struct bench *bench, struct bench_result *result, struct error *error)
{
    struct process_memory memory = {0};
    int rc = bench->options.switch_pid > 0
                 ? process_memory_read(bench->options.switch_pid, &memory, error)
                 : 0;

    if (rc == 0) {
        result->switch_rss_bytes = memory.rss_bytes;
        result->switch_rss_peak_bytes = memory.rss_peak_bytes;
    }
    return rc;
}

/* Of an interrupted run what was measured until then, and -EINTR. */
static int measure(struct bench *bench, struct bench_result *result, struct error *error)
{
    uint64_t from_ns, to_ns, before_ns = 0, after_ns = 0, read_from_ns = 0, read_to_ns = 0;
    bool was_interrupted;
    int rc;

    /* Nobody sends before all count from 0: what a thread had taken before would be forgotten. */
    set_phase(bench, BENCH_PHASE_READY, 0, 0);
    rc = await_rest(bench, false, 0, error);
    if (rc < 0)
        return rc;
    from_ns = clock_now_ns() + START_NS;
    to_ns = from_ns + bench->options.duration_ns;
    bench->step_ns = bench->senders[0].has_then ? from_ns + bench->options.duration_ns / 2 : 0;
    result->step_ns = bench->step_ns;
    set_phase(bench, BENCH_PHASE_MEASURE, from_ns, to_ns);
    rc = await_time(bench, from_ns, true, error);
    if (rc == 0)
        rc = read_cpu(bench, &before_ns, &read_from_ns, error);
    if (rc < 0)
        return rc;
    rc = await_time(bench, to_ns, true, error);
    was_interrupted = rc == -EINTR;
    if (was_interrupted)
        __atomic_store_n(&bench->to_ns, clock_now_ns(), __ATOMIC_RELAXED);
    if (rc == 0 || was_interrupted)
        rc = read_cpu(bench, &after_ns, &read_to_ns, error);
    if (rc < 0)
        return rc;
    result->switch_cpu_ns = after_ns - before_ns;
    result->switch_seconds = (double)(read_to_ns - read_from_ns) / 1e9;
    rc = await_rest(bench, true, DRAIN_QUIET_NS, error);
    if (rc == 0)
        rc = read_memory(bench, result, error);
    return rc == 0 && was_interrupted ? error_set(error, -EINTR, "interrupted") : rc;
}

/* --- its result --- */

/* R. Jain et al., "A quantitative measure of fairness", DEC-TR-301, 1984. */
static double fairness(const struct bench *bench)
{
    double sum = 0, squares = 0, count = 0;

    for (unsigned guest = 0; guest < bench->options.guest_count; guest++) {
        double received = (double)bench->noted[guest].received;

        if (!bench->guests[guest].receives)
            continue;
        count++;
        sum += received;
        squares += received * received;
    }
    return squares > 0 ? sum * sum / (count * squares) : 0;
}

static void add_verified(const struct bench *bench, struct bench_result *result)
{
    for (unsigned guest = 0; guest < bench->options.guest_count; guest++) {
        const struct bench_guest *g = &bench->guests[guest];

        if (!g->has_checker)
            continue;
        result->altered += g->checker.counts.altered;
        result->reordered += g->checker.counts.reordered;
        result->doubled += g->checker.counts.doubled;
        if (result->first_wrong[0] == '\0' && g->checker.first_wrong[0] != '\0')
            snprintf(result->first_wrong, sizeof(result->first_wrong), "guest %u: %s", guest,
                     g->checker.first_wrong);
    }
}

static void add_receivers(const struct bench *bench, struct bench_result *result)
{
    double jitter_ns = 0;
    uint64_t flows = 0;

    for (unsigned i = 0; i < bench->receiver_count; i++) {
        histogram_add(&result->delay_ns, &bench->receivers[i].delay_ns);
        bench_receiver_add_jitter(&bench->receivers[i], &jitter_ns, &flows);
        result->missed_calls += bench->receivers[i].missed_calls;
        result->out_of_order += bench->receivers[i].lean.out_of_order;
    }
    for (unsigned i = 0; i < bench->sender_count; i++)
        result->out_of_order += bench->senders[i].lean.out_of_order;
    result->jitter_ns = flows > 0 ? jitter_ns / (double)flows : 0;
}

static void sum_up(const struct bench *bench, struct bench_result *result)
{
    struct totals totals = total_up(bench);
    double measured_ns = 0;

    result->guest_count = bench->options.guest_count;
    memcpy(result->guests, bench->noted, sizeof(bench->noted));
    for (unsigned guest = 0; guest < bench->options.guest_count; guest++) {
        result->sent += bench->noted[guest].sent;
        result->received += bench->noted[guest].received;
        result->received_bytes += bench->noted[guest].received_bytes;
        result->kicks += bench->noted[guest].kicks;
        result->calls += bench->noted[guest].calls;
        result->sent_bytes += bench->noted_sent_bytes[guest];
        result->late += bench->noted_late[guest];
    }
    /* Here, and not in the threads, which had to take what arrived: it may be many. */
    for (unsigned i = 0; i < bench->sender_count; i++)
        result->unsent += bench_sender_unsent(&bench->senders[i], bench->to_ns);
    for (unsigned i = 0; i < bench->thread_count; i++)
        measured_ns += (double)bench->threads[i].measured_ns;
    result->seconds = measured_ns / bench->thread_count / 1e9;
    result->offered = bench_sender_offered(&bench->senders[0], bench->sender_count);
    result->fairness = fairness(bench);
    add_verified(bench, result);
    add_receivers(bench, result);
    totals.received -= CV_MIN(totals.received, result->doubled);
    result->lost = totals.sent > totals.received ? totals.sent - totals.received : 0;
    result->features = bench->guests[0].fe.features;
    vhost_user_features_format(result->features, result->features_text,
                               sizeof(result->features_text));
}

static int run_phases(struct bench *bench, const char *arrivals, struct bench_result *result,
                      struct error *error)
{
    int rc = plan_arrivals(bench, arrivals, error);

    if (rc == 0)
        rc = bench_announce_again(bench, error);
    set_phase(bench, BENCH_PHASE_REST, 0, 0);
    bench->thread_count = CV_MAX(bench->options.cpu_count, 1u);
    for (unsigned guest = 0; guest < bench->options.guest_count; guest++)
        bench->thread_of[guest] = (uint8_t)(guest % bench->thread_count);
    for (unsigned i = 0; rc == 0 && i < bench->thread_count; i++)
        rc = start_thread(bench, i, error);
    if (rc == 0)
        rc = warm_up(bench, error);
    if (rc == 0)
        rc = measure(bench, result, error);
    stop_threads(bench);
    return rc;
}

static bool are_measured(const struct bench *bench)
{
    for (unsigned i = 0; i < bench->thread_count; i++)
        if (!bench->threads[i].is_measured)
            return false;
    return true;
}

/*
 * The thread that calls bench_run sleeps for the most part. Where it wakes up it must not be in the
 * switch's way, so it shares the processors of the threads that it starts; and since those never
 * sleep, it must come before them where all are real-time ones.
 */
static void take_place(struct bench *bench, cpu_set_t *ret_before)
{
    const struct bench_options *options = &bench->options;
    struct sched_param above;
    cpu_set_t cpus;

    pthread_getaffinity_np(pthread_self(), sizeof(*ret_before), ret_before);
    CPU_ZERO(&cpus);
    for (unsigned i = 0; i < options->cpu_count; i++)
        CPU_SET(options->cpus[i], &cpus);
    if (options->cpu_count > 0)
        pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
    pthread_getschedparam(pthread_self(), &bench->sched_policy, &bench->sched_param);
    above = bench->sched_param;
    above.sched_priority++;
    if (above.sched_priority > 1)
        pthread_setschedparam(pthread_self(), bench->sched_policy, &above);
}

static void leave_place(const struct bench *bench, const cpu_set_t *before)
{
    pthread_setschedparam(pthread_self(), bench->sched_policy, &bench->sched_param);
    pthread_setaffinity_np(pthread_self(), sizeof(*before), before);
}

int bench_run(struct bench *bench, const char *arrivals, struct bench_result *ret_result,
              struct error *error)
{
    cpu_set_t before;
    int rc;

    memset(ret_result, 0, sizeof(*ret_result));
    bench->run_count++;
    take_place(bench, &before);
    rc = run_phases(bench, arrivals, ret_result, error);
    leave_place(bench, &before);
    if (rc == 0 || (rc == -EINTR && are_measured(bench)))
        sum_up(bench, ret_result);
    else if (rc == -ETIMEDOUT || rc == -EPROTO)
        bench->is_broken = true;
    return rc;
}

void bench_read_progress(const struct bench *bench, struct bench_progress *ret_progress)
{
    struct totals totals = total_up(bench);
    uint64_t now_ns = clock_now_ns(), started_ns = bench_count_get(&bench->started_ns);

    *ret_progress = (struct bench_progress){
        .sent = totals.sent,
        .received = totals.received,
        .elapsed_s = started_ns && now_ns > started_ns ? (double)(now_ns - started_ns) / 1e9 : 0,
        .total_s = (double)(bench->options.warm_up_ns + bench->options.duration_ns) / 1e9,
    };
}

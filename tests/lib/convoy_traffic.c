/*
 * convoy-traffic: verified traffic between guests of its own through a running switch. A test tool.
 *
 * Sockets are given in pairs; the ends of a pair send to each other. The last line of output starts
 * with "result" and holds key=value words for scripts. Exit status 1 when a frame was doubled,
 * reordered, altered or, unless that was asked for, lost, or when the switch broke a rule of its
 * rings; 2 when nothing could be run.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "open_loop.h"
#include "traffic_arguments.h"

/* Words that every mode prints; the caller ends the line. */
static void report_exchange(const struct exchange *exchange, const struct exchange_result *r)
{
    double seconds = (double)(exchange->finished_ns - exchange->started_ns) / 1e9;
    double frames = (double)CV_MAX(r->received, 1);

    printf("result sent=%llu received=%llu lost=%llu doubled=%llu reordered=%llu altered=%llu "
           "super=%llu foreign=%llu faults=%llu missed_calls=%llu seconds=%.3f mpps=%.3f gbps=%.3f "
           "kicks_per_frame=%.4f calls_per_frame=%.4f",
           (unsigned long long)r->sent, (unsigned long long)r->received,
           (unsigned long long)r->lost, (unsigned long long)r->doubled,
           (unsigned long long)r->reordered, (unsigned long long)r->altered,
           (unsigned long long)r->super, (unsigned long long)r->foreign,
           (unsigned long long)r->faults, (unsigned long long)exchange->missed_calls, seconds,
           (double)r->received / seconds / 1e6, (double)r->received_bytes * 8 / seconds / 1e9,
           (double)r->kicks / frames, (double)r->calls / frames);
}

static void report_ping_pong(const struct ping_pong_result *p)
{
    printf(" rounds=%llu sleeps=%llu starved=%llu stalls=%llu lost_calls=%llu lost_kicks=%llu "
           "lost_frames=%llu "
           "bulk_failed=%llu round_p50_us=%.1f round_p99_us=%.1f round_max_us=%.1f",
           (unsigned long long)p->rounds, (unsigned long long)p->sleeps,
           (unsigned long long)p->starved, (unsigned long long)p->stalls,
           (unsigned long long)p->lost_calls, (unsigned long long)p->lost_kicks,
           (unsigned long long)p->lost_frames, (unsigned long long)p->bulk_failed,
           (double)histogram_quantile(&p->round_ns, 0.5) / 1e3,
           (double)histogram_quantile(&p->round_ns, 0.99) / 1e3, (double)p->round_ns.max / 1e3);
}

static void report_disturb(const struct exchange *exchange, const struct disturb_result *d)
{
    double seconds = (double)(exchange->finished_ns - exchange->started_ns) / 1e9;

    printf("result sent=%llu received=%llu lost=%llu doubled=%llu reordered=%llu altered=%llu "
           "super=%llu merged=%llu foreign=%llu left_out=%llu swapped=%llu sent_twice=%llu "
           "missed_calls=%llu seconds=%.3f mpps=%.3f",
           (unsigned long long)d->counts.sent, (unsigned long long)d->counts.arrived,
           (unsigned long long)d->counts.lost, (unsigned long long)d->counts.doubled,
           (unsigned long long)d->counts.reordered, (unsigned long long)d->counts.altered,
           (unsigned long long)d->super, (unsigned long long)d->merged,
           (unsigned long long)d->foreign, (unsigned long long)d->left_out,
           (unsigned long long)d->swapped, (unsigned long long)d->doubled,
           (unsigned long long)exchange->missed_calls, seconds,
           (double)d->counts.arrived / seconds / 1e6);
}

static bool disturb_is_good(const struct disturb_result *d, bool loss_allowed)
{
    return (loss_allowed || d->counts.lost == 0) && d->counts.doubled == 0 &&
           d->counts.reordered == 0 && d->counts.altered == 0;
}

static void report_delay(const char *name, const struct histogram *delay_ns)
{
    printf(" %s_mean_us=%.2f %s_p50_us=%.2f %s_p99_us=%.2f %s_max_us=%.2f", name,
           histogram_mean(delay_ns) / 1e3, name, (double)histogram_quantile(delay_ns, 0.5) / 1e3,
           name, (double)histogram_quantile(delay_ns, 0.99) / 1e3, name,
           (double)delay_ns->max / 1e3);
}

static void report_open_loop(const struct open_loop_result *o)
{
    double received = (double)o->received;

    printf(" measured=%llu offered_pps=%.0f late=%llu late_max_us=%.1f calls=%llu "
           "packets_per_call=%.3f "
           "packets_per_group=%.3f",
           (unsigned long long)o->sent,
           (double)o->sent * 1e9 / (double)CV_MAX(o->measured_ns, UINT64_C(1)),
           (unsigned long long)o->late, (double)o->late_max_ns / 1e3, (unsigned long long)o->calls,
           received / (double)CV_MAX(o->calls, UINT64_C(1)),
           received / (double)CV_MAX(o->groups, UINT64_C(1)));
    report_delay("delay", &o->visible_ns);
    report_delay("call_delay", &o->told_ns);
    if (o->step_ns)
        printf(" step_ns=%llu", (unsigned long long)o->step_ns);
}

/* What each mode measured besides. */
struct measured {
    struct ping_pong_result ping_pong;
    struct open_loop_result open_loop;
    struct disturb_result disturb;
};

/* Arrivals are read before anything is started, so that a wrong word sends nothing. */
struct schedule {
    struct arrivals first, then;
};

static void schedule_init(struct schedule *schedule, const struct traffic_arguments *a)
{
    struct error error;
    uint64_t seed = a->exchange.seed;

    if ((a->arrivals && arrivals_init(&schedule->first, a->arrivals, seed, &error) < 0) ||
        (a->then && arrivals_init(&schedule->then, a->then, seed + 1, &error) < 0)) {
        fprintf(stderr, "convoy-traffic: %s\n", error.text);
        exit(2);
    }
    if (a->then && !a->arrivals)
        traffic_fail("--then goes with --arrivals", a->then);
    if (a->warm_up_seconds >= a->seconds) {
        fprintf(stderr, "convoy-traffic: nothing is measured in %g s with a warm-up of %g s\n",
                a->seconds, a->warm_up_seconds);
        exit(2);
    }
}

static bool run_open_loop(struct exchange *exchange, const struct traffic_arguments *a,
                          struct schedule *schedule, uint64_t deadline_ns,
                          struct open_loop_result *result)
{
    struct open_loop_options open_loop = {
        .arrivals = &schedule->first,
        .then = a->then ? &schedule->then : NULL,
        .duration_ns = (uint64_t)(a->seconds * 1e9),
        .warm_up_ns = (uint64_t)(a->warm_up_seconds * 1e9),
        .frame_bytes = a->exchange.len_max,
        .busy = a->exchange.busy,
    };

    return open_loop_run(exchange, &open_loop, deadline_ns, result);
}

/* Runs the traffic in the mode that was asked for; false: it did not end within its time. */
static bool run_mode(struct exchange *exchange, const struct traffic_arguments *a,
                     struct schedule *schedule, struct measured *m)
{
    uint64_t deadline_ns = clock_now_ns() + a->time_limit_s * UINT64_C(1000000000);

    if (a->ping_pong.rounds > 0)
        return ping_pong_run(exchange, &a->ping_pong, deadline_ns, &m->ping_pong);
    if (a->disturb.flows > 0)
        return disturb_run(exchange, &a->disturb, a->exchange.frames, deadline_ns, &m->disturb);
    if (a->arrivals)
        return run_open_loop(exchange, a, schedule, deadline_ns, &m->open_loop);
    return exchange_run(exchange, deadline_ns);
}

static void report(const struct exchange *exchange, const struct traffic_arguments *a,
                   const struct exchange_result *r, const struct measured *m, bool finished)
{
    printf("%u guests, seed %llu, features %#llx\n", exchange->end_count,
           (unsigned long long)exchange->options.seed,
           (unsigned long long)exchange->ends[0].fe.features);
    if (r->first_wrong[0])
        printf("first thing wrong: %s\n", r->first_wrong);
    if (m->ping_pong.first_stall[0])
        printf("first wait over 100 ms: %s\n", m->ping_pong.first_stall);
    if (!finished)
        printf("the run did not end within its time limit\n");
    if (m->disturb.first_wrong[0])
        printf("first thing wrong: %s\n", m->disturb.first_wrong);
    if (a->disturb.flows > 0)
        report_disturb(exchange, &m->disturb);
    else
        report_exchange(exchange, r);
    if (a->ping_pong.rounds > 0)
        report_ping_pong(&m->ping_pong);
    if (a->arrivals)
        report_open_loop(&m->open_loop);
    printf("\n");
}

static int run(const struct traffic_arguments *a)
{
    static struct measured measured;
    static struct schedule schedule;
    struct exchange exchange;
    struct exchange_result result;
    struct error error;
    bool finished;

    schedule_init(&schedule, a);
    if (exchange_open(&exchange, a->sockets, a->socket_count, &a->front, &a->exchange, &error) < 0)
        traffic_fail("cannot start", error.text);
    for (unsigned i = 0; i < a->socket_count; i++) {
        for (unsigned pair = 0; pair < exchange.ends[i].fe.ring_count / 2; pair++)
            front_end_transmitq(&exchange.ends[i].fe, pair)->cut = a->cut;
    }
    finished = run_mode(&exchange, a, &schedule, &measured);
    if (!finished)
        exchange.finished_ns = clock_now_ns();
    if (a->finally && system(a->finally) != 0)
        traffic_fail("this has failed", a->finally);
    exchange_get_result(&exchange, &result);
    report(&exchange, a, &result, &measured, finished);
    finished &= exchange.missed_calls == 0 && measured.ping_pong.stalls == 0 &&
                measured.ping_pong.bulk_failed == 0 &&
                disturb_is_good(&measured.disturb, a->loss_allowed);
    if (a->disturb.flows > 0) /* its frames are not the exchange's, and judged already */
        result = (struct exchange_result){.faults = result.faults};
    exchange_close(&exchange);
    arrivals_uninit(&schedule.first);
    arrivals_uninit(&schedule.then);
    return finished && exchange_result_is_good(&result, a->loss_allowed) ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct traffic_arguments arguments;

    traffic_arguments_read(argc, argv, &arguments);
    return run(&arguments);
}

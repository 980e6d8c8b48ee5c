/*
 * bench_run_test CONVOYD CAPTURE [WORD]: what convoy-bench measures is so. Nothing is lost but what
 * the switch says it has dropped, every packet is counted once, every delay is found, and a switch
 * that does not do its part is named instead of being waited for.
 *
 * Method: a daemon, and for each case of a table synthetic guests in every pattern, of every kind,
 * polling and called, with and without offloads. As many packets are lost as the daemon counts, and
 * at ports that push back, as fast as it goes, none but where a guest got no processor for long.
 * Every frame is stamped, so there must be as many delays as frames arrived; arrivals never get
 * more than they asked for; with `verify` no frame may be altered, reordered or doubled. Guests
 * that poll are never called. Then the daemon is stopped (SIGSTOP) under load, and what cannot be
 * is asked for. WORD chooses cases by a part of the name. No speed is judged: the machine may be
 * busy.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench_run.h"
#include "guest/vhost_user.h"
#include "lib/daemon.h"

enum { GUESTS = 4, TIMEOUT_MS = 5000, HANG_MS = 700, TRIES = 20 };
#define DURATION_NS  UINT64_C(200000000)
#define RECEIVED_MIN 800u /* of 8000 or more that slow arrivals ask for in this time */

static const char *capture_path;

static const char ports[] =
    "  - {name: g0, queues: 2, when-full: push-back}\n"
    "  - {name: g1, queues: 2, when-full: push-back}\n"
    "  - {name: g2, queues: 2, when-full: push-back}\n"
    "  - {name: g3, queues: 2, when-full: push-back}\n"
    "  - {name: drop0}\n"
    "  - {name: drop1}\n"
    "  - {name: client0, mode: client, when-full: push-back}\n"
    "  - {name: client1, mode: client, when-full: push-back}\n"
    "  - {name: bare0, when-full: push-back, offloads: \"off\", mergeable: \"off\"}\n"
    "  - {name: bare1, when-full: push-back, offloads: \"off\", mergeable: \"off\"}\n";

struct bench_case {
    const char *name;
    const char *port; /* two ports NAME0 and NAME1; NULL: g0 to g3 */
    const char *arrivals;
    bool listens;
    bool is_unmergeable;
    bool drops;             /* ports of which packets may be lost, which the daemon counts */
    unsigned frame_packets; /* segments of each super-packet, by hand */
    struct bench_options options;
};

#define SLOW .arrivals = "constant:40000"

static const struct bench_case cases[] = {
    {"pairs", SLOW, .options = {.pattern = BENCH_PAIRS}},
    {"both", SLOW, .options = {.pattern = BENCH_BOTH}},
    {"ring", SLOW, .options = {.pattern = BENCH_RING}},
    {"fan-in", SLOW, .options = {.pattern = BENCH_FAN_IN}},
    {"fan-out", SLOW, .options = {.pattern = BENCH_FAN_OUT}},
    {"pairs, called", SLOW, .options = {.pattern = BENCH_PAIRS, .receive = BENCH_CALL}},
    {"fan-in, called", SLOW, .options = {.pattern = BENCH_FAN_IN, .receive = BENCH_CALL}},
    {"Poisson", .arrivals = "poisson:40000", .options = {.pattern = BENCH_BOTH}},
    {"a step", SLOW, .options = {.pattern = BENCH_BOTH, .then = "constant:80000"}},
    {"two threads", SLOW, .options = {.pattern = BENCH_RING, .cpu_count = 2}},
    {"two queue pairs", SLOW, .options = {.pattern = BENCH_BOTH, .pairs = 2, .flows = 64}},
    {"more flows than slots", SLOW,
     .options = {.pattern = BENCH_PAIRS, .ring_size = 256, .flows = 1024}},
    {"a small ring", .options = {.pattern = BENCH_PAIRS, .ring_size = 64, .burst = 256}},
    {"IMIX over IPv6", SLOW,
     .options = {.pattern = BENCH_PAIRS, .kind = TRAFFIC_UDP6, .sizes = BENCH_IMIX}},
    {"a capture", SLOW, .options = {.pattern = BENCH_PAIRS, .sizes = BENCH_CAPTURE}},
    {"all, as fast as possible", .options = {.pattern = BENCH_BOTH, .size_bytes = 1514}},
    {"merging", .options = {.pattern = BENCH_BOTH,
                            .kind = TRAFFIC_TCP4,
                            .size_bytes = 1514,
                            .offloads = true}},
    {"super-packets", .frame_packets = 28,
     .options =
         {.pattern = BENCH_BOTH, .kind = TRAFFIC_TCP4, .size_bytes = 40000, .offloads = true}},
    {"super-packets in large buffers", .is_unmergeable = true, .frame_packets = 42,
     .options =
         {.pattern = BENCH_PAIRS, .kind = TRAFFIC_TCP6, .size_bytes = 60000, .offloads = true}},
    {"not mergeable", .is_unmergeable = true, .options = {.pattern = BENCH_BOTH}},
    {"the switch connects", SLOW, .port = "client", .listens = true,
     .options = {.pattern = BENCH_BOTH}},
    {"nothing offered", SLOW, .port = "bare", .options = {.pattern = BENCH_BOTH}},
    {"drops", .port = "drop", .drops = true, .options = {.pattern = BENCH_PAIRS}},
    {"drops, two threads", .port = "drop", .drops = true,
     .options = {.pattern = BENCH_BOTH, .cpu_count = 2, .receive = BENCH_CALL}},
    {"verified", .options = {.pattern = BENCH_RING, .verify = true, .flows = 8}},
    {"verified, called, IMIX", .options = {.pattern = BENCH_BOTH,
                                           .verify = true,
                                           .sizes = BENCH_IMIX,
                                           .receive = BENCH_CALL}},
    {"verified, fan-in",
     .options = {.pattern = BENCH_FAN_IN, .verify = true, .kind = TRAFFIC_TCP4, .size_bytes = 100}},
    {"verified, fan-out", SLOW,
     .options =
         {.pattern = BENCH_FAN_OUT, .verify = true, .kind = TRAFFIC_UDP6, .size_bytes = 200}},
    {"verified, two queue pairs",
     .options = {.pattern = BENCH_BOTH, .verify = true, .pairs = 2, .flows = 64}},
    {"verified, merging", .options = {.pattern = BENCH_BOTH,
                                      .verify = true,
                                      .kind = TRAFFIC_TCP4,
                                      .size_bytes = 1000,
                                      .offloads = true}},
    {"verified, super-packets", .frame_packets = 35,
     .options = {.pattern = BENCH_PAIRS,
                 .verify = true,
                 .kind = TRAFFIC_TCP6,
                 .size_bytes = 50000,
                 .offloads = true}},
    {"verified, super-packets of datagrams", .frame_packets = 30,
     .options = {.pattern = BENCH_PAIRS,
                 .verify = true,
                 .kind = TRAFFIC_UDP4,
                 .size_bytes = 44179,
                 .offloads = true}},
};

static struct daemon convoyd;
static unsigned failures;

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            failures++;                                                                            \
            printf("  FAILED: %s: ", #condition);                                                  \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
        }                                                                                          \
    } while (0)

/* --- cases --- */

static void set_sockets(struct bench_options *options, const struct bench_case *c)
{
    static char paths[GUESTS][108];

    options->guest_count = c->port ? 2 : GUESTS;
    for (unsigned i = 0; i < options->guest_count; i++) {
        snprintf(paths[i], sizeof(paths[i]), "%s/%s%u.sock", convoyd.dir, c->port ? c->port : "g",
                 i);
        options->sockets[i] = paths[i];
        options->listens[i] = c->listens;
    }
}

static struct bench_options options_of(const struct bench_case *c)
{
    struct bench_options o = c->options;

    set_sockets(&o, c);
    o.pairs = o.pairs ? o.pairs : 1;
    o.ring_size = o.ring_size ? o.ring_size : 1024;
    o.kind = o.kind == TRAFFIC_ETHER ? TRAFFIC_UDP4 : o.kind;
    o.size_bytes = o.size_bytes ? o.size_bytes : 64;
    o.capture_path = capture_path;
    o.flows = o.flows ? o.flows : 1;
    o.mergeable = !c->is_unmergeable;
    o.duration_ns = DURATION_NS;
    o.warm_up_ns = c->arrivals ? DURATION_NS / 4 : 0;
    o.sample = 1;
    o.burst = o.burst ? o.burst : 32;
    o.timeout_ms = TIMEOUT_MS;
    o.arrivals = c->arrivals;
    return o;
}

static uint64_t drops_of(const struct bench_case *c, const char *counter)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < (c->port ? 2 : GUESTS); i++) {
        char port[32];

        snprintf(port, sizeof(port), "%s%u", c->port ? c->port : "g", i);
        sum += daemon_counter(&convoyd, port, counter);
    }
    return sum;
}

/* The arrivals ask for no more than this of each, and a busy machine may be behind. */
static void check_pace(const struct bench_case *c, const struct bench_result *r)
{
    double rate = c->options.then ? 60000 : 40000;
    double most = rate * r->seconds * (strchr(c->arrivals, 'p') ? 1.05 : 1.001);

    EXPECT(r->offered > rate - 1 && r->offered < rate + 1, "%g", r->offered);
    EXPECT((double)r->sent <= most + GUESTS, "%llu", (unsigned long long)r->sent);
    EXPECT(r->sent >= RECEIVED_MIN, "%llu", (unsigned long long)r->sent);
    EXPECT(!c->options.then == !r->step_ns, "%llu", (unsigned long long)r->step_ns);
}

static void check_verified(const struct bench_result *r)
{
    EXPECT(r->altered == 0, "%llu: %s", (unsigned long long)r->altered, r->first_wrong);
    EXPECT(r->reordered == 0, "%llu", (unsigned long long)r->reordered);
    EXPECT(r->doubled == 0, "%llu", (unsigned long long)r->doubled);
}

/* Frames that are all alike; super-packets count like what they are cut into. */
static void check_sizes(const struct bench_options *o, const struct bench_result *r)
{
    if (o->sizes != BENCH_FIXED || o->size_bytes > BENCH_MTU_FRAME)
        return;
    EXPECT(r->sent_bytes == r->sent * o->size_bytes, "%llu of %llu",
           (unsigned long long)r->sent_bytes, (unsigned long long)r->sent);
    EXPECT(r->received_bytes == r->received * o->size_bytes, "%llu of %llu",
           (unsigned long long)r->received_bytes, (unsigned long long)r->received);
}

/* Every frame was sampled: so many delays, less those of frames that were lost. */
static void check_delays(const struct bench_options *o, const struct bench_result *r)
{
    uint64_t due = r->sent - r->lost;

    if (o->verify || o->sizes == BENCH_CAPTURE)
        due = 0;
    if (o->size_bytes <= BENCH_MTU_FRAME)
        EXPECT(r->delay_ns.count == due, "%llu of %llu", (unsigned long long)r->delay_ns.count,
               (unsigned long long)due);
    else if (!o->verify)
        EXPECT(r->delay_ns.count > 0 && r->delay_ns.count < due, "%llu",
               (unsigned long long)r->delay_ns.count);
    EXPECT(due == 0 || r->delay_ns.max < UINT64_C(5000000000), "%llu",
           (unsigned long long)r->delay_ns.max);
}

static void check_result(const struct bench_case *c, const struct bench_options *o,
                         const struct bench_result *r, uint64_t dropped)
{
    printf("  sent %llu, received %llu, lost %llu, calls %llu (missed %llu), kicks %llu, delays "
           "%llu\n",
           (unsigned long long)r->sent, (unsigned long long)r->received,
           (unsigned long long)r->lost, (unsigned long long)r->calls,
           (unsigned long long)r->missed_calls, (unsigned long long)r->kicks,
           (unsigned long long)r->delay_ns.count);
    EXPECT(r->sent > 0 && r->received > 0 && r->received <= r->sent, "nothing, or too much");
    /* What is dropped in a warm-up does not count. */
    dropped *= CV_MAX(c->frame_packets, 1u);
    EXPECT(o->warm_up_ns ? r->lost <= dropped : r->lost == dropped, "the switch has dropped %llu",
           (unsigned long long)dropped);
    EXPECT(r->fairness > 0 && r->fairness <= 1.000001, "%g", r->fairness);
    EXPECT(o->receive == BENCH_CALL ? r->calls > 0 : r->calls == 0, "%llu",
           (unsigned long long)r->calls);
    EXPECT(r->out_of_order == 0, "%llu", (unsigned long long)r->out_of_order);
    if (c->arrivals)
        check_pace(c, r);
    check_verified(r);
    check_sizes(o, r);
    check_delays(o, r);
}

/* Runs, and once more where the guests had hardly any processor: real-time programs may take all.
 * *ret_dropped and *ret_stalled are what the daemon has counted in the last run. */
static int run_busy(struct bench *bench, const struct bench_case *c, struct bench_result *result,
                    uint64_t *ret_dropped, uint64_t *ret_stalled, struct error *error)
{
    int rc = 0;

    for (unsigned try = 0; rc == 0 && try < TRIES; try++) {
        uint64_t dropped = drops_of(c, "dropped"), stalled = drops_of(c, "drop_stalled");

        rc = bench_run(bench, c->arrivals, result, error);
        *ret_dropped = drops_of(c, "dropped") - dropped;
        *ret_stalled = drops_of(c, "drop_stalled") - stalled;
        if (result->received > (c->arrivals ? RECEIVED_MIN : 0))
            break;
    }
    return rc;
}

static void run_case(const struct bench_case *c)
{
    static struct bench_result result;
    struct bench_options options = options_of(c);
    struct bench *bench = NULL;
    struct error error;
    int rc;

    printf("%s\n", c->name);
    rc = bench_open(&options, &bench, &error);
    EXPECT(rc == 0, "%s", error.text);
    /* A second run with the same guests must find them as the first has. */
    for (unsigned run = 0; rc == 0 && run < 2; run++) {
        uint64_t dropped = 0, stalled = 0;

        rc = run_busy(bench, c, &result, &dropped, &stalled, &error);
        EXPECT(rc == 0, "%s", error.text);
        if (rc == 0)
            check_result(c, &options, &result, dropped);
        /* Where it pushes back, only a guest whose processor somebody else has is given up. */
        EXPECT(c->drops || dropped == stalled, "%llu, not %llu", (unsigned long long)dropped,
               (unsigned long long)stalled);
    }
    if (bench)
        bench_close(bench);
}

/* --- what goes wrong --- */

/* Stops the daemon a while into a run. */
static void *stop_soon(void *context)
{
    usleep(200000);
    kill(*(pid_t *)context, SIGSTOP);
    return NULL;
}

static void check_hang(const char *arrivals)
{
    static struct bench_result result;
    static const struct bench_case c = {.options = {.pattern = BENCH_FAN_IN}};
    struct bench_options options = options_of(&c);
    struct bench *bench;
    struct error error;
    pthread_t stopper;
    uint64_t began_ns;
    int rc;

    printf("the switch stands still, %s\n", arrivals ? arrivals : "as fast as possible");
    options.timeout_ms = HANG_MS;
    options.duration_ns = UINT64_C(20000000000);
    rc = bench_open(&options, &bench, &error);
    EXPECT(rc == 0, "%s", error.text);
    if (rc < 0)
        return;
    began_ns = clock_now_ns();
    pthread_create(&stopper, NULL, stop_soon, &convoyd.pid);
    rc = bench_run(bench, arrivals, &result, &error);
    pthread_join(stopper, NULL);
    bench_close(bench);
    kill(convoyd.pid, SIGCONT);
    printf("  %s\n", error.text);
    EXPECT(rc == -ETIMEDOUT, "%d", rc);
    EXPECT(strstr(error.text, options.sockets[1]) || strstr(error.text, options.sockets[2]) ||
               strstr(error.text, options.sockets[3]),
           "no sender's socket");
    EXPECT(strstr(error.text, "available ") && strstr(error.text, "used "), "no indices");
    EXPECT(clock_now_ns() - began_ns < UINT64_C(10000000000), "it took too long");
}

static void check_refusals(void)
{
    static const struct bench_case c = {.options = {.pattern = BENCH_PAIRS}};
    struct bench_options options = options_of(&c);
    struct bench *bench;
    struct error error;
    int rc;

    printf("what cannot be\n");
    options.timeout_ms = 100;
    options.sockets[1] = "/nonexistent/socket";
    rc = bench_open(&options, &bench, &error);
    EXPECT(rc == -ENOENT && strstr(error.text, "/nonexistent/socket"), "%d %s", rc, error.text);
    options = options_of(&c);
    options.pairs = options.flows = 4;
    rc = bench_open(&options, &bench, &error);
    EXPECT(rc < 0 && strstr(error.text, "as many queue pairs"), "%d %s", rc, error.text);
    options = options_of(&c);
    options.guest_count = 3;
    rc = bench_open(&options, &bench, &error);
    EXPECT(rc == -EINVAL && strstr(error.text, "even"), "%d %s", rc, error.text);
    options = options_of(&c);
    options.size_bytes = 9000;
    rc = bench_open(&options, &bench, &error);
    EXPECT(rc == -EINVAL && strstr(error.text, "offloads"), "%d %s", rc, error.text);
    options.offloads = true;
    options.kind = TRAFFIC_TCP4;
    options.sockets[0] = daemon_socket(&convoyd, "bare0");
    rc = bench_open(&options, &bench, &error);
    EXPECT(rc == -ENOTSUP && strstr(error.text, "HOST_TSO4"), "%d %s", rc, error.text);
}

static void *interrupt_soon(void *context)
{
    (void)context;
    usleep(200000);
    bench_interrupt();
    return NULL;
}

/* The last: an interrupt stays. */
static void check_interrupt(void)
{
    static struct bench_result result;
    static const struct bench_case c = {.options = {.pattern = BENCH_RING}};
    struct bench_options options = options_of(&c);
    struct bench *bench;
    struct error error;
    pthread_t interrupter;
    int rc;

    printf("an interrupt\n");
    options.duration_ns = UINT64_C(60000000000);
    rc = bench_open(&options, &bench, &error);
    EXPECT(rc == 0, "%s", error.text);
    if (rc < 0)
        return;
    pthread_create(&interrupter, NULL, interrupt_soon, NULL);
    rc = bench_run(bench, NULL, &result, &error);
    pthread_join(interrupter, NULL);
    EXPECT(rc == -EINTR, "%d %s", rc, error.text);
    bench_close(bench);
}

int main(int argc, char **argv)
{
    struct error error;

    if (argc < 3) {
        fprintf(stderr, "usage: bench_run_test CONVOYD CAPTURE [WORD]...\n");
        return 2;
    }
    capture_path = argv[2];
    if (daemon_start(&convoyd, argv[1], ports, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (unsigned i = 0; i < CV_COUNT_OF(cases) && failures == 0; i++) {
        if (argc == 3 || strstr(cases[i].name, argv[3]))
            run_case(&cases[i]);
    }
    if (argc == 3 && failures == 0) {
        check_hang(NULL);
        check_hang("constant:300");
        check_refusals();
        check_interrupt();
    }
    if (failures > 0)
        daemon_log_show(&convoyd, 0);
    EXPECT(daemon_stop(&convoyd) == 0, "the daemon did not end well");
    return failures > 0;
}

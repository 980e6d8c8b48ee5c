/*
 * What two processors are to each other while others run on them. To a virtual machine they are
 * lent, and the host may move them at any time: to two threads of one core, which then work at half
 * speed, or so far apart that a cache line takes several times as long from one to the other.
 * Either changes what a switch carries more than most of what is compared, and nothing inside the
 * machine tells. So this takes both processors for some 50 us, every 100 ms, and looks: seldom
 * enough for a 99.9th percentile of delays, while it may decide which is the longest of all.
 *
 *   core-watch CPU CPU     until SIGTERM, SIGINT or the end of standard input
 *
 * Then prints one line of JSON: how often it looked, how often one of them did not come in time;
 * and means of a cache line's round trip, in ns, and of how many times as long work takes on the
 * first while the second works too. Single values are limited, so that a host that takes a
 * processor away in such a moment does not decide a mean.
 *
 * It takes a processor from whoever polls on it, by real-time priority: CAP_SYS_NICE.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"

enum { STATUS_USAGE = 2, STATUS_NOT_ALLOWED = 3 };

enum {
    ROUND_TRIPS = 100,        /* in a look ... */
    ROUND_TRIPS_UNTIMED = 10, /* ... and before them, until both processors are awake */
    WORK_STEPS = 20000,       /* some 10 us */
    WORK_STEPS_A_TIME = 200,  /* between two questions whether that is enough */
    SPINS_A_TIME = 256,       /* between two looks at the clock */
};

#define INTERVAL_NS UINT64_C(100000000)
#define PATIENCE_NS UINT64_C(2000000) /* with the other thread, from the begin of a look */

#define ROUND_TRIP_NS_MAX 2000.0
#define SLOWDOWN_MAX      3.0

/* Steps of a look, so that a number names a step of one look for good. */
enum { STEPS = 2 * (ROUND_TRIPS + ROUND_TRIPS_UNTIMED) + 8 };

/* What one thread says to the other, a cache line each. */
struct side {
    _Alignas(CV_CACHE_LINE_BYTES * 2) _Atomic uint64_t step;
};

static struct side sides[2];
static uint64_t first_ns; /* of the first look */
static atomic_bool is_over;

static struct {
    unsigned looks, missed;
    double round_trip_ns, slowdown; /* sums */
} found;

static void spin(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
}

/* Waits until the other side has come to a step. False: it does not until the deadline. */
static bool await_step(const struct side *other, uint64_t step, uint64_t deadline_ns,
                       bool is_gentle)
{
    for (unsigned spins = 1; atomic_load_explicit(&other->step, memory_order_acquire) < step;
         spins++) {
        if (is_gentle)
            spin();
        if (spins % SPINS_A_TIME == 0 && clock_now_ns() > deadline_ns)
            return false;
    }
    return true;
}

static void say_step(struct side *own, uint64_t step)
{
    atomic_store_explicit(&own->step, step, memory_order_release);
}

/* Chains of dependent operations that keep a core's units busy, all in registers. */
static void work(unsigned steps)
{
    uint64_t a = 1, b = 2, c = 3, d = 4;

    for (unsigned i = 0; i < steps; i++) {
        a = a * 3 + 1;
        b ^= b << 1;
        c += c >> 3;
        d = d * 5 + i;
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
    }
}

static double timed_work_ns(void)
{
    uint64_t started_ns = clock_now_ns();

    work(WORK_STEPS);
    return (double)(clock_now_ns() - started_ns);
}

/* The side that looks at the clock. False: the other did not come. */
static bool look(uint64_t step, uint64_t deadline_ns)
{
    uint64_t started_ns = 0;
    double round_trip_ns, alone_ns, together_ns;

    for (unsigned i = 0; i < ROUND_TRIPS + ROUND_TRIPS_UNTIMED; i++) {
        if (i == ROUND_TRIPS_UNTIMED)
            started_ns = clock_now_ns();
        say_step(&sides[0], ++step);
        if (!await_step(&sides[1], step, deadline_ns, false))
            return false;
    }
    round_trip_ns = (double)(clock_now_ns() - started_ns) / ROUND_TRIPS;
    alone_ns = timed_work_ns();
    say_step(&sides[0], ++step);
    if (!await_step(&sides[1], step, deadline_ns, false))
        return false;
    together_ns = timed_work_ns();
    say_step(&sides[0], ++step);
    found.looks++;
    found.round_trip_ns += CV_MIN(round_trip_ns, ROUND_TRIP_NS_MAX);
    found.slowdown += CV_MIN(together_ns / alone_ns, SLOWDOWN_MAX);
    return true;
}

/* The other side: answers, waits gently while the first works, then works with it. */
static bool be_looked_at(uint64_t step, uint64_t deadline_ns)
{
    for (unsigned i = 0; i < ROUND_TRIPS + ROUND_TRIPS_UNTIMED; i++) {
        if (!await_step(&sides[0], ++step, deadline_ns, false))
            return false;
        say_step(&sides[1], step);
    }
    if (!await_step(&sides[0], ++step, deadline_ns, true))
        return false;
    say_step(&sides[1], step++);
    while (atomic_load_explicit(&sides[0].step, memory_order_acquire) < step) {
        work(WORK_STEPS_A_TIME);
        if (clock_now_ns() > deadline_ns)
            return false;
    }
    return true;
}

static void sleep_until(uint64_t ns)
{
    struct timespec at = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        continue;
}

static void *run_side(void *side_is_second)
{
    bool is_second = side_is_second != NULL;

    for (uint64_t i = 0; !is_over; i++) {
        uint64_t at_ns = first_ns + i * INTERVAL_NS, step = (i + 1) * STEPS;

        sleep_until(at_ns);
        if (is_second)
            (void)be_looked_at(step, at_ns + PATIENCE_NS);
        else if (!look(step, at_ns + PATIENCE_NS))
            found.missed++;
    }
    return NULL;
}

static int start_side(pthread_t *thread, unsigned cpu, bool is_second)
{
    struct sched_param first_of_all = {.sched_priority = 1};
    pthread_attr_t attr;
    cpu_set_t cpus;
    int r;

    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    pthread_attr_init(&attr);
    pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
    pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
    pthread_attr_setschedparam(&attr, &first_of_all);
    r = pthread_create(thread, &attr, run_side, is_second ? &sides[1] : NULL);
    pthread_attr_destroy(&attr);
    return r;
}

/* Until a signal comes or whoever started us is gone. */
static void await_end(void)
{
    struct pollfd input = {.fd = STDIN_FILENO};
    sigset_t none;

    sigemptyset(&none);
    (void)ppoll(&input, 1, NULL, &none);
}

static void end_on(int signal_number)
{
    (void)signal_number;
}

static bool parse_cpu(const char *word, unsigned *ret_cpu)
{
    char *end;
    unsigned long cpu = strtoul(word, &end, 10);

    *ret_cpu = (unsigned)cpu;
    return word[0] >= '0' && word[0] <= '9' && *end == '\0' && cpu < CPU_SETSIZE;
}

int main(int argc, char **argv)
{
    static const int ends[] = {SIGTERM, SIGINT};
    unsigned cpus[2];
    pthread_t threads[2];
    sigset_t blocked;

    if (argc != 3 || !parse_cpu(argv[1], &cpus[0]) || !parse_cpu(argv[2], &cpus[1]) ||
        cpus[0] == cpus[1]) {
        fprintf(stderr, "usage: core-watch CPU CPU: numbers of two processors\n");
        return STATUS_USAGE;
    }
    sigemptyset(&blocked);
    for (unsigned i = 0; i < CV_COUNT_OF(ends); i++) {
        (void)signal(ends[i], end_on);
        sigaddset(&blocked, ends[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, &blocked, NULL); /* await_end lets them in */
    first_ns = clock_now_ns() + 1000000;
    for (unsigned i = 0; i < 2; i++) {
        int r = start_side(&threads[i], cpus[i], i == 1);

        if (r) {
            fprintf(stderr, "core-watch: no thread of real-time priority on processor %u: %s\n",
                    cpus[i], strerror(r));
            return r == EPERM ? STATUS_NOT_ALLOWED : 1;
        }
    }
    await_end();
    is_over = true;
    for (unsigned i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL);
    if (found.looks == 0)
        printf("{\"looks\": 0, \"missed\": %u}\n", found.missed);
    else
        printf("{\"looks\": %u, \"missed\": %u, \"round_trip_ns\": %.1f, \"slowdown\": %.3f}\n",
               found.looks, found.missed, found.round_trip_ns / found.looks,
               found.slowdown / found.looks);
    return 0;
}

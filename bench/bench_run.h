/* Guests, threads, and one measured run (bench.h). */
#ifndef CONVOY_BENCH_BENCH_RUN_H
#define CONVOY_BENCH_BENCH_RUN_H

#include "bench.h"

struct bench;

/*
 * Connects all guests, negotiates, starts their rings, and has every guest be heard once, so that
 * the switch knows their addresses. The options are copied; what they point to must live on.
 * -ETIMEDOUT, -ECONNREFUSED and so on, with a sentence that names the socket and what to do.
 */
int bench_open(const struct bench_options *options, struct bench **ret_bench,
               struct error *error) CV_MUST_CHECK;
void bench_close(struct bench *bench);

/*
 * One run with these arrivals (NULL: as fast as possible): warm-up, the measured part, and then
 * what is under way is awaited until nothing has come for 100 ms. May be called again. *ret_result
 * is as large as it looks: keep it off small stacks. -ETIMEDOUT: a guest's ring has stood still for
 * options.timeout_ms while it had something to send; the sentence names the guest, its socket and
 * its ring's indices. -EINTR: bench_interrupt; *ret_result is then what was measured until then
 * (seconds 0: nothing), so that it can still be reported.
 */
int bench_run(struct bench *bench, const char *arrivals, struct bench_result *ret_result,
              struct error *error) CV_MUST_CHECK;

/* Ends the run soon; may be called from a signal handler. */
void bench_interrupt(void);

/* Counters that another thread may read while a run goes on, for a progress line. */
struct bench_progress {
    uint64_t sent, received;
    double elapsed_s, total_s;
};
void bench_read_progress(const struct bench *bench, struct bench_progress *ret_progress);

#endif

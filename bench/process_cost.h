/* What a process costs, from /proc. */
#ifndef CONVOY_BENCH_PROCESS_COST_H
#define CONVOY_BENCH_PROCESS_COST_H

#include "base/error.h"

struct process_cost {
    uint64_t cpu_ns;         /* of all its threads since it began: schedstat, to the nanosecond */
    uint64_t rss_bytes;      /* resident memory of its own (anonymous, and of files) */
    uint64_t rss_peak_bytes; /* VmHWM */
};

/* -ESRCH, -EACCES with a sentence. */
int process_cost_read(int pid, struct process_cost *ret_cost, struct error *error) CV_MUST_CHECK;

#endif

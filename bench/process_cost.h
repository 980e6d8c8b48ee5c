/* What a process costs, as the kernel counts it. */
#ifndef CONVOY_BENCH_PROCESS_COST_H
#define CONVOY_BENCH_PROCESS_COST_H

#include "base/error.h"

struct process_cost {
    /* Processor time of all its threads since it began, those that have ended included; of a thread
     * that runs at this moment as the scheduler last counted it, which is at most a tick ago. */
    uint64_t cpu_ns;
    /* Resident memory of its own: anonymous, of files, and huge pages. Not memory that it shares
     * with guests through memfd or tmpfs. */
    uint64_t rss_bytes;
    uint64_t rss_peak_bytes; /* VmHWM: the most ever, in small pages, shared memory included */
};

/* -ESRCH, -EACCES with a sentence. */
int process_cost_read(int pid, struct process_cost *ret_cost, struct error *error) CV_MUST_CHECK;

#endif

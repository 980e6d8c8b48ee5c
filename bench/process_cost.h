/* What a process costs, as the kernel counts it. */
#ifndef CONVOY_BENCH_PROCESS_COST_H
#define CONVOY_BENCH_PROCESS_COST_H

#include "base/error.h"

/*
 * Processor time of all its threads since it began, those that have ended included; of a thread
 * that runs at this moment as the scheduler last counted it, which is at most a tick ago. Cheap.
 * -ESRCH, -EACCES with a sentence.
 */
int process_cpu_read(int pid, uint64_t *ret_cpu_ns, struct error *error) CV_MUST_CHECK;

struct process_memory {
    /* Resident and its own: anonymous, of files, shared memory, huge pages; not the memory of
     * synthetic guests (front/guest_ram.h). Where its mappings may not be read, without all shared
     * memory. */
    uint64_t rss_bytes;
    uint64_t rss_peak_bytes; /* VmHWM: the most ever, guests' memory included, huge pages not */
};

/* Looks through all its page tables: not while time is measured. Errors as above. */
int process_memory_read(int pid, struct process_memory *ret_memory,
                        struct error *error) CV_MUST_CHECK;

#endif

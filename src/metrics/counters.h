/*
 * Counters of one port. Each worker has its own set per port, so that a counter has one writer and
 * no lock; a reader adds the sets up.
 */
#ifndef CONVOY_METRICS_COUNTERS_H
#define CONVOY_METRICS_COUNTERS_H

#include "base/compiler.h"
#include "metrics/drops.h"
#include "metrics/merge_refusals.h"

/* X(member, "sentence for people"); "from" and "to" are said from the switch's side. */
#define PORT_COUNTERS(X)                                                                           \
    X(from_packets, "frames taken from the port")                                                  \
    X(from_bytes, "bytes of those frames, without the virtio-net header")                          \
    X(from_bursts, "groups in which they were taken")                                              \
    X(from_calls, "notifications that gave the port its buffers back")                             \
    X(kicks, "wake-ups by the port")                                                               \
    X(to_packets, "frames delivered to the port")                                                  \
    X(to_bytes, "bytes of those frames, without the virtio-net header")                            \
    X(to_convoys, "groups in which they were delivered")                                           \
    X(to_calls, "notifications that announced them")                                               \
    X(to_merged, "frames delivered as part of another, merged with it")                            \
    X(to_held_data, "groups that had waited for company before they were delivered")               \
    X(to_held_call, "groups whose notification had waited for company")                            \
    X(linearised, "frames copied to private memory because they lay in too many pieces")           \
    X(segmented, "super-packets cut because the port takes none")                                  \
    X(checksummed, "checksums completed because the port wants them complete")                     \
    X(faults, "times the port was stopped for breaking the protocol")

struct port_counters {
#define PORT_COUNTER_MEMBER(member, text) uint64_t member;
    PORT_COUNTERS(PORT_COUNTER_MEMBER)
#undef PORT_COUNTER_MEMBER
    uint64_t drops[DROP_REASON_COUNT]; /* frames, by reason; [DROP_NONE] stays 0 */
    /*
     * What became of frames for the port that could have continued a flow aboard: [MERGE_JOINED]
     * those merged, the others by the reason against it. Counted when a frame is loaded, so that
     * the parts add up; to_merged is counted at delivery and lacks what was dropped in between.
     */
    uint64_t merges[MERGE_REFUSAL_COUNT];
};

/* Of merges[MERGE_JOINED], which is visited as "merges". */
#define MERGES_TEXT "frames merged into one of their flow that was aboard already"

/* Adds to a counter that this thread alone writes; readers elsewhere never see a torn value. */
static inline void counter_add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Adds every counter of `from`, which another thread may be writing, to `sum`. */
void port_counters_add(struct port_counters *sum, const struct port_counters *from);

/* Calls `visit(name, value, text, context)` for each counter, drops as "drop_NAME", then "merges",
 * and frames that were not merged as "unmerged_NAME". */
void port_counters_visit(const struct port_counters *counters,
                         void (*visit)(const char *name, uint64_t value, const char *text,
                                       void *context),
                         void *context);

#endif

/*
 * A convoy: frames bound for one queue of one port, in the order in which they came, that cross the
 * channel together. Between departures it is also where frames wait that the guest had no buffers
 * for. It holds views, not bytes; what it may hold is bounded.
 */
#ifndef CONVOY_CONVOY_CONVOY_H
#define CONVOY_CONVOY_CONVOY_H

#include "convoy/frame.h"

struct convoy {
    unsigned count;     /* frames aboard */
    bool has_express;   /* one of them never waits for company */
    uint64_t opened_ns; /* when the first of them was loaded */
    uint64_t
        blocked_since_ns; /* since when the guest has had no buffers for the first; 0: it has */
    unsigned first;       /* where the first is in `frames` */
    struct frame *frames[CONVOY_FRAMES_MAX * 2]; /* twice, so that they always lie in a row */
};

static inline bool convoy_is_full(const struct convoy *convoy)
{
    return convoy->count == CONVOY_FRAMES_MAX;
}

/* The frames aboard, oldest first; `count` of them in a row. */
static inline struct frame **convoy_frames(struct convoy *convoy)
{
    return &convoy->frames[convoy->first];
}

/* Takes a frame aboard; the convoy must not be full. */
void convoy_load(struct convoy *convoy, struct frame *frame, uint64_t now_ns);

/* The first `count` frames have left. */
void convoy_unload(struct convoy *convoy, unsigned count, uint64_t now_ns);

/* True when a frame of `source` is aboard. */
bool convoy_has_source(const struct convoy *convoy, const struct port_queue *source);

/*
 * Takes out every frame that came from `source` (NULL: every frame), keeping the order of the
 * others; returns how many were put into `ret_frames` (room for CONVOY_FRAMES_MAX).
 */
unsigned convoy_remove_source(struct convoy *convoy, const struct port_queue *source,
                              struct frame **ret_frames);

#endif

/*
 * A convoy: frames bound for one queue of one port, in the order in which they came, that cross the
 * channel together. A frame that continues a flow aboard is merged into that flow's last frame
 * instead of becoming one more. Between departures the convoy is also where frames wait that the
 * guest had no buffers for. It holds views, not bytes; what it may hold is bounded.
 */
#ifndef CONVOY_CONVOY_CONVOY_H
#define CONVOY_CONVOY_CONVOY_H

#include "convoy/frame.h"
#include "convoy/merge.h"

/* Flows whose last frame is remembered; one more takes the place of another. A power of two. */
enum { CONVOY_FLOWS_MAX = 32 };

struct convoy {
    unsigned count;   /* frames aboard; a row of merged ones is one */
    unsigned packets; /* as they arrived */
    unsigned shared;  /* frames of those that are aboard other convoys too */
    uint64_t
        blocked_since_ns; /* since when the guest has had no buffers for the first; 0: it has */
    unsigned first;       /* where the first is in `frames` */
    uint64_t loaded;      /* frames that ever came aboard: the number of the last of them */
    uint64_t sealed;      /* a frame with this number or a lower one is merged with no more */
    struct {
        struct frame *frame; /* last frame of a flow; valid while its number is above `sealed` */
        uint64_t number;
    } flows[CONVOY_FLOWS_MAX];                   /* by flow_hash */
    struct frame *frames[CONVOY_FRAMES_MAX * 2]; /* twice, so that they always lie in a row */
};

static inline bool convoy_is_full(const struct convoy *convoy)
{
    return convoy->packets >= CONVOY_FRAMES_MAX;
}

/* The frames aboard, oldest first; `count` of them in a row. */
static inline struct frame **convoy_frames(struct convoy *convoy)
{
    return &convoy->frames[convoy->first];
}

/* Nothing is merged any more into frames up to this number. */
static inline void convoy_seal_until(struct convoy *convoy, uint64_t number)
{
    convoy->sealed = CV_MAX(convoy->sealed, number);
}

/* Frames are at the end of `frames`: makes room behind them. */
void convoy_move_to_begin(struct convoy *convoy);

/* Takes a frame aboard; the convoy must not be full. */
static inline void convoy_load(struct convoy *convoy, struct frame *frame)
{
    assert(convoy->count < CONVOY_FRAMES_MAX);
    if (convoy->count == 0)
        convoy->first = 0;
    else if (CV_UNLIKELY(convoy->first + convoy->count == CV_COUNT_OF(convoy->frames)))
        convoy_move_to_begin(convoy);
    convoy->frames[convoy->first + convoy->count++] = frame;
    convoy->packets++;
    convoy->shared += frame->is_shared;
    convoy->loaded++;
    /* What was sent behind a frame must not overtake it: the flow of a fragment, or of a packet
     * whose extension headers are long, cannot be told, and a flooded frame is not remembered as
     * the last of its flow. */
    if (CV_UNLIKELY(frame->is_shared || ((frame->facts.flags & (FRAME_IPV4 | FRAME_IPV6)) &&
                                         frame->facts.l4_offset == 0)))
        convoy_seal_until(convoy, convoy->loaded);
}

/* Places for frames that come aboard next, one after the other; *ret_count is how many there are.
 */
static inline struct frame **convoy_places(struct convoy *convoy, unsigned *ret_count)
{
    unsigned next = convoy->first + convoy->count;

    assert(convoy->packets <= CONVOY_FRAMES_MAX);
    *ret_count =
        CV_MIN(CONVOY_FRAMES_MAX - convoy->packets, (unsigned)CV_COUNT_OF(convoy->frames) - next);
    return &convoy->frames[next];
}

/* Frames were put into the first `count` places: of one known flow, and meant for this port alone.
 */
static inline void convoy_fill(struct convoy *convoy, unsigned count)
{
    convoy->count += count;
    convoy->packets += count;
    convoy->loaded += count;
    assert(convoy->packets <= CONVOY_FRAMES_MAX);
}

/*
 * Takes a frame aboard that may be merged (merge_concerns) for a receiver with `offloads`, into the
 * last frame of its flow if there is one that it continues. True: it was; otherwise it is a frame
 * of its own, and *ret_refusal says why (MERGE_JOINED: no frame of its flow was aboard).
 */
bool convoy_merge(struct convoy *convoy, struct frame *frame, unsigned offloads,
                  enum merge_refusal *ret_refusal);

/* Nothing is merged any more into what is aboard. For when what comes behind it may not be
 * remembered as the last of its flow, since merging is switched off. */
void convoy_seal(struct convoy *convoy);

/* The first frame is being delivered in parts: nothing is merged into it any more. */
void convoy_seal_first(struct convoy *convoy);

/* The first `count` frames, which were `packets` when they arrived, leave; unless these are all,
 * they are still to be released. */
void convoy_unload(struct convoy *convoy, unsigned count, unsigned packets);

/* True when a frame of `source` is aboard. */
bool convoy_has_source(const struct convoy *convoy, const struct port_queue *source);

/*
 * Takes out every frame that came from `source` (NULL: every frame), keeping the order of the
 * others; returns how many were put into `ret_frames` (room for CONVOY_FRAMES_MAX).
 */
unsigned convoy_remove_source(struct convoy *convoy, const struct port_queue *source,
                              struct frame **ret_frames);

#endif

/*
 * One transmitq of a guest that sends: what its slots hold, when the next frame is due, and how
 * many have gone. One thread drives it; the counts may be read by others.
 *
 * As a rule the slots get their frames once (FILL_ONCE), and sending is moving an index; in every
 * `sample`-th slot number and time are written anew each time. Where there are more frames than
 * slots, each frame is copied when its turn comes (FILL_COPY); to verify, each is built anew
 * (FILL_NUMBERED, front/traffic.h).
 */
#ifndef CONVOY_BENCH_BENCH_SENDER_H
#define CONVOY_BENCH_BENCH_SENDER_H

#include "arrivals.h"
#include "frames.h"
#include "front_end.h"
#include "lean_ring.h"

/* A frame that is published so much behind its time counts as late: about the length of a kick. */
#define BENCH_LATE_NS UINT64_C(5000)

enum bench_fill { FILL_ONCE, FILL_COPY, FILL_NUMBERED };

struct bench_sender {
    unsigned guest, pair;
    struct lean_ring lean;
    enum bench_fill fill;
    unsigned burst;  /* frames at most at a time; as fast as possible: exactly so many */
    unsigned sample; /* every n-th frame is stamped */
    size_t hdr_bytes;
    /* what is sent */
    const struct bench_frame **list; /* this queue's share of the guest's frames */
    unsigned list_count, list_next;
    uint64_t *bytes_before;   /* FILL_ONCE: of frames in slots before this; one more than slots */
    uint64_t *packets_before; /* likewise */
    struct traffic_source *sources; /* FILL_NUMBERED: by flow; the guest's */
    unsigned until_sample;          /* FILL_COPY: frames that are not stamped before the next */
    /* when */
    bool is_paced, has_then, is_stepping; /* stepping: `then` is still to come */
    struct arrivals arrivals, then;
    struct arrivals *current;
    uint64_t current_from_ns; /* time 0 of the current arrivals */
    unsigned share, share_of; /* of the arrivals */
    double frame_packets;     /* mean packets of a frame of the list */
    uint64_t due_ns;          /* of the next frame */
    uint64_t step_ns;         /* when `then` begins */
    uint64_t dues[BENCH_BURST_MAX];
    uint64_t moved_ns;   /* when the device last gave something back, or was given the first */
    uint64_t checked_ns; /* when that was last looked at */
    bool is_hung;
    /* counts; written by the one thread with bench_count_set */
    uint64_t packets, bytes, late;
    uint64_t outstanding; /* frames that the device holds, as last seen */
    uint32_t number;      /* of the next frame */
};

/* A count that other threads may read. */
static inline void bench_count_set(uint64_t *count, uint64_t value)
{
    __atomic_store_n(count, value, __ATOMIC_RELAXED);
}

static inline uint64_t bench_count_get(const uint64_t *count)
{
    return __atomic_load_n(count, __ATOMIC_RELAXED);
}

/*
 * Takes over transmitq `pair` of an open guest that has nothing outstanding; frames and sources
 * live on. -ENOMEM; -ENOENT: none of the frames is this queue's.
 */
int bench_sender_init(struct bench_sender *sender, const struct bench_options *options,
                      unsigned guest, unsigned pair, struct front_end *fe,
                      const struct bench_frames *frames,
                      struct traffic_source *sources) CV_MUST_CHECK;
void bench_sender_uninit(struct bench_sender *sender);

/*
 * From the next start on: these arrivals (NULL: as fast as possible) and then those (NULL: the
 * same), of which this sender has one of `share_of` equal shares, its number being `share`. -EINVAL
 * with a sentence.
 */
int bench_sender_set_arrivals(struct bench_sender *sender, const char *arrivals, const char *then,
                              unsigned share, unsigned share_of, uint64_t seed,
                              struct error *error) CV_MUST_CHECK;

/* Packets per second that all `share_of` senders' arrivals ask for; 0: as fast as possible. */
double bench_sender_offered(const struct bench_sender *sender, unsigned share_of);

/* Begins anew: counts are 0, arrivals go on at `from_ns`; `step_ns`: when `then` begins, or 0. */
void bench_sender_start(struct bench_sender *sender, uint64_t from_ns, uint64_t step_ns);

/*
 * Packets that were due before `to_ns` and have not been sent, by the mean packets of a frame; 0 as
 * fast as possible. Their times are passed over: to be called once, when sending is over.
 */
uint64_t bench_sender_unsent(struct bench_sender *sender, uint64_t to_ns);

/* Sends what is due, at most a burst; true if anything. is_hung is set when the device has not
 * moved for `timeout_ns` while it held something. */
bool bench_sender_turn(struct bench_sender *sender, uint64_t now_ns, uint64_t timeout_ns);

/* A turn of one that does not send: takes back what the device has given back. */
void bench_sender_rest(struct bench_sender *sender, uint64_t now_ns, uint64_t timeout_ns);

#endif

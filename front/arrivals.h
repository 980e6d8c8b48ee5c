/* clang-format off: a table */
/*
 * When does the next packet come: arrival processes for load generators, by a word.
 *
 *   poisson:RATE          exponential gaps, RATE packets a second on average
 *   constant:RATE         equal gaps
 *   onoff:RATE,ON,OFF     Poisson at RATE while on, silent while off; how long each lasts is
 *                         exponential with mean ON and OFF ("500us"): an interrupted Poisson
 *                         process
 *   trace:FILE[,SPEED]    the gaps of a capture (pcap, pcapng), SPEED times as fast; it starts over
 *                         at its end, one mean gap after its last packet
 *
 * Pure but for reading the capture, and seeded: the same word and seed give the same times.
 */
/* clang-format on */
#ifndef CONVOY_FRONT_ARRIVALS_H
#define CONVOY_FRONT_ARRIVALS_H

#include "base/error.h"

#define ARRIVALS_RATE_MIN 0.01 /* packets per second */
#define ARRIVALS_RATE_MAX 1e8

enum arrivals_kind { ARRIVALS_POISSON, ARRIVALS_CONSTANT, ARRIVALS_ONOFF, ARRIVALS_TRACE };

struct arrivals {
    enum arrivals_kind kind;
    double gap_ns;     /* mean gap (while on) */
    double on_mean_ns; /* ARRIVALS_ONOFF: mean length of both phases */
    double off_mean_ns;
    double rate;     /* mean packets per second in the long run */
    uint64_t random; /* state of the generator */
    double at_ns;    /* of the last arrival */
    double on_until_ns;
    size_t trace_count;    /* ARRIVALS_TRACE: gaps in `trace_gaps_ns` ... */
    size_t trace_next;     /* ... the next of them */
    double *trace_gaps_ns; /* owned; the last leads from the end to the start */
};

/*
 * -EINVAL with a sentence that names the wrong word and what is allowed, for a bad word, number or
 * capture; -ENOMEM.
 */
int arrivals_init(struct arrivals *arrivals, const char *spec, uint64_t seed,
                  struct error *error) CV_MUST_CHECK;
void arrivals_uninit(struct arrivals *arrivals);

/* The time of the next arrival, in ns from the start; never before the last one's. */
uint64_t arrivals_next_ns(struct arrivals *arrivals);

#endif

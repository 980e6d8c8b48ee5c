/* A result as lines for people, as JSON and as CSV. */
#ifndef CONVOY_BENCH_REPORT_H
#define CONVOY_BENCH_REPORT_H

#include <stdio.h>

#include "bench.h"

struct report {
    const struct bench_options *options;
    const struct bench_result *result; /* of a search: that of the rate found */
    double searched_pps;               /* options.search: the rate found; 0: none held */
    bool interrupted;                  /* the run was ended before its time */
};

/* Rates, loss, delay, calls and kicks per packet, the switch's cost; one fact a line, with units.
 */
void report_human(FILE *out, const struct report *report);

/*
 * One JSON object on one line. Members as bench_result's, delays in ns; "guests" is an array. What
 * was not measured is null. -ENOMEM, or what the stream says.
 */
int report_json(FILE *out, const struct report *report) CV_MUST_CHECK;

/*
 * A line of the same figures (RFC 4180, ending in a newline alone), without those of single guests;
 * the names of the columns first where `with_head`. What was not measured is empty. Errors as
 * report_json's.
 */
int report_csv(FILE *out, const struct report *report, bool with_head) CV_MUST_CHECK;

#endif

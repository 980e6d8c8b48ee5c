/* A result as lines for people, as JSON and as CSV. */
#ifndef CONVOY_BENCH_REPORT_H
#define CONVOY_BENCH_REPORT_H

#include <stdio.h>

#include "bench.h"

/* Rates, loss, delay, calls and kicks per packet, the switch's cost; one fact a line, with units.
 */
void report_human(FILE *out, const struct bench_options *options,
                  const struct bench_result *result);

/* One JSON object on one line. Members as bench_result's, delays in ns; "guests" is an array. */
int report_json(FILE *out, const struct bench_options *options, const struct bench_result *result);

/* A line of the same figures; the names of the columns first where `with_head`. */
void report_csv(FILE *out, const struct bench_options *options, const struct bench_result *result,
                bool with_head);

#endif

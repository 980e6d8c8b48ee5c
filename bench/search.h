/*
 * The highest rate at which no more than a share of the packets is lost (throughput, RFC 2544,
 * 26.1): halving between a rate that held and one that did not, until they are 1 % apart. A rate
 * that failed is tried once more, since another program may have had the processor.
 */
#ifndef CONVOY_BENCH_SEARCH_H
#define CONVOY_BENCH_SEARCH_H

#include "bench.h"

#define SEARCH_STEP_SHARE 0.01    /* the search ends when the next rate would be this near */
#define SEARCH_LATE_SHARE 0.01    /* more was late or unsent: the rate was not kept */
#define SEARCH_FLOOR      0x1p-10 /* a switch that loses at this share of rate_max loses always */

/* One trial: 0 and its result, or a negative errno that ends the search. */
typedef int search_trial(void *context, double rate, struct bench_result *ret_result,
                         struct error *error);

/*
 * Tries rate_max first. *ret_rate is the highest rate that held, in packets per second (0: none
 * did), and *ret_result its trial, or the last one where none held. A trial also fails where the
 * senders themselves could not keep the rate (more than 1 % of what was due late or unsent), or
 * sent nothing. What ended a trial ends the search: then its negative errno is returned, and what
 * was found so far is in *ret_rate and *ret_result all the same. -ENOMEM.
 */
int search_rate(search_trial *trial, void *context, double rate_max, double loss_max,
                double *ret_rate, struct bench_result *ret_result,
                struct error *error) CV_MUST_CHECK;

#endif

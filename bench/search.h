/*
 * The highest rate at which no more than a share of the packets is lost (throughput, RFC 2544,
 * 26.1): halving between a rate that held and one that did not, until they are 1 % apart. A rate
 * that failed is tried once more, since another program may have had the processor.
 */
#ifndef CONVOY_BENCH_SEARCH_H
#define CONVOY_BENCH_SEARCH_H

#include "bench.h"

/* One trial: 0 and its result, or a negative errno that ends the search. */
typedef int search_trial(void *context, double rate, struct bench_result *ret_result,
                         struct error *error);

/*
 * *ret_rate is the highest rate that held (0: none did) and *ret_result its trial. A trial also
 * fails where the senders themselves could not keep the rate: more than 1 % late.
 */
int search_rate(search_trial *trial, void *context, double rate_max, double loss_max,
                double *ret_rate, struct bench_result *ret_result,
                struct error *error) CV_MUST_CHECK;

#endif

/* The command line of convoy-bench: words to struct bench_options. */
#ifndef CONVOY_BENCH_BENCH_OPTIONS_H
#define CONVOY_BENCH_BENCH_OPTIONS_H

#include "bench.h"

enum bench_command { BENCH_DO_RUN, BENCH_DO_HELP, BENCH_DO_VERSION };

/*
 * A sentence that names the wrong word and what is allowed, in *error, and -EINVAL. The options
 * point into argv.
 */
int bench_options_parse(int argc, char **argv, struct bench_options *ret_options,
                        enum bench_command *ret_command, struct error *error) CV_MUST_CHECK;

/* The text of --help. */
extern const char bench_options_help[];

#endif

/*
 * The command line of convoy-bench: words to struct bench_options. One table (bench_options.c) says
 * of each option how it is read, what it may be, and what --help says of it.
 */
#ifndef CONVOY_BENCH_BENCH_OPTIONS_H
#define CONVOY_BENCH_BENCH_OPTIONS_H

#include <stdio.h>

#include "bench.h"

enum bench_command { BENCH_DO_RUN, BENCH_DO_HELP, BENCH_DO_VERSION };

/*
 * A sentence that names the wrong word and what is allowed, in *error, and -EINVAL; for a capture
 * of arrivals also -ENOMEM. The options point into argv, whose order changes. Not for two threads
 * at once (getopt).
 */
int bench_options_parse(int argc, char **argv, struct bench_options *ret_options,
                        enum bench_command *ret_command, struct error *error) CV_MUST_CHECK;

/* The text of --help. */
void bench_options_print_help(FILE *out);

/* The words of the command line, for reports. */
const char *bench_pattern_word(enum bench_pattern pattern);
const char *bench_receive_word(enum bench_receive receive);
const char *bench_kind_word(enum traffic_kind kind);

/* Room for "pcap:" and a path. */
#define BENCH_SIZE_TEXT_BYTES 4120
/* What --size would be: "64", "imix", "pcap:FILE". In the caller's buffer, which it returns. */
const char *bench_size_format(const struct bench_options *options,
                              char text[static BENCH_SIZE_TEXT_BYTES]);

#endif

/* Numbers for people. Each function fills the caller's buffer and returns it. */
#ifndef CONVOY_CLI_HUMAN_H
#define CONVOY_CLI_HUMAN_H

#include "base/compiler.h"

enum { HUMAN_BYTES_MAX = 32 };

/* 999, 9999, 12.3 k, 1.23 M, ... */
const char *human_count(uint64_t count, char text[static HUMAN_BYTES_MAX]);
/* 999 B, 12.3 kB, 1.23 MB, ... (powers of 1000) */
const char *human_bytes(uint64_t bytes, char text[static HUMAN_BYTES_MAX]);
/* 256 MiB, 1.5 GiB, ... (powers of 1024) */
const char *human_memory(uint64_t bytes, char text[static HUMAN_BYTES_MAX]);
/* 350 ms, 42.1 s, 13 min 5 s, 2 h 13 min, 3 d 4 h */
const char *human_duration(double seconds, char text[static HUMAN_BYTES_MAX]);
/* 350 ns, 12.3 us, 1.20 ms, 3.40 s; 0 is "0 us" */
const char *human_time(double seconds, char text[static HUMAN_BYTES_MAX]);
/* 0, 0.52, 12.3, 999, 12.3 k, 1.23 M, ... */
const char *human_number(double number, char text[static HUMAN_BYTES_MAX]);
/* The shortest way to write it: 0.1, 3, 0.000125 */
const char *human_plain(double number, char text[static HUMAN_BYTES_MAX]);
/* 0 %, under 0.1 %, 2.5 %, 45 % */
const char *human_percent(double share, char text[static HUMAN_BYTES_MAX]);
/* 0.0021, 0.25, 12.3, 1234; "-" for what is not a number */
const char *human_ratio(double ratio, bool is_known, char text[static HUMAN_BYTES_MAX]);

#endif

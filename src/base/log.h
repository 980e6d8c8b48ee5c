/*
 * Log lines on standard error, one per event, with the syslog priority in angle brackets when the
 * journal reads them (it sets JOURNAL_STREAM) and a word otherwise. Safe from any thread.
 */
#ifndef CONVOY_BASE_LOG_H
#define CONVOY_BASE_LOG_H

#include "base/compiler.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above `level` are not written. Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

void log_write(enum log_level level, const char *format, ...) CV_PRINTF(2, 3);

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * A budget of lines for events that an adversary can repeat: `per_second` lines each second, the
 * rest counted and told by the next line that passes. One per port; not thread safe.
 */
struct log_limit {
    uint64_t window_start_ns; /* start of the second in which `written` counts */
    unsigned written;         /* lines written in this window */
    unsigned suppressed;      /* lines not written since the last one that was */
};

/* True when a line may be written at `now_ns`; *ret_suppressed: lines swallowed before it. */
bool log_limit_pass(struct log_limit *limit, uint64_t now_ns, unsigned *ret_suppressed);

#endif

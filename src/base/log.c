#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOG_LINES_PER_SECOND_MAX = 5 };

static _Atomic int log_level = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

static const char *log_prefix(enum log_level level)
{
    static const char *const words[] = {"error: ", "warning: ", "", "debug: "};
    static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"};

    static_assert(CV_COUNT_OF(words) == LOG_LEVEL_DEBUG + 1, "one word per level");
    static_assert(CV_COUNT_OF(priorities) == LOG_LEVEL_DEBUG + 1, "one priority per level");
    return getenv("JOURNAL_STREAM") ? priorities[level] : words[level];
}

void log_write(enum log_level level, const char *format, ...)
{
    char line[1024];
    va_list args;
    size_t n;

    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
        return;
    n = (size_t)snprintf(line, sizeof(line), "%s", log_prefix(level));
    va_start(args, format);
    (void)vsnprintf(line + n, sizeof(line) - n - 1, format, args);
    va_end(args);
    /* One write, so that lines of several threads do not mix. */
    (void)!write(STDERR_FILENO, line, (size_t)(stpcpy(line + strlen(line), "\n") - line));
}

bool log_limit_pass(struct log_limit *limit, uint64_t now_ns, unsigned *ret_suppressed)
{
    if (limit->window_start_ns == 0 || now_ns - limit->window_start_ns >= UINT64_C(1000000000)) {
        limit->window_start_ns = now_ns;
        limit->written = 0;
    }
    if (limit->written >= LOG_LINES_PER_SECOND_MAX) {
        limit->suppressed++;
        return false;
    }
    limit->written++;
    *ret_suppressed = limit->suppressed;
    limit->suppressed = 0;
    return true;
}

#include "human.h"

#include <stdio.h>

/* Three digits and a unit; `units` are what `step`, `step` squared, ... are called. */
static void scale(double value, double step, const char *const *units, unsigned unit_count,
                  char *text)
{
    unsigned unit = 0;

    /* 999.5 would be written as 1000. */
    for (; unit + 1 < unit_count && value >= step - 0.5; unit++)
        value /= step;
    (void)snprintf(text, HUMAN_BYTES_MAX, "%.*f%s",
                   value < 9.995   ? 2
                   : value < 99.95 ? 1
                                   : 0,
                   value, units[unit]);
}

const char *human_count(uint64_t count, char text[static HUMAN_BYTES_MAX])
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P", " E"};

    if (count < 10000)
        (void)snprintf(text, HUMAN_BYTES_MAX, "%u", (unsigned)count);
    else
        scale((double)count, 1000, units, CV_COUNT_OF(units), text);
    return text;
}

const char *human_bytes(uint64_t bytes, char text[static HUMAN_BYTES_MAX])
{
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB", " PB", " EB"};

    if (bytes < 1000)
        (void)snprintf(text, HUMAN_BYTES_MAX, "%u B", (unsigned)bytes);
    else
        scale((double)bytes, 1000, units, CV_COUNT_OF(units), text);
    return text;
}

const char *human_memory(uint64_t bytes, char text[static HUMAN_BYTES_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    double value = (double)bytes;

    for (; unit + 1 < CV_COUNT_OF(units) && value >= 1024; unit++)
        value /= 1024;
    (void)snprintf(text, HUMAN_BYTES_MAX, "%.*f %s", value == (double)(uint64_t)value ? 0 : 1,
                   value, units[unit]);
    return text;
}

const char *human_duration(double seconds, char text[static HUMAN_BYTES_MAX])
{
    unsigned whole = seconds < 4e9 ? (unsigned)seconds : 4000000000u;

    if (seconds < 1)
        (void)snprintf(text, HUMAN_BYTES_MAX, "%.0f ms", seconds * 1000);
    else if (seconds < 60)
        (void)snprintf(text, HUMAN_BYTES_MAX, "%.1f s", seconds);
    else if (whole < 3600)
        (void)snprintf(text, HUMAN_BYTES_MAX, "%u min %u s", whole / 60, whole % 60);
    else if (whole < 86400)
        (void)snprintf(text, HUMAN_BYTES_MAX, "%u h %u min", whole / 3600, whole % 3600 / 60);
    else
        (void)snprintf(text, HUMAN_BYTES_MAX, "%u d %u h", whole / 86400, whole % 86400 / 3600);
    return text;
}

const char *human_time(double seconds, char text[static HUMAN_BYTES_MAX])
{
    static const char *const units[] = {" ns", " us", " ms", " s"};

    if (seconds <= 0)
        (void)snprintf(text, HUMAN_BYTES_MAX, "0 us");
    else
        scale(seconds * 1e9, 1000, units, CV_COUNT_OF(units), text);
    return text;
}

const char *human_number(double number, char text[static HUMAN_BYTES_MAX])
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P", " E"};

    if (number <= 0)
        (void)snprintf(text, HUMAN_BYTES_MAX, "0");
    else
        scale(number, 1000, units, CV_COUNT_OF(units), text);
    return text;
}

const char *human_plain(double number, char text[static HUMAN_BYTES_MAX])
{
    (void)snprintf(text, HUMAN_BYTES_MAX, "%.12g", number);
    return text;
}

const char *human_percent(double share, char text[static HUMAN_BYTES_MAX])
{
    if (share > 0 && share < 0.001)
        (void)snprintf(text, HUMAN_BYTES_MAX, "under 0.1 %%");
    else
        (void)snprintf(text, HUMAN_BYTES_MAX, "%.*f %%", share <= 0 || share >= 0.0995 ? 0 : 1,
                       CV_MAX(share, 0.0) * 100);
    return text;
}

const char *human_ratio(double ratio, bool is_known, char text[static HUMAN_BYTES_MAX])
{
    int digits = ratio >= 100 ? 0 : ratio >= 10 ? 1 : ratio >= 0.1 || ratio == 0 ? 2 : 4;

    if (is_known)
        (void)snprintf(text, HUMAN_BYTES_MAX, "%.*f", digits, ratio);
    else
        (void)snprintf(text, HUMAN_BYTES_MAX, "-");
    return text;
}

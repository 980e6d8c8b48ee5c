#include "process_cost.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Lines of /proc/PID/status, in KiB, and what they belong to. */
static bool read_line(const char *line, const char *name, uint64_t *ret_bytes)
{
    unsigned long long kib;
    size_t len = strlen(name);

    if (strncmp(line, name, len) != 0 || sscanf(line + len, ": %llu kB", &kib) != 1)
        return false;
    *ret_bytes = kib * 1024;
    return true;
}

static int fail(int code, int pid, struct error *error)
{
    if (code == ESRCH || code == ENOENT || code == EINVAL)
        return error_set(error, -ESRCH, "there is no process %d", pid);
    return error_set(error, -code, "cannot see what process %d costs: %s", pid, strerror(code));
}

static int read_memory(int pid, struct process_cost *cost, struct error *error)
{
    static const char *const own[] = {"RssAnon", "RssFile", "HugetlbPages"};
    char path[40], line[256];
    uint64_t bytes;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
    file = fopen(path, "re");
    if (!file)
        return fail(errno, pid, error);
    while (fgets(line, sizeof(line), file)) {
        for (unsigned i = 0; i < CV_COUNT_OF(own); i++)
            if (read_line(line, own[i], &bytes))
                cost->rss_bytes += bytes;
        if (read_line(line, "VmHWM", &bytes))
            cost->rss_peak_bytes = bytes;
    }
    (void)fclose(file);
    return 0;
}

int process_cost_read(int pid, struct process_cost *ret_cost, struct error *error)
{
    struct process_cost cost = {0};
    struct timespec cpu;
    clockid_t clock;
    int code;

    if (pid <= 0) /* 0 would be ourselves */
        return fail(ESRCH, pid, error);
    code = clock_getcpuclockid(pid, &clock);
    if (code == 0 && clock_gettime(clock, &cpu) < 0)
        code = errno;
    if (code != 0)
        return fail(code, pid, error);
    code = read_memory(pid, &cost, error);
    if (code < 0)
        return code;
    cost.cpu_ns = (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
    *ret_cost = cost;
    return 0;
}

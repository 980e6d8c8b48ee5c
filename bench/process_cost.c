#include "process_cost.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "guest_ram.h"

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

/* What is resident of guests' memory; false when the mappings may not be read. */
static bool read_guests(int pid, uint64_t *ret_bytes)
{
    char path[40], line[512];
    bool is_guest = false;
    uint64_t rss, bytes = 0;
    unsigned long long from, to;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%llx-%llx ", &from, &to) == 2) /* a mapping; what follows is its */
            is_guest = strstr(line, "/memfd:" GUEST_RAM_FILE) != NULL;
        else if (is_guest && read_line(line, "Rss", &rss))
            bytes += rss;
    }
    (void)fclose(file);
    *ret_bytes = bytes;
    return true;
}

int process_memory_read(int pid, struct process_memory *ret_memory, struct error *error)
{
    static const char *const own[] = {"RssAnon", "RssFile", "HugetlbPages"};
    struct process_memory memory = {0};
    uint64_t bytes, shared = 0, guests = 0;
    char path[40], line[256];
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
    file = fopen(path, "re");
    if (!file)
        return fail(errno, pid, error);
    while (fgets(line, sizeof(line), file)) {
        for (unsigned i = 0; i < CV_COUNT_OF(own); i++)
            if (read_line(line, own[i], &bytes))
                memory.rss_bytes += bytes;
        (void)read_line(line, "RssShmem", &shared);
        (void)read_line(line, "VmHWM", &memory.rss_peak_bytes);
    }
    (void)fclose(file);
    if (read_guests(pid, &guests))
        memory.rss_bytes += shared - CV_MIN(shared, guests);
    *ret_memory = memory;
    return 0;
}

int process_cpu_read(int pid, uint64_t *ret_cpu_ns, struct error *error)
{
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
    *ret_cpu_ns = (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
    return 0;
}

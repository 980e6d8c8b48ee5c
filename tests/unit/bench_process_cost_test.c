/*
 * Goal: processor time and memory are those of the process that is named, all its threads and what
 * is its own, not its guests'. Method: a child whose ended thread and memory are known, held
 * against what the kernel says when it is gone; and processes that there are not.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest_ram.h"
#include "process_cost.h"

enum {
    MIB = 1 << 20,
    OWN_BYTES = 48 * MIB,
    SHARED_BYTES = 64 * MIB,
    GUEST_BYTES = 96 * MIB,
    BURN_NS = 100000000
};

/* Spends processor time, in the thread that calls it. */
static void *burn(void *argument)
{
    struct timespec now;

    do {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    } while (now.tv_sec == 0 && now.tv_nsec < BURN_NS);
    return argument;
}

/* Maps memory, of the file if there is one, and writes to all of it. */
static void touch(size_t bytes, int flags, int fd)
{
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

    if (memory == MAP_FAILED)
        _exit(3);
    memset(memory, 1, bytes);
}

/* Lives until it is killed; a byte through `pipe` says that a step is done. */
static void live(int steps, int ready)
{
    pthread_t thread;
    int fd = memfd_create(GUEST_RAM_FILE, 0);
    char byte = 0;

    if (write(ready, "1", 1) != 1 || read(steps, &byte, 1) != 1)
        _exit(3);
    if (pthread_create(&thread, NULL, burn, NULL) != 0 || pthread_join(thread, NULL) != 0)
        _exit(3);
    touch(OWN_BYTES, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    touch(SHARED_BYTES, MAP_SHARED | MAP_ANONYMOUS, -1);
    if (ftruncate(fd, GUEST_BYTES) < 0)
        _exit(3);
    touch(GUEST_BYTES, MAP_SHARED, fd);
    if (write(ready, "2", 1) != 1)
        _exit(3);
    for (;;)
        pause();
}

struct process_cost {
    uint64_t cpu_ns;
    struct process_memory memory;
};

static struct process_cost read_cost(pid_t pid)
{
    struct process_cost cost = {0};
    struct error error = {""};

    if (process_cpu_read(pid, &cost.cpu_ns, &error) != 0 ||
        process_memory_read(pid, &cost.memory, &error) != 0)
        fail_msg("%s", error.text);
    return cost;
}

static uint64_t rusage_ns(const struct rusage *usage)
{
    return (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000000 +
           (uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * 1000;
}

static void a_child_is_seen_as_it_is(void **state)
{
    struct process_cost before, after;
    struct rusage usage;
    struct error error;
    int steps[2], ready[2];
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(steps), 0);
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        live(steps[0], ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    before = read_cost(pid);
    assert_int_equal(write(steps[1], "1", 1), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    after = read_cost(pid);
    kill(pid, SIGKILL);
    assert_int_equal(wait4(pid, NULL, 0, &usage), pid);

    assert_true(after.cpu_ns >= before.cpu_ns + BURN_NS); /* by a thread that has ended */
    assert_in_range(after.cpu_ns, BURN_NS, rusage_ns(&usage) + 1000000);
    /* Its own memory, that it may share with whom it likes, but not a guest's. */
    assert_in_range(after.memory.rss_bytes - before.memory.rss_bytes, OWN_BYTES + SHARED_BYTES,
                    OWN_BYTES + SHARED_BYTES + 8 * MIB);
    assert_true(after.memory.rss_peak_bytes >= OWN_BYTES + SHARED_BYTES + GUEST_BYTES);
    assert_true(before.memory.rss_peak_bytes < SHARED_BYTES + before.memory.rss_bytes);
    assert_int_equal(process_cpu_read(pid, &after.cpu_ns, &error), -ESRCH);
    assert_int_equal(process_memory_read(pid, &after.memory, &error), -ESRCH);
    for (unsigned i = 0; i < 2; i++) {
        close(steps[i]);
        close(ready[i]);
    }
}

static void who_is_not_there_is_named(void **state)
{
    static const int pids[] = {0, -1, -77, 4194304, 2000000000};
    struct process_cost cost = {.cpu_ns = 5, .memory = {.rss_bytes = 6}};
    struct error error;

    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(pids); i++) {
        char number[16];

        (void)snprintf(number, sizeof(number), "process %d", pids[i]);
        assert_int_equal(process_cpu_read(pids[i], &cost.cpu_ns, &error), -ESRCH);
        assert_non_null(strstr(error.text, number));
        assert_int_equal(process_memory_read(pids[i], &cost.memory, &error), -ESRCH);
        assert_non_null(strstr(error.text, number));
        assert_int_equal(cost.cpu_ns, 5); /* written on success only */
        assert_int_equal(cost.memory.rss_bytes, 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_is_seen_as_it_is),
        cmocka_unit_test(who_is_not_there_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

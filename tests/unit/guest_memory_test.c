/*
 * Goal: nothing outside a guest's regions can be named, no file that a peer passes can hurt us, and
 * a file cut short under its mapping costs that guest its port and the process nothing (C1, C3, C4,
 * C21 of the threats). Method: real memory files; the guard is tested by real SIGBUS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/guest_memory.h"

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };
#define USER UINT64_C(0x7f0000000000)

static struct guest_memory memory;
static struct error error;

static int file_new(uint64_t size)
{
    int fd = memfd_create("unit", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static struct guest_region_request region(uint64_t guest_address, uint64_t size, uint64_t offset)
{
    return (struct guest_region_request){.guest_address = guest_address,
                                         .size = size,
                                         .user_address = USER + guest_address,
                                         .mmap_offset = offset};
}

static int add(uint64_t guest_address, uint64_t size, uint64_t offset, int fd)
{
    struct guest_region_request request = region(guest_address, size, offset);

    error.text[0] = '\0';
    return guest_memory_add(&memory, &request, fd, &error);
}

/* A region of a file of its own. */
static void add_new(uint64_t guest_address, uint64_t size)
{
    int fd = file_new(size);

    assert_int_equal(add(guest_address, size, 0, fd), 0);
    close(fd);
}

static void assert_refused(int result, int code, const char *word)
{
    assert_int_equal(result, code);
    if (!strstr(error.text, word))
        fail_msg("'%s' does not say '%s'", error.text, word);
}

/* Mappings of the files that tests make. */
static unsigned count_maps(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    unsigned count = 0;
    char line[512];

    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        count += strstr(line, "memfd:unit") != NULL;
    fclose(file);
    return count;
}

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static int setup(void **state)
{
    (void)state;
    guest_memory_init(&memory);
    return 0;
}

/* cmocka has handlers of its own, which it installs before each test and takes away behind it. */
static void guard_install(void)
{
    assert_int_equal(guest_memory_guard_install(), 0);
}

static int teardown(void **state)
{
    (void)state;
    guest_memory_uninit(&memory);
    return 0;
}

/* The bytes found are those of the file, also where the region starts in the middle of a page. */
static void test_bytes_are_the_files(void **state)
{
    int fd = file_new(8 * PAGE);
    uint64_t run_len = 0;
    uint8_t *bytes, byte = 0;

    (void)state;
    assert_int_equal(add(0x10000, 2 * PAGE, 3 * PAGE + 512, fd), 0);
    bytes = guest_memory_at(&memory, 0x10000 + 100, 10, &run_len);
    assert_non_null(bytes);
    assert_int_equal(run_len, 10);
    *bytes = 0x5a;
    assert_int_equal(pread(fd, &byte, 1, 3 * PAGE + 512 + 100), 1);
    assert_int_equal(byte, 0x5a);
    assert_ptr_equal(guest_memory_at_user(&memory, USER + 0x10000 + 100, 10, 4), bytes);
    close(fd);
}

/* C1. */
static void test_lookups_stay_inside(void **state)
{
    static const struct {
        uint64_t address, len, run_len; /* run_len 0: nothing there */
    } cases[] = {
        {0x10000, 1, 1},
        {0x10000, PAGE, PAGE},
        {0x10000, PAGE + 1, PAGE},    /* the run ends with the region */
        {0x10000 + PAGE - 1, 2, 1},   /* spans into the neighbour, which is another mapping */
        {0x10000 + PAGE, PAGE, PAGE}, /* the neighbour */
        {0x10000 + PAGE, UINT64_MAX, PAGE},
        {0x10000 + 5, UINT64_MAX - 0x10000, PAGE - 5},
        {0x10000, 0, 0},
        {0xffff, 1, 0},
        {0x10000 + 2 * PAGE, 1, 0},
        {0, 1, 0},
        {UINT64_MAX, 1, 0},
        {UINT64_MAX, UINT64_MAX, 0},
        {USER + 0x10000, 1, 0}, /* not a guest address */
    };

    (void)state;
    add_new(0x10000, PAGE);
    add_new(0x10000 + PAGE, PAGE);
    for (size_t i = 0; i < CV_COUNT_OF(cases); i++) {
        uint64_t run_len = 0;
        uint8_t *bytes = guest_memory_at(&memory, cases[i].address, cases[i].len, &run_len);

        assert_int_equal(!!bytes, cases[i].run_len != 0);
        if (bytes)
            assert_int_equal(run_len, cases[i].run_len);
    }
}

static void test_user_lookups_stay_inside(void **state)
{
    uint64_t user = USER + 0x10000;

    (void)state;
    add_new(0x10000, PAGE);
    add_new(0x10000 + PAGE, PAGE);
    assert_non_null(guest_memory_at_user(&memory, user, PAGE, 16));
    assert_non_null(guest_memory_at_user(&memory, user + PAGE - 16, 16, 16));
    assert_null(guest_memory_at_user(&memory, user + PAGE - 16, 17, 16)); /* in two regions */
    assert_null(guest_memory_at_user(&memory, user + 2 * PAGE - 16, 17, 16));
    assert_null(guest_memory_at_user(&memory, user + 8, 16, 16)); /* not aligned */
    assert_null(guest_memory_at_user(&memory, user + 1, 2, 2));
    assert_null(guest_memory_at_user(&memory, user - 1, 1, 1));
    assert_null(guest_memory_at_user(&memory, user, UINT64_MAX, 1));
    assert_null(guest_memory_at_user(&memory, UINT64_MAX, 1, 1));
    assert_null(guest_memory_at_user(&memory, 0x10000, 1, 1));
}

/* C3. */
static void test_sizes_and_offsets(void **state)
{
    int fd = file_new(4 * PAGE), largest = file_new(INT64_MAX & ~(uint64_t)(PAGE - 1));
    struct guest_region_request request;

    (void)state;
    assert_refused(add(0, 0, 0, fd), -EINVAL, "size 0");
    assert_refused(add(0, UINT64_MAX, 1, fd), -EINVAL, "wraps");
    assert_refused(add(0, PAGE, UINT64_MAX, fd), -EINVAL, "wraps");
    assert_refused(add(0, PAGE, UINT64_MAX - PAGE + 1, fd), -EINVAL, "wraps");
    assert_refused(add(UINT64_MAX - PAGE + 1, PAGE, 0, fd), -EINVAL, "wraps");
    request = region(0, PAGE, 0);
    request.user_address = UINT64_MAX - 5;
    assert_refused(guest_memory_add(&memory, &request, fd, &error), -EINVAL, "wraps");
    assert_refused(add(0, 4 * PAGE + 1, 0, fd), -EINVAL, "has only 16384");
    assert_refused(add(0, PAGE, 3 * PAGE + 1, fd), -EINVAL, "has only 16384");
    assert_refused(add(0, PAGE, INT64_MAX, fd), -EINVAL, "has only");
    assert_refused(add(0, UINT64_MAX - USER - PAGE, 0, fd), -EINVAL, "has only");
    assert_refused(add(0, GUEST_MEMORY_BYTES_MAX + 1, 0, largest), -ENOSPC, "TiB");
    assert_int_equal(memory.count, 0);
    assert_int_equal(add(0, PAGE, 3 * PAGE, fd), 0);
    assert_int_equal(add(PAGE, 1, 4 * PAGE - 1, fd), 0); /* the file's last byte, and no more */
    close(largest);
    close(fd);
}

static void test_overlaps(void **state)
{
    int fd = file_new(16 * PAGE), other = file_new(16 * PAGE);
    unsigned maps;

    (void)state;
    assert_int_equal(add(0x10000, 4 * PAGE, 0, fd), 0);
    assert_refused(add(0x10000 - PAGE, PAGE + 1, 0, fd), -EINVAL, "overlaps");
    assert_refused(add(0x10000 + 4 * PAGE - 1, PAGE, 0, fd), -EINVAL, "overlaps");
    assert_refused(add(0x10000 + PAGE, PAGE, 0, fd), -EINVAL, "overlaps");
    assert_refused(add(0, 16 * PAGE + 0x10000, 0, fd), -EINVAL, "has only");
    assert_refused(add(0x10000, 4 * PAGE, PAGE, fd), -EINVAL, "overlaps");
    assert_refused(add(0x10000, 4 * PAGE, 0, other), -EINVAL, "overlaps");
    maps = count_maps();
    assert_int_equal(add(0x10000, 4 * PAGE, 0, fd), 0); /* the very same: nothing happens */
    assert_int_equal(memory.count, 1);
    assert_int_equal(count_maps(), maps);
    close(other);
    close(fd);
}

static void test_largest_region_is_first(void **state)
{
    (void)state;
    add_new(0x100000, 2 * PAGE);
    add_new(0x200000, 8 * PAGE);
    add_new(0x300000, PAGE);
    add_new(0x400000, 4 * PAGE);
    for (unsigned i = 1; i < memory.count; i++)
        assert_true(memory.regions[i - 1].size > memory.regions[i].size);
}

static void test_remove(void **state)
{
    struct guest_region_request request = region(0x20000, PAGE, 77 * PAGE);
    uint64_t run_len;

    (void)state;
    add_new(0x10000, PAGE);
    add_new(0x20000, PAGE);
    add_new(0x30000, PAGE);
    request.size++;
    assert_int_equal(guest_memory_remove(&memory, &request), -ENOENT);
    request.size--, request.user_address++;
    assert_int_equal(guest_memory_remove(&memory, &request), -ENOENT);
    request.user_address--;
    assert_int_equal(guest_memory_remove(&memory, &request), 0); /* the offset does not count */
    assert_int_equal(guest_memory_remove(&memory, &request), -ENOENT);
    assert_null(guest_memory_at(&memory, 0x20000, 1, &run_len));
    assert_non_null(guest_memory_at(&memory, 0x10000, 1, &run_len));
    assert_non_null(guest_memory_at(&memory, 0x30000, 1, &run_len));
}

static void test_limits(void **state)
{
    int fd = file_new(PAGE), huge = file_new(GUEST_MEMORY_BYTES_MAX);

    (void)state;
    for (unsigned i = 0; i < GUEST_REGIONS_MAX; i++)
        assert_int_equal(add(i * PAGE, PAGE, 0, fd), 0);
    assert_refused(add(GUEST_REGIONS_MAX * PAGE, PAGE, 0, fd), -ENOSPC, "64 memory regions");
    guest_memory_uninit(&memory);
    assert_int_equal(add(0, GUEST_MEMORY_BYTES_MAX / 2, 0, huge), 0);
    assert_refused(add(GUEST_MEMORY_BYTES_MAX, GUEST_MEMORY_BYTES_MAX / 2 + 1, 0, huge), -ENOSPC,
                   "TiB");
    close(huge);
    close(fd);
}

/* C21. */
static void test_wrong_kinds_of_file(void **state)
{
    int pipes[2], sockets[2], file = file_new(PAGE), sealed = file_new(PAGE), fd;
    char path[64];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_refused(add(0, PAGE, 0, pipes[0]), -EINVAL, "a pipe");
    assert_refused(add(0, PAGE, 0, pipes[1]), -EINVAL, "a pipe");
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    assert_refused(add(0, PAGE, 0, sockets[0]), -EINVAL, "a socket");
    fd = open("/proc", O_RDONLY | O_DIRECTORY);
    assert_refused(add(0, PAGE, 0, fd), -EINVAL, "where a file in memory");
    close(fd);
    fd = open("/dev/zero", O_RDWR);
    assert_refused(add(0, PAGE, 0, fd), -EINVAL, "where a file in memory");
    close(fd);
    fd = eventfd(0, 0);
    assert_refused(add(0, PAGE, 0, fd), -EINVAL, "anon_inode:[eventfd]");
    close(fd);
    fd = open("/proc/self/maps", O_RDONLY);
    assert_refused(add(0, PAGE, 0, fd), -EINVAL, "/maps where a file in memory");
    close(fd);
    assert_refused(add(0, PAGE, 0, -1), -EINVAL, "not open where a file in memory");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    fd = open(path, O_RDONLY);
    assert_refused(add(0, PAGE, 0, fd), -EACCES, "cannot be written");
    assert_refused(add(0, PAGE, 0, fd), -EACCES, "share=on");
    close(fd);
    assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_refused(add(0, PAGE, 0, sealed), -EPERM, "cannot be written");
    assert_int_equal(memory.count, 0);
    close(sealed), close(file);
    close(pipes[0]), close(pipes[1]), close(sockets[0]), close(sockets[1]);
}

/* C4, C5: whatever is added and removed, or refused, leaves nothing behind. */
static void test_rounds_leave_nothing(void **state)
{
    int fd = file_new(4 * PAGE);
    struct guest_region_request request = region(0x10000, PAGE, 0);
    unsigned maps = count_maps(), fds = count_fds();

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        assert_int_equal(add(0x10000, PAGE, 0, fd), 0);
        assert_int_equal(add(0x20000, PAGE, PAGE, fd), 0);
        assert_int_equal(add(0x10000, PAGE, PAGE, fd), -EINVAL);
        assert_int_equal(add(0x30000, PAGE, 4 * PAGE, fd), -EINVAL);
        assert_int_equal(guest_memory_remove(&memory, &request), 0);
        guest_memory_uninit(&memory);
    }
    assert_int_equal(count_maps(), maps);
    assert_int_equal(count_fds(), fds);
    close(fd);
}

/* The kernel leaves the mapping out of core files: "dd" among the flags of its range. */
static void test_core_files_hold_no_guest(void **state)
{
    char line[512], start[32];
    FILE *smaps;
    bool inside = false, is_left_out = false;

    (void)state;
    add_new(0x10000, PAGE);
    snprintf(start, sizeof(start), "%lx-", (unsigned long)memory.regions[0].map);
    smaps = fopen("/proc/self/smaps", "r");
    assert_non_null(smaps);
    while (fgets(line, sizeof(line), smaps)) {
        if (strchr(line, '-') && strspn(line, "0123456789abcdef") > 6)
            inside = strncmp(line, start, strlen(start)) == 0;
        if (inside && strncmp(line, "VmFlags:", 8) == 0)
            is_left_out = strstr(line, " dd") != NULL;
    }
    fclose(smaps);
    assert_true(is_left_out);
}

/* The compiler must not know what is there. */
static uint8_t touch(uint8_t *bytes, uint8_t value)
{
    uint8_t old = *(volatile uint8_t *)bytes;

    *(volatile uint8_t *)bytes = value;
    return old;
}

/* C3: after the file was cut short, the rest reads as zeroes, can be written, and is known as lost.
 */
static void test_truncated_file(void **state)
{
    struct guest_memory other;
    struct guest_region_request request = region(0, PAGE, 0);
    int fd = file_new(8 * PAGE), other_fd = file_new(PAGE);
    uint8_t *bytes;

    (void)state;
    guard_install();
    guest_memory_init(&other);
    assert_int_equal(guest_memory_add(&other, &request, other_fd, &error), 0);
    assert_int_equal(add(0x10000, 8 * PAGE, 0, fd), 0);
    bytes = memory.regions[0].bytes;
    memset(bytes, 7, 8 * PAGE);
    assert_false(guest_memory_is_lost(&memory));
    assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
    assert_false(guest_memory_is_lost(&memory)); /* nobody has noticed yet */
    assert_int_equal(touch(bytes + 5 * PAGE + 9, 1), 0);
    assert_true(guest_memory_is_lost(&memory));
    assert_false(guest_memory_is_lost(&other));
    assert_int_equal(touch(bytes + 8 * PAGE - 1, 2),
                     0); /* no second fault is needed, but allowed */
    assert_int_equal(touch(bytes + 3 * PAGE, 3), 0);
    assert_int_equal(touch(bytes + 2 * PAGE - 1, 4),
                     7); /* what the file still has is still there */
    assert_int_equal(touch(bytes + 3 * PAGE, 3), 3);
    guest_memory_uninit(&memory);
    assert_int_equal(add(0x10000, 2 * PAGE, 0, fd), 0);
    assert_false(guest_memory_is_lost(&memory)); /* a new mapping is whole */
    guest_memory_uninit(&other);
    close(other_fd), close(fd);
}

/* Emptied while system calls and copies run on it: only the process's own accesses fault. */
static void test_truncated_to_nothing(void **state)
{
    static uint8_t copy[4 * PAGE];
    int fd = file_new(4 * PAGE);

    (void)state;
    guard_install();
    assert_int_equal(add(0x10000, 4 * PAGE, 0, fd), 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    memset(copy, 1, sizeof(copy));
    memcpy(copy, memory.regions[0].bytes, sizeof(copy));
    for (size_t i = 0; i < sizeof(copy); i++)
        assert_int_equal(copy[i], 0);
    assert_true(guest_memory_is_lost(&memory));
    close(fd);
}

/*
 * Huge pages: offsets need not be whole ones, and a fault replaces whole ones. No page needs to
 * exist: a mapping without one faults like a file that was cut.
 */
static void test_huge_pages(void **state)
{
    int fd = memfd_create("unit", MFD_CLOEXEC | MFD_HUGETLB);
    uint64_t run_len;

    (void)state;
    guard_install();
    if (fd < 0 || ftruncate(fd, 4 * HUGE_PAGE)) {
        print_message("this kernel has no huge pages of 2 MiB\n");
        skip();
    }
    assert_int_equal(add(0x10000, HUGE_PAGE, HUGE_PAGE + 3 * PAGE, fd), 0);
    assert_int_equal((uintptr_t)memory.regions[0].map % HUGE_PAGE, 0);
    assert_int_equal(memory.regions[0].map_size, 2 * HUGE_PAGE);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(touch(guest_memory_at(&memory, 0x10000 + HUGE_PAGE - 1, 1, &run_len), 1), 0);
    assert_int_equal(touch(guest_memory_at(&memory, 0x10000, 1, &run_len), 1), 0);
    assert_true(guest_memory_is_lost(&memory));
    close(fd);
}

static pthread_barrier_t barrier;

static void *touch_all(void *bytes)
{
    (void)pthread_barrier_wait(&barrier);
    for (int page = 63; page >= 0; page--)
        (void)touch((uint8_t *)bytes + page * PAGE, 1);
    return NULL;
}

/* Several threads fault in the same region at once. */
static void test_threads_fault_together(void **state)
{
    pthread_t threads[4];

    (void)state;
    guard_install();
    for (unsigned round = 0; round < 50; round++) {
        int fd = file_new(64 * PAGE);

        assert_int_equal(add(0x10000, 64 * PAGE, 0, fd), 0);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pthread_barrier_init(&barrier, NULL, CV_COUNT_OF(threads)), 0);
        for (size_t i = 0; i < CV_COUNT_OF(threads); i++)
            assert_int_equal(pthread_create(&threads[i], NULL, touch_all, memory.regions[0].bytes),
                             0);
        for (size_t i = 0; i < CV_COUNT_OF(threads); i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        pthread_barrier_destroy(&barrier);
        assert_true(guest_memory_is_lost(&memory));
        guest_memory_uninit(&memory);
        close(fd);
    }
}

/* The signal that ends a child which does `fault` after installing the guard; 0: it lived. */
static int signal_of_child(void (*fault)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGBUS, SIG_DFL);
        if (guest_memory_guard_install())
            _exit(1);
        fault();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static void fault_elsewhere(void)
{
    int fd = memfd_create("unit", MFD_CLOEXEC);
    uint8_t *bytes;

    if (ftruncate(fd, PAGE))
        _exit(1);
    bytes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ftruncate(fd, 0))
        _exit(1);
    (void)touch(bytes, 1);
}

static void fault_sent(void)
{
    (void)raise(SIGBUS);
}

static void test_other_faults_are_fatal(void **state)
{
    (void)state;
    assert_int_equal(signal_of_child(fault_elsewhere), SIGBUS);
    assert_int_equal(signal_of_child(fault_sent), SIGBUS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes_are_the_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lookups_stay_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_user_lookups_stay_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes_and_offsets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overlaps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_largest_region_is_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_kinds_of_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rounds_leave_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_core_files_hold_no_guest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated_to_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_huge_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads_fault_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_faults_are_fatal, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

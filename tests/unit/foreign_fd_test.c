/*
 * Descriptors that peers send. Goal: each kind is told without asking it anything, and closing one
 * never waits, even for a TCP socket whose owner wants it to linger (C4, C21).
 * Method: one of each kind; a connection over loopback with data that nobody reads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "guest/foreign_fd.h"

static void expect_kind(int fd, enum foreign_fd_kind kind)
{
    assert_true(fd >= 0);
    assert_int_equal(foreign_fd_kind(fd), kind);
    foreign_fd_close(fd);
}

static void test_kinds(void **state)
{
    int pipes[2], sockets[2];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    expect_kind(pipes[0], FOREIGN_FD_PIPE);
    expect_kind(pipes[1], FOREIGN_FD_PIPE);
    expect_kind(sockets[0], FOREIGN_FD_UNIX_SOCKET);
    expect_kind(sockets[1], FOREIGN_FD_UNIX_SOCKET);
    expect_kind(eventfd(0, 0), FOREIGN_FD_EVENTFD);
    expect_kind(memfd_create("memory", 0), FOREIGN_FD_MEMORY);
    expect_kind(timerfd_create(CLOCK_MONOTONIC, 0), FOREIGN_FD_OTHER);
    expect_kind(socket(AF_INET, SOCK_STREAM, 0), FOREIGN_FD_OTHER);
    expect_kind(open("/proc/self/status", O_RDONLY), FOREIGN_FD_OTHER);
    expect_kind(open("/", O_RDONLY | O_DIRECTORY), FOREIGN_FD_OTHER);
    expect_kind(open("/dev/zero", O_RDWR), FOREIGN_FD_OTHER);
    assert_int_equal(foreign_fd_kind(-1), FOREIGN_FD_OTHER);
}

/* A name that a peer chooses does not pass for the kernel's own. */
static void test_names_are_no_disguise(void **state)
{
    (void)state;
    expect_kind(memfd_create("anon_inode:[eventfd]", 0), FOREIGN_FD_MEMORY);
    expect_kind(memfd_create("pipe:[1]", 0), FOREIGN_FD_MEMORY);
}

/* A connected pair over loopback; whoever closes `ret_ends[0]` last waits for a minute. */
static void lingering_pair(int ret_ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger linger = {1, 60};
    socklen_t len = sizeof(address);
    static const char data[65536];
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    ret_ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(ret_ends[0], (struct sockaddr *)&address, sizeof(address)), 0);
    ret_ends[1] = accept(listener, NULL, NULL);
    assert_true(ret_ends[1] >= 0);
    close(listener);
    assert_int_equal(setsockopt(ret_ends[0], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    assert_int_equal(fcntl(ret_ends[0], F_SETFL, O_NONBLOCK), 0);
    while (write(ret_ends[0], data, sizeof(data)) > 0)
        ;
    assert_int_equal(fcntl(ret_ends[0], F_SETFL, 0), 0);
}

static void test_closing_never_waits(void **state)
{
    uint64_t start_ns;
    int ends[2];

    (void)state;
    assert_true(foreign_fd_init());
    lingering_pair(ends);
    start_ns = clock_now_ns();
    foreign_fd_close(ends[0]);
    assert_true(clock_now_ns() - start_ns < UINT64_C(1000000000));
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_names_are_no_disguise),
        cmocka_unit_test(test_closing_never_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

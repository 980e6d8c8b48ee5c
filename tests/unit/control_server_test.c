/*
 * Goal: the control socket starts up beside whatever it finds, and serves several clients of any
 * manners: slow, silent, talkative, gone.
 * Method: the server runs on a real socket in a thread of its own; the clients are blocking sockets
 * of the test's thread. Every wait ends with the state it waits for, or fails after WAIT_S_MAX.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/control_limits.h"
#include "control/control_server.h"
#include "control/control_socket.h"
#include "fake_vswitch.h"

enum { WAIT_S_MAX = 30, OPEN_FILES_MAX = 256 };

#define STATUS_REQUEST "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n"

static char dir[64], run_dir[80], path[100];

/* --- the socket's start-up --- */

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/convoy-control-test.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(run_dir, sizeof(run_dir), "%s/run", dir);
    snprintf(path, sizeof(path), "%s/control.sock", run_dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)rmdir(run_dir);
    return rmdir(dir);
}

static void bind_at(int fd, const char *where)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", where);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void test_open_makes_what_is_missing(void **state)
{
    struct control_socket control;
    struct stat facts;
    struct error error;
    mode_t mask = umask(0);

    (void)state;
    umask(077); /* whoever starts the daemon may have any mask */
    assert_int_equal(control_socket_open(&control, run_dir, path, &error), 0);
    umask(mask);
    assert_int_equal(stat(run_dir, &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0755);
    assert_int_equal(stat(path, &facts), 0);
    assert_true(S_ISSOCK(facts.st_mode));
    assert_int_equal(facts.st_mode & 07777, 0660);
    control_socket_close(&control);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_left_over_socket_is_removed(void **state)
{
    struct control_socket control;
    struct error error;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(mkdir(run_dir, 0755), 0);
    bind_at(fd, path);
    assert_int_equal(listen(fd, 1), 0);
    close(fd);
    assert_int_equal(control_socket_open(&control, run_dir, path, &error), 0);
    control_socket_close(&control);
}

static void test_second_daemon_is_told(void **state)
{
    struct control_socket first, second;
    struct error error;
    char pid[32];

    (void)state;
    assert_int_equal(control_socket_open(&first, run_dir, path, &error), 0);
    assert_int_equal(control_socket_open(&second, run_dir, path, &error), -EADDRINUSE);
    snprintf(pid, sizeof(pid), "(pid %d)", (int)getpid());
    assert_non_null(strstr(error.text, "another convoyd answers on"));
    assert_non_null(strstr(error.text, path));
    assert_non_null(strstr(error.text, pid));
    assert_int_equal(access(path, F_OK), 0);
    control_socket_close(&first);
    assert_int_equal(control_socket_open(&second, run_dir, path, &error), 0);
    control_socket_close(&second);
}

/* Somebody else's run directory, but the same control socket. */
static void test_live_socket_elsewhere_is_kept(void **state)
{
    struct control_socket control;
    struct error error;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(mkdir(run_dir, 0755), 0);
    bind_at(fd, path);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(control_socket_open(&control, run_dir, path, &error), -EADDRINUSE);
    assert_non_null(strstr(error.text, "another convoyd answers"));
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
}

static void test_other_files_are_never_removed(void **state)
{
    struct control_socket control;
    struct error error;
    int fd;

    (void)state;
    assert_int_equal(mkdir(run_dir, 0755), 0);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(control_socket_open(&control, run_dir, path, &error), -EEXIST);
    assert_non_null(strstr(error.text, "not a socket"));
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(control_socket_open(&control, run_dir, path, &error), -EEXIST);
    assert_int_equal(unlink(path), 0);
}

static void test_run_dir_that_cannot_be(void **state)
{
    struct control_socket control;
    struct error error;
    char wrong[128];

    (void)state;
    snprintf(wrong, sizeof(wrong), "%s/missing/run", dir);
    assert_int_equal(control_socket_open(&control, wrong, path, &error), -ENOENT);
    assert_non_null(strstr(error.text, wrong));
    assert_int_equal(control_socket_open(&control, "/dev/null", path, &error), -ENOTDIR);
    assert_non_null(strstr(error.text, "not a directory"));
}

/* A daemon removes its own socket only: a successor's stays. */
static void test_close_keeps_a_successors_socket(void **state)
{
    struct control_socket control;
    struct error error;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(control_socket_open(&control, run_dir, path, &error), 0);
    assert_int_equal(unlink(path), 0);
    bind_at(fd, path);
    control_socket_close(&control);
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
}

/* --- the server --- */

struct service {
    pthread_t thread;
    struct reactor *reactor;
    struct reactor_watch stop; /* an eventfd that ends the thread */
    struct control_socket socket;
    struct control_server *server;
    struct control_facts facts;
};

static struct service service;

static void stop_ready(struct reactor_watch *watch, uint32_t epoll_events)
{
    (void)watch;
    (void)epoll_events;
    reactor_stop(service.reactor);
}

static void *serve(void *context)
{
    (void)context;
    assert(reactor_run(service.reactor) == 0);
    return NULL;
}

static void start(uint64_t patience_ns)
{
    struct error error;

    log_set_level(LOG_LEVEL_ERROR);
    fake_vswitch_reset();
    memset(&service, 0, sizeof(service));
    service.reactor = reactor_new();
    assert_non_null(service.reactor);
    assert_int_equal(control_socket_open(&service.socket, run_dir, path, &error), 0);
    service.facts = (struct control_facts){.vswitch = fake_vswitch_get(),
                                           .run_dir = run_dir,
                                           .control_socket = path,
                                           .start_ns = clock_now_ns()};
    service.server = control_server_new(service.reactor, service.socket.listen_fd, &service.facts,
                                        patience_ns, &error);
    assert_non_null(service.server);
    service.stop = (struct reactor_watch){.fd = eventfd(0, EFD_CLOEXEC), .ready = stop_ready};
    assert_int_equal(reactor_add(service.reactor, &service.stop, EPOLLIN), 0);
    assert_int_equal(pthread_create(&service.thread, NULL, serve, NULL), 0);
}

static void stop(void)
{
    assert_int_equal(eventfd_write(service.stop.fd, 1), 0);
    assert_int_equal(pthread_join(service.thread, NULL), 0);
    control_server_free(service.server);
    reactor_remove(service.reactor, &service.stop);
    close(service.stop.fd);
    control_socket_close(&service.socket);
    reactor_free(service.reactor);
}

static int start_patient(void **state)
{
    int rc = make_dir(state);

    start(UINT64_C(1000000000) * 2 * WAIT_S_MAX);
    return rc;
}

static int start_impatient(void **state)
{
    int rc = make_dir(state);

    start(UINT64_C(50000000));
    return rc;
}

static int stop_service(void **state)
{
    stop();
    return remove_dir(state);
}

static int connect_client(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = WAIT_S_MAX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void send_text(int fd, const char *text)
{
    size_t len = strlen(text);

    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* One line, byte by byte so that nothing of the next is taken; "" at the end of the stream. */
static char *read_line(int fd)
{
    static char line[CONTROL_REPLY_BYTES_MAX];
    size_t n = 0;

    while (n < sizeof(line) - 1) {
        ssize_t got = recv(fd, line + n, 1, 0);

        if (got < 0 && errno == ECONNRESET)
            break;
        assert_true(got >= 0);
        if (got == 0 || line[n] == '\n')
            break;
        n++;
    }
    line[n] = '\0';
    return line;
}

static void expect_status(int fd)
{
    assert_non_null(strstr(read_line(fd), "\"uptime_s\""));
}

static void expect_closed(int fd)
{
    assert_string_equal(read_line(fd), "");
    close(fd);
}

static void test_answers(void **state)
{
    int fd = connect_client();

    (void)state;
    send_text(fd, STATUS_REQUEST);
    expect_status(fd);
    send_text(fd, "rubbish\n");
    assert_non_null(strstr(read_line(fd), "-32700"));
    send_text(fd, STATUS_REQUEST);
    expect_status(fd);
    close(fd);
}

static void test_bytes_arrive_one_by_one(void **state)
{
    int fd = connect_client();

    (void)state;
    for (const char *byte = STATUS_REQUEST; *byte; byte++)
        assert_int_equal(send(fd, byte, 1, MSG_NOSIGNAL), 1);
    expect_status(fd);
    close(fd);
}

/* Many requests in one write, the last of them followed by the end of the stream. */
static void test_requests_in_a_row(void **state)
{
    enum { COUNT = 200 };
    int fd = connect_client();
    char *text = calloc(COUNT, sizeof(STATUS_REQUEST));

    (void)state;
    for (int i = 0; i < COUNT; i++)
        strcat(text, STATUS_REQUEST);
    send_text(fd, text);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    for (int i = 0; i < COUNT; i++)
        expect_status(fd);
    expect_closed(fd);
    free(text);
}

static void test_line_too_long(void **state)
{
    int fd = connect_client();
    char *text = malloc(CONTROL_LINE_BYTES_MAX + 1);

    (void)state;
    memset(text, 'x', CONTROL_LINE_BYTES_MAX);
    text[CONTROL_LINE_BYTES_MAX] = '\0';
    send_text(fd, text);
    assert_non_null(strstr(read_line(fd), "at most 65536 bytes"));
    expect_closed(fd);
    free(text);
    fd = connect_client();
    send_text(fd, STATUS_REQUEST);
    expect_status(fd);
    close(fd);
}

/* The longest line that is taken is. */
static void test_longest_line(void **state)
{
    int fd = connect_client();
    char *text = malloc(CONTROL_LINE_BYTES_MAX + 1);
    size_t len = strlen(STATUS_REQUEST);

    (void)state;
    memset(text, ' ', CONTROL_LINE_BYTES_MAX);
    memcpy(text + CONTROL_LINE_BYTES_MAX - len, STATUS_REQUEST, len + 1);
    send_text(fd, text);
    expect_status(fd);
    close(fd);
    free(text);
}

/* One that asks and asks and fetches nothing ties up itself only. */
static void test_answers_that_are_not_fetched(void **state)
{
    int greedy = connect_client(), other = connect_client();
    size_t sent = 0, answered = 0, len = strlen(STATUS_REQUEST);

    (void)state;
    for (;;) {
        ssize_t n = send(greedy, STATUS_REQUEST, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN)
            break;
        assert_int_equal(n, (ssize_t)len);
        sent++;
        send_text(other, STATUS_REQUEST);
        expect_status(other);
    }
    assert_int_equal(shutdown(greedy, SHUT_WR), 0);
    while (*read_line(greedy))
        answered++;
    assert_int_equal(answered, sent);
    close(greedy);
    close(other);
}

static void test_clients_that_vanish(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        int fd = connect_client();

        if (i % 4 == 1)
            send_text(fd, "{\"jsonrpc\"");
        if (i % 4 >= 2)
            send_text(fd, STATUS_REQUEST STATUS_REQUEST);
        if (i % 4 == 3)
            expect_status(fd);
        close(fd);
    }
    test_answers(NULL);
}

static void test_table_full(void **state)
{
    int idle[CONTROL_CLIENTS_MAX], late;

    (void)state;
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        idle[i] = connect_client();
        send_text(idle[i], STATUS_REQUEST);
        expect_status(idle[i]);
    }
    send_text(idle[0], STATUS_REQUEST);
    expect_status(idle[0]);
    late = connect_client();
    send_text(late, STATUS_REQUEST);
    expect_status(late);
    /* The second of the first ones was silent longest; the first has spoken since. */
    expect_closed(idle[1]);
    send_text(idle[0], STATUS_REQUEST);
    expect_status(idle[0]);
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (i != 1)
            close(idle[i]);
    close(late);
}

static void test_half_a_line_is_not_waited_for(void **state)
{
    int idle = connect_client(), slow = connect_client();

    (void)state;
    send_text(slow, "{\"jsonrpc\"");
    expect_closed(slow);
    send_text(idle, STATUS_REQUEST); /* it was silent as long, but owed nothing */
    expect_status(idle);
    close(idle);
}

static void test_slow_fetching_is_not_waited_for(void **state)
{
    int fd = connect_client(), rc;
    size_t len = strlen(STATUS_REQUEST);

    (void)state;
    do
        rc = (int)send(fd, STATUS_REQUEST, len, MSG_NOSIGNAL);
    while (rc > 0);
    /* Sending blocked until the server gave up on us. */
    assert_true(errno == EPIPE || errno == ECONNRESET);
    close(fd);
}

/* With no descriptor left nobody is served, but nobody spins either, and it passes. */
static void test_out_of_descriptors(void **state)
{
    int held[OPEN_FILES_MAX], count = 0, client = connect_client(), turned_away;

    (void)state;
    send_text(client, STATUS_REQUEST);
    expect_status(client);
    turned_away = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (count < OPEN_FILES_MAX && (held[count] = dup(client)) >= 0)
        count++;
    assert_true(count < OPEN_FILES_MAX);
    {
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        assert_int_equal(connect(turned_away, (struct sockaddr *)&address, sizeof(address)), 0);
    }
    expect_closed(turned_away);
    send_text(client, STATUS_REQUEST);
    expect_status(client);
    while (count > 0)
        close(held[--count]);
    test_answers(NULL);
    close(client);
}

#define SOCKET_TEST(test)  cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)
#define PATIENT_TEST(test) cmocka_unit_test_setup_teardown(test, start_patient, stop_service)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        SOCKET_TEST(test_open_makes_what_is_missing),
        SOCKET_TEST(test_left_over_socket_is_removed),
        SOCKET_TEST(test_second_daemon_is_told),
        SOCKET_TEST(test_live_socket_elsewhere_is_kept),
        SOCKET_TEST(test_other_files_are_never_removed),
        SOCKET_TEST(test_run_dir_that_cannot_be),
        SOCKET_TEST(test_close_keeps_a_successors_socket),
        PATIENT_TEST(test_answers),
        PATIENT_TEST(test_bytes_arrive_one_by_one),
        PATIENT_TEST(test_requests_in_a_row),
        PATIENT_TEST(test_line_too_long),
        PATIENT_TEST(test_longest_line),
        PATIENT_TEST(test_answers_that_are_not_fetched),
        PATIENT_TEST(test_clients_that_vanish),
        PATIENT_TEST(test_table_full),
        PATIENT_TEST(test_out_of_descriptors),
        cmocka_unit_test_setup_teardown(test_half_a_line_is_not_waited_for, start_impatient,
                                        stop_service),
        cmocka_unit_test_setup_teardown(test_slow_fetching_is_not_waited_for, start_impatient,
                                        stop_service),
    };
    const struct rlimit open_files = {OPEN_FILES_MAX, OPEN_FILES_MAX};

    if (setrlimit(RLIMIT_NOFILE, &open_files) < 0)
        return 1;
    return cmocka_run_group_tests_name("control_server", tests, NULL, NULL);
}

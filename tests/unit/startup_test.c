/*
 * Goal: what main needs of the world: options, the run directory that wins over the
 * configuration's, signals, and the word to the service manager. Method: the functions of startup.c
 * alone, on files and sockets in a folder of their own.
 */
#include <errno.h>
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "startup.h"

enum { WORDS_MAX = 8 };

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    snprintf(dir, sizeof(dir), "/tmp/convoy-startup-test.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

/* Reads "convoyd WORDS"; what it has to say about them is not looked at here. */
static bool read_words(const char *words, struct startup_options *options, enum startup_exit *code)
{
    static char copy[256];
    char *argv[WORDS_MAX + 2] = {(char[]){"convoyd"}}, *next = copy;
    int argc = 1;

    snprintf(copy, sizeof(copy), "%s", words);
    while (*words && argc <= WORDS_MAX && (argv[argc] = strsep(&next, " ")))
        argc++;
    argv[argc] = NULL;
    optind = 0; /* glibc: start afresh */
    opterr = 0;
    return startup_read_options(argc, argv, options, code);
}

static void test_options(void **state)
{
    struct startup_options options;
    enum startup_exit code;

    (void)state;
    assert_true(read_words("", &options, &code));
    assert_string_equal(options.config_path, "/etc/convoy/convoy.yaml");
    assert_true(options.config_is_default);
    assert_null(options.run_dir);
    assert_false(options.check_only || options.verbose);
    assert_true(read_words("-c a.yaml --check -v --run-dir /run/x", &options, &code));
    assert_string_equal(options.config_path, "a.yaml");
    assert_false(options.config_is_default);
    assert_string_equal(options.run_dir, "/run/x");
    assert_true(options.check_only && options.verbose);
    assert_false(read_words("--help", &options, &code));
    assert_int_equal(code, STARTUP_EXIT_OK);
    assert_false(read_words("--version", &options, &code));
    assert_int_equal(code, STARTUP_EXIT_OK);
    assert_false(read_words("--config", &options, &code));
    assert_int_equal(code, STARTUP_EXIT_USAGE);
    assert_false(read_words("stray", &options, &code));
    assert_int_equal(code, STARTUP_EXIT_USAGE);
    assert_false(read_words("--run-dir relative", &options, &code));
    assert_int_equal(code, STARTUP_EXIT_USAGE);
}

static const char *write_config(const char *text)
{
    static char path[96];
    FILE *file;

    snprintf(path, sizeof(path), "%s/convoy.yaml", dir);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* What the configuration leaves open moves with --run-dir, what it names stays. */
static void test_run_dir_wins(void **state)
{
    struct startup_options options = {
        .config_path = write_config("run-dir: /run/one\nports:\n  - name: open\n"
                                    "  - name: named\n    socket: /run/one/named.sock\n"
                                    "  - name: up\n    type: tap\n"),
    };
    struct config config;
    struct error error;
    bool found;

    (void)state;
    assert_int_equal(startup_load_config(&options, &config, &found, &error), 0);
    assert_true(found);
    assert_string_equal(config.control_socket, "/run/one/control.sock");
    assert_string_equal(config.ports[0].socket, "/run/one/open.sock");
    config_uninit(&config);
    options.run_dir = "/run/two";
    assert_int_equal(startup_load_config(&options, &config, &found, &error), 0);
    assert_string_equal(config.run_dir, "/run/two");
    assert_string_equal(config.control_socket, "/run/two/control.sock");
    assert_string_equal(config.ports[0].socket, "/run/two/open.sock");
    assert_string_equal(config.ports[1].socket, "/run/one/named.sock");
    assert_string_equal(config.ports[2].interface, "up");
    config_uninit(&config);
    assert_int_equal(unlink(options.config_path), 0);
}

static void test_named_control_socket_stays(void **state)
{
    struct startup_options options = {.config_path = write_config("control: /run/named.sock\n"),
                                      .run_dir = "/run/two"};
    struct config config;
    struct error error;
    bool found;

    (void)state;
    assert_int_equal(startup_load_config(&options, &config, &found, &error), 0);
    assert_string_equal(config.control_socket, "/run/named.sock");
    config_uninit(&config);
    assert_int_equal(unlink(options.config_path), 0);
}

static void test_run_dir_too_long(void **state)
{
    struct startup_options options = {.config_path = write_config("ports:\n  - name: a\n")};
    struct config config;
    struct error error;
    char longest[200] = "/";
    bool found;
    size_t fits = sizeof(config.run_dir) - 2;

    (void)state;
    memset(longest + 1, 'd', fits);
    options.run_dir = longest;
    assert_int_equal(startup_load_config(&options, &config, &found, &error), -EINVAL);
    assert_non_null(strstr(error.text, "--run-dir"));
    longest[fits] = '\0';
    assert_int_equal(startup_load_config(&options, &config, &found, &error), 0);
    assert_int_equal(strlen(config.control_socket), fits + strlen("/control.sock"));
    config_uninit(&config);
    assert_int_equal(unlink(options.config_path), 0);
}

/* Only the default file may be missing. */
static void test_missing_file(void **state)
{
    struct startup_options options = {.config_path = "/nonexistent/convoy.yaml",
                                      .config_is_default = true};
    struct config config;
    struct error error;
    bool found;

    (void)state;
    assert_int_equal(startup_load_config(&options, &config, &found, &error), 0);
    assert_false(found);
    assert_int_equal(config.port_count, 0);
    config_uninit(&config);
    options.config_is_default = false;
    assert_true(startup_load_config(&options, &config, &found, &error) < 0);
    assert_non_null(strstr(error.text, "/nonexistent/convoy.yaml"));
}

/* A signal that was pending before the reactor ran stops it; SIGHUP before it does not. */
static void test_signals(void **state)
{
    struct startup_signals signals;
    struct reactor *reactor = reactor_new();
    struct error error;

    (void)state;
    assert_non_null(reactor);
    assert_int_equal(startup_watch_signals(&signals, reactor, &error), 0);
    assert_int_equal(raise(SIGHUP), 0);
    assert_int_equal(raise(SIGPIPE), 0);
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(reactor_run(reactor), 0);
    startup_unwatch_signals(&signals);
    reactor_free(reactor);
}

/* Listens as the service manager would, and sends a state; `len` counts a leading zero byte. */
static void expect_notified(const struct sockaddr_un *address, size_t len, const char *variable)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char text[64] = "";

    assert_int_equal(bind(fd, (const struct sockaddr *)address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
    assert_int_equal(setenv("NOTIFY_SOCKET", variable, 1), 0);
    startup_notify("READY=1");
    assert_int_equal(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), strlen("READY=1"));
    assert_string_equal(text, "READY=1");
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    close(fd);
}

static void test_notify(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)state;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", dir);
    expect_notified(&address, strlen(address.sun_path), address.sun_path);
    assert_int_equal(unlink(address.sun_path), 0);
    memset(address.sun_path, 0, sizeof(address.sun_path));
    snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "convoy-test-%d", (int)getpid());
    {
        char variable[sizeof(address.sun_path)];

        snprintf(variable, sizeof(variable), "@%s", address.sun_path + 1);
        expect_notified(&address, strlen(variable), variable);
    }
    startup_notify("READY=1"); /* nobody asked for it */
}

#define DIR_TEST(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        DIR_TEST(test_options),
        DIR_TEST(test_run_dir_wins),
        DIR_TEST(test_named_control_socket_stays),
        DIR_TEST(test_run_dir_too_long),
        DIR_TEST(test_missing_file),
        DIR_TEST(test_signals),
        DIR_TEST(test_notify),
    };

    return cmocka_run_group_tests_name("startup", tests, NULL, NULL);
}

/*
 * convoyd as a child process of a test: started with a configuration of the test's own in a fresh
 * directory, asked through its control socket, watched through /proc, and gone when the test is.
 */
#ifndef CONVOY_TESTS_LIB_DAEMON_H
#define CONVOY_TESTS_LIB_DAEMON_H

#include <jansson.h>
#include <sys/types.h>

#include "base/error.h"

struct daemon {
    pid_t pid;
    char dir[64]; /* fresh directory; also its run-dir, so ports' sockets are DIR/NAME.sock */
    char log[96]; /* file that takes its standard error */
    int control;  /* connected control socket */
};

/*
 * Writes `ports` (YAML, the part behind "ports:", may be several lines with other top-level keys
 * behind) to a configuration, starts `program` and waits until it answers. Negative errno with a
 * sentence that holds what it wrote to its log.
 */
int daemon_start(struct daemon *daemon, const char *program, const char *ports,
                 struct error *error) CV_MUST_CHECK;

/*
 * Only the control connection, to a daemon that somebody else has started and ends: `dir` is its
 * run-dir. -ENOENT, -ENAMETOOLONG. The connection is closed by the caller.
 */
int daemon_join(struct daemon *daemon, const char *dir) CV_MUST_CHECK;

/* SIGTERM, then SIGKILL; removes the directory. Returns the wait status, or -1 when it had to be
 * killed. */
int daemon_stop(struct daemon *daemon);

/* False when the process has ended. */
bool daemon_is_alive(struct daemon *daemon);

/* Path of a port's socket, in a buffer that the next call reuses (four of them go round). */
const char *daemon_socket(const struct daemon *daemon, const char *port);

/*
 * One request; the result with a reference that is the caller's, NULL when the daemon answered with
 * an error or not within five seconds.
 */
json_t *daemon_call(struct daemon *daemon, const char *method, json_t *params);

/* A counter of a port, or of its drops by "drop_REASON", or all drops by "dropped"; UINT64_MAX: no
 * answer. */
uint64_t daemon_counter(struct daemon *daemon, const char *port, const char *name);

/* Bytes in the log so far. */
size_t daemon_log_bytes(const struct daemon *daemon);
/* True when a line of the log behind `from` contains both words. */
bool daemon_log_has(const struct daemon *daemon, size_t from, const char *word,
                    const char *other_word);
/* The log behind `from` to standard error, less mere comings and goings, for a failed test. */
void daemon_log_show(const struct daemon *daemon, size_t from);

/* What the daemon says of a port, on standard error, for a failed test. */
void daemon_port_show(struct daemon *daemon, const char *port);

unsigned daemon_open_files(const struct daemon *daemon);
/* What they are, on standard error. */
void daemon_open_files_show(const struct daemon *daemon);
uint64_t
daemon_anonymous_kib(const struct daemon *daemon);   /* memory of its own, guests' not counted */
uint64_t daemon_cpu_ms(const struct daemon *daemon); /* processor time used so far */
/* Built with AddressSanitizer, whose memory figures say nothing. */
bool daemon_is_sanitized(const struct daemon *daemon);

#endif

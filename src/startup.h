/*
 * What main needs of the world around the daemon: its command line, its configuration, limits,
 * signals, and a word to the service manager. Thread: the first, before and after all others.
 */
#ifndef CONVOY_STARTUP_H
#define CONVOY_STARTUP_H

#include <signal.h>

#include "base/error.h"
#include "base/reactor.h"
#include "config/config.h"

/* Exit codes, as convoyd(8) documents them. */
enum startup_exit {
    STARTUP_EXIT_OK = 0,      /* ended on request; or --check found no error */
    STARTUP_EXIT_FAILURE = 1, /* could not start, or could not go on */
    STARTUP_EXIT_USAGE = 2,   /* the command line is wrong */
};

struct startup_options {
    const char *config_path;
    bool config_is_default; /* nobody named the file, so it may be missing */
    const char *run_dir;    /* NULL: what the configuration says */
    bool check_only;
    bool verbose;
};

/* Reads the command line. False when there is nothing left to do but exit with *ret_exit. */
bool startup_read_options(int argc, char **argv, struct startup_options *ret_options,
                          enum startup_exit *ret_exit);

/* Reads the configuration that the options ask for. *ret_found: there was a file. */
int startup_load_config(const struct startup_options *options, struct config *ret_config,
                        bool *ret_found, struct error *error) CV_MUST_CHECK;

/* As many open files as the system lets us have: each guest needs some dozens. */
void startup_raise_limits(void);

/* A reactor's watch for the signals that concern us, which are blocked for every thread. */
struct startup_signals {
    struct reactor_watch watch;
    struct reactor *reactor;
};

/* Call before any other thread exists. SIGTERM and SIGINT stop the reactor; SIGHUP is explained. */
int startup_watch_signals(struct startup_signals *signals, struct reactor *reactor,
                          struct error *error) CV_MUST_CHECK;
void startup_unwatch_signals(struct startup_signals *signals);

/* Tells the service manager (sd_notify(3), NOTIFY_SOCKET) a state such as "READY=1". */
void startup_notify(const char *state);

#endif

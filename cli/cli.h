/*
 * `convoy`: what the operator types, and what is shown. It knows convoyd through its control
 * protocol only (convoyd(8)).
 */
#ifndef CONVOY_CLI_CLI_H
#define CONVOY_CLI_CLI_H

#include <jansson.h>

#include "base/compiler.h"

/* Exit status, as convoy(1) documents it. */
enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_FAILURE = 1, /* convoyd cannot be reached, or refused */
    CLI_EXIT_USAGE = 2,   /* the command line is wrong */
};

/* What the options say. */
struct cli_options {
    const char *socket; /* path of the control socket */
    bool json;          /* print results as they come */
    const char *vmm;    /* --print: whose words to print; NULL: none */
    const char *memory; /* --memory: the guest's memory as the VMM writes it */
};

/* A command: its words, what it takes, what it does. */
struct cli_command {
    const char *group; /* first word */
    const char *verb;  /* second word; NULL: none */
    const char *args;  /* for people, e.g. "NAME [KEY=VALUE]..." */
    unsigned args_min, args_max;
    bool takes_print;
    const char *summary;
    enum cli_exit (*run)(const struct cli_options *options, char **args, unsigned arg_count);
};

/* The table of commands (commands.c). */
extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;

/* Writes "convoy: SENTENCE" to standard error and returns `code`. */
enum cli_exit cli_fail(enum cli_exit code, const char *format, ...) CV_PRINTF(2, 3);

#endif

/* One call over the control socket. */
#ifndef CONVOY_CLI_CLIENT_H
#define CONVOY_CLI_CLIENT_H

#include "cli.h"

/*
 * Calls `method` with `params` (an object; the reference is taken; NULL when memory is short). On
 * success *ret_result is the caller's; its strings hold no control characters unless --json wants
 * them as they came. On failure the sentence has been printed.
 */
enum cli_exit client_call(const struct cli_options *options, const char *method, json_t *params,
                          json_t **ret_result);

#endif

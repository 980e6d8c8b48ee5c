/* Results of the control protocol for people, on standard output. */
#ifndef CONVOY_CLI_SHOW_H
#define CONVOY_CLI_SHOW_H

#include <jansson.h>

void show_status(const json_t *status);
void show_port_list(const json_t *result);
void show_port(const json_t *port);
void show_mac_list(const json_t *result);

#endif

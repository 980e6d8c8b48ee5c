/*
 * Why a port behaves as it does now: one paragraph of plain English, made from what port.show says.
 * It tells of the load, of the rule and where it comes from, of what came of it, of what limits it,
 * and of what the model expects at twice the load. What is not known is left out.
 */
#ifndef CONVOY_CLI_EXPLAIN_H
#define CONVOY_CLI_EXPLAIN_H

#include <jansson.h>
#include <stdio.h>

/* Writes the paragraph, without a line feed, for a result of port.show. */
void explain_port(const json_t *port, FILE *out);

/* Prints it on standard output in lines of at most 80 characters. Ends the program when memory is
 * short. */
void show_explanation(const json_t *port);

#endif

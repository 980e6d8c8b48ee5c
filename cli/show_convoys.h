/* The part of `convoy port show` that tells how convoys are formed. */
#ifndef CONVOY_CLI_SHOW_CONVOYS_H
#define CONVOY_CLI_SHOW_CONVOYS_H

#include <jansson.h>

/* For the port, a result of port.show; prints nothing when it does not tell. */
void show_convoys(const json_t *port);

#endif

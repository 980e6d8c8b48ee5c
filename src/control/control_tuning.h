/*
 * How a port's convoys are formed, as JSON: the member "tuning" that convoyd(8) documents. Pure but
 * for what it is handed.
 */
#ifndef CONVOY_CONTROL_CONTROL_TUNING_H
#define CONVOY_CONTROL_CONTROL_TUNING_H

#include <jansson.h>

#include "switch/vswitch.h"

/*
 * A new reference, NULL when memory is short. `now_ns` is when `tuning` was read, or a little
 * later: what stems from traffic that has ended meanwhile is not shown as if it went on. What is
 * not known, or infinite, is null.
 */
json_t *control_tuning_view(const struct port_tuning *tuning, uint64_t now_ns);

#endif

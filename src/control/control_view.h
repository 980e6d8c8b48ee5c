/*
 * What the switch knows, as JSON: the shapes of the results that convoyd(8) documents. Each
 * function returns a new reference, or NULL when memory is short. Pure but for what it is handed.
 */
#ifndef CONVOY_CONTROL_CONTROL_VIEW_H
#define CONVOY_CONTROL_CONTROL_VIEW_H

#include <jansson.h>

#include "switch/vswitch.h"

/* A string; bytes that are not UTF-8, which JSON cannot carry, become question marks. */
json_t *control_view_text(const char *text);

/*
 * {"counters": {...}, "drops": {REASON: frames, ...}, "dropped": sum, "unmerged": {REASON: frames,
 * ...}, "derived": {...}}: every counter, and the quotients that people ask for, null where nothing
 * was counted yet.
 */
json_t *control_view_counters(const struct port_counters *counters);

/* The keys of a port as port.add takes them, all of them, those of its type only. */
json_t *control_view_port_config(const struct port_config *config);

/* All that is known of a port, but for how its convoys are formed (control/control_tuning.h). */
json_t *control_view_port(const struct port_status *status);

json_t *control_view_worker(unsigned index, const struct worker_status *status);

#endif

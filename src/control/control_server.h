/*
 * The control socket's server: clients that come and go, lines in, answers out.
 *
 * How it works: a client is served one line at a time, and nothing more is read from it while an
 * answer waits to be fetched; so a client can tie up one line and one answer of memory, and no time
 * of others: after each answer the event loop goes round. A line that stays unfinished, or an
 * answer that stays unfetched, for `patience_ns` ends its client; one that is idle may stay
 * for ever, unless the table is full and it was silent longest. No timer runs for idle clients.
 *
 * Thread: control.
 */
#ifndef CONVOY_CONTROL_CONTROL_SERVER_H
#define CONVOY_CONTROL_CONTROL_SERVER_H

#include "base/reactor.h"
#include "control/control_rpc.h"

struct control_server;

/* More than any client needs that is alive. */
#define CONTROL_PATIENCE_NS_DEFAULT UINT64_C(10000000000)

/*
 * Serves a listening, non-blocking socket (which stays the caller's). `facts` and `reactor` must
 * outlive it. NULL with a sentence on failure.
 */
struct control_server *control_server_new(struct reactor *reactor, int listen_fd,
                                          const struct control_facts *facts, uint64_t patience_ns,
                                          struct error *error);

/* Ends every client. */
void control_server_free(struct control_server *server);

/* Clients connected now. */
unsigned control_server_client_count(const struct control_server *server);

#endif

/*
 * The place where a daemon can be reached: its run directory and the control socket in it.
 *
 * One daemon per run directory: a file in it is locked (flock) for as long as the daemon
 * lives, so whatever socket is found there afterwards is a left-over, unless somebody answers on
 * it. Nothing but a socket that nobody answers on is ever removed.
 */
#ifndef CONVOY_CONTROL_CONTROL_SOCKET_H
#define CONVOY_CONTROL_CONTROL_SOCKET_H

#include <sys/types.h>

#include "base/error.h"

struct control_socket {
    int listen_fd;  /* listening, non-blocking */
    int lock_fd;    /* the lock's file */
    bool is_locked; /* by us */
    char lock_path[128];
    char path[108]; /* of the socket */
    dev_t device;   /* the socket's file, so that only ours is removed */
    ino_t inode;
};

/*
 * Makes the run directory (mode 0755) if it is missing, locks it, and listens on `path` (mode
 * 0660). -EADDRINUSE: another daemon is at work here; -EEXIST: `path` is not a socket; or what the
 * system said. Always with a sentence.
 */
int control_socket_open(struct control_socket *socket, const char *run_dir, const char *path,
                        struct error *error) CV_MUST_CHECK;

/* Closes and unlocks; removes the socket's file if it is still the one that was made. */
void control_socket_close(struct control_socket *socket);

#endif

/*
 * The socket over which a front end and a vhost-user port meet: made and listened on here, or
 * connected to. Thread: control.
 */
#ifndef CONVOY_PORT_VHOST_SOCKET_H
#define CONVOY_PORT_VHOST_SOCKET_H

#include <sys/types.h>

#include "base/error.h"

/*
 * Makes the socket's file and listens on it, for the owner and `group` ("": that of the process) to
 * connect. A file that a process left behind is replaced; -EEXIST when it is no socket, -EADDRINUSE
 * when somebody listens on it. The socket, or a negative errno with a sentence.
 */
int vhost_socket_listen(const char *path, const char *group, struct error *error) CV_MUST_CHECK;

/* The file's number, to know it again; 0: there is none. */
ino_t vhost_socket_inode(const char *path);

/*
 * Stops listening, and removes the file if it still has this number: a VMM that listens on the same
 * path by mistake has put a socket of its own there.
 */
void vhost_socket_close(int fd, const char *path, ino_t inode);

/* Connects to whoever listens on `path`: a non-blocking socket, or a negative errno. */
int vhost_socket_connect(const char *path) CV_MUST_CHECK;

#endif

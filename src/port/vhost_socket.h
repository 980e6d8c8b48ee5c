/*
 * The socket over which a front end and a vhost-user port meet: made and listened on here, or
 * connected to. Thread: control.
 */
#ifndef CONVOY_PORT_VHOST_SOCKET_H
#define CONVOY_PORT_VHOST_SOCKET_H

#include "base/error.h"

/*
 * Makes the socket's file and listens on it, for the owner and `group` ("": that of the process) to
 * connect. A file that a process left behind is replaced; -EEXIST when it is no socket, -EADDRINUSE
 * when somebody listens on it. The socket, or a negative errno with a sentence.
 */
int vhost_socket_listen(const char *path, const char *group, struct error *error) CV_MUST_CHECK;

/* Connects to whoever listens on `path`: a non-blocking socket, or a negative errno. */
int vhost_socket_connect(const char *path) CV_MUST_CHECK;

#endif

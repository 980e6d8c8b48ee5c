/*
 * File descriptors that a peer has sent. Much that is harmless with one's own descriptors can hang
 * a thread with a foreign one: fstat asks a FUSE server, a write waits on a counter that is full,
 * the last close of a TCP socket lingers for as long as its owner likes. So a descriptor's kind is
 * read from the name that the kernel gives it, which asks nobody, and what is of no known kind is
 * closed by a thread that may hang.
 *
 * Thread: control.
 */
#ifndef CONVOY_GUEST_FOREIGN_FD_H
#define CONVOY_GUEST_FOREIGN_FD_H

#include "base/compiler.h"

enum foreign_fd_kind {
    FOREIGN_FD_EVENTFD,
    FOREIGN_FD_PIPE,
    FOREIGN_FD_UNIX_SOCKET,
    FOREIGN_FD_MEMORY, /* a file of tmpfs (memfd and /dev/shm too) or hugetlbfs */
    FOREIGN_FD_OTHER,  /* a file on a disk, a directory, a device, another socket, ... */
};

/* Starts the thread that closes what may hang; false when it cannot be. Once, at start-up. */
bool foreign_fd_init(void) CV_MUST_CHECK;

enum foreign_fd_kind foreign_fd_kind(int fd);

/* For people: "a pipe", or what the kernel calls it, in the caller's buffer; returns the buffer. */
const char *foreign_fd_describe(int fd, char *buffer, size_t buffer_bytes);

/* Closes it without ever waiting. */
void foreign_fd_close(int fd);

#endif

#include "guest/foreign_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

/* Where the closing thread gets the numbers from; -1: there is none. */
static int closer_pipe = -1;

/* The kernel's name: "anon_inode:[eventfd]", "pipe:[1234]", or a path. Not terminated by itself. */
static void kernel_name(int fd, char *name, size_t name_bytes)
{
    char path[32];
    ssize_t n;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, name, name_bytes - 1);
    name[n > 0 ? n : 0] = '\0';
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool is_unix_socket(int fd)
{
    int domain = 0;
    socklen_t len = sizeof(domain);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

enum foreign_fd_kind foreign_fd_kind(int fd)
{
    char name[64];

    kernel_name(fd, name, sizeof(name));
    if (strcmp(name, "anon_inode:[eventfd]") == 0)
        return FOREIGN_FD_EVENTFD;
    if (starts_with(name, "pipe:["))
        return FOREIGN_FD_PIPE;
    if (starts_with(name, "socket:["))
        return is_unix_socket(fd) ? FOREIGN_FD_UNIX_SOCKET : FOREIGN_FD_OTHER;
    /* Only files of tmpfs and hugetlbfs have seals, and the kernel answers without asking anybody.
     */
    return fcntl(fd, F_GET_SEALS) >= 0 ? FOREIGN_FD_MEMORY : FOREIGN_FD_OTHER;
}

const char *foreign_fd_describe(int fd, char *buffer, size_t buffer_bytes)
{
    char name[128];

    kernel_name(fd, name, sizeof(name));
    for (char *c = name; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    if (starts_with(name, "pipe:["))
        (void)snprintf(buffer, buffer_bytes, "a pipe");
    else if (starts_with(name, "socket:["))
        (void)snprintf(buffer, buffer_bytes, "a socket");
    else
        (void)snprintf(buffer, buffer_bytes, "%s", name[0] ? name : "not open");
    return buffer;
}

static void *closer_main(void *context)
{
    int source = (int)(intptr_t)context, fd;

    while (read(source, &fd, sizeof(fd)) == sizeof(fd))
        (void)close(fd);
    return NULL;
}

bool foreign_fd_init(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int ends[2], result;

    if (closer_pipe >= 0)
        return true;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    result = pthread_create(&thread, &attributes, closer_main, (void *)(intptr_t)ends[0]);
    (void)pthread_attr_destroy(&attributes);
    if (result) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        return false;
    }
    closer_pipe = ends[1];
    (void)fcntl(closer_pipe, F_SETFL, O_NONBLOCK);
    return true;
}

void foreign_fd_close(int fd)
{
    static const struct linger no_linger;

    if (foreign_fd_kind(fd) != FOREIGN_FD_OTHER) {
        (void)close(fd);
        return;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_linger, sizeof(no_linger));
    /* Better one descriptor too many than a thread that waits. */
    if (closer_pipe < 0 || write(closer_pipe, &fd, sizeof(fd)) != sizeof(fd))
        log_warning(
            "a peer's descriptor of an odd kind stays open: closing it might take for ever");
}

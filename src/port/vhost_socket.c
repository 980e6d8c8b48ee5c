#include "port/vhost_socket.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

static int socket_address(const char *path, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(ret_address->sun_path))
        return -ENAMETOOLONG;
    strcpy(ret_address->sun_path, path);
    return 0;
}

int vhost_socket_connect(const char *path)
{
    struct sockaddr_un address;
    int result = socket_address(path, &address);
    int fd;

    if (result < 0)
        return result;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    result = -errno;
    close(fd);
    return result;
}

/* Removes the socket of a daemon that is gone; refuses anything else in its place. */
static int socket_clear_path(const char *path, struct error *error)
{
    struct stat status;
    int fd;

    if (lstat(path, &status) < 0)
        return errno == ENOENT ? 0 : error_set(error, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, -EEXIST,
                         "%s exists and is not a socket; remove it or choose another path", path);
    fd = vhost_socket_connect(path);
    if (fd >= 0) {
        close(fd);
        return error_set(error, -EADDRINUSE,
                         "another process listens on %s already; if that is the VMM, this port "
                         "wants mode: client",
                         path);
    }
    if (fd != -ECONNREFUSED)
        return error_set(error, fd, "%s: %s", path, strerror(-fd));
    log_info("%s is left over from a process that has ended; replacing it", path);
    return unlink(path) < 0 && errno != ENOENT
               ? error_set(error, -errno, "cannot remove %s: %s", path, strerror(errno))
               : 0;
}

/* Lets a group of the host connect. */
static int socket_set_group(const char *path, const char *group, struct error *error)
{
    const struct group *entry;
    unsigned long number;
    char *end;
    gid_t gid;

    if (!group[0])
        return 0;
    number = strtoul(group, &end, 10);
    gid = (gid_t)number;
    if (*end != '\0' || number >= (gid_t)-1) {
        entry = getgrnam(group);
        if (!entry)
            return error_set(error, -EINVAL,
                             "group: this host has no group %s; VMMs often run in kvm or "
                             "libvirt-qemu",
                             group);
        gid = entry->gr_gid;
    }
    return lchown(path, (uid_t)-1, gid) < 0
               ? error_set(error, -errno, "cannot give %s to group %s: %s", path, group,
                           strerror(errno))
               : 0;
}

/*
 * The file is made with the right mode: in a folder of somebody else, the path may name another
 * file by the time of a chmod. (The mask is the process's, but only this thread makes files.)
 */
static int bind_private(int fd, const struct sockaddr_un *address)
{
    mode_t mask = umask(0117);
    int result = bind(fd, (const struct sockaddr *)address, sizeof(*address));

    umask(mask);
    return result;
}

int vhost_socket_listen(const char *path, const char *group, struct error *error)
{
    struct sockaddr_un address;
    int result = socket_address(path, &address);
    int fd;

    if (result < 0)
        return error_set(error, result, "%s: path is longer than %zu bytes", path,
                         sizeof(address.sun_path) - 1);
    result = socket_clear_path(path, error);
    if (result < 0)
        return result;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind_private(fd, &address) < 0) {
        result = error_set(error, -errno, "cannot make socket %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return result;
    }
    if (listen(fd, 4) < 0)
        result = error_set(error, -errno, "cannot listen on %s: %s", path, strerror(errno));
    else
        result = socket_set_group(path, group, error);
    if (result == 0)
        return fd;
    unlink(path);
    close(fd);
    return result;
}

ino_t vhost_socket_inode(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0 ? status.st_ino : 0;
}

void vhost_socket_close(int fd, const char *path, ino_t inode)
{
    close(fd);
    if (inode && vhost_socket_inode(path) == inode)
        (void)unlink(path);
}

#include "control/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONTROL_BACKLOG = 16 };

/* What is known of whoever answers on a socket. */
struct answerer {
    bool is_there;
    pid_t pid; /* 0: not known */
};

static int make_run_dir(const char *run_dir, struct error *error)
{
    struct stat facts;

    if (mkdir(run_dir, 0755) == 0)
        return chmod(run_dir, 0755) == 0 ? 0 : error_set(error, -errno, "%s: %m", run_dir);
    if (errno != EEXIST)
        return error_set(error, -errno, "cannot make the run directory %s: %m", run_dir);
    if (stat(run_dir, &facts) < 0)
        return error_set(error, -errno, "%s: %m", run_dir);
    if (!S_ISDIR(facts.st_mode))
        return error_set(error, -ENOTDIR,
                         "%s is not a directory; move it away or use another run-dir", run_dir);
    return 0;
}

static void fill_address(struct sockaddr_un *address, const char *path)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address->sun_path, sizeof(address->sun_path), "%s", path);
}

/* 0, or why it cannot be told whether anybody answers. */
static int find_answerer(const char *path, struct answerer *ret_answerer)
{
    struct sockaddr_un address;
    struct ucred peer;
    socklen_t peer_len = sizeof(peer);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = 0;

    *ret_answerer = (struct answerer){.is_there = false};
    if (fd < 0)
        return -errno;
    fill_address(&address, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        ret_answerer->is_there = true;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) == 0)
            ret_answerer->pid = peer.pid;
    } else if (errno == EAGAIN) {
        ret_answerer->is_there = true; /* its queue of connections is full, but it has one */
    } else if (errno != ECONNREFUSED && errno != ENOENT) {
        rc = -errno;
    }
    close(fd);
    return rc;
}

static int refuse_second(const char *path, const struct answerer *answerer, struct error *error)
{
    char pid[32] = "";

    if (answerer->pid > 0)
        (void)snprintf(pid, sizeof(pid), " (pid %d)", (int)answerer->pid);
    return error_set(error, -EADDRINUSE,
                     "another convoyd answers on %s%s; stop it or use another run-dir", path, pid);
}

/* Opens and locks the file. -EINPROGRESS: its last owner removed it meanwhile; try again. */
static int lock_file(struct control_socket *socket, struct error *error)
{
    struct stat ours, there;

    socket->lock_fd = open(socket->lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (socket->lock_fd < 0)
        return error_set(error, -errno, "cannot open %s: %m", socket->lock_path);
    if (flock(socket->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? -EWOULDBLOCK
                   : error_set(error, -errno, "cannot lock %s: %m", socket->lock_path);
    if (fstat(socket->lock_fd, &ours) == 0 && lstat(socket->lock_path, &there) == 0 &&
        ours.st_ino == there.st_ino && ours.st_dev == there.st_dev)
        return 0;
    close(socket->lock_fd);
    socket->lock_fd = -1;
    return -EINPROGRESS;
}

/* The lock is a file of our own: a directory could be locked by whoever can read it. */
static int lock_run_dir(struct control_socket *socket, const char *run_dir, struct error *error)
{
    struct answerer answerer;
    int result;

    (void)snprintf(socket->lock_path, sizeof(socket->lock_path), "%s/lock", run_dir);
    do
        result = lock_file(socket, error);
    while (result == -EINPROGRESS);
    socket->is_locked = result == 0;
    if (result != -EWOULDBLOCK)
        return result;
    if (find_answerer(socket->path, &answerer) == 0 && answerer.is_there)
        return refuse_second(socket->path, &answerer, error);
    return error_set(error, -EADDRINUSE,
                     "another convoyd holds the run directory %s; stop it or use another run-dir",
                     run_dir);
}

/* Makes room for our socket: removes one that nobody answers on, and nothing else. */
static int clear_path(const char *path, struct error *error)
{
    struct answerer answerer;
    struct stat facts;
    int rc;

    if (lstat(path, &facts) < 0)
        return errno == ENOENT ? 0 : error_set(error, -errno, "%s: %m", path);
    if (!S_ISSOCK(facts.st_mode))
        return error_set(error, -EEXIST,
                         "%s exists and is not a socket; move it away, or set another control "
                         "socket in the configuration",
                         path);
    rc = find_answerer(path, &answerer);
    if (rc < 0)
        return error_set(error, rc, "cannot tell whether anybody answers on %s: %s", path,
                         strerror(-rc));
    if (answerer.is_there)
        return refuse_second(path, &answerer, error);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set(error, -errno, "cannot remove the left-over socket %s: %m", path);
    return 0;
}

static int listen_at(struct control_socket *control, struct error *error)
{
    struct sockaddr_un address;
    struct stat facts;
    mode_t mask;
    int rc;

    control->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control->listen_fd < 0)
        return error_set(error, -errno, "cannot make the control socket: %m");
    fill_address(&address, control->path);
    mask = umask(0117); /* never more than 0660, not even for a moment */
    rc = bind(control->listen_fd, (struct sockaddr *)&address, sizeof(address));
    umask(mask);
    if (rc < 0)
        return error_set(error, -errno, "cannot make the control socket %s: %m", control->path);
    if (chmod(control->path, 0660) < 0 || lstat(control->path, &facts) < 0 ||
        listen(control->listen_fd, CONTROL_BACKLOG) < 0) {
        rc = error_set(error, -errno, "cannot listen on the control socket %s: %m", control->path);
        (void)unlink(control->path);
        return rc;
    }
    control->device = facts.st_dev;
    control->inode = facts.st_ino;
    return 0;
}

int control_socket_open(struct control_socket *socket, const char *run_dir, const char *path,
                        struct error *error)
{
    int rc;

    *socket = (struct control_socket){.listen_fd = -1, .lock_fd = -1};
    if (strlen(path) >= sizeof(socket->path))
        return error_set(error, -ENAMETOOLONG,
                         "the control socket's path %s has more than %zu characters, which no "
                         "unix socket can have",
                         path, sizeof(socket->path) - 1);
    (void)snprintf(socket->path, sizeof(socket->path), "%s", path);
    rc = make_run_dir(run_dir, error);
    if (rc == 0)
        rc = lock_run_dir(socket, run_dir, error);
    if (rc == 0)
        rc = clear_path(path, error);
    if (rc == 0)
        rc = listen_at(socket, error);
    if (rc < 0)
        control_socket_close(socket);
    return rc;
}

void control_socket_close(struct control_socket *socket)
{
    struct stat facts;

    if (socket->inode != 0 && lstat(socket->path, &facts) == 0 && facts.st_dev == socket->device &&
        facts.st_ino == socket->inode)
        (void)unlink(socket->path);
    if (socket->listen_fd >= 0)
        close(socket->listen_fd);
    if (socket->lock_fd >= 0) {
        if (socket->is_locked)
            (void)unlink(socket->lock_path);
        close(socket->lock_fd);
    }
    *socket = (struct control_socket){.listen_fd = -1, .lock_fd = -1};
}

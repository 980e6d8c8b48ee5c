/*
 * The socket side of a session: messages come in pieces, bring descriptors, and are answered.
 *
 * How it works: the header is read first, and exactly it; then exactly the payload that it
 * announces, once the table has said that such a message may exist. So nothing is read beyond a
 * message, and the kernel, which never joins bytes across a batch of descriptors, gives us each
 * message's own. A descriptor is ours from the moment it arrives: it lies in the request until a
 * handler keeps it, and what lies there when the request ends is closed, however it ends.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "guest/foreign_fd.h"
#include "guest/vhost_user_device.h"

/* Messages handled at a time, so that one front end cannot keep the thread from the others. */
enum { MESSAGES_PER_READ_MAX = 32 };

struct vhost_user_session {
    int socket;
    struct vhost_user_device device;
    struct vhost_user_request request; /* the message that is being read */
    size_t have;                       /* bytes of it, header included */
    struct log_limit refusal_log;
};

struct vhost_user_session *vhost_user_session_new(int socket, const char *name,
                                                  const struct vhost_user_offer *offer,
                                                  const struct vhost_user_owner_ops *ops,
                                                  void *owner)
{
    struct vhost_user_session *session = calloc(1, sizeof(*session));

    if (!session) {
        (void)close(socket);
        return NULL;
    }
    session->socket = socket;
    vhost_user_device_init(&session->device, name, offer, ops, owner);
    return session;
}

/* Closes what no handler has kept, and makes ready for the next message. */
static void request_clear(struct vhost_user_session *session)
{
    struct vhost_user_request *request = &session->request;

    for (unsigned i = 0; i < request->fd_count; i++) {
        if (request->fds[i] >= 0)
            foreign_fd_close(request->fds[i]);
    }
    memset(request, 0, sizeof(*request));
    session->have = 0;
}

void vhost_user_session_free(struct vhost_user_session *session)
{
    request_clear(session);
    vhost_user_device_uninit(&session->device);
    (void)close(session->socket);
    free(session);
}

/* Takes one descriptor into the request; closes it when there is no room. */
static void request_take_fd(struct vhost_user_request *request, int fd, bool *ret_overflow)
{
    if (request->fd_count < VHOST_USER_FDS_MAX) {
        request->fds[request->fd_count++] = fd;
        return;
    }
    foreign_fd_close(fd);
    *ret_overflow = true;
}

/* Takes all descriptors of a control buffer. False: there were more than a message may have. */
static bool request_take_fds(struct vhost_user_request *request, struct msghdr *message)
{
    bool overflow = message->msg_flags & MSG_CTRUNC;

    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg; cmsg = CMSG_NXTHDR(message, cmsg)) {
        size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
            request_take_fd(request, fd, &overflow);
        }
    }
    return !overflow;
}

/*
 * Reads up to `len` bytes of the message. Bytes read; -EAGAIN: nothing there; -ECONNRESET: the
 * front end has gone; -EPROTO with a sentence.
 */
static ssize_t socket_read(struct vhost_user_session *session, void *buffer, size_t len,
                           struct error *error)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(VHOST_USER_FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = buffer, .iov_len = len};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(session->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    if (!request_take_fds(&session->request, &message))
        return error_set(error, -EPROTO,
                         "a message brings more than %d descriptors, or more than this process may "
                         "have open (LimitNOFILE=)",
                         VHOST_USER_FDS_MAX);
    if (n == 0)
        return -ECONNRESET;
    return n;
}

/* The header is whole: may such a message exist? */
static int header_check(struct vhost_user_session *session, struct error *error)
{
    struct vhost_user_request *request = &session->request;
    const struct vhost_user_header *header = &request->header;
    const struct vhost_user_message_type *type = vhost_user_message_type(header->request);
    char name[32];

    (void)vhost_user_message_name(header->request, name, sizeof(name));
    request->type = type;
    if ((header->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
        return error_set(error, -EPROTO, "%s has flags %#x: only protocol version %d exists", name,
                         header->flags, VHOST_USER_VERSION);
    if (header->flags & VHOST_USER_FLAG_REPLY)
        return error_set(error, -EPROTO, "%s is a reply, but nothing was asked", name);
    if (!type->name)
        return error_set(error, -EPROTO, "%s is unknown: numbers go from 1 to %d", name,
                         VHOST_USER_REQUEST_END - 1);
    if (!type->handle)
        return error_set(error, -EPROTO, "%s is not supported: it needs %s, which was not offered",
                         name, type->needs);
    if (header->size < type->size_min || header->size > type->size_max)
        return error_set(error, -EPROTO, "%s has %u bytes where %u to %u are right", name,
                         header->size, type->size_min, type->size_max);
    return 0;
}

/* Reads on. 0: the message is whole; negative errno as of socket_read. */
static int request_read(struct vhost_user_session *session, struct error *error)
{
    struct vhost_user_request *request = &session->request;
    size_t header_size = sizeof(request->header);

    for (;;) {
        size_t want = header_size;
        uint8_t *to = (uint8_t *)&request->header + session->have;
        ssize_t n;

        if (session->have >= header_size) {
            want += request->header.size;
            to = request->payload.bytes + (session->have - header_size);
        }
        if (session->have == want)
            return 0;
        n = socket_read(session, to, want - session->have, error);
        if (n < 0)
            return (int)n;
        session->have += (size_t)n;
        if (session->have == header_size) {
            int r = header_check(session, error);

            if (r)
                return r;
        }
    }
}

/* Sends an answer whole, or ends the session: a front end waits for it, so there is room. */
static int reply_send(struct vhost_user_session *session, const struct vhost_user_reply *reply,
                      struct error *error)
{
    struct vhost_user_header header = {.request = session->request.header.request,
                                       .flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY,
                                       .size = reply->size};
    struct iovec iov[] = {{.iov_base = &header, .iov_len = sizeof(header)},
                          {.iov_base = (void *)&reply->payload, .iov_len = reply->size}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = CV_COUNT_OF(iov)};
    ssize_t n;

    do
        n = sendmsg(session->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)(sizeof(header) + reply->size))
        return 0;
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
        return -ECONNRESET;
    return error_set(error, -EPROTO, "the front end does not read the replies to what it asks");
}

static void refusal_log(struct vhost_user_session *session, const struct error *error)
{
    const char *name = session->device.name;
    unsigned suppressed;

    if (!log_limit_pass(&session->refusal_log, clock_now_ns(), &suppressed))
        return;
    if (suppressed > 0)
        log_warning("%s: %u more refusals were not logged", name, suppressed);
    log_warning("%s: refused: %s", name, error->text);
}

/*
 * Answers a request that ended with `result`: by its own payload, or, when the front end has asked
 * for it, by 0 or 1. Whether it may ask is looked up after the request: User Mode Linux asks
 * already with the SET_PROTOCOL_FEATURES that agrees on it.
 */
static int request_answer(struct vhost_user_session *session, int result,
                          struct vhost_user_reply *reply, struct error *error)
{
    const struct vhost_user_request *request = &session->request;

    if (request->type->replies)
        return result < 0 ? 0 : reply_send(session, reply, error);
    if (!(request->header.flags & VHOST_USER_FLAG_NEED_REPLY) ||
        !vhost_user_device_has_reply_ack(&session->device))
        return 0;
    reply->size = sizeof(reply->payload.u64);
    reply->payload.u64 = result != 0;
    return reply_send(session, reply, error);
}

/* Carries out a whole message. The answer goes out when the owner runs again. */
static int request_handle(struct vhost_user_session *session, struct error *error)
{
    struct vhost_user_request *request = &session->request;
    const struct vhost_user_message_type *type = request->type;
    struct vhost_user_reply reply;
    struct error unsaid; /* what went wrong first is what counts */
    int result, r;

    memset(&reply, 0, sizeof(reply));
    if (request->fd_count > type->fds_max)
        return error_set(error, -EPROTO, "%s brings %u descriptors where at most %u are right",
                         type->name, request->fd_count, type->fds_max);
    log_debug("%s: %s, %u bytes, %u descriptors", session->device.name, type->name,
              request->header.size, request->fd_count);
    result = type->handle(&session->device, request, &reply, error);
    vhost_user_device_change_end(&session->device);
    if (result == VHOST_USER_REFUSED)
        refusal_log(session, error);
    r = request_answer(session, result, &reply, result < 0 ? &unsaid : error);
    return result < 0 ? result : r;
}

int vhost_user_session_read(struct vhost_user_session *session, struct error *error)
{
    for (unsigned i = 0; i < MESSAGES_PER_READ_MAX; i++) {
        int r = request_read(session, error);

        if (r == -EAGAIN)
            return 0;
        if (r == 0)
            r = request_handle(session, error);
        else if (r != -EPROTO && r != -ECONNRESET)
            (void)error_set(error, r, "reading its socket failed: %s", strerror(-r));
        if (r)
            return r;
        request_clear(session);
        /* A change makes the workers pause: others get their turn before the next one. */
        if (session->device.has_paused) {
            session->device.has_paused = false;
            return 0;
        }
    }
    return 0;
}

uint64_t vhost_user_session_features(const struct vhost_user_session *session)
{
    return session->device.features;
}

const struct guest_memory *vhost_user_session_memory(const struct vhost_user_session *session)
{
    return &session->device.memory;
}

unsigned vhost_user_session_vring_count(const struct vhost_user_session *session)
{
    return session->device.vring_count;
}

struct vhost_user_vring *vhost_user_session_vring(struct vhost_user_session *session,
                                                  unsigned index)
{
    assert(index < session->device.vring_count);
    return &session->device.vrings[index];
}

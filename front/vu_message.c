#include "vu_message.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

static const char *const request_names[] = {
    [VU_GET_FEATURES] = "GET_FEATURES",
    [VU_SET_FEATURES] = "SET_FEATURES",
    [VU_SET_OWNER] = "SET_OWNER",
    [VU_RESET_OWNER] = "RESET_OWNER",
    [VU_SET_MEM_TABLE] = "SET_MEM_TABLE",
    [VU_SET_LOG_BASE] = "SET_LOG_BASE",
    [VU_SET_LOG_FD] = "SET_LOG_FD",
    [VU_SET_VRING_NUM] = "SET_VRING_NUM",
    [VU_SET_VRING_ADDR] = "SET_VRING_ADDR",
    [VU_SET_VRING_BASE] = "SET_VRING_BASE",
    [VU_GET_VRING_BASE] = "GET_VRING_BASE",
    [VU_SET_VRING_KICK] = "SET_VRING_KICK",
    [VU_SET_VRING_CALL] = "SET_VRING_CALL",
    [VU_SET_VRING_ERR] = "SET_VRING_ERR",
    [VU_GET_PROTOCOL_FEATURES] = "GET_PROTOCOL_FEATURES",
    [VU_SET_PROTOCOL_FEATURES] = "SET_PROTOCOL_FEATURES",
    [VU_GET_QUEUE_NUM] = "GET_QUEUE_NUM",
    [VU_SET_VRING_ENABLE] = "SET_VRING_ENABLE",
    [VU_SEND_RARP] = "SEND_RARP",
    [VU_NET_SET_MTU] = "NET_SET_MTU",
    [VU_SET_BACKEND_REQ_FD] = "SET_BACKEND_REQ_FD",
    [VU_IOTLB_MSG] = "IOTLB_MSG",
    [VU_SET_VRING_ENDIAN] = "SET_VRING_ENDIAN",
    [VU_GET_CONFIG] = "GET_CONFIG",
    [VU_SET_CONFIG] = "SET_CONFIG",
    [VU_CREATE_CRYPTO_SESSION] = "CREATE_CRYPTO_SESSION",
    [VU_CLOSE_CRYPTO_SESSION] = "CLOSE_CRYPTO_SESSION",
    [VU_POSTCOPY_ADVISE] = "POSTCOPY_ADVISE",
    [VU_POSTCOPY_LISTEN] = "POSTCOPY_LISTEN",
    [VU_POSTCOPY_END] = "POSTCOPY_END",
    [VU_GET_INFLIGHT_FD] = "GET_INFLIGHT_FD",
    [VU_SET_INFLIGHT_FD] = "SET_INFLIGHT_FD",
    [VU_GPU_SET_SOCKET] = "GPU_SET_SOCKET",
    [VU_RESET_DEVICE] = "RESET_DEVICE",
    [VU_VRING_KICK] = "VRING_KICK",
    [VU_GET_MAX_MEM_SLOTS] = "GET_MAX_MEM_SLOTS",
    [VU_ADD_MEM_REG] = "ADD_MEM_REG",
    [VU_REM_MEM_REG] = "REM_MEM_REG",
    [VU_SET_STATUS] = "SET_STATUS",
    [VU_GET_STATUS] = "GET_STATUS",
    [VU_GET_SHARED_OBJECT] = "GET_SHARED_OBJECT",
    [VU_SET_DEVICE_STATE_FD] = "SET_DEVICE_STATE_FD",
    [VU_CHECK_DEVICE_STATE] = "CHECK_DEVICE_STATE",
};
static_assert(CV_COUNT_OF(request_names) == VU_REQUEST_END, "one name for each request");

const char *vu_request_name(unsigned request)
{
    if (request >= VU_REQUEST_END || !request_names[request])
        return "?";
    return request_names[request];
}

static int remaining_ms(uint64_t deadline_ns)
{
    uint64_t now_ns = clock_now_ns();

    return now_ns >= deadline_ns ? 0 : (int)((deadline_ns - now_ns) / 1000000 + 1);
}

static int wait_for(int socket, short events, uint64_t deadline_ns)
{
    struct pollfd poll_fd = {.fd = socket, .events = events};
    int n = poll(&poll_fd, 1, remaining_ms(deadline_ns));

    if (n < 0 && errno != EINTR)
        return -errno;
    return n == 0 ? -ETIMEDOUT : 0;
}

/* Control data for `fd_count` descriptors in the caller's buffer. */
static void attach_fds(struct msghdr *message, char *control, const int *fds, unsigned fd_count)
{
    struct cmsghdr *cmsg;

    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    cmsg = CMSG_FIRSTHDR(message);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(cmsg), fds, fd_count * sizeof(int));
}

int vu_send(int socket, const struct vu_header *header, const void *payload, size_t payload_len,
            const int *fds, unsigned fd_count, int timeout_ms)
{
    uint64_t deadline_ns = clock_now_ns() + (uint64_t)timeout_ms * 1000000;
    char control[CMSG_SPACE(VU_FDS_MAX * sizeof(int))] = {0};
    uint8_t bytes[sizeof(*header) + VU_PAYLOAD_BYTES_MAX];
    size_t len = sizeof(*header) + payload_len, sent = 0;

    assert(payload_len <= VU_PAYLOAD_BYTES_MAX && fd_count <= VU_FDS_MAX);
    memcpy(bytes, header, sizeof(*header));
    if (payload_len > 0)
        memcpy(bytes + sizeof(*header), payload, payload_len);
    while (sent < len) {
        struct iovec iov = {bytes + sent, len - sent};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n;

        if (sent == 0 && fd_count > 0)
            attach_fds(&message, control, fds, fd_count);
        n = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            int result = wait_for(socket, POLLOUT, deadline_ns);

            if (result < 0)
                return result;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static void take_fds(struct msghdr *message, struct vu_message *into)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg; cmsg = CMSG_NXTHDR(message, cmsg)) {
        unsigned count = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        for (unsigned i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
            if (into->fd_count < VU_FDS_MAX)
                into->fds[into->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

static int receive_bytes(int socket, void *bytes, size_t len, struct vu_message *into,
                         uint64_t deadline_ns)
{
    size_t received = 0;

    while (received < len) {
        char control[CMSG_SPACE(VU_FDS_MAX * sizeof(int))];
        struct iovec iov = {(uint8_t *)bytes + received, len - received};
        struct msghdr message = {.msg_iov = &iov,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

        if (n == 0)
            return -ECONNRESET;
        if (n > 0) {
            take_fds(&message, into);
            received += (size_t)n;
        } else if (errno == EAGAIN) {
            int result = wait_for(socket, POLLIN, deadline_ns);

            if (result < 0)
                return result;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

int vu_receive(int socket, struct vu_message *ret_message, int timeout_ms)
{
    uint64_t deadline_ns = clock_now_ns() + (uint64_t)timeout_ms * 1000000;
    int result;

    memset(ret_message, 0, offsetof(struct vu_message, bytes) + sizeof(struct vu_config));
    ret_message->fd_count = 0;
    result = receive_bytes(socket, &ret_message->header, sizeof(ret_message->header), ret_message,
                           deadline_ns);
    if (result < 0)
        return result;
    if (ret_message->header.size > VU_PAYLOAD_BYTES_MAX)
        return -EMSGSIZE;
    return receive_bytes(socket, ret_message->bytes, ret_message->header.size, ret_message,
                         deadline_ns);
}

int vu_wait_closed(int socket, int timeout_ms)
{
    uint64_t deadline_ns = clock_now_ns() + (uint64_t)timeout_ms * 1000000;
    uint8_t bytes[512];

    for (;;) {
        ssize_t n = recv(socket, bytes, sizeof(bytes), MSG_DONTWAIT);
        int result;

        if (n == 0 || (n < 0 && (errno == ECONNRESET || errno == EPIPE)))
            return 0;
        if (n > 0 || errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return -errno;
        result = wait_for(socket, POLLIN, deadline_ns);
        if (result < 0)
            return result;
    }
}

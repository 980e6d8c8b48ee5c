/*
 * A front end and a session at the two ends of a socket pair, in one thread: what a test sends is
 * handled when it says so, and an owner notes what it is told. Messages are those of tests/lib,
 * which share nothing with the session's own.
 */
#ifndef CONVOY_TESTS_UNIT_VHOST_USER_FIXTURE_H
#define CONVOY_TESTS_UNIT_VHOST_USER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/vhost_user.h"
#include "vu_message.h"

enum {
    PAIRS = 2,
    RINGS = 2 * PAIRS,
    RING_SIZE = 256,
    MEMORY_BYTES = 1 << 20,
    RING_BYTES = 16384, /* room for one ring's three parts */
    TIMEOUT_MS = 5000,
};
#define GUEST_ADDRESS UINT64_C(0x100000)
#define USER_ADDRESS  UINT64_C(0x7f1234500000)

#define OFFERED                                                                                    \
    (VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) | VIRTIO_FEATURE(VIRTIO_NET_F_MTU) |                        \
     VIRTIO_FEATURE(VIRTIO_NET_F_MAC) | VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |                   \
     VIRTIO_FEATURE(VIRTIO_NET_F_STATUS) | VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES) |        \
     VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX))

struct link {
    struct vhost_user_session *session;
    int peer; /* the front end's socket */
    unsigned pauses, resumes;
    bool running;       /* by what the owner was told */
    uint16_t moved;     /* added to `base` of every ring that runs, at each pause */
    struct error error; /* of the last read */
    int memory_fd;
};

static struct link link_state;

static void owner_pause(void *owner)
{
    struct link *link = owner;

    assert_true(link->running);
    link->running = false;
    link->pauses++;
    for (unsigned i = 0; i < vhost_user_session_vring_count(link->session); i++) {
        struct vhost_user_vring *vring = vhost_user_session_vring(link->session, i);

        if (vhost_user_vring_is_ready(vring))
            vring->base = (uint16_t)(vring->base + link->moved);
    }
}

static void owner_resume(void *owner)
{
    struct link *link = owner;

    link->running = true;
    link->resumes++;
}

static const struct vhost_user_owner_ops owner_ops = {.pause = owner_pause, .resume = owner_resume};

static inline void link_open(void)
{
    static const struct vhost_user_offer offer = {
        .features = OFFERED, .queue_pairs = PAIRS, .mac = UINT64_C(0x525400abcdef), .mtu = 9000};
    struct link *link = &link_state;
    int memory_fd = link->memory_fd, sockets[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    *link = (struct link){.peer = sockets[1], .memory_fd = memory_fd};
    link->session = vhost_user_session_new(sockets[0], "vm1", &offer, &owner_ops, link);
    assert_non_null(link->session);
}

static inline void link_close(void)
{
    struct link *link = &link_state;

    /* Readiness takes the owner's word: it was told to run unless nothing could. */
    vhost_user_session_free(link->session);
    assert_false(link->running);
    if (link->peer >= 0)
        close(link->peer);
}

static inline int link_setup(void **state)
{
    (void)state;
    link_state.memory_fd = memfd_create("unit", MFD_CLOEXEC);
    assert_true(link_state.memory_fd >= 0);
    assert_int_equal(ftruncate(link_state.memory_fd, MEMORY_BYTES), 0);
    link_open();
    return 0;
}

static inline int link_teardown(void **state)
{
    (void)state;
    link_close();
    close(link_state.memory_fd);
    return 0;
}

/* After a message that ended the session: a new one, so that a test can go on. */
static inline void link_reopen(void)
{
    link_close();
    link_open();
}

static inline int link_read(void)
{
    link_state.error.text[0] = '\0';
    return vhost_user_session_read(link_state.session, &link_state.error);
}

static inline void link_send(unsigned request, unsigned flags, const void *payload, size_t len,
                             const int *fds, unsigned fd_count)
{
    struct vu_header header = {
        .request = request, .flags = VU_VERSION | flags, .size = (uint32_t)len};

    assert_int_equal(vu_send(link_state.peer, &header, payload, len, fds, fd_count, TIMEOUT_MS), 0);
}

/* Sends and has it handled; the session's verdict. */
static inline int link_say(unsigned request, const void *payload, size_t len, const int *fds,
                           unsigned fd_count)
{
    link_send(request, 0, payload, len, fds, fd_count);
    return link_read();
}

static inline int say_u64(unsigned request, uint64_t value)
{
    return link_say(request, &value, sizeof(value), NULL, 0);
}

static inline int say_state(unsigned request, uint32_t index, uint32_t num)
{
    struct vu_vring_state state = {.index = index, .num = num};

    return link_say(request, &state, sizeof(state), NULL, 0);
}

/* With a new eventfd, which only the session has then. */
static inline int say_event(unsigned request, uint64_t value)
{
    int fd = eventfd(0, EFD_CLOEXEC), r;

    assert_true(fd >= 0);
    r = link_say(request, &value, sizeof(value), &fd, 1);
    close(fd);
    return r;
}

/* No more than this was answered. */
static inline void assert_no_reply(void)
{
    uint8_t byte;

    assert_int_equal(recv(link_state.peer, &byte, 1, MSG_DONTWAIT | MSG_PEEK), -1);
    assert_int_equal(errno, EAGAIN);
}

static inline const struct vu_message *take_reply(unsigned request, size_t size)
{
    static struct vu_message reply;

    assert_int_equal(vu_receive(link_state.peer, &reply, TIMEOUT_MS), 0);
    assert_int_equal(reply.header.request, request);
    assert_int_equal(reply.header.flags, VU_VERSION | VU_FLAG_REPLY);
    assert_int_equal(reply.header.size, size);
    assert_int_equal(reply.fd_count, 0);
    return &reply;
}

static inline uint64_t ask_u64(unsigned request)
{
    assert_int_equal(link_say(request, NULL, 0, NULL, 0), 0);
    return take_reply(request, 8)->u64;
}

static inline uint32_t ask_base(uint32_t index)
{
    const struct vu_message *reply;

    assert_int_equal(say_state(VU_GET_VRING_BASE, index, 0), 0);
    reply = take_reply(VU_GET_VRING_BASE, sizeof(struct vu_vring_state));
    assert_int_equal(reply->state.index, index);
    return reply->state.num;
}

/* The session's verdict is that the front end broke the protocol, in a sentence with these words.
 */
static inline void assert_broken_at(int result, const char *word, const char *also, int line)
{
    if (result >= 0 || result == -ECONNRESET)
        fail_msg("line %d: result %d instead of an error", line, result);
    if (!strstr(link_state.error.text, word) || !strstr(link_state.error.text, also))
        fail_msg("line %d: '%s' does not say '%s' and '%s'", line, link_state.error.text, word,
                 also);
}
#define assert_broken(result, word, also) assert_broken_at(result, word, also, __LINE__)

static inline struct vu_mem_table one_region(void)
{
    return (struct vu_mem_table){
        .count = 1,
        .regions = {
            {.guest_address = GUEST_ADDRESS, .size = MEMORY_BYTES, .user_address = USER_ADDRESS}}};
}

static inline int say_mem_table(void)
{
    struct vu_mem_table table = one_region();

    return link_say(VU_SET_MEM_TABLE, &table, 8 + 32, &link_state.memory_fd, 1);
}

static inline struct vu_vring_addr ring_addr(uint32_t index)
{
    uint64_t start = USER_ADDRESS + (uint64_t)index * RING_BYTES;

    return (struct vu_vring_addr){.index = index,
                                  .desc_user_address = start,
                                  .avail_user_address = start + 16 * RING_SIZE,
                                  .used_user_address = start + 24 * RING_SIZE,
                                  .log_guest_address = UINT64_MAX};
}

static inline int say_addr(uint32_t index)
{
    struct vu_vring_addr addr = ring_addr(index);

    return link_say(VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static inline void negotiate(uint64_t protocol_features)
{
    assert_int_equal(link_say(VU_SET_OWNER, NULL, 0, NULL, 0), 0);
    assert_int_equal(ask_u64(VU_GET_FEATURES), OFFERED);
    (void)ask_u64(VU_GET_PROTOCOL_FEATURES);
    assert_int_equal(say_u64(VU_SET_PROTOCOL_FEATURES, protocol_features), 0);
    assert_int_equal(say_u64(VU_SET_FEATURES, OFFERED), 0);
}

/* Size, base, addresses and both descriptors; not enabled. */
static inline void start_ring(uint32_t index, uint16_t base)
{
    assert_int_equal(say_state(VU_SET_VRING_NUM, index, RING_SIZE), 0);
    assert_int_equal(say_state(VU_SET_VRING_BASE, index, base), 0);
    assert_int_equal(say_addr(index), 0);
    assert_int_equal(say_event(VU_SET_VRING_CALL, index), 0);
    assert_int_equal(say_event(VU_SET_VRING_KICK, index), 0);
}

/* A whole device of one pair, running. */
static inline void start_device(void)
{
    negotiate(0);
    assert_int_equal(say_mem_table(), 0);
    for (uint32_t i = 0; i < 2; i++) {
        start_ring(i, 0);
        assert_int_equal(say_state(VU_SET_VRING_ENABLE, i, 1), 0);
    }
    link_state.pauses = link_state.resumes = 0;
}

static inline struct vhost_user_vring *ring(unsigned index)
{
    return vhost_user_session_vring(link_state.session, index);
}

static inline unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

#endif

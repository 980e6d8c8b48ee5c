/*
 * Goal: a front end that follows the specification is served as it says, whichever of the ways of
 * real front ends it takes, and the owner is paused exactly when something that runs is changed.
 * Method: the messages of a whole life over a socket pair, with what each must change.
 */
#include "vhost_user_fixture.h"

static void test_whole_setup(void **state)
{
    uint64_t run_len;

    (void)state;
    negotiate(0);
    assert_int_equal(vhost_user_session_features(link_state.session), OFFERED);
    assert_int_equal(say_mem_table(), 0);
    assert_int_equal(vhost_user_session_vring_count(link_state.session), RINGS);
    start_ring(0, 7);
    assert_int_equal(link_state.pauses, 0);
    assert_int_equal(link_state.resumes, 1); /* the first ring is ready */
    assert_false(ring(0)->enabled);
    assert_true(vhost_user_vring_is_ready(ring(0)));
    assert_int_equal(ring(0)->size, RING_SIZE);
    assert_int_equal(ring(0)->base, 7);
    assert_int_equal(ring(0)->desc_user_address, USER_ADDRESS);
    start_ring(1, 9);
    assert_int_equal(link_state.pauses, 1); /* for the kick that started it, nothing before */
    assert_int_equal(say_state(VU_SET_VRING_ENABLE, 1, 1), 0);
    assert_true(ring(1)->enabled);
    assert_false(ring(0)->enabled);
    assert_int_equal(link_state.pauses, 2);
    assert_non_null(guest_memory_at(vhost_user_session_memory(link_state.session), GUEST_ADDRESS,
                                    MEMORY_BYTES, &run_len));
    assert_int_equal(run_len, MEMORY_BYTES);
    assert_no_reply();
}

static void test_descriptors_arrive(void **state)
{
    uint64_t one = 1, value = 1;
    int kick = eventfd(0, EFD_CLOEXEC), call = eventfd(0, EFD_CLOEXEC);

    (void)state;
    assert_int_equal(link_say(VU_SET_VRING_KICK, &value, 8, &kick, 1), 0);
    assert_int_equal(link_say(VU_SET_VRING_CALL, &value, 8, &call, 1), 0);
    assert_int_equal(write(kick, &one, 8), 8);
    assert_int_equal(read(ring(1)->kick_fd, &value, 8), 8);
    assert_int_equal(write(ring(1)->call_fd, &one, 8), 8);
    assert_int_equal(read(call, &value, 8), 8);
    assert_true(fcntl(ring(1)->kick_fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(ring(1)->kick_fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(ring(1)->call_fd, F_GETFL) & O_NONBLOCK);
    close(kick), close(call);
}

/* The guest polls: a call without a descriptor takes the old one away. */
static void test_call_without_descriptor(void **state)
{
    (void)state;
    assert_int_equal(say_event(VU_SET_VRING_CALL, 0), 0);
    assert_true(ring(0)->call_fd >= 0);
    assert_int_equal(say_u64(VU_SET_VRING_CALL, 0 | VU_NO_FD), 0);
    assert_int_equal(ring(0)->call_fd, -1);
    assert_int_equal(say_event(VU_SET_VRING_ERR, 0), 0);
    assert_int_equal(say_u64(VU_SET_VRING_ERR, 0 | VU_NO_FD), 0);
}

/* User Mode Linux is called through a socket; the specification knows pipes. */
static void test_call_through_pipe_and_socket(void **state)
{
    uint64_t index = 0;
    int pipes[2], sockets[2];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    assert_int_equal(link_say(VU_SET_VRING_CALL, &index, 8, &pipes[1], 1), 0);
    assert_int_equal(link_say(VU_SET_VRING_CALL, &index, 8, &sockets[0], 1), 0);
    close(pipes[0]), close(pipes[1]), close(sockets[0]), close(sockets[1]);
}

static void test_queries(void **state)
{
    (void)state;
    start_device();
    assert_int_equal(ask_u64(VU_GET_FEATURES), OFFERED);
    assert_int_equal(ask_u64(VU_GET_PROTOCOL_FEATURES),
                     VU_PROTOCOL(MQ) | VU_PROTOCOL(REPLY_ACK) | VU_PROTOCOL(NET_MTU) |
                         UINT64_C(1) << 5 | VU_PROTOCOL(CONFIG) | VU_PROTOCOL(RESET_DEVICE) |
                         VU_PROTOCOL(CONFIGURE_MEM_SLOTS) | VU_PROTOCOL(STATUS));
    assert_int_equal(ask_u64(VU_GET_QUEUE_NUM), RINGS);
    assert_int_equal(ask_u64(VU_GET_MAX_MEM_SLOTS), GUEST_REGIONS_MAX);
    assert_int_equal(ask_u64(VU_GET_STATUS), 0);
    assert_int_equal(say_u64(VU_SET_STATUS, 0x0f), 0);
    assert_int_equal(ask_u64(VU_GET_STATUS), 0x0f);
    assert_int_equal(link_state.pauses + link_state.resumes, 0);
}

/* Bytes come one by one, and the descriptor with any of them. */
static void test_message_in_pieces(void **state)
{
    struct vu_mem_table table = one_region();
    struct vu_header header = {.request = VU_SET_MEM_TABLE, .flags = VU_VERSION, .size = 40};
    uint8_t bytes[52];

    (void)state;
    memcpy(bytes, &header, 12);
    memcpy(bytes + 12, &table, 40);
    for (size_t fd_at = 0; fd_at < sizeof(bytes); fd_at++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            char control[CMSG_SPACE(sizeof(int))] = {0};
            struct iovec iov = {&bytes[i], 1};
            struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

            if (i == fd_at) {
                message.msg_control = control;
                message.msg_controllen = sizeof(control);
                *CMSG_FIRSTHDR(&message) = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
                                                            .cmsg_level = SOL_SOCKET,
                                                            .cmsg_type = SCM_RIGHTS};
                memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &link_state.memory_fd, sizeof(int));
            }
            assert_int_equal(sendmsg(link_state.peer, &message, 0), 1);
            assert_int_equal(link_read(), 0);
            assert_int_equal(vhost_user_session_memory(link_state.session)->count,
                             i + 1 == sizeof(bytes));
        }
        link_reopen();
    }
}

/* Many messages wait in the socket: a bounded number at a time, none lost. */
static void test_messages_in_a_row(void **state)
{
    unsigned reads = 0, replies = 0;
    uint8_t byte;

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        link_send(VU_GET_FEATURES, 0, NULL, 0, NULL, 0);
    while (replies < 100) {
        assert_int_equal(link_read(), 0);
        reads++;
        while (recv(link_state.peer, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1) {
            (void)take_reply(VU_GET_FEATURES, 8);
            replies++;
        }
    }
    assert_in_range(reads, 2, 50);
}

static uint64_t ask_ack(unsigned request, const void *payload, size_t len, const int *fds,
                        unsigned fd_count)
{
    link_send(request, VU_FLAG_NEED_REPLY, payload, len, fds, fd_count);
    assert_int_equal(link_read(), 0);
    return take_reply(request, 8)->u64;
}

static void test_acknowledgements(void **state)
{
    uint64_t value = VU_PROTOCOL(REPLY_ACK), mtu = 1500;

    (void)state;
    /* Not agreed on: not given, although asked for. */
    link_send(VU_SET_OWNER, VU_FLAG_NEED_REPLY, NULL, 0, NULL, 0);
    assert_int_equal(link_read(), 0);
    assert_no_reply();
    /* The message that agrees on it may ask already: User Mode Linux does. */
    assert_int_equal(ask_ack(VU_SET_PROTOCOL_FEATURES, &value, 8, NULL, 0), 0);
    assert_int_equal(ask_ack(VU_SET_OWNER, NULL, 0, NULL, 0), 0);
    assert_int_equal(ask_ack(VU_NET_SET_MTU, &mtu, 8, NULL, 0), 0);
    /* Not asked for: not given. */
    assert_int_equal(link_say(VU_SET_OWNER, NULL, 0, NULL, 0), 0);
    assert_no_reply();
    /* A message with a reply of its own has no other. */
    link_send(VU_GET_FEATURES, VU_FLAG_NEED_REPLY, NULL, 0, NULL, 0);
    assert_int_equal(link_read(), 0);
    assert_int_equal(take_reply(VU_GET_FEATURES, 8)->u64, OFFERED);
    assert_no_reply();
}

/* What cannot be done is said, and the session goes on. */
static void test_refusals(void **state)
{
    static const uint64_t mtus[] = {0, 67, 9001, 65535, 65536, UINT64_MAX};
    struct vu_config config = {.offset = 6, .size = 2};
    uint64_t value = VU_PROTOCOL(REPLY_ACK);

    (void)state;
    assert_int_equal(ask_ack(VU_SET_PROTOCOL_FEATURES, &value, 8, NULL, 0), 0);
    for (size_t i = 0; i < CV_COUNT_OF(mtus); i++)
        assert_int_equal(ask_ack(VU_NET_SET_MTU, &mtus[i], 8, NULL, 0), 1);
    value = 9000;
    assert_int_equal(ask_ack(VU_NET_SET_MTU, &value, 8, NULL, 0), 0);
    value = 0x100;
    assert_int_equal(ask_ack(VU_SET_STATUS, &value, 8, NULL, 0), 1);
    assert_int_equal(ask_ack(VU_SET_CONFIG, &config, 14, NULL, 0), 1);
    assert_int_equal(ask_u64(VU_GET_FEATURES), OFFERED);
}

static void test_config(void **state)
{
    static const uint8_t expected[24] = {0x52,  0x54, 0x00, 0xab, 0xcd, 0xef, /* MAC */
                                         1,     0,                            /* link is up */
                                         PAIRS, 0,                            /* queue pairs */
                                         0x28,  0x23,                         /* MTU 9000 */
                                         0xff,  0xff, 0xff, 0xff, 0xff};      /* speed, duplex */
    struct vu_config ask = {.offset = 0, .size = 256};

    (void)state;
    for (ask.offset = 0; ask.offset <= 256; ask.offset++) {
        const struct vu_message *reply;

        ask.size = 256 - ask.offset;
        assert_int_equal(link_say(VU_GET_CONFIG, &ask, 12 + ask.size, NULL, 0), 0);
        reply = take_reply(VU_GET_CONFIG, 12 + ask.size);
        assert_int_equal(reply->config.offset, ask.offset);
        assert_int_equal(reply->config.size, ask.size);
        assert_int_equal(reply->config.flags, 0);
        for (uint32_t i = 0; i < ask.size; i++)
            assert_int_equal(reply->config.bytes[i],
                             ask.offset + i < sizeof(expected) ? expected[ask.offset + i] : 0);
    }
}

/* Out of range: a reply without payload, as the specification says. */
static void test_config_out_of_range(void **state)
{
    static const struct {
        uint32_t offset, size, carried;
    } cases[] = {
        {0, 257, 256},      {1, 256, 256},        {256, 1, 1},        {257, 0, 0},
        {UINT32_MAX, 1, 1}, {1, 255, 256},        {UINT32_MAX, 2, 2}, {0, 6, 5},
        {0, 0, 6},          {0, UINT32_MAX, 256}, {6, 0, 1},          {UINT32_MAX - 5, 6, 6},
    };

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(cases); i++) {
        struct vu_config ask = {.offset = cases[i].offset, .size = cases[i].size};

        assert_int_equal(link_say(VU_GET_CONFIG, &ask, 12 + cases[i].carried, NULL, 0), 0);
        (void)take_reply(VU_GET_CONFIG, 0);
    }
}

static void config_mac_read(uint8_t *ret_mac)
{
    struct vu_config ask = {.offset = 0, .size = 6};

    assert_int_equal(link_say(VU_GET_CONFIG, &ask, 18, NULL, 0), 0);
    memcpy(ret_mac, take_reply(VU_GET_CONFIG, 18)->config.bytes, 6);
}

/* Only a legacy driver writes the address, and nothing but the address. */
static void test_config_write(void **state)
{
    struct vu_config config = {.offset = 0, .size = 6, .bytes = {2, 1, 1, 1, 1, 1, 9}};
    uint8_t mac[6];

    (void)state;
    assert_int_equal(say_u64(VU_SET_FEATURES, 0), 0);
    assert_int_equal(link_say(VU_SET_CONFIG, &config, 18, NULL, 0), 0);
    config_mac_read(mac);
    assert_memory_equal(mac, config.bytes, 6);
    config.size = 7;
    assert_int_equal(link_say(VU_SET_CONFIG, &config, 19, NULL, 0), 0);
    config.offset = UINT32_MAX, config.size = 1;
    assert_int_equal(link_say(VU_SET_CONFIG, &config, 13, NULL, 0), 0);
    assert_int_equal(say_u64(VU_SET_FEATURES, VIRTIO_FEATURE(VIRTIO_F_VERSION_1)), 0);
    config = (struct vu_config){.offset = 0, .size = 6};
    assert_int_equal(link_say(VU_SET_CONFIG, &config, 18, NULL, 0), 0);
    config_mac_read(mac);
    assert_int_equal(mac[0], 2);
    assert_int_equal(mac[5], 1);
}

/* Whatever a worker may use is changed under a pause, one for each message. */
static void test_pause_once_per_message(void **state)
{
    struct vu_mem_reg reg = {
        .region = {.guest_address = 0x40000000, .size = 4096, .user_address = 0x7f0000000000}};

    (void)state;
    start_device();
    link_state.moved = 10;
    assert_int_equal(say_event(VU_SET_VRING_CALL, 0), 0);
    assert_int_equal(link_state.pauses, 1);
    assert_int_equal(say_event(VU_SET_VRING_KICK, 1), 0);
    assert_int_equal(link_state.pauses, 2);
    assert_int_equal(say_mem_table(), 0);
    assert_int_equal(link_state.pauses, 3);
    assert_int_equal(link_say(VU_ADD_MEM_REG, &reg, sizeof(reg), &link_state.memory_fd, 1), 0);
    assert_int_equal(link_say(VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0), 0);
    assert_int_equal(link_state.pauses, 5);
    assert_int_equal(say_state(VU_SET_VRING_ENABLE, 0, 0), 0);
    assert_int_equal(say_addr(0), 0);
    assert_int_equal(say_u64(VU_SET_FEATURES, OFFERED & ~VIRTIO_FEATURE(VIRTIO_NET_F_CSUM)), 0);
    assert_int_equal(link_state.pauses, 8);
    assert_int_equal(link_state.resumes, 8);
    assert_true(link_state.running);
    assert_int_equal(ring(0)->base, 80); /* kept where the owner had got to */
}

static void test_no_pause_for_nothing(void **state)
{
    (void)state;
    start_device();
    assert_int_equal(say_u64(VU_SET_FEATURES, OFFERED), 0); /* QEMU: once per queue pair */
    assert_int_equal(say_state(VU_SET_VRING_ENABLE, 0, 1), 0);
    assert_int_equal(say_state(VU_SET_VRING_ENABLE, 200, 0), 0); /* a queue of QEMU's only */
    assert_int_equal(say_event(VU_SET_VRING_ERR, 0), 0);
    assert_int_equal(say_state(VU_SET_VRING_NUM, 2, 128), 0); /* not started */
    assert_int_equal(say_event(VU_SET_VRING_CALL, 3), 0);
    assert_int_equal(say_state(VU_SET_VRING_ENABLE, 3, 1), 0);
    assert_int_equal(ask_base(2), 0);
    assert_int_equal(say_u64(VU_SET_STATUS, 4), 0);
    assert_int_equal(say_u64(VU_SEND_RARP, 0x525400123456), 0);
    assert_int_equal(link_state.pauses + link_state.resumes, 0);
}

/* A pause of the guest, or a migration: both rings stop, and start again from where they were. */
static void test_stop_and_start_again(void **state)
{
    (void)state;
    start_device();
    link_state.moved = 0x8001;
    assert_int_equal(ask_base(0), 0x8001);
    assert_false(vhost_user_vring_is_ready(ring(0)));
    assert_int_equal(ring(0)->kick_fd, -1);
    assert_true(link_state.running); /* the other */
    assert_int_equal(ask_base(1), (2 * 0x8001) & 0xffff);
    assert_int_equal(ask_base(1), (2 * 0x8001) & 0xffff); /* again: the same */
    link_state.pauses = link_state.resumes = 0;
    start_ring(0, 0x8001);
    assert_int_equal(link_state.pauses, 0);
    assert_int_equal(link_state.resumes, 1);
    assert_int_equal(ring(0)->base, 0x8001);
    assert_true(ring(0)->enabled); /* not switched off in between */
}

/* QEMU 7.2 resets the status first and asks for the bases afterwards. */
static void test_status_zero_stops_rings(void **state)
{
    (void)state;
    start_device();
    link_state.moved = 33;
    assert_int_equal(say_u64(VU_SET_STATUS, 7), 0);
    assert_int_equal(link_state.pauses, 0);
    assert_int_equal(say_u64(VU_SET_STATUS, 0), 0);
    assert_int_equal(link_state.pauses, 1);
    assert_false(vhost_user_vring_is_ready(ring(0)));
    assert_int_equal(ask_base(0), 33);
    assert_int_equal(ask_base(1), 33);
    assert_int_equal(link_state.pauses, 1);
    link_state.running = false;
}

/* User Mode Linux and a guest's reboot: rings are left disabled and set up anew, never asked for.
 */
static void test_abandoned_ring_is_set_up_anew(void **state)
{
    (void)state;
    start_device();
    assert_int_equal(say_state(VU_SET_VRING_ENABLE, 0, 0), 0);
    assert_true(vhost_user_vring_is_ready(ring(0))); /* it may be enabled again: a pause */
    assert_int_equal(say_state(VU_SET_VRING_NUM, 0, 128), 0);
    assert_false(vhost_user_vring_is_ready(ring(0)));
    assert_int_equal(say_state(VU_SET_VRING_BASE, 0, 0), 0);
    assert_int_equal(say_addr(0), 0);
    assert_false(vhost_user_vring_is_ready(ring(0)));
    assert_int_equal(say_event(VU_SET_VRING_KICK, 0), 0);
    assert_true(vhost_user_vring_is_ready(ring(0)));
    assert_int_equal(ring(0)->size, 128);
    assert_int_equal(say_state(VU_SET_VRING_ENABLE, 1, 0), 0);
    assert_int_equal(say_state(VU_SET_VRING_BASE, 1, 5), 0);
    assert_false(vhost_user_vring_is_ready(ring(1)));
}

/* Without protocol features nobody says SET_VRING_ENABLE. */
static void test_rings_enabled_from_the_start(void **state)
{
    (void)state;
    assert_true(ring(0)->enabled);
    assert_int_equal(say_u64(VU_SET_FEATURES, VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES)), 0);
    assert_false(ring(0)->enabled);
    assert_int_equal(say_state(VU_SET_VRING_ENABLE, 1, 1), 0);
    assert_int_equal(say_u64(VU_SET_FEATURES, 0), 0);
    assert_true(ring(0)->enabled);
    assert_int_equal(say_u64(VU_SET_FEATURES, VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES)), 0);
    assert_false(ring(0)->enabled);
    assert_true(ring(1)->enabled); /* its last word still stands */
}

/* QEMU enables queues before it agrees on features. */
static void test_enable_before_features(void **state)
{
    (void)state;
    assert_int_equal(say_state(VU_SET_VRING_ENABLE, 0, 1), 0);
    assert_int_equal(say_u64(VU_SET_FEATURES, OFFERED), 0);
    assert_true(ring(0)->enabled);
    assert_false(ring(1)->enabled);
}

static void test_memory_slots(void **state)
{
    const struct guest_memory *memory = vhost_user_session_memory(link_state.session);
    struct vu_mem_table table = one_region();
    struct vu_mem_reg reg = {.region = table.regions[0]};

    (void)state;
    negotiate(VU_PROTOCOL(CONFIGURE_MEM_SLOTS));
    assert_int_equal(link_say(VU_ADD_MEM_REG, &reg, sizeof(reg), &link_state.memory_fd, 1), 0);
    assert_int_equal(memory->count, 1);
    start_ring(0, 0);
    assert_true(vhost_user_vring_is_ready(ring(0)));
    /* QEMU 7.2 says it for each queue pair. */
    assert_int_equal(link_say(VU_ADD_MEM_REG, &reg, sizeof(reg), &link_state.memory_fd, 1), 0);
    assert_int_equal(memory->count, 1);
    assert_true(vhost_user_vring_is_ready(ring(0)));
    /* The memory that a ring lies in goes and comes: so does the ring. */
    assert_int_equal(link_say(VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0), 0);
    assert_int_equal(memory->count, 0);
    assert_false(vhost_user_vring_is_ready(ring(0)));
    link_state.running = false;
    assert_int_equal(link_say(VU_REM_MEM_REG, &reg, sizeof(reg), &link_state.memory_fd, 1), 0);
    assert_int_equal(link_say(VU_ADD_MEM_REG, &reg, sizeof(reg), &link_state.memory_fd, 1), 0);
    assert_true(vhost_user_vring_is_ready(ring(0)));
    assert_true(link_state.running);
}

/* Eight regions, also with room for more than there are (User Mode Linux). */
static void test_table_of_eight_regions(void **state)
{
    struct vu_mem_table table = {.count = 8};
    int fds[8];

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        fds[i] = link_state.memory_fd;
        table.regions[i] = (struct vu_region){.guest_address = i * UINT64_C(0x1000000),
                                              .size = 4096,
                                              .user_address = USER_ADDRESS + i * 4096,
                                              .mmap_offset = i * 8192};
    }
    assert_int_equal(link_say(VU_SET_MEM_TABLE, &table, 8 + 8 * 32, fds, 8), 0);
    assert_int_equal(vhost_user_session_memory(link_state.session)->count, 8);
    table.count = 1;
    assert_int_equal(link_say(VU_SET_MEM_TABLE, &table, 8 + 2 * 32, fds, 1), 0);
    assert_int_equal(vhost_user_session_memory(link_state.session)->count, 1);
}

static void test_reset_device(void **state)
{
    (void)state;
    start_device();
    assert_int_equal(say_u64(VU_SET_STATUS, 15), 0);
    assert_int_equal(link_say(VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(link_state.pauses, 1);
    link_state.running = false;
    assert_int_equal(vhost_user_session_features(link_state.session), 0);
    assert_int_equal(ask_u64(VU_GET_STATUS), 0);
    assert_int_equal(ring(0)->size, 0);
    assert_int_equal(ring(0)->call_fd, -1);
    assert_int_equal(ask_base(0), 0);
    assert_int_equal(vhost_user_session_memory(link_state.session)->count, 1);
    assert_int_equal(say_u64(VU_SET_FEATURES, OFFERED), 0);
    assert_false(ring(0)->enabled);
    start_ring(0, 0);
    assert_true(vhost_user_vring_is_ready(ring(0)));
}

static void test_reset_owner_disables(void **state)
{
    (void)state;
    start_device();
    assert_int_equal(link_say(VU_RESET_OWNER, NULL, 0, NULL, 0), 0);
    assert_false(ring(0)->enabled);
    assert_int_equal(link_state.pauses, 1);
    assert_true(vhost_user_vring_is_ready(ring(0)));
}

static void test_backend_requests_are_never_made(void **state)
{
    int sockets[2];
    uint8_t byte;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    assert_int_equal(link_say(VU_SET_BACKEND_REQ_FD, NULL, 0, &sockets[1], 1), 0);
    close(sockets[1]);
    assert_int_equal(recv(sockets[0], &byte, 1, MSG_DONTWAIT), -1); /* held open */
    assert_int_equal(errno, EAGAIN);
    link_reopen();
    assert_int_equal(recv(sockets[0], &byte, 1, MSG_DONTWAIT), 0); /* until the session ends */
    close(sockets[0]);
}

/* Gone is gone, wherever in a message; and the owner is paused before all is taken away. */
static void test_front_end_goes(void **state)
{
    struct vu_header header = {.request = VU_SET_FEATURES, .flags = VU_VERSION, .size = 8};

    (void)state;
    start_device();
    assert_int_equal(send(link_state.peer, &header, sizeof(header), 0), sizeof(header));
    close(link_state.peer);
    link_state.peer = -1;
    assert_int_equal(link_read(), -ECONNRESET);
    link_reopen();
    close(link_state.peer);
    link_state.peer = -1;
    assert_int_equal(link_read(), -ECONNRESET);
}

static void test_feature_names(void **state)
{
    char text[512], tiny[8];

    (void)state;
    assert_string_equal(vhost_user_features_format(0, text, sizeof(text)), "");
    assert_string_equal(vhost_user_features_format(VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) |
                                                       VIRTIO_FEATURE(VIRTIO_F_VERSION_1) |
                                                       VIRTIO_FEATURE(45),
                                                   text, sizeof(text)),
                        "CSUM, VERSION_1, bit 45");
    for (unsigned size = 1; size <= sizeof(tiny); size++)
        assert_int_equal(strlen(vhost_user_features_format(UINT64_MAX, tiny, size)), size - 1);
    assert_true(strlen(vhost_user_features_format(UINT64_MAX, text, sizeof(text))) < sizeof(text));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, link_setup, link_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_whole_setup),
        TEST(test_descriptors_arrive),
        TEST(test_call_without_descriptor),
        TEST(test_call_through_pipe_and_socket),
        TEST(test_queries),
        TEST(test_message_in_pieces),
        TEST(test_messages_in_a_row),
        TEST(test_acknowledgements),
        TEST(test_refusals),
        TEST(test_config),
        TEST(test_config_out_of_range),
        TEST(test_config_write),
        TEST(test_pause_once_per_message),
        TEST(test_no_pause_for_nothing),
        TEST(test_stop_and_start_again),
        TEST(test_status_zero_stops_rings),
        TEST(test_abandoned_ring_is_set_up_anew),
        TEST(test_rings_enabled_from_the_start),
        TEST(test_enable_before_features),
        TEST(test_memory_slots),
        TEST(test_table_of_eight_regions),
        TEST(test_reset_device),
        TEST(test_reset_owner_disables),
        TEST(test_backend_requests_are_never_made),
        TEST(test_front_end_goes),
        TEST(test_feature_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Goal: whatever comes over the socket, the worst that happens is the end of that session, with a
 * sentence that names the message; nothing leaks (C2 to C5, C12, C13, C20, C21 of the threats).
 * Method: every message in every wrong form, one session each, on real sockets and descriptors.
 */
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

#include "vhost_user_fixture.h"

/* C2. */
static void test_ring_index_out_of_range(void **state)
{
    static const uint32_t indexes[] = {RINGS, 255, 256, 0x10000, 0x10000 + RINGS, UINT32_MAX};
    static const unsigned requests[] = {VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_GET_VRING_BASE};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(indexes); i++) {
        struct vu_vring_addr addr = ring_addr(0);

        for (size_t k = 0; k < CV_COUNT_OF(requests); k++) {
            assert_broken(say_state(requests[k], indexes[i], 1), vu_request_name(requests[k]),
                          "rings 0 to 3");
            assert_no_reply();
            link_reopen();
        }
        assert_broken(say_state(VU_SET_VRING_ENABLE, indexes[i], 1), "SET_VRING_ENABLE",
                      "rings 0 to 3");
        link_reopen();
        addr.index = indexes[i];
        assert_broken(link_say(VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), "SET_VRING_ADDR",
                      "rings 0 to 3");
        link_reopen();
    }
}

/* C2: in the u64 of the descriptors' messages nothing but index and flag may be set. */
static void test_event_index_out_of_range(void **state)
{
    static const uint64_t values[] = {
        RINGS, 0xff, 0x200, 0x10000, UINT64_C(1) << 32, 1 << 31, UINT64_MAX - 255};
    static const unsigned requests[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};

    (void)state;
    for (size_t k = 0; k < CV_COUNT_OF(requests); k++) {
        for (size_t i = 0; i < CV_COUNT_OF(values); i++) {
            assert_broken(say_event(requests[k], values[i]), vu_request_name(requests[k]), "ring");
            link_reopen();
            assert_broken(say_u64(requests[k], values[i] | VU_NO_FD), vu_request_name(requests[k]),
                          "ring");
            link_reopen();
        }
    }
}

/* C12: each bit that was not offered ends the session, and is named. */
static void test_features_never_offered(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t feature = VIRTIO_FEATURE(bit);

        if (OFFERED & feature)
            continue;
        start_device();
        assert_broken(say_u64(VU_SET_FEATURES, OFFERED | feature), "SET_FEATURES", "never offered");
        assert_int_equal(vhost_user_session_features(link_state.session), OFFERED);
        assert_int_equal(link_state.pauses, 0);
        link_reopen();
    }
    assert_broken(say_u64(VU_SET_FEATURES, VIRTIO_FEATURE(34)), "RING_PACKED", "0x400000000");
}

static void test_protocol_features_never_offered(void **state)
{
    uint64_t offered = ask_u64(VU_GET_PROTOCOL_FEATURES);

    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        if (offered >> bit & 1)
            continue;
        assert_broken(say_u64(VU_SET_PROTOCOL_FEATURES, UINT64_C(1) << bit),
                      "SET_PROTOCOL_FEATURES", "never offered");
        link_reopen();
    }
}

/* C13. */
static void test_ring_sizes(void **state)
{
    static const uint32_t wrong[] = {0, 3, 255, 257, 32767, 32769, 65536, UINT32_MAX, 1u << 31};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(wrong); i++) {
        assert_broken(say_state(VU_SET_VRING_NUM, 1, wrong[i]), "SET_VRING_NUM", "power of two");
        link_reopen();
    }
    for (uint32_t size = 1; size <= 32768; size *= 2)
        assert_int_equal(say_state(VU_SET_VRING_NUM, 1, size), 0);
    assert_broken(say_state(VU_SET_VRING_BASE, 1, 0x10000), "SET_VRING_BASE", "16 bits");
}

/* C13: a ring that runs cannot be changed under the worker. */
static void test_changes_while_running(void **state)
{
    (void)state;
    start_device();
    assert_broken(say_state(VU_SET_VRING_NUM, 0, 128), "SET_VRING_NUM", "running");
    assert_int_equal(ring(0)->size, RING_SIZE);
    assert_int_equal(link_state.pauses, 0);
    link_reopen();
    start_device();
    assert_broken(say_state(VU_SET_VRING_BASE, 0, 1), "SET_VRING_BASE", "running");
    assert_int_equal(ring(0)->base, 0);
}

/* A ring that grows beyond its memory does not run; one that was never there is refused. */
static void test_ring_addresses(void **state)
{
    static const struct {
        int64_t desc, avail, used; /* added to good ones */
        const char *word;
    } cases[] = {
        {8, 0, 0, "not aligned"},
        {0, 1, 0, "not aligned"},
        {0, 0, 2, "not aligned"},
        {-RING_BYTES, 0, 0, "outside the memory"},
        {MEMORY_BYTES, 0, 0, "outside the memory"},
        {MEMORY_BYTES - 16 * RING_SIZE + 16, 0, 0, "outside the memory"},
        {0, MEMORY_BYTES - 18 * RING_SIZE - 4, 0, "outside the memory"},
        {0, 0, MEMORY_BYTES - 32 * RING_SIZE - 4, "outside the memory"},
        {INT64_MIN, 0, 0, "outside the memory"},
        {0, INT64_MIN, INT64_MIN, "outside the memory"},
    };
    struct vu_vring_addr addr;

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(cases); i++) {
        assert_int_equal(say_mem_table(), 0);
        assert_int_equal(say_state(VU_SET_VRING_NUM, 0, RING_SIZE), 0);
        addr = ring_addr(0);
        addr.desc_user_address += (uint64_t)cases[i].desc;
        addr.avail_user_address += (uint64_t)cases[i].avail;
        addr.used_user_address += (uint64_t)cases[i].used;
        assert_broken(link_say(VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), "SET_VRING_ADDR",
                      cases[i].word);
        link_reopen();
    }
    addr = ring_addr(0);
    addr.flags = 1;
    assert_broken(link_say(VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), "SET_VRING_ADDR",
                  "logging");
    link_reopen();
    assert_int_equal(say_mem_table(), 0);
    assert_int_equal(say_addr(0), 0);
    assert_int_equal(say_state(VU_SET_VRING_NUM, 0, 32768), 0);
    assert_int_equal(say_event(VU_SET_VRING_KICK, 0), 0);
    assert_true(vhost_user_vring_is_ready(ring(0)));
    assert_int_equal(say_state(VU_SET_VRING_ENABLE, 0, 0), 0);
    addr = ring_addr(0);
    addr.desc_user_address += MEMORY_BYTES - 65536;
    assert_broken(link_say(VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), "524288 bytes",
                  "outside the memory");
}

/* C3, C21 and the sentence that most users will meet. */
static void test_memory_tables(void **state)
{
    struct vu_mem_table table = one_region();
    int fds[8], pipes[2];

    (void)state;
    for (unsigned i = 0; i < 8; i++)
        fds[i] = link_state.memory_fd;
    assert_broken(link_say(VU_SET_MEM_TABLE, &table, 40, NULL, 0), "not shared", "share=on");
    link_reopen();
    table.count = 0;
    assert_broken(link_say(VU_SET_MEM_TABLE, &table, 8, NULL, 0), "not shared", "access mode");
    link_reopen();
    table.count = 9;
    assert_broken(link_say(VU_SET_MEM_TABLE, &table, sizeof(table), fds, 8), "9 regions",
                  "at most");
    link_reopen();
    table.count = UINT32_MAX;
    assert_broken(link_say(VU_SET_MEM_TABLE, &table, sizeof(table), fds, 8), "regions", "at most");
    link_reopen();
    table.count = 2;
    assert_broken(link_say(VU_SET_MEM_TABLE, &table, 8 + 32, fds, 2), "2 regions", "40 bytes");
    link_reopen();
    assert_broken(link_say(VU_SET_MEM_TABLE, &table, 8 + 64, fds, 1), "2 regions", "1 desc");
    link_reopen();
    assert_broken(link_say(VU_SET_MEM_TABLE, &table, 8 + 64, fds, 3), "2 regions", "3 desc");
    link_reopen();
    table = one_region(), table.regions[0].mmap_offset = 1;
    assert_broken(link_say(VU_SET_MEM_TABLE, &table, 40, fds, 1), "SET_MEM_TABLE, region 0",
                  "only");
    link_reopen();
    table = one_region();
    assert_int_equal(pipe(pipes), 0);
    assert_broken(link_say(VU_SET_MEM_TABLE, &table, 40, pipes, 1), "a pipe", "share=on");
    link_reopen();
    close(pipes[0]), close(pipes[1]);
}

/* The second region of a table is wrong: the memory that there was still serves, unpaused. */
static void test_bad_table_changes_nothing(void **state)
{
    const struct guest_memory *memory = vhost_user_session_memory(link_state.session);
    struct vu_mem_table table = {
        .count = 2,
        .regions = {{.guest_address = 0, .size = 4096}, {.guest_address = 4095, .size = 4096}}};
    int fds[] = {link_state.memory_fd, link_state.memory_fd};

    (void)state;
    start_device();
    assert_broken(link_say(VU_SET_MEM_TABLE, &table, 72, fds, 2), "region 1", "overlaps");
    assert_int_equal(memory->count, 1);
    assert_int_equal(memory->regions[0].guest_address, GUEST_ADDRESS);
    assert_int_equal(link_state.pauses, 0);
    assert_true(vhost_user_vring_is_ready(ring(0)));
}

static void test_memory_slot_limits(void **state)
{
    struct vu_mem_reg reg = {.region = {.size = 4096}};

    (void)state;
    assert_broken(link_say(VU_ADD_MEM_REG, &reg, sizeof(reg), NULL, 0), "not shared", "share=on");
    link_reopen();
    for (unsigned i = 0; i < GUEST_REGIONS_MAX; i++) {
        reg.region.guest_address = i * 4096;
        assert_int_equal(link_say(VU_ADD_MEM_REG, &reg, sizeof(reg), &link_state.memory_fd, 1), 0);
    }
    reg.region.guest_address = GUEST_REGIONS_MAX * 4096;
    assert_broken(link_say(VU_ADD_MEM_REG, &reg, sizeof(reg), &link_state.memory_fd, 1),
                  "ADD_MEM_REG", "64 memory regions");
}

/* C21: what a kick, a call and an error may be. */
static void test_wrong_kinds_of_event(void **state)
{
    int pipes[2], sockets[2], wrong[6];
    uint64_t index = 0;

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    wrong[0] = open("/dev/null", O_RDWR);
    wrong[1] = open("/", O_RDONLY | O_DIRECTORY);
    wrong[2] = memfd_create("unit", 0);
    wrong[3] = epoll_create1(0);
    wrong[4] = timerfd_create(CLOCK_MONOTONIC, 0);
    wrong[5] = open("/proc/self/maps", O_RDONLY);
    for (size_t i = 0; i < CV_COUNT_OF(wrong); i++) {
        assert_true(wrong[i] >= 0);
        assert_broken(link_say(VU_SET_VRING_KICK, &index, 8, &wrong[i], 1), "SET_VRING_KICK",
                      "not an eventfd");
        link_reopen();
        assert_broken(link_say(VU_SET_VRING_CALL, &index, 8, &wrong[i], 1), "SET_VRING_CALL",
                      "not an eventfd, a pipe");
        link_reopen();
        assert_broken(link_say(VU_SET_VRING_ERR, &index, 8, &wrong[i], 1), "SET_VRING_ERR",
                      "not an eventfd");
        link_reopen();
        close(wrong[i]);
    }
    assert_broken(link_say(VU_SET_VRING_KICK, &index, 8, &pipes[0], 1), "SET_VRING_KICK",
                  "not an eventfd");
    link_reopen();
    assert_broken(link_say(VU_SET_VRING_KICK, &index, 8, &sockets[0], 1), "SET_VRING_KICK",
                  "not an eventfd");
    link_reopen();
    assert_broken(link_say(VU_SET_VRING_CALL, &index, 8, &pipes[0], 1), "SET_VRING_CALL",
                  "cannot be written");
    link_reopen();
    assert_broken(link_say(VU_SET_BACKEND_REQ_FD, NULL, 0, &pipes[1], 1), "SET_BACKEND_REQ_FD",
                  "socket");
    close(pipes[0]), close(pipes[1]), close(sockets[0]), close(sockets[1]);
}

/* A full counter neither blocks the check nor is changed by it. */
static void test_full_eventfd(void **state)
{
    uint64_t full = UINT64_MAX - 1, index = 0;
    int fd = eventfd(0, EFD_CLOEXEC);

    (void)state;
    assert_int_equal(write(fd, &full, 8), 8);
    assert_int_equal(link_say(VU_SET_VRING_CALL, &index, 8, &fd, 1), 0);
    assert_int_equal(read(fd, &full, 8), 8);
    assert_true(full == UINT64_MAX - 1);
    close(fd);
}

static void test_kick_without_descriptor(void **state)
{
    uint64_t values[] = {1 | VU_NO_FD, 1};

    (void)state;
    assert_broken(say_u64(VU_SET_VRING_KICK, values[0]), "SET_VRING_KICK for ring 1", "poll");
    link_reopen();
    assert_broken(say_u64(VU_SET_VRING_KICK, values[1]), "SET_VRING_KICK", "0 descriptors");
    link_reopen();
    assert_broken(say_event(VU_SET_VRING_KICK, values[0]), "SET_VRING_KICK", "1 descriptors");
}

static void test_unsupported_messages(void **state)
{
    static const unsigned requests[] = {VU_SET_LOG_BASE,
                                        VU_SET_LOG_FD,
                                        VU_IOTLB_MSG,
                                        VU_SET_VRING_ENDIAN,
                                        VU_CREATE_CRYPTO_SESSION,
                                        VU_CLOSE_CRYPTO_SESSION,
                                        VU_POSTCOPY_ADVISE,
                                        VU_POSTCOPY_LISTEN,
                                        VU_POSTCOPY_END,
                                        VU_GET_INFLIGHT_FD,
                                        VU_SET_INFLIGHT_FD,
                                        VU_GPU_SET_SOCKET,
                                        VU_VRING_KICK,
                                        VU_GET_SHARED_OBJECT,
                                        VU_SET_DEVICE_STATE_FD,
                                        VU_CHECK_DEVICE_STATE};
    static const unsigned unknown[] = {0, VU_REQUEST_END, 1000, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(requests); i++) {
        assert_broken(say_u64(requests[i], 0), vu_request_name(requests[i]), "not offered");
        link_reopen();
    }
    for (size_t i = 0; i < CV_COUNT_OF(unknown); i++) {
        assert_broken(say_u64(unknown[i], 0), "request", "unknown");
        link_reopen();
    }
}

static int say_header(unsigned request, uint32_t flags, uint32_t size)
{
    struct vu_header header = {.request = request, .flags = flags, .size = size};

    assert_int_equal(vu_send(link_state.peer, &header, NULL, 0, NULL, 0, TIMEOUT_MS), 0);
    return link_read();
}

/* A header is judged before anything that it announces is waited for. */
static void test_headers(void **state)
{
    static const uint32_t versions[] = {0, 2, 3, 0xfffffff0, VU_FLAG_NEED_REPLY};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(versions); i++) {
        assert_broken(say_header(VU_GET_FEATURES, versions[i], 0), "GET_FEATURES", "version");
        link_reopen();
    }
    assert_broken(say_header(VU_GET_FEATURES, VU_VERSION | VU_FLAG_REPLY, 0), "GET_FEATURES",
                  "is a reply");
    link_reopen();
    for (unsigned request = 1; request < VU_REQUEST_END; request++) {
        static const uint32_t sizes[] = {1, 9, 269, 4096, 1u << 31, UINT32_MAX};

        for (size_t i = 0; i < CV_COUNT_OF(sizes); i++) {
            int r = say_header(request, VU_VERSION, sizes[i]);

            if (r == 0) /* a size that such a message may have: it waits for the rest */
                assert_true(sizes[i] <= 268);
            else
                assert_broken(r, vu_request_name(request), "");
            link_reopen();
        }
    }
}

/* C20: nothing in a reply but what belongs there. The session's memory was used for other things.
 */
static void test_replies_are_clean(void **state)
{
    static const unsigned requests[] = {VU_GET_FEATURES,  VU_GET_PROTOCOL_FEATURES,
                                        VU_GET_QUEUE_NUM, VU_GET_MAX_MEM_SLOTS,
                                        VU_GET_STATUS,    VU_GET_VRING_BASE};
    struct vu_config junk = {.offset = UINT32_MAX, .size = UINT32_MAX};

    (void)state;
    memset(junk.bytes, 0xee, sizeof(junk.bytes));
    for (size_t i = 0; i < CV_COUNT_OF(requests); i++) {
        struct vu_vring_state ring_0 = {0};
        size_t len = requests[i] == VU_GET_VRING_BASE ? sizeof(ring_0) : 0;
        uint8_t bytes[64];

        assert_int_equal(link_say(VU_GET_CONFIG, &junk, sizeof(junk), NULL, 0), 0);
        (void)take_reply(VU_GET_CONFIG, 0);
        link_send(requests[i], VU_FLAG_NEED_REPLY, &ring_0, len, NULL, 0);
        assert_int_equal(link_read(), 0);
        assert_int_equal(recv(link_state.peer, bytes, sizeof(bytes), MSG_DONTWAIT), 20);
        for (size_t k = 0; k < 20; k++)
            assert_int_not_equal(bytes[k], 0xee);
        assert_int_equal(bytes[4], VU_VERSION | VU_FLAG_REPLY);
        assert_int_equal(bytes[5] | bytes[6] | bytes[7], 0);
    }
}

/* A refused last message is still answered, so that the VMM knows which it was. */
static void test_failure_is_acknowledged(void **state)
{
    uint64_t value = VU_PROTOCOL(REPLY_ACK);

    (void)state;
    assert_int_equal(say_u64(VU_SET_PROTOCOL_FEATURES, value), 0);
    value = UINT64_MAX;
    link_send(VU_SET_FEATURES, VU_FLAG_NEED_REPLY, &value, 8, NULL, 0);
    assert_broken(link_read(), "SET_FEATURES", "never offered");
    assert_int_equal(take_reply(VU_SET_FEATURES, 8)->u64, 1);
}

/* A front end that asks and never reads: its session ends, nobody waits for it. */
static void test_replies_are_not_read(void **state)
{
    unsigned rounds = 0;
    int r = 0;

    (void)state;
    while (r == 0 && rounds++ < 100000)
        r = link_say(VU_GET_FEATURES, NULL, 0, NULL, 0);
    assert_broken(r, "does not read", "");
}

static void close_all(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

/* C4: every message with every number of descriptors, of the kind it may keep, in many sessions. */
static void test_descriptors_do_not_leak(void **state)
{
    static const unsigned counts[] = {0, 1, 7, 8, 9, 32};
    struct vu_config payload;
    unsigned before = count_fds();

    (void)state;
    memset(&payload, 0, sizeof(payload));
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned request = 0; request <= VU_REQUEST_END; request++) {
            for (size_t i = 0; i < CV_COUNT_OF(counts); i++) {
                static const size_t sizes[] = {0, 8, 40, 264};
                int fds[VU_FDS_MAX];

                for (unsigned k = 0; k < counts[i]; k++)
                    fds[k] = (round & 1) ? eventfd(0, 0) : dup(link_state.memory_fd);
                link_send(request, VU_FLAG_NEED_REPLY, &payload, sizes[round / 2 % 4], fds,
                          counts[i]);
                close_all(fds, counts[i]);
                if (counts[i] > 8)
                    assert_broken(link_read(), "more than 8 descriptors", "");
                else
                    (void)link_read();
                link_reopen();
            }
        }
    }
    assert_int_equal(count_fds(), before);
}

/* One byte of the socket's stream, with descriptors. */
static void send_byte(uint8_t byte, const int *fds, unsigned fd_count)
{
    char control[CMSG_SPACE(8 * sizeof(int))] = {0};
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = CMSG_SPACE(fd_count * sizeof(int))};

    *CMSG_FIRSTHDR(&message) = (struct cmsghdr){.cmsg_len = CMSG_LEN(fd_count * sizeof(int)),
                                                .cmsg_level = SOL_SOCKET,
                                                .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), fds, fd_count * sizeof(int));
    assert_int_equal(sendmsg(link_state.peer, &message, 0), 1);
}

/* C4: never more than eight at a time, but more for one message. */
static void test_descriptors_in_portions(void **state)
{
    unsigned before = count_fds();
    int fds[8];

    (void)state;
    for (unsigned k = 0; k < 8; k++)
        fds[k] = link_state.memory_fd;
    for (unsigned i = 0; i < 100; i++) {
        send_byte(VU_SET_MEM_TABLE, fds, 8);
        assert_int_equal(link_read(), 0);
        send_byte(0, fds, 1 + i % 8);
        assert_broken(link_read(), "more than 8 descriptors", "");
        link_reopen();
    }
    assert_int_equal(count_fds(), before);
}

/* A descriptor that no such message has. */
static void test_descriptors_where_none_belong(void **state)
{
    static const unsigned requests[] = {VU_GET_FEATURES, VU_SET_OWNER, VU_GET_STATUS};
    int fds[] = {link_state.memory_fd, link_state.memory_fd};
    uint64_t index = 0;

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(requests); i++) {
        assert_broken(link_say(requests[i], NULL, 0, fds, 1), vu_request_name(requests[i]),
                      "brings 1 descriptors");
        assert_no_reply();
        link_reopen();
    }
    assert_broken(link_say(VU_SET_VRING_CALL, &index, 8, fds, 2), "SET_VRING_CALL",
                  "brings 2 descriptors");
}

/* C4: descriptors that come with a message that never becomes whole. */
static void test_descriptors_of_half_messages(void **state)
{
    unsigned before = count_fds();

    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        struct vu_header header = {.request = VU_SET_MEM_TABLE, .flags = VU_VERSION, .size = 264};
        int fds[8];

        for (unsigned k = 0; k < 8; k++)
            fds[k] = link_state.memory_fd;
        assert_int_equal(vu_send(link_state.peer, &header, &header, i % 12, fds, 8, TIMEOUT_MS), 0);
        assert_int_equal(link_read(), 0);
        if (i & 1) {
            close(link_state.peer);
            link_state.peer = -1;
            assert_int_equal(link_read(), -ECONNRESET);
        }
        link_reopen();
    }
    assert_int_equal(count_fds(), before);
}

/* The process may open no more: the kernel drops descriptors, and the message is not believed. */
static void test_no_descriptors_left(void **state)
{
    struct rlimit limit, tight;
    struct vu_mem_table table = one_region();
    unsigned before = count_fds();
    int fds[8], r, next = dup(0);

    (void)state;
    close(next);
    for (unsigned k = 0; k < 8; k++)
        fds[k] = link_state.memory_fd;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)next + 3;
    link_send(VU_SET_MEM_TABLE, 0, &table, 40, fds, 8);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    r = link_read();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_broken(r, "LimitNOFILE", "");
    link_reopen();
    assert_int_equal(count_fds(), before);
}

static long resident_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long size, resident;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return resident;
}

/* A life that uses every message that a session may get, with whatever they allocate. */
static void live(void)
{
    struct vu_mem_reg reg = {
        .region = {.guest_address = 0x40000000, .size = 4096, .user_address = 0x7f0000000000}};
    struct vu_config config = {.offset = 0, .size = 24};

    assert_int_equal(say_u64(VU_SET_FEATURES, OFFERED), 0);
    assert_int_equal(say_mem_table(), 0);
    assert_int_equal(link_say(VU_ADD_MEM_REG, &reg, sizeof(reg), &link_state.memory_fd, 1), 0);
    start_ring(0, 0);
    assert_int_equal(say_state(VU_SET_VRING_ENABLE, 0, 1), 0);
    assert_int_equal(say_event(VU_SET_VRING_CALL, 0), 0);
    assert_int_equal(say_event(VU_SET_VRING_ERR, 0), 0);
    assert_int_equal(link_say(VU_REM_MEM_REG, &reg, sizeof(reg), &link_state.memory_fd, 1), 0);
    assert_int_equal(say_u64(VU_NET_SET_MTU, 100000), 0);
    assert_int_equal(link_say(VU_GET_CONFIG, &config, 36, NULL, 0), 0);
    (void)take_reply(VU_GET_CONFIG, 36);
    (void)ask_base(0);
    assert_int_equal(say_u64(VU_SET_STATUS, 0), 0);
    assert_int_equal(link_say(VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(link_say(VU_RESET_OWNER, NULL, 0, NULL, 0), 0);
}

/* C4, C5: the same messages ten thousand times in one session. */
static void test_rounds_leave_nothing(void **state)
{
    unsigned fds;
    long pages;

    (void)state;
    live();
    for (unsigned i = 0; i < 100; i++)
        live();
    fds = count_fds();
    pages = resident_pages();
    for (unsigned i = 0; i < 10000; i++)
        live();
    assert_int_equal(count_fds(), fds);
    assert_true(resident_pages() - pages < 256);
    link_state.running = false;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, link_setup, link_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_ring_index_out_of_range),
        TEST(test_event_index_out_of_range),
        TEST(test_features_never_offered),
        TEST(test_protocol_features_never_offered),
        TEST(test_ring_sizes),
        TEST(test_changes_while_running),
        TEST(test_ring_addresses),
        TEST(test_memory_tables),
        TEST(test_bad_table_changes_nothing),
        TEST(test_memory_slot_limits),
        TEST(test_wrong_kinds_of_event),
        TEST(test_full_eventfd),
        TEST(test_kick_without_descriptor),
        TEST(test_unsupported_messages),
        TEST(test_headers),
        TEST(test_replies_are_clean),
        TEST(test_failure_is_acknowledged),
        TEST(test_replies_are_not_read),
        TEST(test_descriptors_do_not_leak),
        TEST(test_descriptors_in_portions),
        TEST(test_descriptors_where_none_belong),
        TEST(test_descriptors_of_half_messages),
        TEST(test_no_descriptors_left),
        TEST(test_rounds_leave_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

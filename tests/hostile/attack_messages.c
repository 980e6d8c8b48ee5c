/* The peer of the socket sends wrong messages: indices, sizes, features, descriptors, repetitions.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "guest/vhost_user.h"
#include "hostile.h"

/* How long the switch may close a port whose peer has held up a worker. */
enum { CLOSED_MS_MAX = 12000 };

/* Requests whose payload starts with a ring's index. */
static const enum vu_request state_requests[] = {VU_SET_VRING_NUM, VU_SET_VRING_BASE,
                                                 VU_GET_VRING_BASE, VU_SET_VRING_ENABLE};
static const enum vu_request event_requests[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL,
                                                 VU_SET_VRING_ERR};

/* C2: an index beyond the port's rings, also one that becomes small when it is cut to 8 or 16 bits.
 */
static void index_beyond_rings(struct hostile *h)
{
    static const uint32_t indices[] = {4, 5, 255, 256, 0x10000, 0x10001, 0x7fffffff, 0xffffffff};

    for (unsigned r = 0; r < CV_COUNT_OF(state_requests); r++) {
        for (unsigned i = 0; i < CV_COUNT_OF(indices); i++) {
            struct vu_vring_state state = {indices[i],
                                           state_requests[r] == VU_SET_VRING_NUM ? 256 : 1};
            char what[32];
            struct front_end fe;

            if (!hostile_negotiate(h, &fe, &h->attacker))
                return;
            snprintf(what, sizeof(what), "ring %u", indices[i]);
            if (state_requests[r] == VU_GET_VRING_BASE) {
                struct vu_message reply;

                hostile_expect(
                    h, front_end_ask(&fe, VU_GET_VRING_BASE, &state, sizeof(state), &reply) < 0,
                    "GET_VRING_BASE answered for %s", what);
            } else {
                hostile_expect_refused(h, &fe, state_requests[r], &state, sizeof(state), NULL, 0,
                                       what);
            }
            hostile_close(&fe);
        }
    }
}

/* C2: the same in SET_VRING_ADDR, and in the u64 of kick, call and err. */
static void index_of_addresses_and_events(struct hostile *h)
{
    static const uint64_t values[] = {4,           0xff,        0x10000,
                                      0x100000000, 0x100000001, UINT64_MAX & ~(uint64_t)VU_NO_FD};

    for (unsigned i = 0; i < CV_COUNT_OF(values); i++) {
        for (unsigned r = 0; r <= CV_COUNT_OF(event_requests); r++) {
            struct vu_vring_addr addr = {.index =
                                             (uint32_t)values[i] ? (uint32_t)values[i] : 0xffff};
            struct front_end fe;

            if (!hostile_negotiate(h, &fe, &h->attacker))
                return;
            if (r < CV_COUNT_OF(event_requests))
                hostile_expect_refused(h, &fe, event_requests[r], &values[i], sizeof(values[i]),
                                       &fe.rings[0].kick_fd, 1, "ring beyond the last");
            else if (addr.index != 1)
                hostile_expect_refused(h, &fe, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0,
                                       "ring beyond the last");
            hostile_close(&fe);
        }
    }
}

/* C2: GET_CONFIG and SET_CONFIG outside the configuration space. */
static void configuration_space_overrun(struct hostile *h)
{
    static const uint32_t offsets[] = {0, 255, 256, 0xffff, 0xffffff00, 0xffffffff};

    for (unsigned i = 0; i < CV_COUNT_OF(offsets); i++) {
        struct vu_config config = {.offset = offsets[i], .size = 256};
        struct vu_message reply;
        struct front_end fe;

        if (!hostile_negotiate(h, &fe, &h->attacker))
            return;
        if (front_end_ask(&fe, VU_GET_CONFIG, &config, sizeof(config), &reply) == 0 &&
            offsets[i] > 0)
            hostile_expect(h, reply.header.size == 0 || reply.config.size == 0,
                           "configuration space read at %u", offsets[i]);
        hostile_close(&fe);
        if (!hostile_negotiate(h, &fe, &h->attacker))
            return;
        hostile_expect_refused(h, &fe, VU_SET_CONFIG, &config, sizeof(config), NULL, 0,
                               "any place");
        hostile_close(&fe);
    }
}

/* Headers that announce more, less or other than what follows. */
static void wrong_headers(struct hostile *h)
{
    static const struct vu_header headers[] = {
        {VU_SET_FEATURES, VU_VERSION, 0xffffffff},
        {VU_SET_FEATURES, VU_VERSION, 0x7fffffff},
        {VU_SET_FEATURES, VU_VERSION, 4097},
        {VU_SET_FEATURES, VU_VERSION, 7},
        {VU_SET_FEATURES, VU_VERSION, 9},
        {VU_SET_FEATURES, 0, 8},
        {VU_SET_FEATURES, 2, 8},
        {VU_SET_FEATURES, VU_VERSION | VU_FLAG_REPLY, 8},
        {0, VU_VERSION, 8},
        {VU_REQUEST_END, VU_VERSION, 8},
        {0xffffffff, VU_VERSION, 8},
        {VU_GET_FEATURES, VU_VERSION, 8},
        {VU_SET_MEM_TABLE, VU_VERSION, 8 + 9 * 32},
        {VU_SET_VRING_ADDR, VU_VERSION, 39},
    };
    uint8_t payload[512] = {0};

    for (unsigned i = 0; i < CV_COUNT_OF(headers); i++) {
        struct front_end fe;
        char what[32];

        if (!hostile_negotiate(h, &fe, &h->attacker))
            return;
        snprintf(what, sizeof(what), "header %u", i);
        if (vu_send(fe.socket, &headers[i], payload, CV_MIN(headers[i].size, (uint32_t)512), NULL,
                    0, 1000) == 0)
            hostile_expect_closed(h, &fe, what);
        hostile_close(&fe);
    }
}

/* A message that never ends: the port waits for the rest, everything else goes on; then the next.
 */
static void message_cut_anywhere(struct hostile *h)
{
    struct vu_header header = {VU_SET_MEM_TABLE, VU_VERSION, 8 + 32};
    uint8_t bytes[sizeof(header) + 40] = {0};

    memcpy(bytes, &header, sizeof(header));
    for (size_t len = 1; len < sizeof(bytes); len++) {
        struct front_end fe;

        front_end_init(&fe, &h->attacker);
        if (!hostile_expect(h, front_end_connect(&fe) == 0, "%s", fe.error.text))
            return;
        hostile_expect(h, send(fe.socket, bytes, len, MSG_NOSIGNAL) == (ssize_t)len, "cannot send");
        hostile_close(&fe);
    }
}

/* C4: every message with 0, 1, 8, 9 and 32 descriptors, to a port that is set up and one that is
 * not. */
static void descriptors_with_every_message(struct hostile *h)
{
    static const unsigned counts[] = {0, 1, 8, 9, 32};
    int fds[VU_FDS_MAX];
    uint8_t payload[64] = {0};

    for (unsigned i = 0; i < VU_FDS_MAX; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    for (unsigned request = 0; request <= VU_REQUEST_END; request++) {
        for (unsigned i = 0; i < CV_COUNT_OF(counts) * 2; i++) {
            struct vu_header header = {request, VU_VERSION, i % 2 ? 8 : 40};
            struct front_end fe;

            front_end_init(&fe, &h->attacker);
            if (!hostile_expect(h, front_end_connect(&fe) == 0, "%s", fe.error.text))
                break;
            (void)!vu_send(fe.socket, &header, payload, header.size, fds, counts[i / 2], 1000);
            hostile_close(&fe);
        }
    }
    for (unsigned i = 0; i < VU_FDS_MAX; i++)
        close(fds[i]);
}

/* C4: descriptors that arrive with a later byte of a message, and in several parts. */
static void descriptors_in_several_parts(struct hostile *h)
{
    struct vu_header header = {VU_SET_VRING_CALL, VU_VERSION, 8};
    uint64_t number = 0;

    for (unsigned parts = 1; parts <= 6; parts++) {
        struct front_end fe;

        if (!hostile_negotiate(h, &fe, &h->attacker))
            return;
        for (unsigned i = 0; i < parts; i++) {
            /* vu_send is given only the start of what the header announces, with descriptors each
             * time */
            int fds[3] = {fe.rings[0].call_fd, fe.rings[1].call_fd, fe.rings[0].kick_fd};

            if (i == 0)
                (void)!vu_send(fe.socket, &header, &number, 0, fds, 3, 1000);
            else if (vu_send(fe.socket, &(struct vu_header){0, 0, 0}, NULL, 0, fds, 3, 1000) < 0)
                break;
        }
        hostile_close(&fe);
    }
}

/* C4: many short lives that leave memory, kick, call and err descriptors behind. */
static void many_connections(struct hostile *h)
{
    for (uint64_t i = 0; i < h->rounds && !h->failed; i++) {
        struct front_end_options options = h->attacker;
        uint64_t number = i % 4;
        struct front_end fe;

        options.size = 16;
        options.protocol_features = 0;
        options.features &= ~VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);
        if (!hostile_negotiate(h, &fe, &options))
            return;
        (void)!front_end_share_memory(&fe);
        (void)!front_end_tell(&fe, VU_SET_VRING_CALL, &number, 8, &fe.rings[0].call_fd, 1);
        (void)!front_end_tell(&fe, VU_SET_VRING_ERR, &number, 8, &fe.rings[0].call_fd, 1);
        if (i % 2)
            (void)!front_end_start_ring(&fe, 0);
        hostile_close(&fe);
    }
}

/* C5: the legal messages of a session again and again, then a count of what stayed. */
static void legal_messages_repeated(struct hostile *h)
{
    struct front_end fe;
    uint8_t mac[6];
    uint64_t value;
    uint32_t base;

    if (!hostile_open(h, &fe, &h->attacker))
        return;
    for (uint64_t i = 0; i < h->rounds && !h->failed; i++) {
        int result = front_end_tell(&fe, VU_SET_OWNER, NULL, 0, NULL, 0);

        result |= front_end_ask_u64(&fe, VU_GET_FEATURES, &value);
        result |= front_end_ask_u64(&fe, VU_GET_PROTOCOL_FEATURES, &value);
        result |= front_end_ask_u64(&fe, VU_GET_QUEUE_NUM, &value);
        result |= front_end_ask_mac(&fe, mac);
        result |= front_end_tell_u64(&fe, VU_NET_SET_MTU, 1500);
        result |= front_end_set_status(&fe, 4);
        result |= front_end_stop_ring(&fe, 0, &base);
        front_ring_reset(&fe.rings[0]);
        result |= front_end_start_ring(&fe, 0);
        value = 1;
        result |= front_end_tell(&fe, VU_SET_VRING_ERR, &value, 8, &fe.rings[1].call_fd, 1);
        hostile_expect(h, result == 0, "a legal message failed: %s", fe.error.text);
    }
    hostile_close(&fe);
}

/* C5: memory slots added and removed, and whole tables replaced. */
static void memory_messages_repeated(struct hostile *h)
{
    struct guest_ram extra;
    struct guest_ram_layout layout = {.guest_address = UINT64_C(1) << 40, .size = 1 << 20};
    struct vu_mem_reg reg;
    struct front_end fe;
    int result = 0;

    if (guest_ram_init(&extra, &layout, 1, false, &fe.error) < 0 ||
        !hostile_open(h, &fe, &h->attacker))
        return;
    reg = (struct vu_mem_reg){
        .region = {layout.guest_address, layout.size, (uintptr_t)extra.regions[0].bytes, 0}};
    if (!(fe.protocol_features & VU_PROTOCOL(CONFIGURE_MEM_SLOTS)))
        hostile_expect(h, false, "CONFIGURE_MEM_SLOTS is not offered");
    for (uint64_t i = 0; i < h->rounds && !h->failed; i++) {
        result |= front_end_tell(&fe, VU_ADD_MEM_REG, &reg, sizeof(reg), &extra.regions[0].fd, 1);
        result |= front_end_tell(&fe, VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0);
        hostile_expect(h, result == 0, "round %llu: %s", (unsigned long long)i, fe.error.text);
    }
    hostile_close(&fe);
    guest_ram_uninit(&extra);
}

/* C5: refused messages again and again. */
static void refused_messages_repeated(struct hostile *h)
{
    for (uint64_t i = 0; i < h->rounds && !h->failed; i++) {
        struct vu_header header = {(uint32_t)(i % (VU_REQUEST_END + 1)), VU_VERSION, 40};
        uint8_t payload[40];
        struct front_end fe;

        front_end_init(&fe, &h->attacker);
        hostile_expect(h, front_end_connect(&fe) == 0, "%s", fe.error.text);
        memset(payload, (int)(i >> 6), sizeof(payload));
        (void)!vu_send(fe.socket, &header, payload, sizeof(payload), NULL, 0, 1000);
        hostile_close(&fe);
    }
}

/* C12: feature bits that were never offered, one at a time. */
static void features_never_offered(struct hostile *h)
{
    struct front_end fe;
    uint64_t offered;

    if (!hostile_negotiate(h, &fe, &h->attacker))
        return;
    offered = fe.offered;
    hostile_close(&fe);
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t features = h->attacker.features & offered;

        if (offered & VIRTIO_FEATURE(bit))
            continue;
        if (!hostile_negotiate(h, &fe, &h->attacker))
            return;
        features |= VIRTIO_FEATURE(bit);
        hostile_expect_refused(h, &fe, VU_SET_FEATURES, &features, sizeof(features), NULL, 0,
                               "a bit that was not offered");
        hostile_close(&fe);
    }
    if (!hostile_negotiate(h, &fe, &h->attacker))
        return;
    hostile_expect_refused(h, &fe, VU_SET_PROTOCOL_FEATURES, &(uint64_t){UINT64_MAX}, 8, NULL, 0,
                           "all protocol features");
    hostile_close(&fe);
}

/* C12: the header is 10 or 12 bytes, by what was agreed; frames pass both ways with each. */
static void header_sizes(struct hostile *h)
{
    static const uint64_t sets[] = {
        0, VIRTIO_FEATURE(VIRTIO_F_VERSION_1), VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
        VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF)};

    for (unsigned i = 0; i < 2 * CV_COUNT_OF(sets); i++) {
        struct front_end_options options = h->attacker;
        uint8_t frame[100] = {0}, bytes[2048];
        struct front_end fe;
        size_t len = 0;

        options.features =
            sets[i / 2] | (i % 2 ? VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES) : 0);
        if (!hostile_open(h, &fe, &options))
            return;
        memset(frame, 0xff, 6);
        memcpy(frame + 6, hostile_attacker_mac, 6);
        frame[99] = (uint8_t)i;
        hostile_drain(h, &h->probe, "probe");
        hostile_expect(h, front_end_send(&fe, 0, NULL, frame, sizeof(frame)) == 0, "cannot send");
        do {
            if (!hostile_expect(
                    h, front_end_wait_frame(&h->probe, 0, NULL, bytes, sizeof(bytes), &len) == 0,
                    "nothing arrives from features %#llx", (unsigned long long)fe.features))
                break;
        } while (memcmp(bytes + 6, hostile_attacker_mac, 6) != 0);
        hostile_expect(h, len == sizeof(frame) && memcmp(frame, bytes, len) == 0,
                       "%zu bytes with features %#llx", len, (unsigned long long)fe.features);
        hostile_probe_broadcast(h, 77);
        hostile_expect(
            h, front_end_wait_frame(&fe, 0, NULL, bytes, sizeof(bytes), &len) == 0 && len == 77,
            "%zu of 77 bytes to features %#llx", len, (unsigned long long)fe.features);
        hostile_close(&fe);
    }
}

/* C13: sizes that no ring may have. */
static void ring_sizes(struct hostile *h)
{
    static const uint32_t sizes[] = {0, 3, 255, 32769, 65536, 0x10001, 0x80000000, 0xffffffff};

    for (unsigned i = 0; i < CV_COUNT_OF(sizes); i++) {
        struct vu_vring_state state = {0, sizes[i]};
        struct front_end fe;

        if (!hostile_negotiate(h, &fe, &h->attacker))
            return;
        hostile_expect_refused(h, &fe, VU_SET_VRING_NUM, &state, sizeof(state), NULL, 0, "size");
        hostile_close(&fe);
    }
}

/* C13: a running ring gets another size, base or address. */
static void ring_changed_while_running(struct hostile *h)
{
    static const uint32_t sizes[] = {1, 64, 512, 32768};

    for (unsigned i = 0; i < CV_COUNT_OF(sizes); i++) {
        struct front_end fe;

        if (!hostile_open(h, &fe, &h->attacker))
            return;
        (void)!front_end_tell_state(&fe, VU_SET_VRING_NUM, 1, sizes[i]);
        front_ring_put_avail_index(&fe.rings[1], 200);
        (void)!front_end_tell_state(&fe, VU_SET_VRING_NUM, 0, sizes[i]);
        (void)!front_end_tell_state(&fe, VU_SET_VRING_BASE, 0, 0xffff);
        hostile_probe_broadcast(h, 100);
        hostile_close(&fe);
    }
}

/* C13: addresses that were right for a small ring and are outside memory for a large one: it never
 * runs. */
static void ring_grown_beyond_memory(struct hostile *h)
{
    for (uint64_t i = 0; i < 2; i++) {
        struct front_end_options options = h->attacker;
        uint64_t taken = hostile_counter(h, "from_packets");
        uint64_t given = hostile_counter(h, "to_packets");
        struct front_end fe;
        uint32_t base;
        int result;

        options.size = 16;
        if (!hostile_open(h, &fe, &options))
            return;
        assert(fe.ram.regions[0].layout.size < 32768 * sizeof(struct front_desc));
        result = front_end_stop_ring(&fe, (unsigned)i, &base);
        result |= front_end_tell_state(&fe, VU_SET_VRING_NUM, (uint32_t)i, 32768);
        result |= front_end_tell(&fe, VU_SET_VRING_KICK, &i, 8, &fe.rings[i].kick_fd, 1);
        front_ring_put_avail_index(&fe.rings[i], 1);
        hostile_probe_broadcast(h, 64);
        if (result == 0 && hostile_expect(h, front_end_sync(&fe) == 0, "%s", fe.error.text))
            hostile_expect(h,
                           hostile_counter(h, "from_packets") == taken &&
                               (i > 0 || hostile_counter(h, "to_packets") == given),
                           "a ring that does not fit its memory runs");
        hostile_close(&fe);
    }
}

/* C20: what the daemon answers and writes holds nothing but what belongs there. */
static void replies_and_padding(struct hostile *h)
{
    struct vu_config config = {.size = 256};
    struct vu_message reply;
    struct virtio_net_hdr hdr;
    uint8_t bytes[2048];
    struct front_end fe;
    size_t len;

    if (!hostile_open(h, &fe, &h->attacker))
        return;
    for (unsigned i = 0; i < 64 && !h->failed; i++) {
        memset(&reply, 0xa5, sizeof(reply));
        if (front_end_ask(&fe, VU_GET_CONFIG, &config, sizeof(config), &reply) < 0)
            break;
        for (unsigned at = 17; reply.header.size > 0 && at < reply.config.size; at++)
            hostile_expect(h, reply.config.bytes[at] == 0,
                           "byte %u of the configuration space is %#x", at, reply.config.bytes[at]);
    }
    for (unsigned i = 0; i < 64 && !h->failed; i++) {
        hostile_probe_broadcast(h, 60 + i);
        if (!hostile_expect(h, front_end_wait_frame(&fe, 0, &hdr, bytes, sizeof(bytes), &len) == 0,
                            "no frame"))
            break;
        hostile_expect(
            h,
            hdr.gso_size == 0 && hdr.hdr_len <= len && hdr.csum_start == 0 &&
                hdr.csum_offset == 0 && hdr.gso_type == 0 && hdr.num_buffers == 1,
            "a plain frame's header has flags %u gso %u/%u hdr_len %u csum %u+%u buffers %u",
            hdr.flags, hdr.gso_type, hdr.gso_size, hdr.hdr_len, hdr.csum_start, hdr.csum_offset,
            hdr.num_buffers);
        hostile_expect(h, fe.rings[0].slots[i][12 + 60 + i] == 0, "written beyond the frame");
    }
    hostile_close(&fe);
}

/* --- C21: other kinds of files --- */

enum { FILE_KINDS = 10 };

static void open_kinds(int fds[FILE_KINDS])
{
    int pipe_fds[2], pair[2];

    if (pipe2(pipe_fds, O_CLOEXEC) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return;
    fds[0] = pipe_fds[0];
    fds[1] = pipe_fds[1];
    fds[2] = pair[0];
    fds[3] = pair[1];
    fds[4] = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fds[5] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    fds[6] = open("/dev/zero", O_RDWR | O_CLOEXEC);
    fds[7] = open("/tmp", O_PATH | O_CLOEXEC);
    fds[8] = epoll_create1(EPOLL_CLOEXEC);
    fds[9] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
}

/* As memory: none of these can be guest memory. */
static void wrong_files_as_memory(struct hostile *h)
{
    int fds[FILE_KINDS];

    open_kinds(fds);
    for (unsigned i = 0; i < FILE_KINDS; i++) {
        struct vu_mem_table table = {.count = 1, .regions = {{0, 1 << 20, 1 << 20, 0}}};
        struct vu_mem_reg reg = {.region = table.regions[0]};
        struct front_end fe;
        char what[32];

        snprintf(what, sizeof(what), "file of kind %u", i);
        if (!hostile_negotiate(h, &fe, &h->attacker))
            break;
        hostile_expect_refused(h, &fe, VU_SET_MEM_TABLE, &table, 40, &fds[i], 1, what);
        hostile_close(&fe);
        if (!hostile_negotiate(h, &fe, &h->attacker))
            break;
        hostile_expect_refused(h, &fe, VU_ADD_MEM_REG, &reg, sizeof(reg), &fds[i], 1, what);
        hostile_close(&fe);
    }
    for (unsigned i = 0; i < FILE_KINDS; i++)
        close(fds[i]);
}

/* As kick: only what can be waited for; as call and err: the daemon must not stop at it either way.
 */
static void wrong_files_as_events(struct hostile *h)
{
    int fds[FILE_KINDS];

    open_kinds(fds);
    for (unsigned r = 0; r < CV_COUNT_OF(event_requests); r++) {
        for (unsigned i = 0; i < FILE_KINDS; i++) {
            uint64_t number = 0;
            struct front_end fe;

            if (!hostile_open(h, &fe, &h->attacker))
                break;
            if (event_requests[r] == VU_SET_VRING_KICK)
                hostile_expect_refused(h, &fe, VU_SET_VRING_KICK, &number, 8, &fds[i], 1,
                                       "not an eventfd");
            else
                (void)!front_end_tell(&fe, event_requests[r], &number, 8, &fds[i], 1);
            front_ring_calls_enable(&fe.rings[0], 0);
            hostile_probe_broadcast(h, 64);
            hostile_close(&fe);
        }
    }
    for (unsigned i = 0; i < FILE_KINDS; i++)
        close(fds[i]);
}

/*
 * C21, C17: a call eventfd that is full, and blocking again after it was passed: flags belong to
 * the open file, which both sides share. Writing to it must not stop the worker.
 */
static void full_blocking_call(struct hostile *h)
{
    struct front_end_options options = h->attacker;
    struct front_end fe;
    uint64_t full = UINT64_MAX - 1;

    options.timeout_ms += CLOSED_MS_MAX; /* when it is made again */
    if (!hostile_open(h, &fe, &options))
        return;
    for (unsigned round = 0; round < 20; round++) {
        int fd = fe.rings[0].call_fd;

        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        front_ring_calls_take(&fe.rings[0]);
        (void)!write(fd, &full, sizeof(full));
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        front_ring_calls_enable(&fe.rings[0], 0);
        hostile_probe_broadcast(h, 64);
        hostile_expect(h, hostile_await_counter(h, "to_packets", 0), "no answer");
        hostile_drain(h, &fe, "attacker");
    }
    hostile_expect(h, front_end_flush(&h->probe, 0) == 0, "the probe's frames are stuck");
    hostile_close(&fe);
}

const struct hostile_test message_tests[] = {
    {"C2", "ring index beyond the port's rings", index_beyond_rings, MARK_WARNING},
    {"C2", "ring index in addresses and events", index_of_addresses_and_events, MARK_WARNING},
    {"C2", "configuration space overrun", configuration_space_overrun, MARK_WARNING},
    {"C4", "message headers that lie", wrong_headers, MARK_WARNING},
    {"C4", "message cut at any byte", message_cut_anywhere, 0},
    {"C4", "descriptors with every message", descriptors_with_every_message, MARK_WARNING},
    {"C4", "descriptors in several parts", descriptors_in_several_parts, MARK_WARNING},
    {"C4", "many connections", many_connections, 0},
    {"C5", "legal messages repeated", legal_messages_repeated, 0},
    {"C5", "memory messages repeated", memory_messages_repeated, 0},
    {"C5", "refused messages repeated", refused_messages_repeated, MARK_WARNING},
    {"C12", "features never offered", features_never_offered, MARK_WARNING},
    {"C12", "header of 10 and of 12 bytes", header_sizes, 0},
    {"C13", "ring sizes that cannot be", ring_sizes, MARK_WARNING},
    {"C13", "ring changed while it runs", ring_changed_while_running, MARK_WARNING},
    {"C13", "ring grown beyond its memory", ring_grown_beyond_memory, 0},
    {"C20", "replies and padding", replies_and_padding, 0},
    {"C21", "wrong files as memory", wrong_files_as_memory, MARK_WARNING},
    {"C21", "wrong files as kick, call and err", wrong_files_as_events, MARK_WARNING},
    {"C21", "full call eventfd, made blocking", full_blocking_call, MARK_WARNING,
     .penalty_ms = CLOSED_MS_MAX},
};
const unsigned message_test_count = CV_COUNT_OF(message_tests);

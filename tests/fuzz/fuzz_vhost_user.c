/*
 * The peer of the socket: any sequence of messages with any descriptors, in any pieces. Asserts
 * that the owner is told what it was promised, that a ring that is ready lies in the memory, that
 * replies are well formed, and that nothing stays open, mapped or lost when the session ends.
 *
 * Input, again and again: a request number, what comes with it (enum comes), a number that picks
 * descriptors, and then either a length with as many bytes of payload, or, for a shaped payload, as
 * many bytes as its shape takes. Numbers from REQUEST_RAW on mean that the payload has its own
 * header in front; those from REQUEST_ACTS on are no messages but acts: see act.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "guest/guest_memory_guard.h"
#include "guest/vhost_user.h"
#include "vu_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum comes {
    COMES_NEED_REPLY = 1 << 0,
    COMES_SHAPED = 1 << 1, /* the payload is built to be plausible */
    COMES_IN_PIECES = 1 << 2,
    COMES_FDS_SHIFT = 3, /* number of descriptors, 0 to 9 and more, in the upper bits */
};

enum {
    REQUEST_RAW = 0xe0,
    REQUEST_ACTS = 0xf0,
    FILE_PAGES = 64,
    PAGE_BYTES = 4096,
    MESSAGES_MAX = 200, /* of one input */
};
#define USER_ADDRESS UINT64_C(0x7f0000000000)
#define OFFERED                                                                                    \
    (VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) | VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |                  \
     VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES) | VIRTIO_FEATURE(VIRTIO_F_VERSION_1))

static const struct vhost_user_offer offer = {
    .features = OFFERED, .queue_pairs = 2, .mac = UINT64_C(0x525400123456), .mtu = 1500};

/* What the peer has to pass; made once. */
static int memory_fd, event_fd, read_only_fd, socket_fds[2], pipe_fds[2], epoll_fd;

struct input {
    const uint8_t *data;
    size_t left;
};

struct peer {
    struct vhost_user_session *session;
    int socket;
    bool running; /* as the owner was told */
};

static int lowest_free_fd(void)
{
    int fd = dup(STDIN_FILENO);

    assert(fd >= 0);
    close(fd);
    return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char path[64];
    int r;

    (void)argc, (void)argv;
    log_set_level(LOG_LEVEL_ERROR);
    if (fcntl(STDIN_FILENO, F_GETFD) < 0)
        (void)open("/dev/null", O_RDONLY);
    memory_fd = memfd_create("fuzz", MFD_CLOEXEC);
    r = ftruncate(memory_fd, FILE_PAGES * PAGE_BYTES);
    assert(r == 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", memory_fd);
    read_only_fd = open(path, O_RDONLY | O_CLOEXEC);
    event_fd = eventfd(0, EFD_CLOEXEC);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r = socketpair(AF_UNIX, SOCK_STREAM, 0, socket_fds);
    assert(r == 0);
    r = pipe(pipe_fds);
    assert(r == 0 && memory_fd >= 0 && read_only_fd >= 0 && event_fd >= 0 && epoll_fd >= 0);
    r = guest_memory_guard_install();
    assert(r == 0);
    return 0;
}

static uint8_t take_byte(struct input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->data++;
}

static void check_region(const struct guest_region *region)
{
    assert(region->size > 0 && region->map_size >= region->size);
    assert(region->bytes >= (uint8_t *)region->map);
    assert(region->bytes + region->size <= (uint8_t *)region->map + region->map_size);
}

static void check_memory(const struct guest_memory *memory)
{
    assert(memory->count <= GUEST_REGIONS_MAX);
    for (unsigned i = 0; i < memory->count; i++) {
        const struct guest_region *a = &memory->regions[i];

        check_region(a);
        assert(i == 0 || memory->regions[i - 1].size >= a->size);
        for (unsigned k = 0; k < i; k++) {
            const struct guest_region *b = &memory->regions[k];

            assert(a->guest_address + a->size <= b->guest_address ||
                   b->guest_address + b->size <= a->guest_address);
        }
    }
}

/* Reads what a worker would read first and last. */
static void check_ring(const struct guest_memory *memory, const struct vhost_user_vring *vring)
{
    uint32_t size = vring->size;
    volatile uint8_t *desc, *avail, *used;

    assert(size > 0 && size <= VIRTQ_SIZE_MAX && (size & (size - 1)) == 0);
    assert(vring->kick_fd >= 0 && fcntl(vring->kick_fd, F_GETFL) & O_NONBLOCK);
    assert(vring->call_fd < 0 || fcntl(vring->call_fd, F_GETFL) & O_NONBLOCK);
    desc = guest_memory_at_user(memory, vring->desc_user_address, 16 * (uint64_t)size, 16);
    avail = guest_memory_at_user(memory, vring->avail_user_address, 6 + 2 * (uint64_t)size, 2);
    used = guest_memory_at_user(memory, vring->used_user_address, 6 + 8 * (uint64_t)size, 4);
    assert(desc && avail && used);
    (void)desc[0], (void)avail[0], (void)desc[16 * size - 1], (void)avail[5 + 2 * size];
    used[5 + 8 * size] = used[0];
}

static bool check_state(struct peer *peer)
{
    const struct guest_memory *memory = vhost_user_session_memory(peer->session);
    uint64_t features = vhost_user_session_features(peer->session);
    bool any_ready = false;

    check_memory(memory);
    assert((features & ~offer.features) == 0);
    for (unsigned i = 0; i < vhost_user_session_vring_count(peer->session); i++) {
        const struct vhost_user_vring *vring = vhost_user_session_vring(peer->session, i);

        assert(vring->enabled || features & VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES));
        if (vhost_user_vring_is_ready(vring)) {
            any_ready = true;
            check_ring(memory, vring);
        }
    }
    return any_ready;
}

static void owner_pause(void *owner)
{
    struct peer *peer = owner;

    assert(peer->running);
    peer->running = false;
}

static void owner_resume(void *owner)
{
    struct peer *peer = owner;

    assert(!peer->running);
    peer->running = check_state(peer);
}

static const struct vhost_user_owner_ops owner_ops = {.pause = owner_pause, .resume = owner_resume};

/* Sizes that matter: small, powers of two, around the limits. */
static uint32_t shape_number(struct input *input)
{
    static const uint32_t numbers[] = {0,   1,   2,    4,     8,     16,      32,         64,
                                       256, 512, 1024, 32768, 32769, 0x10000, UINT32_MAX, 3};
    uint8_t byte = take_byte(input);

    return byte & 0x80 ? byte & 0x7f : numbers[byte & 15];
}

static struct vu_region shape_region(struct input *input)
{
    uint8_t place = take_byte(input), size = take_byte(input), odd = take_byte(input);
    uint64_t start = (uint64_t)(place & 63) * PAGE_BYTES;

    return (struct vu_region){.guest_address = start + (odd & 1 ? 512 : 0),
                              .size = (uint64_t)(size & 63) * PAGE_BYTES + (odd & 2 ? 512 : 0),
                              .user_address = USER_ADDRESS + start,
                              .mmap_offset = (uint64_t)(odd >> 2) * 1024};
}

/* A payload that is nearly right; returns its length. */
static size_t shape_payload(struct input *input, unsigned request, uint8_t *payload)
{
    struct vu_vring_state state = {0};
    struct vu_vring_addr addr = {0};
    struct vu_mem_table table = {0};
    struct vu_mem_reg reg = {0};
    struct vu_config config = {0};
    uint64_t u64 = 0;

#define SHAPED(value, len) (memcpy(payload, &(value), sizeof(value)), (size_t)(len))
    switch (request) {
    case VU_SET_VRING_NUM:
    case VU_SET_VRING_BASE:
    case VU_GET_VRING_BASE:
    case VU_SET_VRING_ENABLE:
        state.index = take_byte(input) & 7;
        state.num = shape_number(input);
        return SHAPED(state, sizeof(state));
    case VU_SET_VRING_ADDR:
        addr.index = take_byte(input) & 7;
        addr.desc_user_address = USER_ADDRESS + take_byte(input) * UINT64_C(1024);
        addr.avail_user_address = USER_ADDRESS + take_byte(input) * UINT64_C(1024) + 2;
        addr.used_user_address = USER_ADDRESS + take_byte(input) * UINT64_C(1024) + 4;
        return SHAPED(addr, sizeof(addr));
    case VU_SET_VRING_KICK:
    case VU_SET_VRING_CALL:
    case VU_SET_VRING_ERR:
        u64 = take_byte(input);
        u64 = (u64 & 7) | (u64 & 0x80 ? VU_NO_FD : 0);
        return SHAPED(u64, sizeof(u64));
    case VU_SET_MEM_TABLE:
        table.count = take_byte(input) & 15;
        for (unsigned i = 0; i < CV_MIN(table.count, (unsigned)VU_REGIONS_MAX); i++)
            table.regions[i] = shape_region(input);
        return SHAPED(table, 8 + CV_MIN(table.count, (unsigned)VU_REGIONS_MAX) * 32);
    case VU_ADD_MEM_REG:
    case VU_REM_MEM_REG:
        reg.region = shape_region(input);
        return SHAPED(reg, sizeof(reg));
    case VU_GET_CONFIG:
    case VU_SET_CONFIG:
        config.offset = take_byte(input);
        config.size = take_byte(input);
        return SHAPED(config, 12 + config.size);
    case VU_SET_FEATURES:
        u64 = OFFERED & ~((uint64_t)(take_byte(input) & 0xf0) << 26);
        return SHAPED(u64, sizeof(u64));
    case VU_SET_PROTOCOL_FEATURES:
        u64 = VU_PROTOCOL(REPLY_ACK) | VU_PROTOCOL(CONFIG);
        return SHAPED(u64, sizeof(u64));
    case VU_NET_SET_MTU:
    case VU_SET_STATUS:
    case VU_SEND_RARP:
        u64 = shape_number(input);
        return SHAPED(u64, sizeof(u64));
    default:
        return 0;
    }
}

static size_t raw_payload(struct input *input, uint8_t *payload)
{
    size_t len = take_byte(input) + (size_t)(take_byte(input) & 1) * 256;

    len = CV_MIN(len, input->left);
    memcpy(payload, input->data, len);
    input->data += len;
    input->left -= len;
    return len;
}

/* The right kind mostly; the wrong ones by turns. */
static void pick_fds(uint8_t pick, unsigned request, int *fds, unsigned count)
{
    const int kinds[] = {memory_fd,   event_fd,     socket_fds[0], pipe_fds[0],
                         pipe_fds[1], read_only_fd, epoll_fd,      memory_fd};
    bool is_event = request >= VU_SET_VRING_KICK && request <= VU_SET_VRING_ERR;

    for (unsigned i = 0; i < count; i++) {
        fds[i] = is_event ? event_fd : memory_fd;
        if (request == VU_SET_BACKEND_REQ_FD)
            fds[i] = socket_fds[0];
        if (pick & 0x80 && i == (pick >> 3 & 15))
            fds[i] = kinds[pick & 7];
    }
}

static void check_replies(struct peer *peer)
{
    struct vu_message reply;

    while (vu_receive(peer->socket, &reply, 0) == 0) {
        assert(reply.header.flags == (VU_VERSION | VU_FLAG_REPLY));
        assert(reply.header.size <= 12 + 256 && reply.fd_count == 0);
    }
}

/* The session's turn. False: it has ended. */
static bool serve(struct peer *peer)
{
    struct error error = {0};
    int r = vhost_user_session_read(peer->session, &error);

    assert(r <= 0);
    assert(r == 0 || r == -ECONNRESET || error.text[0] != '\0');
    assert(check_state(peer) == peer->running);
    check_replies(peer);
    return r == 0;
}

/* What a peer or a worker does besides: cuts the file, makes it whole, uses the memory. */
static void act(struct peer *peer, uint8_t which, uint8_t how)
{
    const struct guest_memory *memory = vhost_user_session_memory(peer->session);
    int r = 0;

    if (which & 1) {
        r = ftruncate(memory_fd, (off_t)(how & 63) * PAGE_BYTES);
        assert(r == 0);
    }
    for (unsigned i = 0; which & 2 && i < memory->count; i++) {
        const struct guest_region *region = &memory->regions[i];
        uint64_t run_len, at = region->guest_address + region->size * how / 256;
        volatile uint8_t *byte = guest_memory_at(memory, at, 1, &run_len);

        assert(byte && run_len == 1);
        *byte = (uint8_t)(*byte + 1);
    }
    (void)guest_memory_is_lost(memory);
}

static bool send_pieces(struct peer *peer, const struct vu_header *header, const uint8_t *payload,
                        size_t len, const int *fds, unsigned fd_count)
{
    size_t sent = 0;
    uint8_t bytes[12 + 512];

    memcpy(bytes, header, 12);
    memcpy(bytes + 12, payload, len);
    /* The first piece takes the descriptors along: vu_send sends a header at least. */
    if (vu_send(peer->socket, header, NULL, 0, fds, fd_count, 0))
        return false;
    for (sent = 12; sent < 12 + len; sent += 7) {
        if (!serve(peer))
            return false;
        if (send(peer->socket, bytes + sent, CV_MIN(7, 12 + len - sent), MSG_NOSIGNAL) < 0)
            return false;
    }
    return serve(peer);
}

/* One message, or act. False: the session has ended. */
static bool step(struct peer *peer, struct input *input)
{
    uint8_t request = take_byte(input), comes = take_byte(input), pick = take_byte(input);
    unsigned fd_count = (comes >> COMES_FDS_SHIFT) % 12;
    uint8_t payload[512];
    int fds[VU_FDS_MAX];
    struct vu_header header;
    size_t len;

    if (request >= REQUEST_ACTS) {
        act(peer, request, pick);
        return true;
    }
    len =
        comes & COMES_SHAPED ? shape_payload(input, request, payload) : raw_payload(input, payload);
    header = (struct vu_header){.request = request,
                                .flags = VU_VERSION | (comes & COMES_NEED_REPLY ? 8u : 0),
                                .size = (uint32_t)len};
    if (request >= REQUEST_RAW) {
        if (len < sizeof(header))
            return true;
        memcpy(&header, payload, sizeof(header));
        len -= sizeof(header);
        memmove(payload, payload + sizeof(header), len);
    }
    pick_fds(pick, request, fds, fd_count);
    if (comes & COMES_IN_PIECES)
        return send_pieces(peer, &header, payload, len, fds, fd_count);
    return vu_send(peer->socket, &header, payload, len, fds, fd_count, 0) == 0 && serve(peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct peer peer = {0};
    int lowest_fd = lowest_free_fd(), sockets[2], r;

    r = socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
    assert(r == 0);
    peer.socket = sockets[1];
    peer.session = vhost_user_session_new(sockets[0], "fuzz", &offer, &owner_ops, &peer);
    assert(peer.session);
    for (unsigned i = 0; i < MESSAGES_MAX && input.left > 0 && step(&peer, &input); i++)
        ;
    vhost_user_session_free(peer.session);
    assert(!peer.running);
    close(peer.socket);
    r = ftruncate(memory_fd, FILE_PAGES * PAGE_BYTES);
    assert(r == 0);
    assert(lowest_free_fd() == lowest_fd);
    assert(!guest_memory_guard_any_lost());
    return 0;
}

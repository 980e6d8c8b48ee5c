/*
 * framecheck: numbered, checksummed frames between real guests, over AF_PACKET.
 *
 *   framecheck send IFACE DST_MAC COUNT SIZE [FLOW]
 *   framecheck receive IFACE COUNT TIMEOUT_S
 *
 * The receiver judges every frame and prints what was lost, doubled, reordered and altered, besides
 * what its own socket could not hold; exit status 1 when anything is wrong. Sender and receiver
 * wait for each other, so the order of their start does not matter.
 *
 * How it works: control messages travel in frames of the same EtherType with a flow number that no
 * traffic has. The sender greets until it is answered, keeps at most a window of frames that the
 * receiver has not acknowledged, and says at the end how many it has sent. Frames cross the kernel
 * in batches, since a system call costs 70 microseconds in User Mode Linux.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "traffic.h"
#include "traffic_bytes.h"

enum {
    BATCH_MAX = 128, /* frames of one system call */
    FRAME_ROOM = 2048,
    WINDOW = 512, /* frames that are not acknowledged yet */
    ACK_EVERY = 64,
    FLOWS = 16,
    CONTROL_BYTES = 60,
    RETRY_MS = 200,        /* between greetings, and between farewells */
    GIVE_UP_MS = 2000,     /* without an acknowledgement: what is under way is lost */
    RENDEZVOUS_MS = 60000, /* for the receiver to appear */
    FAREWELLS_MAX = 20,
};

#define CONTROL_FLOW UINT32_C(0xffffffff)

/* A greeting is answered by an ACK, a farewell by a REPORT; both hold the frames received. */
enum control_kind { CONTROL_HELLO = 1, CONTROL_ACK, CONTROL_END, CONTROL_REPORT };

struct link {
    int fd;
    uint8_t mac[6]; /* the interface's own */
    uint8_t peer_mac[6];
    struct mmsghdr messages[BATCH_MAX];
    struct iovec iovecs[BATCH_MAX];
    uint8_t frames[BATCH_MAX][FRAME_ROOM];
};

__attribute__((noreturn)) static void fail(const char *what)
{
    fprintf(stderr, "framecheck: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void link_open(struct link *link, const char *iface)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(TRAFFIC_ETHERTYPE)};
    struct ifreq request = {.ifr_ifindex = 0};
    int bytes = 8 << 20, one = 1;

    link->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TRAFFIC_ETHERTYPE));
    if (link->fd < 0)
        fail("packet socket");
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", iface);
    if (ioctl(link->fd, SIOCGIFHWADDR, &request) < 0)
        fail(iface);
    memcpy(link->mac, request.ifr_hwaddr.sa_data, 6);
    address.sll_ifindex = (int)if_nametoindex(iface);
    if (bind(link->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        fail(iface);
    if (setsockopt(link->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
        fail("SO_RCVBUFFORCE");
    setsockopt(link->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        link->iovecs[i].iov_base = link->frames[i];
        link->messages[i].msg_hdr.msg_iov = &link->iovecs[i];
        link->messages[i].msg_hdr.msg_iovlen = 1;
    }
}

/* Sends the first `count` frames of the batch, waiting for room. */
static void link_send(struct link *link, unsigned count)
{
    unsigned done = 0;

    while (done < count) {
        int n = sendmmsg(link->fd, link->messages + done, count - done, 0);

        if (n > 0)
            done += (unsigned)n;
        else if (errno == ENOBUFS || errno == EAGAIN)
            poll(&(struct pollfd){.fd = link->fd, .events = POLLOUT}, 1, 1);
        else if (errno != EINTR)
            fail("send");
    }
}

/* Receives up to a batch; 0: nothing came within `timeout_ms`. */
static unsigned link_receive(struct link *link, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = link->fd, .events = POLLIN};
    int n;

    for (unsigned i = 0; i < BATCH_MAX; i++)
        link->iovecs[i].iov_len = FRAME_ROOM;
    n = recvmmsg(link->fd, link->messages, BATCH_MAX, MSG_DONTWAIT, NULL);
    if (n < 0 && timeout_ms > 0 && poll(&poll_fd, 1, timeout_ms) > 0)
        n = recvmmsg(link->fd, link->messages, BATCH_MAX, MSG_DONTWAIT, NULL);
    return n > 0 ? (unsigned)n : 0;
}

static void control_send(struct link *link, enum control_kind kind, uint64_t number)
{
    uint8_t frame[CONTROL_BYTES] = {0};

    memcpy(frame, link->peer_mac, 6);
    memcpy(frame + 6, link->mac, 6);
    put_be16(frame + 12, TRAFFIC_ETHERTYPE);
    put_le32(frame + 14, CONTROL_FLOW);
    frame[18] = (uint8_t)kind;
    put_le64(frame + 20, number);
    while (send(link->fd, frame, sizeof(frame), 0) < 0) {
        if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
            fail("send");
        poll(NULL, 0, 1);
    }
}

/* The kind of a control frame and its number; 0 for others. */
static unsigned control_parse(const uint8_t *frame, size_t len, uint64_t *ret_number)
{
    if (len < 28 || get_le32(frame + 14) != CONTROL_FLOW)
        return 0;
    *ret_number = get_le64(frame + 20);
    return frame[18];
}

static uint64_t since_ms(uint64_t start_ns)
{
    return (clock_now_ns() - start_ns) / 1000000;
}

/* --- send --- */

struct sender {
    struct link link;
    struct traffic_source source;
    uint64_t count, sent;
    size_t size;
    uint64_t acked;    /* frames that the receiver has counted */
    uint64_t given_up; /* frames that nobody acknowledged for too long */
};

/* Reads what the receiver has to say. True: the awaited kind was among it. */
static bool take_answers(struct sender *s, enum control_kind awaited, int timeout_ms)
{
    unsigned n = link_receive(&s->link, timeout_ms);
    bool came = false;

    for (unsigned i = 0; i < n; i++) {
        uint64_t number;
        unsigned kind = control_parse(s->link.frames[i], s->link.messages[i].msg_len, &number);

        if (kind == CONTROL_ACK || kind == CONTROL_REPORT)
            s->acked = CV_MAX(s->acked, number);
        came |= kind == awaited;
    }
    return came;
}

/* Repeats a control message until it is answered. */
static bool converse(struct sender *s, enum control_kind kind, enum control_kind answer,
                     uint64_t number, unsigned tries)
{
    while (tries-- > 0) {
        uint64_t asked_ns = clock_now_ns();

        control_send(&s->link, kind, number);
        while (since_ms(asked_ns) < RETRY_MS) {
            if (take_answers(s, answer, RETRY_MS))
                return true;
        }
    }
    return false;
}

static void send_batch(struct sender *s, unsigned count)
{
    struct virtio_net_hdr hdr;

    for (unsigned i = 0; i < count; i++) {
        traffic_frame_build(&s->source, s->link.frames[i], s->size, &hdr);
        s->link.iovecs[i].iov_len = s->size;
    }
    link_send(&s->link, count);
    s->sent += count;
}

static void send_all(struct sender *s)
{
    uint64_t moved_ns = clock_now_ns();

    while (s->sent < s->count) {
        uint64_t over = s->acked + s->given_up, flying = s->sent > over ? s->sent - over : 0;

        if (flying + BATCH_MAX <= WINDOW) {
            send_batch(s, (unsigned)CV_MIN((uint64_t)BATCH_MAX, s->count - s->sent));
            moved_ns = clock_now_ns();
            continue;
        }
        if (take_answers(s, CONTROL_ACK, 100))
            moved_ns = clock_now_ns();
        else if (since_ms(moved_ns) > GIVE_UP_MS)
            s->given_up += flying;
    }
}

static int run_sender(char **arguments, int count)
{
    static struct sender s;
    uint8_t *m = s.link.peer_mac;
    uint64_t start_ns;

    if (sscanf(arguments[1], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &m[0], &m[1], &m[2], &m[3], &m[4],
               &m[5]) != 6)
        return 2;
    s.count = strtoull(arguments[2], NULL, 0);
    s.size = strtoull(arguments[3], NULL, 0);
    link_open(&s.link, arguments[0]);
    traffic_source_init(&s.source, TRAFFIC_ETHER,
                        count > 4 ? (uint32_t)strtoul(arguments[4], NULL, 0) % FLOWS : 0, m,
                        s.link.mac);
    if (s.size < traffic_frame_len_min(&s.source) || s.size > FRAME_ROOM) {
        fprintf(stderr, "framecheck: SIZE is %zu to %d\n", traffic_frame_len_min(&s.source),
                FRAME_ROOM);
        return 2;
    }
    if (!converse(&s, CONTROL_HELLO, CONTROL_ACK, 0, RENDEZVOUS_MS / RETRY_MS)) {
        fprintf(stderr, "framecheck: no receiver answers\n");
        return 2;
    }
    start_ns = clock_now_ns();
    send_all(&s);
    if (!converse(&s, CONTROL_END, CONTROL_REPORT, s.sent, FAREWELLS_MAX))
        fprintf(stderr, "framecheck: the receiver has gone\n");
    printf("sent %llu acknowledged %llu milliseconds %llu\n", (unsigned long long)s.sent,
           (unsigned long long)s.acked, (unsigned long long)since_ms(start_ns));
    return s.acked == s.sent ? 0 : 1;
}

/* --- receive --- */

struct receiver {
    struct link link;
    struct traffic_checker checker;
    uint64_t count;
    uint64_t announced; /* frames that the sender says it has sent */
    uint64_t acked;
    bool ended;
};

static void acknowledge(struct receiver *r, enum control_kind kind)
{
    r->acked = r->checker.counts.frames;
    control_send(&r->link, kind, r->acked);
}

static void take_frame(struct receiver *r, const uint8_t *frame, size_t len)
{
    static const struct virtio_net_hdr no_hdr;
    uint64_t number;

    switch (control_parse(frame, len, &number)) {
    case 0:
        traffic_check(&r->checker, &no_hdr, frame, len);
        return;
    case CONTROL_END:
        r->announced = number;
        r->ended = true;
        break;
    }
    memcpy(r->link.peer_mac, frame + 6, 6);
    acknowledge(r, r->ended ? CONTROL_REPORT : CONTROL_ACK);
}

/* Until the sender's farewell; a sender that vanished is noticed by its silence. */
static void receive_all(struct receiver *r, uint64_t timeout_ms)
{
    uint64_t moved_ns = clock_now_ns();

    while (!r->ended && since_ms(moved_ns) < timeout_ms) {
        unsigned n = link_receive(&r->link, 200);

        for (unsigned i = 0; i < n; i++)
            take_frame(r, r->link.frames[i], r->link.messages[i].msg_len);
        if (n > 0)
            moved_ns = clock_now_ns();
        if (r->checker.counts.frames - r->acked >= ACK_EVERY ||
            (n == 0 && r->checker.counts.frames != r->acked))
            acknowledge(r, CONTROL_ACK);
    }
    /* The answer to the farewell may be lost: answer again while it is repeated. */
    for (unsigned i = 0; i < 3 && link_receive(&r->link, RETRY_MS) > 0; i++)
        acknowledge(r, CONTROL_REPORT);
}

static int run_receiver(char **arguments)
{
    static struct receiver r;
    struct tpacket_stats stats = {0};
    socklen_t stats_bytes = sizeof(stats);
    uint64_t distinct = 0, sent, start_ns = clock_now_ns();
    const struct traffic_counts *counts = &r.checker.counts;

    r.count = strtoull(arguments[1], NULL, 0);
    link_open(&r.link, arguments[0]);
    if (traffic_checker_init(&r.checker, 0, FLOWS, 0) < 0)
        fail("memory");
    r.checker.frame_bytes_max = FRAME_ROOM;
    receive_all(&r, strtoull(arguments[2], NULL, 0) * 1000);
    getsockopt(r.link.fd, SOL_PACKET, PACKET_STATISTICS, &stats, &stats_bytes);
    for (unsigned i = 0; i < FLOWS; i++)
        distinct += r.checker.flows[i].distinct;
    sent = r.ended ? CV_MAX(r.announced, r.count) : r.count;
    printf("received %llu lost %llu doubled %llu reordered %llu altered %llu socket_drops %u "
           "milliseconds %llu\n",
           (unsigned long long)counts->frames,
           (unsigned long long)(sent > distinct ? sent - distinct : 0),
           (unsigned long long)counts->doubled, (unsigned long long)counts->reordered,
           (unsigned long long)counts->altered, stats.tp_drops,
           (unsigned long long)since_ms(start_ns));
    if (r.checker.first_wrong[0])
        printf("first thing wrong: %s\n", r.checker.first_wrong);
    return sent == distinct && !counts->doubled && !counts->reordered && !counts->altered ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc >= 6 && argc <= 7 && strcmp(argv[1], "send") == 0)
        return run_sender(argv + 2, argc - 2);
    if (argc == 5 && strcmp(argv[1], "receive") == 0)
        return run_receiver(argv + 2);
    fprintf(stderr, "usage: framecheck send IFACE DST_MAC COUNT SIZE [FLOW]\n"
                    "       framecheck receive IFACE COUNT TIMEOUT_S\n");
    return 2;
}

#include "bench_receiver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench_sender.h"
#include "guest/vhost_user.h"
#include "traffic_bytes.h"
#include "wire/ip.h"

enum {
    TAKE_MAX = 64,    /* buffers between two times that they are posted again */
    PIECES_MAX = 128, /* buffers of one frame; the smallest are of 1600 bytes */
};

/* A frame in the buffers where the device has put it. */
struct spread_frame {
    struct virtio_net_hdr hdr;
    unsigned count;
    const uint8_t *pieces[PIECES_MAX];
    uint32_t piece_bytes[PIECES_MAX]; /* the first without the header */
    uint32_t len;                     /* of the frame */
};

int bench_receiver_init(struct bench_receiver *receiver, const struct bench_options *options,
                        unsigned guest, unsigned pair, struct front_end *fe, unsigned sender_first,
                        unsigned sender_count, unsigned flow_count, struct traffic_checker *checker)
{
    const uint64_t super_packets =
        VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) |
        VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_USO4) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_USO6);
    struct front_ring *ring = front_end_receiveq(fe, pair);

    *receiver = (struct bench_receiver){
        .guest = guest,
        .pair = pair,
        .hdr_bytes = fe->hdr_bytes,
        .buffer_bytes = ring->options.slot_bytes,
        .is_called = options->receive == BENCH_CALL,
        .is_mergeable = ring->options.mergeable,
        .may_super = (fe->features & super_packets) != 0,
        .is_stamped = options->sizes != BENCH_CAPTURE && !checker,
        .sample = CV_MAX(options->sample, 1u),
        .sender_first = sender_first,
        .sender_count = sender_count,
        .flow_count = flow_count,
        .checker = checker,
    };
    bench_guest_mac(guest, receiver->mac);
    lean_ring_init(&receiver->lean, ring);
    receiver->flows = calloc((size_t)sender_count * flow_count, sizeof(*receiver->flows));
    receiver->scratch = malloc(FRONT_FRAME_BYTES_MAX);
    if (receiver->flows && receiver->scratch)
        return 0;
    bench_receiver_uninit(receiver);
    return -ENOMEM;
}

void bench_receiver_uninit(struct bench_receiver *receiver)
{
    free(receiver->flows);
    free(receiver->scratch);
    receiver->flows = NULL;
    receiver->scratch = NULL;
}

void bench_receiver_start(struct bench_receiver *receiver)
{
    bench_count_set(&receiver->packets, 0);
    bench_count_set(&receiver->bytes, 0);
    receiver->missed_calls = 0;
    receiver->lean.out_of_order = 0;
    receiver->until_sample = 1;
    memset(&receiver->delay_ns, 0, sizeof(receiver->delay_ns));
    memset(receiver->flows, 0,
           (size_t)receiver->sender_count * receiver->flow_count * sizeof(*receiver->flows));
}

/* --- delay --- */

static void note_delay(struct bench_receiver *receiver, unsigned flow_index, uint64_t delay_ns)
{
    struct bench_flow *flow = &receiver->flows[flow_index];
    double difference_ns = (double)((int64_t)delay_ns - flow->delay_ns);

    histogram_record(&receiver->delay_ns, delay_ns, 1);
    if (flow->delay_count++ > 0)
        flow->jitter_ns +=
            ((difference_ns < 0 ? -difference_ns : difference_ns) - flow->jitter_ns) / 16;
    flow->delay_ns = (int64_t)delay_ns;
}

/*
 * The next frame is looked at: `bytes` are its last, or no stamp. What looks like a stamp is one if
 * it names a sender, a flow and a time that can be.
 */
static void look_at_stamp(struct bench_receiver *receiver, const uint8_t *bytes, uint64_t now_ns)
{
    struct bench_stamp stamp;
    unsigned sender;

    memcpy(&stamp, bytes, sizeof(stamp));
    sender = stamp.sender - receiver->sender_first;
    receiver->until_sample = 1;
    if (stamp.due_ns == 0 || stamp.due_ns > now_ns || sender >= receiver->sender_count ||
        stamp.flow >= receiver->flow_count)
        return;
    receiver->until_sample = receiver->sample;
    note_delay(receiver, sender * receiver->flow_count + stamp.flow, now_ns - stamp.due_ns);
}

void bench_receiver_add_jitter(const struct bench_receiver *receiver, double *sum, uint64_t *count)
{
    for (unsigned i = 0; i < receiver->sender_count * receiver->flow_count; i++) {
        if (receiver->flows[i].delay_count < 2)
            continue;
        *sum += receiver->flows[i].jitter_ns;
        ++*count;
    }
}

/* --- frames whose header is read --- */

/*
 * Used elements of the frame that starts at the next one; 0: they are not all there (a device
 * publishes them together), so it is not yet taken.
 */
static unsigned frame_buffers(struct bench_receiver *receiver, unsigned visible,
                              struct virtio_net_hdr *ret_hdr)
{
    struct lean_buffer first = lean_ring_peek(&receiver->lean, 0);

    *ret_hdr = (struct virtio_net_hdr){.num_buffers = 1};
    memcpy(ret_hdr, lean_ring_slot(&receiver->lean, first.head), receiver->hdr_bytes);
    if (!receiver->is_mergeable)
        return 1;
    if (ret_hdr->num_buffers == 0 || ret_hdr->num_buffers > PIECES_MAX) {
        lean_ring_fault(&receiver->lean, "num_buffers is wrong", ret_hdr->num_buffers);
        return 1;
    }
    return ret_hdr->num_buffers <= visible ? ret_hdr->num_buffers : 0;
}

/* Takes the frame that starts at the next used element; false: it is not complete. */
static bool take_spread(struct bench_receiver *receiver, unsigned visible,
                        struct spread_frame *frame)
{
    size_t skip = receiver->hdr_bytes;

    frame->count = frame_buffers(receiver, visible, &frame->hdr);
    frame->len = 0;
    for (unsigned i = 0; i < frame->count; i++) {
        struct lean_buffer buffer = lean_ring_take(&receiver->lean);
        uint32_t len = CV_MIN(buffer.len, receiver->buffer_bytes);

        if (buffer.len > receiver->buffer_bytes || buffer.len < skip)
            lean_ring_fault(&receiver->lean, "used length is wrong", buffer.len);
        frame->pieces[i] = lean_ring_slot(&receiver->lean, buffer.head) + skip;
        frame->piece_bytes[i] = len > skip ? (uint32_t)(len - skip) : 0;
        frame->len += frame->piece_bytes[i];
        skip = 0;
    }
    return frame->count > 0;
}

/* Copies frame bytes [from, from + len), which lie in the frame. */
static void spread_copy(const struct spread_frame *frame, uint32_t from, uint32_t len,
                        uint8_t *into)
{
    for (unsigned i = 0; i < frame->count && len > 0; i++) {
        uint32_t piece = frame->piece_bytes[i], here;

        if (from >= piece) {
            from -= piece;
            continue;
        }
        here = CV_MIN(piece - from, len);
        memcpy(into, frame->pieces[i] + from, here);
        into += here;
        len -= here;
        from = 0;
    }
}

/* Bytes of all headers of a TCP or UDP packet; 0: it is none. */
static uint32_t headers_len(const struct spread_frame *frame)
{
    uint8_t bytes[128] = {0};
    uint32_t l4 = ETHER_HEADER_BYTES;
    uint8_t protocol;

    spread_copy(frame, 0, CV_MIN((uint32_t)sizeof(bytes), frame->len), bytes);
    if (get_be16(bytes + 12) == ETHERTYPE_IPV6) {
        protocol = bytes[l4 + IPV6_NEXT_HEADER_OFFSET];
        l4 += IPV6_HEADER_BYTES;
    } else {
        protocol = bytes[l4 + 9]; /* RFC 791 */
        l4 += (bytes[l4] & 15u) * 4;
    }
    if (protocol == PROTOCOL_UDP)
        return l4 + UDP_HEADER_BYTES;
    return protocol == PROTOCOL_TCP ? l4 + (bytes[l4 + TCP_DATA_OFFSET] >> 4) * 4u : 0;
}

/*
 * Looks at the stamps of a frame's segments, and returns how many they are; *ret_bytes is what they
 * have, each with headers of its own: a super-packet counts like what it is made of.
 */
static unsigned look_at_segments(struct bench_receiver *receiver, const struct spread_frame *frame,
                                 uint64_t now_ns, uint64_t *ret_bytes)
{
    uint32_t segment = frame->len, end = frame->len, headers = 0;
    unsigned packets = 0;

    if (frame->hdr.gso_type != VNET_HDR_GSO_NONE && frame->hdr.gso_size > 0) {
        segment = frame->hdr.gso_size;
        headers = headers_len(frame);
        end = CV_MIN(headers + segment, frame->len);
    }
    for (;; end = CV_MIN(end + segment, frame->len)) {
        uint8_t bytes[BENCH_STAMP_BYTES];

        packets++;
        if (receiver->is_stamped && --receiver->until_sample == 0) {
            receiver->until_sample = 1;
            if (end >= sizeof(bytes)) {
                spread_copy(frame, end - BENCH_STAMP_BYTES, sizeof(bytes), bytes);
                look_at_stamp(receiver, bytes, now_ns);
            }
        }
        if (end == frame->len)
            break;
    }
    *ret_bytes = frame->len + (uint64_t)(packets - 1) * headers;
    return packets;
}

/* Judges a frame that is this guest's; floods of others' frames are not. Returns its packets. */
static unsigned judge(struct bench_receiver *receiver, const struct spread_frame *frame,
                      uint64_t now_ns, uint64_t *ret_bytes)
{
    uint64_t frames = receiver->checker->counts.frames;
    const uint8_t *bytes = frame->pieces[0];

    if (frame->len < ETHER_HEADER_BYTES)
        return 0;
    if (frame->count > 1) {
        if (frame->len > FRONT_FRAME_BYTES_MAX) {
            lean_ring_fault(&receiver->lean, "a frame larger than any", frame->len);
            return 0;
        }
        spread_copy(frame, 0, frame->len, receiver->scratch);
        bytes = receiver->scratch;
    }
    if (memcmp(bytes, receiver->mac, sizeof(receiver->mac)) != 0)
        return 0;
    traffic_check(receiver->checker, &frame->hdr, bytes, frame->len);
    if (receiver->checker->counts.frames == frames)
        return 0;
    return look_at_segments(receiver, frame, now_ns, ret_bytes);
}

static unsigned take_judged(struct bench_receiver *receiver, unsigned visible, uint64_t now_ns)
{
    uint64_t packets = 0, bytes = 0;
    unsigned taken = 0;

    while (taken < visible && taken < TAKE_MAX) {
        struct spread_frame frame;
        uint64_t more_bytes = 0;

        if (!take_spread(receiver, visible - taken, &frame))
            break;
        packets += receiver->checker ? judge(receiver, &frame, now_ns, &more_bytes)
                                     : look_at_segments(receiver, &frame, now_ns, &more_bytes);
        bytes += more_bytes;
        taken += frame.count;
    }
    bench_count_set(&receiver->packets, receiver->packets + packets);
    bench_count_set(&receiver->bytes, receiver->bytes + bytes);
    return taken;
}

/* --- frames that are only counted --- */

/* The stamp that is looked at in `ahead` frames is brought near meanwhile. */
static void prefetch_stamp(const struct bench_receiver *receiver, unsigned ahead)
{
    struct lean_buffer buffer = lean_ring_peek(&receiver->lean, ahead);
    const uint8_t *slot = lean_ring_slot(&receiver->lean, buffer.head);

    if (CV_LIKELY(buffer.len >= BENCH_STAMP_BYTES && buffer.len <= receiver->buffer_bytes)) {
        __builtin_prefetch(slot + buffer.len - BENCH_STAMP_BYTES);
        __builtin_prefetch(slot + buffer.len - 1);
    }
}

/* Up to `count` frames of one buffer each, until one has perhaps more. */
static unsigned take_counted(struct bench_receiver *receiver, unsigned count, uint64_t now_ns)
{
    uint32_t len_min = (uint32_t)receiver->hdr_bytes + BENCH_STAMP_BYTES;
    uint64_t bytes = 0;
    unsigned taken = 0;

    count = CV_MIN(count, (unsigned)TAKE_MAX);
    if (receiver->until_sample <= count)
        prefetch_stamp(receiver, receiver->until_sample - 1);
    while (taken < count) {
        struct lean_buffer buffer = lean_ring_peek(&receiver->lean, 0);

        /* One comparison for both: shorter than any, or as long as its buffer. */
        if (CV_UNLIKELY(buffer.len - len_min >= receiver->buffer_bytes - len_min))
            break;
        buffer = lean_ring_take(&receiver->lean);
        bytes += buffer.len;
        taken++;
        if (--receiver->until_sample > 0)
            continue;
        look_at_stamp(receiver,
                      lean_ring_slot(&receiver->lean, buffer.head) + buffer.len - BENCH_STAMP_BYTES,
                      now_ns);
        if (receiver->until_sample <= count - taken)
            prefetch_stamp(receiver, receiver->until_sample - 1);
    }
    bench_count_set(&receiver->packets, receiver->packets + taken);
    bench_count_set(&receiver->bytes, receiver->bytes + bytes - taken * receiver->hdr_bytes);
    return taken;
}

/* --- turns --- */

static unsigned take(struct bench_receiver *receiver, unsigned visible, uint64_t now_ns)
{
    unsigned taken;

    if (receiver->may_super || receiver->checker)
        return take_judged(receiver, visible, now_ns);
    if (!receiver->is_stamped)
        receiver->until_sample = UINT32_MAX;
    taken = take_counted(receiver, visible, now_ns);
    return taken > 0 ? taken : take_judged(receiver, visible, now_ns);
}

/* Something lies there: has the call come that was asked for? */
static bool was_called(struct bench_receiver *receiver)
{
    uint64_t now_ns;

    if (lean_ring_calls_take(&receiver->lean) > 0)
        return true;
    now_ns = clock_now_ns();
    if (receiver->waiting_ns == 0)
        bench_count_set(&receiver->waiting_ns, now_ns);
    if (now_ns - receiver->waiting_ns < BENCH_CALL_MISSED_NS)
        return false;
    receiver->missed_calls++;
    return true;
}

/* Nothing is left: a guest that is called asks for it. */
static void go_to_sleep(struct bench_receiver *receiver)
{
    (void)lean_ring_calls_take(&receiver->lean); /* what came late is no answer to this wish */
    if (lean_ring_calls_request(&receiver->lean))
        lean_ring_calls_decline(&receiver->lean);
}

bool bench_receiver_turn(struct bench_receiver *receiver)
{
    struct lean_ring *lean = &receiver->lean;
    unsigned visible = lean_ring_used(lean);
    uint64_t now_ns;

    if (visible == 0) {
        if (receiver->is_called && !lean->wants_calls)
            go_to_sleep(receiver);
        return false;
    }
    if (lean->wants_calls) {
        if (!was_called(receiver))
            return false;
        lean_ring_calls_decline(lean);
        bench_count_set(&receiver->waiting_ns, 0);
    }
    /* All of these are known of from now on, though the last is taken a little later. */
    now_ns = clock_now_ns();
    while (visible > 0) {
        unsigned taken = take(receiver, visible, now_ns);

        if (taken == 0)
            break;
        visible -= taken;
        lean_ring_repost(lean);
    }
    lean_ring_calls_decline_again(lean);
    return true;
}

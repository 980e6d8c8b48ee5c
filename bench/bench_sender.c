#include "bench_sender.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "traffic_bytes.h"

#define CHECK_NS UINT64_C(1000000) /* between looks at whether the device moves at all */

/* --- its frames --- */

/*
 * The queue of a frame: by its flow, so that flows stay in order; frames of a capture, whose flows
 * are not told apart, by where addresses and ports of IPv4 are.
 */
static unsigned frame_pair(const struct bench_frame *frame, unsigned pairs)
{
    uint64_t words[2] = {0};

    if (pairs == 1)
        return 0;
    if (frame->is_stamped)
        return frame->flow % pairs;
    if (frame->len >= 38)
        memcpy(words, frame->bytes + 26, 12);
    return (unsigned)(mix64(words[0] ^ mix64(words[1])) % pairs);
}

static int list_frames(struct bench_sender *sender, const struct bench_frames *frames,
                       unsigned pairs)
{
    sender->list = calloc(frames->count, sizeof(struct bench_frame *));
    if (!sender->list)
        return -ENOMEM;
    for (unsigned i = 0; i < frames->count; i++) {
        if (frame_pair(&frames->frames[i], pairs) != sender->pair)
            continue;
        sender->list[sender->list_count++] = &frames->frames[i];
        sender->frame_packets += frames->frames[i].packets;
    }
    if (sender->list_count == 0)
        return -ENOENT;
    sender->frame_packets /= sender->list_count;
    return 0;
}

/* As many as its packets have, each with its headers: a super-packet counts like what it is cut
 * into. */
static uint64_t wire_bytes(const struct bench_frame *frame)
{
    return frame->len + (uint64_t)(frame->packets - 1) * frame->hdr.hdr_len;
}

static void put_frame(struct bench_sender *sender, uint16_t head, const struct bench_frame *frame)
{
    uint8_t *slot = lean_ring_slot(&sender->lean, head);

    memcpy(slot, &frame->hdr, sender->hdr_bytes);
    memcpy(slot + sender->hdr_bytes, frame->bytes, frame->len);
    lean_ring_bind(&sender->lean, head, (uint32_t)(frame->len + sender->hdr_bytes));
}

static const struct bench_frame *frame_of_slot(const struct bench_sender *sender, unsigned head)
{
    return sender->list[head % sender->list_count];
}

static int fill_once(struct bench_sender *sender)
{
    unsigned size = sender->lean.size;

    sender->bytes_before = calloc(size + 1, sizeof(*sender->bytes_before));
    sender->packets_before = calloc(size + 1, sizeof(*sender->packets_before));
    if (!sender->bytes_before || !sender->packets_before)
        return -ENOMEM;
    for (unsigned head = 0; head < size; head++) {
        const struct bench_frame *frame = frame_of_slot(sender, head);

        put_frame(sender, (uint16_t)head, frame);
        sender->bytes_before[head + 1] = sender->bytes_before[head] + wire_bytes(frame);
        sender->packets_before[head + 1] = sender->packets_before[head] + frame->packets;
    }
    return 0;
}

int bench_sender_init(struct bench_sender *sender, const struct bench_options *options,
                      unsigned guest, unsigned pair, struct front_end *fe,
                      const struct bench_frames *frames, struct traffic_source *sources)
{
    int rc;

    *sender = (struct bench_sender){.guest = guest,
                                    .pair = pair,
                                    .sample = CV_MAX(options->sample, 1u),
                                    .hdr_bytes = fe->hdr_bytes,
                                    .sources = sources};
    lean_ring_init(&sender->lean, front_end_transmitq(fe, pair));
    sender->burst = CV_MIN(CV_MAX(options->burst, 1u), (unsigned)BENCH_BURST_MAX);
    sender->burst = CV_MIN(sender->burst, sender->lean.size);
    rc = list_frames(sender, frames, options->pairs);
    if (rc == 0 && options->verify)
        sender->fill = FILL_NUMBERED;
    else if (rc == 0 && sender->list_count > sender->lean.size)
        sender->fill = FILL_COPY;
    else if (rc == 0)
        rc = fill_once(sender);
    if (rc < 0)
        bench_sender_uninit(sender);
    return rc;
}

void bench_sender_uninit(struct bench_sender *sender)
{
    arrivals_uninit(&sender->arrivals);
    arrivals_uninit(&sender->then);
    free(sender->list);
    free(sender->bytes_before);
    free(sender->packets_before);
    *sender = (struct bench_sender){.guest = 0};
}

/* --- when --- */

/*
 * One of `share_of` senders has gaps that are as many times longer; so have frames that stand for
 * several packets, since rates are of packets.
 */
static int init_share(const struct bench_sender *sender, struct arrivals *arrivals,
                      const char *spec, uint64_t seed, struct error *error)
{
    double factor = sender->share_of * sender->frame_packets;
    int rc = arrivals_init(arrivals, spec, seed, error);

    if (rc < 0)
        return rc;
    arrivals->gap_ns *= factor;
    arrivals->rate /= factor;
    for (size_t i = 0; i < arrivals->trace_count; i++)
        arrivals->trace_gaps_ns[i] *= factor;
    return 0;
}

int bench_sender_set_arrivals(struct bench_sender *sender, const char *arrivals, const char *then,
                              unsigned share, unsigned share_of, uint64_t seed, struct error *error)
{
    int rc = 0;

    arrivals_uninit(&sender->arrivals);
    arrivals_uninit(&sender->then);
    sender->share = share;
    sender->share_of = share_of;
    sender->is_paced = arrivals != NULL;
    sender->has_then = arrivals && then;
    if (sender->is_paced)
        rc = init_share(sender, &sender->arrivals, arrivals, seed, error);
    if (rc == 0 && sender->has_then)
        rc = init_share(sender, &sender->then, then, ~seed, error);
    return rc;
}

double bench_sender_offered(const struct bench_sender *sender, unsigned share_of)
{
    double rate = sender->arrivals.rate;

    if (!sender->is_paced)
        return 0;
    if (sender->has_then)
        rate = (rate + sender->then.rate) / 2;
    return rate * share_of * sender->frame_packets;
}

/* Equal gaps of several senders must not end together: each is behind the first by its part. */
static void begin_arrivals(struct bench_sender *sender, struct arrivals *arrivals, uint64_t from_ns)
{
    double offset_ns = arrivals->gap_ns * sender->share / sender->share_of;

    sender->current = arrivals;
    sender->current_from_ns = from_ns - (uint64_t)arrivals->at_ns + (uint64_t)offset_ns;
    sender->due_ns = sender->current_from_ns + arrivals_next_ns(arrivals);
}

void bench_sender_start(struct bench_sender *sender, uint64_t from_ns, uint64_t step_ns)
{
    bench_count_set(&sender->packets, 0);
    bench_count_set(&sender->bytes, 0);
    bench_count_set(&sender->late, 0);
    sender->lean.out_of_order = 0;
    sender->due_ns = from_ns;
    sender->step_ns = step_ns;
    sender->is_stepping = sender->has_then && step_ns > 0;
    sender->checked_ns = sender->moved_ns = from_ns;
    if (sender->is_paced)
        begin_arrivals(sender, &sender->arrivals, from_ns);
}

static void next_due(struct bench_sender *sender)
{
    sender->due_ns = sender->current_from_ns + arrivals_next_ns(sender->current);
    if (!sender->is_stepping || sender->due_ns < sender->step_ns)
        return;
    sender->is_stepping = false;
    begin_arrivals(sender, &sender->then, sender->step_ns);
}

uint64_t bench_sender_unsent(struct bench_sender *sender, uint64_t to_ns)
{
    uint64_t frames = 0;

    for (; sender->is_paced && sender->due_ns < to_ns; frames++)
        next_due(sender);
    return (uint64_t)((double)frames * sender->frame_packets);
}

/* Frames that are due, up to `max`; their times are in dues[]. */
static unsigned take_due(struct bench_sender *sender, unsigned max, uint64_t now_ns)
{
    unsigned count = 0;
    uint64_t late = 0;

    for (; count < max && sender->due_ns <= now_ns; count++) {
        sender->dues[count] = sender->due_ns;
        late += now_ns - sender->due_ns >= BENCH_LATE_NS;
        next_due(sender);
    }
    if (late > 0)
        bench_count_set(&sender->late, sender->late + late);
    return count;
}

/* --- sending --- */

static void stamp(struct bench_sender *sender, uint16_t head, const struct bench_frame *frame,
                  unsigned ahead, uint64_t due_ns)
{
    struct bench_stamp stamp = {(uint16_t)sender->guest, frame->flow, sender->number + ahead,
                                due_ns};

    memcpy(lean_ring_slot(&sender->lean, head) + sender->hdr_bytes + frame->len - sizeof(stamp),
           &stamp, sizeof(stamp));
}

/* Slots 0, n, 2n ... are the sampled ones, so that an old stamp never goes out again. */
static void stamp_slots(struct bench_sender *sender, unsigned count, uint64_t now_ns)
{
    for (unsigned i = 0; i < count;) {
        uint16_t head = lean_ring_head(&sender->lean, i);
        unsigned behind = head % sender->sample;
        const struct bench_frame *frame = frame_of_slot(sender, head);

        if (behind == 0 && frame->is_stamped)
            stamp(sender, head, frame, i, sender->is_paced ? sender->dues[i] : now_ns);
        if (sender->lean.is_permuted)
            i++;
        else
            i += CV_MIN(sender->sample - behind, sender->lean.size - head); /* or to slot 0 */
    }
}

/* Counts frames of the next `count` slots. */
static void count_slots(struct bench_sender *sender, unsigned count)
{
    unsigned size = sender->lean.size, from = sender->lean.avail_index & sender->lean.mask;
    uint64_t packets = 0, bytes = 0;

    if (sender->lean.is_permuted) {
        for (unsigned i = 0; i < count; i++) {
            const struct bench_frame *frame =
                frame_of_slot(sender, lean_ring_head(&sender->lean, i));

            packets += frame->packets;
            bytes += wire_bytes(frame);
        }
    } else {
        unsigned to = CV_MIN(from + count, size), round = from + count - to;

        packets = sender->packets_before[to] - sender->packets_before[from] +
                  sender->packets_before[round];
        bytes = sender->bytes_before[to] - sender->bytes_before[from] + sender->bytes_before[round];
    }
    bench_count_set(&sender->packets, sender->packets + packets);
    bench_count_set(&sender->bytes, sender->bytes + bytes);
}

static const struct bench_frame *next_frame(struct bench_sender *sender)
{
    const struct bench_frame *frame = sender->list[sender->list_next++];

    if (sender->list_next == sender->list_count)
        sender->list_next = 0;
    return frame;
}

static void copy_frames(struct bench_sender *sender, unsigned count, uint64_t now_ns)
{
    uint64_t packets = 0, bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        const struct bench_frame *frame = next_frame(sender);
        uint16_t head = lean_ring_head(&sender->lean, i);

        put_frame(sender, head, frame);
        if (sender->until_sample-- == 0) {
            sender->until_sample = sender->sample - 1;
            if (frame->is_stamped)
                stamp(sender, head, frame, i, sender->is_paced ? sender->dues[i] : now_ns);
        }
        packets += frame->packets;
        bytes += wire_bytes(frame);
    }
    bench_count_set(&sender->packets, sender->packets + packets);
    bench_count_set(&sender->bytes, sender->bytes + bytes);
}

/*
 * Builds a frame that proves itself, about as long as `frame`: a numbered one, or a super-packet of
 * the flow's stream. A datagram of a stream needs room for more than its record.
 */
static size_t build_verified(struct traffic_source *source, const struct bench_frame *frame,
                             uint8_t *bytes, struct virtio_net_hdr *ret_hdr, unsigned *ret_packets)
{
    size_t len = CV_MAX((size_t)frame->len, traffic_frame_len_min(source));
    size_t mss = BENCH_MTU_FRAME - 4 - source->headers_len, payload = len - source->headers_len;

    *ret_packets = 1;
    if (frame->len <= BENCH_MTU_FRAME) {
        traffic_frame_build(source, bytes, len, ret_hdr);
        return len;
    }
    if (payload % mss <= TRAFFIC_STREAM_RECORD_BYTES)
        payload -= payload % mss;
    *ret_packets = (unsigned)((payload + mss - 1) / mss);
    return traffic_stream_build(source, bytes, payload, mss, ret_hdr);
}

static void build_frames(struct bench_sender *sender, unsigned count)
{
    uint64_t packets = 0, bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        const struct bench_frame *frame = next_frame(sender);
        uint16_t head = lean_ring_head(&sender->lean, i);
        uint8_t *slot = lean_ring_slot(&sender->lean, head);
        struct virtio_net_hdr hdr;
        unsigned frame_packets;
        size_t len = build_verified(&sender->sources[frame->flow], frame, slot + sender->hdr_bytes,
                                    &hdr, &frame_packets);

        memcpy(slot, &hdr, sender->hdr_bytes);
        lean_ring_bind(&sender->lean, head, (uint32_t)(len + sender->hdr_bytes));
        packets += frame_packets;
        bytes += len + (uint64_t)(frame_packets - 1) * hdr.hdr_len;
    }
    bench_count_set(&sender->packets, sender->packets + packets);
    bench_count_set(&sender->bytes, sender->bytes + bytes);
}

static void send(struct bench_sender *sender, unsigned count, uint64_t now_ns)
{
    if (lean_ring_outstanding(&sender->lean) == 0)
        sender->moved_ns = now_ns;
    switch (sender->fill) {
    case FILL_ONCE:
        stamp_slots(sender, count, now_ns);
        count_slots(sender, count);
        break;
    case FILL_COPY:
        copy_frames(sender, count, now_ns);
        break;
    case FILL_NUMBERED:
        build_frames(sender, count);
        break;
    }
    sender->number += count;
    lean_ring_offer(&sender->lean, count);
    bench_count_set(&sender->outstanding, lean_ring_outstanding(&sender->lean));
}

void bench_sender_rest(struct bench_sender *sender, uint64_t now_ns, uint64_t timeout_ns)
{
    sender->checked_ns = now_ns;
    if (lean_ring_reclaim(&sender->lean) > 0)
        sender->moved_ns = now_ns;
    bench_count_set(&sender->outstanding, lean_ring_outstanding(&sender->lean));
    sender->is_hung = sender->outstanding > 0 && now_ns - sender->moved_ns > timeout_ns &&
                      now_ns > sender->moved_ns;
}

bool bench_sender_turn(struct bench_sender *sender, uint64_t now_ns, uint64_t timeout_ns)
{
    unsigned needed = sender->is_paced ? sender->lean.size / 2 : sender->burst, count;

    if (lean_ring_free(&sender->lean) < needed || now_ns - sender->checked_ns > CHECK_NS)
        bench_sender_rest(sender, now_ns, timeout_ns);
    count = CV_MIN(lean_ring_free(&sender->lean), sender->burst);
    if (!sender->is_paced && count < sender->burst)
        return false;
    if (sender->is_paced)
        count = take_due(sender, count, now_ns);
    if (count == 0)
        return false;
    send(sender, count, now_ns);
    return true;
}

/*
 * Cutting. Every segment gets the super-packet's headers with its own lengths, sequence number, IP
 * id and flags (as RFC 9293, RFC 3168 and RFC 768 want them), then those payload bytes that a
 * snapshot happens to hold, then a view of the pieces. Sums are corrected rather than built anew
 * where the sender has already summed the pseudo-header: that is the sum that the virtio
 * specification (1.2, 5.1.6.2) defines, and it stays right whatever extension headers the packet
 * has.
 */
#include "convoy/segment.h"

#include "convoy/frame_checksum.h"
#include "wire/bytes.h"

enum { CSUM_BYTES = 2 };

void segmenter_init(struct segmenter *segmenter, const struct frame *super, unsigned offloads)
{
    assert(super->head_len <= FRAME_HEAD_BYTES_MAX && super->head_len <= super->len);
    assert(super->piece_count <= FRAME_PIECES_MAX);
    *segmenter = (struct segmenter){.super = super, .offloads = offloads, .frame = super};
}

static void append_piece(struct frame *to, const void *bytes, size_t n)
{
    assert(to->piece_count < CV_COUNT_OF(to->pieces));
    to->pieces[to->piece_count++] = (struct iovec){.iov_base = (void *)bytes, .iov_len = n};
}

/* The rest of the part in which the next segment starts. */
static struct iovec rest_of_part(const struct segmenter *segmenter)
{
    const struct frame *frame = segmenter->frame;
    struct iovec rest;

    if (segmenter->part > 0) {
        rest = frame->pieces[segmenter->part - 1];
    } else {
        rest.iov_base = (void *)(frame->head + frame->facts.payload_offset);
        rest.iov_len = frame->head_len - frame->facts.payload_offset;
    }
    rest.iov_base = (uint8_t *)rest.iov_base + segmenter->part_offset;
    rest.iov_len -= segmenter->part_offset;
    return rest;
}

/* Moves on by `n` of the part's last `rest` bytes; at its end, to the row's next part. */
static void advance(struct segmenter *segmenter, size_t n, size_t rest)
{
    segmenter->part_offset += (uint32_t)n;
    if (n < rest)
        return;
    segmenter->part_offset = 0;
    if (segmenter->part++ == segmenter->frame->piece_count) {
        segmenter->part = 0;
        segmenter->frame = segmenter->frame->merged_next;
    }
}

/* Moves on by `n` payload bytes and appends views of them to `to`, if not NULL. */
static void take_parts(struct segmenter *segmenter, size_t n, struct frame *to)
{
    while (n > 0) {
        struct iovec rest;
        size_t taken;

        assert(segmenter->frame != NULL);
        rest = rest_of_part(segmenter);
        taken = CV_MIN(rest.iov_len, n);
        if (to != NULL && taken > 0)
            append_piece(to, rest.iov_base, taken);
        advance(segmenter, taken, rest.iov_len);
        n -= taken;
    }
}

/* The complete checksum over the frame from byte `from` to its end. */
static uint16_t sum_frame(const struct frame *frame, size_t from)
{
    struct checksum checksum = {0};

    frame_checksum_add(frame, from, &checksum);
    return checksum_finish(&checksum);
}

/* As it is stored: where UDP's checksum would be zero, which means none, all ones stand for it. */
static uint16_t stored_sum(uint16_t sum, const struct virtio_net_hdr *vnet)
{
    return sum == 0 && vnet->csum_offset == UDP_CHECKSUM_OFFSET ? 0xffff : sum;
}

/* A frame like the super-packet, with the first `head_len` bytes of its head and no piece. */
static void begin_frame(const struct frame *super, size_t head_len, struct frame *frame)
{
    frame->facts = super->facts;
    frame->len = super->len;
    frame->head_len = (uint16_t)head_len;
    frame->piece_count = 0;
    frame->source = NULL;
    frame->private_bytes = frame->small_bytes = NULL;
    frame->has_buffer = false;
    frame->source_slot = 0;
    frame->holders = 0;
    frame->drop = super->drop;
    frame->is_shared = false;
    frame->checksum_is_good = false;
    frame->merged_count = 0;
    frame->merged_next = frame->merged_last = NULL;
    frame->arrived_ns = super->arrived_ns;
    frame->vnet = super->vnet;
    memcpy(frame->head, super->head, head_len);
}

/* No wishes are left: even DATA_VALID is not for a receiver without OFFLOAD_CSUM. */
static void clear_wishes(struct virtio_net_hdr *vnet)
{
    memset(vnet, 0, sizeof(*vnet));
}

/*
 * Completes the checksum of a frame without GSO. The field lies in the head, in the pieces, or
 * across their border; what is not in the head is replaced by a piece that points to
 * segment->checksum.
 */
static void complete_csum(struct segmenter *segmenter, struct segment *segment)
{
    const struct frame *super = segmenter->super;
    const struct virtio_net_hdr *vnet = &super->vnet;
    size_t field = (size_t)vnet->csum_start + vnet->csum_offset;
    size_t in_head = field < super->head_len ? CV_MIN(super->head_len - field, CSUM_BYTES) : 0;
    size_t before = in_head == 0 ? field - super->head_len : 0;
    uint16_t sum = stored_sum(sum_frame(super, vnet->csum_start), vnet);
    struct frame *frame = &segment->frame;

    assert(field + CSUM_BYTES <= super->len);
    memcpy(segment->checksum, &sum, CSUM_BYTES);
    memcpy(frame->head + (in_head > 0 ? field : 0), segment->checksum, in_head);
    take_parts(segmenter, before, frame);
    if (in_head < CSUM_BYTES) {
        append_piece(frame, segment->checksum + in_head, CSUM_BYTES - in_head);
        take_parts(segmenter, CSUM_BYTES - in_head, NULL);
    }
    take_parts(segmenter, super->len - super->head_len - before - (CSUM_BYTES - in_head), frame);
    clear_wishes(&frame->vnet);
}

static void give_whole(struct segmenter *segmenter, struct segment *segment)
{
    const struct frame *super = segmenter->super;

    begin_frame(super, super->head_len, &segment->frame);
    segmenter->part = 1;
    segmenter->done = true;
    if (!(segmenter->offloads & OFFLOAD_CSUM) && (super->vnet.flags & VNET_HDR_F_NEEDS_CSUM)) {
        complete_csum(segmenter, segment);
        return;
    }
    take_parts(segmenter, super->len - super->head_len, &segment->frame);
    if (!(segmenter->offloads & OFFLOAD_CSUM))
        clear_wishes(&segment->frame.vnet);
}

/* Lengths of both IP versions; IPv4 also counts its id up and gets its header checksum. */
static void write_ip(struct frame *frame, unsigned index)
{
    uint8_t *ip = frame->head + frame->facts.l3_offset;
    size_t ip_len = frame->len - frame->facts.l3_offset;
    struct checksum checksum = {0};
    uint16_t sum;

    if (frame->facts.flags & FRAME_IPV6) {
        bytes_store_be16(ip + IPV6_PAYLOAD_LENGTH_OFFSET, (uint16_t)(ip_len - IPV6_HEADER_BYTES));
        return;
    }
    bytes_store_be16(ip + IPV4_TOTAL_LENGTH_OFFSET, (uint16_t)ip_len);
    bytes_store_be16(ip + IPV4_ID_OFFSET, (uint16_t)(bytes_load_be16(ip + IPV4_ID_OFFSET) + index));
    memset(ip + IPV4_CHECKSUM_OFFSET, 0, CSUM_BYTES);
    checksum_add(&checksum, ip, (size_t)(ip[0] & 0x0f) * 4);
    sum = checksum_finish(&checksum);
    memcpy(ip + IPV4_CHECKSUM_OFFSET, &sum, CSUM_BYTES);
}

static void write_tcp(struct frame *frame, const struct segmenter *segmenter, bool last)
{
    uint8_t *tcp = frame->head + frame->facts.l4_offset;

    bytes_store_be32(tcp + TCP_SEQUENCE_OFFSET,
                     bytes_load_be32(tcp + TCP_SEQUENCE_OFFSET) + segmenter->offset);
    if (!last)
        tcp[TCP_FLAGS_OFFSET] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    if (segmenter->index > 0)
        tcp[TCP_FLAGS_OFFSET] &= (uint8_t)~TCP_CWR;
}

/*
 * The field holds the pseudo-header's sum with the super-packet's length in it: one's complement
 * arithmetic exchanges the length (RFC 1624), and a complete checksum replaces the result if the
 * receiver wants no work left.
 */
static void write_csum(struct frame *frame, size_t super_len, unsigned offloads)
{
    size_t l4 = frame->facts.l4_offset;
    uint8_t *field = frame->head + l4 + frame->vnet.csum_offset;
    uint32_t sum = bytes_load_be16(field);

    sum += (uint16_t) ~(super_len - l4);
    sum += (uint16_t)(frame->len - l4);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    bytes_store_be16(field, (uint16_t)sum);
    if (offloads & OFFLOAD_CSUM) {
        frame->vnet.flags = VNET_HDR_F_NEEDS_CSUM;
    } else {
        uint16_t complete = stored_sum(sum_frame(frame, l4), &frame->vnet);

        memcpy(field, &complete, CSUM_BYTES);
        clear_wishes(&frame->vnet);
    }
}

/* Headers, and behind them what of the segment's payload lies in a head. */
static size_t begin_segment(struct segmenter *segmenter, size_t n, struct frame *frame)
{
    size_t headers = segmenter->super->facts.payload_offset;
    size_t in_head = 0;

    begin_frame(segmenter->super, headers, frame);
    if (segmenter->part == 0) {
        struct iovec rest = rest_of_part(segmenter);

        in_head = CV_MIN(rest.iov_len, n);
        memcpy(frame->head + headers, rest.iov_base, in_head);
        advance(segmenter, in_head, rest.iov_len);
    }
    frame->head_len = (uint16_t)(headers + in_head);
    frame->len = (uint32_t)(headers + n);
    return in_head;
}

static void cut_next(struct segmenter *segmenter, struct frame *frame)
{
    const struct frame *super = segmenter->super;
    size_t left = super->len - super->facts.payload_offset - segmenter->offset;
    size_t n = CV_MIN(left, super->vnet.gso_size);
    size_t in_head = begin_segment(segmenter, n, frame);
    bool last = n == left;

    take_parts(segmenter, n - in_head, frame);
    frame->vnet.gso_type = VNET_HDR_GSO_NONE;
    frame->vnet.gso_size = 0;
    write_ip(frame, segmenter->index);
    if (frame->facts.flags & FRAME_TCP)
        write_tcp(frame, segmenter, last);
    else
        bytes_store_be16(frame->head + frame->facts.l4_offset + UDP_LENGTH_OFFSET,
                         (uint16_t)(frame->len - frame->facts.l4_offset));
    write_csum(frame, super->len, segmenter->offloads);
    segmenter->offset += (uint32_t)n;
    segmenter->index++;
    segmenter->done = last;
}

bool segmenter_next(struct segmenter *segmenter, struct segment *ret_segment)
{
    if (segmenter->done)
        return false;
    if (segmenter->super->vnet.gso_type == VNET_HDR_GSO_NONE)
        give_whole(segmenter, ret_segment);
    else
        cut_next(segmenter, &ret_segment->frame);
    return true;
}

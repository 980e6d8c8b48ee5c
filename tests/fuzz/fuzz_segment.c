/*
 * Cutting whatever a guest may send: any frame and virtio-net header that offload_check accepts, in
 * any pieces, for a receiver with any set of offloads; also with its payload dealt out to a row of
 * frames, as merging leaves it. Every segment is held against headers rewritten here with their own
 * arithmetic, byte for byte: lengths, sequence number, IPv4 id, flags, sums, payload.
 *
 * Input: receiver's offloads, head length, piece length (a byte each), how many bytes to append to
 * the frame (two bytes, little-endian), the head length of a row's further frames (a byte, 0: no
 * row), the virtio-net header (12 bytes), the frame.
 */
#include "convoy/merge.h"
#include "unit/row_frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_HEADER_BYTES = 18 };

static struct wire_frame wire, part;
static struct frame row[MERGE_FRAMES_MAX]; /* the first is what is cut */
static unsigned row_count;
static struct segment segment;
static uint8_t bytes[sizeof(wire.bytes)], expected[sizeof(wire.bytes)];

/* Both zeros of a one's complement sum are one value. */
static bool same_sum(size_t a, size_t b)
{
    return a % 0xffff == b % 0xffff;
}

/* The sum that a segment has in place of the super-packet's: its own length instead of all. */
static uint32_t moved_sum(const struct frame *super, size_t len)
{
    size_t l4 = super->facts.l4_offset;
    uint32_t sum = (uint32_t)wire_get16(wire.bytes + l4 + super->vnet.csum_offset);

    return (sum + 0xffff - (uint32_t)(wire.len - l4) % 0xffff + (uint32_t)(len - l4)) % 0xffff;
}

/* Segment `index` as it must be, but for its transport checksum; returns its length. */
static size_t expect(const struct frame *super, size_t index)
{
    const struct frame_facts *facts = &super->facts;
    size_t headers = facts->payload_offset, gso_size = super->vnet.gso_size;
    size_t offset = index * gso_size, left = wire.len - headers - offset;
    size_t len = headers + CV_MIN(left, gso_size);
    uint8_t *ip = expected + facts->l3_offset, *l4 = expected + facts->l4_offset;

    memcpy(expected, wire.bytes, headers);
    memcpy(expected + headers, wire.bytes + headers + offset, len - headers);
    if (facts->flags & FRAME_IPV4) {
        wire_be16(ip + 2, len - facts->l3_offset);
        wire_be16(ip + 4, wire_get16(ip + 4) + index);
        wire_be16(ip + 10, 0);
        wire_be16(ip + 10, ~wire_sum(0, ip, (size_t)(ip[0] & 15) * 4));
    } else {
        wire_be16(ip + 4, len - facts->l3_offset - 40);
    }
    if (facts->flags & FRAME_TCP) {
        uint32_t sequence = wire_get32(l4 + 4) + (uint32_t)offset;

        wire_be16(l4 + 4, sequence >> 16);
        wire_be16(l4 + 6, sequence);
        l4[13] &= (uint8_t)((left <= gso_size ? 0xff : 0xf6) & (index == 0 ? 0xff : 0x7f));
    } else {
        wire_be16(l4 + 4, len - facts->l4_offset);
    }
    return len;
}

static void check_vnet(const struct frame *super, unsigned offloads)
{
    const struct virtio_net_hdr *vnet = &segment.frame.vnet;
    static const struct virtio_net_hdr none;

    if (!(offloads & OFFLOAD_CSUM)) {
        assert(memcmp(vnet, &none, sizeof(none)) == 0);
        return;
    }
    assert(vnet->flags == VNET_HDR_F_NEEDS_CSUM && vnet->gso_type == VNET_HDR_GSO_NONE);
    assert(vnet->gso_size == 0 && vnet->csum_start == super->facts.l4_offset);
    assert(vnet->csum_offset == super->vnet.csum_offset);
}

static void check_segment(const struct frame *super, size_t index, unsigned offloads)
{
    size_t l4 = super->facts.l4_offset, field = l4 + super->vnet.csum_offset;
    size_t len = expect(super, index);
    uint32_t sum = moved_sum(super, len);

    assert(segment.frame.len == len && wire_linearise(&segment.frame, bytes) == len);
    assert(segment.frame.merged_count == 0 && segment.frame.merged_next == NULL);
    if (offloads & OFFLOAD_CSUM) {
        assert(same_sum(wire_get16(bytes + field), sum));
    } else {
        wire_be16(expected + field, 0);
        sum = ~wire_sum(sum, expected + l4, len - l4) & 0xffff;
        assert(same_sum(wire_get16(bytes + field), sum));
        assert(!(super->facts.flags & FRAME_UDP) || wire_get16(bytes + field) != 0);
    }
    memcpy(expected + field, bytes + field, 2);
    assert(memcmp(bytes, expected, len) == 0);
    check_vnet(super, offloads);
}

static void check_super_packet(const struct frame *super, unsigned offloads)
{
    unsigned segments = offload_segments(&super->vnet, &super->facts, super->len);
    struct segmenter segmenter;
    unsigned count = 0;

    segmenter_init(&segmenter, super, offloads);
    while (segmenter_next(&segmenter, &segment))
        check_segment(super, count++, offloads);
    assert(count == segments);
}

/* A plain frame: nothing changes but, for a receiver without checksums, the two bytes of one. */
static void check_plain(const struct frame *super, unsigned offloads)
{
    size_t start = super->vnet.csum_start, field = start + super->vnet.csum_offset;
    struct segmenter segmenter;
    bool more;

    segmenter_init(&segmenter, super, offloads);
    more = segmenter_next(&segmenter, &segment);
    assert(more && segment.frame.len == wire.len);
    assert(wire_linearise(&segment.frame, bytes) == wire.len);
    memcpy(expected, wire.bytes, wire.len);
    if (!segment_fits(super, offloads)) {
        uint32_t sum = ~wire_sum(0, wire.bytes + start, wire.len - start) & 0xffff;

        wire_be16(expected + field, sum == 0 && field - start == 6 ? 0xffff : sum);
        assert(segment.frame.vnet.flags == 0);
    }
    assert(memcmp(bytes, expected, wire.len) == 0);
    more = segmenter_next(&segmenter, &segment);
    assert(!more);
}

/* The payload from `offset` on, `n` bytes, behind the super-packet's headers. */
static void view_part(size_t offset, size_t n, size_t in_head, size_t piece, struct frame *ret)
{
    const struct frame *super = &row[0];
    size_t headers = super->facts.payload_offset;
    size_t lens[MERGE_PIECES_MAX];

    part.len = 0;
    memcpy(wire_extend(&part, headers), wire.bytes, headers);
    memcpy(wire_extend(&part, n), wire.bytes + headers + offset, n);
    for (size_t i = 0; i < MERGE_PIECES_MAX; i++)
        lens[i] = piece * i;
    wire_view(&part, CV_MIN(headers + CV_MIN(in_head, n), FRAME_HEAD_BYTES_MAX), lens,
              piece % (MERGE_PIECES_MAX + 1), ret);
    ret->facts = super->facts;
}

/* Deals the payload of row[0] out to a row, if there are few enough segments. */
static void make_row(size_t in_head, size_t piece)
{
    struct virtio_net_hdr vnet = row[0].vnet;
    struct frame_facts facts = row[0].facts;
    size_t payload = wire.len - facts.payload_offset;

    if (offload_segments(&vnet, &facts, wire.len) > MERGE_FRAMES_MAX)
        return;
    wire_unview(&row[0]);
    view_part(0, vnet.gso_size, in_head, piece, &row[0]);
    row[0].facts = facts;
    row[0].vnet = vnet;
    for (size_t offset = vnet.gso_size; offset < payload; offset += vnet.gso_size) {
        struct frame *frame = &row[row_count];

        view_part(offset, CV_MIN(vnet.gso_size, payload - offset), in_head, piece, frame);
        row[row_count - 1].merged_next = frame;
        row[0].merged_last = frame;
        row[0].merged_count++;
        row_count++;
    }
    row[0].len = (uint32_t)wire.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame *super = &row[0];
    size_t lens[FRAME_PIECES_MAX];
    size_t head_len, appended;

    if (size < INPUT_HEADER_BYTES || size - INPUT_HEADER_BYTES > FRAME_BYTES_MAX)
        return 0;
    wire.len = 0;
    appended = data[3] | (size_t)data[4] << 8;
    memcpy(wire_extend(&wire, size - INPUT_HEADER_BYTES), data + INPUT_HEADER_BYTES,
           size - INPUT_HEADER_BYTES);
    wire_payload(&wire, CV_MIN(appended, FRAME_BYTES_MAX - wire.len), 1);
    head_len = CV_MIN(CV_MIN(data[1], FRAME_HEAD_BYTES_MAX), wire.len);
    for (size_t i = 0; i < FRAME_PIECES_MAX; i++)
        lens[i] = (size_t)data[2] * i;
    wire_view(&wire, head_len, lens, data[2] % (FRAME_PIECES_MAX + 1), super);
    row_count = 1;
    frame_parse(super->head, head_len, super->len, &super->facts);
    memcpy(&super->vnet, data + 6, sizeof(super->vnet));
    if (offload_check(&super->vnet, &super->facts, head_len, super->len)) {
        bool is_plain = super->vnet.gso_type == VNET_HDR_GSO_NONE;

        if (!is_plain && data[5] != 0)
            make_row(data[5] - 1u, data[2]);
        for (unsigned toggled = 0; toggled <= OFFLOAD_CSUM; toggled += OFFLOAD_CSUM) {
            if (is_plain)
                check_plain(super, data[0] ^ toggled);
            else
                check_super_packet(super, data[0] ^ toggled);
        }
    }
    for (unsigned i = 0; i < row_count; i++)
        wire_unview(&row[i]);
    return 0;
}

/*
 * What a guest controls on the packet's way: virtio-net header and frame bytes. Parses, checks the
 * offload request and cuts for a receiver; asserts what must hold whatever the bytes are.
 *
 * Input: receiver's offloads, head length, piece length (a byte each), how many bytes to append to
 * the frame (two bytes, little-endian), the virtio-net header (12 bytes), the frame.
 */
#include <stdlib.h>
#include <string.h>

#include "convoy/segment.h"
#include "unit/wire_frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_HEADER_BYTES = 17 };

static struct wire_frame wire;
static struct frame super;
static struct segment segment, partial;
static uint8_t bytes[sizeof(wire.bytes)], partial_bytes[sizeof(wire.bytes)];

/* In memory that ends where the head ends, so that AddressSanitizer sees a read behind it. */
static void parse(const uint8_t *head, size_t head_len, size_t frame_len,
                  struct frame_facts *ret_facts)
{
    uint8_t *copy = malloc(head_len + 1);

    assert(copy != NULL);
    memcpy(copy + 1, head, head_len);
    frame_parse(copy + 1, head_len, frame_len, ret_facts);
    free(copy);
}

static void check_facts(const struct frame_facts *facts, size_t head_len)
{
    bool is_ip = facts->flags & (FRAME_IPV4 | FRAME_IPV6);
    bool has_transport = facts->flags & (FRAME_TCP | FRAME_UDP);

    assert((facts->flags & FRAME_MALFORMED) || facts->l3_offset >= 14);
    assert(facts->l3_offset <= head_len && facts->l4_offset <= head_len);
    assert(facts->payload_offset <= head_len);
    assert(has_transport == (facts->payload_offset != 0));
    assert(!has_transport || (is_ip && !(facts->flags & FRAME_FRAGMENT)));
    assert(!has_transport || facts->l4_offset >= facts->l3_offset + 20);
    assert(!has_transport || facts->payload_offset >= facts->l4_offset + 8);
    assert(is_ip || (facts->l4_offset == 0 && facts->ip_protocol == 0));
}

/* A frame with one byte changed is like the one before only where it has the same facts. */
static void check_pattern(size_t head_len, size_t place, uint8_t change)
{
    struct frame_pattern pattern = {.words = 0};
    struct frame_facts facts = {0};

    frame_pattern_learn(&pattern, super.head, head_len, super.len, &super.facts);
    if (head_len == 0)
        return;
    super.head[place % head_len] ^= change;
    if (frame_pattern_fits(&pattern, super.head, super.len)) {
        parse(super.head, head_len, super.len, &facts);
        assert(memcmp(&facts, &super.facts, offsetof(struct frame_facts, ip_protocol) + 1) == 0);
    }
    super.head[place % head_len] ^= change;
}

/* A plain frame: nothing changes but, for a receiver without checksums, the two bytes of one. */
static void check_plain(unsigned offloads)
{
    size_t field = (size_t)super.vnet.csum_start + super.vnet.csum_offset;
    struct segmenter segmenter;
    bool more;

    segmenter_init(&segmenter, &super, offloads);
    more = segmenter_next(&segmenter, &segment);
    assert(more && segment.frame.len == wire.len);
    assert(wire_linearise(&segment.frame, bytes) == wire.len);
    if (!segment_fits(&super, offloads)) {
        assert(field >= super.facts.l3_offset && field + 2 <= wire.len);
        memcpy(bytes + field, wire.bytes + field, 2);
        assert(segment.frame.vnet.flags == 0);
    }
    assert(memcmp(bytes, wire.bytes, wire.len) == 0);
    more = segmenter_next(&segmenter, &segment);
    assert(!more);
}

/* One segment, complete and with only the pseudo-header summed: both sums must agree. */
static void check_segment(size_t offset)
{
    const uint16_t kept = (uint16_t)~FRAME_EXPRESS;
    size_t headers = super.facts.payload_offset, l4 = super.facts.l4_offset;
    size_t len = segment.frame.len;
    struct frame_facts facts;
    uint32_t pseudo;

    assert(wire_linearise(&segment.frame, bytes) == len);
    assert(wire_linearise(&partial.frame, partial_bytes) == partial.frame.len);
    assert(partial.frame.len == len && len > headers && len <= headers + super.vnet.gso_size);
    parse(segment.frame.head, segment.frame.head_len, len, &facts);
    assert((facts.flags & kept) == (super.facts.flags & kept));
    assert(facts.payload_offset == headers && facts.flow_hash == super.facts.flow_hash);
    assert(memcmp(bytes + headers, wire.bytes + headers + offset, len - headers) == 0);
    assert(memcmp(bytes + headers, partial_bytes + headers, len - headers) == 0);
    pseudo = (uint32_t)wire_get16(partial_bytes + l4 + partial.frame.vnet.csum_offset);
    assert(wire_sum(pseudo, bytes + l4, len - l4) == 0xffff);
    if (facts.flags & FRAME_IPV4)
        assert(wire_sum(0, bytes + facts.l3_offset, l4 - facts.l3_offset) == 0xffff);
}

static void check_super_packet(void)
{
    unsigned segments = offload_segments(&super.vnet, &super.facts, super.len);
    struct segmenter complete, unfinished;
    unsigned count = 0;
    size_t offset = 0;

    assert(segments > 1 && segments <= OFFLOAD_SEGMENTS_MAX);
    segmenter_init(&complete, &super, 0);
    segmenter_init(&unfinished, &super, OFFLOAD_CSUM);
    while (segmenter_next(&complete, &segment)) {
        bool more = segmenter_next(&unfinished, &partial);

        assert(more);
        check_segment(offset);
        offset += segment.frame.len - super.facts.payload_offset;
        count++;
    }
    assert(count == segments && offset == super.len - super.facts.payload_offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t lens[FRAME_PIECES_MAX];
    size_t head_len, appended;
    uint8_t offloads;

    if (size < INPUT_HEADER_BYTES)
        return 0;
    offloads = data[0];
    wire.len = 0;
    appended = data[3] | (size_t)data[4] << 8;
    if (size - INPUT_HEADER_BYTES > FRAME_BYTES_MAX)
        return 0;
    memcpy(wire_extend(&wire, size - INPUT_HEADER_BYTES), data + INPUT_HEADER_BYTES,
           size - INPUT_HEADER_BYTES);
    wire_payload(&wire, CV_MIN(appended, FRAME_BYTES_MAX - wire.len), 1);
    head_len = CV_MIN(CV_MIN(data[1], FRAME_HEAD_BYTES_MAX), wire.len);
    for (size_t i = 0; i < FRAME_PIECES_MAX; i++)
        lens[i] = (size_t)data[2] * i;
    wire_view(&wire, head_len, lens, data[2] % (FRAME_PIECES_MAX + 1), &super);

    parse(super.head, head_len, super.len, &super.facts);
    check_facts(&super.facts, head_len);
    check_pattern(head_len, (size_t)data[3] + data[5], data[4]);
    memcpy(&super.vnet, data + 5, sizeof(super.vnet));
    if (offload_check(&super.vnet, &super.facts, head_len, super.len)) {
        if (super.vnet.gso_type == VNET_HDR_GSO_NONE)
            check_plain(offloads);
        else
            check_super_packet();
    }
    wire_unview(&super);
    return 0;
}

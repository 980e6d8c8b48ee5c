/*
 * Frames of several senders, with all that a sender controls: virtio-net headers, bytes, how they
 * are cut into head and pieces. They are taken as the worker takes them (frame_parse,
 * offload_check), each is merged with the newest frame of its flow if it can be, and what results
 * is cut. Asserts that a row is a true super-packet that its receiver takes, that cutting it gives
 * back its packets byte for byte, that a refusal changes nothing, and that every other frame that
 * was accepted can be cut.
 *
 * Input: the receiver's offloads (a byte), then records until the input ends:
 *   control (a byte, enum control), head length, piece length (a byte each), bytes of payload (two,
 *   little-endian), patches (a byte: their number in its lowest three bits, PATCH_LATE)
 *   the sender's virtio-net header (12 bytes), if control says so
 *   for a frame that does not follow the one before: number of bytes (a byte), the bytes
 *   the patches: offset, and what that byte is XORed with (a byte each)
 * A frame that follows has the headers of the one before, the next sequence number and IPv4 id.
 */
#include <stdio.h>

#include "convoy/merge.h"
#include "unit/row_frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FRAMES_MAX = 96,
    RECORD_BYTES = 6,
    PATCH_LATE = 8, /* behind the sums, so that these are wrong by just that */
};

enum control {
    CONTROL_FOLLOWS = 1 << 0,
    CONTROL_FIX_IP = 1 << 1,   /* right lengths and IPv4 header checksum */
    CONTROL_CHECKSUM = 3 << 2, /* 0: as it is; right, left to the receiver, or vouched for */
    CONTROL_COMPLETE = 1 << 2,
    CONTROL_NEEDS_CSUM = 2 << 2,
    CONTROL_DATA_VALID = 3 << 2,
    CONTROL_VNET = 1 << 4,     /* the virtio-net header is in the input */
    CONTROL_SAME_LEN = 1 << 5, /* as much payload as the frame before */
    CONTROL_REPEAT_SHIFT = 6,  /* two bits: how many such frames follow each other */
};

struct reader {
    const uint8_t *data;
    size_t left;
};

struct record {
    const uint8_t *bytes;   /* RECORD_BYTES of them */
    const uint8_t *patches; /* NULL: none */
};

static struct row_packet packets[FRAMES_MAX];
static struct frame frames[FRAMES_MAX];
static struct wire_frame wire;
static struct frame *supers[FRAMES_MAX];
static unsigned frame_count, super_count;

static const uint8_t *take(struct reader *reader, size_t n)
{
    const uint8_t *taken = reader->data;

    if (reader->left < n)
        return NULL;
    reader->data += n;
    reader->left -= n;
    return taken;
}

/* The headers of the frame before, moved on by its payload. */
static size_t follow(struct row_packet *packet, const struct row_packet *before)
{
    const struct frame_facts *facts = &before->facts;
    size_t payload = before->len - facts->payload_offset;
    uint8_t *l3 = packet->bytes + facts->l3_offset, *l4 = packet->bytes + facts->l4_offset;

    memcpy(packet->bytes, before->bytes, facts->payload_offset);
    if (facts->flags & FRAME_IPV4)
        wire_be16(l3 + 4, wire_get16(l3 + 4) + 1);
    if (facts->flags & FRAME_TCP) {
        uint32_t sequence = wire_get32(l4 + 4) + (uint32_t)payload;

        wire_be16(l4 + 4, sequence >> 16);
        wire_be16(l4 + 6, sequence);
    }
    return facts->payload_offset;
}

static void set_checksum(struct row_packet *packet, uint8_t control)
{
    control &= CONTROL_CHECKSUM;
    if (control == 0 || !(packet->facts.flags & (FRAME_TCP | FRAME_UDP)))
        return;
    row_fix_checksum(packet, control != CONTROL_NEEDS_CSUM);
    if (control == CONTROL_NEEDS_CSUM) {
        packet->asked.flags = VNET_HDR_F_NEEDS_CSUM;
        packet->asked.csum_start = packet->facts.l4_offset;
        packet->asked.csum_offset = packet->facts.flags & FRAME_TCP ? 16 : 6;
    } else if (control == CONTROL_DATA_VALID) {
        packet->asked.flags = VNET_HDR_F_DATA_VALID;
    }
}

/* The packet's first bytes: headers that follow, or what the input says. False: it has ended. */
static bool build_headers(struct reader *reader, struct row_packet *packet,
                          const struct row_packet *before)
{
    const uint8_t *bytes;
    size_t n;

    if (before != NULL) {
        packet->len = follow(packet, before);
        return true;
    }
    bytes = take(reader, 1);
    n = bytes ? bytes[0] : 0;
    bytes = take(reader, n);
    if (bytes == NULL)
        return false;
    memcpy(packet->bytes, bytes, n);
    packet->len = n;
    return true;
}

static void patch(struct row_packet *packet, const struct record *record, bool late)
{
    size_t count = record->bytes[5] & 7;

    if (record->patches == NULL || !!(record->bytes[5] & PATCH_LATE) != late)
        return;
    for (size_t i = 0; i < count; i++)
        if (record->patches[2 * i] < packet->len)
            packet->bytes[record->patches[2 * i]] ^= record->patches[2 * i + 1];
}

/* Builds the next packet from a record; returns how often it is to be built, 0: no such record. */
static unsigned build(struct reader *reader, struct row_packet *packet,
                      const struct row_packet *before, struct record *ret_record)
{
    static const uint8_t repeats[4] = {1, 2, 8, 64};
    const uint8_t *record = take(reader, RECORD_BYTES), *vnet = NULL;
    size_t payload;

    if (record == NULL ||
        (record[0] & CONTROL_VNET && !(vnet = take(reader, sizeof(packet->asked)))))
        return 0;
    memset(&packet->asked, 0, sizeof(packet->asked));
    if (vnet != NULL)
        memcpy(&packet->asked, vnet, sizeof(packet->asked));
    if (!(record[0] & CONTROL_FOLLOWS) || (before && before->facts.payload_offset == 0))
        before = NULL;
    if (!build_headers(reader, packet, before))
        return 0;
    payload = record[3] | (size_t)record[4] << 8;
    if (before != NULL && record[0] & CONTROL_SAME_LEN)
        payload = before->len - before->facts.payload_offset;
    payload = CV_MIN(payload, FRAME_BYTES_MAX - packet->len);
    wire.len = 0;
    wire_payload(&wire, payload, frame_count);
    memcpy(packet->bytes + packet->len, wire.bytes, payload);
    packet->len += payload;
    ret_record->bytes = record;
    ret_record->patches = take(reader, 2 * (size_t)(record[5] & 7));
    patch(packet, ret_record, false);
    return repeats[record[0] >> CONTROL_REPEAT_SHIFT];
}

/* The worker's way in; false: it drops the frame. */
static bool accept(struct row_packet *packet, struct frame *frame, const struct record *from)
{
    const uint8_t *record = from->bytes;
    size_t head_len = CV_MIN(CV_MIN(record[1], FRAME_HEAD_BYTES_MAX), packet->len);
    size_t lens[FRAME_PIECES_MAX];
    bool accepted;

    row_parse(packet);
    if (record[0] & CONTROL_FIX_IP)
        row_fix_ip(packet);
    set_checksum(packet, record[0]);
    patch(packet, from, true);
    for (size_t i = 0; i < FRAME_PIECES_MAX; i++)
        lens[i] = (size_t)record[2] * i;
    memcpy(wire.bytes, packet->bytes, packet->len);
    wire.len = packet->len;
    wire_view(&wire, head_len, lens, record[2] % (FRAME_PIECES_MAX + 1), frame);
    frame_parse(frame->head, head_len, frame->len, &frame->facts);
    packet->facts = frame->facts;
    frame->vnet = packet->asked;
    accepted = offload_check(&frame->vnet, &frame->facts, head_len, frame->len);
    packet->vnet = frame->vnet;
    if (!accepted)
        wire_unview(frame);
    return accepted;
}

/* A refusal leaves both as they were, but for the note that a checksum was found good. */
static void join_or_keep(struct frame *super, struct frame *frame, unsigned offloads)
{
    static struct frame super_before, frame_before;
    enum merge_refusal refusal;

    memcpy(&super_before, super, sizeof(*super));
    memcpy(&frame_before, frame, sizeof(*frame));
    refusal = merge_join(super, frame, offloads);
    assert(refusal < MERGE_REFUSAL_COUNT);
    if (refusal == MERGE_JOINED)
        return;
    super_before.checksum_is_good = super->checksum_is_good;
    frame_before.checksum_is_good = frame->checksum_is_good;
    assert(memcmp(&super_before, super, sizeof(*super)) == 0);
    assert(memcmp(&frame_before, frame, sizeof(*frame)) == 0);
    supers[super_count++] = frame;
}

static void load(struct frame *frame, unsigned offloads)
{
    for (unsigned i = super_count; i > 0 && merge_concerns(frame, offloads); i--) {
        struct frame *super = supers[i - 1];

        if (!merge_concerns(super, offloads) || !merge_same_flow(super, frame))
            continue;
        join_or_keep(super, frame, offloads);
        return;
    }
    supers[super_count++] = frame;
}

/* A frame that stayed alone goes out as it came, whole or in segments that carry all of it. */
static void check_alone(const struct frame *frame, unsigned offloads)
{
    static struct segment segment;
    static uint8_t bytes[sizeof(wire.bytes)];
    const struct row_packet *packet = &packets[frame - frames];
    size_t headers = frame->facts.payload_offset, at = headers;
    bool is_super = frame->vnet.gso_type != VNET_HDR_GSO_NONE;
    struct segmenter segmenter;

    assert(wire_linearise(frame, bytes) == packet->len);
    assert(memcmp(bytes, packet->bytes, packet->len) == 0);
    segmenter_init(&segmenter, frame, offloads);
    while (segmenter_next(&segmenter, &segment)) {
        assert(wire_linearise(&segment.frame, bytes) == segment.frame.len);
        if (!is_super) {
            assert(segment.frame.len == packet->len);
            continue;
        }
        assert(memcmp(bytes + headers, packet->bytes + at, segment.frame.len - headers) == 0);
        at += segment.frame.len - headers;
    }
    assert(!is_super || at == packet->len);
}

/* Says which part of the property does not hold. */
static void expect_none(const char *fault)
{
    if (fault == NULL)
        return;
    fprintf(stderr, "a row is wrong: %s\n", fault);
    abort();
}

static void check_row(const struct frame *super, unsigned offloads)
{
    const struct row_packet *row[MERGE_FRAMES_MAX];
    size_t count = 0;

    for (const struct frame *frame = super; frame; frame = frame->merged_next) {
        assert(count < MERGE_FRAMES_MAX);
        row[count++] = &packets[frame - frames];
    }
    assert(count == super->merged_count + 1u);
    assert(super->len <= FRAME_BYTES_MAX && super->len - super->facts.l3_offset <= 65535);
    assert(segment_fits(super, offloads));
    expect_none(row_fault(super, row, count, 0));
    expect_none(row_fault(super, row, count, OFFLOAD_CSUM));
    expect_none(row_fault(super, row, count, offloads));
}

/* Builds, accepts and loads all frames of the input. */
static void load_all(struct reader *reader, unsigned offloads)
{
    const struct row_packet *before = NULL;
    struct record record;
    unsigned repeat;

    do {
        struct reader start = *reader;

        repeat = build(reader, &packets[frame_count], before, &record);
        for (unsigned i = 0; i < repeat && frame_count < FRAMES_MAX; i++) {
            struct row_packet *packet = &packets[frame_count];
            struct reader again = start;

            if (i > 0)
                (void)build(&again, packet, before, &record);
            if (!accept(packet, &frames[frame_count], &record))
                break;
            before = packet;
            load(&frames[frame_count++], offloads);
        }
    } while (repeat > 0 && frame_count < FRAMES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = {data, size};
    const uint8_t *offloads = take(&reader, 1);

    if (offloads == NULL)
        return 0;
    frame_count = super_count = 0;
    load_all(&reader, *offloads);
    for (unsigned i = 0; i < super_count; i++) {
        if (supers[i]->merged_count > 0)
            check_row(supers[i], *offloads);
        else
            check_alone(supers[i], *offloads);
    }
    for (unsigned i = 0; i < frame_count; i++)
        wire_unview(&frames[i]);
    return 0;
}

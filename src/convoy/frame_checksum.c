/*
 * A one's complement sum has two zeros, and verifying takes either. Whoever computes a checksum
 * writes 0x0000 (RFC 1071's complement of a sum that is never zero), but for UDP 0xffff (RFC 768).
 * Since a cut packet gets a computed one, the other zero is not as good, though it is not wrong.
 */
#include "convoy/frame_checksum.h"

#include "wire/bytes.h"

void frame_checksum_add(const struct frame *frame, size_t from, struct checksum *checksum)
{
    size_t skip = from > frame->head_len ? from - frame->head_len : 0;

    if (from < frame->head_len)
        checksum_add(checksum, frame->head + from, frame->head_len - from);
    for (unsigned i = 0; i < frame->piece_count; i++) {
        const struct iovec *piece = &frame->pieces[i];
        size_t skipped = CV_MIN(skip, piece->iov_len);

        checksum_add(checksum, (const uint8_t *)piece->iov_base + skipped,
                     piece->iov_len - skipped);
        skip -= skipped;
    }
}

static void add_pseudo_header(const struct frame *frame, struct checksum *checksum)
{
    const uint8_t *ip = frame->head + frame->facts.l3_offset;
    uint32_t l4_len = frame->len - frame->facts.l4_offset;

    if (frame->facts.flags & FRAME_IPV4)
        checksum_add_pseudo_header_v4(checksum, ip, frame->facts.ip_protocol, l4_len);
    else
        checksum_add_pseudo_header_v6(checksum, ip, frame->facts.ip_protocol, l4_len);
}

uint16_t frame_checksum_of_pseudo_header(const struct frame *frame)
{
    struct checksum checksum = {0};

    add_pseudo_header(frame, &checksum);
    return (uint16_t)~checksum_finish(&checksum);
}

static bool ip_is_good(const struct frame *frame)
{
    const uint8_t *ip = frame->head + frame->facts.l3_offset;
    struct checksum checksum = {0};

    checksum_add(&checksum, ip, IPV4_HEADER_BYTES);
    return checksum_finish(&checksum) == 0 && bytes_load_be16(ip + IPV4_CHECKSUM_OFFSET) != 0xffff;
}

static bool transport_is_good(const struct frame *frame)
{
    uint16_t offset = frame_checksum_offset(frame);
    uint16_t bad = frame->facts.flags & FRAME_TCP ? 0xffff : 0; /* the other zero; UDP: none */
    const struct virtio_net_hdr *vnet = &frame->vnet;
    struct checksum checksum = {0};
    uint16_t field;

    memcpy(&field, frame->head + frame->facts.l4_offset + offset, sizeof(field));
    if (vnet->flags & VNET_HDR_F_NEEDS_CSUM)
        return vnet->csum_start == frame->facts.l4_offset && vnet->csum_offset == offset &&
               field == frame_checksum_of_pseudo_header(frame);
    if (field == bad || (vnet->flags & VNET_HDR_F_DATA_VALID))
        return field != bad;
    add_pseudo_header(frame, &checksum);
    frame_checksum_add(frame, frame->facts.l4_offset, &checksum);
    return checksum_finish(&checksum) == 0;
}

bool frame_checksums_are_good(const struct frame *frame)
{
    return (!(frame->facts.flags & FRAME_IPV4) || ip_is_good(frame)) && transport_is_good(frame);
}

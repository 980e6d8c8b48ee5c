/* Frames of four kinds, and of captures: see frames.h. */
#include "frames.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>

#include "traffic_bytes.h"
#include "wire/checksum.h"
#include "wire/ip.h"

enum {
    MTU_BYTES = 1500,           /* of an IP packet that is no super-packet */
    TCP_OPTIONS_BYTES = 12,     /* two bytes of padding, and time stamps: RFC 7323, appendix A */
    TCP_TIME_STAMP = 0x10ba7e5, /* any; it stays, as it does within a millisecond */
    ADDRESSES_BYTES = 12,       /* both at the start of a frame */
    SLOT_ALIGN_BYTES = CV_CACHE_LINE_BYTES,
};

static bool kind_is_tcp(enum traffic_kind kind)
{
    return kind == TRAFFIC_TCP4 || kind == TRAFFIC_TCP6;
}

static bool kind_is_ipv6(enum traffic_kind kind)
{
    return kind == TRAFFIC_UDP6 || kind == TRAFFIC_TCP6;
}

/* Bytes from Ethernet's header to the payload. */
static unsigned headers_bytes(enum traffic_kind kind)
{
    return ETHER_HEADER_BYTES + (kind_is_ipv6(kind) ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES) +
           (kind_is_tcp(kind) ? TCP_HEADER_BYTES + TCP_OPTIONS_BYTES : UDP_HEADER_BYTES);
}

unsigned bench_frame_bytes_min(enum traffic_kind kind)
{
    unsigned tail = CV_MAX((unsigned)BENCH_STAMP_BYTES, (unsigned)TRAFFIC_RECORD_BYTES);

    return CV_MAX((unsigned)BENCH_SIZE_MIN, headers_bytes(kind) + tail);
}

void bench_guest_mac(unsigned guest, uint8_t ret_mac[6])
{
    const uint8_t mac[6] = {0x52, 0x54, 0x00, 0xbe, (uint8_t)(guest >> 8), (uint8_t)guest};

    memcpy(ret_mac, mac, sizeof(mac));
}

/* --- sizes --- */

/*
 * Sizes in the order of frames. IMIX is shuffled within each dozen: in a fixed order, flows that
 * take turns would have sizes of their own.
 */
struct size_draw {
    const struct bench_options *options;
    uint64_t random;
    uint16_t dozen[12];
    unsigned next; /* of the dozen */
};

static void draw_dozen(struct size_draw *draw)
{
    static const uint16_t sizes[12] = {60, 60, 60, 60, 60, 60, 60, 590, 590, 590, 590, 1514};

    memcpy(draw->dozen, sizes, sizeof(sizes));
    for (unsigned i = 11; i > 0; i--) { /* Fisher and Yates */
        unsigned other = (unsigned)(mix64(++draw->random) % (i + 1));
        uint16_t size = draw->dozen[i];

        draw->dozen[i] = draw->dozen[other];
        draw->dozen[other] = size;
    }
    draw->next = 0;
}

static uint32_t draw_size(struct size_draw *draw)
{
    uint32_t size, min = bench_frame_bytes_min(draw->options->kind);

    if (draw->options->sizes == BENCH_FIXED)
        return draw->options->size_bytes;
    if (draw->next == CV_COUNT_OF(draw->dozen))
        draw_dozen(draw);
    size = draw->dozen[draw->next++];
    return CV_MAX(size, min);
}

static struct size_draw size_draw_start(const struct bench_options *options, unsigned sender)
{
    return (struct size_draw){
        .options = options,
        .random = (uint64_t)sender << 32,
        .next = 12,
    };
}

/* --- memory --- */

static int no_memory(const char *what, struct error *error)
{
    error_set(error, -ENOMEM, "no memory for %s", what);
    return -ENOMEM;
}

static uint32_t slot_bytes(uint32_t len)
{
    return (len + SLOT_ALIGN_BYTES - 1) & ~(uint32_t)(SLOT_ALIGN_BYTES - 1);
}

/* Frames whose `len` is set get their places, zeroed. */
static int place_frames(struct bench_frames *frames, struct error *error)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < frames->count; i++) {
        frames->bytes_max = CV_MAX(frames->bytes_max, (unsigned)frames->frames[i].len);
        bytes += slot_bytes(frames->frames[i].len);
    }
    assert(bytes > 0);
    frames->memory = calloc(1, bytes);
    if (!frames->memory)
        return no_memory("frames", error);
    bytes = 0;
    for (unsigned i = 0; i < frames->count; i++) {
        frames->frames[i].bytes = frames->memory + bytes;
        bytes += slot_bytes(frames->frames[i].len);
    }
    return 0;
}

static int allocate_list(struct bench_frames *frames, unsigned count, struct error *error)
{
    *frames = (struct bench_frames){.count = count};
    frames->frames = calloc(count, sizeof(*frames->frames));
    return frames->frames ? 0 : no_memory("a list of frames", error);
}

void bench_frames_uninit(struct bench_frames *frames)
{
    free(frames->frames);
    free(frames->memory);
    *frames = (struct bench_frames){.count = 0};
}

/* --- building --- */

/* One flow as it is built: the headers that its frames share, and where it stands. */
struct flow_state {
    uint8_t headers[ETHER_HEADER_BYTES + IPV6_HEADER_BYTES + TCP_HEADER_BYTES + TCP_OPTIONS_BYTES];
    uint16_t ip_id;
    uint32_t sequence;
};

static void flow_init(struct flow_state *state, enum traffic_kind kind, unsigned flow,
                      const uint8_t dst[6], const uint8_t src[6])
{
    struct traffic_source source;
    uint8_t *tcp;

    traffic_source_init(&source, kind, flow, dst, src);
    *state = (struct flow_state){.sequence = (uint32_t)mix64(flow + 1)};
    memcpy(state->headers, source.headers, source.headers_len);
    if (!kind_is_tcp(kind))
        return;
    tcp = state->headers + source.l4_offset;
    tcp[TCP_DATA_OFFSET] = (TCP_HEADER_BYTES + TCP_OPTIONS_BYTES) / 4 << 4;
    tcp[TCP_HEADER_BYTES] = tcp[TCP_HEADER_BYTES + 1] = 1; /* no operation */
    tcp[TCP_HEADER_BYTES + 2] = 8;                         /* time stamps ... */
    tcp[TCP_HEADER_BYTES + 3] = 10;                        /* ... of 10 bytes */
    put_be32(tcp + TCP_HEADER_BYTES + 4, TCP_TIME_STAMP);
    put_be32(tcp + TCP_HEADER_BYTES + 8, TCP_TIME_STAMP);
}

static void put_ip(struct flow_state *state, enum traffic_kind kind, struct bench_frame *frame)
{
    uint8_t *ip = frame->bytes + ETHER_HEADER_BYTES;
    unsigned ip_bytes = frame->len - ETHER_HEADER_BYTES;
    struct checksum sum = {0};
    uint16_t folded;

    if (kind_is_ipv6(kind)) {
        put_be16(ip + IPV6_PAYLOAD_LENGTH_OFFSET, (uint16_t)(ip_bytes - IPV6_HEADER_BYTES));
        return;
    }
    put_be16(ip + IPV4_TOTAL_LENGTH_OFFSET, (uint16_t)ip_bytes);
    put_be16(ip + IPV4_ID_OFFSET, state->ip_id);
    state->ip_id += (uint16_t)frame->packets;
    checksum_add(&sum, ip, IPV4_HEADER_BYTES);
    folded = checksum_finish(&sum);
    memcpy(ip + IPV4_CHECKSUM_OFFSET, &folded, sizeof(folded));
}

/* The sum of the transport, or what the switch needs to complete it. */
static void put_sum(enum traffic_kind kind, bool offload, struct bench_frame *frame)
{
    unsigned ip_bytes = kind_is_ipv6(kind) ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES;
    unsigned offset = kind_is_tcp(kind) ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET;
    uint8_t *ip = frame->bytes + ETHER_HEADER_BYTES, *l4 = ip + ip_bytes;
    uint32_t l4_len = frame->len - ETHER_HEADER_BYTES - ip_bytes;
    uint8_t protocol = kind_is_tcp(kind) ? PROTOCOL_TCP : PROTOCOL_UDP;
    struct checksum sum = {0};
    uint16_t folded;

    if (kind == TRAFFIC_UDP4 && !offload)
        return; /* 0: there is none (RFC 768) */
    if (kind_is_ipv6(kind))
        checksum_add_pseudo_header_v6(&sum, ip, protocol, l4_len);
    else
        checksum_add_pseudo_header_v4(&sum, ip, protocol, l4_len);
    if (offload) {
        folded = (uint16_t)~checksum_finish(&sum);
        frame->hdr.flags = VNET_HDR_F_NEEDS_CSUM;
        frame->hdr.csum_start = (uint16_t)(ETHER_HEADER_BYTES + ip_bytes);
        frame->hdr.csum_offset = (uint16_t)offset;
    } else {
        checksum_add(&sum, l4, l4_len);
        folded = checksum_finish(&sum);
        folded = folded ? folded : 0xffff;
    }
    memcpy(l4 + offset, &folded, sizeof(folded));
}

static unsigned gso_type_of(enum traffic_kind kind)
{
    if (!kind_is_tcp(kind))
        return VNET_HDR_GSO_UDP_L4;
    return kind_is_ipv6(kind) ? VNET_HDR_GSO_TCPV6 : VNET_HDR_GSO_TCPV4;
}

/* Frames beyond BENCH_MTU_FRAME are super-packets of segments that fit 1500 bytes of IP. */
static void set_segments(enum traffic_kind kind, struct bench_frame *frame)
{
    unsigned headers = headers_bytes(kind);
    unsigned segment = MTU_BYTES + ETHER_HEADER_BYTES - headers;

    frame->packets = 1;
    if (frame->len <= BENCH_MTU_FRAME)
        return;
    frame->packets = (frame->len - headers + segment - 1) / segment;
    frame->hdr.gso_type = (uint8_t)gso_type_of(kind);
    frame->hdr.gso_size = (uint16_t)segment;
    frame->hdr.hdr_len = (uint16_t)headers;
}

/* Writes the flow's next frame, whose length and place are set. */
static void build_frame(struct flow_state *state, const struct bench_options *options,
                        struct bench_frame *frame)
{
    enum traffic_kind kind = options->kind;
    unsigned headers = headers_bytes(kind), payload = frame->len - headers;
    unsigned l4 = ETHER_HEADER_BYTES + (kind_is_ipv6(kind) ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES);

    set_segments(kind, frame);
    memcpy(frame->bytes, state->headers, headers);
    put_ip(state, kind, frame);
    if (kind_is_tcp(kind)) {
        put_be32(frame->bytes + l4 + TCP_SEQUENCE_OFFSET, state->sequence);
        state->sequence += payload;
    } else {
        put_be16(frame->bytes + l4 + UDP_LENGTH_OFFSET, (uint16_t)(frame->len - l4));
    }
    numbered_fill(frame->flow, state->sequence, frame->bytes + headers, payload);
    memset(frame->bytes + frame->len - BENCH_STAMP_BYTES, 0, BENCH_STAMP_BYTES);
    put_sum(kind, options->offloads, frame);
    frame->is_stamped = true;
}

static unsigned power_of_two_from(unsigned min)
{
    unsigned power = 1;

    while (power < min)
        power *= 2;
    return power;
}

static int init_built(struct bench_frames *frames, const struct bench_options *options,
                      unsigned sender, const uint8_t src[6], const uint8_t (*dst)[6],
                      unsigned dst_count, unsigned count_min, struct error *error)
{
    unsigned flow_count = CV_MAX(CV_MAX(options->flows, dst_count), 1u);
    struct size_draw draw = size_draw_start(options, sender);
    struct flow_state *flows = calloc(flow_count, sizeof(*flows));
    int rc = allocate_list(frames, power_of_two_from(CV_MAX(count_min, flow_count)), error);

    if (rc == 0 && !flows)
        rc = no_memory("flows", error);
    if (rc == 0) {
        for (unsigned i = 0; i < frames->count; i++)
            frames->frames[i].len = draw_size(&draw);
        rc = place_frames(frames, error);
    }
    for (unsigned flow = 0; rc == 0 && flow < flow_count; flow++)
        flow_init(&flows[flow], options->kind, flow, dst[flow % dst_count], src);
    for (unsigned i = 0; rc == 0 && i < frames->count; i++) {
        frames->frames[i].flow = (uint16_t)(i % flow_count);
        build_frame(&flows[i % flow_count], options, &frames->frames[i]);
    }
    free(flows);
    return rc;
}

/* --- captures --- */

static int refuse_capture_frame(const char *path, unsigned number, const struct pcap_pkthdr *packet,
                                struct error *error)
{
    if (packet->len > BENCH_MTU_FRAME)
        return error_set(
            error, -EINVAL,
            "%s: frame %u has %u bytes; frames may have up to %u (a host that captures "
            "with its offloads on sees super-packets: \"ethtool -K DEVICE gro off gso "
            "off tso off\")",
            path, number, packet->len, BENCH_MTU_FRAME);
    return error_set(error, -EINVAL, "%s: frame %u has %u bytes, too few for an Ethernet header",
                     path, number, packet->caplen);
}

/*
 * Copies the frames into a list with memory for each; a frame that was captured in part is filled
 * up with zeros to the length that it had.
 */
static int read_frames(struct bench_frames *frames, pcap_t *capture, const char *path,
                       struct error *error)
{
    const size_t room = (size_t)slot_bytes(BENCH_MTU_FRAME);
    struct pcap_pkthdr *packet;
    const u_char *bytes;
    int read = 0;

    frames->count = 0;
    while (frames->count < BENCH_CAPTURE_FRAMES_MAX &&
           (read = pcap_next_ex(capture, &packet, &bytes)) == 1) {
        struct bench_frame *frame = &frames->frames[frames->count];

        if (packet->len > BENCH_MTU_FRAME || packet->caplen > packet->len ||
            packet->caplen < ETHER_HEADER_BYTES)
            return refuse_capture_frame(path, frames->count + 1, packet, error);
        frame->bytes = frames->memory + frames->count * room;
        frame->len = packet->len;
        frame->packets = 1;
        memcpy(frame->bytes, bytes, packet->caplen);
        frames->bytes_max = CV_MAX(frames->bytes_max, (unsigned)frame->len);
        frames->count++;
    }
    if (read == PCAP_ERROR)
        return error_set(error, -EINVAL, "%s cannot be read to its end: %s", path,
                         pcap_geterr(capture));
    if (frames->count == 0)
        return error_set(error, -EINVAL, "%s has no frames", path);
    return 0;
}

static int init_capture(struct bench_frames *frames, const char *path, const uint8_t src[6],
                        const uint8_t (*dst)[6], unsigned dst_count, struct error *error)
{
    char why[PCAP_ERRBUF_SIZE] = "";
    pcap_t *capture;
    int rc = allocate_list(frames, BENCH_CAPTURE_FRAMES_MAX, error);

    if (rc < 0)
        return rc;
    capture = pcap_open_offline(path, why);
    if (!capture)
        return error_set(error, -EINVAL, "%s cannot be read as a capture: %s", path, why);
    if (pcap_datalink(capture) != DLT_EN10MB)
        rc = error_set(error, -EINVAL, "%s is a capture of %s, not of Ethernet", path,
                       pcap_datalink_val_to_description_or_dlt(pcap_datalink(capture)));
    /* Zeroed memory that is never written takes no room. */
    frames->memory = calloc(BENCH_CAPTURE_FRAMES_MAX, slot_bytes(BENCH_MTU_FRAME));
    if (rc == 0 && !frames->memory)
        rc = no_memory("a capture", error);
    if (rc == 0)
        rc = read_frames(frames, capture, path, error);
    pcap_close(capture);
    for (unsigned i = 0; rc == 0 && i < frames->count; i++) {
        memcpy(frames->frames[i].bytes, dst[i % dst_count], 6);
        memcpy(frames->frames[i].bytes + 6, src, ADDRESSES_BYTES - 6);
    }
    return rc;
}

int bench_frames_init(struct bench_frames *frames, const struct bench_options *options,
                      unsigned sender, const uint8_t src[6], const uint8_t (*dst)[6],
                      unsigned dst_count, unsigned count_min, struct error *error)
{
    unsigned min = bench_frame_bytes_min(options->kind);
    int rc;

    assert(dst_count > 0 && options->kind != TRAFFIC_ETHER);
    *frames = (struct bench_frames){.count = 0};
    if (options->sizes == BENCH_FIXED &&
        (options->size_bytes < min || options->size_bytes > BENCH_SIZE_MAX))
        return error_set(error, -EINVAL, "a frame of %u bytes is none of %u to %u",
                         options->size_bytes, min, BENCH_SIZE_MAX);
    if (options->sizes == BENCH_CAPTURE)
        rc = init_capture(frames, options->capture_path, src, dst, dst_count, error);
    else
        rc = init_built(frames, options, sender, src, dst, dst_count, count_min, error);
    if (rc < 0)
        bench_frames_uninit(frames);
    return rc;
}

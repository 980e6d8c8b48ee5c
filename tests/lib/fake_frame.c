#include "fake_frame.h"

#include "wire/bytes.h"

enum {
    ETHERTYPE_TEST = 0x88b5, /* IEEE 802: local experiments */
    MARK_OFFSET = 16,        /* behind the Ethernet header; in segments it leads the payload */
    MARK_BYTES = 12,
    DATAGRAM_HEADER_BYTES = ETHER_HEADER_BYTES + IPV4_HEADER_BYTES + UDP_HEADER_BYTES,
    FLOW_PORT = 4000, /* and those above: one for each queue */
    PORT_DISCARD = 9,
    PORT_DHCP_SERVER = 67,
    WINDOW = 1000,
    ACKNOWLEDGEMENT = 77,
    FAR = 0x10000000, /* from the flow: the sequence number of a misplaced segment */
};

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

uint16_t fake_frame_sum(const uint8_t *bytes, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i += 2)
        sum += bytes_load_be16(bytes + i);
    return fold(sum);
}

uint16_t fake_frame_pseudo_sum(const uint8_t *ip_header, size_t l4_bytes)
{
    return fold((uint64_t)fake_frame_sum(ip_header + IPV4_ADDRESSES_OFFSET, 8) + PROTOCOL_TCP +
                l4_bytes);
}

uint32_t fake_frame_sequence(const struct frame *frame)
{
    return bytes_load_be32(frame->head + ETHER_HEADER_BYTES + IPV4_HEADER_BYTES +
                           TCP_SEQUENCE_OFFSET);
}

static void ethernet_write(uint8_t *head, mac_addr dst, mac_addr src, unsigned type)
{
    for (unsigned i = 0; i < 6; i++) {
        head[i] = (uint8_t)(dst >> (40 - 8 * i));
        head[6 + i] = (uint8_t)(src >> (40 - 8 * i));
    }
    bytes_store_be16(head + 12, (uint16_t)type);
}

static void mark_write(uint8_t *to, struct fake_mark mark)
{
    bytes_store_be32(to, mark.queue_id);
    bytes_store_be32(to + 4, (uint32_t)(mark.number >> 32));
    bytes_store_be32(to + 8, (uint32_t)mark.number);
}

struct fake_mark fake_frame_mark(const struct frame *frame)
{
    const uint8_t *mark = frame->head + MARK_OFFSET;

    if (bytes_load_be16(frame->head + 12) == ETHERTYPE_IPV4)
        mark = frame->head + (frame->head[ETHER_HEADER_BYTES + 9] == PROTOCOL_UDP
                                  ? DATAGRAM_HEADER_BYTES
                                  : FAKE_SEGMENT_HEADER_BYTES);
    return (struct fake_mark){bytes_load_be32(mark), bytes_load_be64(mark + 4)};
}

static struct fake_flow *flow_of(struct fake_queue *queue, mac_addr dst)
{
    unsigned i = 0;

    while (i < queue->flow_count && queue->flows[i].dst != dst)
        i++;
    assert(i < FAKE_FLOWS_MAX);
    if (i == queue->flow_count)
        queue->flows[queue->flow_count++] = (struct fake_flow){.dst = dst, .sequence = 1000};
    return &queue->flows[i];
}

static void ip_write(uint8_t *ip, uint8_t protocol, unsigned queue_id, mac_addr dst, uint32_t bytes,
                     uint16_t id)
{
    ip[0] = 0x45;
    bytes_store_be16(ip + IPV4_TOTAL_LENGTH_OFFSET, (uint16_t)bytes);
    bytes_store_be16(ip + IPV4_ID_OFFSET, id);
    bytes_store_be16(ip + IPV4_FRAGMENT_OFFSET, 0x4000); /* don't fragment */
    ip[IPV4_TTL_OFFSET] = 64;
    ip[9] = protocol;
    bytes_store_be32(ip + IPV4_ADDRESSES_OFFSET, 0x0a000000 + queue_id);
    bytes_store_be32(ip + IPV4_ADDRESSES_OFFSET + 4, 0x0a010000 + (uint32_t)(dst & 0xffff));
    bytes_store_be16(ip + IPV4_CHECKSUM_OFFSET, (uint16_t)~fake_frame_sum(ip, IPV4_HEADER_BYTES));
}

/* The sum is left to be completed, over a right one of the pseudo-header: as guests send. */
static void tcp_write(uint8_t *tcp, const struct fake_arrival *arrival, unsigned queue_id,
                      uint32_t sequence)
{
    const uint8_t *ip = tcp - IPV4_HEADER_BYTES;
    size_t l4_bytes = arrival->len - ETHER_HEADER_BYTES - IPV4_HEADER_BYTES;

    bytes_store_be16(tcp, (uint16_t)(FLOW_PORT + queue_id));
    bytes_store_be16(tcp + 2, PORT_DISCARD);
    bytes_store_be32(tcp + TCP_SEQUENCE_OFFSET, sequence);
    bytes_store_be32(tcp + TCP_ACKNOWLEDGEMENT_OFFSET, ACKNOWLEDGEMENT);
    tcp[TCP_DATA_OFFSET] = TCP_HEADER_BYTES / 4 << 4;
    tcp[TCP_FLAGS_OFFSET] = TCP_ACK | (arrival->is_express ? TCP_PSH : 0);
    bytes_store_be16(tcp + TCP_WINDOW_OFFSET, WINDOW);
    bytes_store_be16(tcp + TCP_CHECKSUM_OFFSET, fake_frame_pseudo_sum(ip, l4_bytes));
}

/* The next segment of its flow, which goes on behind it, or one from elsewhere. */
static unsigned segment_write(struct frame *frame, struct fake_queue *queue,
                              const struct fake_arrival *arrival, struct fake_mark mark)
{
    struct fake_flow *flow = flow_of(queue, arrival->dst);
    struct fake_flow next = *flow;
    uint8_t *ip = frame->head + ETHER_HEADER_BYTES;

    if (arrival->is_misplaced) {
        next.sequence += FAR;
        next.ip_id += 99;
    } else {
        flow->sequence += arrival->len - FAKE_SEGMENT_HEADER_BYTES;
        flow->ip_id++;
    }
    ethernet_write(frame->head, arrival->dst, fake_port_mac(queue->base.port->id), ETHERTYPE_IPV4);
    ip_write(ip, PROTOCOL_TCP, queue->id, arrival->dst, arrival->len - ETHER_HEADER_BYTES,
             next.ip_id);
    tcp_write(ip + IPV4_HEADER_BYTES, arrival, queue->id, next.sequence);
    mark_write(frame->head + FAKE_SEGMENT_HEADER_BYTES, mark);
    frame->vnet = (struct virtio_net_hdr){.flags = VNET_HDR_F_NEEDS_CSUM,
                                          .csum_start = ETHER_HEADER_BYTES + IPV4_HEADER_BYTES,
                                          .csum_offset = TCP_CHECKSUM_OFFSET};
    return 1 + (unsigned)(flow - queue->flows);
}

static void datagram_write(struct frame *frame, const struct fake_queue *queue,
                           const struct fake_arrival *arrival, struct fake_mark mark)
{
    uint8_t *ip = frame->head + ETHER_HEADER_BYTES, *udp = ip + IPV4_HEADER_BYTES;
    uint32_t bytes = arrival->len - ETHER_HEADER_BYTES;
    unsigned port_id = queue->base.port->id;

    ethernet_write(frame->head, arrival->dst, fake_port_mac(port_id), ETHERTYPE_IPV4);
    ip_write(ip, PROTOCOL_UDP, port_id, arrival->dst, bytes, (uint16_t)mark.number);
    bytes_store_be16(udp, (uint16_t)(FLOW_PORT + port_id));
    bytes_store_be16(udp + 2, arrival->is_express ? PORT_DHCP_SERVER : PORT_DISCARD);
    bytes_store_be16(udp + 4, (uint16_t)(bytes - IPV4_HEADER_BYTES));
    mark_write(frame->head + DATAGRAM_HEADER_BYTES, mark);
    if (arrival->is_refused)
        frame->vnet.gso_type = VNET_HDR_GSO_TCPV4;
}

unsigned fake_frame_write(struct frame *frame, struct fake_queue *queue,
                          const struct fake_arrival *arrival, uint64_t number)
{
    static uint8_t payload[65536];
    struct fake_mark mark = {queue->id, number};
    uint16_t head_len = arrival->is_segment ? FAKE_SEGMENT_BYTES_MIN : FAKE_FRAME_BYTES_MIN;
    unsigned flow = 0;

    static_assert(FAKE_SEGMENT_HEADER_BYTES + MARK_BYTES <= FAKE_SEGMENT_BYTES_MIN &&
                      MARK_OFFSET + MARK_BYTES <= FAKE_FRAME_BYTES_MIN &&
                      DATAGRAM_HEADER_BYTES + MARK_BYTES <= FAKE_FRAME_BYTES_MIN,
                  "the mark lies in the head");
    memset(frame->head, 0, head_len);
    frame->vnet = (struct virtio_net_hdr){0};
    frame->len = arrival->len;
    frame->head_len = head_len;
    frame->pieces[0] = (struct iovec){payload, arrival->len - head_len};
    frame->piece_count = arrival->len > head_len;
    if (arrival->is_segment) {
        flow = segment_write(frame, queue, arrival, mark);
    } else if (arrival->is_datagram) {
        datagram_write(frame, queue, arrival, mark);
    } else {
        ethernet_write(frame->head, arrival->dst, fake_port_mac(queue->base.port->id),
                       arrival->is_express ? ETHERTYPE_ARP : ETHERTYPE_TEST);
        mark_write(frame->head + MARK_OFFSET, mark);
    }
    return flow;
}

/* Names of virtio feature bits, for people. */
#include <stdio.h>

#include "guest/vhost_user.h"

/* Also those that are not offered: a front end that acknowledges one of them is told its name. */
static const char *const feature_names[64] = {
    [VIRTIO_NET_F_CSUM] = "CSUM",
    [VIRTIO_NET_F_GUEST_CSUM] = "GUEST_CSUM",
    [2] = "CTRL_GUEST_OFFLOADS",
    [VIRTIO_NET_F_MTU] = "MTU",
    [VIRTIO_NET_F_MAC] = "MAC",
    [6] = "GSO",
    [VIRTIO_NET_F_GUEST_TSO4] = "GUEST_TSO4",
    [VIRTIO_NET_F_GUEST_TSO6] = "GUEST_TSO6",
    [VIRTIO_NET_F_GUEST_ECN] = "GUEST_ECN",
    [10] = "GUEST_UFO",
    [VIRTIO_NET_F_HOST_TSO4] = "HOST_TSO4",
    [VIRTIO_NET_F_HOST_TSO6] = "HOST_TSO6",
    [VIRTIO_NET_F_HOST_ECN] = "HOST_ECN",
    [14] = "HOST_UFO",
    [VIRTIO_NET_F_MRG_RXBUF] = "MRG_RXBUF",
    [VIRTIO_NET_F_STATUS] = "STATUS",
    [VIRTIO_NET_F_CTRL_VQ] = "CTRL_VQ",
    [18] = "CTRL_RX",
    [19] = "CTRL_VLAN",
    [20] = "CTRL_RX_EXTRA",
    [21] = "GUEST_ANNOUNCE",
    [VIRTIO_NET_F_MQ] = "MQ",
    [23] = "CTRL_MAC_ADDR",
    [24] = "NOTIFY_ON_EMPTY",
    [26] = "LOG_ALL",
    [VIRTIO_F_ANY_LAYOUT] = "ANY_LAYOUT",
    [VIRTIO_RING_F_INDIRECT_DESC] = "INDIRECT_DESC",
    [VIRTIO_RING_F_EVENT_IDX] = "EVENT_IDX",
    [VHOST_USER_F_PROTOCOL_FEATURES] = "PROTOCOL_FEATURES",
    [VIRTIO_F_VERSION_1] = "VERSION_1",
    [33] = "ACCESS_PLATFORM",
    [34] = "RING_PACKED",
    [VIRTIO_F_IN_ORDER] = "IN_ORDER",
    [36] = "ORDER_PLATFORM",
    [37] = "SR_IOV",
    [38] = "NOTIFICATION_DATA",
    [39] = "NOTIF_CONFIG_DATA",
    [40] = "RING_RESET",
    [52] = "HASH_TUNNEL",
    [53] = "VQ_NOTF_COAL",
    [VIRTIO_NET_F_GUEST_USO4] = "GUEST_USO4",
    [VIRTIO_NET_F_GUEST_USO6] = "GUEST_USO6",
    [VIRTIO_NET_F_HOST_USO] = "HOST_USO",
    [57] = "HASH_REPORT",
    [59] = "GUEST_HDRLEN",
    [60] = "RSS",
    [61] = "RSC_EXT",
    [62] = "STANDBY",
    [63] = "SPEED_DUPLEX",
};

const char *vhost_user_features_format(uint64_t features, char *buffer, size_t buffer_bytes)
{
    size_t n = 0;

    assert(buffer_bytes > 0);
    buffer[0] = '\0';
    for (unsigned bit = 0; bit < 64 && n < buffer_bytes; bit++) {
        const char *comma = n ? ", " : "";

        if (!(features & VIRTIO_FEATURE(bit)))
            continue;
        if (feature_names[bit])
            n += (size_t)snprintf(buffer + n, buffer_bytes - n, "%s%s", comma, feature_names[bit]);
        else
            n += (size_t)snprintf(buffer + n, buffer_bytes - n, "%sbit %u", comma, bit);
    }
    return buffer;
}

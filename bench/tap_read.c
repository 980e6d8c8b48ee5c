/*
 * What it costs to read 1500-byte packets from a TAP interface and do nothing with them: the floor
 * under any switch whose uplink is one. Prints ns per packet, for readv as the daemon does it and
 * for one read into one buffer. Makes the interface NAME, which must not exist; to be run in a
 * network namespace of its own.
 *
 *   tap_read NAME
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/virtio_net_hdr.h"

enum {
    ROUNDS = 500,
    ROUND_PACKETS = 400, /* fewer than the interface's queue holds */
    PAYLOAD_BYTES = 1472,
    HEAD_BYTES = 192,
    SMALL_BYTES = 2048,
};

static uint8_t buffer[66000];

static int tap_open(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int hdr_bytes = VNET_HDR_BYTES, fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 ||
        ioctl(fd, TUNSETVNETHDRSZ, &hdr_bytes) < 0 || ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM) < 0)
        return -1;
    return fd;
}

/* Up, with an address, and a neighbour that needs no asking; broadcast would do that too. */
static int tap_configure(const char *name)
{
    struct ifreq request = {0};
    struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;
    int on = 1, s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in everybody = {.sin_family = AF_INET, .sin_port = htons(9)};

    strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = inet_addr("10.99.0.1");
    if (s < 0 || ioctl(s, SIOCSIFADDR, &request) < 0)
        return -1;
    address->sin_addr.s_addr = inet_addr("255.255.255.0");
    if (ioctl(s, SIOCSIFNETMASK, &request) < 0)
        return -1;
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(s, SIOCSIFFLAGS, &request) < 0)
        return -1;
    everybody.sin_addr.s_addr = inet_addr("10.99.0.255");
    if (setsockopt(s, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) < 0 ||
        connect(s, (struct sockaddr *)&everybody, sizeof(everybody)) < 0)
        return -1;
    return s;
}

static ssize_t read_pieces(int tap)
{
    struct iovec parts[] = {{buffer, VNET_HDR_BYTES + HEAD_BYTES},
                            {buffer + 256, SMALL_BYTES},
                            {buffer + 256 + SMALL_BYTES, sizeof(buffer) - 256 - SMALL_BYTES}};

    return readv(tap, parts, 3);
}

static ssize_t read_whole(int tap)
{
    return read(tap, buffer, sizeof(buffer));
}

/* Mean ns of a read that finds a packet, all of which lie there already. */
static double measure(int tap, int s, ssize_t (*read_one)(int))
{
    static uint8_t payload[PAYLOAD_BYTES];
    uint64_t spent_ns = 0, packets = 0;

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start_ns;

        for (int i = 0; i < ROUND_PACKETS; i++)
            (void)!write(s, payload, sizeof(payload));
        start_ns = clock_now_ns();
        while (read_one(tap) > 0)
            packets++;
        spent_ns += clock_now_ns() - start_ns;
    }
    return packets ? (double)spent_ns / (double)packets : 0;
}

int main(int argc, char **argv)
{
    int tap = argc == 2 ? tap_open(argv[1]) : -1;
    int s = tap >= 0 ? tap_configure(argv[1]) : -1;

    if (s < 0) {
        perror(argc == 2 ? argv[1] : "usage: tap_read NAME");
        return 1;
    }
    (void)measure(tap, s, read_pieces); /* caches, and what the kernel sets up */
    printf("%.0f %.0f\n", measure(tap, s, read_pieces), measure(tap, s, read_whole));
    return 0;
}

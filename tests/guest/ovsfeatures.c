/*
 * A library to preload into programs with DPDK's vhost back end (dpdk-testpmd, Open vSwitch) when
 * their peer is User Mode Linux: it takes back the features with which that driver does not work.
 *
 * Its driver waits for ever for an answer on a control queue that nobody serves, and it starts a
 * packed ring at a wrong position. Both are offered by default; rte_vhost_driver_start() is the
 * last moment to disable them before a front end may connect.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Virtio specification, 5.1.3 and 6: the control queue, all that needs it, and the packed ring. */
static const uint64_t unwanted_features = UINT64_C(1) << 17 | /* VIRTIO_NET_F_CTRL_VQ */
                                          UINT64_C(1) << 18 | /* VIRTIO_NET_F_CTRL_RX */
                                          UINT64_C(1) << 19 | /* VIRTIO_NET_F_CTRL_VLAN */
                                          UINT64_C(1) << 20 | /* VIRTIO_NET_F_CTRL_RX_EXTRA */
                                          UINT64_C(1) << 21 | /* VIRTIO_NET_F_GUEST_ANNOUNCE */
                                          UINT64_C(1) << 22 | /* VIRTIO_NET_F_MQ */
                                          UINT64_C(1) << 23 | /* VIRTIO_NET_F_CTRL_MAC_ADDR */
                                          UINT64_C(1) << 34;  /* VIRTIO_F_RING_PACKED */

int rte_vhost_driver_start(const char *path);

/* DPDK loads its vhost library as a plug-in, where RTLD_NEXT does not look: find it by name. */
static int find_vhost_library(struct dl_phdr_info *info, size_t size, void *ret_path)
{
    (void)size;
    if (strstr(info->dlpi_name, "/librte_vhost.so") == NULL)
        return 0;
    *(const char **)ret_path = info->dlpi_name;
    return 1;
}

static void *vhost_function(const char *name)
{
    const char *path = NULL;
    void *library, *function;

    dl_iterate_phdr(find_vhost_library, &path);
    library = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    function = library == NULL ? NULL : dlsym(library, name);
    if (function == NULL) {
        fprintf(stderr, "ovsfeatures: DPDK's vhost library with %s() is not loaded\n", name);
        abort();
    }
    return function;
}

__attribute__((visibility("default"))) int rte_vhost_driver_start(const char *path)
{
    int (*disable)(const char *, uint64_t);
    int (*start)(const char *);

    *(void **)&disable = vhost_function("rte_vhost_driver_disable_features");
    *(void **)&start = vhost_function("rte_vhost_driver_start");
    if (disable(path, unwanted_features) != 0)
        fprintf(stderr, "ovsfeatures: cannot disable features of %s\n", path);
    return start(path);
}

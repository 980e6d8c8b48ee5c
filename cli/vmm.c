#include "vmm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/nearest.h"

#define MEMORY_DEFAULT "1G"

enum { MTU_ETHERNET = 1500 };

/* What all of them need to know. */
struct plug {
    const char *name;
    const char *socket;
    const char *mac;
    unsigned queue_pairs;
    unsigned mtu;
    bool vmm_listens; /* the port's mode is client: convoyd connects */
    const char *memory;
};

static void remark(const char *text)
{
    fprintf(stderr, "# %s\n", text);
}

/* --- words of a command line --- */

/* One word for a shell; quoted only if it must be. `next`: more words follow on the next line. */
static void print_word(const char *word, bool next)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "-_./:=,+@%";

    if (strspn(word, safe) == strlen(word)) {
        fputs(word, stdout);
    } else {
        putchar('\'');
        for (; *word; word++)
            *word == '\'' ? (void)fputs("'\\''", stdout) : (void)putchar(*word);
        putchar('\'');
    }
    /* On a terminal it will be pasted into a shell, elsewhere substituted into a command line. */
    if (next)
        fputs(isatty(STDOUT_FILENO) ? " \\\n" : "\n", stdout);
}

static void print_option(const char *option, const char *value, bool next)
{
    printf("%s ", option);
    print_word(value, next);
}

/* A path within a QEMU option, where a comma ends the value and two stand for one. */
static const char *double_commas(const char *path, char *buffer, size_t buffer_bytes)
{
    size_t n = 0;

    for (; *path && n + 2 < buffer_bytes; path++) {
        if (*path == ',')
            buffer[n++] = ',';
        buffer[n++] = *path;
    }
    buffer[n] = '\0';
    return buffer;
}

/* --- the VMMs --- */

static enum cli_exit print_qemu(const struct plug *plug)
{
    char word[512], path[256], more[96] = "";

    (void)snprintf(word, sizeof(word), "memory-backend-memfd,id=mem,size=%s,share=on",
                   plug->memory);
    print_option("-m", plug->memory, true);
    print_option("-object", word, true);
    print_option("-machine", "memory-backend=mem", true);
    (void)snprintf(word, sizeof(word), "socket,id=char-%s,path=%s,%s", plug->name,
                   double_commas(plug->socket, path, sizeof(path)),
                   plug->vmm_listens ? "server=on" : "reconnect=1");
    print_option("-chardev", word, true);
    if (plug->queue_pairs > 1)
        (void)snprintf(more, sizeof(more), ",queues=%u", plug->queue_pairs);
    (void)snprintf(word, sizeof(word), "vhost-user,id=net-%s,chardev=char-%s%s", plug->name,
                   plug->name, more);
    print_option("-netdev", word, true);
    /* A vector for each queue, one for the control queue, one for changes of configuration. */
    if (plug->queue_pairs > 1)
        (void)snprintf(more, sizeof(more), ",mq=on,vectors=%u", 2 * plug->queue_pairs + 2);
    if (plug->mtu != MTU_ETHERNET)
        (void)snprintf(more + strlen(more), sizeof(more) - strlen(more), ",host_mtu=%u", plug->mtu);
    (void)snprintf(word, sizeof(word), "virtio-net-pci,netdev=net-%s,mac=%s%s", plug->name,
                   plug->mac, more);
    print_option("-device", word, false);
    putchar('\n');
    remark("QEMU: size= and -m must agree; --memory SIZE sets both. A guest with several ports "
           "needs the");
    remark("first three options once.");
    return CLI_EXIT_OK;
}

static void print_xml_escaped(const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", stdout);
            break;
        case '<':
            fputs("&lt;", stdout);
            break;
        case '\'':
            fputs("&apos;", stdout);
            break;
        default:
            putchar(*text);
        }
    }
}

static enum cli_exit print_libvirt(const struct plug *plug)
{
    puts("<!-- directly under <domain> -->\n"
         "<memoryBacking>\n"
         "  <source type='memfd'/>\n"
         "  <access mode='shared'/>\n"
         "</memoryBacking>\n"
         "\n"
         "<!-- under <devices> -->\n"
         "<interface type='vhostuser'>");
    printf("  <mac address='%s'/>\n  <source type='unix' path='", plug->mac);
    print_xml_escaped(plug->socket);
    if (plug->vmm_listens)
        puts("' mode='server'/>");
    else
        puts("' mode='client'>\n    <reconnect enabled='yes' timeout='1'/>\n  </source>");
    puts("  <model type='virtio'/>");
    if (plug->queue_pairs > 1)
        printf("  <driver queues='%u'/>\n", plug->queue_pairs);
    if (plug->mtu != MTU_ETHERNET)
        printf("  <mtu size='%u'/>\n", plug->mtu);
    puts("</interface>");
    remark("libvirt: the user that runs QEMU (often libvirt-qemu) must be allowed to use the "
           "socket.");
    return CLI_EXIT_OK;
}

static enum cli_exit print_uml(const struct plug *plug)
{
    char word[256];

    if (plug->vmm_listens)
        return cli_fail(CLI_EXIT_FAILURE,
                        "User Mode Linux only connects, it cannot listen: port %s needs "
                        "mode=server",
                        plug->name);
    if (strchr(plug->socket, ':'))
        return cli_fail(CLI_EXIT_FAILURE,
                        "User Mode Linux takes no socket with a colon in its path; give port %s "
                        "another socket",
                        plug->name);
    (void)snprintf(word, sizeof(word), "virtio_uml.device=%s:1", plug->socket);
    print_word(word, false);
    putchar('\n');
    if (plug->queue_pairs > 1)
        remark("User Mode Linux uses one of the port's queue pairs.");
    if (plug->mtu != MTU_ETHERNET)
        fprintf(stderr, "# In the guest: ip link set eth0 mtu %u, unless it has that already.\n",
                plug->mtu);
    return CLI_EXIT_OK;
}

static enum cli_exit print_cloud_hypervisor(const struct plug *plug)
{
    char word[512], more[64] = "";

    if (strchr(plug->socket, ','))
        return cli_fail(CLI_EXIT_FAILURE,
                        "Cloud Hypervisor takes no socket with a comma in its path; give port %s "
                        "another socket",
                        plug->name);
    (void)snprintf(word, sizeof(word), "size=%s,shared=on", plug->memory);
    print_option("--memory", word, true);
    if (plug->mtu != MTU_ETHERNET)
        (void)snprintf(more, sizeof(more), ",mtu=%u", plug->mtu);
    (void)snprintf(word, sizeof(word),
                   "vhost_user=true,socket=%s,vhost_mode=%s,mac=%s,num_queues=%u%s", plug->socket,
                   plug->vmm_listens ? "server" : "client", plug->mac, 2 * plug->queue_pairs, more);
    print_option("--net", word, false);
    putchar('\n');
    remark("Cloud Hypervisor: --memory SIZE sets the guest's memory; num_queues counts both "
           "directions.");
    return CLI_EXIT_OK;
}

static const struct vmm {
    const char *name;
    enum cli_exit (*print)(const struct plug *plug);
} vmms[] = {
    {"qemu", print_qemu},
    {"libvirt", print_libvirt},
    {"uml", print_uml},
    {"cloud-hypervisor", print_cloud_hypervisor},
};

const char *vmm_names(void)
{
    return "qemu, libvirt, uml or cloud-hypervisor";
}

static const struct vmm *find_vmm(const char *name)
{
    for (size_t i = 0; i < CV_COUNT_OF(vmms); i++)
        if (strcmp(vmms[i].name, name) == 0)
            return &vmms[i];
    return NULL;
}

enum cli_exit vmm_check(const char *name)
{
    struct nearest nearest;
    char suggestion[80];

    if (find_vmm(name))
        return CLI_EXIT_OK;
    nearest_init(&nearest, name);
    for (size_t i = 0; i < CV_COUNT_OF(vmms); i++)
        nearest_offer(&nearest, vmms[i].name);
    return cli_fail(CLI_EXIT_USAGE, "--print knows %s, not \"%s\"%s", vmm_names(), name,
                    nearest_format(&nearest, suggestion, sizeof(suggestion)));
}

enum cli_exit vmm_print(const char *vmm, const json_t *port, const char *memory)
{
    const char *type = "", *mode = "";
    struct plug plug = {.memory = memory ? memory : MEMORY_DEFAULT};
    int queue_pairs = 0, mtu = 0;

    if (json_unpack((json_t *)(uintptr_t)port, "{s:s, s:{s:s, s?s, s?s, s?s, s?i, s:i}}", "name",
                    &plug.name, "config", "type", &type, "mode", &mode, "socket", &plug.socket,
                    "mac", &plug.mac, "queues", &queue_pairs, "mtu", &mtu) < 0)
        return cli_fail(CLI_EXIT_FAILURE, "convoyd's answer about the port lacks something");
    if (strcmp(type, "vhost-user") != 0 || !plug.socket || !plug.mac)
        return cli_fail(CLI_EXIT_FAILURE,
                        "port %s is of type %s: it leads to the host, no VMM is plugged into it",
                        plug.name, type);
    plug.vmm_listens = strcmp(mode, "client") == 0;
    plug.queue_pairs = (unsigned)queue_pairs;
    plug.mtu = (unsigned)mtu;
    return find_vmm(vmm)->print(&plug);
}

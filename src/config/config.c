#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config_yaml.h"

#define POLL_NS_MAX       UINT64_C(1000000000)
#define BRIDGE_AGE_NS_MIN UINT64_C(1000000000)
#define BRIDGE_AGE_NS_MAX UINT64_C(1000000000000000)
enum {
    RUN_DIR_LEN_MAX = 94, /* leaves room for "/control.sock" in a socket's address */
};
static_assert(sizeof(((struct config *)0)->run_dir) == RUN_DIR_LEN_MAX + 2,
              "the member holds the longest run-dir");
static_assert(RUN_DIR_LEN_MAX + sizeof("/control.sock") <=
                  sizeof(((struct config *)0)->control_socket),
              "the default control socket fits its address");

/* What the readers of one file share. */
struct config_reader {
    struct config *config;
    const yaml_node_t *ports_node;   /* NULL: the key was not given */
    const yaml_node_t *statics_node; /* NULL: the key was not given */
};

void config_init(struct config *config)
{
    *config = (struct config){
        .workers = 1,
        .poll_ns = CONFIG_POLL_NS_DEFAULT,
        .run_dir = "/run/convoy",
        .control_socket = "/run/convoy/control.sock",
        .bridge_age_ns = CONFIG_BRIDGE_AGE_NS_DEFAULT,
        .bridge_entries_per_port_max = CONFIG_BRIDGE_ENTRIES_PER_PORT_DEFAULT,
    };
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        config->worker_cpus[i] = -1;
}

void config_uninit(struct config *config)
{
    free(config->ports);
    free(config->static_macs);
    config->ports = NULL;
    config->static_macs = NULL;
    config->port_count = 0;
    config->static_mac_count = 0;
}

/* -- Single values. -- */

static int read_number(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                       unsigned min, unsigned max, unsigned *ret_number)
{
    char quoted[QUOTED_TEXT_BYTES];
    const char *text;
    int result = config_yaml_scalar(yaml, node, path, &text);

    if (result != 0)
        return result;
    if (!number_parse(text, min, max, ret_number))
        return config_yaml_error(yaml, node, path, "%s is not a number from %u to %u",
                                 text_quote(text, quoted), min, max);
    return 0;
}

static int read_duration(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                         uint64_t min_ns, uint64_t max_ns, uint64_t *ret_ns)
{
    char quoted[QUOTED_TEXT_BYTES];
    char min_text[DURATION_TEXT_BYTES];
    char max_text[DURATION_TEXT_BYTES];
    const char *text;
    uint64_t ns;
    int result = config_yaml_scalar(yaml, node, path, &text);

    if (result != 0)
        return result;
    if (!duration_parse(text, &ns) || ns < min_ns || ns > max_ns)
        return config_yaml_error(yaml, node, path,
                                 "%s is not a duration from %s to %s, such as 50us or 300s",
                                 text_quote(text, quoted), duration_format(min_ns, min_text),
                                 duration_format(max_ns, max_text));
    *ret_ns = ns;
    return 0;
}

/* An absolute path; `path_bytes` counts the terminating NUL. */
static int read_path(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                     char *ret_path, size_t path_bytes)
{
    char quoted[QUOTED_TEXT_BYTES];
    const char *text;
    int result = config_yaml_scalar(yaml, node, path, &text);

    if (result != 0)
        return result;
    if (text[0] != '/' || strlen(text) >= path_bytes)
        return config_yaml_error(yaml, node, path,
                                 "%s is not an absolute path of at most %zu bytes",
                                 text_quote(text, quoted), path_bytes - 1);
    strcpy(ret_path, text);
    return 0;
}

/* -- workers -- */

static int read_worker_count(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                             void *context)
{
    struct config *config = context;

    return read_number(yaml, node, path, 1, WORKERS_MAX, &config->workers);
}

static int read_worker_cpus(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                            void *context)
{
    struct config *config = context;
    unsigned count;
    int result = config_yaml_sequence(yaml, node, path, WORKERS_MAX, &count);

    for (unsigned i = 0; i < count && result == 0; i++) {
        const yaml_node_t *element = config_yaml_element(yaml, node, i);
        char element_path[CONFIG_PATH_BYTES_MAX];
        unsigned cpu;

        (void)snprintf(element_path, sizeof(element_path), "%s[%u]", path, i);
        result = read_number(yaml, element, element_path, 0, CPU_SETSIZE - 1, &cpu);
        for (unsigned j = 0; j < i && result == 0; j++) {
            if (config->worker_cpus[j] == (int)cpu)
                result = config_yaml_error(yaml, element, element_path,
                                           "processor %u is given twice", cpu);
        }
        if (result == 0)
            config->worker_cpus[i] = (int)cpu;
    }
    return result;
}

static const struct config_yaml_key worker_keys[] = {
    {"count", read_worker_count},
    {"cpus", read_worker_cpus},
};

static int read_workers(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                        void *context)
{
    struct config *config = ((struct config_reader *)context)->config;
    unsigned cpu_count = 0;
    int result;

    if (node->type == YAML_SCALAR_NODE)
        return read_worker_count(yaml, node, path, config);
    config->workers = 0;
    result = config_yaml_mapping(yaml, node, path, worker_keys, CV_COUNT_OF(worker_keys), config);
    if (result != 0)
        return result;
    while (cpu_count < WORKERS_MAX && config->worker_cpus[cpu_count] >= 0)
        cpu_count++;
    if (config->workers == 0)
        config->workers = CV_MAX(cpu_count, 1);
    if (cpu_count != 0 && cpu_count != config->workers)
        return config_yaml_error(yaml, node, path, "%u processors are given for %u workers",
                                 cpu_count, config->workers);
    return 0;
}

/* -- bridge -- */

static int read_age(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                    void *context)
{
    struct config_reader *reader = context;

    return read_duration(yaml, node, path, BRIDGE_AGE_NS_MIN, BRIDGE_AGE_NS_MAX,
                         &reader->config->bridge_age_ns);
}

static int read_addresses_per_port(struct config_yaml *yaml, const yaml_node_t *node,
                                   const char *path, void *context)
{
    struct config_reader *reader = context;

    return read_number(yaml, node, path, 1, BRIDGE_PORT_ENTRIES_MAX,
                       &reader->config->bridge_entries_per_port_max);
}

static int read_static_mac(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                           void *context)
{
    struct static_mac_config *entry = context;
    char quoted[QUOTED_TEXT_BYTES];
    const char *text;
    int result = config_yaml_scalar(yaml, node, path, &text);

    if (result != 0)
        return result;
    if (!mac_parse(text, &entry->mac) || !mac_is_unicast(entry->mac))
        return config_yaml_error(yaml, node, path,
                                 "%s is not a unicast MAC address such as 52:54:00:12:34:56",
                                 text_quote(text, quoted));
    return 0;
}

/* Only the length is checked here; read_finish knows all ports. */
static int read_static_port(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                            void *context)
{
    struct static_mac_config *entry = context;
    char quoted[QUOTED_TEXT_BYTES];
    const char *text;
    int result = config_yaml_scalar(yaml, node, path, &text);

    if (result != 0)
        return result;
    if (text[0] == '\0' || strlen(text) >= sizeof(entry->port))
        return config_yaml_error(yaml, node, path, "there is no port %s in this file",
                                 text_quote(text, quoted));
    strcpy(entry->port, text);
    return 0;
}

static const struct config_yaml_key static_keys[] = {
    {"mac", read_static_mac},
    {"port", read_static_port},
};

static int read_statics(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                        void *context)
{
    struct config_reader *reader = context;
    struct config *config = reader->config;
    unsigned count;
    int result = config_yaml_sequence(yaml, node, path, BRIDGE_STATIC_ENTRIES_MAX, &count);

    if (result != 0 || count == 0)
        return result;
    reader->statics_node = node;
    config->static_macs = calloc(count, sizeof(*config->static_macs));
    if (config->static_macs == NULL)
        return error_set(yaml->error, -ENOMEM, "%s: not enough memory to read it", yaml->name);
    config->static_mac_count = count;
    for (unsigned i = 0; i < count && result == 0; i++) {
        struct static_mac_config *entry = &config->static_macs[i];
        const yaml_node_t *element = config_yaml_element(yaml, node, i);
        char element_path[CONFIG_PATH_BYTES_MAX];

        (void)snprintf(element_path, sizeof(element_path), "%s[%u]", path, i);
        result = config_yaml_mapping(yaml, element, element_path, static_keys,
                                     CV_COUNT_OF(static_keys), entry);
        if (result == 0 && (entry->mac == 0 || entry->port[0] == '\0'))
            result = config_yaml_error(yaml, element, element_path, "needs the key \"%s\"",
                                       entry->mac == 0 ? "mac" : "port");
    }
    return result;
}

static const struct config_yaml_key bridge_keys[] = {
    {"age", read_age},
    {"addresses-per-port", read_addresses_per_port},
    {"static", read_statics},
};

static int read_bridge(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                       void *context)
{
    return config_yaml_mapping(yaml, node, path, bridge_keys, CV_COUNT_OF(bridge_keys), context);
}

/* -- ports -- */

/* Any key of a port; which one is the last part of `path`. */
static int read_port_key(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                         void *context)
{
    const char *dot = strrchr(path, '.');
    struct error error;
    const char *text;
    int result = config_yaml_scalar(yaml, node, path, &text);

    if (result != 0)
        return result;
    result = port_config_set(context, dot + 1, text, &error);
    if (result != 0)
        return config_yaml_error(yaml, node, "", "%.*s.%s", (int)(dot - path), path, error.text);
    return 0;
}

static int read_port(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                     struct port_config *port)
{
    struct config_yaml_key keys[32];
    unsigned count = 0;
    int result;

    for (; port_config_key(count) != NULL; count++)
        keys[count] = (struct config_yaml_key){port_config_key(count), read_port_key};
    port_config_init(port, "");
    result = config_yaml_mapping(yaml, node, path, keys, count, port);
    if (result == 0 && port->name[0] == '\0')
        result = config_yaml_error(yaml, node, path, "needs the key \"name\"");
    return result;
}

static int read_ports(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                      void *context)
{
    struct config_reader *reader = context;
    struct config *config = reader->config;
    unsigned count;
    int result = config_yaml_sequence(yaml, node, path, PORTS_MAX, &count);

    if (result != 0 || count == 0)
        return result;
    reader->ports_node = node;
    config->ports = calloc(count, sizeof(*config->ports));
    if (config->ports == NULL)
        return error_set(yaml->error, -ENOMEM, "%s: not enough memory to read it", yaml->name);
    config->port_count = count;
    for (unsigned i = 0; i < count && result == 0; i++) {
        char element_path[CONFIG_PATH_BYTES_MAX];

        (void)snprintf(element_path, sizeof(element_path), "%s[%u]", path, i);
        result =
            read_port(yaml, config_yaml_element(yaml, node, i), element_path, &config->ports[i]);
    }
    return result;
}

/* -- The file. -- */

static int read_poll(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                     void *context)
{
    struct config_reader *reader = context;

    return read_duration(yaml, node, path, 0, POLL_NS_MAX, &reader->config->poll_ns);
}

static int read_run_dir(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                        void *context)
{
    struct config_reader *reader = context;
    char *run_dir = reader->config->run_dir;
    int result = read_path(yaml, node, path, run_dir, RUN_DIR_LEN_MAX + 1);

    for (size_t len = strlen(run_dir); len > 1 && run_dir[len - 1] == '/'; len--)
        run_dir[len - 1] = '\0';
    return result;
}

static int read_control(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                        void *context)
{
    struct config_reader *reader = context;

    return read_path(yaml, node, path, reader->config->control_socket,
                     sizeof(reader->config->control_socket));
}

static const struct config_yaml_key file_keys[] = {
    {"workers", read_workers}, {"poll", read_poll},     {"run-dir", read_run_dir},
    {"control", read_control}, {"bridge", read_bridge}, {"ports", read_ports},
};

/*
 * The value of the key that a sentence of port_config starts with, or the port itself when the key
 * was not given: the place that the operator has to look at.
 */
static const yaml_node_t *port_place(struct config_yaml *yaml, const yaml_node_t *port_node,
                                     const char *sentence)
{
    size_t key_len = strcspn(sentence, ":");
    const yaml_node_pair_t *pair = port_node->data.mapping.pairs.start;

    for (; pair < port_node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = config_yaml_node(yaml, pair->key);

        if (key->data.scalar.length == key_len &&
            memcmp(key->data.scalar.value, sentence, key_len) == 0)
            return config_yaml_node(yaml, pair->value);
    }
    return port_node;
}

static int finish_port(struct config_yaml *yaml, struct config_reader *reader, unsigned index)
{
    struct config *config = reader->config;
    struct port_config *port = &config->ports[index];
    const yaml_node_t *node = config_yaml_element(yaml, reader->ports_node, index);
    struct error error;
    int result = port_config_finish(port, config->run_dir, &error);

    for (unsigned i = 0; i < index && result == 0; i++)
        result = port_config_check_pair(port, &config->ports[i], &error);
    if (result == 0 && port->type == PORT_TYPE_VHOST_USER &&
        strcmp(port->socket, config->control_socket) == 0)
        result = error_set(&error, -EINVAL, "socket: %s is the control socket", port->socket);
    if (result == 0)
        return 0;
    return config_yaml_error(yaml, port_place(yaml, node, error.text), "", "ports[%u].%s", index,
                             error.text);
}

static bool has_port(const struct config *config, const char *name)
{
    for (unsigned i = 0; i < config->port_count; i++) {
        if (strcmp(config->ports[i].name, name) == 0)
            return true;
    }
    return false;
}

static int finish_static(struct config_yaml *yaml, struct config_reader *reader, unsigned index)
{
    const struct config *config = reader->config;
    const struct static_mac_config *entry = &config->static_macs[index];
    const yaml_node_t *node = config_yaml_element(yaml, reader->statics_node, index);
    char path[CONFIG_PATH_BYTES_MAX];
    char text[MAC_TEXT_BYTES];
    char quoted[QUOTED_TEXT_BYTES];

    (void)snprintf(path, sizeof(path), "bridge.static[%u]", index);
    if (!has_port(config, entry->port))
        return config_yaml_error(yaml, node, path, "there is no port %s in this file",
                                 text_quote(entry->port, quoted));
    for (unsigned i = 0; i < index; i++) {
        if (config->static_macs[i].mac == entry->mac)
            return config_yaml_error(yaml, node, path, "%s has a port already, in static[%u]",
                                     mac_format(entry->mac, text), i);
    }
    return 0;
}

/* What needs all of the file: defaults that depend on other keys, and what keys say of each other.
 */
static int read_finish(struct config_yaml *yaml, struct config_reader *reader)
{
    struct config *config = reader->config;
    int result = 0;

    if (config->control_socket[0] == '\0') {
        strcpy(config->control_socket, config->run_dir);
        strcat(config->control_socket, "/control.sock");
    }
    for (unsigned i = 0; i < config->port_count && result == 0; i++)
        result = finish_port(yaml, reader, i);
    for (unsigned i = 0; i < config->static_mac_count && result == 0; i++)
        result = finish_static(yaml, reader, i);
    return result;
}

int config_parse(const char *text, size_t text_len, const char *name, struct config *ret_config,
                 struct error *error)
{
    struct config config;
    struct config_reader reader = {.config = &config};
    struct config_yaml yaml;
    const yaml_node_t *root;
    int result = config_yaml_init(&yaml, text, text_len, name, error);

    if (result != 0)
        return result;
    config_init(&config);
    config.control_socket[0] = '\0';
    root = config_yaml_root(&yaml);
    if (root != NULL)
        result = config_yaml_mapping(&yaml, root, "", file_keys, CV_COUNT_OF(file_keys), &reader);
    if (result == 0)
        result = read_finish(&yaml, &reader);
    config_yaml_uninit(&yaml);
    if (result != 0)
        config_uninit(&config);
    else
        *ret_config = config;
    return result;
}

/* Reads all of a file, at most one byte more than config_parse looks at. */
static int read_file(int fd, char *text, size_t *ret_len)
{
    size_t len = 0;

    while (len <= CONFIG_TEXT_BYTES_MAX) {
        ssize_t got = read(fd, text + len, CONFIG_TEXT_BYTES_MAX + 1 - len);

        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            break;
        len += got > 0 ? (size_t)got : 0;
    }
    *ret_len = len;
    return 0;
}

int config_load(const char *path, struct config *ret_config, struct error *error)
{
    char *text = malloc(CONFIG_TEXT_BYTES_MAX + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    int result = fd < 0 ? -errno : 0;

    if (result == 0 && text == NULL)
        result = -ENOMEM;
    if (result == 0)
        result = read_file(fd, text, &len);
    if (fd >= 0)
        (void)close(fd);
    if (result != 0)
        (void)error_set(error, result, "%s: cannot be read: %s", path, strerror(-result));
    else
        result = config_parse(text, len, path, ret_config, error);
    free(text);
    return result;
}

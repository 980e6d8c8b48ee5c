/*
 * The configuration file. The operator writes it, yet a generated or damaged file must end in a
 * sentence, never in a crash or in a configuration that breaks its own promises: those are asserted
 * for every text that is accepted.
 *
 * Input: the text of the file.
 */
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_port(const struct config *config, unsigned index)
{
    const struct port_config *port = &config->ports[index];
    struct error error;

    assert(port->name[0] != '\0' && strlen(port->name) < sizeof(port->name));
    assert(port->queue_pairs >= 1 && port->queue_pairs <= PORT_QUEUE_PAIRS_MAX);
    assert(port->mtu >= 68 && port->mtu <= 65535);
    assert((port->hold.mode == HOLD_FIXED) == (port->hold.packets_max != 0));
    assert(port->hold.packets_max <= CONVOY_FRAMES_MAX);
    assert(port->hold.delay_budget_ns >= 1000 && port->hold.delay_budget_ns <= 100000000);
    assert(port->hold.delay_weight >= 0.001 && port->hold.delay_weight <= 1000);
    if (port->type == PORT_TYPE_VHOST_USER)
        assert(port->socket[0] == '/' && mac_is_unicast(port->mac) && port->interface[0] == '\0');
    else
        assert(port->interface[0] != '\0' && port->socket[0] == '\0' && port->mac == 0);
    for (unsigned i = 0; i < index; i++)
        assert(port_config_check_pair(port, &config->ports[i], &error) == 0);
}

/* Written down and read again, a port's rule of departure is the same. */
static void check_hold_text(const struct port_config *port)
{
    const struct hold_config *hold = &port->hold;
    struct port_config copy;
    struct error error;
    char text[64];

    port_config_init(&copy, "copy");
    assert(port_config_set(&copy, "delay-budget", duration_format(hold->delay_budget_ns, text),
                           &error) == 0);
    assert(port_config_set(&copy, "delay-weight", decimal_format(hold->delay_weight, text),
                           &error) == 0);
    assert(port_config_set(&copy, "hold", hold_config_format(hold, text, sizeof(text)), &error) ==
           0);
    assert(copy.hold.mode == hold->mode && copy.hold.packets_max == hold->packets_max &&
           copy.hold.time_max_ns == hold->time_max_ns);
    assert(copy.hold.delay_budget_ns == hold->delay_budget_ns &&
           copy.hold.delay_weight == hold->delay_weight);
}

static void check_static(const struct config *config, unsigned index)
{
    const struct static_mac_config *entry = &config->static_macs[index];
    bool is_known = false;

    assert(mac_is_unicast(entry->mac));
    for (unsigned i = 0; i < config->port_count; i++)
        is_known |= strcmp(config->ports[i].name, entry->port) == 0;
    assert(is_known);
}

static void check_config(const struct config *config)
{
    assert(config->workers >= 1 && config->workers <= WORKERS_MAX);
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        assert(config->worker_cpus[i] >= -1 && config->worker_cpus[i] < 1024);
    assert(config->run_dir[0] == '/' && config->control_socket[0] == '/');
    assert(strlen(config->control_socket) < sizeof(config->control_socket));
    assert(config->bridge_entries_per_port_max >= 1 &&
           config->bridge_entries_per_port_max <= BRIDGE_PORT_ENTRIES_MAX);
    assert(config->port_count <= PORTS_MAX && (config->port_count == 0) == (config->ports == NULL));
    for (unsigned i = 0; i < config->port_count; i++) {
        check_port(config, i);
        check_hold_text(&config->ports[i]);
    }
    for (unsigned i = 0; i < config->static_mac_count; i++)
        check_static(config, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* no NUL behind it: config_parse needs none */
    struct error error = {.text = ""};
    struct config config;

    assert(text != NULL);
    memcpy(text + 1, data, size);
    if (config_parse(text + 1, size, "fuzz", &config, &error) == 0) {
        check_config(&config);
        config_uninit(&config);
    } else {
        assert(strncmp(error.text, "fuzz:", 5) == 0 && strchr(error.text, '\n') == NULL);
    }
    free(text);
    return 0;
}

/*
 * The methods of the control protocol: one table, and under it one function each. A method checks
 * what it was given, asks the switch, and hands back what convoyd(8) promises.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/nearest.h"
#include "control/control_limits.h"
#include "control/control_rpc.h"
#include "control/control_tuning.h"
#include "control/control_view.h"
#include "control/version.h"

static int method_status(struct control_call *call);
static int method_port_list(struct control_call *call);
static int method_port_show(struct control_call *call);
static int method_port_add(struct control_call *call);
static int method_port_remove(struct control_call *call);
static int method_port_set(struct control_call *call);
static int method_mac_list(struct control_call *call);
static int method_mac_add(struct control_call *call);
static int method_mac_remove(struct control_call *call);

const struct control_method control_methods[] = {
    {.name = "status", .run = method_status},
    {.name = "port.list", .run = method_port_list},
    {.name = "port.show", .params = {{"name", JSON_STRING, true}}, .run = method_port_show},
    {.name = "port.add",
     .params = {{"name", JSON_STRING, true}},
     .takes_port_keys = true,
     .run = method_port_add},
    {.name = "port.remove", .params = {{"name", JSON_STRING, true}}, .run = method_port_remove},
    {.name = "port.set",
     .params = {{"name", JSON_STRING, true}},
     .takes_port_keys = true,
     .run = method_port_set},
    {.name = "mac.list",
     .params = {{"port", JSON_STRING, false}, {"limit", JSON_INTEGER, false}},
     .run = method_mac_list},
    {.name = "mac.add",
     .params = {{"mac", JSON_STRING, true}, {"port", JSON_STRING, true}},
     .run = method_mac_add},
    {.name = "mac.remove", .params = {{"mac", JSON_STRING, true}}, .run = method_mac_remove},
};

const size_t control_method_count = CV_COUNT_OF(control_methods);

static const char *text_param(const struct control_call *call, const char *name)
{
    return json_string_value(json_object_get(call->params, name));
}

/* Makes `result` the result; NULL stands for memory that was short when it was built. */
static int finish(struct control_call *call, json_t *result)
{
    if (!result)
        return error_set(&call->error, -ENOMEM, "no memory for the answer");
    call->result = result;
    return 0;
}

/* --- ports --- */

static void offer_port_name(const struct port_status *status, void *context)
{
    nearest_offer(context, status->config.name);
}

/* Reads the status of the port that parameter `param` names. */
static int find_port(struct control_call *call, const char *param, struct port_status *ret_status)
{
    const char *name = text_param(call, param);
    char suggestion[80];
    struct nearest nearest;

    if (vswitch_port_status(call->facts->vswitch, name, ret_status) == 0)
        return 0;
    nearest_init(&nearest, name);
    vswitch_for_each_port(call->facts->vswitch, offer_port_name, &nearest);
    return error_set(&call->error, -ENOENT, "there is no port \"%.64s\"%s", name,
                     nearest_format(&nearest, suggestion, sizeof(suggestion)));
}

static int finish_port(struct control_call *call, const char *name)
{
    struct port_status status;
    int rc = vswitch_port_status(call->facts->vswitch, name, &status);

    if (rc < 0)
        return error_set(&call->error, rc, "the port \"%s\" has gone", name);
    return finish(call, control_view_port(&status));
}

static void append_port(const struct port_status *status, void *context)
{
    (void)json_array_append_new(context, control_view_port(status));
}

static int method_port_list(struct control_call *call)
{
    json_t *ports = json_array();

    vswitch_for_each_port(call->facts->vswitch, append_port, ports);
    return finish(call, json_pack("{s:o}", "ports", ports));
}

static int method_port_show(struct control_call *call)
{
    struct port_status status;
    struct port_tuning *tuning;
    json_t *port;
    int rc = find_port(call, "name", &status);

    if (rc < 0)
        return rc;
    tuning = calloc(1, sizeof(*tuning));
    port = tuning ? control_view_port(&status) : NULL;
    if (port && vswitch_port_tuning(call->facts->vswitch, status.config.name, tuning) == 0 &&
        json_object_set_new(port, "tuning", control_tuning_view(tuning, clock_now_ns())) < 0) {
        json_decref(port);
        port = NULL;
    }
    free(tuning);
    return finish(call, port);
}

/* A value as it would stand in the configuration file; false when it cannot stand there. */
static bool value_as_text(const json_t *value, char *buffer, size_t buffer_bytes)
{
    int n = -1;

    if (json_is_string(value))
        n = snprintf(buffer, buffer_bytes, "%s", json_string_value(value));
    else if (json_is_integer(value))
        n = snprintf(buffer, buffer_bytes, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        n = snprintf(buffer, buffer_bytes, "%.12g", json_real_value(value));
    else if (json_is_boolean(value))
        n = snprintf(buffer, buffer_bytes, "%s", json_is_true(value) ? "true" : "false");
    return n >= 0 && (size_t)n < buffer_bytes;
}

/* Sets the keys of a port that were given, all but its name; `method` stands in sentences. */
static int read_port_keys(struct control_call *call, const char *method, struct port_config *config)
{
    char text[256];
    const char *key;
    json_t *value;
    int rc;

    json_object_foreach(call->params, key, value)
    {
        if (strcmp(key, "name") == 0)
            continue;
        if (!value_as_text(value, text, sizeof(text)))
            return error_set(&call->error, -EINVAL,
                             "%s: \"%.64s\" must be a short string, a number, true or false",
                             method, key);
        rc = port_config_set(config, key, text, &call->error);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int method_port_add(struct control_call *call)
{
    struct port_config config;
    const char *name = text_param(call, "name");
    int rc;

    port_config_init(&config, name);
    rc = read_port_keys(call, "port.add", &config);
    if (rc == 0)
        rc = port_config_finish(&config, call->facts->run_dir, &call->error);
    if (rc == 0)
        rc = vswitch_port_add(call->facts->vswitch, &config, &call->error);
    if (rc < 0)
        return rc;
    log_info("%s: added through the control socket", config.name);
    return finish_port(call, config.name);
}

static int method_port_remove(struct control_call *call)
{
    struct port_status status;
    int rc = find_port(call, "name", &status);

    if (rc == 0)
        rc = vswitch_port_remove(call->facts->vswitch, status.config.name, &call->error);
    if (rc < 0)
        return rc;
    log_info("%s: removed through the control socket", status.config.name);
    return finish(call, json_pack("{s:s}", "name", status.config.name));
}

/* Whether port.set was given keys, and only such as it may change. */
static int check_live_keys(struct control_call *call)
{
    const char *key;
    json_t *value;

    if (json_object_size(call->params) < 2)
        return error_set(&call->error, -EINVAL,
                         "port.set needs at least one of the keys hold, delay-budget, "
                         "delay-weight and merge");
    json_object_foreach(call->params, key, value)
    {
        if (strcmp(key, "name") != 0 && !port_config_key_is_live(key))
            return error_set(&call->error, -EINVAL,
                             "%s: cannot be changed while the port exists: remove the port and "
                             "add it again (port.set changes hold, delay-budget, delay-weight "
                             "and merge)",
                             key);
    }
    return 0;
}

static void log_set(const struct port_config *config)
{
    char hold[64], budget[DURATION_TEXT_BYTES], weight[DECIMAL_TEXT_BYTES];

    log_info("%s: now hold %s, delay-budget %s, delay-weight %s, merge %s", config->name,
             hold_config_format(&config->hold, hold, sizeof(hold)),
             duration_format(config->hold.delay_budget_ns, budget),
             decimal_format(config->hold.delay_weight, weight), config->merge ? "on" : "off");
}

static int method_port_set(struct control_call *call)
{
    struct port_status status;
    struct port_config *config = &status.config;
    int rc = find_port(call, "name", &status);

    if (rc == 0)
        rc = check_live_keys(call);
    if (rc == 0)
        rc = read_port_keys(call, "port.set", config);
    if (rc == 0)
        rc = vswitch_port_set_hold(call->facts->vswitch, config->name, &config->hold, config->merge,
                                   &call->error);
    if (rc < 0)
        return rc;
    log_set(config);
    return finish_port(call, config->name);
}

/* --- addresses --- */

struct mac_listing {
    const char *port;                           /* only this port's; NULL: all */
    size_t limit;                               /* entries listed */
    size_t total;                               /* entries that there are */
    json_t *entries;                            /* array */
    char names[PORTS_MAX][PORT_NAME_BYTES_MAX]; /* of ports by id; "" for none */
};

static void note_port_name(const struct port_status *status, void *context)
{
    struct mac_listing *listing = context;

    assert(status->id < PORTS_MAX);
    memcpy(listing->names[status->id], status->config.name, PORT_NAME_BYTES_MAX);
}

static void append_mac(const struct bridge_entry *entry, void *context)
{
    struct mac_listing *listing = context;
    char mac[MAC_TEXT_BYTES];
    const char *port = entry->port < PORTS_MAX ? listing->names[entry->port] : "";

    if (listing->port && strcmp(listing->port, port) != 0)
        return;
    listing->total++;
    if (json_array_size(listing->entries) >= listing->limit)
        return;
    (void)json_array_append_new(
        listing->entries,
        json_pack("{s:s, s:s, s:b, s:o}", "mac", mac_format(entry->mac, mac), "port", port,
                  "static", entry->is_static, "age_s",
                  entry->is_static ? json_null() : json_real((double)entry->age_ns / 1e9)));
}

static int read_mac_limit(struct control_call *call, size_t *ret_limit)
{
    const json_t *limit = json_object_get(call->params, "limit");
    json_int_t value = limit ? json_integer_value(limit) : CONTROL_MAC_ENTRIES_DEFAULT;

    if (value < 1 || value > CONTROL_MAC_ENTRIES_MAX)
        return error_set(&call->error, -EINVAL, "mac.list: \"limit\" must be 1 to %d",
                         CONTROL_MAC_ENTRIES_MAX);
    *ret_limit = (size_t)value;
    return 0;
}

static int method_mac_list(struct control_call *call)
{
    struct mac_listing listing = {.port = text_param(call, "port")};
    struct port_status status;
    int rc = read_mac_limit(call, &listing.limit);

    if (rc == 0 && listing.port)
        rc = find_port(call, "port", &status);
    if (rc < 0)
        return rc;
    listing.entries = json_array();
    vswitch_for_each_port(call->facts->vswitch, note_port_name, &listing);
    bridge_for_each(vswitch_bridge(call->facts->vswitch), clock_now_ns(), append_mac, &listing);
    return finish(call, json_pack("{s:o, s:I}", "entries", listing.entries, "total",
                                  (json_int_t)listing.total));
}

static int read_mac(struct control_call *call, mac_addr *ret_mac)
{
    const char *text = text_param(call, "mac");

    if (!mac_parse(text, ret_mac))
        return error_set(&call->error, -EINVAL,
                         "\"%.64s\" is not a MAC address like 52:54:00:12:34:56", text);
    return 0;
}

static int method_mac_add(struct control_call *call)
{
    struct port_status status;
    char text[MAC_TEXT_BYTES];
    mac_addr mac;
    int rc = read_mac(call, &mac);

    if (rc == 0)
        rc = find_port(call, "port", &status);
    if (rc == 0)
        rc = vswitch_static_mac_add(call->facts->vswitch, mac, status.config.name, &call->error);
    if (rc < 0)
        return rc;
    return finish(
        call, json_pack("{s:s, s:s}", "mac", mac_format(mac, text), "port", status.config.name));
}

static int method_mac_remove(struct control_call *call)
{
    char text[MAC_TEXT_BYTES];
    mac_addr mac;
    int rc = read_mac(call, &mac);

    if (rc == 0)
        rc = vswitch_static_mac_remove(call->facts->vswitch, mac, &call->error);
    return rc < 0 ? rc : finish(call, json_pack("{s:s}", "mac", mac_format(mac, text)));
}

/* --- the daemon --- */

/* Sums over all ports. */
struct port_totals {
    unsigned count;
    unsigned by_state[PORT_STATE_RUNNING + 1];
    struct port_counters counters;
};

static void add_to_totals(const struct port_status *status, void *context)
{
    struct port_totals *totals = context;

    totals->count++;
    totals->by_state[status->state]++;
    port_counters_add(&totals->counters, &status->counters);
}

static json_t *view_workers(struct vswitch *vswitch)
{
    struct worker_status status;
    json_t *workers = json_array();

    for (unsigned i = 0; i < vswitch_worker_count(vswitch); i++) {
        vswitch_worker_status(vswitch, i, &status);
        (void)json_array_append_new(workers, control_view_worker(i, &status));
    }
    return workers;
}

static json_t *view_ports(const struct port_totals *totals)
{
    json_t *ports = json_pack("{s:i, s:i}", "count", (int)totals->count, "limit", PORTS_MAX);

    for (int state = PORT_STATE_WAITING; state <= PORT_STATE_RUNNING; state++)
        (void)json_object_set_new(ports, port_state_name((enum port_state)state),
                                  json_integer((json_int_t)totals->by_state[state]));
    return ports;
}

static json_t *view_bridge(struct vswitch *vswitch)
{
    struct bridge_stats stats;

    bridge_read_stats(vswitch_bridge(vswitch), &stats);
    return json_pack("{s:I, s:I, s:I, s:I}", "entries", (json_int_t)stats.entries, "learnt",
                     (json_int_t)stats.learnt, "moved", (json_int_t)stats.moved, "evicted",
                     (json_int_t)stats.evicted);
}

static int method_status(struct control_call *call)
{
    const struct control_facts *facts = call->facts;
    struct port_totals totals = {0};

    vswitch_for_each_port(facts->vswitch, add_to_totals, &totals);
    return finish(call, json_pack("{s:s, s:i, s:f, s:o, s:o, s:o?, s:o, s:o, s:o, s:o}", "version",
                                  CONVOY_VERSION, "pid", (int)getpid(), "uptime_s",
                                  (double)(clock_now_ns() - facts->start_ns) / 1e9, "run_dir",
                                  control_view_text(facts->run_dir), "control_socket",
                                  control_view_text(facts->control_socket), "config",
                                  facts->config_path ? control_view_text(facts->config_path) : NULL,
                                  "workers", view_workers(facts->vswitch), "ports",
                                  view_ports(&totals), "bridge", view_bridge(facts->vswitch),
                                  "totals", control_view_counters(&totals.counters)));
}

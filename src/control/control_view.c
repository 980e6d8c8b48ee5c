#include "control/control_view.h"

#include <string.h>

#include "guest/vhost_user.h"

enum { FEATURES_TEXT_BYTES_MAX = 1024, HOLD_TEXT_BYTES_MAX = 64 };

json_t *control_view_text(const char *text)
{
    json_t *string = json_string(text);
    char ascii[512];
    size_t n = 0;

    if (string)
        return string;
    for (; n < sizeof(ascii) - 1 && text[n]; n++)
        ascii[n] = (unsigned char)text[n] < 0x80 ? text[n] : '?';
    return json_stringn(ascii, n);
}

/* Gathers what port_counters_visit hands out. */
struct counters_view {
    json_t *counters;
    json_t *drops;
    json_t *unmerged;
    uint64_t dropped;
};

/* What follows the prefix in a name that has it; else NULL. */
static const char *name_after(const char *prefix, const char *name)
{
    size_t len = strlen(prefix);

    return strncmp(name, prefix, len) == 0 ? name + len : NULL;
}

static void add_counter(const char *name, uint64_t value, const char *text, void *context)
{
    struct counters_view *view = context;
    const char *drop = name_after("drop_", name), *refusal = name_after("unmerged_", name);
    json_t *count = json_integer((json_int_t)value);

    (void)text;
    if (drop) {
        (void)json_object_set_new(view->drops, drop, count);
        view->dropped += value;
    } else if (refusal) {
        (void)json_object_set_new(view->unmerged, refusal, count);
    } else {
        (void)json_object_set_new(view->counters, name, count);
    }
}

static json_t *quotient(uint64_t dividend, uint64_t divisor)
{
    return divisor > 0 ? json_real((double)dividend / (double)divisor) : json_null();
}

static json_t *derive(const struct port_counters *counters)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "from_packets_per_burst",
                     quotient(counters->from_packets, counters->from_bursts),
                     "to_packets_per_convoy", quotient(counters->to_packets, counters->to_convoys),
                     "to_calls_per_packet", quotient(counters->to_calls, counters->to_packets),
                     "from_calls_per_packet",
                     quotient(counters->from_calls, counters->from_packets), "kicks_per_packet",
                     quotient(counters->kicks, counters->from_packets));
}

json_t *control_view_counters(const struct port_counters *counters)
{
    struct counters_view view = {
        .counters = json_object(), .drops = json_object(), .unmerged = json_object()};

    port_counters_visit(counters, add_counter, &view);
    return json_pack("{s:o, s:o, s:I, s:o, s:o}", "counters", view.counters, "drops", view.drops,
                     "dropped", (json_int_t)view.dropped, "unmerged", view.unmerged, "derived",
                     derive(counters));
}

/* Adds the keys that only a vhost-user port has. */
static int add_vhost_user_keys(json_t *object, const struct port_config *config)
{
    char mac[MAC_TEXT_BYTES];

    if (config->group[0] &&
        json_object_set_new(object, "group", control_view_text(config->group)) < 0)
        return -1;
    return json_object_update_new(
        object,
        json_pack("{s:o, s:s, s:i, s:s, s:b, s:b}", "socket", control_view_text(config->socket),
                  "mode", socket_mode_name(config->socket_mode), "queues", (int)config->queue_pairs,
                  "mac", mac_format(config->mac, mac), "offloads", config->offloads, "mergeable",
                  config->mergeable));
}

static int add_tap_keys(json_t *object, const struct port_config *config)
{
    if (config->bridge[0] &&
        json_object_set_new(object, "bridge", control_view_text(config->bridge)) < 0)
        return -1;
    return json_object_set_new(object, "interface", control_view_text(config->interface));
}

json_t *control_view_port_config(const struct port_config *config)
{
    char hold[HOLD_TEXT_BYTES_MAX], budget[DURATION_TEXT_BYTES];
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:f, s:b, s:s, s:i}", "type", port_type_name(config->type),
                  "hold", hold_config_format(&config->hold, hold, sizeof(hold)), "delay-budget",
                  duration_format(config->hold.delay_budget_ns, budget), "delay-weight",
                  config->hold.delay_weight, "merge", config->merge, "when-full",
                  full_policy_name(config->full), "mtu", (int)config->mtu);
    int rc = config->type == PORT_TYPE_TAP ? add_tap_keys(object, config)
                                           : add_vhost_user_keys(object, config);

    if (rc < 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* The names of agreed features as an array. */
static json_t *view_features(uint64_t features)
{
    char buffer[FEATURES_TEXT_BYTES_MAX], *next = buffer, *name;
    json_t *array = json_array();

    (void)vhost_user_features_format(features, buffer, sizeof(buffer));
    while ((name = strsep(&next, ", ")))
        if (*name)
            (void)json_array_append_new(array, json_string(name));
    return array;
}

json_t *control_view_port(const struct port_status *status)
{
    bool is_tap = status->config.type == PORT_TYPE_TAP;
    json_t *object = json_pack(
        "{s:o, s:i, s:s, s:o, s:o, s:i, s:I, s:I}", "name", control_view_text(status->config.name),
        "id", (int)status->id, "state", port_state_name(status->state), "last_fault",
        status->last_fault[0] ? control_view_text(status->last_fault) : json_null(), "config",
        control_view_port_config(&status->config), "queues_running",
        (int)status->queue_pairs_running, "guest_memory_bytes",
        (json_int_t)status->guest_memory_bytes, "frames_waiting",
        (json_int_t)status->frames_waiting);

    /* A TAP port has no features that were agreed through virtio. */
    if (object && !is_tap)
        (void)json_object_set_new(object, "features", view_features(status->features));
    if (json_object_update_new(object, control_view_counters(&status->counters)) < 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *control_view_worker(unsigned index, const struct worker_status *status)
{
    return json_pack("{s:i, s:o, s:I, s:I, s:I}", "index", (int)index, "cpu",
                     status->cpu >= 0 ? json_integer(status->cpu) : json_null(), "cpu_time_ns",
                     (json_int_t)status->cpu_time_ns, "rounds", (json_int_t)status->rounds,
                     "sleeps", (json_int_t)status->sleeps);
}

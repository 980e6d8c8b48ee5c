#include "config/port_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"

#define HOLD_TIME_NS_MIN        UINT64_C(1000)
#define HOLD_TIME_NS_MAX        UINT64_C(1000000000)
#define DELAY_BUDGET_NS_MIN     UINT64_C(1000)
#define DELAY_BUDGET_NS_MAX     UINT64_C(100000000)
#define DELAY_BUDGET_NS_DEFAULT UINT64_C(50000)
#define DELAY_WEIGHT_MIN        0.001
#define DELAY_WEIGHT_MAX        1000.0
#define DELAY_WEIGHT_DEFAULT    0.1
enum { MTU_MIN = 68, MTU_MAX = 65535, MTU_DEFAULT = 1500 };

static const char *const port_type_names[] = {
    [PORT_TYPE_VHOST_USER] = "vhost-user",
    [PORT_TYPE_TAP] = "tap",
};
static const char *const socket_mode_names[] = {
    [SOCKET_MODE_SERVER] = "server",
    [SOCKET_MODE_CLIENT] = "client",
};
static const char *const hold_mode_names[] = {
    [HOLD_OFF] = "off",
    [HOLD_NATURAL] = "natural",
    [HOLD_FIXED] = "fixed",
    [HOLD_ADAPTIVE] = "adaptive",
};
static const char *const full_policy_names[] = {
    [FULL_DROP] = "drop",
    [FULL_PUSH_BACK] = "push-back",
};
static_assert(CV_COUNT_OF(port_type_names) == PORT_TYPE_TAP + 1, "a word for every type");
static_assert(CV_COUNT_OF(socket_mode_names) == SOCKET_MODE_CLIENT + 1, "a word for every mode");
static_assert(CV_COUNT_OF(hold_mode_names) == HOLD_ADAPTIVE + 1, "a word for every mode");
static_assert(CV_COUNT_OF(full_policy_names) == FULL_PUSH_BACK + 1, "a word for every policy");

const char *port_type_name(enum port_type type)
{
    return port_type_names[type];
}

const char *socket_mode_name(enum socket_mode mode)
{
    return socket_mode_names[mode];
}

const char *full_policy_name(enum full_policy policy)
{
    return full_policy_names[policy];
}

const char *hold_mode_name(enum hold_mode mode)
{
    return hold_mode_names[mode];
}

const char *hold_config_format(const struct hold_config *hold, char *buffer, size_t buffer_bytes)
{
    char time_text[DURATION_TEXT_BYTES];

    if (hold->mode == HOLD_FIXED)
        (void)snprintf(buffer, buffer_bytes, "fixed:%u,%s", hold->packets_max,
                       duration_format(hold->time_max_ns, time_text));
    else
        (void)snprintf(buffer, buffer_bytes, "%s", hold_mode_names[hold->mode]);
    return buffer;
}

/* -- One function for each key: text to member; false when the text is not what was expected. -- */

static bool word_find(const char *const *words, unsigned word_count, const char *text,
                      unsigned *ret_index)
{
    for (unsigned i = 0; i < word_count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static bool name_is_valid(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";
    size_t len = strlen(name);

    return len >= 1 && len < PORT_NAME_BYTES_MAX && name[0] != '-' && name[0] != '.' &&
           strspn(name, allowed) == len;
}

static bool name_set(struct port_config *config, const char *value)
{
    if (!name_is_valid(value))
        return false;
    strcpy(config->name, value);
    config->name_is_cut = false;
    return true;
}

static bool type_set(struct port_config *config, const char *value)
{
    unsigned index;

    if (!word_find(port_type_names, CV_COUNT_OF(port_type_names), value, &index))
        return false;
    config->type = (enum port_type)index;
    return true;
}

static bool socket_set(struct port_config *config, const char *value)
{
    if (value[0] != '/' || strlen(value) >= sizeof(config->socket))
        return false;
    /* It stands in log lines. */
    for (const char *c = value; *c; c++)
        if (*c < ' ' && *c > 0)
            return false;
    strcpy(config->socket, value);
    return true;
}

static bool mode_set(struct port_config *config, const char *value)
{
    unsigned index;

    if (!word_find(socket_mode_names, CV_COUNT_OF(socket_mode_names), value, &index))
        return false;
    config->socket_mode = (enum socket_mode)index;
    return true;
}

/* Whether the host has the group is found out when the port is made. */
static bool group_set(struct port_config *config, const char *value)
{
    size_t len = strlen(value);

    if (len < 1 || len >= sizeof(config->group) || strcspn(value, "/:,% \t\n\v\f\r") != len)
        return false;
    strcpy(config->group, value);
    return true;
}

static bool queues_set(struct port_config *config, const char *value)
{
    return number_parse(value, 1, PORT_QUEUE_PAIRS_MAX, &config->queue_pairs);
}

static bool mac_set(struct port_config *config, const char *value)
{
    mac_addr mac;

    if (!mac_parse(value, &mac) || !mac_is_unicast(mac))
        return false;
    config->mac = mac;
    return true;
}

static bool mtu_set(struct port_config *config, const char *value)
{
    return number_parse(value, MTU_MIN, MTU_MAX, &config->mtu);
}

/* The "32,50us" of "fixed:32,50us". */
static bool hold_fixed_parse(const char *text, struct hold_config *hold)
{
    const char *comma = strchr(text, ',');
    char packets[8];
    size_t packets_len;

    if (comma == NULL || (packets_len = (size_t)(comma - text)) >= sizeof(packets))
        return false;
    memcpy(packets, text, packets_len);
    packets[packets_len] = '\0';
    comma += comma[1] == ' ' ? 2 : 1;
    return number_parse(packets, 1, HOLD_PACKETS_MAX, &hold->packets_max) &&
           duration_parse(comma, &hold->time_max_ns) && hold->time_max_ns >= HOLD_TIME_NS_MIN &&
           hold->time_max_ns <= HOLD_TIME_NS_MAX;
}

/* Replaces the mode with its K and T; the budget and weight of `adaptive` stay what they are. */
static bool hold_set(struct port_config *config, const char *value)
{
    struct hold_config hold = config->hold;
    unsigned mode = HOLD_FIXED;

    hold.packets_max = 0;
    hold.time_max_ns = 0;
    if (strncmp(value, "fixed:", 6) == 0) {
        if (!hold_fixed_parse(value + 6, &hold))
            return false;
    } else if (!word_find(hold_mode_names, CV_COUNT_OF(hold_mode_names), value, &mode) ||
               mode == HOLD_FIXED) {
        return false;
    }
    hold.mode = (enum hold_mode)mode;
    config->hold = hold;
    return true;
}

static bool delay_budget_set(struct port_config *config, const char *value)
{
    uint64_t budget_ns;

    if (!duration_parse(value, &budget_ns) || budget_ns < DELAY_BUDGET_NS_MIN ||
        budget_ns > DELAY_BUDGET_NS_MAX)
        return false;
    config->hold.delay_budget_ns = budget_ns;
    return true;
}

static bool delay_weight_set(struct port_config *config, const char *value)
{
    return decimal_parse(value, DELAY_WEIGHT_MIN, DELAY_WEIGHT_MAX, &config->hold.delay_weight);
}

static bool merge_set(struct port_config *config, const char *value)
{
    return switch_parse(value, &config->merge);
}

static bool when_full_set(struct port_config *config, const char *value)
{
    unsigned index;

    if (!word_find(full_policy_names, CV_COUNT_OF(full_policy_names), value, &index))
        return false;
    config->full = (enum full_policy)index;
    return true;
}

static bool offloads_set(struct port_config *config, const char *value)
{
    return switch_parse(value, &config->offloads);
}

static bool mergeable_set(struct port_config *config, const char *value)
{
    return switch_parse(value, &config->mergeable);
}

/*
 * What Linux accepts as an interface's name (dev_valid_name in net/core/dev.c), less '%', which
 * would make the TAP driver choose a number.
 */
static bool interface_name_set(char interface[static 16], const char *value)
{
    size_t len = strlen(value);

    if (len < 1 || len > 15 || strcmp(value, ".") == 0 || strcmp(value, "..") == 0 ||
        strcspn(value, "/:% \t\n\v\f\r") != len)
        return false;
    strcpy(interface, value);
    return true;
}

static bool interface_set(struct port_config *config, const char *value)
{
    return interface_name_set(config->interface, value);
}

static bool bridge_set(struct port_config *config, const char *value)
{
    return interface_name_set(config->bridge, value);
}

/* -- The table of keys. -- */

enum { FOR_VHOST_USER = 1 << PORT_TYPE_VHOST_USER, FOR_TAP = 1 << PORT_TYPE_TAP };
#define FOR_ALL (FOR_VHOST_USER | FOR_TAP)

static const struct port_key {
    const char *name;
    unsigned types; /* FOR_: the types of port that have this key */
    bool is_live;   /* vswitch_port_set_hold changes it while the port exists */
    bool (*set)(struct port_config *config, const char *value);
    const char *expected; /* ends the sentence: "VALUE is not ..." */
} port_keys[] = {
    {"name", FOR_ALL, false, name_set,
     "a name of 1 to 31 letters, digits, '-', '_' and '.' that does not start with '-' or '.'"},
    {"type", FOR_ALL, false, type_set, "vhost-user or tap"},
    {"socket", FOR_VHOST_USER, false, socket_set, "an absolute path of at most 107 bytes"},
    {"mode", FOR_VHOST_USER, false, mode_set, "server or client"},
    {"group", FOR_VHOST_USER, false, group_set, "the name or number of a group of the host"},
    {"queues", FOR_VHOST_USER, false, queues_set, "a number from 1 to 8"},
    {"mac", FOR_VHOST_USER, false, mac_set, "a unicast MAC address such as 52:54:00:12:34:56"},
    {"mtu", FOR_ALL, false, mtu_set, "a number from 68 to 65535"},
    {"hold", FOR_ALL, true, hold_set,
     "adaptive, natural, off, or fixed:PACKETS,TIME with 1 to 256 packets and 1us to 1s"},
    {"delay-budget", FOR_ALL, true, delay_budget_set, "a time from 1us to 100ms, such as 50us"},
    {"delay-weight", FOR_ALL, true, delay_weight_set,
     "a number from 0.001 to 1000, such as 0.1: the seconds of processor time that may be spent to "
     "spare one packet one second of waiting"},
    {"merge", FOR_ALL, true, merge_set, "on or off"},
    {"when-full", FOR_ALL, false, when_full_set, "drop or push-back"},
    {"offloads", FOR_VHOST_USER, false, offloads_set, "on or off"},
    {"mergeable", FOR_VHOST_USER, false, mergeable_set, "on or off"},
    {"interface", FOR_TAP, false, interface_set,
     "an interface name of 1 to 15 characters without space, '/', ':' and '%'"},
    {"bridge", FOR_TAP, false, bridge_set,
     "an interface name of 1 to 15 characters without space, '/', ':' and '%'"},
};
static_assert(PORT_NAME_BYTES_MAX == 32 && PORT_QUEUE_PAIRS_MAX == 8 && HOLD_PACKETS_MAX == 256,
              "the sentences above name these limits");
static_assert(HOLD_PACKETS_MAX <= (int)CONVOY_FRAMES_MAX, "a convoy can be that large");
static_assert(CV_COUNT_OF(port_keys) <= 32, "keys_set has a bit for each");

const char *port_config_key(unsigned index)
{
    return index < CV_COUNT_OF(port_keys) ? port_keys[index].name : NULL;
}

bool port_config_key_is_live(const char *key)
{
    for (size_t i = 0; i < CV_COUNT_OF(port_keys); i++) {
        if (strcmp(key, port_keys[i].name) == 0)
            return port_keys[i].is_live;
    }
    return true;
}

/* The only sentence without a key in front. */
static int unknown_key(const char *key, struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];
    char hint[QUOTED_TEXT_BYTES + 32];
    struct nearest nearest;

    nearest_init(&nearest, key);
    for (size_t i = 0; i < CV_COUNT_OF(port_keys); i++)
        nearest_offer(&nearest, port_keys[i].name);
    return error_set(error, -EINVAL, "%s is not a key of a port%s", text_quote(key, quoted),
                     nearest_format(&nearest, hint, sizeof(hint)));
}

int port_config_set(struct port_config *config, const char *key, const char *value,
                    struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];

    for (size_t i = 0; i < CV_COUNT_OF(port_keys); i++) {
        if (strcmp(key, port_keys[i].name) != 0)
            continue;
        if (!port_keys[i].set(config, value))
            return error_set(error, -EINVAL, "%s: %s is not %s", key, text_quote(value, quoted),
                             port_keys[i].expected);
        config->keys_set |= 1u << i;
        return 0;
    }
    return unknown_key(key, error);
}

void port_config_init(struct port_config *config, const char *name)
{
    *config = (struct port_config){
        .type = PORT_TYPE_VHOST_USER,
        .hold = {.mode = HOLD_ADAPTIVE,
                 .delay_budget_ns = DELAY_BUDGET_NS_DEFAULT,
                 .delay_weight = DELAY_WEIGHT_DEFAULT},
        .merge = true,
        .full = FULL_DROP,
        .mtu = MTU_DEFAULT,
        .socket_mode = SOCKET_MODE_SERVER,
        .queue_pairs = 1,
        .offloads = true,
        .mergeable = true,
    };
    config->name_is_cut = strlen(name) >= sizeof(config->name);
    (void)snprintf(config->name, sizeof(config->name), "%s", name);
}

mac_addr port_config_derive_mac(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    hash ^= hash >> 33;
    return UINT64_C(0x525400000000) | (hash & 0xffffff);
}

static int check_keys_fit_type(const struct port_config *config, struct error *error)
{
    for (size_t i = 0; i < CV_COUNT_OF(port_keys); i++) {
        bool is_set = (config->keys_set >> i & 1) != 0;

        if (is_set && (port_keys[i].types & 1u << config->type) == 0)
            return error_set(error, -EINVAL,
                             "%s: belongs to ports of type %s, and this port is of type %s",
                             port_keys[i].name,
                             port_type_names[port_keys[i].types == FOR_TAP ? PORT_TYPE_TAP
                                                                           : PORT_TYPE_VHOST_USER],
                             port_type_names[config->type]);
    }
    return 0;
}

static int fill_vhost_user(struct port_config *config, const char *run_dir, struct error *error)
{
    int len;

    if (config->mac == 0)
        config->mac = port_config_derive_mac(config->name);
    if (config->socket[0] != '\0')
        return 0;
    len = snprintf(config->socket, sizeof(config->socket), "%s/%s.sock", run_dir, config->name);
    if (len >= (int)sizeof(config->socket))
        return error_set(error, -EINVAL,
                         "socket: %s/%s.sock is longer than 107 bytes; give a shorter run-dir or "
                         "a socket of its own",
                         run_dir, config->name);
    return 0;
}

static int fill_tap(struct port_config *config, struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];

    if (config->interface[0] == '\0' && !interface_name_set(config->interface, config->name))
        return error_set(error, -EINVAL,
                         "interface: the port's name %s is longer than 15 characters, so the "
                         "interface needs a name of its own",
                         text_quote(config->name, quoted));
    if (strcmp(config->interface, config->bridge) == 0)
        return error_set(error, -EINVAL, "bridge: %s is the port's own interface",
                         text_quote(config->bridge, quoted));
    return 0;
}

int port_config_finish(struct port_config *config, const char *run_dir, struct error *error)
{
    struct port_config filled = *config;
    char quoted[QUOTED_TEXT_BYTES];
    int result;

    if (config->name_is_cut || !name_is_valid(config->name))
        return error_set(error, -EINVAL, "name: %s%s is not %s", text_quote(config->name, quoted),
                         config->name_is_cut ? " and so on" : "", port_keys[0].expected);
    result = check_keys_fit_type(config, error);
    if (result == 0)
        result = filled.type == PORT_TYPE_TAP ? fill_tap(&filled, error)
                                              : fill_vhost_user(&filled, run_dir, error);
    if (result == 0)
        *config = filled;
    return result;
}

/* Two vhost-user ports: neither may take what the other has. */
static int check_pair_vhost_user(const struct port_config *config, const struct port_config *other,
                                 struct error *error)
{
    char mac_text[MAC_TEXT_BYTES];

    if (strcmp(config->socket, other->socket) == 0)
        return error_set(error, -EEXIST, "socket: %s is the socket of port %s already",
                         config->socket, other->name);
    if (config->mac == other->mac)
        return error_set(error, -EEXIST,
                         "mac: %s is the address of port %s already; give one of them another mac",
                         mac_format(config->mac, mac_text), other->name);
    return 0;
}

int port_config_check_pair(const struct port_config *config, const struct port_config *other,
                           struct error *error)
{
    if (strcmp(config->name, other->name) == 0)
        return error_set(error, -EEXIST, "name: there is a port %s already", other->name);
    if (config->type != other->type)
        return 0;
    if (config->type == PORT_TYPE_VHOST_USER)
        return check_pair_vhost_user(config, other, error);
    if (strcmp(config->interface, other->interface) == 0)
        return error_set(error, -EEXIST, "interface: %s is the interface of port %s already",
                         config->interface, other->name);
    return 0;
}

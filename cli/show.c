#include "show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "human.h"
#include "members.h"
#include "metrics/drops.h"
#include "show_convoys.h"
#include "table.h"

enum { LABEL_WIDTH = 14, FEATURES_MAX = 64 };

static const char *ratio_of(const json_t *object, const char *name,
                            char text[static HUMAN_BYTES_MAX])
{
    double ratio;
    bool is_known = member_number(object, name, &ratio);

    return human_ratio(ratio, is_known, text);
}

static void add_count(struct table *table, const json_t *counters, const char *name)
{
    char text[HUMAN_BYTES_MAX];

    table_add(table, human_count(member_count(counters, name), text));
}

static void add_bytes(struct table *table, const json_t *counters, const char *name)
{
    char text[HUMAN_BYTES_MAX];

    table_add(table, human_bytes(member_count(counters, name), text));
}

static void add_ratio(struct table *table, const json_t *derived, const char *name)
{
    char text[HUMAN_BYTES_MAX];

    table_add(table, ratio_of(derived, name, text));
}

static void print_fact(const char *label, const char *text)
{
    printf("  %-*s  %s\n", LABEL_WIDTH, label, text);
}

/* --- drops --- */

/* The sentence for a reason. */
static const char *drop_sentence(const char *name)
{
    for (int r = DROP_NONE + 1; r < DROP_REASON_COUNT; r++)
        if (strcmp(drop_reason_name((enum drop_reason)r), name) == 0)
            return drop_reason_text((enum drop_reason)r);
    return "(a reason that this version does not know)";
}

static void show_drops(const json_t *drops)
{
    static const struct table_column columns[] = {{"", true}, {"", false}, {"", false}, {0}};
    struct table *table = table_new(columns);
    char text[HUMAN_BYTES_MAX];
    const char *name;
    json_t *frames;
    bool any = false;

    json_object_foreach((json_t *)(uintptr_t)drops, name, frames)
    {
        if (json_integer_value(frames) == 0)
            continue;
        any = true;
        table_add(table, human_count((uint64_t)json_integer_value(frames), text));
        table_add(table, name);
        table_add(table, drop_sentence(name));
    }
    puts(any ? "\n  dropped frames:" : "\n  no frame was dropped");
    table_print(table, 4);
    table_free(table);
}

/* --- status --- */

static void show_workers(const json_t *workers)
{
    static const struct table_column columns[] = {{"WORKER", true},   {"CPU", true},
                                                  {"CPU TIME", true}, {"ROUNDS", true},
                                                  {"SLEEPS", true},   {0}};
    struct table *table = table_new(columns);
    char text[HUMAN_BYTES_MAX];
    const json_t *worker;
    size_t i;

    json_array_foreach(workers, i, worker)
    {
        const json_t *cpu = json_object_get(worker, "cpu");

        table_add(table, human_count(member_count(worker, "index"), text));
        table_add(table, json_is_integer(cpu) ? human_count((uint64_t)json_integer_value(cpu), text)
                                              : "any");
        table_add(table, human_duration((double)member_count(worker, "cpu_time_ns") / 1e9, text));
        add_count(table, worker, "rounds");
        add_count(table, worker, "sleeps");
    }
    putchar('\n');
    table_print(table, 2);
    table_free(table);
}

static void add_flow_row(struct table *table, const char *label, const json_t *totals,
                         const char *from, const char *to,
                         void (*add)(struct table *table, const json_t *object, const char *name))
{
    table_add(table, label);
    from ? add(table, totals, from) : table_add(table, "");
    to ? add(table, totals, to) : table_add(table, "");
}

/* What went in and out: of one port, or of all. */
static void show_flow(const json_t *object)
{
    static const struct table_column columns[] = {
        {" ", false}, {"FROM THE PORT", true}, {"TO THE PORT", true}, {0}};
    const json_t *counters = json_object_get(object, "counters");
    const json_t *derived = json_object_get(object, "derived");
    struct table *table = table_new(columns);

    add_flow_row(table, "frames", counters, "from_packets", "to_packets", add_count);
    add_flow_row(table, "bytes", counters, "from_bytes", "to_bytes", add_bytes);
    add_flow_row(table, "groups", counters, "from_bursts", "to_convoys", add_count);
    add_flow_row(table, "frames per group", derived, "from_packets_per_burst",
                 "to_packets_per_convoy", add_ratio);
    add_flow_row(table, "calls", counters, "from_calls", "to_calls", add_count);
    add_flow_row(table, "calls per frame", derived, "from_calls_per_packet", "to_calls_per_packet",
                 add_ratio);
    add_flow_row(table, "kicks", counters, "kicks", NULL, add_count);
    add_flow_row(table, "kicks per frame", derived, "kicks_per_packet", NULL, add_ratio);
    putchar('\n');
    table_print(table, 2);
    table_free(table);
}

/* Counters of work that is not the rule, when there was any. */
static void show_extra_work(const json_t *counters)
{
    static const struct {
        const char *name, *text;
    } extras[] = {
        {"segmented", "super-packets cut for the port"},
        {"checksummed", "checksums completed for the port"},
        {"linearised", "frames copied because they lay in too many pieces"},
        {"faults", "times the port was stopped for breaking the protocol"},
    };
    char text[HUMAN_BYTES_MAX];
    bool any = false;

    for (size_t i = 0; i < CV_COUNT_OF(extras); i++) {
        uint64_t count = member_count(counters, extras[i].name);

        if (count == 0)
            continue;
        printf("%s  %8s  %s\n", any ? "" : "\n", human_count(count, text), extras[i].text);
        any = true;
    }
}

void show_status(const json_t *status)
{
    const json_t *ports = json_object_get(status, "ports");
    const json_t *bridge = json_object_get(status, "bridge");
    const json_t *totals = json_object_get(status, "totals");
    char line[160], a[HUMAN_BYTES_MAX], b[HUMAN_BYTES_MAX];
    const char *config = json_string_value(json_object_get(status, "config"));

    printf("convoyd %s, pid %u, up %s\n", member_text(status, "version"),
           (unsigned)member_count(status, "pid"),
           human_duration(json_number_value(json_object_get(status, "uptime_s")), a));
    print_fact("configuration", config ? config : "none");
    print_fact("control socket", member_text(status, "control_socket"));
    (void)snprintf(line, sizeof(line), "%u of at most %u: %u running, %u connected, %u waiting",
                   (unsigned)member_count(ports, "count"), (unsigned)member_count(ports, "limit"),
                   (unsigned)member_count(ports, "running"),
                   (unsigned)member_count(ports, "connected"),
                   (unsigned)member_count(ports, "waiting"));
    print_fact("ports", line);
    (void)snprintf(line, sizeof(line), "%s in the table; %s learnt, %u moved, %u evicted",
                   human_count(member_count(bridge, "entries"), a),
                   human_count(member_count(bridge, "learnt"), b),
                   (unsigned)member_count(bridge, "moved"),
                   (unsigned)member_count(bridge, "evicted"));
    print_fact("addresses", line);
    show_workers(json_object_get(status, "workers"));
    show_flow(totals);
    show_extra_work(json_object_get(totals, "counters"));
    show_drops(json_object_get(totals, "drops"));
}

/* --- ports --- */

static const char *address_of(const json_t *config, char *buffer, size_t buffer_bytes)
{
    if (!member_is(config, "type", "tap"))
        return member_text(config, "mac");
    (void)snprintf(buffer, buffer_bytes, "tap %s", member_text(config, "interface"));
    return buffer;
}

void show_port_list(const json_t *result)
{
    static const struct table_column columns[] = {
        {"NAME", false}, {"STATE", false},  {"MAC OR TAP", false}, {"FROM IT", true},
        {"TO IT", true}, {"CALL/FR", true}, {"DROPPED", true},     {0}};
    const json_t *ports = json_object_get(result, "ports"), *port;
    struct table *table;
    char buffer[64];
    size_t i;

    if (json_array_size(ports) == 0) {
        puts("There is no port; convoy port add NAME makes one.");
        return;
    }
    table = table_new(columns);
    json_array_foreach(ports, i, port)
    {
        const json_t *counters = json_object_get(port, "counters");

        table_add(table, member_text(port, "name"));
        table_add(table, member_text(port, "state"));
        table_add(table, address_of(json_object_get(port, "config"), buffer, sizeof(buffer)));
        add_count(table, counters, "from_packets");
        add_count(table, counters, "to_packets");
        add_ratio(table, json_object_get(port, "derived"), "to_calls_per_packet");
        add_count(table, port, "dropped");
    }
    table_print(table, 0);
    table_free(table);
}

static void show_vhost_user(const json_t *port, const json_t *config)
{
    const json_t *features = json_object_get(port, "features"), *feature;
    const char *names[FEATURES_MAX];
    char line[160], text[HUMAN_BYTES_MAX];
    size_t i, count = 0;

    print_fact("socket", member_text(config, "socket"));
    print_fact("mode", member_is(config, "mode", "client")
                           ? "client: convoyd connects, the VMM listens"
                           : "server: convoyd listens, the VMM connects");
    print_fact("MAC", member_text(config, "mac"));
    (void)snprintf(line, sizeof(line), "%u of %u pairs running",
                   (unsigned)member_count(port, "queues_running"),
                   (unsigned)member_count(config, "queues"));
    print_fact("queues", line);
    (void)snprintf(line, sizeof(line), "offloads %s, mergeable buffers %s",
                   member_is_true(config, "offloads") ? "on" : "off",
                   member_is_true(config, "mergeable") ? "on" : "off");
    print_fact("offered", line);
    print_fact("guest memory", human_memory(member_count(port, "guest_memory_bytes"), text));
    json_array_foreach(features, i, feature)
    {
        if (count < FEATURES_MAX && json_is_string(feature))
            names[count++] = json_string_value(feature);
    }
    if (count == 0)
        print_fact("agreed", "-");
    else
        table_print_wrapped(2, LABEL_WIDTH, "agreed", names, count);
}

static void show_tap(const json_t *config)
{
    print_fact("interface", member_text(config, "interface"));
    print_fact("bridge", member_text(config, "bridge"));
}

static void show_hold(const json_t *config)
{
    char line[160], weight[HUMAN_BYTES_MAX];

    /* Without the model its two knobs turn nothing. */
    if (member_is(config, "hold", "adaptive")) {
        (void)snprintf(line, sizeof(line), "adaptive; delay budget %s, delay weight %s",
                       member_text(config, "delay-budget"),
                       human_plain(member_number_or_0(config, "delay-weight"), weight));
        print_fact("hold", line);
    } else {
        print_fact("hold", member_text(config, "hold"));
    }
    print_fact("merge", member_is_true(config, "merge") ? "on" : "off");
}

void show_port(const json_t *port)
{
    const json_t *config = json_object_get(port, "config");
    const json_t *counters = json_object_get(port, "counters");
    const char *fault = json_string_value(json_object_get(port, "last_fault"));
    char line[160];

    printf("%s: %s, %s\n", member_text(port, "name"), member_text(config, "type"),
           member_text(port, "state"));
    if (member_is(config, "type", "tap"))
        show_tap(config);
    else
        show_vhost_user(port, config);
    (void)snprintf(line, sizeof(line), "%u", (unsigned)member_count(config, "mtu"));
    print_fact("MTU", line);
    show_hold(config);
    (void)snprintf(line, sizeof(line), "%u frames; when full: %s",
                   (unsigned)member_count(port, "frames_waiting"),
                   member_text(config, "when-full"));
    print_fact("waiting", line);
    if (fault)
        print_fact("last fault", fault);
    show_flow(port);
    show_convoys(port);
    show_extra_work(counters);
    show_drops(json_object_get(port, "drops"));
}

/* --- addresses --- */

static int compare_entries(const void *a, const void *b)
{
    const json_t *const *first = a, *const *second = b;
    int order = strcmp(member_text(*first, "port"), member_text(*second, "port"));

    return order ? order : strcmp(member_text(*first, "mac"), member_text(*second, "mac"));
}

/* The entries by port and address, for free(); NULL when there are none. */
static const json_t **sort_entries(const json_t *entries)
{
    size_t count = json_array_size(entries);
    const json_t **sorted = count > 0 ? malloc(count * sizeof(json_t *)) : NULL;

    if (!sorted)
        return NULL;
    for (size_t i = 0; i < count; i++)
        sorted[i] = json_array_get(entries, i);
    qsort(sorted, count, sizeof(json_t *), compare_entries);
    return sorted;
}

void show_mac_list(const json_t *result)
{
    static const struct table_column columns[] = {
        {"MAC", false}, {"PORT", false}, {"LAST SEEN", true}, {0}};
    const json_t *entries = json_object_get(result, "entries");
    const json_t **sorted = sort_entries(entries);
    struct table *table = table_new(columns);
    char text[HUMAN_BYTES_MAX];

    for (size_t i = 0; sorted && i < json_array_size(entries); i++) {
        const json_t *age = json_object_get(sorted[i], "age_s");

        table_add(table, member_text(sorted[i], "mac"));
        table_add(table, member_text(sorted[i], "port"));
        table_add(table,
                  json_is_number(age) ? human_duration(json_number_value(age), text) : "static");
    }
    table_print(table, 0);
    table_free(table);
    free(sorted);
    if (member_count(result, "total") > json_array_size(entries))
        printf("... %s addresses in all; name a port to see its own\n",
               human_count(member_count(result, "total"), text));
}

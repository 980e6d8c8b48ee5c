#include "show_convoys.h"

#include <stdio.h>

#include "human.h"
#include "members.h"
#include "metrics/merge_refusals.h"
#include "table.h"

enum { LABEL_WIDTH = 14 };

static void print_fact(const char *label, const char *text)
{
    printf("    %-*s  %s\n", LABEL_WIDTH, label, text);
}

/* --- cells: "-" for what is not known --- */

static void add_number(struct table *table, const json_t *object, const char *name,
                       const char *(*format)(double number, char text[static HUMAN_BYTES_MAX]))
{
    char text[HUMAN_BYTES_MAX];
    double number;

    table_add(table, member_number(object, name, &number) ? format(number, text) : "-");
}

static void add_ratio(struct table *table, const json_t *object, const char *name)
{
    char text[HUMAN_BYTES_MAX];
    double number;
    bool is_known = member_number(object, name, &number);

    table_add(table, human_ratio(number, is_known, text));
}

static const char *time_of_ns(double ns, char text[static HUMAN_BYTES_MAX])
{
    return human_time(ns / 1e9, text);
}

/* --- what is in force --- */

/* The rule in words. */
static void describe_rule(const json_t *rule, char *line, size_t line_bytes)
{
    char time[HUMAN_BYTES_MAX], silence[HUMAN_BYTES_MAX];
    double time_ns = member_number_or_0(rule, "time_max_ns"), silence_ns;
    bool has_silence = member_number(rule, "silence_max_ns", &silence_ns);

    if (time_ns <= 0) {
        (void)snprintf(line, line_bytes, "nothing waits for company");
        return;
    }
    (void)snprintf(line, line_bytes, "%s until %u packets%s %s%s%s%s",
                   member_is(rule, "place", "data") ? "data waits" : "the call waits",
                   (unsigned)member_count(rule, "packets_max"), has_silence ? "," : " or",
                   time_of_ns(time_ns, time), has_silence ? ", or " : "",
                   has_silence ? time_of_ns(silence_ns, silence) : "",
                   has_silence ? " of silence" : "");
}

/* Two costs as times; false while they are not known. */
static bool read_costs(const json_t *costs, const char *fixed, const char *each,
                       char fixed_text[static HUMAN_BYTES_MAX],
                       char each_text[static HUMAN_BYTES_MAX])
{
    double fixed_s, each_s;

    if (!member_number(costs, fixed, &fixed_s) || !member_number(costs, each, &each_s))
        return false;
    (void)human_time(fixed_s, fixed_text);
    (void)human_time(each_s, each_text);
    return true;
}

static void show_costs(const json_t *costs)
{
    char fixed[HUMAN_BYTES_MAX], each[HUMAN_BYTES_MAX], call[HUMAN_BYTES_MAX];
    char wanted[HUMAN_BYTES_MAX], line[160];
    double call_s = member_number_or_0(costs, "call_s");

    if (read_costs(costs, "transfer_s", "packet_s", fixed, each)) {
        (void)snprintf(line, sizeof(line),
                       "%s a group + %s a packet; a call %s, wanted by %s of groups", fixed, each,
                       call_s > 0 ? human_time(call_s, call) : "-",
                       human_percent(member_number_or_0(costs, "calls_wanted"), wanted));
        print_fact("worker", line);
    }
    if (read_costs(costs, "answer_call_s", "answer_packet_s", fixed, each)) {
        (void)snprintf(line, sizeof(line), "%s a call + %s a packet, until it has looked", fixed,
                       each);
        print_fact("guest", line);
    }
}

/* Whether a queue is worth its lines: one with traffic, or the first when there is none. */
static bool is_worth_showing(const json_t *queues, size_t index)
{
    const json_t *queue;
    size_t i;
    bool any = false;

    json_array_foreach(queues, i, queue)
    {
        bool is_busy = member_number_or_0(json_object_get(queue, "to"), "rate_per_second") > 0;

        if (i == index && is_busy)
            return true;
        any |= is_busy;
    }
    return !any && index == 0;
}

static void show_rules(const json_t *queues)
{
    const json_t *queue;
    size_t i;

    json_array_foreach(queues, i, queue)
    {
        const json_t *to = json_object_get(queue, "to");
        char line[200], label[48] = "rule";

        if (!json_is_object(to) || !is_worth_showing(queues, i))
            continue;
        if (json_array_size(queues) > 1)
            (void)snprintf(label, sizeof(label), "rule, queue %zu", i);
        describe_rule(json_object_get(to, "rule"), line, sizeof(line));
        print_fact(label, line);
        show_costs(json_object_get(to, "costs"));
    }
}

/* --- predicted and measured --- */

static void add_queue_row(struct table *table, size_t index, const json_t *to)
{
    const json_t *predicted = json_object_get(to, "predicted");
    const json_t *measured = json_object_get(to, "measured");
    char text[HUMAN_BYTES_MAX];

    table_add(table, human_count(index, text));
    table_add(table, human_number(member_number_or_0(to, "rate_per_second"), text));
    add_ratio(table, to, "mean_batch");
    add_ratio(table, to, "burstiness");
    add_ratio(table, measured, "mean_size");
    add_ratio(table, predicted, "mean_size");
    add_number(table, measured, "mean_wait_s", human_time);
    add_number(table, predicted, "mean_wait_s", human_time);
    add_number(table, json_object_get(to, "now"), "utilisation", human_percent);
    add_number(table, json_object_get(to, "twice"), "utilisation", human_percent);
}

static void show_queues(const json_t *queues)
{
    static const struct table_column columns[] = {{"QUEUE", true},
                                                  {"PACKETS/S", true},
                                                  {"BATCH", true},
                                                  {"BURSTS", true},
                                                  {"GROUP", true},
                                                  {"MODEL", true},
                                                  {"ADDED", true},
                                                  {"MODEL", true},
                                                  {"WORKER", true},
                                                  {"AT TWICE", true},
                                                  {0}};
    struct table *table = table_new(columns);
    const json_t *queue;
    size_t i;

    json_array_foreach(queues, i, queue)
    {
        const json_t *to = json_object_get(queue, "to");

        if (json_is_object(to))
            add_queue_row(table, i, to);
    }
    table_print(table, 4);
    table_free(table);
}

/* --- since the port was added --- */

static void add_histogram_row(struct table *table, const char *label, const json_t *histogram,
                              const char *(*format)(double number,
                                                    char text[static HUMAN_BYTES_MAX]))
{
    static const char *const names[] = {"mean", "p50", "p99", "p99_9", "max"};
    char text[HUMAN_BYTES_MAX];

    table_add(table, label);
    table_add(table, human_count(member_count(histogram, "count"), text));
    for (size_t i = 0; i < CV_COUNT_OF(names); i++)
        add_number(table, histogram, names[i], format);
}

/* Sizes are whole, means of them are not. */
static const char *size_of(double packets, char text[static HUMAN_BYTES_MAX])
{
    bool is_whole = packets == (double)(uint64_t)packets;

    return is_whole ? human_count((uint64_t)packets, text) : human_ratio(packets, true, text);
}

static void show_histograms(const json_t *histograms)
{
    static const struct table_column columns[] = {{"SINCE IT WAS ADDED", false},
                                                  {"COUNT", true},
                                                  {"MEAN", true},
                                                  {"P50", true},
                                                  {"P99", true},
                                                  {"P99.9", true},
                                                  {"MAX", true},
                                                  {0}};
    struct table *table = table_new(columns);

    add_histogram_row(table, "packets in a group", json_object_get(histograms, "size"), size_of);
    add_histogram_row(table, "added delay", json_object_get(histograms, "added_delay_ns"),
                      time_of_ns);
    add_histogram_row(table, "time in the switch", json_object_get(histograms, "residence_ns"),
                      time_of_ns);
    putchar('\n');
    table_print(table, 4);
    table_free(table);
}

/* The sentence for a reason. */
static const char *refusal_sentence(const char *name)
{
    for (int r = MERGE_JOINED + 1; r < MERGE_REFUSAL_COUNT; r++)
        if (strcmp(merge_refusal_name((enum merge_refusal)r), name) == 0)
            return merge_refusal_text((enum merge_refusal)r);
    return "(a reason that this version does not know)";
}

static void show_merges(const json_t *port)
{
    static const struct table_column columns[] = {{"", true}, {"", false}, {"", false}, {0}};
    json_t *unmerged = json_object_get(port, "unmerged"), *frames;
    uint64_t merges = member_count(json_object_get(port, "counters"), "merges");
    struct table *table = table_new(columns);
    char text[HUMAN_BYTES_MAX];
    const char *name;
    bool any = false;

    json_object_foreach(unmerged, name, frames)
    {
        if (json_integer_value(frames) == 0)
            continue;
        any = true;
        table_add(table, human_count((uint64_t)json_integer_value(frames), text));
        table_add(table, name);
        table_add(table, refusal_sentence(name));
    }
    if (merges > 0 || any)
        printf("\n    %s frames were merged into one of their flow%s\n", human_count(merges, text),
               any ? "; these were not, though one was aboard:" : "");
    table_print(table, 6);
    table_free(table);
}

/* How kicks of the guest, and calls that give its buffers back, are grouped. */
static void show_from(const json_t *queues)
{
    const json_t *queue;
    size_t i;

    json_array_foreach(queues, i, queue)
    {
        const json_t *from = json_object_get(queue, "from");
        const json_t *rule = json_object_get(from, "rule");
        double time_ns = member_number_or_0(rule, "time_max_ns");
        char text[HUMAN_BYTES_MAX], rate[HUMAN_BYTES_MAX];

        if (time_ns <= 0)
            continue;
        printf("    queue %zu: up to %u packets or %s in a group, at %s packets/s\n", i,
               (unsigned)member_count(rule, "packets_max"), time_of_ns(time_ns, text),
               human_number(member_number_or_0(from, "rate_per_second"), rate));
    }
}

static bool groups_kicks(const json_t *queues)
{
    const json_t *queue;
    size_t i;

    json_array_foreach(queues, i, queue)
    {
        const json_t *rule = json_object_get(json_object_get(queue, "from"), "rule");

        if (member_number_or_0(rule, "time_max_ns") > 0)
            return true;
    }
    return false;
}

void show_convoys(const json_t *port)
{
    const json_t *tuning = json_object_get(port, "tuning");
    const json_t *queues = json_object_get(tuning, "queues");

    if (!json_is_object(tuning))
        return;
    puts("\n  convoys to the port:");
    show_rules(queues);
    putchar('\n');
    show_queues(queues);
    show_histograms(json_object_get(tuning, "histograms"));
    show_merges(port);
    if (groups_kicks(queues)) {
        puts("\n  kicks of the port, and calls that give its buffers back:");
        show_from(queues);
    }
}

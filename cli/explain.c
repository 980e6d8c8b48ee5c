#include "explain.h"

#include <stdarg.h>
#include <stdlib.h>

#include "human.h"
#include "members.h"
#include "metrics/merge_refusals.h"

enum { LINE_COLUMNS = 80 };

/* A driver that wants a call for fewer groups than this polls its ring. */
#define POLLING_SHARE 0.05

/* Holding starts where it saves so many times what it costs. */
#define WORTH_START 1.5

/* From this share of its time on a worker is near its limit. */
#define BUSY_SHARE 0.9

struct story {
    FILE *out;
    bool has_begun;
    const json_t *port, *config;
    const char *name;
    const char *hold;
    const json_t *to; /* the busiest queue; NULL: there is none */
    unsigned index;   /* its number */
    unsigned queue_count, busy_count;
    double rate; /* packets per second to that queue */
    double rate_of_all;
    double batch; /* packets that come together, at least 1 */
};

static void say(struct story *story, const char *format, ...) CV_PRINTF(2, 3);

/* Appends a sentence. */
static void say(struct story *story, const char *format, ...)
{
    va_list args;

    if (story->has_begun)
        fputc(' ', story->out);
    story->has_begun = true;
    va_start(args, format);
    (void)vfprintf(story->out, format, args);
    va_end(args);
}

static const char *packets_of(double packets, char text[static HUMAN_BYTES_MAX])
{
    return human_ratio(packets, true, text);
}

static bool is_tap(const struct story *story)
{
    return member_is(story->config, "type", "tap");
}

static const json_t *rule_of(const struct story *story)
{
    return json_object_get(story->to, "rule");
}

static double time_max_s(const struct story *story)
{
    return member_number_or_0(rule_of(story), "time_max_ns") / 1e9;
}

static bool holds_data(const struct story *story)
{
    return member_is(rule_of(story), "place", "data");
}

static double cost_of(const struct story *story, const char *name)
{
    return member_number_or_0(json_object_get(story->to, "costs"), name);
}

static bool wants_no_calls(const struct story *story)
{
    return cost_of(story, "calls_wanted") < POLLING_SHARE;
}

/* --- no guest --- */

static void say_fault(struct story *story)
{
    const char *fault = json_string_value(json_object_get(story->port, "last_fault"));

    if (fault)
        say(story, "It was last stopped for this reason: %s.", fault);
}

static void explain_waiting(struct story *story)
{
    bool is_client = member_is(story->config, "mode", "client");

    say(story,
        "No guest is plugged into %s: %s. Nothing can be delivered, so nothing waits; what is sent "
        "to it is dropped, and counted as port_down.",
        story->name,
        is_client ? "no VMM listens on its socket" : "no VMM is connected to its socket");
    say(story, "\"convoy port show %s --print qemu\" prints what a VMM needs.", story->name);
    say_fault(story);
}

static void explain_connected(struct story *story)
{
    say(story,
        "A VMM is connected to %s, but its guest has not started the queues of its network card, "
        "or they were stopped. Nothing can be delivered, so nothing waits; what is sent to it is "
        "dropped, and counted as port_down.",
        story->name);
    say_fault(story);
}

/* --- no traffic --- */

static void explain_idle(struct story *story)
{
    double silent_ns;
    char text[HUMAN_BYTES_MAX];

    if (member_number(story->to, "silent_ns", &silent_ns))
        say(story, "%s is idle: the last packet for it came %s ago.", story->name,
            human_time(silent_ns / 1e9, text));
    else
        say(story, "%s is idle: no packet has come for it yet.", story->name);
    if (member_is(story->config, "hold", "adaptive"))
        say(story, "One that comes now does not wait: with hold=adaptive waiting for company "
                   "begins only once packets come so densely that it pays.");
    else if (time_max_s(story) > 0)
        say(story, "One that comes now waits for others, for %s at most, since hold=%s says so.",
            human_time(time_max_s(story), text), story->hold);
    else
        say(story, "One that comes now does not wait: with hold=%s none does.", story->hold);
}

/* --- load --- */

static const char *spacing(const struct story *story)
{
    double burstiness;

    if (!member_number(story->to, "burstiness", &burstiness))
        return "";
    return burstiness < 0.3 ? ", evenly spaced"
           : burstiness < 2 ? ", at random moments"
                            : ", in bursts";
}

static void say_batch(struct story *story)
{
    char batch[HUMAN_BYTES_MAX];

    if (story->batch < 1.5)
        fprintf(story->out, ", one at a time%s.", spacing(story));
    else
        fprintf(story->out, ", in batches of %s packets%s.", packets_of(story->batch, batch),
                spacing(story));
}

static void explain_load(struct story *story)
{
    char all[HUMAN_BYTES_MAX], one[HUMAN_BYTES_MAX];

    say(story, "%s gets %s packets per second", story->name, human_number(story->rate_of_all, all));
    if (story->queue_count > 1)
        fprintf(story->out,
                " through %u of its %u queues. What follows is about queue %u, the busiest: %s "
                "packets per second",
                story->busy_count, story->queue_count, story->index,
                human_number(story->rate, one));
    say_batch(story);
}

/* --- the rule, and why --- */

static void explain_off(struct story *story)
{
    say(story, "With hold=off each frame departs on its own, announced by a call of its own "
               "whether the receiver wants one or not; nothing waits, and no call is spared.");
}

static void explain_natural(struct story *story)
{
    say(story, "With hold=natural packets that were taken from their senders together depart "
               "together, and nothing waits for company.");
}

/* What it is that waits. */
static void explain_place(struct story *story)
{
    if (holds_data(story))
        say(story, "What waits is the packets themselves, since most are of a kind that can be "
                   "merged with those that follow.");
    else
        say(story, "Only the call waits: the packets are visible to the receiver at once.");
}

/* Whether K, T or silence usually ends a group. */
static void explain_end(struct story *story)
{
    double packets = member_number_or_0(rule_of(story), "packets_max");
    double fill_s = (packets - 1) / story->rate, silence_ns;
    char time[HUMAN_BYTES_MAX];

    if (member_number(rule_of(story), "silence_max_ns", &silence_ns))
        say(story, "As packets come in bursts, a group departs also when nothing has come for %s.",
            human_time(silence_ns / 1e9, time));
    else if (fill_s < time_max_s(story))
        say(story, "At this load the %u packets are together first, after about %s.",
            (unsigned)packets, human_time(fill_s, time));
    else
        say(story, "At this load the time runs out first.");
}

static void explain_fixed(struct story *story)
{
    char time[HUMAN_BYTES_MAX];

    say(story, "With hold=%s a group departs with %u packets, or %s after its first.", story->hold,
        (unsigned)member_count(rule_of(story), "packets_max"), human_time(time_max_s(story), time));
    explain_place(story);
    explain_end(story);
}

/* How many arrivals are followed by another in time, where that matters. */
static void explain_company(struct story *story)
{
    double company;
    char share[HUMAN_BYTES_MAX];

    if (member_number(story->to, "company", &company) && company > 0 && company < 0.8)
        say(story,
            "Fewer packets are followed by another in time than if they came at random (%s of "
            "that), so waiting is worth less.",
            human_percent(company, share));
}

/* Which of the two rules sets T. */
static void explain_bound(struct story *story)
{
    const json_t *bounds = json_object_get(story->to, "bounds");
    const char *budget = member_text(story->config, "delay-budget");
    char time[HUMAN_BYTES_MAX];
    double cost_s, budget_s;

    if (!member_number(bounds, "least_cost_time_s", &cost_s) ||
        !member_number(bounds, "budget_time_s", &budget_s))
        return;
    if (budget_s <= cost_s)
        say(story,
            "The delay budget of %s on average is what limits that: if only cost counted, a group "
            "would wait %s.",
            budget, human_time(cost_s, time));
    else
        say(story,
            "Cost is what limits that: to wait longer would cost more than it saves, though the "
            "delay budget of %s on average would allow %s.",
            budget, human_time(budget_s, time));
}

/* "[BEFORE ]sparing a transfer is worth ..., BUT the next arrival is ... away[AFTER]" */
static void say_worth(struct story *story, const char *before, const char *but, const char *after)
{
    char ratio[HUMAN_BYTES_MAX], gap[HUMAN_BYTES_MAX];

    say(story,
        "%ssparing one %s is worth %s of one packet's waiting, %s the next arrival is %s away on "
        "average%s.",
        before, holds_data(story) ? "transfer" : "call",
        human_time(member_number_or_0(story->to, "cost_ratio_s"), ratio), but,
        human_time(story->batch / story->rate, gap), after);
}

static void explain_holding(struct story *story)
{
    char time[HUMAN_BYTES_MAX];

    say(story, "With hold=adaptive a group now departs with %u packets, or %s after its first.",
        (unsigned)member_count(rule_of(story), "packets_max"), human_time(time_max_s(story), time));
    explain_place(story);
    say_worth(story, "It pays: ", "and", "");
    explain_bound(story);
    explain_company(story);
    explain_end(story);
}

static void explain_not_holding(struct story *story)
{
    double ratio_s = member_number_or_0(story->to, "cost_ratio_s"), company = 1;
    double worth = story->rate / story->batch * ratio_s / story->batch;

    (void)member_number(story->to, "company", &company);
    say(story, "With hold=adaptive nothing waits at the moment:");
    if (is_tap(story) && !holds_data(story))
        say(story, "each frame is written to the host's kernel by a system call of its own, so "
                   "there is no call to spare.");
    else if (wants_no_calls(story) && !holds_data(story))
        say(story, "the guest's driver polls its ring and wants no calls, so there is none to "
                   "spare.");
    else if (ratio_s <= 0)
        say(story, "what a transfer costs has still to be learnt.");
    else if (company <= 0)
        say(story, "too few packets are followed by another soon enough to wait for it, as when "
                   "each packet is sent only after the answer to the last.");
    else if (worth * company <= WORTH_START)
        say_worth(story, "", "but", ", so waiting would cost more than it saves");
    else
        say(story, "packets have come again only just now, after a silence, and it is not known "
                   "yet whether company comes.");
    explain_company(story);
}

static void explain_rule(struct story *story)
{
    if (member_is(story->config, "hold", "off"))
        explain_off(story);
    else if (member_is(story->config, "hold", "natural"))
        explain_natural(story);
    else if (strncmp(story->hold, "fixed", 5) == 0)
        explain_fixed(story);
    else if (time_max_s(story) > 0)
        explain_holding(story);
    else
        explain_not_holding(story);
}

/* --- what came of it --- */

static void explain_result(struct story *story)
{
    const json_t *measured = json_object_get(story->to, "measured");
    const json_t *predicted = json_object_get(story->to, "predicted");
    char size[HUMAN_BYTES_MAX], wait[HUMAN_BYTES_MAX];
    double mean_size, mean_wait_s;

    if (!member_number(measured, "mean_size", &mean_size) ||
        !member_number(measured, "mean_wait_s", &mean_wait_s))
        return;
    say(story,
        "In the last second a group had %s packets on average, and waiting for company "
        "added %s to a packet's delay",
        packets_of(mean_size, size), human_time(mean_wait_s, wait));
    if (member_number(predicted, "mean_size", &mean_size) &&
        member_number(predicted, "mean_wait_s", &mean_wait_s))
        fprintf(story->out, "; the model had said %s packets and %s", packets_of(mean_size, size),
                human_time(mean_wait_s, wait));
    fputc('.', story->out);
}

/* The sentence for a reason against merging; NULL for one that this version does not know. */
static const char *refusal_sentence(const char *name)
{
    for (int r = MERGE_JOINED + 1; name && r < MERGE_REFUSAL_COUNT; r++)
        if (strcmp(merge_refusal_name((enum merge_refusal)r), name) == 0)
            return merge_refusal_text((enum merge_refusal)r);
    return NULL;
}

/* The commonest reason; NULL when there is none. */
static const char *commonest_refusal(const struct story *story, double *ret_refused)
{
    json_t *unmerged = json_object_get(story->port, "unmerged"), *frames;
    const char *name, *commonest = NULL;
    json_int_t most = 0;

    *ret_refused = 0;
    json_object_foreach(unmerged, name, frames)
    {
        *ret_refused += (double)json_integer_value(frames);
        if (json_integer_value(frames) <= most)
            continue;
        most = json_integer_value(frames);
        commonest = name;
    }
    return refusal_sentence(commonest);
}

static void explain_merging(struct story *story)
{
    double refused, merged;
    const char *sentence = commonest_refusal(story, &refused);
    char share[HUMAN_BYTES_MAX];

    merged = (double)member_count(json_object_get(story->port, "counters"), "merges");
    if (!member_is_true(story->config, "merge")) {
        say(story, "Nothing is merged, since merge=off.");
        return;
    }
    if (!member_is_true(story->to, "merges")) {
        say(story, "Nothing is merged, since the receiver takes no super-packets.");
        return;
    }
    if (merged + refused <= 0)
        return;
    say(story, "So far %s of the frames that found their flow aboard were merged with it",
        human_percent(merged / (merged + refused), share));
    if (sentence)
        fprintf(story->out, "; the commonest reason against it: %s", sentence);
    fputc('.', story->out);
}

/* --- what limits it --- */

/* Frames that wait although no rule holds them: the receiver has no buffers. */
static bool is_blocked(const struct story *story, uint64_t *ret_waiting)
{
    uint64_t held = holds_data(story) && time_max_s(story) > 0
                        ? member_count(rule_of(story), "packets_max") * story->busy_count
                        : 0;

    *ret_waiting = member_count(story->port, "frames_waiting");
    return *ret_waiting > held;
}

static bool explain_slow_guest(struct story *story)
{
    const json_t *drops = json_object_get(story->port, "drops");
    uint64_t lost = member_count(drops, "queue_full") + member_count(drops, "stalled"), waiting;
    char text[HUMAN_BYTES_MAX];
    bool blocked = is_blocked(story, &waiting);

    if (blocked)
        say(story,
            "The receiver limits it: %s frames wait because it has posted no buffers for them.",
            human_count(waiting, text));
    if (lost > 0)
        say(story, "So far %s frames for it were dropped because it took them too slowly.",
            human_count(lost, text));
    return blocked;
}

/* What most of the worker's time for a group goes to. */
static const char *dearest(const struct story *story)
{
    double size = member_number_or_0(json_object_get(story->to, "now"), "mean_size");
    double transfer_s = cost_of(story, "transfer_s");
    double packets_s = cost_of(story, "packet_s") * CV_MAX(size, 1.0);
    double calls_s = cost_of(story, "call_s") * cost_of(story, "calls_wanted");

    if (packets_s >= transfer_s && packets_s >= calls_s)
        return "the packets themselves";
    return calls_s > transfer_s ? "calls" : "what each group costs whatever its size";
}

static void explain_worker(struct story *story, bool is_blocked_by_guest)
{
    const json_t *now = json_object_get(story->to, "now");
    char busy[HUMAN_BYTES_MAX], capacity[HUMAN_BYTES_MAX];
    double utilisation, packets;

    if (!member_number(now, "capacity_per_second", &packets) || packets <= 0)
        return;
    if (!member_number(now, "utilisation", &utilisation) || utilisation >= BUSY_SHARE)
        say(story,
            "%s the worker, which this load keeps busy: in groups of this size it can deliver %s "
            "packets per second at most. Most of its time goes to %s.",
            is_blocked_by_guest ? "So does" : "What limits it is", human_number(packets, capacity),
            dearest(story));
    else
        say(story,
            "%s: to deliver this takes %s of the worker's time, most of it for %s, and it could "
            "deliver %s packets per second in groups of this size.",
            is_blocked_by_guest ? "The worker is not what limits it" : "Nothing limits it",
            human_percent(utilisation, busy), dearest(story), human_number(packets, capacity));
}

/* --- at twice the load --- */

static void explain_twice(struct story *story)
{
    const json_t *twice = json_object_get(story->to, "twice");
    char rate[HUMAN_BYTES_MAX], size[HUMAN_BYTES_MAX], wait[HUMAN_BYTES_MAX];
    char busy[HUMAN_BYTES_MAX], most[HUMAN_BYTES_MAX];
    double utilisation, capacity, packets, wait_s;

    if (!member_number(twice, "capacity_per_second", &capacity) || capacity <= 0 ||
        !member_number(twice, "mean_size", &packets) ||
        !member_number(twice, "mean_wait_s", &wait_s))
        return;
    (void)human_number(member_number_or_0(twice, "rate_per_second"), rate);
    (void)human_number(capacity, most);
    (void)packets_of(packets, size);
    (void)human_time(wait_s, wait);
    if (!member_number(twice, "utilisation", &utilisation) || utilisation >= 1)
        say(story,
            "At twice the load, %s packets per second, the worker would not keep up: the model "
            "expects groups of %s packets, an added delay of %s, and no more than %s packets per "
            "second.",
            rate, size, wait, most);
    else
        say(story,
            "At twice the load, %s packets per second, the model expects groups of %s packets, an "
            "added delay of %s, %s of the worker's time, and room for %s packets per second.",
            rate, size, wait, human_percent(utilisation, busy), most);
}

/* --- the paragraph --- */

/* Whether more came to `to` than to `other`, or, where nothing comes, later. */
static bool is_livelier(const json_t *to, const json_t *other)
{
    double rate = member_number_or_0(to, "rate_per_second");
    double other_rate = member_number_or_0(other, "rate_per_second");
    double silent_ns, other_silent_ns;

    if (!other || rate != other_rate)
        return !other || rate > other_rate;
    if (!member_number(to, "silent_ns", &silent_ns))
        return false;
    return !member_number(other, "silent_ns", &other_silent_ns) || silent_ns < other_silent_ns;
}

/* Finds the busiest queue, and adds the queues up. */
static void survey_queues(struct story *story)
{
    const json_t *tuning = json_object_get(story->port, "tuning");
    const json_t *queues = json_object_get(tuning, "queues"), *queue;
    size_t i;

    json_array_foreach(queues, i, queue)
    {
        const json_t *to = json_object_get(queue, "to");
        double rate = member_number_or_0(to, "rate_per_second");

        if (!json_is_object(to))
            continue;
        story->queue_count++;
        story->busy_count += rate > 0;
        story->rate_of_all += rate;
        if (!is_livelier(to, story->to))
            continue;
        story->to = to;
        story->rate = rate;
        story->index = (unsigned)i;
    }
    story->batch = CV_MAX(member_number_or_0(story->to, "mean_batch"), 1.0);
}

static void explain_traffic(struct story *story)
{
    bool blocked;

    explain_load(story);
    explain_rule(story);
    explain_result(story);
    explain_merging(story);
    blocked = explain_slow_guest(story);
    explain_worker(story, blocked);
    explain_twice(story);
}

void explain_port(const json_t *port, FILE *out)
{
    struct story story = {.out = out, .port = port, .config = json_object_get(port, "config")};

    story.name = member_text(port, "name");
    story.hold = member_text(story.config, "hold");
    survey_queues(&story);
    if (member_is(port, "state", "waiting")) {
        explain_waiting(&story);
    } else if (member_is(port, "state", "connected")) {
        explain_connected(&story);
    } else if (!story.to) {
        say(&story,
            "%s runs, but has no queue on which its guest receives, so nothing can wait "
            "for it.",
            story.name);
    } else if (story.rate <= 0) {
        explain_idle(&story);
        (void)explain_slow_guest(&story);
    } else {
        explain_traffic(&story);
    }
}

void show_explanation(const json_t *port)
{
    char *text = NULL;
    size_t text_len;
    FILE *out = open_memstream(&text, &text_len);
    int column = 0;

    if (out)
        explain_port(port, out);
    if (!out || fclose(out) != 0) {
        fputs("convoy: no memory\n", stderr);
        exit(1);
    }
    for (char *next = text, *word; (word = strsep(&next, " "));) {
        int len = (int)strlen(word);

        if (column > 0 && column + 1 + len > LINE_COLUMNS) {
            putchar('\n');
            column = 0;
        }
        column += printf("%s%s", column > 0 ? " " : "", word);
    }
    putchar('\n');
    free(text);
}

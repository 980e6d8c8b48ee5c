#include "control/control_tuning.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "convoy/model.h"

/* Without an arrival for so long there is no traffic, whatever the means still remember. */
#define IDLE_NS UINT64_C(100000000)

/* The memory of struct controller_record. */
#define RECORD_NS UINT64_C(1000000000)

/* JSON has no infinity. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *number_if(bool is_known, double value)
{
    return is_known ? number(value) : json_null();
}

static json_t *whole(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* NULL stays NULL: the caller's pack fails with it. Adds the members of `more` (taken). */
static json_t *extend(json_t *object, json_t *more)
{
    if (object && json_object_update_new(object, more) == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* --- traffic --- */

/* Arrivals as of now. */
struct arrivals {
    const struct traffic *traffic;
    bool has_any;
    bool is_idle;
    uint64_t silent_ns; /* since the last */
    double rate;        /* packets per second */
    double batch;       /* how many come together, on average */
};

static void read_arrivals(const struct traffic *traffic, uint64_t now_ns,
                          struct arrivals *ret_arrivals)
{
    struct arrivals arrivals = {.traffic = traffic, .has_any = traffic->last_ns != 0};

    if (arrivals.has_any && now_ns > traffic->last_ns)
        arrivals.silent_ns = now_ns - traffic->last_ns;
    arrivals.is_idle = !arrivals.has_any || arrivals.silent_ns > IDLE_NS;
    arrivals.rate = arrivals.is_idle ? 0 : traffic->rate;
    arrivals.batch = 1 / (1 - traffic_together(traffic));
    *ret_arrivals = arrivals;
}

static json_t *view_arrivals(const struct arrivals *arrivals)
{
    bool is_known = !arrivals->is_idle;

    return json_pack("{s:o, s:o, s:o, s:o}", "rate_per_second", number(arrivals->rate), "silent_ns",
                     arrivals->has_any ? whole(arrivals->silent_ns) : json_null(), "mean_batch",
                     number_if(is_known, arrivals->batch), "burstiness",
                     number_if(is_known, traffic_burstiness(arrivals->traffic)));
}

/* --- rules --- */

static json_t *view_rule(const struct hold_rule *rule)
{
    return json_pack("{s:i, s:o, s:o}", "packets_max", (int)rule->packets_max, "time_max_ns",
                     whole(rule->time_max_ns), "silence_max_ns",
                     rule->silence_max_ns > 0 ? whole(rule->silence_max_ns) : json_null());
}

/*
 * What the two closed rules say by themselves: the shorter time is in force. As in the controller,
 * the question is whether to wait for the next batch, and how many are followed by one.
 */
static json_t *view_bounds(const struct controller *controller, const struct hold_config *hold,
                           const struct arrivals *arrivals)
{
    double rate = arrivals->rate / arrivals->batch * controller->company;
    double budget_s = (double)hold->delay_budget_ns / 1e9;

    if (hold->mode != HOLD_ADAPTIVE || !isfinite(rate) || rate <= 0)
        return json_null();
    return json_pack(
        "{s:o, s:o, s:o}", "least_cost_time_s",
        number(model_least_cost_time(rate, controller->cost_ratio_s / arrivals->batch)),
        "budget_time_s", number(model_budget_time(rate, budget_s)), "budget_packets",
        number(model_budget_packets(rate, budget_s) * arrivals->batch));
}

static json_t *view_outlook(const struct controller_outlook *outlook, bool is_idle)
{
    if (is_idle)
        return json_null();
    return extend(view_rule(&outlook->rule),
                  json_pack("{s:o, s:o, s:o, s:o, s:o}", "rate_per_second", number(outlook->rate),
                            "mean_size", number(outlook->mean_size), "mean_wait_s",
                            number(outlook->mean_wait_s), "utilisation",
                            number(outlook->utilisation), "capacity_per_second",
                            number(outlook->capacity)));
}

/* --- what groups did --- */

static json_t *view_means(bool is_known, double groups, double packets, double size, double wait_s)
{
    return json_pack("{s:o, s:o}", "mean_size", number_if(is_known && groups > 0, size / groups),
                     "mean_wait_s", number_if(is_known && packets > 0, wait_s / packets));
}

static json_t *view_costs(const struct controller *controller)
{
    const struct model_costs *transfer = &controller->transfer.line;
    const struct model_costs *answer = &controller->answer.line;
    bool has_transfer = controller->transfer.weight > 0;
    bool has_answer = controller->answer.weight > 0;

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "transfer_s",
                     number_if(has_transfer, transfer->transfer_s), "packet_s",
                     number_if(has_transfer, transfer->packet_s), "call_s",
                     number(controller->call_s), "calls_wanted", number(controller->calls_wanted),
                     "answer_call_s", number_if(has_answer, answer->transfer_s), "answer_packet_s",
                     number_if(has_answer, answer->packet_s));
}

/* --- queues --- */

static json_t *view_to(const struct queue_tuning *queue, const struct hold_config *hold,
                       uint64_t now_ns)
{
    const struct controller *controller = &queue->to;
    const struct controller_record *record = &controller->record;
    struct arrivals arrivals;
    json_t *rule;
    bool is_recent;

    if (!queue->to_port)
        return json_null();
    read_arrivals(&controller->arrivals, now_ns, &arrivals);
    is_recent = arrivals.has_any && arrivals.silent_ns < RECORD_NS;
    rule = extend(view_rule(&controller->rule),
                  json_pack("{s:s}", "place", hold_place_name(controller->rule.place)));
    return extend(view_arrivals(&arrivals),
                  json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o}", "company",
                            number_if(!arrivals.is_idle, controller->company), "rule", rule,
                            "bounds", view_bounds(controller, hold, &arrivals), "predicted",
                            view_means(is_recent, record->groups, record->packets,
                                       record->predicted_size, record->predicted_wait_s),
                            "measured",
                            view_means(is_recent, record->groups, record->packets, record->packets,
                                       record->wait_s),
                            "costs", view_costs(controller), "merges", queue->merges, "merge_share",
                            number_if(!arrivals.is_idle, controller->merge_share), "cost_ratio_s",
                            number(controller->cost_ratio_s), "now",
                            view_outlook(&queue->now, arrivals.is_idle), "twice",
                            view_outlook(&queue->twice, arrivals.is_idle)));
}

static json_t *view_from(const struct queue_tuning *queue, uint64_t now_ns)
{
    struct arrivals arrivals;

    if (!queue->from_port)
        return json_null();
    read_arrivals(&queue->from, now_ns, &arrivals);
    return extend(view_arrivals(&arrivals),
                  json_pack("{s:o}", "rule", view_rule(&queue->from_rule)));
}

static json_t *view_queues(const struct port_tuning *tuning, uint64_t now_ns)
{
    json_t *queues = json_array();

    for (unsigned i = 0; i < tuning->queue_count; i++) {
        const struct queue_tuning *queue = &tuning->queues[i];
        json_t *object = json_pack("{s:i, s:o, s:o}", "index", (int)i, "to",
                                   view_to(queue, &tuning->config.hold, now_ns), "from",
                                   view_from(queue, now_ns));

        if (json_array_append_new(queues, object) < 0) {
            json_decref(queues);
            return NULL;
        }
    }
    return queues;
}

/* --- histograms --- */

static json_t *view_quantile(const struct histogram *histogram, double quantile)
{
    return histogram->count > 0 ? whole(histogram_quantile(histogram, quantile)) : json_null();
}

static json_t *view_histogram(const struct histogram *histogram)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "count", whole(histogram->count), "mean",
                     number_if(histogram->count > 0, histogram_mean(histogram)), "p50",
                     view_quantile(histogram, 0.5), "p99", view_quantile(histogram, 0.99), "p99_9",
                     view_quantile(histogram, 0.999), "max",
                     histogram->count > 0 ? whole(histogram->max) : json_null());
}

/* A size counts packets; the units of all others end their names. */
static const struct {
    const char *name, *unit;
    size_t offset;
} histogram_members[] = {
#define HISTOGRAM_MEMBER(member, unit, text)                                                       \
    {#member, unit, offsetof(struct convoy_histograms, member)},
    CONVOY_HISTOGRAMS(HISTOGRAM_MEMBER)
#undef HISTOGRAM_MEMBER
};

static json_t *view_histograms(const struct convoy_histograms *histograms)
{
    json_t *object = json_object();

    for (size_t i = 0; i < CV_COUNT_OF(histogram_members); i++) {
        const struct histogram *histogram =
            (const void *)((const char *)histograms + histogram_members[i].offset);
        bool is_plain = strcmp(histogram_members[i].unit, "packets") == 0;
        char name[32];

        (void)snprintf(name, sizeof(name), "%s%s%s", histogram_members[i].name, is_plain ? "" : "_",
                       is_plain ? "" : histogram_members[i].unit);
        if (json_object_set_new(object, name, view_histogram(histogram)) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *control_tuning_view(const struct port_tuning *tuning, uint64_t now_ns)
{
    return json_pack("{s:o, s:o}", "queues", view_queues(tuning, now_ns), "histograms",
                     view_histograms(&tuning->histograms));
}

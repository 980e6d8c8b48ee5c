#include "convoy/controller.h"

#include <math.h>

/* K and T stay as they are while they are within this of what would be derived now: three standard
 * deviations of the rate at 100,000 packets per second. */
#define MARGIN 0.1

/* The end of a burst needs no precision, and gaps are few. */
#define SILENCE_MARGIN 0.25

/* T may be MARGIN too long for a while; the budget holds all the same. */
#define BUDGET_AIMED 0.95

/* Holding starts where one more batch per transfer saves so many times what its waiting costs, and
 * ends where it no longer saves anything. At 1.5 the best T saves 6 % of all costs: starting late
 * loses little, and rates flutter by as much. */
#define WORTH_START 1.5
#define WORTH_STOP  1.0

/* Batches that must have been seen to be followed within T, in traffic's memory, before any waits;
 * and how few stop that again. Chance alone makes 8 of 4 once in a hundred times. */
#define FOLLOWED_START 8.0
#define FOLLOWED_STOP  1.0

/* T and the company within T depend on each other; a few steps settle both. */
#define COMPANY_STEPS 3

/* Squared coefficient of variation from which arrivals are called bursty, and below which no
 * longer: that of Poisson arrivals is 1, and measured with few gaps rarely above 2. */
#define BURSTY_START 3.0
#define BURSTY_STOP  1.5

/* A burst has ended when nothing came for so many of its mean gaps. */
#define SILENCE_GAPS 2.0

/* ... and at least for a round of the worker. */
#define SILENCE_S_MIN 1e-6

/* Of packets that can be merged: from this share on data is held, below that the call alone. */
#define MERGE_SHARE_DATA 0.5
#define MERGE_SHARE_CALL 0.3

/* Memories: of merge_share in packets, of calls in announcements, of the record in time. */
#define MERGE_SHARE_PACKETS 256.0
#define CALLS_WANTED_KEPT   (1 - 1.0 / 32)
#define CALL_S_KEPT         (1 - 1.0 / 64)
#define RECORD_NS           1e9

/* A call that took so many times the mean (the thread was preempted) counts as this many. */
#define CALL_TIMES_MAX 8.0

/* Waiting that costs less than this costs nothing. */
#define WEIGHT_MIN 1e-9

/* --- deriving a rule --- */

/* Arrivals as rules see them, played `speed` times as fast as they were measured. */
struct prospect {
    const struct traffic *traffic;
    double speed;
    double batch; /* mean number of packets that come together */
    double rate;  /* such batches per second */
};

static struct prospect prospect_of(const struct traffic *traffic, double speed)
{
    double alone = CV_MAX(1 - traffic_together(traffic), 1.0 / HOLD_PACKETS_MAX);

    return (struct prospect){
        .traffic = traffic,
        .speed = speed,
        .batch = 1 / alone,
        .rate = traffic->rate * speed * alone,
    };
}

/* What a packet's waiting and transfers are worth to the owner. */
struct terms {
    double cost_ratio_s; /* q, of one batch */
    double budget_s;     /* D */
    bool is_holding;     /* as things are */
};

/* How many batches are followed by another within T, as a share of what it were if they came as a
 * Poisson process. At most 1; 0 while too few were seen to say. */
static double company_within(const struct prospect *prospect, double time_s, bool is_holding)
{
    double window_s = traffic_window(time_s * prospect->speed);
    double expected = -expm1(-prospect->rate / prospect->speed * window_s);
    double share = traffic_company(prospect->traffic, window_s);
    double followed = share - traffic_together(prospect->traffic); /* share of packets */

    if (expected <= 0 ||
        followed * prospect->traffic->gap_weight < (is_holding ? FOLLOWED_STOP : FOLLOWED_START))
        return 0;
    return CV_MIN(followed * prospect->batch / expected, 1.0);
}

/* T where company makes the rate this. */
static double time_at(double rate, const struct terms *terms)
{
    if (rate * terms->cost_ratio_s <= (terms->is_holding ? WORTH_STOP : WORTH_START))
        return 0;
    return CV_MIN(model_least_cost_time(rate, terms->cost_ratio_s),
                  model_budget_time(rate, terms->budget_s));
}

static double derive_time(const struct prospect *prospect, const struct terms *terms,
                          double *ret_company)
{
    double company = 1, time_s = time_at(prospect->rate, terms);

    for (unsigned i = 0; i < COMPANY_STEPS && time_s > 0; i++) {
        company = company_within(prospect, time_s, terms->is_holding);
        time_s = CV_MIN(time_s, time_at(prospect->rate * company, terms));
    }
    *ret_company = company;
    return time_s;
}

static uint64_t settle_ns(uint64_t old_ns, double new_s, double margin)
{
    double new_ns = new_s * 1e9, old = (double)old_ns;

    return fabs(new_ns - old) <= margin * old ? old_ns : (uint64_t)(new_ns + 0.5);
}

static uint64_t derive_silence_ns(const struct prospect *prospect, double time_s, uint64_t old_ns)
{
    double gap_s = traffic_close_gap(prospect->traffic, time_s * prospect->speed);
    double silence_s = CV_MAX(SILENCE_GAPS * gap_s / prospect->speed, SILENCE_S_MIN);

    if (traffic_burstiness(prospect->traffic) < (old_ns > 0 ? BURSTY_STOP : BURSTY_START) ||
        silence_s >= time_s)
        return 0;
    return settle_ns(old_ns, silence_s, SILENCE_MARGIN);
}

/* K of the budget, in packets. Within a burst the rate of the burst counts, not that of all time.
 */
static unsigned derive_packets(const struct prospect *prospect, double time_s, bool is_bursty,
                               double budget_s, unsigned old)
{
    double gap_s = traffic_close_gap(prospect->traffic, time_s * prospect->speed);
    double rate = is_bursty ? prospect->speed / gap_s : prospect->rate;
    double batches = CV_MAX(model_budget_packets(rate, budget_s), 2.0);
    double packets = floor(CV_MIN(batches, (double)HOLD_BATCHES_MAX) * prospect->batch);

    packets = CV_MIN(packets, (double)HOLD_PACKETS_MAX);
    return fabs(packets - old) <= CV_MAX(MARGIN * old, 1.0) ? old : (unsigned)packets;
}

static void hold_nothing(struct hold_rule *rule)
{
    rule->packets_max = HOLD_PACKETS_MAX;
    rule->time_max_ns = rule->silence_max_ns = 0;
}

/* The rule that the owner has stated; nothing waits where it is for the model to say. */
static void set_stated(struct hold_rule *rule, const struct hold_config *hold)
{
    hold_nothing(rule);
    if (hold->mode == HOLD_OFF)
        rule->packets_max = 1;
    if (hold->mode == HOLD_FIXED) {
        rule->packets_max = hold->packets_max;
        rule->time_max_ns = hold->time_max_ns;
    }
}

/* q: what one transfer costs, in seconds of one packet's waiting. */
static double cost_ratio_s(double transfer_s, const struct hold_config *hold)
{
    return transfer_s / CV_MAX(hold->delay_weight, WEIGHT_MIN);
}

static double derive(struct hold_rule *rule, const struct traffic *arrivals, double speed,
                     double transfer_s, const struct hold_config *hold)
{
    struct prospect prospect = prospect_of(arrivals, speed);
    struct terms terms = {
        .cost_ratio_s = cost_ratio_s(transfer_s, hold) / prospect.batch,
        .budget_s = (double)hold->delay_budget_ns / 1e9 * BUDGET_AIMED,
        .is_holding = rule->time_max_ns > 0,
    };
    double company, time_s;

    if (hold->mode != HOLD_ADAPTIVE) {
        set_stated(rule, hold);
        return 1;
    }
    time_s = derive_time(&prospect, &terms, &company);
    if (time_s < 1e-9) {
        hold_nothing(rule);
        return company;
    }
    rule->time_max_ns = settle_ns(rule->time_max_ns, time_s, MARGIN);
    rule->silence_max_ns = derive_silence_ns(&prospect, time_s, rule->silence_max_ns);
    rule->packets_max = derive_packets(&prospect, time_s, rule->silence_max_ns > 0, terms.budget_s,
                                       rule->packets_max);
    return company;
}

double controller_derive(struct hold_rule *rule, const struct traffic *arrivals, double transfer_s,
                         const struct hold_config *hold)
{
    return derive(rule, arrivals, 1, transfer_s, hold);
}

/* --- what the model says of a rule --- */

/* E[B] and E[W]. What comes together opens a convoy together, and leaves together without any rule
 * but HOLD_OFF. */
static void predict(const struct hold_rule *rule, const struct prospect *prospect, double *ret_size,
                    double *ret_wait_s)
{
    double limit = rule->packets_max, time_s = (double)rule->time_max_ns / 1e9;
    double opening = prospect->batch - 1, more = CV_MAX(floor(limit - opening), 1.0);
    double batches = CV_MAX(floor(limit / prospect->batch), 1.0);

    *ret_size = CV_MIN(prospect->batch, limit);
    *ret_wait_s = 0;
    if (rule->time_max_ns == 0 || prospect->rate <= 0)
        return;
    *ret_size = opening + model_mean_size(prospect->rate * prospect->batch, (unsigned)more, time_s);
    *ret_size = CV_MIN(*ret_size, limit);
    *ret_wait_s = model_mean_wait(prospect->rate, (unsigned)batches, time_s);
}

/* Seconds that one transfer less saves. */
static double transfer_cost_s(const struct controller *controller)
{
    double call_s =
        controller->calls_wanted * (controller->call_s + controller->answer.line.transfer_s);

    return controller->rule.place == HOLD_PLACE_DATA ? controller->transfer.line.transfer_s + call_s
                                                     : call_s;
}

void controller_look_ahead(const struct controller *controller, const struct hold_config *hold,
                           double rate, struct controller_outlook *ret_outlook)
{
    const struct traffic *arrivals = &controller->arrivals;
    double speed = arrivals->rate > 0 ? rate / arrivals->rate : 1;
    struct prospect prospect = prospect_of(arrivals, speed);
    struct model_costs costs = controller->transfer.line;
    struct controller_outlook outlook = {.rate = rate, .rule = controller->rule};

    (void)derive(&outlook.rule, arrivals, speed, transfer_cost_s(controller), hold);
    predict(&outlook.rule, &prospect, &outlook.mean_size, &outlook.mean_wait_s);
    costs.transfer_s += controller->calls_wanted * controller->call_s;
    if (costs.transfer_s + costs.packet_s > 0) {
        outlook.capacity = model_capacity(&costs, outlook.mean_size);
        outlook.utilisation = rate / outlook.capacity;
    }
    *ret_outlook = outlook;
}

/* --- the controller --- */

void controller_init(struct controller *controller, const struct hold_config *hold)
{
    *controller = (struct controller){
        .calls_wanted = 1,
        .company = 1,
        .rule.place = HOLD_PLACE_CALL,
    };
    controller_set(controller, hold);
}

static void update_predictions(struct controller *controller)
{
    struct prospect prospect = prospect_of(&controller->arrivals, 1);

    predict(&controller->rule, &prospect, &controller->predicted_size,
            &controller->predicted_wait_s);
}

void controller_set(struct controller *controller, const struct hold_config *hold)
{
    set_stated(&controller->rule, hold);
    update_predictions(controller);
    controller->must_derive = true;
}

void controller_arrived(struct controller *controller, unsigned packets, unsigned mergeable,
                        uint64_t now_ns)
{
    if (CV_UNLIKELY(now_ns - controller->arrivals.last_ns > TRAFFIC_MEMORY_NS))
        controller->was_silent = true;
    controller->fresh_packets += packets;
    controller->fresh_mergeable += mergeable;
    traffic_arrived(&controller->arrivals, packets, now_ns);
}

void controller_delivered(struct controller *controller, unsigned packets, double seconds)
{
    costs_observe(&controller->transfer, packets, seconds);
}

void controller_announced(struct controller *controller, bool was_wanted, double seconds)
{
    double kept = controller->call_s > 0 ? CALL_S_KEPT : 0;

    controller->calls_wanted =
        controller->calls_wanted * CALLS_WANTED_KEPT + (was_wanted ? 1 - CALLS_WANTED_KEPT : 0);
    if (!was_wanted)
        return;
    if (controller->call_s > 0)
        seconds = CV_MIN(seconds, controller->call_s * CALL_TIMES_MAX);
    controller->call_s = controller->call_s * kept + seconds * (1 - kept);
}

void controller_answered(struct controller *controller, unsigned packets, double seconds)
{
    costs_observe(&controller->answer, packets, seconds);
}

void controller_departed(struct controller *controller, const struct hold_group *group,
                         uint64_t now_ns)
{
    struct controller_record *record = &controller->record;

    for (unsigned i = 0; i < group->batch_count; i++)
        record->wait_s +=
            (double)(now_ns - group->batches[i].arrived_ns) / 1e9 * group->batches[i].packets;
    record->groups++;
    record->packets += group->packets;
    record->predicted_size += controller->predicted_size;
    record->predicted_wait_s += controller->predicted_wait_s * group->packets;
}

static void fade_record(struct controller_record *record, uint64_t elapsed_ns)
{
    double kept = exp(-(double)elapsed_ns / RECORD_NS);

    record->groups *= kept;
    record->packets *= kept;
    record->wait_s *= kept;
    record->predicted_size *= kept;
    record->predicted_wait_s *= kept;
}

/* Merging across bursts needs the data to wait; otherwise it goes at once. */
static void update_place(struct controller *controller)
{
    bool was_data = controller->rule.place == HOLD_PLACE_DATA;
    double share = controller->merge_share * MERGE_SHARE_PACKETS + controller->fresh_mergeable;

    controller->merge_share = share / (MERGE_SHARE_PACKETS + controller->fresh_packets);
    controller->rule.place =
        controller->merge_share > (was_data ? MERGE_SHARE_CALL : MERGE_SHARE_DATA)
            ? HOLD_PLACE_DATA
            : HOLD_PLACE_CALL;
    controller->fresh_packets = controller->fresh_mergeable = 0;
}

void controller_update(struct controller *controller, const struct hold_config *hold,
                       uint64_t now_ns)
{
    double transfer_s;

    if (now_ns - controller->updated_ns < CONTROLLER_INTERVAL_NS && !controller->must_derive)
        return;
    traffic_update(&controller->arrivals, now_ns);
    fade_record(&controller->record, now_ns - controller->updated_ns);
    update_place(controller);
    transfer_s = transfer_cost_s(controller);
    controller->cost_ratio_s = cost_ratio_s(transfer_s, hold);
    if (controller->was_silent && hold->mode == HOLD_ADAPTIVE)
        hold_nothing(&controller->rule);
    else
        controller->company =
            controller_derive(&controller->rule, &controller->arrivals, transfer_s, hold);
    update_predictions(controller);
    controller->was_silent = controller->must_derive = false;
    controller->updated_ns = now_ns;
}

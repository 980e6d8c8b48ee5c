#include "convoy/controller.h"

#include <math.h>

/* K and T stay as they are while they are within this of what would be derived now: three standard
 * deviations of the rate at 100,000 packets per second. T counts with the time to the next packet,
 * by which costs go: an error of MARGIN in their sum is one of MARGIN^2 / 2 in the costs. */
#define MARGIN 0.1

/* The end of a burst needs no precision, and gaps are few. */
#define SILENCE_MARGIN 0.25

/* T may be MARGIN too long for a while; the budget holds all the same. */
#define BUDGET_AIMED 0.95

/* Where groups are measured to wait longer than the budget (arrivals just miss a convoy, time and
 * again, or the worker is late) T is shortened by as much: within this time when it is too long,
 * and slowly back, so that it does not swing. It goes by the waits of the last RECENT_NS. */
#define TRIM_DOWN_NS 4e7
#define TRIM_UP_NS   4e8
#define TRIM_MIN     0.05 /* shorter T does not help; then holding is given up */
#define RECENT_NS    2e7

/* ... of which each counts as at most so many budgets: a lost time slice is no fault of T. */
#define TRIM_WAIT_BUDGETS 4.0

/* Holding starts where one more batch per transfer saves so many times what its waiting costs, and
 * ends where it no longer saves anything. At 1.5 the best T saves 6 % of all costs: starting late
 * loses little, and rates flutter by as much. */
#define WORTH_START 1.5
#define WORTH_STOP  1.0

/* Batches that must have been seen to be followed within T, in traffic's memory, before any waits;
 * and how few stop that again. Far enough apart that chance hardly leads from one to the other. */
#define FOLLOWED_START 8.0
#define FOLLOWED_STOP  1.0

/* Company counts as small only where it is by so many standard errors: chance alone must not make
 * T flutter. */
#define COMPANY_ERRORS 2.0

/* T and the company within T depend on each other; a few steps settle both. */
#define COMPANY_STEPS 3

/* A trial of holding is judged when so many groups should have found company by the model; it has
 * failed where so small a share did. Of Poisson arrivals that happens once in 10,000 trials. */
#define TRIAL_EXPECTED 16.0
#define TRIAL_FAILED   0.2

/* After a trial that failed nothing is held for so long, twice as long after each further one; or
 * until packets come so many times as fast as when it began. */
#define FUTILE_NS_MIN UINT64_C(50000000)
#define FUTILE_NS_MAX UINT64_C(1600000000)
#define FUTILE_RATES  2.0

/* Squared coefficient of variation from which arrivals are called bursty, and below which no
 * longer: that of Poisson arrivals is 1, and measured with few gaps rarely above 2. */
#define BURSTY_START 3.0
#define BURSTY_STOP  1.5

/* ... and only where silence tells something: of what has been silent so long, more than this share
 * stays silent up to T. A few long gaps (the sender or this machine was paused) spread gaps as
 * bursts do, but when the next is silent it most likely just has not come yet. */
#define SILENT_ON_START 0.6
#define SILENT_ON_STOP  0.4

/* A burst has ended when nothing came for so many of its mean gaps. */
#define SILENCE_GAPS 2.0

/* ... and at least for a round of the worker. */
#define SILENCE_S_MIN 1e-6

/* Of packets that can be merged: from this share on data is held, below that the call alone. */
#define MERGE_SHARE_DATA 0.5
#define MERGE_SHARE_CALL 0.3

/* Memories: of merge_share in packets, of calls in announcements, of the record in time. That of
 * calls is some 10 ms of a dense queue: of a shorter one the share wanted swings by a half. */
#define MERGE_SHARE_PACKETS 256.0
#define CALLS_WANTED_KEPT   (1 - 1.0 / 256)
#define CALL_S_KEPT         (1 - 1.0 / 256)
#define RECORD_NS           1e9

/* Transfers are timed exactly: large packets or cold caches come to less than this, and a lost time
 * slice to thousands. */
static const struct costs_trust transfer_trust = {.memory = 256, .times_max = 8};

/* In the time until a guest has looked it may have done anything else: what the call cost it shows
 * in the many answers that came soon, and only half of them or more can say that it costs more. */
static const struct costs_trust answer_trust = {.memory = 4096, .times_max = 2};

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
    double aimed_s;      /* what T is made for: less */
    bool is_holding;     /* as things are */
};

/* How many batches are followed by another within T, as a share of what it were if they came as a
 * Poisson process. At most 1; 0 while too few were seen to say. */
static double company_within(const struct prospect *prospect, double time_s, bool is_holding)
{
    const struct traffic *traffic = prospect->traffic;
    double window_s = traffic_window(time_s * prospect->speed);
    double expected = -expm1(-prospect->rate / prospect->speed * window_s);
    double share = traffic_company(traffic, window_s) - traffic_together(traffic);
    double followed = share * traffic->gap_weight; /* how many batches that is */

    if (expected <= 0 || followed < (is_holding ? FOLLOWED_STOP : FOLLOWED_START))
        return 0;
    return CV_MIN(share * prospect->batch / expected * (1 + COMPANY_ERRORS / sqrt(followed)), 1.0);
}

/* T where company makes the rate this. */
static double time_at(double rate, const struct terms *terms)
{
    if (rate * terms->cost_ratio_s <= (terms->is_holding ? WORTH_STOP : WORTH_START))
        return 0;
    return CV_MIN(model_least_cost_time(rate, terms->cost_ratio_s),
                  model_budget_time(rate, terms->aimed_s));
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

static uint64_t to_ns(double seconds)
{
    return (uint64_t)(seconds * 1e9 + 0.5);
}

static uint64_t settle_time_ns(uint64_t old_ns, double time_s, double rate,
                               const struct terms *terms)
{
    double old_s = (double)old_ns / 1e9;
    double limit_s = model_budget_time(rate, terms->aimed_s) * (1 + MARGIN);

    return old_ns > 0 && old_s <= limit_s && fabs(time_s - old_s) <= MARGIN * (time_s + 1 / rate)
               ? old_ns
               : to_ns(time_s);
}

/* Of the gaps longer than `silence_s`, the share that is longer than T too. */
static double stays_silent(const struct prospect *prospect, double silence_s, double time_s)
{
    double silent = 1 - traffic_company(prospect->traffic, silence_s * prospect->speed);
    double silent_on = 1 - traffic_company(prospect->traffic, time_s * prospect->speed);

    return silent > 0 ? silent_on / silent : 0;
}

static uint64_t derive_silence_ns(const struct prospect *prospect, double time_s, uint64_t old_ns)
{
    double gap_s = traffic_close_gap(prospect->traffic, time_s * prospect->speed);
    double silence_s = CV_MAX(SILENCE_GAPS * gap_s / prospect->speed, SILENCE_S_MIN);
    double old_s = (double)old_ns / 1e9;

    if (traffic_burstiness(prospect->traffic) < (old_ns > 0 ? BURSTY_STOP : BURSTY_START) ||
        silence_s >= time_s ||
        stays_silent(prospect, silence_s, time_s) < (old_ns > 0 ? SILENT_ON_STOP : SILENT_ON_START))
        return 0;
    return fabs(silence_s - old_s) <= SILENCE_MARGIN * old_s ? old_ns : to_ns(silence_s);
}

/* K at so many batches per second: no more than fit the budget, nor than pay. */
static unsigned packets_at(double rate, const struct terms *terms, double batch)
{
    double batches = CV_MIN(model_budget_packets(rate, terms->budget_s),
                            model_least_cost_packets(rate, terms->cost_ratio_s));

    batches = CV_MIN(CV_MAX(batches, 2.0), (double)HOLD_BATCHES_MAX);
    return (unsigned)CV_MIN(batches * batch + 0.5, (double)HOLD_PACKETS_MAX);
}

/* Within a burst the rate of the burst counts, not that of all time. K may be up to two margins
 * more than its formula says, which counts on no T: T keeps the budget also then. */
static unsigned derive_packets(const struct prospect *prospect, const struct terms *terms,
                               double time_s, bool is_bursty, unsigned old)
{
    double gap_s = traffic_close_gap(prospect->traffic, time_s * prospect->speed);
    double rate = is_bursty ? prospect->speed / gap_s : prospect->rate;

    if (old >= packets_at(rate, terms, prospect->batch) &&
        old <= packets_at(rate * (1 + 2 * MARGIN), terms, prospect->batch))
        return old;
    return packets_at(rate * (1 + MARGIN), terms, prospect->batch);
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
                     double transfer_s, const struct hold_config *hold, double trim)
{
    double budget_s = (double)hold->delay_budget_ns / 1e9;
    struct prospect prospect = prospect_of(arrivals, speed);
    struct terms terms = {
        .cost_ratio_s = cost_ratio_s(transfer_s, hold) / prospect.batch,
        .budget_s = budget_s,
        .aimed_s = budget_s * BUDGET_AIMED * trim,
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
    rule->time_max_ns = settle_time_ns(rule->time_max_ns, time_s, prospect.rate * company, &terms);
    rule->silence_max_ns = derive_silence_ns(&prospect, time_s, rule->silence_max_ns);
    rule->packets_max =
        derive_packets(&prospect, &terms, time_s, rule->silence_max_ns > 0, rule->packets_max);
    return company;
}

double controller_derive(struct hold_rule *rule, const struct traffic *arrivals, double transfer_s,
                         const struct hold_config *hold)
{
    return derive(rule, arrivals, 1, transfer_s, hold, 1);
}

/* --- what the model says of a rule --- */

/* E[B] and E[W]. What comes together opens a convoy together, and leaves together without any rule
 * but HOLD_OFF. */
static void predict(const struct hold_rule *rule, const struct prospect *prospect, double *ret_size,
                    double *ret_wait_s)
{
    double limit = rule->packets_max, time_s = (double)rule->time_max_ns / 1e9;
    double opening = prospect->batch - 1, more = CV_MAX(floor(limit - opening + 0.5), 1.0);
    double batches = CV_MAX(floor(limit / prospect->batch + 0.5), 1.0);

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

    if (!controller->is_given_up || hold->mode != HOLD_ADAPTIVE)
        (void)derive(&outlook.rule, arrivals, speed, transfer_cost_s(controller), hold,
                     controller->trim);
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
    controller->budget_s = (double)hold->delay_budget_ns / 1e9;
    controller->recent_packets = controller->recent_wait_s = 0;
    controller->trial = (struct controller_trial){0};
    controller->trim = controller->company = 1;
    controller->is_given_up = false;
    controller->must_derive = true;
}

void controller_forget_guest(struct controller *controller)
{
    controller->answer = (struct costs){0};
    controller->calls_wanted = 1;
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
    costs_observe(&controller->transfer, &transfer_trust, packets, seconds);
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
    costs_observe(&controller->answer, &answer_trust, packets, seconds);
}

void controller_departed(struct controller *controller, const struct hold_group *group,
                         uint64_t now_ns)
{
    struct controller_record *record = &controller->record;
    double wait_s = 0;

    if (group->batches[0].arrived_ns < now_ns && !group->has_express) {
        controller->trial.fresh++;
        controller->trial.joined += group->batch_count > 1;
    }
    for (unsigned i = 0; i < group->batch_count; i++)
        wait_s += (double)(now_ns - group->batches[i].arrived_ns) / 1e9 * group->batches[i].packets;
    controller->recent_packets += group->packets;
    controller->recent_wait_s +=
        CV_MIN(wait_s, TRIM_WAIT_BUDGETS * controller->budget_s * group->packets);
    record->wait_s += wait_s;
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

static void update_trim(struct controller *controller, uint64_t elapsed_ns)
{
    double kept = exp(-(double)elapsed_ns / RECENT_NS), budget_s = controller->budget_s;

    if (controller->recent_packets > 0 && budget_s > 0) {
        double mean_s = controller->recent_wait_s / controller->recent_packets;
        double excess = CV_MIN(mean_s / budget_s - 1, 1.0);
        double step = (double)elapsed_ns / (excess > 0 ? TRIM_DOWN_NS : TRIM_UP_NS);

        controller->trim *= 1 - excess * CV_MIN(step, 0.5);
        controller->trim = CV_MIN(CV_MAX(controller->trim, TRIM_MIN), 1.0);
    }
    controller->recent_packets *= kept;
    controller->recent_wait_s *= kept;
}

/* Counts groups that waited since the last update. Where the rate is falling, the mean of it is
 * behind; the packets of just that time are not. */
static void continue_trial(struct controller *controller, uint64_t elapsed_ns)
{
    struct controller_trial *trial = &controller->trial;
    const struct traffic *arrivals = &controller->arrivals;
    double fresh_rate = controller->fresh_packets * 1e9 / (double)CV_MAX(elapsed_ns, 1u);
    double rate = CV_MIN(fresh_rate, arrivals->rate) * (1 - traffic_together(arrivals));
    const struct hold_rule *rule = &controller->rule;
    uint64_t alone_ns = rule->silence_max_ns > 0 ? rule->silence_max_ns : rule->time_max_ns;

    trial->expected += trial->fresh * -expm1(-rate * (double)alone_ns / 1e9);
    trial->fresh = 0;
}

/* Compares what holding brings with what it should: packets that come only after the last was
 * delivered look like company until they are made to wait. */
static void judge_trial(struct controller *controller, uint64_t now_ns)
{
    struct controller_trial *trial = &controller->trial;
    bool is_judged = trial->expected >= TRIAL_EXPECTED;
    bool is_joined = trial->joined >= TRIAL_FAILED * trial->expected;

    if ((is_judged && !is_joined) || controller->trim <= TRIM_MIN) {
        trial->futile_ns = CV_MIN(CV_MAX(2 * trial->futile_ns, FUTILE_NS_MIN), FUTILE_NS_MAX);
        trial->futile_until_ns = now_ns + trial->futile_ns;
    } else if (is_judged) {
        trial->futile_ns = 0;
        trial->rate = prospect_of(&controller->arrivals, 1).rate;
    }
    if (is_judged)
        trial->expected = trial->joined = 0;
}

static void begin_trial(struct controller *controller)
{
    controller->trial.rate = prospect_of(&controller->arrivals, 1).rate;
    controller->trial.expected = controller->trial.joined = controller->trial.fresh = 0;
    controller->trial.futile_until_ns = 0;
}

static bool is_futile(const struct controller *controller, uint64_t now_ns)
{
    const struct controller_trial *trial = &controller->trial;

    return now_ns < trial->futile_until_ns &&
           prospect_of(&controller->arrivals, 1).rate < FUTILE_RATES * trial->rate;
}

/* K and T of HOLD_ADAPTIVE, from all that is known. */
static void update_rule(struct controller *controller, const struct hold_config *hold,
                        uint64_t now_ns)
{
    struct hold_rule *rule = &controller->rule;
    bool was_holding = rule->time_max_ns > 0;

    if (was_holding)
        judge_trial(controller, now_ns);
    controller->is_given_up = is_futile(controller, now_ns);
    if (controller->is_given_up) {
        controller->company = 0;
        hold_nothing(rule);
    } else if (controller->was_silent) {
        hold_nothing(rule);
    } else {
        controller->company = derive(rule, &controller->arrivals, 1, transfer_cost_s(controller),
                                     hold, controller->trim);
    }
    if (!was_holding && rule->time_max_ns > 0)
        begin_trial(controller);
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
    uint64_t elapsed_ns;

    if (now_ns - controller->updated_ns < CONTROLLER_INTERVAL_NS && !controller->must_derive)
        return;
    elapsed_ns = now_ns - controller->updated_ns;
    traffic_update(&controller->arrivals, now_ns);
    fade_record(&controller->record, elapsed_ns);
    update_trim(controller, elapsed_ns);
    continue_trial(controller, elapsed_ns);
    update_place(controller);
    controller->cost_ratio_s = cost_ratio_s(transfer_cost_s(controller), hold);
    if (hold->mode == HOLD_ADAPTIVE)
        update_rule(controller, hold, now_ns);
    else
        set_stated(&controller->rule, hold);
    update_predictions(controller);
    controller->was_silent = controller->must_derive = false;
    controller->updated_ns = now_ns;
}

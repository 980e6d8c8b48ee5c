#include "convoy/costs.h"

#include <assert.h>

/* Samples up to this are never cut: at the clock's own grain the line is no measure. */
#define SAMPLE_CUT_S_MIN 1e-6

/* While so few samples are known, one so many times *below* the line says that those before were
 * the freak ones. */
#define SAMPLES_FEW 16
#define FREAK_TIMES 8.0

/* Later the line is drawn anew once in so many samples: that costs more than to take one in. */
#define SAMPLES_PER_FIT 8

/* Sizes tell c0 from c1 when their standard deviation is at least this share of their mean: less
 * would extrapolate noise down to size 0. */
#define SPREAD_MIN 0.125

/* Until then: c0 is as much as so many packets. Between what copying and calling come to. */
#define TRANSFER_PACKETS_ASSUMED 4.0

static double line_at(const struct model_costs *line, double packets)
{
    return line->transfer_s + line->packet_s * packets;
}

/* The slope that fits best where lines may go up or down. */
static double slope(const struct costs *costs)
{
    double spread = SPREAD_MIN * costs->packets_mean;

    if (costs->packets_variance >= spread * spread)
        return costs->covariance / costs->packets_variance;
    if (costs->has_slope)
        return costs->line.packet_s;
    return costs->seconds_mean / (TRANSFER_PACKETS_ASSUMED + costs->packets_mean);
}

/* The best line with no negative term: where the free one has one, that term is 0 and the other is
 * fitted alone. */
static void fit(struct costs *costs)
{
    double spread = SPREAD_MIN * costs->packets_mean;
    double square = costs->packets_variance + costs->packets_mean * costs->packets_mean;
    double product = costs->covariance + costs->packets_mean * costs->seconds_mean;
    struct model_costs line = {.packet_s = CV_MAX(slope(costs), 0.0)};

    line.transfer_s = costs->seconds_mean - line.packet_s * costs->packets_mean;
    if (line.transfer_s < 0) {
        line.transfer_s = 0;
        line.packet_s = CV_MAX(product, 0.0) / square;
    }
    costs->has_slope |= costs->packets_variance >= spread * spread;
    costs->line = line;
}

void costs_observe(struct costs *costs, const struct costs_trust *trust, unsigned packets,
                   double seconds)
{
    double expected = line_at(&costs->line, packets);
    double from_mean, share;

    assert(packets > 0);
    if (costs->weight > 0 && seconds > SAMPLE_CUT_S_MIN)
        seconds = CV_MIN(seconds, CV_MAX(trust->times_max * expected, SAMPLE_CUT_S_MIN));
    if (costs->weight < SAMPLES_FEW && seconds * FREAK_TIMES < expected)
        *costs = (struct costs){0};
    costs->weight = costs->weight * (1 - 1 / trust->memory) + 1;
    share = 1 / costs->weight;
    from_mean = packets - costs->packets_mean;
    costs->packets_variance =
        (1 - share) * (costs->packets_variance + share * from_mean * from_mean);
    costs->covariance =
        (1 - share) * (costs->covariance + share * from_mean * (seconds - costs->seconds_mean));
    costs->packets_mean += share * from_mean;
    costs->seconds_mean += share * (seconds - costs->seconds_mean);
    if (costs->weight < SAMPLES_FEW || ++costs->unfitted == SAMPLES_PER_FIT) {
        costs->unfitted = 0;
        fit(costs);
    }
}

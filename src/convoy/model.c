/*
 * A convoy has B = 1 + M packets with M = min(N, K-1), N Poisson of mean m = rate T: the company
 * that came within T. All that is asked follows from E[M] and E[M^2], and these from a few tails of
 * the distribution of N, as sums of positive terms: nothing cancels, whether convoys are nearly
 * always alone or nearly always full. Tails are summed from their largest term down, and that term
 * is taken from its logarithm, so nothing underflows either that is not nothing.
 */
#include "convoy/model.h"

#include <assert.h>
#include <math.h>

/* A sum ends where its next term no longer shows in a double. */
#define TERM_MIN 1e-17

/* Keeps a product such as 2 * 1e5 * 50e-6, a whole number but for rounding, from being rounded down
 * to the one below. */
#define ROUNDING (1 + 1e-12)

/* Of a Poisson distribution, at n: */
struct split {
    double below; /* Pr{N < n} */
    double from;  /* Pr{N >= n} */
};

/* Pr{N = n} for a mean above 0. */
static double poisson_point(double n, double mean)
{
    int sign;

    return exp(n * log(mean) - mean - lgamma_r(n + 1, &sign));
}

/* Adds up the smaller side, which is exact to the last digits; the other is the rest. */
static struct split poisson_split(unsigned n, double mean)
{
    double i = n > mean ? n : n - 1.0, sum = 0, term;

    if (n == 0)
        return (struct split){.below = 0, .from = 1};
    if (mean <= 0)
        return (struct split){.below = 1, .from = 0};
    term = poisson_point(i, mean);
    while (term > sum * TERM_MIN) {
        sum += term;
        if (n > mean) {
            i++;
            term *= mean / i;
        } else {
            term *= i / mean;
            i--;
        }
    }
    return n > mean ? (struct split){.below = 1 - sum, .from = sum}
                    : (struct split){.below = sum, .from = 1 - sum};
}

double model_poisson_tail(unsigned n, double mean)
{
    return poisson_split(n, mean).from;
}

/* E[M] and E[M^2]. */
struct moments {
    double first, second;
};

/*
 * With k = K-1 and j Pr{N = j} = m Pr{N = j-1}:
 *   E[M]   = m Pr{N < k-1} + k Pr{N >= k}
 *   E[M^2] = m^2 Pr{N < k-2} + m Pr{N < k-1} + k^2 Pr{N >= k}
 */
static struct moments company_moments(double rate, unsigned packets_max, double time_s)
{
    double mean = rate * time_s, limit = packets_max - 1.0;
    double few, fewer, full;

    assert(rate > 0 && packets_max >= 1 && time_s >= 0);
    if (packets_max == 1)
        return (struct moments){0, 0};
    full = limit * poisson_split(packets_max - 1, mean).from;
    few = mean * poisson_split(packets_max - 2, mean).below;
    fewer = packets_max > 3 ? mean * mean * poisson_split(packets_max - 3, mean).below : 0;
    return (struct moments){.first = few + full, .second = fewer + few + limit * full};
}

double model_mean_size(double rate, unsigned packets_max, double time_s)
{
    return 1 + company_moments(rate, packets_max, time_s).first;
}

double model_mean_square_size(double rate, unsigned packets_max, double time_s)
{
    struct moments company = company_moments(rate, packets_max, time_s);

    return 1 + 2 * company.first + company.second;
}

double model_mean_wait(double rate, unsigned packets_max, double time_s)
{
    struct moments company = company_moments(rate, packets_max, time_s);

    /* sum_{n=1}^{K-1} n P(n, m) = E[M (M+1) / 2] */
    return (company.first + company.second) / (2 * rate * (1 + company.first));
}

double model_release_interval(double rate, unsigned packets_max, double time_s)
{
    return model_mean_size(rate, packets_max, time_s) / rate;
}

double model_capacity(const struct model_costs *costs, double mean_size)
{
    return 1 / (costs->packet_s + costs->transfer_s / mean_size);
}

double model_utilisation(double rate, unsigned packets_max, double time_s,
                         const struct model_costs *costs)
{
    double mean_size = model_mean_size(rate, packets_max, time_s);

    return rate * (costs->packet_s + costs->transfer_s / mean_size);
}

double model_channel_wait(double rate, unsigned packets_max, double time_s,
                          const struct model_costs *costs)
{
    double mean_size = model_mean_size(rate, packets_max, time_s);
    double mean_square_size = model_mean_square_size(rate, packets_max, time_s);
    double utilisation = model_utilisation(rate, packets_max, time_s, costs);
    double c0 = costs->transfer_s, c1 = costs->packet_s;
    double mean_square_service = c0 * c0 + 2 * c0 * c1 * mean_size + c1 * c1 * mean_square_size;

    if (utilisation >= 1)
        return INFINITY;
    return rate / mean_size * mean_square_service / (2 * (1 - utilisation));
}

double model_total_delay(double rate, unsigned packets_max, double time_s,
                         const struct model_costs *costs)
{
    double own_size = model_mean_square_size(rate, packets_max, time_s) /
                      model_mean_size(rate, packets_max, time_s);

    return model_mean_wait(rate, packets_max, time_s) +
           model_channel_wait(rate, packets_max, time_s, costs) + costs->transfer_s +
           costs->packet_s * own_size;
}

double model_budget_time(double rate, double budget_s)
{
    double packets = rate * budget_s;

    /* (packets - 1 + sqrt(1 + packets^2)) / rate, without the difference of nearly equal numbers */
    return budget_s + budget_s * packets / (1 + sqrt(1 + packets * packets));
}

double model_budget_packets(double rate, double budget_s)
{
    return floor((1 + 2 * rate * budget_s) * ROUNDING);
}

double model_least_cost_time(double rate, double cost_ratio_s)
{
    double excess = 2 * (rate * cost_ratio_s - 1);

    if (excess <= 0)
        return 0;
    /* (sqrt(1 + excess) - 1) / rate, likewise */
    return excess / (1 + sqrt(1 + excess)) / rate;
}

double model_least_cost_packets(double rate, double cost_ratio_s)
{
    /* One more pays while K (K-1) <= 2 rate q. */
    return floor((1 + sqrt(1 + 8 * rate * cost_ratio_s)) / 2 * ROUNDING);
}

/*
 * The queueing model: what a rule (K, T) does to traffic. Packets arrive at `rate` per second as a
 * Poisson process; a convoy opens with a packet, and departs when K packets are aboard or T seconds
 * after the first. A transfer takes c0 seconds for itself and c1 for each packet. With P(n, x) =
 * Pr{Poisson(x) >= n} and m = rate T:
 *
 *   mean size             E[B] = 1 + sum_{n=1}^{K-1} P(n, m)
 *   mean added delay      E[W] = (1 / (rate E[B])) sum_{n=1}^{K-1} n P(n, m), at most T
 *   release interval      E[B] / rate
 *   capacity              1 / (c1 + c0 / E[B])
 *   wait for the channel  Pollaczek and Khinchine, M/G/1: convoys at rate/E[B], service c0 + c1 B
 *
 * The wait for the channel is exact for K = 1. Otherwise it is an upper bound: the time between two
 * releases, a packet's random arrival and then the shorter of T and K-1 more of them, has an
 * increasing failure rate, so it varies less than the exponential time that the formula assumes
 * (in convex order), and queues behind it are shorter. How much shorter: see the table that
 * tests/model/queueing_model_test.c prints; the busier the channel, the more.
 *
 * Pure functions of doubles: seconds and packets per second. `packets_max` is K, at least 1;
 * `time_s` is T, at least 0; `rate` is positive.
 */
#ifndef CONVOY_CONVOY_MODEL_H
#define CONVOY_CONVOY_MODEL_H

/* Pr{Poisson(mean) >= n}. */
double model_poisson_tail(unsigned n, double mean);

/* E[B], and E[B^2]. */
double model_mean_size(double rate, unsigned packets_max, double time_s);
double model_mean_square_size(double rate, unsigned packets_max, double time_s);

/* E[W]: from a packet's arrival to the departure of its convoy, over all packets. */
double model_mean_wait(double rate, unsigned packets_max, double time_s);

/* Seconds between departures. */
double model_release_interval(double rate, unsigned packets_max, double time_s);

/* What transfers cost, in seconds: c0 for each, c1 for each packet in it. */
struct model_costs {
    double transfer_s;
    double packet_s;
};

/* Packets per second that a channel carries with convoys of this mean size. */
double model_capacity(const struct model_costs *costs, double mean_size);

/* Share of its time that the channel is busy; from 1 on it does not keep up. */
double model_utilisation(double rate, unsigned packets_max, double time_s,
                         const struct model_costs *costs);

/* Mean wait of a convoy for the channel; INFINITY when it does not keep up. */
double model_channel_wait(double rate, unsigned packets_max, double time_s,
                          const struct model_costs *costs);

/* Arrival to end of transfer: E[W], the wait for the channel, and the transfer of the packet's own
 * convoy (seen by a packet, a convoy has E[B^2]/E[B] on average). INFINITY as above. */
double model_total_delay(double rate, unsigned packets_max, double time_s,
                         const struct model_costs *costs);

/*
 * Delay budget: as few transfers as possible with a mean added delay of at most `budget_s`.
 *   T = (rate D - 1 + sqrt(1 + (rate D)^2)) / rate,  K = 1 + 2 rate D (rounded down)
 */
double model_budget_time(double rate, double budget_s);
double model_budget_packets(double rate, double budget_s);

/*
 * Least cost: `cost_ratio_s` = q is the cost of one transfer divided by the cost of one packet
 * waiting for one second. Minimises (transfers + waiting) per second:
 *   T = 0 where rate q <= 1, else (sqrt(2 rate q - 1) - 1) / rate
 * where it is T alone that ends a convoy (K unlimited).
 */
double model_least_cost_time(double rate, double cost_ratio_s);

/* ... and where it is K alone that ends a convoy: minimises q/K + (K-1) / (2 rate). It is the most
 * that are worth waiting for also where packets come at even distances; at least 1. */
double model_least_cost_packets(double rate, double cost_ratio_s);

#endif

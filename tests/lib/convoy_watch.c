/*
 * convoy-watch: K and T of a port, asked for every few milliseconds over one connection. A test
 * tool, for how fast the controller settles: starting a client for each answer would take longer
 * than what is to be seen.
 *
 *   convoy-watch RUN-DIR PORT INTERVAL-MS SECONDS
 *
 * Each line: CLOCK_MONOTONIC in ns, packets per second, K, T in us, E[B] and E[W] in us predicted
 * for this rate. Exit status 2 when nobody answers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon.h"

static double number_at(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

/* Prints one answer; false: there is none. */
static bool look(struct daemon *daemon, const char *port)
{
    json_t *answer = daemon_call(daemon, "port.show", json_pack("{s:s}", "name", port));
    const json_t *queues = json_object_get(json_object_get(answer, "tuning"), "queues");
    const json_t *to = json_object_get(json_array_get(queues, 0), "to");
    const json_t *rule = json_object_get(to, "rule"), *now = json_object_get(to, "now");

    if (json_is_object(rule))
        printf("%llu %.0f %.0f %.2f %.2f %.2f\n", (unsigned long long)clock_now_ns(),
               number_at(to, "rate_per_second"), number_at(rule, "packets_max"),
               number_at(rule, "time_max_ns") / 1e3, number_at(now, "mean_size"),
               number_at(now, "mean_wait_s") * 1e6);
    json_decref(answer);
    return answer != NULL;
}

int main(int argc, char **argv)
{
    struct daemon daemon;
    uint64_t interval_ns, next_ns, end_ns;

    if (argc != 5 || atoi(argv[3]) < 1 || atoi(argv[4]) < 1) {
        fprintf(stderr, "usage: convoy-watch RUN-DIR PORT INTERVAL-MS SECONDS\n");
        return 2;
    }
    if (daemon_join(&daemon, argv[1]) < 0) {
        fprintf(stderr, "convoy-watch: no daemon answers in %s\n", argv[1]);
        return 2;
    }
    interval_ns = (uint64_t)atoi(argv[3]) * 1000000;
    next_ns = clock_now_ns();
    end_ns = next_ns + (uint64_t)atoi(argv[4]) * 1000000000;
    while (next_ns < end_ns && look(&daemon, argv[2])) {
        struct timespec until;

        next_ns += interval_ns;
        until = (struct timespec){(time_t)(next_ns / 1000000000), (long)(next_ns % 1000000000)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    close(daemon.control);
    return next_ns < end_ns ? 2 : 0;
}

/*
 * The words of convoy-traffic's command line, checked. Whatever is wrong with them is said on
 * standard error, and the program ends with status 2 before anything was sent.
 */
#ifndef CONVOY_TESTS_LIB_TRAFFIC_ARGUMENTS_H
#define CONVOY_TESTS_LIB_TRAFFIC_ARGUMENTS_H

#include "disturb.h"
#include "exchange.h"
#include "ping_pong.h"

struct traffic_arguments {
    struct front_end_options front;
    struct exchange_options exchange;
    struct ping_pong_options ping_pong; /* rounds 0: no ping-pong */
    struct disturb_options disturb;     /* flows 0: nothing is disturbed */
    const char *arrivals, *then;        /* what is measured at times of its own; NULL: nothing */
    double seconds, warm_up_seconds;
    const char *finally; /* NULL: nothing */
    struct front_cut cut;
    bool loss_allowed;
    uint64_t time_limit_s;
    unsigned socket_count; /* even */
    const char *const *sockets;
};

void traffic_arguments_read(int argc, char **argv, struct traffic_arguments *ret_arguments);

/* "convoy-traffic: WHAT: VALUE", and the end. */
__attribute__((noreturn)) void traffic_fail(const char *what, const char *value);

#endif

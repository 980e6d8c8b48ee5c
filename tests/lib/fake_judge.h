/* Judges what fake ports are given. To be used by fake_port.c. */
#ifndef CONVOY_TESTS_LIB_FAKE_JUDGE_H
#define CONVOY_TESTS_LIB_FAKE_JUDGE_H

#include "fake_port.h"

#define RULE(condition, sentence)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fake_port_fail(sentence);                                                              \
    } while (0)

/* Queues by their ids, so that a receiver can look at the sender's side; NULL: none. */
extern struct fake_queue *fake_queues[FAKE_QUEUES_MAX];

/* A frame, or a row of merged ones, arrives at the port: everything that can be wrong about that is
 * a broken rule. Returns how many frames it is made of. */
unsigned fake_judge(struct fake_queue *queue, const struct frame *frame);

#endif

/*
 * Attacks on a running convoyd, one function each, and what must still be true after every one of
 * them: the daemon lives, two honest guests go on exchanging verified traffic without a loss that
 * is not counted, the attack is named in the log, the attacked port serves the next guest, and
 * neither descriptors nor memory have been left behind.
 *
 * Ports: "attacker" (the attack's own), "left" and "right" (honest, driven by a thread of their own
 * for as long as the program runs), "probe" (honest, the attack's witness), "taker" (for a guest
 * that takes super-packets).
 */
#ifndef CONVOY_TESTS_HOSTILE_HOSTILE_H
#define CONVOY_TESTS_HOSTILE_HOSTILE_H

#include <pthread.h>

#include "lib/daemon.h"
#include "lib/exchange.h"

struct hostile {
    struct daemon daemon;
    struct front_end_options attacker; /* an honest guest's options, to start from */
    struct front_end probe;
    uint64_t rounds;        /* of repetitions that hunt leaks (HOSTILE_ROUNDS) */
    uint64_t honest_rate;   /* frames per second that left and right exchange undisturbed */
    struct exchange honest; /* between left and right; the thread's own */
    pthread_t thread;
    bool stop, pause;       /* atomic: orders to the thread */
    bool paused;            /* atomic: all sent has arrived or is given up, nothing moves */
    uint64_t exchanged;     /* atomic: frames that left and right have received */
    uint64_t losses_known;  /* lost so far, all explained */
    unsigned open_files;    /* of the daemon, without an attacker */
    uint64_t anonymous_kib; /* of the daemon, before the attack */
    size_t log_start;       /* where the log of the attack starts */
    bool failed;
    char failure[400]; /* the first expectation that was not met */
};

/* What an attack must lead to, besides harming nobody. */
enum hostile_mark {
    MARK_WARNING = 1, /* a warning that names the port */
    MARK_DROPS = 2,   /* frames dropped with a reason at the attacker's port */
};

struct hostile_test {
    const char *class; /* of docs/security.md */
    const char *name;
    void (*attack)(struct hostile *h);
    unsigned marks;          /* a set of enum hostile_mark */
    unsigned penalty_ms;     /* how long the port may be closed for this, at most; 0: not at all */
    unsigned growth_kib_max; /* of the daemon's own memory, for good reason; 0: next to none */
};

/* The attacks, by file. */
extern const struct hostile_test message_tests[], memory_tests[], ring_tests[], frame_tests[],
    merge_tests[], life_tests[];
extern const unsigned message_test_count, memory_test_count, ring_test_count, frame_test_count,
    merge_test_count, life_test_count;

/* --- the stage --- */

int hostile_start(struct hostile *h, const char *convoyd, struct error *error) CV_MUST_CHECK;
/* False: the daemon did not end well, or the honest guests found something wrong at the very end.
 */
bool hostile_stop(struct hostile *h);
/* After a failed attack: a new daemon and new guests, so that the next attack is judged alone. */
int hostile_restart(struct hostile *h, const char *convoyd, struct error *error) CV_MUST_CHECK;
/* Runs one attack and all checks; prints one line. */
bool hostile_run(struct hostile *h, const struct hostile_test *test);

/* Stops the honest guests' sending until hostile_resume_honest. False: they do not come to rest. */
bool hostile_pause_honest(struct hostile *h);
void hostile_resume_honest(struct hostile *h);

/* --- words for attacks --- */

/* Notes the first failure; goes on. Returns the condition. */
bool hostile_expect(struct hostile *h, bool condition, const char *format, ...) CV_PRINTF(3, 4);

/* An honest guest on the attacker's port. False, noted, when it cannot start. */
bool hostile_open(struct hostile *h, struct front_end *fe, const struct front_end_options *options);
/* The same, but its receiveq is left empty. */
bool hostile_open_unposted(struct hostile *h, struct front_end *fe,
                           const struct front_end_options *options);
/* Only connected and features agreed: no memory shared, no ring started; memory and rings exist. */
bool hostile_negotiate(struct hostile *h, struct front_end *fe,
                       const struct front_end_options *options);
/* Closes like a VMM that was killed. */
void hostile_close(struct front_end *fe);

/*
 * Sends one message and expects that it is not carried out: the connection ends, or the answer is
 * failure. `what` names the variant.
 */
void hostile_expect_refused(struct hostile *h, struct front_end *fe, enum vu_request request,
                            const void *payload, size_t len, const int *fds, unsigned fd_count,
                            const char *what);
/* Waits until the daemon has closed the connection. */
bool hostile_expect_closed(struct hostile *h, struct front_end *fe, const char *what);

/* Value of a counter of the attacker's port (see daemon_counter). */
uint64_t hostile_counter(struct hostile *h, const char *name);
/* Waits until it is at least `value`. */
bool hostile_await_counter(struct hostile *h, const char *name, uint64_t value);
/* Waits until the guest's rings are stopped for a fault, counted from `before` (counter "faults").
 */
void hostile_expect_fault(struct hostile *h, uint64_t before, const char *what);

/* The daemon uses next to no processor time while nobody sends; `what` the attacker does. */
void hostile_expect_idle(struct hostile *h, const char *what);

/* Reads and throws away all that a guest on `port` has been sent, until nothing waits for it. */
void hostile_drain(struct hostile *h, struct front_end *fe, const char *port);

/* Fills a frame from the probe to everybody (destination ff:ff:...), and sends it. */
void hostile_probe_broadcast(struct hostile *h, size_t len);
/* Address of the probe, and the one that attackers use, in wire order. */
extern const uint8_t hostile_probe_mac[6], hostile_attacker_mac[6];

#endif

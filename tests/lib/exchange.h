/*
 * Verified traffic between test guests: ends 2n and 2n + 1 send to each other through whatever
 * connects their sockets, and judge all that arrives. One thread drives all ends of an exchange.
 *
 * How it works: exchange_step gives each end one turn (take back, send a burst, receive a burst).
 * Where a step moved nothing, exchange_wait asks every ring for a call and sleeps; a used element
 * that nobody called about is a *missed call*, the classic bug of notification suppression. A
 * sender keeps at most a window of frames under way, so that nothing is lost for want of room; what
 * does not arrive for a second is given up and shows as lost.
 */
#ifndef CONVOY_TESTS_LIB_EXCHANGE_H
#define CONVOY_TESTS_LIB_EXCHANGE_H

#include <stdio.h>

#include "front_end.h"
#include "traffic.h"

enum { EXCHANGE_ENDS_MAX = 64 };

struct exchange_options {
    enum traffic_kind kind;
    bool stream;             /* stream packets instead of numbered frames */
    bool offload_csum;       /* leave transport checksums to the switch */
    bool verify;             /* judge every frame; otherwise only count them */
    bool one_way;            /* only even ends send */
    bool busy;               /* poll instead of waiting for calls */
    size_t len_min, len_max; /* numbered: frame bytes; stream: payload bytes; each drawn evenly */
    size_t mss;              /* stream: largest segment; default: what fits 1500 bytes */
    unsigned burst;          /* frames per turn; default 64 */
    unsigned window;         /* frames under way per direction (stream: segments); 0: no limit */
    unsigned give_up_ms; /* silence after which what is under way counts as lost; default 1000 */
    uint64_t frames;     /* per sending end; 0: no end */
    uint64_t read_max;   /* odd ends stop reading after so many frames; 0: they never stop */
    uint64_t read_rate;  /* odd ends read at most so many frames per second; 0: no limit */
    uint64_t second_features; /* of odd ends, where they differ; 0: they do not */
    uint64_t seed;            /* of the drawn lengths */
    unsigned first_number;    /* of the first end, for several exchanges at one switch; even */
};

struct exchange_end {
    struct front_end fe;
    struct traffic_source sources[FRONT_PAIRS_MAX]; /* one flow per queue pair */
    struct traffic_checker checker;                 /* of the peer's flows */
    uint8_t mac[6], peer_mac[6];
    bool sends;
    bool verify;
    bool reads_slowly;
    bool may_super, may_offload_csum; /* by its features */
    bool no_room;                     /* its last turn ended with a full ring */
    uint64_t sent;                    /* frames offered to the switch */
    uint64_t received;                /* frames of the peer */
    uint64_t received_bytes;
    uint64_t given_up;  /* window units that were under way too long */
    unsigned next_pair; /* queue pair of the next burst */
    uint8_t *pattern;   /* without verify: the frame that is always sent */
};

struct exchange {
    struct exchange_options options;
    unsigned end_count;
    struct exchange_end *ends;
    uint64_t random; /* state of the drawn lengths */
    uint64_t started_ns;
    uint64_t moved_ns;     /* when a frame was last sent or received */
    uint64_t finished_ns;  /* when the last frame arrived */
    uint64_t missed_calls; /* used elements found that no call had told of */
};

struct exchange_result {
    uint64_t sent, received, received_bytes;
    uint64_t lost; /* frames, or stream bytes */
    uint64_t doubled, reordered, altered, foreign, super;
    uint64_t faults; /* of the device's ring handling */
    uint64_t kicks, calls;
    char first_wrong[512];
};

/*
 * Opens front ends on `count` (even) sockets and lets each be heard once, so that the switch has
 * learnt where all are. `front` is used for all ends but its socket. On failure all is closed;
 * *error.
 */
int exchange_open(struct exchange *exchange, const char *const *sockets, unsigned count,
                  const struct front_end_options *front, const struct exchange_options *options,
                  struct error *error) CV_MUST_CHECK;
void exchange_close(struct exchange *exchange);

/* Offers one numbered frame of `len` bytes at an end, not published; false: the ring is full. */
bool exchange_offer_one(struct exchange *exchange, unsigned index, size_t len);
/* Judges one frame; `context` is the end that received it. */
void exchange_judge(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                    size_t len);
/* Takes and judges up to `max` frames at an end; returns how many. */
unsigned exchange_receive(struct exchange *exchange, unsigned index, unsigned max);

/* One turn for each end; true when anything moved. */
bool exchange_step(struct exchange *exchange);

/* Sleeps until a ring has something, at most `timeout_ms`. */
void exchange_wait(struct exchange *exchange, int timeout_ms);

/* Steps and waits until all is sent and has arrived or been given up. False: still going at the
 * deadline. */
bool exchange_run(struct exchange *exchange, uint64_t deadline_ns);

/* True when every end has sent its number and nothing more is under way. */
bool exchange_is_done(const struct exchange *exchange);

void exchange_get_result(const struct exchange *exchange, struct exchange_result *ret_result);

/* True when nothing was lost (unless `loss_allowed`), doubled, reordered or altered. */
bool exchange_result_is_good(const struct exchange_result *result, bool loss_allowed);

#endif

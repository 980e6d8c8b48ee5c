#include "traffic_arguments.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/vhost_user.h"

enum { DEFAULT_SIZE = 60 };

static const char usage[] =
    "Usage: convoy-traffic [OPTION]... SOCKET SOCKET [SOCKET SOCKET]...\n"
    "\n"
    "  --frames N          frames that each end sends (default 1000000)\n"
    "  --verify            check number, order and every byte of each frame\n"
    "  --kind KIND         ether, udp4 (default), udp6, tcp4, tcp6\n"
    "  --size N[-M]        bytes of a frame; with --stream: of payload (default 60)\n"
    "  --stream            TCP or UDP streams; payloads over --mss are super-packets\n"
    "  --mss N             largest segment of a stream (default: what fits 1500 bytes)\n"
    "  --offload-csum      leave transport checksums to the switch\n"
    "  --one-way           only the first of each pair sends\n"
    "  --window N          frames under way per direction (default 128; 0: no limit)\n"
    "  --burst N           frames per turn (default 64)\n"
    "  --busy              poll the rings instead of waiting for calls\n"
    "  --features WORD     plain, linux (default), or a number: features to acknowledge\n"
    "  --add-features N    features besides, as a number (IN_ORDER: 0x800000000)\n"
    "  --drop-features N   features not to acknowledge\n"
    "  --second-features WORD  the same of the second of each pair, where they differ\n"
    "  --queues N          queue pairs (default 1)\n"
    "  --ring N            entries of each ring (default 256)\n"
    "  --cut N,N,...[,*N]  sizes of the pieces of a sent frame, header included; *N: of all "
    "further ones\n"
    "  --indirect          put the pieces into indirect tables\n"
    "  --receive-bytes N   size of receive buffers\n"
    "  --listen            the switch connects to the sockets\n"
    "  --slow-reader RATE  second ends read only RATE frames per second; loss is no error\n"
    "  --stop-reading N    second ends read N frames and then stop; loss is no error\n"
    "  --allow-loss        loss is no error\n"
    "  --seed N            of drawn sizes (default 1)\n"
    "  --first N           number of the first guest, for several runs at one switch (default 0)\n"
    "  --ping-pong N       no load: one frame to and fro N times, both ends sleeping on their "
    "calls\n"
    "  --pause NS          pause before each frame of it, drawn from 0 to NS (default 0)\n"
    "  --arm-delay NS      from sending to asking for the answer's call, likewise\n"
    "  --bulk-every N,M    before every N rounds each end sends M frames at full load\n"
    "  --arrivals SPEC     the first end sends at times of their own: poisson:RATE, "
    "constant:RATE,\n"
    "                      onoff:RATE,ON,OFF, trace:FILE[,SPEED]; delays are measured\n"
    "  --then SPEC         other arrivals from half of the time on\n"
    "  --seconds S         how long (default 2)\n"
    "  --warm-up S         of that: not measured (default 0.2)\n"
    "  --finally COMMAND   for the shell, when all has arrived and the guests are still there\n"
    "  --disturb L,R,D     TCP or UDP streams of which the shares L, R and D are left out, sent\n"
    "                      behind later ones, and sent twice; every packet is held against what "
    "was\n"
    "                      sent, also when it comes as part of a super-packet; --size is the "
    "largest\n"
    "                      payload (default: what fits 1500 bytes)\n"
    "  --flows N           flows of such streams in each direction (default 8)\n"
    "  --time-limit S      seconds until the run counts as hung (default 120)\n";

enum option_key {
    OPT_FRAMES = 256,
    OPT_VERIFY,
    OPT_KIND,
    OPT_SIZE,
    OPT_STREAM,
    OPT_MSS,
    OPT_OFFLOAD_CSUM,
    OPT_ONE_WAY,
    OPT_WINDOW,
    OPT_BURST,
    OPT_BUSY,
    OPT_FEATURES,
    OPT_ADD_FEATURES,
    OPT_DROP_FEATURES,
    OPT_SECOND_FEATURES,
    OPT_QUEUES,
    OPT_RING,
    OPT_CUT,
    OPT_INDIRECT,
    OPT_RECEIVE_BYTES,
    OPT_LISTEN,
    OPT_SLOW_READER,
    OPT_STOP_READING,
    OPT_ALLOW_LOSS,
    OPT_SEED,
    OPT_FIRST,
    OPT_PING_PONG,
    OPT_PAUSE,
    OPT_ARM_DELAY,
    OPT_BULK_EVERY,
    OPT_DISTURB,
    OPT_FLOWS,
    OPT_ARRIVALS,
    OPT_THEN,
    OPT_SECONDS,
    OPT_WARM_UP,
    OPT_FINALLY,
    OPT_TIME_LIMIT,
};

static const struct option options[] = {
    {"frames", required_argument, NULL, OPT_FRAMES},
    {"verify", no_argument, NULL, OPT_VERIFY},
    {"kind", required_argument, NULL, OPT_KIND},
    {"size", required_argument, NULL, OPT_SIZE},
    {"stream", no_argument, NULL, OPT_STREAM},
    {"mss", required_argument, NULL, OPT_MSS},
    {"offload-csum", no_argument, NULL, OPT_OFFLOAD_CSUM},
    {"one-way", no_argument, NULL, OPT_ONE_WAY},
    {"window", required_argument, NULL, OPT_WINDOW},
    {"burst", required_argument, NULL, OPT_BURST},
    {"busy", no_argument, NULL, OPT_BUSY},
    {"features", required_argument, NULL, OPT_FEATURES},
    {"add-features", required_argument, NULL, OPT_ADD_FEATURES},
    {"drop-features", required_argument, NULL, OPT_DROP_FEATURES},
    {"second-features", required_argument, NULL, OPT_SECOND_FEATURES},
    {"queues", required_argument, NULL, OPT_QUEUES},
    {"ring", required_argument, NULL, OPT_RING},
    {"cut", required_argument, NULL, OPT_CUT},
    {"indirect", no_argument, NULL, OPT_INDIRECT},
    {"receive-bytes", required_argument, NULL, OPT_RECEIVE_BYTES},
    {"listen", no_argument, NULL, OPT_LISTEN},
    {"slow-reader", required_argument, NULL, OPT_SLOW_READER},
    {"stop-reading", required_argument, NULL, OPT_STOP_READING},
    {"allow-loss", no_argument, NULL, OPT_ALLOW_LOSS},
    {"seed", required_argument, NULL, OPT_SEED},
    {"first", required_argument, NULL, OPT_FIRST},
    {"ping-pong", required_argument, NULL, OPT_PING_PONG},
    {"pause", required_argument, NULL, OPT_PAUSE},
    {"arm-delay", required_argument, NULL, OPT_ARM_DELAY},
    {"bulk-every", required_argument, NULL, OPT_BULK_EVERY},
    {"disturb", required_argument, NULL, OPT_DISTURB},
    {"flows", required_argument, NULL, OPT_FLOWS},
    {"arrivals", required_argument, NULL, OPT_ARRIVALS},
    {"then", required_argument, NULL, OPT_THEN},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"warm-up", required_argument, NULL, OPT_WARM_UP},
    {"finally", required_argument, NULL, OPT_FINALLY},
    {"time-limit", required_argument, NULL, OPT_TIME_LIMIT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

void traffic_fail(const char *what, const char *value)
{
    fprintf(stderr, "convoy-traffic: %s: %s\n", what, value);
    exit(2);
}

static uint64_t number_of(const char *text, uint64_t max)
{
    char *end;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 0);
    if (errno || end == text || *end || value > max)
        traffic_fail("not a number in range", text);
    return value;
}

static double seconds_of(const char *text, double min)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end || !(seconds >= min && seconds <= 86400)) {
        fprintf(stderr, "convoy-traffic: \"%s\" is not a number of seconds from %g to 86400\n",
                text, min);
        exit(2);
    }
    return seconds;
}

static enum traffic_kind kind_of(const char *word)
{
    static const char *const words[] = {"ether", "udp4", "udp6", "tcp4", "tcp6"};

    for (unsigned i = 0; i < CV_COUNT_OF(words); i++) {
        if (strcmp(word, words[i]) == 0)
            return (enum traffic_kind)i;
    }
    traffic_fail("not a kind of traffic", word);
}

static uint64_t features_of(const char *word)
{
    if (strcmp(word, "plain") == 0)
        return front_features_plain;
    if (strcmp(word, "linux") == 0)
        return front_features_linux;
    return number_of(word, UINT64_MAX);
}

static void set_size(struct exchange_options *exchange, char *text)
{
    char *dash = strchr(text, '-');

    if (dash)
        *dash = '\0';
    exchange->len_min = number_of(text, 65535);
    exchange->len_max = dash ? number_of(dash + 1, 65535) : exchange->len_min;
    if (exchange->len_min > exchange->len_max || exchange->len_min == 0)
        traffic_fail("not a range of sizes", text);
}

static void set_cut(struct front_cut *cut, char *text)
{
    for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
        if (*word == '*')
            cut->each_bytes = (uint32_t)number_of(word + 1, 65535);
        else if (cut->piece_count < FRONT_PIECES_LISTED_MAX)
            cut->piece_bytes[cut->piece_count++] = (uint32_t)number_of(word, 65535);
        else
            traffic_fail("too many pieces", word);
    }
}

static void set_bulk(struct ping_pong_options *ping_pong, char *text)
{
    char *comma = strchr(text, ',');

    if (!comma)
        traffic_fail("not two numbers", text);
    *comma = '\0';
    ping_pong->bulk_every = number_of(text, UINT64_MAX);
    ping_pong->bulk_frames = number_of(comma + 1, UINT64_MAX);
}

/* Three shares: below 1 together, or nothing would ever arrive as it was. */
static void set_disturb(struct disturb_options *disturb, char *text)
{
    double shares[3] = {0};
    char *rest = text;

    for (unsigned i = 0; i < CV_COUNT_OF(shares); i++) {
        const char *word = strsep(&rest, ",");
        char *end = NULL;

        shares[i] = word ? strtod(word, &end) : -1;
        if (!word || end == word || *end || !(shares[i] >= 0 && shares[i] <= 0.5)) {
            fprintf(stderr,
                    "convoy-traffic: \"%s\" is not LOSS,REORDER,DUPLICATE, each a share from 0 to "
                    "0.5\n",
                    word ? word : "");
            exit(2);
        }
    }
    if (rest)
        traffic_fail("more than three shares", rest);
    disturb->loss = shares[0];
    disturb->reorder = shares[1];
    disturb->duplicate = shares[2];
}

static void set_disturb_option(struct traffic_arguments *a, int key, char *value)
{
    switch (key) {
    case OPT_DISTURB:
        set_disturb(&a->disturb, value);
        a->disturb.flows = a->disturb.flows ? a->disturb.flows : 8;
        break;
    case OPT_FLOWS:
        a->disturb.flows = (unsigned)number_of(value, DISTURB_FLOWS_MAX);
        if (a->disturb.flows == 0)
            traffic_fail("not a number of flows from 1 to 200", value);
        break;
    default:
        fprintf(stderr, "%s", usage);
        exit(2);
    }
}

static void set_open_loop_option(struct traffic_arguments *a, int key, char *value)
{
    switch (key) {
    case OPT_ARRIVALS:
        a->arrivals = value;
        a->exchange.verify = true;
        break;
    case OPT_THEN:
        a->then = value;
        break;
    case OPT_SECONDS:
        a->seconds = seconds_of(value, 0.01);
        break;
    case OPT_WARM_UP:
        a->warm_up_seconds = seconds_of(value, 0);
        break;
    default:
        set_disturb_option(a, key, value);
    }
}

static void set_ping_pong_option(struct traffic_arguments *a, int key, char *value)
{
    switch (key) {
    case OPT_PING_PONG:
        a->ping_pong.rounds = number_of(value, UINT64_MAX);
        a->exchange.verify = true;
        break;
    case OPT_PAUSE:
        a->ping_pong.pause_ns_max = number_of(value, 1000000000);
        break;
    case OPT_ARM_DELAY:
        a->ping_pong.arm_ns_max = number_of(value, 1000000000);
        break;
    case OPT_BULK_EVERY:
        set_bulk(&a->ping_pong, value);
        break;
    default:
        set_open_loop_option(a, key, value);
    }
}

static void set_front_option(struct traffic_arguments *a, int key, char *value)
{
    struct front_end_options *front = &a->front;

    switch (key) {
    case OPT_FEATURES:
        front->features = features_of(value);
        break;
    case OPT_ADD_FEATURES:
        front->features |= number_of(value, UINT64_MAX);
        break;
    case OPT_DROP_FEATURES:
        front->features &= ~number_of(value, UINT64_MAX);
        break;
    case OPT_SECOND_FEATURES:
        a->exchange.second_features = features_of(value);
        break;
    case OPT_QUEUES:
        front->pairs = (unsigned)number_of(value, FRONT_PAIRS_MAX);
        break;
    case OPT_RING:
        front->size = (unsigned)number_of(value, 32768);
        break;
    case OPT_CUT:
        set_cut(&a->cut, value);
        break;
    case OPT_INDIRECT:
        a->cut.indirect = true;
        break;
    case OPT_RECEIVE_BYTES:
        front->receive_bytes = (uint32_t)number_of(value, 1 << 20);
        break;
    case OPT_LISTEN:
        front->listen = true;
        break;
    default:
        set_ping_pong_option(a, key, value);
    }
}

static void set_traffic_option(struct traffic_arguments *a, int key, char *value)
{
    struct exchange_options *exchange = &a->exchange;

    switch (key) {
    case OPT_KIND:
        exchange->kind = kind_of(value);
        break;
    case OPT_SIZE:
        set_size(exchange, value);
        break;
    case OPT_STREAM:
        exchange->stream = exchange->verify = true;
        break;
    case OPT_MSS:
        exchange->mss = number_of(value, 65000);
        break;
    case OPT_OFFLOAD_CSUM:
        exchange->offload_csum = true;
        break;
    case OPT_ONE_WAY:
        exchange->one_way = true;
        break;
    case OPT_WINDOW:
        exchange->window = (unsigned)number_of(value, 1 << 20);
        break;
    case OPT_BURST:
        exchange->burst = (unsigned)number_of(value, 32768);
        break;
    default:
        set_front_option(a, key, value);
    }
}

static void set_option(struct traffic_arguments *a, int key, char *value)
{
    switch (key) {
    case OPT_FRAMES:
        a->exchange.frames = number_of(value, UINT64_MAX);
        break;
    case OPT_VERIFY:
        a->exchange.verify = true;
        break;
    case OPT_BUSY:
        a->exchange.busy = true;
        break;
    case OPT_SLOW_READER:
        a->exchange.read_rate = number_of(value, UINT32_MAX);
        a->loss_allowed = true;
        break;
    case OPT_STOP_READING:
        a->exchange.read_max = number_of(value, UINT64_MAX);
        a->loss_allowed = true;
        break;
    case OPT_ALLOW_LOSS:
        a->loss_allowed = true;
        break;
    case OPT_SEED:
        a->exchange.seed = number_of(value, UINT64_MAX);
        break;
    case OPT_FIRST:
        a->exchange.first_number = (unsigned)number_of(value, 254) & ~1u;
        break;
    case OPT_FINALLY:
        a->finally = value;
        break;
    case OPT_TIME_LIMIT:
        a->time_limit_s = number_of(value, 86400);
        break;
    case 'h':
        printf("%s", usage);
        exit(0);
    default:
        set_traffic_option(a, key, value);
    }
}

static void prepare_disturb(struct traffic_arguments *a)
{
    a->disturb.kind = a->exchange.kind;
    a->disturb.offload_csum = a->exchange.offload_csum;
    a->disturb.payload_max = a->exchange.len_max == DEFAULT_SIZE ? 0 : a->exchange.len_max;
    if (a->exchange.kind == TRAFFIC_ETHER)
        traffic_fail("streams are of TCP or UDP", "ether");
}

/* What only two guests can do. */
static void check_count(const struct traffic_arguments *a)
{
    const char *mode = a->ping_pong.rounds > 0 ? "--ping-pong"
                       : a->disturb.flows > 0  ? "--disturb"
                       : a->arrivals           ? "--arrivals"
                                               : NULL;

    if (a->socket_count < 2 || a->socket_count % 2 != 0 || a->socket_count > EXCHANGE_ENDS_MAX) {
        fprintf(stderr, "%s", usage);
        exit(2);
    }
    if (mode && a->socket_count != 2)
        traffic_fail("this takes two sockets and no more", mode);
}

void traffic_arguments_read(int argc, char **argv, struct traffic_arguments *a)
{
    int key;

    *a = (struct traffic_arguments){
        .front = {.features = front_features_linux, .protocol_features = front_protocol_features},
        .exchange = {.kind = TRAFFIC_UDP4,
                     .len_min = DEFAULT_SIZE,
                     .len_max = DEFAULT_SIZE,
                     .window = 128,
                     .frames = 1000000,
                     .seed = 1},
        .seconds = 2,
        .warm_up_seconds = 0.2,
        .time_limit_s = 120,
    };
    while ((key = getopt_long(argc, argv, "h", options, NULL)) != -1)
        set_option(a, key, optarg);
    a->socket_count = (unsigned)(argc - optind);
    a->sockets = (const char *const *)argv + optind;
    check_count(a);
    a->ping_pong.seed = a->disturb.seed = a->exchange.seed;
    if (a->disturb.flows > 0)
        prepare_disturb(a);
    if (!a->exchange.stream && a->exchange.len_max > 2000)
        a->front.transmit_bytes = (uint32_t)a->exchange.len_max + 64;
}

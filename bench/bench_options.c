#include "bench_options.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <string.h>
#include <sys/un.h>

#include "arrivals.h"
#include "base/nearest.h"
#include "config/scalar.h"
#include "frames.h"

enum {
    SECOND_NS = 1000000000,
    SIZE_DEFAULT = 64,  /* bytes */
    HELP_COLUMN = 20,   /* where explanations begin */
    OPTION_FIRST = 256, /* getopt's number of option 0, above all letters */
};

static const char *const pattern_words[] = {"pairs", "both", "ring", "fan-in", "fan-out", NULL};
static const char *const receive_words[] = {"poll", "call", NULL};
static const char *const kind_words[] = {"ether", "udp4", "udp6", "tcp4", "tcp6", NULL};
static_assert(CV_COUNT_OF(pattern_words) == BENCH_FAN_OUT + 2, "a word for each pattern");
static_assert(CV_COUNT_OF(receive_words) == BENCH_CALL + 2, "a word for each way");
static_assert(CV_COUNT_OF(kind_words) == TRAFFIC_TCP6 + 2, "a word for each kind");

/* In the order of the help. */
enum option_id {
    OPTION_PAIRS,
    OPTION_RING,
    OPTION_PATTERN,
    OPTION_RECEIVE,
    OPTION_NO_MERGEABLE,
    OPTION_KIND,
    OPTION_SIZE,
    OPTION_FLOWS,
    OPTION_OFFLOADS,
    OPTION_VERIFY,
    OPTION_ARRIVALS,
    OPTION_THEN,
    OPTION_SECONDS,
    OPTION_WARM_UP,
    OPTION_BURST,
    OPTION_SEARCH,
    OPTION_LOSS_MAX,
    OPTION_CPUS,
    OPTION_SAMPLE,
    OPTION_SWITCH_PID,
    OPTION_TIMEOUT,
    OPTION_JSON,
    OPTION_CSV,
    OPTION_LABEL,
    OPTION_QUIET,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_COUNT,
};

struct option_row;
typedef int option_setter(const struct option_row *row, struct bench_options *options,
                          const char *value, struct error *error);

struct option_row {
    const char *heading; /* in the help, before it; NULL: none */
    const char *name;
    const char *argument; /* in the help; NULL: it takes none */
    const char *help;
    option_setter *set;       /* NULL: only noted as given */
    size_t member;            /* offset in struct bench_options of what is set */
    double min, max;          /* of a number */
    const char *const *words; /* of a word: what it may be, the index being the value */
    unsigned word_first;      /* the first of them that may be given */
};

/* --- values --- */

static void *member_of(const struct option_row *row, struct bench_options *options)
{
    return (char *)options + row->member;
}

static int set_number(const struct option_row *row, struct bench_options *options,
                      const char *value, struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];

    if (!number_parse(value, (unsigned)row->min, (unsigned)row->max, member_of(row, options)))
        return error_set(error, -EINVAL, "--%s %s is not a whole number from %.0f to %.0f",
                         row->name, text_quote(value, quoted), row->min, row->max);
    return 0;
}

static int set_ring(const struct option_row *row, struct bench_options *options, const char *value,
                    struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];
    unsigned size;

    if (!number_parse(value, (unsigned)row->min, (unsigned)row->max, &size) ||
        (size & (size - 1)) != 0)
        return error_set(error, -EINVAL, "--%s %s is not a power of two from %.0f to %.0f",
                         row->name, text_quote(value, quoted), row->min, row->max);
    options->ring_size = size;
    return 0;
}

static int read_seconds(const struct option_row *row, const char *value, double *ret_seconds,
                        struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];

    if (!decimal_parse(value, row->min, row->max, ret_seconds))
        return error_set(error, -EINVAL, "--%s %s is not a number of seconds from %g to %g",
                         row->name, text_quote(value, quoted), row->min, row->max);
    return 0;
}

static int set_seconds(const struct option_row *row, struct bench_options *options,
                       const char *value, struct error *error)
{
    uint64_t *member = member_of(row, options);
    double seconds = 0;
    int rc = read_seconds(row, value, &seconds, error);

    if (rc == 0)
        *member = (uint64_t)(seconds * SECOND_NS + 0.5);
    return rc;
}

static int set_timeout(const struct option_row *row, struct bench_options *options,
                       const char *value, struct error *error)
{
    double seconds = 0;
    int rc = read_seconds(row, value, &seconds, error);

    if (rc == 0)
        options->timeout_ms = (int)(seconds * 1000 + 0.5);
    return rc;
}

static int set_share(const struct option_row *row, struct bench_options *options, const char *value,
                     struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];

    if (!decimal_parse(value, row->min, row->max, member_of(row, options)))
        return error_set(error, -EINVAL, "--%s %s is not a share from %g to %g", row->name,
                         text_quote(value, quoted), row->min, row->max);
    return 0;
}

static int set_true(const struct option_row *row, struct bench_options *options, const char *value,
                    struct error *error)
{
    bool *member = member_of(row, options);

    (void)value;
    (void)error;
    *member = true;
    return 0;
}

static int set_false(const struct option_row *row, struct bench_options *options, const char *value,
                     struct error *error)
{
    bool *member = member_of(row, options);

    (void)value;
    (void)error;
    *member = false;
    return 0;
}

static int set_text(const struct option_row *row, struct bench_options *options, const char *value,
                    struct error *error)
{
    const char **member = member_of(row, options);

    (void)error;
    *member = value;
    return 0;
}

static int set_path(const struct option_row *row, struct bench_options *options, const char *value,
                    struct error *error)
{
    if (!*value)
        return error_set(error, -EINVAL, "--%s \"\" is not the name of a file, or - for the output",
                         row->name);
    return set_text(row, options, value, error);
}

/* "a, b, c" */
static const char *list_words(const struct option_row *row, char *text, size_t bytes)
{
    size_t n = 0;

    text[0] = '\0';
    for (unsigned i = row->word_first; row->words[i] && n < bytes; i++)
        n += (size_t)snprintf(text + n, bytes - n, "%s%s", i == row->word_first ? "" : ", ",
                              row->words[i]);
    return text;
}

static int set_word(const struct option_row *row, struct bench_options *options, const char *value,
                    struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES], words[80], suggestion[80];
    unsigned *member = member_of(row, options);
    struct nearest nearest;

    nearest_init(&nearest, value);
    for (unsigned i = row->word_first; row->words[i]; i++) {
        if (strcmp(value, row->words[i]) == 0) {
            *member = i;
            return 0;
        }
        nearest_offer(&nearest, row->words[i]);
    }
    return error_set(error, -EINVAL, "--%s %s is none of %s%s", row->name,
                     text_quote(value, quoted), list_words(row, words, sizeof(words)),
                     nearest_format(&nearest, suggestion, sizeof(suggestion)));
}
static_assert(sizeof(enum bench_pattern) == sizeof(unsigned) &&
                  sizeof(enum bench_receive) == sizeof(unsigned) &&
                  sizeof(enum traffic_kind) == sizeof(unsigned),
              "set_word stores them all");

static int set_size(const struct option_row *row, struct bench_options *options, const char *value,
                    struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];

    if (strcmp(value, "imix") == 0) {
        options->sizes = BENCH_IMIX;
        return 0;
    }
    if (strncmp(value, "pcap:", 5) == 0 && value[5]) {
        options->sizes = BENCH_CAPTURE;
        options->capture_path = value + 5;
        return 0;
    }
    options->sizes = BENCH_FIXED;
    if (!number_parse(value, (unsigned)row->min, (unsigned)row->max, &options->size_bytes))
        return error_set(error, -EINVAL,
                         "--size %s is none of: %.0f to %.0f bytes of a frame without its check "
                         "sequence, imix, pcap:FILE",
                         text_quote(value, quoted), row->min, row->max);
    return 0;
}

/* The words are read once here, so that a wrong one starts nothing; "max" is NULL. */
static int set_arrivals(const struct option_row *row, struct bench_options *options,
                        const char *value, struct error *error)
{
    static const char theirs[] = "arrivals: "; /* what its sentences begin with */
    const char **member = member_of(row, options);
    struct arrivals arrivals;
    struct error why;
    int rc;

    if (member == &options->arrivals && strcmp(value, "max") == 0) {
        *member = NULL;
        return 0;
    }
    rc = arrivals_init(&arrivals, value, 0, &why);
    if (rc < 0) {
        const char *text = why.text;
        bool is_word = member == &options->arrivals && strstr(text, "is none of ");

        text += strncmp(text, theirs, strlen(theirs)) == 0 ? strlen(theirs) : 0;
        return error_set(error, rc, "--%s: %s%s", row->name, text, is_word ? ", max" : "");
    }
    arrivals_uninit(&arrivals);
    *member = value;
    return 0;
}

static int add_cpu(struct bench_options *options, unsigned cpu, const cpu_set_t *usable,
                   struct error *error)
{
    if (!CPU_ISSET(cpu, usable))
        return error_set(error, -EINVAL, "--cpus: this program may not use processor %u", cpu);
    for (unsigned i = 0; i < options->cpu_count; i++)
        if (options->cpus[i] == cpu)
            return error_set(error, -EINVAL, "--cpus: processor %u is named twice", cpu);
    if (options->cpu_count == BENCH_THREADS_MAX)
        return error_set(error, -EINVAL, "--cpus: more than %d processors", BENCH_THREADS_MAX);
    options->cpus[options->cpu_count++] = cpu;
    return 0;
}

/* One "2" or "2-3". */
static int add_cpu_range(struct bench_options *options, char *word, const cpu_set_t *usable,
                         struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];
    char *dash = strchr(word, '-');
    unsigned first, last;
    int rc = 0;

    if (dash)
        *dash = '\0';
    if (!number_parse(word, 0, CPU_SETSIZE - 1, &first) ||
        !number_parse(dash ? dash + 1 : word, first, CPU_SETSIZE - 1, &last)) {
        if (dash)
            *dash = '-';
        return error_set(error, -EINVAL,
                         "--cpus: %s is not a processor, 0 to %d, nor a range of them, as in 0,2-3",
                         text_quote(word, quoted), CPU_SETSIZE - 1);
    }
    for (unsigned cpu = first; cpu <= last && rc == 0; cpu++)
        rc = add_cpu(options, cpu, usable, error);
    return rc;
}

static int set_cpus(const struct option_row *row, struct bench_options *options, const char *value,
                    struct error *error)
{
    char text[512], *rest = text, *word;
    cpu_set_t usable;
    int rc = 0;

    if (strlen(value) >= sizeof(text))
        return error_set(error, -EINVAL, "--%s: more than %zu characters", row->name,
                         sizeof(text) - 1);
    strcpy(text, value);
    CPU_ZERO(&usable);
    if (sched_getaffinity(0, sizeof(usable), &usable) < 0)
        return error_set(error, -errno, "--%s: cannot learn which processors there are: %m",
                         row->name);
    options->cpu_count = 0;
    while (rc == 0 && (word = strsep(&rest, ",")) != NULL)
        rc = add_cpu_range(options, word, &usable, error);
    return rc;
}

/* --- the table --- */

#define MEMBER(name) .member = offsetof(struct bench_options, name)

static const struct option_row rows[OPTION_COUNT] = {
    [OPTION_PAIRS] = {"Guests", "pairs", "N", "queue pairs of each, 1 to 8 (default 1)", set_number,
                      MEMBER(pairs), .min = 1, .max = BENCH_PAIRS_MAX},
    [OPTION_RING] = {NULL, "ring", "N", "entries of each ring, a power of two (default 1024)",
                     set_ring, MEMBER(ring_size), .min = 16, .max = BENCH_RING_MAX},
    [OPTION_PATTERN] = {NULL, "pattern", "WORD",
                        "who sends to whom: pairs (default; first to second, third to\n"
                        "fourth ...), both (the same, and back), ring (each to the next),\n"
                        "fan-in (all others to the first), fan-out (the first to all others)",
                        set_word, MEMBER(pattern), .words = pattern_words},
    [OPTION_RECEIVE] = {NULL, "receive", "WORD",
                        "poll (default): look without end and never ask for calls; call: ask\n"
                        "for one when there is nothing, as Linux does",
                        set_word, MEMBER(receive), .words = receive_words},
    [OPTION_NO_MERGEABLE] = {NULL, "no-mergeable", NULL,
                             "do not negotiate mergeable receive buffers", set_false,
                             MEMBER(mergeable)},
    [OPTION_KIND] = {"Frames", "kind", "WORD", "udp4 (default), udp6, tcp4, tcp6", set_word,
                     MEMBER(kind), .words = kind_words, .word_first = TRAFFIC_UDP4},
    [OPTION_SIZE] = {NULL, "size", "SIZE",
                     "bytes without the frame check sequence (default 64, or as few as\n"
                     "the kind needs); above 1518: super-packets, with --offloads; imix:\n"
                     "60, 590 and 1514 as 7:4:1; pcap:FILE: the frames of a capture",
                     set_size, MEMBER(size_bytes), .min = BENCH_SIZE_MIN, .max = BENCH_SIZE_MAX},
    [OPTION_FLOWS] = {NULL, "flows", "N", "flows of each sender, 1 to 1024 (default 1)", set_number,
                      MEMBER(flows), .min = 1, .max = BENCH_FLOWS_MAX},
    [OPTION_OFFLOADS] = {NULL, "offloads", NULL,
                         "negotiate checksum and segmentation offloads, and use them", set_true,
                         MEMBER(offloads)},
    [OPTION_VERIFY] = {NULL, "verify", NULL,
                       "number the frames, and check each: order, number, bytes (slower)", set_true,
                       MEMBER(verify)},
    [OPTION_ARRIVALS] = {"Load", "arrivals", "WORD",
                         "when frames are due, all senders together: max (default; as fast as\n"
                         "possible), constant:RATE, poisson:RATE, onoff:RATE,ON,OFF,\n"
                         "trace:FILE[,SPEED]; RATE in packets per second",
                         set_arrivals, MEMBER(arrivals)},
    [OPTION_THEN] = {NULL, "then", "WORD", "other arrivals from half of the time on", set_arrivals,
                     MEMBER(then)},
    [OPTION_SECONDS] = {NULL, "seconds", "S", "how long to measure (default 3)", set_seconds,
                        MEMBER(duration_ns), .min = 0.01, .max = 86400},
    [OPTION_WARM_UP] = {NULL, "warm-up", "S", "how long before, not measured (default 0.5)",
                        set_seconds, MEMBER(warm_up_ns), .min = 0, .max = 3600},
    [OPTION_BURST] = {NULL, "burst", "N", "frames sent to a ring at once, at most (default 32)",
                      set_number, MEMBER(burst), .min = 1, .max = BENCH_BURST_MAX},
    [OPTION_SEARCH] = {NULL, "search", NULL,
                       "look for the highest rate without loss (RFC 2544): many runs. With\n"
                       "--arrivals constant: or poisson: in that manner and up to its RATE",
                       set_true, MEMBER(search)},
    [OPTION_LOSS_MAX] = {NULL, "loss-max", "SHARE", "loss that --search allows, 0 to 1 (default 0)",
                         set_share, MEMBER(loss_max), .min = 0, .max = 1},
    [OPTION_CPUS] = {"Measuring", "cpus", "LIST",
                     "processors for the guests, a thread on each, as in 0,2-3 (default:\n"
                     "one thread, anywhere)",
                     set_cpus, MEMBER(cpus)},
    [OPTION_SAMPLE] = {NULL, "sample", "N", "measure the delay of each n-th frame (default 16)",
                       set_number, MEMBER(sample), .min = 1, .max = 1000000},
    [OPTION_SWITCH_PID] = {NULL, "switch-pid", "PID",
                           "the switch's process: its processor time and memory are measured",
                           set_number, MEMBER(switch_pid), .min = 1, .max = 4194304},
    [OPTION_TIMEOUT] = {NULL, "timeout", "S",
                        "how long a switch may take to answer, or leave a ring as it is, before\n"
                        "the run ends with an error (default 10)",
                        set_timeout, MEMBER(timeout_ms), .min = 0.1, .max = 3600},
    [OPTION_JSON] = {"Results", "json", "FILE", "one object on one line; - is standard output",
                     set_path, MEMBER(json_path)},
    [OPTION_CSV] = {NULL, "csv", "FILE",
                    "add a line to FILE, after the names of columns if it is new; - likewise",
                    set_path, MEMBER(csv_path)},
    [OPTION_LABEL] = {NULL, "label", "TEXT", "a name for this run in JSON and CSV", set_text,
                      MEMBER(label)},
    [OPTION_QUIET] = {NULL, "quiet", NULL, "no line of progress on the terminal", set_true,
                      MEMBER(quiet)},
    [OPTION_HELP] = {NULL, "help", NULL, "print this and exit"},
    [OPTION_VERSION] = {NULL, "version", NULL, "print the version and exit"},
};

static void print_row(FILE *out, const struct option_row *row)
{
    char head[64];
    const char *line = row->help;

    if (row->heading)
        fprintf(out, "\n%s:\n", row->heading);
    (void)snprintf(head, sizeof(head), "  --%s%s%s", row->name, row->argument ? " " : "",
                   row->argument ? row->argument : "");
    fprintf(out, "%-*s", HELP_COLUMN, head);
    while (*line) {
        size_t len = strcspn(line, "\n");

        fprintf(out, "%*s%.*s\n", line == row->help ? 0 : HELP_COLUMN, "", (int)len, line);
        line += len + (line[len] != '\0');
    }
}

void bench_options_print_help(FILE *out)
{
    fputs("Usage: convoy-bench [OPTION]... SOCKET SOCKET...\n"
          "Measures a vhost-user switch: plugs a synthetic guest into each SOCKET, has them send\n"
          "to each other, and tells what arrived, when, and what it cost. With listen:PATH the\n"
          "switch is the one that connects.\n",
          out);
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        print_row(out, &rows[i]);
    fputs(
        "\nExit status: 0 done; 1 what was measured is not right (--verify found faults, a guest\n"
        "hangs, the search found no rate), or the run was interrupted; 2 nothing was measured.\n"
        "More, also how to start other switches for it, in convoy-bench(1).\n",
        out);
}

/* --- the command line --- */

static bool is_given(uint64_t given, enum option_id id)
{
    return (given >> id & 1) != 0;
}

/* The word that getopt_long could not read: unknown, or the beginning of several. */
static int refuse_word(const char *word, struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES], suggestion[80], name[64] = "", list[200] = "";
    struct nearest nearest;
    unsigned count = 0;
    size_t n = 0, len;

    (void)snprintf(name, sizeof(name), "%s", word + strspn(word, "-"));
    name[strcspn(name, "=")] = '\0';
    len = strlen(name);
    nearest_init(&nearest, name);
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        nearest_offer(&nearest, rows[i].name);
        if (len == 0 || strncmp(rows[i].name, name, len) != 0 || n >= sizeof(list))
            continue;
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%s--%s", count++ ? ", " : "",
                              rows[i].name);
    }
    if (count > 1)
        return error_set(error, -EINVAL, "%s may be each of %s", text_quote(word, quoted), list);
    return error_set(error, -EINVAL, "there is no option %s%s (convoy-bench --help lists them)",
                     text_quote(word, quoted),
                     nearest_format(&nearest, suggestion, sizeof(suggestion)));
}

static int refuse_option(int letter, char **argv, struct error *error)
{
    if (letter == ':')
        return error_set(error, -EINVAL, "--%s needs a value: --%s %s",
                         rows[optopt - OPTION_FIRST].name, rows[optopt - OPTION_FIRST].name,
                         rows[optopt - OPTION_FIRST].argument);
    if (optopt >= OPTION_FIRST)
        return error_set(error, -EINVAL, "--%s takes no value", rows[optopt - OPTION_FIRST].name);
    if (optopt > 0) {
        const char word[] = {'-', (char)optopt, '\0'};

        return refuse_word(word, error);
    }
    return refuse_word(argv[optind - 1], error);
}

static int read_options(int argc, char **argv, struct bench_options *options, uint64_t *given,
                        struct error *error)
{
    struct option table[OPTION_COUNT + 1] = {0};
    int letter, rc = 0;

    for (unsigned i = 0; i < OPTION_COUNT; i++)
        table[i] = (struct option){rows[i].name, rows[i].argument ? required_argument : no_argument,
                                   NULL, OPTION_FIRST + (int)i};
    optind = 0; /* glibc: from the start, also when called again */
    opterr = 0;
    while (rc == 0 && (letter = getopt_long(argc, argv, ":hV", table, NULL)) != -1) {
        if (letter == 'h' || letter == 'V')
            letter = OPTION_FIRST + (letter == 'h' ? OPTION_HELP : OPTION_VERSION);
        if (letter < OPTION_FIRST)
            return refuse_option(letter, argv, error);
        *given |= UINT64_C(1) << (letter - OPTION_FIRST);
        if (rows[letter - OPTION_FIRST].set)
            rc = rows[letter - OPTION_FIRST].set(&rows[letter - OPTION_FIRST], options, optarg,
                                                 error);
    }
    return rc;
}

static int read_socket(struct bench_options *options, const char *word, struct error *error)
{
    static const char listen[] = "listen:";
    bool listens = strncmp(word, listen, strlen(listen)) == 0;
    const char *path = listens ? word + strlen(listen) : word;
    const size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path);

    if (options->guest_count == BENCH_GUESTS_MAX)
        return error_set(error, -EINVAL, "more than %d sockets", BENCH_GUESTS_MAX);
    if (!*path || strlen(path) >= room)
        return error_set(error, -EINVAL, "the socket \"%s\" has %zu characters; it needs 1 to %zu",
                         path, strlen(path), room - 1);
    for (unsigned i = 0; i < options->guest_count; i++)
        if (strcmp(options->sockets[i], path) == 0)
            return error_set(error, -EINVAL,
                             "the socket \"%s\" is named twice; each is for one guest", path);
    options->listens[options->guest_count] = listens;
    options->sockets[options->guest_count++] = path;
    return 0;
}

static int check_guests(const struct bench_options *options, struct error *error)
{
    bool in_pairs = options->pattern == BENCH_PAIRS || options->pattern == BENCH_BOTH;

    if (options->guest_count == 0)
        return error_set(error, -EINVAL,
                         "which sockets? Two guests at least, each with its own: "
                         "convoy-bench SOCKET SOCKET (--help says more)");
    if (options->guest_count == 1)
        return error_set(error, -EINVAL,
                         "\"%s\" is the only socket; one guest has nobody to send to: name two or "
                         "more, up to %d",
                         options->sockets[0], BENCH_GUESTS_MAX);
    if (in_pairs && options->guest_count % 2 != 0)
        return error_set(error, -EINVAL,
                         "--pattern %s needs an even number of sockets, not %u; ring, fan-in and "
                         "fan-out take any number from 2 on",
                         bench_pattern_word(options->pattern), options->guest_count);
    return 0;
}

/* The capture is read once here, so that a wrong one starts nothing. */
static int check_capture(const struct bench_options *options, uint64_t given, struct error *error)
{
    static const uint8_t mac[1][6] = {{0}};
    struct bench_frames frames;
    struct error why;
    int rc;

    if (is_given(given, OPTION_KIND) || is_given(given, OPTION_FLOWS))
        return error_set(error, -EINVAL,
                         "--%s does not go with --size pcap:FILE, whose frames stay as they are",
                         is_given(given, OPTION_KIND) ? "kind" : "flows");
    if (options->verify)
        return error_set(error, -EINVAL,
                         "--verify does not go with --size pcap:FILE: it sends numbered frames");
    rc = bench_frames_init(&frames, options, 0, mac[0], mac, 1, 1, &why);
    if (rc < 0)
        return error_set(error, rc, "--size: %.480s", why.text);
    bench_frames_uninit(&frames);
    return 0;
}

static int check_frames(struct bench_options *options, uint64_t given, struct error *error)
{
    unsigned min = bench_frame_bytes_min(options->kind);

    if (options->sizes == BENCH_CAPTURE)
        return check_capture(options, given, error);
    if (options->sizes == BENCH_IMIX)
        return 0;
    if (!is_given(given, OPTION_SIZE))
        options->size_bytes = CV_MAX((unsigned)SIZE_DEFAULT, min);
    if (options->size_bytes < min)
        return error_set(error, -EINVAL,
                         "--size %u is too small for --kind %s: allowed are %u to "
                         "%d bytes",
                         options->size_bytes, bench_kind_word(options->kind), min, BENCH_SIZE_MAX);
    if (options->size_bytes > BENCH_MTU_FRAME && !options->offloads)
        return error_set(error, -EINVAL,
                         "--size %u is that of a super-packet, which needs "
                         "--offloads; allowed without are %u to %d bytes",
                         options->size_bytes, min, BENCH_MTU_FRAME);
    if (options->size_bytes > BENCH_MTU_FRAME && options->verify)
        return error_set(error, -EINVAL, "--verify takes --size %u to %d, not %u", min,
                         BENCH_MTU_FRAME, options->size_bytes);
    return 0;
}

static int check_load(const struct bench_options *options, uint64_t given, struct error *error)
{
    if (options->then && !options->arrivals)
        return error_set(error, -EINVAL, "--then goes with --arrivals of a rate, not with max");
    if (is_given(given, OPTION_LOSS_MAX) && !options->search)
        return error_set(error, -EINVAL, "--loss-max goes with --search");
    if (options->search && options->then)
        return error_set(error, -EINVAL, "--search and --then exclude each other");
    if (options->search && options->arrivals && strncmp(options->arrivals, "constant:", 9) != 0 &&
        strncmp(options->arrivals, "poisson:", 8) != 0)
        return error_set(error, -EINVAL,
                         "--search varies the rate of --arrivals max, constant:RATE or "
                         "poisson:RATE, not of \"%.100s\"",
                         options->arrivals);
    if (options->burst > options->ring_size)
        return error_set(error, -EINVAL, "--burst %u is more than the %u entries of a ring",
                         options->burst, options->ring_size);
    if (options->json_path && options->csv_path && strcmp(options->json_path, "-") == 0 &&
        strcmp(options->csv_path, "-") == 0)
        return error_set(error, -EINVAL,
                         "--json - and --csv - exclude each other: name a file for "
                         "one of them");
    return 0;
}

static const struct bench_options defaults = {
    .pairs = 1,
    .ring_size = 1024,
    .pattern = BENCH_PAIRS,
    .receive = BENCH_POLL,
    .kind = TRAFFIC_UDP4,
    .sizes = BENCH_FIXED,
    .size_bytes = SIZE_DEFAULT,
    .flows = 1,
    .mergeable = true,
    .duration_ns = UINT64_C(3) * SECOND_NS,
    .warm_up_ns = SECOND_NS / 2,
    .sample = 16,
    .burst = 32,
    .label = "",
    .timeout_ms = 10000,
};

int bench_options_parse(int argc, char **argv, struct bench_options *ret_options,
                        enum bench_command *ret_command, struct error *error)
{
    struct bench_options options = defaults;
    uint64_t given = 0;
    int rc = read_options(argc, argv, &options, &given, error);

    if (rc < 0)
        return rc;
    if (is_given(given, OPTION_HELP) || is_given(given, OPTION_VERSION)) {
        *ret_command = is_given(given, OPTION_HELP) ? BENCH_DO_HELP : BENCH_DO_VERSION;
        return 0;
    }
    while (rc == 0 && optind < argc)
        rc = read_socket(&options, argv[optind++], error);
    if (rc == 0)
        rc = check_guests(&options, error);
    if (rc == 0)
        rc = check_frames(&options, given, error);
    if (!is_given(given, OPTION_BURST))
        options.burst = CV_MIN(options.burst, options.ring_size);
    if (rc == 0)
        rc = check_load(&options, given, error);
    if (rc < 0)
        return rc;
    *ret_options = options;
    *ret_command = BENCH_DO_RUN;
    return 0;
}

/* --- words for reports --- */

const char *bench_pattern_word(enum bench_pattern pattern)
{
    return pattern_words[pattern];
}

const char *bench_receive_word(enum bench_receive receive)
{
    return receive_words[receive];
}

const char *bench_kind_word(enum traffic_kind kind)
{
    return kind_words[kind];
}

const char *bench_size_format(const struct bench_options *options,
                              char text[static BENCH_SIZE_TEXT_BYTES])
{
    if (options->sizes == BENCH_FIXED)
        (void)snprintf(text, BENCH_SIZE_TEXT_BYTES, "%u", options->size_bytes);
    else if (options->sizes == BENCH_IMIX)
        (void)snprintf(text, BENCH_SIZE_TEXT_BYTES, "imix");
    else
        (void)snprintf(text, BENCH_SIZE_TEXT_BYTES, "pcap:%s", options->capture_path);
    return text;
}

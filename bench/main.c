/*
 * convoy-bench: the order of it all. Nothing is started before the command line, the files for
 * results and the switch's process have been found right.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arrivals.h"
#include "bench_options.h"
#include "bench_run.h"
#include "control/version.h"
#include "process_cost.h"
#include "report.h"
#include "search.h"

enum bench_exit {
    BENCH_EXIT_DONE = 0,
    BENCH_EXIT_WRONG = 1,   /* with what was measured; or the run was interrupted */
    BENCH_EXIT_NOTHING = 2, /* was measured: usage or set-up */
};

static enum bench_exit complain(enum bench_exit code, const char *sentence)
{
    fflush(stdout);
    fprintf(stderr, "convoy-bench: %s\n", sentence);
    return code;
}

/* --- files for results --- */

struct outputs {
    FILE *json, *csv; /* NULL: not asked for */
};

/* What a file has stays in it until there is something to write. */
static FILE *output_open(const char *path, struct error *error)
{
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "ae");

    if (!file)
        error_set(error, -errno, "cannot write %s: %m", path);
    return file;
}

static int output_close(FILE *file)
{
    return file && file != stdout && fclose(file) != 0 ? -errno : 0;
}

static int outputs_open(struct outputs *outputs, const struct bench_options *options,
                        struct error *error)
{
    *outputs = (struct outputs){NULL, NULL};
    if (options->json_path) {
        outputs->json = output_open(options->json_path, error);
        if (!outputs->json)
            return -EIO;
    }
    if (options->csv_path) {
        outputs->csv = output_open(options->csv_path, error);
        if (!outputs->csv) {
            (void)output_close(outputs->json);
            return -EIO;
        }
    }
    return 0;
}

static int outputs_close(struct outputs *outputs)
{
    int json = output_close(outputs->json), csv = output_close(outputs->csv);

    return json < 0 ? json : csv;
}

/* JSON is written anew. */
static int write_json(FILE *file, const struct report *report)
{
    if (file != stdout && ftruncate(fileno(file), 0) < 0 && errno != EINVAL)
        return -errno; /* EINVAL: a device or a pipe, which has nothing to cut off */
    return report_json(file, report);
}

/* To a CSV file a line is added, after the head if it is the first. */
static int write_csv(FILE *file, const struct report *report)
{
    bool is_first = true;

    if (file != stdout) {
        (void)fseek(file, 0, SEEK_END);
        is_first = ftell(file) <= 0; /* -1: a pipe, which begins here */
    }
    return report_csv(file, report, is_first);
}

/* What people read comes on standard output too, unless a program reads there. */
static int outputs_write(const struct outputs *outputs, const struct report *report)
{
    int rc = 0;

    if (outputs->json != stdout && outputs->csv != stdout) {
        report_human(stdout, report);
        rc = fflush(stdout) != 0 ? -errno : 0;
    }
    if (outputs->json && rc == 0)
        rc = write_json(outputs->json, report);
    if (outputs->csv && rc == 0)
        rc = write_csv(outputs->csv, report);
    return rc;
}

/* --- the line of progress --- */

struct progress {
    const struct bench *bench;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    bool is_running, end;
    char trial[64]; /* of a search: what is tried; "" otherwise */
};

static void progress_print(struct progress *progress, struct bench_progress *last)
{
    struct bench_progress now;
    double interval_s;

    bench_read_progress(progress->bench, &now);
    interval_s = now.elapsed_s - last->elapsed_s;
    if (interval_s > 0 && now.sent >= last->sent && now.received >= last->received)
        fprintf(stderr, "\r\033[K%s%.0f of %.0f s: sent %.3f, received %.3f million packets/s",
                progress->trial, now.elapsed_s, now.total_s,
                (double)(now.sent - last->sent) / interval_s / 1e6,
                (double)(now.received - last->received) / interval_s / 1e6);
    *last = now;
}

static void *progress_run(void *argument)
{
    struct progress *progress = argument;
    struct bench_progress last = {0};
    struct timespec next;

    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&progress->mutex);
    while (!progress->end) {
        next.tv_sec++;
        while (!progress->end &&
               pthread_cond_timedwait(&progress->ended, &progress->mutex, &next) != ETIMEDOUT)
            ;
        if (!progress->end)
            progress_print(progress, &last);
    }
    pthread_mutex_unlock(&progress->mutex);
    fputs("\r\033[K", stderr);
    return NULL;
}

/* Without the line, a run is as good: what fails here is not worth a word. */
static void progress_start(struct progress *progress, const struct bench *bench, bool quiet)
{
    pthread_condattr_t attributes;

    *progress = (struct progress){.bench = bench};
    if (quiet || !isatty(STDERR_FILENO))
        return;
    pthread_mutex_init(&progress->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&progress->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    progress->is_running = pthread_create(&progress->thread, NULL, progress_run, progress) == 0;
}

static void progress_stop(struct progress *progress)
{
    if (!progress->is_running)
        return;
    pthread_mutex_lock(&progress->mutex);
    progress->end = true;
    pthread_cond_signal(&progress->ended);
    pthread_mutex_unlock(&progress->mutex);
    pthread_join(progress->thread, NULL);
    progress->is_running = false;
}

static void progress_name(struct progress *progress, double rate)
{
    if (!progress->is_running)
        return;
    pthread_mutex_lock(&progress->mutex);
    (void)snprintf(progress->trial, sizeof(progress->trial), "trying %.4g million packets/s, ",
                   rate / 1e6);
    pthread_mutex_unlock(&progress->mutex);
}

/* --- runs --- */

/* The second time, a signal does what it always does. */
static void signal_arrived(int number)
{
    (void)number;
    bench_interrupt();
}

static void watch_signals(void)
{
    struct sigaction action = {.sa_handler = signal_arrived, .sa_flags = SA_RESETHAND | SA_RESTART};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a switch that goes is an error of a socket, with a sentence */
}

struct trials {
    struct bench *bench;
    const char *process; /* the word before the rate: "constant", "poisson" */
    struct progress *progress;
};

static int run_trial(void *context, double rate, struct bench_result *ret_result,
                     struct error *error)
{
    struct trials *trials = context;
    char arrivals[64];

    progress_name(trials->progress, rate);
    (void)snprintf(arrivals, sizeof(arrivals), "%s:%.3f", trials->process,
                   CV_MAX(rate, ARRIVALS_RATE_MIN));
    return bench_run(trials->bench, arrivals, ret_result, error);
}

/* From the rate that was given, or else from what goes out as fast as possible. */
static int run_search(struct bench *bench, struct progress *progress, struct report *report,
                      struct bench_result *result, struct error *error)
{
    const struct bench_options *options = report->options;
    bool poisson = options->arrivals && strncmp(options->arrivals, "poisson:", 8) == 0;
    struct trials trials = {bench, poisson ? "poisson" : "constant", progress};
    double rate_max;

    if (options->arrivals) {
        rate_max = strtod(strchr(options->arrivals, ':') + 1, NULL);
    } else {
        int rc = bench_run(bench, NULL, result, error);

        if (rc < 0)
            return rc;
        rate_max = result->seconds > 0 ? (double)result->sent / result->seconds : 0;
    }
    rate_max = CV_MIN(rate_max, ARRIVALS_RATE_MAX);
    return search_rate(run_trial, &trials, rate_max, options->loss_max, &report->searched_pps,
                       result, error);
}

static enum bench_exit judge(const struct report *report)
{
    const struct bench_result *r = report->result;

    if (report->interrupted || r->altered + r->reordered + r->doubled > 0)
        return BENCH_EXIT_WRONG;
    if (report->options->search && report->searched_pps == 0)
        return BENCH_EXIT_WRONG;
    return BENCH_EXIT_DONE;
}

static enum bench_exit run(const struct bench_options *options, const struct outputs *outputs)
{
    static struct bench_result result;
    struct report report = {.options = options, .result = &result};
    struct progress progress;
    struct bench *bench;
    struct error error;
    int rc;

    watch_signals();
    rc = bench_open(options, &bench, &error);
    if (rc < 0)
        return complain(rc == -EINTR ? BENCH_EXIT_WRONG : BENCH_EXIT_NOTHING, error.text);
    progress_start(&progress, bench, options->quiet);
    if (options->search)
        rc = run_search(bench, &progress, &report, &result, &error);
    else
        rc = bench_run(bench, options->arrivals, &result, &error);
    progress_stop(&progress);
    bench_close(bench);
    report.interrupted = rc == -EINTR;
    if (rc < 0 && (!report.interrupted || result.seconds <= 0))
        return complain(rc == -ENOMEM || rc == -EINVAL ? BENCH_EXIT_NOTHING : BENCH_EXIT_WRONG,
                        error.text);
    rc = outputs_write(outputs, &report);
    if (rc < 0) {
        error_set(&error, rc, "cannot write the results: %s", strerror(-rc));
        return complain(BENCH_EXIT_NOTHING, error.text);
    }
    return judge(&report);
}

static enum bench_exit check_and_run(const struct bench_options *options)
{
    uint64_t cpu_ns;
    struct outputs outputs;
    struct error error;
    enum bench_exit code;

    if (options->switch_pid && process_cpu_read(options->switch_pid, &cpu_ns, &error) < 0) {
        fputs("convoy-bench: --switch-pid: ", stderr);
        fprintf(stderr, "%s\n", error.text);
        return BENCH_EXIT_NOTHING;
    }
    if (outputs_open(&outputs, options, &error) < 0)
        return complain(BENCH_EXIT_NOTHING, error.text);
    code = run(options, &outputs);
    if (outputs_close(&outputs) < 0)
        return complain(BENCH_EXIT_NOTHING, "the results could not all be written");
    return code;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    enum bench_command command;
    struct error error;

    if (bench_options_parse(argc, argv, &options, &command, &error) < 0)
        return complain(BENCH_EXIT_NOTHING, error.text);
    switch (command) {
    case BENCH_DO_HELP:
        bench_options_print_help(stdout);
        break;
    case BENCH_DO_VERSION:
        puts("convoy-bench " CONVOY_VERSION);
        break;
    case BENCH_DO_RUN:
        return (int)check_and_run(&options);
    }
    return fflush(stdout) != 0 ? BENCH_EXIT_NOTHING : BENCH_EXIT_DONE;
}

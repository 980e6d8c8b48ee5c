/*
 * Goal: measurements stand on arrivals that are what they are called. Method: a million gaps of
 * each process against what theory says of mean, variance and shape; captures written by the test,
 * whose gaps are known; every wrong word, whose sentence must name it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>
#include <pcap/pcap.h>

#include "arrivals.h"

enum { GAPS = 1000000 };

struct gap_figures {
    double mean_ns;
    double variation;   /* variance over the mean's square */
    double beyond_mean; /* share of gaps longer than the mean */
};

static struct arrivals start(const char *spec, uint64_t seed)
{
    struct arrivals arrivals;
    struct error error = {""};
    int result = arrivals_init(&arrivals, spec, seed, &error);

    assert_string_equal(error.text, "");
    assert_int_equal(result, 0);
    return arrivals;
}

static struct gap_figures measure(const char *spec, uint64_t seed)
{
    struct arrivals arrivals = start(spec, seed);
    double *gaps = calloc(GAPS, sizeof(*gaps)), last_ns = 0, squares = 0;
    struct gap_figures f = {0};

    assert_non_null(gaps);
    for (unsigned i = 0; i < GAPS; i++) {
        double at_ns = (double)arrivals_next_ns(&arrivals);

        assert_true(at_ns >= last_ns);
        gaps[i] = at_ns - last_ns;
        last_ns = at_ns;
    }
    f.mean_ns = last_ns / GAPS;
    for (unsigned i = 0; i < GAPS; i++) {
        squares += (gaps[i] - f.mean_ns) * (gaps[i] - f.mean_ns);
        f.beyond_mean += gaps[i] > f.mean_ns ? 1.0 / GAPS : 0;
    }
    f.variation = squares / GAPS / (f.mean_ns * f.mean_ns);
    free(gaps);
    arrivals_uninit(&arrivals);
    return f;
}

static void assert_near(double value, double expected, double share)
{
    if (fabs(value - expected) > expected * share)
        fail_msg("%g is not %g within %g %%", value, expected, share * 100);
}

static void poisson_gaps_are_exponential(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct gap_figures f = measure("poisson:20000", seed);

        assert_near(f.mean_ns, 50000, 0.01);
        assert_near(f.variation, 1, 0.02);
        assert_near(f.beyond_mean, exp(-1), 0.01);
    }
    assert_near(measure("poisson:1e8", 1).mean_ns, 10, 0.01);
    assert_near(measure("poisson:0.01", 1).mean_ns, 1e11, 0.01);
}

/* At a rate that does not divide a second, too, nothing adds up to a drift. */
static void constant_gaps_are_equal(void **state)
{
    struct arrivals arrivals = start("constant:30000", 1);
    uint64_t at_ns = 0;

    (void)state;
    for (unsigned i = 0; i < GAPS; i++) {
        uint64_t next_ns = arrivals_next_ns(&arrivals);

        assert_in_range(next_ns - at_ns, 33333, 33334);
        at_ns = next_ns;
    }
    assert_in_range(at_ns, UINT64_C(33333333000), UINT64_C(33333334000));
}

/*
 * An interrupted Poisson process is a renewal process of hyperexponential gaps (A. Kuczura, 1973):
 * with phases ended at rates a and b, the squared coefficient of variation is
 * 1 + 2 rate a / (a + b)^2.
 */
static void onoff_is_an_interrupted_poisson_process(void **state)
{
    static const struct {
        const char *spec;
        double rate, on_s, off_s;
    } cases[] = {
        {"onoff:100000,1ms,3ms", 1e5, 1e-3, 3e-3},
        {"onoff:100000,100us,100us", 1e5, 1e-4, 1e-4},
        {"onoff:1000000,50us,1ms", 1e6, 5e-5, 1e-3},
    };

    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(cases); i++) {
        double a = 1 / cases[i].on_s, b = 1 / cases[i].off_s;
        struct gap_figures f = measure(cases[i].spec, 7);
        struct arrivals arrivals = start(cases[i].spec, 7);

        assert_near(f.mean_ns, 1e9 * (a + b) / (cases[i].rate * b), 0.04);
        assert_near(f.variation, 1 + 2 * cases[i].rate * a / ((a + b) * (a + b)), 0.08);
        assert_near(arrivals.rate, 1e9 / f.mean_ns, 0.04);
    }
}

static void a_seed_says_it_all(void **state)
{
    static const char *const specs[] = {"poisson:1000", "onoff:1000,5ms,5ms"};

    (void)state;
    for (unsigned s = 0; s < CV_COUNT_OF(specs); s++) {
        struct arrivals a = start(specs[s], 5), b = start(specs[s], 5), c = start(specs[s], 6);
        unsigned differ = 0;

        for (unsigned i = 0; i < 1000; i++) {
            uint64_t at_ns = arrivals_next_ns(&a);

            assert_int_equal(at_ns, arrivals_next_ns(&b));
            differ += at_ns != arrivals_next_ns(&c);
        }
        assert_in_range(differ, 990, 1000);
    }
}

/* --- captures --- */

/* Writes a capture with packets at these times. */
static void write_capture(const char *path, const uint64_t *times_ns, unsigned count)
{
    static const u_char bytes[60];
    pcap_t *dead = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, 64, PCAP_TSTAMP_PRECISION_NANO);
    pcap_dumper_t *dump = pcap_dump_open(dead, path);

    assert_non_null(dump);
    for (unsigned i = 0; i < count; i++) {
        struct pcap_pkthdr packet = {.caplen = sizeof(bytes), .len = sizeof(bytes)};

        packet.ts.tv_sec = (time_t)(times_ns[i] / 1000000000);
        packet.ts.tv_usec = (suseconds_t)(times_ns[i] % 1000000000);
        pcap_dump((u_char *)dump, &packet, bytes);
    }
    pcap_dump_close(dump);
    pcap_close(dead);
}

struct capture {
    char path[40];
    char spec[80];
};

static struct capture capture_new(const uint64_t *times_ns, unsigned count, const char *more)
{
    struct capture capture = {"/tmp/arrivals-test.XXXXXX", ""};
    int fd = mkstemp(capture.path);

    assert_true(fd >= 0);
    close(fd);
    write_capture(capture.path, times_ns, count);
    snprintf(capture.spec, sizeof(capture.spec), "trace:%s%s", capture.path, more);
    return capture;
}

/* Two rounds of a capture that crosses a second and whose clock once steps back. */
static void trace_gives_back_its_gaps(void **state)
{
    static const uint64_t times_ns[] = {1999999000, 2000000000, 2000050000, 2000040000, 2000060000};
    static const uint64_t expected_ns[] = {1000, 51000, 51000, 71000};
    struct capture capture = capture_new(times_ns, CV_COUNT_OF(times_ns), "");
    struct arrivals arrivals = start(capture.spec, 1);
    const uint64_t round_ns = 71000 + 71000 / 4;

    (void)state;
    for (uint64_t round = 0; round < 2; round++) {
        for (unsigned i = 0; i < CV_COUNT_OF(expected_ns); i++)
            assert_in_range(arrivals_next_ns(&arrivals), round * round_ns + expected_ns[i] - 1,
                            round * round_ns + expected_ns[i] + 1);
        assert_in_range(arrivals_next_ns(&arrivals), (round + 1) * round_ns - 1,
                        (round + 1) * round_ns + 1);
    }
    assert_near(arrivals.rate, 1e9 / 17750, 0.001);
    arrivals_uninit(&arrivals);
    unlink(capture.path);
}

static void trace_can_be_played_faster(void **state)
{
    static const uint64_t times_ns[] = {5, 10000005, 30000005};
    struct capture capture = capture_new(times_ns, CV_COUNT_OF(times_ns), ",10");
    struct arrivals arrivals = start(capture.spec, 1);

    (void)state;
    assert_int_equal(arrivals_next_ns(&arrivals), 1000000);
    assert_int_equal(arrivals_next_ns(&arrivals), 3000000);
    assert_int_equal(arrivals_next_ns(&arrivals), 4500000);
    arrivals_uninit(&arrivals);
    unlink(capture.path);
}

/* --- wrong words --- */

static void assert_refused(const char *spec, const char *named, const char *allowed)
{
    struct arrivals arrivals;
    struct error error = {""};

    assert_int_equal(arrivals_init(&arrivals, spec, 1, &error), -EINVAL);
    if (!strstr(error.text, named) || !strstr(error.text, allowed))
        fail_msg("\"%s\" names neither or only one of %s and %s", error.text, named, allowed);
}

static void wrong_words_are_named(void **state)
{
    static const struct {
        const char *spec, *named, *allowed;
    } cases[] = {
        {"", "\"\"", "poisson:RATE"},
        {"poisson", "\"poisson\"", "poisson:RATE"},
        {"uniform:5", "\"uniform:5\"", "poisson:RATE"},
        {"poisson:", "\"\"", "0.01 to 1e+08"},
        {"poisson:0", "\"0\"", "0.01 to 1e+08"},
        {"poisson:-3", "\"-3\"", "0.01 to 1e+08"},
        {"poisson:100000001", "\"100000001\"", "0.01 to 1e+08"},
        {"poisson:nan", "\"nan\"", "0.01 to 1e+08"},
        {"poisson:5x", "\"5x\"", "0.01 to 1e+08"},
        {"constant:inf", "\"inf\"", "0.01 to 1e+08"},
        {"onoff:1000", "nothing", "1us to 60s"},
        {"onoff:0,1ms,1ms", "\"0\"", "0.01 to 1e+08"},
        {"onoff:1000,1ms", "nothing", "1us to 60s"},
        {"onoff:1000,0,1ms", "\"0\"", "1us to 60s"},
        {"onoff:1000,1ms,61s", "\"61s\"", "1us to 60s"},
        {"onoff:1000,1ms,1ms,1ms", "\"1ms,1ms\"", "1us to 60s"},
        {"trace:/nonexistent", "/nonexistent", "capture"},
        {"trace:/etc/passwd", "/etc/passwd", "capture"},
        {"trace:/etc/passwd,0", "\"0\"", "0.001 to 1000"},
        {"trace:/etc/passwd,fast", "\"fast\"", "0.001 to 1000"},
    };
    char long_spec[5000];

    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(cases); i++)
        assert_refused(cases[i].spec, cases[i].named, cases[i].allowed);
    memset(long_spec, 'x', sizeof(long_spec));
    long_spec[sizeof(long_spec) - 1] = '\0';
    assert_refused(long_spec, "characters", "4199");
}

static void captures_of_no_use_are_refused(void **state)
{
    static const uint64_t same_ns[] = {7, 7, 7}, slow_ns[] = {0, UINT64_C(200000000000)};
    struct capture empty = capture_new(same_ns, 0, ""), one = capture_new(same_ns, 1, "");
    struct capture same = capture_new(same_ns, 3, ""), slow = capture_new(slow_ns, 2, "");
    struct capture cut = capture_new(same_ns, 3, "");

    (void)state;
    assert_refused(empty.spec, empty.path, "at least 2");
    assert_refused(one.spec, one.path, "at least 2");
    assert_refused(same.spec, same.path, "0.01 to 1e+08");
    assert_refused(slow.spec, slow.path, "0.01 to 1e+08");
    assert_int_equal(truncate(cut.path, 24 + 76 + 40), 0); /* in the middle of the second packet */
    assert_refused(cut.spec, cut.path, "to its end");
    unlink(empty.path);
    unlink(one.path);
    unlink(same.path);
    unlink(slow.path);
    unlink(cut.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poisson_gaps_are_exponential),
        cmocka_unit_test(constant_gaps_are_equal),
        cmocka_unit_test(onoff_is_an_interrupted_poisson_process),
        cmocka_unit_test(a_seed_says_it_all),
        cmocka_unit_test(trace_gives_back_its_gaps),
        cmocka_unit_test(trace_can_be_played_faster),
        cmocka_unit_test(wrong_words_are_named),
        cmocka_unit_test(captures_of_no_use_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

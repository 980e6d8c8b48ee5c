/*
 * Goal: words of the command line become the options that they mean, and each mistake is answered
 * by a sentence that names the word, its value and what is allowed. Method: command lines, right
 * and wrong, as they would be typed; the help and the manual are held against all options there
 * are.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pcap/pcap.h>

#include "bench_options.h"

enum { WORDS_MAX = 300 };

struct line {
    char text[8192];
    char *argv[WORDS_MAX + 2];
    int argc;
    struct bench_options options;
    enum bench_command command;
    struct error error;
    int rc;
};

static struct line line; /* the options point into it */

/* Parses words that stand with blanks between them; '' is the empty word. */
static void parse(const char *words)
{
    char *rest = line.text, *word;

    memset(&line, 0, sizeof(line));
    strncpy(line.text, words, sizeof(line.text) - 1);
    line.argv[line.argc++] = (char *)"convoy-bench";
    while ((word = strsep(&rest, " ")) != NULL && line.argc <= WORDS_MAX)
        line.argv[line.argc++] = strcmp(word, "''") == 0 ? (char *)"" : word;
    if (!*words)
        line.argc = 1;
    line.argv[line.argc] = NULL;
    line.rc = bench_options_parse(line.argc, line.argv, &line.options, &line.command, &line.error);
}

static const struct bench_options *accepted(const char *words)
{
    parse(words);
    if (line.rc != 0)
        fail_msg("%s: %s", words, line.error.text);
    assert_int_equal(line.command, BENCH_DO_RUN);
    return &line.options;
}

static void refuse(const char *words, const char *sentence)
{
    parse(words);
    assert_int_equal(line.rc, -EINVAL);
    if (!strstr(line.error.text, sentence))
        fail_msg("%s: \"%s\" does not say \"%s\"", words, line.error.text, sentence);
}

/* A processor that this test may use. */
static unsigned usable_cpu(void)
{
    cpu_set_t usable;
    unsigned cpu = 0;

    assert_int_equal(sched_getaffinity(0, sizeof(usable), &usable), 0);
    while (!CPU_ISSET(cpu, &usable))
        cpu++;
    return cpu;
}

/* --- what is right --- */

static void two_sockets_are_enough(void **state)
{
    const struct bench_options *o = accepted("/run/a /run/b");

    (void)state;
    assert_int_equal(o->guest_count, 2);
    assert_string_equal(o->sockets[0], "/run/a");
    assert_string_equal(o->sockets[1], "/run/b");
    assert_false(o->listens[0] || o->listens[1]);
    assert_int_equal(o->pairs, 1);
    assert_int_equal(o->ring_size, 1024);
    assert_int_equal(o->pattern, BENCH_PAIRS);
    assert_int_equal(o->receive, BENCH_POLL);
    assert_int_equal(o->kind, TRAFFIC_UDP4);
    assert_int_equal(o->sizes, BENCH_FIXED);
    assert_int_equal(o->size_bytes, 64);
    assert_int_equal(o->flows, 1);
    assert_true(o->mergeable);
    assert_false(o->offloads || o->verify || o->search || o->quiet);
    assert_null(o->arrivals);
    assert_null(o->then);
    assert_true(o->duration_ns == 3000000000 && o->warm_up_ns == 500000000);
    assert_int_equal(o->sample, 16);
    assert_int_equal(o->burst, 32);
    assert_int_equal(o->cpu_count, 0);
    assert_int_equal(o->switch_pid, 0);
    assert_null(o->json_path);
    assert_null(o->csv_path);
    assert_string_equal(o->label, "");
    assert_int_equal(o->timeout_ms, 10000);
}

static void every_option_is_heard(void **state)
{
    const struct bench_options *o = accepted(
        "a --pairs 8 --ring=32768 --pattern fan-out --receive call --kind tcp6 --size 9014 "
        "--flows 1024 --offloads --no-mergeable --arrivals poisson:1e6 --then constant:5 "
        "--seconds 0.25 --warm-up 0 --sample 1 --burst 256 --switch-pid 12 --json - "
        "--csv f --label one --quiet --timeout 2.5 listen:b c");

    (void)state;
    assert_int_equal(o->guest_count, 3);
    assert_true(o->listens[1] && !o->listens[0] && !o->listens[2]);
    assert_string_equal(o->sockets[1], "b");
    assert_int_equal(o->pairs, 8);
    assert_int_equal(o->ring_size, 32768);
    assert_int_equal(o->pattern, BENCH_FAN_OUT);
    assert_int_equal(o->receive, BENCH_CALL);
    assert_int_equal(o->kind, TRAFFIC_TCP6);
    assert_int_equal(o->size_bytes, 9014);
    assert_int_equal(o->flows, 1024);
    assert_true(o->offloads && !o->mergeable && o->quiet);
    assert_string_equal(o->arrivals, "poisson:1e6");
    assert_string_equal(o->then, "constant:5");
    assert_true(o->duration_ns == 250000000 && o->warm_up_ns == 0);
    assert_int_equal(o->sample, 1);
    assert_int_equal(o->burst, 256);
    assert_int_equal(o->switch_pid, 12);
    assert_string_equal(o->json_path, "-");
    assert_string_equal(o->csv_path, "f");
    assert_string_equal(o->label, "one");
    assert_int_equal(o->timeout_ms, 2500);
    o = accepted("--verify --search --loss-max 0.001 --arrivals constant:1000 a b");
    assert_true(o->verify && o->search);
    assert_true(o->loss_max == 0.001);
    o = accepted("--arrivals poisson:5 --arrivals max a b"); /* the last one counts */
    assert_null(o->arrivals);
    o = accepted("a -- --b"); /* a socket may have any name */
    assert_string_equal(o->sockets[1], "--b");
}

static void sizes_are_of_three_sorts(void **state)
{
    char text[BENCH_SIZE_TEXT_BYTES];

    (void)state;
    assert_string_equal(bench_size_format(accepted("--size 1514 a b"), text), "1514");
    assert_int_equal(accepted("--ring 16 a b")->burst, 16);
    assert_string_equal(bench_size_format(accepted("--size imix --kind tcp6 a b"), text), "imix");
    assert_int_equal(line.options.sizes, BENCH_IMIX);
    /* Without --size, as small as the kind can be. */
    assert_int_equal(accepted("--kind udp6 a b")->size_bytes, 80);
    assert_int_equal(accepted("--kind tcp4 a b")->size_bytes, 84);
    assert_int_equal(accepted("--kind tcp6 a b")->size_bytes, 104);
    assert_int_equal(accepted("--size 60 a b")->size_bytes, 60);
    assert_int_equal(accepted("--size 65549 --offloads a b")->size_bytes, 65549);
}

static void captures_are_read_before_anything_starts(void **state)
{
    static const u_char bytes[60];
    char path[] = "/tmp/options-test.XXXXXX", words[200], text[BENCH_SIZE_TEXT_BYTES];
    struct pcap_pkthdr packet = {.caplen = sizeof(bytes), .len = sizeof(bytes)};
    pcap_t *dead = pcap_open_dead(DLT_EN10MB, 65535);
    pcap_dumper_t *dump;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    dump = pcap_dump_open(dead, path);
    assert_non_null(dump);
    for (packet.ts.tv_usec = 0; packet.ts.tv_usec < 30; packet.ts.tv_usec += 10)
        pcap_dump((u_char *)dump, &packet, bytes);
    pcap_dump_close(dump);
    pcap_close(dead);
    snprintf(words, sizeof(words), "--size pcap:%s --arrivals trace:%s,2 a b", path, path);
    (void)accepted(words);
    assert_int_equal(line.options.sizes, BENCH_CAPTURE);
    assert_string_equal(bench_size_format(&line.options, text) + 5, path);
    assert_string_equal(line.options.capture_path, path);
    snprintf(words, sizeof(words), "--size pcap:%s --kind udp4 a b", path);
    refuse(words, "--kind does not go with --size pcap:FILE");
    snprintf(words, sizeof(words), "--size pcap:%s --flows 1 a b", path);
    refuse(words, "--flows does not go with --size pcap:FILE");
    snprintf(words, sizeof(words), "--size pcap:%s --verify a b", path);
    refuse(words, "--verify does not go with --size pcap:FILE");
    unlink(path);
    refuse("--size pcap:/etc/passwd a b", "--size: /etc/passwd cannot be read as a capture");
    refuse("--size pcap:/nonexistent/f a b", "/nonexistent/f");
    refuse("--size pcap: a b", "--size \"pcap:\" is none of");
    refuse("--arrivals trace:/etc/passwd a b", "--arrivals: /etc/passwd cannot be read");
}

static void processors_are_listed(void **state)
{
    unsigned cpu = usable_cpu();
    char words[100], sentence[100];

    (void)state;
    snprintf(words, sizeof(words), "--cpus %u a b", cpu);
    assert_int_equal(accepted(words)->cpu_count, 1);
    assert_int_equal(line.options.cpus[0], cpu);
    snprintf(words, sizeof(words), "--cpus %u-%u a b", cpu, cpu);
    assert_int_equal(accepted(words)->cpu_count, 1);
    snprintf(words, sizeof(words), "--cpus %u --cpus %u a b", cpu, cpu);
    assert_int_equal(accepted(words)->cpu_count, 1);
    snprintf(words, sizeof(words), "--cpus %u,%u a b", cpu, cpu);
    snprintf(sentence, sizeof(sentence), "--cpus: processor %u is named twice", cpu);
    refuse(words, sentence);
    refuse("--cpus 1023 a b", "may not use processor 1023");
    refuse("--cpus 1024 a b", "--cpus: \"1024\" is not a processor");
    refuse("--cpus 3-2 a b", "--cpus: \"3-2\" is not a processor");
    refuse("--cpus '' a b", "--cpus: \"\" is not a processor");
    refuse("--cpus all a b", "--cpus: \"all\" is not a processor, 0 to 1023, nor a range");
}

static void help_and_version_need_no_sockets(void **state)
{
    static const struct {
        const char *words;
        enum bench_command command;
    } cases[] = {
        {"--help", BENCH_DO_HELP}, {"-h", BENCH_DO_HELP},           {"--version", BENCH_DO_VERSION},
        {"-V", BENCH_DO_VERSION},  {"a --help b c", BENCH_DO_HELP},
    };

    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(cases); i++) {
        parse(cases[i].words);
        assert_int_equal(line.rc, 0);
        assert_int_equal(line.command, cases[i].command);
    }
}

/* --- what is wrong --- */

static void wrong_values_are_named(void **state)
{
    static const struct {
        const char *words, *sentence;
    } cases[] = {
        {"--size 30 a b", "--size \"30\" is none of: 60 to 65549 bytes"},
        {"--size 65550 a b", "--size \"65550\" is none of: 60 to 65549 bytes"},
        {"--size -64 a b", "--size \"-64\" is none of"},
        {"--size 64.5 a b", "--size \"64.5\" is none of"},
        {"--size IMIX a b", "imix, pcap:FILE"},
        {"--size 1519 a b", "--size 1519 is that of a super-packet, which needs --offloads"},
        {"--size 1519 --verify --offloads a b", "--verify takes --size 60 to 1518, not 1519"},
        {"--kind tcp4 --size 83 a b", "--size 83 is too small for --kind tcp4: allowed are 84 to"},
        {"--arrivals foo a b", "--arrivals: \"foo\" is none of poisson:RATE"},
        {"--arrivals foo a b", "trace:FILE[,SPEED], max"},
        {"--arrivals poisson:0 a b", "--arrivals: rate \"0\" is not a number of packets"},
        {"--arrivals poisson:1 --then max a b", "--then: \"max\" is none of"},
        {"--arrivals poisson:1 --then constant:x a b", "--then: rate \"x\""},
        {"--then poisson:1 a b", "--then goes with --arrivals"},
        {"--pairs 0 a b", "--pairs \"0\" is not a whole number from 1 to 8"},
        {"--pairs 9 a b", "--pairs \"9\" is not a whole number from 1 to 8"},
        {"--ring 1000 a b", "--ring \"1000\" is not a power of two from 16 to 32768"},
        {"--ring 65536 a b", "--ring \"65536\" is not a power of two"},
        {"--ring 8 a b", "--ring \"8\" is not a power of two"},
        {"--pattern fanin a b",
         "--pattern \"fanin\" is none of pairs, both, ring, fan-in, fan-out"},
        {"--pattern fanin a b", "did you mean \"fan-in\"?"},
        {"--receive calls a b",
         "--receive \"calls\" is none of poll, call; did you mean \"call\"?"},
        {"--kind ether a b", "--kind \"ether\" is none of udp4, udp6, tcp4, tcp6"},
        {"--flows 1025 a b", "--flows \"1025\" is not a whole number from 1 to 1024"},
        {"--seconds 0 a b", "--seconds \"0\" is not a number of seconds from 0.01 to 86400"},
        {"--seconds inf a b", "--seconds \"inf\" is not a number"},
        {"--warm-up -1 a b", "--warm-up \"-1\" is not a number of seconds from 0 to 3600"},
        {"--timeout 0 a b", "--timeout \"0\" is not a number of seconds from 0.1 to 3600"},
        {"--sample 0 a b", "--sample \"0\" is not a whole number from 1"},
        {"--burst 0 a b", "--burst \"0\" is not a whole number from 1"},
        {"--burst 64 --ring 32 a b", "--burst 64 is more than the 32 entries"},
        {"--switch-pid 0 a b", "--switch-pid \"0\" is not a whole number from 1"},
        {"--search --loss-max 2 a b", "--loss-max \"2\" is not a share from 0 to 1"},
        {"--loss-max 0.1 a b", "--loss-max goes with --search"},
        {"--search --arrivals onoff:5,1ms,1ms a b", "not of \"onoff:5,1ms,1ms\""},
        {"--search --arrivals poisson:1 --then poisson:2 a b", "--search and --then"},
        {"--json '' a b", "--json \"\" is not the name of a file"},
        {"--json - --csv - a b", "--json - and --csv - exclude each other"},
    };

    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(cases); i++)
        refuse(cases[i].words, cases[i].sentence);
}

static void wrong_options_are_named(void **state)
{
    (void)state;
    refuse("--pattren both a b", "there is no option \"--pattren\"; did you mean \"pattern\"?");
    refuse("--warmup=3 a b", "there is no option \"--warmup=3\"; did you mean \"warm-up\"?");
    refuse("--frobnicate a b", "there is no option \"--frobnicate\" (convoy-bench --help lists");
    refuse("-x a b", "there is no option \"-x\"");
    refuse("--s 3 a b",
           "\"--s\" may be each of --size, --seconds, --search, --sample, --switch-pid");
    refuse("--verify=yes a b", "--verify takes no value");
    refuse("a b --size", "--size needs a value: --size SIZE");
}

static void sockets_are_counted(void **state)
{
    char words[8192] = "";
    size_t n = 0;

    (void)state;
    refuse("", "which sockets?");
    refuse("a", "\"a\" is the only socket");
    refuse("a b c", "--pattern pairs needs an even number of sockets, not 3");
    refuse("--pattern both a b c", "--pattern both needs an even number of sockets, not 3");
    assert_int_equal(accepted("--pattern ring a b c")->guest_count, 3);
    assert_int_equal(accepted("--pattern fan-in a b c")->guest_count, 3);
    refuse("a b a", "\"a\" is named twice");
    refuse("a listen:a", "\"a\" is named twice");
    refuse("a ''", "the socket \"\" has 0 characters; it needs 1 to 107");
    memset(words, 'x', 108);
    strcpy(words + 108, " b");
    refuse(words, "has 108 characters; it needs 1 to 107");
    for (unsigned i = 0; i < 257; i++)
        n += (size_t)snprintf(words + n, sizeof(words) - n, "%ss%u", i ? " " : "", i);
    refuse(words, "more than 256 sockets");
    *strrchr(words, ' ') = '\0';
    assert_int_equal(accepted(words)->guest_count, 256);
}

/* What fails leaves the caller's options alone. */
static void failure_writes_nothing(void **state)
{
    (void)state;
    parse("--pairs 3 --size 5 a b");
    assert_int_equal(line.rc, -EINVAL);
    assert_int_equal(line.options.pairs, 0);
    assert_int_equal(line.options.guest_count, 0);
}

/* --- help and manual --- */

static const char *const names[] = {
    "pairs",    "ring",   "pattern",    "receive", "kind",     "size",         "flows",
    "offloads", "verify", "arrivals",   "then",    "seconds",  "warm-up",      "sample",
    "burst",    "cpus",   "switch-pid", "search",  "loss-max", "json",         "csv",
    "label",    "quiet",  "timeout",    "help",    "version",  "no-mergeable",
};

static void read_all(FILE *file, char *text, size_t bytes)
{
    size_t n;

    assert_non_null(file);
    rewind(file);
    n = fread(text, 1, bytes - 1, file);
    assert_true(n > 0 && n < bytes - 1);
    text[n] = '\0';
    fclose(file);
}

static void help_and_manual_know_every_option(void **state)
{
    static char help[16384], manual[65536];
    const char *root = getenv("CONVOY_SOURCE_ROOT");
    char path[4096], word[40];
    FILE *out = tmpfile();
    unsigned helped = 0;

    (void)state;
    assert_non_null(root);
    assert_non_null(out);
    bench_options_print_help(out);
    read_all(out, help, sizeof(help));
    snprintf(path, sizeof(path), "%s/man/convoy-bench.1", root);
    read_all(fopen(path, "r"), manual, sizeof(manual));
    for (unsigned i = 0; i < CV_COUNT_OF(names); i++) {
        snprintf(word, sizeof(word), "\n  --%s ", names[i]);
        if (!strstr(help, word))
            fail_msg("--help does not explain --%s", names[i]);
        snprintf(word, sizeof(word), "Fl -%s", names[i]);
        if (!strstr(manual, word))
            fail_msg("convoy-bench(1) does not explain --%s", names[i]);
    }
    for (const char *at = help; (at = strstr(at, "\n  --")) != NULL; at++)
        helped++;
    assert_int_equal(helped, CV_COUNT_OF(names)); /* and this test knows them all */
    for (char *at = strtok(help, "\n"); at; at = strtok(NULL, "\n"))
        if (strlen(at) > 100)
            fail_msg("too long a line: %s", at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_sockets_are_enough),
        cmocka_unit_test(every_option_is_heard),
        cmocka_unit_test(sizes_are_of_three_sorts),
        cmocka_unit_test(captures_are_read_before_anything_starts),
        cmocka_unit_test(processors_are_listed),
        cmocka_unit_test(help_and_version_need_no_sockets),
        cmocka_unit_test(wrong_values_are_named),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(sockets_are_counted),
        cmocka_unit_test(failure_writes_nothing),
        cmocka_unit_test(help_and_manual_know_every_option),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

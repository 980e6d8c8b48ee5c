/*
 * Goal: a log line is one line, marked with its level in the way that its reader understands; what
 * an adversary can repeat is limited and what was left out is counted. Method: standard error is a
 * pipe.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

static int saved_stderr, pipe_fds[2];
static char text[8192];

static int begin(void **state)
{
    (void)state;
    unsetenv("JOURNAL_STREAM");
    log_set_level(LOG_LEVEL_INFO);
    saved_stderr = dup(STDERR_FILENO);
    return saved_stderr < 0 || pipe(pipe_fds) < 0 || dup2(pipe_fds[1], STDERR_FILENO) < 0;
}

static int end(void **state)
{
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

/* What has been written since the last time; "" when nothing was. */
static const char *written(void)
{
    ssize_t n;

    (void)!write(pipe_fds[1], "", 1); /* so that the pipe is never empty */
    n = read(pipe_fds[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    return text;
}

static void marked_with_words(void **state)
{
    (void)state;
    log_error("a %d", 1);
    log_warning("b");
    log_info("c");
    assert_string_equal(written(), "error: a 1\nwarning: b\nc\n");
}

static void marked_for_the_journal(void **state)
{
    (void)state;
    setenv("JOURNAL_STREAM", "8:1", 1);
    log_error("a");
    log_warning("b");
    log_info("c");
    assert_string_equal(written(), "<3>a\n<4>b\n<6>c\n");
}

static void level_is_obeyed(void **state)
{
    (void)state;
    log_debug("no");
    assert_string_equal(written(), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("yes");
    assert_string_equal(written(), "debug: yes\n");
    log_set_level(LOG_LEVEL_ERROR);
    log_warning("no");
    assert_string_equal(written(), "");
}

/* A line that is too long is cut; it still ends, and with one write. */
static void long_lines_are_cut(void **state)
{
    static char longest[3000];

    (void)state;
    for (size_t len = 1000; len < 1040; len++) {
        memset(longest, 'x', len);
        longest[len] = '\0';
        log_error("%s", longest);
        written();
        assert_true(strlen(text) <= 1024);
        assert_int_equal(text[strlen(text) - 1], '\n');
        assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    }
}

static void repeated_events_are_limited(void **state)
{
    struct log_limit limit = {0};
    unsigned passed = 0, suppressed = 99;
    const uint64_t second = 1000000000, start = 5 * second;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        passed += log_limit_pass(&limit, start + i, &suppressed);
    assert_int_equal(passed, 5);
    assert_int_equal(suppressed, 0);
    assert_false(log_limit_pass(&limit, start + second - 1, &suppressed));
    assert_true(log_limit_pass(&limit, start + second, &suppressed));
    assert_int_equal(suppressed, 996);
    assert_true(log_limit_pass(&limit, start + second, &suppressed));
    assert_int_equal(suppressed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(marked_with_words, begin, end),
        cmocka_unit_test_setup_teardown(marked_for_the_journal, begin, end),
        cmocka_unit_test_setup_teardown(level_is_obeyed, begin, end),
        cmocka_unit_test_setup_teardown(long_lines_are_cut, begin, end),
        cmocka_unit_test(repeated_events_are_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

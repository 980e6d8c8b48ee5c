/*
 * Goal: a slip of the hand is answered with the word that was meant, another word with nothing.
 * Method: what was typed, what there is, what is expected.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/nearest.h"

static const char *const words[] = {"port", "status", "queues", "mode", "mtu", "mac", "mergeable"};

static void expect(const char *typed, const char *suggestion)
{
    struct nearest nearest;
    char text[80];

    nearest_init(&nearest, typed);
    for (size_t i = 0; i < CV_COUNT_OF(words); i++)
        nearest_offer(&nearest, words[i]);
    if (strcmp(nearest.word, suggestion))
        fail_msg("\"%s\": \"%s\" instead of \"%s\"", typed, nearest.word, suggestion);
    nearest_format(&nearest, text, sizeof(text));
    assert_int_equal(text[0] == '\0', suggestion[0] == '\0');
}

static void test_slips(void **state)
{
    (void)state;
    expect("prot", "port");          /* swapped */
    expect("prt", "port");           /* left out */
    expect("porrt", "port");         /* doubled */
    expect("pork", "port");          /* replaced */
    expect("PORT", "port");          /* case */
    expect("que", "queues");         /* begun */
    expect("quues", "queues");       /* left out */
    expect("qeueus", "queues");      /* swapped twice */
    expect("mergable", "mergeable"); /* the usual one */
    expect("mdoe", "mode");
}

static void test_other_words(void **state)
{
    char longest[200];

    (void)state;
    expect("", "");
    expect("x", "");
    expect("po", "");
    expect("bridge", "");
    expect("statuesque", "");
    memset(longest, 'm', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    expect(longest, "");
}

/* The nearest wins, not the first. */
static void test_nearest_wins(void **state)
{
    (void)state;
    expect("mac", "mac");
    expect("mtc", "mtu");
    expect("mtus", "mtu");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slips),
        cmocka_unit_test(test_other_words),
        cmocka_unit_test(test_nearest_wins),
    };

    return cmocka_run_group_tests_name("nearest", tests, NULL, NULL);
}

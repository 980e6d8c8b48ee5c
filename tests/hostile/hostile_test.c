/*
 * hostile_test CONVOYD [WORD]...: attacks a running convoyd in every way of docs/security.md. WORD
 * chooses tests by class ("C6") or by a part of the name. HOSTILE_ROUNDS (default 2000) is how
 * often the hunts for leaks repeat; 100000 is the full measure.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "hostile.h"

static bool is_chosen(const struct hostile_test *test, int word_count, char **words)
{
    for (int i = 0; i < word_count; i++) {
        if (strcmp(test->class, words[i]) == 0 || strstr(test->name, words[i]))
            return true;
    }
    return word_count == 0;
}

int main(int argc, char **argv)
{
    const struct {
        const struct hostile_test *tests;
        unsigned count;
    } groups[] = {
        {message_tests, message_test_count}, {memory_tests, memory_test_count},
        {ring_tests, ring_test_count},       {frame_tests, frame_test_count},
        {merge_tests, merge_test_count},     {life_tests, life_test_count},
    };
    unsigned passed = 0, failed = 0;
    static struct hostile h;
    struct error error;

    if (argc < 2) {
        fprintf(stderr, "usage: hostile_test CONVOYD [WORD]...\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (hostile_start(&h, argv[1], &error) < 0) {
        fprintf(stderr, "hostile_test: %s\n", error.text);
        return 2;
    }
    printf("left and right exchange %llu frames per second undisturbed\n",
           (unsigned long long)h.honest_rate);
    for (unsigned g = 0; g < CV_COUNT_OF(groups); g++) {
        for (unsigned i = 0; i < groups[g].count; i++) {
            const struct hostile_test *test = &groups[g].tests[i];

            if (!is_chosen(test, argc - 2, argv + 2))
                continue;
            if (hostile_run(&h, test)) {
                passed++;
                continue;
            }
            failed++;
            if (hostile_restart(&h, argv[1], &error) < 0) {
                fprintf(stderr, "hostile_test: %s\n", error.text);
                return 1;
            }
        }
    }
    failed += !hostile_stop(&h);
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}

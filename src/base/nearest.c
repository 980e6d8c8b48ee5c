#include "base/nearest.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { PREFIX_LEN_MIN = 3 };

/* Edits between two words of at most NEAREST_WORD_BYTES_MAX letters; rows are prefixes of `a`. */
static unsigned edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned cost[NEAREST_WORD_BYTES_MAX + 1][NEAREST_WORD_BYTES_MAX + 1];

    for (size_t i = 0; i <= a_len; i++)
        cost[i][0] = (unsigned)i;
    for (size_t j = 0; j <= b_len; j++)
        cost[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++)
        for (size_t j = 1; j <= b_len; j++) {
            unsigned best = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

            best = CV_MIN(best, cost[i - 1][j] + 1);
            best = CV_MIN(best, cost[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = CV_MIN(best, cost[i - 2][j - 2] + 1);
            cost[i][j] = best;
        }
    return cost[a_len][b_len];
}

void nearest_init(struct nearest *nearest, const char *wanted)
{
    *nearest = (struct nearest){.wanted = wanted};
}

void nearest_offer(struct nearest *nearest, const char *candidate)
{
    size_t wanted_len = strlen(nearest->wanted), candidate_len = strlen(candidate);
    unsigned distance, distance_max;

    if (wanted_len == 0 || wanted_len > NEAREST_WORD_BYTES_MAX ||
        candidate_len > NEAREST_WORD_BYTES_MAX)
        return;
    if (strcasecmp(nearest->wanted, candidate) == 0)
        distance = 0;
    else if (wanted_len >= PREFIX_LEN_MIN && strncmp(nearest->wanted, candidate, wanted_len) == 0)
        distance = 1; /* its beginning, as in "que" for "queues" */
    else
        distance = edit_distance(nearest->wanted, wanted_len, candidate, candidate_len);
    /* One slip in a short word, two in a longer one; more is another word. */
    distance_max = CV_MAX(wanted_len, candidate_len) >= 5 ? 2 : 1;
    if (distance <= distance_max && (!nearest->word[0] || distance < nearest->distance)) {
        memcpy(nearest->word, candidate, candidate_len + 1);
        nearest->distance = distance;
    }
}

const char *nearest_format(const struct nearest *nearest, char *buffer, size_t buffer_bytes)
{
    if (nearest->word[0])
        (void)snprintf(buffer, buffer_bytes, "; did you mean \"%s\"?", nearest->word);
    else if (buffer_bytes > 0)
        buffer[0] = '\0';
    return buffer;
}

#include "config/scalar.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Reads digits up to `max`; NULL when there are none, or the number is larger. */
static const char *digits_parse(const char *text, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');

        if (number > (max - digit) / 10)
            return NULL;
        number = number * 10 + digit;
    }
    if (at == text)
        return NULL;
    *ret_number = number;
    return at;
}

bool number_parse(const char *text, unsigned min, unsigned max, unsigned *ret_number)
{
    uint64_t number;
    const char *end = digits_parse(text, UINT32_MAX, &number);

    if (end == NULL || *end != '\0' || number < min || number > max)
        return false;
    *ret_number = (unsigned)number;
    return true;
}

bool decimal_parse(const char *text, double min, double max, double *ret_number)
{
    static const double scales[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
    uint64_t whole, fraction = 0;
    size_t fraction_digits = 0;
    double number;
    const char *end = digits_parse(text, 1000000000, &whole);

    if (end != NULL && *end == '.') {
        const char *start = end + 1;

        end = digits_parse(start, 999999, &fraction);
        fraction_digits = end == NULL ? 0 : (size_t)(end - start);
    }
    if (end == NULL || *end != '\0' || fraction_digits >= CV_COUNT_OF(scales))
        return false;
    /* Both are whole numbers below 2^53: the quotient is the double next to what was written. */
    number = ((double)whole * scales[fraction_digits] + (double)fraction) / scales[fraction_digits];
    if (number < min || number > max)
        return false;
    *ret_number = number;
    return true;
}

const char *decimal_format(double number, char text[static DECIMAL_TEXT_BYTES])
{
    size_t len = (size_t)snprintf(text, DECIMAL_TEXT_BYTES, "%.6f", number);

    assert(len < DECIMAL_TEXT_BYTES);
    while (text[len - 1] == '0')
        len--;
    text[text[len - 1] == '.' ? len - 1 : len] = '\0';
    return text;
}

/* Smallest first: duration_format walks it backwards. */
static const struct duration_unit {
    const char *name;
    uint64_t ns;
} duration_units[] = {
    {"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}, {"min", UINT64_C(60000000000)},
};

bool duration_parse(const char *text, uint64_t *ret_ns)
{
    uint64_t number;
    const char *unit = digits_parse(text, UINT64_MAX, &number);

    if (unit == NULL)
        return false;
    if (*unit == '\0' && number == 0) {
        *ret_ns = 0;
        return true;
    }
    if (*unit == ' ')
        unit++;
    for (size_t i = 0; i < CV_COUNT_OF(duration_units); i++) {
        uint64_t ns;

        if (strcmp(unit, duration_units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow(number, duration_units[i].ns, &ns))
            return false;
        *ret_ns = ns;
        return true;
    }
    return false;
}

const char *duration_format(uint64_t ns, char text[static DURATION_TEXT_BYTES])
{
    size_t i = CV_COUNT_OF(duration_units) - 1;

    if (ns == 0)
        return strcpy(text, "0");
    while (ns % duration_units[i].ns != 0)
        i--;
    (void)snprintf(text, DURATION_TEXT_BYTES, "%llu%s",
                   (unsigned long long)(ns / duration_units[i].ns), duration_units[i].name);
    return text;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool mac_parse(const char *text, mac_addr *ret_mac)
{
    mac_addr mac = 0;

    for (unsigned i = 0; i < 6; i++, text += 3) {
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);

        if (low < 0 || text[2] != (i < 5 ? ':' : '\0'))
            return false;
        mac = mac << 8 | (mac_addr)(high << 4 | low);
    }
    *ret_mac = mac;
    return true;
}

const char *mac_format(mac_addr mac, char text[static MAC_TEXT_BYTES])
{
    (void)snprintf(text, MAC_TEXT_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x",
                   (unsigned)(mac >> 40 & 0xff), (unsigned)(mac >> 32 & 0xff),
                   (unsigned)(mac >> 24 & 0xff), (unsigned)(mac >> 16 & 0xff),
                   (unsigned)(mac >> 8 & 0xff), (unsigned)(mac & 0xff));
    return text;
}

bool mac_is_unicast(mac_addr mac)
{
    return mac != 0 && (mac & MAC_MULTICAST_BIT) == 0 && mac <= MAC_BROADCAST;
}

bool switch_parse(const char *text, bool *ret_on)
{
    static const char *const words[][3] = {{"off", "no", "false"}, {"on", "yes", "true"}};

    for (unsigned on = 0; on < 2; on++) {
        for (unsigned i = 0; i < 3; i++) {
            if (strcasecmp(text, words[on][i]) == 0) {
                *ret_on = on == 1;
                return true;
            }
        }
    }
    return false;
}

const char *text_quote(const char *value, char text[static QUOTED_TEXT_BYTES])
{
    size_t len = strlen(value);
    size_t shown = len <= 40 ? len : 37;
    char *at = text;

    *at++ = '"';
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)value[i];

        *at++ = c < 0x20 || c >= 0x7f ? '?' : (char)c;
    }
    if (shown < len) {
        memcpy(at, "...", 3);
        at += 3;
    }
    *at++ = '"';
    *at = '\0';
    return text;
}

/*
 * Values as people write them: numbers, durations, MAC addresses, switches. Used for
 * the configuration file, the control socket and the command line alike.
 */
#ifndef CONVOY_CONFIG_SCALAR_H
#define CONVOY_CONFIG_SCALAR_H

#include "base/compiler.h"
#include "wire/frame_parse.h"

/* A decimal number from `min` to `max`, digits only. */
bool number_parse(const char *text, unsigned min, unsigned max, unsigned *ret_number) CV_MUST_CHECK;

/*
 * A decimal number from `min` to `max`: digits, and maybe a point and 1 to 6 more. Formatted in as
 * few digits as give the same number again, in the caller's buffer, which is returned; the number
 * must be one that decimal_parse gives, below 10^9.
 */
bool decimal_parse(const char *text, double min, double max, double *ret_number) CV_MUST_CHECK;
#define DECIMAL_TEXT_BYTES 24
const char *decimal_format(double number, char text[static DECIMAL_TEXT_BYTES]);

/*
 * "50us", "20 ms", "300s", "0" to nanoseconds; units ns, us, ms, s, min. False when it is not a
 * duration: no unit (except for 0), a sign, a fraction, or more than 2^64 ns.
 */
bool duration_parse(const char *text, uint64_t *ret_ns) CV_MUST_CHECK;
/* In the largest unit that gives a whole number: "50us". In the caller's buffer, which it returns.
 */
#define DURATION_TEXT_BYTES 24
const char *duration_format(uint64_t ns, char text[static DURATION_TEXT_BYTES]);

/* "52:54:00:12:34:56" to a number and back; false when it is not a MAC address. */
bool mac_parse(const char *text, mac_addr *ret_mac) CV_MUST_CHECK;
#define MAC_TEXT_BYTES 18
const char *mac_format(mac_addr mac, char text[static MAC_TEXT_BYTES]);
/* True for an address that one interface can own: not zero, broadcast or multicast. */
bool mac_is_unicast(mac_addr mac);

/* "on" or "off"; YAML's other words for them ("yes", "true", ...) too. */
bool switch_parse(const char *text, bool *ret_on) CV_MUST_CHECK;

/*
 * The value in double quotes, fit for a one-line message: at most 40 bytes of it, unprintable
 * bytes as '?'. In the caller's buffer, which it returns.
 */
#define QUOTED_TEXT_BYTES 48
const char *text_quote(const char *value, char text[static QUOTED_TEXT_BYTES]);

#endif

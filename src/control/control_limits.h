/* What one client of the control socket may ask of the control thread. */
#ifndef CONVOY_CONTROL_CONTROL_LIMITS_H
#define CONVOY_CONTROL_CONTROL_LIMITS_H

enum {
    CONTROL_LINE_BYTES_MAX = 64 * 1024, /* one request with its line feed */
    CONTROL_REPLY_BYTES_MAX = 8 << 20,  /* one reply; nothing more is read before it is gone */
    CONTROL_CLIENTS_MAX = 32,           /* past it, the client that was silent longest makes room */
    CONTROL_MAC_ENTRIES_MAX = 20000,    /* addresses in one mac.list */
    CONTROL_MAC_ENTRIES_DEFAULT = 4096, /* ... unless the request says otherwise */
};

#endif

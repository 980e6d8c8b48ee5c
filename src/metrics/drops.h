/*
 * Why a frame ended without being delivered. Nothing is lost silently: every frame that the switch
 * took and did not deliver is counted under exactly one of these, at the port named in the comment.
 */
#ifndef CONVOY_METRICS_DROPS_H
#define CONVOY_METRICS_DROPS_H

/* X(SYMBOL, "name in output", "sentence for people") */
#define DROP_REASONS(X)                                                                            \
    /* counted at the port that the frame came from */                                             \
    X(MALFORMED, "malformed", "shorter than an Ethernet header, or longer than 64 KiB")            \
    X(BAD_OFFLOAD, "bad_offload", "checksum or segmentation request that does not fit the frame")  \
    X(LINK_LOCAL, "link_local", "addressed to the bridge itself (01:80:c2:00:00:0x)")              \
    X(SAME_PORT, "same_port", "the destination is behind the port it came from")                   \
    X(NO_DESTINATION, "no_destination", "no other port is up")                                     \
    X(QUEUE_DISABLED, "queue_disabled", "sent on a queue that the guest's VMM has disabled")       \
    X(NO_MEMORY, "no_memory", "no private memory free to take the frame")                          \
    /* counted at the port that the frame was going to */                                          \
    X(PORT_DOWN, "port_down", "no guest is connected, or it has not started its queue")            \
    X(QUEUE_FULL, "queue_full", "as many frames as allowed already wait for the guest")            \
    X(STALLED, "stalled", "the guest took nothing for too long")                                   \
    X(TOO_BIG, "too_big", "larger than what the receive buffers hold")                             \
    X(HANDOVER_FULL, "handover_full", "the worker that serves the port is behind")                 \
    X(UPLINK_REFUSED, "uplink_refused", "the host's network refused the frame")                    \
    X(SENDER_GONE, "sender_gone", "the sender went away before its frame could be delivered")

enum drop_reason {
    DROP_NONE,
#define DROP_REASON_ENUM(symbol, name, text) DROP_##symbol,
    DROP_REASONS(DROP_REASON_ENUM)
#undef DROP_REASON_ENUM
        DROP_REASON_COUNT
};

/* Name as it stands in output ("no_memory") and the sentence that explains it. */
const char *drop_reason_name(enum drop_reason reason);
const char *drop_reason_text(enum drop_reason reason);

#endif

/*
 * Why a frame of a flow that was aboard already was not merged into it: one row a reason, with its
 * name in output and its sentence.
 */
#ifndef CONVOY_METRICS_MERGE_REFUSALS_H
#define CONVOY_METRICS_MERGE_REFUSALS_H

/* X(symbol, "name", "sentence for people") */
#define MERGE_REFUSALS(X)                                                                          \
    X(EMPTY, "empty", "it, or the frame before, carries no payload, as pure acknowledgements do")  \
    X(FLAGS, "flags",                                                                              \
      "SYN, RST, URG or CWR is set, other TCP flags differ, or PSH or FIN came before")            \
    X(ACKNOWLEDGEMENT, "acknowledgement", "its acknowledgement number or window differs")          \
    X(OPTIONS, "options", "its TCP options differ: a timestamp has moved on, or there is a SACK")  \
    X(SEQUENCE, "sequence", "it is not the next of its flow: lost, reordered or doubled")          \
    X(SIZE, "size", "it is larger than the first segment, or a shorter one has closed the row")    \
    X(IP, "ip", "its IP header differs (TTL, TOS, DF, flow label), or has options")                \
    X(IP_ID, "ip_id", "its IPv4 id does not follow that of the segment before")                    \
    X(CHECKSUM, "checksum", "its checksum, or that of the segment before, is wrong or absent")     \
    X(SUPER, "super", "it, or the frame before, is a super-packet already")                        \
    X(PADDING, "padding",                                                                          \
      "bytes follow its IP packet, as behind short ones on Ethernet, or its UDP datagram")         \
    X(PIECES, "pieces", "it lies in too many pieces")                                              \
    X(FULL, "full", "the super-packet is as large as it may be")

enum merge_refusal {
    MERGE_JOINED, /* it was merged */
#define MERGE_REFUSAL_ENUM(symbol, name, text) MERGE_REFUSED_##symbol,
    MERGE_REFUSALS(MERGE_REFUSAL_ENUM)
#undef MERGE_REFUSAL_ENUM
        MERGE_REFUSAL_COUNT
};

/* Name as it stands in output ("ip_id") and the sentence that explains it. */
const char *merge_refusal_name(enum merge_refusal refusal);
const char *merge_refusal_text(enum merge_refusal refusal);

#endif

/* transport_frame.h - the bytes between members: frames, and the greeting.
 *
 * Pure. A frame is a length (4 bytes, little-endian) and that many bytes. The
 * dialer's first frame is a hello, the acceptor's only one is the welcome; then
 * frames carry messages from dialer to acceptor. Decoders take outside bytes. */
#ifndef RAFTSTORE_TRANSPORT_FRAME_H
#define RAFTSTORE_TRANSPORT_FRAME_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdint.h>

struct error;

/* The range of protocol versions this program speaks. */
#define TRANSPORT_VERSION 1
#define TRANSPORT_VERSION_MIN 1
#define TRANSPORT_GREETING_MAX 2048 /* Bytes of a hello or welcome. */
#define TRANSPORT_NAME_MAX 253
#define TRANSPORT_ADDRESS_MAX 512
#define TRANSPORT_URLS_MAX 1024

enum transport_channel {
    TRANSPORT_CONTROL, /* Entries, votes, heartbeats: in order. */
    TRANSPORT_BULK,    /* Snapshot pieces, which must not delay the others. */
    TRANSPORT_CHANNELS,
};

struct transport_hello {
    uint16_t version_min, version; /* The range the dialer speaks. */
    uint8_t channel;
    uint64_t cluster_id;
    uint64_t from, to;
    uint64_t instance; /* Of the dialer's data: changes when a member lost it. */
    struct str name;
    struct str address; /* Where to dial back. */
    /* Behind what the first version says; that one ignores it. */
    uint16_t format;        /* Newest format of commands it understands; 1 if it does not say. */
    struct str client_urls; /* Comma list. */
};

/* Why a connection was not taken; the numbers are on the wire. */
enum transport_status {
    TRANSPORT_OK = 0,
    TRANSPORT_RETRY = 1,       /* Not yet: dial again. */
    TRANSPORT_CLUSTER = 2,     /* Another cluster. */
    TRANSPORT_ID = 3,          /* Somebody else lives at this address. */
    TRANSPORT_BAD_VERSION = 4, /* No common protocol version. */
    TRANSPORT_LOST_DATA = 5,   /* The dialer's data is not what this member id had. */
    TRANSPORT_REMOVED = 6,     /* The dialer is no member any more. */
};
const char *transport_status_text(enum transport_status s);

struct transport_welcome {
    uint16_t version; /* The one to speak. */
    uint16_t status;  /* enum transport_status. */
    uint64_t cluster_id;
    uint64_t id;
    uint64_t instance;
    struct str name;
    uint16_t format; /* As in the hello. */
    struct str client_urls;
};

void transport_hello_encode(const struct transport_hello *h, struct buf *out);
/* Strings are borrowed from bytes. E_INVALID. */
int transport_hello_decode(struct str bytes, struct transport_hello *ret, struct error *err);
void transport_welcome_encode(const struct transport_welcome *w, struct buf *out);
int transport_welcome_decode(struct str bytes, struct transport_welcome *ret, struct error *err);

/* Cuts a stream into frames. */
struct framer {
    struct buf partial; /* At most one frame's beginning. */
    size_t frame_max;
};
#define FRAME_HEADER_BYTES 4

void framer_init(struct framer *f, size_t frame_max);
void framer_done(struct framer *f);
/* Calls on_frame for every complete frame, with bytes borrowed for the call.
 * on_frame returns false to stop at once (the stream was closed; f may be gone).
 * False when a frame is announced that is too long, or on_frame stopped. */
bool framer_feed(struct framer *f, const uint8_t *data, size_t len,
                 bool (*on_frame)(void *arg, struct str frame), void *arg);
void frame_header(uint8_t ret[FRAME_HEADER_BYTES], size_t len);

#endif

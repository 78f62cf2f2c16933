/* grpc_internal.h - the framing and the texts that client and server share. */
#ifndef NET_GRPC_INTERNAL_H
#define NET_GRPC_INTERNAL_H

#include "lib/net/grpc.h"

#include "lib/base/buf.h"

#define GRPC_PREFIX_BYTES 5

/* Cuts a byte stream into messages: one flag byte, four of length, the bytes. */
struct grpc_reader {
    struct buf partial; /* A message that is not complete, with its prefix. */
    size_t message_max;
    size_t announced; /* Length of the newest message begun. */
};

enum grpc_read_result {
    GRPC_READ_MORE,    /* Give more bytes. */
    GRPC_READ_MESSAGE, /* *ret_message is set; call again, with what is left of *data. */
    GRPC_READ_TOO_LARGE,
    GRPC_READ_MALFORMED, /* Compressed, which was not agreed. */
};

void grpc_reader_init(struct grpc_reader *r, size_t message_max);
void grpc_reader_done(struct grpc_reader *r);
/* Takes from *data. *ret_message is valid until the next call. */
enum grpc_read_result grpc_reader_next(struct grpc_reader *r, struct str *data,
                                       struct str *ret_message);
bool grpc_reader_is_empty(const struct grpc_reader *r);

void grpc_prefix(uint8_t prefix[GRPC_PREFIX_BYTES], size_t len);

/* grpc-message's percent coding. */
void grpc_message_encode(struct buf *b, const char *message);
struct str grpc_message_decode(struct arena *a, struct str message);

/* grpc-timeout: "100m", at most 8 digits and a unit. */
void grpc_timeout_print(uint64_t timeout_ms, char ret[16]);
/* 0: none or malformed. */
uint64_t grpc_timeout_parse(struct str s);

#endif

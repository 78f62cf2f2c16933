/* wire.h - walks the fields of a protobuf message without knowing its type:
 * what finds the items of a list and the parts of a watch event. Pure. */
#ifndef CLIENT_WIRE_H
#define CLIENT_WIRE_H

#include "lib/base/str.h"

struct wire_reader {
    const uint8_t *p;
    const uint8_t *end;
    bool damaged; /* Set where the walk met something malformed. */
};

struct wire_field {
    uint32_t number;
    unsigned type;    /* 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes */
    uint64_t value;   /* Types 0, 1 and 5. */
    struct str bytes; /* Type 2; a view into the message. */
};

struct wire_reader wire_open(struct str message);
/* False at the end, or at damage (then r->damaged). */
bool wire_next(struct wire_reader *r, struct wire_field *ret);
/* The first length-delimited field of that number; empty if there is none. */
struct str wire_find(struct str message, uint32_t number);

#endif

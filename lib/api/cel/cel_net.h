/* cel_net.h - addresses and networks as values; for this folder only. */
#ifndef API_CEL_CEL_NET_H
#define API_CEL_CEL_NET_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct buf;
struct cel_value;

/* What a value of kind IP or CIDR points to. */
struct cel_net {
    bool v6;
    uint8_t prefix;    /* Bits; of addresses all. */
    uint8_t bytes[16]; /* Four of them for IPv4. */
};

void cel_net_text(const struct cel_value *v, struct buf *out);

#endif

/* http_h2_rules.h - which HTTP/2 requests are malformed (RFC 9113, 8.1 and 8.2).
 *
 * In place of nghttp2's own checks, which refuse every :authority that is no
 * host and port: grpc-go sends there what its user called the server, also
 * "http://127.0.0.1:2379", and Go's servers take it. Pure. */
#ifndef NET_HTTP_H2_RULES_H
#define NET_HTTP_H2_RULES_H

#include "lib/base/str.h"

struct h2_rules {
    unsigned seen; /* Pseudo-fields. */
    bool regular;  /* A field without ':' came. */
    bool malformed;
    bool has_length;
    uint64_t length; /* As content-length says. */
    uint64_t bytes;  /* Of the body, so far. */
};

/* Zeroed at first. Each field of the head, in order. */
void h2_rules_field(struct h2_rules *r, struct str name, struct str value);
/* False: the request is malformed. After the head's last field. */
bool h2_rules_head(struct h2_rules *r);
void h2_rules_trailer(struct h2_rules *r, struct str name, struct str value);
bool h2_rules_data(struct h2_rules *r, size_t n); /* False: more than was announced. */
bool h2_rules_end(const struct h2_rules *r);      /* False: less, or a malformed trailer. */

#endif

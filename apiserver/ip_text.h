/* ip_text.h - addresses as texts: read as leniently as upstream once did,
 * checked as strictly as it does now, written in the form to prefer. Pure. */
#ifndef APISERVER_IP_TEXT_H
#define APISERVER_IP_TEXT_H

#include "apiserver/field_error.h"

struct kind_ctx;

struct ip_text {
    uint8_t addr[16]; /* IPv4 in the first four. */
    bool v4;          /* Mapped addresses count as IPv4. */
    bool mapped;      /* ::ffff:1.2.3.4 */
    bool zeros;       /* Some number has leading zeros. */
    unsigned prefix;  /* Of networks. */
};

/* Leading zeros and mapped addresses are taken. */
bool ip_text_parse(struct str s, struct ip_text *ret);
bool ip_text_parse_cidr(struct str s, struct ip_text *ret);
/* "10.0.0.1", "2001:db8::1" (RFC 5952). */
struct str ip_text_write(struct arena *a, const struct ip_text *ip);
/* The network: bits behind the prefix are nought. */
struct str ip_text_write_cidr(struct arena *a, const struct ip_text *ip);

/* Fields that are older than strict forms: any form but those that programs
 * read differently. */
void validate_ip(struct field_errors *errs, const struct field_path *path, struct str value);
void validate_cidr(struct field_errors *errs, const struct field_path *path, struct str value);
/* Newer fields: the one canonical form. */
void validate_ip_canonical(struct field_errors *errs, const struct field_path *path,
                           struct str value);
void validate_cidr_canonical(struct field_errors *errs, const struct field_path *path,
                             struct str value);
/* Of values in other than the preferred form. */
void warn_ip(const struct kind_ctx *ctx, const struct field_path *path, struct str value);
void warn_cidr(const struct kind_ctx *ctx, const struct field_path *path, struct str value);

#endif

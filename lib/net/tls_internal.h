/* tls_internal.h - what tls.c and tls_build.c share. */
#ifndef NET_TLS_INTERNAL_H
#define NET_TLS_INTERNAL_H

#include "lib/net/tls.h"

#include "lib/base/buf.h"

struct ssl_ctx_st;

/* What the sources of a config hold, as read together. */
struct tls_texts {
    struct buf cert, key, ca;
    struct buf *sni; /* Two per entry: certificate and key. */
    size_t sni_count;
};

static inline bool tls_source_present(struct tls_source s)
{
    return s.file != NULL || s.pem.len > 0;
}

/* An immutable SSL_CTX of these texts. ca_pem stands in for texts->ca. */
int tls_build(const struct tls_config *config, const struct tls_texts *texts, struct str ca_pem,
              struct ssl_ctx_st **ret, struct error *err);
/* Protocols as ALPN lists them; returns the length. */
size_t tls_alpn_list(unsigned alpn, uint8_t list[16]);

#endif

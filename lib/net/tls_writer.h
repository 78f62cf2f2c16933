/* tls_writer.h - the writing side of a TLS 1.3 session: records of our own.
 *
 * OpenSSL shakes hands, reads, and decides; what it would write afterwards is
 * written here instead, sealed from where the bytes stand to where they leave
 * from, which saves the two copies it makes. Only public interfaces are used:
 * the key log callback gives the secret of our direction, the message callback
 * what OpenSSL reads and says. What it gives to its BIO once the writer has
 * begun carries numbers that are used here as well, and must be thrown away.
 *
 *   new -> handshake -> begin --false--> free; OpenSSL goes on writing
 *                         '--true--> { control* data }* close control
 *
 * Loop-confined, like the session. */
#ifndef NET_TLS_WRITER_H
#define NET_TLS_WRITER_H

#include "lib/base/base.h"

struct ssl_ctx_st;
struct ssl_st;
struct tls_writer;

#define TLS_WRITER_RECORD_MAX ((size_t)16 << 10) /* Plain text of a record (RFC 8446, 5.1). */
#define TLS_WRITER_EXTRA ((size_t)22)            /* By which a record is longer than that. */
#define TLS_WRITER_CONTROL_MAX ((size_t)32)      /* Room for tls_writer_control(). */

/* Once per context: its sessions may have writers. */
void tls_writer_enable(struct ssl_ctx_st *ctx);

/* Before the handshake. Borrows ssl, which must not be used behind the end of the writer. */
struct tls_writer *tls_writer_new(struct ssl_st *ssl);
void tls_writer_free(struct tls_writer *w); /* NULL is a no-op. */

/* Once the handshake is done. False: this session's records are OpenSSL's business (TLS 1.2,
 * records shorter than usual, a cipher or an OpenSSL that this does not know). */
bool tls_writer_begin(struct tls_writer *w);

/* One record around 1 to TLS_WRITER_RECORD_MAX bytes, len + TLS_WRITER_EXTRA of them, to out,
 * which data does not overlap. Only when nothing is left of tls_writer_control(). False: the
 * session cannot go on, and nothing of out may leave. */
bool tls_writer_data(struct tls_writer *w, const uint8_t *data, size_t len, uint8_t *out);

/* What OpenSSL or the other side made necessary, an alert or a new key: a record of at most
 * TLS_WRITER_CONTROL_MAX bytes to out, and its length. 0: nothing (more). */
size_t tls_writer_control(struct tls_writer *w, uint8_t *out);
void tls_writer_close(struct tls_writer *w); /* Has control give close_notify. Idempotent. */

/* Has something gone wrong that OpenSSL does not tell of? */
bool tls_writer_broken(const struct tls_writer *w);

/* For tests: a key is changed behind this many records. 0: never. */
void tls_writer_set_records_max(struct tls_writer *w, uint64_t records_max);

#endif

/* message.h - DNS messages: RFC 1035 with name compression, EDNS0 (RFC 6891).
 *
 * Pure, and safe on any bytes: a pointer in a name must lead backwards, and
 * every length is checked against the message. */
#ifndef KUBELET_DNS_MESSAGE_H
#define KUBELET_DNS_MESSAGE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

#define DNS_HEADER_BYTES 12u
#define DNS_NAME_MAX 255u
#define DNS_LABELS_MAX 128u
#define DNS_MESSAGE_MAX 65535u
/* What an answer over UDP may fill: without EDNS0, and at most (the size that crosses every path
 * whole). */
#define DNS_UDP_BYTES 512u
#define DNS_UDP_BYTES_MAX 1232u
#define DNS_CLASS_IN 1u

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_OPT = 41,
    DNS_IXFR = 251,
    DNS_AXFR = 252,
    DNS_ANY = 255
};

enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16
};

enum dns_flag {
    DNS_QR = 0x8000,
    DNS_AA = 0x0400,
    DNS_TC = 0x0200,
    DNS_RD = 0x0100,
    DNS_RA = 0x0080,
    DNS_AD = 0x0020,
    DNS_CD = 0x0010
};

enum dns_section { DNS_QUESTION, DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL };

/* --- names ----------------------------------------------------------------------- */

/* In wire form without pointers: labels behind their lengths, the root's 0 at the end. */
struct dns_name {
    uint8_t len; /* 0: no name. */
    uint8_t wire[DNS_NAME_MAX];
};

/* False: not a name. A dot at the end makes no difference. */
bool dns_name_of(struct str text, struct dns_name *ret);
/* first.rest; false when that is too long. */
bool dns_name_under(struct str first, const struct dns_name *rest, struct dns_name *ret);
/* ASCII letters in lower case: the form in which names are compared. */
void dns_name_fold(const struct dns_name *n, struct dns_name *ret);
bool dns_name_eq(const struct dns_name *a, const struct dns_name *b); /* Whatever their case. */
/* Views into n, the root left out. */
size_t dns_name_labels(const struct dns_name *n, struct str ret[DNS_LABELS_MAX]);
/* "a.b." into ret, which gets a NUL. Bytes that are not printable show as '?'. */
void dns_name_text(const struct dns_name *n, char ret[DNS_NAME_MAX + 1]);

/* --- reading ---------------------------------------------------------------------- */

struct dns_query {
    uint16_t id;
    uint16_t flags;
    uint16_t type, class;
    struct dns_name name;   /* As it was asked. */
    struct dns_name folded; /* The same in lower case. */
    bool edns, dnssec_ok;
    uint16_t payload; /* Of EDNS0. */
};

/* 0, or the rcode to refuse with; -1: not a query, no answer is due. */
int dns_query_parse(const uint8_t *msg, size_t len, struct dns_query *ret);

struct dns_record {
    struct dns_name owner;
    enum dns_section section;
    uint16_t type, class;
    uint32_t ttl;
    size_t data, data_len; /* Its place in the message. */
};

/* An answer from elsewhere, record by record. */
struct dns_reader {
    const uint8_t *msg;
    size_t len, pos;
    uint16_t id, flags;
    uint16_t left[4]; /* Records of each section that are still to come. */
    uint16_t type, class;
    struct dns_name name; /* Of the question. */
};

/* False unless it is an answer with one question. */
bool dns_reader_init(struct dns_reader *r, const uint8_t *msg, size_t len);
/* 1: a record; 0: the end; -1: damaged. */
int dns_reader_next(struct dns_reader *r, struct dns_record *ret);

/* --- writing ---------------------------------------------------------------------- */

#define DNS_OFFSETS_MAX 48u
struct dns_writer {
    uint8_t *data;
    size_t len, cap;
    uint16_t flags;
    uint16_t counts[4];
    bool full;      /* The record under way does not fit. */
    bool truncated; /* An answer was left out. */
    size_t record, record_data;
    enum dns_section section;
    uint16_t offsets[DNS_OFFSETS_MAX]; /* Where names stand that others may point at. */
    size_t offset_count;
};

/* Starts the answer to q in cap bytes, of which room for EDNS0's record is kept back. */
void dns_writer_init(struct dns_writer *w, const struct dns_query *q, uint8_t *data, size_t cap);
void dns_record_begin(struct dns_writer *w, enum dns_section s, const struct dns_name *owner,
                      uint16_t type, uint32_t ttl);
void dns_put(struct dns_writer *w, const void *p, size_t n);
void dns_put_u16(struct dns_writer *w, uint16_t v);
void dns_put_u32(struct dns_writer *w, uint32_t v);
void dns_put_name(struct dns_writer *w, const struct dns_name *n, bool compress);
/* False when it did not fit, and is left out: of the answer section, that truncates. */
bool dns_record_end(struct dns_writer *w);
/* Copies a record; false when it is damaged. */
bool dns_record_copy(struct dns_writer *w, const struct dns_reader *r, const struct dns_record *rec,
                     uint32_t ttl);
/* Header and EDNS0; w->len is the whole then. */
void dns_writer_end(struct dns_writer *w, const struct dns_query *q, int rcode);
/* A query of our own for upstream, with EDNS0; its length. cap: at least 300. */
size_t dns_query_write(uint8_t *data, size_t cap, uint16_t id, const struct dns_query *q);

#endif

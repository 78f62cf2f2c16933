/* cache.h - upstream's answers, for as long as they may be kept.
 *
 * Pure, bounded in number and bytes: the one unused for longest makes room. */
#ifndef KUBELET_DNS_CACHE_H
#define KUBELET_DNS_CACHE_H

#include "kubelet/dns/message.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

#define DNS_CACHE_ENTRIES_MAX 10000u
#define DNS_CACHE_BYTES_MAX (4u << 20)

struct dns_cache {
    struct map entries;
    struct list used; /* Latest first. */
    size_t bytes;
};

/* What makes two questions one: name, type, and what changes the answer. */
struct dns_key {
    uint8_t bytes[DNS_NAME_MAX + 3];
    size_t len;
};

void dns_key_of(struct dns_key *k, const struct dns_query *q);
static inline struct str dns_key_str(const struct dns_key *k)
{
    return str_n((const char *)k->bytes, k->len);
}

void dns_cache_init(struct dns_cache *c);
void dns_cache_done(struct dns_cache *c);
void dns_cache_put(struct dns_cache *c, struct str key, const uint8_t *msg, size_t len,
                   uint64_t now_ms, int64_t lifetime_s);
/* Borrowed until the next put; NULL data when there is none that still counts. */
struct str dns_cache_get(struct dns_cache *c, struct str key, uint64_t now_ms, uint32_t *ret_age_s);

#endif

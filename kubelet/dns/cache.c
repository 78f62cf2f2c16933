/* cache.c - see cache.h. */
#include "kubelet/dns/cache.h"

struct cache_entry {
    struct list link;
    uint64_t since_ms, until_ms;
    struct str key;
    size_t len;
    uint8_t bytes[]; /* The message, and the key behind it. */
};

void dns_key_of(struct dns_key *k, const struct dns_query *q)
{
    memcpy(k->bytes, q->folded.wire, q->folded.len);
    k->len = q->folded.len;
    k->bytes[k->len++] = (uint8_t)(q->type >> 8);
    k->bytes[k->len++] = (uint8_t)q->type;
    k->bytes[k->len++] = (uint8_t)((q->dnssec_ok ? 1 : 0) | ((q->flags & DNS_CD) != 0 ? 2 : 0));
}

void dns_cache_init(struct dns_cache *c)
{
    map_init(&c->entries);
    list_init(&c->used);
    c->bytes = 0;
}

static size_t entry_bytes(const struct cache_entry *e)
{
    return sizeof(*e) + e->len + 2 * e->key.len;
}

static void drop(struct dns_cache *c, struct cache_entry *e)
{
    map_remove(&c->entries, e->key);
    list_remove(&e->link);
    c->bytes -= entry_bytes(e);
    free(e);
}

void dns_cache_done(struct dns_cache *c)
{
    while (!list_empty(&c->used))
        drop(c, LIST_ENTRY(c->used.next, struct cache_entry, link));
    map_done(&c->entries);
}

void dns_cache_put(struct dns_cache *c, struct str key, const uint8_t *msg, size_t len,
                   uint64_t now_ms, int64_t lifetime_s)
{
    struct cache_entry *e = map_get(&c->entries, key);
    if (e != NULL)
        drop(c, e);
    if (lifetime_s <= 0)
        return;
    e = xmalloc(sizeof(*e) + len + key.len);
    memcpy(e->bytes, msg, len);
    memcpy(e->bytes + len, key.data, key.len);
    e->key = str_n((const char *)e->bytes + len, key.len);
    e->len = len;
    e->since_ms = now_ms;
    e->until_ms = now_ms + (uint64_t)lifetime_s * 1000;
    map_set(&c->entries, e->key, e);
    list_push_front(&c->used, &e->link);
    c->bytes += entry_bytes(e);
    while (c->entries.count > DNS_CACHE_ENTRIES_MAX || c->bytes > DNS_CACHE_BYTES_MAX)
        drop(c, LIST_ENTRY(c->used.prev, struct cache_entry, link));
}

struct str dns_cache_get(struct dns_cache *c, struct str key, uint64_t now_ms, uint32_t *ret_age_s)
{
    struct cache_entry *e = map_get(&c->entries, key);
    if (e == NULL)
        return STR_NULL;
    if (now_ms >= e->until_ms) {
        drop(c, e);
        return STR_NULL;
    }
    list_remove(&e->link);
    list_push_front(&c->used, &e->link);
    *ret_age_s = (uint32_t)((now_ms - e->since_ms) / 1000);
    return str_n((const char *)e->bytes, e->len);
}

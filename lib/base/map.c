/* map.c - linear probing with tombstones; grows at three quarters full. */
#include "lib/base/map.h"

#include "lib/base/env.h"

#include <string.h>

struct map_slot {
    char *key; /* NULL: never used. TOMBSTONE: removed. */
    void *value;
    uint32_t len;
    uint32_t hash; /* Its lower half: tables have fewer than 2^32 slots. */
};

static char tombstone_mark;
#define TOMBSTONE (&tombstone_mark)
#define MAP_CAP_MIN 8u

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = ROTL(v[1], 13) ^ v[0];
    v[0] = ROTL(v[0], 32);
    v[2] += v[3];
    v[3] = ROTL(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = ROTL(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = ROTL(v[1], 17) ^ v[2];
    v[2] = ROTL(v[2], 32);
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012). */
uint64_t base_siphash(const uint64_t seed[2], const void *data, size_t len)
{
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
                     seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u};
    const uint8_t *p = data;
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t m = 0;
        memcpy(&m, p, 8);
        v[3] ^= m;
        sip_round(v);
        sip_round(v);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)len << 56;
    if (left != 0)
        memcpy(&last, p, left);
    v[3] ^= last;
    sip_round(v);
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *m)
{
    memset(m, 0, sizeof(*m));
    env_system_random(m->seed, sizeof(m->seed));
}

void map_clear(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key != TOMBSTONE)
            free(m->slots[i].key);
    free(m->slots);
    m->slots = NULL;
    m->cap = m->count = m->used = 0;
}

void map_done(struct map *m)
{
    map_clear(m);
}

static uint32_t hash_of(const struct map *m, struct str key)
{
    return (uint32_t)base_siphash(m->seed, key.data, key.len);
}

static struct map_slot *find(const struct map *m, struct str key, uint32_t hash)
{
    if (m->cap == 0)
        return NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct map_slot *s = &m->slots[i];
        if (s->key == NULL)
            return NULL;
        if (s->key != TOMBSTONE && s->hash == hash && str_eq(str_n(s->key, s->len), key))
            return s;
    }
}

void *map_get(const struct map *m, struct str key)
{
    const struct map_slot *s = find(m, key, hash_of(m, key));
    return s != NULL ? s->value : NULL;
}

bool map_has(const struct map *m, struct str key)
{
    return find(m, key, hash_of(m, key)) != NULL;
}

const char *map_key(const struct map *m, struct str key)
{
    const struct map_slot *s = find(m, key, hash_of(m, key));
    ASSERT(s != NULL);
    return s->key;
}

static struct map_slot *free_slot(struct map *m, uint32_t hash)
{
    size_t i = hash & (m->cap - 1);
    while (m->slots[i].key != NULL && m->slots[i].key != TOMBSTONE)
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

static void rehash(struct map *m, size_t cap)
{
    struct map_slot *old = m->slots;
    size_t old_cap = m->cap;
    m->slots = xzalloc(cap * sizeof(*m->slots));
    m->cap = cap;
    m->used = m->count;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].key != NULL && old[i].key != TOMBSTONE)
            *free_slot(m, old[i].hash) = old[i];
    free(old);
}

void *map_set(struct map *m, struct str key, void *value)
{
    uint32_t hash = hash_of(m, key);
    ASSERT_CMP(key.len, <=, UINT32_MAX);
    struct map_slot *s = find(m, key, hash);
    if (s != NULL) {
        void *before = s->value;
        s->value = value;
        return before;
    }
    if ((m->used + 1) * 4 > m->cap * 3)
        rehash(m, MAX_OF(m->count * 2 >= m->cap ? m->cap * 2 : m->cap, (size_t)MAP_CAP_MIN));
    s = free_slot(m, hash);
    if (s->key == NULL)
        m->used++;
    *s = (struct map_slot){xstrndup(key.data, key.len), value, (uint32_t)key.len, hash};
    m->count++;
    return NULL;
}

void *map_remove(struct map *m, struct str key)
{
    struct map_slot *s = find(m, key, hash_of(m, key));
    if (s == NULL)
        return NULL;
    void *value = s->value;
    free(s->key);
    *s = (struct map_slot){TOMBSTONE, NULL, 0, 0};
    m->count--;
    return value;
}

bool map_next(const struct map *m, size_t *pos, struct str *ret_key, void **ret_value)
{
    for (; *pos < m->cap; (*pos)++) {
        const struct map_slot *s = &m->slots[*pos];
        if (s->key == NULL || s->key == TOMBSTONE)
            continue;
        if (ret_key != NULL)
            *ret_key = str_n(s->key, s->len);
        if (ret_value != NULL)
            *ret_value = s->value;
        (*pos)++;
        return true;
    }
    return false;
}

/* chains.c - see chains.h. */
#include "kubelet/proxy/chains.h"

#include "kubelet/nft_batch.h"
#include "kubelet/proxy/affinity.h"
#include "kubelet/proxy/table.h"

#include "lib/base/buf.h"
#include "lib/base/str.h"

struct chain {
    enum chain_kind kind;
    enum chain_state state;
    int64_t number;
    uint64_t retry_ms; /* Of a broken one. */
};

void proxy_chains_init(struct proxy_chains *c)
{
    *c = (struct proxy_chains){0};
    map_init(&c->chains);
}

void proxy_chains_done(struct proxy_chains *c)
{
    void *value;
    for (size_t pos = 0; map_next(&c->chains, &pos, NULL, &value);)
        free(value);
    map_done(&c->chains);
}

void proxy_chains_forget(struct proxy_chains *c)
{
    proxy_chains_done(c);
    proxy_chains_init(c);
}

enum chain_state proxy_chains_want(struct proxy_chains *c, enum chain_kind kind, int64_t number)
{
    struct {
        int64_t kind, number;
    } id = {kind, number};
    struct str key = str_n((const char *)&id, sizeof(id));
    struct chain *x = map_get(&c->chains, key);
    if (x == NULL) {
        x = xzalloc(sizeof(*x));
        *x = (struct chain){.kind = kind, .state = CHAIN_WANTED, .number = number};
        map_set(&c->chains, key, x);
        c->wanted++;
    }
    return x->state;
}

static void write_chain(const struct chain *x, const char *table, struct buf *text,
                        struct nft_batch *rules)
{
    if (x->kind == CHAIN_COUNT) {
        proxy_table_add_count(table, (size_t)x->number, text);
        return;
    }
    proxy_table_add_learn(table, x->number, text);
    affinity_write_learn(rules, table, x->number);
}

bool proxy_chains_next(struct proxy_chains *c, const char *table, struct buf *text,
                       struct buf *rules)
{
    struct nft_batch batch;
    void *value;
    bool learns = false;
    ASSERT(c->loading == 0);
    if (c->wanted == 0) {
        c->one_by_one = false;
        return false;
    }
    nft_batch_begin(&batch, rules);
    for (size_t pos = 0; map_next(&c->chains, &pos, NULL, &value);) {
        struct chain *x = value;
        if (x->state != CHAIN_WANTED)
            continue;
        x->state = CHAIN_LOADING;
        c->wanted--;
        c->loading++;
        learns |= x->kind == CHAIN_LEARN;
        write_chain(x, table, text, &batch);
        if (c->one_by_one)
            break;
    }
    nft_batch_end(&batch);
    if (!learns)
        buf_clear(rules);
    return true;
}

bool proxy_chains_loaded(struct proxy_chains *c, bool ok, uint64_t now_ms)
{
    bool together = c->loading > 1, broke = !ok && !together;
    void *value;
    for (size_t pos = 0; map_next(&c->chains, &pos, NULL, &value);) {
        struct chain *x = value;
        if (x->state != CHAIN_LOADING)
            continue;
        x->state = ok ? CHAIN_THERE : together ? CHAIN_WANTED : CHAIN_BROKEN;
        x->retry_ms = now_ms + CHAINS_RETRY_MS;
        c->wanted += x->state == CHAIN_WANTED;
        c->broken += x->state == CHAIN_BROKEN;
    }
    c->loading = 0;
    c->one_by_one |= !ok;
    return broke;
}

bool proxy_chains_retry(struct proxy_chains *c, uint64_t now_ms)
{
    void *value;
    bool any = false;
    for (size_t pos = 0; c->broken > 0 && map_next(&c->chains, &pos, NULL, &value);) {
        struct chain *x = value;
        if (x->state != CHAIN_BROKEN || now_ms < x->retry_ms)
            continue;
        x->state = CHAIN_WANTED;
        c->broken--;
        c->wanted++;
        any = true;
    }
    return any;
}

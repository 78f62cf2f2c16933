/* event_correlator.c - see event_correlator.h. Pure. */
#include "lib/client/event_correlator.h"

#include "lib/base/buf.h"

#include <string.h>

#define SPAM_BURST 25
#define SPAM_REFILL_MS (300u * 1000)
#define SIMILAR_MAX 10
#define SIMILAR_WINDOW_MS (600u * 1000)
#define MEMORY_MAX 4096

struct entry {
    struct list age;
    struct event_memory *memory;
    char *key;
    size_t key_len;
    uint64_t at_ms;
    double tokens;       /* Of buckets. */
    struct map messages; /* Of similar: distinct ones in the window. */
    char *name;          /* Of written. */
    int32_t count;
    int64_t first_ns;
};

static void memory_init(struct event_memory *m)
{
    map_init(&m->by_key);
    list_init(&m->by_age);
}

static void entry_free(struct entry *e)
{
    map_remove(&e->memory->by_key, str_n(e->key, e->key_len));
    list_remove(&e->age);
    map_done(&e->messages);
    free(e->key);
    free(e->name);
    free(e);
}

static void memory_done(struct event_memory *m)
{
    while (!list_empty(&m->by_age))
        entry_free(LIST_ENTRY(m->by_age.next, struct entry, age));
    map_done(&m->by_key);
}

void event_correlator_init(struct event_correlator *c)
{
    memory_init(&c->buckets);
    memory_init(&c->similar);
    memory_init(&c->written);
}

void event_correlator_done(struct event_correlator *c)
{
    memory_done(&c->buckets);
    memory_done(&c->similar);
    memory_done(&c->written);
}

/* Finds or makes; *ret_new tells which. Moves it to the young end. */
static struct entry *touch(struct event_memory *m, struct str key, bool *ret_new)
{
    struct entry *e = map_get(&m->by_key, key);
    *ret_new = e == NULL;
    if (e == NULL) {
        if (m->by_key.count >= MEMORY_MAX)
            entry_free(LIST_ENTRY(m->by_age.next, struct entry, age));
        e = xzalloc(sizeof(*e));
        e->memory = m;
        e->key = xmemdup(key.data, key.len);
        e->key_len = key.len;
        map_init(&e->messages);
        list_init(&e->age);
        map_set(&m->by_key, key, e);
    }
    list_remove(&e->age);
    list_push_back(&m->by_age, &e->age);
    return e;
}

static void put_part(struct buf *b, struct str s)
{
    buf_append_str(b, s);
    buf_putc(b, '\0');
}

static bool over_rate(struct event_correlator *c, const struct event_facts *f)
{
    bool is_new;
    struct entry *e = touch(&c->buckets, f->object, &is_new);
    if (is_new)
        e->tokens = SPAM_BURST;
    else
        e->tokens += (double)(f->now_ms - e->at_ms) / SPAM_REFILL_MS;
    e->tokens = MIN_OF(e->tokens, (double)SPAM_BURST);
    e->at_ms = f->now_ms;
    if (e->tokens < 1)
        return true;
    e->tokens -= 1;
    return false;
}

/* Are there more than SIMILAR_MAX different messages of this kind? */
static bool is_crowded(struct event_correlator *c, struct str kind_key, const struct event_facts *f)
{
    bool is_new;
    struct entry *e = touch(&c->similar, kind_key, &is_new);
    if (!is_new && f->now_ms - e->at_ms > SIMILAR_WINDOW_MS)
        map_clear(&e->messages);
    e->at_ms = f->now_ms;
    if (e->messages.count < SIMILAR_MAX)
        map_set(&e->messages, f->message, e);
    else if (!map_has(&e->messages, f->message))
        return true;
    return false;
}

static void kind_key_of(const struct event_facts *f, struct buf *b)
{
    put_part(b, f->object);
    put_part(b, f->type);
    put_part(b, f->reason);
}

struct event_verdict event_correlate(struct event_correlator *c, const struct event_facts *f)
{
    struct event_verdict v = {0};
    AUTO_BUF key = BUF_INIT;
    kind_key_of(f, &key);
    v.combined = is_crowded(c, buf_str(&key), f);
    if (over_rate(c, f)) {
        v.drop = true;
        return v;
    }
    if (!v.combined) /* All combined ones of a kind share one Event. */
        buf_append_str(&key, f->message);
    bool is_new;
    struct entry *e = touch(&c->written, buf_str(&key), &is_new);
    if (is_new || e->name == NULL) {
        free(e->name);
        e->name = xstrndup(f->name.data, f->name.len);
        e->count = 0;
        e->first_ns = f->wall_ns;
    }
    if (e->count < INT32_MAX)
        e->count++;
    v.count = e->count;
    v.name = e->name;
    v.first_ns = e->first_ns;
    return v;
}

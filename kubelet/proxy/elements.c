/* elements.c - see elements.h. */
#include "kubelet/proxy/elements.h"

#include "lib/base/buf.h"

#define ID_MAX (PROXY_KEY_MAX + 1)

struct entry {
    uint32_t refs; /* 0: nobody wants it any more. */
    uint8_t want_len, have_len;
    bool have; /* The kernel holds it, with this data. */
    uint8_t want_data[PROXY_DATA_MAX], have_data[PROXY_DATA_MAX];
};

/* --- packed elements -------------------------------------------------------------------- */

void proxy_element_pack(struct buf *b, const struct proxy_element *e)
{
    ASSERT(e->key.len <= PROXY_KEY_MAX);
    ASSERT(e->data.len <= PROXY_DATA_MAX);
    uint8_t head[] = {(uint8_t)(e->family << 4 | e->set), (uint8_t)e->key.len,
                      (uint8_t)e->data.len};
    buf_append(b, head, sizeof(head));
    buf_append_str(b, e->key);
    buf_append_str(b, e->data);
}

bool proxy_element_next(struct str packed, size_t *pos, struct proxy_element *ret)
{
    if (*pos >= packed.len)
        return false;
    const uint8_t *p = (const uint8_t *)packed.data + *pos;
    *ret = (struct proxy_element){.family = (enum proxy_family)(p[0] >> 4),
                                  .set = (enum proxy_set)(p[0] & 15),
                                  .key = str_n((const char *)p + 3, p[1]),
                                  .data = str_n((const char *)p + 3 + p[1], p[2])};
    *pos += (size_t)3 + p[1] + p[2];
    return true;
}

static struct str id_of(const struct proxy_element *e, char ret[ID_MAX])
{
    ret[0] = (char)(e->family << 4 | e->set);
    memcpy(ret + 1, e->key.data, e->key.len);
    return str_n(ret, e->key.len + 1);
}

static struct proxy_element element_of(struct str id, const uint8_t *data, size_t len)
{
    uint8_t head = (uint8_t)id.data[0];
    return (struct proxy_element){.family = (enum proxy_family)(head >> 4),
                                  .set = (enum proxy_set)(head & 15),
                                  .key = str_n(id.data + 1, id.len - 1),
                                  .data = str_n((const char *)data, len)};
}

/* --- the table --------------------------------------------------------------------------- */

void proxy_elements_init(struct proxy_elements *t)
{
    *t = (struct proxy_elements){0};
    map_init(&t->entries);
    map_init(&t->touched);
}

static void drop_sent(struct proxy_elements *t)
{
    if (t->sent != NULL)
        buf_done(t->sent);
    free(t->sent);
    t->sent = NULL;
}

void proxy_elements_done(struct proxy_elements *t)
{
    struct str id;
    void *e;
    for (size_t pos = 0; map_next(&t->entries, &pos, &id, &e);)
        free(e);
    map_done(&t->entries);
    map_done(&t->touched);
    drop_sent(t);
}

static struct entry *entry_of(struct proxy_elements *t, struct str id)
{
    struct entry *e = map_get(&t->entries, id);
    if (e == NULL) {
        e = xzalloc(sizeof(*e));
        map_set(&t->entries, id, e);
    }
    return e;
}

bool proxy_elements_give(struct proxy_elements *t, const struct proxy_element *el)
{
    char space[ID_MAX];
    struct str id = id_of(el, space);
    struct entry *e = entry_of(t, id);
    if (e->refs > 0 && !str_eq(el->data, str_n((const char *)e->want_data, e->want_len))) {
        t->refused++;
        return false;
    }
    if (e->refs++ > 0)
        return true;
    e->want_len = (uint8_t)el->data.len;
    if (el->data.len > 0)
        memcpy(e->want_data, el->data.data, el->data.len);
    map_set(&t->touched, id, e);
    return true;
}

void proxy_elements_take(struct proxy_elements *t, const struct proxy_element *el)
{
    char space[ID_MAX];
    struct str id = id_of(el, space);
    struct entry *e = map_get(&t->entries, id);
    ASSERT(e != NULL);
    ASSERT(e->refs > 0);
    if (--e->refs == 0)
        map_set(&t->touched, id, e);
}

bool proxy_elements_get(const struct proxy_elements *t, const struct proxy_element *key,
                        struct str *ret_data)
{
    char space[ID_MAX];
    const struct entry *e = map_get(&t->entries, id_of(key, space));
    if (e == NULL || e->refs == 0)
        return false;
    *ret_data = str_n((const char *)e->want_data, e->want_len);
    return true;
}

void proxy_elements_found(struct proxy_elements *t, const struct proxy_element *el)
{
    char space[ID_MAX];
    if (el->key.len > PROXY_KEY_MAX || el->data.len > PROXY_DATA_MAX)
        return; /* Nothing that we write. */
    struct str id = id_of(el, space);
    struct entry *e = entry_of(t, id);
    e->have = true;
    e->have_len = (uint8_t)el->data.len;
    if (el->data.len > 0)
        memcpy(e->have_data, el->data.data, el->data.len);
    map_set(&t->touched, id, e);
}

void proxy_elements_forget(struct proxy_elements *t)
{
    struct str id;
    void *value;
    drop_sent(t);
    for (size_t pos = 0; map_next(&t->entries, &pos, &id, &value);) {
        struct entry *e = value;
        e->have = false;
        map_set(&t->touched, id, e);
    }
}

/* --- differences ---------------------------------------------------------------------------- */

static bool is_settled(const struct entry *e)
{
    if (!e->have || e->refs == 0)
        return e->have == (e->refs > 0);
    return e->want_len == e->have_len && memcmp(e->want_data, e->have_data, e->want_len) == 0;
}

/* Nobody needs to remember it. */
static void drop_idle(struct proxy_elements *t, struct str id, struct entry *e)
{
    if (e->refs == 0 && !e->have && !map_has(&t->touched, id)) {
        map_remove(&t->entries, id);
        free(e);
    }
}

static bool write_side(struct proxy_elements *t, bool add,
                       void (*put)(bool add, const struct proxy_element *e, void *arg), void *arg)
{
    struct str id;
    void *value;
    bool any = false;
    for (size_t pos = 0; map_next(&t->touched, &pos, &id, &value);) {
        const struct entry *e = value;
        if (is_settled(e) || (add ? e->refs == 0 : !e->have))
            continue;
        struct proxy_element el =
            element_of(id, add ? e->want_data : e->have_data, add ? e->want_len : e->have_len);
        put(add, &el, arg);
        any = true;
    }
    return any;
}

/* One message of the kernel's holds elements of one set: they are put set by set. */
struct ordered {
    struct buf sets[PROXY_FAMILY_COUNT * PROXY_SET_COUNT];
};

static void put_ordered(bool add, const struct proxy_element *e, void *arg)
{
    struct ordered *o = arg;
    UNUSED(add);
    proxy_element_pack(&o->sets[(size_t)e->family * PROXY_SET_COUNT + e->set], e);
}

static bool write_ordered(struct proxy_elements *t, bool add,
                          void (*put)(bool add, const struct proxy_element *e, void *arg),
                          void *arg)
{
    struct ordered o = {0};
    struct proxy_element e;
    bool any = write_side(t, add, put_ordered, &o);
    for (size_t i = 0; i < ARRAY_SIZE(o.sets); i++) {
        for (size_t pos = 0; proxy_element_next(buf_str(&o.sets[i]), &pos, &e);)
            put(add, &e, arg);
        buf_done(&o.sets[i]);
    }
    return any;
}

bool proxy_elements_write(struct proxy_elements *t,
                          void (*put)(bool add, const struct proxy_element *e, void *arg),
                          void *arg)
{
    struct str id;
    void *value;
    ASSERT(t->sent == NULL);
    bool any = write_ordered(t, false, put, arg);
    any = write_ordered(t, true, put, arg) || any;
    t->sent = xzalloc(sizeof(*t->sent));
    /* A new one: that of a first load is large, and is walked at each change. */
    struct map touched = t->touched;
    map_init(&t->touched);
    for (size_t pos = 0; map_next(&touched, &pos, &id, &value);) {
        struct entry *e = value;
        if (is_settled(e)) {
            drop_idle(t, id, e);
            continue;
        }
        struct proxy_element el = element_of(id, e->want_data, e->want_len);
        buf_putc(t->sent, e->refs > 0);
        proxy_element_pack(t->sent, &el);
    }
    map_done(&touched);
    return any;
}

void proxy_elements_settle(struct proxy_elements *t)
{
    struct str rest = buf_str(t->sent);
    while (rest.len > 0) {
        struct proxy_element el;
        char space[ID_MAX];
        size_t pos = 0;
        bool there = rest.data[0] != 0;
        rest = str_n(rest.data + 1, rest.len - 1);
        if (!proxy_element_next(rest, &pos, &el))
            break;
        struct str id = id_of(&el, space);
        struct entry *e = entry_of(t, id);
        e->have = there;
        e->have_len = (uint8_t)el.data.len;
        if (el.data.len > 0)
            memcpy(e->have_data, el.data.data, el.data.len);
        /* Changed meanwhile: it is among the touched again. */
        drop_idle(t, id, e);
        rest = str_n(rest.data + pos, rest.len - pos);
    }
    drop_sent(t);
}

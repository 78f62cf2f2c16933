/* gc_refs.c - see gc_refs.h. */
#include "controllers/gc_refs.h"

#include "api/meta_v1.h"
#include "lib/base/base.h"
#include "lib/base/buf.h"

#include <string.h>

/* --- strings ------------------------------------------------------------------------------- */

struct text {
    uint32_t refs;
    char text[];
};

const char *gc_refs_text(struct gc_refs *r, struct str s)
{
    struct text *t = map_get(&r->texts, s);
    if (t == NULL) {
        t = xzalloc(sizeof(*t) + s.len + 1);
        if (s.len != 0)
            memcpy(t->text, s.data, s.len);
        map_set(&r->texts, s, t);
    }
    t->refs++;
    return t->text;
}

void gc_refs_drop_text(struct gc_refs *r, const char *text)
{
    struct text *t = text != NULL ? map_get(&r->texts, str_of(text)) : NULL;
    if (t == NULL || --t->refs != 0)
        return;
    map_remove(&r->texts, str_of(text));
    free(t);
}

void gc_refs_drop_place(struct gc_refs *r, struct gc_place *p)
{
    gc_refs_drop_text(r, p->api_version);
    gc_refs_drop_text(r, p->kind);
    gc_refs_drop_text(r, p->namespace_name);
}

/* --- references ------------------------------------------------------------------------------ */

struct shared_owner {
    uint32_t refs;
    struct gc_owner owner;
};

/* What makes references equal. */
static struct str owner_key(struct buf *b, const struct gc_owner *o)
{
    const char *const parts[] = {o->uid, o->place.api_version, o->place.kind,
                                 o->place.namespace_name, o->place.name};
    buf_clear(b);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        buf_append(b, parts[i], strlen(parts[i]) + 1);
    buf_putc(b, o->blocks ? 'b' : '-');
    buf_putc(b, o->controller ? 'c' : '-');
    return buf_str(b);
}

struct gc_place gc_refs_place(struct gc_refs *r, struct str namespace_name,
                              const struct meta_v1_owner_reference *ref)
{
    return (struct gc_place){gc_refs_text(r, ref->api_version), gc_refs_text(r, ref->kind),
                             gc_refs_text(r, namespace_name), gc_refs_text(r, ref->name)};
}

static void owner_done(struct gc_refs *r, struct gc_owner *o)
{
    gc_refs_drop_place(r, &o->place);
    gc_refs_drop_text(r, o->place.name);
    gc_refs_drop_text(r, o->uid);
}

const struct gc_owner *gc_refs_owner(struct gc_refs *r, struct str namespace_name,
                                     const struct meta_v1_owner_reference *ref)
{
    AUTO_BUF b = BUF_INIT;
    struct gc_owner o = {
        .place = gc_refs_place(r, namespace_name, ref),
        .uid = gc_refs_text(r, ref->uid),
        .blocks = ref->has_block_owner_deletion && ref->block_owner_deletion,
        .controller = ref->has_controller && ref->controller,
    };
    struct str key = owner_key(&b, &o);
    struct shared_owner *s = map_get(&r->owners, key);
    if (s != NULL) {
        owner_done(r, &o);
    } else {
        s = xzalloc(sizeof(*s));
        s->owner = o;
        map_set(&r->owners, key, s);
    }
    s->refs++;
    return &s->owner;
}

void gc_refs_drop_owner(struct gc_refs *r, const struct gc_owner *owner)
{
    AUTO_BUF b = BUF_INIT;
    struct str key = owner_key(&b, owner);
    struct shared_owner *s = map_get(&r->owners, key);
    ASSERT(s != NULL);
    if (--s->refs != 0)
        return;
    map_remove(&r->owners, key);
    owner_done(r, &s->owner);
    free(s);
}

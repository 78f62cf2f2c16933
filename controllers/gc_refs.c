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

/* What makes references equal: their names cannot hold a byte of zero. */
static struct str owner_key(struct buf *b, const struct str parts[5], bool blocks, bool controller)
{
    for (size_t i = 0; i < 5; i++) {
        buf_append_str(b, parts[i]);
        buf_putc(b, '\0');
    }
    buf_putc(b, blocks ? 'b' : '-');
    buf_putc(b, controller ? 'c' : '-');
    return buf_str(b);
}

struct gc_place gc_refs_place(struct gc_refs *r, struct str namespace_name,
                              const struct meta_v1_owner_reference *ref)
{
    return (struct gc_place){gc_refs_text(r, ref->api_version), gc_refs_text(r, ref->kind),
                             gc_refs_text(r, namespace_name), gc_refs_text(r, ref->name)};
}

const struct gc_owner *gc_refs_owner(struct gc_refs *r, struct str namespace_name,
                                     const struct meta_v1_owner_reference *ref)
{
    AUTO_BUF b = BUF_INIT;
    const struct str parts[] = {ref->uid, ref->api_version, ref->kind, namespace_name, ref->name};
    bool blocks = ref->has_block_owner_deletion && ref->block_owner_deletion;
    bool controller = ref->has_controller && ref->controller;
    struct str key = owner_key(&b, parts, blocks, controller);
    struct shared_owner *s = map_get(&r->owners, key);
    if (s == NULL) {
        s = xzalloc(sizeof(*s));
        s->owner = (struct gc_owner){.place = gc_refs_place(r, namespace_name, ref),
                                     .uid = gc_refs_text(r, ref->uid),
                                     .blocks = blocks,
                                     .controller = controller};
        map_set(&r->owners, key, s);
    }
    s->refs++;
    return &s->owner;
}

void gc_refs_drop_owner(struct gc_refs *r, const struct gc_owner *owner)
{
    AUTO_BUF b = BUF_INIT;
    const struct gc_place *p = &owner->place;
    /* Owners are handed out as part of this. */
    struct shared_owner *s =
        (struct shared_owner *)((uintptr_t)owner - offsetof(struct shared_owner, owner));
    if (--s->refs != 0)
        return;
    const struct str parts[] = {str_of(owner->uid), str_of(p->api_version), str_of(p->kind),
                                str_of(p->namespace_name), str_of(p->name)};
    struct shared_owner *known =
        map_remove(&r->owners, owner_key(&b, parts, owner->blocks, owner->controller));
    ASSERT(known == s);
    gc_refs_drop_place(r, &s->owner.place);
    gc_refs_drop_text(r, s->owner.place.name);
    gc_refs_drop_text(r, s->owner.uid);
    free(s);
}

/* gc_graph.c - see gc_graph.h. */
#include "controllers/gc_graph.h"

#include "api/meta_v1.h"
#include "lib/base/base.h"

void gc_graph_init(struct gc_graph *g, void (*wake)(struct str uid, void *arg), void *arg)
{
    *g = (struct gc_graph){.wake = wake, .arg = arg};
    map_init(&g->by_uid);
    map_init(&g->texts);
}

/* --- strings ------------------------------------------------------------------------------- */

struct text {
    uint32_t refs;
    char text[];
};

static const char *copy(struct gc_graph *g, struct str s)
{
    struct text *t = map_get(&g->texts, s);
    if (t == NULL) {
        t = xzalloc(sizeof(*t) + s.len + 1);
        if (s.len != 0)
            memcpy(t->text, s.data, s.len);
        map_set(&g->texts, s, t);
    }
    t->refs++;
    return t->text;
}

static void drop(struct gc_graph *g, const char *text)
{
    struct text *t = text != NULL ? map_get(&g->texts, str_of(text)) : NULL;
    if (t == NULL || --t->refs != 0)
        return;
    map_remove(&g->texts, str_of(text));
    free(t);
}

static void place_done(struct gc_graph *g, struct gc_place *p)
{
    drop(g, p->api_version);
    drop(g, p->kind);
    drop(g, p->namespace_name);
}

static void owners_free(struct gc_graph *g, struct gc_node *n)
{
    for (size_t i = 0; i < n->owner_count; i++) {
        place_done(g, &n->owners[i].place);
        drop(g, n->owners[i].place.name);
        drop(g, n->owners[i].uid);
    }
    free(n->owners);
    n->owners = NULL;
    n->owner_count = 0;
}

static void node_free(struct gc_graph *g, struct gc_node *n)
{
    owners_free(g, n);
    place_done(g, &n->place);
    free(n->dependents);
    free(n->name);
    free(n);
}

void gc_graph_done(struct gc_graph *g)
{
    size_t pos = 0;
    void *n;
    while (map_next(&g->by_uid, &pos, NULL, &n))
        node_free(g, n);
    map_done(&g->by_uid);
    map_done(&g->texts);
}

struct gc_node *gc_graph_find(const struct gc_graph *g, struct str uid)
{
    return map_get(&g->by_uid, uid);
}

static struct gc_node *node_new(struct gc_graph *g, struct str uid)
{
    struct gc_node *n = xzalloc(sizeof(*n));
    map_set(&g->by_uid, uid, n);
    n->uid = map_key(&g->by_uid, uid);
    return n;
}

static void wake(struct gc_graph *g, const struct gc_node *n)
{
    g->wake(str_of(n->uid), g->arg);
}

static void wake_dependents(struct gc_graph *g, const struct gc_node *n)
{
    for (size_t i = 0; i < n->dependent_count; i++)
        wake(g, n->dependents[i]);
}

/* Dependents for whom a namespaced owner is in another namespace than theirs. */
static void wake_strangers(struct gc_graph *g, const struct gc_node *n)
{
    for (size_t i = 0; i < n->dependent_count && n->place.namespace_name[0] != '\0'; i++)
        if (strcmp(n->dependents[i]->place.namespace_name, n->place.namespace_name) != 0)
            wake(g, n->dependents[i]);
}

/* --- edges ------------------------------------------------------------------------------- */

static void add_dependent(struct gc_node *owner, struct gc_node *n)
{
    for (size_t i = 0; i < owner->dependent_count; i++)
        if (owner->dependents[i] == n)
            return;
    if (owner->dependent_count == owner->dependent_cap) {
        owner->dependent_cap = owner->dependent_cap != 0 ? owner->dependent_cap * 2 : 2;
        owner->dependents =
            xrealloc(owner->dependents, owner->dependent_cap * sizeof(struct gc_node *));
    }
    owner->dependents[owner->dependent_count++] = n;
}

static void remove_dependent(struct gc_graph *g, struct gc_node *owner, const struct gc_node *n)
{
    for (size_t i = 0; i < owner->dependent_count; i++)
        if (owner->dependents[i] == n) {
            owner->dependents[i] = owner->dependents[--owner->dependent_count];
            break;
        }
    if (owner->is_virtual && owner->dependent_count == 0) {
        map_remove(&g->by_uid, str_of(owner->uid));
        node_free(g, owner);
    } else if (owner->deleting && owner->foreground) {
        wake(g, owner); /* One less to wait for. */
    }
}

static void unlink_owners(struct gc_graph *g, struct gc_node *n)
{
    for (size_t i = 0; i < n->owner_count; i++) {
        struct gc_node *owner = gc_graph_find(g, str_of(n->owners[i].uid));
        if (owner != NULL)
            remove_dependent(g, owner, n);
    }
    owners_free(g, n);
}

/* Names of nodes are nearly all different: they are not among the shared strings. */
static void set_name(struct gc_node *n, struct str name)
{
    free(n->name);
    n->name = xstrndup(str_c(name), name.len);
    n->place.name = n->name;
}

static struct gc_place place_of(struct gc_graph *g, struct str namespace_name,
                                const struct meta_v1_owner_reference *ref)
{
    return (struct gc_place){copy(g, ref->api_version), copy(g, ref->kind), copy(g, namespace_name),
                             copy(g, ref->name)};
}

static void link_owner(struct gc_graph *g, struct gc_node *n,
                       const struct meta_v1_owner_reference *ref)
{
    struct gc_owner *o = &n->owners[n->owner_count++];
    *o = (struct gc_owner){
        .place = place_of(g, str_of(n->place.namespace_name), ref),
        .uid = copy(g, ref->uid),
        .blocks = ref->has_block_owner_deletion && ref->block_owner_deletion,
        .controller = ref->has_controller && ref->controller,
    };
    struct gc_node *owner = gc_graph_find(g, ref->uid);
    if (owner == NULL) {
        owner = node_new(g, ref->uid);
        owner->is_virtual = true;
        owner->place = place_of(g, str_of(n->place.namespace_name), ref);
        drop(g, owner->place.name);
        set_name(owner, ref->name);
        wake(g, owner);
    }
    add_dependent(owner, n);
}

static bool same_owners(const struct gc_node *n, const struct meta_v1_object_meta *m)
{
    bool same = n->owner_count == m->owner_references_count;
    for (size_t i = 0; same && i < n->owner_count; i++) {
        const struct meta_v1_owner_reference *r = &m->owner_references[i];
        same = str_eqc(r->uid, n->owners[i].uid) && str_eqc(r->name, n->owners[i].place.name) &&
               n->owners[i].blocks == (r->has_block_owner_deletion && r->block_owner_deletion);
    }
    return same;
}

/* --- nodes --------------------------------------------------------------------------------- */

static bool has_finalizer(const struct meta_v1_object_meta *m, const char *name)
{
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (str_eqc(m->finalizers[i], name))
            return true;
    return false;
}

static void set_owners(struct gc_graph *g, struct gc_node *n, const struct meta_v1_object_meta *m)
{
    /* New edges first: an owner named before and after is not lost between. */
    struct gc_node before = {.owners = n->owners, .owner_count = n->owner_count};
    n->owners = NULL;
    if (m->owner_references_count != 0)
        n->owners = xzalloc(m->owner_references_count * sizeof(*n->owners));
    n->owner_count = 0;
    for (size_t i = 0; i < m->owner_references_count; i++)
        link_owner(g, n, &m->owner_references[i]);
    for (size_t i = 0; i < before.owner_count; i++) {
        struct gc_node *owner = gc_graph_find(g, str_of(before.owners[i].uid));
        bool kept = false;
        for (size_t k = 0; k < n->owner_count; k++)
            kept |= strcmp(n->owners[k].uid, before.owners[i].uid) == 0;
        if (owner != NULL && !kept)
            remove_dependent(g, owner, n);
        else if (owner != NULL && owner->deleting && owner->foreground)
            wake(g, owner); /* It may block no longer. */
    }
    owners_free(g, &before);
}

void gc_graph_set(struct gc_graph *g, const void *source, const char *api_version, const char *kind,
                  const struct meta_v1_object_meta *m)
{
    struct gc_node *n = gc_graph_find(g, m->uid);
    bool is_new = n == NULL || n->is_virtual, was_virtual = n != NULL && n->is_virtual;
    if (n == NULL)
        n = node_new(g, m->uid);
    if (is_new) {
        place_done(g, &n->place);
        n->place = (struct gc_place){copy(g, str_of(api_version)), copy(g, str_of(kind)),
                                     copy(g, m->namespace), NULL};
        set_name(n, m->name);
        n->is_virtual = false;
    }
    n->source = source;
    bool was_deleting = n->deleting, was_foreground = n->foreground, was_orphan = n->orphan;
    n->deleting = m->deletion_timestamp != NULL;
    n->foreground = n->deleting && has_finalizer(m, FINALIZER_FOREGROUND);
    n->orphan = n->deleting && has_finalizer(m, FINALIZER_ORPHAN);
    bool new_owners = !same_owners(n, m);
    if (new_owners)
        set_owners(g, n, m);
    if (is_new ? n->owner_count != 0 || n->deleting
               : new_owners || n->deleting != was_deleting || n->foreground != was_foreground ||
                     n->orphan != was_orphan)
        wake(g, n);
    /* Those waiting for it, or held back by it; and who thought that it was elsewhere. */
    if (n->foreground && !was_foreground)
        wake_dependents(g, n);
    else if (was_virtual)
        wake_strangers(g, n);
}

void gc_graph_remove(struct gc_graph *g, struct str uid)
{
    struct gc_node *n = map_remove(&g->by_uid, uid);
    if (n == NULL)
        return;
    unlink_owners(g, n);
    wake_dependents(g, n);
    node_free(g, n);
}

void gc_graph_remove_source(struct gc_graph *g, const void *source)
{
    size_t pos = 0;
    void *v;
    while (map_next(&g->by_uid, &pos, NULL, &v)) {
        struct gc_node *n = v;
        if (n->source != source)
            continue;
        n->source = NULL;
        if (n->dependent_count != 0) { /* Others still refer to it. */
            n->is_virtual = true;
            continue;
        }
        /* Its owners may be virtual and go with it: start over for safety. */
        map_remove(&g->by_uid, str_of(n->uid));
        unlink_owners(g, n);
        node_free(g, n);
        pos = 0;
    }
}

bool gc_blocks(const struct gc_node *node, const struct gc_node *owner)
{
    for (size_t i = 0; i < node->owner_count; i++)
        if (strcmp(node->owners[i].uid, owner->uid) == 0 && node->owners[i].blocks)
            return true;
    return false;
}

bool gc_waits_for(struct gc_graph *g, struct gc_node *node, const struct gc_node *owner)
{
    struct gc_node **left = NULL;
    size_t count = 0, cap = 0;
    bool found = false;
    uint32_t walk = ++g->walks;
    while (node != NULL && !found) {
        for (size_t i = 0; i < node->dependent_count && node->foreground && !found; i++) {
            struct gc_node *d = node->dependents[i];
            if (d->seen == walk || !d->foreground || !gc_blocks(d, node))
                continue;
            d->seen = walk;
            found = d == owner;
            if (count == cap) {
                cap = cap != 0 ? cap * 2 : 16;
                left = xrealloc(left, cap * sizeof(struct gc_node *));
            }
            left[count++] = d;
        }
        node = count != 0 ? left[--count] : NULL;
    }
    free(left);
    return found;
}

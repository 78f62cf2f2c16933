/* gc_graph.c - see gc_graph.h. */
#include "controllers/gc_graph.h"

#include "api/meta_v1.h"
#include "lib/base/base.h"

#include <string.h>

#define TABLE_MIN 64u

static void owners_free(struct gc_graph *g, struct gc_node *n)
{
    for (uint32_t i = 0; i < n->owner_count; i++)
        gc_refs_drop_owner(&g->refs, gc_owner_at(n, i));
    if (n->owner_count > 1)
        free((void *)n->owners.many);
    n->owners.one = NULL;
    n->owner_count = 0;
}

/* --- nodes by uid ------------------------------------------------------------------------------
 */

static uint32_t hash_of(const struct gc_graph *g, struct str uid)
{
    return (uint32_t)base_siphash(g->seed, uid.data, uid.len);
}

/* Where it stands, or would. The table is never full. */
static size_t slot_of(const struct gc_graph *g, struct str uid, uint32_t hash)
{
    size_t i = hash & (g->cap - 1);
    while (g->nodes[i] != NULL && (g->nodes[i]->hash != hash || !str_eqc(uid, g->nodes[i]->uid)))
        i = (i + 1) & (g->cap - 1);
    return i;
}

static void resize(struct gc_graph *g, size_t cap)
{
    struct gc_node **old = g->nodes;
    size_t old_cap = g->cap;
    g->nodes = xzalloc(cap * sizeof(struct gc_node *));
    g->cap = cap;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i] != NULL)
            g->nodes[slot_of(g, str_of(old[i]->uid), old[i]->hash)] = old[i];
    free((void *)old);
}

struct gc_node *gc_graph_find(const struct gc_graph *g, struct str uid)
{
    return g->cap != 0 ? g->nodes[slot_of(g, uid, hash_of(g, uid))] : NULL;
}

static struct gc_node *node_new(struct gc_graph *g, struct str uid)
{
    if (4 * (g->count + 1) > 3 * g->cap)
        resize(g, g->cap != 0 ? 2 * g->cap : TABLE_MIN);
    struct gc_node *n = xzalloc(sizeof(*n) + uid.len + 1);
    if (uid.len != 0)
        memcpy(n->uid, uid.data, uid.len);
    n->hash = hash_of(g, uid);
    g->nodes[slot_of(g, uid, n->hash)] = n;
    g->count++;
    return n;
}

/* What stands behind moves up unless its home lies between. */
static void take_out(struct gc_graph *g, const struct gc_node *n)
{
    size_t mask = g->cap - 1, hole = slot_of(g, str_of(n->uid), n->hash);
    ASSERT(g->nodes[hole] == n);
    for (size_t i = (hole + 1) & mask; g->nodes[i] != NULL; i = (i + 1) & mask) {
        if (((i - g->nodes[i]->hash) & mask) < ((i - hole) & mask))
            continue;
        g->nodes[hole] = g->nodes[i];
        hole = i;
    }
    g->nodes[hole] = NULL;
    g->count--;
    if (g->cap > TABLE_MIN && 8 * g->count < g->cap)
        resize(g, g->cap / 2);
}

static void node_free(struct gc_graph *g, struct gc_node *n)
{
    owners_free(g, n);
    gc_refs_drop_place(&g->refs, &n->place);
    free(n->dependents);
    free((char *)n->place.name);
    free(n);
}

/* --- life --------------------------------------------------------------------------------------
 */

void gc_graph_init(struct gc_graph *g, void (*wake)(struct str uid, void *arg), void *arg)
{
    *g = (struct gc_graph){.wake = wake, .arg = arg};
    map_init(&g->refs.texts);
    map_init(&g->refs.owners);
    /* The map drew its seed from the system: as good here. */
    memcpy(g->seed, g->refs.texts.seed, sizeof(g->seed));
}

void gc_graph_done(struct gc_graph *g)
{
    for (size_t i = 0; i < g->cap; i++)
        if (g->nodes[i] != NULL)
            node_free(g, g->nodes[i]);
    free((void *)g->nodes);
    map_done(&g->refs.owners);
    map_done(&g->refs.texts);
}

/* --- waking ------------------------------------------------------------------------------------
 */

static void wake(struct gc_graph *g, const struct gc_node *n)
{
    g->wake(str_of(n->uid), g->arg);
}

static void wake_dependents(struct gc_graph *g, const struct gc_node *n)
{
    for (uint32_t i = 0; i < n->dependent_count; i++)
        wake(g, n->dependents[i]);
}

bool gc_is_there(const struct gc_node *owner, struct str api_version, struct str kind,
                 struct str name, struct str dependents_namespace)
{
    const struct gc_place *p = &owner->place;
    return str_eqc(api_version, p->api_version) && str_eqc(kind, p->kind) &&
           str_eqc(name, p->name) &&
           (p->namespace_name[0] == '\0' || str_eqc(dependents_namespace, p->namespace_name));
}

/* A virtual one is looked at itself. */
static bool is_doubtful(const struct gc_node *n, const struct gc_owner *o,
                        const struct gc_node *owner)
{
    return (owner->deleting && owner->foreground) ||
           !gc_is_there(owner, str_of(o->place.api_version), str_of(o->place.kind),
                        str_of(o->place.name), str_of(n->place.namespace_name));
}

/* Some owner is not where n says, or goes and waits for n to go first. Virtual ones, of which
 * nothing is known yet, count if told so. */
static bool has_doubtful_owner(const struct gc_graph *g, const struct gc_node *n, bool virtual_ones)
{
    for (uint32_t i = 0; i < n->owner_count; i++) {
        const struct gc_owner *o = gc_owner_at(n, i);
        const struct gc_node *owner = gc_graph_find(g, str_of(o->uid));
        if (owner == NULL || (owner->is_virtual ? virtual_ones : is_doubtful(n, o, owner)))
            return true;
    }
    return false;
}

bool gc_is_safely_owned(const struct gc_graph *g, const struct gc_node *n)
{
    return !n->is_virtual && !has_doubtful_owner(g, n, true);
}

/* Those who thought that it was elsewhere, or another object. */
static void wake_doubtful(struct gc_graph *g, const struct gc_node *n)
{
    for (uint32_t i = 0; i < n->dependent_count; i++)
        if (has_doubtful_owner(g, n->dependents[i], false))
            wake(g, n->dependents[i]);
}

/* --- edges ------------------------------------------------------------------------------- */

static bool names(const struct gc_node *n, uint32_t owners, const char *uid)
{
    for (uint32_t i = 0; i < owners; i++)
        if (gc_owner_at(n, i)->uid == uid)
            return true;
    return false;
}

static void add_dependent(struct gc_node *owner, struct gc_node *n)
{
    if (owner->dependent_count == owner->dependent_cap) {
        owner->dependent_cap = owner->dependent_cap != 0 ? owner->dependent_cap * 2 : 2;
        owner->dependents =
            xrealloc(owner->dependents, owner->dependent_cap * sizeof(struct gc_node *));
    }
    n->at = owner->dependent_count;
    owner->dependents[owner->dependent_count++] = n;
}

static uint32_t find_dependent(const struct gc_node *owner, const struct gc_node *n)
{
    if (n->at < owner->dependent_count && owner->dependents[n->at] == n)
        return n->at;
    for (uint32_t i = 0; i < owner->dependent_count; i++)
        if (owner->dependents[i] == n)
            return i;
    return UINT32_MAX;
}

static void remove_dependent(struct gc_graph *g, struct gc_node *owner, const struct gc_node *n)
{
    uint32_t at = find_dependent(owner, n);
    if (at != UINT32_MAX) {
        struct gc_node *last = owner->dependents[--owner->dependent_count];
        owner->dependents[at] = last;
        if (last->owner_count == 1)
            last->at = at;
    }
    if (owner->is_virtual && owner->dependent_count == 0) {
        take_out(g, owner);
        node_free(g, owner);
    } else if (owner->deleting && owner->foreground) {
        wake(g, owner); /* One less to wait for. */
    }
}

static void unlink_owners(struct gc_graph *g, struct gc_node *n)
{
    for (uint32_t i = 0; i < n->owner_count; i++) {
        struct gc_node *owner = gc_graph_find(g, str_of(gc_owner_at(n, i)->uid));
        if (owner != NULL && !names(n, i, gc_owner_at(n, i)->uid))
            remove_dependent(g, owner, n);
    }
    owners_free(g, n);
}

/* Names of nodes are nearly all different: they are not among the shared strings. */
static void set_name(struct gc_node *n, struct str name)
{
    free((char *)n->place.name);
    n->place.name = xstrndup(str_c(name), name.len);
}

static struct gc_node *owner_node(struct gc_graph *g, const struct gc_node *n,
                                  const struct meta_v1_owner_reference *ref)
{
    struct gc_node *owner = gc_graph_find(g, ref->uid);
    if (owner == NULL) {
        owner = node_new(g, ref->uid);
        owner->is_virtual = true;
        owner->place = gc_refs_place(&g->refs, str_of(n->place.namespace_name), ref);
        gc_refs_drop_text(&g->refs, owner->place.name);
        owner->place.name = NULL;
        set_name(owner, ref->name);
    }
    if (owner->is_virtual)
        wake(g, owner); /* Also for a later dependent: it may have gone, and nobody said so. */
    return owner;
}

static bool same_owners(const struct gc_node *n, const struct meta_v1_object_meta *m)
{
    bool same = n->owner_count == m->owner_references_count;
    for (uint32_t i = 0; same && i < n->owner_count; i++) {
        const struct meta_v1_owner_reference *r = &m->owner_references[i];
        const struct gc_owner *o = gc_owner_at(n, i);
        same = str_eqc(r->uid, o->uid) && str_eqc(r->name, o->place.name) &&
               str_eqc(r->kind, o->place.kind) && str_eqc(r->api_version, o->place.api_version) &&
               o->controller == (r->has_controller && r->controller) &&
               o->blocks == (r->has_block_owner_deletion && r->block_owner_deletion);
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

/* New edges first: an owner named before and after is not lost between. */
static void set_owners(struct gc_graph *g, struct gc_node *n, const struct meta_v1_object_meta *m)
{
    struct gc_node before = {.owners = n->owners, .owner_count = n->owner_count};
    size_t count = m->owner_references_count;
    const struct gc_owner **list = count > 1 ? xzalloc(count * sizeof(*list)) : NULL;
    n->owner_count = (uint32_t)count;
    if (count > 1)
        n->owners.many = list;
    else
        n->owners.one = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct meta_v1_owner_reference *ref = &m->owner_references[i];
        const struct gc_owner *o = gc_refs_owner(&g->refs, str_of(n->place.namespace_name), ref);
        *(count > 1 ? &list[i] : &n->owners.one) = o;
        struct gc_node *owner = owner_node(g, n, ref);
        /* The edge to an owner named before is there, unless that owner was gone meanwhile. */
        bool linked =
            names(n, (uint32_t)i, o->uid) ||
            (names(&before, before.owner_count, o->uid) && find_dependent(owner, n) != UINT32_MAX);
        if (!linked)
            add_dependent(owner, n);
    }
    for (uint32_t i = 0; i < before.owner_count; i++) {
        const char *uid = gc_owner_at(&before, i)->uid;
        struct gc_node *owner = gc_graph_find(g, str_of(uid));
        if (owner == NULL || names(&before, i, uid))
            continue;
        if (!names(n, n->owner_count, uid))
            remove_dependent(g, owner, n);
        else if (owner->deleting && owner->foreground)
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
        gc_refs_drop_place(&g->refs, &n->place);
        n->place.api_version = gc_refs_text(&g->refs, str_of(api_version));
        n->place.kind = gc_refs_text(&g->refs, str_of(kind));
        n->place.namespace_name = gc_refs_text(&g->refs, m->namespace);
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
    if (is_new ? n->deleting || has_doubtful_owner(g, n, false)
               : new_owners || n->deleting != was_deleting || n->foreground != was_foreground ||
                     n->orphan != was_orphan)
        wake(g, n);
    /* Those waiting for it, or held back by it; and who thought that it was elsewhere. */
    if (n->foreground && !was_foreground)
        wake_dependents(g, n);
    else if (was_virtual)
        wake_doubtful(g, n);
}

void gc_graph_remove(struct gc_graph *g, struct str uid)
{
    struct gc_node *n = gc_graph_find(g, uid);
    if (n == NULL)
        return;
    take_out(g, n);
    unlink_owners(g, n);
    wake_dependents(g, n);
    node_free(g, n);
}

void gc_graph_remove_source(struct gc_graph *g, const void *source)
{
    struct gc_node **gone = xzalloc((g->count + 1) * sizeof(struct gc_node *));
    size_t count = 0;
    for (size_t i = 0; i < g->cap; i++)
        if (g->nodes[i] != NULL && g->nodes[i]->source == source)
            gone[count++] = g->nodes[i];
    /* None is virtual yet, so that none is freed with the last edge to it. */
    for (size_t i = 0; i < count; i++)
        unlink_owners(g, gone[i]);
    for (size_t i = 0; i < count; i++) {
        gone[i]->source = NULL;
        gone[i]->is_virtual = true;
        if (gone[i]->dependent_count != 0)
            continue; /* Others still refer to it. */
        take_out(g, gone[i]);
        node_free(g, gone[i]);
    }
    free((void *)gone);
}

bool gc_blocks(const struct gc_node *node, const struct gc_node *owner)
{
    for (uint32_t i = 0; i < node->owner_count; i++)
        if (strcmp(gc_owner_at(node, i)->uid, owner->uid) == 0 && gc_owner_at(node, i)->blocks)
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

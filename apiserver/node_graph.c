/* node_graph.c - see node_graph.h. */
#include "apiserver/node_graph.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"
#define TABLE_MIN 64u
#define KEY_BYTES_MAX 1024u

/* --- a counted set of hashes: open addressing, backward shift on removal -----------------------
 */
struct edge {
    uint64_t hash; /* 0: free. */
    uint32_t count;
};

struct edges {
    struct edge *slots;
    size_t cap, used; /* cap is a power of two. */
};

static struct edge *edge_slot(const struct edges *e, uint64_t hash)
{
    size_t i = hash & (e->cap - 1);
    while (e->slots[i].hash != 0 && e->slots[i].hash != hash)
        i = (i + 1) & (e->cap - 1);
    return &e->slots[i];
}

static void edges_resize(struct edges *e, size_t cap)
{
    struct edges old = *e;
    e->cap = cap;
    e->slots = xzalloc(cap * sizeof(*e->slots));
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].hash != 0)
            *edge_slot(e, old.slots[i].hash) = old.slots[i];
    free(old.slots);
}

static void edges_add(struct edges *e, uint64_t hash)
{
    if (4 * (e->used + 1) > 3 * e->cap)
        edges_resize(e, e->cap != 0 ? 2 * e->cap : TABLE_MIN);
    struct edge *s = edge_slot(e, hash);
    if (s->hash == 0) {
        s->hash = hash;
        e->used++;
    }
    s->count++;
}

static void edges_drop(struct edges *e, uint64_t hash)
{
    struct edge *s = edge_slot(e, hash);
    if (s->hash == 0 || --s->count != 0)
        return;
    size_t mask = e->cap - 1, hole = (size_t)(s - e->slots);
    for (size_t i = (hole + 1) & mask; e->slots[i].hash != 0; i = (i + 1) & mask) {
        size_t home = e->slots[i].hash & mask;
        /* Moves back unless its home lies between the hole and itself. */
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            e->slots[hole] = e->slots[i];
            hole = i;
        }
    }
    e->slots[hole] = (struct edge){0};
    e->used--;
    if (e->cap > TABLE_MIN && 8 * e->used < e->cap)
        edges_resize(e, e->cap / 2);
}

static bool edges_have(const struct edges *e, uint64_t hash)
{
    return e->cap != 0 && edge_slot(e, hash)->hash != 0;
}

/* --- the graph
 * ------------------------------------------------------------------------------------ */
/* What one object put into the set, to be taken out with it. */
struct owner {
    struct list link; /* Of a pod: in its node's. */
    struct node_list *of;
    struct str key; /* The map's. */
    size_t count;
    uint64_t hashes[];
};

struct node_list {
    struct list pods; /* struct owner */
    size_t count;
    struct str node; /* The map's. */
};

struct volume {
    struct str claim_ns, claim;
    struct str *secrets; /* Keys into by_secret. */
    size_t secret_count;
    struct arena *arena;
};

struct volume_list {
    struct volume **items;
    size_t count, cap;
};

struct node_graph {
    struct edges edges;
    struct map owners;    /* By kind, namespace and name. */
    struct map volumes;   /* By name. */
    struct map by_secret; /* "ns/name" -> volumes that need it. */
    struct map nodes;     /* By name -> struct node_list */
    uint64_t seed[2];
};

static uint64_t relation(const struct node_graph *g, struct str node, enum ref_kind kind,
                         struct str ns, struct str name)
{
    char text[KEY_BYTES_MAX];
    size_t n = 0;
    if (ns.len + name.len + node.len + 4 > sizeof(text))
        return 0;
    text[n++] = (char)kind;
    const struct str parts[] = {ns, name, node};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (parts[i].len != 0)
            memcpy(text + n, parts[i].data, parts[i].len);
        n += parts[i].len;
        text[n++] = '\0';
    }
    uint64_t h = base_siphash(g->seed, text, n);
    return h != 0 ? h : 1;
}

static struct str owner_key(struct buf *b, enum ref_kind kind, struct str ns, struct str name)
{
    buf_putc(b, (char)kind);
    buf_append_str(b, ns);
    buf_putc(b, '/');
    buf_append_str(b, name);
    return buf_str(b);
}

static void leave_node(struct node_graph *g, struct owner *o)
{
    struct node_list *n = o->of;
    if (n == NULL)
        return;
    list_remove(&o->link);
    if (--n->count == 0) {
        map_remove(&g->nodes, n->node);
        free(n);
    }
}

static void join_node(struct node_graph *g, struct owner *o, struct str node)
{
    struct node_list *n = map_get(&g->nodes, node);
    if (n == NULL) {
        n = xzalloc(sizeof(*n));
        list_init(&n->pods);
        map_set(&g->nodes, node, n);
        n->node = str_n(map_key(&g->nodes, node), node.len);
    }
    list_push_back(&n->pods, &o->link);
    n->count++;
    o->of = n;
}

static void drop_owner(struct node_graph *g, struct str key)
{
    struct owner *o = map_remove(&g->owners, key);
    if (o != NULL)
        leave_node(g, o);
    for (size_t i = 0; o != NULL && i < o->count; i++)
        edges_drop(&g->edges, o->hashes[i]);
    free(o);
}

/* --- pods
 * -------------------------------------------------------------------------------------------- */
struct collect {
    const struct node_graph *graph;
    struct arena *arena;
    struct str node, ns;
    uint64_t *hashes;
    size_t count, cap;
};

static void collect_ref(enum ref_kind kind, struct str name, void *arg)
{
    struct collect *c = arg;
    uint64_t h = relation(c->graph, c->node, kind, c->ns, name);
    if (h == 0)
        return;
    c->hashes = arena_grow(c->arena, c->hashes, c->count, &c->cap, sizeof(*c->hashes));
    c->hashes[c->count++] = h;
}

/* pods_node: where the owner, a pod, is bound; empty: it is none. */
static void set_owner(struct node_graph *g, struct str key, const uint64_t *hashes, size_t count,
                      struct str pods_node)
{
    drop_owner(g, key);
    if (count == 0)
        return;
    struct owner *o = xmalloc(sizeof(*o) + count * sizeof(*hashes));
    *o = (struct owner){.count = count};
    memcpy(o->hashes, hashes, count * sizeof(*hashes));
    for (size_t i = 0; i < count; i++)
        edges_add(&g->edges, hashes[i]);
    map_set(&g->owners, key, o);
    o->key = str_n(map_key(&g->owners, key), key.len);
    if (pods_node.len != 0)
        join_node(g, o, pods_node);
}

void node_graph_set_pod(struct node_graph *g, struct arena *scratch, const struct core_v1_pod *pod)
{
    AUTO_BUF key = BUF_INIT;
    const struct meta_v1_object_meta *m = &pod->metadata;
    struct collect c = {
        .graph = g, .arena = scratch, .node = pod->spec.node_name, .ns = m->namespace};
    if (c.node.len != 0) {
        collect_ref(REF_POD, m->name, &c);
        /* A mirror pod is what a node says it runs: it gives the node no rights. */
        if (api_str_map_get(m->annotations, m->annotations_count, STR(MIRROR_ANNOTATION)) == NULL)
            pod_refs_visit(scratch, pod, collect_ref, &c);
    }
    set_owner(g, owner_key(&key, REF_POD, m->namespace, m->name), c.hashes, c.count, c.node);
}

void node_graph_set_owned(struct node_graph *g, enum ref_kind kind, struct str ns, struct str name,
                          struct str node)
{
    AUTO_BUF key = BUF_INIT;
    uint64_t h = node.len != 0 ? relation(g, node, kind, ns, name) : 0;
    set_owner(g, owner_key(&key, kind, ns, name), &h, h != 0, STR_NULL);
}

/* --- volumes
 * ------------------------------------------------------------------------------------------ */
static void volume_free(struct volume *v)
{
    arena_free(v->arena);
    free(v);
}

static void forget_volume(struct node_graph *g, struct str name)
{
    struct volume *v = map_remove(&g->volumes, name);
    for (size_t i = 0; v != NULL && i < v->secret_count; i++) {
        struct volume_list *l = map_get(&g->by_secret, v->secrets[i]);
        size_t n = 0;
        for (size_t j = 0; l != NULL && j < l->count; j++)
            if (l->items[j] != v)
                l->items[n++] = l->items[j];
        if (l == NULL)
            continue;
        l->count = n;
        if (n == 0) {
            map_remove(&g->by_secret, v->secrets[i]);
            free(l->items);
            free(l);
        }
    }
    if (v != NULL)
        volume_free(v);
}

static void note_secret(struct str ns, struct str name, void *arg)
{
    struct volume *v = arg;
    struct str *all = ARENA_ARRAY(v->arena, struct str, v->secret_count + 1);
    if (v->secret_count != 0)
        memcpy(all, v->secrets, v->secret_count * sizeof(*all));
    all[v->secret_count++] =
        arena_printf(v->arena, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
    v->secrets = all;
}

void node_graph_set_volume(struct node_graph *g, const struct core_v1_persistent_volume *pv)
{
    const struct core_v1_object_reference *claim = pv->spec.claim_ref;
    struct volume *v = NULL;
    if (claim != NULL) {
        v = xzalloc(sizeof(*v));
        v->arena = arena_new(256);
        v->claim_ns = arena_str(v->arena, claim->namespace);
        v->claim = arena_str(v->arena, claim->name);
        volume_secrets_visit(pv, note_secret, v);
    }
    forget_volume(g, pv->metadata.name);
    for (size_t i = 0; v != NULL && i < v->secret_count; i++) {
        struct volume_list *l = map_get(&g->by_secret, v->secrets[i]);
        if (l == NULL) {
            l = xzalloc(sizeof(*l));
            map_set(&g->by_secret, v->secrets[i], l);
        }
        if (l->count == l->cap) {
            l->cap = l->cap != 0 ? 2 * l->cap : 2;
            l->items = xrealloc(l->items, l->cap * sizeof(struct volume *));
        }
        l->items[l->count++] = v;
    }
    if (v != NULL)
        map_set(&g->volumes, pv->metadata.name, v);
}

void node_graph_remove(struct node_graph *g, enum ref_kind kind, struct str ns, struct str name)
{
    AUTO_BUF key = BUF_INIT;
    if (kind == REF_VOLUME)
        forget_volume(g, name);
    else
        drop_owner(g, owner_key(&key, kind, ns, name));
}

/* --- asking
 * --------------------------------------------------------------------------------------------- */
static bool has(const struct node_graph *g, struct str node, enum ref_kind kind, struct str ns,
                struct str name)
{
    uint64_t h = relation(g, node, kind, ns, name);
    return h != 0 && edges_have(&g->edges, h);
}

static bool has_volume(const struct node_graph *g, struct str node, const struct volume *v)
{
    return v != NULL && has(g, node, REF_CLAIM, v->claim_ns, v->claim);
}

static bool has_through_volume(const struct node_graph *g, struct str node, struct str ns,
                               struct str secret)
{
    AUTO_BUF b = BUF_INIT;
    if (g->by_secret.count == 0)
        return false;
    buf_printf(&b, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(secret));
    const struct volume_list *l = map_get(&g->by_secret, buf_str(&b));
    for (size_t i = 0; l != NULL && i < l->count; i++)
        if (has_volume(g, node, l->items[i]))
            return true;
    return false;
}

void node_graph_visit_pods(const struct node_graph *g, struct str node,
                           void (*visit)(struct str pod, void *arg), void *arg)
{
    const struct node_list *n = map_get(&g->nodes, node);
    if (n == NULL)
        return;
    LIST_FOREACH (it, &n->pods) {
        struct str key = LIST_ENTRY(it, struct owner, link)->key;
        visit(str_sub(key, 1, key.len), arg); /* Without its kind. */
    }
}

size_t node_graph_pod_count(const struct node_graph *g, struct str node)
{
    const struct node_list *n = map_get(&g->nodes, node);
    return n != NULL ? n->count : 0;
}

bool node_graph_has(const struct node_graph *g, struct str node, enum ref_kind kind, struct str ns,
                    struct str name)
{
    if (kind == REF_VOLUME)
        return has_volume(g, node, map_get(&g->volumes, name));
    return has(g, node, kind, ns, name) ||
           (kind == REF_SECRET && has_through_volume(g, node, ns, name));
}

/* --- life
 * -------------------------------------------------------------------------------------------------
 */
struct node_graph *node_graph_new(void)
{
    struct node_graph *g = xzalloc(sizeof(*g));
    map_init(&g->owners);
    map_init(&g->volumes);
    map_init(&g->by_secret);
    map_init(&g->nodes);
    /* The map drew its seed from the system: as good for our own hashes. */
    memcpy(g->seed, g->owners.seed, sizeof(g->seed));
    return g;
}

static void clear(struct node_graph *g)
{
    struct str key;
    void *v;
    for (size_t pos = 0; map_next(&g->owners, &pos, &key, &v);)
        free(v);
    map_clear(&g->owners);
    for (size_t pos = 0; map_next(&g->nodes, &pos, &key, &v);)
        free(v);
    map_clear(&g->nodes);
    for (size_t pos = 0; map_next(&g->volumes, &pos, &key, &v);)
        volume_free(v);
    map_clear(&g->volumes);
    for (size_t pos = 0; map_next(&g->by_secret, &pos, &key, &v);) {
        free(((struct volume_list *)v)->items);
        free(v);
    }
    map_clear(&g->by_secret);
    free(g->edges.slots);
    g->edges = (struct edges){0};
}

void node_graph_free(struct node_graph *g)
{
    if (g == NULL)
        return;
    clear(g);
    map_done(&g->owners);
    map_done(&g->volumes);
    map_done(&g->by_secret);
    map_done(&g->nodes);
    free(g);
}

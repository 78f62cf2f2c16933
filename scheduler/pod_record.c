/* pod_record.c - see pod_record.h. Shapes are found by the hash of what they encode to, and
 * compared field by field. */
#include "scheduler/pod_record.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/pack.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/map.h"
#include "scheduler/pod_info.h"

struct pod_shape {
    struct pod_shapes *table; /* One reference. */
    struct pod_shape *next;   /* Of the same hash. */
    struct arena *arena;
    const struct core_v1_pod *pod;
    struct pod_needs needs;
    uint64_t hash;
    uint32_t refs;
};

struct pod_shapes {
    struct map by_hash; /* 8 bytes -> struct pod_shape */
    uint64_t seed[2];
    size_t count;
    struct buf encoded;
    uint32_t refs;
};

struct packer {
    struct api_packer packer;
    struct pod_shapes *table;
};

struct pod_record {
    struct api_pack pack;
    struct pod_shape *shape;
    struct meta_v1_time created, start;
    uint32_t refs;
    uint32_t name_len, uid_len, node_len, rev_len;
    bool has_start;
    char text[]; /* Name, uid, node, resource version, each with a NUL behind. */
};

#define TEXTS 4u /* In pod_record.text. */

static const struct api_packing packing;

/* --- shapes ----------------------------------------------------------------------------------- */

struct pod_shapes *pod_shapes_new(void)
{
    struct pod_shapes *t = xzalloc(sizeof(*t));
    t->refs = 1;
    map_init(&t->by_hash);
    t->seed[0] = t->by_hash.seed[0];
    t->seed[1] = ~t->by_hash.seed[1];
    return t;
}

void pod_shapes_unref(struct pod_shapes *t)
{
    if (t == NULL || --t->refs != 0)
        return;
    map_done(&t->by_hash);
    buf_done(&t->encoded);
    free(t);
}

size_t pod_shapes_count(const struct pod_shapes *t)
{
    return t->count;
}

static struct str key_of(const uint64_t *hash)
{
    return str_n((const char *)hash, sizeof(*hash));
}

/* Do its plugins ask for what belongs to it by name and uid? */
static bool has_claims(const struct core_v1_pod_spec *s)
{
    return s->volumes_count != 0 || s->resource_claims_count != 0;
}

/* What it shares with others; its memory stays the pod's. */
static struct core_v1_pod shared_part(const struct core_v1_pod *pod)
{
    struct core_v1_pod x = *pod;
    if (!has_claims(&pod->spec))
        x.metadata.name = x.metadata.uid = STR_NULL;
    x.metadata.resource_version = STR_NULL;
    x.metadata.creation_timestamp = (struct meta_v1_time){0};
    x.spec.node_name = STR_NULL;
    x.status.start_time = NULL;
    return x;
}

static struct pod_shape *new_shape(struct pod_shapes *t, const struct core_v1_pod *shared,
                                   uint64_t hash)
{
    struct pod_shape *s = xzalloc(sizeof(*s));
    s->arena = arena_new(2048);
    s->pod = api_msg_clone(s->arena, &core_v1_pod_msg, shared);
    pod_needs_init(&s->needs, s->pod);
    s->hash = hash;
    s->next = map_get(&t->by_hash, key_of(&hash));
    (void)map_set(&t->by_hash, key_of(&hash), s);
    s->table = t;
    t->refs++;
    t->count++;
    return s;
}

/* One reference for the caller. */
static struct pod_shape *shape_of(struct pod_shapes *t, const struct core_v1_pod *pod)
{
    struct core_v1_pod shared = shared_part(pod);
    buf_clear(&t->encoded);
    api_pb_encode(&core_v1_pod_msg, &shared, &t->encoded);
    uint64_t hash = base_siphash(t->seed, t->encoded.data, t->encoded.len);
    struct pod_shape *s = map_get(&t->by_hash, key_of(&hash));
    while (s != NULL && !api_msg_equal(&core_v1_pod_msg, s->pod, &shared))
        s = s->next;
    if (s == NULL)
        s = new_shape(t, &shared, hash);
    s->refs++;
    return s;
}

static void unlink_shape(struct pod_shape *s)
{
    struct map *by_hash = &s->table->by_hash;
    struct pod_shape *first = map_get(by_hash, key_of(&s->hash)), **at = &first;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (first != NULL)
        (void)map_set(by_hash, key_of(&s->hash), first);
    else
        (void)map_remove(by_hash, key_of(&s->hash));
    s->table->count--;
}

static void shape_unref(struct pod_shape *s)
{
    if (--s->refs != 0)
        return;
    unlink_shape(s);
    pod_shapes_unref(s->table);
    pod_needs_done(&s->needs);
    arena_free(s->arena);
    free(s);
}

/* --- records ---------------------------------------------------------------------------------- */

static char *put(char *at, struct str s, uint32_t *ret_len)
{
    *ret_len = (uint32_t)s.len; /* A watch event is far below 4 GiB. */
    if (s.len != 0)
        memcpy(at, s.data, s.len);
    return at + s.len + 1;
}

static struct pod_record *new_record(struct pod_shapes *t, const struct core_v1_pod *pod)
{
    const struct meta_v1_object_meta *m = &pod->metadata;
    size_t len =
        m->name.len + m->uid.len + m->resource_version.len + pod->spec.node_name.len + TEXTS;
    struct pod_record *r = xzalloc(sizeof(*r) + len);
    r->pack.how = &packing;
    r->refs = 1;
    r->shape = shape_of(t, pod);
    r->created = m->creation_timestamp;
    r->has_start = pod->status.start_time != NULL;
    if (r->has_start)
        r->start = *pod->status.start_time;
    char *at = put(r->text, m->name, &r->name_len);
    at = put(at, m->uid, &r->uid_len);
    at = put(at, pod->spec.node_name, &r->node_len);
    (void)put(at, m->resource_version, &r->rev_len);
    return r;
}

struct pod_record *pod_record_ref(struct pod_record *r)
{
    r->refs++;
    return r;
}

void pod_record_unref(struct pod_record *r)
{
    if (r == NULL || --r->refs != 0)
        return;
    shape_unref(r->shape);
    free(r);
}

struct pod_record *pod_record_of(struct pod_shapes *t, struct api_object *pod)
{
    if (pod->pack == NULL)
        pod->pack = &new_record(t, pod->msg)->pack;
    ASSERT(pod->pack->how == &packing);
    return pod_record_ref((struct pod_record *)pod->pack);
}

const struct core_v1_pod *pod_record_shared(const struct pod_record *r)
{
    return r->shape->pod;
}

const struct pod_needs *pod_record_needs(const struct pod_record *r)
{
    return &r->shape->needs;
}

/* NULL and empty are not the same to everybody who writes objects. */
static struct str text_of(const char *at, uint32_t len)
{
    return len != 0 ? str_n(at, len) : STR_NULL;
}

struct str pod_record_name(const struct pod_record *r)
{
    return text_of(r->text, r->name_len);
}

struct str pod_record_uid(const struct pod_record *r)
{
    return text_of(r->text + r->name_len + 1, r->uid_len);
}

static struct str node_of(const struct pod_record *r)
{
    return text_of(r->text + r->name_len + r->uid_len + 2, r->node_len);
}

static struct str rev_of(const struct pod_record *r)
{
    return text_of(r->text + r->name_len + r->uid_len + r->node_len + 3, r->rev_len);
}

const struct meta_v1_time *pod_record_start(const struct pod_record *r)
{
    return r->has_start ? &r->start : NULL;
}

/* --- as a way of packing ---------------------------------------------------------------------- */

/* All but the top of the struct is borrowed from record and shape. */
static void unpack(struct api_pack *pack, struct api_object *o)
{
    struct pod_record *r = (struct pod_record *)pack;
    o->arena = arena_new(sizeof(struct core_v1_pod) + 64);
    struct core_v1_pod *pod = arena_memdup(o->arena, r->shape->pod, sizeof(*pod));
    pod->metadata.name = pod_record_name(r);
    pod->metadata.uid = pod_record_uid(r);
    pod->metadata.resource_version = rev_of(r);
    pod->metadata.creation_timestamp = r->created;
    pod->spec.node_name = node_of(r);
    pod->status.start_time = r->has_start ? &r->start : NULL;
    o->msg = pod;
}

struct api_object *pod_record_object(struct pod_record *r)
{
    struct api_object *o = xzalloc(sizeof(*o));
    atomic_init(&o->refs, 1);
    o->kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod"));
    o->pack = &pod_record_ref(r)->pack;
    unpack(o->pack, o);
    return o;
}

static struct api_pack *pack(struct api_packer *packer, const struct api_object *o)
{
    return &new_record(((struct packer *)packer)->table, o->msg)->pack;
}

static void free_pack(struct api_pack *k)
{
    pod_record_unref((struct pod_record *)k);
}

static size_t bytes_of(const struct api_pack *k)
{
    const struct pod_record *r = (const struct pod_record *)k;
    return sizeof(*r) + r->name_len + r->uid_len + r->node_len + r->rev_len + TEXTS;
}

static void close_packer(struct api_packer *packer)
{
    pod_shapes_unref(((struct packer *)packer)->table);
    free(packer);
}

static const struct api_packing packing = {
    .pack = pack, .unpack = unpack, .free = free_pack, .bytes = bytes_of, .close = close_packer};

struct api_packer *pod_shapes_packer(struct pod_shapes *t)
{
    struct packer *p = xzalloc(sizeof(*p));
    p->packer.how = &packing;
    p->table = t;
    t->refs++;
    return &p->packer;
}

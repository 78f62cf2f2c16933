/* Tests of controllers/gc_graph.c: random histories compared with a plain model, and what wakes
 * whom. */
#include "controllers/gc_graph.h"

#include "api/meta_v1.h"
#include "lib/base/arena.h"
#include "test/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#define UIDS 24
#define OWNERS_MAX 3
#define STEPS 20000

/* What the graph is to know: all by scanning. */
struct model {
    struct {
        bool real;
        int source;
        unsigned owner_count;
        int owners[OWNERS_MAX];
        bool blocks[OWNERS_MAX];
    } objects[UIDS];
    bool edges[UIDS][UIDS]; /* [dependent][owner], as long as neither was taken out. */
};

static uint64_t state = 88172645463325252u;
static uint32_t below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % n;
}

static bool woken[UIDS];
static void wake(struct str uid, void *arg)
{
    (void)arg;
    woken[atoi(uid.data + 1)] = true;
}

static const void *source_of(int source)
{
    static const char sources[2];
    return &sources[source];
}

static struct str uid_of(struct arena *a, int i)
{
    return arena_printf(a, "u%d", i);
}

/* A virtual node is there as long as somebody has an edge to it. */
static bool expected(const struct model *m, int i)
{
    for (int d = 0; d < UIDS; d++)
        if (m->objects[d].real && m->edges[d][i])
            return true;
    return m->objects[i].real;
}

static void compare(const struct model *m, struct gc_graph *g, struct arena *a)
{
    size_t count = 0;
    for (int i = 0; i < UIDS; i++) {
        const struct gc_node *n = gc_graph_find(g, uid_of(a, i));
        ck_assert_int_eq(n != NULL, expected(m, i));
        if (n == NULL)
            continue;
        count++;
        ck_assert_int_eq(n->is_virtual, !m->objects[i].real);
        ck_assert_uint_eq(n->owner_count, m->objects[i].real ? m->objects[i].owner_count : 0);
        for (uint32_t k = 0; k < n->owner_count; k++) {
            const struct gc_owner *o = gc_owner_at(n, k);
            ck_assert_int_eq(atoi(o->uid + 1), m->objects[i].owners[k]);
            ck_assert_int_eq(o->blocks, m->objects[i].blocks[k]);
        }
        uint32_t dependents = 0;
        for (int d = 0; d < UIDS; d++)
            dependents += m->edges[d][i];
        ck_assert_uint_eq(n->dependent_count, dependents);
        for (uint32_t k = 0; k < n->dependent_count; k++)
            ck_assert(m->edges[atoi(n->dependents[k]->uid + 1)][i]);
    }
    ck_assert_uint_eq(g->count, count);
}

static void set(struct model *m, struct gc_graph *g, struct arena *a, int i, int source)
{
    struct meta_v1_owner_reference refs[OWNERS_MAX] = {0};
    struct meta_v1_object_meta meta = {.uid = uid_of(a, i), .name = uid_of(a, i)};
    bool same = below(3) == 0 && m->objects[i].real;
    unsigned count = same ? m->objects[i].owner_count : below(OWNERS_MAX + 1);
    for (unsigned k = 0; k < count; k++) {
        if (!same)
            m->objects[i].owners[k] = (int)below(UIDS); /* Itself, and twice the same, too. */
        if (!same || below(2))
            m->objects[i].blocks[k] = below(2);
        refs[k].api_version = STR("v1");
        refs[k].kind = STR("Thing");
        refs[k].name = refs[k].uid = uid_of(a, m->objects[i].owners[k]);
        refs[k].has_block_owner_deletion = true;
        refs[k].block_owner_deletion = m->objects[i].blocks[k];
    }
    meta.owner_references = refs;
    meta.owner_references_count = count;
    const struct gc_node *old = gc_graph_find(g, meta.uid);
    bool unchanged = old != NULL && old->owner_count == count;
    for (uint32_t k = 0; unchanged && k < count; k++)
        unchanged = str_eqc(refs[k].uid, gc_owner_at(old, k)->uid) &&
                    gc_owner_at(old, k)->blocks == refs[k].block_owner_deletion;
    gc_graph_set(g, source_of(source), "v1", "Thing", &meta);
    m->objects[i].real = true;
    m->objects[i].source = source;
    m->objects[i].owner_count = count;
    if (unchanged)
        return; /* Nor are edges that were lost made again. */
    memset(m->edges[i], 0, sizeof(m->edges[i]));
    for (unsigned k = 0; k < count; k++)
        m->edges[i][m->objects[i].owners[k]] = true;
}

static void take_out(struct model *m, int i)
{
    m->objects[i].real = false;
    memset(m->edges[i], 0, sizeof(m->edges[i]));
}

static void take_source(struct model *m, int source)
{
    for (int i = 0; i < UIDS; i++)
        if (m->objects[i].real && m->objects[i].source == source)
            take_out(m, i);
}

/* Objects come, change their owners, and go, with kinds that are no longer watched in between. */
START_TEST(random_histories)
{
    struct model *m = calloc(1, sizeof(*m));
    struct gc_graph g;
    AUTO_ARENA *a = arena_new(0);
    ck_assert_ptr_nonnull(m);
    gc_graph_init(&g, wake, NULL);
    for (int step = 0; step < STEPS; step++) {
        int i = (int)below(UIDS);
        uint32_t what = below(100);
        if (what < 60) {
            set(m, &g, a, i, (int)below(2));
        } else if (what < 98) {
            gc_graph_remove(&g, uid_of(a, i));
            take_out(m, i);
            for (int d = 0; d < UIDS; d++)
                m->edges[d][i] = false;
        } else {
            int source = (int)below(2);
            gc_graph_remove_source(&g, source_of(source));
            take_source(m, source);
        }
        compare(m, &g, a);
        arena_clear(a);
    }
    for (int i = 0; i < UIDS; i++)
        gc_graph_remove(&g, uid_of(a, i));
    ck_assert_uint_eq(g.count, 0);
    ck_assert_uint_eq(g.refs.texts.count, 0);
    ck_assert_uint_eq(g.refs.owners.count, 0);
    gc_graph_done(&g);
    free(m);
}
END_TEST

static void see(struct gc_graph *g, struct arena *a, int i, int owner)
{
    struct meta_v1_owner_reference ref = {.api_version = STR("v1"),
                                          .kind = STR("Thing"),
                                          .name = uid_of(a, owner < 0 ? 0 : owner),
                                          .uid = uid_of(a, owner < 0 ? 0 : owner)};
    struct meta_v1_object_meta meta = {.uid = uid_of(a, i),
                                       .name = uid_of(a, i),
                                       .owner_references = &ref,
                                       .owner_references_count = owner >= 0};
    gc_graph_set(g, g, "v1", "Thing", &meta);
}

/* With the owner there nobody looks at its dependents; without, the owner is asked about once more
 * for each, and all are looked at when it is gone. */
START_TEST(only_what_is_in_doubt_is_woken)
{
    struct gc_graph g;
    AUTO_ARENA *a = arena_new(0);
    gc_graph_init(&g, wake, NULL);
    memset(woken, 0, sizeof(woken));
    see(&g, a, 0, -1);
    for (int i = 1; i < 10; i++)
        see(&g, a, i, 0);
    for (int i = 0; i < 10; i++)
        ck_assert(!woken[i]);
    for (int i = 11; i < 20; i++)
        see(&g, a, i, 10);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(woken[i], i == 10);
    woken[10] = false;
    see(&g, a, 20, 10); /* It may have gone since it was asked about. */
    ck_assert(woken[10] && !woken[20]);
    gc_graph_remove(&g, STR("u10"));
    for (int i = 11; i <= 20; i++)
        ck_assert(woken[i]);
    ck_assert(!gc_is_safely_owned(&g, gc_graph_find(&g, STR("u11"))));
    ck_assert(gc_is_safely_owned(&g, gc_graph_find(&g, STR("u1"))));
    gc_graph_done(&g);
}
END_TEST

UNIT_MAIN("gc_graph", {
    UNIT_TEST(random_histories);
    UNIT_TEST(only_what_is_in_doubt_is_woken);
})

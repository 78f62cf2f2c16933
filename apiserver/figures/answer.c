/* answer.c - see answer.h. */
#include "apiserver/figures/answer.h"

#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/figures/board.h"
#include "apiserver/figures/leader.h"
#include "apiserver/figures/objects.h"
#include "apiserver/figures/scraper.h"
#include "apiserver/list_options.h"
#include "apiserver/request.h"
#include "apiserver/wire.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "raftstore/store.h"

#define SLICE_NS (2u * 1000u * 1000u)
#define SLICE_OBJECTS 64u
#define SCRATCH_BYTES (256u << 10)
enum { WIRE_POD_SPEC = 2, WIRE_SPEC_NODE_NAME = 10 };

struct answering {
    struct req *r;
    bool nodes;                /* Else pods. */
    const struct resource *of; /* The core kind whose objects are shown. */
    uint64_t since_ms;         /* Older figures are not shown. */
    struct list_options o;
    struct store_view *view;
    struct store_iter it;
    struct deferred again;
    struct figure_writer w;
    struct arena *scratch;
    struct str node;         /* Whose figures were looked up last, in the request's arena; */
    struct figures *figures; /* NULL: it has none. */
};

static void release(void *arg)
{
    struct answering *a = arg;
    deferred_cancel(&a->again);
    figures_unref(a->figures);
    arena_free(a->scratch);
    buf_done(&a->w.out);
}

/* Pods of one node seldom follow each other, but nodes are few: no more than a short lock each
 * time. */
static const struct figures *figures_of(struct answering *a, struct str node)
{
    if (a->figures != NULL && str_eq(node, a->node))
        return a->figures;
    figures_unref(a->figures);
    a->figures = figure_board_get(a->r->server->figures, node, a->since_ms);
    a->node = arena_str(a->scratch, node);
    return a->figures;
}

/* The object's figures in that form; NULL: there are none. */
static void *make_object(struct answering *a, const struct kv *kv, struct str ns, struct str name)
{
    struct str raw;
    struct figure_subject s = {.ns = ns, .name = name, .now_s = a->r->now_ns / 1000000000};
    if (stored_raw(stored_value(kv), &raw, NULL) != 0)
        return NULL;
    s.labels = ARENA_ARRAY(a->scratch, struct api_str_entry, WIRE_LABELS_MAX);
    s.label_count = wire_labels(raw, s.labels, WIRE_LABELS_MAX);
    if (a->nodes) {
        const struct figures *f = figures_of(a, name);
        return f != NULL ? figure_node_object(a->scratch, &s, f) : NULL;
    }
    struct str node = wire_bytes(wire_bytes(raw, WIRE_POD_SPEC), WIRE_SPEC_NODE_NAME);
    const struct figures *f = node.len != 0 ? figures_of(a, node) : NULL;
    const struct figure_pod *p = f != NULL ? figures_find(f, ns, name) : NULL;
    return p != NULL ? figure_pod_object(a->scratch, &s, p) : NULL;
}

static void recycle(struct answering *a)
{
    if (arena_bytes(a->scratch) < SCRATCH_BYTES)
        return;
    arena_free(a->scratch);
    a->scratch = arena_new(0);
    figures_unref(take(a->figures));
    a->node = STR_NULL;
}

/* --- one ------------------------------------------------------------------------------------- */
static struct meta_v1_status *no_figures(struct answering *a)
{
    const struct request_info *i = &a->r->info;
    struct str name =
        a->nodes ? i->name
                 : arena_printf(a->r->arena, STR_FMT "/" STR_FMT, STR_ARG(i->ns), STR_ARG(i->name));
    return status_not_found(a->r->arena, a->r->res->gr, name);
}

static void answer_one(struct answering *a)
{
    struct req *r = a->r;
    const struct request_info *i = &r->info;
    const struct kv *kv = store_view_get(a->view, registry_key(r->arena, a->of, i->ns, i->name), 0);
    void *object = kv != NULL ? make_object(a, kv, i->ns, i->name) : NULL;
    if (kv == NULL)
        req_status(r, status_not_found(r->arena, a->of->gr, i->name));
    else if (object == NULL)
        req_status(r, no_figures(a));
    else if (r->accept.transform == AS_OBJECT || r->accept.transform == AS_PARTIAL)
        req_object(r, 200, r->res->kind, object);
    else {
        figure_writer_open(&a->w);
        figure_writer_add(&a->w, object);
        figure_writer_close(&a->w);
        req_bytes(r, 200, media_type(r->accept.media), net_bytes_steal(&a->w.out));
    }
}

/* --- many ------------------------------------------------------------------------------------ */
static void add(struct answering *a, const struct kv *kv)
{
    struct str key = kv_key(kv), ns = STR_NULL, name = str_sub(key, a->of->prefix.len, key.len);
    if (a->of->kind->namespaced && !str_cut(name, '/', &ns, &name))
        return;
    if (!list_options_match(&a->o, a->scratch, a->of, stored_value(kv), ns, name))
        return;
    void *object = make_object(a, kv, ns, name);
    if (object != NULL)
        figure_writer_add(&a->w, object);
}

static void answer_slice(struct answering *a)
{
    LOOP_CALLBACK("list figures");
    struct req *r = a->r;
    uint64_t start = uv_hrtime();
    const struct kv *kv = NULL;
    for (unsigned n = 1; !r->http->aborted && (kv = store_iter_next(&a->it)) != NULL; n++) {
        recycle(a);
        add(a, kv);
        if (n % SLICE_OBJECTS == 0 && uv_hrtime() - start > SLICE_NS) {
            deferred_post(&r->thread->defer, &a->again);
            return;
        }
    }
    figure_writer_close(&a->w);
    req_bytes(r, 200, media_type(r->accept.media), net_bytes_steal(&a->w.out));
}

static void on_again(struct deferred *d)
{
    answer_slice(CONTAINER_OF(d, struct answering, again));
}

static void answer_many(struct answering *a)
{
    struct req *r = a->r;
    struct str from, end;
    struct meta_v1_status *s = list_options_parse(r, false, &a->o);
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    list_options_range(r->arena, &a->o, a->of, r->info.ns, &from, &end);
    if (store_iter_init(&a->it, a->view, from, end, 0) != 0) {
        req_status(r, status_internal(r->arena, "the store's view is gone"));
        return;
    }
    figure_writer_open(&a->w);
    answer_slice(a);
}

void figures_answer(struct req *r)
{
    enum include_object include;
    struct str policy = req_query(r, "includeObject");
    if (!figure_leader_is_here(r))
        return;
    if (!table_include_parse(policy, &include)) {
        req_status(r, status_bad_request(r->arena,
                                         "Unable to convert to Table as requested: includeObject: "
                                         "Invalid value: \"" STR_FMT
                                         "\": must be 'Metadata', 'Object', 'None', or empty",
                                         STR_ARG(policy)));
        return;
    }
    struct answering *a = ARENA_NEW(r->arena, struct answering);
    uint64_t now_ms = env_now_ms(r->server->env);
    a->r = r;
    a->nodes = str_eqc(r->res->gr.resource, "nodes");
    a->of = registry_storage(STR(""), r->res->gr.resource);
    a->since_ms = now_ms > FIGURES_GOOD_MS ? now_ms - FIGURES_GOOD_MS : 0;
    a->view = req_view(r);
    a->scratch = arena_new(0);
    a->w = (struct figure_writer){.accept = &r->accept,
                                  .kind = r->res->kind,
                                  .include = include,
                                  .nodes = a->nodes,
                                  .list = r->info.name.len == 0};
    deferred_init(&a->again, on_again);
    arena_hold(r->arena, a, release);
    if (r->info.name.len != 0)
        answer_one(a);
    else
        answer_many(a);
}

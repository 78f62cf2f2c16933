/* delete_collection.c - deletion of everything a selector matches, one object
 * after another; the answer lists what was there. */
#include "api/meta_v1.h"
#include "apiserver/body.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/list_options.h"
#include "apiserver/write.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/bytes.h"
#include "raftstore/store.h"

#include <inttypes.h>

struct collection {
    struct req *r;
    struct meta_v1_delete_options options;
    const struct kv **found; /* Borrowed from the request's view. */
    size_t count, cap;
    size_t at;
    struct str *ns, *names;
};

static void next(struct collection *c);

static struct meta_v1_status *attempt(struct write *w)
{
    struct collection *c = w->arg;
    struct meta_v1_delete_options o = c->options;
    return write_plan_delete(w, &o);
}

static void on_done(struct write *w, struct meta_v1_status *refused)
{
    struct collection *c = w->arg;
    /* Gone meanwhile is what was asked for. */
    if (refused != NULL && refused->code != 404) {
        req_status(c->r, refused);
        return;
    }
    c->at++;
    next(c);
}

static void answer(struct collection *c)
{
    struct req *r = c->r;
    struct buf b = BUF_INIT;
    struct accepted form = {.media = MEDIA_JSON, .version = "v1"};
    struct error err = {0};
    buf_printf(
        &b,
        "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{%s\"resourceVersion\":\"%" PRId64
        "\"},\"items\":[",
        r->res->kind->list_kind, r->res->kind->api_version,
        r->res->custom != NULL ? "\"continue\":\"\"," : "", store_view_rev(req_view(r)));
    for (size_t i = 0; i < c->count; i++) {
        if (i != 0)
            buf_putc(&b, ',');
        conversions_enter(&r->conversions);
        int code = encode_stored(r->arena, &form, r->res, stored_value(c->found[i]),
                                 c->found[i]->mod_rev, true, &b, &err);
        conversions_leave();
        if (code != 0) {
            buf_done(&b);
            req_status(r, status_internal(r->arena, "%s", error_message(&err)));
            return;
        }
    }
    buf_puts(&b, "]}");
    req_bytes(r, 200, TYPE_JSON, net_bytes_steal(&b));
}

static void next(struct collection *c)
{
    struct req *r = c->r;
    struct str ns, name;
    if (c->at >= c->count) {
        answer(c);
        return;
    }
    registry_by_key(kv_key(c->found[c->at]), &ns, &name);
    struct write *w =
        write_new_for(r, r->res, arena_str(r->arena, ns), arena_str(r->arena, name), attempt);
    w->arg = c;
    w->dry_run = c->options.dry_run_count != 0;
    w->done = on_done;
    write_run(w);
}

static void collect(struct req *r)
{
    struct collection *c = ARENA_NEW(r->arena, struct collection);
    struct list_options o;
    struct str from, end, ns, name;
    struct store_iter it;
    c->r = r;
    struct meta_v1_status *s = list_options_parse(r, false, &o);
    if (s == NULL)
        s = body_delete_options(r, &c->options);
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    list_options_range(r->arena, &o, r->res, r->info.ns, &from, &end);
    if (store_iter_init(&it, req_view(r), from, end, 0) == 0)
        for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
            c->found = arena_grow(r->arena, c->found, c->count, &c->cap, sizeof(*c->found));
            c->found[c->count++] = kv;
        }
    if (!req_converted(r, c->found, c->count, collect))
        return;
    conversions_enter(&r->conversions);
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++)
        if (registry_by_key(kv_key(c->found[i]), &ns, &name) != NULL &&
            list_options_match(&o, r->arena, r->res, stored_value(c->found[i]), ns, name))
            c->found[kept++] = c->found[i];
    conversions_leave();
    c->count = kept;
    next(c);
}

void write_delete_collection(struct req *r)
{
    req_barrier(r, collect);
}

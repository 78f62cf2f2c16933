/* read.c - GET of one object.
 *
 * Without resourceVersion the answer is linearizable (a barrier stands before
 * the look); with one, a view that is new enough will do. */
#include "apiserver/request.h"
#include "apiserver/write.h"
#include "lib/base/arena.h"
#include "raftstore/store.h"

static void look(struct req *r)
{
    struct store_view *v = req_view(r);
    const struct kv *kv =
        store_view_get(v, registry_key(r->arena, r->res, r->info.ns, r->info.name), 0);
    int64_t rv = 0;
    struct meta_v1_status *s = write_parse_rv(r->arena, req_query(r, "resourceVersion"), &rv);
    if (s == NULL && rv > store_view_rev(v))
        s = status_rv_too_large(r->arena, rv, store_view_rev(v));
    if (s == NULL && kv == NULL)
        s = status_not_found(r->arena, r->res->gr, r->info.name);
    if (s != NULL)
        req_status(r, s);
    else if (req_converted(r, &kv, 1, look))
        req_stored(r, 200, kv);
}

void read_get(struct req *r)
{
    int64_t rv = 0;
    struct str text = req_query(r, "resourceVersion");
    struct meta_v1_status *s = NULL;
    if (req_query_bool(r, "export"))
        s = status_bad_request(r->arena, "the export parameter, deprecated since v1.14, is no "
                                         "longer supported");
    if (s == NULL)
        s = write_parse_rv(r->arena, text, &rv);
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    bool fresh_enough = false;
    if (text.len != 0) {
        struct store_view *v = req_view(r);
        fresh_enough = rv <= store_view_rev(v);
    }
    if (fresh_enough)
        look(r);
    else
        req_barrier(r, look);
}

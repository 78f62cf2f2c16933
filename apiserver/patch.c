/* patch.c - PATCH: the stored object as a document, patched, and from there
 * an update like any other. */
#include "lib/api/patch.h"

#include "apiserver/body.h"
#include "apiserver/patch_document.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/net/http_server.h"

struct meta_v1_status *patch_document(struct req *r, const struct api_kind *kind, void *msg, void **ret)
{
    struct error err = {0};
    struct json *out;
    enum api_patch_type type;
    switch (body_type_of(http_request_header(r->http, "content-type"))) {
    case BODY_JSON_PATCH:
        type = API_PATCH_JSON;
        break;
    case BODY_MERGE_PATCH:
        type = API_PATCH_MERGE;
        break;
    default:
        type = API_PATCH_STRATEGIC;
        break;
    }
    struct json *doc = api_json_tree(r->arena, kind->msg, msg, str_of(kind->api_version), str_of(kind->kind));
    int code = api_patch_apply(r->arena, type, kind->msg, doc, r->http->body, &out, &err);
    switch (code) {
    case 0:
        return body_decode_tree(r, kind, out, ret);
    case E_UNPROCESSABLE: {
        struct meta_v1_status *s = status_new(r->arena, 422, "Invalid", arena_strc(r->arena, error_message(&err)));
        status_details(r->arena, s);
        return s;
    }
    case E_TOO_LARGE:
        return status_too_large(r->arena, "%s", error_message(&err));
    case E_INVALID:
        return status_bad_request(r->arena, "%s", error_message(&err));
    default:
        return status_plain(r->arena, "%s", error_message(&err));
    }
}

static struct meta_v1_status *attempt(struct write *w)
{
    struct req *r = w->req;
    const struct kv *kv;
    void *old, *served;
    struct meta_v1_status *s = body_check_dry_run(r, "PatchOptions");
    if (s == NULL)
        s = write_load(w, &kv, &old);
    if (s != NULL)
        return s;
    if (kv == NULL)
        return status_not_found(r->arena, w->res->gr, w->name);
    void *current = registry_from_storage(r->arena, r->res, api_msg_clone(r->arena, w->res->storage->msg, old));
    s = patch_document(r, r->res->kind, current, &served);
    if (s != NULL)
        return s;
    void *obj = registry_to_storage(r->arena, r->res, served);
    s = write_check_names(w, api_meta_of(w->res->storage, obj), false);
    return s != NULL ? s : write_plan_update(w, kv, old, obj, r->sub != NULL ? r->sub->name : NULL);
}

struct meta_v1_status *patch_check_type(struct req *r)
{
    switch (body_type_of(http_request_header(r->http, "content-type"))) {
    case BODY_JSON_PATCH:
    case BODY_MERGE_PATCH:
    case BODY_STRATEGIC_PATCH:
        return NULL;
    case BODY_APPLY_PATCH:
        return status_new(r->arena, 501, "NotImplemented", STR("server-side apply is not served by this server"));
    default: {
        struct meta_v1_status *s = status_new(r->arena, 415, "UnsupportedMediaType", STR("415: Unsupported Media Type"));
        status_details(r->arena, s);
        return s;
    }
    }
}

void write_patch(struct req *r)
{
    struct meta_v1_status *s = patch_check_type(r);
    if (s != NULL)
        req_status(r, s);
    else
        write_run(write_new(r, attempt));
}

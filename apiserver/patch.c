/* patch.c - PATCH: the stored object as a document, patched, and from there
 * an update like any other. */
#include "lib/api/patch.h"

#include "apiserver/body.h"
#include "apiserver/field_manager.h"
#include "apiserver/patch_document.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/http_server.h"

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct json_member *)x)->key, ((const struct json_member *)y)->key);
}

/* The document as upstream shows it: its own members sorted. */
static struct str show(struct arena *a, struct json *doc)
{
    AUTO_BUF b = BUF_INIT;
    qsort(doc->object.members, doc->object.count, sizeof(struct json_member), by_key);
    json_write(doc, false, &b);
    return arena_str(a, buf_str(&b));
}

/* --- what a strategic patch is refused with ------------------------------------------- */
/* A kind of Go's for a type of JSON's; numbers are whole ones mostly. */
static const char *go_kind(struct str value)
{
    static const char *const kinds[][2] = {
        {"number", "int64"}, {"object", "map"}, {"array", "slice"}};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (str_has_prefix(value, str_of(kinds[i][0])))
            return kinds[i][1];
    return str_has_prefix(value, STR("bool")) ? "bool" : "string";
}

/* Upstream applies strategic patches by another converter than it decodes
 * bodies with, which names kinds and no paths. "" when why is nothing of types. */
static struct str converter_text(struct arena *a, struct str why)
{
    static const char *const simple[] = {"bool", "string", "int32", "int64", "float64"};
    const struct str from = STR("json: cannot unmarshal "), to = STR(" of type ");
    ptrdiff_t at = str_find_str(why, to);
    if (!str_has_prefix(why, from) || at < 0)
        return STR_NULL;
    const char *kind = go_kind(str_sub(why, from.len, why.len));
    struct str type = str_sub(why, (size_t)at + to.len, why.len);
    for (size_t i = 0; i < ARRAY_SIZE(simple); i++) {
        if (!str_eqc(type, simple[i]))
            continue;
        /* Go could convert a number to a string, as a rune: that is refused by itself. */
        if (strcmp(kind, "int64") == 0 && i == 1)
            return STR("cannot convert int64 to string");
        return arena_printf(a, "unrecognized type: %s", simple[i]);
    }
    if (str_has_prefix(type, STR("[]")))
        return arena_printf(a, "cannot restore slice from %s", kind);
    if (str_has_prefix(type, STR("map[")))
        return arena_printf(a, "cannot restore map from %s", kind);
    return arena_printf(a, "cannot restore struct from: %s", kind);
}

static struct meta_v1_status *strategic_refusal(struct req *r, struct meta_v1_status *s,
                                                struct str why)
{
    struct json *patch;
    struct field_errors errs = {.arena = r->arena};
    AUTO_BUF shown = BUF_INIT;
    if (!str_has_prefix(why, STR("strict decoding error: ")))
        why = converter_text(r->arena, why);
    if (why.len == 0 || json_parse(r->arena, r->http->body, &patch, NULL) != 0)
        return s;
    json_write_go(patch, &shown);
    field_invalid(&errs, PATH(PATH_ROOT, "patch"), arena_str(r->arena, buf_str(&shown)), STR_FMT,
                  STR_ARG(why));
    return status_invalid(r->arena, "", "", STR(""), &errs);
}

/* A patch that makes no object of its kind is the patch's fault. */
static struct meta_v1_status *decode_patched(struct req *r, const struct api_kind *kind,
                                             struct json *doc, void **ret)
{
    bool strategic =
        body_type_of(http_request_header(r->http, "content-type")) == BODY_STRATEGIC_PATCH;
    if (strategic && doc->type == JSON_OBJECT && kind->msg->special != API_CUSTOM) {
        /* Its outcome is of the kind that is patched, whatever it says. */
        json_set(r->arena, doc, STR("apiVersion"),
                 json_string(r->arena, str_of(kind->api_version)));
        json_set(r->arena, doc, STR("kind"), json_string(r->arena, str_of(kind->kind)));
    }
    struct meta_v1_status *s = body_decode_tree(r, kind, doc, ret);
    struct str mark = arena_printf(r->arena, "\" cannot be handled as a %s: ", kind->kind);
    ptrdiff_t at = s == NULL ? -1 : str_find_str(s->message, mark);
    if (at < 0 || doc->type != JSON_OBJECT)
        return s;
    struct str why = str_sub(s->message, (size_t)at + mark.len, s->message.len);
    if (strategic)
        return strategic_refusal(r, s, why);
    struct field_errors errs = {.arena = r->arena};
    field_invalid(&errs, PATH(PATH_ROOT, "patch"), show(r->arena, doc), STR_FMT, STR_ARG(why));
    return status_invalid(r->arena, "", "", STR(""), &errs);
}

struct meta_v1_status *patch_document(struct req *r, const struct api_kind *kind, void *msg,
                                      void **ret)
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
    struct json *doc =
        api_json_tree(r->arena, kind->msg, msg, str_of(kind->api_version), str_of(kind->kind));
    int code = api_patch_apply(r->arena, type, kind->msg, doc, r->http->body, &out, &err);
    switch (code) {
    case 0:
        return decode_patched(r, kind, out, ret);
    case E_UNPROCESSABLE: {
        struct meta_v1_status *s =
            status_new(r->arena, 422, "Invalid",
                       STR("the server rejected our request due to an error in our request"));
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

static const char *sub_name(const struct req *r)
{
    return r->sub != NULL ? r->sub->name : NULL;
}

/* Patches mostly do not speak of managedFields, which are most of a document:
 * it is patched without them, and a list left out is one that goes on. Only
 * refusals show all of it. */
static struct meta_v1_status *patch_object(struct req *r, void *current, void **ret)
{
    struct meta_v1_object_meta *m = api_meta_of(r->res->kind, current);
    const struct meta_v1_object_meta all = *m;
    if (str_find_str(r->http->body, STR("managedFields")) >= 0)
        return patch_document(r, r->res->kind, current, ret);
    m->managed_fields = NULL;
    m->managed_fields_count = 0;
    struct meta_v1_status *s = patch_document(r, r->res->kind, current, ret);
    if (s == NULL)
        return NULL;
    *m = all;
    return patch_document(r, r->res->kind, current, ret);
}

static struct meta_v1_status *attempt_patch(struct write *w)
{
    struct req *r = w->req;
    const struct kv *kv;
    void *old, *served = NULL;
    struct meta_v1_status *s = write_load(w, &kv, &old);
    if (s != NULL)
        return s;
    if (kv == NULL)
        return status_not_found(r->arena, w->res->gr, w->name);
    void *current =
        registry_from_storage(r->arena, r->res, api_msg_clone(r->arena, w->res->storage->msg, old));
    s = patch_object(r, current, &served);
    if (s != NULL)
        return s;
    void *obj = registry_to_storage(r->arena, r->res, w->res->storage, served);
    s = write_check_names(w, api_meta_of(w->res->storage, obj), false);
    return s != NULL ? s : write_plan_update(w, kv, old, obj, sub_name(r));
}

/* --- server-side apply -------------------------------------------------------------- */
struct apply_request {
    struct req *req;
    struct json *config;
    enum field_validation validation;
    bool force;
    struct str duplicates; /* What a strict reader finds; empty: nothing. */
};

static struct meta_v1_status *attempt_apply(struct write *w)
{
    struct req *r = w->req;
    const struct kv *kv;
    void *old, *obj = NULL;
    struct field_manager fm = field_manager_of(r, w->res->storage, w->ctx.now_ns);
    struct meta_v1_status *s = write_load(w, &kv, &old);
    if (s == NULL && kv == NULL && r->sub != NULL)
        s = status_not_found(r->arena, w->res->gr, w->name);
    if (s == NULL)
        s = apply_config(w->arg, &fm, old, &obj);
    if (s != NULL)
        return s;
    struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    if (kv == NULL && m->uid.len != 0)
        return status_conflict(r->arena, w->res->gr, w->name,
                               "uid mismatch: the provided object specified uid " STR_FMT
                               ", and no existing object was found",
                               STR_ARG(m->uid));
    s = write_check_names(w, m, false);
    if (s != NULL)
        return s;
    if (kv != NULL)
        return write_plan_update(w, kv, old, obj, sub_name(r));
    m->resource_version = STR_NULL;
    return write_plan_create_instead(w, obj);
}

struct meta_v1_status *apply_config(const struct apply_request *apply,
                                    const struct field_manager *fm, const void *live, void **ret)
{
    struct req *r = apply->req;
    struct meta_v1_status *s = field_manager_apply(fm, live, apply->config, apply->force, ret);
    if (s != NULL || apply->duplicates.len == 0)
        return s;
    if (apply->validation == VALIDATE_STRICT)
        return status_bad_request(r->arena, "error strict decoding YAML: " STR_FMT,
                                  STR_ARG(apply->duplicates));
    if (apply->validation == VALIDATE_WARN &&
        r->warnings.count == 0) /* Once, however often it is tried. */
        str_list_add(&r->warnings, apply->duplicates);
    return NULL;
}

static struct meta_v1_status *read_config(struct req *r, struct apply_request *apply)
{
    size_t consumed;
    struct error err = {0};
    int code = api_yaml_parse(r->arena, r->http->body, &consumed, &apply->config, &err);
    if (code != 0 && code != E_EOF)
        return status_bad_request(r->arena,
                                  "error decoding YAML: error converting YAML to JSON: %s",
                                  error_message(&err));
    if (code == E_EOF || apply->config->type == JSON_NULL)
        apply->config = json_object(r->arena);
    if (apply->config->type != JSON_OBJECT)
        return status_bad_request(
            r->arena,
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot "
            "unmarshal %s into Go value of type map[string]interface {}",
            apply->config->type == JSON_ARRAY    ? "array"
            : apply->config->type == JSON_STRING ? "string"
            : apply->config->type == JSON_BOOL   ? "bool"
                                                 : "number");
    struct json *ignored;
    if (api_yaml_parse_strict(r->arena, r->http->body, &consumed, &ignored, &err) == E_INVALID)
        apply->duplicates =
            arena_printf(r->arena, "error converting YAML to JSON: %s", error_message(&err));
    return NULL;
}

struct meta_v1_status *patch_begin(struct req *r, struct apply_request **ret_apply)
{
    struct meta_v1_status *s;
    *ret_apply = NULL;
    switch (body_type_of(http_request_header(r->http, "content-type"))) {
    case BODY_STRATEGIC_PATCH:
        if (r->res->custom != NULL)
            return status_new(r->arena, 415, "UnsupportedMediaType",
                              STR("the body of the request was in an unknown format - accepted "
                                  "media types include: application/json-patch+json, "
                                  "application/merge-patch+json, application/apply-patch+yaml"));
        return body_check_options(r, "PatchOptions");
    case BODY_JSON_PATCH:
    case BODY_MERGE_PATCH:
        return body_check_options(r, "PatchOptions");
    case BODY_APPLY_PATCH:
        break;
    default:
        s = status_new(r->arena, 415, "UnsupportedMediaType", STR("415: Unsupported Media Type"));
        status_details(r->arena, s);
        return s;
    }
    struct apply_request *apply = ARENA_NEW(r->arena, struct apply_request);
    apply->req = r;
    apply->force = req_query_bool(r, "force");
    apply->validation = body_field_validation(r);
    s = body_check_options(r, "PatchOptions");
    if (s == NULL)
        s = read_config(r, apply);
    *ret_apply = apply;
    return s;
}

void write_patch(struct req *r)
{
    struct apply_request *apply;
    struct meta_v1_status *s = patch_begin(r, &apply);
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    struct write *w = write_new(r, apply != NULL ? attempt_apply : attempt_patch);
    w->arg = apply;
    if (apply != NULL)
        w->fields = WRITE_FIELDS_SET;
    write_run(w);
}

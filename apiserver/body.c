/* body.c - see body.h. The error texts are those of upstream's decoders. */
#include "apiserver/body.h"

#include "apiserver/field_error.h"
#include "apiserver/request.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/net/http_server.h"

#define SUMMARY_BYTES 30u
#define FIELD_MANAGER_BYTES_MAX 128
#define UNMARSHAL_ARRAY                                                                            \
    "json: cannot unmarshal array into Go value of type struct { APIVersion string "               \
    "\"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }"

/* --- options in the query --------------------------------------------------------- */
enum field_validation body_field_validation(struct req *r)
{
    struct str v = req_query(r, "fieldValidation");
    return str_eqc(v, "Strict")   ? VALIDATE_STRICT
           : str_eqc(v, "Ignore") ? VALIDATE_IGNORE
                                  : VALIDATE_WARN;
}

static void check_field_validation(struct req *r, struct field_errors *errs)
{
    static const char *const known[] = {"", "Ignore", "Strict", "Warn", NULL};
    struct str v = req_query(r, "fieldValidation");
    if (v.len != 0 && !str_eqc(v, "Ignore") && !str_eqc(v, "Strict") && !str_eqc(v, "Warn"))
        field_not_supported(errs, PATH(PATH_ROOT, "fieldValidation"), v, known);
}

/* Upstream shows the beginning of what it could not read. */
static struct str summary(struct arena *a, struct str body)
{
    bool cut = body.len > SUMMARY_BYTES;
    struct str head = str_sub(body, 0, SUMMARY_BYTES);
    if (body.len == 0)
        return STR("<empty>");
    if (body.data[0] == '{')
        return arena_printf(a, STR_FMT "%s", STR_ARG(head), cut ? " ..." : "");
    char *hex = arena_alloc(a, head.len * 2 + 1);
    hex_encode_to(head.data, head.len, hex);
    return arena_printf(a, "%.*s%s", (int)(head.len * 2), hex, cut ? " ..." : "");
}

static struct meta_v1_status *unrecognized(struct req *r, const struct api_kind *kind,
                                           const char *why)
{
    return status_bad_request(
        r->arena, "the object provided is unrecognized (must be of type %s): %s (" STR_FMT ")",
        kind->kind, why, STR_ARG(summary(r->arena, r->http->body)));
}

static struct meta_v1_status *not_json(struct req *r, const struct api_kind *kind, const char *why)
{
    return unrecognized(
        r, kind,
        str_c(arena_printf(r->arena, "couldn't get version/kind; json parse error: %s", why)));
}

static const char *internal_package(struct arena *a, const struct api_kind *k)
{
    if (k->group[0] == '\0')
        return "core";
    struct str head, rest;
    str_cut(str_of(k->group), '.', &head, &rest);
    return str_c(arena_str(a, head));
}

/* The body says which kind it holds, or nothing. */
static struct meta_v1_status *check_kind(struct req *r, const struct api_kind *kind,
                                         struct str api_version, struct str name)
{
    if (api_version.len == 0)
        api_version = str_of(kind->api_version);
    if (name.len == 0)
        name = str_of(kind->kind);
    if (str_eqc(api_version, kind->api_version) && str_eqc(name, kind->kind))
        return NULL;
    if (kind->msg->special == API_CUSTOM)
        return str_eqc(api_version, kind->api_version)
                   ? NULL /* Another kind: judged with the rest of the object. */
                   : status_bad_request(r->arena,
                                        "the API version in the data (" STR_FMT
                                        ") does not match the expected API version (%s)",
                                        STR_ARG(api_version), kind->api_version);
    struct str group, version;
    if (!str_cut(api_version, '/', &group, &version)) {
        version = api_version;
        group = STR_NULL;
    }
    struct str prefix = arena_printf(
        r->arena, STR_FMT " in version \"" STR_FMT "\" cannot be handled as a %s: ", STR_ARG(name),
        STR_ARG(version), kind->kind);
    if (api_kind_by_api_version(api_version, name) == NULL)
        return status_bad_request(r->arena,
                                  STR_FMT "no kind \"" STR_FMT
                                          "\" is registered for version \"" STR_FMT
                                          "\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
                                  STR_ARG(prefix), STR_ARG(name), STR_ARG(api_version));
    return status_bad_request(
        r->arena, STR_FMT "converting (" STR_FMT "." STR_FMT ") to (%s.%s): unknown conversion",
        STR_ARG(prefix), STR_ARG(version), STR_ARG(name), internal_package(r->arena, kind),
        kind->kind);
}

static struct meta_v1_status *undecodable(struct req *r, const struct api_kind *kind,
                                          const char *why)
{
    return status_bad_request(r->arena, "%s in version \"%s\" cannot be handled as a %s: %s",
                              kind->kind, kind->version, kind->kind, why);
}

/* Unknown and duplicate fields: an error or warnings, as asked. before: what
 * was found already, or nothing. */
static struct meta_v1_status *judge(struct req *r, const struct api_kind *kind, struct str before,
                                    const struct api_warnings *w, enum field_validation mode)
{
    if ((w->count == 0 && before.len == 0) || mode == VALIDATE_IGNORE)
        return NULL;
    if (mode == VALIDATE_WARN) {
        if (before.len != 0)
            str_list_add(&r->warnings, before);
        for (size_t i = 0; i < w->count; i++)
            str_list_add(&r->warnings, w->items[i]);
        return NULL;
    }
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "strict decoding error: ");
    buf_append_str(&b, before);
    for (size_t i = 0; i < w->count; i++) {
        if (i != 0 || before.len != 0)
            buf_puts(&b, ", ");
        buf_append_str(&b, w->items[i]);
    }
    return undecodable(r, kind, str_c(arena_str(r->arena, buf_str(&b))));
}

/* Custom kinds are told of a wrong kind as of any other wrong value. */
static struct meta_v1_status *check_custom(struct req *r, const struct api_kind *kind,
                                           struct str name, const void *msg)
{
    struct field_errors errs = {.arena = r->arena};
    if (kind->msg->special != API_CUSTOM || str_eqc(name, kind->kind))
        return NULL;
    if (name.len == 0)
        return unrecognized(r, kind, "Object 'Kind' is missing");
    field_invalid(&errs, PATH(PATH_ROOT, "kind"), name, "must be %s", kind->kind);
    return status_invalid(r->arena, kind->group, str_c(arena_str(r->arena, name)),
                          api_meta_of(kind, msg)->name, &errs);
}

static struct meta_v1_status *decode_tree(struct req *r, const struct api_kind *kind,
                                          const struct json *tree, struct str duplicates,
                                          void **ret_msg)
{
    enum field_validation mode = body_field_validation(r);
    if (tree->type != JSON_OBJECT)
        return not_json(r, kind, UNMARSHAL_ARRAY);
    struct meta_v1_status *s =
        check_kind(r, kind, json_get_str(tree, "apiVersion"), json_get_str(tree, "kind"));
    if (s != NULL)
        return s;
    struct api_warnings w = {0};
    struct error err = {0};
    void *msg = api_msg_new(r->arena, kind->msg);
    if (api_json_decode_tree(r->arena, kind->msg, tree,
                             mode == VALIDATE_IGNORE ? API_LENIENT : API_WARN, &w, msg, &err) != 0)
        return undecodable(r, kind, str_c(arena_strc(r->arena, err.message)));
    *ret_msg = msg;
    s = judge(r, kind, duplicates, &w, mode);
    return s != NULL ? s : check_custom(r, kind, json_get_str(tree, "kind"), msg);
}

struct meta_v1_status *body_decode_tree(struct req *r, const struct api_kind *kind,
                                        const struct json *tree, void **ret_msg)
{
    return decode_tree(r, kind, tree, STR_NULL, ret_msg);
}

/* --- a light look at the top of a JSON object ------------------------------------ */
static size_t skip_string(struct str s, size_t at)
{
    for (at++; at < s.len && s.data[at] != '"'; at++)
        if (s.data[at] == '\\')
            at++;
    return at + 1;
}

static size_t skip_value(struct str s, size_t at)
{
    int depth = 0;
    while (at < s.len) {
        char c = s.data[at];
        if (c == '"') {
            at = skip_string(s, at);
            if (depth == 0)
                return at;
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']') {
            if (depth == 0)
                return at;
            if (--depth == 0)
                return at + 1;
        } else if (depth == 0 && c == ',')
            return at;
        at++;
    }
    return at;
}

static size_t skip_space(struct str s, size_t at)
{
    while (at < s.len && strchr(" \t\r\n", s.data[at]) != NULL && s.data[at] != '\0')
        at++;
    return at;
}

/* kind and apiVersion without parsing the rest. Escapes in them do not occur. */
static void peek_type(struct str s, struct str *ret_api_version, struct str *ret_kind)
{
    *ret_api_version = *ret_kind = STR_NULL;
    size_t at = skip_space(s, 0);
    if (at >= s.len || s.data[at] != '{')
        return;
    at = skip_space(s, at + 1);
    while (at < s.len && s.data[at] == '"') {
        size_t end = skip_string(s, at);
        struct str key = str_sub(s, at + 1, end >= at + 2 ? end - at - 2 : 0);
        at = skip_space(s, end);
        if (at >= s.len || s.data[at] != ':')
            return;
        at = skip_space(s, at + 1);
        size_t stop = skip_value(s, at);
        if (at < s.len && s.data[at] == '"' && stop >= at + 2 && stop <= s.len) {
            if (str_eqc(key, "kind"))
                *ret_kind = str_sub(s, at + 1, stop - at - 2);
            else if (str_eqc(key, "apiVersion"))
                *ret_api_version = str_sub(s, at + 1, stop - at - 2);
        }
        at = skip_space(s, stop);
        if (at < s.len && s.data[at] == ',')
            at = skip_space(s, at + 1);
    }
}

/* A document of another version, which upstream has pruned by no schema at all
 * before it looks: everything in it is unknown. */
static void warn_of_all(struct req *r, const struct api_kind *kind, const struct json *tree,
                        enum field_validation mode)
{
    if (kind->msg->special != API_CUSTOM || mode != VALIDATE_WARN || tree->type != JSON_OBJECT)
        return;
    for (size_t i = 0; i < tree->object.count; i++)
        if (!structural_is_meta(tree->object.members[i].key))
            str_list_add(&r->warnings, arena_printf(r->arena, "unknown field \"" STR_FMT "\"",
                                                    STR_ARG(tree->object.members[i].key)));
}

static struct meta_v1_status *decode_json(struct req *r, const struct api_kind *kind,
                                          enum field_validation mode, void **ret_msg)
{
    struct str body = r->http->body, api_version, name;
    struct api_warnings w = {0};
    struct error err = {0}, parse_err = {0};
    struct json *tree;
    peek_type(body, &api_version, &name);
    struct meta_v1_status *s = check_kind(r, kind, api_version, name);
    void *msg = api_msg_new(r->arena, kind->msg);
    int code = api_json_decode(r->arena, kind->msg, body,
                               mode == VALIDATE_IGNORE ? API_LENIENT : API_WARN, &w, msg, &err);
    if (code != 0 || s != NULL) {
        /* Malformed text is another error than a wrong type or kind. */
        if (json_parse(r->arena, body, &tree, &parse_err) != 0)
            return not_json(r, kind, str_c(arena_strc(r->arena, parse_err.message)));
        if (tree->type != JSON_OBJECT)
            return body_decode_tree(r, kind, tree, ret_msg);
        if (s != NULL)
            warn_of_all(r, kind, tree, mode);
        return s != NULL ? s : undecodable(r, kind, str_c(arena_strc(r->arena, err.message)));
    }
    *ret_msg = msg;
    s = judge(r, kind, STR_NULL, &w, mode);
    return s != NULL ? s : check_custom(r, kind, name, msg);
}

static struct meta_v1_status *decode_protobuf(struct req *r, const struct api_kind *kind,
                                              void **ret_msg)
{
    struct str api_version, name, raw;
    struct error err = {0};
    if (api_envelope_open(r->http->body, &api_version, &name, &raw, &err) != 0)
        return unrecognized(r, kind, str_c(arena_strc(r->arena, err.message)));
    struct meta_v1_status *s = check_kind(r, kind, api_version, name);
    if (s != NULL)
        return s;
    void *msg = api_msg_new(r->arena, kind->msg);
    if (api_pb_decode(r->arena, kind->msg, raw, msg, &err) != 0)
        return undecodable(r, kind, str_c(arena_strc(r->arena, err.message)));
    *ret_msg = msg;
    return NULL;
}

static struct meta_v1_status *decode_yaml(struct req *r, const struct api_kind *kind,
                                          void **ret_msg)
{
    struct json *tree;
    size_t consumed;
    struct error err = {0};
    int code = api_yaml_parse(r->arena, r->http->body, &consumed, &tree, &err);
    if (code == E_EOF)
        return unrecognized(r, kind, "Object 'Kind' is missing in 'null'");
    if (code != 0)
        return unrecognized(r, kind, str_c(arena_strc(r->arena, err.message)));
    struct json *ignored;
    struct str duplicates = STR_NULL;
    if (api_yaml_parse_strict(r->arena, r->http->body, &consumed, &ignored, &err) == E_INVALID)
        duplicates = arena_strc(r->arena, err.message);
    return decode_tree(r, kind, tree, duplicates, ret_msg);
}

struct meta_v1_status *body_decode(struct req *r, const struct api_kind *kind, void **ret_msg)
{
    enum field_validation mode = body_field_validation(r);
    switch (body_type_of(http_request_header(r->http, "content-type"))) {
    case BODY_JSON:
        return decode_json(r, kind, mode, ret_msg);
    case BODY_YAML:
        return decode_yaml(r, kind, ret_msg);
    case BODY_PROTOBUF:
        if (kind->msg->special != API_CUSTOM)
            return decode_protobuf(r, kind, ret_msg);
        return status_new(r->arena, 415, "UnsupportedMediaType",
                          STR("the body of the request was in an unknown format - accepted media "
                              "types include: " TYPES_ACCEPTED_CUSTOM));
    default:
        return status_new(r->arena, 415, "UnsupportedMediaType",
                          STR("the body of the request was in an unknown format - accepted media "
                              "types include: " TYPES_ACCEPTED));
    }
}

/* Control characters of Latin-1, which no alphabet has beyond ASCII. */
static void check_field_manager(struct str v, struct field_errors *errs)
{
    const struct field_path *path = PATH(PATH_ROOT, "fieldManager");
    if (v.len > FIELD_MANAGER_BYTES_MAX)
        field_too_long(errs, path, FIELD_MANAGER_BYTES_MAX);
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.data[i];
        unsigned char next = i + 1 < v.len ? (unsigned char)v.data[i + 1] : 0;
        if (c < ' ' || c == 0x7f)
            field_invalid(errs, path, v, "invalid character U+%04X (at position %zu)", c, i);
        else if (c == 0xc2 && next >= 0x80 && next <= 0xa0)
            field_invalid(errs, path, v, "invalid character U+%04X (at position %zu)", next, i);
    }
}

/* Force is for configurations that are applied, which must name a manager. */
static void check_patch_options(struct req *r, struct str manager, struct field_errors *errs)
{
    bool apply = body_type_of(http_request_header(r->http, "content-type")) == BODY_APPLY_PATCH;
    if (apply && manager.len == 0)
        field_required(errs, PATH(PATH_ROOT, "fieldManager"), "is required for apply patch");
    if (!apply && req_query_has(r, "force"))
        field_forbidden(errs, PATH(PATH_ROOT, "force"), "may not be specified for non-apply patch");
}

static void check_dry_run(const struct str *list, size_t count, struct field_errors *errs)
{
    static const char *const known[] = {"All", NULL};
    for (size_t i = 0; i < count; i++)
        if (!str_eqc(list[i], "All")) {
            field_not_supported_raw(errs, PATH(PATH_ROOT, "dryRun"),
                                    field_strings_render(errs->arena, list, count), known);
            return;
        }
}

struct meta_v1_status *body_check_options(struct req *r, const char *options_kind)
{
    struct str manager = req_query(r, "fieldManager");
    struct field_errors errs = {.arena = r->arena};
    size_t count;
    const struct str *dry_run = req_query_all(r, "dryRun", &count);
    if (strcmp(options_kind, "PatchOptions") == 0)
        check_patch_options(r, manager, &errs);
    check_field_manager(manager, &errs);
    check_dry_run(dry_run, count, &errs);
    check_field_validation(r, &errs);
    if (errs.count == 0)
        return NULL;
    return status_invalid(r->arena, "meta.k8s.io", options_kind, STR(""), &errs);
}

/* --- DeleteOptions ---------------------------------------------------------------- */
static struct meta_v1_status *check_delete_options(struct req *r,
                                                   const struct meta_v1_delete_options *o)
{
    static const char *const policies[] = {"Foreground", "Background", "Orphan", "nil", NULL};
    struct field_errors errs = {.arena = r->arena};
    if (o->has_orphan_dependents && o->has_propagation_policy)
        field_invalid(&errs, PATH(PATH_ROOT, "propagationPolicy"), o->propagation_policy,
                      "orphanDependents and deletionPropagation cannot be both set");
    if (o->has_propagation_policy && !str_eqc(o->propagation_policy, "Foreground") &&
        !str_eqc(o->propagation_policy, "Background") && !str_eqc(o->propagation_policy, "Orphan"))
        field_not_supported(&errs, PATH(PATH_ROOT, "propagationPolicy"), o->propagation_policy,
                            policies);
    check_dry_run(o->dry_run, o->dry_run_count, &errs);
    return errs.count == 0
               ? NULL
               : status_invalid(r->arena, "meta.k8s.io", "DeleteOptions", STR(""), &errs);
}

static struct meta_v1_status *options_of_query(struct req *r, struct meta_v1_delete_options *o)
{
    struct meta_v1_status *s = req_query_i64(r, "gracePeriodSeconds", &o->has_grace_period_seconds,
                                             &o->grace_period_seconds);
    if (s != NULL)
        return s;
    if (req_query_has(r, "orphanDependents")) {
        o->has_orphan_dependents = true;
        o->orphan_dependents = req_query_bool(r, "orphanDependents");
    }
    o->has_propagation_policy = req_query_has(r, "propagationPolicy");
    o->propagation_policy = req_query(r, "propagationPolicy");
    o->dry_run = req_query_all(r, "dryRun", &o->dry_run_count);
    return NULL;
}

/* Options are read leniently, and what is wrong with them is told as it is. */
static struct meta_v1_status *decode_options(struct req *r, const struct api_kind *kind,
                                             enum body_type type, void *msg)
{
    struct error err = {0};
    struct str body = r->http->body, api_version, name, raw;
    struct json *tree;
    size_t consumed;
    int code;
    switch (type) {
    case BODY_PROTOBUF:
        code = api_envelope_open(body, &api_version, &name, &raw, &err);
        if (code == 0)
            code = api_pb_decode(r->arena, kind->msg, raw, msg, &err);
        return code == 0 ? NULL : status_bad_request(r->arena, "%s", err.message);
    case BODY_JSON:
        code = json_parse(r->arena, body, &tree, &err);
        break;
    case BODY_YAML:
        code = api_yaml_parse(r->arena, body, &consumed, &tree, &err);
        break;
    default:
        return status_new(r->arena, 415, "UnsupportedMediaType",
                          STR("the body of the request was in an unknown format - accepted media "
                              "types include: " TYPES_ACCEPTED));
    }
    if (code != 0)
        return status_bad_request(
            r->arena, "%s%s",
            type == BODY_JSON ? "couldn't get version/kind; json parse error: " : "", err.message);
    if (tree->type != JSON_OBJECT)
        return status_bad_request(r->arena,
                                  "couldn't get version/kind; json parse error: " UNMARSHAL_ARRAY);
    if (api_json_decode_tree(r->arena, kind->msg, tree, API_LENIENT, NULL, msg, &err) != 0)
        return status_bad_request(r->arena, "%s", err.message);
    return NULL;
}

struct meta_v1_status *body_delete_options(struct req *r, struct meta_v1_delete_options *ret)
{
    struct meta_v1_status *s;
    if (r->http->body.len == 0) {
        s = options_of_query(r, ret);
        return s != NULL ? s : check_delete_options(r, ret);
    }
    const struct api_kind *kind = api_kind_by_gvk(STR(""), STR("v1"), STR("DeleteOptions"));
    ASSERT(kind != NULL);
    /* DeleteOptions are registered in every group version. */
    struct str body = r->http->body, api_version = STR_NULL, name = STR_NULL, raw;
    enum body_type type = body_type_of(http_request_header(r->http, "content-type"));
    if (type == BODY_PROTOBUF)
        (void)api_envelope_open(body, &api_version, &name, &raw, NULL);
    else if (type == BODY_JSON)
        peek_type(body, &api_version, &name);
    if (name.len != 0 && !str_eqc(name, "DeleteOptions"))
        return status_bad_request(
            r->arena,
            "no kind \"" STR_FMT "\" is registered for version \"" STR_FMT "\" in scheme "
            "\"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\"",
            STR_ARG(name), STR_ARG(api_version));
    void *msg = api_msg_new(r->arena, kind->msg);
    s = decode_options(r, kind, type, msg);
    if (s != NULL)
        return s;
    *ret = *(struct meta_v1_delete_options *)msg;
    /* A dryRun in the query counts beside a body, too. */
    struct str v = req_query(r, "dryRun");
    if (v.len != 0 && ret->dry_run_count == 0) {
        ret->dry_run = arena_memdup(r->arena, &v, sizeof(v));
        ret->dry_run_count = 1;
    }
    return check_delete_options(r, ret);
}

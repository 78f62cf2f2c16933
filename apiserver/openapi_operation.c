/* openapi_operation.c - see openapi_operation.h.
 *
 * The versions differ in where media types and bodies stand: v2 has lists of
 * types and calls the body a parameter, v3 has a schema for each type.
 * Parameters that all of an item's operations take stand at the item. */
#include "apiserver/openapi_operation.h"

#include "apiserver/openapi_defs.h"
#include "apiserver/openapi_writer.h"
#include "lib/api/json.h"
#include "lib/base/buf.h"

static void put_types(const char *key, const char *const *types, size_t n, struct buf *out)
{
    buf_printf(out, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%s\"%s\"", i == 0 ? "" : ",", types[i]);
    buf_puts(out, "],");
}

/* The media types an operation answers in. */
static size_t answer_types(const struct openapi_operation *o, bool protobuf, const char **ret)
{
    size_t n = 0;
    if ((o->flags & ANSWER_ANY) != 0) {
        ret[n++] = "*/*";
        return n;
    }
    if ((o->flags & ANSWER_TEXT) != 0)
        ret[n++] = "text/plain";
    ret[n++] = (o->flags & ANSWER_KEYS) != 0 ? "application/jwk-set+json" : "application/json";
    if ((o->flags & (ANSWER_JSON | ANSWER_KEYS)) != 0)
        return n;
    ret[n++] = "application/yaml";
    if (protobuf)
        ret[n++] = "application/vnd.kubernetes.protobuf";
    if ((o->flags & ANSWER_STREAM) != 0) {
        ret[n++] = "application/json;stream=watch";
        if (protobuf)
            ret[n++] = "application/vnd.kubernetes.protobuf;stream=watch";
    }
    return n;
}

static size_t patch_types(bool builtin, const char **ret)
{
    size_t n = 0;
    ret[n++] = "application/json-patch+json";
    ret[n++] = "application/merge-patch+json";
    if (builtin)
        ret[n++] = "application/strategic-merge-patch+json";
    ret[n++] = "application/apply-patch+yaml";
    return n;
}

static void put_schema(enum openapi_version v, struct str name, struct buf *out)
{
    if (name.len == 0)
        buf_puts(out, "{\"type\":\"string\"}");
    else
        buf_printf(out, "{\"$ref\":\"%s" STR_FMT "\"}", openapi_ref_prefix(v), STR_ARG(name));
}

static void put_content(enum openapi_version v, const char *const *types, size_t n, struct str name,
                        struct buf *out)
{
    buf_puts(out, "\"content\":{");
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%s\"%s\":{\"schema\":", i == 0 ? "" : ",", types[i]);
        put_schema(v, name, out);
        buf_putc(out, '}');
    }
    buf_putc(out, '}');
}

static void put_response(enum openapi_version v, const struct openapi_item *it,
                         const struct openapi_operation *o, const char *code, const char *text,
                         struct buf *out)
{
    const char *types[8];
    buf_printf(out, "\"%s\":{", code);
    if (v == OPENAPI_V3) {
        size_t n = answer_types(o, it->protobuf, types);
        put_content(v, types, n, o->answer, out);
        buf_printf(out, ",\"description\":\"%s\"},", text);
        return;
    }
    buf_printf(out, "\"description\":\"%s\",\"schema\":", text);
    put_schema(v, o->answer, out);
    buf_puts(out, "},");
}

static void put_request(enum openapi_version v, const struct openapi_item *it,
                        const struct openapi_operation *o, struct buf *out)
{
    const char *types[8] = {"*/*"};
    bool patch = (o->params & PARAM_BIT(PARAM_BODY_PATCH)) != 0;
    size_t n = patch ? patch_types(it->protobuf, types) : 1;
    if (v == OPENAPI_V2) {
        if ((o->flags & ANSWER_SAME) != 0)
            n = answer_types(o, it->protobuf, types);
        if (o->action != NULL || (o->flags & ANSWER_SAME) != 0)
            put_types("consumes", types, n, out);
        return;
    }
    if (o->body.len == 0)
        return;
    buf_puts(out, "\"requestBody\":{");
    put_content(v, types, n, o->body, out);
    buf_puts(out, (o->params & PARAM_BIT(PARAM_BODY_DELETE)) != 0 ? "}," : ",\"required\":true},");
}

static void put_operation(enum openapi_version v, const struct openapi_item *it,
                          const struct openapi_operation *o, openapi_params common, struct str tag,
                          struct buf *out)
{
    openapi_params own = o->params & ~common;
    buf_printf(out, "\"%s\":{", o->method);
    if (v == OPENAPI_V2)
        put_request(v, it, o, out);
    buf_puts(out, "\"description\":");
    json_write_string(o->text, out);
    buf_printf(out, ",\"operationId\":\"" STR_FMT "\",", STR_ARG(o->id));
    if ((v == OPENAPI_V2 ? own : own & ~PARAMS_BODY) != 0) {
        struct openapi_param_context c = {.version = v, .kind = it->kind, .body = o->body};
        buf_puts(out, "\"parameters\":");
        openapi_params_put(&c, own, out);
        buf_putc(out, ',');
    }
    if (v == OPENAPI_V2) {
        const char *types[8];
        size_t n = answer_types(o, it->protobuf, types);
        put_types("produces", types, n, out);
    } else
        put_request(v, it, o, out);
    buf_puts(out, "\"responses\":{");
    put_response(v, it, o, "200", "OK", out);
    if ((o->flags & ANSWER_CREATED) != 0)
        put_response(v, it, o, "201", "Created", out);
    if ((o->flags & ANSWER_ACCEPTED) != 0)
        put_response(v, it, o, "202", "Accepted", out);
    buf_puts(out, "\"401\":{\"description\":\"Unauthorized\"}},");
    if (v == OPENAPI_V2)
        buf_puts(out, "\"schemes\":[\"https\"],");
    buf_printf(out, "\"tags\":[\"" STR_FMT "\"]", STR_ARG(tag));
    if (o->action != NULL)
        buf_printf(out,
                   ",\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":{"
                   "\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}",
                   o->action, o->group, o->kind, o->version);
    buf_putc(out, '}');
}

openapi_params openapi_item_write(struct openapi_writer *w, const struct openapi_item *it,
                                  struct str tag)
{
    AUTO_BUF out = BUF_INIT;
    openapi_params common = ~PARAMS_BODY, used = 0;
    for (size_t i = 0; i < it->count; i++)
        common &= it->operations[i].params;
    buf_putc(&out, '{');
    for (size_t i = 0; i < it->count; i++) {
        if (i != 0)
            buf_putc(&out, ',');
        put_operation(w->version, it, &it->operations[i], common, tag, &out);
        used |= it->operations[i].params;
    }
    if (common != 0) {
        struct openapi_param_context c = {.version = w->version, .kind = it->kind};
        buf_puts(&out, ",\"parameters\":");
        openapi_params_put(&c, common, &out);
    }
    buf_putc(&out, '}');
    openapi_writer_item(w, it->path, buf_str(&out));
    return used;
}

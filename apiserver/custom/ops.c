/* ops.c - the rules that all custom kinds share (kind.h): status, generation,
 * validation, scale, table rows. */
#include "api/meta_v1.h"
#include "apiserver/custom/definition.h"
#include "apiserver/custom/rules.h"
#include "apiserver/custom/validate.h"
#include "apiserver/table.h"
#include "apiserver/validate.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/jsonpath.h"
#include "lib/api/structural.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <inttypes.h>
#include <stdlib.h>

/* --- documents ------------------------------------------------------------------------- */
/* The object as one document, for paths and schemas that look at its metadata. */
static struct json *document(struct arena *a, const struct api_custom *x, bool metadata)
{
    const struct custom_version *v = custom_version_of_msg(x->msg);
    struct json *root = json_object(a);
    json_setc(a, root, "apiVersion", json_string(a, str_of(v->kind.api_version)));
    json_setc(a, root, "kind", json_string(a, str_of(v->kind.kind)));
    json_setc(a, root, "metadata",
              metadata
                  ? api_json_tree(a, &meta_v1_object_meta_msg, &x->metadata, STR_NULL, STR_NULL)
                  : json_object(a));
    for (size_t i = 0; i < x->content->object.count; i++) {
        const struct json_member *m = &x->content->object.members[i];
        json_set(a, root, m->key, m->value);
    }
    return root;
}

/* --- writes ------------------------------------------------------------------------------ */
static bool has_status(const struct api_custom *x)
{
    return custom_version_of_msg(x->msg)->res.status;
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    custom_tidy(ctx->arena, obj);
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct api_custom *x = obj;
    if (has_status(x))
        json_remove(x->content, STR("status"));
    x->metadata.generation = 1;
}

static void keep_status(struct arena *a, struct json *content, const struct json *from)
{
    const struct json *status = json_getc(from, "status");
    if (status != NULL)
        json_setc(a, content, "status", json_clone(a, status));
    else
        json_remove(content, STR("status"));
}

static bool differs_but_status(const struct json *x, const struct json *y, bool status_apart)
{
    for (size_t i = 0; i < x->object.count; i++) {
        const struct json_member *m = &x->object.members[i];
        const struct json *other = json_get(y, m->key);
        if (status_apart && str_eqc(m->key, "status"))
            continue;
        if (other == NULL || !json_equal(m->value, other))
            return true;
    }
    return false;
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    struct api_custom *x = obj;
    const struct api_custom *y = old;
    bool apart = has_status(x);
    if (apart)
        keep_status(ctx->arena, x->content, y->content);
    if (differs_but_status(x->content, y->content, apart) ||
        differs_but_status(y->content, x->content, apart))
        x->metadata.generation = y->metadata.generation + 1;
}

/* Nothing but status comes from the client, and who owns which fields. */
static void prepare_status(const struct kind_ctx *ctx, void *obj, const void *old)
{
    struct api_custom *x = obj;
    const struct api_custom *y = old;
    struct json *content = json_clone(ctx->arena, y->content);
    struct meta_v1_object_meta meta = y->metadata;
    keep_status(ctx->arena, content, x->content);
    meta.managed_fields = x->metadata.managed_fields;
    meta.managed_fields_count = x->metadata.managed_fields_count;
    x->content = content;
    x->metadata = meta;
}

/* --- validation ----------------------------------------------------------------------------- */
static void check_count(struct field_errors *errs, struct str path, const struct jsonpath *p,
                        const struct json *j)
{
    struct arena *a = errs->arena;
    const struct json *v = p != NULL ? jsonpath_first(a, p, j) : NULL;
    struct field_path at = {NULL, str_c(arena_str(a, path)), STR_NULL, -1};
    if (v == NULL || v->type == JSON_NULL)
        return;
    if (v->type != JSON_INT) {
        AUTO_BUF shown = BUF_INIT;
        if (v->type == JSON_STRING)
            buf_append_str(&shown, v->string);
        else
            json_write_go(v, &shown);
        struct str text = buf_str(&shown);
        field_invalid_int(errs, &at, 0,
                          STR_FMT " accessor error: " STR_FMT " is of the type %s, expected int64",
                          STR_ARG(path), STR_ARG(text),
                          v->type == JSON_STRING   ? "string"
                          : v->type == JSON_DOUBLE ? "float64"
                          : v->type == JSON_BOOL   ? "bool"
                          : v->type == JSON_ARRAY  ? "[]interface {}"
                                                   : "map[string]interface {}");
    } else if (v->integer < 0) {
        field_invalid_int(errs, &at, v->integer, "should be a non-negative integer");
    } else if (v->integer > INT32_MAX) {
        field_invalid_int(errs, &at, v->integer, "should be less than or equal to %d", INT32_MAX);
    }
}

static bool blocks_rules(const struct field_errors *errs)
{
    for (size_t i = 0; i < errs->count; i++)
        switch (errs->items[i].type) {
        case FIELD_NOT_SUPPORTED:
        case FIELD_REQUIRED:
        case FIELD_TOO_LONG:
        case FIELD_TOO_MANY:
        case FIELD_TYPE_INVALID:
            return true;
        default:
            break;
        }
    return false;
}

static void check_rules(struct field_errors *errs, const struct structural *s, const struct json *j,
                        const struct json *old)
{
    if (!s->has_rules_below)
        return;
    if (blocks_rules(errs))
        field_invalid_raw(errs, PATH_ROOT, STR("null"),
                          "some validation rules were not checked because the object was "
                          "invalid; correct the existing errors to complete validation");
    else
        custom_rules_check(errs, PATH_ROOT, s, j, old);
}

static void validate(const struct kind_ctx *ctx, const struct api_custom *x,
                     const struct api_custom *old, struct field_errors *errs)
{
    /* The version that the client speaks says what is right. */
    const struct custom_type *asked = custom_type_of(ctx->request_kind->msg);
    const struct custom_version *v = custom_version_of_msg(asked != NULL ? &asked->msg : x->msg);
    const struct structural *s = v->type.schema;
    struct json *j = document(ctx->arena, x, true), *before = NULL;
    if (old != NULL)
        before = document(ctx->arena, old, true);
    if (s != NULL)
        custom_validate(errs, s, j, before);
    check_count(errs, v->spec_replicas, v->spec_replicas_path, j);
    check_count(errs, v->status_replicas, v->status_replicas_path, j);
    if (s == NULL)
        return;
    custom_validate_embedded(errs, s, j);
    struct field_errors were = {.arena = errs->arena};
    if (before != NULL)
        custom_validate_lists(&were, s, before);
    if (were.count == 0)
        custom_validate_lists(errs, s, j);
    check_rules(errs, s, j, before);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    validate(ctx, obj, NULL, errs);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    validate(ctx, obj, old, errs);
}

static const struct kind_sub status_sub[] = {
    {"status", prepare_status, validate_update},
    {0},
};

/* --- scale -------------------------------------------------------------------------------------
 */
static int32_t count_at(struct arena *a, const struct jsonpath *p, const struct json *j)
{
    const struct json *v = p != NULL ? jsonpath_first(a, p, j) : NULL;
    if (v == NULL || v->type != JSON_INT)
        return 0;
    return (int32_t)MAX_OF(MIN_OF(v->integer, (int64_t)INT32_MAX), (int64_t)INT32_MIN);
}

static bool scale_get(struct arena *a, const void *obj, struct kind_scale *ret)
{
    const struct api_custom *x = obj;
    const struct custom_version *v = custom_version_of_msg(x->msg);
    if (!v->scale)
        return false;
    ret->spec_replicas = count_at(a, v->spec_replicas_path, x->content);
    ret->status_replicas = count_at(a, v->status_replicas_path, x->content);
    const struct json *selector = v->label_selector_path != NULL
                                      ? jsonpath_first(a, v->label_selector_path, x->content)
                                      : NULL;
    if (selector != NULL && selector->type == JSON_STRING)
        ret->selector = selector->string;
    return true;
}

static void scale_set(struct arena *a, void *obj, int32_t replicas)
{
    struct api_custom *x = obj;
    const struct custom_version *v = custom_version_of_msg(x->msg);
    (void)jsonpath_set(a, v->spec_replicas_path, x->content, json_int(a, replicas));
}

/* --- warnings ----------------------------------------------------------------------------------
 */
static bool has_finalizer(const struct api_custom *x, struct str f)
{
    for (size_t i = 0; x != NULL && i < x->metadata.finalizers_count; i++)
        if (str_eq(x->metadata.finalizers[i], f))
            return true;
    return false;
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* Of finalizers that are new and may be another's, too. */
static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct meta_v1_object_meta *m = &((const struct api_custom *)obj)->metadata;
    if (m->finalizers_count == 0)
        return;
    struct str *list =
        arena_memdup(ctx->arena, m->finalizers, m->finalizers_count * sizeof(*m->finalizers));
    qsort(list, m->finalizers_count, sizeof(*list), by_name);
    for (size_t i = 0; i < m->finalizers_count; i++)
        if ((i == 0 || !str_eq(list[i], list[i - 1])) && !has_finalizer(old, list[i]) &&
            str_find(list[i], '/', 0) < 0 && !is_standard_finalizer(list[i]))
            kind_warn(ctx,
                      "metadata.finalizers: \"" STR_FMT "\": prefer a domain-qualified finalizer "
                      "name %sto avoid accidental conflicts with other finalizer writers",
                      STR_ARG(list[i]),
                      str_find(list[i], '.', 0) >= 0 ? "including a path (/) " : "");
}

/* --- tables --------------------------------------------------------------------------------------
 */
static void cell_text(struct table_row *r, const struct json *v)
{
    AUTO_BUF b = BUF_INIT;
    if (v->type == JSON_STRING) {
        cell_str(r, v->string);
        return;
    }
    json_write(v, true, &b);
    cell_str(r, buf_str(&b));
}

static void cell_date(struct table_row *r, struct str text)
{
    struct meta_v1_time t = {0};
    AUTO_BUF quoted = BUF_INIT;
    json_write_string(text, &quoted);
    if (api_json_decode(row_arena(r), &meta_v1_time_msg, buf_str(&quoted), API_LENIENT, NULL, &t,
                        NULL) != 0)
        cell_strc(r, "<invalid>");
    else
        cell_age(r, &t);
}

static void cell_value(struct table_row *r, const char *type, const struct json *v)
{
    bool number = v->type == JSON_INT || v->type == JSON_DOUBLE;
    if (strcmp(type, "string") == 0)
        cell_text(r, v);
    else if (strcmp(type, "integer") == 0 && number)
        cell_int(r, v->type == JSON_INT ? v->integer : (int64_t)v->number.value);
    else if (strcmp(type, "number") == 0 && number)
        cell_json(r, v);
    else if (strcmp(type, "boolean") == 0 && v->type == JSON_BOOL)
        cell_bool(r, v->boolean);
    else if (strcmp(type, "date") == 0 && v->type == JSON_STRING)
        cell_date(r, v->string);
    else
        cell_null(r);
}

static void row(struct table_row *r, const void *obj)
{
    const struct api_custom *x = obj;
    const struct custom_version *v =
        r->res->custom != NULL ? r->res->custom : custom_version_of_msg(x->msg);
    struct arena *a = row_arena(r);
    struct json *j = document(a, x, true);
    cell_str(r, x->metadata.name);
    for (size_t i = 0; i < v->column_count; i++) {
        const struct json *found = jsonpath_first(a, v->columns[i].path, j);
        if (found == NULL || found->type == JSON_NULL)
            cell_null(r);
        else
            cell_value(r, v->columns[i].type, found);
    }
}

void custom_ops_init(struct custom_version *v)
{
    struct kind_ops *o = &v->ops;
    o->group = v->kind.group;
    o->version = v->kind.version;
    o->resource = v->kind.resource;
    o->flags = KIND_NO_UNCONDITIONAL_UPDATE;
    o->default_ = set_defaults;
    o->prepare_create = prepare_create;
    o->prepare_update = prepare_update;
    o->validate_create = validate_create;
    o->validate_update = validate_update;
    o->warn = warn;
    o->row = row;
    if (v->res.status)
        o->subs = status_sub;
    if (v->scale) {
        o->scale_get = scale_get;
        o->scale_set = scale_set;
    }
}

/* definition.c - see definition.h. */
#include "apiserver/custom/definition.h"

#include "api/apiextensions_v1.h"
#include "apiserver/custom/rules.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/jsonpath.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"

#include <stdio.h>

#define VERBS "delete,deletecollection,get,list,patch,create,update,watch"
#define version_spec struct apiextensions_v1_custom_resource_definition_version

static const char *text(struct arena *a, struct str s)
{
    return str_c(arena_str(a, s));
}

static const char *comma_list(struct arena *a, const struct str *items, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    if (count == 0)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (i != 0)
            buf_putc(&b, ',');
        buf_append_str(&b, items[i]);
    }
    return text(a, buf_str(&b));
}

/* --- parts of a version ----------------------------------------------------------- */
static void init_subs(struct custom_version *v, const version_spec *spec)
{
    size_t n = 0;
    const struct api_kind *k = &v->kind;
    if (spec->subresources != NULL && spec->subresources->status != NULL)
        v->subs[n++] = (struct api_subresource){
            .name = "status",
            .group = k->group,
            .version = k->version,
            .kind = k->kind,
            .verbs = "get,patch,update",
        };
    if (v->scale)
        v->subs[n++] = (struct api_subresource){
            .name = "scale",
            .group = "autoscaling",
            .version = "v1",
            .kind = "Scale",
            .verbs = "get,patch,update",
        };
    v->kind.sub = v->subs;
    v->kind.sub_count = n;
}

static int init_scale(struct arena *a, struct custom_version *v, const version_spec *spec,
                      struct error *err)
{
    if (spec->subresources == NULL || spec->subresources->scale == NULL)
        return 0;
    const struct apiextensions_v1_custom_resource_subresource_scale *s = spec->subresources->scale;
    v->scale = true;
    v->spec_replicas = s->spec_replicas_path;
    v->status_replicas = s->status_replicas_path;
    v->label_selector = s->label_selector_path;
    int code = jsonpath_parse(a, s->spec_replicas_path, &v->spec_replicas_path, err);
    if (code == 0)
        code = jsonpath_parse(a, s->status_replicas_path, &v->status_replicas_path, err);
    if (code == 0 && s->label_selector_path.len != 0)
        code = jsonpath_parse(a, s->label_selector_path, &v->label_selector_path, err);
    return code;
}

static int init_columns(struct arena *a, struct custom_version *v, const version_spec *spec,
                        struct error *err)
{
    size_t n = spec->additional_printer_columns_count;
    struct table_column *heads = ARENA_ARRAY(a, struct table_column, MAX_OF(n, (size_t)1) + 2);
    struct custom_column *cells = ARENA_ARRAY(a, struct custom_column, MAX_OF(n, (size_t)1));
    heads[0] = (struct table_column){"Name", "string", "name", CUSTOM_NAME_DESCRIPTION, 0};
    for (size_t i = 0; i < n; i++) {
        const struct apiextensions_v1_custom_resource_column_definition *c =
            &spec->additional_printer_columns[i];
        struct str description = c->description;
        if (description.len == 0)
            description =
                arena_printf(a, "Custom resource definition column (in JSONPath format): " STR_FMT,
                             STR_ARG(c->json_path));
        heads[i + 1] = (struct table_column){text(a, c->name), text(a, c->type), text(a, c->format),
                                             text(a, description), c->priority};
        cells[i].type = heads[i + 1].type;
        int code = jsonpath_parse(a, c->json_path, &cells[i].path, err);
        if (code != 0)
            return code;
    }
    if (n == 0) {
        heads[1] = (struct table_column){"Age", "date", "", CUSTOM_AGE_DESCRIPTION, 0};
        cells[0].type = "date";
        int code = jsonpath_parse(a, STR(".metadata.creationTimestamp"), &cells[0].path, err);
        if (code != 0)
            return code;
        n = 1;
    }
    v->ops.columns = heads;
    v->columns = cells;
    v->column_count = n;
    return 0;
}

static int init_fields(struct arena *a, struct custom_version *v, const version_spec *spec,
                       struct error *err)
{
    size_t n = spec->selectable_fields_count;
    if (n == 0)
        return 0;
    struct kind_field *fields = ARENA_ARRAY(a, struct kind_field, n + 1);
    for (size_t i = 0; i < n; i++) {
        struct str path = spec->selectable_fields[i].json_path;
        int code = jsonpath_parse(a, path, &fields[i].path, err);
        if (code != 0)
            return code;
        bool dot = path.len != 0 && path.data[0] == '.';
        fields[i].label = text(a, str_sub(path, dot ? 1 : 0, path.len));
    }
    v->ops.fields = fields;
    return 0;
}

static int init_schema(struct arena *a, const version_spec *spec, const struct structural **ret,
                       const struct json **ret_given, struct error *err)
{
    *ret = NULL;
    if (spec->schema == NULL || spec->schema->open_apiv3_schema == NULL)
        return 0;
    *ret_given = api_json_tree(a, &apiextensions_v1_json_schema_props_msg,
                               spec->schema->open_apiv3_schema, STR_NULL, STR_NULL);
    int code = structural_build(a, spec->schema->open_apiv3_schema, ret, err);
    if (code == 0)
        custom_rules_prepare(a, *ret, *ret_given);
    return code;
}

static void init_kind(struct arena *a, struct custom_version *v,
                      const struct apiextensions_v1_custom_resource_definition *o,
                      const version_spec *spec)
{
    const struct apiextensions_v1_custom_resource_definition_names *n = &o->status.accepted_names;
    struct str version = spec->name;
    v->kind = (struct api_kind){
        .group = text(a, o->spec.group),
        .version = text(a, version),
        .kind = text(a, n->kind),
        .list_kind = text(a, n->list_kind),
        .resource = text(a, n->plural),
        .singular = text(a, n->singular),
        .short_names = comma_list(a, n->short_names, n->short_names_count),
        .categories = comma_list(a, n->categories, n->categories_count),
        .verbs = VERBS,
        .namespaced = str_eqc(o->spec.scope, "Namespaced"),
        .msg = &v->type.msg,
        .meta_offset = offsetof(struct api_custom, metadata),
        .api_version =
            str_c(arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(o->spec.group), STR_ARG(version))),
    };
    v->head = arena_printf(a, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{", v->kind.kind,
                           v->kind.api_version);
}

static void hash_version(const struct api_kind *k, char ret[16])
{
    char all[1024];
    uint8_t sum[32];
    int n = snprintf(all, sizeof(all), "%s/%s/%s", k->group, k->version, k->kind);
    net_sha256(all, MIN_OF((size_t)MAX_OF(n, 0), sizeof(all) - 1), sum);
    base64_encode_to(BASE64_STD, sum, 8, ret);
    ret[base64_len(BASE64_STD, 8)] = '\0';
}

static void init_warning(struct arena *a, struct custom_version *v, const version_spec *spec)
{
    if (!spec->deprecated)
        return;
    v->warning = spec->has_deprecation_warning
                     ? spec->deprecation_warning
                     : arena_printf(a, "%s %s is deprecated", v->kind.api_version, v->kind.kind);
}

static int init_version(struct custom_definition *d, struct custom_version *v,
                        const version_spec *spec, struct error *err)
{
    struct arena *a = d->arena;
    const struct structural *schema;
    int code = init_schema(a, spec, &schema, &v->schema, err);
    if (code != 0)
        return code;
    v->definition = d;
    v->served = spec->served;
    init_kind(a, v, d->object, spec);
    custom_type_init(&v->type, v->kind.kind, v->kind.group, v->kind.version, schema);
    code = init_scale(a, v, spec, err);
    if (code == 0)
        code = init_columns(a, v, spec, err);
    if (code == 0)
        code = init_fields(a, v, spec, err);
    if (code != 0)
        return code;
    init_subs(v, spec);
    init_warning(a, v, spec);
    v->res.status = spec->subresources != NULL && spec->subresources->status != NULL;
    custom_ops_init(v);
    return 0;
}

static void init_resources(struct custom_definition *d)
{
    struct str prefix = arena_printf(d->arena, REGISTRY_ROOT STR_FMT "/%s/",
                                     STR_ARG(d->object->spec.group), d->storage->kind.resource);
    for (size_t i = 0; i < d->count; i++) {
        struct custom_version *v = &d->versions[i];
        bool status = v->res.status;
        v->res = (struct resource){
            .kind = &v->kind,
            .storage = &v->kind,
            .ops = &v->ops,
            .primary = &d->storage->res,
            .gr = {str_of(v->kind.group), str_of(v->kind.resource)},
            .prefix = prefix,
            .stored = true,
            .status = status,
            .index = d->index,
            .custom = v,
        };
        hash_version(&d->storage->kind, v->res.version_hash);
    }
}

/* --- the whole ---------------------------------------------------------------------- */
int custom_definition_new(struct arena *a,
                          const struct apiextensions_v1_custom_resource_definition *object,
                          int64_t since_rev, uint32_t index, struct custom_definition **ret,
                          struct error *err)
{
    struct custom_definition *d = ARENA_NEW(a, struct custom_definition);
    int code = 0;
    d->arena = a;
    d->object = object;
    d->name = object->metadata.name;
    d->uid = object->metadata.uid;
    d->since_rev = since_rev;
    d->index = index;
    atomic_init(&d->deleting, object->metadata.deletion_timestamp != NULL);
    d->count = object->spec.versions_count;
    d->versions = ARENA_ARRAY(a, struct custom_version, d->count + 1);
    atomic_init(&d->refs, 1);
    for (size_t i = 0; code == 0 && i < d->count; i++) {
        code = init_version(d, &d->versions[i], &object->spec.versions[i], err);
        if (object->spec.versions[i].storage)
            d->storage = &d->versions[i];
    }
    if (code == 0 && d->storage == NULL)
        code = error_set(err, E_INVALID, "no version is marked as storage version");
    if (code != 0) {
        arena_free(a);
        return code;
    }
    init_resources(d);
    *ret = d;
    return 0;
}

struct custom_definition *custom_definition_ref(const struct custom_definition *d)
{
    struct custom_definition *own = (struct custom_definition *)(uintptr_t)d;
    atomic_fetch_add(&own->refs, 1);
    return own;
}

void custom_definition_unref(void *arg)
{
    struct custom_definition *d = arg;
    if (d != NULL && atomic_fetch_sub(&d->refs, 1) == 1)
        arena_free(d->arena);
}

bool custom_definition_same(const struct custom_definition *d,
                            const struct apiextensions_v1_custom_resource_definition *object)
{
    return str_eq(d->uid, object->metadata.uid) &&
           api_msg_equal(&apiextensions_v1_custom_resource_definition_spec_msg, &d->object->spec,
                         &object->spec) &&
           api_msg_equal(&apiextensions_v1_custom_resource_definition_names_msg,
                         &d->object->status.accepted_names, &object->status.accepted_names);
}

bool custom_condition(const struct apiextensions_v1_custom_resource_definition *o, const char *type)
{
    for (size_t i = 0; i < o->status.conditions_count; i++)
        if (str_eqc(o->status.conditions[i].type, type))
            return str_eqc(o->status.conditions[i].status, "True");
    return false;
}

const struct custom_version *custom_version_of(const struct resource *r)
{
    return r->custom;
}

const struct custom_version *custom_version_of_msg(const struct api_msg *m)
{
    const struct custom_type *t = custom_type_of(m);
    ASSERT(t != NULL);
    return CONTAINER_OF(t, const struct custom_version, type);
}

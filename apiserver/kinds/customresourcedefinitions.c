/* customresourcedefinitions.c - rules of definitions of custom kinds. Their schemas:
 * crd_schema.c; their conditions: custom/names.c.
 *
 * Upstream checks an older, internal form: what all versions have alike (schema,
 * subresources, columns, selectable fields) stands once at the top of the spec
 * there, and errors name that place. */
#include "apiserver/kinds/kinds.h"

#include "api/apiextensions_v1.h"
#include "apiserver/custom/definition.h"
#include "apiserver/custom/names.h"
#include "apiserver/kinds/crd.h"
#include "apiserver/kinds/webhooks.h"
#include "apiserver/validate.h"
#include "apiserver/write_work.h"
#include "lib/api/codec.h"
#include "lib/api/jsonpath.h"
#include "lib/api/names.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#define crd_t struct apiextensions_v1_custom_resource_definition
#define spec_t struct apiextensions_v1_custom_resource_definition_spec
#define version_t struct apiextensions_v1_custom_resource_definition_version
#define names_t struct apiextensions_v1_custom_resource_definition_names

#define FINALIZER "customresourcecleanup.apiextensions.k8s.io"
#define SELECTABLE_MAX 8 /* Fields of a version. */
#define LARGE_NODES 400u /* Of schemas, which take more than a millisecond to judge. */

/* --- defaults and bookkeeping ------------------------------------------------------- */
static struct str lower(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        out[i] = (char)(s.data[i] >= 'A' && s.data[i] <= 'Z' ? s.data[i] + ('a' - 'A') : s.data[i]);
    out[s.len] = '\0';
    return str_n(out, s.len);
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    crd_t *c = obj;
    names_t *n = &c->spec.names;
    if (n->singular.len == 0)
        n->singular = lower(ctx->arena, n->kind);
    if (n->list_kind.len == 0 && n->kind.len != 0)
        n->list_kind = arena_printf(ctx->arena, STR_FMT "List", STR_ARG(n->kind));
    if (c->spec.conversion == NULL) {
        c->spec.conversion =
            api_msg_new(ctx->arena, &apiextensions_v1_custom_resource_conversion_msg);
        c->spec.conversion->strategy = STR("None");
    }
    const struct apiextensions_v1_webhook_conversion *w = c->spec.conversion->webhook;
    if (w != NULL && w->client_config != NULL && w->client_config->service != NULL &&
        !w->client_config->service->has_port) {
        w->client_config->service->has_port = true;
        w->client_config->service->port = 443;
    }
}

/* The storage version joins those that objects may be stored in. */
static void add_stored_version(struct arena *a, crd_t *c)
{
    for (size_t i = 0; i < c->spec.versions_count; i++) {
        if (!c->spec.versions[i].storage)
            continue;
        size_t n = c->status.stored_versions_count;
        for (size_t j = 0; j < n; j++)
            if (str_eq(c->status.stored_versions[j], c->spec.versions[i].name))
                return;
        struct str *list = ARENA_ARRAY(a, struct str, n + 1);
        for (size_t j = 0; j < n; j++)
            list[j] = c->status.stored_versions[j];
        list[n] = c->spec.versions[i].name;
        c->status.stored_versions = list;
        c->status.stored_versions_count = n + 1;
        return;
    }
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    crd_t *c = obj;
    memset(&c->status, 0, sizeof(c->status));
    add_stored_version(ctx->arena, c);
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    crd_t *c = obj;
    const crd_t *o = old;
    c->status = o->status;
    add_stored_version(ctx->arena, c);
}

static void prepare_status(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    crd_t *c = obj;
    const crd_t *o = old;
    struct meta_v1_object_meta sent = c->metadata;
    c->metadata = o->metadata;
    c->metadata.managed_fields = sent.managed_fields;
    c->metadata.managed_fields_count = sent.managed_fields_count;
    c->spec = o->spec;
}

static void mark_deleting(const struct kind_ctx *ctx, void *obj)
{
    crd_t *c = obj;
    struct meta_v1_object_meta *m = &c->metadata;
    struct str *f = ARENA_ARRAY(ctx->arena, struct str, m->finalizers_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (!str_eqc(m->finalizers[i], FINALIZER))
            f[n++] = m->finalizers[i];
    f[n++] = STR(FINALIZER);
    m->finalizers = f;
    m->finalizers_count = n;
    (void)custom_condition_set(ctx->arena, c, "Terminating", true, "InstanceDeletionPending",
                               STR("CustomResourceDefinition marked for deletion; CustomResource "
                                   "deletion will begin soon"),
                               ctx->now_ns / 1000000000);
}

/* --- what all versions have alike ------------------------------------------------------ */
struct hoisted {
    bool schema, subresources, columns, fields;
};

static bool same_ptr(const struct api_msg *m, const void *x, const void *y)
{
    return x == NULL || y == NULL ? x == y : api_msg_equal(m, x, y);
}

static bool same_columns(const version_t *x, const version_t *y)
{
    bool same = x->additional_printer_columns_count == y->additional_printer_columns_count;
    for (size_t i = 0; same && i < x->additional_printer_columns_count; i++)
        same = api_msg_equal(&apiextensions_v1_custom_resource_column_definition_msg,
                             &x->additional_printer_columns[i], &y->additional_printer_columns[i]);
    return same;
}

static bool same_fields(const version_t *x, const version_t *y)
{
    bool same = x->selectable_fields_count == y->selectable_fields_count;
    for (size_t i = 0; same && i < x->selectable_fields_count; i++)
        same = str_eq(x->selectable_fields[i].json_path, y->selectable_fields[i].json_path);
    return same;
}

static struct hoisted hoist(const spec_t *s)
{
    struct hoisted h = {true, true, true, true};
    for (size_t i = 1; i < s->versions_count; i++) {
        const version_t *x = &s->versions[0], *y = &s->versions[i];
        h.schema &=
            same_ptr(&apiextensions_v1_custom_resource_validation_msg, x->schema, y->schema);
        h.subresources &= same_ptr(&apiextensions_v1_custom_resource_subresources_msg,
                                   x->subresources, y->subresources);
        h.columns &= same_columns(x, y);
        h.fields &= same_fields(x, y);
    }
    return h;
}

/* The versions as upstream prints them. */
static struct str show_versions(struct arena *a, const spec_t *s, const struct hoisted *h)
{
    AUTO_BUF b = BUF_INIT;
    buf_putc(&b, '[');
    for (size_t i = 0; i < s->versions_count; i++) {
        version_t v = s->versions[i];
        if (h->schema)
            v.schema = NULL;
        if (h->subresources)
            v.subresources = NULL;
        if (h->columns) {
            v.additional_printer_columns = NULL;
            v.additional_printer_columns_count = 0;
        }
        if (h->fields) {
            v.selectable_fields = NULL;
            v.selectable_fields_count = 0;
        }
        if (i != 0)
            buf_putc(&b, ',');
        buf_append_str(&b, field_value_render(
                               a, &apiextensions_v1_custom_resource_definition_version_msg, &v));
    }
    buf_putc(&b, ']');
    return arena_str(a, buf_str(&b));
}

/* --- names ---------------------------------------------------------------------------------- */
static void check_label(struct field_errors *errs, const struct field_path *p, struct str given,
                        struct str judged, const char *prefix)
{
    struct api_faults f = api_check_dns1035_label(judged);
    AUTO_BUF b = BUF_INIT;
    if (given.len == 0 || f.count == 0)
        return;
    for (size_t i = 0; i < f.count; i++)
        buf_printf(&b, "%s%s", i != 0 ? "," : "", f.items[i]);
    struct str why = buf_str(&b);
    field_invalid(errs, p, given, "%s" STR_FMT, prefix, STR_ARG(why));
}

static void check_names(struct field_errors *errs, const struct field_path *path, const names_t *n)
{
    struct arena *a = errs->arena;
    static const char mixed[] = "may have mixed case, but should otherwise match: ";
    check_label(errs, PATH(path, "plural"), n->plural, n->plural, "");
    check_label(errs, PATH(path, "singular"), n->singular, n->singular, "");
    check_label(errs, PATH(path, "kind"), n->kind, lower(a, n->kind), mixed);
    check_label(errs, PATH(path, "listKind"), n->list_kind, lower(a, n->list_kind), mixed);
    for (size_t i = 0; i < n->short_names_count; i++)
        check_label(errs, PATH_INDEX(PATH(path, "shortNames"), i), n->short_names[i],
                    n->short_names[i], "");
    if (n->kind.len != 0 && str_eq(n->kind, n->list_kind))
        field_invalid(errs, PATH(path, "listKind"), n->list_kind,
                      "kind and listKind may not be the same");
    for (size_t i = 0; i < n->categories_count; i++)
        check_label(errs, PATH_INDEX(PATH(path, "categories"), i), n->categories[i],
                    n->categories[i], "");
}

static void require_names(struct field_errors *errs, const struct field_path *path,
                          const names_t *n)
{
    if (n->plural.len == 0)
        field_required(errs, PATH(path, "plural"), NULL);
    if (n->singular.len == 0)
        field_required(errs, PATH(path, "singular"), NULL);
    if (n->kind.len == 0)
        field_required(errs, PATH(path, "kind"), NULL);
    if (n->list_kind.len == 0)
        field_required(errs, PATH(path, "listKind"), NULL);
}

static void check_group(struct field_errors *errs, const struct field_path *path, struct str group)
{
    struct api_faults f = api_check_dns_subdomain(group);
    if (group.len == 0)
        field_required(errs, path, NULL);
    else if (f.count != 0)
        field_faults(errs, path, group, f);
    else if (str_find(group, '.', 0) < 0)
        field_invalid(errs, path, group, "should be a domain with at least one dot");
}

/* --- parts of a version ------------------------------------------------------------------------
 */
static bool check_path(struct field_errors *errs, const struct field_path *p, struct str path)
{
    const struct jsonpath *parsed;
    struct error err = {0};
    if (path.len == 0 || path.data[0] != '.') {
        field_invalid(errs, p, path, "must be a simple json path starting with .");
        return false;
    }
    if (jsonpath_parse(errs->arena, path, &parsed, &err) != 0) {
        field_invalid(errs, p, path, "must be a simple json path: %s", error_message(&err));
        return false;
    }
    return true;
}

static bool is_below(struct str path, const char *top)
{
    struct str t = str_of(top);
    return str_has_prefix(path, t) && path.len > t.len && path.data[t.len] == '.';
}

static void check_subresources(struct field_errors *errs, const struct field_path *path,
                               const struct apiextensions_v1_custom_resource_subresources *s)
{
    if (s == NULL || s->scale == NULL)
        return;
    const struct field_path *scale = PATH(path, "scale");
    const struct field_path *spec = PATH(scale, "specReplicasPath"),
                            *status = PATH(scale, "statusReplicasPath"),
                            *selector = PATH(scale, "labelSelectorPath");
    if (s->scale->spec_replicas_path.len == 0)
        field_required(errs, spec, NULL);
    else if (check_path(errs, spec, s->scale->spec_replicas_path) &&
             !is_below(s->scale->spec_replicas_path, ".spec"))
        field_invalid(errs, spec, s->scale->spec_replicas_path,
                      "should be a json path under .spec");
    if (s->scale->status_replicas_path.len == 0)
        field_required(errs, status, NULL);
    else if (check_path(errs, status, s->scale->status_replicas_path) &&
             !is_below(s->scale->status_replicas_path, ".status"))
        field_invalid(errs, status, s->scale->status_replicas_path,
                      "should be a json path under .status");
    if (s->scale->label_selector_path.len != 0 &&
        check_path(errs, selector, s->scale->label_selector_path) &&
        !is_below(s->scale->label_selector_path, ".spec") &&
        !is_below(s->scale->label_selector_path, ".status"))
        field_invalid(errs, selector, s->scale->label_selector_path,
                      "should be a json path under either .spec or .status");
}

static bool is_one_of(struct str s, const char *comma_list)
{
    return api_list_has(comma_list, s);
}

static void check_columns(struct field_errors *errs, const struct field_path *path,
                          const version_t *v)
{
    static const char types[] = "boolean,date,integer,number,string";
    static const char formats[] = "byte,date,date-time,double,float,int32,int64,password";
    for (size_t i = 0; i < v->additional_printer_columns_count; i++) {
        const struct apiextensions_v1_custom_resource_column_definition *c =
            &v->additional_printer_columns[i];
        const struct field_path *p = PATH_INDEX(PATH(path, "additionalPrinterColumns"), i);
        if (c->name.len == 0)
            field_required(errs, PATH(p, "name"), NULL);
        if (c->type.len == 0)
            field_required(errs, PATH(p, "type"), "must be one of %s", types);
        else if (!is_one_of(c->type, types))
            field_invalid(errs, PATH(p, "type"), c->type, "must be one of %s", types);
        if (c->format.len != 0 && !is_one_of(c->format, formats))
            field_invalid(errs, PATH(p, "format"), c->format, "must be one of %s", formats);
        if (c->json_path.len == 0)
            field_required(errs, PATH(p, "JSONPath"), NULL);
        else
            (void)check_path(errs, PATH(p, "JSONPath"), c->json_path);
    }
}

static bool can_select(const struct apiextensions_v1_json_schema_props *p)
{
    return str_eqc(p->type, "string") || str_eqc(p->type, "integer") || str_eqc(p->type, "boolean");
}

/* many: there may be more than so many, as there were before. */
static void check_selectable(struct field_errors *errs, const struct field_path *path,
                             const version_t *v, bool many)
{
    struct str *seen = ARENA_ARRAY(errs->arena, struct str, v->selectable_fields_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < v->selectable_fields_count; i++) {
        struct str s = v->selectable_fields[i].json_path, canonical, why;
        const struct field_path *p = PATH(PATH_INDEX(path, i), "jsonPath");
        if (s.len == 0) {
            field_required(errs, p, NULL);
            continue;
        }
        const struct apiextensions_v1_json_schema_props *found =
            crd_field_path(errs->arena, v->schema->open_apiv3_schema, s, false, &canonical, &why);
        if (found == NULL) {
            field_invalid(errs, p, s, "is an invalid path: " STR_FMT, STR_ARG(why));
            continue;
        }
        if (str_eqc(canonical, "metadata") || str_has_prefix(canonical, STR("metadata.")))
            field_invalid(errs, p, s, "must not point to fields in metadata");
        if (!can_select(found))
            field_invalid(errs, p, s,
                          "must point to a field of type string, boolean or integer. Enum string "
                          "fields and strings with formats are allowed.");
        bool known = false;
        for (size_t j = 0; j < count; j++)
            known |= str_eq(seen[j], canonical);
        if (known)
            field_duplicate(errs, p, s);
        else
            seen[count++] = canonical;
    }
    if (count > SELECTABLE_MAX && !many)
        field_too_many(errs, path, (int64_t)count, SELECTABLE_MAX);
}

static void check_warning(struct field_errors *errs, const struct field_path *path,
                          const version_t *v)
{
    const struct field_path *at = PATH(path, "deprecationWarning");
    struct str text = v->deprecation_warning;
    if (!v->has_deprecation_warning)
        return;
    if (!v->deprecated) {
        field_invalid(errs, at, text, "can only be set for deprecated versions");
        return;
    }
    if (text.len > 256)
        field_invalid(errs, at, text, "must be <= 256 characters long");
    if (text.len == 0)
        field_invalid(errs, at, text, "must not be an empty string");
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f) {
            field_invalid(errs, at, text,
                          "must only contain printable UTF-8 characters; non-printable character "
                          "found at index %zu",
                          i);
            break;
        }
}

/* The same version as it was; NULL: there was none. */
static const version_t *version_before(const crd_t *old, struct str name)
{
    for (size_t i = 0; old != NULL && i < old->spec.versions_count; i++)
        if (str_eq(old->spec.versions[i].name, name))
            return &old->spec.versions[i];
    return NULL;
}

static bool was_stored(const crd_t *old, const version_t *v)
{
    const version_t *before = version_before(old, v->name);
    return before != NULL &&
           same_ptr(&apiextensions_v1_custom_resource_validation_msg, v->schema, before->schema);
}

static bool had_many(const crd_t *old, const version_t *v)
{
    const version_t *before = version_before(old, v->name);
    return before != NULL && before->selectable_fields_count > SELECTABLE_MAX &&
           same_fields(v, before);
}

static void check_version(struct field_errors *errs, const struct field_path *path,
                          const version_t *v, const struct hoisted *h, const crd_t *old)
{
    check_warning(errs, path, v);
    if (!h->schema)
        crd_check_schema(errs, PATH(PATH(path, "schema"), "openAPIV3Schema"), v->schema,
                         v->subresources != NULL && v->subresources->status != NULL,
                         was_stored(old, v));
    if (!h->subresources)
        check_subresources(errs, PATH(path, "subresources"), v->subresources);
    if (!h->columns)
        check_columns(errs, path, v);
    if (h->fields || v->selectable_fields_count == 0)
        return;
    /* The schema has moved to the top, and so it is missing here. */
    if (h->schema || v->schema == NULL || v->schema->open_apiv3_schema == NULL)
        field_invalid(errs, PATH(path, "selectableFields"), STR(""),
                      "may only be set when `version.schema.openAPIV3Schema` is not included");
    else
        check_selectable(errs, PATH(path, "selectableFields"), v, had_many(old, v));
}

/* --- the spec -------------------------------------------------------------------------------- */
static void check_review_versions(struct field_errors *errs, const struct field_path *path,
                                  const struct str *list, size_t count)
{
    bool known = false;
    if (count == 0) {
        field_required(errs, path, NULL);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        bool again = false;
        for (size_t j = 0; j < i; j++)
            again |= str_eq(list[j], list[i]);
        if (again) {
            field_invalid(errs, PATH_INDEX(path, i), list[i], "duplicate version");
            continue;
        }
        struct api_faults f = api_check_dns1035_label(list[i]);
        for (size_t j = 0; j < f.count; j++)
            field_invalid(errs, PATH_INDEX(path, i), list[i], "%s", f.items[j]);
        known |= str_eqc(list[i], "v1") || str_eqc(list[i], "v1beta1");
    }
    if (!known)
        field_invalid_raw(errs, path, field_strings_render(errs->arena, list, count),
                          "must include at least one of v1, v1beta1");
}

static void check_client(struct field_errors *errs, const struct field_path *path,
                         const struct apiextensions_v1_webhook_client_config *w)
{
    const struct field_path *service = PATH(path, "service");
    if (w->has_url == (w->service != NULL)) {
        field_required(errs, path, "exactly one of url or service is required");
    } else if (w->has_url) {
        webhooks_check_url(errs, PATH(path, "url"), w->url);
    } else {
        webhooks_check_service(errs, service, w->service->namespace, w->service->name,
                               w->service->port);
        if (w->service->has_path)
            webhooks_check_path(errs, PATH(service, "path"), w->service->path);
    }
}

static const struct apiextensions_v1_webhook_client_config *client_of(const crd_t *c)
{
    return c->spec.conversion != NULL && c->spec.conversion->webhook != NULL
               ? c->spec.conversion->webhook->client_config
               : NULL;
}

/* Whoever has a good bundle and serves may not lose it. */
static bool may_break_bundle(const crd_t *old)
{
    if (old == NULL || !custom_condition(old, "Established"))
        return true;
    return custom_bundle_broken(old);
}

static void check_conversion(struct field_errors *errs, const struct field_path *path,
                             const crd_t *c, const crd_t *old)
{
    static const char *const strategies[] = {"None", "Webhook", NULL};
    const struct apiextensions_v1_custom_resource_conversion *v = c->spec.conversion;
    const struct apiextensions_v1_webhook_client_config *w = client_of(c);
    const struct field_path *client = PATH(path, "webhookClientConfig"),
                            *versions = PATH(path, "conversionReviewVersions");
    if (v == NULL)
        return;
    if (v->strategy.len == 0)
        field_required(errs, PATH(path, "strategy"), NULL);
    else if (!str_eqc(v->strategy, "None") && !str_eqc(v->strategy, "Webhook"))
        field_not_supported(errs, PATH(path, "strategy"), v->strategy, strategies);
    size_t count = v->webhook != NULL ? v->webhook->conversion_review_versions_count : 0;
    if (!str_eqc(v->strategy, "Webhook")) {
        static const char why[] = "should not be set when strategy is not set to Webhook";
        if (w != NULL)
            field_forbidden(errs, client, why);
        if (count != 0)
            field_forbidden(errs, versions, why);
        return;
    }
    if (w == NULL) {
        field_required(errs, client, "required when strategy is set to Webhook");
    } else {
        check_client(errs, client, w);
        if (!may_break_bundle(old) && custom_bundle_broken(c))
            field_invalid_raw(errs, PATH(client, "caBundle"), STR("<omitted>"),
                              "unable to load root certificates: unable to parse bytes as PEM "
                              "block");
    }
    check_review_versions(errs, versions,
                          count != 0 ? v->webhook->conversion_review_versions : NULL, count);
}

static void check_versions(struct field_errors *errs, const struct field_path *path,
                           const spec_t *s, const struct hoisted *h, const crd_t *old)
{
    size_t storage = 0;
    bool unique = true;
    for (size_t i = 0; i < s->versions_count; i++) {
        const version_t *v = &s->versions[i];
        const struct field_path *p = PATH_INDEX(path, i);
        struct api_faults f = api_check_dns1035_label(v->name);
        storage += v->storage;
        for (size_t j = 0; j < i; j++)
            unique = unique && !str_eq(s->versions[j].name, v->name);
        if (f.count != 0)
            field_faults(errs, PATH(p, "name"), v->name, f);
        check_version(errs, p, v, h, old);
    }
    if (!unique)
        field_invalid_raw(errs, path, show_versions(errs->arena, s, h),
                          "must contain unique version names");
    if (storage != 1)
        field_invalid_raw(errs, path, show_versions(errs->arena, s, h),
                          "must have exactly one version marked as storage version");
}

/* Those that all versions have, and a schema that is alike as well. */
static void check_top_selectable(struct field_errors *errs, const struct field_path *path,
                                 const version_t *v, const struct hoisted *h, bool many)
{
    if (v->selectable_fields_count == 0)
        return;
    if (!h->schema || v->schema == NULL || v->schema->open_apiv3_schema == NULL)
        field_invalid(errs, path, STR(""), "may only be set when validations.schema is included");
    else
        check_selectable(errs, path, v, many);
}

static bool has_schema(const version_t *v)
{
    return v->schema != NULL && v->schema->open_apiv3_schema != NULL;
}

static void check_spec(struct field_errors *errs, const crd_t *c, const crd_t *old)
{
    const spec_t *s = &c->spec;
    static const char *const scopes[] = {"Cluster", "Namespaced", NULL};
    const struct field_path *path = PATH(PATH_ROOT, "spec");
    const struct hoisted h = hoist(s);
    check_group(errs, PATH(path, "group"), s->group);
    if (s->scope.len == 0)
        field_required(errs, PATH(path, "scope"), NULL);
    else if (!str_eqc(s->scope, "Cluster") && !str_eqc(s->scope, "Namespaced"))
        field_not_supported(errs, PATH(path, "scope"), s->scope, scopes);
    for (size_t i = 0; i < s->versions_count; i++)
        if (!has_schema(&s->versions[i]))
            field_required(
                errs,
                PATH(PATH(PATH_INDEX(PATH(path, "versions"), i), "schema"), "openAPIV3Schema"),
                NULL);
    check_versions(errs, PATH(path, "versions"), s, &h, old);
    require_names(errs, PATH(path, "names"), &s->names);
    check_names(errs, PATH(path, "names"), &s->names);
    if (s->versions_count != 0) {
        const version_t *v = &s->versions[0];
        bool status = false;
        for (size_t i = 0; i < s->versions_count; i++)
            status |=
                s->versions[i].subresources != NULL && s->versions[i].subresources->status != NULL;
        if (h.schema)
            crd_check_schema(errs, PATH(PATH(path, "validation"), "openAPIV3Schema"), v->schema,
                             status, was_stored(old, v));
        if (h.subresources)
            check_subresources(errs, PATH(path, "subresources"), v->subresources);
        if (h.columns)
            check_columns(errs, path, v);
        if (h.fields)
            check_top_selectable(errs, PATH(path, "selectableFields"), v, &h, had_many(old, v));
    }
    check_conversion(errs, PATH(path, "conversion"), c, old);
}

static void check_stored(struct field_errors *errs, const crd_t *c)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "status"), "storedVersions");
    struct str storage = STR(""), *stored = c->status.stored_versions;
    size_t n = c->status.stored_versions_count;
    bool found = false;
    if (n == 0) {
        field_invalid_raw(errs, path, STR("null"), "must have at least one stored version");
        return;
    }
    for (size_t i = 0; i < c->spec.versions_count; i++)
        if (c->spec.versions[i].storage)
            storage = c->spec.versions[i].name;
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        for (size_t j = 0; j < c->spec.versions_count; j++)
            known |= str_eq(c->spec.versions[j].name, stored[i]);
        if (!known)
            field_invalid(
                errs, PATH_INDEX(path, i), stored[i], "missing from spec.versions; %s",
                str_c(arena_printf(errs->arena,
                                   STR_FMT " was previously a storage version, and must remain "
                                           "in spec.versions until a storage migration ensures "
                                           "no data remains persisted in " STR_FMT
                                           " and removes " STR_FMT " from status.storedVersions",
                                   STR_ARG(stored[i]), STR_ARG(stored[i]), STR_ARG(stored[i]))));
        found |= str_eq(stored[i], storage);
    }
    if (!found)
        field_invalid_raw(errs, path, field_strings_render(errs->arena, stored, n),
                          "must have the storage version " STR_FMT, STR_ARG(storage));
}

static void check_approval(struct field_errors *errs, const crd_t *c, const crd_t *old)
{
    const struct field_path *path =
        PATH_KEY(PATH(PATH(PATH_ROOT, "metadata"), "annotations"), STR(CUSTOM_APPROVED));
    struct str why, ignored;
    if (!custom_group_protected(c->spec.group))
        return;
    enum custom_approval state = custom_approval_of(errs->arena, c, &why);
    /* Who does not touch it is not asked about it. */
    if (old != NULL && custom_approval_of(errs->arena, old, &ignored) == state)
        return;
    if (state == APPROVAL_MISSING)
        field_required(errs, path, STR_FMT, STR_ARG(why));
    else if (state == APPROVAL_INVALID)
        field_invalid(errs, path,
                      *api_str_map_get(c->metadata.annotations, c->metadata.annotations_count,
                                       STR(CUSTOM_APPROVED)),
                      STR_FMT, STR_ARG(why));
}

static void check_preserving(struct field_errors *errs, const crd_t *c)
{
    if (c->spec.preserve_unknown_fields)
        field_invalid_bool(errs, PATH(PATH(PATH_ROOT, "spec"), "preserveUnknownFields"), true,
                           "cannot set to true, set x-kubernetes-preserve-unknown-fields to true "
                           "in spec.versions[*].schema instead");
}

/* What takes long for large schemas: another thread does that. */
static void judge(const void *obj, const void *old, struct field_errors *errs)
{
    const crd_t *c = obj, *o = old;
    check_spec(errs, c, o);
    check_names(errs, PATH(PATH(PATH_ROOT, "status"), "acceptedNames"), &c->status.accepted_names);
    check_stored(errs, c);
    check_approval(errs, c, o);
    check_preserving(errs, c);
}

/* Nodes of a schema, as far as they matter. */
static size_t count_nodes(const struct apiextensions_v1_json_schema_props *p, size_t so_far,
                          unsigned depth)
{
    so_far++;
    if (depth == 0)
        return LARGE_NODES;
    for (size_t i = 0; i < p->properties_count && so_far < LARGE_NODES; i++)
        so_far = count_nodes(&p->properties[i].value, so_far, depth - 1);
    if (p->items != NULL && p->items->schema != NULL)
        so_far = count_nodes(p->items->schema, so_far, depth - 1);
    if (p->additional_properties != NULL && p->additional_properties->schema != NULL)
        so_far = count_nodes(p->additional_properties->schema, so_far, depth - 1);
    return so_far;
}

static bool is_large(const crd_t *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->spec.versions_count && n < LARGE_NODES; i++)
        if (c->spec.versions[i].schema != NULL &&
            c->spec.versions[i].schema->open_apiv3_schema != NULL)
            n = count_nodes(c->spec.versions[i].schema->open_apiv3_schema, n, CRD_DEPTH_MAX);
    return n >= LARGE_NODES;
}

static void validate_all(const struct kind_ctx *ctx, const crd_t *c, const crd_t *old,
                         struct field_errors *errs)
{
    if (is_large(c))
        write_work_validate(ctx, &apiextensions_v1_custom_resource_definition_msg, c, old, judge,
                            errs);
    else
        judge(c, old, errs);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const crd_t *c = obj;
    struct str wanted = arena_printf(errs->arena, STR_FMT "." STR_FMT,
                                     STR_ARG(c->spec.names.plural), STR_ARG(c->spec.group));
    if (!str_eq(c->metadata.name, wanted))
        field_invalid(errs, PATH(PATH(PATH_ROOT, "metadata"), "name"), c->metadata.name,
                      "must be spec.names.plural+\".\"+spec.group");
    validate_all(ctx, c, NULL, errs);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const crd_t *c = obj, *o = old;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *names = PATH(spec, "names");
    validate_all(ctx, c, o, errs);
    if (custom_condition(o, "Established")) {
        validate_immutable_str(errs, PATH(spec, "scope"), c->spec.scope, o->spec.scope);
        validate_immutable_str(errs, PATH(names, "kind"), c->spec.names.kind, o->spec.names.kind);
    }
    validate_immutable_str(errs, PATH(spec, "group"), c->spec.group, o->spec.group);
    validate_immutable_str(errs, PATH(names, "plural"), c->spec.names.plural, o->spec.names.plural);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx), UNUSED(old);
    check_stored(errs, obj);
}

static const struct kind_sub subs[] = {
    {"status", prepare_status, validate_status},
    {0},
};

static const struct table_column columns[] = {
    {"Name", "string", "name", CUSTOM_NAME_DESCRIPTION, 0},
    {"Created At", "date", "", CUSTOM_AGE_DESCRIPTION, 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const crd_t *c = obj;
    AUTO_BUF b = BUF_INIT;
    cell_str(r, c->metadata.name);
    api_json_encode(&meta_v1_time_msg, &c->metadata.creation_timestamp, STR_NULL, STR_NULL, &b);
    struct str quoted = buf_str(&b);
    cell_str(r, quoted.len >= 2 ? str_sub(quoted, 1, quoted.len - 2) : STR(""));
}

const struct kind_ops kind_customresourcedefinitions = {
    .group = "apiextensions.k8s.io",
    .version = "v1",
    .resource = "customresourcedefinitions",
    .flags = KIND_STATUS | KIND_GENERATION,
    .validate_name = name_dns_subdomain,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .subs = subs,
    .mark_deleting = mark_deleting,
    .columns = columns,
    .row = row,
};

/* validate_meta.c - labels, selectors and ObjectMeta; see validate.h. Pure. */
#include "apiserver/validate.h"

#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define ANNOTATIONS_BYTES_MAX (256 * 1024)

void validate_qualified_name(struct field_errors *errs, const struct field_path *path,
                             struct str name)
{
    field_faults(errs, path, name, api_check_qualified_name(name));
}

void validate_labels(struct field_errors *errs, const struct field_path *path,
                     const struct api_str_entry *e, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        validate_qualified_name(errs, path, e[i].key);
        field_faults(errs, path, e[i].value, api_check_label_value(e[i].value));
    }
}

static struct str lower(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        p[i] = (char)(s.data[i] >= 'A' && s.data[i] <= 'Z' ? s.data[i] + 32 : s.data[i]);
    p[s.len] = '\0';
    return str_n(p, s.len);
}

void validate_annotations(struct field_errors *errs, const struct field_path *path,
                          const struct api_str_entry *e, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        /* Keys are checked without regard to case, and shown as given. */
        field_faults(errs, path, e[i].key, api_check_qualified_name(lower(errs->arena, e[i].key)));
        bytes += e[i].key.len + e[i].value.len;
    }
    if (bytes > ANNOTATIONS_BYTES_MAX)
        field_too_long(errs, path, ANNOTATIONS_BYTES_MAX);
}

static void validate_requirement(struct field_errors *errs, const struct field_path *p,
                                 const struct meta_v1_label_selector_requirement *r)
{
    bool in = str_eqc(r->operator, "In") || str_eqc(r->operator, "NotIn");
    bool exists = str_eqc(r->operator, "Exists") || str_eqc(r->operator, "DoesNotExist");
    if (in && r->values_count == 0)
        field_required(errs, PATH(p, "values"),
                       "must be specified when `operator` is 'In' or 'NotIn'");
    else if (exists && r->values_count != 0)
        field_forbidden(errs, PATH(p, "values"),
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    else if (!in && !exists)
        field_invalid(errs, PATH(p, "operator"), r->operator, "not a valid selector operator");
    validate_qualified_name(errs, PATH(p, "key"), r->key);
    for (size_t i = 0; i < r->values_count; i++)
        field_faults(errs, PATH_INDEX(PATH(p, "values"), i), r->values[i],
                     api_check_label_value(r->values[i]));
}

void validate_label_selector(struct field_errors *errs, const struct field_path *path,
                             const struct meta_v1_label_selector *s)
{
    if (s == NULL)
        return;
    validate_labels(errs, PATH(path, "matchLabels"), s->match_labels, s->match_labels_count);
    for (size_t i = 0; i < s->match_expressions_count; i++)
        validate_requirement(errs, PATH_INDEX(PATH(path, "matchExpressions"), i),
                             &s->match_expressions[i]);
}

/* --- ObjectMeta ---------------------------------------------------------------- */
static struct str render_owners(struct arena *a, const struct meta_v1_object_meta *m)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < m->owner_references_count; i++) {
        buf_putc(&b, i == 0 ? '[' : ',');
        api_json_encode(&meta_v1_owner_reference_msg, &m->owner_references[i], STR_NULL, STR_NULL,
                        &b);
    }
    buf_putc(&b, ']');
    return arena_str(a, buf_str(&b));
}

static void validate_owners(struct field_errors *errs, const struct field_path *path,
                            const struct meta_v1_object_meta *m)
{
    const struct meta_v1_owner_reference *controller = NULL;
    for (size_t i = 0; i < m->owner_references_count; i++) {
        const struct meta_v1_owner_reference *o = &m->owner_references[i];
        struct str group, version;
        if (!str_cut(o->api_version, '/', &group, &version)) {
            version = o->api_version;
            group = STR_NULL;
        }
        if (version.len == 0)
            field_invalid(errs, PATH(path, "apiVersion"), o->api_version,
                          "version must not be empty");
        if (o->kind.len == 0)
            field_invalid(errs, PATH(path, "kind"), o->kind, "must not be empty");
        if (o->name.len == 0)
            field_invalid(errs, PATH(path, "name"), o->name, "must not be empty");
        if (o->uid.len == 0)
            field_invalid(errs, PATH(path, "uid"), o->uid, "must not be empty");
        if (str_eqc(o->kind, "Event") && (group.len == 0 || str_eqc(group, "events.k8s.io")))
            field_invalid_msg(errs, path, &meta_v1_owner_reference_msg, o,
                              STR_FMT ", Kind=Event is disallowed from being an owner",
                              STR_ARG(o->api_version));
        if (!o->has_controller || !o->controller)
            continue;
        if (controller == NULL)
            controller = o;
        else
            field_invalid_raw(errs, path, render_owners(errs->arena, m),
                              "Only one reference can have Controller set to true. Found \"true\" "
                              "in references for " STR_FMT "/" STR_FMT " and " STR_FMT "/" STR_FMT,
                              STR_ARG(controller->kind), STR_ARG(controller->name),
                              STR_ARG(o->kind), STR_ARG(o->name));
    }
}

bool is_standard_finalizer(struct str f)
{
    return str_eqc(f, "kubernetes") || str_eqc(f, "orphan") || str_eqc(f, "foregroundDeletion");
}

static void validate_finalizers(struct field_errors *errs, const struct field_path *path,
                                const struct meta_v1_object_meta *m)
{
    bool orphan = false, foreground = false;
    for (size_t i = 0; i < m->finalizers_count; i++) {
        struct str f = m->finalizers[i];
        struct api_faults q = api_check_qualified_name(f);
        field_faults(errs, path, f, q);
        orphan = orphan || str_eqc(f, "orphan");
        foreground = foreground || str_eqc(f, "foregroundDeletion");
    }
    if (orphan && foreground)
        field_invalid_raw(errs, path,
                          field_strings_render(errs->arena, m->finalizers, m->finalizers_count),
                          "finalizer orphan and foregroundDeletion cannot be both set");
}

void validate_finalizer_names(struct field_errors *errs, const struct field_path *path,
                              const struct meta_v1_object_meta *m)
{
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (str_find(m->finalizers[i], '/', 0) < 0 && !is_standard_finalizer(m->finalizers[i]))
            field_invalid(errs, PATH_INDEX(PATH(path, "finalizers"), i), m->finalizers[i],
                          "name is neither a standard finalizer name nor is it fully qualified");
}

void validate_object_meta(struct field_errors *errs, const struct field_path *path,
                          const struct meta_v1_object_meta *m, bool namespaced,
                          void (*validate_name)(struct field_errors *, const struct field_path *,
                                                struct str, bool))
{
    if (validate_name == NULL)
        validate_name = name_dns_subdomain;
    if (m->generate_name.len != 0)
        validate_name(errs, PATH(path, "generateName"), m->generate_name, true);
    if (m->name.len == 0)
        field_required(errs, PATH(path, "name"), "name or generateName is required");
    else
        validate_name(errs, PATH(path, "name"), m->name, false);
    if (namespaced) {
        if (m->namespace.len == 0)
            field_required(errs, PATH(path, "namespace"), NULL);
        else
            field_faults(errs, PATH(path, "namespace"), m->namespace,
                         api_check_dns_label(m->namespace));
    } else if (m->namespace.len != 0) {
        field_forbidden(errs, PATH(path, "namespace"), "not allowed on this type");
    }
    validate_non_negative(errs, PATH(path, "generation"), m->generation);
    validate_labels(errs, PATH(path, "labels"), m->labels, m->labels_count);
    validate_annotations(errs, PATH(path, "annotations"), m->annotations, m->annotations_count);
    validate_owners(errs, PATH(path, "ownerReferences"), m);
    validate_finalizers(errs, PATH(path, "finalizers"), m);
}

static bool has_finalizer(const struct meta_v1_object_meta *m, struct str f)
{
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (str_eq(m->finalizers[i], f))
            return true;
    return false;
}

static bool time_eq(const struct meta_v1_time *x, const struct meta_v1_time *y)
{
    if (x == NULL || y == NULL)
        return x == y;
    return x->seconds == y->seconds && x->nanos == y->nanos;
}

static struct str time_text(struct arena *a, const struct meta_v1_time *t)
{
    AUTO_BUF b = BUF_INIT;
    if (t == NULL)
        return STR("null");
    api_json_encode(&meta_v1_time_msg, t, STR_NULL, STR_NULL, &b);
    return arena_str(a, buf_str(&b));
}

void validate_object_meta_update(struct field_errors *errs, const struct field_path *path,
                                 const struct meta_v1_object_meta *m,
                                 const struct meta_v1_object_meta *old)
{
    /* Nothing may be put in the way of a deletion that has begun. */
    if (old->deletion_timestamp != NULL) {
        AUTO_BUF extra = BUF_INIT;
        for (size_t i = 0; i < m->finalizers_count; i++)
            if (!has_finalizer(old, m->finalizers[i]))
                buf_printf(&extra, "%s\"" STR_FMT "\"", extra.len == 0 ? "" : ", ",
                           STR_ARG(m->finalizers[i]));
        if (extra.len != 0)
            field_forbidden(errs, PATH(path, "finalizers"),
                            "no new finalizers can be added if the object is being deleted, found "
                            "new finalizers "
                            "[]string{" STR_FMT "}",
                            STR_ARG(buf_str(&extra)));
    }
    validate_immutable_str(errs, PATH(path, "name"), m->name, old->name);
    validate_immutable_str(errs, PATH(path, "namespace"), m->namespace, old->namespace);
    validate_immutable_str(errs, PATH(path, "uid"), m->uid, old->uid);
    if (!time_eq(&m->creation_timestamp, &old->creation_timestamp))
        field_invalid_raw(errs, PATH(path, "creationTimestamp"),
                          time_text(errs->arena, &m->creation_timestamp), "field is immutable");
    if (!time_eq(m->deletion_timestamp, old->deletion_timestamp))
        field_invalid_raw(errs, PATH(path, "deletionTimestamp"),
                          time_text(errs->arena, m->deletion_timestamp), "field is immutable");
    if (m->has_deletion_grace_period_seconds != old->has_deletion_grace_period_seconds ||
        m->deletion_grace_period_seconds != old->deletion_grace_period_seconds) {
        if (m->has_deletion_grace_period_seconds)
            field_invalid_int(errs, PATH(path, "deletionGracePeriodSeconds"),
                              m->deletion_grace_period_seconds, "field is immutable");
        else
            field_invalid_raw(errs, PATH(path, "deletionGracePeriodSeconds"), STR("null"),
                              "field is immutable");
    }
    if (m->resource_version.len == 0)
        field_invalid(errs, PATH(path, "resourceVersion"), m->resource_version,
                      "must be specified for an update");
    if (m->generation < old->generation)
        field_invalid_int(errs, PATH(path, "generation"), m->generation, "must not be decremented");
    validate_labels(errs, PATH(path, "labels"), m->labels, m->labels_count);
    validate_annotations(errs, PATH(path, "annotations"), m->annotations, m->annotations_count);
    validate_owners(errs, PATH(path, "ownerReferences"), m);
}

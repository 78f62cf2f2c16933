/* pod_fields.c - the downward API: which of a pod's fields and of a container's
 * resources may be referred to. Pure. */
#include "apiserver/kinds/pod_check.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

/* metadata.labels['x'] into its path and subscript. */
static bool split_subscript(struct str s, struct str *ret_path, struct str *ret_key)
{
    if (!str_has_suffix(s, STR("']")))
        return false;
    struct str head = str_sub(s, 0, s.len - 2);
    ptrdiff_t at = str_find_str(head, STR("['"));
    if (at <= 0 || (size_t)at + 2 >= head.len)
        return false;
    *ret_path = str_sub(head, 0, (size_t)at);
    *ret_key = str_sub(head, (size_t)at + 2, head.len);
    return true;
}

static bool is_known_field(struct str path)
{
    static const char *const known[] = {
        "metadata.annotations", "metadata.labels", "metadata.name",      "metadata.namespace",
        "metadata.uid",         "spec.nodeName",   "spec.restartPolicy", "spec.serviceAccountName",
        "spec.schedulerName",   "status.phase",    "status.hostIP",      "status.hostIPs",
        "status.podIP",         "status.podIPs",   "spec.host",          NULL};
    return is_listed(path, known);
}

static struct str lower(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        p[i] = (char)(s.data[i] >= 'A' && s.data[i] <= 'Z' ? s.data[i] + 32 : s.data[i]);
    p[s.len] = '\0';
    return str_n(p, s.len);
}

void check_field_ref(struct field_errors *errs, const struct field_path *path,
                     const struct core_v1_object_field_selector *s, const char *const *supported)
{
    struct str field = s->field_path, key;
    if (str_empty(s->api_version)) {
        field_required(errs, PATH(path, "apiVersion"), NULL);
        return;
    }
    if (str_empty(field)) {
        field_required(errs, PATH(path, "fieldPath"), NULL);
        return;
    }
    bool subscripted = split_subscript(s->field_path, &field, &key);
    bool has_keys = str_eqc(field, "metadata.annotations") || str_eqc(field, "metadata.labels");
    const struct field_path *at = PATH(path, "fieldPath");
    if (!str_eqc(s->api_version, "v1"))
        field_invalid(errs, at, s->field_path,
                      "error converting fieldPath: unsupported pod version: " STR_FMT,
                      STR_ARG(s->api_version));
    else if (subscripted && !has_keys)
        field_invalid(errs, at, s->field_path,
                      "error converting fieldPath: field label does not support subscript");
    else if (!is_known_field(field))
        field_invalid(errs, at, s->field_path,
                      "error converting fieldPath: field label not supported: " STR_FMT,
                      STR_ARG(field));
    else if (subscripted)
        field_faults(errs, path, key,
                     api_check_qualified_name(
                         str_eqc(field, "metadata.annotations") ? lower(errs->arena, key) : key));
    else if (!is_listed(str_eqc(field, "spec.host") ? STR("spec.nodeName") : field, supported))
        field_not_supported(errs, at, field, supported);
}

static void check_divisor(struct field_errors *errs, const struct field_path *path,
                          const struct core_v1_resource_field_selector *s)
{
    static const char *const cpu[] = {"1m", "1", NULL};
    static const char *const bytes[] = {"1",   "1k",  "1M",  "1G",  "1T",  "1P",  "1E",
                                        "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei", NULL};
    static const char bytes_text[] = "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, "
                                     "1Gi, 1Ti, 1Pi, 1Ei are supported with the";
    struct quantity q = quantity_of(&s->divisor);
    struct str kind, name = s->resource, text = s->divisor.string;
    const struct field_path *at = PATH(path, "divisor");
    if (quantity_is_zero(&q) || !str_cut(s->resource, '.', &kind, &name))
        return;
    if (str_eqc(name, "cpu")) {
        if (!is_listed(text, cpu))
            field_invalid(errs, at, s->resource,
                          "only divisor's values 1m and 1 are supported with the cpu resource");
    } else if (!is_listed(text, bytes)) {
        if (str_eqc(name, "memory"))
            field_invalid(errs, at, s->resource, "%s memory resource", bytes_text);
        else if (str_eqc(name, "ephemeral-storage"))
            field_invalid(errs, at, s->resource, "%s local ephemeral storage resource", bytes_text);
        else if (is_hugepages(name))
            field_invalid(errs, at, s->resource, "%s hugepages resource", bytes_text);
    }
}

void check_resource_field_ref(struct field_errors *errs, const struct field_path *path,
                              const struct core_v1_resource_field_selector *s, bool in_volume)
{
    static const char *const supported[] = {"limits.cpu",
                                            "limits.ephemeral-storage",
                                            "limits.memory",
                                            "requests.cpu",
                                            "requests.ephemeral-storage",
                                            "requests.memory",
                                            NULL};
    bool huge = str_has_prefix(s->resource, STR("limits.hugepages-")) ||
                str_has_prefix(s->resource, STR("requests.hugepages-"));
    if (in_volume && str_empty(s->container_name))
        field_required(errs, PATH(path, "containerName"), NULL);
    else if (str_empty(s->resource))
        field_required(errs, PATH(path, "resource"), NULL);
    else if (!huge)
        validate_listed(errs, PATH(path, "resource"), s->resource, supported);
    check_divisor(errs, path, s);
}

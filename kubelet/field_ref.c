/* field_ref.c - see field_ref.h. */
#include "kubelet/field_ref.h"

#include "kubelet/resources.h"

#include "lib/api/quantity.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include "api/core_v1.h"
#include "api/resource.h"

/* As Go's %q for the characters that occur. */
static void write_quoted(struct str s, struct buf *b)
{
    buf_putc(b, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        switch (c) {
        case '"':
        case '\\':
            buf_putc(b, '\\');
            buf_putc(b, (char)c);
            break;
        case '\n':
            buf_puts(b, "\\n");
            break;
        case '\r':
            buf_puts(b, "\\r");
            break;
        case '\t':
            buf_puts(b, "\\t");
            break;
        default:
            if (c < 0x20 || c == 0x7f)
                buf_printf(b, "\\x%02x", c);
            else
                buf_putc(b, (char)c);
        }
    }
    buf_putc(b, '"');
}

struct str field_format_map(struct arena *a, const struct api_str_entry *e, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_putc(&b, '\n');
        buf_append_str(&b, e[i].key);
        buf_putc(&b, '=');
        write_quoted(e[i].value, &b);
    }
    return arena_str(a, buf_str(&b));
}

/* metadata.labels['key'] */
static bool subscript(struct str path, const char *field, struct str *ret_key)
{
    struct str prefix = str_of(field);
    if (!str_has_prefix(path, prefix) || !str_has_suffix(path, STR("']")))
        return false;
    struct str rest = str_sub(path, prefix.len, path.len - prefix.len);
    if (!str_has_prefix(rest, STR("['")) || rest.len < 4)
        return false;
    *ret_key = str_sub(rest, 2, rest.len - 4);
    return true;
}

static struct str join(struct arena *a, const char *const *items, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, "%s%s", i > 0 ? "," : "", items[i]);
    return arena_str(a, buf_str(&b));
}

static struct str value_of(const struct api_str_entry *e, size_t count, struct str key)
{
    const struct str *v = api_str_map_get(e, count, key);
    return v != NULL ? *v : STR("");
}

int field_ref_value(struct arena *a, const struct field_context *ctx, struct str path,
                    struct str *ret, struct error *err)
{
    const struct meta_v1_object_meta *m = &ctx->pod->metadata;
    struct str key;
    if (str_eqc(path, "metadata.name"))
        *ret = m->name;
    else if (str_eqc(path, "metadata.namespace"))
        *ret = m->namespace;
    else if (str_eqc(path, "metadata.uid"))
        *ret = m->uid;
    else if (str_eqc(path, "metadata.labels"))
        *ret = field_format_map(a, m->labels, m->labels_count);
    else if (str_eqc(path, "metadata.annotations"))
        *ret = field_format_map(a, m->annotations, m->annotations_count);
    else if (subscript(path, "metadata.labels", &key))
        *ret = value_of(m->labels, m->labels_count, key);
    else if (subscript(path, "metadata.annotations", &key))
        *ret = value_of(m->annotations, m->annotations_count, key);
    else if (str_eqc(path, "spec.nodeName"))
        *ret = str_of(ctx->node_name);
    else if (str_eqc(path, "spec.serviceAccountName"))
        *ret = ctx->pod->spec.service_account_name;
    else if (str_eqc(path, "status.hostIP"))
        *ret = ctx->host_ip_count > 0 ? str_of(ctx->host_ips[0]) : STR("");
    else if (str_eqc(path, "status.hostIPs"))
        *ret = join(a, ctx->host_ips, ctx->host_ip_count);
    else if (str_eqc(path, "status.podIP"))
        *ret = ctx->pod_ip_count > 0 ? str_of(ctx->pod_ips[0]) : STR("");
    else if (str_eqc(path, "status.podIPs"))
        *ret = join(a, ctx->pod_ips, ctx->pod_ip_count);
    else
        return error_set(err, E_INVALID, "unsupported fieldPath: " STR_FMT, STR_ARG(path));
    return 0;
}

static const struct core_v1_container *find_container(const struct core_v1_pod_spec *spec,
                                                      struct str name)
{
    for (size_t i = 0; i < spec->containers_count; i++) {
        if (str_eq(spec->containers[i].name, name))
            return &spec->containers[i];
    }
    for (size_t i = 0; i < spec->init_containers_count; i++) {
        if (str_eq(spec->init_containers[i].name, name))
            return &spec->init_containers[i];
    }
    return NULL;
}

int resource_ref_value(struct arena *a, const struct field_context *ctx,
                       const struct core_v1_container *container,
                       const struct core_v1_resource_field_selector *ref, struct str *ret,
                       struct error *err)
{
    if (!str_empty(ref->container_name))
        container = find_container(&ctx->pod->spec, ref->container_name);
    if (container == NULL)
        return error_set(err, E_INVALID, "container " STR_FMT " not found",
                         STR_ARG(ref->container_name));
    bool limits = str_has_prefix(ref->resource, STR("limits."));
    if (!limits && !str_has_prefix(ref->resource, STR("requests.")))
        return error_set(err, E_INVALID, "unsupported container resource : " STR_FMT,
                         STR_ARG(ref->resource));
    size_t cut = limits ? 7 : 9;
    char name[128];
    struct str rest = str_sub(ref->resource, cut, ref->resource.len - cut);
    if (rest.len >= sizeof(name))
        return error_set(err, E_INVALID, "unsupported container resource : " STR_FMT,
                         STR_ARG(ref->resource));
    memcpy(name, rest.data, rest.len);
    name[rest.len] = '\0';
    const struct core_v1_resource_requirements *r = &container->resources;
    int64_t value = 0, divisor = 1000;
    bool found = limits ? resource_milli(r->limits, r->limits_count, name, &value)
                        : resource_milli(r->requests, r->requests_count, name, &value);
    /* A limit that is not set is the node's; a request that is not set, the limit. */
    if (!found && !limits)
        found = resource_milli(r->limits, r->limits_count, name, &value);
    if (!found && limits)
        resource_milli(ctx->allocatable, ctx->allocatable_count, name, &value);
    struct quantity given = quantity_of(&ref->divisor);
    if (quantity_milli_value(&given) > 0)
        divisor = quantity_milli_value(&given);
    int64_t whole = value / divisor + (value % divisor > 0);
    *ret = arena_printf(a, "%lld", (long long)whole);
    return 0;
}

/* pod_depends.c - the annotations in which pods and templates say what they depend on
 * (lib/api/depends.h), and the label of Namespaces. Pure. */
#include "apiserver/kinds/pod_check.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "apiserver/kinds/pod_warnings.h"
#include "lib/api/depends.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

static const struct str *get(const struct meta_v1_object_meta *m, const char *key)
{
    return api_str_map_get(m->annotations, m->annotations_count, str_of(key));
}

void check_pod_depends(struct field_errors *errs, const struct field_path *path,
                       const struct meta_v1_object_meta *m, const struct core_v1_pod_spec *s)
{
    const struct str *on = get(m, DEPENDS_ON), *wait = get(m, DEPENDS_WAIT);
    const struct field_path *at = PATH_KEY(path, STR(DEPENDS_ON));
    struct dependencies d;
    struct error err;
    bool waits = false;
    if (on != NULL && depends_parse(errs->arena, *on, &d, &err) != 0)
        field_invalid(errs, at, *on, "%s", error_message(&err));
    if (on != NULL && s->host_network)
        field_forbidden(errs, at,
                        "cannot be held to by a pod on the host's network, which has the node's "
                        "address: leave it out, or set spec.hostNetwork to false");
    at = PATH_KEY(path, STR(DEPENDS_WAIT));
    if (wait != NULL && depends_parse_wait(*wait, &waits, &err) != 0)
        field_invalid(errs, at, *wait, "%s", error_message(&err));
    if (waits && on == NULL)
        field_invalid(errs, at, *wait,
                      "needs the annotation " DEPENDS_ON ", which names what is "
                      "waited for");
}

bool is_depends_annotation(struct str key)
{
    return str_eqc(key, DEPENDS_ON) || str_eqc(key, DEPENDS_WAIT);
}

void check_isolation_label(struct field_errors *errs, const struct field_path *labels,
                           const struct meta_v1_object_meta *m)
{
    const struct str *v = api_str_map_get(m->labels, m->labels_count, STR(DEPENDS_ISOLATION));
    if (v != NULL && !str_eqc(*v, "declared") && !str_eqc(*v, "audit"))
        field_invalid(
            errs, PATH_KEY(labels, STR(DEPENDS_ISOLATION)), *v,
            "must be \"declared\" (pods reach what they declare in the annotation " DEPENDS_ON
            ") or \"audit\" (nothing is refused, but told), or not there");
}

/* --- what is unwise ------------------------------------------------------------------------ */

static bool has_port(const struct core_v1_service *s, const struct dependency *d)
{
    bool any = d->port == 0 && str_empty(d->port_name);
    for (size_t i = 0; !any && i < s->spec.ports_count; i++)
        any = d->port != 0 ? s->spec.ports[i].port == d->port
                           : str_eq(s->spec.ports[i].name, d->port_name);
    return any;
}

void warn_pod_depends(const struct kind_ctx *ctx, const struct field_path *at,
                      const struct meta_v1_object_meta *m)
{
    struct dependencies d = {0};
    struct error err;
    if (depends_of(ctx->arena, m, &d, &err) != 0)
        return;
    for (size_t i = 0; i < d.count; i++) {
        const struct dependency *x = &d.items[i];
        if (x->type != DEPEND_SERVICE)
            continue;
        struct str ns = str_empty(x->namespace_) ? ctx->namespace_ : x->namespace_;
        const struct core_v1_service *s = kind_lookup(ctx, "", "services", ns, x->name);
        if (s == NULL)
            kind_warn_field(ctx, at,
                            "\"" STR_FMT "\": there is no Service " STR_FMT " in namespace " STR_FMT
                            " yet",
                            STR_ARG(x->text), STR_ARG(x->name), STR_ARG(ns));
        else if (str_eqc(s->spec.type, "ExternalName"))
            kind_warn_field(ctx, at,
                            "\"" STR_FMT "\": Service " STR_FMT " is an ExternalName, which opens "
                            "nothing: declare the addresses behind " STR_FMT ", or internet",
                            STR_ARG(x->text), STR_ARG(x->name), STR_ARG(s->spec.external_name));
        else if (!has_port(s, x))
            kind_warn_field(ctx, at,
                            "\"" STR_FMT "\": Service " STR_FMT " in namespace " STR_FMT
                            " has no such port",
                            STR_ARG(x->text), STR_ARG(x->name), STR_ARG(ns));
    }
}

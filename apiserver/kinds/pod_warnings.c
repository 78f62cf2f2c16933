/* pod_warnings.c - see pod_warnings.h; in upstream's order. Pure. */
#include "apiserver/kinds/pod_warnings.h"

#include "apiserver/ip_text.h"
#include "apiserver/kinds/node_labels.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/depends.h"
#include "lib/api/names.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define REQUIRED "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"
#define NO_MATCH "a null labelSelector results in matching no pod"

struct pod_warn {
    const struct kind_ctx *ctx;
    const struct field_path *meta_path, *spec_path;
    const struct core_v1_pod_spec *spec;
    const struct meta_v1_object_meta *meta;
    bool is_template;
    struct port *ports; /* Of the containers that were visited. */
    size_t ports_count, ports_cap;
};

struct port {
    const struct core_v1_container_port *port;
    struct str path; /* As text. */
};

static bool has_annotation(const struct pod_warn *k, struct str key)
{
    return api_str_map_get(k->meta->annotations, k->meta->annotations_count, key) != NULL;
}

static const struct field_path *annotation_path(const struct pod_warn *k, struct str key)
{
    struct field_path *p = ARENA_ARRAY(k->ctx->arena, struct field_path, 2);
    p[0] = (struct field_path){k->meta_path, "annotations", STR_NULL, -1};
    p[1] = (struct field_path){&p[0], NULL, key, -1};
    return &p[1];
}

/* --- placement --------------------------------------------------------------------------- */

static void warn_node_placement(const struct pod_warn *k)
{
    const struct core_v1_pod_spec *s = k->spec;
    for (size_t i = 0; i < s->node_selector_count; i++) {
        const char *why = node_label_deprecated(s->node_selector[i].key);
        if (why != NULL)
            kind_warn_field(k->ctx,
                            PATH_KEY(PATH(k->spec_path, "nodeSelector"), s->node_selector[i].key),
                            "%s", why);
    }
    const struct core_v1_node_affinity *n = s->affinity != NULL ? s->affinity->node_affinity : NULL;
    if (n == NULL)
        return;
    const struct field_path *path = PATH(PATH(k->spec_path, "affinity"), "nodeAffinity");
    const struct core_v1_node_selector *required =
        n->required_during_scheduling_ignored_during_execution;
    for (size_t i = 0; required != NULL && i < required->node_selector_terms_count; i++)
        warn_node_selector_term(k->ctx,
                                PATH_INDEX(PATH(PATH(path, REQUIRED), "nodeSelectorTerms"), i),
                                &required->node_selector_terms[i], false);
    for (size_t i = 0; i < n->preferred_during_scheduling_ignored_during_execution_count; i++)
        warn_node_selector_term(
            k->ctx, PATH(PATH_INDEX(PATH(path, PREFERRED), i), "preference"),
            &n->preferred_during_scheduling_ignored_during_execution[i].preference, false);
}

static void warn_spreading(const struct pod_warn *k)
{
    for (size_t i = 0; i < k->spec->topology_spread_constraints_count; i++) {
        const struct core_v1_topology_spread_constraint *c =
            &k->spec->topology_spread_constraints[i];
        const struct field_path *at =
            PATH_INDEX(PATH(k->spec_path, "topologySpreadConstraints"), i);
        const char *why = node_label_deprecated(c->topology_key);
        if (why != NULL)
            kind_warn_field(k->ctx, PATH(at, "topologyKey"), STR_FMT " is %s",
                            STR_ARG(c->topology_key), why);
        if (c->label_selector == NULL)
            kind_warn_field(k->ctx, PATH(at, "labelSelector"), NO_MATCH);
    }
}

static void warn_terms(const struct pod_warn *k, const struct field_path *path,
                       const struct core_v1_pod_affinity_term *required, size_t required_count,
                       const struct core_v1_weighted_pod_affinity_term *preferred,
                       size_t preferred_count)
{
    for (size_t i = 0; i < required_count; i++)
        if (required[i].label_selector == NULL)
            kind_warn_field(k->ctx, PATH(PATH_INDEX(PATH(path, REQUIRED), i), "labelSelector"),
                            NO_MATCH);
    for (size_t i = 0; i < preferred_count; i++)
        if (preferred[i].pod_affinity_term.label_selector == NULL)
            kind_warn_field(k->ctx,
                            PATH(PATH(PATH_INDEX(PATH(path, PREFERRED), i), "podAffinityTerm"),
                                 "labelSelector"),
                            NO_MATCH);
}

static void warn_pod_placement(const struct pod_warn *k)
{
    const struct field_path *path = PATH(k->spec_path, "affinity");
    const struct core_v1_affinity *a = k->spec->affinity;
    if (a != NULL && a->pod_affinity != NULL)
        warn_terms(k, PATH(path, "podAffinity"),
                   a->pod_affinity->required_during_scheduling_ignored_during_execution,
                   a->pod_affinity->required_during_scheduling_ignored_during_execution_count,
                   a->pod_affinity->preferred_during_scheduling_ignored_during_execution,
                   a->pod_affinity->preferred_during_scheduling_ignored_during_execution_count);
    if (a != NULL && a->pod_anti_affinity != NULL)
        warn_terms(
            k, PATH(path, "podAntiAffinity"),
            a->pod_anti_affinity->required_during_scheduling_ignored_during_execution,
            a->pod_anti_affinity->required_during_scheduling_ignored_during_execution_count,
            a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution,
            a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution_count);
}

/* --- what is of the past -------------------------------------------------------------------- */

static void warn_annotations(const struct pod_warn *k)
{
    static const struct {
        struct str key;
        const char *why;
    } old[] = {{STR("scheduler.alpha.kubernetes.io/critical-pod"),
                "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
               {STR("security.alpha.kubernetes.io/sysctls"),
                "non-functional in v1.11+; use the \"sysctls\" field instead"},
               {STR("security.alpha.kubernetes.io/unsafe-sysctls"),
                "non-functional in v1.11+; use the \"sysctls\" field instead"}};
    for (size_t i = 0; i < ARRAY_SIZE(old); i++)
        if (has_annotation(k, old[i].key))
            kind_warn_field(k->ctx, annotation_path(k, old[i].key), "%s", old[i].why);
}

static void warn_volumes(const struct pod_warn *k)
{
    for (size_t i = 0; i < k->spec->volumes_count; i++) {
        const struct core_v1_volume_source *s = &k->spec->volumes[i].volume_source;
        const struct field_path *at = PATH_INDEX(PATH(k->spec_path, "volumes"), i);
        const struct {
            bool given;
            const char *name, *why;
        } old[] = {
            {s->photon_persistent_disk != NULL, "photonPersistentDisk",
             "deprecated in v1.11, non-functional in v1.16+"},
            {s->git_repo != NULL, "gitRepo",
             "deprecated in v1.11, and disabled by default in v1.33+"},
            {s->scale_io != NULL, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
            {s->flocker != NULL, "flocker", "deprecated in v1.22, non-functional in v1.25+"},
            {s->storageos != NULL, "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
            {s->quobyte != NULL, "quobyte", "deprecated in v1.22, non-functional in v1.25+"},
            {s->glusterfs != NULL, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
            {s->cephfs != NULL, "cephfs", "deprecated in v1.28, non-functional in v1.31+"},
            {s->rbd != NULL, "rbd", "deprecated in v1.28, non-functional in v1.31+"}};
        for (size_t j = 0; j < ARRAY_SIZE(old); j++)
            if (old[j].given)
                kind_warn_field(k->ctx, PATH(at, old[j].name), "%s", old[j].why);
        if (s->ephemeral != NULL && s->ephemeral->volume_claim_template != NULL)
            warn_claim_spec(k->ctx,
                            PATH(PATH(PATH(at, "ephemeral"), "volumeClaimTemplate"), "spec"),
                            &s->ephemeral->volume_claim_template->spec);
    }
    for (size_t i = 0; i < k->spec->volumes_count; i++)
        warn_overlaps(k->ctx, &k->spec->volumes[i]);
}

static void warn_lists(const struct pod_warn *k)
{
    const struct core_v1_host_alias *h = k->spec->host_aliases;
    const struct core_v1_local_object_reference *p = k->spec->image_pull_secrets;
    for (size_t i = 0; i < k->spec->host_aliases_count; i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(h[j].ip, h[i].ip)) {
                kind_warn_field(k->ctx,
                                PATH(PATH_INDEX(PATH(k->spec_path, "hostAliases"), i), "ip"),
                                "duplicate ip \"" STR_FMT "\"", STR_ARG(h[i].ip));
                break;
            }
    const struct field_path *secrets = PATH(k->spec_path, "imagePullSecrets");
    for (size_t i = 0; i < k->spec->image_pull_secrets_count; i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(p[j].name, p[i].name)) {
                kind_warn_field(k->ctx, PATH(PATH_INDEX(secrets, i), "name"),
                                "duplicate name \"" STR_FMT "\"", STR_ARG(p[i].name));
                break;
            }
    for (size_t i = 0; i < k->spec->image_pull_secrets_count; i++)
        if (str_empty(p[i].name))
            kind_warn_field(k->ctx, PATH(PATH_INDEX(secrets, i), "name"),
                            "invalid empty name \"\"");
}

/* --- containers ---------------------------------------------------------------------------------
 */

static void warn_profiles(struct pod_warn *k, const struct core_v1_container *c)
{
    const struct core_v1_pod_security_context *pod = k->spec->security_context;
    const struct core_v1_security_context *own = c->security_context;
    struct arena *a = k->ctx->arena;
    struct str seccomp = arena_printf(a, "container.seccomp.security.alpha.kubernetes.io/" STR_FMT,
                                      STR_ARG(c->name));
    struct str armor = arena_printf(a, "container.apparmor.security.beta.kubernetes.io/" STR_FMT,
                                    STR_ARG(c->name));
    if ((own == NULL || own->seccomp_profile == NULL) && has_annotation(k, seccomp))
        kind_warn_field(k->ctx, annotation_path(k, seccomp),
                        "non-functional in v1.27+; use the \"seccompProfile\" field instead");
    bool armored = (pod != NULL && pod->app_armor_profile != NULL) ||
                   (own != NULL && own->app_armor_profile != NULL);
    if (k->is_template && !armored && has_annotation(k, armor))
        kind_warn_field(k->ctx, annotation_path(k, armor),
                        "deprecated since v1.30; use the \"appArmorProfile\" field instead");
}

/* A variable that is given twice, unless its second value builds on the first. */
static void warn_env(struct pod_warn *k, const struct core_v1_container *c,
                     const struct field_path *path)
{
    for (size_t i = 0; i < c->env_count; i++) {
        const struct core_v1_env_var *e = &c->env[i];
        bool hidden = false;
        for (size_t j = 0; j < i && !hidden; j++)
            hidden = str_eq(c->env[j].name, e->name);
        if (!hidden)
            continue;
        struct str ref = arena_printf(k->ctx->arena, "$(" STR_FMT ")", STR_ARG(e->name));
        if (e->value_from != NULL || str_eq(e->value, ref) || str_find_str(e->value, ref) < 0)
            kind_warn_field(k->ctx, PATH_INDEX(PATH(path, "env"), i),
                            "hides previous definition of \"" STR_FMT
                            "\", which may be dropped when using apply",
                            STR_ARG(e->name));
    }
}

static void warn_container(struct pod_warn *k, const struct core_v1_container *c,
                           const struct field_path *path)
{
    const struct core_v1_resource_requirements *r = &c->resources;
    const struct field_path *limits = PATH(PATH(path, "resources"), "limits"),
                            *requests = PATH(PATH(path, "resources"), "requests");
    warn_profiles(k, c);
    warn_fraction(k->ctx, limits, "memory", r->limits, r->limits_count);
    warn_fraction(k->ctx, requests, "memory", r->requests, r->requests_count);
    warn_fraction(k->ctx, limits, "ephemeral-storage", r->limits, r->limits_count);
    warn_fraction(k->ctx, requests, "ephemeral-storage", r->requests, r->requests_count);
    warn_env(k, c, path);
}

/* Two definitions of one port: how they stand to each other, or NULL. */
static const char *port_relation(const struct core_v1_container_port *p,
                                 const struct core_v1_container_port *q)
{
    if (str_eq(p->host_ip, q->host_ip) && p->host_port == q->host_port)
        return "duplicate";
    if (p->host_port == 0 || q->host_port == 0)
        return "overlapping";
    if (p->host_port == q->host_port && str_empty(p->host_ip) != str_empty(q->host_ip))
        return "dangerously ambiguous";
    return NULL;
}

static void warn_ports(struct pod_warn *k, const struct core_v1_container *c,
                       const struct field_path *path)
{
    for (size_t i = 0; i < c->ports_count; i++) {
        const struct core_v1_container_port *p = &c->ports[i];
        const struct field_path *at = PATH_INDEX(PATH(path, "ports"), i);
        if (!str_empty(p->host_ip) && p->host_port == 0)
            kind_warn_field(k->ctx, at,
                            "hostIP set without hostPort: {Name:" STR_FMT
                            " HostPort:0 ContainerPort:%d Protocol:" STR_FMT " HostIP:" STR_FMT "}",
                            STR_ARG(p->name), p->container_port, STR_ARG(p->protocol),
                            STR_ARG(p->host_ip));
        for (size_t j = 0; j < k->ports_count; j++) {
            const struct port *q = &k->ports[j];
            const char *relation = port_relation(p, q->port);
            if (relation != NULL && q->port->container_port == p->container_port &&
                str_eq(q->port->protocol, p->protocol))
                kind_warn_field(k->ctx, at, "%s port definition with " STR_FMT, relation,
                                STR_ARG(q->path));
        }
        AUTO_BUF text = BUF_INIT;
        field_path_write(at, &text);
        k->ports =
            arena_grow(k->ctx->arena, k->ports, k->ports_count, &k->ports_cap, sizeof(*k->ports));
        k->ports[k->ports_count++] = (struct port){p, arena_str(k->ctx->arena, buf_str(&text))};
    }
}

static void visit(struct pod_warn *k,
                  void (*each)(struct pod_warn *, const struct core_v1_container *,
                               const struct field_path *))
{
    const struct core_v1_pod_spec *s = k->spec;
    for (size_t i = 0; i < s->init_containers_count; i++)
        each(k, &s->init_containers[i], PATH_INDEX(PATH(k->spec_path, "initContainers"), i));
    for (size_t i = 0; i < s->containers_count; i++)
        each(k, &s->containers[i], PATH_INDEX(PATH(k->spec_path, "containers"), i));
    for (size_t i = 0; i < s->ephemeral_containers_count; i++) {
        struct core_v1_container *c = ARENA_NEW(k->ctx->arena, struct core_v1_container);
        memcpy(c, &s->ephemeral_containers[i].ephemeral_container_common, sizeof(*c));
        each(k, c, PATH_INDEX(PATH(k->spec_path, "ephemeralContainers"), i));
    }
}

/* --- the whole
 * ------------------------------------------------------------------------------------ */

static void warn_addresses(const struct pod_warn *k)
{
    const struct core_v1_pod_dns_config *d = k->spec->dns_config;
    for (size_t i = 0; d != NULL && i < d->nameservers_count; i++)
        warn_ip(k->ctx, PATH_INDEX(PATH(PATH(k->spec_path, "dnsConfig"), "nameservers"), i),
                d->nameservers[i]);
    for (size_t i = 0; i < k->spec->host_aliases_count; i++)
        warn_ip(k->ctx, PATH(PATH_INDEX(PATH(k->spec_path, "hostAliases"), i), "ip"),
                k->spec->host_aliases[i].ip);
}

void warn_pod(const struct kind_ctx *ctx, const struct field_path *path,
              const struct core_v1_pod_spec *s, const struct meta_v1_object_meta *m)
{
    struct pod_warn k = {.ctx = ctx,
                         .meta_path = PATH(path, "metadata"),
                         .spec_path = PATH(path, "spec"),
                         .spec = s,
                         .meta = m,
                         .is_template = path != PATH_ROOT};
    struct str seccomp = STR("seccomp.security.alpha.kubernetes.io/pod");
    const struct field_path *overhead = PATH(k.spec_path, "overhead");
    warn_node_placement(&k);
    warn_spreading(&k);
    warn_annotations(&k);
    warn_volumes(&k);
    warn_lists(&k);
    warn_fraction(ctx, overhead, "memory", s->overhead, s->overhead_count);
    warn_fraction(ctx, overhead, "ephemeral-storage", s->overhead, s->overhead_count);
    if ((s->security_context == NULL || s->security_context->seccomp_profile == NULL) &&
        has_annotation(&k, seccomp))
        kind_warn_field(ctx, annotation_path(&k, seccomp),
                        "non-functional in v1.27+; use the \"seccompProfile\" field instead");
    visit(&k, warn_container);
    visit(&k, warn_ports);
    if (s->has_termination_grace_period_seconds && s->termination_grace_period_seconds < 0)
        kind_warn_field(ctx, PATH(k.spec_path, "terminationGracePeriodSeconds"),
                        "must be >= 0; negative values are invalid and will be treated as 1");
    warn_pod_placement(&k);
    warn_addresses(&k);
    warn_pod_depends(ctx, annotation_path(&k, STR(DEPENDS_ON)), m);
}

void warn_host_name(const struct kind_ctx *ctx, struct str name, const char *of)
{
    AUTO_BUF why = BUF_INIT;
    struct api_faults f = api_check_dns_label(name);
    for (size_t i = 0; i < f.count; i++)
        buf_printf(&why, "%s%s", i == 0 ? "" : " ", f.items[i]);
    if (f.count != 0)
        kind_warn(ctx,
                  "metadata.name: this is used in %s, which can result in surprising behavior; a "
                  "DNS label is recommended: [" STR_FMT "]",
                  of, STR_ARG(buf_str(&why)));
}

void warn_workload(const struct kind_ctx *ctx, const struct workload_warning *w)
{
    if (w->old != NULL && w->old->generation == w->meta->generation)
        return;
    if (w->old == NULL && w->name_matters)
        warn_host_name(ctx, w->meta->name, "Pod names and hostnames");
    if (w->template != NULL)
        warn_pod(ctx, w->path, &w->template->spec, &w->template->metadata);
}

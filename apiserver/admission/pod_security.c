/* pod_security.c - PodSecurity: namespaces say by their labels which of the Pod
 * Security Standards their pods must meet, and which they are warned of and
 * recorded for. Workloads are warned of and recorded, their pods refused. */
#include "apiserver/admission/pod_security_check.h"

#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "apiserver/admission/metrics.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/registry.h"
#include "apiserver/user.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "raftstore/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#define PREFIX "pod-security.kubernetes.io/"
#define PODS_CHECKED_MAX 3000u
#define CHECK_NS 100000000u /* For a changed namespace: a server thread is not held longer. */
#define MINOR 36            /* Versions above are of the future. */

enum mode { ENFORCE, AUDIT, WARN, MODES };
static const char *const mode_names[] = {"enforce", "audit", "warn"};

struct names {
    struct str *items;
    size_t count;
};

struct config {
    struct ps_policy defaults[MODES];
    struct names usernames, runtime_classes, namespaces; /* Exempt. */
};

static const struct config no_config = {.defaults = {{PS_PRIVILEGED, PS_LATEST},
                                                     {PS_PRIVILEGED, PS_LATEST},
                                                     {PS_PRIVILEGED, PS_LATEST}}};

static const struct config *config_of(const struct admission *adm)
{
    return adm->config != NULL ? adm->config : &no_config;
}

static bool holds(const struct names *n, struct str s)
{
    for (size_t i = 0; s.len != 0 && i < n->count; i++)
        if (str_eq(n->items[i], s))
            return true;
    return false;
}

/* --- configuration ----------------------------------------------------------------------- */
static int read_default(const struct json *defaults, enum mode mode, struct ps_policy *ret,
                        struct error *err)
{
    char key[32];
    struct str level = json_get_str(defaults, mode_names[mode]), version;
    snprintf(key, sizeof(key), "%s-version", mode_names[mode]);
    version = json_get_str(defaults, key);
    *ret = (struct ps_policy){PS_PRIVILEGED, PS_LATEST};
    if (level.len != 0 && !ps_level_parse(level, &ret->level))
        return error_set(err, E_INVALID,
                         "defaults.%s: Invalid value: \"" STR_FMT
                         "\": must be one of privileged, baseline, restricted",
                         mode_names[mode], STR_ARG(level));
    if (version.len != 0 && !ps_version_parse(version, &ret->minor))
        return error_set(err, E_INVALID,
                         "defaults.%s: Invalid value: \"" STR_FMT
                         "\": must be \"latest\" or \"v1.x\"",
                         key, STR_ARG(version));
    return 0;
}

static int read_names(struct arena *a, const struct json *exemptions, const char *key,
                      struct names *ret, struct error *err)
{
    const struct json *list = json_getc(exemptions, key);
    if (list == NULL || list->type == JSON_NULL)
        return 0;
    if (list->type != JSON_ARRAY)
        return error_set(err, E_INVALID, "exemptions.%s: want a list", key);
    ret->items = ARENA_ARRAY(a, struct str, list->array.count + 1);
    for (size_t i = 0; i < list->array.count; i++) {
        const struct json *item = list->array.items[i];
        if (item->type != JSON_STRING || item->string.len == 0)
            return error_set(err, E_INVALID, "exemptions.%s[%zu]: want a name", key, i);
        if (holds(ret, item->string))
            return error_set(err, E_INVALID, "exemptions.%s[%zu]: Duplicate value: \"" STR_FMT "\"",
                             key, i, STR_ARG(item->string));
        ret->items[ret->count++] = item->string;
    }
    return 0;
}

static int configure(struct arena *a, const struct json *j, const void **ret, struct error *err)
{
    struct config *c = ARENA_NEW(a, struct config);
    int code = 0;
    *c = no_config;
    *ret = c;
    if (j == NULL)
        return 0;
    if (!str_eqc(json_get_str(j, "kind"), "PodSecurityConfiguration") ||
        !str_has_prefix(json_get_str(j, "apiVersion"),
                        STR("pod-security.admission.config.k8s.io/v1")))
        return error_set(
            err, E_INVALID,
            "want kind PodSecurityConfiguration of pod-security.admission.config.k8s.io/v1");
    for (enum mode m = ENFORCE; m < MODES && code == 0; m++)
        code = read_default(json_getc(j, "defaults"), m, &c->defaults[m], err);
    const struct json *exemptions = json_getc(j, "exemptions");
    if (code == 0)
        code = read_names(a, exemptions, "usernames", &c->usernames, err);
    if (code == 0)
        code = read_names(a, exemptions, "runtimeClasses", &c->runtime_classes, err);
    if (code == 0)
        code = read_names(a, exemptions, "namespaces", &c->namespaces, err);
    return code;
}

/* --- what a namespace wants --------------------------------------------------------------------
 */
struct wanted {
    struct ps_policy modes[MODES];
    bool level_set[MODES], version_set[MODES];
    struct field_errors errs;
};

static const struct str *label(const struct meta_v1_object_meta *m, const char *mode,
                               const char *suffix)
{
    char key[64];
    snprintf(key, sizeof(key), PREFIX "%s%s", mode, suffix);
    return api_str_map_get(m->labels, m->labels_count, str_of(key));
}

static void label_error(struct wanted *w, enum mode mode, const char *suffix, struct str value,
                        const char *why)
{
    struct str key = arena_printf(w->errs.arena, PREFIX "%s%s", mode_names[mode], suffix);
    field_invalid(&w->errs, PATH_KEY(PATH(PATH(PATH_ROOT, "metadata"), "labels"), key), value, "%s",
                  why);
}

/* Labels that cannot be read count as restricted where pods are refused, and
 * as privileged elsewhere. */
static void read_labels(const struct admission *adm, const struct meta_v1_object_meta *m,
                        struct wanted *w)
{
    bool enforced = false;
    *w = (struct wanted){.errs = {.arena = adm->ctx->arena}};
    memcpy(w->modes, config_of(adm)->defaults, sizeof(w->modes));
    for (enum mode i = ENFORCE; i < MODES; i++) {
        const struct str *level = label(m, mode_names[i], ""),
                         *version = label(m, mode_names[i], "-version");
        w->level_set[i] = level != NULL;
        w->version_set[i] = version != NULL;
        if (level != NULL && ps_level_parse(*level, &w->modes[i].level)) {
            enforced |= i == ENFORCE;
        } else if (level != NULL) {
            label_error(w, i, "", *level, "must be one of privileged, baseline, restricted");
            if (i != ENFORCE)
                w->modes[i].level = PS_PRIVILEGED;
        }
        if (version != NULL && !ps_version_parse(*version, &w->modes[i].minor))
            label_error(w, i, "-version", *version, "must be \"latest\" or \"v1.x\"");
    }
    /* Who enforces more than is warned of, warns of as much. */
    if (enforced && !w->level_set[WARN] && w->modes[ENFORCE].level > w->modes[WARN].level) {
        w->modes[WARN].level = w->modes[ENFORCE].level;
        if (!w->version_set[WARN])
            w->modes[WARN].minor = w->modes[ENFORCE].minor;
    }
}

static bool all_privileged(const struct wanted *w)
{
    return w->modes[ENFORCE].level == PS_PRIVILEGED && w->modes[AUDIT].level == PS_PRIVILEGED &&
           w->modes[WARN].level == PS_PRIVILEGED;
}

/* --- records -------------------------------------------------------------------------------------
 */
static const char *resource_word(const struct admission *adm)
{
    return admission_is_any(adm, "", "pods")         ? "pod"
           : admission_is_any(adm, "", "namespaces") ? "namespace"
                                                     : "controller";
}

static void count(const struct admission *adm, bool denied, struct ps_policy p, enum mode mode)
{
    if (denied && adm->ctx->tentative)
        return;
    struct str version = p.minor == PS_LATEST || p.level == PS_PRIVILEGED ? STR("latest")
                         : p.minor > MINOR                                ? STR("future")
                                           : arena_printf(adm->ctx->arena, "v1.%" PRId32, p.minor);
    admission_metrics_pod_security(denied ? "deny" : "allow", ps_level_name(p.level), version,
                                   mode_names[mode], adm->op, resource_word(adm), adm->subresource);
}

static struct meta_v1_status *exempt(const struct admission *adm, const char *why)
{
    admission_metrics_pod_security_exempt(adm->op, resource_word(adm), adm->subresource);
    kind_annotate(adm->ctx, STR(PREFIX "exempt"), str_of(why));
    return NULL;
}

/* --- pods and workloads
 * ---------------------------------------------------------------------------- */
static void evaluate(const struct admission *adm, const struct wanted *w, enum mode mode,
                     const struct meta_v1_object_meta *meta, const struct core_v1_pod_spec *spec,
                     struct ps_result *results)
{
    for (enum mode before = ENFORCE; before < mode; before++)
        if (results[before].count != SIZE_MAX &&
            ps_policy_equal(w->modes[before], w->modes[mode])) {
            results[mode] = results[before];
            return;
        }
    ps_evaluate(adm->ctx->arena, w->modes[mode], meta, spec, &results[mode]);
}

static struct str violation(const struct admission *adm, const char *would, const struct wanted *w,
                            enum mode mode, const struct ps_result *r)
{
    struct arena *a = adm->ctx->arena;
    return arena_printf(a, "%s PodSecurity \"" STR_FMT "\": " STR_FMT, would,
                        STR_ARG(ps_policy_text(a, w->modes[mode])), STR_ARG(ps_details(a, r)));
}

static struct meta_v1_status *enforce(const struct admission *adm, const struct wanted *w,
                                      const struct ps_result *r)
{
    struct arena *a = adm->ctx->arena;
    const struct meta_v1_object_meta *m = api_meta_of(adm->res->storage, adm->obj);
    kind_annotate(adm->ctx, STR(PREFIX "enforce-policy"), ps_policy_text(a, w->modes[ENFORCE]));
    count(adm, r->count != 0, w->modes[ENFORCE], ENFORCE);
    return r->count == 0 ? NULL
                         : status_forbidden(a, adm->res->gr, m->name, STR_FMT,
                                            STR_ARG(violation(adm, "violates", w, ENFORCE, r)));
}

static struct meta_v1_status *judge(const struct admission *adm, const struct wanted *w,
                                    const struct meta_v1_object_meta *meta,
                                    const struct core_v1_pod_spec *spec, bool enforced)
{
    struct arena *a = adm->ctx->arena;
    struct meta_v1_status *s = NULL;
    struct ps_result *r = ARENA_ARRAY(a, struct ps_result, MODES);
    r[ENFORCE].count = SIZE_MAX;
    if (spec->has_runtime_class_name &&
        holds(&config_of(adm)->runtime_classes, spec->runtime_class_name))
        return exempt(adm, "runtimeClass");
    if (w->errs.count != 0) {
        kind_annotate(adm->ctx, STR(PREFIX "error"),
                      arena_printf(a, "Failed to parse policy: " STR_FMT,
                                   STR_ARG(field_errors_text(a, &w->errs))));
        admission_metrics_pod_security_error(false, adm->op, resource_word(adm), adm->subresource);
    }
    if (enforced) {
        evaluate(adm, w, ENFORCE, meta, spec, r);
        s = enforce(adm, w, &r[ENFORCE]);
    }
    evaluate(adm, w, AUDIT, meta, spec, r);
    if (r[AUDIT].count != 0) {
        kind_annotate(adm->ctx, STR(PREFIX "audit-violations"),
                      violation(adm, "would violate", w, AUDIT, &r[AUDIT]));
        count(adm, true, w->modes[AUDIT], AUDIT);
    }
    if (s != NULL)
        return s;
    evaluate(adm, w, WARN, meta, spec, r);
    if (r[WARN].count != 0) {
        kind_warn(adm->ctx, STR_FMT, STR_ARG(violation(adm, "would violate", w, WARN, &r[WARN])));
        count(adm, true, w->modes[WARN], WARN);
    }
    return NULL;
}

static bool same_images(const struct core_v1_container *x, size_t x_count,
                        const struct core_v1_container *y, size_t y_count)
{
    if (x_count != y_count)
        return false;
    for (size_t i = 0; i < x_count; i++)
        if (!str_eq(x[i].image, y[i].image))
            return false;
    return true;
}

static bool was_there(const struct core_v1_ephemeral_container_common *c,
                      const struct core_v1_pod_spec *old)
{
    for (size_t i = 0; i < old->ephemeral_containers_count; i++) {
        const struct core_v1_ephemeral_container_common *o =
            &old->ephemeral_containers[i].ephemeral_container_common;
        if (str_eq(o->name, c->name))
            return str_eq(o->image, c->image);
    }
    return false;
}

/* Whether an update changes what the standards are about. */
static bool significant(const struct core_v1_pod_spec *s, const struct core_v1_pod_spec *old)
{
    if (!same_images(s->containers, s->containers_count, old->containers, old->containers_count) ||
        !same_images(s->init_containers, s->init_containers_count, old->init_containers,
                     old->init_containers_count))
        return true;
    for (size_t i = 0; i < s->ephemeral_containers_count; i++)
        if (!was_there(&s->ephemeral_containers[i].ephemeral_container_common, old))
            return true;
    return false;
}

/* Subresources that leave the pod's specification alone. */
static bool ignored(const char *sub)
{
    static const char *const names[] = {"exec", "attach",      "binding", "eviction",
                                        "log",  "portforward", "proxy",   "status"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(sub, names[i]) == 0)
            return true;
    return false;
}

static struct meta_v1_status *validate_pod(const struct admission *adm, const struct wanted *w)
{
    const struct core_v1_pod *pod = adm->obj, *old = adm->old;
    if (w->errs.count == 0 && all_privileged(w)) {
        kind_annotate(adm->ctx, STR(PREFIX "enforce-policy"), STR("privileged:latest"));
        count(adm, false, w->modes[ENFORCE], ENFORCE);
        return NULL;
    }
    if (adm->op == ADMIT_UPDATE && !significant(&pod->spec, &old->spec))
        return NULL;
    return judge(adm, w, &pod->metadata, &pod->spec, true);
}

/* NULL: no workload, or one without a template. */
static const struct core_v1_pod_template_spec *template_of(const struct admission *adm)
{
    const void *o = adm->obj;
#define TEMPLATE(group, resource, struct_, member)                                                 \
    if (admission_is(adm, group, resource))                                                        \
    return &((const struct struct_ *)o)->member
    TEMPLATE("apps", "replicasets", apps_v1_replica_set, spec.template);
    TEMPLATE("apps", "deployments", apps_v1_deployment, spec.template);
    TEMPLATE("apps", "statefulsets", apps_v1_stateful_set, spec.template);
    TEMPLATE("apps", "daemonsets", apps_v1_daemon_set, spec.template);
    TEMPLATE("batch", "jobs", batch_v1_job, spec.template);
    TEMPLATE("batch", "cronjobs", batch_v1_cron_job, spec.job_template.spec.template);
    TEMPLATE("", "podtemplates", core_v1_pod_template, template);
#undef TEMPLATE
    if (admission_is(adm, "", "replicationcontrollers"))
        return ((const struct core_v1_replication_controller *)o)->spec.template;
    return NULL;
}

static struct meta_v1_status *validate_workload(const struct admission *adm,
                                                const struct core_v1_pod_template_spec *t)
{
    const struct kind_ctx *ctx = adm->ctx;
    const struct config *c = config_of(adm);
    struct wanted w;
    bool pod = t == NULL;
    if (holds(&c->namespaces, ctx->namespace_))
        return exempt(adm, "namespace");
    if (holds(&c->usernames, ctx->user->name))
        return exempt(adm, "user");
    const struct core_v1_namespace *ns =
        kind_lookup(ctx, "", "namespaces", STR_NULL, ctx->namespace_);
    if (ns == NULL)
        return status_internal(ctx->arena, "failed to lookup namespace \"" STR_FMT "\"",
                               STR_ARG(ctx->namespace_));
    read_labels(adm, &ns->metadata, &w);
    if (pod)
        return validate_pod(adm, &w);
    if (w.errs.count == 0 && w.modes[WARN].level == PS_PRIVILEGED &&
        w.modes[AUDIT].level == PS_PRIVILEGED)
        return NULL;
    return judge(adm, &w, &t->metadata, &t->spec, false);
}

/* --- namespaces
 * ---------------------------------------------------------------------------------------- */
/* Pods that fail alike are told of together. */
struct group {
    struct str reasons, first;
    size_t count;
};

struct groups {
    struct group *items;
    size_t count, cap;
};

static void add_to_group(struct arena *a, struct groups *g, struct str reasons, struct str pod)
{
    for (size_t i = 0; i < g->count; i++) {
        if (!str_eq(g->items[i].reasons, reasons))
            continue;
        g->items[i].count++;
        if (str_cmp(pod, g->items[i].first) < 0)
            g->items[i].first = pod;
        return;
    }
    g->items = arena_grow(a, g->items, g->count, &g->cap, sizeof(*g->items));
    g->items[g->count++] = (struct group){reasons, arena_str(a, pod), 1};
}

static int compare_texts(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static void warn_of_groups(const struct admission *adm, const struct groups *g)
{
    struct arena *a = adm->ctx->arena;
    struct str *texts = ARENA_ARRAY(a, struct str, g->count + 1);
    for (size_t i = 0; i < g->count; i++) {
        const struct group *p = &g->items[i];
        struct str others = p->count == 1 ? STR("")
                            : p->count == 2
                                ? STR(" (and 1 other pod)")
                                : arena_printf(a, " (and %zu other pods)", p->count - 1);
        texts[i] = arena_printf(a, STR_FMT STR_FMT ": " STR_FMT, STR_ARG(p->first), STR_ARG(others),
                                STR_ARG(p->reasons));
    }
    qsort(texts, g->count, sizeof(*texts), compare_texts);
    for (size_t i = 0; i < g->count; i++)
        kind_warn(adm->ctx, STR_FMT, STR_ARG(texts[i]));
}

static void check_pod(const struct admission *adm, struct ps_policy p, const struct resource *pods,
                      const struct kv *kv, struct groups *g)
{
    AUTO_ARENA *scratch = arena_new(0);
    struct ps_result r;
    void *msg;
    if (stored_decode(scratch, pods, stored_value(kv), 0, &msg, NULL) != 0)
        return;
    const struct core_v1_pod *pod = msg;
    if (pod->spec.has_runtime_class_name &&
        holds(&config_of(adm)->runtime_classes, pod->spec.runtime_class_name))
        return;
    ps_evaluate(scratch, p, &pod->metadata, &pod->spec, &r);
    if (r.count != 0)
        add_to_group(adm->ctx->arena, g, ps_reasons(adm->ctx->arena, &r), pod->metadata.name);
}

static void check_existing(const struct admission *adm, struct str ns, struct ps_policy p)
{
    struct arena *a = adm->ctx->arena;
    const struct resource *pods = registry_storage(STR(""), STR("pods"));
    struct str from = registry_key(a, pods, ns, STR(""));
    struct str end = arena_printf(a, STR_FMT "0", STR_ARG(str_sub(from, 0, from.len - 1)));
    struct groups g = {0};
    struct store_iter it;
    const struct kv *kv;
    size_t checked = 0;
    uint64_t start = uv_hrtime();
    if (store_iter_init(&it, adm->ctx->view, from, end, 0) != 0)
        return;
    while (checked < PODS_CHECKED_MAX && uv_hrtime() - start < CHECK_NS &&
           (kv = store_iter_next(&it)) != NULL) {
        check_pod(adm, p, pods, kv, &g);
        checked++;
    }
    int64_t total = store_view_count(adm->ctx->view, from, end, 0);
    if ((int64_t)checked < total)
        kind_warn(adm->ctx,
                  "new PodSecurity enforce level only checked against the first %zu of %" PRId64
                  " existing pods",
                  checked, total);
    if (g.count != 0)
        kind_warn(adm->ctx,
                  "existing pods in namespace \"" STR_FMT
                  "\" violate the new PodSecurity enforce level \"" STR_FMT "\"",
                  STR_ARG(ns), STR_ARG(ps_policy_text(a, p)));
    warn_of_groups(adm, &g);
}

static void warn_exempt(const struct admission *adm, struct str ns, const struct wanted *w)
{
    struct arena *a = adm->ctx->arena;
    const struct ps_policy *defaults = config_of(adm)->defaults;
    AUTO_BUF b = BUF_INIT;
    bool same = true;
    for (enum mode m = ENFORCE; m < MODES; m++) {
        same &= ps_policy_equal(w->modes[m], defaults[m]) ||
                (w->modes[m].level == PS_PRIVILEGED && defaults[m].level == PS_PRIVILEGED);
        if (w->modes[m].level != PS_PRIVILEGED && (w->level_set[m] || w->version_set[m]))
            buf_printf(&b, "%s%s=" STR_FMT, b.len != 0 ? ", " : "", mode_names[m],
                       STR_ARG(ps_policy_text(a, w->modes[m])));
    }
    if (!same && !all_privileged(w))
        kind_warn(adm->ctx,
                  "namespace \"" STR_FMT "\" is exempt from Pod Security, and the policy (" STR_FMT
                  ") will be ignored",
                  STR_ARG(ns), STR_ARG(buf_str(&b)));
}

static bool same_errors(struct arena *a, const struct field_errors *x, const struct field_errors *y)
{
    return x->count == y->count && str_eq(field_errors_text(a, x), field_errors_text(a, y));
}

static struct meta_v1_status *validate_namespace(const struct admission *adm)
{
    struct arena *a = adm->ctx->arena;
    const struct core_v1_namespace *ns = adm->obj, *old = adm->old;
    const bool exempted = holds(&config_of(adm)->namespaces, ns->metadata.name);
    struct wanted w, before;
    read_labels(adm, &ns->metadata, &w);
    if (old != NULL)
        read_labels(adm, &old->metadata, &before);
    if (w.errs.count != 0 && (old == NULL || !same_errors(a, &w.errs, &before.errs)))
        return status_invalid(a, "", "Namespace", ns->metadata.name, &w.errs);
    struct ps_policy now = w.modes[ENFORCE];
    if (old == NULL) {
        if (exempted)
            warn_exempt(adm, ns->metadata.name, &w);
        return NULL;
    }
    if (ps_policy_equal(now, before.modes[ENFORCE]) || now.level == PS_PRIVILEGED ||
        (now.minor == before.modes[ENFORCE].minor && now.level <= before.modes[ENFORCE].level))
        return NULL;
    if (exempted)
        warn_exempt(adm, ns->metadata.name, &w);
    else
        check_existing(adm, ns->metadata.name, now);
    return NULL;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    if (adm->ctx->view == NULL)
        return NULL; /* There are no namespaces to ask. */
    if (admission_is(adm, "", "namespaces"))
        return validate_namespace(adm);
    if (admission_is_any(adm, "", "pods"))
        return ignored(adm->subresource) ? NULL : validate_workload(adm, NULL);
    const struct core_v1_pod_template_spec *t = template_of(adm);
    return t != NULL ? validate_workload(adm, t) : NULL;
}

const struct admission_plugin admission_pod_security = {
    .name = "PodSecurity",
    .ops = ADMIT_WRITES,
    .validate = validate,
    .configure = configure,
};

/* image_policy.c - ImagePolicyWebhook: a program elsewhere says which images pods
 * may run (ImageReview of imagepolicy.k8s.io/v1alpha1). Its answers are kept for
 * a while. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/ask.h"
#include "apiserver/hook.h"
#include "apiserver/registry.h"
#include "apiserver/ttl_cache.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

#include <uv.h>

#define ANNOTATIONS ".image-policy.k8s.io/"
#define AUDIT_PREFIX "imagepolicywebhook.image-policy.k8s.io/"
#define CACHE_MAX 1024u
#define TIMEOUT_MS 30000u
#define TRIES 5u
#define NS_PER_MS 1000000
#define S_MS INT64_C(1000)

struct config {
    struct hook *hook;
    struct ttl_cache *answers; /* The status of the review, as JSON. */
    int64_t allow_ms, deny_ms; /* 0: not kept. */
    int64_t backoff_ms;
    bool default_allow;
};

/* --- configuration --------------------------------------------------------------------------- */
/* 0: fallback; -1: none, where that may be. */
static int read_time(const struct json *j, const char *name, int64_t unit_ms, int64_t fallback_ms,
                     const int64_t bounds_ms[2], bool may_be_off, int64_t *ret, struct error *err)
{
    int64_t v = json_get_int(j, name, 0), ms = v * unit_ms;
    *ret = v == 0 ? fallback_ms : v == -1 && may_be_off ? 0 : ms;
    if (v == 0 || (v == -1 && may_be_off))
        return 0;
    if (v < 0 || v > bounds_ms[1] / unit_ms || ms < bounds_ms[0])
        return error_set(
            err, E_INVALID, "imagePolicy.%s: valid value is between %lld and %lld, got %lld", name,
            (long long)(bounds_ms[0] / unit_ms), (long long)(bounds_ms[1] / unit_ms), (long long)v);
    return 0;
}

static void release_config(void *arg)
{
    struct config *c = arg;
    hook_unref(c->hook);
    ttl_cache_free(c->answers);
}

static int configure(struct arena *a, const struct json *j, const void **ret, struct error *err)
{
    static const int64_t ttl[2] = {S_MS, 1800 * S_MS}, backoff[2] = {1, 300 * S_MS};
    const struct json *p = json_getc(j, "imagePolicy");
    struct config *c = ARENA_NEW(a, struct config);
    if (p == NULL || p->type != JSON_OBJECT)
        return error_set(err, E_INVALID, "no config specified: imagePolicy is wanted");
    int code = read_time(p, "retryBackoff", 1, S_MS / 2, backoff, false, &c->backoff_ms, err);
    if (code == 0)
        code = read_time(p, "allowTTL", S_MS, 300 * S_MS, ttl, true, &c->allow_ms, err);
    if (code == 0)
        code = read_time(p, "denyTTL", S_MS, 30 * S_MS, ttl, true, &c->deny_ms, err);
    struct str file = arena_str(a, json_get_str(p, "kubeConfigFile"));
    if (code == 0 && file.len == 0)
        code = error_set(err, E_INVALID, "imagePolicy.kubeConfigFile: a file is wanted");
    if (code == 0)
        code = hook_load("imagePolicy.kubeConfigFile", file.data, &c->hook, err);
    c->default_allow = json_get_bool(p, "defaultAllow", false);
    if (code == 0)
        c->answers = ttl_cache_new(CACHE_MAX);
    arena_hold(a, c, release_config);
    *ret = c;
    return code;
}

/* --- questions ----------------------------------------------------------------------------------
 */
static void add_image(struct arena *a, struct json *list, struct str image)
{
    struct json *c = json_object(a);
    json_setc(a, c, "image", json_string(a, image));
    json_append(a, list, c);
}

static struct json *review_spec(const struct admission *adm)
{
    struct arena *a = adm->ctx->arena;
    const struct core_v1_pod *pod = adm->obj;
    const struct core_v1_pod_spec *s = &pod->spec;
    struct json *spec = json_object(a), *images = json_array(a), *annotations = json_object(a);
    bool ephemeral = strcmp(adm->subresource, "ephemeralcontainers") == 0;
    for (size_t i = 0; !ephemeral && i < s->containers_count; i++)
        add_image(a, images, s->containers[i].image);
    for (size_t i = 0; !ephemeral && i < s->init_containers_count; i++)
        add_image(a, images, s->init_containers[i].image);
    for (size_t i = 0; ephemeral && i < s->ephemeral_containers_count; i++)
        add_image(a, images, s->ephemeral_containers[i].ephemeral_container_common.image);
    for (size_t i = 0; i < pod->metadata.annotations_count; i++) {
        const struct api_str_entry *e = &pod->metadata.annotations[i];
        if (str_find_str(e->key, STR(ANNOTATIONS)) >= 0)
            json_set(a, annotations, e->key, json_string(a, e->value));
    }
    if (images->array.count != 0)
        json_setc(a, spec, "containers", images);
    if (annotations->object.count != 0)
        json_setc(a, spec, "annotations", annotations);
    if (adm->ctx->namespace_.len != 0)
        json_setc(a, spec, "namespace", json_string(a, adm->ctx->namespace_));
    return spec;
}

static void ask(const struct admission *adm, const struct config *c, struct str key,
                struct json *spec)
{
    struct arena *a = adm->ctx->arena;
    struct json *j = json_object(a), *status = json_object(a), *meta = json_object(a);
    AUTO_BUF body = BUF_INIT;
    json_setc(a, j, "kind", json_string(a, STR("ImageReview")));
    json_setc(a, j, "apiVersion", json_string(a, STR("imagepolicy.k8s.io/v1alpha1")));
    json_setc(a, meta, "creationTimestamp", json_null(a));
    json_setc(a, j, "metadata", meta);
    json_setc(a, j, "spec", spec);
    json_setc(a, status, "allowed", json_bool(a, false));
    json_setc(a, j, "status", status);
    json_write(j, false, &body);
    asks_note(adm->ctx->asks, &(struct ask_config){.who = c,
                                                   .key = key,
                                                   .target = *hook_target(c->hook),
                                                   .method = "POST",
                                                   .body = buf_str(&body),
                                                   .timeout_ms = TIMEOUT_MS,
                                                   .tries = TRIES,
                                                   .backoff_ms = (uint64_t)c->backoff_ms});
}

/* --- answers -------------------------------------------------------------------------------------
 */
static struct meta_v1_status *refuse(const struct admission *adm, struct str why)
{
    return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name, STR_FMT, STR_ARG(why));
}

static struct meta_v1_status *failed(const struct admission *adm, const struct config *c,
                                     struct str why)
{
    if (!c->default_allow)
        return refuse(adm, why);
    log_warning("ImagePolicyWebhook: allowed, since the webhook failed: " STR_FMT, STR_ARG(why));
    kind_annotate(adm->ctx, STR(AUDIT_PREFIX "failed-open"), STR("true"));
    return NULL;
}

static struct meta_v1_status *judge(const struct admission *adm, const struct json *status)
{
    struct arena *a = adm->ctx->arena;
    const struct json *audit = json_getc(status, "auditAnnotations");
    struct str reason = json_get_str(status, "reason");
    for (size_t i = 0; audit != NULL && audit->type == JSON_OBJECT && i < audit->object.count; i++)
        kind_annotate(adm->ctx,
                      arena_printf(a, AUDIT_PREFIX STR_FMT, STR_ARG(audit->object.members[i].key)),
                      json_get_str(audit, arena_str(a, audit->object.members[i].key).data));
    if (json_get_bool(status, "allowed", false))
        return NULL;
    return refuse(adm, reason.len != 0
                           ? arena_printf(a,
                                          "image policy webhook backend denied one or more "
                                          "images: " STR_FMT,
                                          STR_ARG(reason))
                           : STR("one or more images rejected by webhook backend"));
}

static struct meta_v1_status *take_answer(const struct admission *adm, const struct config *c,
                                          struct str key, const struct webhook_answer *answer)
{
    struct arena *a = adm->ctx->arena;
    struct str problem = hook_problem(c->hook, a, answer);
    struct json *j = NULL;
    struct error err = {0};
    if (problem.len != 0)
        return failed(adm, c, problem);
    if (json_parse(a, answer->body, &j, &err) != 0)
        return failed(adm, c, arena_strc(a, error_message(&err)));
    const struct json *status = json_getc(j, "status");
    if (!str_eqc(json_get_str(j, "kind"), "ImageReview") || status == NULL)
        return failed(adm, c, STR("the webhook's answer is no ImageReview"));
    int64_t ttl_ms = json_get_bool(status, "allowed", false) ? c->allow_ms : c->deny_ms;
    if (ttl_ms > 0) {
        AUTO_BUF text = BUF_INIT;
        json_write(status, false, &text);
        ttl_cache_set(c->answers, key, buf_str(&text), uv_hrtime() / NS_PER_MS + (uint64_t)ttl_ms);
    }
    return judge(adm, status);
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    const struct config *c = adm->config;
    struct arena *a = adm->ctx->arena;
    AUTO_BUF text = BUF_INIT;
    struct str kept;
    struct json *status;
    if (c == NULL ||
        (!admission_is(adm, "", "pods") && !(admission_is_any(adm, "", "pods") &&
                                             strcmp(adm->subresource, "ephemeralcontainers") == 0)))
        return NULL;
    struct json *spec = review_spec(adm);
    json_write(spec, true, &text);
    struct str key = arena_str(a, buf_str(&text));
    if (ttl_cache_get(c->answers, a, key, uv_hrtime() / NS_PER_MS, &kept) &&
        json_parse(a, kept, &status, NULL) == 0)
        return judge(adm, status);
    if (adm->ctx->asks == NULL)
        return failed(adm, c, STR("the webhook cannot be asked here"));
    const struct webhook_answer *answer = asks_find(adm->ctx->asks, c, key);
    if (answer != NULL)
        return take_answer(adm, c, key, answer);
    ask(adm, c, key, spec);
    return NULL; /* The question waits: see unless_waiting() in admission.c. */
}

const struct admission_plugin admission_image_policy = {
    .name = "ImagePolicyWebhook",
    .off = true,
    .ops = ADMIT_WRITES,
    .validate = validate,
    .configure = configure,
};

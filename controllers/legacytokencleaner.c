/* legacytokencleaner.c - once a day: marks tokens in Secrets that nobody used for
 * --legacy-service-account-token-clean-up-period as invalid, and deletes those that stayed so for
 * as long. The API server notes uses, and since when it does in a ConfigMap. */
#include "controllers/controller.h"
#include "controllers/legacytoken_plan.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/client/labels.h"

#define NAMESPACE "kube-system"
#define TRACKING "kube-apiserver-legacy-service-account-token-tracking"
#define SYNC_MS (24u * 3600 * 1000)
#define DAY_S (24 * 3600)
#define NS_PER_S 1000000000

static void tick(struct controller_run *r)
{
    controller_enqueue(r, STR("all"));
}

static const struct core_v1_service_account *account_of(struct reconcile *c,
                                                        const struct core_v1_secret *s)
{
    const struct str *name = annotation_get(&s->metadata, "kubernetes.io/service-account.name"),
                     *uid = annotation_get(&s->metadata, "kubernetes.io/service-account.uid");
    struct api_object *o = name != NULL
                               ? informer_get(controller_informer(c->run, "", "ServiceAccount"),
                                              s->metadata.namespace, *name)
                               : NULL;
    bool same =
        o != NULL && (uid == NULL || str_empty(*uid) || str_eq(*uid, api_object_meta(o)->uid));
    return same ? o->msg : NULL;
}

static bool is_mounted(struct reconcile *c, const struct core_v1_secret *s)
{
    AUTO_WALK pods = controller_walk_pods(c->run, s->metadata.namespace);
    for (struct api_object *p; (p = informer_walk_next(&pods)) != NULL;)
        if (pod_names_secret(p->msg, s->metadata.name))
            return true;
    return false;
}

/* Somebody else's write is looked at next time. */
static void on_changed(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code != 0 && result->code != E_NOT_FOUND && result->code != E_CONFLICT)
        log_warning("legacy-serviceaccount-token-cleaner " STR_FMT ": %s", STR_ARG(c->key),
                    result->message);
}

static void invalidate(struct reconcile *c, const struct api_object *o)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    struct str day = legacy_token_day(c->arena, controller_now_s(c->run));
    log_info("token " STR_FMT "/" STR_FMT " is not used: it is invalid from now on",
             STR_ARG(m->namespace), STR_ARG(m->name));
    reconcile_call(c,
                   &(struct client_call){
                       .verb = CLIENT_PATCH,
                       .kind = o->kind,
                       .namespace_name = m->namespace,
                       .name = m->name,
                       .patch_type = CLIENT_PATCH_MERGE,
                       .raw_body = arena_printf(
                           c->arena,
                           "{\"metadata\":{\"uid\":\"" STR_FMT "\",\"resourceVersion\":\"" STR_FMT
                           "\",\"labels\":{\"" TOKEN_INVALID_SINCE "\":\"" STR_FMT "\"}}}",
                           STR_ARG(m->uid), STR_ARG(m->resource_version), STR_ARG(day))},
                   on_changed, NULL);
}

static void remove_secret(struct reconcile *c, const struct api_object *o)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    log_info("token " STR_FMT "/" STR_FMT " was long invalid: it is deleted", STR_ARG(m->namespace),
             STR_ARG(m->name));
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_DELETE,
                                         .kind = o->kind,
                                         .namespace_name = m->namespace,
                                         .name = m->name,
                                         .uid_precondition = m->uid,
                                         .rv_precondition = m->resource_version},
                   on_changed, NULL);
}

static void judge_all(struct reconcile *c, int64_t now_s, int64_t period_s)
{
    const struct informer *secrets = controller_informer(c->run, "", "Secret");
    size_t pos = 0;
    for (struct api_object *o; (o = informer_next(secrets, &pos)) != NULL;) {
        const struct core_v1_secret *s = o->msg;
        if (!str_eqc(s->type, TOKEN_SECRET_TYPE))
            continue;
        switch (legacy_token_judge(s, account_of(c, s), is_mounted(c, s), now_s, period_s)) {
        case LEGACY_TOKEN_INVALIDATE:
            invalidate(c, o);
            break;
        case LEGACY_TOKEN_DELETE:
            remove_secret(c, o);
            break;
        case LEGACY_TOKEN_KEEP:
            break;
        }
    }
}

/* Uses of the first day may have been missed. */
static void on_tracking(struct reconcile *c, const struct client_result *result, void *arg)
{
    int64_t since_s, now_s = controller_now_s(c->run),
                     period_s = controller_options()->legacy_token_period_ns / NS_PER_S;
    UNUSED(arg);
    if (result->code != 0 || result->object == NULL) {
        log_warning("legacy-serviceaccount-token-cleaner: " NAMESPACE "/" TRACKING ": %s",
                    result->message);
        return;
    }
    const struct core_v1_config_map *m = result->object->msg;
    const struct str *since = api_str_map_get(m->data, m->data_count, STR("since"));
    if (since != NULL && legacy_token_parse_day(*since, &since_s) &&
        now_s >= since_s + DAY_S + period_s)
        judge_all(c, now_s, period_s);
}

static void reconcile(struct reconcile *c)
{
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_GET,
                              .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("ConfigMap")),
                              .namespace_name = STR(NAMESPACE),
                              .name = STR(TRACKING)},
        on_tracking, NULL);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Secret", NULL},
    {"", "v1", "ServiceAccount", NULL},
    {"", "v1", "Pod", NULL},
    {0},
};

const struct controller controller_legacytokencleaner = {
    .name = "legacy-serviceaccount-token-cleaner-controller",
    .workers = 1,
    .watches = watches,
    .init = tick,
    .reconcile = reconcile,
    .tick_ms = SYNC_MS,
    .tick = tick,
};

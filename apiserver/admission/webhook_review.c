/* webhook_review.c - questions to webhooks and their answers; see webhook_review.h. */
#include "apiserver/admission/webhook.h"
#include "apiserver/ask.h"
#include "apiserver/admission/webhook_review.h"

#include "api/admissionregistration_v1.h"
#include "apiserver/admission/metrics.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/registry.h"
#include "apiserver/webhook_target.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/patch.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

#include <uv.h>

enum { TIMEOUT_DEFAULT_S = 10 };

static bool fails_open(const struct webhook_view *h)
{
    return *h->has_failure_policy && str_eqc(*h->failure_policy, "Ignore");
}

/* --- the question ------------------------------------------------------------------------- */
static void put_member(struct arena *a, struct json *o, const char *name, struct json *value)
{
    if (value != NULL)
        json_setc(a, o, name, value);
}

static void write_review(const struct admission *adm, struct webhook_review *r)
{
    struct arena *a = adm->ctx->arena;
    struct json *review = json_object(a), *request = json_object(a);
    const struct json *about = policy_request_json(adm, r->as);
    char uid[37];
    env_uuid(adm->ctx->env, uid);
    r->uid = arena_strc(a, uid);
    r->object = policy_object_json(adm, r->as, adm->obj);
    put_member(a, request, "uid", json_string(a, r->uid));
    for (size_t i = 0; i < about->object.count; i++)
        json_set(a, request, about->object.members[i].key, about->object.members[i].value);
    put_member(a, request, "object", r->object != NULL ? r->object : json_null(a));
    struct json *old = policy_object_json(adm, r->as, adm->old);
    put_member(a, request, "oldObject", old != NULL ? old : json_null(a));
    put_member(a, review, "kind", json_string(a, STR("AdmissionReview")));
    put_member(a, review, "apiVersion",
               json_stringf(a, "admission.k8s.io/" STR_FMT, STR_ARG(r->version)));
    put_member(a, review, "request", request);
    AUTO_BUF b = BUF_INIT;
    json_write(review, false, &b);
    r->body = arena_str(a, buf_str(&b));
}

static struct meta_v1_status *internal(const struct admission *adm, const struct webhook_review *r,
                                       struct str why)
{
    const struct webhook_view *h = r->hook;
    struct arena *a = adm->ctx->arena;
    bool mutating = strcmp(r->how.type, "admit") == 0;
    if (!fails_open(h))
        return status_internal(a, "failed calling webhook \"" STR_FMT "\": " STR_FMT,
                               STR_ARG(h->name), STR_ARG(why));
    log_warning("failed calling webhook \"" STR_FMT "\", failing open: " STR_FMT, STR_ARG(h->name),
                STR_ARG(why));
    kind_annotate(adm->ctx,
                  arena_printf(a, "failed-open.%s.webhook.admission.k8s.io/round_%d_index_%zu",
                               mutating ? "mutating" : "validating", r->how.round, r->how.index),
                  h->name);
    if (!r->told)
        admission_metrics_fail_open(h->name, r->how.type);
    return NULL;
}

/* 1: it is about the write; 0: not; -1: *ret_refused. */
static int wanted(const struct admission *adm, const struct webhook_asking *how,
                  const struct resource **ret_as, struct meta_v1_status **ret_refused)
{
    const struct webhook_view *h = &how->hook->view;
    bool exact = *h->has_match_policy && str_eqc(*h->match_policy, "Exact");
    struct policy_shows shows = {.adm = adm};
    struct policy_run run;
    struct str why;
    *ret_refused = NULL;
    if (!policy_rules_match(adm, h->rules, h->rules_count, exact, ret_as))
        return 0;
    if (!policy_selectors_match(adm, *h->namespace_selector, *h->object_selector, ret_refused))
        return *ret_refused != NULL ? -1 : 0;
    if (h->conditions_count == 0)
        return 1;
    policy_run_init(&run, how->hook->env, adm, policy_shown_as(&shows, *ret_as), NULL);
    int r = policy_conditions(&run, how->hook->conditions, h->conditions_count, &why);
    if (r <= 0)
        admission_metrics_condition(h->name, "webhook", how->type, adm->op, r < 0);
    if (r < 0 && !fails_open(h))
        *ret_refused = status_forbidden(adm->ctx->arena, adm->res->gr, policy_object_name(adm),
                                        STR_FMT, STR_ARG(why));
    return r < 0 && fails_open(h) ? 0 : r;
}

struct meta_v1_status *webhook_ask(const struct admission *adm, const struct webhook_asking *how,
                                   struct webhook_review **ret)
{
    struct arena *a = adm->ctx->arena;
    const struct webhook_view *hook = &how->hook->view;
    const struct resource *as;
    struct meta_v1_status *refused;
    *ret = NULL;
    int wants = wanted(adm, how, &as, &refused);
    if (asks_waiting(adm->ctx->asks))
        return &webhook_wait; /* Its conditions ask what somebody may do. */
    if (wants <= 0)
        return refused;
    if (adm->ctx->dry_run && !str_eqc(*hook->side_effects, "None") &&
        !str_eqc(*hook->side_effects, "NoneOnDryRun"))
        return status_bad_request(a, "admission webhook \"" STR_FMT "\" does not support dry run",
                                  STR_ARG(hook->name));
    struct webhook_review *r = ARENA_NEW(a, struct webhook_review);
    r->how = *how;
    r->hook = hook;
    r->as = as;
    r->asked_ns = uv_hrtime();
    r->timeout_ms = (uint64_t)(*hook->has_timeout ? *hook->timeout : TIMEOUT_DEFAULT_S) * 1000;
    for (size_t i = 0; i < hook->versions_count && r->version.len == 0; i++)
        if (str_eqc(hook->versions[i], "v1") || str_eqc(hook->versions[i], "v1beta1"))
            r->version = hook->versions[i];
    struct webhook_address address = WEBHOOK_ADDRESS(hook->client, r->timeout_ms);
    webhook_target_find(adm->ctx, &address, &r->target, &r->url, &r->problem);
    write_review(adm, r);
    *ret = r;
    return NULL;
}

/* --- the answer ------------------------------------------------------------------------------ */
static struct str call_problem(struct arena *a, const struct webhook_review *r)
{
    struct str why = webhook_call_problem(a, &r->answer, r->url, r->problem);
    return why.len != 0 ? arena_printf(a, "failed to call webhook: " STR_FMT, STR_ARG(why)) : why;
}

/* The response; NULL with *ret_why when it is none. */
static struct json *response_of(struct arena *a, const struct webhook_review *r,
                                struct str *ret_why)
{
    struct json *review;
    struct error err = {0};
    struct str version = arena_printf(a, "admission.k8s.io/" STR_FMT, STR_ARG(r->version));
    if (json_parse(a, r->answer.body, &review, &err) != 0) {
        *ret_why = arena_printf(a, "failed to call webhook: %s", error_message(&err));
        return NULL;
    }
    struct str kind = json_get_str(review, "kind"), api = json_get_str(review, "apiVersion");
    if (!str_eqc(kind, "AdmissionReview") || !str_eq(api, version)) {
        *ret_why =
            arena_printf(a,
                         "received invalid webhook response: expected webhook response of " STR_FMT
                         ", Kind=AdmissionReview, got " STR_FMT ", Kind=" STR_FMT,
                         STR_ARG(version), STR_ARG(api), STR_ARG(kind));
        return NULL;
    }
    struct json *response = json_getc(review, "response");
    if (response == NULL || response->type != JSON_OBJECT) {
        *ret_why =
            STR("received invalid webhook response: webhook response did not include response");
        return NULL;
    }
    struct str uid = json_get_str(response, "uid");
    if (str_eqc(r->version, "v1") && !str_eq(uid, r->uid)) {
        *ret_why =
            arena_printf(a,
                         "received invalid webhook response: expected response.uid=\"" STR_FMT
                         "\", got \"" STR_FMT "\"",
                         STR_ARG(r->uid), STR_ARG(uid));
        return NULL;
    }
    return response;
}

/* A refusal is one, whatever the status that comes with it says. */
static struct meta_v1_status *denied(struct arena *a, const struct webhook_view *h,
                                     const struct json *response)
{
    const struct json *status = json_getc(response, "status");
    struct meta_v1_status *s = ARENA_NEW(a, struct meta_v1_status);
    if (status != NULL &&
        api_json_decode_tree(a, &meta_v1_status_msg, status, API_LENIENT, NULL, s, NULL) != 0)
        *s = (struct meta_v1_status){0};
    if (s->code < 400)
        s->code = 400;
    if (s->status.len == 0 || str_eqc(s->status, "Success"))
        s->status = STR("Failure");
    struct str why = s->message.len != 0 ? s->message : s->reason;
    s->message = arena_printf(a, "admission webhook \"" STR_FMT "\" denied the request%s" STR_FMT,
                              STR_ARG(h->name), why.len != 0 ? ": " : " ",
                              STR_ARG(why.len != 0 ? why : STR("without explanation")));
    return s;
}

static int patched(struct arena *a, const struct webhook_review *r, const struct json *response,
                   struct json **ret, struct error *err)
{
    struct str patch = json_get_str(response, "patch"), type = json_get_str(response, "patchType");
    AUTO_BUF b = BUF_INIT;
    *ret = NULL;
    if (patch.len == 0 || r->object == NULL)
        return 0;
    if (!str_eqc(type, "JSONPatch") && (type.len != 0 || str_eqc(r->version, "v1")))
        return error_set(err, E_INVALID, "unsupported patch type \"" STR_FMT "\"", STR_ARG(type));
    if (base64_decode(BASE64_STD, patch, &b) != 0)
        return error_set(err, E_INVALID, "illegal base64 data");
    return api_patch_apply(a, API_PATCH_JSON, NULL, r->object, arena_str(a, buf_str(&b)), ret, err);
}

/* Texts that the webhook wants in the audit log, under its name. */
static void annotate(const struct admission *adm, const struct webhook_review *r,
                     const struct json *response)
{
    const struct json *notes = json_getc(response, "auditAnnotations");
    for (size_t i = 0; notes != NULL && notes->type == JSON_OBJECT && i < notes->object.count; i++)
        if (notes->object.members[i].value->type == JSON_STRING)
            kind_annotate(adm->ctx,
                          arena_printf(adm->ctx->arena, STR_FMT "/" STR_FMT, STR_ARG(r->hook->name),
                                       STR_ARG(notes->object.members[i].key)),
                          notes->object.members[i].value->string);
}

/* What a mutating webhook did, for the audit log. */
static void annotate_mutation(const struct admission *adm, const struct webhook_review *r,
                              bool changed)
{
    struct arena *a = adm->ctx->arena;
    struct json *j = json_object(a);
    AUTO_BUF text = BUF_INIT;
    if (strcmp(r->how.type, "admit") != 0 || adm->op == ADMIT_DELETE || adm->ctx->audit == NULL)
        return;
    json_setc(a, j, "configuration", json_string(a, r->how.hook->configuration));
    json_setc(a, j, "webhook", json_string(a, r->hook->name));
    json_setc(a, j, "mutated", json_bool(a, changed));
    json_write(j, false, &text);
    kind_annotate(adm->ctx,
                  arena_printf(a, "mutation.webhook.admission.k8s.io/round_%d_index_%zu",
                               r->how.round, r->how.index),
                  buf_str(&text));
}

static void tell(const struct admission *adm, struct webhook_review *r, bool rejected,
                 const char *error, int32_t code)
{
    const struct webhook_metric m = {.name = r->hook->name,
                                     .type = r->how.type,
                                     .op = adm->op,
                                     .code = code,
                                     .rejected = rejected,
                                     .error_type = error,
                                     .ns = uv_hrtime() - r->asked_ns};
    if (!r->told)
        admission_metrics_webhook(&m);
    r->told = true;
}

struct meta_v1_status *webhook_judge(const struct admission *adm, struct webhook_review *r,
                                     struct json **ret_patch)
{
    struct arena *a = adm->ctx->arena;
    struct str why = call_problem(a, r);
    struct json *response = why.len == 0 ? response_of(a, r, &why) : NULL;
    struct meta_v1_status *s = NULL;
    struct error err = {0};
    *ret_patch = NULL;
    if (response == NULL) {
        s = internal(adm, r, why);
        tell(adm, r, s != NULL, "calling_webhook_error", 0);
        return s;
    }
    const struct json *warnings = json_getc(response, "warnings");
    for (size_t i = 0;
         warnings != NULL && warnings->type == JSON_ARRAY && i < warnings->array.count; i++)
        if (warnings->array.items[i]->type == JSON_STRING)
            kind_warn(adm->ctx, STR_FMT, STR_ARG(warnings->array.items[i]->string));
    annotate(adm, r, response);
    if (!json_get_bool(response, "allowed", false)) {
        s = denied(a, r->hook, response);
        tell(adm, r, true, "no_error", s->code);
        return s;
    }
    if (patched(a, r, response, ret_patch, &err) != 0)
        s = status_internal(a, "%s", error_message(&err));
    annotate_mutation(adm, r, *ret_patch != NULL);
    tell(adm, r, s != NULL, "apiserver_internal_error", 200);
    return s;
}

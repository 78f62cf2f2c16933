/* validating_policy.c - ValidatingAdmissionPolicy: expressions that a write
 * must satisfy, where a binding says so. */
#include "apiserver/admission/plugins.h"

#include "api/admissionregistration_v1.h"
#include "apiserver/admission/metrics.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/admission/policy_params.h"
#include "apiserver/admission/policy_set.h"
#include "apiserver/registry.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <uv.h>

#define POLICY struct admissionregistration_v1_validating_admission_policy
#define BINDING struct admissionregistration_v1_validating_admission_policy_binding
#define FAILURES_KEY "validation.policy.admission.k8s.io/validation_failure"

enum { MESSAGE_BYTES_MAX = 5 * 1024, NOTE_BYTES_MAX = 10 * 1024, FAILURES_MAX = 50 };

/* What a policy's audit annotations came to, over all its bindings. */
struct note {
    struct str *values;
    size_t count, cap;
};

/* For the metrics. */
struct count {
    struct str policy, binding;
    const char *error, *action;
    uint64_t ns;
};

/* All policies on one write. */
struct validation {
    const struct admission *adm;
    struct policy_shows shows;
    struct meta_v1_status *denied; /* The first; the others are not told. */
    struct json *failures;         /* For the audit log; NULL: none. */
    struct count *counts;
    size_t count_count, count_cap;
};

/* One policy with one of its bindings. */
struct check {
    struct validation *all;
    const struct admission *adm;
    const struct policy_code *code;
    const POLICY *policy;
    const BINDING *binding; /* NULL while the policy itself is looked at. */
    struct note *notes;     /* Parallel to the policy's auditAnnotations. */
    struct policy_run run;
    uint64_t since_ns;
};

static bool fails_closed(const POLICY *p)
{
    return !p->spec.has_failure_policy || !str_eqc(p->spec.failure_policy, "Ignore");
}

static void count(const struct check *k, const char *error, const char *action)
{
    struct validation *v = k->all;
    v->counts = arena_grow(k->adm->ctx->arena, v->counts, v->count_count, &v->count_cap,
                           sizeof(*v->counts));
    v->counts[v->count_count++] =
        (struct count){k->policy->metadata.name, k->binding->metadata.name, error, action,
                       uv_hrtime() - k->since_ns};
}

static void deny(struct check *k, struct str message, struct str reason)
{
    struct arena *a = k->adm->ctx->arena;
    struct str by = STR("");
    if (k->all->denied != NULL)
        return;
    if (k->binding != NULL)
        by = arena_printf(a, " with binding '" STR_FMT "'", STR_ARG(k->binding->metadata.name));
    struct str text = arena_printf(
        a, "ValidatingAdmissionPolicy '" STR_FMT "'" STR_FMT " denied request: " STR_FMT,
        STR_ARG(k->policy->metadata.name), STR_ARG(by), STR_ARG(message));
    k->all->denied = policy_denied(k->adm, text, reason);
}

static void record_failure(struct check *k, struct str message, size_t index)
{
    struct arena *a = k->adm->ctx->arena;
    struct json *f = json_object(a), *actions = json_array(a);
    if (k->all->failures == NULL)
        k->all->failures = json_array(a);
    if (k->all->failures->array.count >= FAILURES_MAX)
        return;
    for (size_t i = 0; i < k->binding->spec.validation_actions_count; i++)
        json_append(a, actions, json_string(a, k->binding->spec.validation_actions[i]));
    json_setc(a, f, "message", json_string(a, message));
    json_setc(a, f, "policy", json_string(a, k->policy->metadata.name));
    json_setc(a, f, "binding", json_string(a, k->binding->metadata.name));
    json_setc(a, f, "expressionIndex", json_int(a, (int64_t)index));
    json_setc(a, f, "validationActions", actions);
    json_append(a, k->all->failures, f);
}

/* What did not hold is refused, recorded or warned of, as the binding says. */
static void refuse(struct check *k, size_t index, struct str message, struct str reason,
                   const char *error)
{
    for (size_t i = 0; i < k->binding->spec.validation_actions_count; i++) {
        struct str action = k->binding->spec.validation_actions[i];
        if (str_eqc(action, "Deny")) {
            deny(k, message, reason);
            count(k, error, "deny");
        } else if (str_eqc(action, "Audit")) {
            record_failure(k, message, index);
            count(k, error, "audit");
        } else if (str_eqc(action, "Warn")) {
            kind_warn(k->adm->ctx,
                      "Validation failed for ValidatingAdmissionPolicy '" STR_FMT
                      "' with binding '" STR_FMT "': " STR_FMT,
                      STR_ARG(k->policy->metadata.name), STR_ARG(k->binding->metadata.name),
                      STR_ARG(message));
            count(k, error, "warn");
        }
    }
}

/* An expression that cannot be evaluated counts as the policy's failurePolicy says. */
static void fail(struct check *k, size_t index, struct str message, const char *error)
{
    if (fails_closed(k->policy))
        refuse(k, index, message, STR("Invalid"), error);
    else
        count(k, error, "allow");
}

/* --- validations ------------------------------------------------------------------------- */
/* What one expression came to. */
struct decision {
    struct str error; /* Or: */
    bool holds;
    struct str message;
};

static struct str message_of(struct check *k, size_t index)
{
    const struct admissionregistration_v1_validation *v = &k->policy->spec.validations[index];
    struct str message = str_trim(v->message);
    if (k->code->messages[index].program != NULL) {
        struct cel_value r = policy_eval(&k->run, k->code->messages[index].program);
        struct str text = r.kind == CEL_STRING ? str_trim(r.string) : STR_NULL;
        if (text.len != 0 && text.len <= MESSAGE_BYTES_MAX && str_find(text, '\n', 0) < 0)
            message = text;
    }
    return message.len != 0 ? message
                            : arena_printf(k->adm->ctx->arena, "failed expression: " STR_FMT,
                                           STR_ARG(str_trim(v->expression)));
}

static struct decision decide(struct check *k, size_t index)
{
    struct arena *a = k->adm->ctx->arena;
    const struct policy_program *p = &k->code->rules[index];
    struct decision d = {0};
    if (p->program == NULL) {
        d.error =
            arena_printf(a, "compilation error: compilation failed: " STR_FMT, STR_ARG(p->error));
        return d;
    }
    struct cel_value r = policy_eval(&k->run, p->program);
    d.holds = r.kind == CEL_BOOL && r.boolean;
    if (r.kind == CEL_ERROR)
        d.error = arena_printf(a, "expression '" STR_FMT "' resulted in error: " STR_FMT,
                               STR_ARG(p->text), STR_ARG(r.string));
    else if (!d.holds)
        d.message = message_of(k, index);
    return d;
}

/* All are evaluated before the first counts: who runs out of budget has said nothing. */
static bool check_validations(struct check *k)
{
    size_t n = k->policy->spec.validations_count;
    struct decision *d = ARENA_ARRAY(k->adm->ctx->arena, struct decision, n + 1);
    for (size_t i = 0; i < n; i++) {
        d[i] = decide(k, i);
        if (k->run.cost_left < 0) {
            fail(k, 0, STR(POLICY_OUT_OF_BUDGET), "out_of_budget");
            return false;
        }
    }
    for (size_t i = 0; i < n; i++) {
        const struct admissionregistration_v1_validation *v = &k->policy->spec.validations[i];
        if (d[i].error.len != 0)
            fail(k, i, d[i].error,
                 k->code->rules[i].program == NULL ? "compile_error" : "invalid_error");
        else if (!d[i].holds)
            refuse(k, i, d[i].message, v->has_reason ? v->reason : STR("Invalid"), "no_error");
    }
    return true;
}

/* --- audit annotations ----------------------------------------------------------------------- */
static void add_note(struct check *k, struct note *n, struct str value)
{
    value = str_sub(value, 0, NOTE_BYTES_MAX);
    for (size_t i = 0; i < n->count; i++)
        if (str_eq(n->values[i], value))
            return;
    n->values = arena_grow(k->adm->ctx->arena, n->values, n->count, &n->cap, sizeof(*n->values));
    n->values[n->count++] = value;
}

/* What an annotation cannot say refuses the write, whatever the binding's actions. */
static void evaluate_notes(struct check *k)
{
    struct arena *a = k->adm->ctx->arena;
    k->run.cost_left = POLICY_COST_BUDGET;
    for (size_t i = 0; i < k->policy->spec.audit_annotations_count; i++) {
        const struct policy_program *p = &k->code->notes[i];
        struct str error = STR_NULL;
        struct cel_value v = {.kind = CEL_NULL};
        if (p->program == NULL)
            error = arena_printf(a, "compilation error: compilation failed: " STR_FMT,
                                 STR_ARG(p->error));
        else
            v = policy_eval(&k->run, p->program);
        if (k->run.cost_left < 0)
            error = STR(POLICY_OUT_OF_BUDGET);
        else if (v.kind == CEL_ERROR)
            error = arena_printf(a, "expression '" STR_FMT "' resulted in error: " STR_FMT,
                                 STR_ARG(p->text), STR_ARG(v.string));
        else if (v.kind == CEL_STRING && str_trim(v.string).len != 0)
            add_note(k, &k->notes[i], str_trim(v.string));
        if (error.len != 0 && fails_closed(k->policy)) {
            deny(k, error, STR("Invalid"));
            count(k, "invalid_error", "deny");
        }
    }
}

static void publish_notes(const struct check *k)
{
    struct arena *a = k->adm->ctx->arena;
    for (size_t i = 0; i < k->policy->spec.audit_annotations_count; i++) {
        const struct note *n = &k->notes[i];
        AUTO_BUF text = BUF_INIT;
        for (size_t v = 0; v < n->count; v++)
            buf_printf(&text, "%s" STR_FMT, v != 0 ? ", " : "", STR_ARG(n->values[v]));
        if (n->count != 0)
            kind_annotate(k->adm->ctx,
                          arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(k->policy->metadata.name),
                                       STR_ARG(k->policy->spec.audit_annotations[i].key)),
                          buf_str(&text));
    }
}

/* --- bindings ------------------------------------------------------------------------------------
 */
static void check_params(struct check *k, const struct resource *as, const struct json *params)
{
    const POLICY *p = k->policy;
    struct str why;
    policy_run_init(&k->run, k->code->env, k->adm, policy_shown_as(&k->all->shows, as), params);
    int r = policy_conditions(&k->run, k->code->conditions, p->spec.match_conditions_count, &why);
    if (r <= 0)
        admission_metrics_condition(p->metadata.name, "policy", "validate", k->adm->op, r < 0);
    if (r < 0)
        fail(k, 0, why, "invalid_error");
    if (r > 0 && check_validations(k))
        evaluate_notes(k);
}

static void misconfigured(struct check *k, struct str why)
{
    if (fails_closed(k->policy))
        deny(k,
             arena_printf(k->adm->ctx->arena, "failed to configure %s: " STR_FMT,
                          k->binding != NULL ? "binding" : "policy", STR_ARG(why)),
             STR("Invalid"));
}

static void check_binding(struct check *k, const struct resource *as)
{
    const struct resource *narrowed = k->adm->res;
    struct meta_v1_status *refused;
    struct json **params;
    struct str why;
    if (!policy_matches(k->adm, k->binding->spec.match_resources, &narrowed, &refused)) {
        if (refused != NULL)
            misconfigured(k, refused->message);
        return;
    }
    int n = policy_params(k->adm, k->policy->spec.param_kind, k->binding->spec.param_ref, &params,
                          &why);
    if (n < 0)
        misconfigured(k, why);
    for (int i = 0; i < n; i++)
        check_params(k, as, params[i]);
}

static void check_policy(struct validation *all, const struct policy_bound *b)
{
    const POLICY *p = b->policy->obj;
    const struct resource *as = all->adm->res;
    struct meta_v1_status *refused;
    struct check k = {.all = all,
                      .adm = all->adm,
                      .code = &b->policy->code,
                      .policy = p,
                      .since_ns = uv_hrtime()};
    if (!policy_matches(all->adm, p->spec.match_constraints, &as, &refused)) {
        if (refused != NULL)
            misconfigured(&k, refused->message);
        return;
    }
    k.notes = ARENA_ARRAY(all->adm->ctx->arena, struct note, p->spec.audit_annotations_count + 1);
    for (size_t i = 0; i < b->binding_count; i++) {
        k.binding = b->bindings[i]->obj;
        check_binding(&k, as);
    }
    publish_notes(&k);
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    struct validation all = {.adm = adm, .shows = {.adm = adm}};
    if (policy_exempt(adm))
        return NULL;
    const struct policy_set *set = policy_set_of(adm->ctx);
    for (size_t i = 0; i < set->validating_count; i++)
        check_policy(&all, &set->validating[i]);
    if (all.failures != NULL) {
        AUTO_BUF text = BUF_INIT;
        json_write(all.failures, false, &text);
        kind_annotate(adm->ctx, STR(FAILURES_KEY), buf_str(&text));
    }
    /* What is refused tentatively comes here once more. */
    for (size_t i = 0; i < all.count_count && (all.denied == NULL || !adm->ctx->tentative); i++)
        admission_metrics_policy(false, all.counts[i].policy, all.counts[i].binding,
                                 all.counts[i].error, all.counts[i].action, all.counts[i].ns);
    return all.denied;
}

const struct admission_plugin admission_validating_policy = {
    .name = "ValidatingAdmissionPolicy",
    .validate = validate,
};

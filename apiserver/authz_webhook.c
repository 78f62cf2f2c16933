/* authz_webhook.c - see authz_webhook.h. */
#include "apiserver/authz_webhook.h"

#include "apiserver/ask.h"
#include "apiserver/authz_review.h"
#include "apiserver/hook.h"
#include "apiserver/ttl_cache.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/metrics.h"

#include <stdatomic.h>
#include <uv.h>

#define CACHE_MAX 8192u
#define KEY_BYTES_MAX 10000u /* Longer questions are not kept. */
#define TRIES 5u
#define BACKOFF_MS 500u

struct authz_webhook {
    atomic_uint refs;
    struct arena *arena;
    struct authz_webhook_config config;
    struct hook *hook;
    struct cel_program **programs;
    struct ttl_cache *decisions; /* 'a', 'd' or 'n' and the reason. */
};

static const struct cel_var condition_vars[] = {{"request", &authz_review_type}};
static const struct cel_env condition_env = {.vars = condition_vars, .var_count = 1};

/* --- metrics, as upstream names them ------------------------------------------------------------
 */
static void count_result(const struct authz_webhook *w, const char *result)
{
    static const char *const labels[] = {"name", "result", NULL};
    metric_inc(METRIC_OF(metric_counter(metrics_default(),
                                        "apiserver_authorization_webhook_evaluations_total",
                                        "Round-trips to authorization webhooks.", labels),
                         w->config.name, str_of(result)));
    if (strcmp(result, "success") != 0 && !w->config.deny_on_error)
        metric_inc(
            METRIC_OF(metric_counter(metrics_default(),
                                     "apiserver_authorization_webhook_evaluations_fail_open_total",
                                     "NoOpinion results due to webhook timeout or error.", labels),
                      w->config.name, str_of(result)));
}

static void count_condition(const struct authz_webhook *w, const char *name, const char *help)
{
    static const char *const labels[] = {"type", "name", NULL};
    metric_inc(METRIC_OF(metric_counter(metrics_default(), name, help, labels), STR("Webhook"),
                         w->config.name));
}

/* --- life ---------------------------------------------------------------------------------------
 */
bool authz_webhook_check_condition(struct arena *a, struct str expression, struct str *ret_error)
{
    struct cel_program *p;
    if (str_trim(expression).len == 0) {
        *ret_error = STR("expression: Required value");
        return false;
    }
    if (cel_compile(a, &condition_env, expression, &p, ret_error) != 0) {
        *ret_error = arena_printf(a, "compilation failed: " STR_FMT, STR_ARG(*ret_error));
        return false;
    }
    const struct cel_type *t = cel_program_type(p);
    if (t != NULL && t->kind == CEL_BOOL)
        return true;
    *ret_error =
        arena_printf(a, "must evaluate to bool but got " STR_FMT, STR_ARG(cel_type_text(a, t)));
    return false;
}

struct authz_webhook *authz_webhook_new(const struct authz_webhook_config *config,
                                        struct hook *hook)
{
    struct authz_webhook *w = xzalloc(sizeof(*w));
    struct str ignored;
    atomic_init(&w->refs, 1);
    w->arena = arena_new(0);
    w->config = *config;
    w->config.name = arena_str(w->arena, config->name);
    w->config.conditions = ARENA_ARRAY(w->arena, struct str, config->condition_count + 1);
    w->programs = ARENA_ARRAY(w->arena, struct cel_program *, config->condition_count + 1);
    for (size_t i = 0; i < config->condition_count; i++) {
        w->config.conditions[i] = arena_str(w->arena, config->conditions[i]);
        if (cel_compile(w->arena, &condition_env, w->config.conditions[i], &w->programs[i],
                        &ignored) != 0)
            PANIC("a condition that was checked does not compile");
    }
    w->hook = hook;
    w->decisions = ttl_cache_new(CACHE_MAX);
    return w;
}

struct authz_webhook *authz_webhook_ref(struct authz_webhook *w)
{
    atomic_fetch_add(&w->refs, 1);
    return w;
}

void authz_webhook_unref(struct authz_webhook *w)
{
    if (w == NULL || atomic_fetch_sub(&w->refs, 1) != 1)
        return;
    ttl_cache_free(w->decisions);
    hook_unref(w->hook);
    arena_free(w->arena);
    free(w);
}

static void unhold(void *w)
{
    authz_webhook_unref(w);
}

/* --- decisions from before ------------------------------------------------------------------- */
static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static const char decision_letters[] = {
    [AUTHZ_NO_OPINION] = 'n', [AUTHZ_ALLOW] = 'a', [AUTHZ_DENY] = 'd'};

static bool remembered(struct authz_webhook *w, struct arena *a, struct str key,
                       enum authz_decision *ret, struct str *ret_reason)
{
    struct str text;
    if (!ttl_cache_get(w->decisions, a, key, now_ms(), &text))
        return false;
    *ret = text.data[0] == 'a' ? AUTHZ_ALLOW : text.data[0] == 'd' ? AUTHZ_DENY : AUTHZ_NO_OPINION;
    *ret_reason = str_sub(text, 1, text.len);
    return true;
}

static void remember(struct authz_webhook *w, struct str key, enum authz_decision decision,
                     struct str reason)
{
    int64_t ttl = decision == AUTHZ_ALLOW ? w->config.allowed_ttl_ms : w->config.refused_ttl_ms;
    AUTO_BUF text = BUF_INIT;
    if (ttl <= 0 || key.len > KEY_BYTES_MAX)
        return;
    buf_putc(&text, decision_letters[decision]);
    buf_append_str(&text, reason);
    ttl_cache_set(w->decisions, key, buf_str(&text), now_ms() + (uint64_t)ttl);
}

/* --- deciding ------------------------------------------------------------------------------------
 */
/* 1: the webhook is to be asked; 0: it is not; -1: *ret_error. */
static int conditions_hold(const struct authz_webhook *w, struct arena *a,
                           const struct authz_attributes *at, struct str *ret_error)
{
    int result = 1;
    if (w->config.condition_count == 0)
        return 1;
    struct cel_value v = cel_of_json(authz_review_spec(a, at, true, false), &authz_review_type);
    int64_t cost = CEL_COST_BUDGET;
    for (size_t i = 0; i < w->config.condition_count; i++) {
        struct cel_value r = cel_eval(w->programs[i], a, &v, &cost);
        if (r.kind == CEL_BOOL && !r.boolean) {
            count_condition(w, "apiserver_authorization_match_condition_exclusions_total",
                            "Times an authorizer was not asked because a condition did not hold.");
            return 0;
        }
        if (r.kind == CEL_BOOL)
            continue;
        result = -1;
        *ret_error = arena_printf(
            a, "cel evaluation error: expression '" STR_FMT "' resulted in error: " STR_FMT,
            STR_ARG(w->config.conditions[i]),
            STR_ARG(r.kind == CEL_ERROR ? r.string : STR("not a bool")));
    }
    if (result < 0)
        count_condition(w, "apiserver_authorization_match_condition_evaluation_errors_total",
                        "Match conditions that could not be evaluated.");
    return result;
}

/* *ret_error: the answer is none. */
static enum authz_decision read_answer(const struct authz_webhook *w, struct arena *a,
                                       const struct webhook_answer *answer, struct str *ret_reason,
                                       struct str *ret_error)
{
    struct json *j;
    struct error err = {0};
    *ret_error = hook_problem(w->hook, a, answer);
    if (ret_error->len != 0)
        return AUTHZ_NO_OPINION;
    const char *version =
        w->config.v1beta1 ? "authorization.k8s.io/v1beta1" : "authorization.k8s.io/v1";
    if (json_parse(a, answer->body, &j, &err) != 0)
        *ret_error = arena_strc(a, error_message(&err));
    else if (!str_eqc(json_get_str(j, "kind"), "SubjectAccessReview") ||
             !str_eqc(json_get_str(j, "apiVersion"), version))
        *ret_error = arena_printf(a,
                                  "the answer is of kind \"" STR_FMT "\" and apiVersion \"" STR_FMT
                                  "\", want SubjectAccessReview of %s",
                                  STR_ARG(json_get_str(j, "kind")),
                                  STR_ARG(json_get_str(j, "apiVersion")), version);
    if (ret_error->len != 0)
        return AUTHZ_NO_OPINION;
    const struct json *status = json_getc(j, "status");
    bool allowed = json_get_bool(status, "allowed", false);
    bool denied = json_get_bool(status, "denied", false);
    *ret_reason = json_get_str(status, "reason");
    if (allowed && denied) {
        *ret_error = STR("webhook subject access review returned both allow and deny response");
        return AUTHZ_NO_OPINION;
    }
    return allowed ? AUTHZ_ALLOW : denied ? AUTHZ_DENY : AUTHZ_NO_OPINION;
}

static void ask(struct authz_webhook *w, struct arena *a, const struct authz_attributes *at,
                struct str key)
{
    AUTO_BUF body = BUF_INIT;
    struct json *j = json_object(a), *meta = json_object(a);
    json_setc(a, j, "kind", json_string(a, STR("SubjectAccessReview")));
    json_setc(a, j, "apiVersion",
              json_string(a, w->config.v1beta1 ? STR("authorization.k8s.io/v1beta1")
                                               : STR("authorization.k8s.io/v1")));
    json_setc(a, meta, "creationTimestamp", json_null(a));
    json_setc(a, j, "metadata", meta);
    json_setc(a, j, "spec", authz_review_spec(a, at, false, w->config.v1beta1));
    json_setc(a, j, "status", json_object(a));
    json_setc(a, json_getc(j, "status"), "allowed", json_bool(a, false));
    json_write(j, false, &body);
    asks_note(at->asks, &(struct ask_config){.who = w,
                                             .key = key,
                                             .target = *hook_target(w->hook),
                                             .method = "POST",
                                             .body = buf_str(&body),
                                             .timeout_ms = (uint64_t)w->config.timeout_ms,
                                             .tries = TRIES,
                                             .backoff_ms = BACKOFF_MS,
                                             .held = authz_webhook_ref(w),
                                             .unhold = unhold});
}

static enum authz_decision failed(const struct authz_webhook *w)
{
    return w->config.deny_on_error ? AUTHZ_DENY : AUTHZ_NO_OPINION;
}

enum authz_decision authz_webhook_decide(struct authz_webhook *w, struct arena *a,
                                         const struct authz_attributes *at, struct str *ret_reason,
                                         struct str *ret_error)
{
    enum authz_decision d;
    int hold = conditions_hold(w, a, at, ret_error);
    if (hold == 0)
        return AUTHZ_NO_OPINION;
    if (hold < 0)
        return failed(w);
    AUTO_BUF text = BUF_INIT;
    json_write(authz_review_spec(a, at, false, false), false, &text);
    struct str key = arena_str(a, buf_str(&text));
    if (remembered(w, a, key, &d, ret_reason))
        return d;
    if (at->asks == NULL) {
        *ret_error =
            arena_printf(a, "webhook " STR_FMT " cannot be asked here", STR_ARG(w->config.name));
        return failed(w);
    }
    const struct webhook_answer *answer = asks_find(at->asks, w, key);
    if (answer == NULL) {
        ask(w, a, at, key);
        return AUTHZ_WAIT;
    }
    d = read_answer(w, a, answer, ret_reason, ret_error);
    count_result(w, ret_error->len == 0          ? "success"
                    : answer->code == E_TIMEOUT  ? "timeout"
                    : answer->code == E_CANCELED ? "canceled"
                                                 : "error");
    if (ret_error->len != 0)
        return failed(w);
    remember(w, key, d, *ret_reason);
    return d;
}

/* authn_webhook.c - see authn_webhook.h. */
#include "apiserver/authn_webhook.h"

#include "apiserver/ask.h"
#include "apiserver/authn_internal.h"
#include "apiserver/hook.h"
#include "apiserver/ttl_cache.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"

#include <uv.h>

#define CACHE_MAX 4096u
#define TIMEOUT_MS 30000u
#define TRIES 5u
#define BACKOFF_MS 500u
#define NS_PER_MS 1000000

struct authn_webhook {
    struct hook *hook;
    const char *version;
    int64_t ttl_ms;
    struct ttl_cache *answers; /* The status of the review, as JSON. */
};

int authn_webhook_new(const char *file, const char *version, int64_t ttl_ns,
                      struct authn_webhook **ret, struct error *err)
{
    struct hook *h;
    if (strcmp(version, "v1") != 0 && strcmp(version, "v1beta1") != 0)
        return error_set(err, E_INVALID,
                         "--authentication-token-webhook-version: \"%s\" is not one of v1, v1beta1",
                         version);
    if (ttl_ns < 0)
        return error_set(err, E_INVALID,
                         "--authentication-token-webhook-cache-ttl: must not be negative");
    int code = hook_load("--authentication-token-webhook-config-file", file, &h, err);
    if (code != 0)
        return code;
    struct authn_webhook *w = xzalloc(sizeof(*w));
    w->hook = h;
    w->version = version;
    w->ttl_ms = ttl_ns / NS_PER_MS;
    w->answers = ttl_cache_new(CACHE_MAX);
    *ret = w;
    return 0;
}

void authn_webhook_free(struct authn_webhook *w)
{
    if (w == NULL)
        return;
    hook_unref(w->hook);
    ttl_cache_free(w->answers);
    free(w);
}

static struct json *strings(struct arena *a, const struct str *items, size_t count)
{
    struct json *j = json_array(a);
    for (size_t i = 0; i < count; i++)
        json_append(a, j, json_string(a, items[i]));
    return j;
}

/* Tokens are not kept, only what stands for them. */
static struct str key_of(struct arena *a, struct str token, const struct str *audiences,
                         size_t count)
{
    uint8_t hash[32];
    AUTO_BUF b = BUF_INIT;
    net_sha256(token.data, token.len, hash);
    base64_encode(BASE64_RAW_STD, hash, sizeof(hash), &b);
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, " " STR_FMT, STR_ARG(audiences[i]));
    return arena_str(a, buf_str(&b));
}

static void ask(struct authn_webhook *w, struct arena *a, struct asks *asks, struct str key,
                struct str token, const struct str *audiences, size_t count)
{
    AUTO_BUF body = BUF_INIT;
    struct json *j = json_object(a), *spec = json_object(a), *meta = json_object(a),
                *status = json_object(a);
    json_setc(a, j, "kind", json_string(a, STR("TokenReview")));
    json_setc(a, j, "apiVersion", json_stringf(a, "authentication.k8s.io/%s", w->version));
    json_setc(a, meta, "creationTimestamp", json_null(a));
    json_setc(a, j, "metadata", meta);
    json_setc(a, spec, "token", json_string(a, token));
    if (count != 0)
        json_setc(a, spec, "audiences", strings(a, audiences, count));
    json_setc(a, j, "spec", spec);
    json_setc(a, status, "user", json_object(a));
    json_setc(a, j, "status", status);
    json_write(j, false, &body);
    asks_note(asks, &(struct ask_config){.who = w,
                                         .key = key,
                                         .target = *hook_target(w->hook),
                                         .method = "POST",
                                         .body = buf_str(&body),
                                         .timeout_ms = TIMEOUT_MS,
                                         .tries = TRIES,
                                         .backoff_ms = BACKOFF_MS});
}

static size_t read_strings(struct arena *a, const struct json *list, struct str **ret)
{
    size_t n = list != NULL && list->type == JSON_ARRAY ? list->array.count : 0, kept = 0;
    *ret = ARENA_ARRAY(a, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        if (list->array.items[i]->type == JSON_STRING)
            (*ret)[kept++] = list->array.items[i]->string;
    return kept;
}

static int read_user(struct arena *a, const struct json *status, struct user **ret,
                     struct str **ret_audiences, size_t *ret_audience_count, struct error *err)
{
    const struct json *user = json_getc(status, "user"), *extra = json_getc(user, "extra");
    struct str problem = json_get_str(status, "error"), *groups;
    if (!json_get_bool(status, "authenticated", false))
        return problem.len != 0
                   ? error_set(err, E_UNAUTHORIZED, STR_FMT, STR_ARG(problem))
                   : error_set(err, E_UNAUTHORIZED, "the webhook does not know the token");
    size_t n = read_strings(a, json_getc(user, "groups"), &groups);
    *ret = authn_user(a, json_get_str(user, "username"), groups, n);
    (*ret)->uid = json_get_str(user, "uid");
    for (size_t i = 0; extra != NULL && extra->type == JSON_OBJECT && i < extra->object.count;
         i++) {
        struct str *values;
        size_t count = read_strings(a, extra->object.members[i].value, &values);
        for (size_t k = 0; k < count; k++)
            authn_add_extra(a, *ret, extra->object.members[i].key, values[k]);
    }
    *ret_audience_count = read_strings(a, json_getc(status, "audiences"), ret_audiences);
    return 0;
}

/* The status of the review that came back. */
static int read_answer(const struct authn_webhook *w, struct arena *a,
                       const struct webhook_answer *answer, struct json **ret, struct error *err)
{
    struct json *j;
    struct str problem = hook_problem(w->hook, a, answer);
    if (problem.len != 0)
        return error_set(err, E_UNAUTHORIZED, STR_FMT, STR_ARG(problem));
    int code = json_parse(a, answer->body, &j, err);
    if (code != 0)
        return code;
    struct str version = arena_printf(a, "authentication.k8s.io/%s", w->version);
    *ret = json_getc(j, "status");
    if (!str_eqc(json_get_str(j, "kind"), "TokenReview") ||
        !str_eq(json_get_str(j, "apiVersion"), version) || *ret == NULL)
        return error_set(err, E_UNAUTHORIZED, "the webhook's answer is no TokenReview of " STR_FMT,
                         STR_ARG(version));
    return 0;
}

int authn_webhook_token(struct authn_webhook *w, struct arena *a, struct asks *asks,
                        struct str token, const struct str *audiences, size_t audience_count,
                        struct user **ret, struct str **ret_audiences, size_t *ret_audience_count,
                        struct error *err)
{
    struct str key = key_of(a, token, audiences, audience_count), text;
    uint64_t now_ms = uv_hrtime() / NS_PER_MS;
    struct json *status;
    if (ttl_cache_get(w->answers, a, key, now_ms, &text)) {
        int code = json_parse(a, text, &status, err);
        return code != 0 ? code : read_user(a, status, ret, ret_audiences, ret_audience_count, err);
    }
    if (asks == NULL)
        return error_set(err, E_UNAUTHORIZED, "the webhook cannot be asked here");
    const struct webhook_answer *answer = asks_find(asks, w, key);
    if (answer == NULL) {
        ask(w, a, asks, key, token, audiences, audience_count);
        return E_AGAIN;
    }
    int code = read_answer(w, a, answer, &status, err);
    if (code != 0)
        return code;
    if (w->ttl_ms > 0) {
        AUTO_BUF b = BUF_INIT;
        json_write(status, false, &b);
        ttl_cache_set(w->answers, key, buf_str(&b), now_ms + (uint64_t)w->ttl_ms);
    }
    return read_user(a, status, ret, ret_audiences, ret_audience_count, err);
}

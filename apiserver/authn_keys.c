/* authn_keys.c - the keys of an issuer: its discovery document and its JSON web
 * key set, fetched when a token names a key that is not known; see authn_jwt.h. */
#include "apiserver/authn_jwt.h"

#include "apiserver/ask.h"
#include "apiserver/hook.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/encode.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/net/jwt.h"
#include "lib/net/pki.h"

#include <uv.h>

#define KEYS_MAX 100u
#define TIMEOUT_MS 10000u
#define AGAIN_AFTER_MS 10000u  /* A failed look-up is repeated so much later at the earliest, */
#define UNKNOWN_AFTER_MS 1000u /* one for a key that is not known so much. */

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* --- reading --------------------------------------------------------------------------------- */
static int decode_member(const struct json *j, const char *name, struct buf *ret)
{
    struct str text = json_get_str(j, name);
    while (text.len != 0 && text.data[text.len - 1] == '=')
        text.len--;
    return text.len != 0 ? base64_decode(BASE64_RAW_URL, text, ret) : E_INVALID;
}

static struct pki_key *read_key(const struct json *j)
{
    AUTO_BUF first = BUF_INIT;
    AUTO_BUF second = BUF_INIT;
    struct pki_key *key = NULL;
    struct str type = json_get_str(j, "kty"), use = json_get_str(j, "use");
    int code = E_INVALID;
    if (use.len != 0 && !str_eqc(use, "sig"))
        return NULL;
    if (str_eqc(type, "RSA") && decode_member(j, "n", &first) == 0 &&
        decode_member(j, "e", &second) == 0)
        code = pki_key_rsa_public(buf_str(&first), buf_str(&second), &key, NULL);
    else if (str_eqc(type, "EC") && decode_member(j, "x", &first) == 0 &&
             decode_member(j, "y", &second) == 0)
        code = pki_key_ec_public(json_get_str(j, "crv"), buf_str(&first), buf_str(&second), &key,
                                 NULL);
    return code == 0 ? key : NULL;
}

static void unref_key(void *key)
{
    pki_key_unref(key);
}

int jwt_keys_parse(struct arena *a, struct str text, struct jwt_key **ret, size_t *ret_count,
                   struct error *err)
{
    struct json *j;
    int code = json_parse(a, text, &j, err);
    const struct json *list = code == 0 ? json_getc(j, "keys") : NULL;
    if (code != 0)
        return code;
    if (list == NULL || list->type != JSON_ARRAY)
        return error_set(err, E_INVALID, "\"keys\": want a list of JSON web keys");
    size_t n = MIN_OF(list->array.count, (size_t)KEYS_MAX);
    *ret = ARENA_ARRAY(a, struct jwt_key, n + 1);
    *ret_count = 0;
    for (size_t i = 0; i < n; i++) {
        struct pki_key *key = read_key(list->array.items[i]);
        if (key == NULL)
            continue;
        arena_hold(a, key, unref_key);
        (*ret)[(*ret_count)++] = (struct jwt_key){json_get_str(list->array.items[i], "kid"), key};
    }
    return *ret_count != 0 ? 0 : error_set(err, E_INVALID, "no key there is of use");
}

void jwt_issuer_done(struct jwt_issuer *i)
{
    arena_free(i->arena);
    pthread_mutex_destroy(&i->lock);
}

/* --- looking up ------------------------------------------------------------------------------ */
static int problem_of(const struct webhook_answer *w, struct str url, struct error *err)
{
    if (w->code != 0)
        return error_set(err, E_UNAVAILABLE, "Get \"" STR_FMT "\": " STR_FMT, STR_ARG(url),
                         STR_ARG(w->body));
    if (w->status != 200)
        return error_set(err, E_UNAVAILABLE, "Get \"" STR_FMT "\": status %d", STR_ARG(url),
                         w->status);
    return 0;
}

static int read_discovery(const struct jwt_issuer *i, struct arena *a,
                          const struct webhook_answer *w, struct str *ret_keys_url,
                          struct error *err)
{
    struct json *j;
    int code = problem_of(w, i->discovery_url, err);
    if (code == 0)
        code = json_parse(a, w->body, &j, err);
    if (code != 0)
        return code;
    if (!str_eq(json_get_str(j, "issuer"), i->url))
        return error_set(err, E_INVALID,
                         "oidc: issuer did not match the issuer returned by provider, expected "
                         "\"" STR_FMT "\" got \"" STR_FMT "\"",
                         STR_ARG(i->url), STR_ARG(json_get_str(j, "issuer")));
    *ret_keys_url = json_get_str(j, "jwks_uri");
    return ret_keys_url->len != 0
               ? 0
               : error_set(err, E_INVALID, STR_FMT ": no jwks_uri", STR_ARG(i->discovery_url));
}

static void unhold(void *s)
{
    jwt_set_unref(s);
}

/* NULL: the question is noted. */
static const struct webhook_answer *get(struct jwt_set *s, struct jwt_issuer *i, struct arena *a,
                                        struct asks *asks, struct str url, unsigned generation,
                                        struct error *err)
{
    struct webhook_target t = {.ca_bundle = i->discovery.ca_bundle};
    static const struct webhook_answer bad = {.code = E_INVALID, .body = {"malformed address", 17}};
    struct str key = arena_printf(a, STR_FMT " %u", STR_ARG(url), generation);
    const struct webhook_answer *w = asks_find(asks, i, key);
    if (w != NULL)
        return w;
    if (hook_target_of_url(a, url, &t, err) != 0)
        return &bad;
    asks_note(asks, &(struct ask_config){.who = i,
                                         .key = key,
                                         .target = t,
                                         .method = "GET",
                                         .timeout_ms = TIMEOUT_MS,
                                         .held = jwt_set_ref(s),
                                         .unhold = unhold});
    return NULL;
}

/* Discovery, then the keys. E_AGAIN: noted. */
static int look_up(struct jwt_set *s, struct jwt_issuer *i, struct arena *a, struct asks *asks,
                   unsigned generation, struct error *err)
{
    struct str keys_url;
    const struct webhook_answer *w = get(s, i, a, asks, i->discovery_url, generation, err);
    if (w == NULL)
        return E_AGAIN;
    int code = read_discovery(i, a, w, &keys_url, err);
    if (code == 0) {
        w = get(s, i, a, asks, keys_url, generation, err);
        if (w == NULL)
            return E_AGAIN;
        code = problem_of(w, keys_url, err);
    }
    struct arena *found = arena_new(0);
    struct jwt_key *keys = NULL;
    size_t count = 0;
    if (code == 0)
        code = jwt_keys_parse(found, arena_str(found, w->body), &keys, &count, err);
    pthread_mutex_lock(&i->lock);
    bool first = i->generation == generation; /* Else another request was faster. */
    if (first) {
        i->generation++;
        i->tried_ms = now_ms();
        i->failed = code != 0;
    }
    if (first && code == 0) {
        struct arena *old = i->arena;
        i->arena = found;
        i->keys = keys;
        i->key_count = count;
        found = old;
    }
    pthread_mutex_unlock(&i->lock);
    arena_free(found);
    if (first && code != 0)
        log_warning("issuer " STR_FMT ": %s", STR_ARG(i->url), error_message(err));
    return code;
}

/* 1: verified, 0: no key of that name, E_UNAUTHORIZED: the signature is wrong. */
static int try_keys(struct jwt_issuer *i, const struct jwt *jwt, struct error *err)
{
    int result = 0;
    for (size_t k = 0; k < i->key_count && result != 1; k++) {
        if (jwt->key_id.len != 0 && !str_eq(i->keys[k].id, jwt->key_id))
            continue;
        int code = jwt_verify(jwt, i->keys[k].key, err);
        result = code == 0 ? 1 : code;
    }
    return result;
}

int jwt_issuer_verify(struct jwt_set *s, struct jwt_issuer *i, struct arena *a, struct asks *asks,
                      const struct jwt *jwt, struct error *err)
{
    for (;;) {
        pthread_mutex_lock(&i->lock);
        int result = try_keys(i, jwt, err);
        unsigned generation = i->generation;
        uint64_t wait_ms = i->failed ? AGAIN_AFTER_MS : UNKNOWN_AFTER_MS;
        bool recently = generation != 0 && now_ms() - i->tried_ms < wait_ms;
        bool none = i->key_count == 0;
        pthread_mutex_unlock(&i->lock);
        if (result == 1)
            return 0;
        /* Without a key's name a wrong signature may mean that the keys are old. */
        if (recently || asks == NULL)
            return none ? error_set(err, E_UNAUTHORIZED,
                                    "oidc: authenticator not initialized: no keys of " STR_FMT,
                                    STR_ARG(i->url))
                        : error_set(err, E_UNAUTHORIZED,
                                    "oidc: verify token: failed to verify signature: failed to "
                                    "verify id token signature");
        int code = look_up(s, i, a, asks, generation, err);
        if (code == E_AGAIN)
            return code;
    }
}

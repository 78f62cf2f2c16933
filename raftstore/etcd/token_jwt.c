/* token_jwt.c - see token_jwt.h. */
#include "raftstore/etcd/token_jwt.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/net/jwt.h"
#include "lib/net/pki.h"
#include "raftstore/etcd/json.h"

#include <inttypes.h>
#include <math.h>
#include <openssl/crypto.h>

#define KEY_FILE_MAX (64u << 10)
#define TTL_S_DEFAULT 300

struct token_jwt {
    char method[8]; /* "RS256" */
    int64_t ttl_s;
    struct buf secret;   /* HS*: what priv-key's file holds. */
    struct pki_key *key; /* The others: private, or public for checking only. */
};

struct jwt_options {
    struct str method, public_file, private_file, ttl;
};

static int read_option(struct str pair, struct jwt_options *o, struct error *err)
{
    static const struct {
        const char *name;
        size_t offset;
    } known[] = {{"sign-method", offsetof(struct jwt_options, method)},
                 {"pub-key", offsetof(struct jwt_options, public_file)},
                 {"priv-key", offsetof(struct jwt_options, private_file)},
                 {"ttl", offsetof(struct jwt_options, ttl)}};
    struct str name, value;
    if (!str_cut(pair, '=', &name, &value) || str_find(value, '=', 0) >= 0)
        return error_set(err, E_INVALID, "auth-token: \"" STR_FMT "\" must be NAME=VALUE",
                         STR_ARG(pair));
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (!str_eqc(name, known[i].name))
            continue;
        struct str *at = (struct str *)(void *)((char *)o + known[i].offset);
        if (at->data != NULL)
            return error_set(err, E_INVALID, "auth-token: %s is given twice", known[i].name);
        *at = value;
        return 0;
    }
    return error_set(err, E_INVALID, "auth-token: unknown option \"" STR_FMT "\"", STR_ARG(name));
}

static int read_file(struct str name, struct buf *b, struct error *err)
{
    AUTO_FREE char *path = xstrndup(name.data, name.len);
    int rc = file_read(path, KEY_FILE_MAX, b, err);
    return rc < 0 ? error_prefix(err, "auth-token") : 0;
}

static int read_key(struct str file, const char *method, struct pki_key **ret, struct error *err)
{
    AUTO_BUF pem = BUF_INIT;
    struct pki_key *key = NULL;
    int rc = read_file(file, &pem, err);
    if (rc == 0 && (rc = pki_key_parse(buf_str(&pem), &key, err)) < 0)
        error_prefix(err, "auth-token: " STR_FMT, STR_ARG(file));
    if (pem.data != NULL)
        OPENSSL_cleanse(pem.data, pem.len);
    if (rc < 0)
        return rc;
    if (!jwt_key_suits(key, method)) {
        pki_key_unref(key);
        return error_set(err, E_INVALID, "auth-token: the key in " STR_FMT " does not suit %s",
                         STR_ARG(file), method);
    }
    *ret = key;
    return 0;
}

/* The private key, or the public one alone; both must be a pair. */
static int read_pair(struct token_jwt *t, const struct jwt_options *o, struct error *err)
{
    struct pki_key *public_key = NULL;
    if (str_empty(o->private_file) && str_empty(o->public_file))
        return error_set(err, E_INVALID, "auth-token: %s needs priv-key or pub-key", t->method);
    int rc = str_empty(o->private_file) ? 0 : read_key(o->private_file, t->method, &t->key, err);
    if (rc == 0 && !str_empty(o->public_file))
        rc = read_key(o->public_file, t->method, &public_key, err);
    if (rc == 0 && t->key != NULL && !pki_key_is_private(t->key))
        rc = error_set(err, E_INVALID, "auth-token: " STR_FMT " holds no private key",
                       STR_ARG(o->private_file));
    if (rc == 0 && t->key != NULL && public_key != NULL) {
        uint8_t one[32], two[32];
        pki_key_spki_sha256(t->key, one);
        pki_key_spki_sha256(public_key, two);
        if (memcmp(one, two, sizeof(one)) != 0)
            rc = error_set(err, E_INVALID,
                           "auth-token: pub-key and priv-key are not of one key pair");
    }
    if (rc == 0 && t->key == NULL)
        t->key = take(public_key);
    pki_key_unref(public_key);
    return rc;
}

static int read_settings(struct token_jwt *t, struct str options, struct error *err)
{
    struct jwt_options o = {0};
    int rc = 0;
    for (struct str rest = options, pair; rc == 0 && !str_empty(rest);) {
        str_cut(rest, ',', &pair, &rest);
        rc = read_option(pair, &o, err);
    }
    if (rc < 0)
        return rc;
    if (str_empty(o.method) || o.method.len >= sizeof(t->method))
        return error_set(err, E_INVALID,
                         "auth-token: sign-method must be one of RS256 to RS512, "
                         "PS256 to PS512, ES256 to ES512, HS256 to HS512");
    memcpy(t->method, o.method.data, o.method.len);
    t->ttl_s = TTL_S_DEFAULT;
    int64_t ttl_ns;
    if (!str_empty(o.ttl)) {
        if (duration_parse(o.ttl, &ttl_ns) < 0 || ttl_ns <= 0)
            return error_set(err, E_INVALID, "auth-token: ttl must be a time like 10m");
        t->ttl_s = (ttl_ns + 999999999) / 1000000000;
    }
    if (!jwt_hmac_known(t->method))
        return read_pair(t, &o, err);
    if (str_empty(o.private_file))
        return error_set(err, E_INVALID, "auth-token: %s needs priv-key", t->method);
    rc = read_file(o.private_file, &t->secret, err);
    if (rc == 0 && t->secret.len == 0)
        rc = error_set(err, E_INVALID, "auth-token: priv-key is empty");
    return rc;
}

int token_jwt_new(struct str options, struct token_jwt **ret, struct error *err)
{
    struct token_jwt *t = xzalloc(sizeof(*t));
    int rc = read_settings(t, options, err);
    if (rc < 0)
        token_jwt_free(t);
    else
        *ret = t;
    return rc;
}

void token_jwt_free(struct token_jwt *t)
{
    if (t == NULL)
        return;
    if (t->secret.data != NULL)
        OPENSSL_cleanse(t->secret.data, t->secret.len);
    buf_done(&t->secret);
    pki_key_unref(t->key);
    free(t);
}

int token_jwt_make(const struct token_jwt *t, const struct token_claims *claims, int64_t now_s,
                   struct buf *ret_token, struct error *err)
{
    AUTO_BUF payload = BUF_INIT;
    buf_printf(&payload,
               "{\"exp\":%" PRId64 ",\"revision\":%" PRIu64 ",\"username\":", now_s + t->ttl_s,
               claims->revision);
    json_put_string(&payload, claims->user);
    buf_putc(&payload, '}');
    if (t->key == NULL)
        return jwt_hmac_sign(buf_str(&t->secret), t->method, buf_str(&payload), ret_token, err);
    return jwt_sign_as(t->key, t->method, buf_str(&payload), ret_token, err);
}

/* A time in seconds, which may have a fraction. Absent: as said. */
static bool read_time(const struct json_value *claims, const char *name, double absent, double *ret)
{
    const struct json_value *v = json_member(claims, name);
    *ret = absent;
    if (v == NULL)
        return true;
    char text[64];
    if (v->type != JSON_NUMBER || v->text.len >= sizeof(text))
        return false;
    memcpy(text, v->text.data, v->text.len);
    text[v->text.len] = '\0';
    *ret = strtod(text, NULL);
    return true;
}

int token_jwt_check(const struct token_jwt *t, struct arena *a, struct str token, int64_t now_s,
                    struct token_claims *ret, struct error *err)
{
    struct jwt jwt;
    if (jwt_parse(a, token, &jwt, err) < 0)
        return error_set(err, E_UNAUTHORIZED, "token is malformed");
    if (!str_eqc(jwt.algorithm, t->method))
        return error_set(err, E_UNAUTHORIZED, "token is not signed as %s", t->method);
    int rc = t->key != NULL ? jwt_verify(&jwt, t->key, err)
                            : jwt_hmac_verify(&jwt, buf_str(&t->secret), err);
    struct json_value claims;
    if (rc == 0 && json_read(a, jwt.payload, &claims, err) < 0)
        rc = error_set(err, E_UNAUTHORIZED, "token claims are not JSON");
    if (rc < 0)
        return rc;
    double expires, from;
    if (!read_time(&claims, "exp", INFINITY, &expires) ||
        !read_time(&claims, "nbf", -INFINITY, &from) || (double)now_s >= expires ||
        (double)now_s < from)
        return error_set(err, E_UNAUTHORIZED, "token has expired");
    const struct json_value *user = json_member(&claims, "username");
    const struct json_value *revision = json_member(&claims, "revision");
    int64_t number;
    if (user == NULL || user->type != JSON_STRING || revision == NULL ||
        revision->type != JSON_NUMBER || !json_to_i64(revision->text, &number) || number < 0)
        return error_set(err, E_UNAUTHORIZED, "token claims name no user or no revision");
    *ret = (struct token_claims){user->text, (uint64_t)number};
    return 0;
}

/* token.c - tokens of both kinds, and the checks of what a caller may do. */
#include "raftstore/etcd/token.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"
#include "raftstore/etcd/errors.h"
#include "raftstore/etcd/password.h"
#include "raftstore/etcd/token_jwt.h"
#include "raftstore/wire.h"

#include <pthread.h>

struct etcd_fault etcd_fault_of_refusal(enum auth_refusal r)
{
    enum grpc_status status = GRPC_FAILED_PRECONDITION;
    switch (r) {
    case AUTH_REFUSED_NOT:
        status = GRPC_OK;
        break;
    case AUTH_REFUSED_USER_EMPTY:
    case AUTH_REFUSED_ROLE_EMPTY:
    case AUTH_REFUSED_INVALID:
    case AUTH_REFUSED_LIMIT:
        status = GRPC_INVALID_ARGUMENT;
        break;
    case AUTH_REFUSED_NO_PASSWORD:
        status = GRPC_UNKNOWN;
        break;
    case AUTH_REFUSED_ACTOR:
        status = GRPC_PERMISSION_DENIED;
        break;
    case AUTH_REFUSED_ROOT_USER_MISSING:
    case AUTH_REFUSED_ROOT_ROLE_MISSING:
    case AUTH_REFUSED_USER_EXISTS:
    case AUTH_REFUSED_USER_NOT_FOUND:
    case AUTH_REFUSED_ROLE_EXISTS:
    case AUTH_REFUSED_ROLE_NOT_FOUND:
    case AUTH_REFUSED_ROLE_NOT_GRANTED:
    case AUTH_REFUSED_PERMISSION_NOT_GRANTED:
        break;
    }
    return (struct etcd_fault){status, auth_refusal_text(r)};
}

/* --- when tokens were last used here --- */

/* What it forgets only costs a client another Authenticate, so it is of a fixed
 * size: sets of a few places, of which the least recently used one goes. */
#define USED_SETS 1024
#define USED_WAYS 8
#define USED_LOCKS 16

struct used {
    uint64_t mark; /* Eight bytes of the token's signature; 0: free. */
    uint64_t at_ms;
};

struct etcd_tokens {
    struct env *env;
    uint64_t ttl_ms;
    struct token_jwt *jwt;             /* NULL: simple tokens. */
    pthread_mutex_t locks[USED_LOCKS]; /* Of the sets whose number ends so. */
    struct used (*used)[USED_WAYS];
    struct passwords *passwords;
};

/* Notes that the token is used now. True when it was used less than a ttl ago. */
static bool used_touch(struct etcd_tokens *t, uint64_t mark, uint64_t now_ms, bool good)
{
    size_t set = mark % USED_SETS;
    pthread_mutex_t *lock = &t->locks[set % USED_LOCKS];
    pthread_mutex_lock(lock);
    struct used *place = &t->used[set][0];
    for (size_t i = 0; i < USED_WAYS; i++) {
        struct used *u = &t->used[set][i];
        if (u->mark == mark) {
            place = u;
            break;
        }
        if (u->at_ms < place->at_ms)
            place = u;
    }
    bool recent = place->mark == mark && now_ms - place->at_ms < t->ttl_ms;
    if (good || recent)
        *place = (struct used){mark, now_ms};
    pthread_mutex_unlock(lock);
    return recent;
}

/* --- simple tokens: base64(body) "." base64(HMAC of it) ---
 * body: version, when (s), the user's password_rev, a random number, the user. */

#define TOKEN_VERSION 1
#define TOKEN_BYTES_MAX 4096

static int simple_make(struct etcd_tokens *t, const struct auth_state *a, struct str user,
                       struct buf *out, struct error *err)
{
    const struct auth_user *u = auth_user(a, user);
    struct str key = auth_token_key(a);
    if (u == NULL)
        return error_set(err, E_NOT_FOUND, "user name not found");
    if (str_empty(key))
        return error_set(err, E_AGAIN, "there is no key for tokens yet");
    AUTO_BUF body = BUF_INIT;
    uint64_t nonce;
    t->env->random(t->env, &nonce, sizeof(nonce));
    buf_putc(&body, TOKEN_VERSION);
    buf_put_varint(&body, (uint64_t)(env_wall_ns(t->env) / 1000000000));
    buf_put_varint(&body, u->password_rev);
    buf_put_le64(&body, nonce);
    buf_append_str(&body, user);
    uint8_t mac[32];
    net_hmac_sha256(key, buf_str(&body), mac);
    base64_encode(BASE64_RAW_URL, body.data, body.len, out);
    buf_putc(out, '.');
    base64_encode(BASE64_RAW_URL, mac, sizeof(mac), out);
    return 0;
}

static bool simple_signed(const struct auth_state *a, struct str token, struct buf *ret_body,
                          uint64_t *ret_mark)
{
    struct str body, mac, key = auth_token_key(a);
    AUTO_BUF given = BUF_INIT;
    uint8_t right[32];
    if (str_empty(key) || token.len > TOKEN_BYTES_MAX || !str_cut(token, '.', &body, &mac) ||
        base64_decode(BASE64_RAW_URL, body, ret_body) < 0 ||
        base64_decode(BASE64_RAW_URL, mac, &given) < 0)
        return false;
    net_hmac_sha256(key, buf_str(ret_body), right);
    memcpy(ret_mark, right, sizeof(*ret_mark));
    *ret_mark |= 1;
    return net_secret_eq(str_n((const char *)right, sizeof(right)), buf_str(&given));
}

static bool simple_check(struct etcd_tokens *t, const struct auth_state *a, struct arena *arena,
                         struct str token, struct str *ret_user)
{
    AUTO_BUF body = BUF_INIT;
    uint64_t mark;
    if (!simple_signed(a, token, &body, &mark))
        return false;
    struct wire r = wire_of(buf_str(&body));
    uint8_t version = wire_u8(&r);
    uint64_t made_s = wire_varint(&r);
    uint64_t password_rev = wire_varint(&r);
    for (int i = 0; i < 8; i++)
        wire_u8(&r); /* The random number. */
    if (r.bad || version != TOKEN_VERSION || made_s > UINT32_MAX * UINT64_C(256))
        return false;
    struct str user = str_n((const char *)r.p, wire_left(&r));
    const struct auth_user *u = auth_user(a, user);
    if (u == NULL || u->password_rev != password_rev)
        return false;
    int64_t age_ms = env_wall_ns(t->env) / 1000000 - (int64_t)made_s * 1000;
    bool fresh = age_ms < (int64_t)t->ttl_ms && age_ms > -(int64_t)t->ttl_ms;
    if (!used_touch(t, mark, env_now_ms(t->env), fresh) && !fresh)
        return false;
    *ret_user = arena_str(arena, user);
    return true;
}

/* --- both kinds --- */

int etcd_tokens_new(const struct etcd_tokens_config *config, struct etcd_tokens **ret,
                    struct error *err)
{
    struct str spec = config->spec != NULL ? str_of(config->spec) : STR("simple");
    struct str kind, options;
    struct token_jwt *jwt = NULL;
    str_cut(spec, ',', &kind, &options);
    if (str_eqc(kind, "jwt")) {
        int rc = token_jwt_new(options, &jwt, err);
        if (rc < 0)
            return rc;
    } else if (!str_eqc(kind, "simple")) {
        return error_set(err, E_INVALID,
                         "auth-token: \"" STR_FMT "\" must be simple or jwt,OPTIONS",
                         STR_ARG(kind));
    }
    struct etcd_tokens *t = xzalloc(sizeof(*t));
    t->env = config->env != NULL ? config->env : env_system();
    t->ttl_ms = 1000ull * (config->ttl_s != 0 ? config->ttl_s : ETCD_TOKEN_TTL_S);
    t->jwt = jwt;
    t->passwords = passwords_new(config->bcrypt_cost);
    t->used = xzalloc(USED_SETS * sizeof(*t->used));
    for (size_t i = 0; i < USED_LOCKS; i++)
        pthread_mutex_init(&t->locks[i], NULL);
    *ret = t;
    return 0;
}

void etcd_tokens_free(struct etcd_tokens *t)
{
    if (t == NULL)
        return;
    passwords_free(t->passwords);
    for (size_t i = 0; i < USED_LOCKS; i++)
        pthread_mutex_destroy(&t->locks[i]);
    token_jwt_free(t->jwt);
    free(t->used);
    free(t);
}

struct passwords *etcd_tokens_passwords(struct etcd_tokens *t)
{
    return t->passwords;
}

bool etcd_tokens_need_key(const struct etcd_tokens *t, const struct auth_state *a)
{
    return t->jwt == NULL && str_empty(auth_token_key(a));
}

int etcd_token_make(struct etcd_tokens *t, const struct auth_state *a, struct str user,
                    struct buf *ret_token, struct error *err)
{
    if (t->jwt == NULL)
        return simple_make(t, a, user, ret_token, err);
    struct token_claims claims = {user, auth_revision(a)};
    return token_jwt_make(t->jwt, &claims, env_wall_ns(t->env) / 1000000000, ret_token, err);
}

static bool token_check(struct etcd_tokens *t, struct str token, struct arena *arena,
                        struct etcd_caller *c)
{
    if (t->jwt == NULL)
        return simple_check(t, c->auth, arena, token, &c->user);
    struct token_claims claims;
    if (token_jwt_check(t->jwt, arena, token, env_wall_ns(t->env) / 1000000000, &claims, NULL) < 0)
        return false;
    c->user = claims.user;
    c->stale = claims.revision < auth_revision(c->auth);
    return true;
}

const struct etcd_fault *etcd_caller_find(struct etcd_tokens *t, const struct auth_state *a,
                                          struct str token, struct str common_name,
                                          struct arena *arena, struct etcd_caller *ret)
{
    struct etcd_caller c = {.auth = a};
    if (auth_enabled(a) && token.data != NULL) {
        if (str_has_prefix(token, STR("Bearer ")))
            token = str_sub(token, 7, token.len - 7);
        if (!token_check(t, token, arena, &c))
            return &etcd_err_invalid_auth_token;
    } else if (auth_enabled(a)) {
        c.user = arena_str(arena, common_name);
    }
    *ret = c;
    return NULL;
}

/* --- checks --- */

const struct etcd_fault *etcd_check_user(const struct etcd_caller *c)
{
    return auth_enabled(c->auth) && str_empty(c->user) ? &etcd_err_user_empty : NULL;
}

const struct etcd_fault *etcd_check_root(const struct etcd_caller *c)
{
    if (!auth_enabled(c->auth))
        return NULL;
    if (str_empty(c->user))
        return &etcd_err_user_empty;
    if (auth_user(c->auth, c->user) == NULL)
        return &etcd_err_user_not_found;
    return auth_is_root(c->auth, c->user) ? NULL : &etcd_err_permission_denied;
}

const struct etcd_fault *etcd_check_range(const struct etcd_caller *c, enum auth_access access,
                                          struct str key, struct str range_end)
{
    if (!auth_enabled(c->auth))
        return NULL;
    if (str_empty(c->user))
        return &etcd_err_user_empty;
    if (c->stale)
        return &etcd_err_auth_old_revision;
    return auth_may(c->auth, c->user, access, key, range_end) ? NULL : &etcd_err_permission_denied;
}

const struct etcd_fault *etcd_check_lease_keys(const struct etcd_caller *c, enum auth_access access,
                                               const struct kv *const *keys, size_t count)
{
    if (etcd_check_root(c) == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const struct etcd_fault *f = etcd_check_range(c, access, kv_key(keys[i]), STR_NULL);
        if (f != NULL)
            return f;
    }
    return NULL;
}

static const struct etcd_fault *check_txn(const struct etcd_caller *c, const struct txn *t);

static const struct etcd_fault *check_op(const struct etcd_caller *c, const struct txn_op *op)
{
    const struct etcd_fault *f = NULL;
    switch (op->type) {
    case OP_RANGE:
        return etcd_check_range(c, AUTH_READ, op->key, op->range_end);
    case OP_PUT:
        f = etcd_check_range(c, AUTH_WRITE, op->key, STR_NULL);
        if (f == NULL && op->prev_kv)
            f = etcd_check_range(c, AUTH_READ, op->key, STR_NULL);
        return f;
    case OP_DELETE:
        f = etcd_check_range(c, AUTH_WRITE, op->key, op->range_end);
        if (f == NULL && op->prev_kv)
            f = etcd_check_range(c, AUTH_READ, op->key, op->range_end);
        return f;
    case OP_TXN:
        return check_txn(c, op->txn);
    }
    return f;
}

static const struct etcd_fault *check_ops(const struct etcd_caller *c, const struct txn_op *ops,
                                          uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct etcd_fault *f = check_op(c, &ops[i]);
        if (f != NULL)
            return f;
    }
    return NULL;
}

/* Recurses as deep as txn_check() lets transactions nest. */
static const struct etcd_fault *check_txn(const struct etcd_caller *c, const struct txn *t)
{
    for (uint32_t i = 0; i < t->cmp_count; i++) {
        const struct etcd_fault *f =
            etcd_check_range(c, AUTH_READ, t->cmps[i].key, t->cmps[i].range_end);
        if (f != NULL)
            return f;
    }
    const struct etcd_fault *f = check_ops(c, t->success, t->success_count);
    return f != NULL ? f : check_ops(c, t->failure, t->failure_count);
}

const struct etcd_fault *etcd_check_txn(const struct etcd_caller *c, const struct txn *t)
{
    return auth_enabled(c->auth) ? check_txn(c, t) : NULL;
}

static void collect_leases(const struct txn *t, int64_t *ret, size_t cap, size_t *count);

static void collect_ops(const struct txn_op *ops, uint32_t n, int64_t *ret, size_t cap,
                        size_t *count)
{
    for (uint32_t i = 0; i < n; i++) {
        if (ops[i].type == OP_TXN)
            collect_leases(ops[i].txn, ret, cap, count);
        if (ops[i].type != OP_PUT || ops[i].lease == 0)
            continue;
        if (*count < cap)
            ret[*count] = ops[i].lease;
        (*count)++;
    }
}

static void collect_leases(const struct txn *t, int64_t *ret, size_t cap, size_t *count)
{
    collect_ops(t->success, t->success_count, ret, cap, count);
    collect_ops(t->failure, t->failure_count, ret, cap, count);
}

void etcd_txn_leases(const struct etcd_caller *c, const struct txn *t, int64_t *ret, size_t cap,
                     size_t *ret_count)
{
    *ret_count = 0;
    if (etcd_check_root(c) != NULL)
        collect_leases(t, ret, cap, ret_count);
}

/* authn.c - see authn.h. Tokens of service accounts and bootstrap tokens are in
 * authn_token.c. */
#include "apiserver/authn_internal.h"

#include "api/meta_v1.h"
#include "apiserver/admission/webhook.h"
#include "apiserver/authn_config.h"
#include "apiserver/authn_jwt.h"
#include "apiserver/authn_webhook.h"
#include "apiserver/config_file.h"
#include "apiserver/request.h"
#include "apiserver/status.h"
#include "apiserver/token_use.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/net/http_server.h"
#include "lib/net/jwt.h"
#include "lib/net/pki.h"
#include "lib/net/tls.h"
#include "lib/net/url.h"

#include <strings.h>

#define FILE_BYTES_MAX (4u << 20)

/* --- configuration ---------------------------------------------------------------------- */
/* A field of a CSV line; quotes may hold commas. */
static struct str csv_next(struct arena *a, struct str *line)
{
    struct str f, rest;
    *line = str_trim(*line);
    if (line->len > 0 && line->data[0] == '"') {
        AUTO_BUF b = BUF_INIT;
        size_t i = 1;
        for (; i < line->len; i++) {
            if (line->data[i] != '"')
                buf_putc(&b, line->data[i]);
            else if (i + 1 < line->len && line->data[i + 1] == '"')
                buf_putc(&b, line->data[i++]);
            else
                break;
        }
        str_cut(str_sub(*line, MIN_OF(i + 1, line->len), line->len), ',', &f, &rest);
        *line = rest;
        return arena_str(a, buf_str(&b));
    }
    str_cut(*line, ',', &f, &rest);
    *line = rest;
    return arena_str(a, str_trim(f));
}

size_t authn_split(struct arena *a, struct str list, struct str **ret)
{
    size_t n = 0, cap = 0;
    struct str part;
    bool more = list.len != 0;
    *ret = NULL;
    while (more) {
        more = str_cut(list, ',', &part, &list);
        part = str_trim(part);
        if (part.len == 0)
            continue;
        *ret = arena_grow(a, *ret, n, &cap, sizeof(**ret));
        (*ret)[n++] = arena_str(a, part);
    }
    return n;
}

/* token,user,uid[,"group,group"] */
static int load_tokens(struct authn *n, const char *path, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    size_t cap = 0;
    int code = file_read(path, FILE_BYTES_MAX, &b, err);
    if (code != 0)
        return code;
    struct str text = buf_str(&b), line;
    bool more = true;
    while (more) {
        more = str_cut(text, '\n', &line, &text);
        if (str_trim(line).len == 0 || line.data[0] == '#')
            continue;
        struct static_token t = {.token = csv_next(n->arena, &line)};
        t.user.name = csv_next(n->arena, &line);
        t.user.uid = csv_next(n->arena, &line);
        struct str *groups;
        t.user.group_count = authn_split(n->arena, csv_next(n->arena, &line), &groups);
        t.user.groups = groups;
        if (t.token.len == 0 || t.user.name.len == 0)
            return error_set(err, E_INVALID, "%s: a line needs token, user name and user uid",
                             path);
        n->tokens = arena_grow(n->arena, n->tokens, n->token_count, &cap, sizeof(*n->tokens));
        n->tokens[n->token_count++] = t;
    }
    return 0;
}

static int load_keys(struct authn *n, const struct apiserver_config *c, struct error *err)
{
    size_t cap = 0;
    int code;
    if (c->service_account_signing_key_file != NULL) {
        AUTO_BUF k = BUF_INIT;
        code = file_read(c->service_account_signing_key_file, FILE_BYTES_MAX, &k, err);
        if (code == 0)
            code = pki_key_parse(buf_str(&k), &n->signing, err);
        if (code != 0)
            return code;
        if (!pki_key_is_private(n->signing))
            return error_set(err, E_INVALID, "%s holds no private key",
                             c->service_account_signing_key_file);
    }
    struct flag_list own = {.items = (const char **)(uintptr_t)&c->service_account_signing_key_file,
                            .count = c->service_account_signing_key_file != NULL};
    const struct flag_list *files =
        c->service_account_key_files.count != 0 ? &c->service_account_key_files : &own;
    for (size_t i = 0; i < files->count; i++) {
        AUTO_BUF b = BUF_INIT;
        struct pki_key **keys;
        size_t count;
        code = file_read(files->items[i], FILE_BYTES_MAX, &b, err);
        if (code == 0) {
            code = pki_keys_parse(n->arena, buf_str(&b), &keys, &count, err);
            if (code != 0)
                error_prefix(err, "%s", files->items[i]);
        }
        if (code != 0)
            return error_prefix(err, "--service-account-key-file");
        for (size_t k = 0; k < count; k++) {
            n->keys = arena_grow(n->arena, n->keys, n->key_count, &cap, sizeof(*n->keys));
            n->keys[n->key_count++] = keys[k];
        }
    }
    return 0;
}

static int load_requestheader(struct authn *n, const struct apiserver_config *c, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    if (c->requestheader_client_ca_file == NULL)
        return 0;
    int code = file_read(c->requestheader_client_ca_file, FILE_BYTES_MAX, &b, err);
    if (code == 0)
        code = pki_pool_new(buf_str(&b), &n->proxy_pool, err);
    n->proxy_name_count =
        authn_split(n->arena, str_of(c->requestheader_allowed_names), &n->proxy_names);
    n->proxy_user_count =
        authn_split(n->arena, str_of(c->requestheader_username_headers), &n->proxy_users);
    n->proxy_group_count =
        authn_split(n->arena, str_of(c->requestheader_group_headers), &n->proxy_groups);
    n->proxy_uid_count =
        authn_split(n->arena, str_of(c->requestheader_uid_headers), &n->proxy_uids);
    n->proxy_extra_count =
        authn_split(n->arena, str_of(c->requestheader_extra_headers_prefix), &n->proxy_extras);
    return code;
}

static int load_issuers(struct authn *n, const struct apiserver_config *c, struct error *err)
{
    const struct flag_list *l = &c->service_account_issuers;
    struct url u;
    n->issuers = ARENA_ARRAY(n->arena, struct str, l->count + 1);
    for (size_t i = 0; i < l->count; i++) {
        struct str issuer = str_of(l->items[i]);
        if (issuer.len == 0)
            return error_set(err, E_INVALID, "--service-account-issuer: want an address or a name");
        if (str_find(issuer, ':', 0) >= 0 && url_parse(issuer, &u, NULL) != 0)
            return error_set(err, E_INVALID,
                             "--service-account-issuer: \"%s\" holds a ':' but is no address",
                             l->items[i]);
        n->issuers[n->issuer_count++] = issuer;
    }
    if (c->service_account_jwks_uri != NULL &&
        (url_parse(str_of(c->service_account_jwks_uri), &u, NULL) != 0 ||
         !str_eqc(u.scheme, "https")))
        return error_set(err, E_INVALID,
                         "--service-account-jwks-uri: \"%s\": requires https scheme",
                         c->service_account_jwks_uri);
    int64_t max_s = c->service_account_max_expiration_ns / 1000000000;
    if (max_s != 0 && (max_s < 3600 || max_s > (int64_t)1 << 32))
        return error_set(err, E_INVALID,
                         "--service-account-max-token-expiration: must be between 1 hour and 2^32 "
                         "seconds");
    n->audience_count = authn_split(n->arena, str_of(c->api_audiences), &n->audiences);
    if (c->api_audiences == NULL) {
        n->audiences = n->issuers;
        n->audience_count = n->issuer_count;
    }
    return 0;
}

int authn_parse_config(const struct authn *n, struct str text, struct jwt_set **ret,
                       struct error *err)
{
    int code = authn_config_parse(text, n->issuers, n->issuer_count, ret, err);
    if (code == 0 && (*ret)->says_anonymous && n->server->config.anonymous_given) {
        jwt_set_unref(*ret);
        return error_set(err, E_INVALID,
                         "anonymous: Forbidden: --anonymous-auth is given as well: take one away");
    }
    return code;
}

/* Issuers of people's tokens, and the webhook. */
static int load_others(struct authn *n, const struct apiserver_config *c, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    int code = 0;
    if (c->authentication_config == NULL) {
        code = authn_config_of_flags(&c->oidc, n->issuers, n->issuer_count, &n->jwt, err);
    } else if (c->oidc.issuer_url != NULL || c->oidc.client_id != NULL) {
        code = error_set(err, E_INVALID,
                         "--authentication-config and --oidc-* flags are mutually exclusive");
    } else {
        code = file_read(c->authentication_config, CONFIG_BYTES_MAX, &text, err);
        if (code == 0) {
            code = authn_parse_config(n, buf_str(&text), &n->jwt, err);
            if (code != 0)
                error_prefix(err, "%s", c->authentication_config);
        }
        if (code != 0)
            error_prefix(err, "--authentication-config");
    }
    if (code == 0 && c->token_webhook_config_file != NULL)
        code = authn_webhook_new(c->token_webhook_config_file, c->token_webhook_version,
                                 c->token_webhook_ttl_ns, &n->webhook, err);
    return code;
}

struct jwt_set *authn_jwt_set(struct authn *n)
{
    pthread_mutex_lock(&n->lock);
    struct jwt_set *s = jwt_set_ref(n->jwt);
    pthread_mutex_unlock(&n->lock);
    return s;
}

void authn_replace(struct authn *n, struct jwt_set *set)
{
    pthread_mutex_lock(&n->lock);
    struct jwt_set *old = n->jwt;
    n->jwt = set;
    pthread_mutex_unlock(&n->lock);
    jwt_set_unref(old);
}

int authn_new(struct apiserver *s, struct authn **ret, struct error *err)
{
    const struct apiserver_config *c = &s->config;
    struct arena *a = arena_new(0);
    struct authn *n = ARENA_NEW(a, struct authn);
    n->arena = a;
    n->server = s;
    n->bootstrap_tokens = c->enable_bootstrap_token_auth;
    n->anonymous = c->anonymous_auth;
    n->legacy_lookup = c->service_account_lookup;
    pthread_mutex_init(&n->lock, NULL);
    int code = load_issuers(n, c, err);
    if (code == 0 && c->token_auth_file != NULL)
        code = load_tokens(n, c->token_auth_file, err);
    if (code == 0)
        code = load_keys(n, c, err);
    if (code == 0)
        code = load_requestheader(n, c, err);
    if (code == 0)
        code = load_others(n, c, err);
    if (code != 0) {
        authn_free(n);
        return code;
    }
    *ret = n;
    return 0;
}

void authn_free(struct authn *n)
{
    if (n == NULL)
        return;
    authn_webhook_free(n->webhook);
    jwt_set_unref(n->jwt);
    pthread_mutex_destroy(&n->lock);
    pki_key_unref(n->signing);
    pki_pool_unref(n->proxy_pool);
    arena_free(n->arena);
}

const struct pki_key *authn_signing_key(const struct authn *n)
{
    return n->signing;
}

struct str authn_issuer(const struct authn *n)
{
    return n->issuers[0];
}

const struct str *authn_audiences(const struct authn *n, size_t *ret_count)
{
    *ret_count = n->audience_count;
    return n->audiences;
}

int authn_jwks(const struct authn *n, struct buf *out, struct error *err)
{
    buf_puts(out, "{\"keys\":[");
    for (size_t i = 0; i < n->key_count; i++) {
        if (i != 0)
            buf_putc(out, ',');
        int code = jwt_key_jwk(n->keys[i], out, err);
        if (code != 0)
            return code;
    }
    buf_puts(out, "]}");
    return 0;
}

static int compare_text(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

void authn_algorithms(const struct authn *n, struct buf *out)
{
    AUTO_ARENA *a = arena_new(0);
    const char **names = ARENA_ARRAY(a, const char *, n->key_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < n->key_count; i++)
        if (jwt_algorithm(n->keys[i]) != NULL)
            names[count++] = jwt_algorithm(n->keys[i]);
    qsort(names, count, sizeof(*names), compare_text);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
            buf_printf(out, "%s\"%s\"", i == 0 ? "" : ",", names[i]);
}

/* --- requests ------------------------------------------------------------------------------ */
struct user *authn_user(struct arena *a, struct str name, const struct str *groups, size_t count)
{
    struct user *u = ARENA_NEW(a, struct user);
    struct str *g = ARENA_ARRAY(a, struct str, count + 1);
    bool seen = false;
    for (size_t i = 0; i < count; i++) {
        g[i] = groups[i];
        seen = seen || str_eqc(groups[i], GROUP_AUTHENTICATED) ||
               str_eqc(groups[i], GROUP_UNAUTHENTICATED);
    }
    size_t n = count;
    if (!seen)
        g[n++] = STR(GROUP_AUTHENTICATED);
    u->name = name;
    u->groups = g;
    u->group_count = n;
    return u;
}

bool authn_header_is(const struct http_header *h, struct str name)
{
    return h->name.len == name.len && strncasecmp(h->name.data, name.data, name.len) == 0;
}

/* Adds a value to those of a key, each once kept in the order they came. */
void authn_add_extra(struct arena *a, struct user *u, struct str key, struct str value)
{
    struct user_extra *all = ARENA_ARRAY(a, struct user_extra, u->extra_count + 1);
    size_t i = 0;
    if (u->extra_count != 0)
        memcpy(all, u->extra, u->extra_count * sizeof(*all));
    while (i < u->extra_count && !str_eq(all[i].key, key))
        i++;
    if (i == u->extra_count)
        all[u->extra_count++] = (struct user_extra){.key = key};
    struct str *values = ARENA_ARRAY(a, struct str, all[i].count + 1);
    if (all[i].count != 0)
        memcpy(values, all[i].values, all[i].count * sizeof(*values));
    values[all[i].count++] = value;
    all[i].values = values;
    u->extra = all;
}

/* The key behind a prefix of a header's name: in lower case, %-decoded where it
 * can be. False: another header. */
bool authn_extra_key(struct arena *a, const struct http_header *h, struct str prefix,
                     struct str *ret)
{
    struct str key;
    if (h->name.len <= prefix.len || strncasecmp(h->name.data, prefix.data, prefix.len) != 0)
        return false;
    char *lower = arena_strdup(a, str_c(arena_str(a, str_sub(h->name, prefix.len, h->name.len))));
    for (char *c = lower; *c != '\0'; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
    *ret = url_unescape_path(a, str_of(lower), &key) == 0 ? key : str_of(lower);
    return true;
}

static bool proxy_trusted(const struct authn *n, const struct tls_peer *p)
{
    bool allowed = n->proxy_name_count == 0;
    if (n->proxy_pool == NULL || p == NULL ||
        pki_pool_verify(n->proxy_pool, p->der, p->chain_der, p->chain_count, PKI_USAGE_CLIENT,
                        NULL) != 0)
        return false;
    for (size_t i = 0; i < n->proxy_name_count; i++)
        allowed = allowed || str_eq(n->proxy_names[i], p->common_name);
    return allowed;
}

/* The first of the headers that is there, in the order of the flag. */
static struct str first_header(const struct req *r, const struct str *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < r->http->header_count; j++)
            if (authn_header_is(&r->http->headers[j], names[i]) &&
                r->http->headers[j].value.len != 0)
                return r->http->headers[j].value;
    return STR_NULL;
}

/* A trusted proxy speaks for its users. Nearly all requests come without its headers: its
 * certificate is looked at behind them, since to verify one takes longer than to answer most. */
static bool proxy_user(struct authn *n, struct req *r)
{
    struct str *groups = NULL;
    size_t count = 0, cap = 0;
    struct str name = first_header(r, n->proxy_users, n->proxy_user_count);
    if (name.len == 0 || !proxy_trusted(n, r->http->peer))
        return false;
    for (size_t i = 0; i < n->proxy_group_count; i++)
        for (size_t j = 0; j < r->http->header_count; j++) {
            if (!authn_header_is(&r->http->headers[j], n->proxy_groups[i]))
                continue;
            groups = arena_grow(r->arena, groups, count, &cap, sizeof(*groups));
            groups[count++] = r->http->headers[j].value;
        }
    r->user = authn_user(r->arena, name, groups, count);
    r->user->uid = first_header(r, n->proxy_uids, n->proxy_uid_count);
    for (size_t i = 0; i < n->proxy_extra_count; i++)
        for (size_t j = 0; j < r->http->header_count; j++) {
            struct str key;
            if (authn_extra_key(r->arena, &r->http->headers[j], n->proxy_extras[i], &key))
                authn_add_extra(r->arena, r->user, key, r->http->headers[j].value);
        }
    return true;
}

static bool certificate_user(struct req *r)
{
    const struct tls_peer *p = r->http->peer;
    if (p == NULL || !p->verified || p->common_name.len == 0)
        return false;
    r->user = authn_user(r->arena, p->common_name, p->organizations, p->organization_count);
    static const char SCHEME[] = "X509SHA256=";
    char text[sizeof(SCHEME) - 1 + 2 * sizeof(p->cert_sha256)];
    struct user_extra *e = ARENA_NEW(r->arena, struct user_extra);
    memcpy(text, SCHEME, sizeof(SCHEME) - 1);
    hex_encode_to(p->cert_sha256, sizeof(p->cert_sha256), text + sizeof(SCHEME) - 1);
    struct str id = arena_str(r->arena, str_n(text, sizeof(text)));
    e->key = STR("authentication.kubernetes.io/credential-id");
    e->values = arena_memdup(r->arena, &id, sizeof(id));
    e->count = 1;
    r->user->extra = e;
    r->user->extra_count = 1;
    return true;
}

static struct str bearer_token(struct req *r)
{
    struct str h = http_request_header(r->http, "authorization"), scheme, token;
    if (!str_cut(str_trim(h), ' ', &scheme, &token) || scheme.len != 6 ||
        strncasecmp(scheme.data, "bearer", 6) != 0)
        return STR_NULL;
    return str_trim(token);
}

/* Browsers cannot set Authorization on a WebSocket: there the token may stand
 * among the protocols, of which one more must be given. False: malformed. */
static bool websocket_token(struct req *r, struct str *ret)
{
    AUTO_BUF token = BUF_INIT;
    size_t tokens = 0, others = 0;
    struct str list = http_header_join(r->arena, r->http->headers, r->http->header_count,
                                       "sec-websocket-protocol");
    struct str part;
    for (bool more = str_eqc(http_request_upgrade(r->http), "websocket"); more;) {
        more = str_cut(list, ',', &part, &list);
        part = str_trim(part);
        if (!str_has_prefix(part, STR(WEBSOCKET_TOKEN_PREFIX))) {
            others += part.len > 0;
            continue;
        }
        part = str_sub(part, strlen(WEBSOCKET_TOKEN_PREFIX), part.len);
        if (++tokens > 1 || base64_decode(BASE64_RAW_URL, part, &token) != 0 ||
            !str_is_utf8(buf_str(&token)))
            return false;
    }
    *ret = arena_str(r->arena, buf_str(&token));
    return tokens == 0 || others > 0;
}

/* May nobody ask this? */
static bool anonymous_allowed(struct authn *n, const struct req *r)
{
    struct jwt_set *s = authn_jwt_set(n);
    bool allowed = s->says_anonymous ? s->anonymous : n->anonymous;
    bool listed = s->anonymous_path_count == 0;
    for (size_t i = 0; i < s->anonymous_path_count; i++)
        listed = listed || str_eq(s->anonymous_paths[i], r->info.path);
    jwt_set_unref(s);
    return allowed && listed;
}

struct meta_v1_status *authn_request(struct req *r)
{
    struct authn *n = r->server->authn;
    struct error err = {0};
    if (proxy_user(n, r) || certificate_user(r))
        goto known;
    struct str token = bearer_token(r);
    if (token.len == 0 && !websocket_token(r, &token))
        return status_unauthorized(r->arena);
    if (token.len != 0) {
        int code = authn_token(n, r->arena, req_view(r), r->asks, token, NULL, 0, &r->user, NULL,
                               NULL, &err);
        if (code == E_AGAIN)
            return &webhook_wait;
        if (code == 0) {
            if (r->user->secret_name.len != 0)
                token_uses_note(r->thread->token_uses, r->user->secret_ns, r->user->secret_name);
            goto known;
        }
        log_debug("token refused: %s", error_message(&err));
        return status_unauthorized(r->arena);
    }
    /* A certificate that does not verify is a failed attempt, not anonymity. */
    if (r->http->peer != NULL && !r->http->peer->verified)
        return status_unauthorized(r->arena);
    if (!anonymous_allowed(n, r))
        return status_unauthorized(r->arena);
    r->user = ARENA_NEW(r->arena, struct user);
    struct str group = STR(GROUP_UNAUTHENTICATED);
    r->user->name = STR(USER_ANONYMOUS);
    r->user->groups = arena_memdup(r->arena, &group, sizeof(group));
    r->user->group_count = 1;
known:
    r->real_user = r->user;
    return NULL;
}

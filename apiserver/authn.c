/* authn.c - see authn.h. Tokens of service accounts and bootstrap tokens are in
 * authn_token.c. */
#include "apiserver/authn_internal.h"

#include "api/meta_v1.h"
#include "apiserver/authz.h"
#include "apiserver/request.h"
#include "apiserver/status.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
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
    AUTO_BUF b = BUF_INIT;
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
    const char *file = c->service_account_key_file != NULL ? c->service_account_key_file
                                                           : c->service_account_signing_key_file;
    if (file == NULL)
        return 0;
    code = file_read(file, FILE_BYTES_MAX, &b, err);
    return code != 0 ? code : pki_keys_parse(n->arena, buf_str(&b), &n->keys, &n->key_count, err);
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
    n->proxy_extra_count =
        authn_split(n->arena, str_of(c->requestheader_extra_headers_prefix), &n->proxy_extras);
    return code;
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
    n->issuer = str_of(c->service_account_issuer);
    n->audience_count = authn_split(
        a, str_of(c->api_audiences != NULL ? c->api_audiences : c->service_account_issuer),
        &n->audiences);
    int code = c->token_auth_file != NULL ? load_tokens(n, c->token_auth_file, err) : 0;
    if (code == 0)
        code = load_keys(n, c, err);
    if (code == 0)
        code = load_requestheader(n, c, err);
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
    return n->issuer;
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

/* --- requests ------------------------------------------------------------------------------ */
struct user *authn_user(struct arena *a, struct str name, const struct str *groups, size_t count)
{
    struct user *u = ARENA_NEW(a, struct user);
    struct str *g = ARENA_ARRAY(a, struct str, count + 1);
    bool seen = false;
    for (size_t i = 0; i < count; i++) {
        g[i] = groups[i];
        seen = seen || str_eqc(groups[i], GROUP_AUTHENTICATED);
    }
    size_t n = count;
    if (!seen)
        g[n++] = STR(GROUP_AUTHENTICATED);
    u->name = name;
    u->groups = g;
    u->group_count = n;
    return u;
}

static bool header_is(const struct http_header *h, struct str name)
{
    return h->name.len == name.len && strncasecmp(h->name.data, name.data, name.len) == 0;
}

/* A trusted proxy speaks for its users. */
static bool proxy_user(struct authn *n, struct req *r)
{
    const struct tls_peer *p = r->http->peer;
    struct str name = STR_NULL, *groups = NULL;
    size_t count = 0, cap = 0;
    bool allowed = n->proxy_name_count == 0;
    if (n->proxy_pool == NULL || p == NULL ||
        pki_pool_verify(n->proxy_pool, p->der, p->chain_der, p->chain_count, PKI_USAGE_CLIENT,
                        NULL) != 0)
        return false;
    for (size_t i = 0; i < n->proxy_name_count; i++)
        allowed = allowed || str_eq(n->proxy_names[i], p->common_name);
    for (size_t i = 0; allowed && i < r->http->header_count; i++) {
        const struct http_header *h = &r->http->headers[i];
        for (size_t j = 0; j < n->proxy_user_count && name.len == 0; j++)
            if (header_is(h, n->proxy_users[j]))
                name = h->value;
        for (size_t j = 0; j < n->proxy_group_count; j++)
            if (header_is(h, n->proxy_groups[j])) {
                groups = arena_grow(r->arena, groups, count, &cap, sizeof(*groups));
                groups[count++] = h->value;
            }
    }
    if (name.len == 0)
        return false;
    r->user = authn_user(r->arena, name, groups, count);
    return true;
}

static bool certificate_user(struct req *r)
{
    const struct tls_peer *p = r->http->peer;
    if (p == NULL || !p->verified || p->common_name.len == 0)
        return false;
    r->user = authn_user(r->arena, p->common_name, p->organizations, p->organization_count);
    char hex[65];
    struct user_extra *e = ARENA_NEW(r->arena, struct user_extra);
    for (size_t i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", p->cert_sha256[i]);
    struct str id = arena_printf(r->arena, "X509SHA256=%s", hex);
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

struct meta_v1_status *authn_request(struct req *r)
{
    struct authn *n = r->server->authn;
    struct error err = {0};
    if (proxy_user(n, r) || certificate_user(r))
        goto known;
    struct str token = bearer_token(r);
    if (token.len != 0) {
        int code =
            authn_token(n, r->arena, req_view(r), token, NULL, 0, &r->user, NULL, NULL, &err);
        if (code == 0)
            goto known;
        log_debug("token refused: %s", error_message(&err));
        return status_unauthorized(r->arena);
    }
    /* A certificate that does not verify is a failed attempt, not anonymity. */
    if (r->http->peer != NULL && !r->http->peer->verified)
        return status_unauthorized(r->arena);
    if (!n->anonymous)
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

/* --- impersonation ---------------------------------------------------------------------------- */
static struct meta_v1_status *may_impersonate(struct req *r, const char *group,
                                              const char *resource, struct str sub, struct str ns,
                                              struct str name)
{
    struct authz_attributes at = {.user = r->real_user,
                                  .verb = "impersonate",
                                  .resource_request = true,
                                  .group = str_of(group),
                                  .resource = str_of(resource),
                                  .subresource = sub,
                                  .ns = ns,
                                  .name = name};
    struct str reason;
    if (authz_decide(r->server->authz, r->arena, &at, false, &reason) == AUTHZ_ALLOW)
        return NULL;
    return authz_forbidden(r->arena, &at, reason);
}

static struct meta_v1_status *impersonated_groups(struct req *r, struct str **ret,
                                                  size_t *ret_count)
{
    size_t cap = 0;
    for (size_t i = 0; i < r->http->header_count; i++) {
        const struct http_header *h = &r->http->headers[i];
        if (!header_is(h, STR("impersonate-group")))
            continue;
        struct meta_v1_status *s = may_impersonate(r, "", "groups", STR_NULL, STR_NULL, h->value);
        if (s != NULL)
            return s;
        *ret = arena_grow(r->arena, *ret, *ret_count, &cap, sizeof(**ret));
        (*ret)[(*ret_count)++] = h->value;
    }
    return NULL;
}

static struct meta_v1_status *impersonated_extra(struct req *r, struct user *u)
{
    struct str prefix = STR("impersonate-extra-");
    struct user_extra *e = NULL;
    size_t cap = 0;
    for (size_t i = 0; i < r->http->header_count; i++) {
        const struct http_header *h = &r->http->headers[i];
        struct str key;
        if (!str_has_prefix(h->name, prefix) ||
            url_unescape_path(r->arena, str_sub(h->name, prefix.len, h->name.len), &key) != 0)
            continue;
        struct meta_v1_status *s =
            may_impersonate(r, "authentication.k8s.io", "userextras", key, STR_NULL, h->value);
        if (s != NULL)
            return s;
        e = arena_grow(r->arena, e, u->extra_count, &cap, sizeof(*e));
        e[u->extra_count++] =
            (struct user_extra){key, arena_memdup(r->arena, &h->value, sizeof(h->value)), 1};
    }
    u->extra = e;
    return NULL;
}

struct meta_v1_status *authn_impersonate(struct req *r)
{
    struct str name = http_request_header(r->http, "impersonate-user"), ns, account;
    struct str *groups = NULL;
    size_t count = 0;
    if (name.len == 0) {
        if (http_request_header(r->http, "impersonate-group").len != 0 ||
            http_request_header(r->http, "impersonate-uid").len != 0)
            return status_internal(r->arena,
                                   "requested impersonation without impersonating a user");
        return NULL;
    }
    struct user probe = {.name = name};
    bool is_account = user_service_account(&probe, &ns, &account);
    struct meta_v1_status *s =
        is_account ? may_impersonate(r, "", "serviceaccounts", STR_NULL, ns, account)
                   : may_impersonate(r, "", "users", STR_NULL, STR_NULL, name);
    if (s == NULL)
        s = impersonated_groups(r, &groups, &count);
    if (s != NULL)
        return s;
    if (is_account && count == 0) {
        groups = ARENA_ARRAY(r->arena, struct str, 2);
        groups[count++] = STR("system:serviceaccounts");
        groups[count++] = arena_printf(r->arena, "system:serviceaccounts:" STR_FMT, STR_ARG(ns));
    }
    struct user *u = ARENA_NEW(r->arena, struct user);
    if (str_eqc(name, USER_ANONYMOUS)) {
        u->name = name;
        struct str group = STR(GROUP_UNAUTHENTICATED);
        u->groups = count != 0 ? groups : arena_memdup(r->arena, &group, sizeof(group));
        u->group_count = count != 0 ? count : 1;
    } else {
        u = authn_user(r->arena, name, groups, count);
    }
    u->uid = http_request_header(r->http, "impersonate-uid");
    s = impersonated_extra(r, u);
    if (s == NULL)
        r->user = u;
    return s;
}

/* authn_impersonate.c - acting as somebody else: the Impersonate-* headers.
 *
 * Modes are tried in turn. Those of constrained impersonation ask first whether
 * this very request may be made in the mode (impersonate-on:MODE:VERB), then
 * whether the user may be taken on (impersonate:MODE); the last is the plain
 * verb impersonate. The first refusal is the one that is told. */
#include "apiserver/authn_internal.h"

#include "apiserver/admission/webhook.h"
#include "apiserver/ask.h"
#include "apiserver/authz.h"
#include "apiserver/request.h"
#include "apiserver/status.h"
#include "lib/api/names.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/http_server.h"

#define NODE_PREFIX "system:node:"
#define GROUP_AUTHN "authentication.k8s.io"
#define CHECKS_MANY 4u /* From so many on, one check of "*" is tried first. */

struct wanted {
    struct user user; /* As the headers say. */
    struct str node;  /* Of a node's user name, else empty. */
    struct str account_ns, account;
    bool is_account, name_only;
};

struct attempt {
    struct req *r;
    const struct wanted *w;
    const char *verb;  /* "impersonate" or "impersonate:MODE" */
    const char *group; /* API group of users, groups and the like. */
    bool constrained;
    bool any_node; /* The node is the asker's own: its name is not looked at. */
};

/* --- what is asked for ---------------------------------------------------------------------- */
static bool has_header(const struct req *r, const char *name)
{
    return http_request_header(r->http, name).len != 0;
}

static void put_strings(struct buf *b, const struct str *list, size_t count)
{
    buf_puts(b, count != 0 ? "[]string{" : "[]string(nil)");
    for (size_t i = 0; i < count; i++)
        buf_printf(b, "%s\"" STR_FMT "\"%s", i != 0 ? ", " : "", STR_ARG(list[i]),
                   i + 1 == count ? "}" : "");
}

/* As upstream shows what was wanted. */
static struct str shown(struct arena *a, const struct user *u)
{
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, "&user.DefaultInfo{Name:\"\", UID:\"" STR_FMT "\", Groups:", STR_ARG(u->uid));
    put_strings(&b, u->groups, u->group_count);
    buf_puts(&b, u->extra_count != 0 ? ", Extra:map[string][]string{"
                                     : ", Extra:map[string][]string(nil)");
    for (size_t i = 0; i < u->extra_count; i++) {
        buf_printf(&b, "%s\"" STR_FMT "\":", i != 0 ? ", " : "", STR_ARG(u->extra[i].key));
        put_strings(&b, u->extra[i].values, u->extra[i].count);
    }
    buf_puts(&b, u->extra_count != 0 ? "}}" : "}");
    return arena_str(a, buf_str(&b));
}

/* NULL: nothing, or *ret_asked. */
static struct meta_v1_status *read_headers(struct req *r, struct wanted *w, bool *ret_asked)
{
    struct str *groups = NULL;
    size_t cap = 0;
    *ret_asked = has_header(r, "impersonate-user");
    w->user = (struct user){.name = http_request_header(r->http, "impersonate-user"),
                            .uid = http_request_header(r->http, "impersonate-uid")};
    for (size_t i = 0; i < r->http->header_count; i++) {
        const struct http_header *h = &r->http->headers[i];
        struct str key;
        if (authn_header_is(h, STR("impersonate-group"))) {
            groups = arena_grow(r->arena, groups, w->user.group_count, &cap, sizeof(*groups));
            groups[w->user.group_count++] = h->value;
        } else if (authn_extra_key(r->arena, h, STR("impersonate-extra-"), &key)) {
            authn_add_extra(r->arena, &w->user, key, h->value);
        }
    }
    w->user.groups = groups;
    w->name_only = w->user.uid.len + w->user.group_count + w->user.extra_count == 0;
    if (!*ret_asked && !w->name_only)
        return status_bad_request(r->arena,
                                  "requested " STR_FMT " without impersonating a user name",
                                  STR_ARG(shown(r->arena, &w->user)));
    w->is_account = user_service_account(&w->user, &w->account_ns, &w->account);
    w->node = STR_NULL;
    if (str_has_prefix(w->user.name, STR(NODE_PREFIX))) {
        struct str node = str_sub(w->user.name, sizeof(NODE_PREFIX) - 1, w->user.name.len);
        if (api_check_dns_subdomain(node).count == 0)
            w->node = node;
    }
    return NULL;
}

/* --- checks ------------------------------------------------------------------------------------
 */
static struct meta_v1_status *decide(struct req *r, const struct authz_attributes *at)
{
    struct str reason;
    if (authz_decide(r->server->authz, r->arena, at, false, &reason) == AUTHZ_ALLOW)
        return NULL;
    return authz_forbidden(r->arena, at, reason);
}

static struct authz_attributes attributes(const struct attempt *t, const char *group,
                                          const char *resource, struct str name)
{
    return (struct authz_attributes){.user = t->r->real_user,
                                     .verb = t->verb,
                                     .asks = t->r->asks,
                                     .resource_request = true,
                                     .group = str_of(group),
                                     .version = STR("v1"),
                                     .resource = str_of(resource),
                                     .name = name};
}

static struct meta_v1_status *check_name(const struct attempt *t)
{
    const struct wanted *w = t->w;
    struct authz_attributes at = attributes(t, t->group, "users", w->user.name);
    if (w->is_account) {
        at.resource = STR("serviceaccounts");
        at.ns = w->account_ns;
        at.name = w->account;
    } else if (t->constrained && w->node.len != 0) {
        at.resource = STR("nodes");
        at.name = t->any_node ? STR("*") : w->node;
    }
    return decide(t->r, &at);
}

static struct meta_v1_status *check_groups(const struct attempt *t)
{
    const struct user *u = &t->w->user;
    struct authz_attributes at = attributes(t, t->group, "groups", STR_NULL);
    for (size_t i = 0; t->constrained && i < u->group_count; i++) {
        if (u->groups[i].len == 0)
            return authz_forbidden(t->r->arena, &at,
                                   STR("impersonating the empty string group is not allowed"));
        if (str_eqc(u->groups[i], GROUP_MASTERS)) {
            at.name = STR(GROUP_MASTERS);
            return authz_forbidden(t->r->arena, &at,
                                   STR("impersonating the system:masters group is not allowed"));
        }
    }
    at.name = STR("*");
    if (t->constrained && u->group_count >= CHECKS_MANY && decide(t->r, &at) == NULL)
        return NULL;
    struct meta_v1_status *s = NULL;
    for (size_t i = 0; i < u->group_count && s == NULL; i++) {
        at.name = u->groups[i];
        s = decide(t->r, &at);
    }
    return s;
}

static size_t extra_values(const struct user *u)
{
    size_t n = 0;
    for (size_t i = 0; i < u->extra_count; i++)
        n += u->extra[i].count;
    return n;
}

static struct meta_v1_status *check_extra(const struct attempt *t)
{
    const struct user *u = &t->w->user;
    struct authz_attributes at = attributes(t, GROUP_AUTHN, "userextras", STR_NULL);
    for (size_t i = 0; t->constrained && i < u->extra_count; i++)
        for (size_t j = 0; j < u->extra[i].count; j++)
            if (u->extra[i].key.len == 0 || u->extra[i].values[j].len == 0)
                return authz_forbidden(
                    t->r->arena, &at,
                    u->extra[i].key.len == 0
                        ? STR("impersonating the empty string key in extra is not allowed")
                        : STR("impersonating the empty string value in extra is not allowed"));
    at.subresource = at.name = STR("*");
    if (t->constrained && extra_values(u) >= CHECKS_MANY && decide(t->r, &at) == NULL)
        return NULL;
    struct meta_v1_status *s = NULL;
    for (size_t i = 0; i < u->extra_count && s == NULL; i++)
        for (size_t j = 0; j < u->extra[i].count && s == NULL; j++) {
            at.subresource = u->extra[i].key;
            at.name = u->extra[i].values[j];
            s = decide(t->r, &at);
        }
    return s;
}

static struct meta_v1_status *check_all(const struct attempt *t)
{
    struct meta_v1_status *s = check_name(t);
    if (s == NULL && t->w->user.uid.len != 0) {
        struct authz_attributes at = attributes(t, GROUP_AUTHN, "uids", t->w->user.uid);
        s = decide(t->r, &at);
    }
    if (s == NULL)
        s = check_groups(t);
    return s != NULL ? s : check_extra(t);
}

/* --- modes --------------------------------------------------------------------------------------
 */
static bool own_node(const struct req *r, const struct wanted *w)
{
    return w->node.len != 0 && str_eq(user_bound_node(r->real_user), w->node);
}

/* *ret_tried: the mode is for such users. */
static struct meta_v1_status *try_mode(struct req *r, const struct wanted *w, const char *mode,
                                       bool applies, bool *ret_tried)
{
    struct authz_attributes at;
    *ret_tried = applies;
    if (!applies)
        return NULL;
    authz_attributes_of(r, r->real_user, &at);
    at.verb = str_c(arena_printf(r->arena, "impersonate-on:%s:%s", mode, at.verb));
    struct meta_v1_status *s = decide(r, &at);
    struct attempt t = {.r = r,
                        .w = w,
                        .verb = str_c(arena_printf(r->arena, "impersonate:%s", mode)),
                        .group = GROUP_AUTHN,
                        .constrained = true,
                        .any_node = strcmp(mode, "associated-node") == 0};
    return s != NULL ? s : check_all(&t);
}

static struct meta_v1_status *try_modes(struct req *r, const struct wanted *w,
                                        bool *ret_constrained)
{
    const struct {
        const char *name;
        bool applies;
    } modes[] = {
        {"associated-node", w->node.len != 0 && w->name_only && own_node(r, w)},
        {"arbitrary-node", w->node.len != 0 && w->name_only},
        {"serviceaccount", w->is_account && w->name_only},
        {"user-info", !w->is_account && w->node.len == 0},
    };
    struct meta_v1_status *first = NULL;
    *ret_constrained = true;
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        bool tried;
        struct meta_v1_status *s = try_mode(r, w, modes[i].name, modes[i].applies, &tried);
        if (tried && s == NULL)
            return NULL;
        first = first != NULL ? first : s;
    }
    *ret_constrained = false;
    struct attempt plain = {.r = r, .w = w, .verb = "impersonate", .group = ""};
    struct meta_v1_status *s = check_all(&plain);
    return s == NULL ? NULL : (first != NULL ? first : s);
}

/* --- the user taken on
 * ------------------------------------------------------------------------------ */
static void add_group(struct arena *a, struct user *u, struct str group)
{
    struct str *all = ARENA_ARRAY(a, struct str, u->group_count + 1);
    if (u->group_count != 0)
        memcpy(all, u->groups, u->group_count * sizeof(*all));
    all[u->group_count++] = group;
    u->groups = all;
}

static void take_on(struct req *r, const struct wanted *w, bool constrained)
{
    struct arena *a = r->arena;
    struct user *u = ARENA_NEW(a, struct user);
    *u = w->user;
    if (constrained && w->node.len != 0)
        add_group(a, u, STR(GROUP_NODES));
    if (w->is_account && u->group_count == 0) {
        add_group(a, u, STR("system:serviceaccounts"));
        add_group(a, u, arena_printf(a, "system:serviceaccounts:" STR_FMT, STR_ARG(w->account_ns)));
    }
    bool anonymous = str_eqc(u->name, USER_ANONYMOUS);
    if (anonymous && !user_in_group(u, GROUP_UNAUTHENTICATED))
        add_group(a, u, STR(GROUP_UNAUTHENTICATED));
    if (!anonymous && !user_in_group(u, GROUP_UNAUTHENTICATED) &&
        !user_in_group(u, GROUP_AUTHENTICATED))
        add_group(a, u, STR(GROUP_AUTHENTICATED));
    r->user = u;
}

struct meta_v1_status *authn_impersonate(struct req *r)
{
    struct wanted w;
    bool asked, constrained = false;
    struct meta_v1_status *s = read_headers(r, &w, &asked);
    if (s != NULL || !asked)
        return s;
    /* Who may do anything is asked nothing. */
    if (user_in_group(r->real_user, GROUP_MASTERS))
        constrained = w.name_only;
    else
        s = try_modes(r, &w, &constrained);
    if (asks_waiting(r->asks))
        return &webhook_wait; /* Nothing is decided before the webhooks have answered. */
    if (s == NULL)
        take_on(r, &w, constrained);
    return s;
}

/* authz.c - see authz.h. */
#include "apiserver/authz.h"

#include "api/meta_v1.h"
#include "api/rbac_v1.h"
#include "apiserver/audit.h"
#include "apiserver/authz_feed.h"
#include "apiserver/cluster.h"
#include "apiserver/node_graph.h"
#include "apiserver/rbac.h"
#include "apiserver/rbac_policy.h"
#include "apiserver/request.h"
#include "apiserver/user.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <pthread.h>
#include <stdatomic.h>

#define MODES_MAX 8u

struct authz {
    pthread_rwlock_t lock; /* Of the index; nothing else changes after start. */
    struct authz_index index;
    const struct mode *modes[MODES_MAX];
    size_t mode_count;
    struct arena *arena;
    struct rbac_v1_policy_rule *node_rules;
    size_t node_rule_count;
};

/* --- the authorizers ------------------------------------------------------------------------ */
struct mode {
    const char *name;
    enum authz_decision (*decide)(const struct authz *z, struct arena *a,
                                  const struct authz_attributes *at, bool explain,
                                  struct str *ret_reason);
};

static enum authz_decision decide_node(const struct authz *z, struct arena *a,
                                       const struct authz_attributes *at, bool explain,
                                       struct str *ret_reason)
{
    UNUSED(explain);
    return authz_node_decide(z->index.graph, z->node_rules, z->node_rule_count, a, at, ret_reason);
}

static enum authz_decision decide_rbac(const struct authz *z, struct arena *a,
                                       const struct authz_attributes *at, bool explain,
                                       struct str *ret_reason)
{
    /* What a joining control plane needs cannot be said in RBAC: a prefix of names. */
    if (cluster_join_allows(at))
        return AUTHZ_ALLOW;
    return rbac_allows(z->index.rbac, a, at, explain, ret_reason) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}

static enum authz_decision always_allow(const struct authz *z, struct arena *a,
                                        const struct authz_attributes *at, bool explain,
                                        struct str *ret_reason)
{
    UNUSED(z), UNUSED(a), UNUSED(at), UNUSED(explain), UNUSED(ret_reason);
    return AUTHZ_ALLOW;
}

static enum authz_decision always_deny(const struct authz *z, struct arena *a,
                                       const struct authz_attributes *at, bool explain,
                                       struct str *ret_reason)
{
    UNUSED(z), UNUSED(a), UNUSED(at), UNUSED(explain);
    *ret_reason = STR("Everything is forbidden.");
    return AUTHZ_NO_OPINION;
}

static const struct mode known_modes[] = {
    {"Node", decide_node},
    {"RBAC", decide_rbac},
    {"AlwaysAllow", always_allow},
    {"AlwaysDeny", always_deny},
};

/* --- life --------------------------------------------------------------------------------------
 */
static int add_mode(struct authz *z, struct str name, struct error *err)
{
    for (size_t i = 0; i < z->mode_count; i++)
        if (str_eqc(name, z->modes[i]->name))
            return error_set(err, E_INVALID,
                             "--authorization-mode: \"" STR_FMT "\" is given more than once",
                             STR_ARG(name));
    for (size_t i = 0; i < ARRAY_SIZE(known_modes); i++)
        if (str_eqc(name, known_modes[i].name)) {
            z->modes[z->mode_count++] = &known_modes[i];
            return 0;
        }
    return error_set(err, E_INVALID,
                     "--authorization-mode: \"" STR_FMT
                     "\" is not one of Node, RBAC, AlwaysAllow, AlwaysDeny",
                     STR_ARG(name));
}

int authz_new(const char *modes, struct authz **ret, struct error *err)
{
    struct authz *z = xzalloc(sizeof(*z));
    struct str rest = str_of(modes), part;
    int code = 0;
    for (bool more = true; more && code == 0;) {
        more = str_cut(rest, ',', &part, &rest);
        code = add_mode(z, str_trim(part), err);
    }
    if (code != 0) {
        free(z);
        return code;
    }
    pthread_rwlock_init(&z->lock, NULL);
    z->index = (struct authz_index){rbac_new(), node_graph_new()};
    z->arena = arena_new(0);
    z->node_rule_count = policy_rules(z->arena, "system:node", &z->node_rules);
    *ret = z;
    return 0;
}

void authz_free(struct authz *z)
{
    if (z == NULL)
        return;
    rbac_free(z->index.rbac);
    node_graph_free(z->index.graph);
    pthread_rwlock_destroy(&z->lock);
    arena_free(z->arena);
    free(z);
}

struct authz_index *authz_lock(struct authz *z)
{
    pthread_rwlock_wrlock(&z->lock);
    return &z->index;
}

void authz_unlock(struct authz *z)
{
    pthread_rwlock_unlock(&z->lock);
}

static void lock_for_reading(const struct authz *z)
{
    pthread_rwlock_rdlock(&((struct authz *)(uintptr_t)z)->lock);
}

static void unlock_reader(const struct authz *z)
{
    pthread_rwlock_unlock(&((struct authz *)(uintptr_t)z)->lock);
}

bool authz_uses_rbac(const struct authz *z)
{
    for (size_t i = 0; i < z->mode_count; i++)
        if (z->modes[i]->decide == decide_rbac)
            return true;
    return false;
}

/* --- decisions -----------------------------------------------------------------------------------
 */
enum authz_decision authz_decide(const struct authz *z, struct arena *a,
                                 const struct authz_attributes *at, bool explain,
                                 struct str *ret_reason)
{
    enum authz_decision d = AUTHZ_NO_OPINION;
    struct str reasons = STR_NULL;
    *ret_reason = STR_NULL;
    if (user_in_group(at->user, GROUP_MASTERS))
        return AUTHZ_ALLOW;
    lock_for_reading(z);
    for (size_t i = 0; i < z->mode_count && d == AUTHZ_NO_OPINION; i++) {
        struct str reason = STR_NULL;
        d = z->modes[i]->decide(z, a, at, explain, &reason);
        if (d != AUTHZ_NO_OPINION)
            reasons = reason;
        else if (reason.len != 0)
            reasons = reasons.len == 0 ? reason
                                       : arena_printf(a, STR_FMT "\n" STR_FMT, STR_ARG(reasons),
                                                      STR_ARG(reason));
    }
    unlock_reader(z);
    *ret_reason = reasons;
    return d;
}

size_t authz_rules_of(const struct authz *z, struct arena *a, const struct user *user,
                      struct str ns, struct rbac_v1_policy_rule **ret, struct str *ret_error)
{
    size_t n = 0;
    *ret = NULL;
    *ret_error = STR_NULL;
    for (size_t i = 0; i < z->mode_count; i++) {
        if (z->modes[i]->decide == decide_rbac) {
            lock_for_reading(z);
            n = rbac_rules_of(z->index.rbac, a, user, ns, ret, ret_error);
            unlock_reader(z);
        } else if (z->modes[i]->decide == decide_node && user_is_node(user)) {
            *ret_error = STR("node authorizer does not support user rule resolution");
        }
    }
    return n;
}

bool authz_role_rules(const struct authz *z, struct arena *a, struct str ns,
                      const struct rbac_v1_role_ref *ref, struct rbac_v1_policy_rule **ret,
                      size_t *ret_count)
{
    lock_for_reading(z);
    bool found =
        rbac_role_rules(z->index.rbac, a, str_eqc(ref->kind, "ClusterRole") ? STR_NULL : ns,
                        ref->name, ret, ret_count);
    unlock_reader(z);
    return found;
}

/* --- refusals
 * --------------------------------------------------------------------------------------- */
struct str authz_forbidden_text(struct arena *a, const struct authz_attributes *at)
{
    if (!at->resource_request)
        return arena_printf(a, "User \"" STR_FMT "\" cannot %s path \"" STR_FMT "\"",
                            STR_ARG(at->user->name), at->verb, STR_ARG(at->path));
    struct str what =
        at->subresource.len == 0
            ? at->resource
            : arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(at->resource), STR_ARG(at->subresource));
    struct str text = arena_printf(
        a, "User \"" STR_FMT "\" cannot %s resource \"" STR_FMT "\" in API group \"" STR_FMT "\"",
        STR_ARG(at->user->name), at->verb, STR_ARG(what), STR_ARG(at->group));
    if (at->ns.len != 0)
        return arena_printf(a, STR_FMT " in the namespace \"" STR_FMT "\"", STR_ARG(text),
                            STR_ARG(at->ns));
    return arena_printf(a, STR_FMT " at the cluster scope", STR_ARG(text));
}

/* Names come from outside: nothing that a browser takes for markup. */
static struct str without_markup(struct arena *a, struct str text)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '&')
            buf_puts(&b, "&amp;");
        else if (c == '<')
            buf_puts(&b, "&lt;");
        else if (c == '>')
            buf_puts(&b, "&gt;");
        else
            buf_putc(&b, c);
    }
    return arena_str(a, buf_str(&b));
}

struct meta_v1_status *authz_forbidden(struct arena *a, const struct authz_attributes *at,
                                       struct str reason)
{
    struct str text = without_markup(a, authz_forbidden_text(a, at));
    if (reason.len != 0)
        text = arena_printf(a, STR_FMT ": " STR_FMT, STR_ARG(text), STR_ARG(reason));
    if (at->resource_request) {
        struct group_resource gr = {at->group, at->resource};
        return status_forbidden(a, gr, at->name, STR_FMT, STR_ARG(text));
    }
    struct meta_v1_status *s =
        status_printf(a, 403, "Forbidden", "forbidden: " STR_FMT, STR_ARG(text));
    status_details(a, s);
    return s;
}

/* --- requests
 * ------------------------------------------------------------------------------------------ */
void authz_attributes_of(const struct req *r, const struct user *user, struct authz_attributes *ret)
{
    *ret = (struct authz_attributes){
        .user = user,
        .verb = r->info.verb,
        .resource_request = r->info.is_resource,
        .group = r->info.group,
        .version = r->info.version,
        .resource = r->info.resource,
        .subresource = r->info.subresource,
        .name = r->info.name.len != 0 ? r->info.name : r->info.selected_name,
        .ns = r->info.ns,
        .field_selector = r->info.field_selector,
        .path = r->info.path,
    };
}

struct meta_v1_status *authz_check(struct req *r)
{
    struct authz_attributes at;
    struct str reason;
    authz_attributes_of(r, r->user, &at);
    bool allowed = authz_decide(r->server->authz, r->arena, &at, audit_wants_reason(r), &reason) ==
                   AUTHZ_ALLOW;
    audit_decision(r, allowed, reason);
    return allowed ? NULL : authz_forbidden(r->arena, &at, reason);
}

struct authz_wait {
    void (*next)(struct req *r);
    struct req *req;
};

static void check_again(void *arg)
{
    struct authz_wait *c = arg;
    struct meta_v1_status *s = authz_check(c->req);
    if (s == NULL)
        c->next(c->req);
    else
        req_status(c->req, s);
}

/* The store's newest view is as new as any member's now. */
static void on_current(struct req *r)
{
    struct authz_wait *c = r->authz_wait;
    if (!authz_feed_wait(r->server->authz_feed, r->arena, &r->thread->mailbox, check_again, c))
        check_again(c);
}

/* Until the built-in roles are there nobody can be judged. */
static void not_ready(struct req *r, void (*next)(struct req *r))
{
    static const char *const health[] = {"/livez", "/readyz", "/healthz"};
    for (size_t i = 0; i < ARRAY_SIZE(health); i++)
        if (str_eqc(r->info.path, health[i])) {
            next(r);
            return;
        }
    struct meta_v1_status *s =
        status_unavailable(r->arena, "the server is starting: its roles are not read yet");
    status_details(r->arena, s)->retry_after_seconds = 1;
    req_status(r, s);
}

void authz_check_then(struct req *r, void (*next)(struct req *r))
{
    struct meta_v1_status *s = authz_check(r);
    if (s == NULL) {
        next(r);
        return;
    }
    if (!atomic_load(&r->server->ready)) {
        not_ready(r, next);
        return;
    }
    r->authz_wait = ARENA_NEW(r->arena, struct authz_wait);
    *r->authz_wait = (struct authz_wait){next, r};
    req_barrier(r, on_current);
}

/* authz.c - see authz.h. */
#include "apiserver/authz.h"

#include "api/meta_v1.h"
#include "api/rbac_v1.h"
#include "apiserver/admission/webhook.h"
#include "apiserver/ask.h"
#include "apiserver/audit.h"
#include "apiserver/authz_config.h"
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
#include "lib/base/metrics.h"
#include "lib/net/http_server.h"

#include <pthread.h>
#include <stdatomic.h>

/* One of the list, ready to be asked. */
struct step {
    const struct mode *mode; /* NULL: the webhook. */
    struct authz_webhook *webhook;
    struct metric *allowed, *denied;
};

struct authz {
    pthread_rwlock_t lock; /* Of the index and the list. */
    struct authz_index index;
    struct authz_list *list;
    struct step steps[AUTHORIZERS_MAX];
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
static struct metric *decision_metric(const struct authz_entry *e, const char *decision)
{
    static const char *const labels[] = {"type", "name", "decision", NULL};
    return METRIC_OF(metric_counter(metrics_default(), "apiserver_authorization_decisions_total",
                                    "Terminal decisions made by an authorizer.", labels),
                     e->type, e->name, str_of(decision));
}

static void take_list(struct authz *z, struct authz_list *list)
{
    z->list = list;
    for (size_t i = 0; i < list->count; i++) {
        const struct authz_entry *e = &list->items[i];
        struct step *s = &z->steps[i];
        *s = (struct step){.webhook = e->webhook,
                           .allowed = decision_metric(e, "allowed"),
                           .denied = decision_metric(e, "denied")};
        for (size_t k = 0; k < ARRAY_SIZE(known_modes); k++)
            if (str_eqc(e->type, known_modes[k].name))
                s->mode = &known_modes[k];
    }
}

struct authz *authz_new(struct authz_list *list)
{
    struct authz *z = xzalloc(sizeof(*z));
    pthread_rwlock_init(&z->lock, NULL);
    z->index = (struct authz_index){rbac_new(), node_graph_new()};
    z->arena = arena_new(0);
    z->node_rule_count = policy_rules(z->arena, "system:node", &z->node_rules);
    take_list(z, list);
    return z;
}

void authz_free(struct authz *z)
{
    if (z == NULL)
        return;
    authz_list_free(z->list);
    rbac_free(z->index.rbac);
    node_graph_free(z->index.graph);
    pthread_rwlock_destroy(&z->lock);
    arena_free(z->arena);
    free(z);
}

void authz_replace(struct authz *z, struct authz_list *list)
{
    pthread_rwlock_wrlock(&z->lock);
    struct authz_list *old = z->list;
    take_list(z, list);
    pthread_rwlock_unlock(&z->lock);
    authz_list_free(old);
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
    bool uses = false;
    lock_for_reading(z);
    for (size_t i = 0; i < z->list->count; i++)
        uses = uses || (z->steps[i].mode != NULL && z->steps[i].mode->decide == decide_rbac);
    unlock_reader(z);
    return uses;
}

/* --- decisions -----------------------------------------------------------------------------------
 */
/* What several say, in the order of the list. */
static void add_text(struct arena *a, struct str *all, struct str text, char between)
{
    if (text.len != 0)
        *all = all->len == 0
                   ? text
                   : arena_printf(a, STR_FMT "%c" STR_FMT, STR_ARG(*all), between, STR_ARG(text));
}

enum authz_decision authz_decide(const struct authz *z, struct arena *a,
                                 const struct authz_attributes *at, bool explain,
                                 struct str *ret_reason)
{
    enum authz_decision d = AUTHZ_NO_OPINION;
    struct str reasons = STR_NULL, errors = STR_NULL;
    *ret_reason = STR_NULL;
    if (user_in_group(at->user, GROUP_MASTERS))
        return AUTHZ_ALLOW;
    lock_for_reading(z);
    for (size_t i = 0; i < z->list->count && d == AUTHZ_NO_OPINION; i++) {
        const struct step *s = &z->steps[i];
        struct str reason = STR_NULL, error = STR_NULL;
        d = s->mode != NULL ? s->mode->decide(z, a, at, explain, &reason)
                            : authz_webhook_decide(s->webhook, a, at, &reason, &error);
        if (d == AUTHZ_ALLOW || d == AUTHZ_DENY) {
            metric_inc(d == AUTHZ_ALLOW ? s->allowed : s->denied);
            reasons = reason;
            errors = error;
        } else {
            add_text(a, &reasons, reason, '\n');
            add_text(a, &errors, error, '\n');
        }
    }
    unlock_reader(z);
    *ret_reason = reasons;
    if (at->error != NULL)
        *at->error = errors;
    return d;
}

/* "*" of everything. */
static struct rbac_v1_policy_rule *all_rules(struct arena *a)
{
    static const struct str star = {"*", 1};
    struct rbac_v1_policy_rule *r = ARENA_ARRAY(a, struct rbac_v1_policy_rule, 2);
    struct str *list = arena_memdup(a, &star, sizeof(star));
    r[0] = (struct rbac_v1_policy_rule){.verbs = list,
                                        .verbs_count = 1,
                                        .api_groups = list,
                                        .api_groups_count = 1,
                                        .resources = list,
                                        .resources_count = 1};
    r[1] = (struct rbac_v1_policy_rule){
        .verbs = list, .verbs_count = 1, .non_resource_urls = list, .non_resource_urls_count = 1};
    return r;
}

static void add_rules(struct arena *a, struct rbac_v1_policy_rule **to, size_t *count,
                      const struct rbac_v1_policy_rule *more, size_t n)
{
    struct rbac_v1_policy_rule *r = ARENA_ARRAY(a, struct rbac_v1_policy_rule, *count + n + 1);
    if (*count != 0)
        memcpy(r, *to, *count * sizeof(*r));
    if (n != 0)
        memcpy(r + *count, more, n * sizeof(*r));
    *to = r;
    *count += n;
}

size_t authz_rules_of(const struct authz *z, struct arena *a, const struct user *user,
                      struct str ns, struct rbac_v1_policy_rule **ret, struct str *ret_error)
{
    size_t n = 0, errors = 0;
    struct str text = STR_NULL;
    *ret = NULL;
    lock_for_reading(z);
    for (size_t i = 0; i < z->list->count; i++) {
        const struct mode *m = z->steps[i].mode;
        struct rbac_v1_policy_rule *rules = NULL;
        struct str error = STR_NULL;
        size_t count = 0;
        if (m == NULL) {
            error = STR("webhook authorizer does not support user rule resolution");
        } else if (m->decide == decide_rbac) {
            count = rbac_rules_of(z->index.rbac, a, user, ns, &rules, &error);
        } else if (m->decide == always_allow) {
            rules = all_rules(a);
            count = 2;
        } else if (m->decide == decide_node && user_is_node(user)) {
            error = STR("node authorizer does not support user rule resolution");
        }
        add_rules(a, ret, &n, rules, count);
        errors += error.len != 0;
        if (error.len != 0)
            text = text.len == 0
                       ? error
                       : arena_printf(a, STR_FMT ", " STR_FMT, STR_ARG(text), STR_ARG(error));
    }
    unlock_reader(z);
    *ret_error = errors > 1 ? arena_printf(a, "[" STR_FMT "]", STR_ARG(text)) : text;
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
        .label_selector = r->info.label_selector,
        .asks = r->asks,
        .path = r->info.path,
    };
}

/* An authorizer failed and none allowed it: not a refusal, and not a Status. */
static struct meta_v1_status *failure(struct req *r, struct str error)
{
    AUTO_BUF quoted = BUF_INIT;
    buf_printf(&quoted, "Internal Server Error: \"" STR_FMT "\": " STR_FMT,
               STR_ARG(r->http->target), STR_ARG(error));
    return status_printf(r->arena, 500, "", STR_FMT,
                         STR_ARG(without_markup(r->arena, buf_str(&quoted))));
}

static void refuse(struct req *r, struct meta_v1_status *s)
{
    if (s->code == 500 && s->reason.len == 0)
        req_text(r, 500, "text/plain; charset=utf-8",
                 arena_printf(r->arena, STR_FMT "\n", STR_ARG(s->message)));
    else
        req_status(r, s);
}

struct meta_v1_status *authz_check(struct req *r)
{
    struct authz_attributes at;
    struct str reason, error = STR_NULL;
    authz_attributes_of(r, r->user, &at);
    at.error = &error;
    enum authz_decision d =
        authz_decide(r->server->authz, r->arena, &at, audit_wants_reason(r), &reason);
    if (d == AUTHZ_WAIT)
        return &webhook_wait;
    audit_decision(r, d == AUTHZ_ALLOW, reason);
    if (d == AUTHZ_ALLOW)
        return NULL;
    return error.len != 0 ? failure(r, error) : authz_forbidden(r->arena, &at, reason);
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
    else if (s == &webhook_wait)
        req_ask(c->req, check_again, c);
    else
        refuse(c->req, s);
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

static void check_first(void *arg)
{
    struct authz_wait *c = arg;
    struct req *r = c->req;
    struct meta_v1_status *s = authz_check(r);
    if (s == NULL)
        c->next(r);
    else if (s == &webhook_wait)
        req_ask(r, check_first, c);
    else if (!atomic_load(&r->server->ready))
        not_ready(r, c->next);
    else
        req_barrier(r, on_current);
}

void authz_check_then(struct req *r, void (*next)(struct req *r))
{
    r->authz_wait = ARENA_NEW(r->arena, struct authz_wait);
    *r->authz_wait = (struct authz_wait){next, r};
    check_first(r->authz_wait);
}

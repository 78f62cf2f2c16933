/* rbac.c - see rbac.h.
 *
 *   subject (user or group) -> grants, cluster-wide and by namespace
 *       grant -> binding -> role -> rules
 *
 * A service account is the user of its name. A role that is bound but does not
 * exist keeps its place without rules until it is made. */
#include "apiserver/rbac.h"

#include "api/rbac_v1.h"
#include "apiserver/authz.h"
#include "apiserver/rbac_rules.h"
#include "apiserver/user.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/map.h"

#define REASON_ROLES_MAX 16u

struct role {
    struct str ns, name; /* In owned of its own. */
    struct arena *key_arena;
    struct arena *owned; /* NULL: bound, but does not exist. */
    const struct rbac_v1_policy_rule *source;
    struct rbac_rule *rules;
    size_t count;
    size_t bindings; /* That refer to it. */
};

struct binding {
    struct str ns, name;
    struct role *role;
    const struct rbac_v1_subject *subjects;
    size_t subject_count;
    struct arena *owned;
};

struct grant {
    const struct binding *binding;
    uint32_t subject; /* Which of the binding's. */
};

struct grants {
    struct grant *items;
    size_t count, cap;
};

struct ns_grants {
    struct str ns; /* Owned. */
    struct grants grants;
};

struct subject {
    struct grants cluster;
    struct ns_grants *ns; /* By name. */
    size_t ns_count, ns_cap;
};

struct rbac {
    struct map roles, bindings; /* By "ns/name". */
    struct map users, groups;   /* Subjects by name. */
};

/* --- keys --------------------------------------------------------------------------------- */
static struct str key_of(struct buf *b, struct str ns, struct str name)
{
    buf_append_str(b, ns);
    buf_putc(b, '/');
    buf_append_str(b, name);
    return buf_str(b);
}

static void *map_find(const struct map *m, struct str ns, struct str name)
{
    AUTO_BUF b = BUF_INIT;
    return map_get(m, key_of(&b, ns, name));
}

/* --- growing and shrinking lists ----------------------------------------------------------- */
static void grants_add(struct grants *g, struct grant item)
{
    if (g->count == g->cap) {
        g->cap = g->cap != 0 ? 2 * g->cap : 2;
        g->items = xrealloc(g->items, g->cap * sizeof(*g->items));
    }
    g->items[g->count++] = item;
}

static void grants_drop(struct grants *g, const struct binding *b)
{
    size_t n = 0;
    for (size_t i = 0; i < g->count; i++)
        if (g->items[i].binding != b)
            g->items[n++] = g->items[i];
    g->count = n;
}

/* Position of ns, or where it belongs. */
static size_t ns_position(const struct subject *s, struct str ns, bool *ret_found)
{
    size_t low = 0, high = s->ns_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int cmp = str_cmp(s->ns[mid].ns, ns);
        if (cmp == 0) {
            *ret_found = true;
            return mid;
        }
        if (cmp < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_found = false;
    return low;
}

static struct grants *subject_grants(struct subject *s, struct str ns)
{
    bool found;
    if (ns.len == 0)
        return &s->cluster;
    size_t at = ns_position(s, ns, &found);
    if (found)
        return &s->ns[at].grants;
    if (s->ns_count == s->ns_cap) {
        s->ns_cap = s->ns_cap != 0 ? 2 * s->ns_cap : 2;
        s->ns = xrealloc(s->ns, s->ns_cap * sizeof(*s->ns));
    }
    memmove(&s->ns[at + 1], &s->ns[at], (s->ns_count - at) * sizeof(*s->ns));
    s->ns[at] = (struct ns_grants){.ns = {xstrndup(ns.data, ns.len), ns.len}};
    s->ns_count++;
    return &s->ns[at].grants;
}

static void subject_free(struct subject *s)
{
    for (size_t i = 0; i < s->ns_count; i++) {
        free((char *)(uintptr_t)s->ns[i].ns.data);
        free(s->ns[i].grants.items);
    }
    free(s->ns);
    free(s->cluster.items);
    free(s);
}

/* Drops the binding's grants; true when nothing is left of the subject. */
static bool subject_drop(struct subject *s, const struct binding *b)
{
    bool found = false;
    if (b->ns.len == 0) {
        grants_drop(&s->cluster, b);
    } else {
        size_t at = ns_position(s, b->ns, &found);
        if (found) {
            grants_drop(&s->ns[at].grants, b);
            if (s->ns[at].grants.count == 0) {
                free((char *)(uintptr_t)s->ns[at].ns.data);
                free(s->ns[at].grants.items);
                s->ns_count--;
                memmove(&s->ns[at], &s->ns[at + 1], (s->ns_count - at) * sizeof(*s->ns));
            }
        }
    }
    return s->cluster.count == 0 && s->ns_count == 0;
}

/* --- subjects of a binding ------------------------------------------------------------------- */
/* In which map a subject stands, under which name; NULL: it is nobody. */
static struct map *subject_place(struct rbac *r, const struct binding *b,
                                 const struct rbac_v1_subject *s, struct buf *text,
                                 struct str *ret_name)
{
    *ret_name = s->name;
    if (str_eqc(s->kind, "User"))
        return &r->users;
    if (str_eqc(s->kind, "Group"))
        return &r->groups;
    if (!str_eqc(s->kind, "ServiceAccount"))
        return NULL;
    struct str ns = s->namespace.len != 0 ? s->namespace : b->ns;
    if (ns.len == 0)
        return NULL;
    buf_printf(text, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(ns), STR_ARG(s->name));
    *ret_name = buf_str(text);
    return &r->users;
}

static void index_subjects(struct rbac *r, struct binding *b)
{
    for (size_t i = 0; i < b->subject_count; i++) {
        AUTO_BUF text = BUF_INIT;
        struct str name;
        struct map *m = subject_place(r, b, &b->subjects[i], &text, &name);
        if (m == NULL)
            continue;
        struct subject *s = map_get(m, name);
        if (s == NULL) {
            s = xzalloc(sizeof(*s));
            map_set(m, name, s);
        }
        grants_add(subject_grants(s, b->ns), (struct grant){b, (uint32_t)i});
    }
}

static void unindex_subjects(struct rbac *r, struct binding *b)
{
    for (size_t i = 0; i < b->subject_count; i++) {
        AUTO_BUF text = BUF_INIT;
        struct str name;
        struct map *m = subject_place(r, b, &b->subjects[i], &text, &name);
        struct subject *s = m != NULL ? map_get(m, name) : NULL;
        if (s != NULL && subject_drop(s, b)) {
            map_remove(m, name);
            subject_free(s);
        }
    }
}

/* --- roles and bindings ------------------------------------------------------------------------
 */
static struct role *role_at(struct rbac *r, struct str ns, struct str name)
{
    AUTO_BUF b = BUF_INIT;
    struct str key = key_of(&b, ns, name);
    struct role *role = map_get(&r->roles, key);
    if (role != NULL)
        return role;
    role = xzalloc(sizeof(*role));
    role->key_arena = arena_new(128);
    role->ns = arena_str(role->key_arena, ns);
    role->name = arena_str(role->key_arena, name);
    map_set(&r->roles, key, role);
    return role;
}

static void role_empty(struct role *role)
{
    arena_free(role->owned);
    free(role->rules);
    role->owned = NULL;
    role->rules = NULL;
    role->source = NULL;
    role->count = 0;
}

static void role_free(struct role *role)
{
    role_empty(role);
    arena_free(role->key_arena);
    free(role);
}

static void role_drop_if_unused(struct rbac *r, struct role *role)
{
    AUTO_BUF b = BUF_INIT;
    if (role->owned != NULL || role->bindings != 0)
        return;
    map_remove(&r->roles, key_of(&b, role->ns, role->name));
    role_free(role);
}

void rbac_set_role(struct rbac *r, struct str ns, struct str name,
                   const struct rbac_v1_policy_rule *rules, size_t count, struct arena *owned)
{
    struct rbac_rule *compiled = count != 0 ? xzalloc(count * sizeof(*compiled)) : NULL;
    for (size_t i = 0; i < count; i++)
        rbac_rule_compile(&rules[i], &compiled[i]);
    struct role *role = role_at(r, ns, name);
    role_empty(role);
    role->owned = owned;
    role->source = rules;
    role->rules = compiled;
    role->count = count;
}

void rbac_remove_role(struct rbac *r, struct str ns, struct str name)
{
    struct role *role = map_find(&r->roles, ns, name);
    if (role != NULL) {
        role_empty(role);
        role_drop_if_unused(r, role);
    }
}

static void remove_binding(struct rbac *r, struct str ns, struct str name)
{
    AUTO_BUF text = BUF_INIT;
    struct binding *b = map_remove(&r->bindings, key_of(&text, ns, name));
    if (b == NULL)
        return;
    unindex_subjects(r, b);
    b->role->bindings--;
    role_drop_if_unused(r, b->role);
    arena_free(b->owned);
    free(b);
}

void rbac_set_binding(struct rbac *r, struct str ns, struct str name,
                      const struct rbac_v1_role_ref *ref, const struct rbac_v1_subject *subjects,
                      size_t count, struct arena *owned)
{
    AUTO_BUF text = BUF_INIT;
    struct binding *b = xzalloc(sizeof(*b));
    b->owned = owned;
    b->ns = arena_str(owned, ns);
    b->name = arena_str(owned, name);
    b->subjects = subjects;
    b->subject_count = count;
    remove_binding(r, ns, name);
    b->role = role_at(r, str_eqc(ref->kind, "ClusterRole") ? STR("") : b->ns, ref->name);
    b->role->bindings++;
    map_set(&r->bindings, key_of(&text, ns, name), b);
    index_subjects(r, b);
}

void rbac_remove_binding(struct rbac *r, struct str ns, struct str name)
{
    remove_binding(r, ns, name);
}

/* --- life ----------------------------------------------------------------------------------------
 */
struct rbac *rbac_new(void)
{
    struct rbac *r = xzalloc(sizeof(*r));
    map_init(&r->roles);
    map_init(&r->bindings);
    map_init(&r->users);
    map_init(&r->groups);
    return r;
}

static void clear_subjects(struct map *m)
{
    struct str key;
    void *v;
    for (size_t pos = 0; map_next(m, &pos, &key, &v);)
        subject_free(v);
    map_clear(m);
}

static void clear(struct rbac *r)
{
    struct str key;
    void *v;
    clear_subjects(&r->users);
    clear_subjects(&r->groups);
    for (size_t pos = 0; map_next(&r->bindings, &pos, &key, &v);) {
        arena_free(((struct binding *)v)->owned);
        free(v);
    }
    map_clear(&r->bindings);
    for (size_t pos = 0; map_next(&r->roles, &pos, &key, &v);)
        role_free(v);
    map_clear(&r->roles);
}

void rbac_free(struct rbac *r)
{
    if (r == NULL)
        return;
    clear(r);
    map_done(&r->roles);
    map_done(&r->bindings);
    map_done(&r->users);
    map_done(&r->groups);
    free(r);
}

/* --- visiting what a user holds
 * ------------------------------------------------------------------- */
/* True ends the visit. */
typedef bool visit_fn(const struct grant *g, void *arg);

static bool visit_grants(const struct grants *g, visit_fn *fn, void *arg)
{
    for (size_t i = 0; i < g->count; i++)
        if (fn(&g->items[i], arg))
            return true;
    return false;
}

static bool visit_subject(const struct map *m, struct str name, struct str ns, visit_fn *fn,
                          void *arg)
{
    bool found;
    const struct subject *s = map_get(m, name);
    if (s == NULL)
        return false;
    if (visit_grants(&s->cluster, fn, arg))
        return true;
    if (ns.len == 0 || s->ns_count == 0)
        return false;
    size_t at = ns_position(s, ns, &found);
    return found && visit_grants(&s->ns[at].grants, fn, arg);
}

static bool visit_user(const struct rbac *r, const struct user *user, struct str ns, visit_fn *fn,
                       void *arg)
{
    if (visit_subject(&r->users, user->name, ns, fn, arg))
        return true;
    for (size_t i = 0; i < user->group_count; i++)
        if (visit_subject(&r->groups, user->groups[i], ns, fn, arg))
            return true;
    return false;
}

/* Roles that are bound but missing, each once. */
struct missing_roles {
    const struct role *roles[REASON_ROLES_MAX];
    size_t count;
};

static void note_missing(struct missing_roles *m, const struct role *role)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->roles[i] == role)
            return;
    if (m->count < ARRAY_SIZE(m->roles))
        m->roles[m->count++] = role;
}

/* As upstream joins several errors: one alone stands without brackets. */
static struct str missing_text(struct arena *a, const struct missing_roles *m)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < m->count; i++)
        buf_printf(&b, "%s%s.rbac.authorization.k8s.io \"" STR_FMT "\" not found",
                   i != 0 ? ", " : (m->count > 1 ? "[" : ""),
                   m->roles[i]->ns.len == 0 ? "clusterrole" : "role", STR_ARG(m->roles[i]->name));
    if (m->count > 1)
        buf_putc(&b, ']');
    return arena_str(a, buf_str(&b));
}

/* --- decisions
 * -------------------------------------------------------------------------------------- */
struct decision {
    struct rbac_question question;
    struct grant by;
    struct missing_roles missing;
};

static bool grant_allows(const struct grant *g, void *arg)
{
    struct decision *d = arg;
    const struct role *role = g->binding->role;
    if (role->owned == NULL) {
        note_missing(&d->missing, role);
        return false;
    }
    for (size_t i = 0; i < role->count; i++)
        if (rbac_rule_allows(&role->rules[i], &d->question)) {
            d->by = *g;
            return true;
        }
    return false;
}

static struct str grant_text(struct arena *a, const struct grant *g)
{
    const struct binding *b = g->binding;
    const struct rbac_v1_subject *s = &b->subjects[g->subject];
    AUTO_BUF t = BUF_INIT;
    if (b->ns.len == 0)
        buf_printf(&t, "RBAC: allowed by ClusterRoleBinding \"" STR_FMT "\"", STR_ARG(b->name));
    else
        buf_printf(&t, "RBAC: allowed by RoleBinding \"" STR_FMT "/" STR_FMT "\"", STR_ARG(b->name),
                   STR_ARG(b->ns));
    buf_printf(&t, " of %s \"" STR_FMT "\" to " STR_FMT " \"" STR_FMT,
               b->role->ns.len == 0 ? "ClusterRole" : "Role", STR_ARG(b->role->name),
               STR_ARG(s->kind), STR_ARG(s->name));
    if (str_eqc(s->kind, "ServiceAccount"))
        buf_printf(&t, "/" STR_FMT, STR_ARG(s->namespace.len != 0 ? s->namespace : b->ns));
    buf_putc(&t, '"');
    return arena_str(a, buf_str(&t));
}

bool rbac_allows(const struct rbac *r, struct arena *a, const struct authz_attributes *at,
                 bool explain, struct str *ret_reason)
{
    struct decision d;
    d.missing.count = 0;
    *ret_reason = STR_NULL;
    if (!rbac_question_init(&d.question, at))
        return false;
    bool allowed = visit_user(r, at->user, at->ns, grant_allows, &d);
    if (allowed && explain)
        *ret_reason = grant_text(a, &d.by);
    else if (!allowed && d.missing.count != 0)
        *ret_reason = arena_printf(a, "RBAC: " STR_FMT, STR_ARG(missing_text(a, &d.missing)));
    return allowed;
}

/* --- all rules
 * ---------------------------------------------------------------------------------------- */
struct collect {
    struct arena *arena;
    struct rbac_v1_policy_rule *rules;
    size_t count, cap;
    struct missing_roles missing;
};

static void copy_rules(struct collect *c, const struct role *role)
{
    for (size_t i = 0; i < role->count; i++) {
        void *copy = api_msg_clone(c->arena, &rbac_v1_policy_rule_msg, &role->source[i]);
        c->rules = arena_grow(c->arena, c->rules, c->count, &c->cap, sizeof(*c->rules));
        c->rules[c->count++] = *(const struct rbac_v1_policy_rule *)copy;
    }
}

static bool grant_collect(const struct grant *g, void *arg)
{
    struct collect *c = arg;
    if (g->binding->role->owned == NULL)
        note_missing(&c->missing, g->binding->role);
    else
        copy_rules(c, g->binding->role);
    return false;
}

size_t rbac_rules_of(const struct rbac *r, struct arena *a, const struct user *user, struct str ns,
                     struct rbac_v1_policy_rule **ret, struct str *ret_errors)
{
    struct collect c = {.arena = a};
    visit_user(r, user, ns, grant_collect, &c);
    *ret_errors = c.missing.count != 0 ? missing_text(a, &c.missing) : STR_NULL;
    *ret = c.rules;
    return c.count;
}

bool rbac_role_rules(const struct rbac *r, struct arena *a, struct str ns, struct str name,
                     struct rbac_v1_policy_rule **ret, size_t *ret_count)
{
    struct collect c = {.arena = a};
    const struct role *role = map_find(&r->roles, ns, name);
    bool found = role != NULL && role->owned != NULL;
    if (found)
        copy_rules(&c, role);
    *ret = c.rules;
    *ret_count = c.count;
    return found;
}

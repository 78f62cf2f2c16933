/* auth.c - the state of users and roles: how changes make a new one. */
#include "raftstore/auth_internal.h"

#include "lib/base/base.h"

#include <stdatomic.h>

/* --- states --- */

struct auth_state *auth_state_make(size_t user_cap, size_t role_cap)
{
    struct auth_state *a = xzalloc(sizeof(*a));
    atomic_init(&a->refs, 1);
    a->revision = 1;
    a->users = xzalloc((user_cap + 1) * sizeof(struct auth_user *));
    a->roles = xzalloc((role_cap + 1) * sizeof(struct auth_role *));
    return a;
}

struct auth_state *auth_state_new(void)
{
    return auth_state_make(0, 0);
}

struct auth_state *auth_state_ref(const struct auth_state *a)
{
    struct auth_state *mutable = (struct auth_state *)(uintptr_t)a;
    atomic_fetch_add_explicit(&mutable->refs, 1, memory_order_relaxed);
    return mutable;
}

void auth_state_unref(struct auth_state *a)
{
    if (a == NULL || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < a->user_count; i++)
        auth_user_unref(a->users[i]);
    for (size_t i = 0; i < a->role_count; i++)
        auth_role_unref(a->roles[i]);
    free((void *)a->users);
    free((void *)a->roles);
    free(a);
}

/* A copy to change, with room for one more user and role. */
static struct auth_state *state_copy(const struct auth_state *a)
{
    struct auth_state *n = auth_state_make(a->user_count + 1, a->role_count + 1);
    n->enabled = a->enabled;
    n->revision = a->revision;
    n->has_token_key = a->has_token_key;
    memcpy(n->token_key, a->token_key, sizeof(n->token_key));
    n->user_count = a->user_count;
    n->role_count = a->role_count;
    for (size_t i = 0; i < a->user_count; i++) {
        struct user_entry *u = (struct user_entry *)(uintptr_t)a->users[i];
        atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
        n->users[i] = &u->pub;
    }
    for (size_t i = 0; i < a->role_count; i++) {
        struct role_entry *r = (struct role_entry *)(uintptr_t)a->roles[i];
        atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
        n->roles[i] = &r->pub;
    }
    return n;
}

/* A copy under the next revision. */
static struct auth_state *state_next(const struct auth_state *a)
{
    struct auth_state *n = state_copy(a);
    n->revision++;
    return n;
}

bool auth_enabled(const struct auth_state *a)
{
    return a->enabled;
}

/* Every change raises revision, but enabling: that sets the lowest bit. */
uint64_t auth_rev(const struct auth_state *a)
{
    return a->revision << 1 | (a->enabled ? 1 : 0);
}

uint64_t auth_revision(const struct auth_state *a)
{
    return a->revision;
}

struct auth_state *auth_with_revision(const struct auth_state *a, uint64_t revision)
{
    struct auth_state *n = state_copy(a);
    n->revision = revision > 0 ? revision : 1;
    return n;
}

struct str auth_token_key(const struct auth_state *a)
{
    return a->has_token_key ? str_n(a->token_key, sizeof(a->token_key)) : STR_NULL;
}

/* --- finding --- */

/* Where name stands among the sorted names, or would stand. */
#define NAME_INDEX(items, count, name)                                                             \
    size_t lo = 0, hi = (count);                                                                   \
    while (lo < hi) {                                                                              \
        size_t mid = lo + (hi - lo) / 2;                                                           \
        if (str_cmp((items)[mid]->name, name) < 0)                                                 \
            lo = mid + 1;                                                                          \
        else                                                                                       \
            hi = mid;                                                                              \
    }                                                                                              \
    return lo

static size_t user_index(const struct auth_state *a, struct str name)
{
    NAME_INDEX(a->users, a->user_count, name);
}

static size_t role_index(const struct auth_state *a, struct str name)
{
    NAME_INDEX(a->roles, a->role_count, name);
}

const struct auth_user *auth_user(const struct auth_state *a, struct str name)
{
    size_t i = user_index(a, name);
    return i < a->user_count && str_eq(a->users[i]->name, name) ? a->users[i] : NULL;
}

const struct auth_role *auth_role(const struct auth_state *a, struct str name)
{
    size_t i = role_index(a, name);
    return i < a->role_count && str_eq(a->roles[i]->name, name) ? a->roles[i] : NULL;
}

const struct auth_user *const *auth_users(const struct auth_state *a, size_t *ret_count)
{
    *ret_count = a->user_count;
    return a->users;
}

const struct auth_role *const *auth_roles(const struct auth_state *a, size_t *ret_count)
{
    *ret_count = a->role_count;
    return a->roles;
}

static bool has_role(const struct auth_user *u, struct str role)
{
    for (size_t i = 0; i < u->role_count; i++) {
        if (str_eq(u->roles[i], role))
            return true;
    }
    return false;
}

bool auth_is_root(const struct auth_state *a, struct str user)
{
    const struct auth_user *u = auth_user(a, user);
    return u != NULL && has_role(u, STR(AUTH_ROOT_ROLE));
}

/* --- permission --- */

/* How far the span that holds `at` reaches. False: none does. */
static bool span_reach(const struct auth_spans *s, struct str at, struct str *ret_end)
{
    size_t lo = 0, hi = s->count; /* Number of spans that start at or before it. */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (str_cmp(s->spans[mid].start, at) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0)
        return false;
    *ret_end = s->spans[lo - 1].end;
    return str_empty(*ret_end) || str_cmp(at, *ret_end) < 0;
}

/* How far the role's span of one access that holds `at` reaches. */
static bool role_reach(const struct auth_state *a, struct str role, bool write, struct str at,
                       struct str *ret_end)
{
    const struct role_entry *e = (const struct role_entry *)(const void *)auth_role(a, role);
    return e != NULL && span_reach(write ? &e->write : &e->read, at, ret_end);
}

/* Does the user's roles' spans of one access cover [key, end)? end empty: all
 * from key on. Goes forward by the span that reaches furthest until the end. */
static bool covered(const struct auth_state *a, const struct auth_user *u, bool write,
                    struct str key, struct str end)
{
    for (struct str at = key;;) {
        struct str furthest = STR_NULL;
        bool found = false;
        for (size_t i = 0; i < u->role_count; i++) {
            struct str reach;
            if (!role_reach(a, u->roles[i], write, at, &reach))
                continue;
            if (str_empty(reach))
                return true;
            if (!found || str_cmp(furthest, reach) < 0)
                furthest = reach;
            found = true;
        }
        if (!found)
            return false;
        if (!str_empty(end) && str_cmp(furthest, end) >= 0)
            return true;
        at = furthest;
    }
}

/* The one key: whichever span holds it. */
static bool holds(const struct auth_state *a, const struct auth_user *u, bool write, struct str key)
{
    for (size_t i = 0; i < u->role_count; i++) {
        struct str reach;
        if (role_reach(a, u->roles[i], write, key, &reach))
            return true;
    }
    return false;
}

bool auth_may(const struct auth_state *a, struct str user, enum auth_access access, struct str key,
              struct str range_end)
{
    if (!a->enabled)
        return true;
    const struct auth_user *u = auth_user(a, user);
    if (u == NULL)
        return false;
    if (has_role(u, STR(AUTH_ROOT_ROLE)))
        return true;
    if (access == AUTH_READWRITE)
        return auth_may(a, user, AUTH_READ, key, range_end) &&
               auth_may(a, user, AUTH_WRITE, key, range_end);
    bool write = access == AUTH_WRITE;
    if (str_empty(range_end))
        return holds(a, u, write, key);
    if (str_eq(range_end, str_n("", 1)))
        return covered(a, u, write, key, STR_NULL);
    return str_cmp(key, range_end) < 0 && covered(a, u, write, key, range_end);
}

/* --- changes: each makes the next state or says why not --- */

typedef enum auth_refusal change_fn(const struct auth_state *a, const struct auth_change *c,
                                    struct auth_state **ret);

static enum auth_refusal unchanged(const struct auth_state *a, struct auth_state **ret)
{
    *ret = auth_state_ref(a);
    return AUTH_REFUSED_NOT;
}

static enum auth_refusal enable(const struct auth_state *a, const struct auth_change *c,
                                struct auth_state **ret)
{
    UNUSED(c);
    if (a->enabled)
        return unchanged(a, ret);
    if (auth_user(a, STR(AUTH_ROOT_USER)) == NULL)
        return AUTH_REFUSED_ROOT_USER_MISSING;
    if (!auth_is_root(a, STR(AUTH_ROOT_USER)))
        return AUTH_REFUSED_ROOT_ROLE_MISSING;
    *ret = state_copy(a);
    (*ret)->enabled = true;
    return AUTH_REFUSED_NOT;
}

static enum auth_refusal disable(const struct auth_state *a, const struct auth_change *c,
                                 struct auth_state **ret)
{
    UNUSED(c);
    if (!a->enabled)
        return unchanged(a, ret);
    *ret = state_next(a);
    (*ret)->enabled = false;
    (*ret)->has_token_key = false;
    memset((*ret)->token_key, 0, sizeof((*ret)->token_key));
    return AUTH_REFUSED_NOT;
}

static enum auth_refusal token_key(const struct auth_state *a, const struct auth_change *c,
                                   struct auth_state **ret)
{
    if (c->token_key.len != AUTH_TOKEN_KEY_BYTES)
        return AUTH_REFUSED_LIMIT;
    if (a->has_token_key)
        return unchanged(a, ret);
    *ret = state_copy(a);
    memcpy((*ret)->token_key, c->token_key.data, AUTH_TOKEN_KEY_BYTES);
    (*ret)->has_token_key = true;
    return AUTH_REFUSED_NOT;
}

/* Makes room among *count pointers, or closes it again. */
static void slot_open(void *items, size_t *count, size_t at)
{
    char *slot = (char *)items + at * sizeof(void *);
    memmove(slot + sizeof(void *), slot, (*count - at) * sizeof(void *));
    ++*count;
}

static void slot_close(void *items, size_t *count, size_t at)
{
    char *slot = (char *)items + at * sizeof(void *);
    --*count;
    memmove(slot, slot + sizeof(void *), (*count - at) * sizeof(void *));
}

/* Puts u, whose reference goes over, in the place of the user at index. */
static void user_replace(struct auth_state *a, size_t index, const struct auth_user *u)
{
    auth_user_unref(a->users[index]);
    a->users[index] = u;
}

static void role_replace(struct auth_state *a, size_t index, const struct auth_role *r)
{
    auth_role_unref(a->roles[index]);
    a->roles[index] = r;
}

static enum auth_refusal user_add(const struct auth_state *a, const struct auth_change *c,
                                  struct auth_state **ret)
{
    if (str_empty(c->user))
        return AUTH_REFUSED_USER_EMPTY;
    if (auth_user(a, c->user) != NULL)
        return AUTH_REFUSED_USER_EXISTS;
    if (a->user_count >= AUTH_USERS_MAX || c->user.len > AUTH_NAME_MAX ||
        c->password_hash.len > AUTH_HASH_MAX)
        return AUTH_REFUSED_LIMIT;
    struct auth_state *n = state_next(a);
    size_t i = user_index(a, c->user);
    slot_open((void *)n->users, &n->user_count, i);
    n->users[i] = auth_user_new(
        &(struct auth_user){.name = c->user,
                            .password_hash = c->no_password ? STR_NULL : c->password_hash,
                            .no_password = c->no_password,
                            .password_rev = n->revision});
    *ret = n;
    return AUTH_REFUSED_NOT;
}

static enum auth_refusal user_delete(const struct auth_state *a, const struct auth_change *c,
                                     struct auth_state **ret)
{
    if (a->enabled && str_eq(c->user, STR(AUTH_ROOT_USER)))
        return AUTH_REFUSED_INVALID;
    if (auth_user(a, c->user) == NULL)
        return AUTH_REFUSED_USER_NOT_FOUND;
    struct auth_state *n = state_next(a);
    size_t i = user_index(a, c->user);
    auth_user_unref(n->users[i]);
    slot_close((void *)n->users, &n->user_count, i);
    *ret = n;
    return AUTH_REFUSED_NOT;
}

static enum auth_refusal user_password(const struct auth_state *a, const struct auth_change *c,
                                       struct auth_state **ret)
{
    const struct auth_user *u = auth_user(a, c->user);
    if (u == NULL)
        return AUTH_REFUSED_USER_NOT_FOUND;
    if (c->password_hash.len > AUTH_HASH_MAX)
        return AUTH_REFUSED_LIMIT;
    struct auth_state *n = state_next(a);
    struct auth_user with = *u;
    with.password_hash = u->no_password ? STR_NULL : c->password_hash;
    with.password_rev = n->revision;
    user_replace(n, user_index(n, c->user), auth_user_new(&with));
    *ret = n;
    return AUTH_REFUSED_NOT;
}

static enum auth_refusal user_grant(const struct auth_state *a, const struct auth_change *c,
                                    struct auth_state **ret)
{
    const struct auth_user *u = auth_user(a, c->user);
    if (u == NULL)
        return AUTH_REFUSED_USER_NOT_FOUND;
    if (!str_eq(c->role, STR(AUTH_ROOT_ROLE)) && auth_role(a, c->role) == NULL)
        return AUTH_REFUSED_ROLE_NOT_FOUND;
    if (has_role(u, c->role))
        return unchanged(a, ret);
    if (u->role_count >= AUTH_ROLES_MAX)
        return AUTH_REFUSED_LIMIT;
    size_t at = 0;
    while (at < u->role_count && str_cmp(u->roles[at], c->role) < 0)
        at++;
    AUTO_FREE struct str *roles = xmalloc((u->role_count + 1) * sizeof(*roles));
    for (size_t i = 0; i < at; i++)
        roles[i] = u->roles[i];
    roles[at] = c->role;
    for (size_t i = at; i < u->role_count; i++)
        roles[i + 1] = u->roles[i];
    struct auth_user with = *u;
    with.roles = roles;
    with.role_count++;
    *ret = state_next(a);
    user_replace(*ret, user_index(a, c->user), auth_user_new(&with));
    return AUTH_REFUSED_NOT;
}

/* The user without that role, which it has. */
static const struct auth_user *user_without(const struct auth_user *u, struct str role)
{
    AUTO_FREE struct str *roles = xmalloc(u->role_count * sizeof(*roles));
    size_t count = 0;
    for (size_t i = 0; i < u->role_count; i++) {
        if (!str_eq(u->roles[i], role))
            roles[count++] = u->roles[i];
    }
    struct auth_user with = *u;
    with.roles = roles;
    with.role_count = count;
    return auth_user_new(&with);
}

static enum auth_refusal user_revoke(const struct auth_state *a, const struct auth_change *c,
                                     struct auth_state **ret)
{
    if (a->enabled && str_eq(c->user, STR(AUTH_ROOT_USER)) && str_eq(c->role, STR(AUTH_ROOT_ROLE)))
        return AUTH_REFUSED_INVALID;
    const struct auth_user *u = auth_user(a, c->user);
    if (u == NULL)
        return AUTH_REFUSED_USER_NOT_FOUND;
    if (!has_role(u, c->role))
        return AUTH_REFUSED_ROLE_NOT_GRANTED;
    *ret = state_next(a);
    user_replace(*ret, user_index(a, c->user), user_without(u, c->role));
    return AUTH_REFUSED_NOT;
}

static enum auth_refusal role_add(const struct auth_state *a, const struct auth_change *c,
                                  struct auth_state **ret)
{
    if (str_empty(c->role))
        return AUTH_REFUSED_ROLE_EMPTY;
    if (auth_role(a, c->role) != NULL)
        return AUTH_REFUSED_ROLE_EXISTS;
    if (a->role_count >= AUTH_ROLES_MAX || c->role.len > AUTH_NAME_MAX)
        return AUTH_REFUSED_LIMIT;
    struct auth_state *n = state_next(a);
    size_t i = role_index(a, c->role);
    slot_open((void *)n->roles, &n->role_count, i);
    n->roles[i] = auth_role_new(&(struct auth_role){.name = c->role});
    *ret = n;
    return AUTH_REFUSED_NOT;
}

static enum auth_refusal role_delete(const struct auth_state *a, const struct auth_change *c,
                                     struct auth_state **ret)
{
    if (a->enabled && str_eq(c->role, STR(AUTH_ROOT_ROLE)))
        return AUTH_REFUSED_INVALID;
    if (auth_role(a, c->role) == NULL)
        return AUTH_REFUSED_ROLE_NOT_FOUND;
    struct auth_state *n = state_next(a);
    size_t i = role_index(a, c->role);
    auth_role_unref(n->roles[i]);
    slot_close((void *)n->roles, &n->role_count, i);
    for (size_t k = 0; k < n->user_count; k++) {
        if (has_role(n->users[k], c->role))
            user_replace(n, k, user_without(n->users[k], c->role));
    }
    *ret = n;
    return AUTH_REFUSED_NOT;
}

/* Where p stands among the role's permissions, or would stand. */
static size_t permission_index(const struct auth_role *r, const struct auth_permission *p)
{
    size_t lo = 0, hi = r->permission_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (auth_permission_cmp(&r->permissions[mid], p) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static enum auth_refusal role_grant(const struct auth_state *a, const struct auth_change *c,
                                    struct auth_state **ret)
{
    if (!auth_range_valid(c->key, c->range_end) || (unsigned)c->access > AUTH_READWRITE)
        return AUTH_REFUSED_INVALID;
    const struct auth_role *r = auth_role(a, c->role);
    if (r == NULL)
        return AUTH_REFUSED_ROLE_NOT_FOUND;
    struct auth_permission p = {c->access, c->key, c->range_end};
    size_t n = r->permission_count, at = permission_index(r, &p);
    bool there = at < n && auth_permission_cmp(&r->permissions[at], &p) == 0;
    if (c->key.len > AUTH_KEY_MAX || c->range_end.len > AUTH_KEY_MAX ||
        (!there && n >= AUTH_PERMISSIONS_MAX))
        return AUTH_REFUSED_LIMIT;
    AUTO_FREE struct auth_permission *all = xmalloc((n + 1) * sizeof(*all));
    memcpy(all, r->permissions, at * sizeof(*all));
    all[at] = p;
    size_t from = there ? at + 1 : at;
    memcpy(all + at + 1, r->permissions + from, (n - from) * sizeof(*all));
    *ret = state_next(a);
    role_replace(*ret, role_index(a, c->role),
                 auth_role_new(&(struct auth_role){r->name, all, there ? n : n + 1}));
    return AUTH_REFUSED_NOT;
}

static enum auth_refusal role_revoke(const struct auth_state *a, const struct auth_change *c,
                                     struct auth_state **ret)
{
    const struct auth_role *r = auth_role(a, c->role);
    if (r == NULL)
        return AUTH_REFUSED_ROLE_NOT_FOUND;
    struct auth_permission p = {AUTH_READ, c->key, c->range_end};
    size_t n = r->permission_count, at = permission_index(r, &p);
    if (at == n || auth_permission_cmp(&r->permissions[at], &p) != 0)
        return AUTH_REFUSED_PERMISSION_NOT_GRANTED;
    AUTO_FREE struct auth_permission *rest = xmalloc(n * sizeof(*rest));
    memcpy(rest, r->permissions, at * sizeof(*rest));
    memcpy(rest + at, r->permissions + at + 1, (n - at - 1) * sizeof(*rest));
    *ret = state_next(a);
    role_replace(*ret, role_index(a, c->role),
                 auth_role_new(&(struct auth_role){r->name, rest, n - 1}));
    return AUTH_REFUSED_NOT;
}

static change_fn *const changes[] = {
    [AUTH_ENABLE] = enable,           [AUTH_DISABLE] = disable,
    [AUTH_USER_ADD] = user_add,       [AUTH_USER_DELETE] = user_delete,
    [AUTH_USER_GRANT] = user_grant,   [AUTH_USER_PASSWORD] = user_password,
    [AUTH_USER_REVOKE] = user_revoke, [AUTH_ROLE_ADD] = role_add,
    [AUTH_ROLE_DELETE] = role_delete, [AUTH_ROLE_GRANT] = role_grant,
    [AUTH_ROLE_REVOKE] = role_revoke, [AUTH_TOKEN_KEY] = token_key,
};

static enum auth_refusal actor_refused(const struct auth_state *a, const struct auth_change *c)
{
    if (!a->enabled || !c->actor_checked)
        return AUTH_REFUSED_NOT;
    if (str_empty(c->actor))
        return AUTH_REFUSED_USER_EMPTY;
    if (auth_user(a, c->actor) == NULL)
        return AUTH_REFUSED_USER_NOT_FOUND;
    return auth_is_root(a, c->actor) ? AUTH_REFUSED_NOT : AUTH_REFUSED_ACTOR;
}

enum auth_refusal auth_apply(const struct auth_state *a, const struct auth_change *c,
                             struct auth_state **ret)
{
    enum auth_refusal refused = actor_refused(a, c);
    if (refused != AUTH_REFUSED_NOT)
        return refused;
    size_t type = (size_t)c->type;
    if (type >= ARRAY_SIZE(changes) || changes[type] == NULL)
        return AUTH_REFUSED_INVALID;
    return changes[type](a, c, ret);
}

const char *auth_refusal_text(enum auth_refusal r)
{
    switch (r) {
    case AUTH_REFUSED_NOT:
        return "";
    case AUTH_REFUSED_ROOT_USER_MISSING:
        return "etcdserver: root user does not exist";
    case AUTH_REFUSED_ROOT_ROLE_MISSING:
        return "etcdserver: root user does not have root role";
    case AUTH_REFUSED_USER_EXISTS:
        return "etcdserver: user name already exists";
    case AUTH_REFUSED_USER_EMPTY:
        return "etcdserver: user name is empty";
    case AUTH_REFUSED_USER_NOT_FOUND:
        return "etcdserver: user name not found";
    case AUTH_REFUSED_ROLE_EXISTS:
        return "etcdserver: role name already exists";
    case AUTH_REFUSED_ROLE_NOT_FOUND:
        return "etcdserver: role name not found";
    case AUTH_REFUSED_ROLE_EMPTY:
        return "etcdserver: role name is empty";
    case AUTH_REFUSED_ROLE_NOT_GRANTED:
        return "etcdserver: role is not granted to the user";
    case AUTH_REFUSED_PERMISSION_NOT_GRANTED:
        return "etcdserver: permission is not granted to the role";
    case AUTH_REFUSED_INVALID:
        return "etcdserver: invalid auth management";
    case AUTH_REFUSED_NO_PASSWORD:
        return "auth: authentication failed, password was given for no password user";
    case AUTH_REFUSED_LIMIT:
        return "etcdserver: request is too large";
    case AUTH_REFUSED_ACTOR:
        return "etcdserver: permission denied";
    }
    return "etcdserver: invalid auth management";
}

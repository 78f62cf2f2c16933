/* auth_code.c - the bytes of changes and of whole states. Numbers are base-128,
 * strings carry their length. Decoding refuses what encoding never writes, so
 * that every member that reads the same bytes holds the same state. */
#include "raftstore/auth_internal.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/wire.h"
#include "raftstore/wire.h"

#define AUTH_STATE_VERSION 1

enum { CHANGE_NO_PASSWORD = 1, CHANGE_ACTOR_CHECKED = 2 };
enum { STATE_ENABLED = 1, STATE_HAS_TOKEN_KEY = 2 };

/* --- changes --- */

void auth_change_encode(const struct auth_change *c, struct buf *out)
{
    buf_put_varint(out, (uint64_t)c->type);
    buf_put_varint(out, (c->no_password ? CHANGE_NO_PASSWORD : 0u) |
                            (c->actor_checked ? CHANGE_ACTOR_CHECKED : 0u));
    buf_put_varint(out, (uint64_t)c->access);
    wire_put_str(out, c->actor);
    wire_put_str(out, c->user);
    wire_put_str(out, c->role);
    wire_put_str(out, c->password_hash);
    wire_put_str(out, c->key);
    wire_put_str(out, c->range_end);
    wire_put_str(out, c->token_key);
}

int auth_change_decode(struct str bytes, struct auth_change *ret, struct error *err)
{
    struct wire r = wire_of(bytes);
    struct auth_change c = {.type = (enum auth_change_type)wire_count(&r, AUTH_TOKEN_KEY)};
    uint32_t flags = wire_count(&r, CHANGE_NO_PASSWORD | CHANGE_ACTOR_CHECKED);
    c.no_password = flags & CHANGE_NO_PASSWORD;
    c.actor_checked = flags & CHANGE_ACTOR_CHECKED;
    c.access = (enum auth_access)wire_count(&r, AUTH_READWRITE);
    c.actor = wire_str(&r, AUTH_NAME_MAX);
    c.user = wire_str(&r, AUTH_NAME_MAX);
    c.role = wire_str(&r, AUTH_NAME_MAX);
    c.password_hash = wire_str(&r, AUTH_HASH_MAX);
    c.key = wire_str(&r, AUTH_KEY_MAX);
    c.range_end = wire_str(&r, AUTH_KEY_MAX);
    c.token_key = wire_str(&r, AUTH_TOKEN_KEY_BYTES);
    if (!wire_end(&r) || c.type == 0)
        return error_set(err, E_INVALID, "change of users and roles: malformed");
    *ret = c;
    return 0;
}

/* --- states --- */

static void user_encode(const struct auth_user *u, struct buf *out)
{
    wire_put_str(out, u->name);
    buf_putc(out, (char)u->no_password);
    wire_put_str(out, u->password_hash);
    buf_put_varint(out, u->password_rev);
    buf_put_varint(out, u->role_count);
    for (size_t i = 0; i < u->role_count; i++)
        wire_put_str(out, u->roles[i]);
}

static void role_encode(const struct auth_role *r, struct buf *out)
{
    wire_put_str(out, r->name);
    buf_put_varint(out, r->permission_count);
    for (size_t i = 0; i < r->permission_count; i++) {
        buf_putc(out, (char)r->permissions[i].access);
        wire_put_str(out, r->permissions[i].key);
        wire_put_str(out, r->permissions[i].range_end);
    }
}

void auth_state_encode(const struct auth_state *a, struct buf *out)
{
    buf_putc(out, AUTH_STATE_VERSION);
    buf_put_varint(out, a->revision);
    buf_putc(out, (char)((a->enabled ? STATE_ENABLED : 0) |
                         (a->has_token_key ? STATE_HAS_TOKEN_KEY : 0)));
    if (a->has_token_key)
        buf_append(out, a->token_key, sizeof(a->token_key));
    buf_put_varint(out, a->user_count);
    for (size_t i = 0; i < a->user_count; i++)
        user_encode(a->users[i], out);
    buf_put_varint(out, a->role_count);
    for (size_t i = 0; i < a->role_count; i++)
        role_encode(a->roles[i], out);
}

/* A number of things that take at least one byte each. */
static uint32_t count_of(struct wire *r, uint32_t max)
{
    uint32_t n = wire_count(r, max);
    return n > wire_left(r) ? (uint32_t)wire_fail(r) : n;
}

static const struct auth_user *user_decode(struct wire *r)
{
    struct auth_user u = {.name = wire_str(r, AUTH_NAME_MAX)};
    u.no_password = wire_count(r, 1) != 0;
    u.password_hash = wire_str(r, AUTH_HASH_MAX);
    u.password_rev = wire_varint(r);
    u.role_count = count_of(r, AUTH_ROLES_MAX);
    AUTO_FREE struct str *roles = xmalloc((u.role_count + 1) * sizeof(*roles));
    for (size_t i = 0; i < u.role_count; i++) {
        roles[i] = wire_str(r, AUTH_NAME_MAX);
        if (i > 0 && str_cmp(roles[i - 1], roles[i]) >= 0)
            r->bad = true;
    }
    u.roles = roles;
    return r->bad ? NULL : auth_user_new(&u);
}

static const struct auth_role *role_decode(struct wire *r)
{
    struct auth_role role = {.name = wire_str(r, AUTH_NAME_MAX)};
    role.permission_count = count_of(r, AUTH_PERMISSIONS_MAX);
    AUTO_FREE struct auth_permission *all = xmalloc((role.permission_count + 1) * sizeof(*all));
    for (size_t i = 0; i < role.permission_count && !r->bad; i++) {
        all[i].access = (enum auth_access)wire_count(r, AUTH_READWRITE);
        all[i].key = wire_str(r, AUTH_KEY_MAX);
        all[i].range_end = wire_str(r, AUTH_KEY_MAX);
        if (!auth_range_valid(all[i].key, all[i].range_end) ||
            (i > 0 && auth_permission_cmp(&all[i - 1], &all[i]) >= 0))
            r->bad = true;
    }
    role.permissions = all;
    return r->bad ? NULL : auth_role_new(&role);
}

static void head_decode(struct wire *r, struct auth_state *a)
{
    a->revision = wire_varint(r);
    uint32_t flags = wire_count(r, STATE_ENABLED | STATE_HAS_TOKEN_KEY);
    a->enabled = flags & STATE_ENABLED;
    a->has_token_key = flags & STATE_HAS_TOKEN_KEY;
    const uint8_t *key = a->has_token_key ? wire_take(r, sizeof(a->token_key)) : NULL;
    if (key != NULL)
        memcpy(a->token_key, key, sizeof(a->token_key));
    if (a->revision == 0)
        wire_fail(r);
}

int auth_state_decode(struct str bytes, struct auth_state **ret, struct error *err)
{
    struct wire r = wire_of(bytes);
    if (wire_u8(&r) != AUTH_STATE_VERSION)
        return error_set(err, E_INVALID, "users and roles: not of version %d", AUTH_STATE_VERSION);
    struct auth_state head = {0};
    head_decode(&r, &head);
    size_t users = count_of(&r, AUTH_USERS_MAX);
    struct auth_state *a = auth_state_make(users, 0);
    while (a->user_count < users && !r.bad) {
        const struct auth_user *u = user_decode(&r);
        if (u == NULL)
            break;
        a->users[a->user_count++] = u;
        if (str_empty(u->name) ||
            (a->user_count > 1 && str_cmp(a->users[a->user_count - 2]->name, u->name) >= 0))
            r.bad = true;
    }
    size_t roles = count_of(&r, AUTH_ROLES_MAX);
    a->roles = xrealloc((void *)a->roles, (roles + 1) * sizeof(a->roles[0]));
    while (a->role_count < roles && !r.bad) {
        const struct auth_role *role = role_decode(&r);
        if (role == NULL)
            break;
        a->roles[a->role_count++] = role;
        if (str_empty(role->name) ||
            (a->role_count > 1 && str_cmp(a->roles[a->role_count - 2]->name, role->name) >= 0))
            r.bad = true;
    }
    if (!wire_end(&r)) {
        auth_state_unref(a);
        return error_set(err, E_INVALID, "users and roles: malformed");
    }
    a->enabled = head.enabled;
    a->revision = head.revision;
    a->has_token_key = head.has_token_key;
    memcpy(a->token_key, head.token_key, sizeof(a->token_key));
    *ret = a;
    return 0;
}

/* auth.c - etcd's Auth service: users and roles; Authenticate is in authenticate.c.
 *
 * Changes go through the log with the caller's name, so that whoever lost the
 * role root meanwhile changes nothing. Reads look at the state behind a read
 * barrier. Passwords are hashed before they are proposed: none reaches the log. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "raftstore/etcd/admin.h"
#include "raftstore/etcd/password.h"

#include <openssl/crypto.h>

void admin_reply_header(struct etcd_call *c)
{
    /* Such answers are all alike on the wire. */
    Etcdserverpb__AuthEnableResponse response = ETCDSERVERPB__AUTH_ENABLE_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(c->thread, 0, &header);
    response.header = &header;
    etcd_call_reply_proto(c, &response.base);
}

/* --- changes --- */

static void fail_refused(struct etcd_call *c, int code, enum auth_refusal refusal)
{
    if (code != E_INVALID || refusal == AUTH_REFUSED_NOT) {
        etcd_call_fail_code(c, code);
        return;
    }
    struct etcd_fault f = etcd_fault_of_refusal(refusal);
    etcd_call_fail_text(c, f.status, f.text);
}

static void changed(int code, enum auth_refusal refusal, int64_t rev, void *arg)
{
    struct etcd_call *c = arg;
    UNUSED(rev);
    if (code < 0)
        fail_refused(c, code, refusal);
    else
        admin_reply_header(c);
    etcd_call_release(c);
}

/* The caller becomes the actor. */
static void propose(struct etcd_call *c, struct auth_change change)
{
    const struct etcd_fault *f = etcd_check_root(&c->caller);
    if (f != NULL) {
        etcd_call_fail(c, f);
        return;
    }
    if (change.user.len > AUTH_NAME_MAX || change.role.len > AUTH_NAME_MAX ||
        change.key.len > AUTH_KEY_MAX || change.range_end.len > AUTH_KEY_MAX) {
        etcd_call_fail(c, &etcd_err_request_too_large);
        return;
    }
    change.actor_checked = true;
    change.actor = c->caller.user;
    etcd_call_hold(c);
    store_auth_change(etcd_thread_store(c->thread), &change, etcd_thread_mailbox(c->thread),
                      changed, c);
}

static void on_enable(struct etcd_call *c, struct str message)
{
    UNUSED(message);
    propose(c, (struct auth_change){.type = AUTH_ENABLE});
}

static void on_disable(struct etcd_call *c, struct str message)
{
    UNUSED(message);
    propose(c, (struct auth_change){.type = AUTH_DISABLE});
}

/* Unpacks into a variable m of the request's type, or returns. */
#define UNPACK(Type, name)                                                                         \
    const Etcdserverpb__##Type *m = (const Etcdserverpb__##Type *)(const void *)etcd_call_unpack(  \
        c, &etcdserverpb__##name##__descriptor, message);                                          \
    if (m == NULL)                                                                                 \
    return

static void on_user_delete(struct etcd_call *c, struct str message)
{
    UNPACK(AuthUserDeleteRequest, auth_user_delete_request);
    propose(c, (struct auth_change){.type = AUTH_USER_DELETE, .user = str_of(m->name)});
}

static void on_user_grant(struct etcd_call *c, struct str message)
{
    UNPACK(AuthUserGrantRoleRequest, auth_user_grant_role_request);
    propose(c, (struct auth_change){
                   .type = AUTH_USER_GRANT, .user = str_of(m->user), .role = str_of(m->role)});
}

static void on_user_revoke(struct etcd_call *c, struct str message)
{
    UNPACK(AuthUserRevokeRoleRequest, auth_user_revoke_role_request);
    propose(c, (struct auth_change){
                   .type = AUTH_USER_REVOKE, .user = str_of(m->name), .role = str_of(m->role)});
}

static void on_role_add(struct etcd_call *c, struct str message)
{
    UNPACK(AuthRoleAddRequest, auth_role_add_request);
    propose(c, (struct auth_change){.type = AUTH_ROLE_ADD, .role = str_of(m->name)});
}

static void on_role_delete(struct etcd_call *c, struct str message)
{
    UNPACK(AuthRoleDeleteRequest, auth_role_delete_request);
    propose(c, (struct auth_change){.type = AUTH_ROLE_DELETE, .role = str_of(m->role)});
}

static void on_role_grant(struct etcd_call *c, struct str message)
{
    UNPACK(AuthRoleGrantPermissionRequest, auth_role_grant_permission_request);
    const struct etcd_fault *f = etcd_check_root(&c->caller);
    if (f == NULL && m->perm == NULL)
        f = &etcd_err_permission_not_given;
    if (f != NULL) {
        etcd_call_fail(c, f);
        return;
    }
    propose(c, (struct auth_change){.type = AUTH_ROLE_GRANT,
                                    .role = str_of(m->name),
                                    .access = (enum auth_access)m->perm->permtype,
                                    .key = admin_str(m->perm->key),
                                    .range_end = admin_str(m->perm->range_end)});
}

static void on_role_revoke(struct etcd_call *c, struct str message)
{
    UNPACK(AuthRoleRevokePermissionRequest, auth_role_revoke_permission_request);
    propose(c, (struct auth_change){.type = AUTH_ROLE_REVOKE,
                                    .role = str_of(m->role),
                                    .key = admin_str(m->key),
                                    .range_end = admin_str(m->range_end)});
}

/* --- changes with a password: hash, then propose --- */

static void hashed(bool right, struct str hash, void *arg)
{
    struct etcd_call *c = arg;
    UNUSED(right);
    if (etcd_call_is_open(c)) { /* Else what c->user points to is gone. */
        struct auth_change *change = c->user;
        change->password_hash = hash;
        propose(c, *change);
    }
    etcd_call_release(c);
}

/* Wipes the password. given: a hash that the client made, base64. */
static void propose_password(struct etcd_call *c, struct auth_change change, char *password,
                             const char *given)
{
    const struct etcd_fault *f = etcd_check_root(&c->caller);
    if (f != NULL) {
        etcd_call_fail(c, f);
        return;
    }
    if (given[0] != '\0' && password[0] == '\0') {
        AUTO_BUF hash = BUF_INIT;
        if (base64_decode(BASE64_STD, str_of(given), &hash) < 0 || hash.len > AUTH_HASH_MAX) {
            fail_refused(c, E_INVALID, AUTH_REFUSED_NO_PASSWORD);
            return;
        }
        change.password_hash = buf_str(&hash);
        propose(c, change);
        return;
    }
    if (change.type == AUTH_USER_PASSWORD && password[0] == '\0') {
        propose(c, change); /* No password is right any more. */
        return;
    }
    c->user = arena_memdup(etcd_call_arena(c), &change, sizeof(change));
    etcd_call_hold(c);
    int rc = password_hash(etcd_tokens_passwords(etcd_thread_tokens(c->thread)), str_of(password),
                           etcd_thread_mailbox(c->thread), hashed, c);
    OPENSSL_cleanse(password, strlen(password));
    if (rc == 0)
        return;
    if (rc == E_INVALID)
        etcd_call_fail_text(c, GRPC_UNKNOWN, "bcrypt: password length exceeds 72 bytes");
    else
        etcd_call_fail_code(c, rc);
    etcd_call_release(c);
}

static void on_user_add(struct etcd_call *c, struct str message)
{
    UNPACK(AuthUserAddRequest, auth_user_add_request);
    struct auth_change change = {.type = AUTH_USER_ADD,
                                 .user = str_of(m->name),
                                 .no_password = m->options != NULL && m->options->no_password};
    if (change.no_password)
        propose(c, change);
    else
        propose_password(c, change, m->password, m->hashedpassword);
}

static void on_user_password(struct etcd_call *c, struct str message)
{
    UNPACK(AuthUserChangePasswordRequest, auth_user_change_password_request);
    struct auth_change change = {.type = AUTH_USER_PASSWORD, .user = str_of(m->name)};
    propose_password(c, change, m->password, m->hashedpassword);
}

/* --- reads --- */

/* The state behind a barrier, the caller known by it; false: the call has ended. */
static bool settled(struct etcd_call *c, int code)
{
    if (!etcd_call_is_open(c))
        return false;
    const struct etcd_fault *f = code < 0 ? etcd_fault_of_code(code) : etcd_call_identify(c);
    if (f != NULL)
        etcd_call_fail(c, f);
    return f == NULL;
}

/* As settled(), for whom the role root or `otherwise` allows it. */
static bool settled_for(struct etcd_call *c, int code, bool (*otherwise)(struct etcd_call *c))
{
    if (!settled(c, code))
        return false;
    const struct etcd_fault *f = etcd_check_root(&c->caller);
    if (f == NULL || (otherwise != NULL && otherwise(c)))
        return true;
    etcd_call_fail(c, f);
    return false;
}

static char *name_of(struct str name)
{
    return (char *)(uintptr_t)str_c(name);
}

static void status_read(struct etcd_call *c, int code)
{
    /* Anybody may ask, even without a token. */
    if (!settled(c, code))
        return;
    Etcdserverpb__AuthStatusResponse response = ETCDSERVERPB__AUTH_STATUS_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(c->thread, 0, &header);
    response.header = &header;
    response.enabled = auth_enabled(c->caller.auth);
    response.authrevision = auth_revision(c->caller.auth);
    etcd_call_reply_proto(c, &response.base);
}

static void on_status(struct etcd_call *c, struct str message)
{
    UNUSED(message);
    etcd_read_barrier(c, status_read);
}

/* A user may look at itself. */
static bool is_own_name(struct etcd_call *c)
{
    const Etcdserverpb__AuthUserGetRequest *m = c->user;
    return str_eqc(c->caller.user, m->name);
}

static void user_get_read(struct etcd_call *c, int code)
{
    if (!settled_for(c, code, is_own_name))
        return;
    const Etcdserverpb__AuthUserGetRequest *m = c->user;
    const struct auth_user *u = auth_user(c->caller.auth, str_of(m->name));
    if (u == NULL) {
        etcd_call_fail(c, &etcd_err_user_not_found);
        return;
    }
    Etcdserverpb__AuthUserGetResponse response = ETCDSERVERPB__AUTH_USER_GET_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(c->thread, 0, &header);
    response.header = &header;
    response.n_roles = u->role_count;
    response.roles = ARENA_ARRAY(etcd_call_arena(c), char *, u->role_count + 1);
    for (size_t i = 0; i < u->role_count; i++)
        response.roles[i] = name_of(u->roles[i]);
    etcd_call_reply_proto(c, &response.base);
}

static void on_user_get(struct etcd_call *c, struct str message)
{
    UNPACK(AuthUserGetRequest, auth_user_get_request);
    c->user = (void *)(uintptr_t)m;
    etcd_read_barrier(c, user_get_read);
}

static void user_list_read(struct etcd_call *c, int code)
{
    if (!settled_for(c, code, NULL))
        return;
    Etcdserverpb__AuthUserListResponse response = ETCDSERVERPB__AUTH_USER_LIST_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(c->thread, 0, &header);
    response.header = &header;
    const struct auth_user *const *users = auth_users(c->caller.auth, &response.n_users);
    response.users = ARENA_ARRAY(etcd_call_arena(c), char *, response.n_users + 1);
    for (size_t i = 0; i < response.n_users; i++)
        response.users[i] = name_of(users[i]->name);
    etcd_call_reply_proto(c, &response.base);
}

static void on_user_list(struct etcd_call *c, struct str message)
{
    UNUSED(message);
    etcd_read_barrier(c, user_list_read);
}

/* A user may look at the roles it has. */
static bool is_own_role(struct etcd_call *c)
{
    const Etcdserverpb__AuthRoleGetRequest *m = c->user;
    const struct auth_user *u = auth_user(c->caller.auth, c->caller.user);
    for (size_t i = 0; u != NULL && i < u->role_count; i++) {
        if (str_eqc(u->roles[i], m->role))
            return true;
    }
    return false;
}

static void role_get_read(struct etcd_call *c, int code)
{
    if (!settled_for(c, code, is_own_role))
        return;
    const Etcdserverpb__AuthRoleGetRequest *m = c->user;
    const struct auth_role *r = auth_role(c->caller.auth, str_of(m->role));
    if (r == NULL) {
        etcd_call_fail(c, &etcd_err_role_not_found);
        return;
    }
    /* Whatever was granted to it, the role root is all keys. */
    static const struct auth_permission everything = {AUTH_READWRITE, {"", 0}, {"", 1}};
    bool root = str_eq(r->name, STR(AUTH_ROOT_ROLE));
    const struct auth_permission *from = root ? &everything : r->permissions;
    size_t n = root ? 1 : r->permission_count;
    Etcdserverpb__AuthRoleGetResponse response = ETCDSERVERPB__AUTH_ROLE_GET_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(c->thread, 0, &header);
    response.header = &header;
    response.n_perm = n;
    response.perm = ARENA_ARRAY(etcd_call_arena(c), Authpb__Permission *, n + 1);
    Authpb__Permission *all = ARENA_ARRAY(etcd_call_arena(c), Authpb__Permission, n + 1);
    for (size_t i = 0; i < n; i++) {
        authpb__permission__init(&all[i]);
        all[i].permtype = (Authpb__Permission__Type)from[i].access;
        all[i].key = admin_bytes(from[i].key);
        all[i].range_end = admin_bytes(from[i].range_end);
        response.perm[i] = &all[i];
    }
    etcd_call_reply_proto(c, &response.base);
}

static void on_role_get(struct etcd_call *c, struct str message)
{
    UNPACK(AuthRoleGetRequest, auth_role_get_request);
    c->user = (void *)(uintptr_t)m;
    etcd_read_barrier(c, role_get_read);
}

static void role_list_read(struct etcd_call *c, int code)
{
    if (!settled_for(c, code, NULL))
        return;
    Etcdserverpb__AuthRoleListResponse response = ETCDSERVERPB__AUTH_ROLE_LIST_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(c->thread, 0, &header);
    response.header = &header;
    const struct auth_role *const *roles = auth_roles(c->caller.auth, &response.n_roles);
    response.roles = ARENA_ARRAY(etcd_call_arena(c), char *, response.n_roles + 1);
    for (size_t i = 0; i < response.n_roles; i++)
        response.roles[i] = name_of(roles[i]->name);
    etcd_call_reply_proto(c, &response.base);
}

static void on_role_list(struct etcd_call *c, struct str message)
{
    UNUSED(message);
    etcd_read_barrier(c, role_list_read);
}

static const struct etcd_method methods[] = {
    {.path = "/etcdserverpb.Auth/AuthEnable", .on_call = on_enable},
    {.path = "/etcdserverpb.Auth/AuthDisable", .on_call = on_disable},
    {.path = "/etcdserverpb.Auth/AuthStatus", .on_call = on_status},
    {.path = "/etcdserverpb.Auth/Authenticate",
     .flags = ETCD_NO_AUTH,
     .on_call = admin_on_authenticate},
    {.path = "/etcdserverpb.Auth/UserAdd", .on_call = on_user_add},
    {.path = "/etcdserverpb.Auth/UserGet", .on_call = on_user_get},
    {.path = "/etcdserverpb.Auth/UserList", .on_call = on_user_list},
    {.path = "/etcdserverpb.Auth/UserDelete", .on_call = on_user_delete},
    {.path = "/etcdserverpb.Auth/UserChangePassword", .on_call = on_user_password},
    {.path = "/etcdserverpb.Auth/UserGrantRole", .on_call = on_user_grant},
    {.path = "/etcdserverpb.Auth/UserRevokeRole", .on_call = on_user_revoke},
    {.path = "/etcdserverpb.Auth/RoleAdd", .on_call = on_role_add},
    {.path = "/etcdserverpb.Auth/RoleGet", .on_call = on_role_get},
    {.path = "/etcdserverpb.Auth/RoleList", .on_call = on_role_list},
    {.path = "/etcdserverpb.Auth/RoleDelete", .on_call = on_role_delete},
    {.path = "/etcdserverpb.Auth/RoleGrantPermission", .on_call = on_role_grant},
    {.path = "/etcdserverpb.Auth/RoleRevokePermission", .on_call = on_role_revoke},
};
const struct etcd_service etcd_auth_service = {methods, ARRAY_SIZE(methods)};

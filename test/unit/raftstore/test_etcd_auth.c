/* test_etcd_auth.c - the Auth service, and what it lets others do, through a server. */
#include "test/unit/raftstore/etcd_rig.h"

#include "raftstore/etcd/errors.h"

static struct etcd_rig er;

static void begin(void)
{
    memset(&er, 0, sizeof(er));
    er.config.bcrypt_cost = 4;
    er_begin(&er);
}

static void expect_fault(struct er_answer a, const struct etcd_fault *f)
{
    ck_assert_msg(a.status == f->status, "%s: %s", grpc_status_text(a.status), a.text);
    ck_assert_str_eq(a.text, f->text);
}

static void expect_ok(struct er_answer a)
{
    ck_assert_msg(a.status == GRPC_OK, "%s: %s", grpc_status_text(a.status), a.text);
}

/* --- requests, by what they say --- */

static struct er_answer enable(bool on)
{
    PB(AuthEnableRequest) q = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;
    return er_call(&er, on ? "/etcdserverpb.Auth/AuthEnable" : "/etcdserverpb.Auth/AuthDisable",
                   &q.base, &etcdserverpb__auth_enable_response__descriptor);
}

static struct er_answer user_add(const char *name, const char *password, bool no_password)
{
    PB(AuthUserAddRequest) q = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    Authpb__UserAddOptions options = AUTHPB__USER_ADD_OPTIONS__INIT;
    options.no_password = no_password;
    q.name = (char *)(uintptr_t)name;
    q.password = (char *)(uintptr_t)password;
    q.options = &options;
    return ER_CALL(&er, "Auth/UserAdd", &q, auth_user_add_response);
}

static struct er_answer password(const char *name, const char *to)
{
    PB(AuthUserChangePasswordRequest) q = ETCDSERVERPB__AUTH_USER_CHANGE_PASSWORD_REQUEST__INIT;
    q.name = (char *)(uintptr_t)name;
    q.password = (char *)(uintptr_t)to;
    return ER_CALL(&er, "Auth/UserChangePassword", &q, auth_user_change_password_response);
}

static struct er_answer user_grant(const char *user, const char *role)
{
    PB(AuthUserGrantRoleRequest) q = ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;
    q.user = (char *)(uintptr_t)user;
    q.role = (char *)(uintptr_t)role;
    return ER_CALL(&er, "Auth/UserGrantRole", &q, auth_user_grant_role_response);
}

static struct er_answer role_add(const char *role)
{
    PB(AuthRoleAddRequest) q = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;
    q.name = (char *)(uintptr_t)role;
    return ER_CALL(&er, "Auth/RoleAdd", &q, auth_role_add_response);
}

static struct er_answer role_grant(const char *role, int access, const char *key, const char *end)
{
    PB(AuthRoleGrantPermissionRequest) q = ETCDSERVERPB__AUTH_ROLE_GRANT_PERMISSION_REQUEST__INIT;
    Authpb__Permission p = AUTHPB__PERMISSION__INIT;
    p.permtype = (Authpb__Permission__Type)access;
    p.key = BYTES(key);
    p.range_end = BYTES(end);
    q.name = (char *)(uintptr_t)role;
    q.perm = key[0] != '\0' ? &p : NULL;
    return ER_CALL(&er, "Auth/RoleGrantPermission", &q, auth_role_grant_permission_response);
}

static struct er_answer log_in(const char *name, const char *with)
{
    PB(AuthenticateRequest) q = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;
    q.name = (char *)(uintptr_t)name;
    q.password = (char *)(uintptr_t)with;
    return ER_CALL(&er, "Auth/Authenticate", &q, authenticate_response);
}

static const char *token(const char *name, const char *with)
{
    struct er_answer a = log_in(name, with);
    expect_ok(a);
    return ((const PB(AuthenticateResponse) *)(const void *)a.message)->token;
}

static struct er_answer put(const char *key, bool prev)
{
    PB(PutRequest) q = ETCDSERVERPB__PUT_REQUEST__INIT;
    q.key = BYTES(key);
    q.prev_kv = prev;
    return ER_CALL(&er, "KV/Put", &q, put_response);
}

static struct er_answer get(const char *key, const char *end)
{
    PB(RangeRequest) q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    q.key = BYTES(key);
    q.range_end = BYTES(end);
    return ER_CALL(&er, "KV/Range", &q, range_response);
}

/* root with a password, u with role r that reads [a, b) and writes w; enabled, as root. */
static void begin_enabled(void)
{
    begin();
    expect_ok(user_add("root", "rootpw", false));
    expect_ok(user_grant("root", "root"));
    expect_ok(user_add("u", "upw", false));
    expect_ok(role_add("r"));
    expect_ok(role_grant("r", AUTH_READ, "a", "b"));
    expect_ok(role_grant("r", AUTH_WRITE, "w", ""));
    expect_ok(user_grant("u", "r"));
    expect_ok(enable(true));
    er.token = token("root", "rootpw");
}

/* Enabling needs root; afterwards nobody without a name does anything. */
START_TEST(enabling)
{
    begin();
    expect_fault(log_in("root", "x"), &etcd_err_auth_not_enabled);
    expect_fault(enable(true), &etcd_err_root_user_missing);
    expect_ok(user_add("root", "rootpw", false));
    expect_fault(enable(true), &etcd_err_root_role_missing);
    expect_ok(user_grant("root", "root"));
    expect_ok(enable(true));
    expect_fault(put("k", false), &etcd_err_user_empty);
    expect_fault(get("k", ""), &etcd_err_user_empty);
    expect_fault(user_add("x", "y", false), &etcd_err_user_empty);
    er.token = "nonsense";
    expect_fault(put("k", false), &etcd_err_invalid_auth_token);
    er.token = token("root", "rootpw"); /* The bad token does not matter here. */
    expect_ok(put("k", false));
    PB(AuthStatusRequest) q = ETCDSERVERPB__AUTH_STATUS_REQUEST__INIT;
    const PB(AuthStatusResponse) *status =
        ER_MUST(&er, "Auth/AuthStatus", &q, auth_status_response, AuthStatusResponse);
    ck_assert(status->enabled);
    ck_assert_uint_eq(status->authrevision, 3);
    expect_ok(enable(false));
    er.token = NULL;
    expect_ok(put("k", false));
    er_end(&er);
}
END_TEST

/* Passwords: right, wrong, of nobody, changed, none. */
START_TEST(passwords)
{
    begin_enabled();
    expect_fault(log_in("u", "wrong"), &etcd_err_auth_failed);
    expect_fault(log_in("nobody", "upw"), &etcd_err_auth_failed);
    const char *root = er.token, *old = token("u", "upw");
    expect_ok(password("u", "new"));
    expect_fault(log_in("u", "upw"), &etcd_err_auth_failed);
    er.token = old;
    expect_fault(get("a", ""), &etcd_err_invalid_auth_token);
    er.token = token("u", "new");
    expect_ok(get("a", ""));
    expect_fault(password("u", "x"), &etcd_err_permission_denied);
    er.token = root;
    expect_ok(user_add("cert", "ignored", true));
    struct er_answer a = log_in("cert", "ignored");
    ck_assert_int_eq(a.status, GRPC_UNKNOWN);
    expect_fault(password("nobody", "x"), &etcd_err_user_not_found);
    expect_fault(user_add("", "x", false), &etcd_err_user_empty);
    expect_fault(user_add("u", "x", false), &etcd_err_user_exists);
    char long_one[80];
    memset(long_one, 'x', sizeof(long_one));
    long_one[79] = '\0';
    a = user_add("long", long_one, false);
    ck_assert_str_eq(a.text, "bcrypt: password length exceeds 72 bytes");
    er_end(&er);
}
END_TEST

/* A user may do what its roles say, and nothing that needs root. */
START_TEST(permissions)
{
    begin_enabled();
    expect_ok(put("a", false));
    expect_fault(role_grant("r", AUTH_READ, "", ""), &etcd_err_permission_not_given);
    expect_fault(role_grant("r", AUTH_READ, "b", "a"), &etcd_err_invalid_auth_mgmt);
    const char *root = er.token;
    er.token = token("u", "upw");
    expect_ok(get("a", ""));
    expect_ok(get("a", "b"));
    expect_fault(get("a", "c"), &etcd_err_permission_denied);
    expect_fault(put("a", false), &etcd_err_permission_denied);
    expect_ok(put("w", false));
    expect_fault(put("w", true), &etcd_err_permission_denied);
    PB(CompactionRequest) compact = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compact.revision = 1;
    expect_fault(ER_CALL(&er, "KV/Compact", &compact, compaction_response),
                 &etcd_err_permission_denied);
    PB(DefragmentRequest) defragment = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    expect_fault(ER_CALL(&er, "Maintenance/Defragment", &defragment, defragment_response),
                 &etcd_err_permission_denied);
    PB(MemberRemoveRequest) remove = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    expect_fault(ER_CALL(&er, "Cluster/MemberRemove", &remove, member_remove_response),
                 &etcd_err_permission_denied);
    expect_fault(role_add("x"), &etcd_err_permission_denied);
    expect_fault(enable(false), &etcd_err_permission_denied);
    /* What changes is seen by the next call with the same token. */
    const char *user = er.token;
    er.token = root;
    expect_ok(role_grant("r", AUTH_READWRITE, "a", "c"));
    er.token = user;
    expect_ok(put("a", true));
    er_end(&er);
}
END_TEST

/* Itself and its own roles a user may look at, others root alone. */
START_TEST(looking)
{
    begin_enabled();
    const char *user = token("u", "upw"), *root = er.token;
    PB(AuthUserGetRequest) get_user = ETCDSERVERPB__AUTH_USER_GET_REQUEST__INIT;
    PB(AuthRoleGetRequest) get_role = ETCDSERVERPB__AUTH_ROLE_GET_REQUEST__INIT;
    PB(AuthUserListRequest) list = ETCDSERVERPB__AUTH_USER_LIST_REQUEST__INIT;
    const PB(AuthUserListResponse) *users =
        ER_MUST(&er, "Auth/UserList", &list, auth_user_list_response, AuthUserListResponse);
    ck_assert_uint_eq(users->n_users, 2);
    ck_assert_str_eq(users->users[0], "root");
    er.token = user;
    get_user.name = "u";
    const PB(AuthUserGetResponse) *u =
        ER_MUST(&er, "Auth/UserGet", &get_user, auth_user_get_response, AuthUserGetResponse);
    ck_assert(u->n_roles == 1 && strcmp(u->roles[0], "r") == 0);
    get_role.role = "r";
    const PB(AuthRoleGetResponse) *r =
        ER_MUST(&er, "Auth/RoleGet", &get_role, auth_role_get_response, AuthRoleGetResponse);
    ck_assert_uint_eq(r->n_perm, 2);
    ck_assert_mem_eq(r->perm[0]->range_end.data, "b", 1);
    get_user.name = "root";
    expect_fault(ER_CALL(&er, "Auth/UserGet", &get_user, auth_user_get_response),
                 &etcd_err_permission_denied);
    get_role.role = "root";
    expect_fault(ER_CALL(&er, "Auth/RoleGet", &get_role, auth_role_get_response),
                 &etcd_err_permission_denied);
    expect_fault(ER_CALL(&er, "Auth/UserList", &list, auth_user_list_response),
                 &etcd_err_permission_denied);
    er.token = root;
    get_user.name = "nobody";
    expect_fault(ER_CALL(&er, "Auth/UserGet", &get_user, auth_user_get_response),
                 &etcd_err_user_not_found);
    get_role.role = "nothing";
    expect_fault(ER_CALL(&er, "Auth/RoleGet", &get_role, auth_role_get_response),
                 &etcd_err_role_not_found);
    er_end(&er);
}
END_TEST

/* Many at once are all answered, and a client that leaves meanwhile harms nothing. */
START_TEST(crowd)
{
    enum { CROWD = 40 };
    begin_enabled();
    PB(AuthenticateRequest) q = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;
    q.name = "u";
    q.password = "upw";
    struct net_bytes *b = proto_pack(&q.base);
    struct er_answer *calls[CROWD];
    for (int i = 0; i < CROWD; i++)
        calls[i] = er_start(&er, "/etcdserverpb.Auth/Authenticate", net_bytes_str(b), false);
    net_bytes_unref(b);
    for (int i = 0; i < CROWD; i += 2)
        grpc_call_cancel(calls[i]->call);
    for (int i = 0; i < CROWD; i++) {
        ck_assert(rig_wait(&er.rig, &calls[i]->done, 20000));
        ck_assert_int_eq(calls[i]->status, i % 2 == 0 ? GRPC_CANCELLED : GRPC_OK);
        er_free(calls[i]);
    }
    er_end(&er);
}
END_TEST

UNIT_MAIN("etcd Auth", {
    UNIT_TEST(enabling);
    UNIT_TEST(passwords);
    UNIT_TEST(permissions);
    UNIT_TEST(looking);
    UNIT_TEST(crowd);
})

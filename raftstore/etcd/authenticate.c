/* authenticate.c - a password for a token. The password is compared off the loop, and
 * whatever changed meanwhile is looked at again. */
#include "lib/base/buf.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "raftstore/etcd/admin.h"
#include "raftstore/etcd/password.h"

#include <openssl/crypto.h>

/*   barrier -> check the password -> [no key for tokens: propose one] -> token
 *      ^             |
 *      '-------------' the user or its password changed meanwhile */

#define AUTHENTICATE_TRIES 5

static const struct etcd_fault no_password = {
    GRPC_UNKNOWN, "auth: authentication failed, password was given for no password user"};

struct authenticate {
    const char *name;
    char *password;
    uint64_t password_rev; /* Of the user when its password was taken for checking. */
    unsigned tries;
};

static void authenticate_begin(struct etcd_call *c, int code);
static void token_key_made(int code, enum auth_refusal refusal, int64_t rev, void *arg);

/* Whatever token came with the call is not looked at. The caller owns the reference. */
static struct auth_state *newest_state(struct etcd_call *c)
{
    struct store_view *v = store_view(etcd_thread_store(c->thread));
    struct auth_state *state = auth_state_ref(store_view_auth(v));
    store_view_unref(v);
    return state;
}

static void authenticate_fail(struct etcd_call *c, const struct etcd_fault *f)
{
    struct authenticate *a = c->user;
    OPENSSL_cleanse(a->password, strlen(a->password));
    etcd_call_fail(c, f);
}

static void propose_token_key(struct etcd_call *c)
{
    char key[AUTH_TOKEN_KEY_BYTES];
    env_system_random(key, sizeof(key));
    struct auth_change change = {.type = AUTH_TOKEN_KEY, .token_key = str_n(key, sizeof(key))};
    etcd_call_hold(c);
    store_auth_change(etcd_thread_store(c->thread), &change, etcd_thread_mailbox(c->thread),
                      token_key_made, c);
    OPENSSL_cleanse(key, sizeof(key));
}

/* The password was right under this state. */
static void authenticate_reply(struct etcd_call *c, const struct auth_state *state)
{
    struct authenticate *a = c->user;
    AUTO_BUF token = BUF_INIT;
    OPENSSL_cleanse(a->password, strlen(a->password));
    if (etcd_token_make(etcd_thread_tokens(c->thread), state, str_of(a->name), &token, NULL) < 0) {
        etcd_call_fail_text(c, GRPC_UNKNOWN, "auth: token signing attempted with verify-only key");
        return;
    }
    buf_putc(&token, '\0');
    Etcdserverpb__AuthenticateResponse response = ETCDSERVERPB__AUTHENTICATE_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(c->thread, 0, &header);
    response.header = &header;
    response.token = (char *)token.data;
    etcd_call_reply_proto(c, &response.base);
}

/* A token, if the user is as it was when its password was checked; else from the
 * beginning. */
static void authenticate_go_on(struct etcd_call *c)
{
    struct authenticate *a = c->user;
    struct auth_state *state = newest_state(c);
    const struct auth_user *u = auth_user(state, str_of(a->name));
    if (!auth_enabled(state) || u == NULL || u->password_rev != a->password_rev)
        authenticate_begin(c, 0);
    else if (etcd_tokens_need_key(etcd_thread_tokens(c->thread), state))
        propose_token_key(c);
    else
        authenticate_reply(c, state);
    auth_state_unref(state);
}

static void token_key_made(int code, enum auth_refusal refusal, int64_t rev, void *arg)
{
    struct etcd_call *c = arg;
    UNUSED(refusal);
    UNUSED(rev);
    if (etcd_call_is_open(c)) {
        if (code < 0)
            authenticate_fail(c, etcd_fault_of_code(code));
        else
            authenticate_go_on(c);
    }
    etcd_call_release(c);
}

static void authenticate_checked(bool right, struct str hash, void *arg)
{
    struct etcd_call *c = arg;
    UNUSED(hash);
    if (etcd_call_is_open(c)) {
        if (right)
            authenticate_go_on(c);
        else
            authenticate_fail(c, &etcd_err_auth_failed);
    }
    etcd_call_release(c);
}

static void authenticate_check(struct etcd_call *c, const struct auth_user *u)
{
    struct authenticate *a = c->user;
    a->password_rev = u != NULL ? u->password_rev : 0;
    etcd_call_hold(c);
    int rc = password_check(etcd_tokens_passwords(etcd_thread_tokens(c->thread)),
                            str_of(a->password), u != NULL ? u->password_hash : STR_NULL,
                            etcd_thread_mailbox(c->thread), authenticate_checked, c);
    if (rc == 0)
        return;
    authenticate_fail(c, etcd_fault_of_code(rc));
    etcd_call_release(c);
}

static void authenticate_begin(struct etcd_call *c, int code)
{
    if (!etcd_call_is_open(c))
        return;
    struct authenticate *a = c->user;
    struct auth_state *state = newest_state(c);
    const struct auth_user *u = auth_user(state, str_of(a->name));
    if (code < 0)
        authenticate_fail(c, etcd_fault_of_code(code));
    else if (!auth_enabled(state))
        authenticate_fail(c, &etcd_err_auth_not_enabled);
    else if (a->tries++ >= AUTHENTICATE_TRIES)
        authenticate_fail(c, &etcd_err_auth_old_revision);
    else if (u != NULL && u->no_password)
        authenticate_fail(c, &no_password);
    else
        authenticate_check(c, u);
    auth_state_unref(state);
}

void admin_on_authenticate(struct etcd_call *c, struct str message)
{
    const Etcdserverpb__AuthenticateRequest *m =
        (const void *)etcd_call_unpack(c, &etcdserverpb__authenticate_request__descriptor, message);
    if (m == NULL)
        return;
    struct authenticate *a = ARENA_NEW(etcd_call_arena(c), struct authenticate);
    a->name = m->name;
    a->password = m->password;
    c->user = a;
    etcd_read_barrier(c, authenticate_begin);
}

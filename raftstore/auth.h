/* auth.h - users, roles and their permissions on key ranges: etcd's model.
 *
 * Pure and deterministic: the same changes in the same order give the same
 * state and refusals on every member. A state is immutable and counted, so any
 * thread may hold one; a change makes a new one. Passwords come as hashes that
 * the proposer made; nothing here hashes, and no clock or randomness is used.
 *
 * Two numbers tell states apart. auth_rev rises with every change that may alter
 * what somebody is allowed to do, enabling and disabling among them: who was
 * allowed something by another one is asked to look again. auth_revision is the
 * number that etcd's clients see; enabling does not raise it. A change without
 * effect (enabled already, role granted already) raises neither. */
#ifndef RAFTSTORE_AUTH_H
#define RAFTSTORE_AUTH_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth_state;
struct buf;
struct error;

#define AUTH_NAME_MAX 1024
#define AUTH_HASH_MAX 256
#define AUTH_TOKEN_KEY_BYTES 32
#define AUTH_KEY_MAX (64u << 10) /* KV_KEY_MAX */
#define AUTH_USERS_MAX 65536
#define AUTH_ROLES_MAX 65536
#define AUTH_PERMISSIONS_MAX 65536 /* Of one role. */
#define AUTH_ROOT_USER "root"
#define AUTH_ROOT_ROLE "root"

/* authpb.Permission.Type's numbers. */
enum auth_access { AUTH_READ = 0, AUTH_WRITE = 1, AUTH_READWRITE = 2 };

/* The numbers stand in logs: never reuse one. */
enum auth_change_type {
    AUTH_ENABLE = 1, /* Needs user root with role root. */
    AUTH_DISABLE = 2,
    AUTH_USER_ADD = 3, /* user, password_hash or no_password */
    AUTH_USER_DELETE = 4,
    AUTH_USER_PASSWORD = 5, /* user, password_hash */
    AUTH_USER_GRANT = 6,    /* user, role */
    AUTH_USER_REVOKE = 7,   /* user, role */
    AUTH_ROLE_ADD = 8,
    AUTH_ROLE_DELETE = 9,
    AUTH_ROLE_GRANT = 10,  /* role, access, key, range_end */
    AUTH_ROLE_REVOKE = 11, /* role, key, range_end */
    AUTH_TOKEN_KEY = 12,   /* token_key; kept only where there is none yet. */
};

struct auth_change {
    enum auth_change_type type;
    struct str user, role;
    struct str password_hash; /* crypt(3) form, bcrypt as etcd's. */
    bool no_password;         /* Only by client certificate. */
    enum auth_access access;
    struct str key, range_end; /* As in txn_cmp: empty is the one key, "\0" from key on. */
    struct str token_key;      /* AUTH_TOKEN_KEY_BYTES */
    /* While enabled, refused unless actor has the role root when it is applied. Not
     * set: the store's own doing, or no user is needed. */
    bool actor_checked;
    struct str actor;
};

/* Why a change was refused; auth_refusal_text() is etcd's wording. */
enum auth_refusal {
    AUTH_REFUSED_NOT,
    AUTH_REFUSED_ROOT_USER_MISSING,
    AUTH_REFUSED_ROOT_ROLE_MISSING,
    AUTH_REFUSED_USER_EXISTS,
    AUTH_REFUSED_USER_EMPTY,
    AUTH_REFUSED_USER_NOT_FOUND,
    AUTH_REFUSED_ROLE_EXISTS,
    AUTH_REFUSED_ROLE_NOT_FOUND,
    AUTH_REFUSED_ROLE_EMPTY,
    AUTH_REFUSED_ROLE_NOT_GRANTED,
    AUTH_REFUSED_PERMISSION_NOT_GRANTED,
    AUTH_REFUSED_INVALID, /* root deleted, root's role revoked while enabled. */
    AUTH_REFUSED_NO_PASSWORD,
    AUTH_REFUSED_LIMIT,
    AUTH_REFUSED_ACTOR, /* The actor has not the role root. */
};

/* May be shared by threads, as may all that hangs on it.
 * Not enabled, no users, no roles, auth_rev 1. */
struct auth_state *auth_state_new(void);
struct auth_state *auth_state_ref(const struct auth_state *a);
void auth_state_unref(struct auth_state *a); /* NULL is a no-op. */

/* A new state in *ret (one reference), or a refusal and *ret untouched. */
enum auth_refusal auth_apply(const struct auth_state *a, const struct auth_change *c,
                             struct auth_state **ret);

void auth_change_encode(const struct auth_change *c, struct buf *out);
/* Strings are views into bytes. Bounded. E_INVALID. */
int auth_change_decode(struct str bytes, struct auth_change *ret, struct error *err);
/* The whole state, for snapshots. Deterministic. */
void auth_state_encode(const struct auth_state *a, struct buf *out);
int auth_state_decode(struct str bytes, struct auth_state **ret, struct error *err);

bool auth_enabled(const struct auth_state *a);
uint64_t auth_rev(const struct auth_state *a);      /* What txn.auth_rev is compared with. Not 0. */
uint64_t auth_revision(const struct auth_state *a); /* What AuthStatus shows. */
/* The same state under another auth_revision: for data of an etcd. */
struct auth_state *auth_with_revision(const struct auth_state *a, uint64_t revision);
/* What members sign tokens with; empty until one was made (AUTH_TOKEN_KEY). Gone
 * with AUTH_DISABLE, and every token with it. */
struct str auth_token_key(const struct auth_state *a);

/* --- looking; everything is borrowed from the state --- */
struct auth_permission {
    enum auth_access access;
    struct str key, range_end;
};
struct auth_role {
    struct str name;
    const struct auth_permission *permissions; /* By key. */
    size_t permission_count;
};
struct auth_user {
    struct str name;
    struct str password_hash;
    bool no_password;
    uint64_t password_rev;   /* auth_revision when the user or its password was last set. */
    const struct str *roles; /* Sorted. */
    size_t role_count;
};
const struct auth_user *auth_user(const struct auth_state *a, struct str name); /* NULL: none. */
const struct auth_role *auth_role(const struct auth_state *a, struct str name);
const struct auth_user *const *auth_users(const struct auth_state *a,
                                          size_t *ret_count); /* Sorted. */
const struct auth_role *const *auth_roles(const struct auth_state *a, size_t *ret_count);
/* Has the role root. */
bool auth_is_root(const struct auth_state *a, struct str user);
/* May the user do this to the whole range? True for everybody while not enabled.
 * Adjacent and overlapping permissions of all its roles count together. */
bool auth_may(const struct auth_state *a, struct str user, enum auth_access access, struct str key,
              struct str range_end);

const char *auth_refusal_text(enum auth_refusal r); /* "etcdserver: user name already exists" */

#endif

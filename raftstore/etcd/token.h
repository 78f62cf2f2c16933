/* token.h - who calls, and what they may do: the front's side of auth.h.
 *
 * A server asks etcd_caller_find() once per call (or stream message), then one
 * of the checks with the ranges that the call touches, and puts
 * etcd_caller_rev() into txn.auth_rev. While auth is not enabled all of this
 * answers yes at the cost of a comparison.
 *
 * Simple tokens are made here without writing anything: "user's name, when,
 * signature" under a key that lives in the replicated state (auth_token_key()), so
 * that every member takes a token that any member gave. One dies 300 s after it was
 * made or, on a member that saw it used, after it was last used; and when its user
 * is deleted or gets a new password, and when auth is disabled. JWTs are etcd's.
 *
 * [any] thread, but for new and free. */
#ifndef RAFTSTORE_ETCD_TOKEN_H
#define RAFTSTORE_ETCD_TOKEN_H

#include "lib/net/grpc.h"
#include "raftstore/auth.h"
#include "raftstore/txn.h"

struct arena;
struct buf;
struct env;
struct error;
struct etcd_tokens;
struct passwords;

/* Why a call ends: etcd's code and text, one of errors.h. NULL stands for "go on". */
struct etcd_fault {
    enum grpc_status status;
    const char *text;
};
/* Of a refused change of users and roles. */
struct etcd_fault etcd_fault_of_refusal(enum auth_refusal r);

#define ETCD_TOKEN_TTL_S 300

struct etcd_tokens_config {
    /* etcd's --auth-token: "simple" or "jwt,sign-method=RS256,pub-key=FILE,
     * priv-key=FILE,ttl=10m". NULL: simple. */
    const char *spec;
    uint32_t ttl_s;       /* etcd's --auth-token-ttl, of simple tokens; 0: ETCD_TOKEN_TTL_S. */
    unsigned bcrypt_cost; /* Of new passwords' hashes; 0: etcd's default. */
    struct env *env;      /* NULL: env_system(). */
};
/* Reads the key files. E_INVALID, E_NOT_FOUND and such say what is wrong with spec. */
int etcd_tokens_new(const struct etcd_tokens_config *config, struct etcd_tokens **ret,
                    struct error *err);
/* No password may be under way. NULL is a no-op. */
void etcd_tokens_free(struct etcd_tokens *t);
/* Where the passwords of users are hashed and checked. */
struct passwords *etcd_tokens_passwords(struct etcd_tokens *t);

/* A token for a user whose password was right under state a; appended. E_AGAIN: a
 * has no token key yet, see etcd_tokens_need_key(). E_NOT_FOUND: no such user.
 * E_INVALID: a public key alone signs nothing. */
int etcd_token_make(struct etcd_tokens *t, const struct auth_state *a, struct str user,
                    struct buf *ret_token, struct error *err);
bool etcd_tokens_need_key(const struct etcd_tokens *t, const struct auth_state *a);

/* Borrows the state, which the caller of these functions keeps while it is used. */
struct etcd_caller {
    const struct auth_state *auth;
    struct str user; /* Empty: nobody. In the arena. */
    bool stale;      /* By a JWT that is older than the users and roles are. */
};
/* token: of the metadata "token" or "authorization", with or without "Bearer ";
 * data NULL: none was sent. common_name: of a verified client certificate,
 * empty where none counts. */
const struct etcd_fault *etcd_caller_find(struct etcd_tokens *t, const struct auth_state *a,
                                          struct str token, struct str common_name,
                                          struct arena *arena, struct etcd_caller *ret);
/* For txn.auth_rev. */
static inline uint64_t etcd_caller_rev(const struct etcd_caller *c)
{
    return auth_rev(c->auth);
}

/* Somebody, whoever: LeaseGrant, LeaseRevoke, LeaseTimeToLive, Status, AlarmGet. */
const struct etcd_fault *etcd_check_user(const struct etcd_caller *c);
/* Has the role root: Compact, Cluster, the rest of Maintenance. */
const struct etcd_fault *etcd_check_root(const struct etcd_caller *c);
/* Range and watch: AUTH_READ. */
const struct etcd_fault *etcd_check_range(const struct etcd_caller *c, enum auth_access access,
                                          struct str key, struct str range_end);
/* A key of a lease that is revoked or kept alive (AUTH_WRITE), shown with its keys
 * or listed (AUTH_READ). No keys: anybody may. */
const struct etcd_fault *etcd_check_lease_keys(const struct etcd_caller *c, enum auth_access access,
                                               const struct kv *const *keys, size_t count);
/* Every compare and operation of both branches. A put with a lease also needs
 * etcd_check_lease_keys(AUTH_WRITE) for the lease's keys: etcd_txn_leases(). */
const struct etcd_fault *etcd_check_txn(const struct etcd_caller *c, const struct txn *t);
/* The leases that puts of t attach to; at most cap are written, *ret_count is how many there are.
 * For a caller who has the role root, or while not enabled, none matter. */
void etcd_txn_leases(const struct etcd_caller *c, const struct txn *t, int64_t *ret, size_t cap,
                     size_t *ret_count);

#endif

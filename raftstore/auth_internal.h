/* auth_internal.h - how a state of users and roles is laid out.
 *
 * A user and a role are one allocation each, immutable and counted: states that
 * follow one another share all but what changed. */
#ifndef RAFTSTORE_AUTH_INTERNAL_H
#define RAFTSTORE_AUTH_INTERNAL_H

#include "raftstore/auth.h"

struct user_entry {
    struct auth_user pub; /* First: the lists hold pointers to it. */
    _Atomic uint32_t refs;
};

/* Keys from start up to end; end empty: all from start on. */
struct auth_span {
    struct str start, end;
};
/* Disjoint, not even adjacent, rising. */
struct auth_spans {
    struct auth_span *spans;
    size_t count;
};

struct role_entry {
    struct auth_role pub; /* First. */
    _Atomic uint32_t refs;
    struct auth_spans read, write;
};

struct auth_state {
    _Atomic uint32_t refs;
    bool enabled;
    uint64_t revision;
    char token_key[AUTH_TOKEN_KEY_BYTES];
    bool has_token_key;
    const struct auth_user **users; /* By name. Counted references. */
    size_t user_count;
    const struct auth_role **roles;
    size_t role_count;
};

/* Copies what they are given, with one reference. The arrays are sorted. */
const struct auth_user *auth_user_new(const struct auth_user *from);
const struct auth_role *auth_role_new(const struct auth_role *from);
void auth_user_unref(const struct auth_user *u);
void auth_role_unref(const struct auth_role *r);
/* Key, then range_end. */
int auth_permission_cmp(const struct auth_permission *a, const struct auth_permission *b);
/* A key, and no range that is empty or reversed. */
bool auth_range_valid(struct str key, struct str range_end);
/* Room for that many users and roles; the counts stay 0. One reference. */
struct auth_state *auth_state_make(size_t user_cap, size_t role_cap);

#endif

/* token_jwt.h - etcd's JWTs: {"username", "revision", "exp"}, signed as --auth-token says. */
#ifndef RAFTSTORE_ETCD_TOKEN_JWT_H
#define RAFTSTORE_ETCD_TOKEN_JWT_H

#include "lib/base/str.h"

struct arena;
struct buf;
struct error;
struct token_jwt;

struct token_claims {
    struct str user;
    uint64_t revision; /* auth_revision() when it was made. */
};

/* options: what follows "jwt," in the flag. Reads key files. */
int token_jwt_new(struct str options, struct token_jwt **ret, struct error *err);
void token_jwt_free(struct token_jwt *t); /* NULL is a no-op. */
int token_jwt_make(const struct token_jwt *t, const struct token_claims *claims, int64_t now_s,
                   struct buf *ret_token, struct error *err);
/* Claims live in the arena. E_UNAUTHORIZED. */
int token_jwt_check(const struct token_jwt *t, struct arena *a, struct str token, int64_t now_s,
                    struct token_claims *ret, struct error *err);

#endif

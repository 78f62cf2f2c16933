/* list_token.h - continue tokens, in upstream's form:
 * base64url of {"v":"meta.k8s.io/v1","rv":N,"start":"name\u0000"}. Pure. */
#ifndef APISERVER_LIST_TOKEN_H
#define APISERVER_LIST_TOKEN_H

#include "lib/base/str.h"

struct arena;
struct meta_v1_status;

/* For what comes from key on, which begins with prefix. */
struct str list_token_make(struct arena *a, struct str prefix, int64_t rv, struct str key);
/* *ret_start is a whole key, in the arena. */
struct meta_v1_status *list_token_read(struct arena *a, struct str prefix, struct str token,
                                       int64_t *ret_rv, struct str *ret_start);

#endif

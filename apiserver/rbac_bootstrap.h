/* rbac_bootstrap.h - makes the built-in roles and bindings, and brings those of
 * an older version up to date. Pure. */
#ifndef APISERVER_RBAC_BOOTSTRAP_H
#define APISERVER_RBAC_BOOTSTRAP_H

#include <stdbool.h>

struct kind_ctx;
struct txn_build;

/* Adds what is missing in ctx->view, or some of it. False: nothing is. */
bool rbac_bootstrap_plan(const struct kind_ctx *ctx, struct txn_build *t);

#endif

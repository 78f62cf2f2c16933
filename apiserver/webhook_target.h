/* webhook_target.h - where a webhook is reached, and what its answer says when it
 * is none. Pure. */
#ifndef APISERVER_WEBHOOK_TARGET_H
#define APISERVER_WEBHOOK_TARGET_H

#include "apiserver/webhook_client.h"
#include "lib/base/base.h"

struct kind_ctx;

/* As configurations give it; by URL or by Service. */
struct webhook_address {
    struct str url, ca_bundle;
    bool by_service;
    struct str ns, name, path; /* Of the Service; path empty: "/". */
    int port;
    uint64_t timeout_ms;
};
/* What configurations of the API groups have in common; c is a pointer to one. */
#define WEBHOOK_ADDRESS(c, timeout)                                                                \
    (struct webhook_address)                                                                       \
    {                                                                                              \
        .url = (c)->url, .ca_bundle = (c)->ca_bundle, .by_service = (c)->service != NULL,          \
        .ns = (c)->service != NULL ? (c)->service->namespace : STR_NULL,                           \
        .name = (c)->service != NULL ? (c)->service->name : STR_NULL,                              \
        .path = (c)->service != NULL && (c)->service->has_path ? (c)->service->path : STR_NULL,    \
        .port = (c)->service != NULL && (c)->service->has_port ? (c)->service->port : 443,         \
        .timeout_ms = (timeout)                                                                    \
    }

/* Looks Services up in ctx's view. *ret_url is for messages; *ret_problem says
 * why the webhook cannot be asked, empty: it can. */
void webhook_target_find(const struct kind_ctx *ctx, const struct webhook_address *address,
                         struct webhook_target *ret, struct str *ret_url, struct str *ret_problem);

/* What is wrong with a call, as upstream's client words it; empty: nothing, the
 * answer is to be read. problem is that of finding the target. */
struct str webhook_call_problem(struct arena *a, const struct webhook_answer *answer,
                                struct str url, struct str problem);

#endif

/* webhook_review.h - what one webhook is asked and what it answers. Pure. */
#ifndef APISERVER_ADMISSION_WEBHOOK_REVIEW_H
#define APISERVER_ADMISSION_WEBHOOK_REVIEW_H

#include "apiserver/admission/policy_set.h"
#include "apiserver/kinds/webhooks.h"
#include "apiserver/webhook_client.h"

struct json;

/* A webhook that may be asked, and as which. */
struct webhook_asking {
    const struct policy_hook *hook;
    const char *type; /* "admit", "validating" */
    bool round;       /* The second one, for those that want it. */
    size_t index;     /* Among those of its type. */
};

/* A webhook that was asked about a write; in the request's arena. */
struct webhook_review {
    struct webhook_asking how;
    const struct webhook_view *hook;
    const struct resource *as; /* In whose version the object was shown. */
    struct json *object;       /* As it was shown. */
    struct str uid;            /* Of the question. */
    struct str version;        /* "v1", or "v1beta1" for those that know no better. */
    struct str url;            /* For messages. */
    struct str problem;        /* Why it cannot be asked; empty: it can. */
    struct webhook_target target;
    struct str body;
    uint64_t timeout_ms;
    uint64_t asked_ns;
    struct webhook_answer answer;
    bool told; /* The answer is in the metrics. */
};

/* *ret is NULL when the webhook is not about this write. */
struct meta_v1_status *webhook_ask(const struct admission *adm, const struct webhook_asking *how,
                                   struct webhook_review **ret);
/* NULL: the write goes on. *ret_patch is the patched object, NULL when it stays. */
struct meta_v1_status *webhook_judge(const struct admission *adm, struct webhook_review *r,
                                     struct json **ret_patch);

#endif

/* pod_certificate.c - see pod_certificate.h. */
#include "kubelet/pod_certificate.h"

#include "api/certificates_v1beta1.h"
#include "api/meta_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"

#include <limits.h>
#include <string.h>

#define ABANDON_S 600 /* As upstream. */
#define PATIENCE_S 5  /* A signer at work answers within; longer than that is told of. */

/* Keys are not left behind in memory. */
static void free_key(char *key)
{
    if (key != NULL)
        explicit_bzero(key, strlen(key));
    free(key);
}

void pod_certificate_done(struct pod_certificate *c)
{
    free_key(c->key);
    free(c->chain);
    free_key(c->asked_key);
    free(c->asked_name);
    free(c->refused);
    *c = (struct pod_certificate){0};
}

bool pod_certificate_wants(const struct pod_certificate *c, int64_t now_s)
{
    return c->refused == NULL && c->asked_name == NULL &&
           (c->chain == NULL || now_s >= c->refresh_s);
}

void pod_certificate_asked(struct pod_certificate *c, char *name, char *key, int64_t now_s,
                           int64_t jitter_s)
{
    c->asked_name = name;
    c->asked_key = key;
    c->abandon_s = now_s + ABANDON_S + jitter_s;
}

static bool put_block(const struct pki_block *b, void *arg)
{
    pki_pem_write(arg, "CERTIFICATE", b->der);
    return true;
}

static void drop_request(struct pod_certificate *c)
{
    free_key(take(c->asked_key));
    free(take(c->asked_name));
}

static void take_chain(struct pod_certificate *c,
                       const struct certificates_v1beta1_pod_certificate_request_status *s,
                       int64_t jitter_s)
{
    AUTO_BUF chain = BUF_INIT;
    if (s->certificate_chain.len <= INT_MAX)
        pki_pem_walk(s->certificate_chain, put_block, &chain);
    free(c->chain);
    free_key(c->key);
    c->chain = xasprintf(STR_FMT, STR_ARG(buf_str(&chain)));
    c->key = take(c->asked_key);
    c->not_after_s = s->not_after != NULL ? s->not_after->seconds : 0;
    c->refresh_s = (s->begin_refresh_at != NULL ? s->begin_refresh_at->seconds : 0) + jitter_s;
    drop_request(c);
}

enum certificate_news
pod_certificate_seen(struct pod_certificate *c,
                     const struct certificates_v1beta1_pod_certificate_request *request,
                     int64_t now_s, int64_t jitter_s)
{
    if (c->asked_name == NULL)
        return CERTIFICATE_SAME;
    if (request == NULL) {
        if (now_s >= c->abandon_s)
            drop_request(c);
        return CERTIFICATE_SAME;
    }
    for (size_t i = 0; i < request->status.conditions_count; i++) {
        const struct meta_v1_condition *d = &request->status.conditions[i];
        if (str_eqc(d->type, "Issued")) {
            take_chain(c, &request->status, jitter_s);
            return CERTIFICATE_ISSUED;
        }
        if (!str_eqc(d->type, "Denied") && !str_eqc(d->type, "Failed"))
            continue;
        c->refused = xasprintf("PodCertificateRequest was permanently %s: reason=\"" STR_FMT
                               "\" message=\"" STR_FMT "\"",
                               str_eqc(d->type, "Denied") ? "denied" : "failed", STR_ARG(d->reason),
                               STR_ARG(d->message));
        drop_request(c);
        return CERTIFICATE_REFUSED;
    }
    return CERTIFICATE_SAME;
}

int pod_certificate_read(const struct pod_certificate *c, int64_t now_s, struct arena *a,
                         struct str *ret_key, struct str *ret_chain, struct error *err)
{
    if (c->refused != NULL)
        return error_set(err, E_INVALID, "%s", c->refused);
    if (c->chain == NULL)
        return error_set(err, now_s < c->began_s + PATIENCE_S ? E_AGAIN : E_NOT_FOUND,
                         "credential bundle is not issued yet");
    *ret_key = arena_strc(a, c->key);
    *ret_chain = arena_strc(a, c->chain);
    return 0;
}

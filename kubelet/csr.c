/* csr.c - see csr.h. */
#include "kubelet/csr.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/log.h"
#include "lib/client/client.h"
#include "lib/net/pki.h"

#include "api/certificates_v1.h"

#include <uv.h>

#define POLL_MS 500u
#define RETRY_MS 2000u
#define CALL_TIMEOUT_MS 10000u

struct csr {
    struct client *client;
    char *name;
    char *signer;
    struct buf request;
    void (*done)(struct str cert_pem, const char *error, void *arg);
    void *arg;
    uv_timer_t timer;
    struct client_request *call;
    bool created;
    bool said_waiting;
};

static void on_timer(uv_timer_t *t);

static void on_timer_closed(uv_handle_t *h)
{
    struct csr *c = h->data;
    buf_done(&c->request);
    free(c->name);
    free(c->signer);
    free(c);
}

void csr_cancel(struct csr *c)
{
    if (c == NULL)
        return;
    if (c->call != NULL)
        client_cancel(take(c->call));
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void finish(struct csr *c, struct str cert, const char *error)
{
    c->done(cert, error, c->arg);
    csr_cancel(c);
}

static const struct api_kind *csr_kind(void)
{
    return api_kind_by_api_version(STR("certificates.k8s.io/v1"), STR("CertificateSigningRequest"));
}

static void on_read(struct client_request *r, const struct client_result *result, void *arg)
{
    struct csr *c = arg;
    UNUSED(r);
    c->call = NULL;
    if (result->code != 0 || result->object == NULL) {
        if (result->code == E_NOT_FOUND)
            c->created = false; /* Collected as garbage: ask anew. */
        else
            log_warning("certificate request %s: %s", c->name, result->message);
        uv_timer_start(&c->timer, on_timer, RETRY_MS, 0);
        return;
    }
    const struct certificates_v1_certificate_signing_request *csr = result->object->msg;
    for (size_t i = 0; i < csr->status.conditions_count; i++) {
        const struct certificates_v1_certificate_signing_request_condition *x =
            &csr->status.conditions[i];
        if (str_eqc(x->type, "Denied") || str_eqc(x->type, "Failed")) {
            AUTO_ARENA *a = arena_new(0);
            finish(c, STR_NULL,
                   str_c(arena_printf(a, "certificate request %s: " STR_FMT ": " STR_FMT, c->name,
                                      STR_ARG(x->type), STR_ARG(x->message))));
            return;
        }
    }
    if (csr->status.certificate.len > 0) {
        finish(c, csr->status.certificate, NULL);
        return;
    }
    if (!c->said_waiting)
        log_info("certificate request %s waits for approval", c->name);
    c->said_waiting = true;
    uv_timer_start(&c->timer, on_timer, POLL_MS, 0);
}

static void on_created(struct client_request *r, const struct client_result *result, void *arg)
{
    struct csr *c = arg;
    UNUSED(r);
    c->call = NULL;
    /* There already: made before a restart of ours, with the same key. */
    if (result->code == 0 || result->code == E_EXISTS)
        c->created = true;
    else
        log_warning("certificate request: %s", result->message);
    uv_timer_start(&c->timer, on_timer, c->created ? 0 : RETRY_MS, 0);
}

static void create(struct csr *c)
{
    static struct str client_usages[] = {STR("digital signature"), STR("client auth")};
    static struct str serving_usages[] = {STR("digital signature"), STR("server auth")};
    bool serving = strcmp(c->signer, SIGNER_SERVING) == 0;
    struct certificates_v1_certificate_signing_request csr = {0};
    csr.metadata.name = str_of(c->name);
    csr.spec.request = buf_str(&c->request);
    csr.spec.signer_name = str_of(c->signer);
    csr.spec.usages = serving ? serving_usages : client_usages;
    csr.spec.usages_count = 2;
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = csr_kind(),
        .body = &csr,
        .timeout_ms = CALL_TIMEOUT_MS,
        .done = on_created,
        .arg = c,
    };
    struct error err;
    if (client_start(c->client, &call, &c->call, &err) != 0)
        PANIC("certificate request: %s", error_message(&err));
}

static void on_timer(uv_timer_t *t)
{
    struct csr *c = t->data;
    if (!c->created) {
        create(c);
        return;
    }
    struct client_call call = {
        .verb = CLIENT_GET,
        .kind = csr_kind(),
        .name = str_of(c->name),
        .timeout_ms = CALL_TIMEOUT_MS,
        .done = on_read,
        .arg = c,
    };
    struct error err;
    if (client_start(c->client, &call, &c->call, &err) != 0)
        PANIC("certificate request: %s", error_message(&err));
}

/* The same key and signer give the same name: a crash leaves one request, not two. */
static char *request_name(const struct csr_config *config)
{
    uint8_t sum[32];
    char hex[33] = "";
    pki_key_spki_sha256(config->key, sum);
    hex_encode_to(sum, 16, hex);
    return xasprintf("%s-%s", strcmp(config->signer, SIGNER_SERVING) == 0 ? "csr" : "node-csr",
                     hex);
}

struct csr *csr_start(const struct csr_config *config)
{
    struct csr *c = xzalloc(sizeof(*c));
    struct error err;
    c->client = config->client;
    c->done = config->done;
    c->arg = config->arg;
    c->name = request_name(config);
    c->signer = xstrdup(config->signer);
    if (pki_csr_create(config->subject, config->key, &c->request, &err) != 0)
        PANIC("certificate request: %s", error_message(&err));
    uv_timer_init(client_loop(config->client), &c->timer);
    c->timer.data = c;
    uv_timer_start(&c->timer, on_timer, 0, 0);
    return c;
}

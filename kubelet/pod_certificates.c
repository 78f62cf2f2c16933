/* pod_certificates.c - see pod_certificates.h.
 *
 *   key and PKCS#10 request (thread) - service account (GET) - PodCertificateRequest (POST) -
 *   watch - pod_certificate.h */
#include "kubelet/pod_certificates.h"

#include "kubelet/job.h"
#include "kubelet/pod_certificate.h"
#include "kubelet/pod_worker.h"
#include "kubelet/pod_worker_internal.h"

#include "api/certificates_v1beta1.h"
#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"
#include "lib/net/pki.h"

#include <string.h>

#define LOOK_MS 30000 /* How often times are looked at. */
#define RETRY_S 5     /* After a call that failed. */
#define JITTER_S 300  /* As upstream. */
#define CALL_MS 10000u

#define request_object struct certificates_v1beta1_pod_certificate_request

struct pod_certificates {
    struct kubelet *k;
    struct informer *requests; /* Of this node; NULL until the first pod wants one. */
    struct list records;
    uv_timer_t timer;
};

struct record {
    struct list link;
    struct pod_certificates *set;
    char *uid, *volume;
    size_t index;
    struct api_object *pod; /* Held. */
    struct pod_certificate c;
    const struct core_v1_pod_certificate_projection *source; /* In pod. */
    bool busy, gone;
    int64_t retry_s;
    /* Of the request that is being made. */
    enum pki_key_type type;
    struct buf key_pem, csr;
    struct error err;
    int code;
};

static const struct api_kind *request_kind(void)
{
    return api_kind_by_api_version(STR("certificates.k8s.io/v1beta1"),
                                   STR("PodCertificateRequest"));
}

static int64_t now_s(const struct pod_certificates *s)
{
    return kubelet_wall_s(s->k);
}

/* Keys are not left behind in memory. */
static void forget_key(struct record *r)
{
    if (r->key_pem.len != 0)
        explicit_bzero(r->key_pem.data, r->key_pem.len);
    buf_clear(&r->key_pem);
    buf_clear(&r->csr);
}

static void drop(struct record *r)
{
    forget_key(r);
    list_remove(&r->link);
    pod_certificate_done(&r->c);
    api_object_unref(r->pod);
    buf_done(&r->key_pem);
    buf_done(&r->csr);
    free(r->uid);
    free(r->volume);
    free(r);
}

static struct pod_worker *worker_of(const struct record *r)
{
    return map_get(&r->set->k->workers, str_of(r->uid));
}

/* --- asking ---------------------------------------------------------------------------------- */

/* True: the record is still wanted. */
static bool end(struct record *r, const char *what, const char *why)
{
    r->busy = false;
    forget_key(r);
    if (r->gone) {
        drop(r);
        return false;
    }
    if (why != NULL) {
        r->retry_s = now_s(r->set) + RETRY_S;
        uv_timer_start(&r->set->timer, r->set->timer.timer_cb, RETRY_S * 1000, LOOK_MS);
        log_warning("pod %s, volume %s: %s: %s", r->uid, r->volume, what, why);
    }
    return true;
}

static void look(struct record *r);

static void on_created(struct client_request *q, const struct client_result *result, void *arg)
{
    struct record *r = arg;
    UNUSED(q);
    if (result->code != 0 || result->object == NULL) {
        end(r, "creating PodCertificateRequest", result->message);
        return;
    }
    struct str name = api_object_meta(result->object)->name;
    pod_certificate_asked(&r->c, xasprintf(STR_FMT, STR_ARG(name)),
                          xasprintf(STR_FMT, STR_ARG(buf_str(&r->key_pem))), now_s(r->set),
                          (int64_t)env_random_below(r->set->k->env, JITTER_S));
    if (end(r, NULL, NULL))
        look(r);
}

static void create(struct record *r, struct str account_uid)
{
    const struct kubelet *k = r->set->k;
    const struct core_v1_pod *pod = r->pod->msg;
    struct meta_v1_owner_reference owner = {.api_version = STR("v1"),
                                            .kind = STR("Pod"),
                                            .name = pod->metadata.name,
                                            .uid = pod->metadata.uid};
    request_object body = {.metadata = {.generate_name = STR("req-"),
                                        .namespace = pod->metadata.namespace,
                                        .owner_references = &owner,
                                        .owner_references_count = 1}};
    body.spec = (struct certificates_v1beta1_pod_certificate_request_spec){
        .signer_name = r->source->signer_name,
        .pod_name = pod->metadata.name,
        .pod_uid = pod->metadata.uid,
        .service_account_name = pod->spec.service_account_name,
        .service_account_uid = account_uid,
        .node_name = str_of(k->node_name),
        .node_uid = api_object_meta(k->node)->uid,
        .has_max_expiration_seconds = r->source->has_max_expiration_seconds,
        .max_expiration_seconds = r->source->max_expiration_seconds,
        .stub_pkcs10_request = buf_str(&r->csr),
        .unverified_user_annotations = r->source->user_annotations,
        .unverified_user_annotations_count = r->source->user_annotations_count};
    struct client_call call = {.verb = CLIENT_CREATE,
                               .kind = request_kind(),
                               .namespace_name = pod->metadata.namespace,
                               .body = &body,
                               .timeout_ms = CALL_MS,
                               .done = on_created,
                               .arg = r};
    struct error err;
    if (client_start(k->client, &call, NULL, &err) != 0)
        end(r, "creating PodCertificateRequest", error_message(&err));
}

static void on_account(struct client_request *q, const struct client_result *result, void *arg)
{
    struct record *r = arg;
    UNUSED(q);
    if (result->code != 0 || result->object == NULL)
        end(r, "fetching service account", result->message);
    else if (r->gone || r->set->k->node == NULL)
        end(r, "creating PodCertificateRequest", "the node is not registered");
    else
        create(r, api_object_meta(result->object)->uid);
}

static void make_key(void *arg)
{
    struct record *r = arg;
    struct pki_key *key;
    r->code = pki_key_generate(r->type, &key, &r->err);
    if (r->code != 0)
        return;
    pki_key_pkcs8_pem(key, &r->key_pem);
    r->code = pki_csr_create_der(&(struct pki_subject){0}, key, &r->csr, &r->err);
    pki_key_unref(key);
}

static void on_key(void *arg)
{
    struct record *r = arg;
    const struct core_v1_pod *pod = r->pod->msg;
    struct client_call call = {.verb = CLIENT_GET,
                               .kind = api_kind_by_api_version(STR("v1"), STR("ServiceAccount")),
                               .namespace_name = pod->metadata.namespace,
                               .name = pod->spec.service_account_name,
                               .timeout_ms = CALL_MS,
                               .done = on_account,
                               .arg = r};
    if (r->code == 0 && !r->gone)
        r->code = client_start(r->set->k->client, &call, NULL, &r->err);
    if (r->code != 0 || r->gone)
        end(r, "making a key", r->code != 0 ? error_message(&r->err) : "not wanted any more");
}

static enum pki_key_type type_of(struct str name)
{
    static const struct {
        const char *name;
        enum pki_key_type type;
    } types[] = {{"RSA3072", PKI_KEY_RSA3072},
                 {"RSA4096", PKI_KEY_RSA4096},
                 {"ECDSAP384", PKI_KEY_P384},
                 {"ECDSAP521", PKI_KEY_P521},
                 {"ED25519", PKI_KEY_ED25519}};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (str_eqc(name, types[i].name))
            return types[i].type;
    return PKI_KEY_P256; /* The API lets no other through. */
}

/* --- following ---------------------------------------------------------------------------------
 */

static void tell(struct record *r, enum certificate_news news)
{
    struct pod_worker *w = worker_of(r);
    if (news == CERTIFICATE_SAME || w == NULL)
        return;
    if (news == CERTIFICATE_REFUSED)
        worker_event(w, NULL, "Warning",
                     strstr(r->c.refused, " denied: ") != NULL ? "Denied" : "Failed", "%s",
                     r->c.refused);
    pod_worker_object_changed(w);
}

static void look(struct record *r)
{
    struct pod_certificates *s = r->set;
    if (r->busy || r->gone)
        return;
    if (r->c.asked_name != NULL && informer_has_synced(s->requests)) {
        struct api_object *o =
            informer_get(s->requests, api_object_meta(r->pod)->namespace, str_of(r->c.asked_name));
        tell(r, pod_certificate_seen(&r->c, o != NULL ? o->msg : NULL, now_s(s),
                                     (int64_t)env_random_below(s->k->env, JITTER_S)));
    }
    if (!pod_certificate_wants(&r->c, now_s(s)) || now_s(s) < r->retry_s)
        return;
    r->busy = true;
    r->type = type_of(r->source->key_type);
    job_start(s->k->loop, make_key, on_key, r);
}

static void look_at_all(struct pod_certificates *s)
{
    for (struct list *n = s->records.next, *next; n != &s->records; n = next) {
        next = n->next;
        look(LIST_ENTRY(n, struct record, link));
    }
}

static void on_timer(uv_timer_t *t)
{
    look_at_all(t->data);
}

static void on_add(struct api_object *o, void *arg)
{
    UNUSED(o);
    look_at_all(arg);
}

static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    on_add(o, arg);
}

static void on_synced(void *arg)
{
    look_at_all(arg);
}

static int start(struct pod_certificates *s, struct error *err)
{
    AUTO_FREE char *own = xasprintf("spec.nodeName=%s", s->k->node_name);
    struct informer_config config = {
        .kind = request_kind(), .field_selector = str_of(own), .optional = true};
    struct informer_handler handler = {
        .on_add = on_add, .on_update = on_update, .on_synced = on_synced, .arg = s};
    if (s->k->client == NULL)
        return error_set(err, E_NOT_IMPLEMENTED, "podCertificate is not there without an API");
    int rc = informer_new(s->k->client, &config, &s->requests, err);
    if (rc != 0)
        return rc;
    informer_add_handler(s->requests, &handler);
    informer_start(s->requests);
    uv_timer_start(&s->timer, on_timer, LOOK_MS, LOOK_MS);
    return 0;
}

/* --- the set ------------------------------------------------------------------------------------
 */

struct pod_certificates *pod_certificates_new(struct kubelet *k)
{
    struct pod_certificates *s = xzalloc(sizeof(*s));
    s->k = k;
    list_init(&s->records);
    uv_timer_init(k->loop, &s->timer);
    s->timer.data = s;
    return s;
}

static struct record *find(const struct pod_certificates *s, const char *uid, struct str volume,
                           size_t index)
{
    for (struct list *n = s->records.next; n != &s->records; n = n->next) {
        struct record *r = LIST_ENTRY(n, struct record, link);
        if (!r->gone && r->index == index && strcmp(r->uid, uid) == 0 && str_eqc(volume, r->volume))
            return r;
    }
    return NULL;
}

int pod_certificates_read(struct pod_certificates *s, struct pod_worker *w, struct str volume,
                          size_t index, const struct core_v1_pod_certificate_projection *p,
                          struct arena *a, struct str *ret_key, struct str *ret_chain,
                          struct error *err)
{
    struct record *r = find(s, pod_worker_uid(w), volume, index);
    int rc = s->requests == NULL ? start(s, err) : 0;
    if (rc != 0)
        return rc;
    if (r == NULL) {
        r = xzalloc(sizeof(*r));
        r->set = s;
        r->uid = xstrdup(pod_worker_uid(w));
        r->volume = xasprintf(STR_FMT, STR_ARG(volume));
        r->index = index;
        r->pod = api_object_ref(pod_worker_object(w));
        r->source = p;
        r->c.began_s = now_s(s);
        list_push_back(&s->records, &r->link);
        look(r);
    }
    return pod_certificate_read(&r->c, now_s(s), a, ret_key, ret_chain, err);
}

void pod_certificates_forget(struct pod_certificates *s, const char *uid)
{
    for (struct list *n = s->records.next, *next; n != &s->records; n = next) {
        struct record *r = LIST_ENTRY(n, struct record, link);
        next = n->next;
        if (strcmp(r->uid, uid) != 0)
            continue;
        r->gone = true;
        if (!r->busy)
            drop(r);
    }
}

/* trustbundlepublisher.c - keeps one ClusterTrustBundle with the CA that --root-ca-file names, for
 * the signer kubernetes.io/kube-apiserver-serving: what verifies API servers. Its name tells the
 * content, so a new CA makes a new bundle, and the old one goes behind it. */
#include "controllers/controller.h"

#include "api/certificates_v1beta1.h"
#include "api/meta_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/net/pki.h"

#define SIGNER "kubernetes.io/kube-apiserver-serving"
#define NAME_PREFIX "kubernetes.io:kube-apiserver-serving:"
#define NAME_HASH_BYTES 12 /* Of the SHA-256 of the file. */
#define CA_BYTES_MAX (1024u * 1024u)
#define LOOK_MS 60000 /* How often the file is read. */
#define KEY STR("ca")

#define bundle_object struct certificates_v1beta1_cluster_trust_bundle

static bool is_ours(const struct api_object *o)
{
    return str_eqc(((const bundle_object *)o->msg)->spec.signer_name, SIGNER);
}

static void touch_bundle(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (is_ours(o != NULL ? o : old))
        controller_enqueue(r, KEY);
}

static void look(struct controller_run *r)
{
    controller_enqueue(r, KEY);
}

static struct str name_of(struct arena *a, struct str pem)
{
    uint8_t sum[32];
    AUTO_BUF b = BUF_INIT;
    net_sha256(pem.data, pem.len, sum);
    for (size_t i = 0; i < NAME_HASH_BYTES; i++)
        buf_printf(&b, "%02x", sum[i]);
    return arena_printf(a, NAME_PREFIX STR_FMT, STR_ARG(buf_str(&b)));
}

/* Bundles of older CAs, once the present one is there. */
static void remove_others(struct reconcile *c, struct informer *bundles, struct str name)
{
    struct api_object *o;
    for (size_t pos = 0; (o = informer_next(bundles, &pos)) != NULL;) {
        const bundle_object *b = o->msg;
        if (is_ours(o) && !str_eq(b->metadata.name, name))
            reconcile_delete(c, informer_kind(bundles), &b->metadata);
    }
}

static void publish(struct reconcile *c)
{
    const char *path = controller_options()->root_ca_file;
    struct informer *bundles =
        controller_informer(c->run, "certificates.k8s.io", "ClusterTrustBundle");
    AUTO_BUF pem = BUF_INIT;
    struct error err = {0};
    if (path == NULL)
        return;
    if (file_read(path, CA_BYTES_MAX, &pem, &err) != 0) {
        log_error("--root-ca-file: %s", error_message(&err));
        return; /* It is read again by and by. */
    }
    struct str ca = arena_str(c->arena, buf_str(&pem)), name = name_of(c->arena, ca);
    struct api_object *o = informer_get(bundles, STR_NULL, name);
    if (o == NULL) {
        bundle_object b = {.spec = {.signer_name = STR(SIGNER), .trust_bundle = ca}};
        b.metadata.name = name;
        /* It comes back as a change, and the others go then. */
        reconcile_call(c,
                       &(struct client_call){
                           .verb = CLIENT_CREATE, .kind = informer_kind(bundles), .body = &b},
                       NULL, NULL);
    } else if (!str_eq(((const bundle_object *)o->msg)->spec.trust_bundle, ca)) {
        bundle_object *copy = reconcile_copy(c, o);
        copy->spec.trust_bundle = ca;
        reconcile_update(c, informer_kind(bundles), copy, NULL);
    } else {
        remove_others(c, bundles, name);
    }
}

static bool wanted(void)
{
    return controller_options()->cluster_trust_bundle;
}

static const struct controller_watch watches[] = {
    {"certificates.k8s.io", "v1beta1", "ClusterTrustBundle", touch_bundle},
    {0},
};

const struct controller controller_trustbundlepublisher = {
    .name = "kube-apiserver-serving-clustertrustbundle-publisher-controller",
    .wanted = wanted,
    .workers = 1,
    .watches = watches,
    .init = look,
    .reconcile = publish,
    .tick_ms = LOOK_MS,
    .tick = look,
};

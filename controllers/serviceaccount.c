/* serviceaccount.c - every namespace has a service account "default" and a
 * ConfigMap "kube-root-ca.crt" with the CA that its pods trust. */
#include "controllers/controller.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

#define ROOT_CA_NAME "kube-root-ca.crt"
#define ROOT_CA_NOTE "kubernetes.io/description"
#define PEM_MAX (256u * 1024u)
#define ROOT_CA_RETRY_MS 60000

/* The namespace is the key of both controllers. */
static void touch_namespace(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL)
        controller_enqueue(r, api_object_meta(o)->name);
}

/* Only the one object matters, and only when it goes or changes. */
static void touch_account(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (o == NULL && str_eqc(api_object_meta(old)->name, "default"))
        controller_enqueue(r, api_object_meta(old)->namespace);
}

static void touch_map(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct meta_v1_object_meta *m = api_object_meta(o != NULL ? o : old);
    if (str_eqc(m->name, ROOT_CA_NAME))
        controller_enqueue(r, m->namespace);
}

static bool is_active(struct reconcile *c)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Namespace"), c->key);
    const struct core_v1_namespace *n = o != NULL ? o->msg : NULL;
    return n != NULL && n->metadata.deletion_timestamp == NULL &&
           !str_eqc(n->status.phase, "Terminating");
}

/* It may have been made, or the namespace have gone, since the cache was
 * filled: neither is a failure. */
static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == 0 || result->code == E_EXISTS || result->code == E_NOT_FOUND ||
        (result->code == E_FORBIDDEN && !is_active(c)))
        return;
    log_warning("%s in " STR_FMT ": %s", c->run->controller->name, STR_ARG(c->key),
                result->message);
    reconcile_fail(c);
}

static void reconcile_account(struct reconcile *c)
{
    if (!is_active(c) || informer_get(controller_informer(c->run, "", "ServiceAccount"), c->key,
                                      STR("default")) != NULL)
        return;
    const struct api_kind *kind = api_kind_by_gvk(STR(""), STR("v1"), STR("ServiceAccount"));
    struct core_v1_service_account account = {0};
    account.metadata.name = STR("default");
    account.metadata.namespace = c->key;
    reconcile_call(
        c,
        &(struct client_call){
            .verb = CLIENT_CREATE, .kind = kind, .namespace_name = c->key, .body = &account},
        on_created, NULL);
}

static const struct controller_watch account_watches[] = {
    {"", "v1", "Namespace", touch_namespace},
    {"", "v1", "ServiceAccount", touch_account},
    {0},
};

const struct controller controller_serviceaccount = {
    .name = "serviceaccount-controller",
    .watches = account_watches,
    .reconcile = reconcile_account,
};

/* --- the CA that pods trust ---------------------------------------------------------- */

static void reconcile_root_ca(struct reconcile *c)
{
    const char *path = controller_options()->root_ca_file;
    if (!is_active(c) || path == NULL)
        return;
    AUTO_BUF pem = BUF_INIT;
    struct error err = {0};
    if (file_read(path, PEM_MAX, &pem, &err) != 0) {
        log_error("--root-ca-file: %s", error_message(&err));
        reconcile_again_after(c, ROOT_CA_RETRY_MS);
        return;
    }
    const struct api_kind *kind = api_kind_by_gvk(STR(""), STR("v1"), STR("ConfigMap"));
    struct api_str_entry *data = ARENA_NEW(c->arena, struct api_str_entry);
    *data = (struct api_str_entry){STR("ca.crt"), arena_str(c->arena, buf_str(&pem))};
    struct api_object *o =
        informer_get(controller_informer(c->run, "", "ConfigMap"), c->key, STR(ROOT_CA_NAME));
    if (o != NULL) {
        const struct core_v1_config_map *there = o->msg;
        if (there->data_count == 1 && str_eq(there->data[0].key, data->key) &&
            str_eq(there->data[0].value, data->value))
            return;
        struct core_v1_config_map *copy = reconcile_copy(c, o);
        copy->data = data;
        copy->data_count = 1;
        reconcile_update(c, kind, copy, NULL);
        return;
    }
    struct api_str_entry *note = ARENA_NEW(c->arena, struct api_str_entry);
    *note = (struct api_str_entry){STR(ROOT_CA_NOTE),
                                   STR("Contains a CA bundle that can be used to verify the "
                                       "kube-apiserver when using internal endpoints such as "
                                       "the internal service IP or kubernetes.default.svc. No "
                                       "other usage is guaranteed across distributions of "
                                       "Kubernetes clusters.")};
    struct core_v1_config_map map = {.data = data, .data_count = 1};
    map.metadata.name = STR(ROOT_CA_NAME);
    map.metadata.namespace = c->key;
    map.metadata.annotations = note;
    map.metadata.annotations_count = 1;
    reconcile_call(c,
                   &(struct client_call){
                       .verb = CLIENT_CREATE, .kind = kind, .namespace_name = c->key, .body = &map},
                   on_created, NULL);
}

static const struct controller_watch root_ca_watches[] = {
    {"", "v1", "Namespace", touch_namespace},
    {"", "v1", "ConfigMap", touch_map},
    {0},
};

const struct controller controller_root_ca = {
    .name = "root-ca-certificate-publisher-controller",
    .watches = root_ca_watches,
    .reconcile = reconcile_root_ca,
};

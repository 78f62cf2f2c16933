/* serviceaccounttoken.c - secrets of type kubernetes.io/service-account-token are
 * filled with a token, the CA and the namespace, and go with their account. The
 * token never expires: it is good while the secret is there. */
#include "controllers/controller.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/client/labels.h"
#include "lib/net/jwt.h"
#include "lib/net/pki.h"

#define TYPE "kubernetes.io/service-account-token"
#define ACCOUNT_NAME "kubernetes.io/service-account.name"
#define ACCOUNT_UID "kubernetes.io/service-account.uid"
#define CLAIM "kubernetes.io/serviceaccount/"
#define PEM_MAX (256u * 1024u)
#define RETRY_MS 60000
#define CACHE_MS 1000 /* The cache is soon as new as the server. */

static bool is_token_secret(const struct core_v1_secret *s)
{
    return str_eqc(s->type, TYPE) && annotation_get(&s->metadata, ACCOUNT_NAME) != NULL;
}

static void touch_secret(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL && is_token_secret(o->msg))
        controller_enqueue_object(r, o);
}

/* An account that is new, or gone: its secrets want to be looked at. */
static void touch_account(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    size_t count;
    if (old != NULL && o != NULL)
        return;
    const struct meta_v1_object_meta *m = api_object_meta(o != NULL ? o : old);
    struct api_object *const *all = controller_in_namespace(r, "", "Secret", m->namespace, &count);
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_secret *s = all[i]->msg;
        if (is_token_secret(s) && str_eq(*annotation_get(&s->metadata, ACCOUNT_NAME), m->name))
            controller_enqueue_object(r, all[i]);
    }
}

static struct str data_of(const struct core_v1_secret *s, const char *key)
{
    for (size_t i = 0; i < s->data_count; i++)
        if (str_eqc(s->data[i].key, key))
            return s->data[i].value;
    return STR_NULL;
}

/* --- what is put in ------------------------------------------------------------------------ */
static void set_claim(struct arena *a, struct json *j, const char *name, struct str value)
{
    json_setc(a, j, name, json_string(a, value));
}

static int make_token(struct arena *a, const struct core_v1_secret *s,
                      const struct meta_v1_object_meta *account, struct str *ret, struct error *err)
{
    AUTO_BUF pem = BUF_INIT;
    AUTO_BUF claims = BUF_INIT;
    AUTO_BUF token = BUF_INIT;
    struct pki_key *key = NULL;
    struct json *j = json_object(a);
    set_claim(a, j, "iss", STR("kubernetes/serviceaccount"));
    set_claim(a, j, CLAIM "namespace", s->metadata.namespace);
    set_claim(a, j, CLAIM "secret.name", s->metadata.name);
    set_claim(a, j, CLAIM "service-account.name", account->name);
    set_claim(a, j, CLAIM "service-account.uid", account->uid);
    set_claim(a, j, "sub",
              arena_printf(a, "system:serviceaccount:" STR_FMT ":" STR_FMT,
                           STR_ARG(account->namespace), STR_ARG(account->name)));
    json_write(j, false, &claims);
    int code = file_read(controller_options()->service_account_key_file, PEM_MAX, &pem, err);
    if (code == 0)
        code = pki_key_parse(buf_str(&pem), &key, err);
    if (code == 0)
        code = jwt_sign(key, buf_str(&claims), &token, err);
    pki_key_unref(key);
    if (code == 0)
        *ret = arena_str(a, buf_str(&token));
    return code;
}

/* The CA that pods trust; empty: none is configured. */
static int read_ca(struct arena *a, struct str *ret, struct error *err)
{
    AUTO_BUF pem = BUF_INIT;
    const char *path = controller_options()->root_ca_file;
    int code = path != NULL ? file_read(path, PEM_MAX, &pem, err) : 0;
    if (code == 0)
        *ret = arena_str(a, buf_str(&pem));
    return code;
}

static void set_data(struct arena *a, struct core_v1_secret *s, const char *key, struct str value)
{
    for (size_t i = 0; i < s->data_count; i++)
        if (str_eqc(s->data[i].key, key)) {
            s->data[i].value = value;
            return;
        }
    struct api_str_entry *all = ARENA_ARRAY(a, struct api_str_entry, s->data_count + 1);
    if (s->data_count != 0)
        memcpy(all, s->data, s->data_count * sizeof(*all));
    all[s->data_count].key = str_of(key);
    all[s->data_count++].value = value;
    s->data = all;
}

static void set_uid(struct arena *a, struct meta_v1_object_meta *m, struct str uid)
{
    struct api_str_entry *all = ARENA_ARRAY(a, struct api_str_entry, m->annotations_count + 1);
    size_t i = 0;
    memcpy(all, m->annotations, m->annotations_count * sizeof(*all));
    while (i < m->annotations_count && !str_eqc(all[i].key, ACCOUNT_UID))
        i++;
    all[i] = (struct api_str_entry){STR(ACCOUNT_UID), uid};
    m->annotations_count = MAX_OF(m->annotations_count, i + 1);
    m->annotations = all;
}

static void fill(struct reconcile *c, const struct api_kind *kind, struct api_object *o,
                 const struct meta_v1_object_meta *account)
{
    const struct core_v1_secret *there = o->msg;
    const struct str *uid = annotation_get(&there->metadata, ACCOUNT_UID);
    struct str token = data_of(there, "token"), ca = STR_NULL;
    struct error err = {0};
    bool needs_token = token.len == 0;
    int code = needs_token ? make_token(c->arena, there, account, &token, &err) : 0;
    if (code == 0)
        code = read_ca(c->arena, &ca, &err);
    if (code != 0) {
        log_error("token of secret " STR_FMT ": %s", STR_ARG(c->key), error_message(&err));
        reconcile_again_after(c, RETRY_MS);
        return;
    }
    bool needs_ca = ca.len != 0 && !str_eq(data_of(there, "ca.crt"), ca);
    bool needs_ns = !str_eq(data_of(there, "namespace"), there->metadata.namespace);
    if (!needs_token && !needs_ca && !needs_ns && uid != NULL)
        return;
    struct core_v1_secret *copy = reconcile_copy(c, o);
    if (needs_ca)
        set_data(c->arena, copy, "ca.crt", ca);
    if (needs_ns)
        set_data(c->arena, copy, "namespace", there->metadata.namespace);
    if (needs_token)
        set_data(c->arena, copy, "token", token);
    if (uid == NULL)
        set_uid(c->arena, &copy->metadata, account->uid);
    reconcile_update(c, kind, copy, NULL);
}

static bool is_of(const struct core_v1_secret *s, const struct meta_v1_object_meta *account)
{
    const struct str *uid = annotation_get(&s->metadata, ACCOUNT_UID);
    return uid == NULL || str_eq(*uid, account->uid);
}

static void on_account(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Secret"), c->key);
    if (o == NULL)
        return;
    const struct core_v1_secret *s = o->msg;
    if (result->code == E_NOT_FOUND ||
        (result->code == 0 && !is_of(s, api_object_meta(result->object))))
        reconcile_delete(c, o->kind, &s->metadata);
    else if (result->code == 0)
        reconcile_again_after(c, CACHE_MS);
    else
        reconcile_fail(c);
}

static void reconcile_secret(struct reconcile *c)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Secret"), c->key);
    const struct core_v1_secret *s = o != NULL ? o->msg : NULL;
    if (controller_options()->service_account_key_file == NULL || s == NULL ||
        s->metadata.deletion_timestamp != NULL || !is_token_secret(s))
        return;
    const struct api_kind *kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Secret"));
    struct str name = *annotation_get(&s->metadata, ACCOUNT_NAME);
    struct api_object *account =
        informer_get(controller_informer(c->run, "", "ServiceAccount"), c->namespace_name, name);
    const struct meta_v1_object_meta *m = account != NULL ? api_object_meta(account) : NULL;
    if (m != NULL && is_of(s, m)) {
        fill(c, kind, o, m);
        return;
    }
    /* The cache may be behind: a secret goes only when the server says that its account did. */
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_GET,
                              .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("ServiceAccount")),
                              .namespace_name = c->namespace_name,
                              .name = name},
        on_account, NULL);
}

static const struct controller_watch token_watches[] = {
    {"", "v1", "Secret", touch_secret},
    {"", "v1", "ServiceAccount", touch_account},
    {0},
};

const struct controller controller_serviceaccounttoken = {
    .name = "serviceaccount-token-controller",
    .watches = token_watches,
    .reconcile = reconcile_secret,
};

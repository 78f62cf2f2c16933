/* set.c - see set.h. */
#include "apiserver/aggregation/set.h"

#include "api/apiregistration_v1.h"
#include "apiserver/aggregation/apiservice.h"
#include "apiserver/apiserver.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/net/tls.h"
#include "raftstore/store.h"

#include <pthread.h>
#include <stdlib.h>

#define OPENAPI_PATH "/openapi/v3"

struct aggregated_set {
    atomic_uint refs;
    int64_t rev; /* Of the view it was made from. */
    uint64_t serial;
    struct aggregated_service **services; /* In the order of names. */
    size_t count, remote_count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct aggregated_set *newest; /* Under the lock, as the numbers. */
static uint64_t last_serial, last_backend;
static _Thread_local struct aggregated_set *current;

/* --- life --------------------------------------------------------------------------------- */
static void free_str(struct str s)
{
    free((char *)(uintptr_t)s.data);
}

static void backend_unref(struct aggregated_backend *b)
{
    if (b == NULL || atomic_fetch_sub(&b->refs, 1) != 1)
        return;
    tls_context_unref(b->tls);
    free(b->problem);
    free(b);
}

struct aggregated_service *aggregated_service_ref(struct aggregated_service *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void aggregated_service_unref(void *arg)
{
    struct aggregated_service *s = arg;
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    free_str(s->name);
    free_str(s->group);
    free_str(s->version);
    free_str(s->service_ns);
    free_str(s->service_name);
    free_str(s->ca_bundle);
    backend_unref(s->backend);
    free(s);
}

static void set_unref(struct aggregated_set *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (size_t i = 0; i < s->count; i++)
        aggregated_service_unref(s->services[i]);
    free((void *)s->services);
    free(s);
}

static struct str own(struct str s)
{
    return str_n(xstrndup(s.data != NULL ? s.data : "", s.len), s.len);
}

/* --- building ------------------------------------------------------------------------------ */
/* The files of the front proxy's certificate are read here: for an APIService
 * that is new, which is rare, and they are small. */
static struct aggregated_backend *make_backend(const struct apiserver *server,
                                               const struct aggregated_service *s)
{
    struct aggregated_backend *b = xzalloc(sizeof(*b));
    struct error err = {0};
    struct tls_config c = {.cert.file = server->config.proxy_client_cert_file,
                           .key.file = server->config.proxy_client_key_file,
                           .ca.pem = s->ca_bundle,
                           .skip_verify = s->insecure,
                           .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1};
    atomic_init(&b->refs, 1);
    b->id = ++last_backend;
    if (tls_context_new(&c, &b->tls, &err) != 0) {
        b->problem = xstrdup(error_message(&err));
        log_warning("APIService " STR_FMT ": %s", STR_ARG(s->name), b->problem);
    }
    return b;
}

static bool same_backend(const struct aggregated_service *x, const struct aggregated_service *y)
{
    return y->remote && x->insecure == y->insecure && str_eq(x->ca_bundle, y->ca_bundle) &&
           str_eq(x->service_ns, y->service_ns) && str_eq(x->service_name, y->service_name);
}

static struct aggregated_service *make(const struct apiserver *server, const struct kv *kv,
                                       const struct aggregated_service *before)
{
    AUTO_ARENA *a = arena_new(0);
    const struct resource *res = registry_storage(STR(APISERVICE_GROUP), STR("apiservices"));
    void *msg;
    if (stored_decode(a, res, stored_value(kv), kv->mod_rev, &msg, NULL) != 0)
        return NULL;
    const struct apiregistration_v1_api_service *o = msg;
    struct aggregated_service *s = xzalloc(sizeof(*s));
    atomic_init(&s->refs, 1);
    s->name = own(o->metadata.name);
    s->group = own(o->spec.group);
    s->version = own(o->spec.version);
    s->group_priority = o->spec.group_priority_minimum;
    s->version_priority = o->spec.version_priority;
    s->mod_rev = kv->mod_rev;
    s->available = apiservice_is_available(o);
    /* This server's own registry and the core are nobody else's to serve. */
    s->remote = o->spec.service != NULL && o->spec.group.len != 0 &&
                !str_eqc(o->spec.group, APISERVICE_GROUP);
    if (!s->remote)
        return s;
    s->service_ns = own(o->spec.service->namespace);
    s->service_name = own(o->spec.service->name);
    s->service_port = o->spec.service->has_port ? o->spec.service->port : APISERVICE_PORT;
    s->ca_bundle = own(o->spec.ca_bundle);
    s->insecure = o->spec.insecure_skip_tls_verify;
    if (before != NULL && same_backend(s, before)) {
        s->backend = before->backend;
        atomic_fetch_add(&s->backend->refs, 1);
    } else {
        s->backend = make_backend(server, s);
    }
    return s;
}

static struct aggregated_service *find_in(const struct aggregated_set *set, struct str name)
{
    for (size_t i = 0; set != NULL && i < set->count; i++)
        if (str_eq(set->services[i]->name, name))
            return set->services[i];
    return NULL;
}

static bool same_as(const struct aggregated_set *set, const struct kv *const *found, size_t count)
{
    if (set == NULL || set->count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (set->services[i]->mod_rev != found[i]->mod_rev)
            return false;
    return true;
}

/* NULL: the services are those of the set before. */
static struct aggregated_set *build(const struct apiserver *server, const struct store_view *view,
                                    const struct aggregated_set *before)
{
    static const char end[] = "/registry/apiregistration.k8s.io/apiservices0";
    struct store_iter it;
    const struct kv **found = NULL;
    size_t n = 0, cap = 0;
    if (store_iter_init(&it, view, STR(APISERVICE_PREFIX), STR(end), 0) != 0)
        return NULL;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL; n++) {
        if (n == cap) {
            cap = cap != 0 ? cap * 2 : 32;
            found = xrealloc((void *)found, cap * sizeof(*found));
        }
        found[n] = kv;
    }
    if (same_as(before, found, n)) {
        free((void *)found);
        return NULL;
    }
    struct aggregated_set *s = xzalloc(sizeof(*s));
    atomic_init(&s->refs, 1);
    s->serial = ++last_serial;
    s->services = xzalloc((n + 1) * sizeof(struct aggregated_service *));
    for (size_t i = 0; i < n; i++) {
        struct str key = kv_key(found[i]);
        struct str name = str_sub(key, sizeof(APISERVICE_PREFIX) - 1, key.len);
        struct aggregated_service *old = find_in(before, name);
        struct aggregated_service *x = old != NULL && old->mod_rev == found[i]->mod_rev
                                           ? aggregated_service_ref(old)
                                           : make(server, found[i], old);
        if (x == NULL)
            continue;
        s->services[s->count++] = x;
        s->remote_count += x->remote;
    }
    free((void *)found);
    return s;
}

bool aggregated_set_sync(const struct apiserver *server, const struct store_view *view)
{
    int64_t rev = store_view_rev(view);
    pthread_mutex_lock(&lock);
    if (newest == NULL || rev > newest->rev) {
        struct aggregated_set *s = build(server, view, newest);
        if (s != NULL) {
            set_unref(newest);
            newest = s;
        }
        newest->rev = rev;
    }
    struct aggregated_set *old = current;
    bool other = newest != old;
    if (other) {
        atomic_fetch_add(&newest->refs, 1);
        current = newest;
    }
    pthread_mutex_unlock(&lock);
    if (other)
        set_unref(old);
    return other;
}

void aggregated_set_leave(void)
{
    set_unref(current);
    current = NULL;
}

/* --- lookups ------------------------------------------------------------------------------- */
struct aggregated_service *aggregated_set_route(struct str path)
{
    struct str part, group, version;
    if (current == NULL || current->remote_count == 0)
        return NULL;
    bool document = str_has_prefix(path, STR(OPENAPI_PATH "/apis/"));
    if (document)
        path = str_sub(path, sizeof(OPENAPI_PATH) - 1, path.len);
    if (!str_has_prefix(path, STR("/apis/")))
        return NULL;
    struct str rest = str_sub(path, sizeof("/apis/") - 1, path.len);
    if (!str_cut(rest, '/', &group, &rest))
        return NULL;
    bool more = str_cut(rest, '/', &version, &part);
    if (document && more)
        return NULL;
    for (size_t i = 0; i < current->count; i++) {
        struct aggregated_service *s = current->services[i];
        if (s->remote && str_eq(s->group, group) && str_eq(s->version, version))
            return s;
    }
    return NULL;
}

struct aggregated_service *aggregated_set_find(struct str name)
{
    return find_in(current, name);
}

struct aggregated_service *aggregated_set_at(size_t index)
{
    return current != NULL && index < current->count ? current->services[index] : NULL;
}

uint64_t aggregated_set_serial(void)
{
    return current != NULL ? current->serial : 0;
}

bool aggregated_set_has_group(struct str group)
{
    for (size_t i = 0; current != NULL && current->remote_count != 0 && i < current->count; i++)
        if (current->services[i]->remote && str_eq(current->services[i]->group, group))
            return true;
    return false;
}

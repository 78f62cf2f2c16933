/* dns.c - see dns.h. */
#include "kubelet/dns/dns.h"

#include "kubelet/dns/address.h"
#include "kubelet/dns/forward.h"
#include "kubelet/dns/server.h"
#include "kubelet/dns/zone.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#define DNS_PORT 53
#define RETRY_MS 5000u
#define RESOLV_CONF_CHECK_MS 5000u
#define RESOLV_CONF_BYTES_MAX 65536u

struct dns {
    struct kubelet *k;
    struct informer *services, *slices;
    struct zone zone;
    struct dns_forward *forward;
    struct dns_server *server;
    bool services_synced, slices_synced;
    size_t served; /* Of zone.addresses. */
    uv_timer_t retry;
    uv_fs_poll_t resolv_conf;
    struct buf resolv_text; /* The job's while it reads. */
    bool reading, read_again;
};

/* --- the zone follows the objects ----------------------------------------------------------- */

/* other: the informer whose objects nobody has borrowed. Many may come at once. */
static void remake(struct dns *d, struct str namespace_name, struct str name,
                   struct informer *other)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_object *o = informer_get(d->services, namespace_name, name);
    size_t n;
    if (o == NULL) {
        zone_remove(&d->zone, namespace_name, name);
        return;
    }
    struct str key = informer_key_of(a, namespace_name, name);
    struct api_object *const *slices = informer_by_index(d->slices, "service", key, &n);
    const struct discovery_v1_endpoint_slice **msgs =
        ARENA_ARRAY(a, const struct discovery_v1_endpoint_slice *, n + 1);
    for (size_t i = 0; i < n; i++)
        msgs[i] = slices[i]->msg;
    zone_set(&d->zone, o->msg, msgs, n);
    informer_rest(other);
}

static void service_changed(struct dns *d, const struct api_object *o)
{
    const struct core_v1_service *s = o->msg;
    remake(d, s->metadata.namespace, s->metadata.name, d->slices);
}

static void on_service(struct api_object *o, void *arg)
{
    service_changed(arg, o);
}

static void on_service_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    service_changed(arg, o);
}

static void on_service_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(unknown);
    service_changed(arg, o);
}

static void slice_changed(struct dns *d, const struct api_object *o)
{
    const struct discovery_v1_endpoint_slice *s = o->msg;
    const struct str *name = api_str_map_get(s->metadata.labels, s->metadata.labels_count,
                                             STR("kubernetes.io/service-name"));
    if (name != NULL)
        remake(d, s->metadata.namespace, *name, d->services);
}

static void on_slice(struct api_object *o, void *arg)
{
    slice_changed(arg, o);
}

static void on_slice_update(struct api_object *old, struct api_object *o, void *arg)
{
    slice_changed(arg, old); /* It may have belonged to another. */
    slice_changed(arg, o);
}

static void on_slice_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(unknown);
    slice_changed(arg, o);
}

static void on_services_synced(void *arg)
{
    struct dns *d = arg;
    d->services_synced = true;
    d->zone.ready = d->slices_synced;
}

static void on_slices_synced(void *arg)
{
    struct dns *d = arg;
    d->slices_synced = true;
    d->zone.ready = d->services_synced;
}

/* --- resolv.conf ------------------------------------------------------------------------------ */

static void set_resolvers(struct dns *d, const struct dns_settings *s)
{
    const char *own[ARRAY_SIZE(d->zone.addresses)];
    size_t n = MIN_OF(d->k->config.cluster_dns.count, ARRAY_SIZE(own));
    for (size_t i = 0; i < n; i++)
        own[i] = d->k->config.cluster_dns.items[i];
    dns_forward_set_resolvers(d->forward, s->servers, s->server_count, own, n);
}

static void run_read(void *arg)
{
    struct dns *d = arg;
    file_read(d->k->config.resolv_conf, RESOLV_CONF_BYTES_MAX, &d->resolv_text, NULL);
}

static void read_start(struct dns *d);

static void finish_read(void *arg)
{
    struct dns *d = arg;
    AUTO_ARENA *a = arena_new(0);
    struct dns_settings s;
    dns_parse(a, buf_str(&d->resolv_text), &s);
    set_resolvers(d, &s);
    d->reading = false;
    if (d->read_again)
        read_start(d);
}

static void read_start(struct dns *d)
{
    d->read_again = d->reading;
    if (d->reading)
        return;
    d->reading = true;
    buf_clear(&d->resolv_text);
    job_start(d->k->loop, run_read, finish_read, d);
}

static void on_resolv_conf(uv_fs_poll_t *p, int status, const uv_stat_t *before,
                           const uv_stat_t *now)
{
    UNUSED(before);
    UNUSED(now);
    if (status == 0)
        read_start(p->data);
}

/* --- life ------------------------------------------------------------------------------------- */

static void on_retry(uv_timer_t *t)
{
    struct dns *d = t->data;
    struct error err;
    while (d->served < d->zone.address_count) {
        const struct zone_ip *ip = &d->zone.addresses[d->served];
        const char *text = d->k->config.cluster_dns.items[d->served];
        if (dns_address_set(ip, true, &err) != 0 ||
            dns_server_listen(d->server, ip, DNS_PORT, &err) != 0) {
            log_error("dns: cannot serve on %s: %s", text, error_message(&err));
            uv_timer_start(&d->retry, on_retry, RETRY_MS, 0);
            return;
        }
        log_info("dns: serving on %s", text);
        d->served++;
    }
}

static void watch(struct dns *d)
{
    struct informer_handler services = {.on_add = on_service,
                                        .on_update = on_service_update,
                                        .on_delete = on_service_delete,
                                        .on_synced = on_services_synced,
                                        .arg = d};
    struct informer_handler slices = {.on_add = on_slice,
                                      .on_update = on_slice_update,
                                      .on_delete = on_slice_delete,
                                      .on_synced = on_slices_synced,
                                      .arg = d};
    informer_add_handler(d->services, &services);
    informer_add_handler(d->slices, &slices);
}

void dns_start(struct kubelet *k, struct informer *services, struct informer *slices)
{
    const char *addresses[ARRAY_SIZE(((struct zone *)NULL)->addresses)];
    size_t count = MIN_OF(k->config.cluster_dns.count, ARRAY_SIZE(addresses));
    struct dns *d = xzalloc(sizeof(*d));
    for (size_t i = 0; i < count; i++)
        addresses[i] = k->config.cluster_dns.items[i];
    d->k = k;
    d->services = services;
    d->slices = slices;
    if (!zone_init(&d->zone, str_of(k->config.cluster_domain), addresses, count)) {
        log_error("dns: --cluster-domain %s is no name", k->config.cluster_domain);
        free(d);
        return;
    }
    d->zone.serial = (uint32_t)kubelet_wall_s(k);
    d->forward = dns_forward_new(k->loop, k->env);
    d->server = dns_server_new(k->loop, &d->zone, d->forward);
    set_resolvers(d, &k->node_dns);
    watch(d);
    uv_timer_init(k->loop, &d->retry);
    d->retry.data = d;
    on_retry(&d->retry);
    uv_fs_poll_init(k->loop, &d->resolv_conf);
    d->resolv_conf.data = d;
    if (k->config.resolv_conf[0] != '\0')
        uv_fs_poll_start(&d->resolv_conf, on_resolv_conf, k->config.resolv_conf,
                         RESOLV_CONF_CHECK_MS);
}

void dns_withdraw(const struct kubelet *k)
{
    struct error err;
    struct zone_ip ip;
    for (size_t i = 0; i < k->config.cluster_dns.count; i++)
        if (zone_ip_parse(str_of(k->config.cluster_dns.items[i]), &ip) &&
            dns_address_set(&ip, false, &err) != 0)
            log_warning("dns: %s", error_message(&err));
}

bool dns_serves(const struct kubelet *k, const struct core_v1_service *s)
{
    for (size_t i = 0; k->config.dns && i < k->config.cluster_dns.count; i++) {
        const char *own = k->config.cluster_dns.items[i];
        if (str_eqc(s->spec.cluster_ip, own))
            return true;
        for (size_t n = 0; n < s->spec.cluster_ips_count; n++)
            if (str_eqc(s->spec.cluster_ips[n], own))
                return true;
    }
    return false;
}

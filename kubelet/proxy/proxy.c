/* proxy.c - see proxy.h. */
#include "kubelet/proxy/proxy.h"

#include "kubelet/dns/dns.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/proxy/rules.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define GATHER_MS 20u
#define SYNC_INTERVAL_MIN_MS 200u
#define RETRY_MS 5000u
#define BRIDGE_NF "/proc/sys/net/bridge/bridge-nf-call-iptables"
#define BRIDGE_NF6 "/proc/sys/net/bridge/bridge-nf-call-ip6tables"
#define NFT_OUTPUT_MAX 4096

struct proxy {
    struct kubelet *k;
    struct informer *services, *slices;
    uv_timer_t timer;
    bool dirty, busy, stopped, bridge_nf;
    bool services_synced, slices_synced;
    uint64_t synced_ms;
    struct buf rules;
    char *loaded; /* The rules that nft has taken last. */
    uv_process_t nft;
    uv_pipe_t in, err;
    uv_write_t write;
    int handles;
    bool failed;
    char *output;
    size_t output_len;
};

static void sync_soon(struct proxy *p, uint64_t ms);

/* --- nft -------------------------------------------------------------------------------- */

static void nft_end(struct proxy *p)
{
    p->busy = false;
    p->synced_ms = kubelet_now_ms(p->k);
    if (p->failed) {
        log_error("nft: %.*s", (int)p->output_len, p->output);
        p->dirty = true;
        sync_soon(p, RETRY_MS);
    } else {
        free(p->loaded);
        p->loaded = buf_steal(&p->rules, NULL);
        if (p->dirty)
            sync_soon(p, GATHER_MS);
    }
}

static void on_handle_closed(uv_handle_t *h)
{
    struct proxy *p = h->data;
    if (--p->handles == 0)
        nft_end(p);
}

static void on_nft_exit(uv_process_t *process, int64_t status, int signal)
{
    struct proxy *p = process->data;
    p->failed = p->failed || status != 0 || signal != 0;
    uv_close((uv_handle_t *)process, on_handle_closed);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct proxy *p = h->data;
    UNUSED(suggested);
    *ret = uv_buf_init(p->output + p->output_len, (unsigned)(NFT_OUTPUT_MAX - p->output_len));
}

static void on_output(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct proxy *p = s->data;
    UNUSED(buf);
    if (n > 0)
        p->output_len += (size_t)n;
    else if (n < 0)
        uv_close((uv_handle_t *)s, on_handle_closed);
}

static void on_written(uv_write_t *w, int status)
{
    struct proxy *p = w->data;
    p->failed = p->failed || status < 0;
    uv_close((uv_handle_t *)&p->in, on_handle_closed);
}

/* Runs nft -f - with the rules on its input. */
static void run_nft(struct proxy *p)
{
    uv_pipe_init(p->k->loop, &p->in, 0);
    uv_pipe_init(p->k->loop, &p->err, 0);
    p->in.data = p->err.data = p->nft.data = p->write.data = p;
    char *args[] = {(char *)(uintptr_t) "nft", (char *)(uintptr_t) "-f", (char *)(uintptr_t) "-",
                    NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&p->in},
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&p->err},
    };
    uv_process_options_t options = {
        .file = "nft", .args = args, .stdio = stdio, .stdio_count = 3, .exit_cb = on_nft_exit};
    p->busy = true;
    p->failed = false;
    p->output_len = 0;
    p->handles = 3;
    int rc = uv_spawn(p->k->loop, &p->nft, &options);
    if (rc != 0) {
        p->failed = true;
        p->output_len = (size_t)snprintf(p->output, NFT_OUTPUT_MAX, "%s", uv_strerror(rc));
        uv_close((uv_handle_t *)&p->nft, on_handle_closed);
        uv_close((uv_handle_t *)&p->in, on_handle_closed);
        uv_close((uv_handle_t *)&p->err, on_handle_closed);
        return;
    }
    uv_buf_t b = uv_buf_init((char *)p->rules.data, (unsigned)p->rules.len);
    uv_read_start((uv_stream_t *)&p->err, on_alloc, on_output);
    uv_write(&p->write, (uv_stream_t *)&p->in, &b, 1, on_written);
}

/* --- gathering ----------------------------------------------------------------------------- */

static int by_name(const void *x, const void *y)
{
    const struct core_v1_service *a = ((const struct proxy_service *)x)->service;
    const struct core_v1_service *b = ((const struct proxy_service *)y)->service;
    int c = str_cmp(a->metadata.namespace, b->metadata.namespace);
    return c != 0 ? c : str_cmp(a->metadata.name, b->metadata.name);
}

static int by_slice(const void *x, const void *y)
{
    const struct discovery_v1_endpoint_slice *const *a = x, *const *b = y;
    return str_cmp((*a)->metadata.name, (*b)->metadata.name);
}

/* Somebody else's proxy may claim a Service by this label; the node's own DNS
 * answers for the Service of its address. */
static bool is_ours(const struct proxy *p, const struct core_v1_service *s)
{
    return !dns_serves(p->k, s) &&
           api_str_map_get(s->metadata.labels, s->metadata.labels_count,
                           STR("service.kubernetes.io/service-proxy-name")) == NULL;
}

static void gather(struct proxy *p, struct arena *a, struct proxy_inputs *in)
{
    size_t pos = 0;
    struct proxy_service *list =
        ARENA_ARRAY(a, struct proxy_service, informer_count(p->services) + 1);
    *in = (struct proxy_inputs){
        .node_name = p->k->node_name, .services = list, .masquerade_bridge = !p->bridge_nf};
    for (struct api_object *o; (o = informer_next(p->services, &pos)) != NULL;) {
        const struct core_v1_service *s = o->msg;
        if (!is_ours(p, s))
            continue;
        size_t n;
        struct str key = arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(s->metadata.namespace),
                                      STR_ARG(s->metadata.name));
        struct api_object *const *slices = informer_by_index(p->slices, "service", key, &n);
        const struct discovery_v1_endpoint_slice **msgs =
            ARENA_ARRAY(a, const struct discovery_v1_endpoint_slice *, n + 1);
        for (size_t i = 0; i < n; i++)
            msgs[i] = slices[i]->msg;
        /* A fixed order: equal states give equal rules, and nothing to load. */
        qsort(msgs, n, sizeof(*msgs), by_slice);
        list[in->service_count++] = (struct proxy_service){s, msgs, n};
    }
    qsort(list, in->service_count, sizeof(*list), by_name);
}

static void on_timer(uv_timer_t *t)
{
    struct proxy *p = t->data;
    if (p->busy || p->stopped || !p->services_synced || !p->slices_synced)
        return;
    AUTO_ARENA *a = arena_new(0);
    struct proxy_inputs in;
    p->dirty = false;
    gather(p, a, &in);
    buf_clear(&p->rules);
    proxy_rules(&in, &p->rules);
    if (p->loaded != NULL && str_eqc(buf_str(&p->rules), p->loaded))
        return;
    log_debug("services: loading %zu bytes of rules", p->rules.len);
    run_nft(p);
}

static void sync_soon(struct proxy *p, uint64_t ms)
{
    uint64_t since = kubelet_now_ms(p->k) - p->synced_ms;
    if (since < SYNC_INTERVAL_MIN_MS && ms < SYNC_INTERVAL_MIN_MS - since)
        ms = SYNC_INTERVAL_MIN_MS - since;
    if (!p->stopped && !uv_is_active((uv_handle_t *)&p->timer))
        uv_timer_start(&p->timer, on_timer, ms, 0);
}

static void changed(struct proxy *p)
{
    p->dirty = true;
    if (!p->busy)
        sync_soon(p, GATHER_MS);
}

static void on_add(struct api_object *o, void *arg)
{
    UNUSED(o);
    changed(arg);
}

static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    UNUSED(o);
    changed(arg);
}

static void on_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(o);
    UNUSED(unknown);
    changed(arg);
}

static void on_services_synced(void *arg)
{
    struct proxy *p = arg;
    p->services_synced = true;
    changed(p);
}

static void on_slices_synced(void *arg)
{
    struct proxy *p = arg;
    p->slices_synced = true;
    changed(p);
}

/* --- life --------------------------------------------------------------------------------------
 */

static bool set_sysctl(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = write(fd, value, strlen(value));
    close(fd);
    return n > 0;
}

struct proxy *proxy_start(struct kubelet *k, struct informer *services, struct informer *slices)
{
    struct proxy *p = xzalloc(sizeof(*p));
    p->k = k;
    p->services = services;
    p->slices = slices;
    p->output = xmalloc(NFT_OUTPUT_MAX);
    p->bridge_nf = set_sysctl(BRIDGE_NF, "1");
    set_sysctl(BRIDGE_NF6, "1");
    set_sysctl("/proc/sys/net/ipv4/ip_forward", "1");
    set_sysctl("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    uv_timer_init(k->loop, &p->timer);
    p->timer.data = p;
    struct informer_handler handler = {.on_add = on_add,
                                       .on_update = on_update,
                                       .on_delete = on_delete,
                                       .on_synced = on_slices_synced,
                                       .arg = p};
    informer_add_handler(slices, &handler);
    handler.on_synced = on_services_synced;
    informer_add_handler(services, &handler);
    return p;
}

void proxy_stop(struct proxy *p)
{
    if (p == NULL)
        return;
    p->stopped = true;
    uv_timer_stop(&p->timer);
}

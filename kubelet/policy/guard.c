/* guard.c - see guard.h. */
#include "kubelet/policy/guard.h"

#include "kubelet/cri.h"
#include "kubelet/flows.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/nft.h"
#include "kubelet/pod_worker.h"
#include "kubelet/policy/watchdog.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"

#include <linux/netfilter.h>

#define RETRY_MS 1000u
#define LOAD_RETRY_MS 5000u

/*   ASKING -> KNOWN -> LOADING -> STANDS      (KNOWN without a port: STANDS)
 *      ^ after RETRY_MS      ^ what stands is not what is wanted */
enum port_state { PORT_ASKING, PORT_KNOWN, PORT_LOADING, PORT_STANDS };

struct port {
    char *sandbox_id;
    char *ips[GUARD_IPS_MAX];
    size_t ip_count;
    unsigned owners; /* One bit each. */
    enum port_state state;
    int index; /* 0: not behind a bridge. */
};

struct guard {
    struct kubelet *k;
    struct map ports;        /* uid -> struct port */
    unsigned joined, spoken; /* One bit for each owner. */
    uv_timer_t retry;
    bool busy, again;
    bool known;        /* What stands in the kernel is ours. */
    struct buf loaded; /* Its text. */
    struct buf loading;
    struct nft_load nft;
    struct watchdog watchdog;
};

/* Looking for one pod's port. */
struct search {
    struct guard *g;
    char *uid, *sandbox_id;
    char *ips[GUARD_IPS_MAX];
    size_t ip_count;
    bool fresh;
    int64_t pid;
    int index, code;
    struct error err;
};

static void sync_ports(struct guard *g);
static void search_start(struct guard *g, const char *uid, const struct port *p, bool fresh);

/* --- ports ---------------------------------------------------------------------------------- */

static void free_all(char *list[GUARD_IPS_MAX], size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i]);
}

static void copy_all(char *to[GUARD_IPS_MAX], const char *const *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = xstrdup(from[i]);
}

static void port_free(struct port *p)
{
    if (p == NULL)
        return;
    free_all(p->ips, p->ip_count);
    free(p->sandbox_id);
    free(p);
}

static bool is_same(const struct port *p, const struct guard_pod *pod)
{
    bool same = strcmp(p->sandbox_id, pod->sandbox_id) == 0 &&
                p->ip_count == MIN_OF(pod->ip_count, (size_t)GUARD_IPS_MAX);
    for (size_t i = 0; same && i < p->ip_count; i++)
        same = strcmp(p->ips[i], pod->ips[i]) == 0;
    return same;
}

static void hold(struct guard *g, unsigned owner, const struct guard_pod *pod)
{
    struct port *p = map_get(&g->ports, str_of(pod->uid));
    unsigned owners = p != NULL ? p->owners : 0;
    if (p != NULL && !is_same(p, pod)) {
        port_free(map_remove(&g->ports, str_of(pod->uid)));
        p = NULL;
    }
    if (p == NULL) {
        p = xzalloc(sizeof(*p));
        p->sandbox_id = xstrdup(pod->sandbox_id);
        p->ip_count = MIN_OF(pod->ip_count, (size_t)GUARD_IPS_MAX);
        copy_all(p->ips, pod->ips, p->ip_count);
        map_set(&g->ports, str_of(pod->uid), p);
        search_start(g, pod->uid, p, pod->fresh);
    }
    p->owners = owners | 1u << owner;
}

/* Of ports without an owner nothing is to stay. */
static void drop_free(struct guard *g)
{
    AUTO_ARENA *a = arena_new(0);
    struct str uid;
    void *value;
    size_t count = 0;
    struct str *gone = ARENA_ARRAY(a, struct str, g->ports.count + 1);
    for (size_t pos = 0; map_next(&g->ports, &pos, &uid, &value);)
        if (((struct port *)value)->owners == 0)
            gone[count++] = arena_str(a, uid);
    for (size_t i = 0; i < count; i++)
        port_free(map_remove(&g->ports, gone[i]));
}

void guard_hold(struct guard *g, unsigned owner, const struct guard_pod *pods, size_t count)
{
    struct str uid;
    void *value;
    for (size_t pos = 0; map_next(&g->ports, &pos, &uid, &value);)
        ((struct port *)value)->owners &= ~(1u << owner);
    for (size_t i = 0; i < count; i++)
        hold(g, owner, &pods[i]);
    drop_free(g);
    g->spoken |= 1u << owner;
    sync_ports(g);
}

bool guard_stands(const struct guard *g, const char *uid)
{
    const struct port *p = map_get(&g->ports, str_of(uid));
    return p == NULL || p->state == PORT_STANDS;
}

static void kick(struct guard *g, struct str uid)
{
    struct pod_worker *w = map_get(&g->k->workers, uid);
    if (w != NULL)
        pod_worker_kick(w);
}

/* --- looking for ports ------------------------------------------------------------------------ */

static void search_free(struct search *s)
{
    free_all(s->ips, s->ip_count);
    free(s->sandbox_id);
    free(s->uid);
    free(s);
}

/* What was asked for may have gone meanwhile. */
static struct port *searched(const struct search *s)
{
    struct port *p = map_get(&s->g->ports, str_of(s->uid));
    return p != NULL && p->state == PORT_ASKING && strcmp(p->sandbox_id, s->sandbox_id) == 0 ? p
                                                                                             : NULL;
}

static void ask_runtime(struct search *s);

static void on_search_retry(uv_timer_t *t)
{
    ask_runtime(t->data);
    uv_close((uv_handle_t *)t, (uv_close_cb)(uintptr_t)free);
}

static void search_done(struct search *s)
{
    struct guard *g = s->g;
    struct port *p = searched(s);
    if (p == NULL || g->k->stopping) {
        search_free(s);
        return;
    }
    if (s->code != 0) {
        log_warning("the port of pod %s: %s", s->uid, error_message(&s->err));
        uv_timer_t *t = xzalloc(sizeof(*t));
        uv_timer_init(g->k->loop, t);
        t->data = s;
        uv_timer_start(t, on_search_retry, RETRY_MS, 0);
        return;
    }
    p->index = s->index;
    p->state = PORT_KNOWN;
    search_free(s);
    sync_ports(g);
}

static void run_search(void *arg)
{
    struct search *s = arg;
    s->code = guard_find_port(s->pid, &s->index, &s->err);
    /* None of the pod's own: nothing has been started in it. */
    if (s->code == 0 && s->fresh)
        s->code = flows_end((const char *const *)s->ips, s->ip_count, &s->err);
}

static void on_searched(void *arg)
{
    search_done(arg);
}

static void on_sandbox(const struct cri_reply *reply, void *arg)
{
    struct search *s = arg;
    const CRI(PodSandboxStatusResponse) *r = reply->msg;
    if (reply->code != 0) {
        s->code = error_set(&s->err, reply->code, "%s", reply->message);
        search_done(s);
        return;
    }
    const char *info = cri_map_get(r->info, r->n_info, "info");
    s->pid = info != NULL ? rt_info_pid(str_of(info)) : 0;
    if (s->pid <= 0) {
        s->code = error_set(&s->err, E_INTERNAL, "the runtime does not name a process of it");
        search_done(s);
        return;
    }
    job_start(s->g->k->loop, run_search, on_searched, s);
}

static void ask_runtime(struct search *s)
{
    CRI(PodSandboxStatusRequest) r;
    if (searched(s) == NULL || s->g->k->stopping) {
        search_free(s);
        return;
    }
    runtime__v1__pod_sandbox_status_request__init(&r);
    r.pod_sandbox_id = s->sandbox_id;
    r.verbose = true;
    cri_call(s->g->k->cri, CRI_POD_SANDBOX_STATUS, &r, CRI_TIMEOUT_MS, on_sandbox, s);
}

static void search_start(struct guard *g, const char *uid, const struct port *p, bool fresh)
{
    struct search *s = xzalloc(sizeof(*s));
    s->g = g;
    s->uid = xstrdup(uid);
    s->sandbox_id = xstrdup(p->sandbox_id);
    s->ip_count = p->ip_count;
    copy_all(s->ips, (const char *const *)p->ips, p->ip_count);
    s->fresh = fresh;
    ask_runtime(s);
}

/* --- loading ---------------------------------------------------------------------------------- */

static int by_index(const void *x, const void *y)
{
    const struct guard_port *a = x, *b = y;
    return (a->index > b->index) - (a->index < b->index);
}

/* False: not all is known that an earlier run may have guarded. */
static bool write_wanted(struct guard *g, struct buf *out)
{
    AUTO_ARENA *a = arena_new(0);
    struct str uid;
    void *value;
    size_t count = 0;
    struct guard_port *list = ARENA_ARRAY(a, struct guard_port, g->ports.count + 1);
    for (size_t pos = 0; map_next(&g->ports, &pos, &uid, &value);) {
        const struct port *p = value;
        if (p->state == PORT_ASKING && !g->known)
            return false;
        if (p->state != PORT_ASKING && p->index != 0)
            list[count++] = (struct guard_port){p->index, (const char *const *)p->ips, p->ip_count};
    }
    qsort(list, count, sizeof(*list), by_index);
    guard_text(list, count, out);
    return true;
}

/* Ports in one state go to the next; those that stand are told. */
static void advance(struct guard *g, enum port_state from, enum port_state to)
{
    struct str uid;
    void *value;
    for (size_t pos = 0; map_next(&g->ports, &pos, &uid, &value);) {
        struct port *p = value;
        if (p->state != from)
            continue;
        p->state = to;
        if (to == PORT_STANDS)
            kick(g, uid);
    }
}

static void on_retry(uv_timer_t *t)
{
    sync_ports(t->data);
}

static void on_loaded(const char *error, void *arg)
{
    struct guard *g = arg;
    g->busy = false;
    if (error != NULL) {
        log_error("ports of pods: nft: %s", error);
        g->known = false;
        advance(g, PORT_LOADING, PORT_KNOWN);
        uv_timer_start(&g->retry, on_retry, LOAD_RETRY_MS, 0);
        return;
    }
    buf_done(&g->loaded);
    g->loaded = g->loading;
    g->loading = BUF_INIT;
    g->known = true;
    watchdog_note(&g->watchdog);
    advance(g, PORT_LOADING, PORT_STANDS);
    if (g->again)
        sync_ports(g);
}

static void sync_ports(struct guard *g)
{
    AUTO_BUF want = BUF_INIT;
    g->again = g->busy;
    if (g->busy || g->k->stopping || g->spoken != g->joined || !write_wanted(g, &want))
        return;
    advance(g, PORT_KNOWN, PORT_LOADING);
    if (g->known && str_eq(buf_str(&want), buf_str(&g->loaded))) {
        advance(g, PORT_LOADING, PORT_STANDS);
        return;
    }
    g->busy = true;
    buf_done(&g->loading);
    g->loading = want;
    want = BUF_INIT;
    nft_load_start(&g->nft, g->k->loop, buf_str(&g->loading), on_loaded, g);
}

static void on_damage(void *arg)
{
    struct guard *g = arg;
    if (g->busy || !g->known)
        return;
    g->known = false;
    sync_ports(g);
}

/* --- life ------------------------------------------------------------------------------------- */

struct guard *guard_of(struct kubelet *k)
{
    if (k->guard != NULL)
        return k->guard;
    struct guard *g = xzalloc(sizeof(*g));
    g->k = k;
    map_init(&g->ports);
    uv_timer_init(k->loop, &g->retry);
    g->retry.data = g;
    watchdog_start(&g->watchdog, k->loop,
                   &(struct watchdog_config){.what = "ports of pods",
                                             .family = NFPROTO_BRIDGE,
                                             .table = GUARD_TABLE,
                                             .on_damage = on_damage,
                                             .arg = g});
    k->guard = g;
    return g;
}

unsigned guard_join(struct guard *g)
{
    unsigned owner = 0;
    while (g->joined & 1u << owner)
        owner++;
    ASSERT(owner < GUARD_OWNERS_MAX);
    g->joined |= 1u << owner;
    return owner;
}

void guard_withdraw(struct kubelet *k)
{
    struct guard *g = guard_of(k);
    if (g->joined == 0)
        sync_ports(g);
}

/* masquerade.c - see masquerade.h. */
#include "kubelet/masquerade.h"

#include "kubelet/kubelet.h"
#include "kubelet/nft.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"

#include <arpa/inet.h>

#define RETRY_MS 5000u

struct masquerade {
    struct kubelet *k;
    const struct informer *nodes;
    uv_timer_t retry;
    bool busy, again;
    struct buf text;
    char *loaded; /* What stands; NULL: unknown. */
    struct nft_load nft;
};

/* --- text ------------------------------------------------------------------------------- */

static int family_of(struct str range)
{
    struct str net, bits;
    uint64_t n;
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    if (!str_cut(range, '/', &net, &bits) || !str_to_u64(bits, &n) || n == 0 || n > 128 ||
        net.len >= sizeof(text))
        return 0;
    memcpy(text, net.data, net.len);
    text[net.len] = '\0';
    if (inet_pton(AF_INET, text, bytes) == 1)
        return n <= 32 ? 4 : 0;
    return inet_pton(AF_INET6, text, bytes) == 1 ? 6 : 0;
}

static void write_set(int family, const struct str *all, size_t count, struct buf *out)
{
    bool any = false;
    buf_printf(out, "  set pods%d {\n    type ipv%d_addr\n    flags interval\n    auto-merge\n",
               family, family);
    for (size_t i = 0; i < count; i++) {
        if (family_of(all[i]) != family)
            continue;
        buf_printf(out, "%s " STR_FMT, any ? "," : "    elements = {", STR_ARG(all[i]));
        any = true;
    }
    buf_puts(out, any ? " }\n  }\n" : "  }\n");
}

void masquerade_rules(const struct str *own, size_t own_count, const struct str *all,
                      size_t all_count, struct buf *out)
{
    /* Adding first makes deleting succeed whether it was there or not. */
    buf_puts(out, "add table inet " MASQUERADE_TABLE "\ndelete table inet " MASQUERADE_TABLE
                  "\ntable inet " MASQUERADE_TABLE " {\n");
    write_set(4, all, all_count, out);
    write_set(6, all, all_count, out);
    buf_puts(out, "  chain postrouting {\n"
                  "    type nat hook postrouting priority srcnat; policy accept;\n");
    for (size_t i = 0; i < own_count; i++) {
        int family = family_of(own[i]);
        if (family != 0)
            buf_printf(out,
                       "    %s saddr " STR_FMT
                       " %s daddr != @pods%d fib daddr type != multicast masquerade fully-random\n",
                       family == 4 ? "ip" : "ip6", STR_ARG(own[i]), family == 4 ? "ip" : "ip6",
                       family);
    }
    buf_puts(out, "  }\n}\n");
}

/* --- loading ------------------------------------------------------------------------------- */

static void on_retry(uv_timer_t *t)
{
    struct masquerade *m = t->data;
    masquerade_sync(m, m->nodes);
}

static void on_loaded(const char *error, void *arg)
{
    struct masquerade *m = arg;
    m->busy = false;
    if (error != NULL) {
        log_error("masquerading: nft: %s", error);
        m->again = true;
    } else {
        free(m->loaded);
        m->loaded = buf_steal(&m->text, NULL);
    }
    if (m->again)
        uv_timer_start(&m->retry, on_retry, error != NULL ? RETRY_MS : 0, 0);
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

struct masquerade *masquerade_new(struct kubelet *k)
{
    struct masquerade *m = xzalloc(sizeof(*m));
    m->k = k;
    uv_timer_init(k->loop, &m->retry);
    m->retry.data = m;
    return m;
}

static void add(struct arena *a, struct str **list, size_t *count, size_t *cap, struct str s)
{
    *list = arena_grow(a, *list, *count, cap, sizeof(**list));
    (*list)[(*count)++] = s;
}

void masquerade_sync(struct masquerade *m, const struct informer *nodes)
{
    AUTO_ARENA *a = arena_new(0);
    struct str *own = NULL, *all = NULL;
    size_t pos = 0, own_count = 0, own_cap = 0, all_count = 0, all_cap = 0;
    m->nodes = nodes;
    m->again = m->busy;
    if (m->busy || !m->k->own_network)
        return;
    for (struct api_object *o; (o = informer_next(nodes, &pos)) != NULL;) {
        const struct core_v1_node *node = o->msg;
        bool mine = str_eqc(node->metadata.name, m->k->node_name);
        const struct str *ranges = node->spec.pod_cidrs;
        size_t n = node->spec.pod_cidrs_count;
        if (n == 0 && !str_empty(node->spec.pod_cidr)) {
            ranges = &node->spec.pod_cidr;
            n = 1;
        }
        for (size_t i = 0; i < n; i++) {
            add(a, &all, &all_count, &all_cap, ranges[i]);
            if (mine)
                add(a, &own, &own_count, &own_cap, ranges[i]);
        }
    }
    if (own_count == 0)
        return;
    qsort(all, all_count, sizeof(*all), by_text);
    buf_clear(&m->text);
    masquerade_rules(own, own_count, all, all_count, &m->text);
    if (m->loaded != NULL && str_eqc(buf_str(&m->text), m->loaded))
        return;
    m->busy = true;
    nft_load_start(&m->nft, m->k->loop, buf_str(&m->text), on_loaded, m);
}

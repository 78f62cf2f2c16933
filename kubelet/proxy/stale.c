/* stale.c - see stale.h. */
#include "kubelet/proxy/stale.h"

#include "kubelet/flows.h"
#include "kubelet/netlink.h"
#include "kubelet/nft_batch.h"
#include "kubelet/proxy/table.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <arpa/inet.h>
#include <netinet/in.h>

/* The fields of a frontend's key behind its address: protocol and port, four bytes each. */
#define BEHIND 8u
#define ID_MAX (16u + BEHIND + 1u)

static size_t address_bytes(enum proxy_family f)
{
    return f == PROXY_V6 ? 16 : 4;
}

static size_t frontend_bytes(enum proxy_family f)
{
    return address_bytes(f) + BEHIND;
}

void stale_init(struct stale *s)
{
    map_init(&s->frontends);
}

void stale_done(struct stale *s)
{
    map_done(&s->frontends);
}

/* --- which ---------------------------------------------------------------------------------- */

static bool is_sticky(const struct proxy_elements *t, enum proxy_family f, struct str frontend)
{
    struct proxy_element e = {.family = f, .set = PROXY_STICKY, .key = frontend};
    struct str chain;
    return proxy_elements_get(t, &e, &chain);
}

void stale_note(struct stale *s, const struct proxy_elements *t, const struct proxy_element *e)
{
    static char there;
    char id[ID_MAX];
    size_t n = frontend_bytes(e->family);
    if (e->set != PROXY_SERVICES && e->set != PROXY_ENDPOINTS && e->set != PROXY_SHORTCUTS)
        return;
    struct str frontend = str_sub(e->key, 0, n);
    if (frontend.data[n - BEHIND] != IPPROTO_UDP && !is_sticky(t, e->family, frontend))
        return;
    id[0] = (char)e->family;
    memcpy(id + 1, frontend.data, n);
    map_set(&s->frontends, str_n(id, n + 1), &there);
}

/* Endpoints stand under numbers without a gap. */
static void pack_endpoints(const struct proxy_elements *t, enum proxy_family f, struct str frontend,
                           uint32_t first, struct buf *out)
{
    char key[PROXY_KEY_MAX];
    memcpy(key, frontend.data, frontend.len);
    for (uint32_t i = 0; i < PROXY_ENDPOINTS_MAX; i++) {
        uint32_t number = first + i;
        struct proxy_element e = {
            .family = f, .set = PROXY_ENDPOINTS, .key = str_n(key, frontend.len + sizeof(number))};
        struct str data;
        memcpy(key + frontend.len, &number, sizeof(number));
        if (!proxy_elements_get(t, &e, &data))
            break;
        e.data = data;
        proxy_element_pack(out, &e);
    }
}

/* Each frontend is an element of PROXY_SERVICES, with those of its endpoints behind it. */
void stale_pack(struct stale *s, const struct proxy_elements *t, struct buf *out)
{
    struct str id;
    for (size_t pos = 0; map_next(&s->frontends, &pos, &id, NULL);) {
        enum proxy_family f = (enum proxy_family)id.data[0];
        struct str frontend = str_n(id.data + 1, id.len - 1);
        struct proxy_element e = {.family = f, .set = PROXY_SERVICES, .key = frontend};
        proxy_element_pack(out, &e);
        pack_endpoints(t, f, frontend, 0, out);
        pack_endpoints(t, f, frontend, PROXY_SHORTCUT_FIRST, out);
    }
    map_done(&s->frontends);
    map_init(&s->frontends);
}

/* --- while cleaning --------------------------------------------------------------------------- */

/* What is looked up by: frontends, and frontends with an endpoint. */
struct cleaning {
    struct map frontends, pairs;
    enum proxy_family family;
    const struct nft_set_name *affinity;
    struct nft_batch batch;
    size_t forgotten;
};

static void add_pair(struct map *m, struct str a, struct str b)
{
    static char there;
    char both[2 * PROXY_KEY_MAX];
    ASSERT(a.len + b.len <= sizeof(both));
    memcpy(both, a.data, a.len);
    memcpy(both + a.len, b.data, b.len);
    map_set(m, str_n(both, a.len + b.len), &there);
}

static bool has_pair(const struct map *m, struct str a, struct str b)
{
    char both[2 * PROXY_KEY_MAX];
    if (a.len + b.len > sizeof(both))
        return false;
    memcpy(both, a.data, a.len);
    memcpy(both + a.len, b.data, b.len);
    return map_has(m, str_n(both, a.len + b.len));
}

static void unpack(struct cleaning *c, struct str packed)
{
    struct proxy_element e;
    for (size_t pos = 0; proxy_element_next(packed, &pos, &e);) {
        if (e.family != c->family)
            continue;
        if (e.set == PROXY_SERVICES)
            add_pair(&c->frontends, e.key, STR_NULL);
        else
            add_pair(&c->pairs, str_sub(e.key, 0, frontend_bytes(c->family)), e.data);
    }
}

/* --- affinity --------------------------------------------------------------------------------- */

static void on_client(const struct nft_element *e, void *arg)
{
    struct cleaning *c = arg;
    struct str frontend = str_sub(e->key, 0, frontend_bytes(c->family));
    if (!has_pair(&c->frontends, frontend, STR_NULL) || has_pair(&c->pairs, frontend, e->data))
        return;
    nft_batch_put(&c->batch, false, c->affinity, &(struct nft_element){.key = e->key});
    c->forgotten++;
}

static int forget_clients(struct cleaning *c, struct error *err)
{
    AUTO_BUF out = BUF_INIT;
    nft_batch_begin(&c->batch, &out);
    int rc = netlink_nft_dump(c->affinity, on_client, c, err);
    nft_batch_end(&c->batch);
    if (rc != 0 || c->forgotten == 0)
        return rc;
    rc = netlink_nft_commit(buf_str(&out), err);
    return rc == E_NOT_FOUND ? 0 : rc; /* One of them has just been forgotten anyway. */
}

/* --- flows ------------------------------------------------------------------------------------ */

static struct str join(char *space, struct str address, const void *fields, size_t n)
{
    memcpy(space, address.data, address.len);
    memcpy(space + address.len, fields, n);
    return str_n(space, address.len + n);
}

static bool is_stale(const struct flow_tuple *original, const struct flow_tuple *reply, void *arg)
{
    const struct cleaning *c = arg;
    char frontend[PROXY_KEY_MAX], endpoint[PROXY_KEY_MAX];
    size_t n = address_bytes(c->family);
    if (original->protocol != IPPROTO_UDP || original->destination.len != n ||
        reply->source.len != n)
        return false;
    uint8_t protocol[4] = {IPPROTO_UDP};
    uint16_t to[2] = {original->destination_port, 0}, from[2] = {reply->source_port, 0};
    char behind[BEHIND];
    memcpy(behind, protocol, 4);
    memcpy(behind + 4, to, 4);
    struct str key = join(frontend, original->destination, behind, sizeof(behind));
    struct str data = join(endpoint, reply->source, from, sizeof(from));
    return has_pair(&c->frontends, key, STR_NULL) && !has_pair(&c->pairs, key, data);
}

static bool any_udp(const struct cleaning *c)
{
    struct str key;
    for (size_t pos = 0; map_next(&c->frontends, &pos, &key, NULL);)
        if (key.data[key.len - BEHIND] == IPPROTO_UDP)
            return true;
    return false;
}

static int clean_family(enum proxy_family f, const char *table, struct str packed,
                        struct error *err)
{
    struct nft_set_name affinity = {
        .family = proxy_family_number(f), .table = table, .set = "affinity"};
    struct cleaning c = {.family = f, .affinity = &affinity};
    int rc = 0;
    map_init(&c.frontends);
    map_init(&c.pairs);
    unpack(&c, packed);
    if (c.frontends.count > 0)
        rc = forget_clients(&c, err);
    if (rc == 0 && any_udp(&c))
        rc = flows_end_if(f == PROXY_V6 ? AF_INET6 : AF_INET, is_stale, &c, err);
    map_done(&c.frontends);
    map_done(&c.pairs);
    return rc;
}

int stale_clean(const char *table, struct str packed, struct error *err)
{
    int rc = 0;
    for (enum proxy_family f = 0; rc == 0 && f < PROXY_FAMILY_COUNT; f++)
        rc = clean_family(f, table, packed, err);
    return rc;
}

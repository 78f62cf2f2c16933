/* identity.c - see identity.h. */
#include "apiserver/identity.h"

#include "api/coordination_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/bootstrap_objects.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/write.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/pki.h"
#include "lib/net/url.h"
#include "raftstore/store.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define LABEL "apiserver.kubernetes.io/identity"
#define LABEL_HOST "kubernetes.io/hostname"
#define KIND "kube-apiserver"
#define DURATION_S 3600
#define RENEW_S 600
#define HASH_BYTES 16 /* 26 letters. */
#define HOST_BYTES_MAX 256

/* RFC 4648, in lower case, without padding. */
static void base32(struct buf *b, const uint8_t *p, size_t n)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint32_t bits = 0, held = 0;
    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | p[i];
        for (held += 8; held >= 5; held -= 5)
            buf_putc(b, letters[bits >> (held - 5) & 31]);
    }
    if (held > 0)
        buf_putc(b, letters[bits << (5 - held) & 31]);
}

static struct str host_name(struct arena *a)
{
    char name[HOST_BYTES_MAX + 1] = "";
    if (gethostname(name, HOST_BYTES_MAX) != 0)
        name[0] = '\0';
    return arena_strc(a, name);
}

static struct str own_name(struct arena *a, struct str host, const struct apiserver *s)
{
    uint8_t digest[32];
    AUTO_BUF b = BUF_INIT;
    struct str what = arena_printf(a, STR_FMT "/%s:%d", STR_ARG(host), s->address, s->port);
    net_sha256(what.data, what.len, digest);
    buf_puts(&b, IDENTITY_PREFIX);
    base32(&b, digest, HASH_BYTES);
    return arena_str(a, buf_str(&b));
}

/* --- leases ------------------------------------------------------------------------------------
 */

static const struct resource *leases(void)
{
    return registry_storage(STR("coordination.k8s.io"), STR("leases"));
}

static struct coordination_v1_lease *decode(struct arena *a, const struct kv *kv)
{
    void *msg;
    return stored_decode(a, leases(), stored_value(kv), 0, &msg, NULL) == 0 ? msg : NULL;
}

/* False: it runs for so much longer. */
static bool older_than(const struct coordination_v1_lease *l, int64_t now_s, int64_t seconds)
{
    return l->spec.renew_time == NULL || l->spec.renew_time->seconds + seconds < now_s;
}

static void renew(const struct kind_ctx *ctx, struct coordination_v1_lease *l, const struct kv *kv,
                  struct str key, struct txn_build *t)
{
    struct arena *a = ctx->arena;
    AUTO_BUF b = BUF_INIT;
    l->spec.renew_time = ARENA_NEW(a, struct meta_v1_micro_time);
    l->spec.renew_time->seconds = ctx->now_ns / 1000000000;
    l->spec.renew_time->nanos = (int32_t)(ctx->now_ns % 1000000000 / 1000 * 1000);
    if (l->spec.acquire_time == NULL)
        l->spec.acquire_time = l->spec.renew_time;
    l->metadata.resource_version = STR_NULL;
    stored_encode(leases(), l, &b);
    txn_build_expect(t, key, kv != NULL ? kv->mod_rev : 0);
    txn_build_put(t, key, arena_str(a, buf_str(&b)));
}

static struct coordination_v1_lease *make(const struct kind_ctx *ctx, struct str name,
                                          struct str host)
{
    struct arena *a = ctx->arena;
    struct coordination_v1_lease *l = ARENA_NEW(a, struct coordination_v1_lease);
    struct api_str_entry *labels = ARENA_ARRAY(a, struct api_str_entry, 2);
    builtin_meta(ctx, &l->metadata, STR(IDENTITY_NAMESPACE), name);
    labels[0] = (struct api_str_entry){STR(LABEL), STR(KIND)};
    labels[1] = (struct api_str_entry){STR(LABEL_HOST), host};
    l->metadata.labels = labels;
    l->metadata.labels_count = host.len != 0 ? 2 : 1;
    l->spec.has_holder_identity = true;
    l->spec.holder_identity =
        arena_printf(a, STR_FMT "_" STR_FMT, STR_ARG(name), STR_ARG(l->metadata.uid));
    l->spec.has_lease_duration_seconds = true;
    l->spec.lease_duration_seconds = DURATION_S;
    return l;
}

/* By which other servers pass requests on to this one: figures/leader.h. True: they were others. */
static bool annotate(const struct kind_ctx *ctx, struct coordination_v1_lease *l)
{
    struct arena *a = ctx->arena;
    const struct apiserver *s = ctx->server;
    struct meta_v1_object_meta *m = &l->metadata;
    struct store_status st;
    store_status(s->store, &st);
    const struct api_str_entry wanted[] = {
        {STR(IDENTITY_ADDRESS), url_host_port(a, str_of(s->address), s->port)},
        {STR(IDENTITY_MEMBER), arena_printf(a, "%016" PRIx64, st.id)},
    };
    bool same = m->annotations_count == ARRAY_SIZE(wanted);
    for (size_t i = 0; same && i < ARRAY_SIZE(wanted); i++)
        same = str_eq(m->annotations[i].key, wanted[i].key) &&
               str_eq(m->annotations[i].value, wanted[i].value);
    if (same)
        return false;
    /* The Lease is ours alone. */
    m->annotations = arena_memdup(a, wanted, sizeof(wanted));
    m->annotations_count = ARRAY_SIZE(wanted);
    return true;
}

/* Of a server that has been away for an hour; one of other makers too. */
static bool has_run_out(const struct kind_ctx *ctx, const struct kv *kv)
{
    const struct coordination_v1_lease *l = decode(ctx->arena, kv);
    if (l == NULL)
        return false;
    const struct str *of =
        api_str_map_get(l->metadata.labels, l->metadata.labels_count, STR(LABEL));
    return of != NULL && str_eqc(*of, KIND) &&
           older_than(l, ctx->now_ns / 1000000000,
                      l->spec.has_lease_duration_seconds ? l->spec.lease_duration_seconds
                                                         : DURATION_S);
}

bool identity_plan(const struct kind_ctx *ctx, struct txn_build *t)
{
    struct arena *a = ctx->arena;
    struct str host = host_name(a), name = own_name(a, host, ctx->server);
    struct str own = registry_key(a, leases(), STR(IDENTITY_NAMESPACE), name);
    struct str from = registry_key(a, leases(), STR(IDENTITY_NAMESPACE), STR(IDENTITY_PREFIX));
    struct str end = arena_str(a, from);
    struct store_iter it;
    size_t before = t->op_count;
    const struct kv *mine = store_view_get(ctx->view, own, 0);
    struct coordination_v1_lease *l = mine != NULL ? decode(a, mine) : NULL;
    if (l == NULL)
        l = make(ctx, name, host);
    if (annotate(ctx, l) || older_than(l, ctx->now_ns / 1000000000, RENEW_S))
        renew(ctx, l, mine, own, t);
    ((char *)(uintptr_t)end.data)[end.len - 1]++;
    if (store_iter_init(&it, ctx->view, from, end, 0) == 0)
        for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;)
            if (!str_eq(kv_key(kv), own) && has_run_out(ctx, kv)) {
                txn_build_expect(t, kv_key(kv), kv->mod_rev);
                txn_build_delete(t, kv_key(kv));
            }
    return t->op_count != before;
}

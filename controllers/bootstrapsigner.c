/* bootstrapsigner.c - signs kube-public/cluster-info with every bootstrap token that
 * may: who has a token can tell that the kubeconfig in it is the cluster's. */
#include "controllers/controller.h"
#include "controllers/owned.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/net/pki.h"

#include <stdlib.h>

#define TOKEN_NAMESPACE "kube-system"
#define TOKEN_TYPE "bootstrap.kubernetes.io/token"
#define KEY "kube-public/cluster-info"
#define SIGNATURE "jws-kubeconfig-"

static bool is_token(const struct api_object *o)
{
    const struct core_v1_secret *s = o->msg;
    return str_eqc(s->metadata.namespace, TOKEN_NAMESPACE) && str_eqc(s->type, TOKEN_TYPE);
}

static void touch_secret(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (is_token(o != NULL ? o : old))
        controller_enqueue(r, STR(KEY));
}

static void touch_map(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct meta_v1_object_meta *m = api_object_meta(o != NULL ? o : old);
    if (str_eqc(m->namespace, "kube-public") && str_eqc(m->name, "cluster-info"))
        controller_enqueue(r, STR(KEY));
}

static struct str value_of(const struct api_str_entry *list, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (str_eqc(list[i].key, key))
            return list[i].value;
    return STR_NULL;
}

/* Has it expired, or is it not for signing? It comes back when it expires. */
static bool may_sign(struct reconcile *c, const struct core_v1_secret *s)
{
    struct str expiration = value_of(s->data, s->data_count, "expiration");
    struct meta_v1_time at;
    if (!str_eqc(value_of(s->data, s->data_count, "usage-bootstrap-signing"), "true"))
        return false;
    if (str_empty(expiration))
        return true;
    if (time_parse(expiration, &at, NULL) != 0)
        return false;
    int64_t left_s = at.seconds - controller_now_s(c->run);
    if (left_s > 0)
        reconcile_again_after(c, (uint64_t)left_s * 1000);
    return left_s > 0;
}

/* JWS with the payload left out: header..signature. */
static struct str sign(struct arena *a, struct str id, struct str secret, struct str content)
{
    AUTO_BUF signed_text = BUF_INIT;
    AUTO_BUF ret = BUF_INIT;
    uint8_t mac[32];
    struct str header = arena_printf(a, "{\"alg\":\"HS256\",\"kid\":\"" STR_FMT "\"}", STR_ARG(id));
    base64_encode(BASE64_RAW_URL, header.data, header.len, &signed_text);
    buf_append(&ret, signed_text.data, signed_text.len);
    buf_putc(&signed_text, '.');
    base64_encode(BASE64_RAW_URL, content.data, content.len, &signed_text);
    net_hmac_sha256(secret, buf_str(&signed_text), mac);
    buf_append(&ret, "..", 2);
    base64_encode(BASE64_RAW_URL, mac, sizeof(mac), &ret);
    return arena_str(a, buf_str(&ret));
}

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_str_entry *)x)->key, ((const struct api_str_entry *)y)->key);
}

static void add_signatures(struct reconcile *c, struct core_v1_config_map *map, struct str content)
{
    size_t count;
    struct api_object *const *all =
        controller_in_namespace(c->run, "", "Secret", STR(TOKEN_NAMESPACE), &count);
    struct api_str_entry *list =
        ARENA_ARRAY(c->arena, struct api_str_entry, map->data_count + count + 1);
    size_t n = 0;
    for (size_t i = 0; i < map->data_count; i++)
        if (!str_has_prefix(map->data[i].key, STR(SIGNATURE)))
            list[n++] = map->data[i];
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_secret *s = reconcile_hold(c, all[i])->msg;
        struct str id = value_of(s->data, s->data_count, "token-id"),
                   secret = value_of(s->data, s->data_count, "token-secret");
        if (!is_token(all[i]) || str_empty(id) || str_empty(secret) || !may_sign(c, s))
            continue;
        list[n++] = (struct api_str_entry){
            arena_printf(c->arena, SIGNATURE STR_FMT, STR_ARG(id)),
            sign(c->arena, id, secret, content),
        };
    }
    qsort(list, n, sizeof(*list), by_key);
    map->data = list;
    map->data_count = n;
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "ConfigMap"), c->key);
    if (o == NULL)
        return;
    struct core_v1_config_map *copy = reconcile_copy(c, reconcile_hold(c, o));
    struct str content = value_of(copy->data, copy->data_count, "kubeconfig");
    if (str_empty(content))
        return;
    add_signatures(c, copy, content);
    if (!api_msg_equal(&core_v1_config_map_msg, copy, o->msg))
        reconcile_update(c, o->kind, copy, NULL);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Secret", touch_secret},
    {"", "v1", "ConfigMap", touch_map},
    {0},
};

const struct controller controller_bootstrapsigner = {
    .name = "bootstrap-signer-controller",
    .watches = watches,
    .reconcile = reconcile,
};

/* servicecidr.c - ServiceCIDRs: ready once they are seen, and held back from
 * deletion while addresses in use come from no other one. */
#include "controllers/controller.h"
#include "controllers/owned.h"

#include "api/meta_v1.h"
#include "api/networking_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <arpa/inet.h>
#include <string.h>

#define FINALIZER "networking.k8s.io/service-cidr-finalizer"
/* API servers may still hand out addresses of it: they learn of the deletion by and by. */
#define GRACE_S 10

static void touch_cidr(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    size_t at = 0;
    struct informer *all = controller_informer(r, "networking.k8s.io", "ServiceCIDR");
    controller_enqueue_object(r, o != NULL ? o : old);
    if (old == NULL || o == NULL) /* Another may now be free to go, or not any more. */
        for (struct api_object *x; (x = informer_next(all, &at)) != NULL;)
            if (api_object_meta(x)->deletion_timestamp != NULL)
                controller_enqueue_object(r, x);
}

static void touch_address(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    size_t at = 0;
    struct informer *all = controller_informer(r, "networking.k8s.io", "ServiceCIDR");
    UNUSED(old);
    if (o != NULL)
        return;
    for (struct api_object *x; (x = informer_next(all, &at)) != NULL;)
        if (api_object_meta(x)->deletion_timestamp != NULL)
            controller_enqueue_object(r, x);
}

/* --- ranges ----------------------------------------------------------------------------------- */

struct range {
    uint8_t bytes[16];
    int bits;
    bool v6;
};

static bool parse(struct arena *a, struct str text, struct range *ret)
{
    struct str address = text, length;
    int64_t bits;
    bool has_length = str_cut(text, '/', &address, &length);
    *ret = (struct range){.v6 = str_find(address, ':', 0) >= 0};
    ret->bits = ret->v6 ? 128 : 32;
    if (inet_pton(ret->v6 ? AF_INET6 : AF_INET, str_c(arena_str(a, address)), ret->bytes) != 1)
        return false;
    if (!has_length)
        return true;
    if (!str_to_i64(length, &bits) || bits < 0 || bits > ret->bits)
        return false;
    ret->bits = (int)bits;
    return true;
}

/* Is y within x? */
static bool contains(const struct range *x, const struct range *y)
{
    if (x->v6 != y->v6 || x->bits > y->bits)
        return false;
    size_t whole = (size_t)x->bits / 8;
    unsigned rest = (unsigned)x->bits % 8;
    unsigned mask = rest == 0 ? 0 : 0xffu & (0xffu << (8 - rest));
    return memcmp(x->bytes, y->bytes, whole) == 0 &&
           (rest == 0 || ((x->bytes[whole] ^ y->bytes[whole]) & mask) == 0);
}

static bool object_contains(struct arena *a, const struct networking_v1_service_cidr *c,
                            const struct range *y)
{
    for (size_t i = 0; i < c->spec.cidrs_count; i++) {
        struct range x;
        if (parse(a, c->spec.cidrs[i], &x) && contains(&x, y))
            return true;
    }
    return false;
}

/* Does another one that stays have it? */
static bool is_elsewhere(struct reconcile *c, const struct networking_v1_service_cidr *mine,
                         const struct range *y)
{
    size_t at = 0;
    struct informer *all = controller_informer(c->run, "networking.k8s.io", "ServiceCIDR");
    for (struct api_object *x; (x = informer_next(all, &at)) != NULL;) {
        const struct networking_v1_service_cidr *other = x->msg;
        if (!str_eq(other->metadata.name, mine->metadata.name) &&
            other->metadata.deletion_timestamp == NULL && object_contains(c->arena, other, y))
            return true;
    }
    return false;
}

static bool may_go(struct reconcile *c, const struct networking_v1_service_cidr *mine)
{
    size_t at = 0;
    struct informer *all = controller_informer(c->run, "networking.k8s.io", "IPAddress");
    for (struct api_object *x; (x = informer_next(all, &at)) != NULL;) {
        struct range y;
        if (parse(c->arena, api_object_meta(x)->name, &y) && object_contains(c->arena, mine, &y) &&
            !is_elsewhere(c, mine, &y))
            return false;
    }
    return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool has_finalizer(const struct meta_v1_object_meta *m)
{
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (str_eqc(m->finalizers[i], FINALIZER))
            return true;
    return false;
}

static void set_finalizer(struct reconcile *c, const struct api_object *o, bool on)
{
    struct networking_v1_service_cidr *copy = reconcile_copy(c, o);
    struct meta_v1_object_meta *m = &copy->metadata;
    struct str *list = ARENA_ARRAY(c->arena, struct str, m->finalizers_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (!str_eqc(m->finalizers[i], FINALIZER))
            list[n++] = m->finalizers[i];
    if (on)
        list[n++] = STR(FINALIZER);
    m->finalizers = list;
    m->finalizers_count = n;
    reconcile_update(c, o->kind, copy, NULL);
}

static void set_ready(struct reconcile *c, const struct api_object *o, bool ready,
                      const char *reason, const char *message)
{
    struct networking_v1_service_cidr *copy = reconcile_copy(c, o);
    struct networking_v1_service_cidr_status *s = &copy->status;
    struct meta_v1_condition *found = NULL;
    struct str status = ready ? STR("True") : STR("False");
    for (size_t i = 0; i < s->conditions_count; i++)
        if (str_eqc(s->conditions[i].type, "Ready"))
            found = &s->conditions[i];
    if (found != NULL && str_eq(found->status, status) && str_eqc(found->message, message))
        return;
    if (found == NULL) {
        size_t cap = s->conditions_count;
        s->conditions =
            arena_grow(c->arena, s->conditions, s->conditions_count, &cap, sizeof(*found));
        found = &s->conditions[s->conditions_count++];
    }
    *found = (struct meta_v1_condition){
        .type = STR("Ready"),
        .status = status,
        .last_transition_time = {.seconds = controller_now_s(c->run)},
        .reason = str_of(reason),
        .message = str_of(message),
    };
    reconcile_update(c, o->kind, copy, "status");
}

static void let_go(struct reconcile *c, const struct api_object *o)
{
    const struct networking_v1_service_cidr *s = o->msg;
    int64_t asked_s = s->metadata.deletion_timestamp->seconds;
    int64_t left_s = asked_s + GRACE_S - controller_now_s(c->run);
    if (!has_finalizer(&s->metadata))
        return;
    if (!may_go(c, s))
        set_ready(c, o, false, "Terminating",
                  "There are still IPAddresses referencing the ServiceCIDR, please remove them or "
                  "create a new ServiceCIDR");
    else if (left_s > 0 && left_s <= GRACE_S) /* More: the clock was set back. */
        reconcile_again_after(c, (uint64_t)left_s * 1000);
    else
        set_finalizer(c, o, false);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "networking.k8s.io", "ServiceCIDR"), c->key);
    if (o == NULL)
        return;
    reconcile_hold(c, o);
    if (api_object_meta(o)->deletion_timestamp != NULL)
        let_go(c, o);
    else if (!has_finalizer(api_object_meta(o)))
        set_finalizer(c, o, true); /* The change brings the key back. */
    else
        set_ready(c, o, true, "", "Kubernetes Service CIDR is ready");
}

static const struct controller_watch watches[] = {
    {"networking.k8s.io", "v1", "ServiceCIDR", touch_cidr},
    {"networking.k8s.io", "v1", "IPAddress", touch_address},
    {0},
};

const struct controller controller_servicecidr = {
    .name = "service-cidr-controller",
    .watches = watches,
    .reconcile = reconcile,
};

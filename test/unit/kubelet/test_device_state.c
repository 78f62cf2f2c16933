/* test_device_state.c - devices of plugins: who gets which, hints, the checkpoint, answers. */
#include "kubelet/device_gift.h"
#include "kubelet/device_state.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/proto.h"
#include "pb/csi/deviceplugin_v1beta1.pb-c.h"
#include "test/unit/unit.h"

#define RESOURCE "a.io/dev"

/* A pod of up to four containers that ask for so many devices each. */
struct test_pod {
    struct core_v1_pod pod;
    struct core_v1_container init[4], app[4];
    struct api_quantity_entry limits[8];
};

static void ask_for(struct test_pod *p, struct core_v1_container *c, const char *name,
                    const char *amount, size_t slot)
{
    p->limits[slot] = (struct api_quantity_entry){STR(RESOURCE), {.string = str_of(amount)}};
    c->name = str_of(name);
    c->resources.limits = &p->limits[slot];
    c->resources.limits_count = 1;
}

static void pod_init(struct test_pod *p, const char *uid)
{
    *p = (struct test_pod){0};
    p->pod.metadata.uid = str_of(uid);
    p->pod.spec.init_containers = p->init;
    p->pod.spec.containers = p->app;
}

static void add_init(struct test_pod *p, const char *name, const char *amount, bool sidecar)
{
    struct core_v1_container *c = &p->init[p->pod.spec.init_containers_count];
    ask_for(p, c, name, amount, p->pod.spec.init_containers_count++);
    c->has_restart_policy = sidecar;
    c->restart_policy = sidecar ? STR("Always") : STR_NULL;
}

static void add_app(struct test_pod *p, const char *name, const char *amount)
{
    struct core_v1_container *c = &p->app[p->pod.spec.containers_count];
    ask_for(p, c, name, amount, 4 + p->pod.spec.containers_count++);
}

static struct device_resource *offer(struct device_state *s, size_t count, int nodes)
{
    static struct device_seen list[64];
    static char ids[64][24];
    for (size_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof(ids[i]), "d%02zu", i);
        list[i] =
            (struct device_seen){ids[i], true, nodes > 0 ? (numa_mask)1 << (i % (size_t)nodes) : 0};
    }
    struct device_resource *r = device_resource_add(s, STR(RESOURCE));
    r->connected = true;
    device_resource_set(r, list, count);
    return r;
}

/* "d00 d01": what the container has. */
static const char *has(const struct device_state *s, struct arena *a, const struct test_pod *p,
                       const char *container)
{
    const struct device_grant *g =
        device_grant_find(s, p->pod.metadata.uid, str_of(container), STR(RESOURCE));
    const char *text = "";
    for (size_t i = 0; g != NULL && i < g->count; i++)
        text = str_c(arena_printf(a, "%s%s%s", text, i > 0 ? " " : "", g->ids[i]));
    return text;
}

static const char *reserve_all(struct device_state *s, struct arena *a, const struct test_pod *p,
                               numa_mask wanted)
{
    const char *why = NULL;
    const struct core_v1_pod_spec *spec = &p->pod.spec;
    for (size_t i = 0; i < spec->init_containers_count; i++)
        if (!device_reserve(s, a, &p->pod, &spec->init_containers[i], wanted, &why))
            return why;
    for (size_t i = 0; i < spec->containers_count; i++)
        if (!device_reserve(s, a, &p->pod, &spec->containers[i], wanted, &why))
            return why;
    return NULL;
}

/* Two pods share no device; one that asks for more than is left is told how many are; what is given
 * back can be had again. */
START_TEST(test_reserve)
{
    AUTO_ARENA *a = arena_new(0);
    struct device_state s;
    struct test_pod x, y, z;
    device_state_init(&s);
    offer(&s, 3, 0);
    pod_init(&x, "x"), pod_init(&y, "y"), pod_init(&z, "z");
    add_app(&x, "c", "1"), add_app(&y, "c", "1"), add_app(&z, "c", "2");
    ck_assert_ptr_null(reserve_all(&s, a, &x, 0));
    ck_assert_ptr_null(reserve_all(&s, a, &y, 0));
    ck_assert_str_eq(has(&s, a, &x, "c"), "d00");
    ck_assert_str_eq(has(&s, a, &y, "c"), "d01");
    ck_assert_str_eq(reserve_all(&s, a, &z, 0),
                     "requested number of devices unavailable for a.io/dev. Requested: 2, "
                     "Available: 1");
    ck_assert_str_eq(has(&s, a, &z, "c"), "");
    ck_assert_ptr_null(reserve_all(&s, a, &x, 0)); /* What it has stays. */
    ck_assert_str_eq(has(&s, a, &x, "c"), "d00");
    ck_assert(!device_free_pod(&s, STR("x"))); /* Nothing of it stands in the checkpoint. */
    ck_assert_ptr_null(reserve_all(&s, a, &z, 0));
    ck_assert_str_eq(has(&s, a, &z, "c"), "d00 d02");
    device_state_done(&s);
}
END_TEST

/* Unhealthy devices are not given; with none that is healthy upstream has words of its own. A
 * resource that nobody offers is not looked at. */
START_TEST(test_health)
{
    AUTO_ARENA *a = arena_new(0);
    struct device_state s;
    struct test_pod x;
    device_state_init(&s);
    pod_init(&x, "x");
    add_app(&x, "c", "1");
    ck_assert_ptr_null(reserve_all(&s, a, &x, 0));
    ck_assert_str_eq(has(&s, a, &x, "c"), "");
    struct device_resource *r = offer(&s, 2, 0);
    r->devices[0].healthy = false;
    ck_assert_ptr_null(reserve_all(&s, a, &x, 0));
    ck_assert_str_eq(has(&s, a, &x, "c"), "d01");
    device_free_pod(&s, STR("x"));
    device_resource_lose(r);
    ck_assert_uint_eq(device_resource_healthy(r), 0);
    ck_assert_str_eq(reserve_all(&s, a, &x, 0),
                     "no healthy devices present; cannot allocate unhealthy devices a.io/dev");
    device_state_done(&s);
}
END_TEST

/* Devices of ordinary init containers go to those after them; those of sidecars do not. */
START_TEST(test_reuse)
{
    AUTO_ARENA *a = arena_new(0);
    struct device_state s;
    struct test_pod x;
    device_state_init(&s);
    offer(&s, 4, 0);
    pod_init(&x, "x");
    add_init(&x, "i1", "2", false);
    add_init(&x, "side", "1", true);
    add_init(&x, "i2", "2", false);
    add_app(&x, "c1", "1");
    add_app(&x, "c2", "2");
    ck_assert_ptr_null(reserve_all(&s, a, &x, 0));
    struct map all;
    map_init(&all);
    device_find_used(&s, STR(RESOURCE), &all);
    ck_assert_uint_eq(all.count, 4);
    map_clear(&all);
    static const char *const together[] = {"side", "c1", "c2"}; /* These run at the same time. */
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_SIZE(together); i++) {
        const struct device_grant *g =
            device_grant_find(&s, STR("x"), str_of(together[i]), STR(RESOURCE));
        for (size_t k = 0; k < g->count; k++, count++)
            map_set(&all, str_of(g->ids[k]), &s);
    }
    ck_assert_uint_eq(all.count, count);
    map_done(&all);
    device_state_done(&s);
}
END_TEST

/* The plugin's wishes are followed as far as they are free; alignment comes first. */
START_TEST(test_prefer)
{
    AUTO_ARENA *a = arena_new(0);
    struct device_state s;
    struct test_pod x, y;
    const char **list;
    size_t count;
    char *wish[] = {"d00", "d05", "nonsense", "d03"};
    device_state_init(&s);
    offer(&s, 6, 2);
    pod_init(&x, "x"), pod_init(&y, "y");
    add_app(&x, "c", "1"), add_app(&y, "c", "2");
    ck_assert_ptr_null(reserve_all(&s, a, &x, 0));
    ck_assert_str_eq(has(&s, a, &x, "c"), "d00");
    ck_assert_ptr_null(reserve_all(&s, a, &y, 2)); /* Node 1: d01, d03, d05 */
    ck_assert_str_eq(has(&s, a, &y, "c"), "d01 d03");
    struct device_grant *g = device_grant_find(&s, STR("y"), STR("c"), STR(RESOURCE));
    device_grant_choices(&s, a, g, &list, &count);
    ck_assert_uint_eq(count, 3);
    device_grant_prefer(&s, g, wish, ARRAY_SIZE(wish));
    ck_assert_str_eq(has(&s, a, &y, "c"), "d05 d03");
    device_grant_prefer(&s, g, NULL, 0);
    ck_assert_str_eq(has(&s, a, &y, "c"), "d05 d03");
    device_free_pod(&s, STR("y"));
    y.limits[4].value.string =
        STR("4"); /* More than are near: those stay, of others it may choose. */
    ck_assert_ptr_null(reserve_all(&s, a, &y, 2));
    ck_assert_str_eq(has(&s, a, &y, "c"), "d01 d03 d05 d02");
    g = device_grant_find(&s, STR("y"), STR("c"), STR(RESOURCE));
    char *far[] = {"d04"};
    device_grant_prefer(&s, g, far, 1);
    ck_assert_str_eq(has(&s, a, &y, "c"), "d01 d03 d05 d04");
    device_state_done(&s);
}
END_TEST

static void check_hints(const struct topology_hints *h, const char *want)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < h->count; i++) {
        if (h->items[i].any)
            buf_puts(&b, "any");
        for (size_t k = 0; k < h->items[i].count; k++)
            buf_printf(&b, "%llx%s ", (unsigned long long)h->items[i].hints[k].nodes,
                       h->items[i].hints[k].preferred ? "!" : "");
    }
    buf_putc(&b, '\0');
    ck_assert_str_eq((const char *)b.data, want);
}

static void hints_are(const struct device_state *s, const struct test_pod *p,
                      const struct core_v1_container *c, const char *want)
{
    AUTO_ARENA *a = arena_new(0);
    struct topology_hints h = {.arena = a};
    device_hints(s, &p->pod, c, 3, &h);
    ck_assert_uint_eq(h.count, 1);
    check_hints(&h, want);
}

/* Sets that have enough; the smallest that could ever do are preferred; what a container has makes
 * the only hints; devices that are near no node care for none. */
START_TEST(test_hints)
{
    AUTO_ARENA *a = arena_new(0);
    struct device_state s;
    struct test_pod x, y;
    device_state_init(&s);
    offer(&s, 4, 2); /* d00, d02 near node 0; d01, d03 near node 1 */
    pod_init(&x, "x"), pod_init(&y, "y");
    add_app(&x, "c", "1"), add_app(&y, "c", "2"), add_app(&y, "e", "1");
    hints_are(&s, &x, &x.app[0], "1! 2! 3 ");
    ck_assert_ptr_null(reserve_all(&s, a, &x, 2));
    ck_assert_str_eq(has(&s, a, &x, "c"), "d01");
    hints_are(&s, &x, &x.app[0], "2! 3 ");
    hints_are(&s, &y, &y.app[0], "1! 3 ");
    hints_are(&s, &y, NULL, "3! ");
    y.limits[4].value.string = STR("4");
    hints_are(&s, &y, &y.app[0], "");
    offer(&s, 4, 0);
    hints_are(&s, &y, &y.app[0], "any");
    device_state_done(&s);
}
END_TEST

/* What is settled comes back as it was; reservations do not; a changed byte is noticed. */
START_TEST(test_checkpoint)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF text = BUF_INIT;
    struct device_state s, t;
    struct test_pod x, y;
    struct error err;
    device_state_init(&s), device_state_init(&t);
    offer(&s, 4, 2);
    pod_init(&x, "x"), pod_init(&y, "y");
    add_app(&x, "c", "2"), add_app(&y, "c", "1");
    ck_assert_ptr_null(reserve_all(&s, a, &x, 0));
    ck_assert_ptr_null(reserve_all(&s, a, &y, 0));
    device_grant_settle(device_grant_find(&s, STR("x"), STR("c"), STR(RESOURCE)), "\0\x7f", 2);
    device_checkpoint_write(&s, &text);
    ck_assert_int_eq(device_checkpoint_read(&t, buf_str(&text), &err), 0);
    const struct device_grant *g = device_grant_find(&t, STR("x"), STR("c"), STR(RESOURCE));
    ck_assert_ptr_nonnull(g);
    ck_assert(g->settled && g->answer_bytes == 2 && memcmp(g->answer, "\0\x7f", 2) == 0);
    ck_assert_uint_eq(g->count, 2);
    ck_assert_uint_eq(g->nodes[0] | g->nodes[1], 3);
    ck_assert_ptr_null(device_grant_find(&t, STR("y"), STR("c"), STR(RESOURCE)));
    const struct device_resource *r = device_resource_find(&t, STR(RESOURCE));
    ck_assert(r != NULL && r->count == 0 && !r->connected); /* For the plugin to say again. */
    ck_assert(device_free_pod(&t, STR("x")));
    for (size_t i = 0; i < text.len; i++) {
        text.data[i] ^= 1;
        if (device_checkpoint_read(&t, buf_str(&text), &err) == 0)
            ck_assert_msg(false, "byte %zu: a damaged file is read", i);
        text.data[i] ^= 1;
    }
    device_state_done(&s), device_state_done(&t);
}
END_TEST

static int check_answer(const char *env, const char *path, const char *permissions,
                        struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    Deviceplugin__V1beta1__ContainerAllocateResponse r =
        DEVICEPLUGIN__V1BETA1__CONTAINER_ALLOCATE_RESPONSE__INIT;
    Deviceplugin__V1beta1__ContainerAllocateResponse__EnvsEntry e =
        DEVICEPLUGIN__V1BETA1__CONTAINER_ALLOCATE_RESPONSE__ENVS_ENTRY__INIT;
    Deviceplugin__V1beta1__ContainerAllocateResponse__EnvsEntry *envs[] = {&e};
    Deviceplugin__V1beta1__DeviceSpec d = DEVICEPLUGIN__V1BETA1__DEVICE_SPEC__INIT;
    Deviceplugin__V1beta1__DeviceSpec *devices[] = {&d};
    Deviceplugin__V1beta1__CDIDevice c = DEVICEPLUGIN__V1BETA1__CDIDEVICE__INIT;
    Deviceplugin__V1beta1__CDIDevice *cdi[] = {&c};
    e.key = (char *)(uintptr_t)env;
    e.value = "v";
    d.container_path = d.host_path = (char *)(uintptr_t)path;
    d.permissions = (char *)(uintptr_t)permissions;
    c.name = "v/c=d";
    r.envs = envs, r.n_envs = 1;
    r.devices = devices, r.n_devices = 1;
    r.cdi_devices = cdi, r.n_cdi_devices = 1;
    struct device_gift g = {0};
    struct str packed = proto_pack_arena(a, &r.base);
    int rc = device_gift_add(a, packed, &g, err);
    if (rc != 0)
        return rc;
    ck_assert_int_eq(device_gift_add(a, packed, &g, err), 0); /* Of a second resource. */
    ck_assert_uint_eq(g.envs.count, 1);
    ck_assert_uint_eq(g.node_count, 2);
    ck_assert_uint_eq(g.cdi_count, 2);
    ck_assert_str_eq(g.cdi[1], "v/c=d");
    ck_assert_str_eq(g.nodes[0].host_path, path);
    return 0;
}

/* Answers add up; those that no runtime could follow are refused with the field's name. */
START_TEST(test_answers)
{
    struct error err;
    struct device_gift g = {0};
    AUTO_ARENA *a = arena_new(0);
    ck_assert_int_eq(check_answer("E", "/dev/x", "rw", &err), 0);
    ck_assert_int_eq(check_answer("E=F", "/dev/x", "rw", &err), E_INVALID);
    ck_assert_ptr_nonnull(strstr(error_message(&err), "envs[0]"));
    ck_assert_int_eq(check_answer("E", "dev/x", "rw", &err), E_INVALID);
    ck_assert_ptr_nonnull(strstr(error_message(&err), "devices[0]"));
    ck_assert_int_eq(check_answer("E", "/dev/x", "rwx", &err), E_INVALID);
    ck_assert_ptr_nonnull(strstr(error_message(&err), "permissions"));
    ck_assert_int_ne(device_gift_add(a, STR("\xff\xff"), &g, &err), 0);
}
END_TEST

/* Pods come, prefer and go at random: no device is ever in the hands of two pods, and each has as
 * many as it asked for. */
START_TEST(test_random_pods)
{
    const char *given = getenv("SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 20261123;
    static const char *const uids[] = {"a", "b", "c", "d", "e"};
    static const char *const amounts[] = {"1", "2", "3"};
    struct device_state s;
    printf("SEED=%u\n", seed);
    device_state_init(&s);
    offer(&s, 8, 2);
    for (int round = 0; round < 3000; round++) {
        AUTO_ARENA *a = arena_new(0);
        struct test_pod p;
        pod_init(&p, uids[rand_r(&seed) % 5]);
        add_init(&p, "i", amounts[rand_r(&seed) % 3], rand_r(&seed) % 2 == 0);
        add_app(&p, "c", amounts[rand_r(&seed) % 3]);
        char *wish[] = {(char *)(uintptr_t) "d07", (char *)(uintptr_t) "d02"};
        struct device_grant *g = device_grant_find(&s, p.pod.metadata.uid, STR("c"), STR(RESOURCE));
        if (g == NULL && reserve_all(&s, a, &p, (numa_mask)(rand_r(&seed) % 4)) != NULL)
            device_free_pod(&s, p.pod.metadata.uid);
        else if (g != NULL && rand_r(&seed) % 2 == 0)
            device_grant_prefer(&s, g, wish, 2);
        else if (g != NULL)
            device_free_pod(&s, p.pod.metadata.uid);
        struct map owner;
        map_init(&owner);
        LIST_FOREACH (it, &s.grants) {
            struct device_grant *x = LIST_ENTRY(it, struct device_grant, link);
            for (size_t i = 0; i < x->count; i++) {
                const struct device_grant *before = map_set(&owner, str_of(x->ids[i]), x);
                if (before != NULL)
                    ck_assert_str_eq(before->pod_uid, x->pod_uid);
            }
            ck_assert_uint_ge(x->count, 1);
            ck_assert_uint_le(x->reused, x->count);
        }
        map_done(&owner);
    }
    device_state_done(&s);
}
END_TEST

UNIT_MAIN("device_state", {
    UNIT_TEST(test_reserve);
    UNIT_TEST(test_health);
    UNIT_TEST(test_reuse);
    UNIT_TEST(test_prefer);
    UNIT_TEST(test_hints);
    UNIT_TEST(test_checkpoint);
    UNIT_TEST(test_answers);
    UNIT_TEST(test_random_pods);
})

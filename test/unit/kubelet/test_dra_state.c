/* test_dra_state.c - claims that are prepared on a node: over a restart, by request, by pod. */
#include "kubelet/dra_health.h"
#include "kubelet/dra_state.h"

#include "api/resource_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "test/unit/unit.h"

#include <string.h>

static struct dra_claim *add_claim(struct dra_state *s)
{
    struct resource_v1_device_request_allocation_result r[] = {
        {.driver = STR("a.io")}, {.driver = STR("b.io")}, {.driver = STR("a.io")}};
    struct resource_v1_allocation_result a = {.devices = {.results = r, .results_count = 3}};
    const struct resource_v1_resource_claim from = {
        .metadata = {.namespace = STR("ns"), .name = STR("c"), .uid = STR("u")},
        .status = {.allocation = &a}};
    return dra_state_add(s, &from);
}

static void give(struct dra_claim *c, const char *driver, const char *request, const char *cdi)
{
    struct dra_device *d = dra_driver_add(dra_claim_driver(c, driver));
    d->pool = xstrdup("p");
    d->device = xstrdup("d");
    if (request != NULL)
        dra_list_add(&d->requests, &d->request_count, str_of(request));
    dra_list_add(&d->cdi, &d->cdi_count, str_of(cdi));
}

static void check_cdi(const struct dra_claim *c, const char *request, const char *want)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    const char **list = NULL;
    size_t count = 0, cap = 0;
    dra_claim_cdi(c, a, str_of(request), &list, &count, &cap);
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, "%s ", list[i]);
    buf_putc(&b, '\0');
    ck_assert_str_eq((const char *)b.data, want);
}

/* A request gets its own devices and those of no request; alternatives go by their request. */
START_TEST(test_requests)
{
    struct dra_state s;
    dra_state_init(&s);
    struct dra_claim *c = add_claim(&s);
    ck_assert_uint_eq(c->driver_count, 2);
    give(c, "a.io", "r", "x=1");
    give(c, "a.io", "s/big", "x=2");
    give(c, "b.io", NULL, "x=3");
    give(c, "b.io", "r", "x=1"); /* Named twice: given once. */
    check_cdi(c, "", "x=1 x=2 x=3 ");
    check_cdi(c, "r", "x=1 x=3 ");
    check_cdi(c, "s", "x=2 x=3 ");
    check_cdi(c, "t", "x=3 ");
    dra_state_done(&s);
}
END_TEST

/* What was written is read back as it was; other files are refused. */
START_TEST(test_file)
{
    struct dra_state s, t;
    struct error err;
    AUTO_BUF first = BUF_INIT;
    AUTO_BUF second = BUF_INIT;
    dra_state_init(&s);
    dra_state_init(&t);
    struct dra_claim *c = add_claim(&s);
    give(c, "a.io", "r", "x=\"1\"");
    c->prepared = true;
    dra_claim_add_pod(c, STR("p1"));
    dra_claim_add_pod(c, STR("p2"));
    dra_claim_add_pod(c, STR("p1"));
    ck_assert_uint_eq(c->pod_count, 2);
    dra_state_write(&s, &first);
    ck_assert_int_eq(dra_state_read(&t, buf_str(&first), &err), 0);
    dra_state_write(&t, &second);
    ck_assert(str_eq(buf_str(&first), buf_str(&second)));
    c = dra_state_find(&t, STR("ns"), STR("c"));
    ck_assert(c != NULL && c->prepared && dra_claim_has_pod(c, STR("p2")));
    dra_claim_drop_pod(c, STR("p1"));
    dra_claim_drop_pod(c, STR("nobody"));
    ck_assert_uint_eq(c->pod_count, 1);
    dra_state_remove(&t, c);
    ck_assert(dra_state_find(&t, STR("ns"), STR("c")) == NULL);
    ck_assert_int_ne(dra_state_read(&t, STR("{\"version\":2}"), &err), 0);
    ck_assert_int_ne(dra_state_read(&t, STR("[]"), &err), 0);
    ck_assert_int_ne(dra_state_read(&t, STR("{"), &err), 0);
    dra_state_done(&s);
    dra_state_done(&t);
}
END_TEST

/* What is said of a device counts until its time is over; what changes is told. */
START_TEST(test_health)
{
    struct dra_health h;
    const char *message;
    dra_health_init(&h);
    struct dra_health_said said = {.driver = "a.io",
                                   .pool = "p",
                                   .device = "d",
                                   .state = DRA_HEALTHY,
                                   .timeout_s = 10,
                                   .message = "well"};
    ck_assert_int_eq(dra_health_get(&h, "a.io", "p", "d", 0, NULL), DRA_HEALTH_UNKNOWN);
    ck_assert_uint_eq(dra_health_next_ms(&h, 0), 0);
    ck_assert(dra_health_set(&h, &said, 1000));
    ck_assert(!dra_health_set(&h, &said, 2000));
    ck_assert_int_eq(dra_health_get(&h, "a.io", "p", "d", 11999, &message), DRA_HEALTHY);
    ck_assert_str_eq(message, "well");
    ck_assert_uint_eq(dra_health_next_ms(&h, 2000), 12000);
    ck_assert_int_eq(dra_health_get(&h, "a.io", "p", "d", 12000, &message), DRA_HEALTH_UNKNOWN);
    ck_assert_str_eq(message, "");
    ck_assert_uint_eq(dra_health_next_ms(&h, 12000), 0);
    ck_assert(dra_health_set(&h, &said, 13000)); /* It was not known any more. */
    said.message = "still";
    ck_assert(dra_health_set(&h, &said, 13000));
    said.state = DRA_UNHEALTHY;
    ck_assert(dra_health_set(&h, &said, 13000));
    /* No time, or nonsense: the default. One that is too long: as long as can be counted. */
    said.timeout_s = -5;
    ck_assert(dra_health_set(&h, &said, 13000));
    ck_assert_uint_eq(dra_health_next_ms(&h, 13000), 13000 + DRA_HEALTH_TIMEOUT_MS);
    said.timeout_s = INT64_MAX;
    ck_assert(dra_health_set(&h, &said, 13000));
    ck_assert_int_eq(dra_health_get(&h, "a.io", "p", "d", 14000, NULL), DRA_UNHEALTHY);
    /* Others are others. */
    said.driver = "b.io";
    said.state = DRA_HEALTHY;
    ck_assert(dra_health_set(&h, &said, 13000));
    dra_health_forget(&h, "a.io");
    ck_assert_int_eq(dra_health_get(&h, "a.io", "p", "d", 14000, NULL), DRA_HEALTH_UNKNOWN);
    ck_assert_int_eq(dra_health_get(&h, "b.io", "p", "d", 14000, NULL), DRA_HEALTHY);
    dra_health_done(&h);
}
END_TEST

/* Long messages are cut, not in the middle of a character. */
START_TEST(test_health_message)
{
    struct dra_health h;
    AUTO_BUF b = BUF_INIT;
    const char *message;
    dra_health_init(&h);
    for (int i = 0; i < 1020; i++)
        buf_putc(&b, 'x');
    buf_puts(&b, "\xc3\xa4\xc3\xa4\xc3\xa4");
    buf_append(&b, "", 1);
    struct dra_health_said said = {.driver = "a.io",
                                   .pool = "p",
                                   .device = "d",
                                   .state = DRA_HEALTHY,
                                   .message = (const char *)b.data};
    dra_health_set(&h, &said, 0);
    dra_health_get(&h, "a.io", "p", "d", 1, &message);
    ck_assert_uint_eq(strlen(message), 1023);
    ck_assert_str_eq(message + 1019, "x...");
    dra_health_done(&h);
}
END_TEST

UNIT_MAIN("dra_state", {
    UNIT_TEST(test_health);
    UNIT_TEST(test_health_message);
    UNIT_TEST(test_requests);
    UNIT_TEST(test_file);
})

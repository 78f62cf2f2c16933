/* test_devices.c - which devices claims are given: every rule by itself, and random
 * pools against a search that tries all there is. */
#include "api/resource_v1.h"
#include "lib/base/buf.h"
#include "scheduler/devices/allocate.h"
#include "scheduler/devices/devices.h"
#include "test/unit/scheduler/cluster.h"

#define CLASS "{\"metadata\":{\"name\":\"any\"},\"spec\":{}}"

static struct api_object *parse(const char *kind, const char *json)
{
    const struct api_kind *k = api_kind_by_gvk(STR("resource.k8s.io"), STR("v1"), str_of(kind));
    struct api_object *o = api_object_new(k);
    struct error err = {0};
    int rc = api_json_decode(o->arena, k->msg, str_of(json), API_STRICT, NULL, o->msg, &err);
    ck_assert_msg(rc == 0, "%s: %s", json, error_message(&err));
    return o;
}

static void add(struct devices *d, const char *kind, const char *json)
{
    struct api_object *o = parse(kind, json);
    if (strcmp(kind, "ResourceSlice") == 0)
        devices_set_slice(d, o);
    else if (strcmp(kind, "DeviceClass") == 0)
        devices_set_class(d, o);
    else
        devices_set_claim(d, o);
    api_object_unref(o);
}

/* What one claim gets on a node with label zone=a: "r=device ..." or the fault. */
struct outcome {
    enum allocate_code code;
    char text[4096];
};

static void put_result(struct buf *b, const struct resource_v1_allocation_result *r)
{
    for (size_t i = 0; i < r->devices.results_count; i++)
        buf_printf(b, "%s" STR_FMT "=" STR_FMT, b->len != 0 ? " " : "",
                   STR_ARG(r->devices.results[i].request), STR_ARG(r->devices.results[i].device));
}

static void allocate(struct devices *d, const char *node, const char *const *specs, size_t count,
                     struct outcome *ret)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct api_object *objects[4];
    const struct resource_v1_resource_claim *claims[4];
    for (size_t i = 0; i < count; i++) {
        AUTO_BUF json = BUF_INIT;
        buf_printf(&json,
                   "{\"metadata\":{\"name\":\"c%zu\",\"namespace\":\"ns\"},"
                   "\"spec\":{\"devices\":%s}}",
                   i, specs[i]);
        buf_putc(&json, '\0');
        objects[i] = parse("ResourceClaim", (const char *)json.data);
        claims[i] = objects[i]->msg;
    }
    AUTO_BUF text = BUF_INIT;
    buf_printf(&text, "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"zone\":\"a\"}}}", node);
    buf_putc(&text, '\0');
    struct api_object *n = object_from("Node", (const char *)text.data);
    size_t steps = DEVICE_STEPS_CYCLE;
    const struct allocate_question q = {d, n->msg, claims, count, a, &steps, 7};
    struct allocate_answer answer;
    devices_allocate(&q, &answer);
    ret->code = answer.code;
    for (size_t i = 0; answer.code == ALLOCATE_FITS && i < count; i++)
        put_result(&b, &answer.results[i]);
    if (answer.code != ALLOCATE_FITS)
        buf_append_str(&b, answer.text);
    buf_putc(&b, '\0');
    snprintf(ret->text, sizeof(ret->text), "%s", (const char *)b.data);
    for (size_t i = 0; i < count; i++)
        api_object_unref(objects[i]);
    api_object_unref(n);
}

static void expect(struct devices *d, const char *spec, const char *text)
{
    struct outcome o;
    allocate(d, "n1", &spec, 1, &o);
    ck_assert_str_eq(o.text, text);
}

#define SLICE(name, pool, generation, count, rest)                                                 \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"driver\":\"d.io\",\"pool\":{\"name\":"      \
    "\"" pool "\",\"generation\":" #generation ",\"resourceSliceCount\":" #count "}," rest "}}"
#define ON_NODE(devices) "\"nodeName\":\"n1\",\"devices\":[" devices "]"
#define ASK(name, rest)                                                                            \
    "{\"name\":\"" name "\",\"exactly\":{\"deviceClassName\":\"any\",\"allocationMode\":"          \
    "\"ExactCount\"," rest "}}"
#define ONE(name) ASK(name, "\"count\":1")
#define CEL(text) "\"selectors\":[{\"cel\":{\"expression\":\"" text "\"}}]"
#define REQUESTS(list) "{\"requests\":[" list "]}"

static struct devices *world(void)
{
    struct devices *d = devices_new();
    add(d, "DeviceClass", CLASS);
    return d;
}

/* Devices are taken in their order; none twice. */
START_TEST(test_exact_count)
{
    struct devices *d = world();
    add(d, "ResourceSlice",
        SLICE("s1", "p", 1, 1, ON_NODE("{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}")));
    expect(d, REQUESTS(ONE("r")), "r=a");
    expect(d, REQUESTS(ASK("r", "\"count\":2") "," ONE("s")), "r=a r=b s=c");
    expect(d, REQUESTS(ASK("r", "\"count\":4")), "cannot allocate all claims");
    expect(d, REQUESTS(ASK("r", "\"count\":33")),
           "claim ns/c0: number of requested devices 33 exceeds the claim limit of 32");
    const char *two[] = {REQUESTS(ONE("r")), REQUESTS(ONE("s"))};
    struct outcome o;
    allocate(d, "n1", two, 2, &o);
    ck_assert_str_eq(o.text, "r=a s=b");
    allocate(d, "n2", two, 1, &o);
    ck_assert_str_eq(o.text, "cannot allocate all claims");
    devices_free(d);
}
END_TEST

/* What the class and the request say must both hold; an earlier choice is taken back for it. */
START_TEST(test_selectors)
{
    struct devices *d = world();
    add(d, "DeviceClass",
        "{\"metadata\":{\"name\":\"big\"},\"spec\":{\"selectors\":[{\"cel\":{\"expression\":"
        "\"device.attributes['d.io'].size > 5\"}}]}}");
    add(d, "ResourceSlice",
        SLICE(
            "s1", "p", 1, 1,
            ON_NODE(
                "{\"name\":\"a\",\"attributes\":{\"size\":{\"int\":9},\"red\":{\"bool\":true}}},"
                "{\"name\":\"b\",\"attributes\":{\"size\":{\"int\":9},\"red\":{\"bool\":false}}},"
                "{\"name\":\"c\",\"attributes\":{\"size\":{\"int\":1},\"red\":{\"bool\":true}}}")));
    expect(d,
           REQUESTS("{\"name\":\"r\",\"exactly\":{\"deviceClassName\":\"big\","
                    "\"allocationMode\":\"ExactCount\",\"count\":1," CEL(
                        "!device.attributes['d.io'].red") "}}"),
           "r=b");
    expect(
        d,
        REQUESTS(ONE("r") "," ASK("s", "\"count\":1," CEL("device.attributes['d.io'].size == 9 && "
                                                          "device.attributes['d.io'].red"))),
        "r=b s=a");
    expect(d, REQUESTS(ASK("r", "\"count\":1," CEL("device.attributes['d.io'].none"))),
           "claim ns/c0: selector #0: CEL runtime error: no such key: none");
    expect(
        d,
        REQUESTS("{\"name\":\"r\",\"exactly\":{\"deviceClassName\":\"no\","
                 "\"allocationMode\":\"ExactCount\",\"count\":1}}"),
        "claim ns/c0, request r: could not retrieve device class no: deviceclass.resource.k8s.io "
        "\"no\" not found");
    devices_free(d);
}
END_TEST

/* All devices that match, or none; a pool that is being changed must be waited for. */
START_TEST(test_all)
{
    static const char all[] =
        REQUESTS("{\"name\":\"r\",\"exactly\":{\"deviceClassName\":\"any\",\"allocationMode\":"
                 "\"All\"}}");
    struct devices *d = world();
    expect(d, all, "cannot allocate all claims");
    add(d, "ResourceSlice", SLICE("s1", "p", 1, 1, ON_NODE("{\"name\":\"a\"},{\"name\":\"b\"}")));
    expect(d, all, "r=a r=b");
    add(d, "ResourceSlice", SLICE("s2", "q", 3, 2, ON_NODE("{\"name\":\"c\"}")));
    expect(d, all,
           "claim ns/c0, request r: asks for all devices, but resource pool d.io/q is currently "
           "being updated");
    expect(d, REQUESTS(ASK("r", "\"count\":3")), "cannot allocate all claims");
    add(d, "ResourceSlice", SLICE("s3", "q", 3, 2, "\"nodeName\":\"n2\",\"devices\":[]"));
    expect(d, all, "r=a r=b r=c");
    devices_free(d);
}
END_TEST

/* The newest generation counts; doubled names make a pool useless, others serve on. */
START_TEST(test_pools)
{
    struct devices *d = world();
    add(d, "ResourceSlice", SLICE("s1", "p", 1, 1, ON_NODE("{\"name\":\"old\"}")));
    add(d, "ResourceSlice", SLICE("s2", "p", 2, 1, ON_NODE("{\"name\":\"new\"}")));
    expect(d, REQUESTS(ONE("r")), "r=new");
    add(d, "ResourceSlice", SLICE("s3", "a", 1, 1, ON_NODE("{\"name\":\"x\"},{\"name\":\"x\"}")));
    expect(d, REQUESTS(ONE("r")), "r=new");
    expect(d, REQUESTS(ASK("r", "\"count\":2")), "invalid resource pools were encountered");
    /* Names decide the order of slices, whoever came first. */
    add(d, "ResourceSlice", SLICE("t2", "b", 1, 2, ON_NODE("{\"name\":\"b2\"}")));
    add(d, "ResourceSlice", SLICE("t1", "b", 1, 2, ON_NODE("{\"name\":\"b1\"}")));
    expect(d, REQUESTS(ASK("r", "\"count\":3")), "r=b1 r=b2 r=new");
    devices_free(d);
}
END_TEST

/* Slices for all nodes, for some by label, and device by device. */
START_TEST(test_nodes)
{
#define ZONE(z)                                                                                    \
    "\"nodeSelector\":{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"zone\","           \
    "\"operator\":\"In\",\"values\":[\"" z "\"]}]}]}"
    struct devices *d = world();
    add(d, "ResourceSlice",
        SLICE("s1", "p", 1, 1, "\"allNodes\":true,\"devices\":[{\"name\":\"a\"}]"));
    add(d, "ResourceSlice", SLICE("s2", "q", 1, 1, ZONE("b") ",\"devices\":[{\"name\":\"b\"}]"));
    add(d, "ResourceSlice", SLICE("s3", "r", 1, 1, ZONE("a") ",\"devices\":[{\"name\":\"c\"}]"));
    add(d, "ResourceSlice",
        SLICE("s4", "s", 1, 1,
              "\"perDeviceNodeSelection\":true,\"devices\":[{\"name\":\"d\",\"nodeName\":\"n2\"},"
              "{\"name\":\"e\",\"nodeName\":\"n1\"},{\"name\":\"f\",\"allNodes\":true},"
              "{\"name\":\"g\"," ZONE("b") "}]"));
    expect(d, REQUESTS(ASK("r", "\"count\":4")), "r=a r=c r=e r=f");
    expect(d, REQUESTS(ASK("r", "\"count\":5")), "cannot allocate all claims");
    devices_free(d);
}
END_TEST

/* Alternatives in their order; one that fits nowhere gives way. */
START_TEST(test_first_available)
{
#define ALT(name, rest)                                                                            \
    "{\"name\":\"" name "\",\"deviceClassName\":\"any\",\"allocationMode\":\"ExactCount\"," rest "}"
    struct devices *d = world();
    add(d, "ResourceSlice", SLICE("s1", "p", 1, 1, ON_NODE("{\"name\":\"a\"},{\"name\":\"b\"}")));
    expect(d,
           REQUESTS("{\"name\":\"r\",\"firstAvailable\":[" ALT("x", "\"count\":3") "," ALT(
               "y", "\"count\":2") "," ALT("z", "\"count\":1") "]}"),
           "r/y=a r/y=b");
    expect(d,
           REQUESTS("{\"name\":\"r\",\"firstAvailable\":[" ALT("x", "\"count\":2") "," ALT(
               "z", "\"count\":1") "]}," ONE("s")),
           "r/z=a s=b");
    devices_free(d);
}
END_TEST

/* Devices that must be alike, or must not be. */
START_TEST(test_constraints)
{
#define SOCKET(name, n) "{\"name\":\"" name "\",\"attributes\":{\"d.io/socket\":{\"int\":" #n "}}}"
    struct devices *d = world();
    add(d, "ResourceSlice",
        SLICE("s1", "p", 1, 1,
              ON_NODE(SOCKET("a", 0) "," SOCKET("b", 1) "," SOCKET("c", 1) ",{\"name\":\"d\"}")));
    expect(d,
           "{\"requests\":[" ASK("r", "\"count\":2") "],\"constraints\":[{\"matchAttribute\":"
                                                     "\"d.io/socket\"}]}",
           "r=b r=c");
    expect(d,
           "{\"requests\":[" ONE("r") "," ONE("s") "],\"constraints\":[{\"requests\":[\"r\",\"s\"],"
                                                   "\"distinctAttribute\":\"d.io/socket\"}]}",
           "r=a s=b");
    expect(d,
           "{\"requests\":[" ASK("r", "\"count\":3") "],\"constraints\":[{\"distinctAttribute\":"
                                                     "\"d.io/socket\"}]}",
           "cannot allocate all claims");
    expect(
        d,
        "{\"requests\":[{\"name\":\"r\",\"exactly\":{\"deviceClassName\":\"any\","
        "\"allocationMode\":\"All\"}}],\"constraints\":[{\"matchAttribute\":\"d.io/socket\"}]}",
        "claim ns/c0, request r: cannot add device d.io/p/b because a claim constraint would not "
        "be satisfied");
    devices_free(d);
}
END_TEST

/* Partitions take from counters that they share. */
START_TEST(test_counters)
{
#define PART(name, n)                                                                              \
    "{\"name\":\"" name "\",\"consumesCounters\":[{\"counterSet\":\"gpu\",\"counters\":{\"mem\":"  \
    "{\"value\":\"" #n "Gi\"}}}]}"
    struct devices *d = world();
    add(d, "ResourceSlice",
        SLICE("s0", "p", 1, 2,
              "\"nodeName\":\"n1\",\"sharedCounters\":[{\"name\":\"gpu\",\"counters\":{\"mem\":"
              "{\"value\":\"8Gi\"}}}]"));
    add(d, "ResourceSlice",
        SLICE("s1", "p", 1, 2,
              ON_NODE(PART("whole", 8) "," PART("half1", 4) "," PART("half2", 4))));
    expect(d, REQUESTS(ONE("r")), "r=whole");
    expect(d, REQUESTS(ASK("r", "\"count\":2")), "r=half1 r=half2");
    expect(d, REQUESTS(ASK("r", "\"count\":3")), "cannot allocate all claims");
    add(d, "ResourceClaim",
        "{\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\",\"uid\":\"u\"},\"spec\":{},\"status\":"
        "{\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":\"d.io\","
        "\"pool\":"
        "\"p\",\"device\":\"half2\"}]}}}}");
    expect(d, REQUESTS(ONE("r")), "r=half1");
    add(d, "ResourceSlice",
        SLICE("s1", "p", 1, 2,
              ON_NODE("{\"name\":\"z\",\"consumesCounters\":["
                      "{\"counterSet\":\"no\",\"counters\":{"
                      "\"mem\":{\"value\":\"1\"}}}]}")));
    expect(d, REQUESTS(ONE("r")), "invalid resource pools were encountered");
    devices_free(d);
}
END_TEST

/* A device that several share gives away what it has, by its policy, and no more. */
START_TEST(test_shares)
{
#define WANT(n) ASK("r" #n, "\"count\":1,\"capacity\":{\"requests\":{\"mem\":\"" #n "Gi\"}}")
    struct devices *d = world();
    add(d, "ResourceSlice",
        SLICE("s1", "p", 1, 1,
              ON_NODE("{\"name\":\"a\",\"allowMultipleAllocations\":true,\"capacity\":{\"mem\":{"
                      "\"value\":\"10Gi\",\"requestPolicy\":{\"default\":\"1Gi\",\"validRange\":{"
                      "\"min\":\"2Gi\",\"step\":\"2Gi\"}}}}}")));
    expect(d, REQUESTS(WANT(3) "," WANT(5)), "r3=a r5=a"); /* 4 + 6 */
    expect(d, REQUESTS(WANT(3) "," WANT(7)), "cannot allocate all claims");
    expect(d, REQUESTS(WANT(8) "," ONE("s") "," ONE("t")), "r8=a s=a t=a");
    expect(d, REQUESTS(ASK("r", "\"count\":1,\"capacity\":{\"requests\":{\"no\":\"1\"}}")),
           "cannot allocate all claims");
    add(d, "ResourceClaim",
        "{\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\",\"uid\":\"u\"},\"spec\":{},\"status\":"
        "{\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":\"d.io\","
        "\"pool\":"
        "\"p\",\"device\":\"a\",\"shareID\":\"00000000-0000-4000-8000-000000000000\","
        "\"consumedCapacity\":{\"mem\":\"6Gi\"}}]}}}}");
    expect(d, REQUESTS(WANT(4)), "r4=a");
    expect(d, REQUESTS(WANT(5)), "cannot allocate all claims");
    devices_free(d);
}
END_TEST

/* Taints keep requests off that do not tolerate them; administrators see devices in use. */
START_TEST(test_taints_and_admins)
{
    struct devices *d = world();
    add(d, "ResourceSlice",
        SLICE("s1", "p", 1, 1,
              ON_NODE("{\"name\":\"a\",\"taints\":[{\"key\":\"sick\",\"value\":\"x\",\"effect\":"
                      "\"NoSchedule\"}]},{\"name\":\"b\"}")));
    expect(d, REQUESTS(ASK("r", "\"count\":2")), "cannot allocate all claims");
    expect(d,
           REQUESTS(ASK("r", "\"count\":2,\"tolerations\":[{\"key\":\"sick\",\"operator\":"
                             "\"Exists\"}]")),
           "r=a r=b");
    add(d, "ResourceClaim",
        "{\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\",\"uid\":\"u\"},\"spec\":{},\"status\":"
        "{\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":\"d.io\","
        "\"pool\":"
        "\"p\",\"device\":\"b\"}]}}}}");
    expect(d, REQUESTS(ONE("r")), "cannot allocate all claims");
    expect(d, REQUESTS(ASK("r", "\"count\":1,\"adminAccess\":true")), "r=b");
    devices_free(d);
}
END_TEST

/* What a decision gave is taken until it is given back, and after it was written. */
START_TEST(test_pending)
{
    struct devices *d = world();
    struct resource_v1_device_request_allocation_result r = {
        .request = STR("r"), .driver = STR("d.io"), .pool = STR("p"), .device = STR("a")};
    const struct resource_v1_allocation_result a = {.devices = {.results = &r, .results_count = 1}};
    add(d, "ResourceSlice", SLICE("s1", "p", 1, 1, ON_NODE("{\"name\":\"a\"}")));
    devices_pend(d, STR("uid"), &a);
    ck_assert(devices_is_pending(d, STR("uid")));
    expect(d, REQUESTS(ONE("r")), "cannot allocate all claims");
    devices_unpend(d, STR("uid"));
    expect(d, REQUESTS(ONE("r")), "r=a");
#define CLAIM(rv, status)                                                                          \
    "{\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\",\"uid\":\"uid\",\"resourceVersion\":"      \
    "\"" #rv "\"},\"spec\":{},\"status\":{" status "}}"
#define HAS_A                                                                                      \
    "\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":\"d.io\",\"pool\":"   \
    "\"p\",\"device\":\"a\"}]}}"
    add(d, "ResourceClaim", CLAIM(5, HAS_A));
    expect(d, REQUESTS(ONE("r")), "cannot allocate all claims");
    add(d, "ResourceClaim", CLAIM(4, "")); /* A watch that lags behind. */
    expect(d, REQUESTS(ONE("r")), "cannot allocate all claims");
    add(d, "ResourceClaim", CLAIM(6, ""));
    expect(d, REQUESTS(ONE("r")), "r=a");
    devices_free(d);
}
END_TEST

/* The claim is bound to the nodes that reach its devices; its configuration comes along. */
START_TEST(test_result)
{
    AUTO_ARENA *a = arena_new(0);
    struct devices *d = world();
    add(d, "DeviceClass",
        "{\"metadata\":{\"name\":\"any\"},\"spec\":{\"config\":[{\"opaque\":{\"driver\":\"d.io\","
        "\"parameters\":{\"from\":\"class\"}}}]}}");
    add(d, "ResourceSlice",
        SLICE("s1", "p", 1, 1,
              ZONE("a") ",\"devices\":[{\"name\":\"a\"},{\"name\":\"b\","
                        "\"bindingConditions\":[\"Ready\"],"
                        "\"bindingFailureConditions\":[\"Broken\"]}]"));
    struct api_object *o =
        parse("ResourceClaim",
              "{\"metadata\":{\"name\":\"c\",\"namespace\":\"ns\"},\"spec\":{\"devices\":{"
              "\"requests\":[" ONE("r") "," ONE(
                  "s") "],\"config\":[{\"requests\":[\"s\"],\"opaque\":{\"driver\":\"d.io\","
                       "\"parameters\":{\"from\":\"claim\"}}},{\"requests\":[\"t\"],\"opaque\":{"
                       "\"driver\":"
                       "\"d.io\",\"parameters\":{}}}]}}}");
    struct api_object *n =
        object_from("Node", "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"zone\":"
                            "\"a\"}}}");
    const struct resource_v1_resource_claim *claim = o->msg;
    size_t steps = 100;
    const struct allocate_question q = {d, n->msg, &claim, 1, a, &steps, 7};
    struct allocate_answer answer;
    devices_allocate(&q, &answer);
    ck_assert_int_eq(answer.code, ALLOCATE_FITS);
    AUTO_BUF b = BUF_INIT;
    api_json_encode(&resource_v1_allocation_result_msg, answer.results, STR_NULL, STR_NULL, &b);
    buf_putc(&b, '\0');
    ck_assert_str_eq(
        (const char *)b.data,
        "{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":\"d.io\",\"pool\":\"p\","
        "\"device\":\"a\"},{\"request\":\"s\",\"driver\":\"d.io\",\"pool\":\"p\",\"device\":\"b\","
        "\"bindingConditions\":[\"Ready\"],\"bindingFailureConditions\":[\"Broken\"]}],\"config\":["
        "{\"source\":\"FromClass\",\"requests\":[\"r\",\"s\"],\"opaque\":{\"driver\":\"d.io\","
        "\"parameters\":{\"from\":\"class\"}}},{\"source\":\"FromClaim\",\"requests\":[\"s\"],"
        "\"opaque\":{\"driver\":\"d.io\",\"parameters\":{\"from\":\"claim\"}}}]},\"nodeSelector\":{"
        "\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"zone\",\"operator\":\"In\","
        "\"values\":[\"a\"]}]}]}}");
    steps = 1; /* Too few for both requests. */
    devices_allocate(&q, &answer);
    ck_assert_int_eq(answer.code, ALLOCATE_NOT);
    ck_assert_str_eq(answer.text.data, "timed out trying to allocate devices");
    api_object_unref(o);
    api_object_unref(n);
    devices_free(d);
}
END_TEST

/* --- against all there is ----------------------------------------------------------------------
 */

#define DEVICES_MAX 6
#define REQUESTS_MAX 4
#define ROUNDS 3000

static uint64_t state;

static unsigned below(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 11) % n);
}

struct random_device {
    unsigned socket, colour, mem; /* mem: of the counter, or asked of as capacity. */
    bool counts, shared, tainted, taken;
};

struct random_request {
    unsigned count, colour, mem; /* colour 2: any. */
    bool tolerates;
};

struct problem {
    struct random_device devices[DEVICES_MAX];
    struct random_request requests[REQUESTS_MAX];
    unsigned device_count, request_count, counter;
    bool match, distinct;
};

static void make_problem(struct problem *p)
{
    *p = (struct problem){.device_count = 1 + below(DEVICES_MAX),
                          .request_count = 1 + below(REQUESTS_MAX),
                          .counter = below(9),
                          .match = below(3) == 0,
                          .distinct = below(4) == 0};
    for (unsigned i = 0; i < p->device_count; i++)
        p->devices[i] = (struct random_device){.socket = below(3),
                                               .colour = below(2),
                                               .mem = 1 + below(5),
                                               .counts = below(2) == 0,
                                               .shared = below(4) == 0,
                                               .tainted = below(6) == 0,
                                               .taken = below(8) == 0};
    for (unsigned i = 0; i < p->request_count; i++)
        p->requests[i] = (struct random_request){.count = 1 + below(2),
                                                 .colour = below(3),
                                                 .mem = 1 + below(3),
                                                 .tolerates = below(2) == 0};
}

/* Whether the choice as a whole keeps to all rules. picks: by request, then place. */
static bool is_right(const struct problem *p, unsigned picks[REQUESTS_MAX][2])
{
    unsigned used[DEVICES_MAX] = {0}, shares[DEVICES_MAX] = {0}, counted = 0, sockets[8], n = 0;
    for (unsigned i = 0; i < p->request_count; i++) {
        const struct random_request *r = &p->requests[i];
        for (unsigned k = 0; k < r->count; k++) {
            unsigned x = picks[i][k];
            const struct random_device *d = &p->devices[x];
            if ((d->taken && !d->shared) || (d->tainted && !r->tolerates) ||
                (r->colour != 2 && r->colour != d->colour) || (k != 0 && x <= picks[i][0]) ||
                (used[x] != 0 && !d->shared) || r->mem > d->mem)
                return false;
            if (used[x]++ == 0 && d->counts && !(d->taken && d->shared))
                counted += d->mem;
            shares[x] += r->mem;
            sockets[n++] = d->socket;
        }
    }
    for (unsigned i = 0; i < p->device_count; i++) {
        const struct random_device *d = &p->devices[i];
        if (d->taken && d->counts)
            counted += d->mem;
        if (d->shared && used[i] != 0 && shares[i] + (d->taken ? 1 : 0) > d->mem)
            return false;
    }
    bool counts = false; /* The counter matters only to who takes of it. */
    for (unsigned i = 0; i < p->device_count; i++)
        counts |=
            used[i] != 0 && p->devices[i].counts && !(p->devices[i].taken && p->devices[i].shared);
    if (counts && counted > p->counter)
        return false;
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < i; k++)
            if ((p->match && sockets[i] != sockets[k]) || (p->distinct && sockets[i] == sockets[k]))
                return false;
    return true;
}

/* The first right choice in order. */
static bool try_all(const struct problem *p, unsigned picks[REQUESTS_MAX][2], unsigned i,
                    unsigned k)
{
    if (i == p->request_count)
        return is_right(p, picks);
    for (unsigned x = 0; x < p->device_count; x++) {
        bool last = k + 1 == p->requests[i].count;
        picks[i][k] = x;
        if (try_all(p, picks, last ? i + 1 : i, last ? 0 : k + 1))
            return true;
    }
    return false;
}

static void put_slices(const struct problem *p, struct devices *d)
{
    AUTO_BUF b = BUF_INIT;
    AUTO_BUF taken = BUF_INIT;
    buf_printf(&b,
               "{\"metadata\":{\"name\":\"s0\"},\"spec\":{\"driver\":\"d.io\",\"nodeName\":\"n1\","
               "\"pool\":{\"name\":\"p\",\"generation\":1,\"resourceSliceCount\":2},"
               "\"sharedCounters\":[{\"name\":\"g\",\"counters\":{\"m\":{\"value\":\"%u\"}}}]}}",
               p->counter);
    buf_putc(&b, '\0');
    add(d, "ResourceSlice", (const char *)b.data);
    b.len = 0;
    buf_puts(&b,
             "{\"metadata\":{\"name\":\"s1\"},\"spec\":{\"driver\":\"d.io\",\"nodeName\":\"n1\","
             "\"pool\":{\"name\":\"p\",\"generation\":1,\"resourceSliceCount\":2},"
             "\"devices\":[");
    for (unsigned i = 0; i < p->device_count; i++) {
        const struct random_device *x = &p->devices[i];
        buf_printf(&b,
                   "%s{\"name\":\"x%u\",\"attributes\":{\"socket\":{\"int\":%u},\"colour\":{\"int\""
                   ":%u}},\"capacity\":{\"mem\":{\"value\":\"%u\"}}",
                   i != 0 ? "," : "", i, x->socket, x->colour, x->mem);
        if (x->shared)
            buf_puts(&b, ",\"allowMultipleAllocations\":true");
        if (x->tainted)
            buf_puts(&b, ",\"taints\":[{\"key\":\"t\",\"effect\":\"NoExecute\"}]");
        if (x->counts)
            buf_printf(&b,
                       ",\"consumesCounters\":[{\"counterSet\":\"g\",\"counters\":{\"m\":{\"value\""
                       ":\"%u\"}}}]",
                       x->mem);
        buf_putc(&b, '}');
        if (x->taken)
            buf_printf(&taken,
                       "%s{\"request\":\"r\",\"driver\":\"d.io\",\"pool\":\"p\",\"device\":"
                       "\"x%u\"%s}",
                       taken.len != 0 ? "," : "", i,
                       x->shared ? ",\"shareID\":\"s\",\"consumedCapacity\":{\"mem\":\"1\"}" : "");
    }
    buf_puts(&b, "]}}");
    buf_putc(&b, '\0');
    add(d, "ResourceSlice", (const char *)b.data);
    b.len = 0;
    buf_puts(&b, "{\"metadata\":{\"name\":\"o\",\"namespace\":\"ns\",\"uid\":\"o\"},\"spec\":{},"
                 "\"status\":{\"allocation\":{\"devices\":{\"results\":[");
    buf_append_str(&b, buf_str(&taken));
    buf_puts(&b, "]}}}}");
    buf_putc(&b, '\0');
    add(d, "ResourceClaim", (const char *)b.data);
}

static void put_spec(const struct problem *p, struct buf *b)
{
    buf_puts(b, "{\"requests\":[");
    for (unsigned i = 0; i < p->request_count; i++) {
        const struct random_request *r = &p->requests[i];
        buf_printf(b,
                   "%s{\"name\":\"r%u\",\"exactly\":{\"deviceClassName\":\"any\","
                   "\"allocationMode\":\"ExactCount\",\"count\":%u,\"capacity\":{\"requests\":{"
                   "\"mem\":\"%u\"}}",
                   i != 0 ? "," : "", i, r->count, r->mem);
        if (r->colour != 2)
            buf_printf(b, "," CEL("device.attributes['d.io'].colour == %u"), r->colour);
        if (r->tolerates)
            buf_puts(b, ",\"tolerations\":[{\"operator\":\"Exists\"}]");
        buf_puts(b, "}}");
    }
    buf_puts(b, "],\"constraints\":[");
    if (p->match)
        buf_puts(b, "{\"matchAttribute\":\"d.io/socket\"}");
    if (p->distinct)
        buf_printf(b, "%s{\"distinctAttribute\":\"d.io/socket\"}", p->match ? "," : "");
    buf_puts(b, "]}");
    buf_putc(b, '\0');
}

START_TEST(test_against_all)
{
    unsigned solved = 0;
    state = 0x9e3779b97f4a7c15u;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct problem p;
        struct outcome o;
        unsigned picks[REQUESTS_MAX][2] = {0};
        AUTO_BUF spec = BUF_INIT;
        AUTO_BUF want = BUF_INIT;
        struct devices *d = world();
        make_problem(&p);
        put_slices(&p, d);
        put_spec(&p, &spec);
        bool possible = try_all(&p, picks, 0, 0);
        for (unsigned i = 0; possible && i < p.request_count; i++)
            for (unsigned k = 0; k < p.requests[i].count; k++)
                buf_printf(&want, "%sr%u=x%u", want.len != 0 ? " " : "", i, picks[i][k]);
        if (!possible)
            buf_puts(&want, "cannot allocate all claims");
        buf_putc(&want, '\0');
        const char *text = (const char *)spec.data;
        allocate(d, "n1", &text, 1, &o);
        ck_assert_msg(strcmp(o.text, (const char *)want.data) == 0,
                      "round %u: %s\n got %s\nwant %s", round, text, o.text,
                      (const char *)want.data);
        solved += possible;
        devices_free(d);
    }
    ck_assert_uint_gt(solved, ROUNDS / 10);
    ck_assert_uint_lt(solved, ROUNDS - ROUNDS / 10);
}
END_TEST

UNIT_MAIN("devices", {
    UNIT_TEST(test_exact_count);
    UNIT_TEST(test_selectors);
    UNIT_TEST(test_all);
    UNIT_TEST(test_pools);
    UNIT_TEST(test_nodes);
    UNIT_TEST(test_first_available);
    UNIT_TEST(test_constraints);
    UNIT_TEST(test_counters);
    UNIT_TEST(test_shares);
    UNIT_TEST(test_taints_and_admins);
    UNIT_TEST(test_pending);
    UNIT_TEST(test_result);
    UNIT_TEST(test_against_all);
})

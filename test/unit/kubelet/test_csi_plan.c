/* test_csi_plan.c - what a driver is told of a pod's volume, and which objects it takes to know. */
#include "kubelet/csi.h"
#include "kubelet/pod_sources.h"
#include "kubelet/static_pods.h"
#include "kubelet/volumes.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"

#include "api/authentication_v1.h"
#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "test/unit/unit.h"

#include <string.h>

#define TOKENS "csi.storage.k8s.io/serviceAccount.tokens"

/* A pod with one volume, and what the API has about it. */
struct fixture {
    struct api_object *pod;
    struct source_set *sources;
    struct api_object *driver; /* Of sources. */
    struct core_v1_persistent_volume *pv;
    struct core_v1_persistent_volume_claim *claim;
    struct volume_set *set;
    struct error err;
};

static void *put(struct fixture *f, enum source_kind kind, const char *api_version,
                 const char *kind_name, const char *name, int64_t expiration_s)
{
    struct source *s = source_set_find(f->sources, kind, str_of(name), expiration_s);
    ck_assert_msg(s != NULL, "%s %s is not asked for", kind_name, name);
    s->object = api_object_new(api_kind_by_api_version(str_of(api_version), str_of(kind_name)));
    s->fetched_ms = 1;
    return s->object->msg;
}

static void start(struct fixture *f, const char *volume)
{
    AUTO_FREE char *text = xasprintf("apiVersion: v1\nkind: Pod\n"
                                     "metadata: {name: p, namespace: ns}\n"
                                     "spec: {containers: [{name: c, image: x}], volumes: [%s]}\n",
                                     volume);
    *f = (struct fixture){0};
    int rc = static_pod_parse(str_of(text), "node1", "/m/p.yaml", &f->pod, &f->err);
    ck_assert_msg(rc == 0, "%s", error_message(&f->err));
    f->sources = source_set_new(f->pod->msg);
}

static bool follow(struct fixture *f)
{
    return source_set_follow(f->sources, f->pod->msg, "node1");
}

static struct storage_v1_csi_driver *put_driver(struct fixture *f)
{
    static struct storage_v1_token_request asks[] = {
        {.audience = STR("vault"), .expiration_seconds = 600, .has_expiration_seconds = true},
        {.audience = STR("")}};
    static struct str modes[] = {STR("Persistent"), STR("Ephemeral")};
    struct storage_v1_csi_driver *d =
        put(f, SOURCE_CSI_DRIVER, "storage.k8s.io/v1", "CSIDriver", "d.test", 0);
    d->spec.token_requests = asks;
    d->spec.token_requests_count = 2;
    d->spec.volume_lifecycle_modes = modes;
    d->spec.volume_lifecycle_modes_count = 2;
    d->spec.has_attach_required = true;
    return d;
}

static void put_token(struct fixture *f, const char *audience, int64_t expiration_s,
                      const char *token)
{
    struct authentication_v1_token_request *t =
        put(f, SOURCE_TOKEN, "authentication.k8s.io/v1", "TokenRequest", audience, expiration_s);
    t->status.token = str_of(token);
    t->status.expiration_timestamp.seconds = 86400;
}

static const struct csi_mount *plan(struct fixture *f)
{
    struct field_context ctx = {.pod = f->pod->msg, .node_name = "node1"};
    struct volume_config config = {.root_dir = "/r", .pod_logs_dir = "/l"};
    volume_set_free(take(f->set));
    int rc = volume_plan(&config, &ctx, f->sources, &f->set, &f->err);
    return rc == 0 ? f->set->items[0].csi : NULL;
}

static void end(struct fixture *f)
{
    volume_set_free(f->set);
    source_set_free(f->sources);
    api_object_unref(f->pod);
}

static const char *value_of(const struct csi_strings *s, const char *key)
{
    const struct str *v = api_str_map_get(s->items, s->count, str_of(key));
    return v != NULL ? str_c(*v) : NULL;
}

#define BOTH                                                                                       \
    "{\"vault\":{\"token\":\"t1\",\"expirationTimestamp\":\"1970-01-02T00:00:00Z\"},"              \
    "\"\":{\"token\":\"t2\",\"expirationTimestamp\":\"1970-01-02T00:00:00Z\"}}"

/* Tokens are fetched once the driver is known, by audience and life, and go where it wants them. */
START_TEST(tokens_go_where_the_driver_wants_them)
{
    struct fixture f;
    start(&f, "{name: v, csi: {driver: d.test}}");
    struct storage_v1_csi_driver *d = put_driver(&f);
    ck_assert(follow(&f));
    ck_assert(!follow(&f));
    ck_assert_ptr_null(plan(&f));
    ck_assert_ptr_nonnull(
        strstr(error_message(&f.err), "failed to fetch token for audience \"vault\""));
    put_token(&f, "vault", 600, "t1");
    put_token(&f, "", TOKEN_EXPIRATION_DEFAULT_S, "t2");
    const struct csi_mount *m = plan(&f);
    ck_assert_msg(m != NULL, "%s", error_message(&f.err));
    ck_assert_str_eq(value_of(&m->attributes, TOKENS), BOTH);
    ck_assert_ptr_null(value_of(&m->publish_secrets, TOKENS));
    ck_assert(!csi_mount_is_due(m));
    d->spec.service_account_token_in_secrets = d->spec.requires_republish = true;
    m = plan(&f);
    ck_assert_str_eq(value_of(&m->publish_secrets, TOKENS), BOTH);
    ck_assert_ptr_null(value_of(&m->attributes, TOKENS));
    ck_assert(csi_mount_is_due(m));
    end(&f);
}
END_TEST

static struct api_quantity_entry small[] = {{STR("storage"), {STR("8Mi")}}};
static struct api_quantity_entry large[] = {{STR("storage"), {STR("16Mi")}}};
static struct str once[] = {STR("ReadWriteOnce")};

static void start_with_claim(struct fixture *f)
{
    static struct core_v1_object_reference ref = {.uid = STR("u")};
    static struct core_v1_csi_persistent_volume_source csi = {.driver = STR("d.test"),
                                                              .volume_handle = STR("h")};
    start(f, "{name: v, persistentVolumeClaim: {claimName: c}}");
    f->claim = put(f, SOURCE_CLAIM, "v1", "PersistentVolumeClaim", "c", 0);
    f->claim->metadata.name = STR("c");
    f->claim->metadata.namespace = STR("ns");
    f->claim->metadata.uid = STR("u");
    f->claim->spec.volume_name = STR("pv");
    f->claim->status.phase = STR("Bound");
    f->claim->spec.resources.requests = f->claim->status.capacity = small;
    f->claim->spec.resources.requests_count = f->claim->status.capacity_count = 1;
    ck_assert(follow(f));
    f->pv = put(f, SOURCE_VOLUME, "v1", "PersistentVolume", "pv", 0);
    f->pv->metadata.name = STR("pv");
    f->pv->spec.claim_ref = &ref;
    f->pv->spec.persistent_volume_source.csi = &csi;
    f->pv->spec.capacity = small;
    f->pv->spec.access_modes = once;
    f->pv->spec.capacity_count = f->pv->spec.access_modes_count = 1;
    ck_assert(follow(f));
    put_driver(f)->spec.token_requests_count = 0;
    ck_assert(!follow(f));
}

/* A volume that is larger than its claim says: the file system has to follow, unless the driver has
 * said that it cannot. */
START_TEST(a_volume_that_has_grown)
{
    struct fixture f;
    start_with_claim(&f);
    const struct csi_mount *m = plan(&f);
    ck_assert_msg(m != NULL, "%s", error_message(&f.err));
    ck_assert_ptr_null(m->grown);
    f.pv->spec.capacity = large;
    m = plan(&f);
    ck_assert_ptr_eq(m->grown, f.claim);
    ck_assert_int_eq(m->grow_bytes, 16 << 20);
    ck_assert(str_eqc(m->grow_size, "16Mi"));
    ck_assert(csi_mount_is_due(m));
    static struct api_str_entry state[] = {{STR("storage"), STR("NodeResizeInProgress")}};
    f.claim->status.allocated_resource_statuses = state;
    f.claim->status.allocated_resource_statuses_count = 1;
    ck_assert_ptr_nonnull(plan(&f)->grown);
    state[0].value = STR("NodeResizeInfeasible");
    ck_assert_ptr_null(plan(&f)->grown);
    state[0].value = STR("ControllerResizeInProgress");
    ck_assert_ptr_null(plan(&f)->grown);
    end(&f);
}
END_TEST

/* A claim is looked at again while a driver has its volume; the volume only when the claim wants
 * more than it has. */
START_TEST(growth_is_looked_for)
{
    struct fixture f;
    start_with_claim(&f);
    struct source *claim = source_set_find(f.sources, SOURCE_CLAIM, STR("c"), 0);
    struct source *volume = source_set_find(f.sources, SOURCE_VOLUME, STR("pv"), 0);
    ck_assert(!source_is_settled(claim));
    ck_assert(source_is_settled(volume));
    claim->fetched_ms = 2;
    ck_assert(!follow(&f));
    f.claim->spec.resources.requests = large;
    ck_assert(follow(&f));
    ck_assert(volume->stale);
    volume->fetched_ms = 3;
    ck_assert(!follow(&f));
    ck_assert(!volume->stale);
    end(&f);
}
END_TEST

UNIT_MAIN("kubelet/csi plan", {
    UNIT_TEST(tokens_go_where_the_driver_wants_them);
    UNIT_TEST(a_volume_that_has_grown);
    UNIT_TEST(growth_is_looked_for);
})

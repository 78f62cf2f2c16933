/* test_volumes.c - where a pod's claims and volumes let it go. */
#include "api/storage_v1.h"
#include "scheduler/claims.h"
#include "scheduler/plugins/plugins.h"
#include "test/unit/scheduler/cluster.h"

#include <stdio.h>

#define MAX 8

/* What the API has besides nodes and pods. */
struct world {
    struct api_object *claims[MAX], *volumes[MAX], *classes[MAX], *csi_nodes[MAX];
    struct api_object *drivers[MAX], *capacities[MAX];
    size_t claim_count, volume_count, class_count, csi_node_count, driver_count, capacity_count;
    const char *taken; /* Name of a volume given away already. */
    struct snapshot snapshot;
    struct pod_facts facts;
};

static struct api_object *named(struct api_object **list, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(api_object_meta(list[i])->name, name))
            return list[i];
    return NULL;
}

static struct api_object *claim(void *arg, struct str ns, struct str name)
{
    struct world *w = arg;
    (void)ns;
    return named(w->claims, w->claim_count, name);
}

static struct api_object *volume(void *arg, struct str name)
{
    struct world *w = arg;
    return named(w->volumes, w->volume_count, name);
}

static struct api_object *class(void *arg, struct str name)
{
    struct world *w = arg;
    return named(w->classes, w->class_count, name);
}

static struct api_object *csi_node(void *arg, struct str name)
{
    struct world *w = arg;
    return named(w->csi_nodes, w->csi_node_count, name);
}

static struct api_object *csi_driver(void *arg, struct str name)
{
    struct world *w = arg;
    return named(w->drivers, w->driver_count, name);
}

static struct api_object *next_capacity(void *arg, size_t *pos)
{
    struct world *w = arg;
    return *pos < w->capacity_count ? w->capacities[(*pos)++] : NULL;
}

static struct api_object *next_volume(void *arg, size_t *pos)
{
    struct world *w = arg;
    return *pos < w->volume_count ? w->volumes[(*pos)++] : NULL;
}

static bool taken(void *arg, const struct core_v1_persistent_volume *v)
{
    struct world *w = arg;
    return w->taken != NULL && str_eqc(v->metadata.name, w->taken);
}

static struct api_object *storage_object(const char *kind, const char *json)
{
    const struct api_kind *k = api_kind_by_gvk(STR("storage.k8s.io"), STR("v1"), str_of(kind));
    struct api_object *o = api_object_new(k);
    struct error err = {0};
    int rc = api_json_decode(o->arena, k->msg, str_of(json), API_STRICT, NULL, o->msg, &err);
    ck_assert_msg(rc == 0, "%s: %s", json, error_message(&err));
    return o;
}

#define NODE(name)                                                                                 \
    "{\"metadata\":{\"name\":\"" name "\",\"labels\":{\"kubernetes.io/hostname\":\"" name          \
    "\",\"topology.kubernetes.io/zone\":\"zone-" name                                              \
    "\"}},\"status\":{\"allocatable\":{\"pods\":"                                                  \
    "\"10\",\"cpu\":\"4\",\"memory\":\"8Gi\"}}}"

/* Two nodes, a and b. */
static void world_init(struct world *w)
{
    *w = (struct world){0};
    snapshot_init(&w->snapshot);
    w->facts = (struct pod_facts){.namespace_labels = no_labels,
                                  .claim = claim,
                                  .volume = volume,
                                  .storage_class = class,
                                  .csi_node = csi_node,
                                  .csi_driver = csi_driver,
                                  .next_capacity = next_capacity,
                                  .next_volume = next_volume,
                                  .volume_taken = taken,
                                  .arg = w};
    add_node(&w->snapshot, NODE("a"));
    add_node(&w->snapshot, NODE("b"));
    w->classes[w->class_count++] =
        storage_object("StorageClass", "{\"metadata\":{\"name\":\"disks\"},\"provisioner\":"
                                       "\"kubernetes.io/no-provisioner\",\"volumeBindingMode\":"
                                       "\"WaitForFirstConsumer\"}");
    w->classes[w->class_count++] = storage_object(
        "StorageClass", "{\"metadata\":{\"name\":\"made\"},\"provisioner\":\"x.io/y\","
                        "\"volumeBindingMode\":\"WaitForFirstConsumer\"}");
}

static void world_done(struct world *w)
{
    struct api_object **lists[] = {w->claims,    w->volumes, w->classes,
                                   w->csi_nodes, w->drivers, w->capacities};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        for (size_t k = 0; k < MAX; k++)
            api_object_unref(lists[i][k]);
    snapshot_done(&w->snapshot);
}

#define CLAIM(meta, mode, spec)                                                                    \
    "{\"metadata\":{\"name\":\"c\",\"namespace\":\"n\",\"uid\":\"u\"" meta                         \
    "},\"spec\":{\"accessModes\":[\"" mode "\"]," spec                                             \
    "\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}},\"status\":{\"phase\":\"Pending\"}}"
#define BOUND                                                                                      \
    CLAIM(",\"annotations\":{\"pv.kubernetes.io/bind-completed\":\"yes\"}", "ReadWriteOnce",       \
          "\"volumeName\":\"v\",")
#define ON(node)                                                                                   \
    "\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":"      \
    "\"kubernetes.io/hostname\",\"operator\":\"In\",\"values\":[\"" node "\"]}]}]}},"
#define VOLUME(name, meta, spec)                                                                   \
    "{\"metadata\":{\"name\":\"" name "\"" meta "},\"spec\":{" spec                                \
    "\"capacity\":{\"storage\":\"2Gi\"},\"accessModes\":[\"ReadWriteOnce\"]},\"status\":{"         \
    "\"phase\":"                                                                                   \
    "\"Available\"}}"
#define POD(uid)                                                                                   \
    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"" uid                             \
    "\"},\"spec\":{\"volumes\":"                                                                   \
    "[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]}}"

static void add(struct world *w, const char *kind, const char *json)
{
    if (kind[10] == 'V' && strlen(kind) == 16)
        w->volumes[w->volume_count++] = object_from(kind, json);
    else
        w->claims[w->claim_count++] = object_from(kind, json);
}

/* The node chosen, or the message. */
static void choose(struct world *w, char *ret, size_t size, size_t *ret_plans)
{
    struct decision d = {.pod = object_from("Pod", POD("p"))};
    const struct claim_plan *plans;
    d.info = pod_info_new(d.pod);
    d.cycle = (struct cycle){.arena = arena_new(0),
                             .snapshot = &w->snapshot,
                             .pod = d.info,
                             .facts = &w->facts,
                             .seed = 1};
    cycle_filter(&d.cycle);
    d.node = cycle_select(&d.cycle);
    if (d.node != NULL)
        snprintf(ret, size, "%s", d.node->name);
    else
        snprintf(ret, size, "%s", cycle_message(&d.cycle, STR_NULL).data);
    if (ret_plans != NULL)
        *ret_plans = d.node != NULL ? volume_binding_plan(&d.cycle, d.node->node, &plans) : 0;
    decision_done(&d);
}

#define CHOOSES(w, want)                                                                           \
    do {                                                                                           \
        char got_[512];                                                                            \
        choose(&(w), got_, sizeof(got_), NULL);                                                    \
        ck_assert_str_eq(got_, (want));                                                            \
    } while (0)

/* A bound volume draws the pod to its node; none there, none anywhere. */
START_TEST(bound_volumes_decide)
{
    struct world w;
    world_init(&w);
    CHOOSES(w, "0/2 nodes are available: persistentvolumeclaim \"c\" not found.");
    add(&w, "PersistentVolumeClaim", BOUND);
    CHOOSES(w, "0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to "
               "non-existent pv(s).");
    add(&w, "PersistentVolume", VOLUME("v", "", ON("b")));
    CHOOSES(w, "b");
    struct core_v1_persistent_volume *v = w.volumes[0]->msg;
    v->spec.node_affinity->required->node_selector_terms->match_expressions->values[0] = STR("x");
    CHOOSES(w, "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity.");
    world_done(&w);
}
END_TEST

/* A claim that waits goes where a free volume is. */
START_TEST(waiting_claims_find_volumes)
{
    struct world w;
    size_t plans;
    char node[512];
    world_init(&w);
    add(&w, "PersistentVolumeClaim", CLAIM("", "ReadWriteOnce", "\"storageClassName\":\"disks\","));
    CHOOSES(w, "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to "
               "bind.");
    add(&w, "PersistentVolume", VOLUME("v", "", ON("b") "\"storageClassName\":\"disks\","));
    choose(&w, node, sizeof(node), &plans);
    ck_assert_str_eq(node, "b");
    ck_assert_uint_eq(plans, 1);
    w.taken = "v";
    CHOOSES(w, "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to "
               "bind.");
    world_done(&w);
}
END_TEST

/* One that is being made for a node is not asked for on another. */
START_TEST(ordered_volumes_stay)
{
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolumeClaim",
        CLAIM(",\"annotations\":{\"volume.kubernetes.io/selected-node\":\"a\"}", "ReadWriteOnce",
              "\"storageClassName\":\"made\","));
    CHOOSES(w, "a");
    world_done(&w);
}
END_TEST

START_TEST(immediate_claims_are_waited_for)
{
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolumeClaim", CLAIM("", "ReadWriteOnce", ""));
    CHOOSES(w, "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
    world_done(&w);
}
END_TEST

/* ReadWriteOncePod: one pod in the cluster. */
START_TEST(one_pod_only)
{
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolumeClaim",
        CLAIM(",\"annotations\":{\"pv.kubernetes.io/bind-completed\":\"yes\"}", "ReadWriteOncePod",
              "\"volumeName\":\"v\","));
    add(&w, "PersistentVolume", VOLUME("v", "", ON("b")));
    CHOOSES(w, "b");
    add_pod(
        &w.snapshot,
        "{\"metadata\":{\"name\":\"q\",\"namespace\":\"n\",\"uid\":\"q\"},\"spec\":{\"nodeName\":"
        "\"a\",\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]}}");
    CHOOSES(w, "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same "
               "name and ReadWriteOncePod access mode.");
    world_done(&w);
}
END_TEST

START_TEST(zones_are_kept)
{
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolumeClaim", BOUND);
    add(&w, "PersistentVolume",
        VOLUME("v", ",\"labels\":{\"failure-domain.beta.kubernetes.io/zone\":\"zone-x__zone-b\"}",
               ""));
    CHOOSES(w, "b");
    world_done(&w);
}
END_TEST

/* A driver's limit counts each volume once. */
START_TEST(limits_count_volumes)
{
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolumeClaim", BOUND);
    add(&w, "PersistentVolume",
        VOLUME("v", "", "\"csi\":{\"driver\":\"d\",\"volumeHandle\":\"h\"},"));
    for (int i = 0; i < 2; i++) {
        char json[256];
        snprintf(
            json, sizeof(json),
            "{\"metadata\":{\"name\":\"%c\"},\"spec\":{\"drivers\":[{\"name\":\"d\",\"nodeID\":"
            "\"x\",\"allocatable\":{\"count\":%d}}]}}",
            'a' + i, i);
        w.csi_nodes[w.csi_node_count++] = storage_object("CSINode", json);
    }
    CHOOSES(w, "b");
    add_pod(
        &w.snapshot,
        "{\"metadata\":{\"name\":\"q\",\"namespace\":\"n\",\"uid\":\"q\"},\"spec\":{\"nodeName\":"
        "\"b\",\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]}}");
    CHOOSES(w, "b");
    ((struct storage_v1_csi_node *)w.csi_nodes[1]->msg)->spec.drivers->allocatable->count = 0;
    snapshot_remove_pod(&w.snapshot, STR("q"));
    CHOOSES(w, "0/2 nodes are available: 2 node(s) exceed max volume count.");
    world_done(&w);
}
END_TEST

#define CAPACITY(node, class, room)                                                                \
    "{\"metadata\":{\"name\":\"r\",\"namespace\":\"n\"},\"storageClassName\":\"" class             \
        "\",\"nodeTopology\":{\"matchLabels\":{\"kubernetes.io/hostname\":\"" node "\"}}," room    \
        "}"
#define NO_ROOM "0/2 nodes are available: 2 node(s) did not have enough free storage."

/* A volume is made where the driver says that there is room for it; drivers that say nothing
 * are not asked. */
START_TEST(new_volumes_need_room)
{
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolumeClaim", CLAIM("", "ReadWriteOnce", "\"storageClassName\":\"made\","));
    w.drivers[w.driver_count++] =
        storage_object("CSIDriver", "{\"metadata\":{\"name\":\"x.io/y\"}}");
    struct storage_v1_csi_driver *d = w.drivers[0]->msg;
    ck_assert(!d->spec.storage_capacity);
    char node[512];
    choose(&w, node, sizeof(node), NULL);
    ck_assert(strcmp(node, "a") == 0 || strcmp(node, "b") == 0);
    d->spec.has_storage_capacity = d->spec.storage_capacity = true;
    CHOOSES(w, NO_ROOM);
    static const char *const useless[] = {
        CAPACITY("a", "disks", "\"capacity\":\"9Gi\""),   /* Of another class, */
        CAPACITY("a", "made", "\"capacity\":\"1023Mi\""), /* too small, */
        CAPACITY("a", "made", "\"capacity\":\"9Gi\",\"maximumVolumeSize\":\"1Mi\""),
        CAPACITY("c", "made", "\"capacity\":\"9Gi\""), /* elsewhere, unknown, nowhere. */
        "{\"metadata\":{\"name\":\"r\",\"namespace\":\"n\"},\"storageClassName\":\"made\","
        "\"nodeTopology\":{}}",
        "{\"metadata\":{\"name\":\"r\",\"namespace\":\"n\"},\"storageClassName\":\"made\","
        "\"capacity\":\"9Gi\"}"};
    for (size_t i = 0; i < ARRAY_SIZE(useless); i++) {
        w.capacities[w.capacity_count++] = storage_object("CSIStorageCapacity", useless[i]);
        CHOOSES(w, NO_ROOM);
    }
    w.capacities[w.capacity_count++] =
        storage_object("CSIStorageCapacity", CAPACITY("b", "made", "\"capacity\":\"1Gi\""));
    CHOOSES(w, "b");
    add(&w, "PersistentVolume", VOLUME("v", "", ON("a") "\"storageClassName\":\"made\","));
    w.capacity_count--; /* What is there already needs no room. */
    CHOOSES(w, "a");
    world_done(&w);
}
END_TEST

UNIT_MAIN("scheduler/volumes", {
    UNIT_TEST(bound_volumes_decide);
    UNIT_TEST(waiting_claims_find_volumes);
    UNIT_TEST(ordered_volumes_stay);
    UNIT_TEST(immediate_claims_are_waited_for);
    UNIT_TEST(one_pod_only);
    UNIT_TEST(zones_are_kept);
    UNIT_TEST(limits_count_volumes);
    UNIT_TEST(new_volumes_need_room);
})

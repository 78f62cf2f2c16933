/* test_volumes.c - how claims and volumes are brought together and released. */
#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "controllers/volume_plan.h"
#include "lib/api/quantity.h"
#include "lib/client/claims.h"
#include "lib/client/labels.h"
#include "test/unit/controllers/objects.h"

#define MAX 8
#define GROUPED(kind) (strcmp((kind), "StorageClass") == 0 ? STR("storage.k8s.io") : STR(""))

/* A cluster of a few objects, as JSON. */
struct world {
    struct arena *a;
    struct api_object *volumes[MAX], *claims[MAX], *classes[MAX];
    size_t volume_count, claim_count, class_count;
    struct volume_view view;
};

static struct api_object *object(struct arena *a, const char *kind, const char *json)
{
    struct api_object *o = ARENA_NEW(a, struct api_object);
    o->kind = api_kind_by_gvk(GROUPED(kind), STR("v1"), str_of(kind));
    o->msg = decoded(a, o->kind->msg, json);
    return o;
}

static struct api_object *named(struct api_object **list, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(api_object_meta(list[i])->name, name))
            return list[i];
    return NULL;
}

static struct api_object *volume(void *arg, struct str name)
{
    struct world *w = arg;
    return named(w->volumes, w->volume_count, name);
}

static struct api_object *claim(void *arg, struct str ns, struct str name)
{
    struct world *w = arg;
    (void)ns;
    return named(w->claims, w->claim_count, name);
}

static struct api_object *class(void *arg, struct str name)
{
    struct world *w = arg;
    return named(w->classes, w->class_count, name);
}

static struct api_object *next_volume(void *arg, size_t *pos)
{
    struct world *w = arg;
    return *pos < w->volume_count ? w->volumes[(*pos)++] : NULL;
}

static struct api_object *next_class(void *arg, size_t *pos)
{
    struct world *w = arg;
    return *pos < w->class_count ? w->classes[(*pos)++] : NULL;
}

static struct str no_pod(void *arg, const struct core_v1_persistent_volume_claim *c)
{
    (void)arg, (void)c;
    return STR_NULL;
}

static void world_init(struct world *w)
{
    *w = (struct world){.a = arena_new(0)};
    w->view = (struct volume_view){.volume = volume,
                                   .claim = claim,
                                   .class = class,
                                   .next_volume = next_volume,
                                   .next_class = next_class,
                                   .waiting_pod = no_pod,
                                   .arg = w};
}

static void add(struct world *w, const char *kind, const char *json)
{
    struct api_object *o = object(w->a, kind, json);
    if (strcmp(kind, "PersistentVolume") == 0)
        w->volumes[w->volume_count++] = o;
    else if (strcmp(kind, "StorageClass") == 0)
        w->classes[w->class_count++] = o;
    else
        w->claims[w->claim_count++] = o;
}

#define SPEC(size, more)                                                                           \
    "\"spec\":{\"capacity\":{\"storage\":\"" size "\"},\"accessModes\":[\"ReadWriteOnce\"]," more  \
    "\"persistentVolumeReclaimPolicy\":\"Retain\"}"
#define VOLUME(name, size, more)                                                                   \
    "{\"metadata\":{\"name\":\"" name                                                              \
    "\"}," SPEC(size, more) ",\"status\":{\"phase\":\"Available\"}}"
#define CLAIM_SPEC(more)                                                                           \
    "\"spec\":{\"accessModes\":[\"ReadWriteOnce\"]," more                                          \
    "\"resources\":{\"requests\":{\"storage\":\"2Gi\"}}}"
#define CLAIM(meta, more)                                                                          \
    "{\"metadata\":{\"name\":\"c\",\"namespace\":\"n\",\"uid\":\"u\"" meta                         \
    "}," CLAIM_SPEC(more) ",\"status\":{\"phase\":\"Pending\"}}"

static struct volume_step step_claim(struct world *w)
{
    struct volume_step s;
    claim_plan(w->a, &w->view, w->claims[0]->msg, &s);
    return s;
}

static struct volume_step step_volume(struct world *w)
{
    struct volume_step s;
    volume_plan(w->a, &w->view, w->volumes[0]->msg, &s);
    return s;
}

static const struct core_v1_persistent_volume *chosen(struct world *w)
{
    struct volume_choice how = {.next = next_volume, .arg = w};
    return volume_choose(&how, w->claims[0]->msg);
}

/* The smallest that is large enough; a reserved one before all. */
START_TEST(smallest_fitting_volume_is_chosen)
{
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolumeClaim", CLAIM("", "\"storageClassName\":\"\","));
    add(&w, "PersistentVolume", VOLUME("big", "9Gi", ""));
    add(&w, "PersistentVolume", VOLUME("small", "1Gi", ""));
    ck_assert_str_eq(chosen(&w)->metadata.name.data, "big");
    add(&w, "PersistentVolume", VOLUME("right", "3Gi", ""));
    add(&w, "PersistentVolume", VOLUME("classed", "2Gi", "\"storageClassName\":\"x\","));
    add(&w, "PersistentVolume", VOLUME("block", "2Gi", "\"volumeMode\":\"Block\","));
    ck_assert_str_eq(chosen(&w)->metadata.name.data, "right");
    add(&w, "PersistentVolume",
        VOLUME("kept", "50Gi", "\"claimRef\":{\"name\":\"c\",\"namespace\":\"n\"},"));
    ck_assert_str_eq(chosen(&w)->metadata.name.data, "kept");
    arena_free(w.a);
}
END_TEST

/* The four writes, each planned from what the one before left. */
START_TEST(binding_takes_four_writes)
{
    static const enum volume_write order[] = {WRITE_VOLUME, WRITE_VOLUME_STATUS, WRITE_CLAIM,
                                              WRITE_CLAIM_STATUS, WRITE_NOTHING};
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolumeClaim", CLAIM("", "\"storageClassName\":\"\","));
    add(&w, "PersistentVolume", VOLUME("v", "3Gi", ""));
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        struct volume_step s = step_claim(&w);
        ck_assert_int_eq(s.write, order[i]);
        if (s.write == WRITE_VOLUME || s.write == WRITE_VOLUME_STATUS)
            w.volumes[0]->msg = s.msg;
        else if (s.write != WRITE_NOTHING)
            w.claims[0]->msg = s.msg;
    }
    const struct core_v1_persistent_volume_claim *c = w.claims[0]->msg;
    const struct core_v1_persistent_volume *v = w.volumes[0]->msg;
    ck_assert_str_eq(v->spec.claim_ref->uid.data, "u");
    ck_assert_str_eq(v->status.phase.data, "Bound");
    ck_assert_ptr_nonnull(annotation_get(&v->metadata, ANNOTATION_BOUND_BY_CONTROLLER));
    ck_assert_str_eq(c->spec.volume_name.data, "v");
    ck_assert_str_eq(c->status.phase.data, "Bound");
    ck_assert_uint_eq(c->status.capacity_count, 1);
    ck_assert_ptr_nonnull(annotation_get(&c->metadata, ANNOTATION_BIND_COMPLETED));
    ck_assert_int_eq(step_volume(&w).write, WRITE_NOTHING);
    arena_free(w.a);
}
END_TEST

/* What the user reserved is not said to be the controller's doing. */
START_TEST(reserved_volume_keeps_its_owner)
{
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolumeClaim", CLAIM("", "\"storageClassName\":\"\",\"volumeName\":\"v\","));
    add(&w, "PersistentVolume",
        VOLUME("v", "3Gi", "\"claimRef\":{\"name\":\"c\",\"namespace\":\"n\"},"));
    struct volume_step s = step_claim(&w);
    ck_assert_int_eq(s.write, WRITE_VOLUME);
    const struct core_v1_persistent_volume *v = s.msg;
    ck_assert_ptr_null(annotation_get(&v->metadata, ANNOTATION_BOUND_BY_CONTROLLER));
    ck_assert_str_eq(v->spec.claim_ref->uid.data, "u");
    arena_free(w.a);
}
END_TEST

#define REASON(w, want)                                                                            \
    do {                                                                                           \
        struct volume_step s_ = step_claim(&(w));                                                  \
        ck_assert_ptr_nonnull(s_.reason);                                                          \
        ck_assert_str_eq(s_.reason, (want));                                                       \
    } while (0)

/* A claim that finds nothing says why. */
START_TEST(waiting_claims_say_why)
{
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolumeClaim", CLAIM("", ""));
    REASON(w, "FailedBinding");
    add(&w, "StorageClass",
        "{\"metadata\":{\"name\":\"late\",\"annotations\":{\"storageclass.kubernetes.io/"
        "is-default-class\":\"true\"}},\"provisioner\":\"x.io/y\",\"volumeBindingMode\":"
        "\"WaitForFirstConsumer\"}");
    struct volume_step s = step_claim(&w);
    ck_assert_int_eq(s.write, WRITE_CLAIM);
    w.claims[0]->msg = s.msg;
    REASON(w, "WaitForFirstConsumer");
    struct core_v1_persistent_volume_claim *c = w.claims[0]->msg;
    ck_assert_str_eq(c->spec.storage_class_name.data, "late");
    annotation_put(w.a, &c->metadata, ANNOTATION_SELECTED_NODE, STR("node-1"));
    REASON(w, "ExternalProvisioning");
    c->spec.storage_class_name = STR("absent");
    REASON(w, "ProvisioningFailed");
    c->spec.volume_name = STR("v");
    add(&w, "PersistentVolume", VOLUME("v", "1Gi", ""));
    s = step_claim(&w);
    ck_assert_str_eq(s.reason, "VolumeMismatch");
    ck_assert_str_eq(s.message.data,
                     "Cannot bind to requested volume \"v\": requested PV is too small");
    arena_free(w.a);
}
END_TEST

/* A bound claim whose volume went has lost it, once the server agrees. */
START_TEST(lost_volumes_are_not_replaced)
{
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolumeClaim",
        CLAIM(",\"annotations\":{\"" ANNOTATION_BIND_COMPLETED "\":\"yes\"}",
              "\"storageClassName\":\"\",\"volumeName\":\"gone\","));
    add(&w, "PersistentVolume", VOLUME("v", "3Gi", ""));
    ck_assert_int_eq(step_claim(&w).write, ASK_VOLUME);
    w.view.gone_for_sure = true;
    struct volume_step s = step_claim(&w);
    ck_assert_int_eq(s.write, WRITE_CLAIM_STATUS);
    ck_assert_str_eq(s.reason, "ClaimLost");
    ck_assert_str_eq(((struct core_v1_persistent_volume_claim *)s.msg)->status.phase.data, "Lost");
    arena_free(w.a);
}
END_TEST

#define BOUND_VOLUME(annotations, policy)                                                          \
    "{\"metadata\":{\"name\":\"v\",\"annotations\":{" annotations "}},\"spec\":{\"claimRef\":{"    \
    "\"name\":\"c\",\"namespace\":\"n\",\"uid\":\"u\"},\"persistentVolumeReclaimPolicy\":"         \
    "\"" policy "\"},\"status\":{\"phase\":\"Bound\"}}"

/* When the claim is gone a volume is released, and then as its policy says. */
START_TEST(released_volumes_follow_their_policy)
{
    static const struct {
        const char *annotations, *policy, *reason;
    } cases[] = {{"", "Retain", NULL},
                 {"", "Delete", "VolumeFailedDelete"},
                 {"", "Recycle", "VolumeFailedRecycle"},
                 {"\"" ANNOTATION_PROVISIONED_BY "\":\"x.io/y\"", "Delete", NULL}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;
        world_init(&w);
        struct str json =
            arena_printf(w.a, BOUND_VOLUME("%s", "%s"), cases[i].annotations, cases[i].policy);
        add(&w, "PersistentVolume", str_c(json));
        ck_assert_int_eq(step_volume(&w).write, ASK_CLAIM);
        w.view.gone_for_sure = true;
        struct volume_step s = step_volume(&w);
        ck_assert_int_eq(s.write, WRITE_VOLUME_STATUS);
        w.volumes[0]->msg = s.msg;
        ck_assert_str_eq(((struct core_v1_persistent_volume *)s.msg)->status.phase.data,
                         "Released");
        s = step_volume(&w);
        ck_assert_int_eq(s.write, cases[i].reason != NULL ? WRITE_VOLUME_STATUS : WRITE_NOTHING);
        if (cases[i].reason != NULL)
            ck_assert_str_eq(s.reason, cases[i].reason);
        arena_free(w.a);
    }
}
END_TEST

/* A volume whose claim took another one is free again. */
START_TEST(losers_are_unbound)
{
    struct world w;
    world_init(&w);
    add(&w, "PersistentVolume",
        BOUND_VOLUME("\"" ANNOTATION_BOUND_BY_CONTROLLER "\":\"yes\"", "Retain"));
    add(&w, "PersistentVolumeClaim", CLAIM("", "\"volumeName\":\"other\","));
    struct volume_step s = step_volume(&w);
    ck_assert_int_eq(s.write, WRITE_VOLUME);
    ck_assert_ptr_null(((struct core_v1_persistent_volume *)s.msg)->spec.claim_ref);
    w.volumes[0]->msg = s.msg;
    ck_assert_int_eq(step_volume(&w).write, WRITE_VOLUME_STATUS);
    arena_free(w.a);
}
END_TEST

UNIT_MAIN("controllers/volumes", {
    UNIT_TEST(smallest_fitting_volume_is_chosen);
    UNIT_TEST(binding_takes_four_writes);
    UNIT_TEST(reserved_volume_keeps_its_owner);
    UNIT_TEST(waiting_claims_say_why);
    UNIT_TEST(lost_volumes_are_not_replaced);
    UNIT_TEST(released_volumes_follow_their_policy);
    UNIT_TEST(losers_are_unbound);
})

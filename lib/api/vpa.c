/* vpa.c - see vpa.h: reading. */
#include "lib/api/vpa.h"

#include "api/resource.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"

const char *const vpa_resource_names[VPA_RESOURCES] = {"cpu", "memory"};

/* --- amounts ------------------------------------------------------------------------------ */
static struct vpa_amount amount_of(enum vpa_resource r, const struct quantity *q)
{
    return (struct vpa_amount){.n = r == VPA_CPU ? quantity_milli_value(q) : quantity_value(q),
                               .format = q->format,
                               .given = true};
}

struct quantity vpa_quantity(enum vpa_resource r, const struct vpa_amount *x)
{
    return r == VPA_CPU ? quantity_from_milli(x->n, x->format) : quantity_from_int(x->n, x->format);
}

void vpa_list_from(const struct api_quantity_entry *e, size_t count, struct vpa_list *ret)
{
    *ret = (struct vpa_list){0};
    for (size_t i = 0; i < count; i++)
        for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++)
            if (str_eqc(e[i].key, vpa_resource_names[r])) {
                struct quantity q = quantity_of(&e[i].value);
                ret->of[r] = amount_of(r, &q);
            }
}

enum vpa_capped vpa_cap(struct vpa_amount *x, const struct vpa_amount *min,
                        const struct vpa_amount *max)
{
    enum vpa_capped capped = VPA_NOT_CAPPED;
    if (!x->given)
        return capped;
    if (min->given && min->n != 0 && x->n < min->n) {
        *x = *min;
        capped = VPA_CAPPED_TO_MIN;
    }
    if (max->given && max->n != 0 && x->n > max->n) {
        *x = *max;
        capped = VPA_CAPPED_TO_MAX;
    }
    return capped;
}

/* --- JSON ------------------------------------------------------------------------------------- */

/* A quantity as text or whole number. */
static bool read_quantity(const struct json *j, struct quantity *ret)
{
    if (j == NULL)
        return false;
    if (j->type == JSON_STRING)
        return quantity_parse(j->string, ret, NULL) == 0;
    if (j->type == JSON_INT)
        *ret = quantity_from_int(j->integer, QUANTITY_DECIMAL_SI);
    return j->type == JSON_INT;
}

static void read_list(const struct json *j, struct vpa_list *ret)
{
    struct quantity q;
    for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++)
        if (read_quantity(json_getc(j, vpa_resource_names[r]), &q))
            ret->of[r] = amount_of(r, &q);
}

static double read_number(const struct json *j, const char *key)
{
    struct quantity q;
    return read_quantity(json_getc(j, key), &q) ? quantity_to_double(&q) : 0;
}

/* Items of an array; none when it is no array. */
static size_t items_of(const struct json *j, const char *key, struct json *const **ret)
{
    const struct json *list = json_getc(j, key);
    bool any = list != NULL && list->type == JSON_ARRAY;
    *ret = any ? list->array.items : NULL;
    return any ? list->array.count : 0;
}

/* Which resources a list names; without the list all. */
static void read_names(const struct json *j, const char *key, bool ret[VPA_RESOURCES])
{
    struct json *const *items;
    bool all = json_getc(j, key) == NULL;
    size_t n = items_of(j, key, &items);
    for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++) {
        ret[r] = all;
        for (size_t i = 0; i < n; i++)
            ret[r] |=
                items[i]->type == JSON_STRING && str_eqc(items[i]->string, vpa_resource_names[r]);
    }
}

/* Within 32 bits, so that products are within 64. */
static int64_t bounded(const struct json *j, const char *key)
{
    int64_t n = json_get_int(j, key, 0);
    return n < 0 ? 0 : MIN_OF(n, (int64_t)INT32_MAX);
}

static void read_policy(const struct json *j, struct vpa_policy *ret)
{
    ret->container = json_get_str(j, "containerName");
    ret->off = str_eqc(json_get_str(j, "mode"), "Off");
    ret->requests_only = str_eqc(json_get_str(j, "controlledValues"), "RequestsOnly");
    read_names(j, "controlledResources", ret->controls);
    read_list(json_getc(j, "minAllowed"), &ret->min);
    read_list(json_getc(j, "maxAllowed"), &ret->max);
    ret->oom_ratio = read_number(j, "oomBumpUpRatio");
    ret->oom_bytes = read_number(j, "oomMinBumpUp");
    ret->memory_interval_s = bounded(j, "memoryAggregationIntervalSeconds");
    ret->memory_intervals = bounded(j, "memoryAggregationIntervalCount");
}

static void read_recommended(const struct json *j, struct vpa_recommended *ret)
{
    ret->container = json_get_str(j, "containerName");
    read_list(json_getc(j, "target"), &ret->target);
    read_list(json_getc(j, "lowerBound"), &ret->lower);
    read_list(json_getc(j, "upperBound"), &ret->upper);
    read_list(json_getc(j, "uncappedTarget"), &ret->uncapped);
}

static enum vpa_mode read_mode(struct str mode, bool *ret_deprecated)
{
    static const struct {
        const char *name;
        enum vpa_mode mode;
    } modes[] = {{"Off", VPA_OFF},
                 {"Initial", VPA_INITIAL},
                 {"InPlaceOrRecreate", VPA_IN_PLACE_OR_RECREATE},
                 {"InPlace", VPA_IN_PLACE}};
    *ret_deprecated = str_eqc(mode, "Auto");
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
        if (str_eqc(mode, modes[i].name))
            return modes[i].mode;
    return VPA_RECREATE; /* Not given, or Auto. */
}

static void read_update_policy(struct arena *a, const struct json *j, struct vpa_object *ret)
{
    struct json *const *items;
    size_t n = items_of(j, "evictionRequirements", &items);
    ret->mode = read_mode(json_get_str(j, "updateMode"), &ret->mode_deprecated);
    ret->min_replicas = json_get_int(j, "minReplicas", 0);
    ret->evict_after_oom_s = bounded(j, "evictAfterOOMSeconds");
    ret->requirements = ARENA_ARRAY(a, struct vpa_requirement, n + 1);
    for (size_t i = 0; i < n; i++) {
        struct vpa_requirement *r = &ret->requirements[ret->requirement_count++];
        read_names(items[i], "resources", r->wants);
        r->higher =
            str_eqc(json_get_str(items[i], "changeRequirement"), "TargetHigherThanRequests");
    }
}

void vpa_read(struct arena *a, const struct json *content, struct vpa_object *ret)
{
    const struct json *spec = json_getc(content, "spec"), *target = json_getc(spec, "targetRef");
    struct json *const *items;
    *ret = (struct vpa_object){.target_version = json_get_str(target, "apiVersion"),
                               .target_kind = json_get_str(target, "kind"),
                               .target_name = json_get_str(target, "name")};
    read_update_policy(a, json_getc(spec, "updatePolicy"), ret);
    size_t n = items_of(json_getc(spec, "resourcePolicy"), "containerPolicies", &items);
    ret->policies = ARENA_ARRAY(a, struct vpa_policy, n + 1);
    for (; ret->policy_count < n; ret->policy_count++)
        read_policy(items[ret->policy_count], &ret->policies[ret->policy_count]);
    n = items_of(spec, "recommenders", &items);
    ret->recommenders = ARENA_ARRAY(a, struct str, n + 1);
    for (; ret->recommender_count < n; ret->recommender_count++)
        ret->recommenders[ret->recommender_count] =
            json_get_str(items[ret->recommender_count], "name");
    n = items_of(json_path(content, "status.recommendation"), "containerRecommendations", &items);
    ret->recommended = ARENA_ARRAY(a, struct vpa_recommended, n + 1);
    for (; ret->recommended_count < n; ret->recommended_count++)
        read_recommended(items[ret->recommended_count], &ret->recommended[ret->recommended_count]);
}

/* --- finding -------------------------------------------------------------------------------------
 */
const struct vpa_policy *vpa_policy_of(const struct vpa_object *v, struct str container)
{
    const struct vpa_policy *all = NULL;
    for (size_t i = 0; i < v->policy_count; i++) {
        if (str_eq(v->policies[i].container, container))
            return &v->policies[i];
        if (str_eqc(v->policies[i].container, "*"))
            all = &v->policies[i];
    }
    return all;
}

const struct vpa_recommended *vpa_recommended_of(const struct vpa_recommended *list, size_t count,
                                                 struct str container)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(list[i].container, container))
            return &list[i];
    return NULL;
}

/* vpa_checkpoint.c - see vpa_memory.h: saving and loading. */
#include "api/meta_v1.h"
#include "controllers/vpa_memory.h"
#include "lib/api/json.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <stdlib.h>

#define VERSION "v3"
#define NUMBER_MAX ((int64_t)1 << 53)
#define PEAK_NUMBERS 5 /* Of one pod in the annotation, behind its uid. */

struct str vpa_checkpoint_name(struct arena *a, struct str autoscaler, struct str container)
{
    return arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(autoscaler), STR_ARG(container));
}

/* The pod's uid of a key "container/uid"; empty: it is of another container. */
static struct str uid_of(struct str key, struct str container)
{
    struct str name, uid;
    return str_cut(key, '/', &name, &uid) && str_eq(name, container) ? uid : STR_NULL;
}

static size_t count_pods(const struct vpa_memory *m, struct str container)
{
    struct str key;
    void *value;
    size_t pos = 0, n = 0;
    while (map_next(&m->usages, &pos, &key, &value))
        n += uid_of(key, container).len != 0;
    return n;
}

/* --- saving ------------------------------------------------------------------------------- */
static struct json *time_json(struct arena *a, int64_t s)
{
    char text[TIME_TEXT_MAX];
    struct meta_v1_time t = {.seconds = s};
    time_format(&t, text);
    return s == 0 ? json_null(a) : json_string(a, str_of(text));
}

static struct json *histogram_json(struct arena *a, const struct vpa_histogram *h)
{
    uint32_t weights[VPA_BUCKETS];
    struct json *j = json_object(a), *buckets = json_object(a);
    vpa_histogram_save(h, weights);
    for (size_t i = 0; i < VPA_BUCKETS; i++)
        if (weights[i] != 0)
            json_set(a, buckets, arena_printf(a, "%zu", i), json_int(a, weights[i]));
    json_setc(a, j, "referenceTimestamp", time_json(a, h->referenced ? h->reference_s : 0));
    json_setc(a, j, "bucketWeights", buckets);
    json_setc(a, j, "totalWeight", json_double(a, h->total));
    return j;
}

/* Of so many pods the peaks are not saved: what they may still become is taken back, and counted
 * again when the pods are seen again. */
static void leave_out_peaks(const struct vpa_memory *m, struct str container, int64_t now_s,
                            struct vpa_histogram *h)
{
    struct str key;
    void *value;
    size_t pos = 0;
    while (map_next(&m->usages, &pos, &key, &value)) {
        const struct vpa_usage *u = &((const struct vpa_pod_usage *)value)->usage;
        int64_t peak = u->peak > u->oom_peak ? u->peak : u->oom_peak;
        if (uid_of(key, container).len != 0 && now_s < u->window_end_s)
            vpa_histogram_subtract(h, (double)peak, 1, u->window_end_s);
    }
}

struct json *vpa_checkpoint_status(struct arena *a, const struct vpa_memory *m,
                                   struct str container, int64_t now_s)
{
    const struct vpa_series *s = map_get(&m->series, container);
    const struct vpa_aggregate *x = &s->aggregate;
    struct vpa_histogram memory = x->memory;
    struct json *j = json_object(a);
    if (count_pods(m, container) > VPA_PEAKS_MAX)
        leave_out_peaks(m, container, now_s, &memory);
    json_setc(a, j, "version", json_string(a, STR(VERSION)));
    json_setc(a, j, "lastUpdateTime", time_json(a, now_s));
    json_setc(a, j, "firstSampleStart", time_json(a, x->first_s));
    json_setc(a, j, "lastSampleStart", time_json(a, x->last_s));
    json_setc(a, j, "totalSamplesCount", json_int(a, x->count));
    json_setc(a, j, "cpuHistogram", histogram_json(a, &x->cpu));
    json_setc(a, j, "memoryHistogram", histogram_json(a, &memory));
    return j;
}

/* {"uid": [end of the interval, last sample, peak, peak of kills, last kill]} */
struct json *vpa_checkpoint_annotations(struct arena *a, const struct vpa_memory *m,
                                        struct str container)
{
    struct json *j = json_object(a), *pods = json_object(a);
    AUTO_BUF text = BUF_INIT;
    struct str key;
    void *value;
    size_t pos = 0;
    if (count_pods(m, container) > VPA_PEAKS_MAX)
        return j;
    while (map_next(&m->usages, &pos, &key, &value)) {
        const struct vpa_pod_usage *u = value;
        struct str uid = uid_of(key, container);
        if (uid.len == 0 || u->usage.window_end_s == 0)
            continue;
        const int64_t numbers[PEAK_NUMBERS] = {u->usage.window_end_s, u->usage.memory_s,
                                               u->usage.peak, u->usage.oom_peak, u->oom_s};
        struct json *list = json_array(a);
        for (size_t i = 0; i < PEAK_NUMBERS; i++)
            json_append(a, list, json_int(a, numbers[i]));
        json_set(a, pods, uid, list);
    }
    json_write(pods, true, &text);
    json_setc(a, j, VPA_PEAKS_ANNOTATION, json_string(a, buf_str(&text)));
    return j;
}

/* Far from what would overflow. */
static bool is_sane(int64_t n)
{
    return n >= 0 && n <= NUMBER_MAX;
}

/* --- loading ---------------------------------------------------------------------------------- */
static int64_t read_time(const struct json *j, const char *key)
{
    struct meta_v1_time t;
    struct str text = json_get_str(j, key);
    return text.len != 0 && time_parse(text, &t, NULL) == 0 ? t.seconds : 0;
}

static double read_double(const struct json *j, const char *key)
{
    const struct json *x = json_getc(j, key);
    return x == NULL                ? 0
           : x->type == JSON_INT    ? (double)x->integer
           : x->type == JSON_DOUBLE ? x->number.value
                                    : 0;
}

static bool read_histogram(const struct json *j, struct vpa_histogram *h)
{
    uint32_t weights[VPA_BUCKETS] = {0};
    const struct json *buckets = json_getc(j, "bucketWeights");
    size_t n = buckets != NULL && buckets->type == JSON_OBJECT ? buckets->object.count : 0;
    for (size_t i = 0; i < n; i++) {
        const struct json_member *x = &buckets->object.members[i];
        uint64_t bucket;
        if (!str_to_u64(x->key, &bucket) || bucket >= VPA_BUCKETS || x->value->type != JSON_INT ||
            x->value->integer < 0 || x->value->integer > UINT32_MAX)
            return false;
        weights[bucket] = (uint32_t)x->value->integer;
    }
    return vpa_histogram_load(h, weights, read_double(j, "totalWeight"),
                              read_time(j, "referenceTimestamp"));
}

static void read_peaks(struct vpa_memory *m, struct arena *a, struct str container, struct str text)
{
    struct json *pods;
    if (text.len == 0 || json_parse(a, text, &pods, NULL) != 0 || pods->type != JSON_OBJECT)
        return;
    for (size_t i = 0; i < pods->object.count; i++) {
        const struct json *list = pods->object.members[i].value;
        int64_t numbers[PEAK_NUMBERS];
        bool whole = list->type == JSON_ARRAY && list->array.count == PEAK_NUMBERS;
        for (size_t k = 0; k < PEAK_NUMBERS && whole; k++) {
            whole =
                list->array.items[k]->type == JSON_INT && is_sane(list->array.items[k]->integer);
            numbers[k] = whole ? list->array.items[k]->integer : 0;
        }
        if (!whole)
            continue;
        struct vpa_pod_usage *u = xzalloc(sizeof(*u));
        u->usage = (struct vpa_usage){.window_end_s = numbers[0],
                                      .memory_s = numbers[1],
                                      .cpu_s = numbers[1],
                                      .peak = numbers[2],
                                      .oom_peak = numbers[3]};
        u->oom_s = numbers[4];
        free(map_set(&m->usages,
                     arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(container),
                                  STR_ARG(pods->object.members[i].key)),
                     u));
    }
}

bool vpa_checkpoint_load(struct vpa_memory *m, const struct json *checkpoint)
{
    AUTO_ARENA *a = arena_new(0);
    const struct json *status = json_getc(checkpoint, "status");
    struct str container = json_get_str(json_getc(checkpoint, "spec"), "containerName");
    struct vpa_series *s = xzalloc(sizeof(*s));
    struct vpa_aggregate *x = &s->aggregate;
    vpa_aggregate_init(x);
    x->first_s = read_time(status, "firstSampleStart");
    x->last_s = read_time(status, "lastSampleStart");
    x->count = json_get_int(status, "totalSamplesCount", 0);
    if (container.len == 0 || !is_sane(x->count) ||
        !str_eqc(json_get_str(status, "version"), VERSION) ||
        !read_histogram(json_getc(status, "cpuHistogram"), &x->cpu) ||
        !read_histogram(json_getc(status, "memoryHistogram"), &x->memory)) {
        free(s);
        return false;
    }
    free(map_set(&m->series, container, s));
    read_peaks(m, a, container,
               json_get_str(json_getc(json_getc(checkpoint, "metadata"), "annotations"),
                            VPA_PEAKS_ANNOTATION));
    return true;
}

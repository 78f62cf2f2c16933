/* image_gc.c - see image_gc.h.
 *
 *   file system of the images -> usage (job) -> images -> containers -> remove, one by one */
#include "kubelet/image_gc.h"

#include "kubelet/cri.h"
#include "kubelet/image_records.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"

#include <sys/statvfs.h>

#define PERIOD_MS 300000u

size_t image_gc_choose(struct image_candidate *list, size_t count, int64_t free_bytes,
                       uint64_t now_ms, uint64_t min_age_ms)
{
    size_t n = 0;
    int64_t freed = 0;
    while (n < count && freed < free_bytes) {
        size_t best = count;
        for (size_t i = n; i < count; i++) {
            if (list[i].keep || now_ms - list[i].first_seen_ms < min_age_ms)
                continue;
            if (best == count || list[i].last_used_ms < list[best].last_used_ms ||
                (list[i].last_used_ms == list[best].last_used_ms &&
                 list[i].first_seen_ms < list[best].first_seen_ms))
                best = i;
        }
        if (best == count)
            break;
        struct image_candidate chosen = list[best];
        list[best] = list[n];
        list[n++] = chosen;
        freed += chosen.size_bytes;
    }
    return n;
}

size_t image_gc_choose_old(struct image_candidate *list, size_t count, uint64_t now_ms,
                           uint64_t min_age_ms, uint64_t max_age_ms)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t used_ms = MAX_OF(list[i].last_used_ms, list[i].first_seen_ms);
        if (list[i].keep || now_ms - list[i].first_seen_ms < min_age_ms ||
            now_ms - used_ms <= max_age_ms)
            continue;
        struct image_candidate chosen = list[i];
        list[i] = list[n];
        list[n++] = chosen;
    }
    return n;
}

/* What is remembered of an image between runs. */
struct image_record {
    uint64_t first_seen_ms, last_used_ms;
    bool seen;
};

struct image_gc {
    struct kubelet *k;
    uv_timer_t timer;
    bool busy;
    void (*done)(void *arg); /* Somebody wants all that is unused gone; NULL: nobody. */
    void *done_arg;
    bool all;           /* Of the run under way. */
    struct map records; /* id -> struct image_record */
    /* Of the run under way. */
    struct arena *arena;
    int64_t start_s; /* Wall clock. */
    const char *mountpoint;
    const char *sandbox_image;
    int64_t total_bytes, available_bytes;
    struct image_candidate *list;
    size_t count, chosen, next;
};

static void start(struct image_gc *g);

static void end(struct image_gc *g)
{
    g->busy = false;
    arena_free(take(g->arena));
    if (g->all) {
        void (*done)(void *) = take(g->done);
        g->all = false;
        done(g->done_arg);
    } else if (g->done != NULL) {
        start(g); /* Asked for meanwhile. */
    }
}

static void remove_next(struct image_gc *g);

static void on_removed(const struct cri_reply *reply, void *arg)
{
    struct image_gc *g = arg;
    if (reply->code != 0)
        log_warning("image %s is not removed: %s", g->list[g->next].id, reply->message);
    else
        log_info("image %s removed: unused, %lld bytes", g->list[g->next].id,
                 (long long)g->list[g->next].size_bytes);
    g->next++;
    remove_next(g);
}

static void remove_next(struct image_gc *g)
{
    if (g->next == g->chosen) {
        end(g);
        return;
    }
    CRI(RemoveImageRequest) *r = CRI_NEW(g->arena, RemoveImageRequest, remove_image_request);
    r->image = CRI_NEW(g->arena, ImageSpec, image_spec);
    r->image->image = arena_strdup(g->arena, g->list[g->next].id);
    cri_call(g->k->cri, CRI_REMOVE_IMAGE, r, CRI_TIMEOUT_MS, on_removed, g);
}

static void forget_missing(struct image_gc *g)
{
    size_t pos = 0;
    struct str id;
    void *value;
    while (map_next(&g->records, &pos, &id, &value)) {
        struct image_record *r = value;
        if (r->seen) {
            r->seen = false;
            continue;
        }
        map_remove(&g->records, id);
        free(r);
    }
}

static void choose(struct image_gc *g, uint64_t now_ms)
{
    const struct kubelet_config *c = &g->k->config;
    uint64_t min_ms = (uint64_t)c->image_minimum_gc_age_ns / 1000000,
             max_ms = (uint64_t)c->image_maximum_gc_age_ns / 1000000;
    int64_t used = g->total_bytes - g->available_bytes;
    int64_t high = g->total_bytes / 100 * c->image_gc_high;
    int64_t low = g->total_bytes / 100 * c->image_gc_low;
    if (g->all) {
        g->chosen = image_gc_choose(g->list, g->count, INT64_MAX, now_ms, min_ms);
        return;
    }
    if (max_ms > 0) {
        g->chosen = image_gc_choose_old(g->list, g->count, now_ms, min_ms, max_ms);
        for (size_t i = 0; i < g->chosen; i++)
            used -= g->list[i].size_bytes;
    }
    if (g->total_bytes == 0 || used < high)
        return;
    g->chosen +=
        image_gc_choose(g->list + g->chosen, g->count - g->chosen, used - low, now_ms, min_ms);
    log_info("disk usage of images is above %d%%: removing %zu of %zu images",
             (int)c->image_gc_high, g->chosen, g->count);
}

/* Images that are volumes are no container's, as far as the runtime knows. */
static bool is_in_volume(const struct image_gc *g, const char *id)
{
    void *value;
    for (size_t pos = 0; map_next(&g->k->workers, &pos, NULL, &value);)
        if (pod_worker_uses_image(value, id))
            return true;
    return false;
}

static void on_containers(const struct cri_reply *reply, void *arg)
{
    struct image_gc *g = arg;
    if (reply->code != 0) {
        end(g);
        return;
    }
    const CRI(ListContainersResponse) *r = reply->msg;
    uint64_t now_ms = kubelet_now_ms(g->k);
    for (size_t i = 0; i < g->count; i++) {
        struct image_candidate *c = &g->list[i];
        struct image_record *record = map_get(&g->records, str_of(c->id));
        for (size_t x = 0; x < r->n_containers; x++) {
            const CRI(Container) *k = r->containers[x];
            if (strcmp(k->image_ref, c->id) == 0 ||
                (k->image != NULL && strcmp(k->image->image, c->id) == 0)) {
                c->keep = true;
                record->last_used_ms = now_ms;
            }
        }
        if (is_in_volume(g, c->id)) {
            c->keep = true;
            record->last_used_ms = now_ms;
        }
        c->last_used_ms = record->last_used_ms;
        c->first_seen_ms = record->first_seen_ms;
    }
    forget_missing(g);
    choose(g, now_ms);
    remove_next(g);
}

static bool is_sandbox_image(const struct image_gc *g, const CRI(Image) * image)
{
    for (size_t i = 0; i < image->n_repo_tags; i++) {
        if (strcmp(image->repo_tags[i], g->sandbox_image) == 0)
            return true;
    }
    return strcmp(image->id, g->sandbox_image) == 0;
}

static void settle_records(const struct image_gc *g, const CRI(ListImagesResponse) * r)
{
    struct image_on_node *list = ARENA_ARRAY(g->arena, struct image_on_node, r->n_images);
    for (size_t i = 0; i < r->n_images; i++) {
        const CRI(Image) *image = r->images[i];
        const char **names =
            ARENA_ARRAY(g->arena, const char *, image->n_repo_tags + image->n_repo_digests);
        list[i] = (struct image_on_node){.ref = image->id, .names = names};
        for (size_t k = 0; k < image->n_repo_tags; k++)
            names[list[i].name_count++] = image->repo_tags[k];
        for (size_t k = 0; k < image->n_repo_digests; k++)
            names[list[i].name_count++] = image->repo_digests[k];
    }
    image_records_settle(g->k->image_records, list, r->n_images, g->start_s, kubelet_wall_s(g->k));
}

static void on_images(const struct cri_reply *reply, void *arg)
{
    struct image_gc *g = arg;
    if (reply->code != 0) {
        end(g);
        return;
    }
    const CRI(ListImagesResponse) *r = reply->msg;
    uint64_t now_ms = kubelet_now_ms(g->k);
    g->list = ARENA_ARRAY(g->arena, struct image_candidate, r->n_images + 1);
    for (size_t i = 0; i < r->n_images; i++) {
        const CRI(Image) *image = r->images[i];
        struct image_record *record = map_get(&g->records, str_of(image->id));
        if (record == NULL) {
            record = xzalloc(sizeof(*record));
            record->first_seen_ms = now_ms;
            map_set(&g->records, str_of(image->id), record);
        }
        record->seen = true;
        g->list[g->count++] = (struct image_candidate){
            .id = arena_strdup(g->arena, image->id),
            .size_bytes = (int64_t)image->size,
            .keep = image->pinned || is_sandbox_image(g, image),
        };
    }
    settle_records(g, r);
    CRI(ListContainersRequest) q;
    runtime__v1__list_containers_request__init(&q);
    cri_call(g->k->cri, CRI_LIST_CONTAINERS, &q, CRI_TIMEOUT_MS, on_containers, g);
}

/* The sandbox image is in the verbose status: {"config": "{... sandboxImage ...}"}. */
static void on_status(const struct cri_reply *reply, void *arg)
{
    struct image_gc *g = arg;
    if (reply->code != 0) {
        end(g);
        return;
    }
    const CRI(StatusResponse) *r = reply->msg;
    const char *config = cri_map_get(r->info, r->n_info, "config");
    struct json *j;
    g->sandbox_image = "";
    if (config != NULL && json_parse(g->arena, str_of(config), &j, NULL) == 0)
        g->sandbox_image = str_c(arena_str(g->arena, json_get_str(j, "sandboxImage")));
    CRI(ListImagesRequest) q;
    runtime__v1__list_images_request__init(&q);
    cri_call(g->k->cri, CRI_LIST_IMAGES, &q, CRI_TIMEOUT_MS, on_images, g);
}

static void run_usage(void *arg)
{
    struct image_gc *g = arg;
    struct statvfs fs;
    g->total_bytes = g->available_bytes = 0;
    if (statvfs(g->mountpoint, &fs) != 0)
        return;
    g->total_bytes = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
    g->available_bytes = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
}

static void finish_usage(void *arg)
{
    struct image_gc *g = arg;
    CRI(StatusRequest) q;
    runtime__v1__status_request__init(&q);
    q.verbose = true;
    cri_call(g->k->cri, CRI_STATUS, &q, CRI_TIMEOUT_MS, on_status, g);
}

static void on_fs(const struct cri_reply *reply, void *arg)
{
    struct image_gc *g = arg;
    const CRI(ImageFsInfoResponse) *r = reply->msg;
    if (reply->code != 0 || r->n_image_filesystems == 0 || r->image_filesystems[0]->fs_id == NULL) {
        end(g);
        return;
    }
    g->mountpoint = arena_strdup(g->arena, r->image_filesystems[0]->fs_id->mountpoint);
    job_start(g->k->loop, run_usage, finish_usage, g);
}

static void start(struct image_gc *g)
{
    g->busy = true;
    g->all = g->done != NULL;
    g->arena = arena_new(0);
    g->start_s = kubelet_wall_s(g->k);
    g->count = g->chosen = g->next = 0;
    CRI(ImageFsInfoRequest) q;
    runtime__v1__image_fs_info_request__init(&q);
    cri_call(g->k->cri, CRI_IMAGE_FS_INFO, &q, CRI_TIMEOUT_MS, on_fs, g);
}

static void on_timer(uv_timer_t *t)
{
    struct image_gc *g = t->data;
    if (!g->busy)
        start(g);
}

void image_gc_collect(struct image_gc *g, void (*done)(void *arg), void *arg)
{
    g->done = done;
    g->done_arg = arg;
    if (!g->busy)
        start(g);
}

struct image_gc *image_gc_start(struct kubelet *k)
{
    struct image_gc *g = xzalloc(sizeof(*g));
    g->k = k;
    map_init(&g->records);
    uv_timer_init(k->loop, &g->timer);
    g->timer.data = g;
    uv_timer_start(&g->timer, on_timer, 1000, PERIOD_MS);
    return g;
}

void image_gc_stop(struct image_gc *g)
{
    if (g != NULL)
        uv_timer_stop(&g->timer);
}

/* log_rotation.c - see log_rotation.h. */
#include "kubelet/log_rotation.h"

#include "kubelet/cri.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"

#include "lib/api/quantity.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/net/bytes.h"
#include "lib/net/http.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS 10000u
#define ROTATED_MAX 256
#define COMPRESS_BYTES_MAX (256u << 20)

/* --- one file: on a worker thread ------------------------------------------------------- */

struct rotated {
    char *names[ROTATED_MAX];
    size_t count;
};

static int by_name(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

/* The old files of a log, oldest first: their names end with their time. */
static void list_rotated(const char *path, struct rotated *ret)
{
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *dir = xstrndup(path, (size_t)(slash - path));
    AUTO_FREE char *prefix = xasprintf("%s.", slash + 1);
    ret->count = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL && ret->count < ROTATED_MAX;
         e = readdir(d)) {
        if (strncmp(e->d_name, prefix, strlen(prefix)) == 0)
            ret->names[ret->count++] = xasprintf("%s/%s", dir, e->d_name);
    }
    if (d != NULL)
        closedir(d);
    qsort(ret->names, ret->count, sizeof(ret->names[0]), by_name);
}

static bool has_suffix(const char *s, const char *suffix)
{
    return str_has_suffix(str_of(s), str_of(suffix));
}

/* Replaces a file by its gzipped form; readers see one or the other. */
static int compress(const char *path, struct error *err)
{
    AUTO_FREE char *gz = xasprintf("%s.gz", path);
    AUTO_BUF b = BUF_INIT;
    int rc = file_read(path, COMPRESS_BYTES_MAX, &b, err);
    if (rc != 0)
        return rc;
    struct net_bytes *packed = http_gzip(b.data, b.len, 6);
    if (packed == NULL)
        return error_set(err, E_NO_MEMORY, "compress %s", path);
    rc = file_write_atomic(gz, packed->data, packed->len, 0640, err);
    net_bytes_unref(packed);
    return rc == 0 ? file_remove(path, err) : rc;
}

/* Drops what is too much and compresses all but the newest, which a reader of
 * the log may still be at. The first failure counts; the rest is still tried. */
static int tidy(struct rotated *list, int64_t keep, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < list->count; i++) {
        int one = 0;
        if ((int64_t)(list->count - i) > keep || has_suffix(list->names[i], ".tmp"))
            one = file_remove(list->names[i], rc == 0 ? err : NULL);
        else if (i + 1 < list->count && !has_suffix(list->names[i], ".gz"))
            one = compress(list->names[i], rc == 0 ? err : NULL);
        rc = rc == 0 ? one : rc;
        free(list->names[i]);
    }
    return rc;
}

int log_rotate_file(const char *path, int64_t max_bytes, int64_t max_files, bool *ret_rotated,
                    struct error *err)
{
    struct stat st;
    struct rotated list;
    char stamp[32];
    *ret_rotated = false;
    if (stat(path, &st) != 0 || st.st_size <= max_bytes)
        return 0;
    time_t now = time(NULL);
    struct tm tm;
    localtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
    AUTO_FREE char *old = xasprintf("%s.%s", path, stamp);
    if (rename(path, old) != 0)
        return error_set_errno(err, E_IO, errno, "rename %s", path);
    *ret_rotated = true;
    list_rotated(path, &list);
    return tidy(&list, MAX_OF(max_files - 1, (int64_t)1), err);
}

/* --- all containers ------------------------------------------------------------------------ */

struct log_item {
    struct list link;
    char *id, *path;
    bool rotated;
};

struct log_rotation {
    struct kubelet *k;
    uv_timer_t timer;
    int64_t max_bytes, max_files;
    bool busy, stopped;
    struct list items;
};

static void item_free(struct log_item *i)
{
    free(i->id);
    free(i->path);
    free(i);
}

static void run_rotation(void *arg)
{
    struct log_rotation *l = arg;
    LIST_FOREACH (it, &l->items) {
        struct log_item *i = LIST_ENTRY(it, struct log_item, link);
        struct error err;
        if (log_rotate_file(i->path, l->max_bytes, l->max_files, &i->rotated, &err) != 0)
            log_warning("log rotation: %s", error_message(&err));
    }
}

struct reopening {
    struct log_rotation *l;
    char *path, *id;
};

static void on_reopened(const struct cri_reply *reply, void *arg)
{
    struct reopening *r = arg;
    if (reply->code != 0)
        log_warning("log rotation: %s of %s is not reopened: %s", r->path, r->id, reply->message);
    free(r->path);
    free(r->id);
    free(r);
}

static void finish_rotation(void *arg)
{
    struct log_rotation *l = arg;
    l->busy = false;
    for (struct list *it = list_pop_front(&l->items); it != NULL; it = list_pop_front(&l->items)) {
        struct log_item *i = LIST_ENTRY(it, struct log_item, link);
        if (i->rotated) {
            struct reopening *r = xzalloc(sizeof(*r));
            *r = (struct reopening){l, take(i->path), take(i->id)};
            CRI(ReopenContainerLogRequest) q;
            runtime__v1__reopen_container_log_request__init(&q);
            q.container_id = r->id;
            cri_call(l->k->cri, CRI_REOPEN_CONTAINER_LOG, &q, CRI_TIMEOUT_MS, on_reopened, r);
        }
        item_free(i);
    }
}

static void on_timer(uv_timer_t *t)
{
    struct log_rotation *l = t->data;
    size_t pos = 0;
    void *w;
    if (l->busy)
        return;
    while (map_next(&l->k->workers, &pos, NULL, &w)) {
        const struct rt_pod *rt = pod_worker_runtime(w);
        for (size_t i = 0; rt != NULL && i < rt->container_count; i++) {
            const struct rt_container *c = &rt->containers[i];
            if (c->state != RT_RUNNING || c->log_path[0] != '/')
                continue;
            struct log_item *item = xzalloc(sizeof(*item));
            item->id = xstrdup(c->id);
            item->path = xstrdup(c->log_path);
            list_push_back(&l->items, &item->link);
        }
    }
    if (list_empty(&l->items))
        return;
    l->busy = true;
    job_start(l->k->loop, run_rotation, finish_rotation, l);
}

int log_rotation_start(struct kubelet *k, struct log_rotation **ret, struct error *err)
{
    struct quantity q;
    int rc = quantity_parse(str_of(k->config.container_log_max_size), &q, err);
    if (rc == 0 && k->config.container_log_max_files < 2)
        rc = error_set(err, E_INVALID, "--container-log-max-files must be at least 2");
    if (rc != 0)
        return error_prefix(err, "--container-log-max-size");
    struct log_rotation *l = xzalloc(sizeof(*l));
    l->k = k;
    l->max_bytes = quantity_value(&q);
    l->max_files = k->config.container_log_max_files;
    list_init(&l->items);
    uv_timer_init(k->loop, &l->timer);
    l->timer.data = l;
    uv_timer_start(&l->timer, on_timer, PERIOD_MS, PERIOD_MS);
    *ret = l;
    return 0;
}

void log_rotation_stop(struct log_rotation *l)
{
    if (l != NULL)
        uv_timer_stop(&l->timer);
}

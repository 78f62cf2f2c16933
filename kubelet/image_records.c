/* image_records.c - see image_records.h. */
#include "kubelet/image_records.h"

#include "kubelet/job.h"
#include "kubelet/pull_secrets.h"

#include "lib/api/json.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/net/pki.h"

#include "api/core_v1.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#define RECORD_BYTES_MAX (1u << 20)
#define FILE_NAME_BYTES 72 /* "sha256-", 64 digits and a zero. */

struct record {
    struct arena *arena;
    struct json *json; /* NULL: it cannot be read. */
};

struct intent {
    char *image;
    size_t count; /* Pulls under way; 0: of an earlier run. */
};

struct write {
    struct list link;
    struct image_records *r;
    char *path, *text; /* text NULL: the file goes. */
    struct error err;
    void (*done)(const struct error *err, void *arg);
    void *arg;
};

struct image_records {
    struct uv_loop_s *loop;
    struct image_policy policy;
    char *pulling_dir, *pulled_dir;
    struct map pulled;  /* file name -> struct record */
    struct map pulling; /* file name -> struct intent */
    struct list writes; /* struct write; the first one is under way. */
};

static void file_name(struct str of, char ret[FILE_NAME_BYTES])
{
    uint8_t sum[32];
    net_sha256(of.data, of.len, sum);
    int n = snprintf(ret, FILE_NAME_BYTES, "sha256-");
    for (size_t i = 0; i < sizeof(sum); i++)
        n += snprintf(ret + n, FILE_NAME_BYTES - (size_t)n, "%02x", sum[i]);
}

/* --- writing ----------------------------------------------------------------------------- */

static void start_write(struct image_records *r);

static void run_write(void *arg)
{
    struct write *w = arg;
    if (w->text != NULL)
        file_write_atomic(w->path, w->text, strlen(w->text), 0600, &w->err);
    else
        file_remove(w->path, &w->err);
}

static void finish_write(void *arg)
{
    struct write *w = arg;
    struct image_records *r = w->r;
    list_remove(&w->link);
    if (w->err.code != 0)
        log_warning("image record: %s", error_message(&w->err));
    if (w->done != NULL)
        w->done(&w->err, w->arg);
    free(w->path);
    free(w->text);
    free(w);
    start_write(r);
}

static void start_write(struct image_records *r)
{
    if (!list_empty(&r->writes))
        job_start(r->loop, run_write, finish_write, LIST_ENTRY(r->writes.next, struct write, link));
}

static void queue_write(struct image_records *r, const char *dir, const char *name,
                        const struct json *json, void (*done)(const struct error *err, void *arg),
                        void *arg)
{
    struct write *w = xzalloc(sizeof(*w));
    bool first = list_empty(&r->writes);
    *w = (struct write){.r = r, .path = xasprintf("%s/%s", dir, name), .done = done, .arg = arg};
    if (json != NULL) {
        AUTO_BUF b = BUF_INIT;
        json_write(json, false, &b);
        buf_putc(&b, '\n');
        w->text = xstrndup((const char *)b.data, b.len);
    }
    list_push_back(&r->writes, &w->link);
    if (first)
        start_write(r);
}

/* --- memory ------------------------------------------------------------------------------ */

static void record_free(struct record *x)
{
    if (x != NULL)
        arena_free(x->arena);
    free(x);
}

static void intent_free(struct intent *i)
{
    if (i != NULL)
        free(i->image);
    free(i);
}

static const struct json *record_of(const struct image_records *r, const char *name, struct str ref)
{
    const struct record *x = map_get(&r->pulled, str_of(name));
    return x != NULL && str_eq(json_get_str(x->json, "imageRef"), ref) ? x->json : NULL;
}

/* Takes one more way into the record, in memory and on disk. */
static void merge(struct image_records *r, struct str image, const char *ref,
                  const struct pull_auth *auth, bool unknown, int64_t now_s,
                  void (*done)(const struct error *err, void *arg), void *arg)
{
    char name[FILE_NAME_BYTES];
    file_name(str_of(ref), name);
    struct record *x = xzalloc(sizeof(*x));
    x->arena = arena_new(0);
    x->json = image_record_merge(x->arena, record_of(r, name, str_of(ref)), str_of(ref),
                                 image_repository(x->arena, image), auth, unknown, now_s);
    record_free(map_set(&r->pulled, str_of(name), x));
    queue_write(r, r->pulled_dir, name, x->json, done, arg);
}

bool image_records_allow(struct image_records *r, struct str image, const char *ref,
                         const struct pull_auth *auths, size_t count, int64_t now_s)
{
    AUTO_ARENA *a = arena_new(0);
    struct str repository = image_repository(a, image);
    char pulled[FILE_NAME_BYTES], pulling[FILE_NAME_BYTES];
    size_t index = 0;
    bool note;
    file_name(str_of(ref), pulled);
    file_name(image, pulling);
    bool ours = map_has(&r->pulled, str_of(pulled)) || map_has(&r->pulling, str_of(pulling));
    if (!image_policy_verifies(&r->policy, repository, ours))
        return true;
    if (!image_record_allows(record_of(r, pulled, str_of(ref)), repository, auths, count, &index,
                             &note))
        return false;
    if (note)
        merge(r, image, ref, &auths[index], false, now_s, NULL, NULL);
    return true;
}

/* --- pulls ------------------------------------------------------------------------------- */

void image_records_begin(struct image_records *r, struct str image,
                         void (*done)(const struct error *err, void *arg), void *arg)
{
    AUTO_ARENA *a = arena_new(0);
    char name[FILE_NAME_BYTES];
    file_name(image, name);
    struct intent *i = map_get(&r->pulling, str_of(name));
    if (i == NULL) {
        i = xzalloc(sizeof(*i));
        i->image = xstrndup(image.data, image.len);
        map_set(&r->pulling, str_of(name), i);
    }
    i->count++;
    struct json *j = json_object(a);
    json_setc(a, j, "kind", json_string(a, STR("ImagePullIntent")));
    json_setc(a, j, "apiVersion", json_string(a, STR(IMAGE_RECORD_API_VERSION)));
    json_setc(a, j, "image", json_string(a, image));
    queue_write(r, r->pulling_dir, name, j, done, arg);
}

static void intent_end(struct image_records *r, struct str image)
{
    char name[FILE_NAME_BYTES];
    file_name(image, name);
    struct intent *i = map_get(&r->pulling, str_of(name));
    if (i == NULL || (i->count > 0 && --i->count > 0))
        return;
    intent_free(map_remove(&r->pulling, str_of(name)));
    queue_write(r, r->pulling_dir, name, NULL, NULL, NULL);
}

void image_records_pulled(struct image_records *r, struct str image, const char *ref,
                          const struct pull_auth *auth, int64_t now_s,
                          void (*done)(const struct error *err, void *arg), void *arg)
{
    merge(r, image, ref, auth, false, now_s, done, arg);
    intent_end(r, image); /* After the record: in between it is still known as ours. */
}

void image_records_failed(struct image_records *r, struct str image)
{
    intent_end(r, image);
}

/* --- what is on the node ----------------------------------------------------------------- */

static bool has_name(struct arena *a, const struct image_on_node *n, struct str image)
{
    struct str repository = image_repository(a, image);
    ptrdiff_t tag = -1;
    for (size_t i = 0; i < image.len; i++)
        if (image.data[i] == ':' || image.data[i] == '@' || image.data[i] == '/')
            tag = image.data[i] == '/' ? -1 : tag < 0 || image.data[i] == '@' ? (ptrdiff_t)i : tag;
    struct str full = tag < 0 ? repository
                              : arena_printf(a, STR_FMT STR_FMT, STR_ARG(repository),
                                             STR_ARG(str_sub(image, (size_t)tag, image.len)));
    for (size_t i = 0; i < n->name_count; i++)
        if (str_eqc(full, n->names[i]))
            return true;
    return false;
}

/* Pulls that an earlier run began: how they ended is seen by what is here. */
static void settle_intents(struct image_records *r, const struct image_on_node *list, size_t count,
                           int64_t now_s)
{
    AUTO_ARENA *a = arena_new(0);
    struct str name;
    void *value;
    for (size_t pos = 0; map_next(&r->pulling, &pos, &name, &value);) {
        struct intent *i = value;
        if (i->count > 0)
            continue;
        for (size_t k = 0; k < count; k++)
            if (has_name(a, &list[k], str_of(i->image)))
                merge(r, str_of(i->image), list[k].ref, NULL, true, now_s, NULL, NULL);
        const char *file = str_c(arena_str(a, name));
        intent_free(map_remove(&r->pulling, str_of(file)));
        queue_write(r, r->pulling_dir, file, NULL, NULL, NULL);
    }
}

static bool is_here(const struct image_on_node *list, size_t count, struct str ref)
{
    for (size_t i = 0; i < count; i++)
        if (str_eqc(ref, list[i].ref))
            return true;
    return false;
}

void image_records_settle(struct image_records *r, const struct image_on_node *list, size_t count,
                          int64_t before_s, int64_t now_s)
{
    AUTO_ARENA *a = arena_new(0);
    struct str name;
    void *value;
    settle_intents(r, list, count, now_s);
    for (size_t pos = 0; map_next(&r->pulled, &pos, &name, &value);) {
        const struct record *x = value;
        struct meta_v1_time t = {0};
        if (x->json == NULL)
            continue; /* Of an image that nobody can name: it may still be here. */
        time_parse(json_get_str(x->json, "lastUpdatedTime"), &t, NULL);
        if (t.seconds >= before_s || is_here(list, count, json_get_str(x->json, "imageRef")))
            continue;
        const char *file = str_c(arena_str(a, name));
        record_free(map_remove(&r->pulled, str_of(file)));
        queue_write(r, r->pulled_dir, file, NULL, NULL, NULL);
    }
}

/* --- start ------------------------------------------------------------------------------- */

static void load_one(struct image_records *r, const char *dir, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    AUTO_BUF text = BUF_INIT;
    struct error err = {0};
    struct record *x = xzalloc(sizeof(*x));
    x->arena = arena_new(0);
    if (file_read(path, RECORD_BYTES_MAX, &text, &err) != 0 ||
        json_parse(x->arena, arena_str(x->arena, buf_str(&text)), &x->json, &err) != 0) {
        log_warning("image record %s: %s: nobody gets access by it", path, error_message(&err));
        x->json = NULL;
    }
    if (dir == r->pulled_dir) {
        record_free(map_set(&r->pulled, str_of(name), x));
        return;
    }
    struct intent *i = xzalloc(sizeof(*i));
    struct str image = json_get_str(x->json, "image");
    i->image = xstrndup(image.data, image.len);
    intent_free(map_set(&r->pulling, str_of(name), i));
    record_free(x);
}

static int load(struct image_records *r, const char *dir, struct error *err)
{
    int rc = file_mkdir_p(dir, 0700, err);
    if (rc != 0)
        return rc;
    DIR *d = opendir(dir);
    if (d == NULL)
        return error_set_errno(err, E_IO, errno, "%s", dir);
    const struct dirent *e;
    while ((e = readdir(d)) != NULL)
        if (strncmp(e->d_name, "sha256-", 7) == 0 && strlen(e->d_name) == FILE_NAME_BYTES - 1)
            load_one(r, dir, e->d_name);
    closedir(d);
    return 0;
}

int image_records_open(struct uv_loop_s *loop, const char *root_dir,
                       const struct image_policy *policy, struct image_records **ret,
                       struct error *err)
{
    struct image_records *r = xzalloc(sizeof(*r));
    r->loop = loop;
    r->policy = *policy;
    r->pulling_dir = xasprintf("%s/image_manager/pulling", root_dir);
    r->pulled_dir = xasprintf("%s/image_manager/pulled", root_dir);
    map_init(&r->pulled);
    map_init(&r->pulling);
    list_init(&r->writes);
    int rc = load(r, r->pulling_dir, err);
    if (rc == 0)
        rc = load(r, r->pulled_dir, err);
    if (rc != 0) {
        image_records_close(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void image_records_close(struct image_records *r)
{
    void *value;
    if (r == NULL)
        return;
    ASSERT(list_empty(&r->writes));
    for (size_t pos = 0; map_next(&r->pulled, &pos, NULL, &value);)
        record_free(value);
    for (size_t pos = 0; map_next(&r->pulling, &pos, NULL, &value);)
        intent_free(value);
    map_done(&r->pulled);
    map_done(&r->pulling);
    free(r->pulling_dir);
    free(r->pulled_dir);
    free(r);
}

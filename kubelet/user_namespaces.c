/* user_namespaces.c - see user_namespaces.h. */
#include "kubelet/user_namespaces.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"

#include <dirent.h>
#include <stdio.h>

#define UNIT 65536
#define FILE_BYTES_MAX 65536u
#define SUBIDS_BYTES_MAX (1u << 20)
#define IDS_MAX (INT64_C(1) << 32)

struct user_namespaces {
    int64_t first, length; /* Of the whole, and of one range. */
    size_t count;          /* Ranges. */
    bool *taken;
    struct map pods; /* uid -> index plus one, as a pointer */
};

/* --- the whole ----------------------------------------------------------------------------- */

/* "kubelet:65536:7208960"; *ret_count 0: the user has no line, or there is no file. */
static int read_subids(const char *path, int64_t *ret_first, int64_t *ret_count, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    *ret_count = 0;
    if (!file_exists(path))
        return 0;
    int rc = file_read(path, SUBIDS_BYTES_MAX, &text, err);
    if (rc != 0)
        return rc;
    for (struct str line, rest = buf_str(&text); !str_empty(rest);) {
        struct str user, first, count;
        str_cut(rest, '\n', &line, &rest);
        if (!str_cut(line, ':', &user, &line) || !str_eqc(user, "kubelet"))
            continue;
        if (*ret_count != 0)
            return error_set(err, E_INVALID, "%s: kubelet has more than one range", path);
        if (!str_cut(line, ':', &first, &count) || !str_to_i64(first, ret_first) ||
            !str_to_i64(str_trim(count), ret_count) || *ret_count <= 0)
            return error_set(err, E_INVALID, "%s: the line of kubelet is not kubelet:first:count",
                             path);
    }
    return 0;
}

static int find_whole(struct user_namespaces *u, const struct user_namespaces_config *c,
                      struct error *err)
{
    int64_t first = 0, count = 0, group_first = 0, group_count = 0;
    int rc = read_subids(c->subuid, &first, &count, err);
    if (rc == 0)
        rc = read_subids(c->subgid, &group_first, &group_count, err);
    if (rc != 0)
        return rc;
    if (first != group_first || count != group_count)
        return error_set(err, E_INVALID, "%s and %s must give kubelet the same range", c->subuid,
                         c->subgid);
    if (count == 0) {
        first = UNIT;
        count = c->ids_per_pod * c->max_pods;
    }
    int64_t needed = c->ids_per_pod * c->max_pods;
    if (first < UNIT || first % UNIT != 0 || count < needed || first + count > IDS_MAX)
        return error_set(err, E_INVALID,
                         "user ids of pods: from %lld on, %lld of them: the first must be a "
                         "multiple of 65536, and %lld are needed for --max-pods pods",
                         (long long)first, (long long)count, (long long)needed);
    u->first = first;
    u->length = c->ids_per_pod;
    u->count = (size_t)(count / c->ids_per_pod);
    return 0;
}

/* --- pods ---------------------------------------------------------------------------------- */

static void set(struct user_namespaces *u, const char *uid, size_t index)
{
    u->taken[index] = true;
    map_set(&u->pods, str_of(uid), (void *)(uintptr_t)(index + 1));
}

/* What a pod of an earlier run has. */
static void load_one(struct user_namespaces *u, const char *root_dir, const char *uid)
{
    AUTO_FREE char *path = xasprintf("%s/pods/%s/userns", root_dir, uid);
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF text = BUF_INIT;
    struct json *j = NULL;
    struct error err;
    if (!file_exists(path))
        return;
    int64_t host = -1, length = 0;
    if (file_read(path, FILE_BYTES_MAX, &text, &err) == 0 &&
        json_parse(a, arena_str(a, buf_str(&text)), &j, &err) == 0) {
        const struct json *list = json_getc(j, "uidMappings");
        if (list != NULL && list->type == JSON_ARRAY && list->array.count == 1) {
            host = json_get_int(list->array.items[0], "hostId", -1);
            length = json_get_int(list->array.items[0], "length", 0);
        }
    }
    int64_t index = host >= u->first ? (host - u->first) / u->length : -1;
    if (length != u->length || index < 0 || index >= (int64_t)u->count ||
        u->first + index * u->length != host || u->taken[index])
        log_warning("%s: not a range of this node: the pod gets another when it is made anew",
                    path);
    else
        set(u, uid, (size_t)index);
}

int user_namespaces_new(const struct user_namespaces_config *config, struct user_namespaces **ret,
                        struct error *err)
{
    struct user_namespaces *u = xzalloc(sizeof(*u));
    map_init(&u->pods);
    int rc = find_whole(u, config, err);
    if (rc != 0) {
        user_namespaces_free(u);
        return rc;
    }
    u->taken = xzalloc(u->count + 1);
    AUTO_FREE char *pods = xasprintf("%s/pods", config->root_dir);
    DIR *d = opendir(pods);
    for (const struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.')
            load_one(u, config->root_dir, e->d_name);
    if (d != NULL)
        closedir(d);
    *ret = u;
    return 0;
}

void user_namespaces_free(struct user_namespaces *u)
{
    if (u == NULL)
        return;
    map_done(&u->pods);
    free(u->taken);
    free(u);
}

uint32_t user_namespaces_of(const struct user_namespaces *u, const char *uid)
{
    uintptr_t index = (uintptr_t)map_get(&u->pods, str_of(uid));
    return index != 0 ? (uint32_t)(u->first + ((int64_t)index - 1) * u->length) : 0;
}

uint32_t user_namespaces_length(const struct user_namespaces *u)
{
    return (uint32_t)u->length;
}

int user_namespaces_take(struct user_namespaces *u, const char *uid, uint32_t *ret,
                         struct error *err)
{
    size_t i = 0;
    if (user_namespaces_of(u, uid) == 0) {
        while (i < u->count && u->taken[i])
            i++;
        if (i == u->count)
            return error_set(err, E_TOO_LARGE,
                             "all %zu ranges of user ids are taken by pods of this node", u->count);
        set(u, uid, i);
    }
    *ret = user_namespaces_of(u, uid);
    return 0;
}

void user_namespaces_release(struct user_namespaces *u, const char *uid)
{
    uintptr_t index = (uintptr_t)map_remove(&u->pods, str_of(uid));
    if (index != 0)
        u->taken[index - 1] = false;
}

int user_namespaces_write(const char *pod_dir, uint32_t first, uint32_t length, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/userns", pod_dir);
    AUTO_FREE char *text =
        xasprintf("{\"uidMappings\":[{\"hostId\":%u,\"containerId\":0,\"length\":%u}],"
                  "\"gidMappings\":[{\"hostId\":%u,\"containerId\":0,\"length\":%u}]}\n",
                  first, length, first, length);
    return file_write_atomic(path, text, strlen(text), 0644, err);
}

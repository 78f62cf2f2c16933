/* leftovers.c - see leftovers.h.
 *
 *   job: names of folders and cgroups -> those without a worker -> a worker each */
#include "kubelet/leftovers.h"

#include "kubelet/cgroups.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/pinning.h"
#include "kubelet/pod_admit.h"
#include "kubelet/pod_worker.h"

#include "lib/base/arena.h"
#include "lib/base/log.h"

#include <dirent.h>

#define FOUND_MAX 4096

struct found {
    const char *uid, *name, *namespace_name; /* The names: "" where only the uid is known. */
};

struct look {
    struct kubelet *k;
    struct arena *arena;
    struct found *list;
    size_t count;
};

static void add(struct look *l, struct str uid, struct str name, struct str namespace_name)
{
    if (l->count == FOUND_MAX || str_empty(uid) || uid.data[0] == '.')
        return;
    l->list[l->count++] =
        (struct found){str_c(arena_str(l->arena, uid)), str_c(arena_str(l->arena, name)),
                       str_c(arena_str(l->arena, namespace_name))};
}

static void on_cgroup(enum qos_class qos, const char *uid, void *arg)
{
    UNUSED(qos);
    add(arg, str_of(uid), STR(""), STR(""));
}

/* <namespace>_<name>_<uid>; none of them holds an underscore. */
static void add_log_folder(struct look *l, const char *folder)
{
    struct str namespace_name, name, uid, rest;
    if (str_cut(str_of(folder), '_', &namespace_name, &rest) && str_cut(rest, '_', &name, &uid) &&
        str_find_str(uid, STR("_")) < 0)
        add(l, uid, name, namespace_name);
}

static void run_look(void *arg)
{
    struct look *l = arg;
    AUTO_FREE char *pods = xasprintf("%s/pods", l->k->config.root_dir);
    l->list = ARENA_ARRAY(l->arena, struct found, FOUND_MAX);
    /* Logs first: they tell names, with which the worker finds them again. */
    DIR *d = opendir(l->k->config.pod_logs_dir);
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d))
        add_log_folder(l, e->d_name);
    if (d != NULL)
        closedir(d);
    d = opendir(pods);
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d))
        add(l, str_of(e->d_name), STR(""), STR(""));
    if (d != NULL)
        closedir(d);
    if (l->k->cgroups != NULL)
        cgroups_each_pod(l->k->cgroups, on_cgroup, l);
}

static void finish_look(void *arg)
{
    struct look *l = arg;
    for (size_t i = 0; i < l->count && !l->k->stopping; i++) {
        const struct found *f = &l->list[i];
        if (map_get(&l->k->workers, str_of(f->uid)) == NULL)
            pod_worker_new_orphan(l->k, f->uid, f->name, f->namespace_name);
    }
    /* What still runs of a pod has a cgroup, and so a worker now. */
    if (l->count < FOUND_MAX && !l->k->stopping)
        pinning_forget_unknown(l->k->pinning);
    if (!l->k->stopping)
        pod_admit_settled(l->k);
    arena_free(l->arena);
    free(l);
}

void leftovers_look(struct kubelet *k)
{
    if (!k->sources_ready || k->stopping)
        return;
    struct look *l = xzalloc(sizeof(*l));
    l->k = k;
    l->arena = arena_new(0);
    job_start(k->loop, run_look, finish_look, l);
}

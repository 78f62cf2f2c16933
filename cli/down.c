/* down.c - `trireme down` ends a cluster of `up`; `trireme host` acts on one of
 * its hosts, which is how tests cut cables and pull plugs. */
#include "cli/host.h"
#include "cli/local.h"
#include "cli/verbs.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* For an `up` that is being interrupted. */
#define DOWN_WAIT_MS 10000

/* The folder's path as `up` wrote it down, be the folder there or not. */
static const char *full_path(struct arena *a, const char *dir)
{
    AUTO_FREE char *full = realpath(dir, NULL);
    if (full != NULL)
        return arena_strdup(a, full);
    AUTO_FREE char *here = dir[0] == '/' ? NULL : getcwd(NULL, 0);
    struct str path = str_of(dir);
    while (path.len > 1 && path.data[path.len - 1] == '/')
        path.len--;
    return here == NULL ? arena_str(a, path).data
                        : arena_printf(a, "%s/" STR_FMT, here, STR_ARG(path)).data;
}

static int load(struct arena *a, const char *dir, struct local *ret, struct error *err)
{
    if (dir == NULL)
        return error_set(err, E_USAGE, "--dir: which cluster? Give the folder that `up` was given");
    const char *full = full_path(a, dir);
    if (!file_exists(full))
        return error_set(err, E_NOT_FOUND, "--dir: %s does not exist", dir);
    return local_load(a, full, ret, err);
}

/* As load(). A cluster whose folder is gone or damaged is ended all the same when this machine
 * still has its mounts and networks: nothing is left to be kept then, and no pid file. */
static int load_remains(struct arena *a, const char *dir, struct local *ret, bool *ret_remains,
                        struct error *err)
{
    int rc = load(a, dir, ret, err);
    *ret_remains = false;
    if (rc != 0 && dir != NULL && local_of_remains(a, full_path(a, dir), ret) == 0) {
        fprintf(stderr, "%s; ending what is left of it\n", error_message(err));
        *ret_remains = true;
        rc = 0;
    }
    return rc;
}

static int down_run(struct arena *a, const char *dir, bool purge, struct error *err)
{
    struct local l;
    bool remains = false;
    int rc = load_remains(a, dir, &l, &remains, err);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; rc == 0 && i < local_host_count(&l); i++)
        rc = local_host_may_stop(a, &l, i, err);
    if (rc != 0)
        return rc;
    int lock = -1;
    if (file_exists(l.dir) && (lock = local_lock(l.dir, DOWN_WAIT_MS, err)) < 0)
        return lock;
    /* Workers first, and at once: nobody is left to look after their pods. */
    for (uint32_t i = local_host_count(&l); i-- > 0;)
        local_host_stop(a, &l, i, i < l.control_planes && !remains ? SIGTERM : SIGKILL);
    for (uint32_t i = 0; i < local_host_count(&l); i++)
        local_host_clean(a, &l, i);
    if (!l.loopback) {
        local_net_destroy(a, &l);
        file_remove_tree(local_run_dir(a, l.base_port), NULL);
    }
    rc = purge ? file_remove_tree(l.dir, err) : 0;
    local_unlock(lock);
    return rc;
}

int verb_down(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    const char *dir = NULL;
    bool purge = false;
    struct flag_set *flags = flag_set_new("trireme down --dir DIR [--purge]");
    flag_string(flags, &dir, "dir", "`Folder` that `up` was given.");
    flag_bool(flags, &purge, "purge", "Remove the folder with all data, too.");
    int exit_code = 0;
    if (verb_flags_alone(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        exit_code = down_run(a, dir, purge, &err) == 0 ? 0 : verb_fail(&err);
    }
    flag_set_free(flags);
    return exit_code;
}

static int host_act(struct arena *a, const struct local *l, const char *what, uint32_t index,
                    struct error *err)
{
    struct host h;
    int may = local_host_may_stop(a, l, index, err);
    if (may != 0)
        return may;
    local_host(a, l, index, &h);
    if (strcmp(what, "stop") == 0 || strcmp(what, "kill") == 0) {
        local_host_stop(a, l, index, what[0] == 'k' ? SIGKILL : SIGTERM);
        return 0;
    }
    if (strcmp(what, "start") == 0) {
        int rc = host_load(a, h.dir, &h, err);
        h.supervisor = SUPERVISOR_FORK;
        h.netns = l->loopback ? NULL : local_netns_path(a, l, h.name);
        if (rc == 0 && h.worker)
            rc = local_runtime_start(a, l, index, err);
        return rc == 0 ? host_start(a, &h, err) : rc;
    }
    bool heal = strcmp(what, "heal") == 0;
    if (!heal && strcmp(what, "cut") != 0)
        return error_set(err, E_USAGE, "\"%s\" is none of stop, kill, start, cut, heal", what);
    if (l->loopback)
        return error_set(err, E_USAGE, "hosts of a --loopback cluster have no cable to cut");
    return local_net_link(a, l, index, heal, err);
}

int verb_host(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    const char *dir = NULL;
    struct flag_set *flags = flag_set_new("trireme host stop|kill|start|cut|heal NAME --dir DIR");
    flag_string(flags, &dir, "dir", "`Folder` that `up` was given.");
    int exit_code = 0;
    if (verb_flags(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        struct local l;
        size_t count = 0;
        const char *const *args = flag_set_args(flags, &count);
        int rc = count == 2
                     ? load(a, dir, &l, &err)
                     : error_set(&err, E_USAGE, "want what to do and the host's name; see --help");
        int index = rc == 0 ? local_host_index(&l, args[1]) : -1;
        if (rc == 0 && index < 0)
            rc = error_set(&err, E_NOT_FOUND, "no host \"%s\"; they are cp-1.. and worker-1..",
                           args[1]);
        if (rc == 0)
            rc = host_act(a, &l, args[0], (uint32_t)index, &err);
        exit_code = rc == 0 ? 0 : verb_fail(&err);
    }
    flag_set_free(flags);
    return exit_code;
}

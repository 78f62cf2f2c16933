/* up.c - `trireme up`: a whole cluster on one machine, by the same init and
 * join as on many. Repeating it starts what does not run. */
#include "cli/init.h"

#include "cli/cluster_pki.h"
#include "cli/host.h"
#include "cli/local.h"
#include "cli/proc.h"
#include "cli/verbs.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/client/kubeconfig.h"
#include "lib/client/sync.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TOKEN_TTL_S (2 * 3600)

struct up {
    struct local local;
    uint64_t timeout_ms;
    uint64_t started_ms;
    struct host first;
    bool again;                   /* The cluster was there before. */
    bool begun;                   /* There is something for `down` to end. */
    const struct flag_set *flags; /* What was given. */
};

static void progress(const struct up *u, const char *what, const char *host)
{
    printf("  %6.2f s  %s %s\n", (double)(env_now_ms(env_system()) - u->started_ms) / 1000.0, what,
           host);
    fflush(stdout);
}

static const char *first_given(const char *given, const char *remembered)
{
    return given != NULL ? given : remembered;
}

/* How many hosts of a kind: more than before when that was asked for, never fewer. */
static int grown(const struct up *u, const char *flag, uint32_t was, uint32_t *count,
                 struct error *err)
{
    if (!flag_changed(u->flags, flag))
        *count = was;
    if (*count < was)
        return error_set(err, E_USAGE,
                         "--%s: the cluster in %s has %u already; `up` adds hosts, it removes none",
                         flag, u->local.dir, was);
    return 0;
}

/* A cluster that was there before: as it was made, but for more hosts and further flags of
 * programs that do not run. Ports and addresses stay: certificates and members name them. */
static int up_again(struct arena *a, struct up *u, struct error *err)
{
    struct local *l = &u->local, was;
    if (!file_exists(arena_printf(a, "%s/cluster.json", l->dir).data))
        return 0;
    int rc = local_load(a, l->dir, &was, err);
    u->again = true;
    if (rc == 0)
        rc = grown(u, "control-planes", was.control_planes, &l->control_planes, err);
    if (rc == 0)
        rc = grown(u, "workers", was.workers, &l->workers, err);
    if (rc != 0)
        return rc;
    if (flag_changed(u->flags, "base-port") && l->base_port != was.base_port)
        return error_set(err, E_USAGE, "--base-port: the cluster in %s has %u", l->dir,
                         was.base_port);
    if (flag_changed(u->flags, "loopback") && l->loopback != was.loopback)
        return error_set(err, E_USAGE, "--loopback: the cluster in %s was made %s it", l->dir,
                         was.loopback ? "with" : "without");
    if (flag_changed(u->flags, "host-subnet") && strcmp(l->subnet, was.subnet) != 0)
        return error_set(err, E_USAGE, "--host-subnet: the cluster in %s has %s", l->dir,
                         was.subnet);
    if (flag_changed(u->flags, "ip-family") && strcmp(l->ip_family, was.ip_family) != 0)
        return error_set(err, E_USAGE, "--ip-family: the cluster in %s has %s", l->dir,
                         was.ip_family);
    was.control_planes = l->control_planes;
    was.workers = l->workers;
    was.apiserver_args = first_given(l->apiserver_args, was.apiserver_args);
    was.scheduler_args = first_given(l->scheduler_args, was.scheduler_args);
    was.controllers_args = first_given(l->controllers_args, was.controllers_args);
    was.kubelet_args = first_given(l->kubelet_args, was.kubelet_args);
    *l = was;
    return 0;
}

static int find_folders(struct arena *a, struct local *l, const char *dir, struct error *err)
{
    if (dir == NULL || *dir == '\0')
        return error_set(err, E_USAGE, "--dir: give a folder for the cluster's files");
    int rc = file_mkdir_p(dir, 0755, err);
    if (rc != 0)
        return rc;
    AUTO_FREE char *full = realpath(dir, NULL);
    if (full == NULL)
        return error_set(err, E_IO, "--dir: cannot open %s", dir);
    l->dir = arena_strdup(a, full);
    rc = host_check_folder("dir", l->dir, err);
    if (rc != 0)
        return rc;
    if (l->bin_dir == NULL) {
        AUTO_FREE char *self = proc_self_dir();
        l->bin_dir = arena_strdup(a, self);
    }
    return 0;
}

/* Runs `trireme VERB ...` for a host, inside its namespace when it has one. */
static int run_in_host(struct arena *a, const struct up *u, const struct host *h,
                       const char *const *words, struct error *err)
{
    const char *argv[96] = {0};
    size_t n = 0;
    if (!u->local.loopback) {
        argv[n++] = "nsenter";
        argv[n++] = arena_printf(a, "--net=%s", local_netns_path(a, &u->local, h->name)).data;
    }
    argv[n++] = arena_printf(a, "%s/trireme", u->local.bin_dir).data;
    for (; *words != NULL; words++)
        argv[n++] = *words;
    struct {
        const char *flag, *value;
    } strings[] = {
        {"name", h->name},
        {"dir", h->dir},
        {"data-dir", h->data_dir},
        {"kubelet-dir", h->kubelet_dir},
        {"run-dir", h->run_dir},
        {"log-dir", h->log_dir},
        {"pod-log-dir", h->pod_log_dir},
        {"cni-conf-dir", h->cni_conf_dir},
        {"bin-dir", h->bin_dir},
        {"advertise-address", h->address},
        {"node-ip", h->node_ip},
        {"service-cidr", h->service_cidr},
        {"cluster-cidr", h->cluster_cidr},
        {"cgroup-root", h->cgroup_root},
        {"container-runtime-endpoint", h->runtime_endpoint},
        {"apiserver-args", h->apiserver_args},
        {"scheduler-args", h->scheduler_args},
        {"controller-manager-args", h->controllers_args},
        {"kubelet-args", h->kubelet_args},
    };
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
        if (strings[i].value != NULL)
            argv[n++] = arena_printf(a, "--%s=%s", strings[i].flag, strings[i].value).data;
    argv[n++] = arena_printf(a, "--port=%u", h->port).data;
    argv[n++] = arena_printf(a, "--peer-port=%u", h->peer_port).data;
    argv[n++] = arena_printf(a, "--scheduler-port=%u", h->scheduler_port).data;
    argv[n++] = arena_printf(a, "--controllers-port=%u", h->controllers_port).data;
    argv[n++] = arena_printf(a, "--kubelet-port=%u", h->kubelet_port).data;
    argv[n++] = h->no_scheduler ? "--no-scheduler=true" : "--no-scheduler=false";
    argv[n++] = h->no_controllers ? "--no-controllers=true" : "--no-controllers=false";
    argv[n++] = arena_printf(a, "--timeout=%llums", (unsigned long long)u->timeout_ms).data;
    argv[n++] = "--supervisor=fork";
    ASSERT(n < ARRAY_SIZE(argv));
    return proc_run_self(argv, err);
}

static int up_first(struct arena *a, struct up *u, struct error *err)
{
    local_host(a, &u->local, 0, &u->first);
    int rc = 0;
    if (u->local.loopback) {
        u->first.no_local_path = u->first.no_dns = true; /* There are no nodes. */
        rc = init_host(a, &u->first, u->timeout_ms, err);
    } else {
        static const char *const words[] = {"init", "--quiet", NULL};
        rc = run_in_host(a, u, &u->first, words, err);
    }
    if (rc == 0)
        progress(u, "ready:", u->first.name);
    return rc;
}

static const char *control_plane_list(struct arena *a, const struct local *l, uint32_t count)
{
    AUTO_BUF b = BUF_INIT;
    for (uint32_t i = 0; i < count; i++) {
        struct host h;
        local_host(a, l, i, &h);
        buf_printf(&b, "%s%s", i != 0 ? "," : "", host_endpoint(a, &h));
    }
    return arena_str(a, buf_str(&b)).data;
}

/* The pods' ranges of a worker, as its Node says them; NULL when it does not. */
static const struct json *pods_of(struct arena *a, const struct host *worker)
{
    struct kubeconfig *k = NULL;
    struct sync_client *c = NULL;
    struct sync_answer answer = {0};
    struct json *j = NULL;
    const struct json *list = NULL;
    if (kubeconfig_load(host_path(a, worker, "kubelet.kubeconfig"), NULL, &k, NULL) != 0 ||
        sync_client_new(k, NULL, &c, NULL) != 0)
        return NULL;
    struct client_raw raw = {.path = arena_printf(a, "/api/v1/nodes/%s", worker->name),
                             .timeout_ms = 5000};
    if (sync_raw(c, &raw, &answer, NULL) == 0 &&
        json_parse(a, arena_str(a, answer.body), &j, NULL) == 0)
        list = json_path(j, "spec.podCIDRs");
    sync_answer_done(&answer);
    sync_client_free(c);
    return list != NULL && list->type == JSON_ARRAY ? list : NULL;
}

/* The worker's address of a range's family; empty: it has none. */
static struct str node_address(const struct host *worker, struct str range)
{
    struct str rest = str_of(worker->node_ip), one;
    bool v6 = str_find(range, ':', 0) >= 0;
    for (bool more = true; more;) {
        more = str_cut(rest, ',', &one, &rest);
        if ((str_find(one, ':', 0) >= 0) == v6)
            return one;
    }
    return STR_NULL;
}

/* Control planes run no node agent that would do this, and their API servers
 * proxy to pods. */
static int up_routes(struct arena *a, const struct up *u, const struct host *worker,
                     struct error *err)
{
    const struct json *ranges = pods_of(a, worker);
    int rc = 0;
    for (uint32_t i = 0; ranges != NULL && i < u->local.control_planes; i++) {
        struct host h;
        local_host(a, &u->local, i, &h);
        for (size_t k = 0; rc == 0 && k < ranges->array.count; k++) {
            struct str range = ranges->array.items[k]->string, via = node_address(worker, range);
            if (!str_empty(via))
                rc = proc_runf(err, "ip -n %s route replace " STR_FMT " via " STR_FMT,
                               local_netns(a, &u->local, h.name), STR_ARG(range), STR_ARG(via));
        }
    }
    return rc;
}

static int up_join(struct arena *a, struct up *u, uint32_t index, const char *ca_hash,
                   const struct join_token *t, struct error *err)
{
    struct host h;
    local_host(a, &u->local, index, &h);
    uint32_t known = h.control_plane ? 1 : u->local.control_planes;
    const char *words[] = {"join",
                           h.control_plane ? "--control-plane" : "--worker",
                           control_plane_list(a, &u->local, known),
                           "--token",
                           join_token_text(a, t).data,
                           "--ca-hash",
                           ca_hash,
                           NULL};
    int rc = 0;
    if (h.worker)
        rc = local_runtime_start(a, &u->local, index, err);
    if (rc == 0 && h.worker)
        rc = local_images_import(a, &u->local, index, err);
    if (rc == 0)
        rc = run_in_host(a, u, &h, words, err);
    if (rc == 0 && h.worker && !u->local.loopback)
        rc = up_routes(a, u, &h, err);
    if (rc == 0)
        progress(u, h.control_plane ? "ready:" : "node Ready:", h.name);
    return rc;
}

static int up_others(struct arena *a, struct up *u, struct error *err)
{
    struct join_token control_plane, worker;
    struct str hash;
    int rc = cluster_pki_ca_hash(a, &u->first, &hash, err);
    if (rc == 0 && u->local.control_planes > 1)
        rc = init_token(a, &u->first, true, TOKEN_TTL_S, &control_plane, err);
    if (rc == 0 && u->local.workers > 0)
        rc = init_token(a, &u->first, false, TOKEN_TTL_S, &worker, err);
    for (uint32_t i = 1; rc == 0 && i < local_host_count(&u->local); i++)
        rc = up_join(a, u, i, hash.data, i < u->local.control_planes ? &control_plane : &worker,
                     err);
    return rc;
}

static int up_subnet(struct arena *a, struct up *u, struct error *err)
{
    struct local *l = &u->local;
    if (!local_net_exists(a, l) && local_net_subnet_taken(l->subnet))
        return error_set(err, E_EXISTS,
                         "%s.0/24 belongs to another network of this machine by now: end that "
                         "one, or give another --host-subnet to a new cluster",
                         l->subnet);
    return local_net_create(a, l, err);
}

/* Is the base port, which names networks, folders and cgroups, this cluster's alone? */
static int check_port(struct arena *a, const struct up *u, struct error *err)
{
    const struct local *l = &u->local;
    struct local other;
    int rc = local_of_port(a, l->base_port, &other);
    if (rc == 0 && strcmp(other.dir, l->dir) != 0)
        return error_set(err, E_EXISTS,
                         "--base-port: %u belongs to the cluster in %s; `trireme down --dir %s` "
                         "ends that one, or give this one another port",
                         l->base_port, other.dir, other.dir);
    if (rc == 0 && !u->again)
        return error_set(err, E_EXISTS,
                         "--dir: files of the cluster in %s are gone, but not all that runs: "
                         "`trireme down --dir %s` ends it",
                         l->dir, l->dir);
    if (rc != 0 && !u->again && local_net_exists(a, l))
        return error_set(err, E_EXISTS,
                         "--base-port: this machine has a network of port %u already; give another",
                         l->base_port);
    return 0;
}

/* The cluster's description, and its bridge. */
static int up_begin(struct arena *a, struct up *u, struct error *err)
{
    bool bridged = !u->local.loopback;
    int lock = bridged ? local_net_lock(err) : -1;
    if (bridged && lock < 0)
        return lock;
    if (u->local.subnet == NULL)
        u->local.subnet = local_net_free_subnet(a, u->local.base_port);
    int rc = bridged ? check_port(a, u, err) : 0;
    if (rc == 0)
        rc = local_save(a, &u->local, err);
    if (rc == 0 && bridged && (rc = up_subnet(a, u, err)) != 0 && !u->again)
        local_forget(a, &u->local);
    local_unlock(lock);
    return rc;
}

static int up_networks(struct arena *a, struct up *u, struct error *err)
{
    int rc = 0;
    if (u->local.loopback)
        return 0;
    for (uint32_t i = 0; rc == 0 && i < local_host_count(&u->local); i++)
        rc = local_net_add_host(a, &u->local, i, err);
    if (rc == 0 && u->local.workers != 0)
        rc = local_images_build(a, &u->local, err);
    return rc;
}

/* DIR/kubeconfig: the first host's administrator. */
static int write_kubeconfig(struct arena *a, const struct up *u, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    int rc = file_read(host_path(a, &u->first, "admin.kubeconfig"), 1u << 20, &b, err);
    if (rc == 0)
        rc = file_write_atomic(arena_printf(a, "%s/kubeconfig", u->local.dir).data, b.data, b.len,
                               0600, err);
    return rc;
}

static int up_locked(struct arena *a, struct up *u, struct error *err)
{
    int rc = up_again(a, u, err);
    if (rc == 0)
        rc = local_check(&u->local, err);
    if (rc == 0)
        rc = up_begin(a, u, err);
    u->begun = rc == 0;
    if (rc == 0)
        rc = up_networks(a, u, err);
    if (rc == 0)
        rc = up_first(a, u, err);
    if (rc == 0)
        rc = write_kubeconfig(a, u, err);
    if (rc == 0)
        rc = up_others(a, u, err);
    return rc;
}

static int up_run(struct arena *a, struct up *u, const char *dir, struct error *err)
{
    /* Nothing is made for what cannot be; a cluster that is there says itself what it is. */
    bool there = dir != NULL && file_exists(arena_printf(a, "%s/cluster.json", dir).data);
    int rc = there ? 0 : local_check(&u->local, err);
    if (rc == 0)
        rc = find_folders(a, &u->local, dir, err);
    int lock = rc == 0 ? local_lock(u->local.dir, 0, err) : rc;
    if (lock < 0)
        return lock;
    rc = up_locked(a, u, err);
    local_unlock(lock);
    return rc;
}

static void register_flags(struct flag_set *flags, struct up *u, int64_t numbers[3],
                           const char **dir, int64_t *timeout_ns)
{
    flag_int(flags, &numbers[0], "control-planes", "`Number` of control-plane hosts.");
    flag_int(flags, &numbers[1], "workers", "`Number` of worker hosts (need root).");
    flag_string(flags, dir, "dir", "`Folder` for the cluster's files.");
    flag_int(flags, &numbers[2], "base-port",
             "First `port` with --loopback; also tells clusters apart.");
    flag_bool(flags, &u->local.loopback, "loopback",
              "All hosts on 127.0.0.1, no root needed; no workers.");
    flag_bool(flags, &u->local.no_scheduler, "no-scheduler", "Start no scheduler.");
    flag_bool(flags, &u->local.no_controllers, "no-controllers", "Start no controller manager.");
    flag_string(flags, &u->local.apiserver_args, "apiserver-args",
                "Further `flags` of the API servers, separated by spaces.");
    flag_string(flags, &u->local.scheduler_args, "scheduler-args",
                "Further `flags` of the schedulers.");
    flag_string(flags, &u->local.controllers_args, "controller-manager-args",
                "Further `flags` of the controller managers.");
    flag_string(flags, &u->local.kubelet_args, "kubelet-args", "Further `flags` of the kubelets.");
    flag_string(flags, &u->local.subnet, "host-subnet",
                "First three `numbers` of the hosts' addresses (default: a free 10.231.N).");
    flag_string(flags, &u->local.ip_family, "ip-family",
                "Addresses of hosts, pods and Services: `ipv4`, ipv6 or dual.");
    flag_string(flags, &u->local.bin_dir, "bin-dir",
                "`Folder` of the trireme programs (default: this one's).");
    flag_duration(flags, timeout_ns, "timeout", "How long each host may take.");
}

int verb_up(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    struct up u = {.started_ms = env_now_ms(env_system()), .local.ip_family = "ipv4"};
    int64_t numbers[3] = {1, 0, 16443};
    int64_t timeout_ns = (int64_t)120 * 1000000000;
    const char *dir = NULL;
    struct flag_set *flags =
        flag_set_new("trireme up --dir DIR [--control-planes N] [--workers N] [flags]");
    register_flags(flags, &u, numbers, &dir, &timeout_ns);
    int exit_code = 0;
    if (verb_flags_alone(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        int rc = 0;
        if (numbers[0] < 1 || numbers[0] > LOCAL_CONTROL_PLANES_MAX)
            rc = error_set(&err, E_USAGE, "--control-planes: want 1 to %d",
                           LOCAL_CONTROL_PLANES_MAX);
        else if (numbers[1] < 0 || numbers[1] > LOCAL_WORKERS_MAX)
            rc = error_set(&err, E_USAGE, "--workers: want 0 to %d", LOCAL_WORKERS_MAX);
        else if (numbers[2] < 1 || numbers[2] > LOCAL_BASE_PORT_MAX)
            rc = error_set(&err, E_USAGE, "--base-port: want 1 to %d", LOCAL_BASE_PORT_MAX);
        else
            rc = verb_timeout(timeout_ns, &u.timeout_ms, &err);
        u.flags = flags;
        u.local.control_planes = (uint32_t)numbers[0];
        u.local.workers = (uint32_t)numbers[1];
        u.local.base_port = (uint16_t)numbers[2];
        if (rc == 0)
            rc = up_run(a, &u, dir, &err);
        if (rc == 0) {
            progress(&u, "the cluster is up:", host_url(a, &u.first));
            printf("\n  export KUBECONFIG=%s/kubeconfig\n  kubectl get nodes,pods -A\n\n"
                   "`trireme down --dir %s` ends it.\n",
                   u.local.dir, u.local.dir);
        }
        exit_code = rc == 0 ? 0 : verb_fail(&err);
        if (rc != 0 && u.begun)
            fprintf(
                stderr,
                "What has been started goes on: `up` again takes it up, `trireme down --dir %s` "
                "ends it.\n",
                u.local.dir);
    }
    flag_set_free(flags);
    return exit_code;
}

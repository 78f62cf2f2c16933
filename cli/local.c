/* local.c - the layout of a cluster on one machine. See local.h. */
#include "cli/local.h"

#include "cli/host.h"
#include "cli/proc.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/net/range.h"

#include <dirent.h>
#include <string.h>

#define LOCAL_FILE_MAX (64u * 1024u)
#define PORTS_PER_HOST 5
#define RUN_PREFIX "trireme-"

const char *local_run_dir(struct arena *a, uint16_t base_port)
{
    return arena_printf(a, "/run/" RUN_PREFIX "%u", base_port).data;
}

static int write_to(struct arena *a, const struct local *l, const char *path, struct error *err)
{
    struct json *j = json_object(a);
    json_setc(a, j, "dir", json_string(a, str_of(l->dir)));
    json_setc(a, j, "controlPlanes", json_int(a, l->control_planes));
    json_setc(a, j, "workers", json_int(a, l->workers));
    json_setc(a, j, "basePort", json_int(a, l->base_port));
    json_setc(a, j, "loopback", json_bool(a, l->loopback));
    json_setc(a, j, "noScheduler", json_bool(a, l->no_scheduler));
    json_setc(a, j, "noControllers", json_bool(a, l->no_controllers));
    json_setc(a, j, "apiserverArgs", json_string(a, str_of(l->apiserver_args)));
    json_setc(a, j, "schedulerArgs", json_string(a, str_of(l->scheduler_args)));
    json_setc(a, j, "controllerManagerArgs", json_string(a, str_of(l->controllers_args)));
    json_setc(a, j, "kubeletArgs", json_string(a, str_of(l->kubelet_args)));
    json_setc(a, j, "subnet", json_string(a, str_of(l->subnet)));
    json_setc(a, j, "ipFamily", json_string(a, str_of(l->ip_family)));
    json_setc(a, j, "binDir", json_string(a, str_of(l->bin_dir)));
    AUTO_BUF b = BUF_INIT;
    json_write_indent(j, false, 2, &b);
    buf_putc(&b, '\n');
    return file_write_atomic(path, b.data, b.len, 0644, err);
}

/* dir: NULL: the one that the file names. */
static int read_from(struct arena *a, const char *path, const char *dir, struct local *ret,
                     struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    struct json *j = NULL;
    int rc = file_read(path, LOCAL_FILE_MAX, &b, err);
    if (rc != 0)
        return rc;
    if (json_parse(a, arena_str(a, buf_str(&b)), &j, NULL) != 0)
        return error_set(err, E_CORRUPT, "%s is damaged: it is no JSON", path);
    struct local l = {
        .dir = dir != NULL ? dir : arena_str(a, json_get_str(j, "dir")).data,
        .control_planes = (uint32_t)json_get_int(j, "controlPlanes", 0),
        .workers = (uint32_t)json_get_int(j, "workers", 0),
        .base_port = (uint16_t)json_get_int(j, "basePort", 0),
        .loopback = json_get_bool(j, "loopback", false),
        .no_scheduler = json_get_bool(j, "noScheduler", false),
        .no_controllers = json_get_bool(j, "noControllers", false),
        .apiserver_args = arena_str(a, json_get_str(j, "apiserverArgs")).data,
        .scheduler_args = arena_str(a, json_get_str(j, "schedulerArgs")).data,
        .controllers_args = arena_str(a, json_get_str(j, "controllerManagerArgs")).data,
        .kubelet_args = arena_str(a, json_get_str(j, "kubeletArgs")).data,
        .subnet = arena_str(a, json_get_str(j, "subnet")).data,
        .ip_family = arena_str(a, json_get_str(j, "ipFamily")).data,
        .bin_dir = arena_str(a, json_get_str(j, "binDir")).data,
    };
    if (str_empty(json_get_str(j, "ipFamily")))
        l.ip_family = "ipv4";
    if (l.control_planes == 0 || l.control_planes > LOCAL_CONTROL_PLANES_MAX ||
        l.workers > LOCAL_WORKERS_MAX || l.base_port == 0 || l.dir[0] != '/')
        return error_set(err, E_CORRUPT, "%s is damaged", path);
    *ret = l;
    return 0;
}

int local_check(const struct local *l, struct error *err)
{
    if (l->loopback && l->workers != 0)
        return error_set(err, E_USAGE,
                         "--loopback: workers need a network namespace each; use --workers 0 or "
                         "leave --loopback out");
    if (!l->loopback && !proc_is_root())
        return error_set(err, E_USAGE,
                         "hosts as network namespaces need root; as an ordinary user use "
                         "--loopback --workers 0");
    if (strcmp(l->ip_family, "ipv4") != 0 && strcmp(l->ip_family, "ipv6") != 0 &&
        strcmp(l->ip_family, "dual") != 0)
        return error_set(err, E_USAGE, "--ip-family: \"%s\" is none of ipv4, ipv6, dual",
                         l->ip_family);
    struct net_range first;
    AUTO_FREE char *address = l->subnet != NULL ? xasprintf("%s.1", l->subnet) : NULL;
    if (address != NULL && (!net_range_parse_address(str_of(address), &first) || first.v6))
        return error_set(err, E_USAGE,
                         "--host-subnet: \"%s\" is not the first three numbers of an IPv4 network "
                         "(10.231.7)",
                         l->subnet);
    return 0;
}

static const char *record_path(struct arena *a, uint16_t base_port)
{
    return arena_printf(a, "%s/cluster.json", local_run_dir(a, base_port)).data;
}

int local_save(struct arena *a, const struct local *l, struct error *err)
{
    int rc = 0;
    if (!l->loopback) {
        rc = file_mkdir_p(local_run_dir(a, l->base_port), 0755, err);
        if (rc == 0)
            rc = write_to(a, l, record_path(a, l->base_port), err);
    }
    if (rc == 0)
        rc = write_to(a, l, arena_printf(a, "%s/cluster.json", l->dir).data, err);
    return rc;
}

int local_load(struct arena *a, const char *dir, struct local *ret, struct error *err)
{
    const char *path = arena_printf(a, "%s/cluster.json", dir).data;
    int rc = read_from(a, path, dir, ret, err);
    if (rc == E_NOT_FOUND)
        return error_set(err, rc, "--dir: no cluster in %s (%s is missing)", dir, path);
    return rc;
}

void local_forget(struct arena *a, const struct local *l)
{
    file_remove(arena_printf(a, "%s/cluster.json", l->dir).data, NULL);
    if (!l->loopback)
        file_remove_tree(local_run_dir(a, l->base_port), NULL);
}

int local_of_port(struct arena *a, uint16_t base_port, struct local *ret)
{
    return read_from(a, record_path(a, base_port), NULL, ret, NULL);
}

int local_of_remains(struct arena *a, const char *dir, struct local *ret)
{
    DIR *d = opendir("/run");
    int rc = E_NOT_FOUND;
    for (struct dirent *e; rc != 0 && d != NULL && (e = readdir(d)) != NULL;) {
        struct str name = str_of(e->d_name), prefix = STR(RUN_PREFIX);
        uint64_t port = 0;
        struct local l;
        if (!str_has_prefix(name, prefix) ||
            !str_to_u64(str_sub(name, prefix.len, name.len), &port) || port > UINT16_MAX ||
            local_of_port(a, (uint16_t)port, &l) != 0 || strcmp(l.dir, dir) != 0)
            continue;
        *ret = l;
        rc = 0;
    }
    if (d != NULL)
        closedir(d);
    return rc;
}

uint32_t local_host_count(const struct local *l)
{
    return l->control_planes + l->workers;
}

static const char *host_name(struct arena *a, const struct local *l, uint32_t index)
{
    if (index < l->control_planes)
        return arena_printf(a, "cp-%u", index + 1).data;
    return arena_printf(a, "worker-%u", index - l->control_planes + 1).data;
}

int local_host_index(const struct local *l, const char *name)
{
    AUTO_ARENA *a = arena_new(0);
    for (uint32_t i = 0; i < local_host_count(l); i++)
        if (strcmp(host_name(a, l, i), name) == 0)
            return (int)i;
    return -1;
}

bool local_v4(const struct local *l)
{
    return strcmp(l->ip_family, "ipv6") != 0;
}

bool local_v6(const struct local *l)
{
    return strcmp(l->ip_family, "ipv4") != 0;
}

const char *local_subnet6(struct arena *a, const struct local *l)
{
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "fd00:");
    for (const char *c = l->subnet; *c != '\0'; c++)
        buf_putc(&b, *c == '.' ? ':' : *c);
    return arena_str(a, buf_str(&b)).data;
}

uint32_t local_number(const struct local *l, uint32_t index)
{
    return index < l->control_planes ? 11 + index : 101 + index - l->control_planes;
}

/* Ranges of each family, as many nodes as there may be workers. */
static void set_ranges(const struct local *l, struct host *h)
{
    bool both = local_v4(l) && local_v6(l);
    if (!local_v6(l))
        return;
    h->service_cidr = both ? "10.96.0.0/16,fd00:96::/108" : "fd00:96::/108";
    h->cluster_cidr = both ? "10.244.0.0/16,fd00:244::/48" : "fd00:244::/48";
}

void local_host(struct arena *a, const struct local *l, uint32_t index, struct host *ret)
{
    struct host h;
    host_defaults(&h);
    h.supervisor = SUPERVISOR_FORK;
    set_ranges(l, &h);
    h.name = host_name(a, l, index);
    h.control_plane = index < l->control_planes;
    h.worker = !h.control_plane;
    const char *base = arena_printf(a, "%s/hosts/%s", l->dir, h.name).data;
    h.dir = arena_printf(a, "%s/etc", base).data;
    h.data_dir = arena_printf(a, "%s/data", base).data;
    h.kubelet_dir = arena_printf(a, "%s/kubelet", base).data;
    h.run_dir = arena_printf(a, "%s/run", base).data;
    h.log_dir = arena_printf(a, "%s/log", base).data;
    h.pod_log_dir = arena_printf(a, "%s/pods", base).data;
    h.cni_conf_dir = arena_printf(a, "%s/cni", base).data;
    h.bin_dir = l->bin_dir;
    h.no_scheduler = l->no_scheduler;
    h.no_controllers = l->no_controllers;
    h.apiserver_args = l->apiserver_args;
    h.scheduler_args = l->scheduler_args;
    h.controllers_args = l->controllers_args;
    h.kubelet_args = l->kubelet_args;
    if (l->loopback) {
        uint16_t port = (uint16_t)(l->base_port + index * PORTS_PER_HOST);
        h.address = local_v4(l) ? "127.0.0.1" : "::1";
        h.port = port;
        h.peer_port = (uint16_t)(port + 1);
        h.scheduler_port = (uint16_t)(port + 2);
        h.controllers_port = (uint16_t)(port + 3);
        h.kubelet_port = (uint16_t)(port + 4);
    } else {
        uint32_t last = local_number(l, index);
        const char *v4 = arena_printf(a, "%s.%u", l->subnet, last).data,
                   *v6 = arena_printf(a, "%s::%u", local_subnet6(a, l), last).data;
        h.address = local_v4(l) ? v4 : v6;
        h.node_ip = local_v4(l) && local_v6(l) ? arena_printf(a, "%s,%s", v4, v6).data : h.address;
        h.cgroup_root = arena_printf(a, "/trireme-%u-%s", l->base_port, h.name).data;
        /* A socket's path may have 107 characters: keep it out of deep folders. */
        h.runtime_endpoint =
            arena_printf(a, "unix://%s/%s/containerd.sock", local_run_dir(a, l->base_port), h.name)
                .data;
    }
    *ret = h;
}

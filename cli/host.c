/* host.c - a host's files, arguments and programs. See host.h. */
#include "cli/host.h"

#include "cli/proc.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/net/range.h"
#include "lib/net/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_BYTES_MAX (4u << 20)
#define ENV_FILE_MAX (64u * 1024u)
#define ARGS_MAX 96

void host_defaults(struct host *h)
{
    memset(h, 0, sizeof(*h));
    h->dir = "/etc/trireme";
    h->data_dir = "/var/lib/trireme";
    h->kubelet_dir = "/var/lib/kubelet";
    h->run_dir = "/run/trireme";
    h->log_dir = "/var/log/trireme";
    h->pod_log_dir = "/var/log/pods";
    h->cni_conf_dir = "/etc/cni/net.d";
    h->port = 6443;
    h->peer_port = 6444;
    h->scheduler_port = 10259;
    h->controllers_port = 10257;
    h->kubelet_port = 10250;
    h->service_cidr = "10.96.0.0/16";
    h->cluster_cidr = "10.244.0.0/16";
    h->runtime_endpoint = "unix:///run/containerd/containerd.sock";
    h->supervisor = SUPERVISOR_SYSTEMD;
}

/* Name, place and kind of each field: flags, host.json and the loader share it. */
enum field_kind { FIELD_STRING, FIELD_PORT, FIELD_BOOL };
struct host_field {
    const char *name;
    const char *help; /* Empty: kept in host.json, but no flag. */
    enum field_kind kind;
    size_t offset;
};
#define FIELD(flag, field, kind, help)                                                             \
    {                                                                                              \
        flag, help, kind, offsetof(struct host, field)                                             \
    }
static const struct host_field fields[] = {
    FIELD("name", name, FIELD_STRING,
          "This host's `name`: node and store member (default: the machine's)."),
    FIELD("control-plane", control_plane, FIELD_BOOL, ""),
    FIELD("worker", worker, FIELD_BOOL, ""),
    FIELD("dir", dir, FIELD_STRING, "`Folder` of configuration, certificates and kubeconfigs."),
    FIELD("data-dir", data_dir, FIELD_STRING, "`Folder` of the store's data."),
    FIELD("kubelet-dir", kubelet_dir, FIELD_STRING, "`Folder` of the kubelet's state and volumes."),
    FIELD("run-dir", run_dir, FIELD_STRING, "`Folder` of pid files with --supervisor=fork."),
    FIELD("log-dir", log_dir, FIELD_STRING, "`Folder` of log files with --supervisor=fork."),
    FIELD("bin-dir", bin_dir, FIELD_STRING,
          "`Folder` of the trireme programs (default: this one's)."),
    FIELD("advertise-address", address, FIELD_STRING,
          "`Address` of this host as the others reach it."),
    FIELD("port", port, FIELD_PORT, "`Port` of the API server."),
    FIELD("peer-port", peer_port, FIELD_PORT, "`Port` for the other store members."),
    FIELD("scheduler-port", scheduler_port, FIELD_PORT,
          "`Port` of the scheduler's health and metrics."),
    FIELD("controllers-port", controllers_port, FIELD_PORT,
          "`Port` of the controller manager's health and metrics."),
    FIELD("kubelet-port", kubelet_port, FIELD_PORT, "`Port` of the kubelet."),
    FIELD("node-ip", node_ip, FIELD_STRING,
          "`Addresses` of this node: one, or one of each family with a comma (default: "
          "--advertise-address, and one of the other family where --cluster-cidr has both)."),
    FIELD(
        "service-cidr", service_cidr, FIELD_STRING,
        "`Range` of Service addresses; or one of each family with a comma, the default one first."),
    FIELD("cluster-cidr", cluster_cidr, FIELD_STRING,
          "`Range` of pod addresses, a /24 (IPv6: a /64) for each node; or one of each family with "
          "a comma."),
    FIELD("cluster-dns", cluster_dns, FIELD_STRING,
          "`Address` of the cluster's DNS, or one of each family with a comma (default: the tenth "
          "of each --service-cidr)."),
    FIELD("container-runtime-endpoint", runtime_endpoint, FIELD_STRING, "CRI `socket`."),
    FIELD("pod-log-dir", pod_log_dir, FIELD_STRING, "`Folder` of container logs."),
    FIELD("cni-conf-dir", cni_conf_dir, FIELD_STRING,
          "`Folder` for the CNI network configuration."),
    FIELD("cgroup-root", cgroup_root, FIELD_STRING, "`Cgroup` below which pods run."),
    FIELD("extra-sans", extra_sans, FIELD_STRING,
          "Further names and addresses of the API server, `comma` separated."),
    FIELD("no-scheduler", no_scheduler, FIELD_BOOL, "Leave the scheduler out."),
    FIELD("no-controllers", no_controllers, FIELD_BOOL, "Leave the controller manager out."),
    FIELD("no-local-path", no_local_path, FIELD_BOOL,
          "Make no default StorageClass of folders on the nodes."),
    FIELD("no-dns", no_dns, FIELD_BOOL,
          "Answer no DNS queries on this node, and make no kube-dns Service: for CoreDNS."),
    FIELD("apiserver-args", apiserver_args, FIELD_STRING,
          "Further `flags` of the API server, separated by spaces."),
    FIELD("scheduler-args", scheduler_args, FIELD_STRING, "Further `flags` of the scheduler."),
    FIELD("controller-manager-args", controllers_args, FIELD_STRING,
          "Further `flags` of the controller manager."),
    FIELD("kubelet-args", kubelet_args, FIELD_STRING, "Further `flags` of the kubelet."),
    FIELD("initial-cluster", initial_cluster, FIELD_STRING, ""),
    FIELD("joined", join, FIELD_BOOL, ""),
};

static const char *const supervisor_names[] = {"systemd", "fork", "none"};

static int parse_supervisor(const char *value, enum supervisor *ret, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(supervisor_names); i++)
        if (strcmp(supervisor_names[i], value) == 0) {
            *ret = (enum supervisor)i;
            return 0;
        }
    return error_set(err, E_USAGE, "--supervisor: \"%s\" is none of systemd, fork, none", value);
}

static int set_field(struct host *h, const struct host_field *f, const char *value,
                     struct error *err)
{
    const char *name = f->name;
    char *at = (char *)h + f->offset;
    uint64_t port = 0;
    switch (f->kind) {
    case FIELD_STRING:
        *(const char **)(void *)at = value;
        return 0;
    case FIELD_PORT:
        if (!str_to_u64(str_of(value), &port) || port == 0 || port > 65535)
            return error_set(err, E_INVALID, "--%s: \"%s\" is no port (1 to 65535)", name, value);
        *(uint16_t *)(void *)at = (uint16_t)port;
        return 0;
    case FIELD_BOOL:
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            return error_set(err, E_INVALID, "--%s: \"%s\" is neither true nor false", name, value);
        *(bool *)at = value[0] == 't';
        return 0;
    }
    return 0;
}

/* What a flag's setter needs; lives in the set's own lifetime. */
struct field_flag {
    struct host *host;
    const struct host_field *field; /* NULL: --supervisor. */
};

static int on_flag(const char *value, void *arg, struct error *err)
{
    struct field_flag *f = arg;
    if (f->field == NULL)
        return parse_supervisor(value, &f->host->supervisor, err);
    static_assert(ARRAY_SIZE(fields) <= 64, "a bit of `given` for each");
    f->host->given |= 1ull << (f->field - fields);
    return set_field(f->host, f->field, value, err);
}

void host_register_flags(struct host *h, struct flag_set *flags)
{
    /* One command line per process: static storage outlives the set. */
    static struct field_flag args[ARRAY_SIZE(fields) + 1];
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        if (fields[i].help[0] == '\0')
            continue;
        args[i] = (struct field_flag){h, &fields[i]};
        flag_func(flags, fields[i].name, fields[i].help, on_flag, &args[i]);
        if (fields[i].kind == FIELD_BOOL)
            flag_no_value(flags, fields[i].name, "true");
    }
    args[ARRAY_SIZE(fields)] = (struct field_flag){h, NULL};
    flag_func(flags, "supervisor",
              "What runs the programs: `systemd`, fork (daemons with pid files) or none.", on_flag,
              &args[ARRAY_SIZE(fields)]);
}

/* The first address of this machine that others can reach. */
static const char *own_address(struct arena *a, bool v6)
{
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0)
        return NULL;
    const char *found = NULL;
    for (struct ifaddrs *i = list; i != NULL && found == NULL; i = i->ifa_next) {
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != (v6 ? AF_INET6 : AF_INET) ||
            (i->ifa_flags & (IFF_LOOPBACK | IFF_UP)) != IFF_UP)
            continue;
        char text[INET6_ADDRSTRLEN];
        struct sockaddr_in sin;
        struct sockaddr_in6 sin6;
        memcpy(v6 ? (void *)&sin6 : (void *)&sin, i->ifa_addr, v6 ? sizeof(sin6) : sizeof(sin));
        if (v6 && IN6_IS_ADDR_LINKLOCAL(&sin6.sin6_addr))
            continue;
        if (inet_ntop(v6 ? AF_INET6 : AF_INET,
                      v6 ? (const void *)&sin6.sin6_addr : (const void *)&sin.sin_addr, text,
                      sizeof(text)) != NULL)
            found = arena_strdup(a, text);
    }
    freeifaddrs(list);
    return found;
}

static int check_pair(const char *flag, const char *value, struct net_range ret[2],
                      unsigned *ret_count, struct error *err)
{
    *ret_count = net_range_parse_pair(str_of(value), ret);
    return *ret_count != 0
               ? 0
               : error_set(
                     err, E_USAGE,
                     "--%s: \"%s\" is neither a range (10.96.0.0/16, fd00:96::/108) nor one of "
                     "each family with a comma",
                     flag, value);
}

/* The tenth address of each range of Services. */
static const char *default_dns(struct arena *a, const struct net_range *ranges, unsigned count)
{
    AUTO_BUF b = BUF_INIT;
    for (unsigned i = 0; i < count; i++) {
        char text[NET_RANGE_TEXT_MAX];
        struct net_range ip = net_range_nth(&ranges[i], ranges[i].v6 ? 128 : 32, 10);
        net_range_address_text(&ip, text);
        buf_printf(&b, "%s%s", i != 0 ? "," : "", text);
    }
    return arena_str(a, buf_str(&b)).data;
}

/* An address as everybody else writes it; a name stays. */
static const char *canonical(struct arena *a, const char *address)
{
    struct net_range parsed;
    char text[NET_RANGE_TEXT_MAX];
    if (!net_range_parse_address(str_of(address), &parsed))
        return address;
    net_range_address_text(&parsed, text);
    return arena_strdup(a, text);
}

/* Ranges, and the addresses that follow from them. */
static int complete_families(struct arena *a, struct host *h, struct error *err)
{
    struct net_range services[2], pods[2];
    unsigned service_count, pod_count;
    int rc = check_pair("service-cidr", h->service_cidr, services, &service_count, err);
    if (rc == 0)
        rc = check_pair("cluster-cidr", h->cluster_cidr, pods, &pod_count, err);
    if (rc != 0)
        return rc;
    if (h->address == NULL)
        h->address = own_address(a, services[0].v6);
    if (h->address == NULL)
        return error_set(err, E_USAGE,
                         "--advertise-address: no network address of %s found; give one",
                         services[0].v6 ? "IPv6" : "IPv4");
    struct net_range parsed;
    if (!net_range_parse_address(str_of(h->address), &parsed))
        return error_set(err, E_USAGE, "--advertise-address: \"%s\" is no IP address", h->address);
    if ((h->control_plane || !h->worker) && (strchr(h->address, ':') != NULL) != services[0].v6)
        return error_set(err, E_USAGE,
                         "--advertise-address %s is not of the family of the first range of "
                         "--service-cidr %s: put that family's range first",
                         h->address, h->service_cidr);
    h->address = canonical(a, h->address);
    if (h->cluster_dns == NULL)
        h->cluster_dns = default_dns(a, services, service_count);
    if (h->node_ip != NULL)
        return 0;
    const char *other = pod_count == 2 ? own_address(a, strchr(h->address, ':') == NULL) : NULL;
    h->node_ip = other != NULL ? arena_printf(a, "%s,%s", h->address, other).data : h->address;
    return 0;
}

int host_complete(struct arena *a, struct host *h, struct error *err)
{
    if (h->name == NULL) {
        char name[256] = "";
        if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0')
            return error_set(err, E_USAGE, "--name: this machine has no host name; give one");
        for (char *p = name; *p != '\0'; p++)
            if (*p >= 'A' && *p <= 'Z')
                *p = (char)(*p - 'A' + 'a');
        h->name = arena_strdup(a, name);
    }
    if (h->bin_dir == NULL) {
        AUTO_FREE char *self = proc_self_dir();
        h->bin_dir = arena_strdup(a, self);
    }
    return complete_families(a, h, err);
}

void host_absolute(struct arena *a, struct host *h)
{
    const char **folders[] = {&h->dir,     &h->data_dir,    &h->kubelet_dir,  &h->run_dir,
                              &h->log_dir, &h->pod_log_dir, &h->cni_conf_dir, &h->bin_dir};
    AUTO_FREE char *here = getcwd(NULL, 0);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        const char *folder = *folders[i];
        if (here != NULL && folder != NULL && folder[0] != '/' && folder[0] != '\0')
            *folders[i] = arena_printf(a, "%s/%s", here, folder).data;
    }
}

const char *host_join_flags(struct arena *a, const struct host *h)
{
    struct host usual;
    AUTO_BUF b = BUF_INIT;
    host_defaults(&usual);
    if (strcmp(h->service_cidr, usual.service_cidr) != 0)
        buf_printf(&b, " --service-cidr %s", h->service_cidr);
    if (strcmp(h->cluster_cidr, usual.cluster_cidr) != 0)
        buf_printf(&b, " --cluster-cidr %s", h->cluster_cidr);
    return b.len != 0 ? arena_str(a, buf_str(&b)).data : "";
}

const char *host_path(struct arena *a, const struct host *h, const char *leaf)
{
    return arena_printf(a, "%s/%s", h->dir, leaf).data;
}

const char *host_endpoint(struct arena *a, const struct host *h)
{
    return url_host_port(a, str_of(h->address), h->port).data;
}

const char *host_peer_endpoint(struct arena *a, const struct host *h)
{
    return url_host_port(a, str_of(h->address), h->peer_port).data;
}

const char *host_url(struct arena *a, const struct host *h)
{
    return arena_printf(a, "https://%s", host_endpoint(a, h)).data;
}

int host_make_dirs(const struct host *h, struct error *err)
{
    char pki[4096];
    snprintf(pki, sizeof(pki), "%s/pki", h->dir);
    int rc = file_mkdir_p(h->dir, 0755, err);
    if (rc == 0)
        rc = file_mkdir_p(pki, 0700, err);
    if (rc == 0)
        rc = file_mkdir_p(h->log_dir, 0755, err);
    if (rc == 0 && h->control_plane)
        rc = file_mkdir_p(h->data_dir, 0700, err);
    if (rc == 0 && h->supervisor == SUPERVISOR_FORK)
        rc = file_mkdir_p(h->run_dir, 0755, err);
    if (rc == 0 && h->worker)
        rc = file_mkdir_p(h->kubelet_dir, 0750, err);
    return rc;
}

const char *const *host_programs(struct arena *a, const struct host *h)
{
    const char **list = ARENA_ARRAY(a, const char *, 5);
    size_t n = 0;
    if (h->control_plane) {
        list[n++] = "apiserver";
        if (!h->no_scheduler)
            list[n++] = "scheduler";
        if (!h->no_controllers)
            list[n++] = "controller-manager";
    }
    if (h->worker)
        list[n++] = "kubelet";
    return list;
}

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

static void apiserver_args(struct arena *a, const struct host *h, struct buf *b)
{
    buf_printf(b, "--name=%s --data-dir=%s", h->name, h->data_dir);
    buf_printf(b, " --bind-address=%s --advertise-address=%s --secure-port=%u",
               is_loopback(h->address)           ? h->address
               : strchr(h->address, ':') != NULL ? "::"
                                                 : "0.0.0.0",
               h->address, h->port);
    const char *peer = host_peer_endpoint(a, h);
    buf_printf(b, " --peer-listen-address=%s --peer-advertise-address=%s", peer, peer);
    buf_printf(b, " --initial-cluster=%s%s", h->initial_cluster, h->join ? " --join" : "");
    buf_printf(b,
               " --peer-cert-file=%s/pki/peer.crt --peer-key-file=%s/pki/peer.key"
               " --peer-ca-file=%s/pki/peer-ca.crt",
               h->dir, h->dir, h->dir);
    buf_printf(b,
               " --tls-cert-file=%s/pki/apiserver.crt --tls-private-key-file=%s/pki/apiserver.key"
               " --client-ca-file=%s/pki/ca.crt --token-auth-file=%s/pki/tokens.csv",
               h->dir, h->dir, h->dir, h->dir);
    buf_printf(b,
               " --service-account-key-file=%s/pki/sa.pub"
               " --service-account-signing-key-file=%s/pki/sa.key"
               " --service-account-issuer=https://kubernetes.default.svc.cluster.local",
               h->dir, h->dir);
    buf_printf(b, " --service-cluster-ip-range=%s --enable-bootstrap-token-auth", h->service_cidr);
    buf_printf(b,
               " --kubelet-client-certificate=%s/pki/apiserver-kubelet-client.crt"
               " --kubelet-client-key=%s/pki/apiserver-kubelet-client.key"
               " --kubelet-certificate-authority=%s/pki/ca.crt",
               h->dir, h->dir, h->dir);
    AUTO_FREE char *front_proxy = xasprintf("%s/pki/front-proxy-client.crt", h->dir);
    if (file_exists(front_proxy))
        buf_printf(b,
                   " --requestheader-client-ca-file=%s/pki/front-proxy-ca.crt"
                   " --requestheader-allowed-names=front-proxy-client"
                   " --requestheader-uid-headers=X-Remote-Uid"
                   " --proxy-client-cert-file=%s"
                   " --proxy-client-key-file=%s/pki/front-proxy-client.key",
                   h->dir, front_proxy, h->dir);
}

static void scheduler_args(struct arena *a, const struct host *h, struct buf *b)
{
    UNUSED(a);
    buf_printf(
        b, "--kubeconfig=%s/scheduler.kubeconfig --leader-elect --bind-address=%s --secure-port=%u",
        h->dir, h->address, h->scheduler_port);
}

static void controllers_args(struct arena *a, const struct host *h, struct buf *b)
{
    UNUSED(a);
    buf_printf(b,
               "--kubeconfig=%s/controller-manager.kubeconfig --leader-elect --bind-address=%s"
               " --secure-port=%u --cluster-cidr=%s --allocate-node-cidrs"
               " --service-cluster-ip-range=%s",
               h->dir, h->address, h->controllers_port, h->cluster_cidr, h->service_cidr);
    buf_printf(b,
               " --cluster-signing-cert-file=%s/pki/ca.crt --cluster-signing-key-file=%s/pki/ca.key"
               " --root-ca-file=%s/pki/ca.crt --service-account-private-key-file=%s/pki/sa.key",
               h->dir, h->dir, h->dir, h->dir);
}

static void kubelet_args(struct arena *a, const struct host *h, struct buf *b)
{
    UNUSED(a);
    buf_printf(b,
               "--hostname-override=%s --node-ip=%s --kubeconfig=%s/kubelet.kubeconfig"
               " --bootstrap-kubeconfig=%s/bootstrap.kubeconfig --cert-dir=%s/pki",
               h->name, h->node_ip != NULL ? h->node_ip : h->address, h->dir, h->dir, h->dir);
    buf_printf(b,
               " --client-ca-file=%s/pki/ca.crt --address=%s --port=%u --root-dir=%s"
               " --container-runtime-endpoint=%s --pod-logs-dir=%s --cni-conf-dir=%s",
               h->dir, h->address, h->kubelet_port, h->kubelet_dir, h->runtime_endpoint,
               h->pod_log_dir, h->cni_conf_dir);
    buf_printf(b, " --cluster-dns=%s --cluster-domain=cluster.local", h->cluster_dns);
    if (h->no_dns)
        buf_puts(b, " --dns=false");
    if (h->cgroup_root != NULL)
        buf_printf(b, " --cgroup-root=%s", h->cgroup_root);
}

struct program {
    const char *name;
    const char *variable;
    void (*args)(struct arena *a, const struct host *h, struct buf *b);
    size_t more; /* Where struct host has further flags. */
};
static const struct program programs[] = {
    {"apiserver", "APISERVER_ARGS", apiserver_args, offsetof(struct host, apiserver_args)},
    {"scheduler", "SCHEDULER_ARGS", scheduler_args, offsetof(struct host, scheduler_args)},
    {"controller-manager", "CONTROLLER_MANAGER_ARGS", controllers_args,
     offsetof(struct host, controllers_args)},
    {"kubelet", "KUBELET_ARGS", kubelet_args, offsetof(struct host, kubelet_args)},
};

static const struct program *program_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
        if (strcmp(programs[i].name, name) == 0)
            return &programs[i];
    PANIC("no program %s", name);
}

int host_write_env(struct arena *a, const struct host *h, struct error *err)
{
    for (const char *const *p = host_programs(a, h); *p != NULL; p++) {
        const struct program *prog = program_by_name(*p);
        AUTO_BUF b = BUF_INIT;
        buf_printf(
            &b, "# Arguments of trireme-%s, read by its systemd unit. Add your own flags here.\n",
            prog->name);
        buf_printf(&b, "%s=\"", prog->variable);
        prog->args(a, h, &b);
        const char *more = *(const char *const *)(const void *)((const char *)h + prog->more);
        if (more != NULL && *more != '\0')
            buf_printf(&b, " %s", more);
        buf_puts(&b, "\"\n");
        const char *path = arena_printf(a, "%s/%s.env", h->dir, prog->name).data;
        int rc = file_write_atomic(path, b.data, b.len, 0644, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* argv of a program from its .env file, as systemd would split it. */
static int read_args(struct arena *a, const struct host *h, const struct program *prog,
                     const char **argv, struct error *err)
{
    const char *path = arena_printf(a, "%s/%s.env", h->dir, prog->name).data;
    AUTO_BUF b = BUF_INIT;
    int rc = file_read(path, ENV_FILE_MAX, &b, err);
    if (rc != 0)
        return rc;
    struct str start = arena_printf(a, "\n%s=\"", prog->variable);
    ptrdiff_t at = str_find_str(buf_str(&b), start);
    ptrdiff_t end = at >= 0 ? str_find(buf_str(&b), '"', (size_t)at + start.len) : -1;
    if (end < 0)
        return error_set(err, E_INVALID, "%s: no line %s=\"...\"", path, prog->variable);
    size_t from = (size_t)at + start.len;
    char *words =
        arena_strdup(a, arena_str(a, str_sub(buf_str(&b), from, (size_t)end - from)).data);
    size_t n = 0;
    argv[n++] = arena_printf(a, "%s/trireme-%s", h->bin_dir, prog->name).data;
    char *save = NULL;
    for (char *w = strtok_r(words, " \t\n", &save); w != NULL; w = strtok_r(NULL, " \t\n", &save)) {
        if (n == ARGS_MAX)
            return error_set(err, E_INVALID, "%s: more than %d arguments", path, ARGS_MAX);
        argv[n++] = w;
    }
    argv[n] = NULL;
    return 0;
}

static int start_forked(struct arena *a, const struct host *h, const char *name, struct error *err)
{
    const char *argv[ARGS_MAX + 1];
    int rc = read_args(a, h, program_by_name(name), argv, err);
    if (rc != 0)
        return rc;
    return proc_start(
        &(struct proc_config){.argv = argv,
                              .netns = h->netns,
                              .pid_file = arena_printf(a, "%s/%s.pid", h->run_dir, name).data,
                              .log_file = arena_printf(a, "%s/%s.log", h->log_dir, name).data},
        err);
}

int host_start(struct arena *a, const struct host *h, struct error *err)
{
    if (h->supervisor == SUPERVISOR_NONE)
        return 0;
    for (const char *const *p = host_programs(a, h); *p != NULL; p++) {
        int rc = 0;
        if (h->supervisor == SUPERVISOR_FORK)
            rc = start_forked(a, h, *p, err);
        else
            rc = proc_runf(err, "systemctl enable --now trireme-%s.service", *p);
        if (rc != 0)
            return rc;
    }
    return 0;
}

struct str host_last_line(struct arena *a, const char *path, const char *initials)
{
    AUTO_BUF b = BUF_INIT;
    struct str rest, line, last = STR_NULL;
    if (file_read(path, LOG_BYTES_MAX, &b, NULL) != 0)
        return last;
    for (rest = buf_str(&b); rest.len > 0;) {
        str_cut(rest, '\n', &line, &rest);
        if (line.len > 0 && (initials == NULL || strchr(initials, line.data[0]) != NULL))
            last = line;
    }
    return arena_str(a, last);
}

int host_check(struct arena *a, const struct host *h, struct error *err)
{
    if (h->supervisor != SUPERVISOR_FORK)
        return 0;
    for (const char *const *p = host_programs(a, h); *p != NULL; p++) {
        if (proc_running(arena_printf(a, "%s/%s.pid", h->run_dir, *p).data) != 0)
            continue;
        const char *log = arena_printf(a, "%s/%s.log", h->log_dir, *p).data;
        struct str said = host_last_line(a, log, NULL);
        return error_set(err, E_CLOSED, "%s of %s has ended: " STR_FMT " (log: %s)", *p, h->name,
                         STR_ARG(str_empty(said) ? STR("it said nothing") : said), log);
    }
    return 0;
}

int host_may_stop(struct arena *a, const struct host *h, struct error *err)
{
    if (h->supervisor != SUPERVISOR_FORK)
        return 0;
    for (const char *const *p = host_programs(a, h); *p != NULL; p++) {
        pid_t pid = proc_running(arena_printf(a, "%s/%s.pid", h->run_dir, *p).data);
        if (pid != 0 && kill(pid, 0) != 0 && errno == EPERM)
            return error_set(err, E_FORBIDDEN,
                             "%s of %s (process %d) is another user's: end it as that user or as "
                             "root",
                             *p, h->name, (int)pid);
    }
    return 0;
}

void host_stop(struct arena *a, const struct host *h, int sig)
{
    const char *const *list = host_programs(a, h);
    size_t n = 0;
    while (list[n] != NULL)
        n++;
    while (n-- > 0) {
        if (h->supervisor == SUPERVISOR_FORK)
            proc_stop(arena_printf(a, "%s/%s.pid", h->run_dir, list[n]).data, sig, 5000);
        else if (h->supervisor == SUPERVISOR_SYSTEMD)
            proc_runf(NULL, "systemctl disable --now trireme-%s.service", list[n]);
    }
}

int host_save(struct arena *a, const struct host *h, struct error *err)
{
    struct json *j = json_object(a);
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const char *at = (const char *)h + fields[i].offset;
        const char *text = NULL;
        switch (fields[i].kind) {
        case FIELD_STRING:
            memcpy(&text, at, sizeof(text));
            if (text != NULL)
                json_setc(a, j, fields[i].name, json_string(a, str_of(text)));
            break;
        case FIELD_PORT: {
            uint16_t port = 0;
            memcpy(&port, at, sizeof(port));
            json_setc(a, j, fields[i].name, json_int(a, port));
            break;
        }
        case FIELD_BOOL:
            json_setc(a, j, fields[i].name, json_bool(a, *(const bool *)at));
            break;
        }
    }
    json_setc(a, j, "supervisor", json_string(a, str_of(supervisor_names[h->supervisor])));
    AUTO_BUF b = BUF_INIT;
    json_write_indent(j, false, 2, &b);
    buf_putc(&b, '\n');
    return file_write_atomic(host_path(a, h, "host.json"), b.data, b.len, 0644, err);
}

int host_load(struct arena *a, const char *dir, struct host *ret, struct error *err)
{
    const char *path = arena_printf(a, "%s/host.json", dir).data;
    AUTO_BUF b = BUF_INIT;
    int rc = file_read(path, ENV_FILE_MAX, &b, err);
    if (rc != 0)
        return rc;
    struct json *j = NULL;
    rc = json_parse(a, arena_str(a, buf_str(&b)), &j, err);
    if (rc != 0) {
        error_prefix(err, "%s", path);
        return rc;
    }
    struct host h;
    host_defaults(&h);
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        char *at = (char *)&h + fields[i].offset;
        struct str s = json_get_str(j, fields[i].name);
        if (fields[i].kind == FIELD_STRING && !str_empty(s))
            *(const char **)(void *)at = arena_str(a, s).data;
        else if (fields[i].kind == FIELD_PORT)
            *(uint16_t *)(void *)at = (uint16_t)json_get_int(j, fields[i].name, 0);
        else if (fields[i].kind == FIELD_BOOL)
            *(bool *)at = json_get_bool(j, fields[i].name, false);
    }
    const char *supervisor = arena_str(a, json_get_str(j, "supervisor")).data;
    rc = parse_supervisor(supervisor, &h.supervisor, err);
    if (rc != 0) {
        error_prefix(err, "%s", path);
        return rc;
    }
    *ret = h;
    return 0;
}

/* Is what a flag says what the host was made with? The programs' further flags may change. */
static bool agrees(struct arena *a, const struct host *given, const struct host *h, size_t index)
{
    const struct host_field *f = &fields[index];
    const char *x = (const char *)given + f->offset, *y = (const char *)h + f->offset;
    if ((given->given >> index & 1) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
        if (programs[i].more == f->offset)
            return true;
    if (f->kind == FIELD_PORT)
        return memcmp(x, y, sizeof(uint16_t)) == 0;
    if (f->kind == FIELD_BOOL)
        return *(const bool *)x == *(const bool *)y;
    const char *want = *(const char *const *)(const void *)x,
               *have = *(const char *const *)(const void *)y;
    return have != NULL && strcmp(canonical(a, want), have) == 0;
}

int host_resume(struct arena *a, struct host *h, struct error *err)
{
    struct host given = *h;
    int rc = host_load(a, given.dir, h, err);
    if (rc != 0)
        return rc;
    if (given.control_plane != h->control_plane)
        return error_set(err, E_USAGE, "--dir: %s is that of a %s already; give another", h->dir,
                         h->control_plane ? "control plane" : "worker");
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (!agrees(a, &given, h, i))
            return error_set(err, E_USAGE,
                             "--%s: this host was made with another, see %s/host.json; to begin "
                             "anew end its programs and remove %s and %s",
                             fields[i].name, h->dir, h->dir,
                             h->control_plane ? h->data_dir : h->kubelet_dir);
    h->supervisor = given.supervisor;
    h->netns = given.netns;
    bool changed = false;
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        const char **mine = (const char **)(void *)((char *)h + programs[i].more);
        const char *more =
            *(const char *const *)(const void *)((const char *)&given + programs[i].more);
        if (more == NULL || strcmp(more, *mine != NULL ? *mine : "") == 0)
            continue;
        *mine = more;
        changed = true;
    }
    rc = changed ? host_write_env(a, h, err) : 0;
    return changed && rc == 0 ? host_save(a, h, err) : rc;
}

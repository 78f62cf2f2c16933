/* host_validate.c - is what was said of a host fit to make one of it? Asked before anything is
 * written: a host that exists half is taken up again as it is. */
#include "cli/host.h"

#include "cli/proc.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/net/range.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of a DNS name: RFC 1123; nodes and store members have such names. */
#define NAME_MAX_BYTES 253

static bool is_name(struct str s)
{
    bool edge = true; /* Where a letter or figure must stand. */
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool inner = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!inner && (edge || (c != '-' && c != '.')))
            return false;
        if (c == '.' && s.data[i - 1] == '-')
            return false;
        edge = c == '.';
    }
    return s.len > 0 && s.len <= NAME_MAX_BYTES && !edge && s.data[s.len - 1] != '-';
}

static int check_name(const struct host *h, struct error *err)
{
    if (!is_name(str_of(h->name)))
        return error_set(err, E_USAGE,
                         "--name: \"%.300s\" is no name of a host: want letters a to z, figures, - "
                         "and ., at most %d",
                         h->name, NAME_MAX_BYTES);
    return 0;
}

/* Arguments stand in files that are split at spaces, in double quotes. */
static int check_folders(const struct host *h, struct error *err)
{
    const struct {
        const char *flag, *path;
    } folders[] = {
        {"dir", h->dir},         {"data-dir", h->data_dir},        {"kubelet-dir", h->kubelet_dir},
        {"run-dir", h->run_dir}, {"log-dir", h->log_dir},          {"pod-log-dir", h->pod_log_dir},
        {"bin-dir", h->bin_dir}, {"cni-conf-dir", h->cni_conf_dir}};
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        int rc = host_check_folder(folders[i].flag, folders[i].path, err);
        if (rc != 0)
            return rc;
    }
    if (h->cgroup_root != NULL && h->cgroup_root[0] != '/')
        return error_set(err, E_USAGE, "--cgroup-root: \"%s\" does not begin with /",
                         h->cgroup_root);
    return 0;
}

int host_check_folder(const char *flag, const char *path, struct error *err)
{
    if (path[0] == '\0')
        return error_set(err, E_USAGE, "--%s: want a folder", flag);
    if (strpbrk(path, " \t\n\"'\\$,") != NULL)
        return error_set(err, E_USAGE,
                         "--%s: \"%s\" has a space or one of \" ' \\ $ , in it, which cannot stand "
                         "in the programs' arguments; give another folder",
                         flag, path);
    return 0;
}

static int check_programs(const struct host *h, struct error *err)
{
    const struct {
        const char *name;
        bool here;
    } programs[] = {{"apiserver", h->control_plane},
                    {"scheduler", h->control_plane && !h->no_scheduler},
                    {"controller-manager", h->control_plane && !h->no_controllers},
                    {"kubelet", h->worker}};
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        AUTO_FREE char *path = xasprintf("%s/trireme-%s", h->bin_dir, programs[i].name);
        if (programs[i].here && access(path, X_OK) != 0)
            return error_set(err, E_USAGE, "--bin-dir: cannot run %s: %s", path, strerror(errno));
    }
    return 0;
}

static int check_arguments(const struct host *h, struct error *err)
{
    const struct {
        const char *flag, *value;
    } given[] = {{"apiserver-args", h->apiserver_args},
                 {"scheduler-args", h->scheduler_args},
                 {"controller-manager-args", h->controllers_args},
                 {"kubelet-args", h->kubelet_args}};
    for (size_t i = 0; i < ARRAY_SIZE(given); i++)
        if (given[i].value != NULL && strpbrk(given[i].value, "\"\\\n") != NULL)
            return error_set(err, E_USAGE,
                             "--%s: want flags separated by spaces, without double quotes and "
                             "backslashes",
                             given[i].flag);
    return 0;
}

/* A list of addresses; with names, of names too. NULL: was not given. */
static int check_addresses(const char *flag, const char *list, bool names, struct error *err)
{
    struct str rest = str_of(list), one;
    struct net_range parsed;
    for (bool more = list != NULL; more;) {
        more = str_cut(rest, ',', &one, &rest);
        struct str name = names && str_has_prefix(one, STR("*.")) ? str_sub(one, 2, one.len) : one;
        if (!net_range_parse_address(one, &parsed) && !(names && is_name(name)))
            return error_set(err, E_USAGE, "--%s: \"" STR_FMT "\" is no IP address%s", flag,
                             STR_ARG(one), names ? " and no DNS name" : "");
    }
    return 0;
}

static int check_ranges(const struct host *h, struct error *err)
{
    struct net_range services[2], pods[2];
    unsigned service_count = net_range_parse_pair(str_of(h->service_cidr), services);
    unsigned pod_count = net_range_parse_pair(str_of(h->cluster_cidr), pods);
    for (unsigned i = 0; i < service_count; i++) {
        unsigned widest = services[i].v6 ? 64 : 8, narrowest = services[i].v6 ? 126 : 30;
        if (services[i].prefix < widest || services[i].prefix > narrowest)
            return error_set(err, E_USAGE, "--service-cidr: %s: want a range of /%u to /%u",
                             h->service_cidr, widest, narrowest);
    }
    for (unsigned i = 0; i < pod_count; i++) {
        unsigned of_node = pods[i].v6 ? 64 : 24;
        if (pods[i].prefix > of_node)
            return error_set(err, E_USAGE,
                             "--cluster-cidr: %s: want a range of /%u or wider: each node has a "
                             "/%u of it",
                             h->cluster_cidr, of_node, of_node);
        for (unsigned k = 0; k < service_count; k++)
            if (net_range_contains(&pods[i], &services[k]) ||
                net_range_contains(&services[k], &pods[i]))
                return error_set(err, E_USAGE, "--cluster-cidr %s and --service-cidr %s overlap",
                                 h->cluster_cidr, h->service_cidr);
    }
    return 0;
}

/* 0, or errno. Port 0: is the address this machine's? */
static int try_bind(const char *address, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    bool v6 = inet_pton(AF_INET, address, &in.sin_addr) != 1;
    if (v6 && inet_pton(AF_INET6, address, &in6.sin6_addr) != 1)
        return EINVAL;
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    int failed = v6 ? bind(fd, (const struct sockaddr *)&in6, sizeof(in6))
                    : bind(fd, (const struct sockaddr *)&in, sizeof(in));
    int code = failed != 0 ? errno : 0;
    close(fd);
    return code;
}

static int check_ports(const struct host *h, struct error *err)
{
    const struct {
        const char *flag;
        uint16_t port;
        bool here;
    } ports[] = {{"port", h->port, h->control_plane},
                 {"peer-port", h->peer_port, h->control_plane},
                 {"scheduler-port", h->scheduler_port, h->control_plane && !h->no_scheduler},
                 {"controllers-port", h->controllers_port, h->control_plane && !h->no_controllers},
                 {"kubelet-port", h->kubelet_port, h->worker}};
    for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
        if (!ports[i].here)
            continue;
        for (size_t k = 0; k < i; k++)
            if (ports[k].here && ports[k].port == ports[i].port)
                return error_set(err, E_USAGE, "--%s and --%s are both %u; give each its own",
                                 ports[k].flag, ports[i].flag, ports[i].port);
        int code = try_bind(h->address, ports[i].port);
        if (code != 0)
            return error_set(err, E_USAGE, "--%s: cannot listen on %s port %u: %s", ports[i].flag,
                             h->address, ports[i].port, strerror(code));
    }
    return 0;
}

static int check_address(const struct host *h, struct error *err)
{
    if (h->control_plane && try_bind(h->address, 0) == EADDRNOTAVAIL)
        return error_set(err, E_USAGE, "--advertise-address: %s is no address of this machine",
                         h->address);
    return 0;
}

/* Asked before systemctl is, which says less. */
static int check_supervisor(const struct host *h, struct error *err)
{
    const char *unit = h->control_plane ? "trireme-apiserver" : "trireme-kubelet";
    if (h->supervisor != SUPERVISOR_SYSTEMD)
        return 0;
    if (!file_exists("/run/systemd/system"))
        return error_set(err, E_USAGE,
                         "this machine does not run systemd: give --supervisor=fork (daemons that "
                         "nobody starts again) or none");
    if (proc_runf(NULL, "systemctl cat %s.service", unit) != 0)
        return error_set(err, E_USAGE,
                         "systemd has no %s.service: `make install` brings it; or give "
                         "--supervisor=fork or none",
                         unit);
    return 0;
}

int host_validate(const struct host *h, struct error *err)
{
    int rc = check_name(h, err);
    if (rc == 0)
        rc = check_folders(h, err);
    if (rc == 0)
        rc = check_programs(h, err);
    if (rc == 0)
        rc = check_arguments(h, err);
    if (rc == 0)
        rc = check_ranges(h, err);
    if (rc == 0)
        rc = check_addresses("node-ip", h->node_ip, false, err);
    if (rc == 0)
        rc = check_addresses("cluster-dns", h->cluster_dns, false, err);
    if (rc == 0)
        rc = check_addresses("extra-sans", h->extra_sans, true, err);
    if (rc == 0)
        rc = check_supervisor(h, err);
    if (rc == 0)
        rc = check_address(h, err);
    return rc == 0 && h->supervisor != SUPERVISOR_NONE ? check_ports(h, err) : rc;
}

/* machine.c - see machine.h. */
#include "kubelet/machine.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/net/range.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *read_word(struct arena *a, const char *path)
{
    AUTO_BUF b = BUF_INIT;
    if (file_read(path, 65536, &b, NULL) != 0)
        return "";
    return str_c(arena_str(a, str_trim(buf_str(&b))));
}

static const char *os_image(struct arena *a)
{
    AUTO_BUF b = BUF_INIT;
    struct str rest, line, key, value;
    if (file_read("/etc/os-release", 65536, &b, NULL) != 0)
        return "Linux";
    rest = buf_str(&b);
    for (bool more = true; more;) {
        more = str_cut(rest, '\n', &line, &rest);
        if (!str_cut(line, '=', &key, &value) || !str_eqc(key, "PRETTY_NAME"))
            continue;
        value = str_trim(value);
        if (value.len >= 2 && value.data[0] == '"')
            value = str_sub(value, 1, value.len - 2);
        return str_c(arena_str(a, value));
    }
    return "Linux";
}

static const char *architecture(const char *machine)
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"},    {"aarch64", "arm64"}, {"armv7l", "arm"},     {"i686", "386"},
        {"ppc64le", "ppc64le"}, {"s390x", "s390x"},   {"riscv64", "riscv64"}};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(machine, names[i][0]) == 0)
            return names[i][1];
    }
    return machine;
}

/* The address from which the default route leaves; no packet is sent. */
static bool route_address(int family, char ret[INET6_ADDRSTRLEN])
{
    struct sockaddr_storage to = {.ss_family = (sa_family_t)family}, from;
    socklen_t len = sizeof(from);
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)&to;
        in->sin_port = htons(53);
        inet_pton(AF_INET, "192.0.2.1", &in->sin_addr);
    } else {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)&to;
        in->sin6_port = htons(53);
        inet_pton(AF_INET6, "2001:db8::1", &in->sin6_addr);
    }
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool ok = connect(fd, (struct sockaddr *)&to,
                      family == AF_INET ? sizeof(struct sockaddr_in)
                                        : sizeof(struct sockaddr_in6)) == 0 &&
              getsockname(fd, (struct sockaddr *)&from, &len) == 0;
    close(fd);
    if (!ok)
        return false;
    const void *addr = family == AF_INET ? (const void *)&((struct sockaddr_in *)&from)->sin_addr
                                         : (const void *)&((struct sockaddr_in6 *)&from)->sin6_addr;
    return inet_ntop(family, addr, ret, INET6_ADDRSTRLEN) != NULL;
}

static bool any_address(char ret[INET6_ADDRSTRLEN])
{
    struct ifaddrs *list;
    bool found = false;
    if (getifaddrs(&list) != 0)
        return false;
    for (struct ifaddrs *i = list; i != NULL && !found; i = i->ifa_next) {
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET ||
            (i->ifa_flags & IFF_LOOPBACK) != 0 || (i->ifa_flags & IFF_UP) == 0)
            continue;
        found = inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, ret,
                          INET6_ADDRSTRLEN) != NULL;
    }
    freeifaddrs(list);
    return found;
}

static bool is_v6(const char *ip)
{
    return strchr(ip, ':') != NULL;
}

/* One address of --node-ip; the unspecified one stands for this machine's own of that family. */
static int add_address(struct arena *a, const char *ip, struct machine *m, struct error *err)
{
    char text[NET_RANGE_TEXT_MAX];
    struct net_range parsed;
    if (!net_range_parse_address(str_of(ip), &parsed))
        return error_set(err, E_INVALID, "--node-ip: '%s' is not an IP address", ip);
    if (strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0) {
        if (!route_address(is_v6(ip) ? AF_INET6 : AF_INET, text))
            return error_set(err, E_INVALID,
                             "--node-ip: this machine has no default route of %s to tell the "
                             "address by that '%s' stands for: give the address itself",
                             is_v6(ip) ? "IPv6" : "IPv4", ip);
    } else {
        net_range_address_text(&parsed, text); /* As everybody else writes it. */
    }
    ip = arena_strdup(a, text);
    if (m->ip_count == ARRAY_SIZE(m->ips) || (m->ip_count == 1 && is_v6(m->ips[0]) == is_v6(ip)))
        return error_set(err, E_INVALID,
                         "--node-ip: must contain either a single IP or a dual-stack pair of IPs, "
                         "one of each family; '%s' is one too many",
                         ip);
    m->ips[m->ip_count++] = ip;
    return 0;
}

static int addresses(struct arena *a, const char *node_ip, struct machine *m, struct error *err)
{
    char text[INET6_ADDRSTRLEN];
    if (node_ip != NULL && node_ip[0] != '\0') {
        struct str rest = str_of(node_ip), one;
        int rc = 0;
        for (bool more = true; more && rc == 0;) {
            more = str_cut(rest, ',', &one, &rest);
            rc = add_address(a, str_c(arena_str(a, str_trim(one))), m, err);
        }
        return rc;
    }
    if (route_address(AF_INET, text) || any_address(text))
        m->ips[m->ip_count++] = arena_strdup(a, text);
    else if (route_address(AF_INET6, text))
        m->ips[m->ip_count++] = arena_strdup(a, text);
    else
        m->ips[m->ip_count++] = "127.0.0.1";
    return 0;
}

static void hugepages(struct machine *m)
{
    DIR *d = opendir("/sys/kernel/mm/hugepages");
    for (struct dirent *e = d != NULL ? readdir(d) : NULL;
         e != NULL && m->hugepage_count < ARRAY_SIZE(m->hugepages); e = readdir(d)) {
        long long kib;
        if (sscanf(e->d_name, "hugepages-%lldkB", &kib) != 1)
            continue;
        AUTO_FREE char *path = xasprintf("/sys/kernel/mm/hugepages/%s/nr_hugepages", e->d_name);
        AUTO_BUF b = BUF_INIT;
        int64_t count = 0;
        if (file_read(path, 64, &b, NULL) == 0)
            str_to_i64(str_trim(buf_str(&b)), &count);
        m->hugepages[m->hugepage_count].size_bytes = kib * 1024;
        m->hugepages[m->hugepage_count++].count = count;
    }
    if (d != NULL)
        closedir(d);
}

static const char *or_text(const char *s, const char *fallback)
{
    return s[0] != '\0' ? s : fallback;
}

int machine_read(struct arena *a, const char *node_ip, struct machine *ret, struct error *err)
{
    struct utsname u;
    struct sysinfo info;
    struct machine m = {0};
    uname(&u);
    char *name = arena_strdup(a, u.nodename);
    for (char *c = name; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    m.hostname = name;
    m.kernel_version = arena_strdup(a, u.release);
    m.architecture = arena_strdup(a, architecture(u.machine));
    m.os_image = os_image(a);
    m.cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (sysinfo(&info) == 0)
        m.memory_bytes = (int64_t)info.totalram * info.mem_unit;
    m.machine_id = read_word(a, "/etc/machine-id");
    m.boot_id = read_word(a, "/proc/sys/kernel/random/boot_id");
    m.system_uuid = or_text(read_word(a, "/sys/class/dmi/id/product_uuid"), m.machine_id);
    hugepages(&m);
    int rc = addresses(a, node_ip, &m, err);
    if (rc == 0)
        *ret = m;
    return rc;
}

void machine_usage(const char *path, struct machine_usage *ret)
{
    struct statvfs fs;
    struct sysinfo info;
    AUTO_BUF b = BUF_INIT;
    *ret = (struct machine_usage){0};
    if (statvfs(path, &fs) == 0) {
        ret->disk_total_bytes = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
        ret->disk_available_bytes = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
        ret->inodes_total = (int64_t)fs.f_files;
        ret->inodes_free = (int64_t)fs.f_ffree;
    }
    if (sysinfo(&info) == 0)
        ret->pids_used = info.procs;
    if (file_read("/proc/sys/kernel/pid_max", 64, &b, NULL) == 0)
        str_to_i64(str_trim(buf_str(&b)), &ret->pids_max);
    buf_clear(&b);
    if (file_read("/proc/meminfo", 65536, &b, NULL) == 0) {
        ptrdiff_t at = str_find_str(buf_str(&b), STR("MemAvailable:"));
        long long kib = 0;
        if (at >= 0 && sscanf((const char *)b.data + at, "MemAvailable: %lld", &kib) == 1)
            ret->memory_available_bytes = kib * 1024;
    }
}

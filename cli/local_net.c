/* local_net.c - hosts as network namespaces on a bridge, made with iproute2. */
#include "cli/local.h"

#include "cli/host.h"
#include "cli/proc.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#define NETNS_MAGIC 0x6e736673 /* Of the file system of namespaces, see statfs(2). */
#define SUBNETS 250u
#define LOCK_ROUND_MS 20
#define LOCK_FILE "/run/trireme-networks.lock"

static const char *bridge(struct arena *a, const struct local *l)
{
    return arena_printf(a, "trb%u", l->base_port).data;
}

/* The bridge's end of a host's cable; at most 15 characters. */
static const char *cable(struct arena *a, const struct local *l, uint32_t index)
{
    return arena_printf(a, "trv%u-%u", l->base_port, index).data;
}

const char *local_netns(struct arena *a, const struct local *l, const char *host)
{
    return arena_printf(a, "trireme-%u-%s", l->base_port, host).data;
}

const char *local_netns_path(struct arena *a, const struct local *l, const char *host)
{
    return arena_printf(a, "/run/netns/%s", local_netns(a, l, host)).data;
}

int local_net_lock(struct error *err)
{
    int fd = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, E_IO, errno, "open %s", LOCK_FILE);
    while (flock(fd, LOCK_EX) != 0)
        if (errno != EINTR) {
            int code = error_set_errno(err, E_IO, errno, "lock %s", LOCK_FILE);
            close(fd);
            return code;
        }
    return fd;
}

int local_lock(const char *dir, unsigned wait_ms, struct error *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, E_IO, errno, "open %s", dir);
    for (unsigned waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += LOCK_ROUND_MS) {
        if (errno == EWOULDBLOCK && waited < wait_ms) {
            proc_sleep_ms(LOCK_ROUND_MS);
            continue;
        }
        int code =
            errno == EWOULDBLOCK
                ? error_set(err, E_EXISTS, "another `trireme up` or `down` is at work on %s", dir)
                : error_set_errno(err, E_IO, errno, "lock %s", dir);
        close(fd);
        return code;
    }
    return fd;
}

void local_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}

bool local_net_subnet_taken(const char *subnet)
{
    struct ifaddrs *all = NULL;
    bool taken = false;
    if (getifaddrs(&all) != 0)
        return false;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        char text[INET_ADDRSTRLEN];
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
            continue;
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)i->ifa_addr;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        size_t n = strlen(subnet);
        taken = taken || (strncmp(text, subnet, n) == 0 && text[n] == '.');
    }
    freeifaddrs(all);
    return taken;
}

const char *local_net_free_subnet(struct arena *a, uint32_t base_port)
{
    const char *subnet = NULL;
    for (uint32_t i = 0; i < SUBNETS; i++) {
        subnet = arena_printf(a, "10.231.%u", (base_port + i) % SUBNETS).data;
        if (!local_net_subnet_taken(subnet))
            break;
    }
    return subnet;
}

bool local_net_exists(struct arena *a, const struct local *l)
{
    return file_exists(arena_printf(a, "/sys/class/net/%s", bridge(a, l)).data);
}

int local_net_create(struct arena *a, const struct local *l, struct error *err)
{
    const char *br = bridge(a, l);
    if (local_net_exists(a, l))
        return 0;
    int rc = proc_runf(err, "ip link add %s type bridge", br);
    if (rc != 0)
        return rc;
    rc = proc_runf(err, "ip addr add %s.1/24 dev %s", l->subnet, br);
    if (rc == 0 && local_v6(l))
        rc = proc_runf(err, "ip addr add %s::1/64 dev %s nodad", local_subnet6(a, l), br);
    if (rc == 0)
        rc = proc_runf(err, "ip link set %s up", br);
    if (rc != 0)
        proc_runf(NULL, "ip link del %s", br);
    return rc;
}

/* Is the host's namespace there? A file that is none is left over from an `ip netns add` that was
 * killed half-way; it is removed. */
static bool netns_exists(struct arena *a, const struct local *l, const char *host)
{
    const char *path = local_netns_path(a, l, host);
    struct statfs st;
    if (statfs(path, &st) != 0)
        return false;
    if (st.f_type == NETNS_MAGIC)
        return true;
    unlink(path);
    return false;
}

/* Address, default route, and that pods on other hosts are reached through this one's stack. */
static int add_v4(struct arena *a, const struct local *l, uint32_t index, const char *ns,
                  struct error *err)
{
    int rc = proc_runf(err, "ip -n %s addr add %s.%u/24 dev eth0", ns, l->subnet,
                       local_number(l, index));
    UNUSED(a);
    if (rc == 0)
        rc = proc_runf(err, "ip -n %s route add default via %s.1", ns, l->subnet);
    if (rc == 0)
        rc = proc_runf(err, "nsenter --net=/run/netns/%s sysctl -q -w net.ipv4.ip_forward=1", ns);
    return rc;
}

static int add_v6(struct arena *a, const struct local *l, uint32_t index, const char *ns,
                  struct error *err)
{
    const char *subnet = local_subnet6(a, l);
    int rc = proc_runf(err, "ip -n %s addr add %s::%u/64 dev eth0 nodad", ns, subnet,
                       local_number(l, index));
    if (rc == 0)
        rc = proc_runf(err, "ip -n %s route add default via %s::1", ns, subnet);
    if (rc == 0)
        rc = proc_runf(
            err, "nsenter --net=/run/netns/%s sysctl -q -w net.ipv6.conf.all.forwarding=1", ns);
    return rc;
}

int local_net_add_host(struct arena *a, const struct local *l, uint32_t index, struct error *err)
{
    struct host h;
    local_host(a, l, index, &h);
    const char *ns = local_netns(a, l, h.name);
    const char *veth = cable(a, l, index);
    if (netns_exists(a, l, h.name))
        return 0;
    int rc = proc_runf(err, "ip netns add %s", ns);
    if (rc == 0)
        rc = proc_runf(err, "ip link add %s type veth peer name eth0 netns %s", veth, ns);
    if (rc == 0)
        rc = proc_runf(err, "ip link set %s master %s up", veth, bridge(a, l));
    if (rc == 0)
        rc = proc_runf(err, "ip -n %s link set lo up", ns);
    if (rc == 0)
        rc = proc_runf(err, "ip -n %s link set eth0 up", ns);
    if (rc == 0 && local_v4(l))
        rc = add_v4(a, l, index, ns, err);
    if (rc == 0 && local_v6(l))
        rc = add_v6(a, l, index, ns, err);
    return rc;
}

int local_net_link(struct arena *a, const struct local *l, uint32_t index, bool up,
                   struct error *err)
{
    return proc_runf(err, "ip link set %s %s", cable(a, l, index), up ? "up" : "down");
}

void local_net_destroy(struct arena *a, const struct local *l)
{
    for (uint32_t i = 0; i < local_host_count(l); i++) {
        struct host h;
        local_host(a, l, i, &h);
        const char *veth = cable(a, l, i);
        if (file_exists(arena_printf(a, "/sys/class/net/%s", veth).data))
            proc_runf(NULL, "ip link del %s", veth);
        if (netns_exists(a, l, h.name))
            proc_runf(NULL, "ip netns del %s", local_netns(a, l, h.name));
    }
    if (local_net_exists(a, l))
        proc_runf(NULL, "ip link del %s", bridge(a, l));
}

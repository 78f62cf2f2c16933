/* local_net.c - hosts as network namespaces on a bridge, made with iproute2. */
#include "cli/local.h"

#include "cli/host.h"
#include "cli/proc.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

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

int local_net_create(struct arena *a, const struct local *l, struct error *err)
{
    const char *br = bridge(a, l);
    if (file_exists(arena_printf(a, "/sys/class/net/%s", br).data))
        return 0;
    int rc = proc_runf(err, "ip link add %s type bridge", br);
    if (rc == 0)
        rc = proc_runf(err, "ip addr add %s.1/24 dev %s", l->subnet, br);
    if (rc == 0)
        rc = proc_runf(err, "ip link set %s up", br);
    return rc;
}

int local_net_add_host(struct arena *a, const struct local *l, uint32_t index, struct error *err)
{
    struct host h;
    local_host(a, l, index, &h);
    const char *ns = local_netns(a, l, h.name);
    const char *veth = cable(a, l, index);
    if (file_exists(local_netns_path(a, l, h.name)))
        return 0;
    int rc = proc_runf(err, "ip netns add %s", ns);
    if (rc == 0)
        rc = proc_runf(err, "ip link add %s type veth peer name eth0 netns %s", veth, ns);
    if (rc == 0)
        rc = proc_runf(err, "ip link set %s master %s up", veth, bridge(a, l));
    if (rc == 0)
        rc = proc_runf(err, "ip -n %s link set lo up", ns);
    if (rc == 0)
        rc = proc_runf(err, "ip -n %s addr add %s/24 dev eth0", ns, h.address);
    if (rc == 0)
        rc = proc_runf(err, "ip -n %s link set eth0 up", ns);
    if (rc == 0)
        rc = proc_runf(err, "ip -n %s route add default via %s.1", ns, l->subnet);
    const char *netns = local_netns_path(a, l, h.name);
    /* Pods on other hosts are reached through this one's stack. */
    if (rc == 0)
        rc = proc_runf(err, "nsenter --net=%s sysctl -q -w net.ipv4.ip_forward=1", netns);
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
        if (file_exists(local_netns_path(a, l, h.name)))
            proc_runf(NULL, "ip netns del %s", local_netns(a, l, h.name));
    }
    if (file_exists(arena_printf(a, "/sys/class/net/%s", bridge(a, l)).data))
        proc_runf(NULL, "ip link del %s", bridge(a, l));
}

/* guard_port.c - finds a pod's port, and says what may pass there. See guard.h. */
#include "kubelet/netlink.h"
#include "kubelet/policy/guard.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

/* --- text ----------------------------------------------------------------------------------- */

static int family_of(const char *ip)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, ip, bytes) == 1 ? 4 : inet_pton(AF_INET6, ip, bytes) == 1 ? 6 : 0;
}

static void write_ports(const struct guard_port *ports, size_t count, struct buf *out)
{
    buf_puts(out, "  set ports {\n    type iface_index\n    elements = {");
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s %d", i > 0 ? "," : "", ports[i].index);
    buf_puts(out, " }\n  }\n");
}

static void write_own(int family, const struct guard_port *ports, size_t count, struct buf *out)
{
    bool any = false;
    buf_printf(out, "  set own%d {\n    type iface_index . ipv%d_addr\n", family, family);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < ports[i].ip_count; k++) {
            if (family_of(ports[i].ips[k]) != family)
                continue;
            buf_printf(out, "%s %d . %s", any ? "," : "    elements = {", ports[i].index,
                       ports[i].ips[k]);
            any = true;
        }
    buf_puts(out, any ? " }\n  }\n" : "  }\n");
}

void guard_text(const struct guard_port *ports, size_t count, struct buf *out)
{
    /* Adding first makes deleting succeed whether it was there or not. */
    buf_puts(out, "add table bridge " GUARD_TABLE "\ndelete table bridge " GUARD_TABLE "\n");
    if (count == 0)
        return;
    buf_puts(out, "table bridge " GUARD_TABLE " {\n");
    write_ports(ports, count, out);
    write_own(4, ports, count, out);
    write_own(6, ports, count, out);
    /* A hop limit of 255 shows that no router was on the way (RFC 4861). Routers are not among
     * pods, so nothing of theirs is let out, and group membership concerns the bridge alone. */
    buf_puts(out,
             "  chain from {\n"
             "    iif . ip saddr @own4 accept\n"
             "    iif . ip6 saddr @own6 accept\n"
             "    iif . arp saddr ip @own4 accept\n"
             "    arp saddr ip 0.0.0.0 accept\n"
             "    ip6 saddr { ::, fe80::/10 } ip6 hoplimit 255 icmpv6 type "
             "{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept\n"
             "    ip6 saddr { ::, fe80::/10 } ip6 hoplimit 1 icmpv6 type "
             "{ mld-listener-report, mld-listener-done, mld2-listener-report } accept\n"
             "    counter drop\n"
             "  }\n"
             "  chain to {\n"
             "    oif . ip daddr @own4 accept\n"
             "    oif . ip6 daddr @own6 accept\n"
             "    ether type arp accept\n"
             "    ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
             "    counter drop\n"
             "  }\n"
             "  chain prerouting {\n"
             "    type filter hook prerouting priority -350; policy accept;\n"
             "    iif @ports jump from\n"
             "  }\n"
             "  chain forward {\n"
             "    type filter hook forward priority -350; policy accept;\n"
             "    oif @ports jump to\n"
             "  }\n"
             "}\n");
}

/* --- interfaces ----------------------------------------------------------------------------- */

struct interface {
    int index, link, master;
    bool foreign; /* Its link is in another network namespace. */
    char kind[16];
};

static int read_int(struct str s)
{
    int v = 0;
    memcpy(&v, s.data, MIN_OF(s.len, sizeof(v)));
    return v;
}

static void on_interface(uint16_t type, struct str payload, void *arg)
{
    struct interface *ret = arg;
    struct ifinfomsg head = {0};
    size_t skip = sizeof(head);
    if (type != RTM_NEWLINK || payload.len < skip)
        return;
    memcpy(&head, payload.data, sizeof(head));
    struct str kind = netlink_attr(netlink_attr(payload, skip, IFLA_LINKINFO), 0, IFLA_INFO_KIND);
    *ret = (struct interface){.index = head.ifi_index,
                              .link = read_int(netlink_attr(payload, skip, IFLA_LINK)),
                              .master = read_int(netlink_attr(payload, skip, IFLA_MASTER)),
                              .foreign = netlink_attr(payload, skip, IFLA_LINK_NETNSID).len > 0};
    memcpy(ret->kind, kind.data, MIN_OF(kind.len, sizeof(ret->kind) - 1));
}

/* By its name, or else by its index. E_NOT_FOUND, E_IO. */
static int ask_interface(const char *name, int index, struct interface *ret, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    struct {
        struct nlmsghdr head;
        struct ifinfomsg link;
    } q = {.head = {.nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST},
           .link = {.ifi_family = AF_UNSPEC, .ifi_index = index}};
    size_t name_len = name != NULL ? strlen(name) + 1 : 0;
    struct nlattr a = {.nla_len = (uint16_t)(NETLINK_ATTR_HEADER + name_len),
                       .nla_type = IFLA_IFNAME};
    q.head.nlmsg_len = (uint32_t)(sizeof(q) + (name != NULL ? NETLINK_ALIGN(a.nla_len) : 0));
    buf_append(&b, &q, sizeof(q));
    if (name != NULL) {
        buf_append(&b, &a, sizeof(a));
        buf_append(&b, name, name_len);
    }
    while (b.len < q.head.nlmsg_len)
        buf_putc(&b, '\0');
    *ret = (struct interface){0};
    return netlink_ask(NETLINK_ROUTE, buf_str(&b), on_interface, ret, err);
}

static bool is_kind(const struct interface *i, const char *kind)
{
    return strcmp(i->kind, kind) == 0;
}

/* The thread is back in its own network when this returns. */
static int ask_inside(int64_t pid, struct interface *ret, struct error *err)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%lld/ns/net", (long long)pid);
    int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), rc = 0;
    int theirs = open(path, O_RDONLY | O_CLOEXEC);
    if (own < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) != 0) {
        rc = error_set(err, E_IO, "%s: %s", path, strerror(errno));
    } else {
        rc = ask_interface("eth0", 0, ret, err);
        if (setns(own, CLONE_NEWNET) != 0)
            PANIC("network namespace: %s", strerror(errno));
    }
    if (own >= 0)
        close(own);
    if (theirs >= 0)
        close(theirs);
    return rc;
}

int guard_find_port(int64_t pid, int *ret_index, struct error *err)
{
    struct interface inside, port, bridge;
    int rc = ask_inside(pid, &inside, err);
    if (rc != 0)
        return error_prefix(err, "eth0 of process %lld", (long long)pid);
    *ret_index = 0;
    if (!is_kind(&inside, "veth") || !inside.foreign)
        return 0;
    rc = ask_interface(NULL, inside.link, &port, err);
    if (rc == 0 && is_kind(&port, "veth") && port.link == inside.index && port.master != 0)
        rc = ask_interface(NULL, port.master, &bridge, err);
    else if (rc == 0)
        return 0;
    if (rc != 0)
        return error_prefix(err, "the port of process %lld", (long long)pid);
    if (is_kind(&bridge, "bridge"))
        *ret_index = port.index;
    return 0;
}

/* address_uv.c - see address.h: one rtnetlink message. The kernel answers while it is sent, so
 * that nothing here waits. */
#include "kubelet/dns/address.h"

#include "kubelet/dns/zone.h"

#include "lib/base/error.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel's message macros mix signed and unsigned on purpose. */
#pragma GCC diagnostic ignored "-Wsign-conversion"

struct address_request {
    struct nlmsghdr head;
    struct ifaddrmsg address;
    char attributes[64];
};

static void add_attribute(struct address_request *q, unsigned short type, const struct zone_ip *ip)
{
    struct rtattr *a = (struct rtattr *)(void *)((char *)q + NLMSG_ALIGN(q->head.nlmsg_len));
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(ip->len);
    memcpy(RTA_DATA(a), ip->bytes, ip->len);
    q->head.nlmsg_len = NLMSG_ALIGN(q->head.nlmsg_len) + (unsigned)RTA_LENGTH(ip->len);
}

static int exchange(const struct address_request *q)
{
    union {
        struct nlmsghdr head;
        char bytes[4096];
    } answer;
    struct nlmsgerr e;
    int rc = EPROTO, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return errno;
    if (send(fd, q, q->head.nlmsg_len, 0) < 0) {
        rc = errno;
    } else if (recv(fd, &answer, sizeof(answer), MSG_DONTWAIT) >=
                   (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) &&
               answer.head.nlmsg_type == NLMSG_ERROR) {
        memcpy(&e, NLMSG_DATA(&answer.head), sizeof(e));
        rc = -e.error;
    }
    close(fd);
    return rc;
}

static bool is_loopback(const struct zone_ip *ip)
{
    static const uint8_t one[16] = {[15] = 1};
    return ip->len == 4 ? ip->bytes[0] == 127 : memcmp(ip->bytes, one, sizeof(one)) == 0;
}

int dns_address_set(const struct zone_ip *ip, bool set, struct error *err)
{
    struct address_request q = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)),
                 .nlmsg_type = set ? RTM_NEWADDR : RTM_DELADDR,
                 .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK |
                                           (set ? NLM_F_CREATE | NLM_F_REPLACE : 0))},
        .address = {.ifa_family = ip->len == 4 ? AF_INET : AF_INET6,
                    .ifa_prefixlen = (unsigned char)(ip->len * 8),
                    .ifa_flags = ip->len == 4 ? 0 : IFA_F_NODAD,
                    .ifa_scope = RT_SCOPE_HOST,
                    .ifa_index = if_nametoindex("lo")}};
    if (is_loopback(ip))
        return 0;
    add_attribute(&q, IFA_LOCAL, ip);
    add_attribute(&q, IFA_ADDRESS, ip);
    int rc = exchange(&q);
    if (rc == 0 || (set && rc == EEXIST) || (!set && rc == EADDRNOTAVAIL))
        return 0;
    return error_set_errno(err, E_IO, rc, "address of the DNS server on interface lo");
}

/* addresses.h - the node's addresses on which node ports are served. */
#ifndef KUBELET_PROXY_ADDRESSES_H
#define KUBELET_PROXY_ADDRESSES_H

#include "kubelet/proxy/elements.h"

#include "lib/base/error.h"

#define PROXY_ADDRESSES_MAX 64

struct flag_list;

struct proxy_addresses {
    uint8_t items[PROXY_FAMILY_COUNT][PROXY_ADDRESSES_MAX][16];
    size_t counts[PROXY_FAMILY_COUNT];
    bool loopback; /* 127.0.0.1 is among them. */
};

/* Each of --nodeport-addresses must be "primary" or a CIDR. */
int proxy_addresses_check(const struct flag_list *ranges, struct error *err);
/* Those of host_ips for "primary", and of the machine's that lie in a CIDR; sorted. */
void proxy_addresses_read(const struct flag_list *ranges, const char *const *host_ips,
                          size_t host_ip_count, struct proxy_addresses *ret);

#endif

/* address.h - the DNS server's address on the node's loopback interface. */
#ifndef KUBELET_DNS_ADDRESS_H
#define KUBELET_DNS_ADDRESS_H

#include "lib/base/base.h"

struct error;
struct zone_ip;

/* Sets or removes it, in host scope: it is never a source for what leaves the node. What is
 * so already is no error. Addresses of 127.0.0.0/8 and ::1 are left alone. */
int dns_address_set(const struct zone_ip *ip, bool set, struct error *err);

#endif

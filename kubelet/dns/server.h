/* server.h - answers DNS queries on one address, port 53, over UDP and TCP.
 *
 * Loop-confined. Datagrams are read and answered in batches; what has to be
 * asked upstream waits in memory, bounded by forward.h. */
#ifndef KUBELET_DNS_SERVER_H
#define KUBELET_DNS_SERVER_H

#include "lib/base/base.h"

struct dns_forward;
struct dns_server;
struct error;
struct uv_loop_s;
struct zone;
struct zone_ip;

/* zone and forward are borrowed for ever. */
struct dns_server *dns_server_new(struct uv_loop_s *loop, const struct zone *zone,
                                  struct dns_forward *forward);
/* Serves on one address more. On failure nothing is left open. */
int dns_server_listen(struct dns_server *s, const struct zone_ip *ip, uint16_t port,
                      struct error *err);

#endif

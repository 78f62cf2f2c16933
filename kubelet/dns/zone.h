/* zone.h - the cluster's DNS zone: Services and their endpoints, by name and
 * by address.
 *
 * Pure. A Service's records are made anew whenever it or one of its slices
 * changes; all others stay. Answers come from answer.h. */
#ifndef KUBELET_DNS_ZONE_H
#define KUBELET_DNS_ZONE_H

#include "kubelet/dns/message.h"
#include "lib/base/map.h"

struct arena;
struct core_v1_service;
struct discovery_v1_endpoint_slice;

struct zone_ip {
    uint8_t bytes[16];
    uint8_t len; /* 4 or 16 */
};

struct zone_port {
    struct str name;      /* May be empty. */
    const char *protocol; /* "tcp" */
    uint16_t port;
};

struct zone_endpoint {
    struct str hostname; /* Or the address with dashes. */
    struct zone_ip ip;
    const struct zone_port *ports; /* Of its slice. */
    size_t port_count;
    bool again; /* Same address and hostname as the one before; other ports. */
};

enum zone_kind { ZONE_CLUSTER_IP, ZONE_HEADLESS, ZONE_EXTERNAL };

struct zone_service {
    struct arena *arena;
    enum zone_kind kind;
    struct str namespace_name;
    struct dns_name domain; /* service.namespace.svc.cluster.local */
    struct zone_ip ips[2];
    size_t ip_count;
    const struct zone_port *ports;
    size_t port_count;
    struct zone_endpoint *endpoints; /* By address. */
    size_t endpoint_count;
    const struct dns_name *external; /* ZONE_EXTERNAL. */
};

struct zone {
    struct dns_name domain;
    size_t label_count; /* Of domain. */
    struct dns_name server, contact;
    struct zone_ip addresses[4]; /* The server's. */
    size_t address_count;
    uint32_t serial;         /* Counts changes. */
    bool ready;              /* All Services have been heard. */
    struct map services;     /* "namespace/name" -> struct zone_service */
    struct map namespaces;   /* name -> number of Services */
    struct map addresses_of; /* address bytes -> struct zone_owners */
};

/* Services that an address belongs to. */
struct zone_owners {
    struct zone_service **items;
    size_t count, cap;
};

/* False: domain is no name. addresses: of the server, as text. */
bool zone_init(struct zone *z, struct str domain, const char *const *addresses, size_t count);
void zone_done(struct zone *z);
/* The Service as it is now; objects are borrowed for the call. */
void zone_set(struct zone *z, const struct core_v1_service *s,
              const struct discovery_v1_endpoint_slice *const *slices, size_t slice_count);
void zone_remove(struct zone *z, struct str namespace_name, struct str name);

/* NULL when there is none. The names are in lower case. */
const struct zone_service *zone_find(const struct zone *z, struct str namespace_name,
                                     struct str name);
const struct zone_owners *zone_find_address(const struct zone *z, const struct zone_ip *ip);
bool zone_has_namespace(const struct zone *z, struct str name);
bool zone_ip_parse(struct str text, struct zone_ip *ret);

#endif

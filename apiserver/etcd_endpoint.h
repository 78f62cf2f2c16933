/* etcd_endpoint.h - the apiserver's store, offered as etcd's v3 API: for etcdctl,
 * backups, and whoever has to look below the Kubernetes API.
 *
 * Whoever may use it may do anything to the cluster. So it is off unless asked for,
 * listens with TLS, and wants a client certificate of the members' CA, which signs
 * nobody but members, unless told otherwise. */
#ifndef APISERVER_ETCD_ENDPOINT_H
#define APISERVER_ETCD_ENDPOINT_H

#include "lib/base/flags.h"

struct error;
struct etcd_server;
struct store;
struct store_config;

struct etcd_endpoint {
    struct flag_list listen_urls;                       /* None: off. */
    const char *advertise_urls;                         /* NULL: the listening ones. */
    const char *cert_file, *key_file, *trusted_ca_file; /* NULL: the members' own. */
    bool client_cert_auth;
    bool members_tls; /* Set by the check. */
    struct etcd_server *server;
};

void etcd_endpoint_flags(struct etcd_endpoint *e, struct flag_set *flags);
/* Completes what was not given, and lets the store tell others the URLs. E_INVALID:
 * it would be open to anybody. */
int etcd_endpoint_check(struct etcd_endpoint *e, struct store_config *store, struct error *err);
/* Between store_open() and store_close(); nothing happens when it is off. */
int etcd_endpoint_start(struct etcd_endpoint *e, struct store *store, struct error *err);
void etcd_endpoint_stop(struct etcd_endpoint *e);

#endif

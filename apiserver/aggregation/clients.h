/* clients.h - a server thread's connections to the servers behind APIServices.
 *
 * Loop-confined. Clients are kept per backend and address; the one unused for
 * longest makes room. Closing ends all calls, whose owners still give their
 * clients back. */
#ifndef APISERVER_AGGREGATION_CLIENTS_H
#define APISERVER_AGGREGATION_CLIENTS_H

#include "lib/base/base.h"

struct aggregated_clients;
struct aggregated_service;
struct error;
struct http_client;
struct uv_loop_s;

struct aggregated_client {
    struct http_client *http; /* NULL once everything is closed. */
    struct aggregated_clients *pool;
    unsigned calls; /* Taken and not given back. */
    uint64_t used_ms;
};

struct aggregated_clients *aggregated_clients_new(struct uv_loop_s *loop);
void aggregated_clients_close(struct aggregated_clients *c); /* NULL is a no-op. */

/* For one call. endpoint: "host:port". */
int aggregated_clients_take(struct aggregated_clients *c, const struct aggregated_service *s,
                            const char *endpoint, struct aggregated_client **ret,
                            struct error *err);
void aggregated_client_give(void *client); /* struct aggregated_client */

/* "NAME.NAMESPACE.svc": whom the certificate must be for. */
struct arena;
const char *aggregated_server_name(struct arena *a, const struct aggregated_service *s);

#endif

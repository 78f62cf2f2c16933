/* client_metrics.h - rest_client_* metrics of one client, by upstream's names and buckets.
 *
 * A try is one HTTP exchange. verb and method are the HTTP method; host is that of the first
 * server, since a client keeps to one group of servers. Loop-confined. */
#ifndef CLIENT_CLIENT_METRICS_H
#define CLIENT_CLIENT_METRICS_H

#include "lib/base/str.h"

struct client_metrics;

/* server: its URL, copied. */
struct client_metrics *client_metrics_new(const char *server);
void client_metrics_free(struct client_metrics *m); /* NULL is a no-op. */

struct client_try {
    const char *method;
    int status; /* 0: no answer came. */
    uint64_t took_ms;
    size_t sent, received; /* Bytes of the bodies. */
};

void client_metrics_add(struct client_metrics *m, const struct client_try *t);
/* Another try follows one that ended with status. */
void client_metrics_add_retry(struct client_metrics *m, const char *method, int status);
/* A call waited for its place in the client's own rate. */
void client_metrics_add_wait(struct client_metrics *m, const char *method, uint64_t waited_ms);

#endif

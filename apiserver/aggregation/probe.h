/* probe.h - asks the server behind an APIService whether it serves its group
 * version, and then what there is in it: discovery and OpenAPI.
 *
 *   GET /apis/G/V -> GET /apis (aggregated) -> GET /openapi/v3 -> GET /openapi/v2 -> done()
 *
 * The first answer decides whether it is available; the others are for the
 * documents (documents.h), which a probe brings up to date. Loop-confined. */
#ifndef APISERVER_AGGREGATION_PROBE_H
#define APISERVER_AGGREGATION_PROBE_H

#include "lib/base/str.h"

struct aggregated_clients;
struct aggregated_service;
struct probe;
struct uv_loop_s;

struct probe_config {
    struct uv_loop_s *loop;
    struct aggregated_clients *clients;
    struct aggregated_service *service; /* A reference is taken. */
    const char *endpoint;               /* "host:port" */
    /* problem: empty when it is available; borrowed. Never inside probe_start().
     * The probe is gone afterwards. */
    void (*done)(void *arg, bool canceled, struct str problem);
    void *arg;
};

struct probe *probe_start(const struct probe_config *c);
void probe_cancel(struct probe *p); /* done(canceled) follows. */

/* The resources of an APIResourceList as an APIVersionDiscovery lists them;
 * for servers that speak no aggregated discovery. Pure. */
struct arena;
struct json;
struct json *probe_convert_resources(struct arena *a, const struct json *list);

#endif

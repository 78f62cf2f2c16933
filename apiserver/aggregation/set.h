/* set.h - the APIServices that are in force, for routing and discovery.
 *
 * As custom/set.h: sets follow the store, are immutable and shared; each server
 * thread adopts the newest between two requests. */
#ifndef APISERVER_AGGREGATION_SET_H
#define APISERVER_AGGREGATION_SET_H

#include "lib/base/base.h"
#include "lib/base/str.h"

#include <stdatomic.h>

struct apiserver;
struct store_view;
struct tls_context;

/* How a remote one is reached; the same for as long as its spec says the same. */
struct aggregated_backend {
    atomic_uint refs;
    uint64_t id;             /* Names it; never used again. */
    struct tls_context *tls; /* With the front proxy's certificate; NULL: see problem. */
    char *problem;
};

struct aggregated_service {
    atomic_uint refs;
    struct str name, group, version; /* Owned, as all text here; each ends with NUL. */
    int32_t group_priority, version_priority;
    bool remote; /* What follows is of remote ones. */
    struct str service_ns, service_name;
    int32_t service_port;
    struct str ca_bundle;
    bool insecure;
    bool available;
    struct aggregated_backend *backend;
    int64_t mod_rev; /* Of the object. */
};

struct aggregated_service *aggregated_service_ref(struct aggregated_service *s);
void aggregated_service_unref(void *s); /* struct aggregated_service; NULL is a no-op. */

/* Brings the calling thread's set up to a view. True: it is another one now. */
bool aggregated_set_sync(const struct apiserver *server, const struct store_view *view);
void aggregated_set_leave(void); /* Before the thread ends. */

/* --- of the calling thread's set ----------------------------------------------------------- */
/* Who serves this escaped path, if another server does: /apis/GROUP/VERSION, what
 * is below it, and its OpenAPI document. NULL: nobody else. */
struct aggregated_service *aggregated_set_route(struct str path);
struct aggregated_service *aggregated_set_find(struct str name); /* "VERSION.GROUP" */
struct aggregated_service *aggregated_set_at(size_t index);      /* NULL behind the last. */
uint64_t aggregated_set_serial(void);            /* Another number for another set; 0: none. */
bool aggregated_set_has_group(struct str group); /* Of remote ones. */

#endif

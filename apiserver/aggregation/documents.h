/* documents.h - what the servers behind APIServices say that they serve, as the
 * last check found it. Shared by all threads. */
#ifndef APISERVER_AGGREGATION_DOCUMENTS_H
#define APISERVER_AGGREGATION_DOCUMENTS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;

struct aggregated_documents {
    struct str resources; /* JSON: the list of an APIVersionDiscovery; empty: not known. */
    struct str openapi;   /* URL of the OpenAPI v3 document with its hash; empty: there is none. */
    bool stale;           /* The last attempt to learn them failed. */
};

/* By the APIService's name. */
void aggregated_documents_put(struct str name, const struct aggregated_documents *d);
void aggregated_documents_stale(struct str name); /* What is known stays. */
void aggregated_documents_drop(struct str name);
/* Copies; false: nothing was ever heard. */
bool aggregated_documents_get(struct arena *a, struct str name, struct aggregated_documents *ret);
/* For each OpenAPI document: "apis/GROUP/VERSION" and its URL. Under a lock:
 * each() must not call back. */
void aggregated_documents_openapi(void (*each)(struct str name, struct str url, void *arg),
                                  void *arg);
/* Goes up with every change. */
uint64_t aggregated_documents_serial(void);

/* --- OpenAPI v2: one document of everything that is served ------------------------------------ */
struct aggregated_v2 {
    struct str name;   /* Of the APIService. */
    struct str prefix; /* "/apis/GROUP/VERSION/": what counts of the text. */
    struct str group;
    int32_t priority;     /* groupPriorityMinimum. */
    struct str text, tag; /* JSON, and its ETag; empty: none. */
};

/* What the server gave; copied. It stays until another one comes or the name is dropped. */
void aggregated_documents_put_v2(const struct aggregated_v2 *d);
/* For If-None-Match; empty: ask for all of it. */
struct str aggregated_documents_v2_tag(struct arena *a, struct str name);
/* Copies of all, those first that have precedence; *ret_serial: of this state. */
struct aggregated_v2 *aggregated_documents_v2(struct arena *a, size_t *ret_count,
                                              uint64_t *ret_serial);
uint64_t aggregated_documents_v2_serial(void); /* 0: there have never been any. */

#endif

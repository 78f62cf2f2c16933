/* sync.h - the client for programs that wait: one loop of its own, one call at
 * a time. For command line tools and tests; never inside a loop callback. */
#ifndef CLIENT_SYNC_H
#define CLIENT_SYNC_H

#include "lib/client/client.h"

struct sync_client;

/* The outcome, owned: release with sync_answer_done(). */
struct sync_answer {
    struct arena *arena;
    int http_status;
    struct api_object *object;     /* One reference; NULL when untyped or failed. */
    struct meta_v1_status *status; /* In arena; NULL: none. */
    struct str body;               /* In arena. */
    uint32_t retry_after_s;
};

/* Takes over config, whatever comes back. */
int sync_client_new(struct kubeconfig *config, const struct client_options *options,
                    struct sync_client **ret, struct error *err);
void sync_client_free(struct sync_client *s);
struct client *sync_client_inner(struct sync_client *s);

/* call->done and arg are ignored. Returns the result's code; err carries the
 * server's message. ret (may be NULL) is filled in either case. */
int sync_call(struct sync_client *s, const struct client_call *call, struct sync_answer *ret,
              struct error *err);
/* raw->done is ignored; on_data works, and may call sync_stop(). */
int sync_raw(struct sync_client *s, const struct client_raw *raw, struct sync_answer *ret,
             struct error *err);
/* All pages of a list, in order: on_item gets each item's struct and may stop
 * the walk by returning an error code. */
int sync_list(struct sync_client *s, const struct client_call *call, int64_t page_limit,
              int (*on_item)(const struct api_object *list, void *item, void *arg), void *arg,
              struct error *err);
/* Runs the watch until it ends, or until on_event calls sync_stop(). on_end may be NULL. */
int sync_watch(struct sync_client *s, const struct client_watch_config *config, struct error *err);
void sync_stop(struct sync_client *s);
void sync_answer_done(struct sync_answer *a); /* NULL and zeroed are no-ops. */

/* GET into *ret, one reference. */
int sync_get(struct sync_client *s, const struct api_kind *kind, struct str namespace_name,
             struct str name, struct api_object **ret, struct error *err);
/* POST of body; ret may be NULL. */
int sync_create(struct sync_client *s, const struct api_kind *kind, struct str namespace_name,
                const void *body, struct api_object **ret, struct error *err);

#endif

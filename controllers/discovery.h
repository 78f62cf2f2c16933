/* discovery.h - the resources that the server serves now, custom ones included:
 * one aggregated discovery request for each of /api and /apis. */
#ifndef CONTROLLERS_DISCOVERY_H
#define CONTROLLERS_DISCOVERY_H

#include "lib/base/str.h"

struct arena;
struct client;
struct error;

struct served_resource {
    const char *group; /* "" for core */
    const char *version;
    const char *resource;
    const char *kind;
    bool namespaced;
    bool preferred; /* The first version of its group that has it. */
    bool can_delete, can_delete_collection, can_list, can_watch;
    bool scales; /* Has the subresource. */
};

struct discovery {
    struct arena *arena;
    struct served_resource *items;
    size_t count;
    uint64_t started_ms;           /* When it was asked for: it knows what was there then. */
    struct str *stale;             /* "group/version" of aggregated APIs that do not answer; */
    size_t stale_count, stale_cap; /* what they have is missing among the items. */
};

void discovery_free(struct discovery *d); /* NULL is a no-op. */
/* The resource of a kind, in this very version or else any; NULL when unknown. */
const struct served_resource *discovery_find(const struct discovery *d, struct str api_version,
                                             struct str kind);

/* Asks the server; at most one request at a time. */
struct discoverer;
struct discoverer *discoverer_new(struct client *c,
                                  /* d is the callee's; NULL: it failed, err tells. With both,
                                     some APIs do not answer. */
                                  void (*on_done)(struct discovery *d, const char *err, void *arg),
                                  void *arg);
void discoverer_start(struct discoverer *d); /* No-op while one is under way. */
void discoverer_free(struct discoverer *d);  /* Cancels. NULL is a no-op. */

/* Does this API not answer? */
bool discovery_is_stale(const struct discovery *d, const char *group, const char *version);
/* What is wrong with the stale ones; in the discovery's arena. */
struct str discovery_error(const struct discovery *d);

/* Adds the resources of one document. Pure. E_INVALID. */
int discovery_parse(struct discovery *d, struct str json, struct error *err);

#endif

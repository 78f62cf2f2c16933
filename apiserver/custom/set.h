/* set.h - the custom kinds that are served now.
 *
 * The set follows the store: custom_set_sync() looks at the definitions in a
 * view and makes a new set when one of them has changed. Sets are immutable and
 * shared; every server thread adopts the newest between two requests and finds
 * resources in it without a lock. A set holds its definitions, and so do
 * requests and watches for as long as they last. */
#ifndef APISERVER_CUSTOM_SET_H
#define APISERVER_CUSTOM_SET_H

#include "apiserver/registry.h"
#include "lib/base/map.h"

struct custom_definition;
struct custom_set;
struct store_view;

#define CUSTOM_DEFINITIONS "/registry/apiextensions.k8s.io/customresourcedefinitions/"

/* Brings the calling thread's set up to a view. True: it is another one now. */
bool custom_set_sync(const struct store_view *view);
/* Are there definitions that are about to be served? */
bool custom_set_incomplete(void);
/* Lets go of the thread's set, before it ends. */
void custom_set_leave(void);

/* --- of the calling thread's set; the registry asks ------------------------------- */
const struct resource *custom_set_find(struct str group, struct str version, struct str resource);
/* The storage version's resource that a key belongs to. */
const struct resource *custom_set_by_key(struct str key);
bool custom_set_has_group(struct str group);
/* All groups, built-in ones first; NULL: there are no others. */
const struct registry_group *custom_set_groups(size_t *ret_count);
/* Every served resource; NULL behind the last. */
const struct resource *custom_set_at(size_t index);
/* By the definition's name; NULL: it is not served. */
const struct custom_definition *custom_set_definition(struct str name);

/* Another number for another set, higher for a newer one; 0: the thread has none. */
uint64_t custom_set_serial(void);

#endif

/* field_filter.h - fields that no manager owns: identity and bookkeeping in
 * metadata, and what a resource does not take from a client. Constant. */
#ifndef APISERVER_FIELD_FILTER_H
#define APISERVER_FIELD_FILTER_H

#include "lib/api/fieldset.h"

struct resource;

/* Without name, uid and the like. */
struct fieldset field_filter_meta(struct arena *a, const struct fieldset *s);
/* Without what writes through this subresource ("": the object itself) reset. */
struct fieldset field_filter_reset(struct arena *a, const struct resource *res,
                                   const char *subresource, const struct fieldset *s);

#endif

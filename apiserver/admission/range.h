/* range.h - the objects of one kind in the namespace of a write, for plugins
 * that follow what the namespace says. Pure. */
#ifndef APISERVER_ADMISSION_RANGE_H
#define APISERVER_ADMISSION_RANGE_H

#include "lib/base/str.h"
#include "raftstore/store.h"

struct kind_ctx;
struct resource;

struct namespace_range {
    const struct kind_ctx *ctx;
    const struct resource *res;
    struct store_iter it;
    bool open;
    /* Only objects whose stored text has one of these; NULL: all. For custom objects. */
    const struct str *texts;
    size_t text_count;
};

void namespace_range_init(struct namespace_range *n, const struct kind_ctx *ctx, struct str group,
                          struct str resource);
/* The same of any resource, whose storage version it is. */
void namespace_range_of(struct namespace_range *n, const struct kind_ctx *ctx,
                        const struct resource *res);
/* Is there any object of the resource in the namespace? */
bool namespace_has_any(const struct kind_ctx *ctx, const struct resource *res);
/* The next object, in the context's arena; NULL at the end. Unreadable ones are
 * passed over. ret_kv may be NULL. */
void *namespace_range_next(struct namespace_range *n, const struct kv **ret_kv);

#endif

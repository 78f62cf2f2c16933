/* table.h - the Table form of objects: what kubectl get shows.
 *
 * Rows are written as JSON while a kind's row hook adds cells. Pure but for the
 * time given in. */
#ifndef APISERVER_TABLE_H
#define APISERVER_TABLE_H

#include "apiserver/registry.h"

struct accepted;
struct buf;
struct arena;

enum include_object { INCLUDE_METADATA, INCLUDE_NONE, INCLUDE_OBJECT };

struct table_row {
    struct arena *arena;
    struct buf *out;
    struct buf *conditions; /* Written behind the cells. */
    int64_t now_ns;
    size_t cells;
    const struct resource *res; /* As asked for. */
};

/* False: no such policy. Empty is INCLUDE_METADATA. */
bool table_include_parse(struct str text, enum include_object *ret);
/* {"kind":"Table","apiVersion":"meta.k8s.io/v1" */
void table_open(const struct accepted *f, struct buf *out);
/* "columnDefinitions":[...] of a resource. */
void table_columns(const struct resource *r, struct buf *out);
/* {"cells":[...],"object":...} of an object in storage form (msg) with its
 * metadata complete. */
void table_row_write(struct arena *a, const struct accepted *f, const struct resource *r, void *msg,
                     enum include_object include, int64_t now_ns, struct buf *out);

#endif

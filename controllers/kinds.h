/* kinds.h - the resource of a kind that an object names: kinds of the schema are known at once,
 * others are asked for. Loop-confined. */
#ifndef CONTROLLERS_KINDS_H
#define CONTROLLERS_KINDS_H

#include "controllers/discovery.h"

struct controller_run;
struct kinds;
struct reconcile;

enum kind_found {
    KIND_FOUND,
    KIND_UNKNOWN,
    KIND_ASKING, /* The reconciliation's key is queued when the answer is there. */
};

struct kinds *kinds_new(struct controller_run *r);
void kinds_free(struct kinds *k); /* NULL is a no-op. */
/* ret's texts live as long as the reconciliation. */
enum kind_found kinds_find(struct kinds *k, struct reconcile *c, struct str api_version,
                           struct str kind, struct served_resource *ret);

#endif

/* admission.h - plugins that may change or refuse a write before it is stored.
 *
 * One file each in admission/, registered by one line in admission/admission.c.
 * mutate hooks run in order before a kind's own preparation and validation,
 * validate hooks after it. They see the same immutable view as the write. */
#ifndef APISERVER_ADMISSION_H
#define APISERVER_ADMISSION_H

#include "apiserver/kind.h"
#include "apiserver/status.h"

struct resource;
struct txn_build;

enum admit_op { ADMIT_CREATE, ADMIT_UPDATE, ADMIT_DELETE, ADMIT_CONNECT };

struct admission {
    const struct kind_ctx *ctx;
    enum admit_op op;
    const struct resource *res;
    const char *subresource; /* "" for the object itself. */
    void *obj;               /* Storage form; NULL on delete. */
    const void *old;         /* NULL on create. */
};

struct admission_plugin {
    const char *name;
    struct meta_v1_status *(*mutate)(const struct admission *adm);
    struct meta_v1_status *(*validate)(const struct admission *adm);
    /* Adds what must be stored together with the write (quota usage). */
    void (*commit)(const struct admission *adm, struct txn_build *txn);
};
/* Ended by an entry without name. */
extern const struct admission_plugin *const admission_plugins[];

struct meta_v1_status *admission_mutate(const struct admission *adm);
struct meta_v1_status *admission_validate(const struct admission *adm);
void admission_commit(const struct admission *adm, struct txn_build *txn);

/* Is this a write of group/resource itself (or of sub)? */
bool admission_is(const struct admission *adm, const char *group, const char *resource);

#endif

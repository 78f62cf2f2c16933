/* field_manager_internal.h - what the files of the field manager share. */
#ifndef APISERVER_FIELD_MANAGER_INTERNAL_H
#define APISERVER_FIELD_MANAGER_INTERNAL_H

#include "apiserver/field_manager.h"
#include "lib/api/fieldset_diff.h"

/* What a write changes, seen in one version of the object. */
struct version_diff {
    struct str api_version;
    bool missing; /* The version is not served any more. */
    struct fieldset_diff diff;
};

/* Differences by version, each found once. */
struct version_diffs {
    const struct field_manager *fm;
    /* The difference in one version, reset fields left aside. */
    int (*find)(struct version_diffs *d, struct version_diff *v, struct error *err);
    const void *arg;
    struct version_diff *items;
    size_t count, cap;
};

struct conflict {
    const struct managed_entry *with; /* A copy. */
    struct fieldset set;
};
struct conflicts {
    struct conflict *items;
    size_t count, cap;
};

int version_diffs_get(struct version_diffs *d, struct str api_version, struct version_diff **ret,
                      struct error *err);
/* Every manager but self loses what was changed or removed. Without force,
 * changes of what others own are conflicts and nothing happens. */
int managed_take(struct managed *m, const struct managed_entry *self, struct version_diffs *d,
                 bool force, struct conflicts *ret, struct error *err);

/* The entry that the request's manager has or would have. */
struct managed_entry field_manager_self(const struct field_manager *fm, bool applied);
/* Both given in the form of fm->kind; the served resource of another version,
 * or NULL when there is none. */
const struct resource *field_manager_version(const struct field_manager *fm,
                                             struct str api_version);
/* An object of fm->kind as a message of that version. */
const void *field_manager_convert(const struct field_manager *fm, const struct resource *to,
                                  const void *obj, const struct api_msg **ret_msg);
/* Brings sets that were written under an older schema up to date. */
void managed_reconcile(const struct field_manager *fm, struct managed *m);
/* live's changes to obj enter m, as an update by fm->manager. */
int managed_update(const struct field_manager *fm, struct managed *m, const void *live,
                   const void *obj, struct error *err);

#endif

/* zpages.h - /statusz and /flagz of a component: what runs here, since when, and with which
 * flags, as Kubernetes 1.36 serves them (group config.k8s.io, versions v1beta1 and v1alpha1).
 *
 * Text by default, meant for people; JSON or YAML when the Accept header names version, group
 * and kind: application/json;v=v1beta1;g=config.k8s.io;as=Statusz. Whoever serves them has asked
 * before whether the client may. Immutable once made: any thread may ask. Pure. */
#ifndef API_ZPAGES_H
#define API_ZPAGES_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct flag_set;
struct zpages;

/* component: Kubernetes' name, "kube-scheduler". flags: copied as they are now; NULL: none. No
 * flag of ours holds a secret: they name files. paths: what else is served, sorted, ended by
 * NULL. started_ns: wall clock, since 1970. */
struct zpages *zpages_new(const char *component, const struct flag_set *flags,
                          const char *const *paths, int64_t started_ns);
void zpages_free(struct zpages *z); /* NULL is a no-op. */

bool zpages_has(struct str path);
/* The body for a path that zpages_has(): 200, or 406 when nothing that accept (the header; may be
 * empty) wants can be had. *ret_type is static. */
int zpages_answer(const struct zpages *z, struct str path, struct str accept, int64_t now_ns,
                  struct buf *body, const char **ret_type);

#endif

/* default_class.h - classes of storage and of ingresses that an annotation makes
 * the default. */
#ifndef APISERVER_ADMISSION_DEFAULT_CLASS_H
#define APISERVER_ADMISSION_DEFAULT_CLASS_H

#include "apiserver/admission.h"

/* The object of group/resource (cluster-scoped) that has one of the annotations
 * as "true"; of several the newest, then the first by name. Empty: none.
 * annotations end with NULL. */
struct str default_class(const struct admission *adm, const char *group, const char *resource,
                         const char *const *annotations);

#endif

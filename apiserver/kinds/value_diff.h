/* value_diff.h - how upstream shows the difference of two values in an error:
 * a unified diff of their indented internal form. Pure. */
#ifndef APISERVER_KINDS_VALUE_DIFF_H
#define APISERVER_KINDS_VALUE_DIFF_H

#include "lib/base/str.h"

struct api_msg;
struct arena;
struct core_v1_pod_spec;

/* Of two messages; what differs follows a "\n@@ ..." each, three lines of
 * context around it. Empty when nothing does. */
struct str value_diff(struct arena *a, const struct api_msg *m, const void *old, const void *now);
/* Of one member of two messages, by its name in JSON. */
struct str value_diff_member(struct arena *a, const struct api_msg *m, const char *member,
                             const void *old, const void *now);
/* The same of pod specs, whose internal form is another than their public one. */
struct str pod_spec_diff(struct arena *a, const struct core_v1_pod_spec *old,
                         const struct core_v1_pod_spec *now);
/* That internal form as one line. */
struct str pod_spec_shown(struct arena *a, const struct core_v1_pod_spec *s);

#endif

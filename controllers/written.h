/* written.h - the version in which each key's object was written last.
 *
 * A status that a controller goes on from may come back from the cache older
 * than it was written, while the objects that it speaks of are newer: then there
 * is nothing to do until what was written arrives, which brings the key back. */
#ifndef CONTROLLERS_WRITTEN_H
#define CONTROLLERS_WRITTEN_H

#include "lib/base/str.h"

struct api_object;
struct written;

struct written *written_new(void);
void written_free(struct written *w); /* NULL is a no-op. */
void written_note(struct written *w, struct str key, const struct api_object *o);
/* Is o older than what was written under key? */
bool written_is_newer(const struct written *w, struct str key, const struct api_object *o);
void written_forget(struct written *w, struct str key);

#endif

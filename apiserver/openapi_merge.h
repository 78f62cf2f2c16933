/* openapi_merge.h - the OpenAPI v2 documents of other servers joined to ours, as
 * kube-aggregator joins them: of each what is below its group version's path,
 * with the definitions that this needs; a definition or parameter that means
 * something else under the same name gets a name of its own ("NAME_v2").
 *
 * Other than upstream's, definitions that differ in descriptions only are the
 * same: our texts are our own. Pure. */
#ifndef APISERVER_OPENAPI_MERGE_H
#define APISERVER_OPENAPI_MERGE_H

#include "apiserver/openapi_writer.h"

struct error;
struct openapi_merge;

struct openapi_merge *openapi_merge_new(void);
void openapi_merge_free(struct openapi_merge *m); /* NULL is a no-op. */

/* An item of our own document: struct openapi_writer's divert, with m as its arg. */
void openapi_merge_own(void *m, enum openapi_section section, struct str name, struct str json);
/* What the document (JSON, borrowed) says of paths below prefix. On an error nothing is
 * joined: it is no such document. */
int openapi_merge_add(struct openapi_merge *m, struct str document, struct str prefix,
                      struct error *err);
void openapi_merge_write(const struct openapi_merge *m, bool protobuf, struct buf *out);

#endif

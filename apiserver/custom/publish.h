/* publish.h - custom kinds in the OpenAPI documents. */
#ifndef APISERVER_CUSTOM_PUBLISH_H
#define APISERVER_CUSTOM_PUBLISH_H

#include "lib/base/base.h"

struct resource;

/* From now on the documents tell of these custom resources, and of all built-in
 * kinds. Holds the definitions for as long as it needs them. */
void custom_publish(const struct resource *const *resources, size_t count);

#endif

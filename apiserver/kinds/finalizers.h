/* finalizers.h - what holds an object back when it is deleted. */
#ifndef APISERVER_KINDS_FINALIZERS_H
#define APISERVER_KINDS_FINALIZERS_H

#include "lib/base/str.h"

struct arena;
struct meta_v1_object_meta;

/* Adds it unless it is there. */
void finalizer_add(struct arena *a, struct meta_v1_object_meta *m, struct str finalizer);

#endif

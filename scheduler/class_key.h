/* class_key.h - which pods are alike to every plugin; see classes.h. Pure. */
#ifndef SCHEDULER_CLASS_KEY_H
#define SCHEDULER_CLASS_KEY_H

#include <stdbool.h>

struct buf;
struct pod_info;

/* Appends the key. False: the pod depends on other objects and has no class. */
bool class_key(const struct pod_info *p, struct buf *b);

#endif

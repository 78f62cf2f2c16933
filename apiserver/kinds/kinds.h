/* kinds.h - one line per kind with rules of its own; kinds.c lists them. */
#ifndef APISERVER_KINDS_KINDS_H
#define APISERVER_KINDS_KINDS_H

#include "apiserver/kind.h"

extern const struct kind_ops kind_configmaps;

#endif

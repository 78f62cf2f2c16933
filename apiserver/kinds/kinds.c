/* kinds.c - the table of kinds with rules of their own. */
#include "apiserver/kinds/kinds.h"

const struct kind_ops *const kind_table[] = {
    &kind_configmaps,
    NULL,
};

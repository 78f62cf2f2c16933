/* pod_table.h - the table form of pods (pods.c). */
#ifndef APISERVER_KINDS_POD_TABLE_H
#define APISERVER_KINDS_POD_TABLE_H

#include "apiserver/kind.h"

extern const struct table_column pod_columns[];
void pod_row(struct table_row *r, const void *obj);

#endif

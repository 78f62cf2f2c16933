/* storage_text.h - storage as tables show it. Pure. */
#ifndef APISERVER_KINDS_STORAGE_TEXT_H
#define APISERVER_KINDS_STORAGE_TEXT_H

#include "apiserver/kind.h"

struct api_quantity_entry;

/* "RWO,ROX,RWX,RWOP" */
void cell_access_modes(struct table_row *r, const struct str *modes, size_t count);
/* The storage of a capacity, "" when there is none. */
void cell_storage(struct table_row *r, const struct api_quantity_entry *e, size_t count);

#endif

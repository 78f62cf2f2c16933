/* serviceaccounts.c - ServiceAccount: an identity for pods. */
#include "apiserver/kinds/kinds.h"

#include "api/core_v1.h"

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_service_account *s = obj;
    cell_str(r, s->metadata.name);
    cell_age(r, &s->metadata.creation_timestamp);
}

const struct kind_ops kind_serviceaccounts = {
    .group = "",
    .version = "v1",
    .resource = "serviceaccounts",
    .flags = KIND_RETURN_DELETED,
    .columns = columns,
    .row = row,
};

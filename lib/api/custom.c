/* custom.c - see custom.h. */
#include "lib/api/custom.h"

#include "lib/api/structural.h"

static const struct api_field metadata_field = {
    .name = "metadata",
    .json_name = "metadata",
    .json_len = 8,
    .number = 1,
    .type = API_MESSAGE,
    .label = API_SINGULAR,
    .flags = API_F_OMITEMPTY | API_F_OPTIONAL,
    .offset = offsetof(struct api_custom, metadata),
    .has_offset = UINT32_MAX,
    .elem_size = sizeof(struct meta_v1_object_meta),
    .msg = &meta_v1_object_meta_msg,
};

void custom_type_init(struct custom_type *t, const char *kind, const char *group,
                      const char *version, const struct structural *schema)
{
    *t = (struct custom_type){.field = metadata_field, .schema = schema};
    t->member = (struct api_json_member){.field = &t->field};
    t->msg = (struct api_msg){
        .full_name = kind,
        .name = kind,
        .group = group,
        .version = version,
        .size = sizeof(struct api_custom),
        .field_count = 1,
        .special = API_CUSTOM,
        .shape = API_SHAPE_OBJECT,
        .is_kind = 1,
        .fields = &t->field,
        .declared = t->index,
        .json = &t->member,
        .json_by_name = t->index,
        .json_count = 1,
    };
}

void custom_tidy(struct arena *a, struct api_custom *obj)
{
    const struct custom_type *t = custom_type_of(obj->msg);
    if (t == NULL || t->schema == NULL)
        return;
    structural_prune(a, t->schema, obj->content, true, NULL);
    structural_default(a, t->schema, obj->content);
}

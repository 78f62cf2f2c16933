/* schema.c - lookups in the generated tables. Constant data, thread-safe. */
#include "lib/api/schema.h"

const struct api_field *api_field_by_number(const struct api_msg *m, uint32_t number)
{
    /* Numbers are mostly dense from 1, so the first guess usually hits. */
    size_t guess = (size_t)number - 1;
    if (guess < m->field_count && m->fields[guess].number == number)
        return &m->fields[guess];
    size_t low = 0, high = m->field_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (m->fields[mid].number == number)
            return &m->fields[mid];
        if (m->fields[mid].number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const struct api_json_member *api_member_by_json(const struct api_msg *m, struct str json_name)
{
    size_t low = 0, high = m->json_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct api_json_member *x = &m->json[m->json_by_name[mid]];
        int order = str_cmp(json_name, str_n(x->field->json_name, x->field->json_len));
        if (order == 0)
            return x;
        if (order > 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const struct api_field *api_field_by_json(const struct api_msg *m, struct str json_name)
{
    const struct api_json_member *x = api_member_by_json(m, json_name);
    return x != NULL ? x->field : NULL;
}

const struct str *api_str_map_get(const struct api_str_entry *e, size_t count, struct str key)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = str_cmp(key, e[mid].key);
        if (order == 0)
            return &e[mid].value;
        if (order > 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

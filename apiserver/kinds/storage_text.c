/* storage_text.c - see storage_text.h. Pure. */
#include "apiserver/kinds/storage_text.h"

#include "apiserver/kinds/rules.h"
#include "api/resource.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

void cell_access_modes(struct table_row *r, const struct str *modes, size_t count)
{
    static const struct {
        const char *mode, *text;
    } names[] = {{"ReadWriteOnce", "RWO"},
                 {"ReadOnlyMany", "ROX"},
                 {"ReadWriteMany", "RWX"},
                 {"ReadWriteOncePod", "RWOP"}};
    AUTO_BUF b = BUF_INIT;
    for (size_t n = 0; n < ARRAY_SIZE(names); n++)
        for (size_t i = 0; i < count; i++)
            if (str_eqc(modes[i], names[n].mode)) {
                buf_printf(&b, "%s%s", b.len == 0 ? "" : ",", names[n].text);
                break;
            }
    cell_str(r, arena_str(row_arena(r), buf_str(&b)));
}

void cell_storage(struct table_row *r, const struct api_quantity_entry *e, size_t count)
{
    const struct api_quantity_entry *q = find_quantity(e, count, STR("storage"));
    cell_str(r, q != NULL ? quantity_shown(&q->value) : STR_NULL);
}

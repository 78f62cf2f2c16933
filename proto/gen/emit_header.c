/* emit_header.c - the C structs of one file. A struct that embeds another by
 * value comes behind it; pointers only need the forward declarations. */
#include "proto/gen/emit.h"
#include "proto/gen/model.h"

#include "trireme/options.pb-c.h"

#include "lib/base/buf.h"

#include <ctype.h>

/* Members are laid out widest first, so that flags and numbers share words. */
enum width { WIDTH_8, WIDTH_4, WIDTH_1, WIDTHS };

static bool has_flag(const struct field *f)
{
    return f->rules->pointer && f->type != V_MESSAGE && f->type != V_BYTES;
}

static enum width width_of(const struct field *f)
{
    if (f->map || f->repeated)
        return WIDTH_8;
    return f->type == V_BOOL ? WIDTH_1 : f->type == V_INT32 ? WIDTH_4 : WIDTH_8;
}

/* What of the field belongs among the members of this width. */
static void emit_field(const struct field *f, enum width width, struct buf *out)
{
    if (width == WIDTH_1 && has_flag(f))
        buf_printf(out, "    bool has_%s;\n", f->c_base);
    if (width != width_of(f))
        return;
    if (f->map || f->repeated) {
        buf_printf(out, "    %s *%s;\n    size_t %s_count;\n",
                   f->map ? field_entry_type(f) : field_c_type(f), f->c_name, f->c_base);
    } else {
        const char *star = f->rules->pointer && f->type == V_MESSAGE ? "*" : "";
        buf_printf(out, "    %s %s%s;\n", field_c_type(f), star, f->c_name);
    }
}

/* Time and MicroTime have shapes of their own: see lib/api/time.h. */
static void emit_time(struct buf *out)
{
    buf_puts(out,
             "    int64_t seconds; /* Since the Unix epoch. */\n"
             "    int32_t nanos;\n"
             "    bool epoch; /* The epoch itself: otherwise all zero is Go's zero time. */\n");
}

static void emit_struct(struct message *m, struct buf *out)
{
    if (m->visit == 2)
        return;
    if (m->visit == 1)
        gen_fail("%s embeds itself by value", m->full_name);
    m->visit = 1;
    for (size_t i = 0; i < m->field_count; i++) {
        const struct field *f = &m->fields[i];
        if (field_is_embedded(f) && f->msg->file == m->file)
            emit_struct(f->msg, out);
    }
    m->visit = 2;

    buf_printf(out, "\n/* %s */\nstruct %s {\n", m->full_name, m->c_name);
    if (m->rules->special == TRIREME__SPECIAL__TIME ||
        m->rules->special == TRIREME__SPECIAL__MICRO_TIME) {
        emit_time(out);
    } else {
        for (enum width width = 0; width < WIDTHS; width++)
            for (size_t i = 0; i < m->field_count; i++)
                emit_field(&m->fields[i], width, out);
        if (m->field_count == 0)
            buf_puts(out, "    char none; /* C has no empty structs. */\n");
    }
    buf_puts(out, "};\n");
    if (m->is_map_value || m->rules->special == TRIREME__SPECIAL__QUANTITY)
        buf_printf(out, "%s {\n    struct str key;\n    struct %s value;\n};\n",
                   message_entry_name(m), m->c_name);
}

void emit_header(struct file *f, struct buf *out)
{
    char *guard = xasprintf("API_GEN_%s_H", f->c_name);
    for (char *c = guard; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    buf_printf(out, "/* Generated from %s by proto/gen; see lib/api/schema.h for the rules. */\n",
               f->path);
    buf_printf(out, "#ifndef %s\n#define %s\n\n#include \"lib/api/schema.h\"\n", guard, guard);
    if (f->import_count > 0)
        buf_putc(out, '\n');
    for (size_t i = 0; i < f->import_count; i++)
        buf_printf(out, "#include \"api/%s.h\"\n", f->imports[i]->c_name);

    buf_putc(out, '\n');
    for (size_t i = 0; i < f->message_count; i++) {
        buf_printf(out, "struct %s;\n", f->messages[i].c_name);
        if (f->messages[i].is_map_value)
            buf_printf(out, "%s;\n", message_entry_name(&f->messages[i]));
    }
    for (size_t i = 0; i < f->message_count; i++)
        emit_struct(&f->messages[i], out);
    buf_putc(out, '\n');
    for (size_t i = 0; i < f->message_count; i++)
        buf_printf(out, "extern const struct api_msg %s_msg;\n", f->messages[i].c_name);
    buf_puts(out, "\n#endif\n");
    free(guard);
}

/* emit.h - what the plugin writes: a header and a table file per .proto, and
 * the registry of kinds. Text is appended to out; the model is only read
 * (but for the ordering marks). */
#ifndef GEN_EMIT_H
#define GEN_EMIT_H

struct buf;
struct file;
struct model;

void emit_header(struct file *f, struct buf *out);
void emit_tables(const struct file *f, struct buf *out);
void emit_scheme(const struct model *m, struct buf *out);

/* A C string literal, or NULL for a null pointer. */
void emit_literal(const char *s, struct buf *out);

#endif

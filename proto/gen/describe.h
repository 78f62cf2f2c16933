/* describe.h - the sentences that describe messages and fields, read from a
 * text file and given numbers. Like the model they live until the process ends.
 *
 * A line is `KEY: sentence`; empty lines and those that begin with # are
 * notes. The key is one of
 *     apps_v1:Type.field, apps_v1:Type   in one file (by its C name)
 *     Type.field, Type                   in every file that has no such line
 *     *.field                            of every type without one of its own
 * Before the dot several types may stand, with | between them. Fields go by
 * their JSON names.
 * A key that names nothing is an error, so that a mistyped one is found. */
#ifndef GEN_DESCRIBE_H
#define GEN_DESCRIBE_H

struct buf;
struct descriptions;
struct model;

/* path NULL: no descriptions. */
struct descriptions *descriptions_read(const char *path);
/* Sets `description` of messages and fields: a line's number among the sentences, from 1. */
void descriptions_apply(struct descriptions *d, struct model *m);
/* The source of api_description(). */
void emit_descriptions(const struct descriptions *d, struct buf *out);

#endif

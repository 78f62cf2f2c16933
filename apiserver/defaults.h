/* defaults.h - the constant defaults that the schema itself states. Pure. */
#ifndef APISERVER_DEFAULTS_H
#define APISERVER_DEFAULTS_H

struct api_field;
struct api_msg;
struct arena;

/* Sets every absent field that has a default in the tables, at any depth. */
void defaults_apply(struct arena *a, const struct api_msg *m, void *msg);
/* Copies one field's value (sharing memory) between objects of one message. */
void msg_field_copy(const struct api_field *f, void *dst, const void *src);
/* Clears it. */
void msg_field_clear(const struct api_field *f, void *msg);

#endif

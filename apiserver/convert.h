/* convert.h - objects of one served version to another of the same resource.
 *
 * Fields of the same JSON name and shape carry over by the tables; what differs
 * is named in convert.c, pair by pair. Pure. */
#ifndef APISERVER_CONVERT_H
#define APISERVER_CONVERT_H

struct api_kind;
struct arena;

/* A new object in the arena that may share memory with obj. */
void *convert_object(struct arena *a, const struct api_kind *from, const struct api_kind *to,
                     const void *obj);

#endif

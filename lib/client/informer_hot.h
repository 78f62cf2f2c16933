/* informer_hot.h - which objects of a cache stand there as structs, and which
 * packed (lib/api/pack.h): those looked at lately, up to so many bytes. Pure. */
#ifndef CLIENT_INFORMER_HOT_H
#define CLIENT_INFORMER_HOT_H

#include "lib/base/base.h"

struct api_object;
struct api_packer;

/* Up to which size structs are kept, in each informer. Tests set it to 0: then
 * whoever keeps a borrowed object for too long is found out. */
extern size_t informer_hot_bytes_max;

/* So much freed between what lives makes it worth to give pages back to the system. */
#define INFORMER_FREED_MAX ((size_t)4 << 20)

struct informer_hot {
    struct api_packer *packer;
    struct api_object **ring; /* In order of their coming; one reference each. */
    size_t cap, first, count;
    size_t bytes;
    size_t freed; /* Since its reader set it back. */
    size_t held;  /* Passed by one after another that others hold. */
    /* More than the limit, or more was freed than is to stay with malloc: cool soon. May be NULL.
     */
    void (*on_crowded)(void *arg);
    void *arg;
};

/* The packer is owned from now on; NULL: one that compresses. */
void informer_hot_init(struct informer_hot *h, struct api_packer *packer,
                       void (*on_crowded)(void *arg), void *arg);
void informer_hot_done(struct informer_hot *h);
/* The cache holds it from now on; it is there as a struct. */
void informer_hot_enter(struct informer_hot *h, struct api_object *o);
/* It is looked at: its struct is made when it was packed. */
void informer_hot_use(struct informer_hot *h, struct api_object *o);
/* It is looked at once, until it is returned: true if its struct was made for that. */
bool informer_hot_lend(struct informer_hot *h, struct api_object *o);
void informer_hot_return(struct informer_hot *h, struct api_object *o);
/* The cache gives up its reference right after this. */
void informer_hot_leave(struct informer_hot *h, struct api_object *o);
/* Packs what nobody else holds and was not looked at since it was passed by, at
 * most so many objects, and more of those that have been packed before, which only
 * lose their struct. No borrowed object may be in use. */
enum hot_state {
    HOT_COOL,    /* Nothing is left to do. */
    HOT_CROWDED, /* Go on soon. */
    HOT_HELD,    /* Others hold what there is, or look at it: later. */
};
enum hot_state informer_hot_cool(struct informer_hot *h, size_t max);

#endif

/* owner.h - who controls an object. Pure. */
#ifndef API_OWNER_H
#define API_OWNER_H

struct meta_v1_object_meta;
struct meta_v1_owner_reference;

/* The one reference with controller: true; NULL: none. Borrowed. */
const struct meta_v1_owner_reference *owner_controller(const struct meta_v1_object_meta *m);

#endif

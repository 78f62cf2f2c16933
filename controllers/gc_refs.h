/* gc_refs.h - what many nodes of the garbage collector's graph have in common, kept once and
 * counted: strings, and whole references to owners. Pure. */
#ifndef CONTROLLERS_GC_REFS_H
#define CONTROLLERS_GC_REFS_H

#include "lib/base/map.h"

struct meta_v1_owner_reference;

struct gc_refs {
    struct map texts;  /* Strings in use -> struct text */
    struct map owners; /* References in use -> struct shared_owner */
};

/* Where an object is found. Strings of gc_refs: equal ones are kept once. */
struct gc_place {
    const char *api_version;
    const char *kind;
    const char *namespace_name; /* "" in cluster scope; of a virtual node: its dependent's. */
    const char *name;
};

/* An ownerReference as an object of that namespace has it. All dependents of an owner share one. */
struct gc_owner {
    struct gc_place place;
    const char *uid; /* As the strings of place. */
    bool blocks;     /* blockOwnerDeletion */
    bool controller;
};

/* Each is held until it is dropped; NULL may be dropped. */
const char *gc_refs_text(struct gc_refs *r, struct str s);
void gc_refs_drop_text(struct gc_refs *r, const char *text);
/* Of an owner, for a dependent in that namespace. drop_place leaves the name. */
struct gc_place gc_refs_place(struct gc_refs *r, struct str namespace_name,
                              const struct meta_v1_owner_reference *ref);
void gc_refs_drop_place(struct gc_refs *r, struct gc_place *p);
const struct gc_owner *gc_refs_owner(struct gc_refs *r, struct str namespace_name,
                                     const struct meta_v1_owner_reference *ref);
void gc_refs_drop_owner(struct gc_refs *r, const struct gc_owner *owner);

#endif

/* gc_graph.h - who owns whom: all objects of the cluster by uid, with the edges
 * of their ownerReferences. Pure.
 *
 * An owner that is referred to and was never seen stands as a virtual node
 * until the server is asked about it. A change that makes a node worth looking
 * at reports its uid through wake(). */
#ifndef CONTROLLERS_GC_GRAPH_H
#define CONTROLLERS_GC_GRAPH_H

#include "lib/base/map.h"

struct meta_v1_object_meta;

#define FINALIZER_FOREGROUND "foregroundDeletion"
#define FINALIZER_ORPHAN "orphan"

/* Where an object is found. The graph's strings: equal ones are kept once. */
struct gc_place {
    const char *api_version;
    const char *kind;
    const char *namespace_name; /* "" in cluster scope; of a virtual node: its dependent's. */
    const char *name;
};

struct gc_owner {
    struct gc_place place;
    const char *uid; /* As the strings of place. */
    bool blocks;     /* blockOwnerDeletion */
    bool controller;
};

struct gc_node {
    const char *uid; /* The key in by_uid. */
    char *name;      /* place.name, which is this node's alone. */
    struct gc_place place;
    const void *source; /* Who reported it; NULL for virtual ones. */
    struct gc_owner *owners;
    struct gc_node **dependents; /* Nodes that name this one as owner. */
    uint32_t owner_count, dependent_count, dependent_cap;
    bool is_virtual;
    bool deleting;   /* deletionTimestamp is set; */
    bool foreground; /* with one of these finalizers. */
    bool orphan;
    uint32_t seen; /* The last walk that came by: see gc_waits_for. */
};

struct gc_graph {
    struct map by_uid; /* -> struct gc_node */
    struct map texts;  /* Strings in use -> struct text */
    void (*wake)(struct str uid, void *arg);
    void *arg;
    uint32_t walks;
};

void gc_graph_init(struct gc_graph *g, void (*wake)(struct str uid, void *arg), void *arg);
void gc_graph_done(struct gc_graph *g);
/* An object was seen, new or changed. */
void gc_graph_set(struct gc_graph *g, const void *source, const char *api_version, const char *kind,
                  const struct meta_v1_object_meta *m);
/* It is gone: its dependents are woken. */
void gc_graph_remove(struct gc_graph *g, struct str uid);
/* All nodes of a source that is no longer watched. They are not gone: nobody is woken. */
void gc_graph_remove_source(struct gc_graph *g, const void *source);
struct gc_node *gc_graph_find(const struct gc_graph *g, struct str uid); /* NULL: unknown. */
/* Does node hold owner's foreground deletion up? */
bool gc_blocks(const struct gc_node *node, const struct gc_node *owner);
/* Does node, itself deleted in the foreground, wait for owner, over any number of others that are?
 * If owner waits for node as well, both would wait for ever. */
bool gc_waits_for(struct gc_graph *g, struct gc_node *node, const struct gc_node *owner);

#endif

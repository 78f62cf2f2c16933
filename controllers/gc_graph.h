/* gc_graph.h - who owns whom: all objects of the cluster by uid, with the edges
 * of their ownerReferences. Pure.
 *
 * An owner that is referred to and was never seen stands as a virtual node
 * until the server is asked about it. A change that makes a node worth looking
 * at reports its uid through wake(): a new object whose owners are all known is
 * not, or a hundred thousand of them would be looked at when a manager starts. */
#ifndef CONTROLLERS_GC_GRAPH_H
#define CONTROLLERS_GC_GRAPH_H

#include "controllers/gc_refs.h"

struct meta_v1_object_meta;

#define FINALIZER_FOREGROUND "foregroundDeletion"
#define FINALIZER_ORPHAN "orphan"

/* There is one for each object of the cluster: what it takes counts. */
struct gc_node {
    struct gc_place place; /* Its name is this node's alone. */
    const void *source;    /* Who reported it; NULL for virtual ones. */
    union {
        const struct gc_owner *one;
        const struct gc_owner **many;
    } owners;                    /* gc_owner_at() */
    struct gc_node **dependents; /* Nodes that name this one as owner. */
    uint32_t owner_count, dependent_count, dependent_cap;
    uint32_t at;   /* Its place among the dependents of its owner, if that is the only one. */
    uint32_t hash; /* Of uid. */
    uint32_t seen; /* The last walk that came by: see gc_waits_for. */
    bool is_virtual;
    bool deleting;   /* deletionTimestamp is set; */
    bool foreground; /* with one of these finalizers. */
    bool orphan;
    char uid[];
};

struct gc_graph {
    struct gc_node **nodes; /* By uid: open addressing. */
    size_t cap, count;
    uint64_t seed[2];
    struct gc_refs refs;
    void (*wake)(struct str uid, void *arg);
    void *arg;
    uint32_t walks;
};

static inline const struct gc_owner *gc_owner_at(const struct gc_node *n, uint32_t i)
{
    return n->owner_count == 1 ? n->owners.one : n->owners.many[i];
}

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
/* Is the owner where the reference says? One in another namespace is none, whatever its uid. */
bool gc_is_there(const struct gc_node *owner, struct str api_version, struct str kind,
                 struct str name, struct str dependents_namespace);
/* All owners are there, and stay: nothing is to be asked about it. */
bool gc_is_safely_owned(const struct gc_graph *g, const struct gc_node *n);
/* Does node hold owner's foreground deletion up? */
bool gc_blocks(const struct gc_node *node, const struct gc_node *owner);
/* Does node, itself deleted in the foreground, wait for owner, over any number of others that are?
 * If owner waits for node as well, both would wait for ever. */
bool gc_waits_for(struct gc_graph *g, struct gc_node *node, const struct gc_node *owner);

#endif

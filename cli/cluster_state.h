/* cluster_state.h - what the scheduler would know of a running cluster, for a simulation. */
#ifndef CLI_CLUSTER_STATE_H
#define CLI_CLUSTER_STATE_H

struct arena;
struct error;
struct objects;
struct simulation;

/* Connects by o's flags, and lists every kind that placement depends on into s. */
int cluster_state_read(struct arena *a, struct objects *o, struct simulation *s, struct error *err);

#endif

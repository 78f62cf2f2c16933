/* allocate_internal.h - shared by allocate.c (the search), wanted.c (what is asked
 * for) and result.c (what was found). */
#ifndef SCHEDULER_DEVICES_ALLOCATE_INTERNAL_H
#define SCHEDULER_DEVICES_ALLOCATE_INTERNAL_H

#include "scheduler/devices/allocate.h"
#include "scheduler/devices/devices.h"
#include "scheduler/devices/pools.h"

#include "api/resource_v1.h"

/* One request, or one alternative of a request. */
struct wanted {
    struct str name, parent; /* parent: of an alternative; else empty. */
    struct str label;        /* "name", "parent/name" */
    struct str class_name, mode;
    const struct resource_v1_device_class *class;
    const struct resource_v1_device_selector *selectors;
    size_t selector_count;
    const struct resource_v1_device_toleration *tolerations;
    size_t toleration_count;
    const struct resource_v1_capacity_requirements *capacity;
    bool all, admin;
    int64_t asked;
    size_t count;        /* Of devices. */
    size_t *all_devices; /* all: which. */
    uint8_t *matches;    /* By candidate: 0 not known, 1 yes, 2 no. */
};

struct request {
    struct wanted *choices;
    size_t count;
    bool alternatives; /* Of which one is to do; chosen is its index. */
    size_t chosen;
};

struct candidate {
    const struct resource_v1_resource_slice *slice;
    const struct resource_v1_device *device;
    struct node_pool *pool;
    const struct device_use *use; /* NULL: free, before this decision. */
    bool multiple;                /* May be given to several. */
    uint64_t given_to;            /* Claims of this decision that have it whole: a bit each. */
    struct device_use given;      /* Shares of it in this decision. */
};
#define ALLOCATE_CLAIMS_MAX 64u

struct picked {
    struct candidate *device;
    const struct wanted *wanted;
    bool counted; /* It took from its pool's counters. */
};

struct constraint {
    const struct resource_v1_device_constraint *rule;
    /* Of the devices that it binds together, in the order in which they were taken. */
    const struct resource_v1_device_attribute *values[DEVICE_RESULTS_MAX];
    size_t count;
};

struct claim_search {
    const struct resource_v1_resource_claim *claim;
    struct request *requests;
    size_t request_count;
    struct constraint *constraints;
    size_t constraint_count;
    struct picked picked[DEVICE_RESULTS_MAX];
    size_t picked_count;
};

struct search {
    const struct allocate_question *q;
    struct arena *arena; /* Of this search. */
    struct arena *eval;  /* Of one expression. */
    struct claim_search *claims;
    struct node_pool *pools;
    size_t pool_count;
    struct candidate *candidates; /* In order. */
    size_t candidate_count;
    size_t steps_left;
    bool out_of_steps;
    struct str fault; /* In q->arena: the search is over. */
};

/* Formats into q->arena; the first fault stays. */
void search_fault(struct search *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define CLAIM_FMT STR_FMT "/" STR_FMT
#define CLAIM_ARG(c) STR_ARG((c)->metadata.namespace), STR_ARG((c)->metadata.name)

/* What the claim asks for. False: a fault. */
bool search_read_claim(struct search *s, struct claim_search *c);
/* By class and request; *ret is set. False: a fault. */
bool search_selectable(struct search *s, const struct claim_search *c, struct wanted *w, size_t i,
                       bool *ret);

/* The attribute as a claim names it in full; NULL: the device has none. */
const struct resource_v1_device_attribute *device_attribute(const struct candidate *c,
                                                            struct str name);
/* True, and it counts, when the device may be among those that the constraint binds. */
bool constraint_add(struct constraint *k, const struct wanted *w, const struct candidate *c);
void constraint_remove(struct constraint *k, const struct wanted *w);

bool device_tolerated(const struct resource_v1_device *d, const struct wanted *w);

/* What was found, as it is to stand in the status of the claim. False: a fault. */
bool search_result(struct search *s, const struct claim_search *c, uint64_t *seed,
                   struct resource_v1_allocation_result *ret);

#endif

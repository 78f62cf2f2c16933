/* subresource.h - subresources and kinds with a form of their own, one table
 * line each in subresource.c. */
#ifndef APISERVER_SUBRESOURCE_H
#define APISERVER_SUBRESOURCE_H

struct req;

void scale_handle(struct req *r);         /* scale.c */
void binding_handle(struct req *r);       /* binding.c: pods/binding, bindings */
void eviction_handle(struct req *r);      /* eviction.c */
void token_request_handle(struct req *r); /* token_request.c */
void token_review_handle(struct req *r);  /* reviews.c ... */
void self_subject_review_handle(struct req *r);
void access_review_handle(struct req *r);
void rules_review_handle(struct req *r);
void component_statuses_handle(struct req *r);

/* How Scales are shown in tables: a resource of that kind alone. */
const struct resource *scale_table(void);

#endif

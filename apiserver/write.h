/* write.h - changing stored objects.
 *
 * A write is an attempt function run on an immutable view: it refuses with a
 * Status, or says what the object becomes and which compares must hold. The
 * driver then commits one store transaction and answers:
 *
 *        +--> attempt(view) --refused--> view confirmed? --yes--> answer
 *        |         |                        | no
 *        |         | transaction            v
 *        |         v                     barrier ---> attempt again
 *        +--- compare failed (someone else was faster): barrier, again
 *                  | committed
 *                  v
 *               answer
 *
 * So a write on a member that lags is never refused for something that was
 * already different elsewhere, and the common case costs no extra round. */
#ifndef APISERVER_WRITE_H
#define APISERVER_WRITE_H

#include "apiserver/custom/conversion.h"
#include "apiserver/request.h"
#include "apiserver/write_work.h"
#include "raftstore/txn.h"

struct asks;
struct meta_v1_delete_options;

/* A transaction under construction; arrays in the arena. */
struct txn_build {
    struct arena *arena;
    struct txn_cmp *cmps;
    size_t cmp_count, cmp_cap;
    struct txn_op *ops;
    size_t op_count, op_cap;
    struct str refused; /* Why it can never succeed: what it puts cannot be encrypted. */
    bool contended;     /* Compares what many writes change at once: worth more tries. */
};
/* The key's newest version is of this revision; 0: it does not exist. */
void txn_build_expect(struct txn_build *t, struct str key, int64_t mod_rev);
void txn_build_put(struct txn_build *t, struct str key, struct str value);
void txn_build_delete(struct txn_build *t, struct str key);
void txn_build_run(const struct txn_build *t, struct txn *ret);

/* How metadata.managedFields come about. */
enum write_fields {
    WRITE_FIELDS_UPDATE, /* From what the write changes, for the request's manager. */
    WRITE_FIELDS_SET,    /* The attempt has set them in the object. */
    WRITE_FIELDS_KEEP,   /* As they were: the system's own acts. */
};

struct write;
typedef struct meta_v1_status *write_attempt(struct write *w);

struct write {
    struct req *req;
    /* What is written: mostly the request's resource and name. */
    const struct resource *res;
    struct str ns, name;
    struct str key;
    bool dry_run;
    bool admitted; /* The attempt has asked admission about what the subresource takes. */
    enum write_fields fields;
    write_attempt *attempt;
    void *arg; /* The attempt's own. */

    /* Of the current try. */
    struct store_view *view;
    bool confirmed; /* The view was taken behind a barrier. */
    bool refused;   /* This try was. */
    unsigned tries;
    struct kind_ctx ctx;
    struct webhook_state *webhooks; /* What they answered, over all tries. */
    struct asks *asks;       /* The same of authorizers: several writes of one request wait each. */
    struct txn_build before; /* What admission wants to be there first. */
    struct conversions conversions; /* The same of conversion webhooks. */
    struct write_work work;         /* What is judged by another thread. */
    struct str new_uid, new_name;   /* Made up for a new object, for all tries. */

    /* Set by the attempt. */
    struct txn_build txn; /* Without operations: nothing changes. */
    int http_status;
    void *obj; /* The answer, in storage form; gets the new version when written. */
    struct meta_v1_status *success;      /* Or this. */
    struct meta_v1_status *keep_success; /* Of a write that came before. */
    void *keep_obj;                      /* The same: the answer when nothing is left to do. */
    write_attempt *then;                 /* A further write once this one is committed. */
    const struct api_kind *answer_kind;  /* NULL: res->storage. */
    void *answer;                        /* With answer_kind: the answer in place of obj. */
    /* Called in place of answering; NULL: the write answers the request. */
    void (*done)(struct write *w, struct meta_v1_status *refused);
};

#define WRITE_TRIES_MAX 16u
#define WRITE_TRIES_CONTENDED_MAX 512u

/* A write of the request's resource and name. */
struct write *write_new(struct req *r, write_attempt *attempt);
/* Of another object (pods/binding, deletecollection); user and options as in r. */
struct write *write_new_for(struct req *r, const struct resource *res, struct str ns,
                            struct str name, write_attempt *attempt);
void write_run(struct write *w);

/* --- building blocks of attempts ------------------------------------------------- */
/* The stored object; NULL kv when there is none. */
struct meta_v1_status *write_load(struct write *w, const struct kv **ret_kv, void **ret_old);
/* From a decoded object to a transaction that creates it. */
struct meta_v1_status *write_plan_create(struct write *w, void *obj);
/* The same for an update or an applied configuration of what does not exist,
 * which takes the permission to create as well. */
struct meta_v1_status *write_plan_create_instead(struct write *w, void *obj);
/* From old to obj (both storage form, obj private) to a transaction. sub is
 * NULL or the subresource that obj came through. */
struct meta_v1_status *write_plan_update(struct write *w, const struct kv *kv, const void *old,
                                         void *obj, const char *sub);
struct meta_v1_status *write_plan_delete(struct write *w,
                                         const struct meta_v1_delete_options *options);
/* Admission of what a subresource takes in place of the object. */
struct meta_v1_status *write_admit(struct write *w, enum admit_op op, const char *subresource,
                                   const struct api_kind *kind, void *obj, const void *old);
/* name and namespace of an object against those of the request. */
struct meta_v1_status *write_check_names(struct write *w, struct meta_v1_object_meta *m,
                                         bool create);
/* resourceVersion as Go parses it; a Status when it is no number. */
struct meta_v1_status *write_parse_rv(struct arena *a, struct str text, int64_t *ret);
struct meta_v1_status *write_invalid(struct write *w, struct str name,
                                     const struct field_errors *errs);

#endif

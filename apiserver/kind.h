/* kind.h - what the apiserver must know about one kind beyond its schema.
 *
 * A kind is one `const struct kind_ops` in apiserver/kinds/<resource>.c,
 * registered by one line in apiserver/kinds/kinds.c. Everything is optional:
 * without a hook the generic behaviour stands. Hooks are pure: they see the
 * request's context, an immutable view of the store and the object; they do
 * not block, and allocate from ctx->arena only.
 *
 * Objects are the C structs of the storage version (ops->version). The order:
 *
 *   create: decode - default_ - generic metadata - admission (mutating) -
 *           prepare_create - validate_create - admission (validating) -
 *           allocate - encode - store
 *   update: decode - default_ - generic metadata - admission - prepare_update -
 *           validate_update - admission - allocate - encode - store
 *
 * What the generic part does by itself, so that no kind repeats it:
 *   - object metadata: name, namespace, uid, creationTimestamp, generateName,
 *     deletion fields, their validation and immutability, labels, annotations,
 *     ownerReferences, finalizers (validate_name tells the form of names);
 *   - constant defaults that the schema states;
 *   - KIND_STATUS: status is cleared on create and kept from the old object on
 *     update; an update through /status keeps everything but status and
 *     metadata from the old object;
 *   - KIND_GENERATION: generation is 1 on create and goes up when spec changes;
 *   - table columns Name and Age for kinds without a table.
 *
 * A read (get, list, watch, table) of stored data calls default_ as well
 * when KIND_DEFAULT_ON_READ is set. */
#ifndef APISERVER_KIND_H
#define APISERVER_KIND_H

#include "apiserver/field_error.h"
#include "lib/api/schema.h"

struct api_kind;
struct arena;
struct asks;
struct buf;
struct env;
struct error;
struct jsonpath;
struct kind_ops;
struct json;
struct meta_v1_object_meta;
struct meta_v1_time;
struct str_list;
struct table_row;
struct txn_build;
struct policy_cache;
struct user;
struct webhook_state;
struct write_work;
struct apiserver;
struct audit_event;
struct store_view;

/* --- the request as a hook sees it ------------------------------------------ */
struct kind_ctx {
    struct arena *arena;                 /* Of the request; everything a hook makes lives here. */
    const struct kind_ops *ops;          /* Never NULL. */
    const struct api_kind *kind;         /* Storage version of the object. */
    const struct api_kind *request_kind; /* The version the client speaks. */
    const struct user *user;             /* Who asks (auth.h). */
    const struct store_view *view;       /* Immutable state to look other objects up in. */
    const struct apiserver *server;      /* Configuration: service ranges, CA bundle. */
    struct env *env;                     /* Randomness. */
    int64_t now_ns;                      /* Wall clock at the start of the request. */
    struct str namespace_;               /* Of the request; empty when cluster-scoped. */
    struct str name;                     /* Of the request; empty on create. */
    const char *subresource;             /* "" for the object itself. */
    const char *verb;                    /* Of the request, as authorizers know it: "patch". */
    bool dry_run;
    bool tentative;                 /* What is refused is looked at once more, on a newer view. */
    struct str_list *warnings;      /* Texts of Warning headers. */
    struct webhook_state *webhooks; /* Of a write that may wait for them; else NULL. */
    struct write_work *work;        /* The same for a thread that judges: write_work.h. */
    struct audit_event *audit;      /* Of a request that is recorded; else NULL. */
    struct asks *asks;              /* The same, for questions of authorizers. */
    /* Of a write: what has to be committed before the attempt is made once more. */
    struct txn_build *before;
    struct policy_cache *policies; /* Of the thread; NULL: there are none. */
};

/* Adds a Warning header to the answer. */
void kind_warn(const struct kind_ctx *ctx, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same about a field: "spec.x: why". */
void kind_warn_field(const struct kind_ctx *ctx, const struct field_path *path, const char *fmt,
                     ...) PRINTF_LIKE(3, 4);
/* An annotation of the request's audit event; the last value of a key stands. */
void kind_annotate(const struct kind_ctx *ctx, struct str key, struct str value);
/* Another object of the same view, decoded into ctx->arena in its storage
 * version; NULL when there is none. group "" is core, ns "" cluster-scoped:
 *   const struct core_v1_node *n = kind_lookup(ctx, "", "nodes", STR_NULL, name); */
const void *kind_lookup(const struct kind_ctx *ctx, const char *group, const char *resource,
                        struct str ns, struct str name);
/* validate_update of kinds whose objects may change in any way that a new one
 * could be made. */
void kind_validate_as_new(const struct kind_ctx *ctx, const void *obj, const void *old,
                          struct field_errors *errs);

/* --- tables ------------------------------------------------------------------ */
struct table_column {
    const char *name;        /* "Ready" */
    const char *type;        /* "string", "integer", "date", "boolean", "number" */
    const char *format;      /* "" or "name" */
    const char *description; /* May be "". */
    int32_t priority;        /* 0 always shown, 1 with -o wide. */
};
/* Cells are added in the order of the columns (table.c). */
void cell_str(struct table_row *r, struct str s);
void cell_strc(struct table_row *r, const char *s);
void cell_printf(struct table_row *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cell_int(struct table_row *r, int64_t v);
void cell_bool(struct table_row *r, bool v);
void cell_null(struct table_row *r);
void cell_json(struct table_row *r, const struct json *j);
/* A time as an age ("5d3h"), "<unknown>" when unset. */
void cell_age(struct table_row *r, const struct meta_v1_time *t);
/* A duration in the same short form. */
void cell_duration(struct table_row *r, int64_t seconds);
/* Strings joined by commas, "<none>" when there are none. */
void cell_join(struct table_row *r, const struct str *items, size_t count);
/* A map as k=v,k=v, "<none>" when empty. */
void cell_labels(struct table_row *r, const struct api_str_entry *e, size_t count);
/* A LabelSelector in its text form, "<none>" when NULL or empty. */
struct meta_v1_label_selector;
void cell_selector(struct table_row *r, const struct meta_v1_label_selector *s);
/* The row's own additions: conditions that colour it, as pods have. */
void row_condition(struct table_row *r, const char *type, const char *status, const char *reason,
                   const char *message);
struct arena *row_arena(struct table_row *r);
int64_t row_now_ns(const struct table_row *r);

/* --- parts of a kind ----------------------------------------------------------- */
/* A field selector beside metadata.name and metadata.namespace. */
struct kind_field {
    const char *label; /* "spec.nodeName" */
    struct str (*get)(struct arena *a, const void *obj);
    const struct jsonpath *path; /* Custom kinds: in place of get. */
    /* The numbers of the fields on the way to it in the stored form, where it is a string that get
     * returns as it stands: objects are then looked at without being decoded. 0 ends; 0 first:
     * decode. */
    uint8_t wire[3];
};

/* /scale: what the Scale object is made of and how a new count goes back. */
struct kind_scale {
    int32_t spec_replicas;
    int32_t status_replicas;
    struct str selector; /* Text form of the label selector. */
};

/* A subresource that is the same object seen through other rules: status,
 * approval, finalize, ephemeralcontainers, resize. Other forms (binding,
 * eviction, log, token, scale) are the apiserver's own. */
struct kind_sub {
    const char *name;
    /* Defaults when NULL: as KIND_STATUS describes for "status"; for others
     * the object is taken as it comes. */
    void (*prepare_update)(const struct kind_ctx *ctx, void *obj, const void *old);
    void (*validate_update)(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs);
    /* As kind_ops.warn; without one an update through it warns of nothing. */
    void (*warn)(const struct kind_ctx *ctx, const void *obj, const void *old);
};

enum kind_flag {
    KIND_STATUS = 1 << 0,                  /* Has status, kept apart from spec (see above). */
    KIND_GENERATION = 1 << 1,              /* Generation follows spec. */
    KIND_CREATE_ON_UPDATE = 1 << 2,        /* PUT of an absent name creates it. */
    KIND_NO_UNCONDITIONAL_UPDATE = 1 << 3, /* PUT must give a resourceVersion. */
    KIND_ORPHAN_DEPENDENTS =
        1 << 4, /* Default deletion leaves dependents (jobs, replication controllers). */
    KIND_DEFAULT_ON_READ = 1 << 5,
    KIND_GRACEFUL = 1 << 6,        /* Deletion has a grace period; see graceful. */
    KIND_RETURN_DELETED = 1 << 7,  /* Deletion answers with the object, not a Status. */
    KIND_EXPIRES = 1 << 8,         /* Goes by itself after an hour (events). */
    KIND_UNMANAGED = 1 << 9,       /* Created without managedFields, as upstream's are. */
    KIND_CHECKED_AS_NEW = 1 << 10, /* Metadata are judged on update as on create, once more. */
    KIND_STATUS_ALONE = 1 << 11,   /* An update through /status leaves metadata as they were. */
};

struct kind_ops {
    const char *group; /* Of the storage version; "" is core. */
    const char *version;
    const char *resource; /* "pods" */
    uint32_t flags;       /* KIND_* */

    /* Form of metadata.name; NULL: DNS subdomain. generate: the name is a
     * generateName prefix that a suffix will follow. Adds errors at path. */
    void (*validate_name)(struct field_errors *errs, const struct field_path *path, struct str name,
                          bool generate);

    /* Fills in what the user left out. Must be idempotent. */
    void (*default_)(const struct kind_ctx *ctx, void *obj);

    /* Clears and sets what a client may not choose, before validation. */
    void (*prepare_create)(const struct kind_ctx *ctx, void *obj);
    void (*prepare_update)(const struct kind_ctx *ctx, void *obj, const void *old);
    /* All that is wrong, beyond metadata. */
    void (*validate_create)(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs);
    /* validate_create is NOT called on update: call it here where it applies;
     * kind_validate_as_new where nothing else does. */
    void (*validate_update)(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs);

    /* The place for kind_warn(): what is valid and still unwise. Called once
     * nothing is wrong; old is NULL on create. */
    void (*warn)(const struct kind_ctx *ctx, const void *obj, const void *old);

    /* Ended by an entry without name. "status" is implied by KIND_STATUS. */
    const struct kind_sub *subs;

    /* Claims that must stand or fall with the write (cluster IPs, node ports):
     * reads ctx->view, may change obj, adds compares and operations to the
     * transaction. old is NULL on create, obj NULL on delete. E_* with *err
     * refuses the write; field errors go to errs. */
    int (*allocate)(const struct kind_ctx *ctx, void *obj, const void *old, struct txn_build *t,
                    struct field_errors *errs, struct error *err);

    /* Ended by an entry without label. */
    const struct kind_field *fields;

    /* Both or neither. */
    bool (*scale_get)(struct arena *a, const void *obj, struct kind_scale *ret);
    void (*scale_set)(struct arena *a, void *obj, int32_t replicas);

    /* KIND_GRACEFUL: the grace period in seconds that this deletion gets, from
     * the options (-1: none asked) and the object; 0 deletes at once. May
     * change obj, a private copy that is stored while the period runs. */
    int64_t (*graceful)(const struct kind_ctx *ctx, void *obj, int64_t asked_s);
    /* What deletion means beyond metadata: held is true while something other
     * than finalizers keeps a deleted object (a namespace's spec.finalizers);
     * mark_deleting changes it when its deletion begins (status.phase). */
    bool (*held)(const void *obj);
    void (*mark_deleting)(const struct kind_ctx *ctx, void *obj);
    /* A last say before deletion; E_* refuses (namespaces that are protected). */
    int (*validate_delete)(const struct kind_ctx *ctx, const void *obj, struct error *err);

    /* Table: columns ended by an entry without name; row adds one cell each. */
    const struct table_column *columns;
    void (*row)(struct table_row *r, const void *obj);
};

/* The kinds with rules of their own, ended by NULL (kinds/kinds.c). */
extern const struct kind_ops *const kind_table[];

#endif

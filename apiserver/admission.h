/* admission.h - plugins that may change or refuse a write before it is stored.
 *
 * One file each in admission/, registered by one line in admission/admission.c.
 * mutate hooks run in order before a kind's own preparation and validation,
 * validate hooks after it. They see the same immutable view as the write. */
#ifndef APISERVER_ADMISSION_H
#define APISERVER_ADMISSION_H

#include "apiserver/kind.h"
#include "apiserver/status.h"

struct admission_setup;
struct error;
struct flag_list;
struct resource;
struct txn_build;

enum admit_op { ADMIT_CREATE, ADMIT_UPDATE, ADMIT_DELETE, ADMIT_CONNECT };
#define ADMIT_BIT(op) (1u << (op))
#define ADMIT_WRITES (ADMIT_BIT(ADMIT_CREATE) | ADMIT_BIT(ADMIT_UPDATE))

struct admission {
    const struct kind_ctx *ctx;
    enum admit_op op;
    const struct resource *res;
    const char *subresource; /* "" for the object itself. */
    /* Of obj and old when they are no objects of the resource but what a
     * subresource takes (Binding, Scale, PodExecOptions); else NULL. */
    const struct api_kind *kind;
    void *obj;          /* Storage form; NULL on delete. */
    const void *old;    /* NULL on create. */
    bool again;         /* Once more, because a webhook changed the object. */
    const void *config; /* Of the plugin that is asked, as configure() made it; or NULL. */
};

struct admission_plugin {
    const char *name; /* As upstream's flags know it. NULL: no plugin, always there. */
    bool off;         /* Unless --enable-admission-plugins names it. */
    unsigned ops;     /* ADMIT_BIT()s of what it looks at; 0: all. */
    struct meta_v1_status *(*mutate)(const struct admission *adm);
    struct meta_v1_status *(*validate)(const struct admission *adm);
    /* Adds what must be stored together with the write (quota usage). */
    void (*commit)(const struct admission *adm, struct txn_build *txn);
    /* From the plugin's part of the configuration file, which may be NULL (none).
     * What it makes lives in a, for ever. */
    int (*configure)(struct arena *a, const struct json *config, const void **ret,
                     struct error *err);
};
/* Ended by NULL. */
extern const struct admission_plugin *const admission_plugins[];

struct meta_v1_status *admission_mutate(const struct admission *adm);
/* Those before the mutating webhooks, for what the webhooks made of the object. */
struct meta_v1_status *admission_mutate_again(const struct admission *adm);
struct meta_v1_status *admission_validate(const struct admission *adm);
void admission_commit(const struct admission *adm, struct txn_build *txn);

/* Is this a write of group/resource itself (or of sub)? */
bool admission_is(const struct admission *adm, const char *group, const char *resource);
/* The same, whatever the subresource. */
bool admission_is_any(const struct admission *adm, const char *group, const char *resource);

/* --- which plugins run (admission/setup.c) ------------------------------------------------ */
struct admission_flags {
    struct flag_list *enable, *disable; /* Names. */
    const char *config_file;            /* An AdmissionConfiguration; NULL: none. */
};
int admission_setup_new(const struct admission_flags *flags, struct admission_setup **ret,
                        struct error *err);
void admission_setup_free(struct admission_setup *s); /* NULL is a no-op. */
/* s NULL: those that are on by default, without configuration. */
bool admission_setup_runs(const struct admission_setup *s, size_t plugin, const void **ret_config);

#endif

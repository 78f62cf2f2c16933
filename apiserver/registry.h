/* registry.h - the resources that are served, each with its rules and its
 * place in the store.
 *
 * Built-in resources are made once at start from the scheme and kind_table and
 * are constant afterwards. Custom ones come and go with their definitions: each
 * thread sees the set that custom/set.h gave it last. What is found there lasts
 * for the current call; whoever needs it longer holds its definition. */
#ifndef APISERVER_REGISTRY_H
#define APISERVER_REGISTRY_H

#include "apiserver/kind.h"
#include "apiserver/status.h"
#include "lib/api/scheme.h"

struct custom_version;
struct registry;

struct resource {
    const struct api_kind *kind;    /* As served in this group version. */
    const struct api_kind *storage; /* The form that is worked on: as stored, the same for most;
                                     * of custom kinds always the served one. */
    const struct kind_ops *ops;     /* Never NULL. */
    const struct resource
        *primary; /* The served resource of the storage version; itself for most. */
    struct group_resource gr;
    struct str prefix;     /* "/registry/pods/", owned. */
    char version_hash[16]; /* storageVersionHash of discovery. */
    bool stored;           /* False for reviews and bindings: create only. */
    bool computed;         /* Not stored, but read and listed like what is. */
    bool status;           /* Has a status subresource. */
    bool protobuf;         /* Offered as protobuf (all built-in kinds). */
    bool disabled;         /* By --runtime-config: nobody finds it by its version. */
    uint32_t index;
    const struct custom_version *custom; /* NULL: built in. */
};

#define REGISTRY_VERSIONS_MAX 31
struct registry_group {
    const char *name;
    const char *versions[REGISTRY_VERSIONS_MAX + 1]; /* Preferred first, ended by NULL. */
};

void registry_init(void); /* Once, before threads. */
/* After that, once: what serves() denies is not served, though it is stored and used within. */
void registry_restrict(bool (*serves)(struct str group, struct str version, struct str resource,
                                      const void *arg),
                       const void *arg);
/* Groups in the order of discovery; core is not among them. */
const struct registry_group *registry_groups(size_t *ret_count);
/* Without those of custom resources. */
const struct registry_group *registry_built_in(size_t *ret_count);
bool registry_has_group(struct str group);
bool registry_owns_group(struct str group); /* Built in, served or not. */
bool registry_has_version(struct str group, struct str version);
const struct resource *registry_find(struct str group, struct str version, struct str resource);
/* By group and resource, in the storage version's form; NULL if unknown. */
const struct resource *registry_storage(struct str group, struct str resource);
/* The primary resource a store key belongs to, with its namespace and name. */
const struct resource *registry_by_key(struct str key, struct str *ret_ns, struct str *ret_name);
/* Resources of one group version by name. Ends when NULL is returned. */
const struct resource *registry_next(struct str group, struct str version, size_t *pos);
size_t registry_count(void); /* Of the built-in ones. */
const struct resource *registry_at(size_t index);

struct str registry_key(struct arena *a, const struct resource *r, struct str ns, struct str name);

/* Whose storage form requests for r work on: of a custom kind each version is
 * its own, and only what stands in the store is converted. */
static inline const struct resource *registry_worked_on(const struct resource *r)
{
    return r->custom != NULL ? r : r->primary;
}
/* Between r's served form and the one that is worked on (storage: r's own, of
 * custom kinds that of any version); the same object when they agree. */
void *registry_to_storage(struct arena *a, const struct resource *r, const struct api_kind *storage,
                          void *obj);
void *registry_from_storage(struct arena *a, const struct resource *r, void *obj);

#define REGISTRY_ROOT "/registry/"

#endif

/* pack.h - objects at rest: a few hundred bytes in place of some kilobytes.
 *
 * A packed object keeps its protobuf, compressed against a sample: another
 * object of the same controller (or namespace), from which it differs by names,
 * times and addresses. Its struct is made again when it is asked for, so that
 * caches can hold many objects of which few are looked at.
 *
 * Who knows more of its objects may bring another way of packing (struct
 * api_packing), as the scheduler does for pods (scheduler/pod_record.h).
 *
 * Not thread-safe: of objects and packers that one thread holds. */
#ifndef API_PACK_H
#define API_PACK_H

#include <stdbool.h>
#include <stddef.h>

struct api_kind;
struct api_object;
struct api_pack;
struct api_packer;

/* A way of packing. */
struct api_packing {
    struct api_pack *(*pack)(struct api_packer *p, const struct api_object *o);
    /* Sets o->msg, and o->arena, which may borrow from k: the object holds it as long. */
    void (*unpack)(struct api_pack *k, struct api_object *o);
    void (*free)(struct api_pack *k); /* Or drops a reference. */
    size_t (*bytes)(const struct api_pack *k);
    void (*close)(struct api_packer *p); /* Its owner is done with it; what it packed lives on. */
};
/* Both begin what a way of packing has for them. */
struct api_packer {
    const struct api_packing *how;
};
struct api_pack {
    const struct api_packing *how;
};

/* One that compresses. */
struct api_packer *api_packer_new(void);
/* The same, with samples by namespace alone: of kinds whose controllers have one object each, as
 * Services have EndpointSlices, a sample by controller would be the object itself. */
struct api_packer *api_packer_new_by_namespace(void);
void api_packer_free(struct api_packer *p); /* What it packed lives on. NULL is a no-op. */
/* Objects of custom kinds are no protobuf. */
bool api_kind_packs(const struct api_kind *kind);
/* Frees the struct: o->msg and o->arena are NULL until it is unpacked, and
 * nobody may hold pointers into it. Nothing when it is packed already. p may be NULL
 * for one that was packed before. */
void api_object_pack(struct api_packer *p, struct api_object *o);
/* Makes the struct again, in one piece; nothing when it is there. The packed
 * form is kept, so that packing again costs nothing. */
void api_object_unpack(struct api_object *o);
void api_pack_free(struct api_pack *pack); /* NULL is a no-op. */
/* Bytes of the packed form; 0: there is none. */
size_t api_object_packed_bytes(const struct api_object *o);

#endif

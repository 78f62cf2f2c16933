/* schema.h - the constant tables that proto/gen emits from proto/, and the C
 * shapes of API objects that they describe.
 *
 * Every codec, defaulting, patches, selectors and OpenAPI read these tables
 * and nothing else. Tables are constant and thread-safe.
 *
 * How a message becomes a C struct (proto package k8s.io.api.core.v1, message
 * PodSpec -> struct core_v1_pod_spec; field hostIPC -> host_ipc):
 *   - Go's non-pointer value: the C value itself, embedded. All zero bytes is
 *     the empty value of every struct.
 *       string -> struct str, bytes -> struct str, bool, int32_t, int64_t,
 *       double, message -> struct embedded in place
 *   - bytes: Go's nil is data == NULL; empty but present is data != NULL, len 0.
 *   - Time, MicroTime: struct meta_v1_time { seconds, nanos, epoch }, Unix time;
 *     all zero is Go's zero time, and `epoch` marks 1970-01-01T00:00:00Z itself.
 *   - Quantity: struct resource_quantity { struct str string; }, canonical text;
 *     empty reads as "0" (quantity.h).
 *   - Go's pointer to a scalar or string: the value and `bool has_x;`.
 *   - Go's pointer to a message: `struct m *x`, NULL when absent.
 *   - repeated: `struct m *x; size_t x_count;`, elements side by side. Go's nil is
 *     x == NULL; x != NULL with x_count 0 is an empty list ([] rather than null).
 *   - map: `struct <name>_entry { struct str key; V value; } *x; size_t x_count;`
 *     always sorted by key, keys unique. map<string,string> is a
 *     struct api_str_entry array, map<string,Quantity> a struct
 *     api_quantity_entry array.
 *   - kinds carry no TypeMeta: it travels beside them (scheme.h).
 *   - C keywords get a trailing underscore (continue_); has_ and _count do not
 *     (has_default, enum_count).
 * Memory belongs to the arena the object was decoded or built in. */
#ifndef API_SCHEMA_H
#define API_SCHEMA_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_msg;

enum api_type {
    API_BOOL,
    API_INT32,
    API_INT64,
    API_DOUBLE,
    API_STRING,
    API_BYTES,
    API_MESSAGE,
};

enum api_label { API_SINGULAR, API_REPEATED, API_MAP };

/* Messages whose JSON is not an object of their fields. */
enum api_special {
    API_PLAIN,
    API_TIME,          /* RFC 3339, whole seconds, or null */
    API_MICRO_TIME,    /* RFC 3339 with six decimals, or null */
    API_DURATION,      /* Go duration string */
    API_QUANTITY,      /* string in canonical form */
    API_INT_OR_STRING, /* number or string */
    API_FIELDS_V1,     /* raw JSON */
    API_RAW_EXTENSION, /* raw JSON object, or a k8s protobuf envelope on the wire */
    API_UNKNOWN,       /* runtime.Unknown */
    API_JSON,          /* apiextensions JSON: raw JSON of any type */
    API_SCHEMA_OR_BOOL,
    API_SCHEMA_OR_ARRAY,
    API_SCHEMA_OR_STRING_ARRAY,
    API_STRING_LIST,   /* go_slice: a message of `items` whose JSON is a bare array */
    API_GROUP_VERSION, /* "group/version" */
    API_CUSTOM,        /* an object of a custom kind: custom.h */
};

/* What a message is at the top of a document. */
enum api_shape {
    API_SHAPE_PART,        /* no kind */
    API_SHAPE_OBJECT,      /* has ObjectMeta */
    API_SHAPE_LIST,        /* has ListMeta and items */
    API_SHAPE_BARE,        /* TypeMeta alone: options, reviews, Status */
    API_SHAPE_NO_TYPEMETA, /* WatchEvent */
};

enum {
    API_F_POINTER = 1 << 0,   /* Go pointer: has_x flag or struct pointer */
    API_F_OMITEMPTY = 1 << 1, /* left out of JSON when empty */
    API_F_OMITZERO = 1 << 2,  /* left out of JSON when zero (structs too) */
    API_F_REQUIRED = 1 << 3,
    API_F_INLINE = 1 << 4,      /* JSON fields appear in the parent's object */
    API_F_HIDDEN = 1 << 5,      /* never in JSON */
    API_F_PATCH_MERGE = 1 << 6, /* strategic merge: list merged by patch_merge_key */
    API_F_PATCH_RETAIN_KEYS = 1 << 7,
    API_F_PATCH_REPLACE = 1 << 8,
    API_F_LIST_MAP = 1 << 9, /* listType=map, keys in list_map_keys */
    API_F_LIST_SET = 1 << 10,
    API_F_LIST_ATOMIC = 1 << 11,
    API_F_MAP_ATOMIC = 1 << 12, /* map or struct is one unit for server-side apply */
    API_F_OPTIONAL = 1 << 13,   /* optional marker */
    API_F_ENUM_ALLOWS_EMPTY = 1 << 14,
    API_F_MAP_GRANULAR = 1 << 15,
    API_F_TYPED = 1 << 16, /* items are kinds, and their JSON says which */
};

struct api_field {
    const char *name;      /* proto field name */
    const char *json_name; /* NULL for inlined fields and inside special messages */
    uint16_t json_len;
    uint16_t description; /* For api_description(). */
    uint32_t number;
    uint8_t type;                /* enum api_type: of the value, or of a map's value */
    uint8_t label;               /* enum api_label */
    uint32_t flags;              /* API_F_* */
    uint32_t offset;             /* of the value, pointer or array in the struct */
    uint32_t has_offset;         /* of has_x or x_count; UINT32_MAX when there is none */
    uint32_t elem_size;          /* size of one element (repeated), entry (map) or value */
    uint32_t entry_value_offset; /* maps: offset of value in the entry */
    const struct api_msg *msg;   /* API_MESSAGE: the type; else NULL */
    const char *patch_merge_key; /* or NULL */
    const char *list_map_keys;   /* comma list, or NULL */
    const char *default_json;    /* JSON literal, or NULL */
    const char *enum_values;     /* '|' separated, sorted, or NULL */
    const char *format;          /* OpenAPI format, or NULL */
};

/* A member of a message's JSON object. Inlined structs are flattened: their
 * members stand among the parent's, and base leads to the struct that holds
 * the field. */
struct api_json_member {
    const struct api_field *field;
    uint32_t base; /* Offset, in the message's struct, of the field's struct. */
};

struct api_msg {
    const char *full_name; /* "k8s.io.api.core.v1.PodSpec" */
    const char *name;      /* "PodSpec" */
    const char *group;     /* "" for core; NULL where the facts give none */
    const char *version;
    uint32_t size; /* sizeof the struct */
    uint16_t field_count;
    uint8_t special;                    /* enum api_special */
    uint8_t shape;                      /* enum api_shape */
    uint8_t struct_atomic;              /* structType=atomic */
    uint8_t is_kind;                    /* carries TypeMeta */
    uint16_t description;               /* for api_description() */
    const struct api_field *fields;     /* by rising field number */
    const uint16_t *declared;           /* indexes into fields in the order of Go's declarations */
    const struct api_json_member *json; /* in the order of Go's declarations */
    const uint16_t *json_by_name;       /* indexes into json by name (byte order) */
    uint16_t json_count;
    /* At most one member is set: the name of the one that says which, "" when
     * none does; NULL when the message is no such union. */
    const char *union_by;
};

struct api_str_entry {
    struct str key;
    struct str value;
};

/* Lookups; NULL when there is none. */
const struct api_field *api_field_by_number(const struct api_msg *m, uint32_t number);
/* Members of inlined structs are found too. */
const struct api_json_member *api_member_by_json(const struct api_msg *m, struct str json_name);
const struct api_field *api_field_by_json(const struct api_msg *m, struct str json_name);

/* What people read in OpenAPI and `kubectl explain`: the sentences of
 * proto/k8s/descriptions.txt. NULL for 0, which means none. */
const char *api_description(uint16_t index);

/* Sorted string maps (labels, annotations, selectors). */
const struct str *api_str_map_get(const struct api_str_entry *e, size_t count, struct str key);

#endif

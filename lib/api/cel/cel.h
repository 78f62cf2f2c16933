/* cel.h - the Common Expression Language as Kubernetes uses it: rules of
 * schemas, admission policies, match conditions.
 *
 *   cel_compile(text, env) -> program -> cel_eval(values) -> value or error
 *
 * Compiling parses, expands macros and checks types against the declared
 * variables. A program is immutable and may be shared between threads as long
 * as its arena and env live. Evaluation never blocks and is bounded by a cost
 * that is counted as Kubernetes counts it. Error texts are cel-go's. */
#ifndef API_CEL_CEL_H
#define API_CEL_CEL_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct cel_program;
struct json;

/* What one evaluation may cost, and all rules for one object together. */
#define CEL_COST_PER_CALL 1000000
#define CEL_COST_BUDGET 10000000
/* Bytes of an expression; deeper or longer ones do not compile. */
#define CEL_TEXT_MAX (100u * 1024)
#define CEL_DEPTH_MAX 250u

enum cel_kind {
    CEL_DYN, /* Of types: anything. Of values: the variable is not set. */
    CEL_ERROR,
    CEL_NULL,
    CEL_BOOL,
    CEL_INT,
    CEL_UINT,
    CEL_DOUBLE,
    CEL_STRING,
    CEL_BYTES,
    CEL_TIMESTAMP,
    CEL_DURATION,
    CEL_LIST,
    CEL_MAP,
    CEL_OBJECT, /* A struct with declared fields. */
    CEL_TYPE,
    CEL_OPTIONAL,
    CEL_QUANTITY,
    CEL_URL,
    CEL_IP,
    CEL_CIDR,
    CEL_FORMAT,
    CEL_SEMVER,
    CEL_HOST,  /* An object of the embedder, used through functions of its own. */
    CEL_PARAM, /* Of types of functions: a type variable. */
};

enum cel_list_type { CEL_LIST_ATOMIC, CEL_LIST_SET, CEL_LIST_MAP };

struct cel_field {
    struct str name; /* As expressions write it (see cel_escape). */
    struct str json; /* The member of the JSON object. */
    const struct cel_type *type;
};

/* Types are immutable graphs; they may be recursive. */
struct cel_type {
    enum cel_kind kind;
    struct str name;             /* OBJECT, HOST, PARAM: what messages call it. */
    const struct cel_type *key;  /* MAP. */
    const struct cel_type *elem; /* LIST, MAP (value), OPTIONAL, TYPE; NULL is dyn. */
    const struct cel_field *fields;
    size_t field_count; /* OBJECT, sorted by name. */
    /* LIST: sets and maps are compared without order and merged by +. */
    enum cel_list_type list_type;
    const struct str *list_keys;
    size_t list_key_count;
    /* How large values may become, for cel_program_cost(): items, entries or
     * bytes; and how short their JSON is at least. */
    uint64_t size_max, json_bytes_min;
};

extern const struct cel_type cel_dyn, cel_null, cel_bool, cel_int, cel_uint, cel_double, cel_string,
    cel_bytes, cel_timestamp, cel_duration, cel_list_dyn, cel_list_string,
    cel_map_dyn,   /* map(string, dyn) */
    cel_map_lists; /* map(string, list(string)) */

/* Types of objects as constants; fields in the order of their names:
 *
 *   static const struct cel_field point_fields[] = {CEL_FIELD("x", &cel_int)};
 *   static CEL_OBJECT_TYPE(point, "Point", point_fields); */
#define CEL_FIELD(n, t)                                                                            \
    {                                                                                              \
        {n, sizeof(n) - 1}, {n, sizeof(n) - 1}, t                                                  \
    }
#define CEL_OBJECT_TYPE(var, type_name, table)                                                     \
    const struct cel_type var = {.kind = CEL_OBJECT,                                               \
                                 .name = {type_name, sizeof(type_name) - 1},                       \
                                 .fields = table,                                                  \
                                 .field_count = ARRAY_SIZE(table)}

struct cel_list;
struct cel_map;
struct cel_value;

/* An object whose fields are found by a function, at most once each. Returns
 * false with an error in *ret. */
struct cel_lazy {
    void (*field)(struct cel_lazy *l, struct arena *a, size_t index, struct cel_value *ret);
};

struct cel_value {
    enum cel_kind kind;
    /* Of lists, maps and objects: they stand in JSON, and are converted when
     * they are looked at, by their type. */
    bool in_json;
    const struct cel_type *type; /* NULL: dyn. TYPE: the type that is the value. */
    union {
        bool boolean;
        int64_t integer; /* INT; DURATION: nanoseconds. */
        uint64_t uinteger;
        double number;
        struct {
            int64_t seconds; /* TIMESTAMP: since the Unix epoch. */
            int32_t nanos;
        } time;
        struct str string; /* STRING, BYTES; ERROR: its message; URL, SEMVER, FORMAT: the text. */
        const struct json *json;
        const struct cel_list *list;
        const struct cel_map *map;
        struct cel_lazy *lazy;         /* OBJECT, not in_json. */
        const struct cel_value *inner; /* OPTIONAL; NULL: none. */
        const void *opaque;            /* QUANTITY, IP, CIDR, HOST. */
    };
};

struct cel_var {
    const char *name;
    const struct cel_type *type;
};

struct cel_call; /* What a running function sees of the evaluation. */
/* Computes from args; cel_error() for errors. */
typedef struct cel_value cel_function_run(struct cel_call *call, const struct cel_value *args);

#define CEL_ARGS_MAX 4
/* One overload. A member's receiver is the first of args. */
struct cel_function {
    const char *name;
    bool member;
    unsigned arg_count;
    const struct cel_type *args[CEL_ARGS_MAX];
    const struct cel_type *result;
    cel_function_run *run;
};

struct cel_env {
    const struct cel_var *vars;
    size_t var_count;
    const struct cel_function *functions; /* Beside the library's. */
    size_t function_count;
    /* Types that expressions may build: Object{...}, by name. */
    const struct cel_type *(*find_type)(const struct cel_env *env, struct str name);
};

/* On failure *ret_error says why, without the words "compilation failed: ":
 * ERROR: <input>:1:6: undeclared reference to 'x' (in container '')
 *  | 1 + x
 *  | ....^ */
int cel_compile(struct arena *a, const struct cel_env *env, struct str text,
                struct cel_program **ret, struct str *ret_error);
/* What it evaluates to; dyn when that is only known then. */
const struct cel_type *cel_program_type(const struct cel_program *p);
/* Whether it looks at variable index of env (oldSelf makes a transition rule). */
bool cel_program_uses(const struct cel_program *p, size_t var_index);
/* What an evaluation costs at most, as Kubernetes estimates it from the types of
 * the variables, which all are of type root, made by cel_schema_sized_type(). */
uint64_t cel_program_cost(const struct cel_program *p, const struct cel_type *root);
struct str cel_type_text(struct arena *a, const struct cel_type *t); /* "list(string)" */

/* vars stand in the order of env's. What it cost is taken from *cost_left,
 * which becomes negative when that was more than allowed (the error says so
 * too). An error is returned as a value of kind ERROR. */
struct cel_value cel_eval(const struct cel_program *p, struct arena *a,
                          const struct cel_value *vars, int64_t *cost_left);

/* --- values ---------------------------------------------------------------------- */
/* type NULL: dyn. Whole numbers are ints, objects maps, unless type says otherwise. */
struct cel_value cel_of_json(const struct json *j, const struct cel_type *type);
struct cel_value cel_of_str(struct str s);
struct cel_value cel_of_bool(bool b);
struct cel_value cel_of_int(int64_t i);
struct cel_value cel_of_host(const struct cel_type *type, const void *object);
struct cel_value cel_error(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct arena *cel_call_arena(const struct cel_call *call);
/* As JSON: NULL where there is none (types, host objects). */
struct json *cel_to_json(struct arena *a, const struct cel_value *v);
/* Lists and maps in one manner, whether in JSON or not. */
size_t cel_size(const struct cel_value *v);
struct cel_value cel_item(const struct cel_value *list, size_t index);

/* --- names ------------------------------------------------------------------------- */
/* How expressions write a property: a.b is a__dot__b, namespace is
 * __namespace__. False when it cannot be written, and so not accessed. */
bool cel_escape(struct arena *a, struct str property, struct str *ret);
bool cel_is_identifier(struct str s); /* And no reserved word. */

/* --- schemas ------------------------------------------------------------------------ */
/* The type of an OpenAPI v3 schema of a CustomResourceDefinition. root: of a
 * whole object, which has apiVersion, kind, metadata.name and
 * metadata.generateName whatever the schema says. NULL: rules cannot look at it. */
const struct cel_type *cel_schema_type(struct arena *a, const struct json *schema, bool root);
/* The same with sizes, which take memory. */
const struct cel_type *cel_schema_sized_type(struct arena *a, const struct json *schema, bool root);
/* The type of an object that an OpenAPI v3 document defines; definitions are its
 * components.schemas. References are followed; what stands within itself is an
 * object without fields. Objects are called by the way to them:
 * "Pod.spec.containers.@idx". */
const struct cel_type *cel_openapi_type(struct arena *a, const struct json *definitions,
                                        const struct json *schema, struct str name);
/* How often a value can stand in one request that is so short at least. */
#define CEL_REQUEST_BYTES_MAX (3u << 20)

#endif

/* model.h - the plugin's view of the .proto files: messages and fields with
 * our rules resolved, and the C names they get.
 *
 * The model lives until the process ends; nothing is freed. Input errors end
 * the process with a message, which protoc shows. */
#ifndef GEN_MODEL_H
#define GEN_MODEL_H

#include "lib/base/base.h"

/* protobuf-c's names, aliased once. The structs are in plugin.pb-c.h and
 * trireme/options.pb-c.h. */
typedef struct Google__Protobuf__Compiler__CodeGeneratorRequest plugin_request;
typedef struct Google__Protobuf__Compiler__CodeGeneratorResponse plugin_response;
typedef struct Google__Protobuf__Compiler__CodeGeneratorResponse__File plugin_file;
typedef struct Trireme__FileRules file_rules;
typedef struct Trireme__MessageRules message_rules;
typedef struct Trireme__FieldRules field_rules;

struct message;

enum value_type { V_BOOL, V_INT32, V_INT64, V_DOUBLE, V_STRING, V_BYTES, V_MESSAGE };

struct field {
    const char *name;      /* As in the .proto. */
    const char *json_name; /* NULL when inlined or hidden. */
    const char *c_base;    /* snake_case: what has_ and _count attach to. */
    const char *c_name;    /* c_base, with '_' behind it when that is a keyword. */
    uint32_t number;
    enum value_type type; /* Of an element, or of a map's value. */
    bool repeated;
    bool map;
    struct message *msg; /* V_MESSAGE. */
    const field_rules *rules;
    size_t description; /* See describe.h; 0: none. */
};

struct message {
    const char *name;
    const char *full_name;
    const char *c_name; /* core_v1_pod_spec */
    struct file *file;
    const message_rules *rules;
    struct field *fields; /* In order of declaration. */
    size_t field_count;
    bool is_map_value;  /* Needs an entry struct. */
    size_t description; /* See describe.h; 0: none. */
    int visit;          /* Used by the header's ordering. */
};

struct file {
    const char *path;   /* k8s/core_v1.proto */
    const char *c_name; /* core_v1 */
    const file_rules *rules;
    struct message *messages;
    size_t message_count;
    struct file **imports;
    size_t import_count;
};

struct model {
    struct file *files;
    size_t file_count;
};

NO_RETURN void gen_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Files without (trireme.file) rules are left out. */
struct model *model_build(const plugin_request *request);
struct message *model_find(const struct model *m, const char *full_name); /* NULL: absent. */

/* True when the field is a C struct embedded in place. */
bool field_is_embedded(const struct field *f);
/* The type of one element, as C writes it: "int64_t", "struct core_v1_volume". */
const char *field_c_type(const struct field *f);
/* The map's entry: "struct api_str_entry". */
const char *message_entry_name(const struct message *m);
const char *field_entry_type(const struct field *f);

/* "IPBlock" -> "ip_block", "podCIDRs" -> "pod_cidrs", "aPIGroup" -> "api_group". */
char *name_snake(const char *s);

#endif

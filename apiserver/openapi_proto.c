/* openapi_proto.c - JSON of an OpenAPI document as the protobuf messages that
 * gnostic defines for it (openapi.v2, openapi.v3), which kubectl and client-go
 * ask for.
 *
 * Every object of the formats is a row of members: a JSON name, a field number
 * and what becomes of the value. Members that begin with x- are extensions: a
 * name and a text of YAML, for which JSON serves. */
#include "apiserver/openapi_writer.h"

#include "lib/api/json.h"
#include "lib/base/buf.h"

enum form {
    TEXT,    /* string */
    TEXTS,   /* repeated string */
    FLAG,    /* bool */
    NUMBER,  /* int64 */
    REAL,    /* double */
    ANY,     /* Any { string yaml = 2 } */
    ANYS,    /* repeated Any */
    OBJECT,  /* a message */
    OBJECTS, /* repeated messages */
    MAP,     /* a message of pairs = 1 {name = 1, value = 2} */
    MAP2,    /* the same with pairs = 2 */
    TYPE,    /* v2's TypeItem { repeated string value = 1 } */
    ITEMS,   /* ItemsItem { repeated message = 1 } */
    MORE,    /* additionalProperties: { message = 1 or bool = 2 } */
    DEFAULT, /* v3's DefaultType: { number = 1 or bool = 2 or string = 3 or none } */
};

struct shape;

struct member {
    const char *name;
    uint8_t number;
    uint8_t form;
    const struct shape *shape; /* From OBJECT to MORE. */
};

/* An object, and the messages around it that say which of several it is: the
 * fields that lead inwards, ended by 0. */
struct shape {
    const struct member *members;
    uint8_t extensions; /* Field of x- members; 0: none. */
    uint8_t path[4];
    const struct shape *(*choose)(const struct json *j); /* Depends on what stands there. */
};

static const struct shape schema2, schema3, item3;

#define END                                                                                        \
    {                                                                                              \
        NULL, 0, 0, NULL                                                                           \
    }

static const struct member reference_members[] = {{"$ref", 1, TEXT, NULL}, END};
static const struct shape reference = {.members = reference_members, .path = {2}};

static bool is_reference(const struct json *j)
{
    return json_getc(j, "$ref") != NULL;
}

/* --- openapi.v2
 * ------------------------------------------------------------------------------------ */
static const struct member schema2_members[] = {
    {"$ref", 1, TEXT, NULL},
    {"format", 2, TEXT, NULL},
    {"title", 3, TEXT, NULL},
    {"description", 4, TEXT, NULL},
    {"default", 5, ANY, NULL},
    {"multipleOf", 6, REAL, NULL},
    {"maximum", 7, REAL, NULL},
    {"exclusiveMaximum", 8, FLAG, NULL},
    {"minimum", 9, REAL, NULL},
    {"exclusiveMinimum", 10, FLAG, NULL},
    {"maxLength", 11, NUMBER, NULL},
    {"minLength", 12, NUMBER, NULL},
    {"pattern", 13, TEXT, NULL},
    {"maxItems", 14, NUMBER, NULL},
    {"minItems", 15, NUMBER, NULL},
    {"uniqueItems", 16, FLAG, NULL},
    {"maxProperties", 17, NUMBER, NULL},
    {"minProperties", 18, NUMBER, NULL},
    {"required", 19, TEXTS, NULL},
    {"enum", 20, ANYS, NULL},
    {"additionalProperties", 21, MORE, &schema2},
    {"type", 22, TYPE, NULL},
    {"items", 23, ITEMS, &schema2},
    {"allOf", 24, OBJECTS, &schema2},
    {"properties", 25, MAP, &schema2},
    {"readOnly", 27, FLAG, NULL},
    {"example", 30, ANY, NULL},
    END,
};
static const struct shape schema2 = {.members = schema2_members, .extensions = 31};
static const struct shape response_schema2 = {
    .members = schema2_members, .extensions = 31, .path = {1}};

static const struct member query2_members[] = {
    {"required", 1, FLAG, NULL},     {"in", 2, TEXT, NULL},
    {"description", 3, TEXT, NULL},  {"name", 4, TEXT, NULL},
    {"type", 6, TEXT, NULL},         {"format", 7, TEXT, NULL},
    {"uniqueItems", 20, FLAG, NULL}, END,
};
static const struct member path2_members[] = {
    {"required", 1, FLAG, NULL},     {"in", 2, TEXT, NULL},
    {"description", 3, TEXT, NULL},  {"name", 4, TEXT, NULL},
    {"type", 5, TEXT, NULL},         {"format", 6, TEXT, NULL},
    {"uniqueItems", 19, FLAG, NULL}, END,
};
static const struct member body2_members[] = {
    {"description", 1, TEXT, NULL}, {"name", 2, TEXT, NULL},         {"in", 3, TEXT, NULL},
    {"required", 4, FLAG, NULL},    {"schema", 5, OBJECT, &schema2}, END,
};

/* Parameter { BodyParameter = 1 or NonBodyParameter = 2 { query = 3 or path = 4 } } */
static const struct shape body2 = {.members = body2_members, .path = {1}};
static const struct shape query2 = {.members = query2_members, .path = {2, 3}};
static const struct shape path2 = {.members = path2_members, .path = {2, 4}};
/* The same inside of ParametersItem { Parameter = 1 or JsonReference = 2 }. */
static const struct shape body2_item = {.members = body2_members, .path = {1, 1}};
static const struct shape query2_item = {.members = query2_members, .path = {1, 2, 3}};
static const struct shape path2_item = {.members = path2_members, .path = {1, 2, 4}};

static const struct shape *choose_parameter2(const struct json *j)
{
    struct str in = json_get_str(j, "in");
    return str_eqc(in, "body") ? &body2 : str_eqc(in, "path") ? &path2 : &query2;
}
static const struct shape *choose_parameter2_item(const struct json *j)
{
    struct str in = json_get_str(j, "in");
    return is_reference(j)       ? &reference
           : str_eqc(in, "body") ? &body2_item
           : str_eqc(in, "path") ? &path2_item
                                 : &query2_item;
}
static const struct shape parameter2 = {.choose = choose_parameter2};
static const struct shape parameter2_item = {.choose = choose_parameter2_item};

static const struct member response2_members[] = {
    {"description", 1, TEXT, NULL}, {"schema", 2, OBJECT, &response_schema2}, END};
static const struct shape response2 = {.members = response2_members, .extensions = 5, .path = {1}};

static const struct member operation2_members[] = {
    {"tags", 1, TEXTS, NULL},
    {"summary", 2, TEXT, NULL},
    {"description", 3, TEXT, NULL},
    {"operationId", 5, TEXT, NULL},
    {"produces", 6, TEXTS, NULL},
    {"consumes", 7, TEXTS, NULL},
    {"parameters", 8, OBJECTS, &parameter2_item},
    {"responses", 9, MAP, &response2},
    {"schemes", 10, TEXTS, NULL},
    {"deprecated", 11, FLAG, NULL},
    END,
};
static const struct shape operation2 = {.members = operation2_members, .extensions = 13};

static const struct member path_item2_members[] = {
    {"get", 2, OBJECT, &operation2},
    {"put", 3, OBJECT, &operation2},
    {"post", 4, OBJECT, &operation2},
    {"delete", 5, OBJECT, &operation2},
    {"options", 6, OBJECT, &operation2},
    {"head", 7, OBJECT, &operation2},
    {"patch", 8, OBJECT, &operation2},
    {"parameters", 9, OBJECTS, &parameter2_item},
    END,
};
static const struct shape path_item2 = {.members = path_item2_members, .extensions = 10};

/* SecurityDefinitionsItem { ApiKeySecurity = 2 } */
static const struct member api_key2_members[] = {{"type", 1, TEXT, NULL},
                                                 {"name", 2, TEXT, NULL},
                                                 {"in", 3, TEXT, NULL},
                                                 {"description", 4, TEXT, NULL},
                                                 END};
static const struct shape api_key2 = {.members = api_key2_members, .path = {2}};

/* --- openapi.v3
 * ------------------------------------------------------------------------------------ */
static const struct member schema3_members[] = {
    {"nullable", 1, FLAG, NULL},
    {"readOnly", 3, FLAG, NULL},
    {"writeOnly", 4, FLAG, NULL},
    {"example", 7, ANY, NULL},
    {"deprecated", 8, FLAG, NULL},
    {"title", 9, TEXT, NULL},
    {"multipleOf", 10, REAL, NULL},
    {"maximum", 11, REAL, NULL},
    {"exclusiveMaximum", 12, FLAG, NULL},
    {"minimum", 13, REAL, NULL},
    {"exclusiveMinimum", 14, FLAG, NULL},
    {"maxLength", 15, NUMBER, NULL},
    {"minLength", 16, NUMBER, NULL},
    {"pattern", 17, TEXT, NULL},
    {"maxItems", 18, NUMBER, NULL},
    {"minItems", 19, NUMBER, NULL},
    {"uniqueItems", 20, FLAG, NULL},
    {"maxProperties", 21, NUMBER, NULL},
    {"minProperties", 22, NUMBER, NULL},
    {"required", 23, TEXTS, NULL},
    {"enum", 24, ANYS, NULL},
    {"type", 25, TEXT, NULL},
    {"allOf", 26, OBJECTS, &item3},
    {"oneOf", 27, OBJECTS, &item3},
    {"anyOf", 28, OBJECTS, &item3},
    {"not", 29, OBJECT, &schema3},
    {"items", 30, ITEMS, &item3},
    {"properties", 31, MAP, &item3},
    {"additionalProperties", 32, MORE, &item3},
    {"default", 33, DEFAULT, NULL},
    {"description", 34, TEXT, NULL},
    {"format", 35, TEXT, NULL},
    END,
};
static const struct shape schema3 = {.members = schema3_members, .extensions = 36};
/* SchemaOrReference { Schema = 1 or Reference = 2 } */
static const struct shape schema3_item = {
    .members = schema3_members, .extensions = 36, .path = {1}};

static const struct shape *choose_item3(const struct json *j)
{
    return is_reference(j) ? &reference : &schema3_item;
}
static const struct shape item3 = {.choose = choose_item3};

static const struct member parameter3_members[] = {
    {"name", 1, TEXT, NULL},     {"in", 2, TEXT, NULL},          {"description", 3, TEXT, NULL},
    {"required", 4, FLAG, NULL}, {"schema", 10, OBJECT, &item3}, END,
};
static const struct shape parameter3 = {
    .members = parameter3_members, .extensions = 14, .path = {1}};

static const struct member media3_members[] = {{"schema", 1, OBJECT, &item3}, END};
static const struct shape media3 = {.members = media3_members, .extensions = 5};

static const struct member body3_members[] = {
    {"description", 1, TEXT, NULL}, {"content", 2, MAP, &media3}, {"required", 3, FLAG, NULL}, END};
static const struct shape body3 = {.members = body3_members, .extensions = 4, .path = {1}};

static const struct member response3_members[] = {
    {"description", 1, TEXT, NULL}, {"content", 3, MAP, &media3}, END};
static const struct shape response3 = {.members = response3_members, .extensions = 5, .path = {1}};

static const struct member operation3_members[] = {
    {"tags", 1, TEXTS, NULL},
    {"summary", 2, TEXT, NULL},
    {"description", 3, TEXT, NULL},
    {"operationId", 5, TEXT, NULL},
    {"parameters", 6, OBJECTS, &parameter3},
    {"requestBody", 7, OBJECT, &body3},
    {"responses", 8, MAP2, &response3},
    {"deprecated", 10, FLAG, NULL},
    END,
};
static const struct shape operation3 = {.members = operation3_members, .extensions = 13};

static const struct member path_item3_members[] = {
    {"get", 4, OBJECT, &operation3},
    {"put", 5, OBJECT, &operation3},
    {"post", 6, OBJECT, &operation3},
    {"delete", 7, OBJECT, &operation3},
    {"options", 8, OBJECT, &operation3},
    {"head", 9, OBJECT, &operation3},
    {"patch", 10, OBJECT, &operation3},
    {"parameters", 13, OBJECTS, &parameter3},
    END,
};
static const struct shape path_item3 = {.members = path_item3_members, .extensions = 14};

/* SecuritySchemeOrReference { SecurityScheme = 1 } */
static const struct member security3_members[] = {{"type", 1, TEXT, NULL},
                                                  {"description", 2, TEXT, NULL},
                                                  {"name", 3, TEXT, NULL},
                                                  {"in", 4, TEXT, NULL},
                                                  END};
static const struct shape security3 = {.members = security3_members, .path = {1}};

/* --- writing
 * --------------------------------------------------------------------------------------- */
static void put_bytes(struct buf *b, uint32_t number, struct str s)
{
    buf_put_varint(b, (number << 3) | 2);
    buf_put_varint(b, s.len);
    buf_append_str(b, s);
}

void openapi_proto_wrap(struct buf *b, size_t from, uint32_t number)
{
    uint8_t head[16];
    size_t n = b->len - from, len = 0;
    uint64_t parts[] = {((uint64_t)number << 3) | 2, n};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        for (; parts[i] >= 0x80; parts[i] >>= 7)
            head[len++] = (uint8_t)(parts[i] | 0x80);
        head[len++] = (uint8_t)parts[i];
    }
    buf_reserve(b, len);
    memmove(b->data + from + len, b->data + from, n);
    memcpy(b->data + from, head, len);
    buf_commit(b, len);
}

static void put_shape(const struct shape *s, const struct json *j, struct buf *b);

static void put_flag(struct buf *b, uint32_t number, bool v)
{
    buf_put_varint(b, number << 3);
    buf_putc(b, v ? 1 : 0);
}

static void put_real(struct buf *b, uint32_t number, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    buf_put_varint(b, (number << 3) | 1);
    buf_put_le64(b, bits);
}

static double real_of(const struct json *j)
{
    return j->type == JSON_INT ? (double)j->integer : j->type == JSON_DOUBLE ? j->number.value : 0;
}

static void put_any(struct buf *b, uint32_t number, const struct json *j)
{
    size_t from = b->len;
    json_write(j, false, b);
    openapi_proto_wrap(b, from, 2);
    openapi_proto_wrap(b, from, number);
}

static void put_object(struct buf *b, uint32_t number, const struct shape *s, const struct json *j)
{
    size_t from = b->len;
    put_shape(s, j, b);
    openapi_proto_wrap(b, from, number);
}

static void put_map(struct buf *b, const struct member *m, const struct json *j)
{
    size_t from = b->len;
    for (size_t i = 0; i < j->object.count; i++) {
        size_t pair = b->len;
        put_bytes(b, 1, j->object.members[i].key);
        put_object(b, 2, m->shape, j->object.members[i].value);
        openapi_proto_wrap(b, pair, m->form == MAP ? 1 : 2);
    }
    openapi_proto_wrap(b, from, m->number);
}

static void put_default(struct buf *b, uint32_t number, const struct json *j)
{
    size_t from = b->len;
    if (j->type == JSON_INT || j->type == JSON_DOUBLE)
        put_real(b, 1, real_of(j));
    else if (j->type == JSON_BOOL)
        put_flag(b, 2, j->boolean);
    else if (j->type == JSON_STRING)
        put_bytes(b, 3, j->string);
    openapi_proto_wrap(b, from, number);
}

/* Forms that are no repeated ones. */
static void put_single(struct buf *b, const struct member *m, const struct json *j)
{
    size_t from = b->len;
    switch ((enum form)m->form) {
    case TEXT:
        if (j->type == JSON_STRING)
            put_bytes(b, m->number, j->string);
        break;
    case FLAG:
        if (j->type == JSON_BOOL && j->boolean)
            put_flag(b, m->number, true);
        break;
    case NUMBER:
        buf_put_varint(b, (uint32_t)m->number << 3);
        buf_put_varint(b, (uint64_t)(int64_t)real_of(j));
        break;
    case REAL:
        put_real(b, m->number, real_of(j));
        break;
    case ANY:
        put_any(b, m->number, j);
        break;
    case OBJECT:
        put_object(b, m->number, m->shape, j);
        break;
    case MAP:
    case MAP2:
        if (j->type == JSON_OBJECT)
            put_map(b, m, j);
        break;
    case TYPE:
        put_bytes(b, 1, j->type == JSON_STRING ? j->string : STR_NULL);
        openapi_proto_wrap(b, from, m->number);
        break;
    case ITEMS:
        put_object(b, 1, m->shape, j);
        openapi_proto_wrap(b, from, m->number);
        break;
    case MORE:
        if (j->type == JSON_BOOL)
            put_flag(b, 2, j->boolean);
        else
            put_object(b, 1, m->shape, j);
        openapi_proto_wrap(b, from, m->number);
        break;
    case DEFAULT:
        put_default(b, m->number, j);
        break;
    case TEXTS:
    case ANYS:
    case OBJECTS:
        PANIC("%s is repeated", m->name);
    }
}

static void put_member(struct buf *b, const struct member *m, const struct json *j)
{
    if (m->form != TEXTS && m->form != ANYS && m->form != OBJECTS) {
        put_single(b, m, j);
        return;
    }
    for (size_t i = 0; j->type == JSON_ARRAY && i < j->array.count; i++) {
        const struct json *x = j->array.items[i];
        if (m->form == ANYS)
            put_any(b, m->number, x);
        else if (m->form == OBJECTS)
            put_object(b, m->number, m->shape, x);
        else if (x->type == JSON_STRING)
            put_bytes(b, m->number, x->string);
    }
}

static const struct member *find_member(const struct shape *s, struct str name)
{
    for (const struct member *m = s->members; m->name != NULL; m++)
        if (str_eqc(name, m->name))
            return m;
    return NULL;
}

static void put_shape(const struct shape *s, const struct json *j, struct buf *b)
{
    size_t from = b->len, depth = 0;
    if (s->choose != NULL)
        s = s->choose(j);
    for (size_t i = 0; j->type == JSON_OBJECT && i < j->object.count; i++) {
        const struct json_member *x = &j->object.members[i];
        const struct member *m = find_member(s, x->key);
        if (m != NULL) {
            put_member(b, m, x->value);
        } else if (s->extensions != 0 && str_has_prefix(x->key, STR("x-"))) {
            size_t pair = b->len;
            put_bytes(b, 1, x->key);
            put_any(b, 2, x->value);
            openapi_proto_wrap(b, pair, s->extensions);
        }
    }
    while (depth < ARRAY_SIZE(s->path) && s->path[depth] != 0)
        depth++;
    while (depth > 0)
        openapi_proto_wrap(b, from, s->path[--depth]);
}

void openapi_proto_item(enum openapi_version version, enum openapi_section section,
                        const struct json *j, struct buf *out)
{
    static const struct shape *const shapes[2][4] = {
        [OPENAPI_V2] = {&path_item2, &schema2, &parameter2, &api_key2},
        [OPENAPI_V3] = {&path_item3, &item3, NULL, &security3},
    };
    put_shape(shapes[version][section], j, out);
}

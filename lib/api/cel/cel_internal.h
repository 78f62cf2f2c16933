/* cel_internal.h - what the parts of the expression language share: tokens,
 * syntax tree, the running evaluation. */
#ifndef API_CEL_CEL_INTERNAL_H
#define API_CEL_CEL_INTERNAL_H

#include "lib/api/cel/cel.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"

struct buf;

/* --- source and errors ------------------------------------------------------------ */
enum { CEL_ISSUES_MAX = 32 };

struct cel_source {
    struct arena *arena;
    struct str text;
    const struct cel_env *env;
    struct str issues; /* Lines so far; "" while all is well. */
    unsigned issue_count;
};
void cel_issue(struct cel_source *s, uint32_t pos, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* --- tokens -------------------------------------------------------------------------- */
enum cel_token_kind {
    TOKEN_EOF,
    TOKEN_IDENT,
    TOKEN_QUOTED_IDENT, /* `a.b` */
    TOKEN_INT,
    TOKEN_UINT,
    TOKEN_FLOAT,
    TOKEN_STRING,
    TOKEN_BYTES,
    TOKEN_TRUE,
    TOKEN_FALSE,
    TOKEN_NULL,
    TOKEN_PUNCT, /* And `in`. */
};

struct cel_token {
    enum cel_token_kind kind;
    uint32_t pos;
    struct str text; /* As it stands. */
};
/* Ends with a TOKEN_EOF. */
size_t cel_lex(struct cel_source *s, struct cel_token **ret);
/* The value of a string or bytes token. False after reporting an issue. */
bool cel_unquote(struct cel_source *s, const struct cel_token *t, struct str *ret);

/* --- syntax tree --------------------------------------------------------------------- */
enum cel_node_kind {
    NODE_LITERAL,
    NODE_IDENT, /* Only until names are resolved. */
    NODE_VAR,   /* Of the env: slot. */
    NODE_LOCAL, /* Of a macro: slot. */
    NODE_SELECT,
    NODE_INDEX,
    NODE_CALL,
    NODE_AND,
    NODE_OR,
    NODE_COND,
    NODE_LIST,
    NODE_MAP, /* args: key, value, key, value ... */
    NODE_OBJECT,
    NODE_FOLD,
};

enum cel_fold {
    FOLD_ALL,
    FOLD_EXISTS,
    FOLD_EXISTS_ONE,
    FOLD_MAP, /* args: [filter,] transform */
    FOLD_FILTER,
    FOLD_LIST,   /* transformList */
    FOLD_MAPPED, /* transformMap */
    FOLD_ENTRY,  /* transformMapEntry */
    FOLD_BIND,
    FOLD_OPT_MAP,
    FOLD_OPT_FLAT_MAP,
    FOLD_SORT_BY,
};

struct cel_pattern;

struct cel_node {
    enum cel_node_kind kind;
    bool test;        /* SELECT: has() */
    bool is_optional; /* SELECT, INDEX: .? and [?] */
    enum cel_fold fold;
    uint16_t depth;
    uint32_t pos;
    const struct cel_type *type; /* Set by the checker; never NULL then. */
    struct str name;
    struct cel_node *target; /* SELECT, INDEX, FOLD; of calls, members' only. */
    struct cel_node **args;
    uint32_t arg_count;
    bool *optionals;                 /* Elements, entries, fields written with `?`; or NULL. */
    struct str *names;               /* OBJECT: fields. FOLD: the variables. */
    uint32_t var_count;              /* FOLD */
    uint32_t slot;                   /* VAR, LOCAL; FOLD: of its first variable. */
    struct cel_value value;          /* LITERAL */
    const struct cel_field **fields; /* OBJECT; SELECT: one, when declared. */
    const struct cel_function **overloads;
    uint32_t overload_count;
    struct cel_pattern *pattern; /* A constant regular expression. */
};

struct cel_node *cel_parse(struct cel_source *s);
/* Expands a macro. NULL: it is none; an issue may have been reported. */
struct cel_node *cel_macro(struct cel_source *s, struct cel_node *call);
struct cel_node *cel_node_new(struct cel_source *s, enum cel_node_kind kind, uint32_t pos);

struct cel_program {
    const struct cel_env *env;
    struct cel_node *root;
    uint32_t local_count;
    bool *used;
};
void cel_check(struct cel_source *s, struct cel_program *p);

/* --- types ------------------------------------------------------------------------------ */
const struct cel_type *cel_type_list(struct arena *a, const struct cel_type *elem);
const struct cel_type *cel_type_map(struct arena *a, const struct cel_type *key,
                                    const struct cel_type *elem);
const struct cel_type *cel_type_optional(struct arena *a, const struct cel_type *elem);
const struct cel_type *cel_type_of_type(struct arena *a, const struct cel_type *t);
/* The type that a name of the language stands for (int, list ...), or NULL. */
const struct cel_type *cel_type_named(struct str name);
const char *cel_kind_name(enum cel_kind k);
struct str cel_value_type_name(const struct cel_value *v);
const struct cel_field *cel_type_field(const struct cel_type *t, struct str name);

/* --- functions --------------------------------------------------------------------------- */
extern const struct cel_function cel_functions_standard[], cel_functions_convert[],
    cel_functions_time[], cel_functions_string[], cel_functions_list[], cel_functions_math[],
    cel_functions_optional[], cel_functions_url[], cel_functions_quantity[], cel_functions_net[],
    cel_functions_format[], cel_functions_semver[];
/* All of that name, the library's and env's; from an index built once. */
size_t cel_functions_named(const struct cel_env *env, struct str name,
                           const struct cel_function **ret, size_t max);
enum { CEL_OVERLOADS_MAX = 48 };

extern const struct cel_type cel_param_a, cel_param_b, cel_list_a, cel_map_ab, cel_optional_a,
    cel_list_int, cel_type_type, cel_quantity, cel_url, cel_ip, cel_cidr, cel_format, cel_semver,
    cel_list_list_a, cel_optional_list_string, cel_optional_format;

/* --- values -------------------------------------------------------------------------------- */
struct cel_list {
    struct cel_value *items;
    size_t count, cap;
};

struct cel_entry {
    struct cel_value key, value;
};

struct cel_map {
    struct cel_entry *entries;
    size_t count, cap;
    uint32_t *index; /* Open addressing over entries, position + 1; NULL while small. */
    size_t index_size;
    /* What selecting a key finds that is not there; NULL: an error. `in` does not see it. */
    const struct cel_value *fallback;
};

struct cel_list *cel_list_new(struct arena *a);
void cel_list_add(struct arena *a, struct cel_list *l, struct cel_value v);
struct cel_value cel_of_list(const struct cel_list *l);
struct cel_map *cel_map_new(struct arena *a);
/* False: the key is there already. */
bool cel_map_add(struct arena *a, struct cel_map *m, struct cel_value key, struct cel_value value);
const struct cel_value *cel_map_get(const struct cel_map *m, const struct cel_value *key);
struct cel_value cel_of_map(const struct cel_map *m);
struct cel_value cel_null_value(void);
struct cel_value cel_of_uint(uint64_t u);
struct cel_value cel_of_double(double d);
struct cel_value cel_of_bytes(struct str s);
struct cel_value cel_of_duration(int64_t nanos);
struct cel_value cel_of_optional(struct arena *a, const struct cel_value *v); /* NULL: none. */
struct cel_value cel_of_type(const struct cel_type *t);
bool cel_semver_is(struct str text); /* Strict form: no leading v, three numbers. */
/* JSON that must be converted (a timestamp) may turn out to be an error. */
struct cel_value cel_no_overload(struct arena *a, const char *name, const struct cel_value *args,
                                 size_t count);

/* Entries in order, of JSON objects and maps alike. */
struct cel_entry cel_entry_at(const struct cel_value *map, size_t index);
/* Where a large JSON object has its members: their numbers, sorted by key. */
struct cel_index {
    const struct json *object;
    uint32_t *order;
};
enum { CEL_SEARCH_MAX = 32 }; /* Members that are searched one by one. */
void cel_index_build(struct cel_index *x, const struct json *object, uint32_t *order);
/* Kind CEL_DYN: it is not there. index: of map's object, or NULL. */
struct cel_value cel_lookup(const struct cel_value *map, const struct cel_value *key,
                            const struct cel_index *index);
bool cel_equal(const struct cel_value *x, const struct cel_value *y);
/* -1, 0, 1; 2: these have no order; 3: NaN. */
int cel_compare(const struct cel_value *x, const struct cel_value *y);
bool cel_is_zero(const struct cel_value *v);
/* How string.format's %s and errors print it. */
void cel_value_text(const struct cel_value *v, struct buf *out);
struct str cel_key_text(struct arena *a, const struct cel_value *v);

static inline bool cel_failed(const struct cel_value *v)
{
    return v->kind == CEL_ERROR;
}

/* --- evaluation ------------------------------------------------------------------------------ */
struct cel_call {
    const struct cel_program *program;
    struct arena *arena;
    const struct cel_value *vars;
    struct cel_value *locals;
    int64_t cost_left;
    size_t arena_limit;          /* Bytes the arena may hold; past it evaluation ends. */
    struct cel_index indexes[4]; /* Of the large objects looked into last. */
    unsigned next_index;
    const struct cel_node *node; /* The call that runs. */
    const struct cel_function *function;
};
/* cel_lookup(), with an index that is made when it pays. */
struct cel_value cel_find(struct cel_call *c, const struct cel_value *map,
                          const struct cel_value *key);
/* False: the budget is used up. */
bool cel_charge(struct cel_call *c, uint64_t cost);
/* 0.1 for each byte, rounded up. */
void cel_charge_bytes(struct cel_call *c, size_t bytes);

/* --- text ------------------------------------------------------------------------------------- */
size_t cel_utf8_len(struct str s);                            /* Code points. */
size_t cel_utf8_next(struct str s, size_t at, uint32_t *ret); /* Bytes of the one at. */
size_t cel_utf8_put(uint32_t c, char ret[4]);
/* The bytes of code points [from, to); false when there are fewer. */
bool cel_utf8_slice(struct str s, size_t from, size_t to, struct str *ret);
void cel_double_text(double d, struct buf *out);
int cel_duration_parse(struct str text, int64_t *ret_nanos);
void cel_duration_text(int64_t nanos, struct buf *out);
bool cel_timestamp_parse(struct str text, int64_t *ret_seconds, int32_t *ret_nanos);
void cel_timestamp_text(int64_t seconds, int32_t nanos, struct buf *out);
struct cel_value cel_of_time(struct arena *a, int64_t seconds, int64_t nanos);
bool cel_base64_decode(struct arena *a, struct str text, struct str *ret);

/* --- regular expressions -----------------------------------------------------------------------
 */
/* NULL: *ret_error says why not. Freed with the arena. */
struct cel_pattern *cel_pattern_new(struct arena *a, struct str text, struct str *ret_error);
/* The first match at or after from; *ret_group is group 1 when there is one. False: none. */
bool cel_pattern_find(const struct cel_pattern *p, struct str text, size_t from, size_t *ret_from,
                      size_t *ret_to);

#endif

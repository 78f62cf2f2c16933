/* flags.c - see flags.h. Errors read as pflag's, since scripts and people know those. */
#include "lib/base/flags.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum flag_type {
    FLAG_STRING,
    FLAG_BOOL,
    FLAG_INT,
    FLAG_FLOAT,
    FLAG_DURATION,
    FLAG_STRINGS,
    FLAG_STRING_ARRAY,
    FLAG_MAP,
    FLAG_FUNC,
    FLAG_IGNORED,
};

/* What the help calls the value. */
static const char *const FLAG_TYPE_WORD[] = {
    "string",          "",      "int",    "float", "duration", "strings", "stringArray",
    "mapStringString", "value", "string",
};

struct flag {
    const char *name; /* In the arena, without the short form. */
    char letter;      /* '\0': none. */
    enum flag_type type;
    void *value;
    const char *help;
    const char *no_value; /* What the bare flag means; NULL: a value must follow. */
    const char *warning;
    const char *default_text;
    const char *given; /* To FLAG_FUNC, last; NULL. */
    int (*set)(const char *value, void *arg, struct error *err);
    bool changed;
    bool replaces; /* A list: each use begins anew. */
    bool hidden;
    size_t list_cap;
};

struct flag_set {
    const char *usage;
    struct arena *arena;
    struct flag *flags;
    size_t count, cap;
    const char **args;
    size_t arg_count, arg_cap;
};

struct flag_set *flag_set_new(const char *usage)
{
    struct flag_set *f = xzalloc(sizeof(*f));
    f->usage = usage;
    f->arena = arena_new(0);
    return f;
}

void flag_set_free(struct flag_set *f)
{
    if (f == NULL)
        return;
    arena_free(f->arena);
    free(f);
}

struct arena *flag_set_arena(struct flag_set *f)
{
    return f->arena;
}

static struct flag *flag_find(const struct flag_set *f, struct str name)
{
    for (size_t i = 0; i < f->count; i++)
        if (str_eqc(name, f->flags[i].name))
            return &f->flags[i];
    return NULL;
}

static struct flag *flag_find_letter(const struct flag_set *f, char letter)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->flags[i].letter == letter)
            return &f->flags[i];
    return NULL;
}

/* name: "namespace" or "namespace,n". */
static struct flag *flag_add(struct flag_set *f, enum flag_type type, void *value, const char *name,
                             const char *help)
{
    struct str word, letter;
    bool has_letter = str_cut(str_of(name), ',', &word, &letter);
    if (flag_find(f, word) != NULL)
        PANIC("flag --%s registered twice", name);
    ASSERT(!has_letter || (letter.len == 1 && flag_find_letter(f, letter.data[0]) == NULL));
    f->flags = arena_grow(f->arena, f->flags, f->count, &f->cap, sizeof(*f->flags));
    struct flag *flag = &f->flags[f->count++];
    *flag = (struct flag){
        .name = arena_str(f->arena, word).data,
        .letter = has_letter ? letter.data[0] : '\0',
        .type = type,
        .value = value,
        .help = help,
        .default_text = NULL,
    };
    return flag;
}

void flag_string(struct flag_set *f, const char **value, const char *name, const char *help)
{
    struct flag *flag = flag_add(f, FLAG_STRING, value, name, help);
    if (*value != NULL && **value != '\0')
        flag->default_text = arena_printf(f->arena, "\"%s\"", *value).data;
}

void flag_bool(struct flag_set *f, bool *value, const char *name, const char *help)
{
    struct flag *flag = flag_add(f, FLAG_BOOL, value, name, help);
    flag->no_value = "true";
    if (*value)
        flag->default_text = arena_strdup(f->arena, "true");
}

void flag_int(struct flag_set *f, int64_t *value, const char *name, const char *help)
{
    struct flag *flag = flag_add(f, FLAG_INT, value, name, help);
    if (*value != 0)
        flag->default_text = arena_printf(f->arena, "%" PRId64, *value).data;
}

void flag_float(struct flag_set *f, double *value, const char *name, const char *help)
{
    struct flag *flag = flag_add(f, FLAG_FLOAT, value, name, help);
    if (*value < 0 || *value > 0)
        flag->default_text = arena_printf(f->arena, "%g", *value).data;
}

void flag_duration(struct flag_set *f, int64_t *value_ns, const char *name, const char *help)
{
    struct flag *flag = flag_add(f, FLAG_DURATION, value_ns, name, help);
    if (*value_ns != 0) {
        AUTO_BUF b = BUF_INIT;
        duration_print(*value_ns, &b);
        flag->default_text = arena_str(f->arena, buf_str(&b)).data;
    }
}

static void flag_add_list(struct flag_set *f, enum flag_type type, struct flag_list *value,
                          const char *name, const char *help)
{
    struct flag *flag = flag_add(f, type, value, name, help);
    if (value->count == 0)
        return;
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < value->count; i++)
        buf_printf(&b, "%s%s", i == 0 ? "[" : ",", value->items[i]);
    buf_putc(&b, ']');
    flag->default_text = arena_str(f->arena, buf_str(&b)).data;
}

void flag_strings(struct flag_set *f, struct flag_list *value, const char *name, const char *help)
{
    flag_add_list(f, FLAG_STRINGS, value, name, help);
}

void flag_string_array(struct flag_set *f, struct flag_list *value, const char *name,
                       const char *help)
{
    flag_add_list(f, FLAG_STRING_ARRAY, value, name, help);
}

void flag_map(struct flag_set *f, struct flag_list *value, const char *name, const char *help)
{
    flag_add_list(f, FLAG_MAP, value, name, help);
}

void flag_func(struct flag_set *f, const char *name, const char *help,
               int (*set)(const char *value, void *arg, struct error *err), void *arg)
{
    flag_add(f, FLAG_FUNC, arg, name, help)->set = set;
}

void flag_no_value(struct flag_set *f, const char *name, const char *value)
{
    struct flag *flag = flag_find(f, str_of(name));
    ASSERT(flag != NULL);
    flag->no_value = value;
}

void flag_ignored(struct flag_set *f, const char *name, bool takes_value, const char *warning)
{
    struct flag *flag = flag_add(f, FLAG_IGNORED, NULL, name, "");
    flag->no_value = takes_value ? NULL : "true";
    flag->warning = warning;
    flag->hidden = true;
}

void flag_hide(struct flag_set *f, const char *name)
{
    struct flag *flag = flag_find(f, str_of(name));
    ASSERT(flag != NULL);
    flag->hidden = true;
}

void flag_replaces(struct flag_set *f, const char *name)
{
    struct flag *flag = flag_find(f, str_of(name));
    ASSERT(flag != NULL);
    flag->replaces = true;
}

/* --- setting --- */

static void flag_list_add(struct flag_set *f, struct flag *flag, struct str item)
{
    struct flag_list *list = flag->value;
    size_t cap = flag->list_cap;
    list->items = arena_grow(f->arena, list->items, list->count, &cap, sizeof(*list->items));
    flag->list_cap = cap;
    list->items[list->count++] = str_c(arena_str(f->arena, item));
}

/* The first use on the command line replaces the default, or each does. */
static void flag_list_begin(struct flag *flag)
{
    if (flag->changed && !flag->replaces)
        return;
    *(struct flag_list *)flag->value = (struct flag_list){NULL, 0};
    flag->list_cap = 0;
}

static int flag_set_list(struct flag_set *f, struct flag *flag, const char *value,
                         struct error *err)
{
    flag_list_begin(flag);
    if (flag->type == FLAG_STRING_ARRAY) {
        flag_list_add(f, flag, str_of(value));
        return 0;
    }
    for (struct str item, rest = str_of(value); !str_empty(rest);) {
        str_cut(rest, ',', &item, &rest);
        if (flag->type == FLAG_MAP && str_find(item, '=', 0) < 0)
            return error_set(err, E_INVALID, STR_FMT " must be formatted as key=value",
                             STR_ARG(item));
        flag_list_add(f, flag, item);
    }
    return 0;
}

static int flag_parse_bool(const char *value, bool *ret, struct error *err)
{
    static const char *const YES[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const NO[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < ARRAY_SIZE(YES); i++) {
        if (strcmp(value, YES[i]) == 0 || strcmp(value, NO[i]) == 0) {
            *ret = strcmp(value, YES[i]) == 0;
            return 0;
        }
    }
    return error_set(err, E_INVALID, "strconv.ParseBool: parsing \"%s\": invalid syntax", value);
}

/* Base prefixes 0x, 0o, 0b and 0 count, as for pflag. */
static int flag_parse_int(const char *value, int64_t *ret, struct error *err)
{
    const char *digits = value + (*value == '-' || *value == '+');
    int base = 10;
    if (digits[0] == '0' && digits[1] != '\0') {
        char kind = digits[1];
        base = kind == 'x' || kind == 'X' ? 16 : kind == 'b' || kind == 'B' ? 2 : 8;
        digits += kind >= '0' && kind <= '9' ? 1 : 2;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long v = strtoull(digits, &end, base);
    bool negative = *value == '-';
    if (end == digits || *end != '\0' || *digits == '-' || *digits == '+' || *digits == ' ')
        return error_set(err, E_INVALID, "strconv.ParseInt: parsing \"%s\": invalid syntax", value);
    if (errno == ERANGE || v > (unsigned long long)INT64_MAX + (negative ? 1 : 0))
        return error_set(err, E_INVALID, "strconv.ParseInt: parsing \"%s\": value out of range",
                         value);
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

static int flag_parse_float(const char *value, double *ret, struct error *err)
{
    char *end = NULL;
    double v = strtod(value, &end);
    if (end == value || *end != '\0')
        return error_set(err, E_INVALID, "strconv.ParseFloat: parsing \"%s\": invalid syntax",
                         value);
    *ret = v;
    return 0;
}

static int flag_assign(struct flag_set *f, struct flag *flag, const char *value, struct error *err)
{
    switch (flag->type) {
    case FLAG_STRING:
        *(const char **)flag->value = value;
        return 0;
    case FLAG_BOOL:
        return flag_parse_bool(value, flag->value, err);
    case FLAG_INT:
        return flag_parse_int(value, flag->value, err);
    case FLAG_FLOAT:
        return flag_parse_float(value, flag->value, err);
    case FLAG_DURATION:
        if (duration_parse(str_of(value), flag->value) < 0)
            return error_set(err, E_INVALID, "time: invalid duration \"%s\"", value);
        return 0;
    case FLAG_STRINGS:
    case FLAG_STRING_ARRAY:
    case FLAG_MAP:
        return flag_set_list(f, flag, value, err);
    case FLAG_FUNC:
        flag->given = value;
        return flag->set(value, flag->value, err);
    case FLAG_IGNORED:
        if (flag->warning != NULL && !flag->changed)
            log_warning("flag --%s: %s", flag->name, flag->warning);
        return 0;
    }
    return E_INTERNAL;
}

static int flag_store(struct flag_set *f, struct flag *flag, const char *value, struct error *err)
{
    int code = flag_assign(f, flag, value, err);
    if (code < 0) {
        if (flag->letter != '\0')
            error_prefix(err, "invalid argument \"%s\" for \"-%c, --%s\" flag", value, flag->letter,
                         flag->name);
        else
            error_prefix(err, "invalid argument \"%s\" for \"--%s\" flag", value, flag->name);
        return code;
    }
    flag->changed = true;
    return 0;
}

int flag_set_value(struct flag_set *f, const char *name, const char *value, struct error *err)
{
    struct flag *flag = flag_find(f, str_of(name));
    if (flag == NULL)
        return error_set(err, E_INVALID, "unknown flag: --%s", name);
    return flag_store(f, flag, arena_strdup(f->arena, value), err);
}

int flag_set_items(struct flag_set *f, const char *name, const struct flag_list *items,
                   struct error *err)
{
    struct flag *flag = flag_find(f, str_of(name));
    if (flag == NULL ||
        (flag->type != FLAG_STRINGS && flag->type != FLAG_STRING_ARRAY && flag->type != FLAG_MAP))
        return error_set(err, E_INVALID, "unknown flag: --%s", name);
    *(struct flag_list *)flag->value = (struct flag_list){NULL, 0};
    flag->list_cap = 0;
    for (size_t i = 0; i < items->count; i++)
        flag_list_add(f, flag, str_of(items->items[i]));
    flag->changed = true;
    return 0;
}

/* --- the command line --- */

/* --name or --name=value; *i moves on when the value is the next word. */
static int flag_parse_long(struct flag_set *f, int argc, char *const *argv, int *i,
                           struct error *err)
{
    struct str name, value;
    const char *word = argv[*i] + 2;
    bool has_value = str_cut(str_of(word), '=', &name, &value);
    if (str_empty(name) || name.data[0] == '-')
        return error_set(err, E_INVALID, "bad flag syntax: %s", argv[*i]);
    struct flag *flag = flag_find(f, name);
    if (flag == NULL) {
        if (str_eq(name, STR("help")))
            return error_set(err, E_EOF, "help requested");
        return error_set(err, E_INVALID, "unknown flag: --" STR_FMT, STR_ARG(name));
    }
    if (has_value)
        return flag_store(f, flag, value.data, err);
    if (flag->no_value != NULL)
        return flag_store(f, flag, flag->no_value, err);
    if (*i + 1 >= argc)
        return error_set(err, E_INVALID, "flag needs an argument: --%s", flag->name);
    return flag_store(f, flag, argv[++*i], err);
}

/* -abc, -nvalue, -n=value, -n value. */
static int flag_parse_short(struct flag_set *f, int argc, char *const *argv, int *i,
                            struct error *err)
{
    const char *word = argv[*i];
    for (const char *p = word + 1; *p != '\0'; p++) {
        struct flag *flag = flag_find_letter(f, *p);
        if (flag == NULL) {
            if (*p == 'h')
                return error_set(err, E_EOF, "help requested");
            return error_set(err, E_INVALID, "unknown shorthand flag: '%c' in %s", *p, word);
        }
        if (p[1] == '=')
            return flag_store(f, flag, p + 2, err);
        if (flag->no_value != NULL) {
            int code = flag_store(f, flag, flag->no_value, err);
            if (code < 0)
                return code;
            continue;
        }
        if (p[1] != '\0')
            return flag_store(f, flag, p + 1, err);
        if (*i + 1 >= argc)
            return error_set(err, E_INVALID, "flag needs an argument: '%c' in %s", *p, word);
        return flag_store(f, flag, argv[++*i], err);
    }
    return 0;
}

static void flag_add_arg(struct flag_set *f, const char *arg)
{
    f->args = arena_grow(f->arena, f->args, f->arg_count, &f->arg_cap, sizeof(*f->args));
    f->args[f->arg_count++] = arg;
}

static int flag_parse_all(struct flag_set *f, int argc, char *const *argv, bool mixed,
                          struct error *err)
{
    f->arg_count = 0;
    int i = 1;
    for (; i < argc; i++) {
        const char *word = argv[i];
        int code = 0;
        if (strcmp(word, "--") == 0) {
            i++;
            break;
        }
        if (word[0] != '-' || word[1] == '\0') {
            if (!mixed)
                break;
            flag_add_arg(f, word);
        } else if (word[1] == '-') {
            code = flag_parse_long(f, argc, argv, &i, err);
        } else {
            code = flag_parse_short(f, argc, argv, &i, err);
        }
        if (code < 0)
            return code;
    }
    for (; i < argc; i++)
        flag_add_arg(f, argv[i]);
    return 0;
}

int flag_set_parse(struct flag_set *f, int argc, char *const *argv, struct error *err)
{
    return flag_parse_all(f, argc, argv, true, err);
}

int flag_set_parse_leading(struct flag_set *f, int argc, char *const *argv, struct error *err)
{
    return flag_parse_all(f, argc, argv, false, err);
}

const char *const *flag_set_args(const struct flag_set *f, size_t *ret_count)
{
    *ret_count = f->arg_count;
    return f->args;
}

bool flag_known(const struct flag_set *f, const char *name)
{
    return flag_find(f, str_of(name)) != NULL;
}

bool flag_changed(const struct flag_set *f, const char *name)
{
    const struct flag *flag = flag_find(f, str_of(name));
    ASSERT(flag != NULL);
    return flag->changed;
}

/* --- help --- */

/* The `word` of the help text, else the type's. *ret_help gets the text
 * without backquotes. */
static struct str flag_value_word(const struct flag *flag, struct buf *ret_help)
{
    struct str help = str_of(flag->help);
    ptrdiff_t open = str_find(help, '`', 0);
    ptrdiff_t shut = open >= 0 ? str_find(help, '`', (size_t)open + 1) : -1;
    if (shut < 0) {
        buf_append_str(ret_help, help);
        return str_of(FLAG_TYPE_WORD[flag->type]);
    }
    struct str word = str_sub(help, (size_t)open + 1, (size_t)(shut - open) - 1);
    buf_append(ret_help, help.data, (size_t)open);
    buf_append_str(ret_help, word);
    buf_append_str(ret_help, str_sub(help, (size_t)shut + 1, help.len));
    return word;
}

/* "      --name word   " up to the help column. */
static size_t flag_print_left(const struct flag *flag, struct str word, struct buf *b)
{
    size_t start = b->len;
    if (flag->letter != '\0')
        buf_printf(b, "  -%c, --%s", flag->letter, flag->name);
    else
        buf_printf(b, "      --%s", flag->name);
    if (!str_empty(word))
        buf_printf(b, " " STR_FMT, STR_ARG(word));
    if (flag->no_value != NULL && flag->type != FLAG_BOOL)
        buf_printf(b, "[=%s]", flag->no_value);
    return b->len - start;
}

static int flag_order(const void *a, const void *b)
{
    return strcmp((*(const struct flag *const *)a)->name, (*(const struct flag *const *)b)->name);
}

void flag_set_help(const struct flag_set *f, struct buf *b)
{
    buf_printf(b, "Usage:\n  %s\n\nFlags:\n", f->usage);
    const struct flag **sorted = ARENA_ARRAY(f->arena, const struct flag *, f->count + 1);
    size_t count = 0, width = 0;
    for (size_t i = 0; i < f->count; i++)
        if (!f->flags[i].hidden)
            sorted[count++] = &f->flags[i];
    qsort(sorted, count, sizeof(struct flag *), flag_order);
    for (size_t i = 0; i < count; i++) {
        AUTO_BUF left = BUF_INIT;
        AUTO_BUF help = BUF_INIT;
        width = MAX_OF(width, flag_print_left(sorted[i], flag_value_word(sorted[i], &help), &left));
    }
    for (size_t i = 0; i < count; i++) {
        AUTO_BUF help = BUF_INIT;
        size_t len = flag_print_left(sorted[i], flag_value_word(sorted[i], &help), b);
        buf_printf(b, "%*s   " STR_FMT, (int)(width - len), "", STR_ARG(buf_str(&help)));
        if (sorted[i]->default_text != NULL)
            buf_printf(b, " (default %s)", sorted[i]->default_text);
        buf_putc(b, '\n');
    }
}

void flag_set_print_help(const struct flag_set *f)
{
    AUTO_BUF b = BUF_INIT;
    flag_set_help(f, &b);
    fwrite(b.data, 1, b.len, stdout);
}

/* --- what holds ---------------------------------------------------------------------------- */

static void list_text(const struct flag_list *l, bool brackets, struct buf *b)
{
    if (brackets)
        buf_putc(b, '[');
    for (size_t i = 0; i < l->count; i++)
        buf_printf(b, "%s%s", i != 0 ? "," : "", l->items[i]);
    if (brackets)
        buf_putc(b, ']');
}

static void value_text(const struct flag *f, struct buf *b)
{
    switch (f->type) {
    case FLAG_STRING:
        if (*(const char *const *)f->value != NULL)
            buf_puts(b, *(const char *const *)f->value);
        break;
    case FLAG_BOOL:
        buf_puts(b, *(const bool *)f->value ? "true" : "false");
        break;
    case FLAG_INT:
        buf_printf(b, "%" PRId64, *(const int64_t *)f->value);
        break;
    case FLAG_FLOAT:
        buf_printf(b, "%g", *(const double *)f->value);
        break;
    case FLAG_DURATION:
        duration_print(*(const int64_t *)f->value, b);
        break;
    case FLAG_STRINGS:
    case FLAG_STRING_ARRAY:
    case FLAG_MAP:
        list_text(f->value, f->type != FLAG_MAP, b);
        break;
    case FLAG_FUNC:
        buf_puts(b, f->given != NULL ? f->given : "");
        break;
    case FLAG_IGNORED:
        break;
    }
}

void flag_each(const struct flag_set *f, void (*fn)(const char *name, struct str value, void *arg),
               void *arg)
{
    for (size_t i = 0; i < f->count; i++) {
        AUTO_BUF b = BUF_INIT;
        if (f->flags[i].type == FLAG_IGNORED)
            continue;
        value_text(&f->flags[i], &b);
        fn(f->flags[i].name, buf_str(&b), arg);
    }
}

void flag_value(const struct flag_set *f, const char *name, struct buf *b)
{
    const struct flag *flag = flag_find(f, str_of(name));
    if (flag != NULL)
        value_text(flag, b);
}

const struct flag_list *flag_items(const struct flag_set *f, const char *name)
{
    const struct flag *flag = flag_find(f, str_of(name));
    bool is_list = flag != NULL && (flag->type == FLAG_STRINGS || flag->type == FLAG_STRING_ARRAY ||
                                    flag->type == FLAG_MAP);
    return is_list ? flag->value : NULL;
}

/* yaml_write.c - YAML as kubectl prints it: block style, keys in natural order,
 * the quoting of go-yaml v2 (whose layout rules are libyaml's). */
#include "lib/api/codec.h"

#include "lib/api/json.h"
#include "lib/api/json_write.h"
#include "lib/api/yaml_scalar.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"

#include <stdio.h>

enum {
    INDENT = 2,
    WIDTH = 80,       /* Where plain and quoted text wraps, at the next space. */
    KEY_LENGTH = 128, /* Longer keys are written as "? key". */
};

struct emitter {
    struct buf *out;
    int indent;
    int column;      /* In characters. */
    bool whitespace; /* The last thing written was white space. */
    bool indention;  /* Only indentation and indicators on this line so far. */
};

/* Where a node stands. */
enum place { AT_ROOT, IN_SEQUENCE, IN_MAPPING, AS_KEY };

/* --- pieces ------------------------------------------------------------------------- */

static void put(struct emitter *e, char c)
{
    buf_putc(e->out, c);
    e->column++;
}

static void put_break(struct emitter *e)
{
    buf_putc(e->out, '\n');
    e->column = 0;
}

static void write_indent(struct emitter *e)
{
    int indent = MAX_OF(e->indent, 0);
    if (!e->indention || e->column > indent || (e->column == indent && !e->whitespace))
        put_break(e);
    while (e->column < indent)
        put(e, ' ');
    e->whitespace = true;
    e->indention = true;
}

static void write_indicator(struct emitter *e, const char *text, bool need_whitespace,
                            bool is_indention)
{
    if (need_whitespace && !e->whitespace)
        put(e, ' ');
    for (; *text != '\0'; text++)
        put(e, *text);
    e->whitespace = false;
    e->indention = e->indention && is_indention;
}

/* Bytes of the character at s[i]. */
static size_t width_at(struct str s, size_t i)
{
    uint8_t c = (uint8_t)s.data[i];
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    return MIN_OF(n, s.len - i);
}

static void put_character(struct emitter *e, struct str s, size_t *i)
{
    size_t n = width_at(s, *i);
    buf_append(e->out, s.data + *i, n);
    e->column++;
    *i += n;
}

static uint8_t byte_at(struct str s, size_t i)
{
    return i < s.len ? (uint8_t)s.data[i] : 0;
}

static bool is_break(struct str s, size_t i)
{
    uint8_t c = byte_at(s, i);
    return c == '\n' || c == '\r' || (c == 0xc2 && byte_at(s, i + 1) == 0x85) ||
           (c == 0xe2 && byte_at(s, i + 1) == 0x80 && (byte_at(s, i + 2) & 0xfe) == 0xa8);
}

static bool is_printable(struct str s, size_t i)
{
    uint8_t c = byte_at(s, i), d = byte_at(s, i + 1), f = byte_at(s, i + 2);
    return c == '\n' || (c >= 0x20 && c <= 0x7e) || (c == 0xc2 && d >= 0xa0) ||
           (c > 0xc2 && c < 0xed) || (c == 0xed && d < 0xa0) || c == 0xee ||
           (c == 0xef && !(d == 0xbb && f == 0xbf) && !(d == 0xbf && (f == 0xbe || f == 0xbf)));
}

static bool is_blank_or_end(struct str s, size_t i)
{
    return i >= s.len || s.data[i] == ' ' || s.data[i] == '\t' || s.data[i] == '\0' ||
           is_break(s, i);
}

/* --- what styles a text allows ---------------------------------------------------- */

struct analysis {
    bool multiline;
    bool plain_allowed;
    bool single_allowed;
    bool block_allowed;
};

static bool has_block_indicator(struct str s, size_t i, bool preceded_by_blank)
{
    char c = s.data[i];
    bool followed = i + 1 >= s.len || s.data[i + 1] == ' ' || s.data[i + 1] == '\t';
    if (c == ':')
        return followed;
    if (i == 0 && (c == '?' || c == '-'))
        return followed;
    if (c == '#')
        return i == 0 || preceded_by_blank;
    return i == 0 && c != '\0' && strchr(",[]{}&*!|>'\"%@`", c) != NULL;
}

static struct analysis analyze(struct str s)
{
    struct analysis a = {.plain_allowed = true, .single_allowed = true};
    if (s.len == 0)
        return a;
    bool indicators =
        s.len >= 3 && (memcmp(s.data, "---", 3) == 0 || memcmp(s.data, "...", 3) == 0);
    bool special = false, edge = false, trailing_space = false, break_space = false,
         space_break = false;
    bool previous_space = false, previous_break = false, preceded = true;
    for (size_t i = 0, n; i < s.len; i += n) {
        n = width_at(s, i);
        bool last = i + n == s.len;
        indicators = indicators || has_block_indicator(s, i, preceded);
        special = special || !is_printable(s, i);
        bool space = s.data[i] == ' ', line_break = is_break(s, i);
        if (space || line_break)
            edge = edge || i == 0 || last;
        trailing_space = trailing_space || (space && last);
        break_space = break_space || (space && previous_break);
        space_break = space_break || (line_break && previous_space);
        a.multiline = a.multiline || line_break;
        previous_space = space;
        previous_break = line_break;
        preceded = is_blank_or_end(s, i);
    }
    a.plain_allowed =
        !edge && !break_space && !space_break && !special && !a.multiline && !indicators;
    a.single_allowed = !break_space && !space_break && !special;
    a.block_allowed = !trailing_space && !space_break && !special;
    return a;
}

/* --- scalars ----------------------------------------------------------------------- */

static bool space_at(struct str s, size_t i)
{
    return byte_at(s, i) == ' ';
}

/* A space past the width becomes a line break, where a single one stands. */
static bool wraps(const struct emitter *e, bool allow_breaks, bool spaces, struct str s, size_t i)
{
    return allow_breaks && !spaces && e->column > WIDTH && !space_at(s, i + 1);
}

static void write_plain(struct emitter *e, struct str s, bool allow_breaks)
{
    if (!e->whitespace)
        put(e, ' ');
    bool spaces = false;
    for (size_t i = 0; i < s.len;) {
        bool space = space_at(s, i);
        if (space && wraps(e, allow_breaks, spaces, s, i)) {
            write_indent(e);
            i++;
        } else {
            put_character(e, s, &i);
        }
        spaces = space;
        if (!space)
            e->indention = false;
    }
    e->whitespace = false;
    e->indention = false;
}

static void write_single_quoted(struct emitter *e, struct str s, bool allow_breaks)
{
    write_indicator(e, "'", true, false);
    bool spaces = false, breaks = false;
    for (size_t i = 0; i < s.len;) {
        if (space_at(s, i)) {
            if (i > 0 && i < s.len - 1 && wraps(e, allow_breaks, spaces, s, i)) {
                write_indent(e);
                i++;
            } else {
                put_character(e, s, &i);
            }
            spaces = true;
        } else if (is_break(s, i)) {
            if (!breaks && s.data[i] == '\n')
                put_break(e);
            if (s.data[i] == '\n') {
                put_break(e);
                i++;
            } else {
                put_character(e, s, &i);
                e->column = 0;
            }
            e->indention = true;
            breaks = true;
        } else {
            if (breaks)
                write_indent(e);
            if (s.data[i] == '\'')
                put(e, '\'');
            put_character(e, s, &i);
            e->indention = false;
            spaces = breaks = false;
        }
    }
    write_indicator(e, "'", false, false);
}

static uint32_t code_point(struct str s, size_t i)
{
    size_t n = width_at(s, i);
    uint8_t c = byte_at(s, i);
    uint32_t v = n == 1 ? c & 0x7fu : n == 2 ? c & 0x1fu : n == 3 ? c & 0x0fu : c & 0x07u;
    for (size_t k = 1; k < n; k++)
        v = v << 6 | (byte_at(s, i + k) & 0x3f);
    return v;
}

static void put_escape(struct emitter *e, uint32_t v)
{
    static const struct {
        uint32_t code;
        char letter;
    } letters[] = {{0, '0'},     {7, 'a'},    {8, 'b'},    {9, 't'},      {10, 'n'},
                   {11, 'v'},    {12, 'f'},   {13, 'r'},   {27, 'e'},     {'"', '"'},
                   {'\\', '\\'}, {0x85, 'N'}, {0xa0, '_'}, {0x2028, 'L'}, {0x2029, 'P'}};
    put(e, '\\');
    for (size_t i = 0; i < ARRAY_SIZE(letters); i++) {
        if (letters[i].code == v) {
            put(e, letters[i].letter);
            return;
        }
    }
    char text[12];
    snprintf(text, sizeof(text), v <= 0xff ? "x%02X" : v <= 0xffff ? "u%04X" : "U%08X", v);
    for (const char *p = text; *p != '\0'; p++)
        put(e, *p);
}

static void write_double_quoted(struct emitter *e, struct str s, bool allow_breaks)
{
    write_indicator(e, "\"", true, false);
    bool spaces = false;
    /* Upstream looks for the mark at the start when it asks whether it is here. */
    bool escape_all = str_has_prefix(s, STR("\xef\xbb\xbf"));
    for (size_t i = 0; i < s.len;) {
        if (escape_all || !is_printable(s, i) || is_break(s, i) || s.data[i] == '"' ||
            s.data[i] == '\\') {
            put_escape(e, code_point(s, i));
            i += width_at(s, i);
            spaces = false;
        } else if (space_at(s, i)) {
            if (allow_breaks && !spaces && e->column > WIDTH && i > 0 && i < s.len - 1) {
                write_indent(e);
                if (space_at(s, i + 1))
                    put(e, '\\');
                i++;
            } else {
                put_character(e, s, &i);
            }
            spaces = true;
        } else {
            put_character(e, s, &i);
            spaces = false;
        }
    }
    write_indicator(e, "\"", false, false);
}

/* Start of the character in front of s[i]; i > 0. */
static size_t previous_character(struct str s, size_t i)
{
    do
        i--;
    while (i > 0 && (byte_at(s, i) & 0xc0) == 0x80);
    return i;
}

static void write_literal(struct emitter *e, struct str s)
{
    write_indicator(e, "|", true, false);
    if (space_at(s, 0) || is_break(s, 0))
        write_indicator(e, "2", false, false);
    /* The chomping hint: no final line break, one, or several. */
    size_t last = previous_character(s, s.len);
    if (!is_break(s, last))
        write_indicator(e, "-", false, false);
    else if (last == 0 || is_break(s, previous_character(s, last)))
        write_indicator(e, "+", false, false);
    put_break(e);
    e->indention = true;
    e->whitespace = true;
    bool breaks = true;
    for (size_t i = 0; i < s.len;) {
        if (is_break(s, i)) {
            if (s.data[i] == '\n') {
                put_break(e);
                i++;
            } else {
                put_character(e, s, &i);
                e->column = 0;
            }
            e->indention = true;
            breaks = true;
        } else {
            if (breaks)
                write_indent(e);
            put_character(e, s, &i);
            e->indention = false;
            breaks = false;
        }
    }
}

static void write_text(struct emitter *e, struct str s, enum place place, bool plain)
{
    struct analysis a = analyze(s);
    bool key = place == AS_KEY;
    int indent = e->indent;
    e->indent = indent < 0 ? INDENT : indent + INDENT;
    bool newline = memchr(str_c(s), '\n', s.len) != NULL;
    if (newline && a.block_allowed && !key)
        write_literal(e, s);
    else if (newline || (!plain) || (key && a.multiline))
        write_double_quoted(e, s, !key);
    else if (a.plain_allowed && (s.len > 0 || !key))
        write_plain(e, s, !key);
    else if (a.single_allowed)
        write_single_quoted(e, s, !key);
    else
        write_double_quoted(e, s, !key);
    e->indent = indent;
}

static void write_binary(struct emitter *e, struct str s, enum place place)
{
    AUTO_BUF text = BUF_INIT;
    base64_encode(BASE64_STD, s.data, s.len, &text);
    write_indicator(e, "!!binary", true, false);
    write_text(e, buf_str(&text), place, true);
}

static void write_string(struct emitter *e, struct str s, enum place place)
{
    if (!str_is_utf8(s))
        write_binary(e, s, place);
    else
        write_text(e, s, place, yaml_scalar_is_string(s));
}

/* Upstream turns JSON text into YAML: what looks whole there and fits in 64 bits
 * stays as it is, other numbers are Go's %g, with an exponent from a million on. */
static void write_double(struct emitter *e, double v)
{
    AUTO_BUF json = BUF_INIT;
    json_put_double(v, &json);
    struct str text = buf_str(&json);
    int64_t integer;
    uint64_t big;
    if (str_eqc(text, "-0")) {
        write_plain(e, STR("0"), true);
        return;
    }
    if (str_to_i64(text, &integer) || str_to_u64(text, &big)) {
        write_plain(e, text, true);
        return;
    }
    char scientific[40];
    int precision = 0;
    do
        snprintf(scientific, sizeof(scientific), "%.*e", precision, v);
    while (strtod(scientific, NULL) != v && ++precision <= 17);
    int exponent = atoi(strchr(scientific, 'e') + 1);
    write_plain(e, exponent >= -4 && exponent < 6 ? text : str_of(scientific), true);
}

/* --- nodes -------------------------------------------------------------------------- */

static void write_node(struct emitter *e, const struct json *j, enum place place);

static void write_sequence(struct emitter *e, const struct json *j, enum place place)
{
    int indent = e->indent;
    /* Items of a member's list stand under its key, not right of it. */
    if (!(place == IN_MAPPING && !e->indention))
        e->indent = indent < 0 ? 0 : indent + INDENT;
    for (size_t i = 0; i < j->array.count; i++) {
        write_indent(e);
        write_indicator(e, "-", true, true);
        write_node(e, j->array.items[i], IN_SEQUENCE);
    }
    e->indent = indent;
}

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}
static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* go-yaml's natural order: numbers inside keys count as numbers, letters come
 * after everything else. */
static int compare_keys(struct str a, struct str b)
{
    size_t i = 0, n = MIN_OF(a.len, b.len);
    while (i < n && a.data[i] == b.data[i])
        i++;
    if (i == n)
        return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
    uint8_t ca = byte_at(a, i), cb = byte_at(b, i);
    bool la = is_letter(ca), lb = is_letter(cb);
    if (la && lb)
        return ca < cb ? -1 : 1;
    if (la || lb)
        return lb ? -1 : 1;
    uint64_t na = 0, nb = 0;
    if (ca == '0' || cb == '0')
        for (size_t k = i; k > 0 && is_digit(byte_at(a, k - 1)); k--)
            if (a.data[k - 1] != '0') {
                na = nb = 1;
                break;
            }
    size_t ia = i, ib = i;
    for (; is_digit(byte_at(a, ia)); ia++)
        na = na * 10 + (uint64_t)(byte_at(a, ia) - '0');
    for (; is_digit(byte_at(b, ib)); ib++)
        nb = nb * 10 + (uint64_t)(byte_at(b, ib) - '0');
    if (na != nb)
        return (int64_t)na < (int64_t)nb ? -1 : 1;
    if (ia != ib)
        return ia < ib ? -1 : 1;
    return ca < cb ? -1 : 1;
}

static int compare_members(const void *x, const void *y)
{
    const struct json_member *a = *(const struct json_member *const *)x,
                             *b = *(const struct json_member *const *)y;
    return compare_keys(a->key, b->key);
}

/* The order has cycles (k5 < k49 < k4A < k5), so the algorithm shows. Go sorts
 * up to a dozen members by insertion, and hardly a map has more. */
static void sort_members(const struct json_member **members, size_t n)
{
    enum { INSERTION_MAX = 12 };
    if (n > INSERTION_MAX) {
        qsort(members, n, sizeof(*members), compare_members);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        for (size_t k = i; k > 0 && compare_members(&members[k], &members[k - 1]) < 0; k--) {
            const struct json_member *m = members[k];
            members[k] = members[k - 1];
            members[k - 1] = m;
        }
    }
}

static void write_member(struct emitter *e, const struct json_member *m)
{
    write_indent(e);
    if (m->key.len <= KEY_LENGTH && !analyze(m->key).multiline) {
        write_string(e, m->key, AS_KEY);
        write_indicator(e, ":", false, false);
    } else {
        write_indicator(e, "?", true, true);
        write_string(e, m->key, IN_MAPPING);
        write_indent(e);
        write_indicator(e, ":", true, true);
    }
    write_node(e, m->value, IN_MAPPING);
}

static void write_mapping(struct emitter *e, const struct json *j)
{
    size_t n = j->object.count;
    int indent = e->indent;
    e->indent = indent < 0 ? 0 : indent + INDENT;
    const struct json_member **order = xmalloc(n * sizeof(*order));
    for (size_t i = 0; i < n; i++)
        order[i] = &j->object.members[i];
    sort_members(order, n);
    for (size_t i = 0; i < n; i++)
        write_member(e, order[i]);
    free(order);
    e->indent = indent;
}

static void write_node(struct emitter *e, const struct json *j, enum place place)
{
    char number[24];
    switch (j->type) {
    case JSON_NULL:
        write_plain(e, STR("null"), true);
        break;
    case JSON_BOOL:
        write_plain(e, j->boolean ? STR("true") : STR("false"), true);
        break;
    case JSON_INT:
        snprintf(number, sizeof(number), "%lld", (long long)j->integer);
        write_plain(e, str_of(number), true);
        break;
    case JSON_DOUBLE:
        write_double(e, j->number.value);
        break;
    case JSON_STRING:
        write_string(e, j->string, place);
        break;
    case JSON_ARRAY:
        if (j->array.count == 0)
            write_indicator(e, "[]", true, false);
        else
            write_sequence(e, j, place);
        break;
    case JSON_OBJECT:
        if (j->object.count == 0)
            write_indicator(e, "{}", true, false);
        else
            write_mapping(e, j);
        break;
    }
}

void api_yaml_write(const struct json *tree, struct buf *out)
{
    struct emitter e = {.out = out, .indent = -1, .whitespace = true, .indention = true};
    size_t mark = out->len;
    write_node(&e, tree, AT_ROOT);
    if (e.column != 0 || out->len == mark)
        buf_putc(out, '\n');
}

/* cel_lex.c - expression text to tokens, and literals to values. Pure. */
#include "lib/api/cel/cel_internal.h"

#include "lib/base/buf.h"

#include <stdarg.h>
#include <stdio.h>

/* --- issues ------------------------------------------------------------------------- */
/* The line at pos and a caret below it; wide signs get wide dots, so that both align. */
static void put_snippet(struct buf *b, struct str text, size_t from, size_t pos)
{
    ptrdiff_t end = str_find(text, '\n', from);
    struct str line = str_sub(text, from, (end < 0 ? text.len : (size_t)end) - from);
    buf_printf(b, "\n | ");
    buf_append_str(b, line);
    buf_puts(b, "\n | ");
    for (size_t i = 0; i < pos - from && i < line.len;) {
        uint32_t c;
        size_t n = cel_utf8_next(line, i, &c);
        buf_puts(b, n > 1 ? "．" : ".");
        i += n;
    }
    buf_puts(b, pos - from < line.len && (unsigned char)line.data[pos - from] >= 0x80 ? "＾" : "^");
}

void cel_issue(struct cel_source *s, uint32_t pos, const char *fmt, ...)
{
    if (s->issue_count++ >= CEL_ISSUES_MAX)
        return;
    size_t from = 0, row = 1, column = 0;
    for (size_t i = 0; i < pos; i++)
        if (s->text.data[i] == '\n') {
            from = i + 1;
            row++;
        }
    for (size_t i = from; i < pos; column++) {
        uint32_t c;
        i += cel_utf8_next(s->text, i, &c);
    }
    AUTO_BUF b = BUF_INIT;
    buf_append_str(&b, s->issues);
    if (b.len != 0)
        buf_putc(&b, '\n');
    buf_printf(&b, "ERROR: <input>:%zu:%zu: ", row, column + 1);
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    buf_puts(&b, text);
    put_snippet(&b, s->text, from, pos);
    s->issues = arena_str(s->arena, buf_str(&b));
}

/* --- UTF-8 ----------------------------------------------------------------------------- */
size_t cel_utf8_next(struct str s, size_t at, uint32_t *ret)
{
    const unsigned char *p = (const unsigned char *)s.data + at;
    size_t left = s.len - at, n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n == 1 || n > left) {
        *ret = p[0];
        return 1;
    }
    uint32_t c = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            *ret = p[0];
            return 1;
        }
        c = c << 6 | (p[i] & 0x3fu);
    }
    *ret = c;
    return n;
}

size_t cel_utf8_put(uint32_t c, char ret[4])
{
    if (c < 0x80) {
        ret[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        ret[i] = (char)(0x80 | (c & 0x3f));
    ret[0] = (char)((0xf00u >> n & 0xff) | c);
    return n;
}

size_t cel_utf8_len(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.data[i] & 0xc0) != 0x80;
    return n;
}

bool cel_utf8_slice(struct str s, size_t from, size_t to, struct str *ret)
{
    size_t at = 0, count = 0, start = 0;
    for (;; count++) {
        if (count == from)
            start = at;
        if (count == to) {
            *ret = str_sub(s, start, at - start);
            return true;
        }
        if (at >= s.len)
            return false;
        uint32_t c;
        at += cel_utf8_next(s, at, &c);
    }
}

/* --- tokens ------------------------------------------------------------------------------- */
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int hex_value(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static char at(struct str s, size_t i)
{
    return i < s.len ? s.data[i] : '\0';
}

/* Length of the number at i. */
static size_t number_length(struct str s, size_t i, enum cel_token_kind *ret)
{
    size_t from = i;
    *ret = TOKEN_INT;
    if (at(s, i) == '0' && (at(s, i + 1) == 'x') && hex_value(at(s, i + 2)) >= 0) {
        for (i += 2; hex_value(at(s, i)) >= 0; i++)
            ;
    } else {
        while (is_digit(at(s, i)))
            i++;
        if (at(s, i) == '.' && is_digit(at(s, i + 1))) {
            *ret = TOKEN_FLOAT;
            for (i++; is_digit(at(s, i)); i++)
                ;
        }
        size_t e = i + 1;
        if (at(s, i) == 'e' || at(s, i) == 'E') {
            if (at(s, e) == '+' || at(s, e) == '-')
                e++;
            if (is_digit(at(s, e))) {
                *ret = TOKEN_FLOAT;
                for (i = e; is_digit(at(s, i)); i++)
                    ;
            }
        }
    }
    if (*ret == TOKEN_INT && (at(s, i) == 'u' || at(s, i) == 'U')) {
        *ret = TOKEN_UINT;
        i++;
    }
    return i - from;
}

/* Length of the string at i, prefix and quotes included; 0: it is none or has no end. */
static size_t string_length(struct str s, size_t i, bool *ret_bytes, bool *ret_started)
{
    size_t from = i;
    bool raw = false;
    *ret_bytes = *ret_started = false;
    for (int k = 0; k < 2; k++) {
        char c = at(s, i);
        if (!*ret_bytes && (c == 'b' || c == 'B')) {
            *ret_bytes = true;
            i++;
        } else if (!raw && (c == 'r' || c == 'R')) {
            raw = true;
            i++;
        }
    }
    char quote = at(s, i);
    if (quote != '"' && quote != '\'')
        return 0;
    *ret_started = true;
    bool triple = at(s, i + 1) == quote && at(s, i + 2) == quote;
    for (i += triple ? 3 : 1; i < s.len; i++) {
        char c = s.data[i];
        if (c == '\\' && !raw)
            i++;
        else if (c == quote && !triple)
            return i + 1 - from;
        else if (c == quote && at(s, i + 1) == quote && at(s, i + 2) == quote)
            return i + 3 - from;
        else if ((c == '\n' || c == '\r') && !triple)
            return 0;
    }
    return 0;
}

static size_t punct_length(struct str s, size_t i)
{
    static const char *const two[] = {"==", "!=", "<=", ">=", "&&", "||"};
    for (size_t k = 0; k < ARRAY_SIZE(two); k++)
        if (at(s, i) == two[k][0] && at(s, i + 1) == two[k][1])
            return 2;
    return strchr("<>!?:.,+-*/%()[]{}", s.data[i]) != NULL ? 1 : 0;
}

static size_t quoted_ident_length(struct str s, size_t i)
{
    size_t from = i++;
    while (is_letter(at(s, i)) || is_digit(at(s, i)) ||
           (at(s, i) != '\0' && strchr("./- ", at(s, i)) != NULL))
        i++;
    return at(s, i) == '`' && i > from + 1 ? i + 1 - from : 0;
}

/* Kind and length of the token at i; 0: none begins here. */
static size_t token_at(struct str s, size_t i, enum cel_token_kind *ret)
{
    bool bytes, started;
    size_t n = string_length(s, i, &bytes, &started);
    if (n != 0) {
        *ret = bytes ? TOKEN_BYTES : TOKEN_STRING;
        return n;
    }
    char c = s.data[i];
    if (is_letter(c)) {
        for (n = 1; is_letter(at(s, i + n)) || is_digit(at(s, i + n)); n++)
            ;
        struct str word = str_sub(s, i, n);
        *ret = str_eqc(word, "true")    ? TOKEN_TRUE
               : str_eqc(word, "false") ? TOKEN_FALSE
               : str_eqc(word, "null")  ? TOKEN_NULL
               : str_eqc(word, "in")    ? TOKEN_PUNCT
                                        : TOKEN_IDENT;
        return n;
    }
    if (is_digit(c) || (c == '.' && is_digit(at(s, i + 1)))) {
        n = number_length(s, i, ret);
        return n;
    }
    if (c == '`') {
        *ret = TOKEN_QUOTED_IDENT;
        return quoted_ident_length(s, i);
    }
    *ret = TOKEN_PUNCT;
    return c == '\0' ? 0 : punct_length(s, i);
}

/* What the lexer cannot read: up to the end of the line when a string is not closed. */
static size_t report_junk(struct cel_source *s, size_t i)
{
    bool bytes, started;
    string_length(s->text, i, &bytes, &started);
    uint32_t c;
    size_t n = cel_utf8_next(s->text, i, &c);
    if (started) {
        ptrdiff_t end = str_find(s->text, '\n', i);
        n = (end < 0 ? s->text.len : (size_t)end) - i;
    }
    cel_issue(s, (uint32_t)i, "Syntax error: token recognition error at: '" STR_FMT "'",
              STR_ARG(str_sub(s->text, i, n)));
    return n;
}

size_t cel_lex(struct cel_source *s, struct cel_token **ret)
{
    struct cel_token *tokens = NULL;
    size_t count = 0, cap = 0, i = 0;
    struct str text = s->text;
    while (i < text.len) {
        char c = text.data[i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f') {
            i++;
            continue;
        }
        if (c == '/' && at(text, i + 1) == '/') {
            ptrdiff_t end = str_find(text, '\n', i);
            i = end < 0 ? text.len : (size_t)end;
            continue;
        }
        struct cel_token t = {.pos = (uint32_t)i};
        size_t n = token_at(text, i, &t.kind);
        if (n == 0) {
            i += report_junk(s, i);
            continue;
        }
        t.text = str_sub(text, i, n);
        i += n;
        tokens = arena_grow(s->arena, tokens, count, &cap, sizeof(*tokens));
        tokens[count++] = t;
    }
    tokens = arena_grow(s->arena, tokens, count, &cap, sizeof(*tokens));
    tokens[count++] = (struct cel_token){TOKEN_EOF, (uint32_t)text.len, STR("<EOF>")};
    *ret = tokens;
    return count;
}

/* --- string literals -------------------------------------------------------------------------- */
static bool digits(struct str s, size_t from, size_t count, unsigned base, uint32_t *ret)
{
    uint32_t v = 0;
    if (from + count > s.len)
        return false;
    for (size_t i = from; i < from + count; i++) {
        int d = hex_value(s.data[i]);
        if (d < 0 || (unsigned)d >= base)
            return false;
        v = v * base + (uint32_t)d;
    }
    *ret = v;
    return true;
}

/* The escape at s[i], behind the backslash; its length, 0 when it is wrong. */
static size_t put_escape(struct str s, size_t i, bool bytes, struct buf *out)
{
    static const char from[] = "abfnrtv\\?\"'`", to[] = "\a\b\f\n\r\t\v\\?\"'`";
    char c = at(s, i);
    const char *p = c != '\0' ? strchr(from, c) : NULL;
    if (p != NULL) {
        buf_putc(out, to[p - from]);
        return 1;
    }
    size_t n;
    uint32_t v;
    bool ok, unicode = c == 'u' || c == 'U';
    if (c == 'x' || c == 'X') {
        n = 3;
        ok = digits(s, i + 1, 2, 16, &v);
    } else if (unicode) {
        n = c == 'u' ? 5 : 9;
        ok = !bytes && digits(s, i + 1, n - 1, 16, &v) && v <= 0x10ffff &&
             (v < 0xd800 || v > 0xdfff);
    } else {
        n = 3;
        ok = c >= '0' && c <= '3' && digits(s, i, 3, 8, &v);
    }
    if (!ok)
        return 0;
    char text[4];
    if (bytes)
        buf_putc(out, (char)v);
    else
        buf_append(out, text, cel_utf8_put(v, text));
    return n;
}

bool cel_unquote(struct cel_source *s, const struct cel_token *t, struct str *ret)
{
    struct str text = t->text;
    bool raw = false, bytes = t->kind == TOKEN_BYTES;
    while (text.data[0] != '"' && text.data[0] != '\'') {
        raw |= text.data[0] == 'r' || text.data[0] == 'R';
        text = str_sub(text, 1, text.len - 1);
    }
    size_t q =
        text.len >= 6 && text.data[1] == text.data[0] && text.data[2] == text.data[0] ? 3 : 1;
    text = str_sub(text, q, text.len - 2 * q);
    if (!str_is_utf8(text) && !bytes) {
        cel_issue(s, t->pos, "Syntax error: invalid UTF-8 in string literal");
        return false;
    }
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < text.len;) {
        if (text.data[i] == '\r') {
            buf_putc(&b, '\n');
            i += at(text, i + 1) == '\n' ? 2 : 1;
        } else if (text.data[i] == '\\' && !raw) {
            size_t n = put_escape(text, i + 1, bytes, &b);
            if (n == 0) {
                cel_issue(s, t->pos, "Syntax error: unable to unescape string");
                return false;
            }
            i += 1 + n;
        } else {
            buf_putc(&b, text.data[i++]);
        }
    }
    *ret = arena_str(s->arena, buf_str(&b));
    return true;
}

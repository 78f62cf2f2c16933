/* yaml_scalar.c - see yaml_scalar.h. */
#include "lib/api/yaml_scalar.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"

#include <errno.h>
#include <math.h>

enum meaning {
    MEANS_STRING,
    MEANS_NULL,
    MEANS_TRUE,
    MEANS_FALSE,
    MEANS_INT,
    MEANS_UINT,
    MEANS_DOUBLE
};

struct resolved {
    enum meaning meaning;
    int64_t integer;
    uint64_t big;
    double number;
};

static const struct {
    const char *text;
    enum meaning meaning;
} words[] = {
    {"y", MEANS_TRUE},      {"Y", MEANS_TRUE},      {"yes", MEANS_TRUE},    {"Yes", MEANS_TRUE},
    {"YES", MEANS_TRUE},    {"true", MEANS_TRUE},   {"True", MEANS_TRUE},   {"TRUE", MEANS_TRUE},
    {"on", MEANS_TRUE},     {"On", MEANS_TRUE},     {"ON", MEANS_TRUE},     {"n", MEANS_FALSE},
    {"N", MEANS_FALSE},     {"no", MEANS_FALSE},    {"No", MEANS_FALSE},    {"NO", MEANS_FALSE},
    {"false", MEANS_FALSE}, {"False", MEANS_FALSE}, {"FALSE", MEANS_FALSE}, {"off", MEANS_FALSE},
    {"Off", MEANS_FALSE},   {"OFF", MEANS_FALSE},   {"", MEANS_NULL},       {"~", MEANS_NULL},
    {"null", MEANS_NULL},   {"Null", MEANS_NULL},   {"NULL", MEANS_NULL},
};

static const struct {
    const char *text;
    double value;
} special_numbers[] = {
    {".nan", NAN},       {".NaN", NAN},        {".NAN", NAN},        {".inf", INFINITY},
    {".Inf", INFINITY},  {".INF", INFINITY},   {"+.inf", INFINITY},  {"+.Inf", INFINITY},
    {"+.INF", INFINITY}, {"-.inf", -INFINITY}, {"-.Inf", -INFINITY}, {"-.INF", -INFINITY},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits_from(const char *p, size_t i)
{
    while (is_digit(p[i]))
        i++;
    return i;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_float(const char *p)
{
    size_t i = p[0] == '-' || p[0] == '+' ? 1 : 0, end;
    if (p[i] == '.') {
        end = digits_from(p, i + 1);
        if (end == i + 1)
            return false;
    } else {
        end = digits_from(p, i);
        if (end == i)
            return false;
        if (p[end] == '.')
            end = digits_from(p, end + 1);
    }
    if (p[end] == 'e' || p[end] == 'E') {
        i = end + 1;
        if (p[i] == '-' || p[i] == '+')
            i++;
        end = digits_from(p, i);
        if (end == i)
            return false;
    }
    return p[end] == '\0';
}

static int digit_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'Z' ? c - 'A' + 10 : 99;
}

/* Go's ParseInt with base 0: 0x, 0o, 0b and plain 0 prefixes. False: no whole
 * number, or one that does not fit. */
static bool parse_integer(const char *p, struct resolved *ret)
{
    bool negative = *p == '-';
    bool sign = negative || *p == '+';
    p += sign;
    int base = 10;
    if (p[0] == '0' && p[1] != '\0') {
        char c = (char)(p[1] | 0x20);
        base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 8;
        p += c == 'x' || c == 'o' || c == 'b' ? 2 : 1;
    }
    if (*p == '\0')
        return false;
    uint64_t v = 0;
    for (; *p != '\0'; p++) {
        int d = digit_value(*p);
        if (d >= base || __builtin_mul_overflow(v, (uint64_t)base, &v) ||
            __builtin_add_overflow(v, (uint64_t)d, &v))
            return false;
    }
    if (v <= (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        ret->meaning = MEANS_INT;
        ret->integer = negative ? (int64_t)((uint64_t)0 - v) : (int64_t)v;
        return true;
    }
    ret->meaning = MEANS_UINT;
    ret->big = v;
    return !sign;
}

enum { NUMBER_MAX = 400 };

static bool resolve_number(struct str text, struct resolved *ret)
{
    char plain[NUMBER_MAX + 1];
    size_t len = 0;
    /* Behind a leading point Go's own rule holds: underscores part digits. */
    bool point = text.data[0] == '.';
    for (size_t i = 0; i < text.len; i++) {
        bool parts =
            i > 0 && is_digit(text.data[i - 1]) && i + 1 < text.len && is_digit(text.data[i + 1]);
        if (text.data[i] == '\0' || len == NUMBER_MAX || (text.data[i] == '_' && point && !parts))
            return false;
        if (text.data[i] != '_')
            plain[len++] = text.data[i];
    }
    plain[len] = '\0';
    if (!point && parse_integer(plain, ret))
        return true;
    if (!is_float(plain))
        return false;
    errno = 0;
    ret->meaning = MEANS_DOUBLE;
    ret->number = strtod(plain, NULL);
    return !isinf(ret->number);
}

static struct resolved resolve(struct str text)
{
    struct resolved r = {0};
    for (size_t i = 0; text.len <= 5 && i < ARRAY_SIZE(words); i++) {
        if (str_eqc(text, words[i].text)) {
            r.meaning = words[i].meaning;
            return r;
        }
    }
    for (size_t i = 0; text.len <= 5 && i < ARRAY_SIZE(special_numbers); i++) {
        if (str_eqc(text, special_numbers[i].text)) {
            r.meaning = MEANS_DOUBLE;
            r.number = special_numbers[i].value;
            return r;
        }
    }
    char c = text.len > 0 ? text.data[0] : 'x';
    if ((is_digit(c) || c == '+' || c == '-' || c == '.') && !resolve_number(text, &r))
        r.meaning = MEANS_STRING;
    return r;
}

struct json *yaml_scalar_resolve(struct arena *a, struct str text)
{
    struct resolved r = resolve(text);
    switch (r.meaning) {
    case MEANS_NULL:
        return json_null(a);
    case MEANS_TRUE:
    case MEANS_FALSE:
        return json_bool(a, r.meaning == MEANS_TRUE);
    case MEANS_INT:
        return json_int(a, r.integer);
    case MEANS_UINT: {
        struct json *j = json_double(a, (double)r.big);
        j->number.text = arena_printf(a, "%llu", (unsigned long long)r.big);
        return j;
    }
    case MEANS_DOUBLE:
        return json_double(a, r.number);
    case MEANS_STRING:
        break;
    }
    return json_string(a, text);
}

/* Sexagesimal numbers (1:30) are no numbers here, but are to other readers. */
static bool is_base60(struct str s)
{
    size_t i = s.len > 0 && (s.data[0] == '-' || s.data[0] == '+') ? 1 : 0;
    if (i >= s.len || !is_digit(s.data[i]))
        return false;
    while (i < s.len && (is_digit(s.data[i]) || s.data[i] == '_'))
        i++;
    size_t groups = 0;
    while (i < s.len && s.data[i] == ':') {
        size_t start = ++i;
        while (i < s.len && is_digit(s.data[i]))
            i++;
        size_t n = i - start;
        if (n == 0 || n > 2 || (n == 2 && s.data[start] > '5'))
            return false;
        groups++;
    }
    if (groups == 0)
        return false;
    if (i < s.len && s.data[i] == '.')
        for (i++; i < s.len && (is_digit(s.data[i]) || s.data[i] == '_');)
            i++;
    return i == s.len;
}

static size_t short_number(struct str s, size_t i)
{
    size_t end = i;
    while (end < s.len && end < i + 2 && is_digit(s.data[end]))
        end++;
    return end;
}

/* Two digits at most behind the separator; 0 when there are none. */
static size_t field(struct str s, size_t i, char separator)
{
    if (i >= s.len || s.data[i] != separator)
        return 0;
    size_t end = short_number(s, i + 1);
    return end > i + 1 ? end : 0;
}

/* Dates and times read as strings, but upstream takes them for timestamps when
 * it decides on quotes. */
static bool is_timestamp(struct str s)
{
    size_t i = 0;
    while (i < s.len && is_digit(s.data[i]))
        i++;
    if (i != 4 || (i = field(s, i, '-')) == 0 || (i = field(s, i, '-')) == 0)
        return false;
    if (i == s.len)
        return true;
    bool zoned = s.data[i] == 'T' || s.data[i] == 't';
    if (!zoned && s.data[i] != ' ')
        return false;
    if ((i = field(s, i, s.data[i])) == 0 || (i = field(s, i, ':')) == 0 ||
        (i = field(s, i, ':')) == 0)
        return false;
    if (i < s.len && s.data[i] == '.')
        for (i++; i < s.len && is_digit(s.data[i]);)
            i++;
    if (!zoned)
        return i == s.len;
    if (i + 1 == s.len)
        return s.data[i] == 'Z';
    return s.len - i == 6 && (s.data[i] == '+' || s.data[i] == '-') && s.data[i + 3] == ':';
}

bool yaml_scalar_is_string(struct str text)
{
    return resolve(text).meaning == MEANS_STRING && !is_base60(text) && !is_timestamp(text);
}

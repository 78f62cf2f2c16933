/* cel_zone.c - see cel_zone.h. Files are kept for ever: there are some six
 * hundred names, and expressions use a few of them. */
#include "lib/api/cel/cel_zone.h"

#include "lib/api/cel/cel_civil.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"

#include <pthread.h>
#include <stdio.h>

#define FOLDER "/usr/share/zoneinfo/"

enum { NAME_MAX_BYTES = 64, FILE_MAX = 256 << 10, ZONES_MAX = 1024, HEADER = 44, DAY_S = 86400 };

/* --- rules for what comes behind the last transition: POSIX TZ -------------------------------- */
struct rule {
    int64_t month, week, day; /* Mm.w.d: week 5 is the last. */
    int64_t seconds;          /* Of the day, local time. */
};

struct text {
    struct str rest;
    bool bad;
};

static char peek(const struct text *t)
{
    return t->rest.len != 0 ? t->rest.data[0] : '\0';
}

static bool accept(struct text *t, char c)
{
    if (peek(t) != c)
        return false;
    t->rest = str_sub(t->rest, 1, t->rest.len);
    return true;
}

static int64_t number(struct text *t)
{
    int64_t n = 0;
    t->bad |= peek(t) < '0' || peek(t) > '9';
    while (peek(t) >= '0' && peek(t) <= '9' && n < 1000) {
        n = n * 10 + (peek(t) - '0');
        t->rest = str_sub(t->rest, 1, t->rest.len);
    }
    return n;
}

/* [+-]hh[:mm[:ss]] */
static int64_t clock_time(struct text *t)
{
    int64_t sign = accept(t, '-') ? -1 : 1;
    accept(t, '+');
    int64_t s = number(t) * 3600;
    if (accept(t, ':'))
        s += number(t) * 60;
    if (accept(t, ':'))
        s += number(t);
    return sign * s;
}

static void zone_name(struct text *t)
{
    bool quoted = accept(t, '<');
    size_t n = 0;
    for (char c; (c = peek(t)) != '\0'; n++) {
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (quoted ? c == '>' : !letter)
            break;
        t->rest = str_sub(t->rest, 1, t->rest.len);
    }
    t->bad |= n == 0 || (quoted && !accept(t, '>'));
}

static struct rule read_rule(struct text *t)
{
    struct rule r = {.seconds = 2 * 3600};
    t->bad |= !accept(t, ',') || !accept(t, 'M');
    r.month = number(t);
    t->bad |= !accept(t, '.');
    r.week = number(t);
    t->bad |= !accept(t, '.');
    r.day = number(t);
    if (accept(t, '/'))
        r.seconds = clock_time(t);
    t->bad |= r.month < 1 || r.month > 12 || r.week < 1 || r.week > 5 || r.day > 6;
    return r;
}

/* When it comes in that year, in local time without offset. */
static int64_t rule_time(const struct rule *r, int64_t year)
{
    int64_t first = cel_days_of(year, (unsigned)r->month, 1);
    int64_t next =
        r->month == 12 ? cel_days_of(year + 1, 1, 1) : cel_days_of(year, (unsigned)r->month + 1, 1);
    int64_t weekday = ((first + 4) % 7 + 7) % 7;
    int64_t day = first + (r->day - weekday + 7) % 7 + (r->week - 1) * 7;
    return (day < next ? day : day - 7) * DAY_S + r->seconds;
}

static bool posix_offset(struct str rules, int64_t at, int64_t *ret)
{
    struct text t = {.rest = rules};
    zone_name(&t);
    int64_t standard = -clock_time(&t), summer = standard + 3600, year;
    unsigned month, day;
    *ret = standard;
    if (t.bad || t.rest.len == 0)
        return !t.bad;
    zone_name(&t);
    if (peek(&t) != ',')
        summer = -clock_time(&t);
    struct rule begin = read_rule(&t), end = read_rule(&t);
    if (t.bad)
        return false;
    int64_t local = at + standard;
    cel_civil((local - ((local % DAY_S + DAY_S) % DAY_S)) / DAY_S, &year, &month, &day);
    int64_t from = rule_time(&begin, year) - standard, to = rule_time(&end, year) - summer;
    bool in = from < to ? at >= from && at < to : at >= from || at < to;
    *ret = in ? summer : standard;
    return true;
}

/* --- files -------------------------------------------------------------------------------------
 */
static int64_t big_endian(const char *p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | (unsigned char)p[i];
    return bytes == 4 ? (int64_t)(int32_t)(uint32_t)v : (int64_t)v;
}

struct counts {
    size_t utc, standard, leaps, times, types, chars;
};

static bool read_header(struct str file, size_t at, struct counts *c)
{
    const char *p = file.data + at;
    size_t n[6];
    if (at > file.len || file.len - at < HEADER || memcmp(p, "TZif", 4) != 0)
        return false;
    for (size_t i = 0; i < 6; i++)
        n[i] = (size_t)(uint32_t)big_endian(p + 20 + 4 * i, 4);
    for (size_t i = 0; i < 6; i++)
        if (n[i] > FILE_MAX)
            return false;
    *c = (struct counts){n[0], n[1], n[2], n[3], n[4], n[5]};
    return true;
}

/* Of a block whose times have that many bytes. */
static size_t block_bytes(const struct counts *c, size_t time_bytes)
{
    return c->times * (time_bytes + 1) + c->types * 6 + c->chars + c->leaps * (time_bytes + 4) +
           c->standard + c->utc;
}

bool cel_zone_offset_in(struct str file, int64_t at_s, int64_t *ret_s)
{
    struct counts c;
    size_t at = HEADER, bytes = 4;
    if (!read_header(file, 0, &c))
        return false;
    if (file.data[4] >= '2') {
        size_t second = HEADER + block_bytes(&c, 4);
        if (!read_header(file, second, &c))
            return false;
        at = second + HEADER;
        bytes = 8;
    }
    if (c.types == 0 || at > file.len || file.len - at < block_bytes(&c, bytes))
        return false;
    const char *times = file.data + at, *indexes = times + c.times * bytes,
               *types = indexes + c.times;
    size_t low = 0, high = c.times; /* The first transition that is later. */
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (big_endian(times + mid * bytes, bytes) <= at_s)
            low = mid + 1;
        else
            high = mid;
    }
    struct str footer = str_trim(str_sub(file, at + block_bytes(&c, bytes), file.len));
    if (low == c.times && bytes == 8 && footer.len != 0 && posix_offset(footer, at_s, ret_s))
        return true;
    size_t type = low != 0 ? (unsigned char)indexes[low - 1] : 0;
    if (type >= c.types)
        return false;
    *ret_s = big_endian(types + type * 6, 4);
    return true;
}

/* --- the database
 * --------------------------------------------------------------------------------- */
static bool is_name(struct str s)
{
    if (s.len == 0 || s.len >= NAME_MAX_BYTES || s.data[0] == '/' ||
        str_find_str(s, STR("..")) >= 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr("/_-+", c) != NULL))
            return false;
    }
    return true;
}

/* Empty: there is none. The lock is held. */
static struct str find_file(struct str name)
{
    static struct {
        char name[NAME_MAX_BYTES];
        struct str file;
    } zones[ZONES_MAX];
    static size_t count;
    char path[sizeof(FOLDER) + NAME_MAX_BYTES];
    struct buf text = BUF_INIT;
    int64_t offset;
    for (size_t i = 0; i < count; i++)
        if (str_eqc(name, zones[i].name))
            return zones[i].file;
    snprintf(path, sizeof(path), FOLDER STR_FMT, STR_ARG(name));
    if (count == ZONES_MAX || file_read(path, FILE_MAX, &text, NULL) != 0 ||
        !cel_zone_offset_in(buf_str(&text), 0, &offset)) {
        buf_done(&text);
        return STR_NULL;
    }
    snprintf(zones[count].name, NAME_MAX_BYTES, STR_FMT, STR_ARG(name));
    zones[count].file = buf_str(&text); /* Kept for ever. */
    return zones[count++].file;
}

bool cel_zone_offset(struct str name, int64_t at_s, int64_t *ret_s)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (!is_name(name))
        return false;
    pthread_mutex_lock(&lock);
    struct str file = find_file(name);
    pthread_mutex_unlock(&lock);
    return file.len != 0 && cel_zone_offset_in(file, at_s, ret_s);
}

/* value_diff.c - see value_diff.h. Pure.
 *
 * The common head and tail of the two texts are cut off; what remains is
 * compared by the longest common subsequence, or taken as changed throughout
 * when it is too long for that. */
#include "apiserver/kinds/value_diff.h"

#include "apiserver/field_error.h"
#include "api/core_v1.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define CONTEXT_LINES 3u
#define COMPARED_MAX 1024u /* Lines of either side between head and tail. */

struct lines {
    struct str *items;
    size_t count;
};

static struct lines split(struct arena *a, struct str text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == '\n';
    struct lines l = {ARENA_ARRAY(a, struct str, n), 0};
    bool more = true;
    while (more)
        more = str_cut(text, '\n', &l.items[l.count++], &text);
    return l;
}

/* One line of the merged text: ' ' in both, '-' only old, '+' only new. */
struct edit {
    char kind;
    struct str line;
};

struct edits {
    struct edit *items;
    size_t count;
};

static void push(struct edits *e, char kind, struct str line)
{
    e->items[e->count++] = (struct edit){kind, line};
}

static void compare_middle(struct arena *a, const struct str *x, size_t n, const struct str *y,
                           size_t m, struct edits *e)
{
    size_t i = 0, j = 0;
    if (n <= COMPARED_MAX && m <= COMPARED_MAX) {
        uint16_t *len = arena_array(a, sizeof(*len), (n + 1) * (m + 1)); /* Of the rests. */
        for (size_t p = n; p-- > 0;)
            for (size_t q = m; q-- > 0;)
                len[p * (m + 1) + q] =
                    str_eq(x[p], y[q])
                        ? (uint16_t)(len[(p + 1) * (m + 1) + q + 1] + 1)
                        : MAX_OF(len[(p + 1) * (m + 1) + q], len[p * (m + 1) + q + 1]);
        while (i < n && j < m) {
            if (str_eq(x[i], y[j])) {
                push(e, ' ', x[i++]);
                j++;
            } else if (len[(i + 1) * (m + 1) + j] >= len[i * (m + 1) + j + 1]) {
                push(e, '-', x[i++]);
            } else {
                push(e, '+', y[j++]);
            }
        }
    }
    while (i < n)
        push(e, '-', x[i++]);
    while (j < m)
        push(e, '+', y[j++]);
}

static struct edits compare(struct arena *a, const struct lines *x, const struct lines *y)
{
    struct edits e = {ARENA_ARRAY(a, struct edit, x->count + y->count), 0};
    size_t head = 0, tail = 0, least = MIN_OF(x->count, y->count);
    while (head < least && str_eq(x->items[head], y->items[head]))
        head++;
    while (tail < least - head &&
           str_eq(x->items[x->count - 1 - tail], y->items[y->count - 1 - tail]))
        tail++;
    for (size_t i = 0; i < head; i++)
        push(&e, ' ', x->items[i]);
    compare_middle(a, x->items + head, x->count - head - tail, y->items + head,
                   y->count - head - tail, &e);
    for (size_t i = x->count - tail; i < x->count; i++)
        push(&e, ' ', x->items[i]);
    return e;
}

/* The end of a hunk that begins with the change at i: the last change before a
 * stretch of equal lines that is longer than two contexts. */
static size_t hunk_end(const struct edits *e, size_t i)
{
    size_t last = i, equal = 0;
    for (; i < e->count && equal <= 2 * CONTEXT_LINES; i++) {
        equal = e->items[i].kind == ' ' ? equal + 1 : 0;
        if (equal == 0)
            last = i;
    }
    return last + 1;
}

static void write_hunk(const struct edits *e, size_t from, size_t to, size_t old_line,
                       size_t new_line, struct buf *out)
{
    size_t old_count = 0, new_count = 0;
    for (size_t i = from; i < to; i++) {
        old_count += e->items[i].kind != '+';
        new_count += e->items[i].kind != '-';
    }
    buf_printf(out, "@@ -%zu,%zu +%zu,%zu @@\n", old_line, old_count, new_line, new_count);
    for (size_t i = from; i < to; i++)
        buf_printf(out, "%c" STR_FMT "\n", e->items[i].kind, STR_ARG(e->items[i].line));
}

static struct str unified(struct arena *a, struct str old, struct str now)
{
    struct lines x = split(a, old), y = split(a, now);
    struct edits e = compare(a, &x, &y);
    AUTO_BUF out = BUF_INIT;
    size_t old_line = 1, new_line = 1, done = 0; /* Of e.items[done]. */
    for (size_t i = 0; i < e.count; i++) {
        if (e.items[i].kind == ' ')
            continue;
        size_t from = i - MIN_OF(i - done, (size_t)CONTEXT_LINES), change_end = hunk_end(&e, i);
        size_t to = MIN_OF(change_end + CONTEXT_LINES, e.count);
        for (; done < from; done++) {
            old_line++;
            new_line++;
        }
        write_hunk(&e, from, to, old_line, new_line, &out);
        for (; done < to; done++) {
            old_line += e.items[done].kind != '+';
            new_line += e.items[done].kind != '-';
        }
        i = to - 1;
    }
    return out.len == 0 ? STR_NULL : arena_printf(a, "\n" STR_FMT, STR_ARG(buf_str(&out)));
}

static struct str indented(struct arena *a, const struct json *j)
{
    AUTO_BUF b = BUF_INIT;
    json_write_indent(j, false, 1, &b);
    return str_trim(arena_str(a, buf_str(&b)));
}

static struct json *parsed(struct arena *a, struct str text)
{
    struct json *j;
    return json_parse(a, text, &j, NULL) == 0 ? j : json_null(a);
}

static struct json *shown(struct arena *a, const struct api_msg *m, const void *msg)
{
    return parsed(a, field_value_render(a, m, msg));
}

struct str value_diff(struct arena *a, const struct api_msg *m, const void *old, const void *now)
{
    return unified(a, indented(a, shown(a, m, old)), indented(a, shown(a, m, now)));
}

struct str value_diff_member(struct arena *a, const struct api_msg *m, const char *member,
                             const void *old, const void *now)
{
    return unified(a, indented(a, parsed(a, field_member_render(a, m, old, member))),
                   indented(a, parsed(a, field_member_render(a, m, now, member))));
}

/* --- pod specs ---------------------------------------------------------------------------------
 */

static bool is_named(struct str key, const char *const *names)
{
    for (; *names != NULL; names++)
        if (str_eqc(key, *names))
            return true;
    return false;
}

/* Members that the internal struct has right behind another one. */
static const struct {
    const char *name, *behind;
} placed[] = {{"SetHostnameAsFQDN", "Subdomain"},
              {"PreemptionPolicy", "Priority"},
              {"Overhead", "RuntimeClassName"},
              {"FSGroupChangePolicy", "FSGroup"}};

/* Adds from's members but those in except to to, in internal order. */
static void add_placed(struct arena *a, struct json *to, const struct json *from,
                       const char *const *except)
{
    for (size_t i = 0; i < from->object.count; i++) {
        struct str key = from->object.members[i].key;
        bool elsewhere = is_named(key, except);
        for (size_t k = 0; k < ARRAY_SIZE(placed); k++)
            elsewhere = elsewhere || str_eqc(key, placed[k].name);
        if (elsewhere)
            continue;
        json_set(a, to, key, from->object.members[i].value);
        for (size_t k = 0; k < ARRAY_SIZE(placed); k++)
            if (str_eqc(key, placed[k].behind) && json_getc(from, placed[k].name) != NULL)
                json_set(a, to, str_of(placed[k].name), json_getc(from, placed[k].name));
    }
}

/* Internally the host's namespaces stand in the security context, and the old
 * name of the service account is gone. */
static struct json *internal_pod_spec(struct arena *a, const struct core_v1_pod_spec *s)
{
    static const char *const none[] = {NULL};
    static const char *const gone[] = {
        "HostNetwork", "HostPID",        "HostIPC", "ShareProcessNamespace",
        "HostUsers",   "ServiceAccount", NULL};
    struct json *from = shown(a, &core_v1_pod_spec_msg, s), *to = json_object(a);
    struct json *security = json_getc(from, "SecurityContext");
    if (from->type != JSON_OBJECT)
        return from;
    if (security != NULL && security->type == JSON_OBJECT) {
        struct json *context = json_object(a);
        for (size_t k = 0; k + 2 < ARRAY_SIZE(gone); k++)
            json_set(a, context, str_of(gone[k]), json_getc(from, gone[k]));
        add_placed(a, context, security, none);
        json_set(a, from, STR("SecurityContext"), context);
    }
    add_placed(a, to, from, gone);
    return to;
}

struct str pod_spec_diff(struct arena *a, const struct core_v1_pod_spec *old,
                         const struct core_v1_pod_spec *now)
{
    return unified(a, indented(a, internal_pod_spec(a, old)),
                   indented(a, internal_pod_spec(a, now)));
}

struct str pod_spec_shown(struct arena *a, const struct core_v1_pod_spec *s)
{
    AUTO_BUF b = BUF_INIT;
    json_write(internal_pod_spec(a, s), false, &b);
    return arena_str(a, buf_str(&b));
}

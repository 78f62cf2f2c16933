/* zpages.c - see zpages.h. */
#include "lib/api/zpages.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/flags.h"
#include "lib/base/version.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000
#define GROUP "config.k8s.io"
#define ACCEPT_CLAUSES_MAX 32
#define WARNING                                                                                    \
    "Warning: This endpoint is not meant to be machine parseable, has no formatting "              \
    "compatibility "                                                                               \
    "guarantees and is for debugging purposes only.\n"

struct entry {
    struct str name, value;
};

struct zpages {
    struct arena *arena;
    struct str component;
    int64_t started_ns;
    struct entry *flags;
    size_t flag_count, flag_cap;
    struct str *paths;
    size_t path_count;
};

/* --- life --------------------------------------------------------------------------------------
 */

static void add_flag(const char *name, struct str value, void *arg)
{
    struct zpages *z = arg;
    z->flags = arena_grow(z->arena, z->flags, z->flag_count, &z->flag_cap, sizeof(*z->flags));
    z->flags[z->flag_count++] =
        (struct entry){arena_strc(z->arena, name), arena_str(z->arena, value)};
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct entry *)x)->name, ((const struct entry *)y)->name);
}

struct zpages *zpages_new(const char *component, const struct flag_set *flags,
                          const char *const *paths, int64_t started_ns)
{
    struct zpages *z = xzalloc(sizeof(*z));
    size_t n = 0;
    z->arena = arena_new(0);
    z->component = arena_strc(z->arena, component);
    z->started_ns = started_ns;
    if (flags != NULL)
        flag_each(flags, add_flag, z);
    if (z->flag_count != 0)
        qsort(z->flags, z->flag_count, sizeof(*z->flags), by_name);
    while (paths[n] != NULL)
        n++;
    z->paths = ARENA_ARRAY(z->arena, struct str, n + 1);
    for (; z->path_count < n; z->path_count++)
        z->paths[z->path_count] = arena_strc(z->arena, paths[z->path_count]);
    return z;
}

void zpages_free(struct zpages *z)
{
    if (z == NULL)
        return;
    arena_free(z->arena);
    free(z);
}

/* --- which form --------------------------------------------------------------------------------
 */

enum form { FORM_NONE, FORM_TEXT, FORM_JSON, FORM_YAML };

struct clause {
    struct str media, version, group, as;
    double quality;
};

static struct clause read_clause(struct str text)
{
    struct clause c = {.quality = 1};
    struct str rest, one, name, value;
    bool more = str_cut(text, ';', &c.media, &rest);
    c.media = str_trim(c.media);
    while (more) {
        more = str_cut(rest, ';', &one, &rest);
        if (!str_cut(one, '=', &name, &value))
            continue;
        name = str_trim(name);
        value = str_trim(value);
        if (str_eqc(name, "v"))
            c.version = value;
        else if (str_eqc(name, "g"))
            c.group = value;
        else if (str_eqc(name, "as"))
            c.as = value;
        else if (str_eqc(name, "q") && value.len < 8) {
            char number[8] = {0};
            memcpy(number, value.data, value.len);
            c.quality = strtod(number, NULL);
        }
    }
    return c;
}

static enum form form_of(const struct clause *c, const char *kind)
{
    if (str_eqc(c->media, "*/*") || str_eqc(c->media, "text/*") || str_eqc(c->media, "text/plain"))
        return FORM_TEXT;
    if (!str_eqc(c->group, GROUP) || !str_eqc(c->as, kind) ||
        !(str_eqc(c->version, "v1beta1") || str_eqc(c->version, "v1alpha1")))
        return FORM_NONE;
    if (str_eqc(c->media, "application/json"))
        return FORM_JSON;
    return str_eqc(c->media, "application/yaml") ? FORM_YAML : FORM_NONE;
}

/* The clause of the highest quality that can be had, the first of equals. */
static enum form choose(struct str accept, const char *kind, struct str *ret_version)
{
    enum form best = FORM_NONE;
    double quality = 0;
    struct str rest = accept, one;
    *ret_version = STR("v1beta1");
    if (str_empty(str_trim(accept)))
        return FORM_TEXT;
    bool more = true;
    for (unsigned i = 0; more && i < ACCEPT_CLAUSES_MAX; i++) {
        more = str_cut(rest, ',', &one, &rest);
        struct clause c = read_clause(one);
        enum form f = form_of(&c, kind);
        if (f == FORM_NONE || c.quality <= quality)
            continue;
        best = f;
        quality = c.quality;
        if (f != FORM_TEXT)
            *ret_version = c.version;
    }
    return best;
}

/* --- bodies ------------------------------------------------------------------------------------
 */

static int64_t up_s(const struct zpages *z, int64_t now_ns)
{
    return MAX_OF(now_ns - z->started_ns, (int64_t)0) / NS_PER_S;
}

static struct tm started(const struct zpages *z)
{
    time_t t = (time_t)(z->started_ns / NS_PER_S);
    struct tm tm;
    gmtime_r(&t, &tm);
    return tm;
}

/* "1.36.2" without the v. */
static struct str binary_version(void)
{
    struct str v = STR(KUBERNETES_VERSION);
    return str_sub(v, 1, v.len);
}

/* "1.36" */
static struct str emulated_version(void)
{
    struct str v = binary_version();
    size_t end = v.len;
    while (end > 0 && v.data[end - 1] != '.')
        end--;
    return str_sub(v, 0, end - 1);
}

static void put_member(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, ",\"%s\":", name);
    json_write_string(value, b);
}

static void begin_object(const struct zpages *z, const char *kind, struct str version,
                         struct buf *b)
{
    buf_printf(b,
               "{\"kind\":\"%s\",\"apiVersion\":\"" GROUP "/" STR_FMT "\",\"metadata\":{\"name\":",
               kind, STR_ARG(version));
    json_write_string(z->component, b);
    buf_putc(b, '}');
}

static void status_object(const struct zpages *z, struct str version, int64_t now_ns, struct buf *b)
{
    char text[32];
    struct tm tm = started(z);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    begin_object(z, "Statusz", version, b);
    buf_printf(b, ",\"startTime\":\"%s\",\"uptimeSeconds\":%" PRId64, text, up_s(z, now_ns));
    put_member(b, "goVersion", STR(""));
    put_member(b, "binaryVersion", binary_version());
    put_member(b, "emulationVersion", emulated_version());
    buf_puts(b, ",\"paths\":[");
    for (size_t i = 0; i < z->path_count; i++) {
        if (i != 0)
            buf_putc(b, ',');
        json_write_string(z->paths[i], b);
    }
    buf_puts(b, "]}\n");
}

static void status_text(const struct zpages *z, int64_t now_ns, struct buf *b)
{
    char text[64];
    struct tm tm = started(z);
    int64_t s = up_s(z, now_ns);
    strftime(text, sizeof(text), "%a %b %e %H:%M:%S UTC %Y", &tm);
    buf_printf(b, "\n" STR_FMT " statusz\n" WARNING "\nStarted: %s\n", STR_ARG(z->component), text);
    buf_printf(
        b, "Up: %" PRId64 " hr %02d min %02d sec\nGo version: none: Trireme " TRIREME_VERSION "\n",
        s / 3600, (int)(s / 60 % 60), (int)(s % 60));
    buf_printf(b, "Binary version: " STR_FMT "\nEmulation version: " STR_FMT "\nPaths:",
               STR_ARG(binary_version()), STR_ARG(emulated_version()));
    for (size_t i = 0; i < z->path_count; i++)
        buf_printf(b, " " STR_FMT, STR_ARG(z->paths[i]));
    buf_putc(b, '\n');
}

static void flags_object(const struct zpages *z, struct str version, struct buf *b)
{
    begin_object(z, "Flagz", version, b);
    buf_puts(b, ",\"flags\":{");
    for (size_t i = 0; i < z->flag_count; i++) {
        if (i != 0)
            buf_putc(b, ',');
        json_write_string(z->flags[i].name, b);
        buf_putc(b, ':');
        json_write_string(z->flags[i].value, b);
    }
    buf_puts(b, "}}\n");
}

static void flags_text(const struct zpages *z, struct buf *b)
{
    buf_printf(b, "\n" STR_FMT " flagz\n" WARNING "\n", STR_ARG(z->component));
    for (size_t i = 0; i < z->flag_count; i++)
        buf_printf(b, STR_FMT "=" STR_FMT "\n", STR_ARG(z->flags[i].name),
                   STR_ARG(z->flags[i].value));
}

bool zpages_has(struct str path)
{
    return str_eqc(path, "/statusz") || str_eqc(path, "/flagz");
}

int zpages_answer(const struct zpages *z, struct str path, struct str accept, int64_t now_ns,
                  struct buf *body, const char **ret_type)
{
    bool status = str_eqc(path, "/statusz");
    const char *kind = status ? "Statusz" : "Flagz";
    struct str version;
    enum form form = choose(accept, kind, &version);
    *ret_type = form == FORM_JSON   ? "application/json"
                : form == FORM_YAML ? "application/yaml"
                                    : "text/plain; charset=utf-8";
    if (form == FORM_NONE) {
        buf_printf(body,
                   "only these media types are accepted: text/plain, "
                   "application/json;v=v1beta1;g=" GROUP ";as=%s, "
                   "application/yaml;v=v1beta1;g=" GROUP ";as=%s\n",
                   kind, kind);
        return 406;
    }
    /* JSON is YAML. */
    if (status && form == FORM_TEXT)
        status_text(z, now_ns, body);
    else if (status)
        status_object(z, version, now_ns, body);
    else if (form == FORM_TEXT)
        flags_text(z, body);
    else
        flags_object(z, version, body);
    return 200;
}

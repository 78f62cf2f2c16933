/* bench_cel.c - CPU per expression: compiling, and evaluating what is compiled,
 * on a small typed object. Prints one line per expression.
 *
 *   bench_cel [SECONDS]     seconds per line, default 1 */
#include "lib/api/cel/cel.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"

#include <stdio.h>
#include <time.h>

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{\"minReplicas\":{\"type\":\"integer\"},\"replicas\":{"
    "\"type\":\"integer\"},\"name\":{\"type\":\"string\"},\"ports\":{\"type\":\"array\",\"items\":{"
    "\"type\":\"object\",\"properties\":{\"port\":{\"type\":\"integer\"}}}}}}";
static const char document[] =
    "{\"minReplicas\":2,\"replicas\":3,\"name\":\"web-frontend\",\"ports\":"
    "[{\"port\":80},{\"port\":443},{\"port\":8080},{\"port\":9090}]}";
static const char *const expressions[] = {
    "self.minReplicas <= self.replicas",
    "!has(self.name) || self.name.startsWith('web-')",
    "self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "self.ports.all(p, p.port > 0 && p.port < 65536)",
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct bench {
    struct cel_env env;
    struct cel_value self;
    struct arena *arena;
};

static struct cel_program *compile(struct bench *b, struct arena *a, const char *text)
{
    struct cel_program *p;
    struct str why;
    if (cel_compile(a, &b->env, str_of(text), &p, &why) != 0)
        abort();
    return p;
}

static void measure(struct bench *b, const char *text, double seconds)
{
    AUTO_ARENA *a = arena_new(0);
    struct cel_program *p = compile(b, a, text);
    double from = now();
    size_t evals = 0, compiles = 0;
    for (; now() - from < seconds; evals += 100)
        for (int i = 0; i < 100; i++) {
            int64_t cost = CEL_COST_BUDGET;
            if (!cel_eval(p, b->arena, &b->self, &cost).boolean)
                abort();
            arena_clear(b->arena);
        }
    double eval_ns = (now() - from) / (double)evals * 1e9;
    from = now();
    for (; now() - from < seconds; compiles++) {
        compile(b, b->arena, text);
        arena_clear(b->arena);
    }
    printf("%-56s %8.0f ns, compiled in %6.1f us\n", text, eval_ns,
           (now() - from) / (double)compiles * 1e6);
}

int main(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *s, *doc;
    if (json_parse(a, STR(schema), &s, NULL) != 0 || json_parse(a, STR(document), &doc, NULL) != 0)
        abort();
    const struct cel_type *t = cel_schema_type(a, s, false);
    const struct cel_var var = {"self", t};
    struct bench b = {
        .env = {.vars = &var, .var_count = 1}, .self = cel_of_json(doc, t), .arena = arena_new(0)};
    for (size_t i = 0; i < ARRAY_SIZE(expressions); i++)
        measure(&b, expressions[i], argc > 1 ? atof(argv[1]) : 1);
    arena_free(b.arena);
    return 0;
}

/* test_credential_provider.c - real programs are asked, each question once, and no longer than
 * somebody waits for the answer. */
#include "kubelet/credential_provider.h"
#include "kubelet/exec_uv.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

#include "test/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define CONFIG                                                                                     \
    "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n"           \
    "- name: keeper\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n"                         \
    "  matchImages: [\"*.example\", docker.io]\n  defaultCacheDuration: 10m\n"
#define ANSWER(type, duration)                                                                     \
    "echo '{\"kind\":\"CredentialProviderResponse\","                                              \
    "\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"cacheKeyType\":\"" type             \
    "\",\"cacheDuration\":\"" duration "\",\"auth\":{\"r.example\":{\"username\":\"ann\"},"        \
    "\"docker.io\":{\"username\":\"bob\"}}}'\n"

struct fixture {
    char dir[64];
    uv_loop_t loop;
    struct arena *a;
    struct credential_providers *p;
    int answers;
};

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
    ck_assert_int_eq(chmod(path, mode), 0);
}

/* The program notes each request in "asked", then does what script says. */
static void begin(struct fixture *f, const char *script)
{
    struct error err;
    memset(f, 0, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/tmp/trireme-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(f->dir));
    f->a = arena_new(0);
    uv_loop_init(&f->loop);
    const char *program = str_c(arena_printf(f->a, "%s/keeper", f->dir));
    const char *config = str_c(arena_printf(f->a, "%s/config", f->dir));
    write_file(program,
               str_c(arena_printf(f->a, "#!/bin/sh\nmkdir -p %s\ncat >>%s/asked\n%s", f->dir,
                                  f->dir, script)),
               0755);
    write_file(config, CONFIG, 0644);
    ck_assert_msg(credential_providers_load(&f->loop, config, f->dir, &f->p, &err) == 0, "%s",
                  error_message(&err));
}

static void end(struct fixture *f)
{
    AUTO_FREE char *command = xasprintf("rm -rf %s", f->dir);
    ck_assert_int_eq(system(command), 0); /* NOLINT: a test's own folder. */
    ck_assert_int_eq(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
    credential_providers_free(f->p);
    arena_free(f->a);
}

static int times_asked(const struct fixture *f)
{
    AUTO_BUF b = BUF_INIT;
    int n = 0;
    file_read(str_c(arena_printf(f->a, "%s/asked", f->dir)), 1u << 20, &b, NULL);
    for (size_t i = 0; i < b.len; i++)
        n += b.data[i] == '\n';
    return n;
}

static void count(void *arg)
{
    (*(int *)arg)++;
}

static struct credential_question *ask(struct fixture *f, const char *image,
                                       struct pull_auth_list *list)
{
    return credential_providers_ask(f->p, f->a, str_of(image), list, count, &f->answers);
}

/* Who asks what is being asked shares the answer, tags aside; what was answered is kept. */
START_TEST(joins_equal_questions)
{
    struct fixture f;
    struct pull_auth_list one = {0}, two = {0}, three = {0}, four = {0};
    begin(&f, ANSWER("Image", "1h"));
    ck_assert_ptr_nonnull(ask(&f, "r.example/x:1", &one));
    ck_assert_ptr_nonnull(ask(&f, "r.example/x:2", &two));
    ck_assert_ptr_nonnull(ask(&f, "r.example/y", &three));
    uv_run(&f.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(f.answers, 3);
    ck_assert_int_eq(times_asked(&f), 2);
    ck_assert_uint_eq(one.count, 1);
    ck_assert_uint_eq(two.count, 1);
    ck_assert_str_eq(two.items[0].username, "ann");
    ck_assert_ptr_null(ask(&f, "r.example/x:3", &four));
    ck_assert_uint_eq(four.count, 1);
    ck_assert_ptr_null(ask(&f, "elsewhere.test/x", &four));
    ck_assert_uint_eq(four.count, 1);
    end(&f);
}
END_TEST

/* Providers are told the name that the registry knows, as upstream tells them. */
START_TEST(tells_normal_names)
{
    struct fixture f;
    struct pull_auth_list list = {0};
    AUTO_BUF b = BUF_INIT;
    begin(&f, ANSWER("Registry", "0s"));
    ck_assert_ptr_nonnull(ask(&f, "busybox:1.36", &list));
    uv_run(&f.loop, UV_RUN_DEFAULT);
    file_read(str_c(arena_printf(f.a, "%s/asked", f.dir)), 1u << 20, &b, NULL);
    ck_assert(str_find_str(buf_str(&b), STR("\"image\":\"docker.io/library/busybox\"}")) > 0);
    ck_assert_uint_eq(list.count, 1);
    ck_assert_str_eq(list.items[0].username, "bob");
    end(&f);
}
END_TEST

/* Nobody waits: the program is killed with what it started, and the loop has nothing left. */
START_TEST(ends_with_the_last_asker)
{
    struct fixture f;
    struct pull_auth_list list = {0};
    begin(&f, "sleep 3000 & sleep 3000\n");
    struct credential_question *one = ask(&f, "r.example/x", &list),
                               *two = ask(&f, "r.example/x", &list);
    credential_question_cancel(one);
    ck_assert_int_ne(uv_run(&f.loop, UV_RUN_NOWAIT), 0);
    credential_question_cancel(two);
    ck_assert_int_eq(uv_run(&f.loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(f.answers, 0);
    end(&f);
}
END_TEST

/* One provider never has more than four processes; the others wait, and come when one is gone. */
START_TEST(bounds_its_processes)
{
    struct fixture f;
    struct pull_auth_list list = {0};
    struct credential_question *q[7];
    begin(&f, "while [ ! -e $(dirname $0)/go ]; do sleep 0.01; done\n" ANSWER("Image", "0s"));
    for (size_t i = 0; i < ARRAY_SIZE(q); i++)
        q[i] = ask(&f, str_c(arena_printf(f.a, "r.example/x%zu", i)), &list);
    while (times_asked(&f) < 4)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    credential_question_cancel(q[6]); /* One that waits, */
    credential_question_cancel(q[0]); /* and one that runs: the next takes its place. */
    while (times_asked(&f) < 5)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(f.answers, 0);
    write_file(str_c(arena_printf(f.a, "%s/go", f.dir)), "", 0644);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(f.answers, 5);
    ck_assert_int_eq(times_asked(&f), 6);
    ck_assert_uint_eq(list.count, 5);
    end(&f);
}
END_TEST

struct told {
    char *why;
    int count;
};

static void note(const char *why, struct str output, void *arg)
{
    struct told *t = arg;
    UNUSED(output);
    t->why = why != NULL ? xstrdup(why) : NULL;
    t->count++;
}

/* One that writes without end is stopped at its bound, not when its time is over. */
START_TEST(stops_at_the_bound)
{
    uv_loop_t loop;
    struct told t = {NULL, 0};
    char *args[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                    (char *)(uintptr_t) "yes; sleep 3000", NULL};
    char *env[] = {(char *)(uintptr_t) "PATH=/usr/bin:/bin", NULL};
    struct exec_config config = {.path = "/bin/sh",
                                 .args = args,
                                 .env = env,
                                 .input = STR(""),
                                 .timeout_ms = 3600000,
                                 .output_max = 1000,
                                 .done = note,
                                 .arg = &t};
    uv_loop_init(&loop);
    exec_run(&loop, &config);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(t.count, 1);
    ck_assert_str_eq(t.why, "it wrote more than 1000 bytes");
    free(t.why);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

/* What is wrong with the configuration is told: the file, the provider, the field. */
START_TEST(refuses_configurations)
{
    static const struct {
        const char *more, *message;
    } bad[] = {
        {"  matchImage: [x]\n", "keeper: matchImage: unknown field"},
        {"  args: x\n", "keeper: args: want a list, found the string"},
        {"  args: [1]\n", "keeper: args[0] must be a string"},
        {"  env: [{name: A, valu: b}]\n", "keeper: env[0]: valu: unknown field"},
        {"  env: [{name: A, value: 1}]\n", "keeper: env[0].value must be a string"},
        {"  env: [{value: b}]\n", "keeper: env[0].name is missing"},
        {"  tokenAttributes: {}\n", "keeper: tokenAttributes: this node gives"},
        {"- name: keeper\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n  matchImages: [a]\n"
         "  defaultCacheDuration: 1m\n",
         "keeper: there are two providers of this name"},
        {"- name: other\n  apiVersion: credentialprovider.kubelet.k8s.io/v1alpha1\n",
         "other: apiVersion must be"},
        {"provider: []\n", "provider: unknown field"},
    };
    struct fixture f;
    begin(&f, "");
    const char *path = str_c(arena_printf(f.a, "%s/bad", f.dir));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct credential_providers *none = NULL;
        struct error err;
        write_file(path, str_c(arena_printf(f.a, "%s%s", CONFIG, bad[i].more)), 0644);
        ck_assert_int_eq(credential_providers_load(&f.loop, path, f.dir, &none, &err), E_INVALID);
        ck_assert_msg(strstr(error_message(&err), bad[i].message) != NULL, "%s\nis not: %s",
                      error_message(&err), bad[i].message);
        ck_assert(strstr(error_message(&err), path) != NULL);
    }
    end(&f);
}
END_TEST

/* A variable of the configuration counts, not the agent's own of that name. */
START_TEST(sets_variables)
{
    struct fixture f;
    struct pull_auth_list list = {0};
    AUTO_BUF b = BUF_INIT;
    ck_assert_int_eq(setenv("TRIREME_TEST", "agent", 1), 0);
    begin(&f, "echo \"$TRIREME_TEST\" >$(dirname $0)/told\n");
    const char *path = str_c(arena_printf(f.a, "%s/config", f.dir));
    struct error err;
    write_file(path, CONFIG "  env: [{name: TRIREME_TEST, value: file}]\n", 0644);
    credential_providers_free(f.p);
    ck_assert_int_eq(credential_providers_load(&f.loop, path, f.dir, &f.p, &err), 0);
    ask(&f, "r.example/x", &list);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    file_read(str_c(arena_printf(f.a, "%s/told", f.dir)), 100, &b, NULL);
    ck_assert(str_eqc(buf_str(&b), "file\n"));
    end(&f);
}
END_TEST

UNIT_MAIN("credential providers", {
    UNIT_TEST(joins_equal_questions);
    UNIT_TEST(tells_normal_names);
    UNIT_TEST(ends_with_the_last_asker);
    UNIT_TEST(bounds_its_processes);
    UNIT_TEST(stops_at_the_bound);
    UNIT_TEST(refuses_configurations);
    UNIT_TEST(sets_variables);
})

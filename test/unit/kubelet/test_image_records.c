/* test_image_records.c - who may use an image that is on the node, also after a restart. */
#include "kubelet/image_records.h"
#include "kubelet/pull_secrets.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"

#include "test/unit/unit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#define REF "sha256:0123"

static struct pull_auth auth(const char *uid, const char *name, const char *hash)
{
    return (struct pull_auth){.username = "",
                              .password = "",
                              .auth = "",
                              .identity_token = "",
                              .registry_token = "",
                              .secret_uid = uid,
                              .secret_namespace = "ns",
                              .secret_name = name,
                              .secret_hash = hash};
}

/* --- policies --- */

static bool verifies(const char *name, const char *item, const char *repository, bool ours)
{
    const char *items[] = {item};
    struct flag_list list = {.items = items, .count = item != NULL};
    struct image_policy p;
    struct error err;
    ck_assert_msg(image_policy_parse(name, &list, &p, &err) == 0, "%s", error_message(&err));
    return image_policy_verifies(&p, str_of(repository), ours);
}

START_TEST(test_policies)
{
    ck_assert(!verifies("NeverVerify", NULL, "r.example/x", true));
    ck_assert(verifies("NeverVerifyPreloadedImages", NULL, "r.example/x", true));
    ck_assert(!verifies("NeverVerifyPreloadedImages", NULL, "r.example/x", false));
    ck_assert(verifies("AlwaysVerify", NULL, "r.example/x", false));
    ck_assert(!verifies("NeverVerifyAllowlistedImages", "r.example/x", "r.example/x", true));
    ck_assert(verifies("NeverVerifyAllowlistedImages", "r.example/x", "r.example/xy", false));
    ck_assert(!verifies("NeverVerifyAllowlistedImages", "r.example/a/*", "r.example/a/x", true));
    ck_assert(verifies("NeverVerifyAllowlistedImages", "r.example/a/*", "r.example/ab", true));
}
END_TEST

START_TEST(test_bad_policies)
{
    static const struct {
        const char *name, *item, *message;
    } bad[] = {
        {"Sometimes", NULL, "'Sometimes' is none of NeverVerify"},
        {"AlwaysVerify", "r.example/x", "counts only with"},
        {"NeverVerifyAllowlistedImages", "r.example/x:1", "'r.example/x:1' is neither"},
        {"NeverVerifyAllowlistedImages", "busybox", "'busybox' is neither"},
        {"NeverVerifyAllowlistedImages", "r.*/x", "'r.*/x' is neither"},
        {"NeverVerifyAllowlistedImages", "/*", "'/*' is neither"},
        {"NeverVerifyAllowlistedImages", " r.example/x", "is neither"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        const char *items[] = {bad[i].item};
        struct flag_list list = {.items = items, .count = bad[i].item != NULL};
        struct image_policy p;
        struct error err;
        ck_assert_int_eq(image_policy_parse(bad[i].name, &list, &p, &err), E_INVALID);
        ck_assert_msg(strstr(error_message(&err), bad[i].message) != NULL, "%s",
                      error_message(&err));
    }
}
END_TEST

/* --- records --- */

/* A secret opens an image to whoever has it, or the same words in another one, or a newer version
 * of the same one; a pull without secrets opens it to all. */
START_TEST(test_ways)
{
    AUTO_ARENA *a = arena_new(0);
    struct str repository = STR("r.example/x");
    struct pull_auth first = auth("1", "one", "h1"), copy = auth("2", "two", "h1"),
                     newer = auth("1", "one", "h2"), other = auth("3", "three", "h3"),
                     own = auth(NULL, NULL, NULL);
    size_t index;
    bool note;
    ck_assert(!image_record_allows(NULL, repository, &first, 1, &index, &note));
    struct json *r = image_record_merge(a, NULL, STR(REF), repository, &first, false, 1000);
    ck_assert(image_record_allows(r, repository, &first, 1, &index, &note) && !note);
    ck_assert(image_record_allows(r, repository, &copy, 1, &index, &note) && note);
    ck_assert(image_record_allows(r, repository, &newer, 1, &index, &note) && note);
    ck_assert(!image_record_allows(r, repository, &other, 1, &index, &note));
    ck_assert(!image_record_allows(r, repository, &own, 1, &index, &note));
    ck_assert(!image_record_allows(r, repository, NULL, 0, &index, &note));
    ck_assert(!image_record_allows(r, STR("r.example/y"), &first, 1, &index, &note));
    r = image_record_merge(a, r, STR(REF), repository, &newer, false, 1001);
    ck_assert(!image_record_allows(r, repository, &copy, 1, &index, &note));
    struct pull_auth both[] = {other, newer};
    ck_assert(image_record_allows(r, repository, both, 2, &index, &note) && !note);
    ck_assert_uint_eq(index, 1);
    struct json *unknown = image_record_merge(a, r, STR(REF), STR("r.example/z"), NULL, true, 1002);
    ck_assert(image_record_allows(unknown, repository, &newer, 1, &index, &note));
    ck_assert(!image_record_allows(unknown, STR("r.example/z"), &newer, 1, &index, &note));
    r = image_record_merge(a, r, STR(REF), repository, &own, false, 1003);
    ck_assert(image_record_allows(r, repository, NULL, 0, &index, &note));
    ck_assert(str_eqc(json_get_str(r, "lastUpdatedTime"), "1970-01-01T00:16:43Z"));
    ck_assert(str_eqc(json_get_str(r, "imageRef"), REF));
}
END_TEST

/* A name that a hundred secrets opened keeps the newest hundred. */
START_TEST(test_many_ways)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *r = NULL;
    size_t index;
    bool note;
    for (unsigned i = 0; i < IMAGE_RECORD_SECRETS_MAX + 20; i++) {
        struct pull_auth one =
            auth(str_c(arena_printf(a, "%u", i)), "s", str_c(arena_printf(a, "h%u", i)));
        r = image_record_merge(a, r, STR(REF), STR("r.example/x"), &one, false, 0);
    }
    struct pull_auth oldest = auth("0", "s", "h0"), newest = auth("119", "s", "h119");
    ck_assert(!image_record_allows(r, STR("r.example/x"), &oldest, 1, &index, &note));
    ck_assert(image_record_allows(r, STR("r.example/x"), &newest, 1, &index, &note));
}
END_TEST

START_TEST(test_hash)
{
    AUTO_ARENA *a = arena_new(0);
    struct pull_auth x = auth("1", "a", ""), y = auth("2", "b", "");
    const char *hash = image_credential_hash(a, &x);
    ck_assert_uint_eq(strlen(hash), 64);
    ck_assert_str_eq(hash, image_credential_hash(a, &y));
    x.username = "ab";
    y.username = "a";
    y.password = "b";
    ck_assert_str_ne(image_credential_hash(a, &x), image_credential_hash(a, &y));
}
END_TEST

/* --- files --- */

static char dir[32];
static uv_loop_t loop;
static const struct image_policy pulled_ones = {.verification = IMAGE_VERIFY_PULLED};

static struct image_records *open_records(void)
{
    struct image_records *r = NULL;
    struct error err;
    ck_assert_msg(image_records_open(&loop, dir, &pulled_ones, &r, &err) == 0, "%s",
                  error_message(&err));
    return r;
}

static struct image_records *reopen(struct image_records *r)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    image_records_close(r);
    return open_records();
}

static void begin(void)
{
    snprintf(dir, sizeof(dir), "/tmp/trireme-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    uv_loop_init(&loop);
}

static void end(struct image_records *r)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    image_records_close(r);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ck_assert_int_eq(file_remove_tree(dir, NULL), 0);
}

static size_t files_in(const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/image_manager/%s", dir, name);
    DIR *d = opendir(path);
    size_t n = 0;
    ck_assert_ptr_nonnull(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static bool may(struct image_records *r, const struct pull_auth *with)
{
    return image_records_allow(r, STR("r.example/x:1"), REF, with, with != NULL, 2000);
}

/* A preloaded image is everybody's until a pull of it begins; what the pull took is known after a
 * restart, too. */
START_TEST(test_pulls_are_known_again)
{
    struct pull_auth one = auth("1", "one", "h1");
    begin();
    struct image_records *r = open_records();
    ck_assert(may(r, NULL));
    image_records_begin(r, STR("r.example/x:1"), NULL, NULL);
    ck_assert(!may(r, NULL));
    r = reopen(r);
    ck_assert_uint_eq(files_in("pulling"), 1);
    ck_assert(!may(r, NULL));
    image_records_begin(r, STR("r.example/x:1"), NULL, NULL);
    image_records_pulled(r, STR("r.example/x:1"), REF, &one, 1000, NULL, NULL);
    r = reopen(r);
    ck_assert_uint_eq(files_in("pulling"), 0);
    ck_assert_uint_eq(files_in("pulled"), 1);
    ck_assert(may(r, &one));
    ck_assert(!may(r, NULL));
    end(r);
}
END_TEST

/* Two at once: the intent stays until both have ended. */
START_TEST(test_pulls_that_fail)
{
    begin();
    struct image_records *r = open_records();
    image_records_begin(r, STR("r.example/x:1"), NULL, NULL);
    image_records_begin(r, STR("r.example/x:1"), NULL, NULL);
    image_records_failed(r, STR("r.example/x:1"));
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(files_in("pulling"), 1);
    image_records_failed(r, STR("r.example/x:1"));
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(files_in("pulling"), 0);
    ck_assert(may(r, NULL));
    end(r);
}
END_TEST

/* An agent that ended in a pull finds the image here: nobody's until it is pulled again. Records
 * of images that are gone go, those of this moment stay. */
START_TEST(test_settles)
{
    const char *names[] = {"docker.io/library/busybox:1", "r.example/x:1"};
    struct image_on_node here = {.ref = REF, .names = names, .name_count = 2};
    begin();
    struct image_records *r = open_records();
    image_records_begin(r, STR("r.example/x:1"), NULL, NULL);
    image_records_begin(r, STR("busybox:1"), NULL, NULL);
    image_records_begin(r, STR("r.example/never:1"), NULL, NULL);
    r = reopen(r);
    image_records_settle(r, &here, 1, 1500, 1600);
    r = reopen(r);
    ck_assert_uint_eq(files_in("pulling"), 0);
    ck_assert_uint_eq(files_in("pulled"), 1);
    ck_assert(!may(r, NULL));
    ck_assert(!image_records_allow(r, STR("busybox:1"), REF, NULL, 0, 2000));
    image_records_settle(r, NULL, 0, 1600, 2000);
    ck_assert(!may(r, NULL));
    image_records_settle(r, NULL, 0, 1601, 2000);
    ck_assert(may(r, NULL));
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(files_in("pulled"), 0);
    end(r);
}
END_TEST

/* A record that is damaged keeps everybody out, instead of letting everybody in. */
START_TEST(test_damaged_record)
{
    struct pull_auth one = auth("1", "one", "h1");
    begin();
    struct image_records *r = open_records();
    image_records_begin(r, STR("r.example/x:1"), NULL, NULL);
    image_records_pulled(r, STR("r.example/x:1"), REF, NULL, 1000, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(may(r, NULL));
    AUTO_FREE char *damage =
        xasprintf("for f in %s/image_manager/pulled/*; do echo '{\"kind' >$f; done", dir);
    ck_assert_int_eq(system(damage), 0); /* NOLINT: a test's own folder. */
    r = reopen(r);
    ck_assert(!may(r, NULL));
    ck_assert(!may(r, &one));
    image_records_begin(r, STR("r.example/x:1"), NULL, NULL);
    image_records_pulled(r, STR("r.example/x:1"), REF, &one, 1000, NULL, NULL);
    ck_assert(may(r, &one));
    end(r);
}
END_TEST

UNIT_MAIN("image records", {
    UNIT_TEST(test_policies);
    UNIT_TEST(test_bad_policies);
    UNIT_TEST(test_ways);
    UNIT_TEST(test_many_ways);
    UNIT_TEST(test_hash);
    UNIT_TEST(test_pulls_are_known_again);
    UNIT_TEST(test_pulls_that_fail);
    UNIT_TEST(test_settles);
    UNIT_TEST(test_damaged_record);
})

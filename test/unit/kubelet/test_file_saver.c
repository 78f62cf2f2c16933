/* test_file_saver.c - a state and its file: what is written, how often, who is told when. */
#include "kubelet/file_saver.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "test/unit/unit.h"

#include <string.h>
#include <unistd.h>
#include <uv.h>

static char dir[] = "/tmp/trireme-saver-XXXXXX";
static int state, writes, told, failures, seen_in_file;
static struct file_saver saver;

static void write_state(const void *s, struct buf *out)
{
    writes++;
    buf_printf(out, "%d", *(const int *)s);
}

static int in_file(void)
{
    AUTO_BUF b = BUF_INIT;
    if (file_read(saver.path, 64, &b, NULL) != 0)
        return -1;
    buf_append(&b, "", 1);
    return atoi((const char *)b.data);
}

static void on_saved(int code, const struct error *err, void *arg)
{
    told++;
    failures += code != 0;
    ck_assert((code != 0) == (err->code != 0));
    seen_in_file = in_file();
    /* All that the state held when it was asked for is there. */
    if (code == 0)
        ck_assert_int_ge(seen_in_file, (int)(intptr_t)arg);
}

static void change_and_save(void)
{
    state++;
    file_saver_save_then(&saver, on_saved, (void *)(intptr_t)state);
}

static void start(const char *name)
{
    strcpy(dir + sizeof(dir) - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    state = writes = told = failures = 0;
    file_saver_init(&saver, uv_default_loop(), xasprintf("%s/%s", dir, name), write_state, &state);
}

static void end(void)
{
    free(take(saver.path));
    ck_assert_int_eq(file_remove_tree(dir, NULL), 0);
}

/* What comes while a write is under way is one more, however much it is. */
START_TEST(writes_are_few)
{
    start("file");
    for (int i = 0; i < 100; i++)
        change_and_save();
    for (int i = 0; i < 100; i++)
        file_saver_save(&saver);
    ck_assert_int_eq(told, 0); /* Never within the call. */
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    ck_assert_int_eq(writes, 2);
    ck_assert_int_eq(told, 100);
    ck_assert_int_eq(in_file(), 100);
    state = 7;
    file_saver_save(&saver);
    file_saver_save(&saver);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    ck_assert_int_eq(in_file(), 7);
    end();
}
END_TEST

/* Who waits is told that it failed; the next one writes all. */
START_TEST(failures_are_told)
{
    start("later/file");
    struct error err;
    AUTO_FREE char *folder = xasprintf("%s/later", dir);
    change_and_save();
    change_and_save();
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    ck_assert_int_eq(failures, 2);
    ck_assert(saver.failed);
    ck_assert_int_eq(file_mkdir_p(folder, 0700, &err), 0);
    change_and_save();
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    ck_assert_int_eq(failures, 2);
    ck_assert_int_eq(told, 3);
    ck_assert(!saver.failed);
    ck_assert_int_eq(in_file(), 3);
    end();
}
END_TEST

UNIT_MAIN("kubelet/file saver", {
    UNIT_TEST(writes_are_few);
    UNIT_TEST(failures_are_told);
})

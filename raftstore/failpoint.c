/* failpoint.c - see failpoint.h. Everything here is slow and behind one lock: it
 * runs only while failpoints are armed. */
#include "raftstore/failpoint.h"

#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/str.h"
#include "raftstore/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPEC_BYTES_MAX 4096
#define RELOAD_MS 20
#define DELAY_MS_MAX 3600000

enum action {
    ACTION_NONE,
    ACTION_CRASH,
    ACTION_EIO,
    ACTION_ENOSPC,
    ACTION_DELAY,
    ACTION_SHORT,
    ACTION_TORN,
    ACTION_DROP,
};
static const char *const action_names[] = {"",      "crash", "eio",  "enospc",
                                           "delay", "short", "torn", "drop"};

struct rule {
    uint64_t from;  /* The first hit it is for; 0: the first. */
    uint64_t times; /* How often it may still happen. */
    double percent; /* 100: always. */
    enum action action;
    uint32_t delay_ms;
    bool onward; /* And all behind the first. */
};

static const struct {
    const char *name;
    enum failpoint_kind kind;
} points[FAILPOINT_COUNT] = {
#define FAILPOINT_ROW(id, name, kind) {name, FAILPOINT_##kind},
    FAILPOINTS(FAILPOINT_ROW)
#undef FAILPOINT_ROW
};

atomic_bool failpoint_armed;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Guarded by lock. */
static struct rule rules[FAILPOINT_COUNT];
static uint64_t hits[FAILPOINT_COUNT];
static uint64_t random_state;
static struct {
    char *path; /* NULL: the text does not come from a file. */
    struct timespec changed;
    ino_t inode;
    uint64_t looked_ms;
} file;

const char *failpoint_name(enum failpoint f)
{
    return points[f].name;
}

enum failpoint_kind failpoint_kind(enum failpoint f)
{
    return points[f].kind;
}

uint64_t failpoint_hits(enum failpoint f)
{
    pthread_mutex_lock(&lock);
    uint64_t n = hits[f];
    pthread_mutex_unlock(&lock);
    return n;
}

/* --- the text ---------------------------------------------------------------------------- */

static bool can(enum failpoint_kind kind, enum action a)
{
    switch (a) {
    case ACTION_CRASH:
    case ACTION_DELAY:
        return true;
    case ACTION_EIO:
    case ACTION_ENOSPC:
        return kind == FAILPOINT_CALL || kind == FAILPOINT_WRITE;
    case ACTION_SHORT:
    case ACTION_TORN:
        return kind == FAILPOINT_WRITE;
    case ACTION_DROP:
        return kind == FAILPOINT_MESSAGE;
    case ACTION_NONE:
        break;
    }
    return false;
}

static bool parse_number(const char *text, const char **ret_end, uint64_t *ret)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    *ret = strtoull(text, &end, 10);
    *ret_end = end;
    return true;
}

/* "crash@3", "delay(200)%5x10": false when it is none. */
static bool parse_action(const char *text, struct rule *ret)
{
    *ret = (struct rule){.percent = 100, .times = UINT64_MAX, .onward = true};
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwyz"); /* No x: it says how often. */
    for (size_t i = 1; i < ARRAY_SIZE(action_names); i++)
        if (strlen(action_names[i]) == len && strncmp(text, action_names[i], len) == 0)
            ret->action = (enum action)i;
    if (ret->action == ACTION_NONE)
        return false;
    const char *at = text + len;
    uint64_t ms = 0;
    if (ret->action == ACTION_DELAY &&
        (*at != '(' || !parse_number(at + 1, &at, &ms) || *at++ != ')' || ms > DELAY_MS_MAX))
        return false;
    ret->delay_ms = (uint32_t)ms;
    if (*at == '@') {
        if (!parse_number(at + 1, &at, &ret->from))
            return false;
        ret->onward = *at == '+';
        at += ret->onward;
    }
    if (*at == '%') {
        char *end;
        ret->percent = strtod(at + 1, &end);
        if (end == at + 1)
            return false;
        at = end;
    }
    if (*at == 'x' && !parse_number(at + 1, &at, &ret->times))
        return false;
    return *at == '\0' && ret->percent >= 0 && ret->percent <= 100;
}

static bool name_fits(const char *pattern, const char *name)
{
    size_t len = strlen(pattern);
    if (len > 0 && pattern[len - 1] == '*')
        return strncmp(pattern, name, len - 1) == 0;
    return strcmp(pattern, name) == 0;
}

static int parse_item(char *item, struct rule *ret, struct error *err)
{
    char *equals = strchr(item, '=');
    struct rule r;
    if (equals == NULL || !parse_action(equals + 1, &r))
        return error_set(err, E_INVALID,
                         "failpoint \"%.100s\": want NAME=ACTION[@N|@N+][%%P][xM] with crash, eio, "
                         "enospc, delay(MS), short, torn or drop",
                         item);
    *equals = '\0';
    bool known = false, set = false;
    for (size_t i = 0; i < FAILPOINT_COUNT; i++) {
        if (!name_fits(item, points[i].name))
            continue;
        known = true;
        if (can(points[i].kind, r.action)) {
            ret[i] = r;
            set = true;
        }
    }
    if (!set)
        return error_set(err, E_INVALID,
                         known ? "failpoint %.100s cannot %s" : "there is no failpoint %.100s",
                         item, action_names[r.action]);
    return 0;
}

static int parse(const char *spec, struct rule *ret, struct error *err)
{
    AUTO_FREE char *copy = xstrdup(spec);
    char *rest = NULL;
    for (char *item = strtok_r(copy, ";, \n", &rest); item != NULL;
         item = strtok_r(NULL, ";, \n", &rest)) {
        int rc = parse_item(item, ret, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int failpoint_set(const char *spec, struct error *err)
{
    struct rule fresh[FAILPOINT_COUNT] = {0};
    int rc = spec != NULL ? parse(spec, fresh, err) : 0;
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&lock);
    memcpy(rules, fresh, sizeof(rules));
    memset(hits, 0, sizeof(hits));
    if (random_state == 0)
        random_state = env_random_below(env_system(), UINT64_MAX - 1) + 1;
    pthread_mutex_unlock(&lock);
    atomic_store(&failpoint_armed, spec != NULL);
    return 0;
}

/* --- a file that may change while the program runs ------------------------------------------ */

static uint64_t now_ms(void)
{
    return env_now_ms(env_system());
}

/* With the lock held. Keeps the rules when the file is gone or wrong. */
static void reload(void)
{
    if (file.path == NULL || now_ms() - file.looked_ms < RELOAD_MS)
        return;
    file.looked_ms = now_ms();
    struct stat st;
    if (stat(file.path, &st) < 0 ||
        (st.st_ino == file.inode && st.st_mtim.tv_sec == file.changed.tv_sec &&
         st.st_mtim.tv_nsec == file.changed.tv_nsec))
        return;
    char text[SPEC_BYTES_MAX];
    int fd = open(file.path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return;
    text[n] = '\0';
    file.inode = st.st_ino;
    file.changed = st.st_mtim;
    struct rule fresh[FAILPOINT_COUNT] = {0};
    struct error err = {0};
    if (parse(text, fresh, &err) < 0) {
        dprintf(STDERR_FILENO, "%s: %s\n", file.path, error_message(&err));
        return;
    }
    memcpy(rules, fresh, sizeof(rules));
    memset(hits, 0, sizeof(hits));
}

static int setup(struct error *err)
{
    const char *spec = getenv("TRIREME_FAILPOINTS"), *seed = getenv("TRIREME_FAILPOINTS_SEED");
    if (spec == NULL)
        return 0;
    if (seed != NULL)
        random_state = strtoull(seed, NULL, 10) * 2 + 1;
    bool from_file = strncmp(spec, "file:", 5) == 0;
    int rc = failpoint_set(from_file ? "" : spec, err);
    if (rc < 0)
        return rc;
    if (from_file) {
        pthread_mutex_lock(&lock);
        file.path = xstrdup(spec + 5);
        file.looked_ms = 0;
        reload();
        pthread_mutex_unlock(&lock);
    }
    log_warning("failpoints are armed (%s): this program is to fail", spec);
    return 0;
}

static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;

int failpoint_setup(struct error *err)
{
    static bool done;
    pthread_mutex_lock(&once);
    int rc = done ? 0 : setup(err);
    done = rc == 0;
    pthread_mutex_unlock(&once);
    return rc;
}

/* --- hits --------------------------------------------------------------------------------- */

static bool chance(double percent)
{
    if (percent >= 100)
        return true;
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    uint64_t dice = (random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 11;
    return (double)dice / 9007199254740992.0 * 100 < percent; /* 2^53 */
}

static NO_RETURN void crash(enum failpoint f, uint64_t hit)
{
    dprintf(STDERR_FILENO, "failpoint %s: crash at hit %" PRIu64 "\n", points[f].name, hit);
    /* Not _exit(): TSan would let the other threads go on for a second first, which a crash does
     * not. */
    for (;;)
        syscall(SYS_exit_group, FAILPOINT_EXIT);
}

/* Counts the hit; says what is to happen. Crash and delay happen here. */
static enum action happen(enum failpoint f)
{
    pthread_mutex_lock(&lock);
    reload();
    uint64_t hit = ++hits[f];
    struct rule *r = &rules[f];
    enum action a = ACTION_NONE;
    uint32_t delay_ms = r->delay_ms;
    if (r->action != ACTION_NONE && (r->onward ? hit >= r->from : hit == r->from) && r->times > 0 &&
        chance(r->percent)) {
        a = r->action;
        r->times -= r->times != UINT64_MAX;
    }
    pthread_mutex_unlock(&lock);
    if (a == ACTION_CRASH)
        crash(f, hit);
    if (a == ACTION_DELAY) {
        struct timespec ts = {(time_t)(delay_ms / 1000), (long)(delay_ms % 1000) * 1000000};
        nanosleep(&ts, NULL);
    }
    return a;
}

static int errno_of(enum action a)
{
    return a == ACTION_EIO ? -EIO : a == ACTION_ENOSPC ? -ENOSPC : 0;
}

int failpoint_hit(enum failpoint f)
{
    return errno_of(happen(f));
}

bool failpoint_hit_drop(enum failpoint f)
{
    return happen(f) == ACTION_DROP;
}

int failpoint_pwrite_all(enum failpoint f, struct disk *d, int fd, const void *p, size_t n,
                         uint64_t offset)
{
    if (!__builtin_expect(atomic_load_explicit(&failpoint_armed, memory_order_relaxed), 0))
        return disk_pwrite_all(d, fd, p, n, offset);
    enum action a = happen(f);
    if (errno_of(a) < 0)
        return errno_of(a);
    if (a != ACTION_SHORT && a != ACTION_TORN)
        return disk_pwrite_all(d, fd, p, n, offset);
    pthread_mutex_lock(&lock);
    /* Half of it, or any share: none as well. */
    size_t part = n == 0 ? 0 : (size_t)(chance(50) ? n / 2 : random_state % n);
    pthread_mutex_unlock(&lock);
    int rc = disk_pwrite_all(d, fd, p, part, offset);
    if (a == ACTION_TORN)
        crash(f, failpoint_hits(f));
    return rc < 0 ? rc : disk_pwrite_all(d, fd, (const uint8_t *)p + part, n - part, offset + part);
}

/* driver.c - runs a fuzz target without libFuzzer: first the seeds as they are,
 * then mutations of them, as many as told. Deterministic for a given seed.
 *
 *   fuzz_x [-runs=N] [-seed=N] [-max_len=N] [FILE|FOLDER...]
 *
 * FUZZ_RUNS in the environment stands in for -runs. A target may bring seeds of
 * its own by defining fuzz_seed(). On a signal or abort the input is written to
 * crash-input in the current folder. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Optional: writes seed number i to p and returns its length, 0 behind the last. */
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap) __attribute__((weak));

#define SEEDS_MAX 4096
#define SEED_BYTES_MAX (1u << 20)

struct input {
    uint8_t *data;
    size_t len;
};

static struct input seeds[SEEDS_MAX];
static size_t seed_count;
static struct input current;
static uint64_t state;

static uint64_t next_random(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1du;
}

static size_t random_below(size_t below)
{
    return below == 0 ? 0 : (size_t)(next_random() >> 16) % below;
}

/* --- seeds --- */

static void add_seed(const uint8_t *p, size_t n)
{
    if (seed_count == SEEDS_MAX)
        return;
    struct input *s = &seeds[seed_count++];
    s->data = malloc(n + 1);
    if (s->data == NULL)
        abort();
    memcpy(s->data, p, n);
    s->len = n;
}

static void add_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(2);
    }
    uint8_t *p = malloc(SEED_BYTES_MAX);
    if (p == NULL)
        abort();
    add_seed(p, fread(p, 1, SEED_BYTES_MAX, f));
    free(p);
    fclose(f);
}

static void add_path(const char *path)
{
    DIR *d = opendir(path);
    if (d == NULL) {
        add_file(path);
        return;
    }
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        char file[4096];
        struct stat st;
        snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
        if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
            add_file(file);
    }
    closedir(d);
}

static void add_own_seeds(void)
{
    uint8_t *p = malloc(SEED_BYTES_MAX);
    if (p == NULL)
        abort();
    for (unsigned i = 0; fuzz_seed != NULL; i++) {
        size_t n = fuzz_seed(i, p, SEED_BYTES_MAX);
        if (n == 0)
            break;
        add_seed(p, n);
    }
    free(p);
}

/* --- mutations --- */

static void insert_bytes(struct input *in, size_t cap, const uint8_t *p, size_t n)
{
    size_t at = random_below(in->len + 1);
    if (n > cap - in->len)
        n = cap - in->len;
    memmove(in->data + at + n, in->data + at, in->len - at);
    if (p != NULL)
        memcpy(in->data + at, p, n);
    else
        memset(in->data + at, (int)next_random(), n);
    in->len += n;
}

static void erase_bytes(struct input *in)
{
    size_t at = random_below(in->len), n = 1 + random_below(in->len - at);
    if (next_random() % 4 != 0 && n > 8)
        n = 1 + n % 8;
    memmove(in->data + at, in->data + at + n, in->len - at - n);
    in->len -= n;
}

static void insert_part_of_seed(struct input *in, size_t cap)
{
    const struct input *other = &seeds[random_below(seed_count)];
    size_t from = random_below(other->len), n = random_below(other->len - from + 1);
    insert_bytes(in, cap, other->data + from, n);
}

static void mutate_once(struct input *in, size_t cap)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe, '0', '"', '\n', ' '};
    if (in->len == 0) {
        insert_bytes(in, cap, NULL, 1 + random_below(8));
        return;
    }
    size_t at = random_below(in->len);
    switch (next_random() >> 33 & 7) {
    case 0:
        in->data[at] = (uint8_t)(in->data[at] ^ 1u << random_below(8));
        break;
    case 1:
        in->data[at] = (uint8_t)next_random();
        break;
    case 2:
        in->data[at] = edges[random_below(sizeof(edges))];
        break;
    case 3:
        in->data[at] = (uint8_t)(in->data[at] + random_below(9) - 4);
        break;
    case 4:
        insert_bytes(in, cap, NULL, 1 + random_below(8));
        break;
    case 5:
        erase_bytes(in);
        break;
    case 6:
        insert_part_of_seed(in, cap);
        break;
    default:
        in->len = next_random() % 4 == 0 ? at : in->len;
        break;
    }
}

/* --- running --- */

static void save_input(void)
{
    int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    ssize_t n = write(fd, current.data, current.len);
    static const char text[] = "input written to crash-input\n";
    if (n == (ssize_t)current.len)
        n = write(STDERR_FILENO, text, sizeof(text) - 1);
    close(fd);
}

static void on_crash(int sig)
{
    save_input();
    signal(sig, SIG_DFL);
    raise(sig);
}

/* The input is given in a block of exactly its size, so that a sanitizer sees a
 * read behind its end. */
static void run_one(const struct input *in)
{
    current.data = malloc(in->len > 0 ? in->len : 1);
    if (current.data == NULL)
        abort();
    memcpy(current.data, in->data, in->len);
    current.len = in->len;
    LLVMFuzzerTestOneInput(current.data, current.len);
    free(current.data);
}

static void run_mutations(uint64_t runs, size_t max_len)
{
    struct input in = {.data = malloc(max_len)};
    if (in.data == NULL)
        abort();
    for (uint64_t i = 0; i < runs; i++) {
        const struct input *from = &seeds[random_below(seed_count)];
        in.len = from->len < max_len ? from->len : max_len;
        memcpy(in.data, from->data, in.len);
        for (size_t n = 1 + random_below(6); n > 0; n--)
            mutate_once(&in, max_len);
        run_one(&in);
    }
    free(in.data);
}

int main(int argc, char **argv)
{
    const char *env_runs = getenv("FUZZ_RUNS");
    uint64_t runs = env_runs != NULL ? strtoull(env_runs, NULL, 10) : 20000, seed = 1;
    size_t max_len = 65536;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-runs=", 6) == 0)
            runs = strtoull(argv[i] + 6, NULL, 10);
        else if (strncmp(argv[i], "-seed=", 6) == 0)
            seed = strtoull(argv[i] + 6, NULL, 10);
        else if (strncmp(argv[i], "-max_len=", 9) == 0)
            max_len = strtoull(argv[i] + 9, NULL, 10);
        else
            add_path(argv[i]);
    }
    state = seed * 0x9e3779b97f4a7c15u + 1;
    max_len = max_len > 0 ? max_len : 1;
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    add_own_seeds();
    add_seed((const uint8_t *)"", 0);
    for (size_t i = 0; i < seed_count; i++)
        run_one(&seeds[i]);
    run_mutations(runs, max_len);
    printf("%zu seeds, %llu mutations (seed %llu)\n1 passed, 0 failed\n", seed_count,
           (unsigned long long)runs, (unsigned long long)seed);
    for (size_t i = 0; i < seed_count; i++)
        free(seeds[i].data);
    return 0;
}

/* libfuzzer.c - stands where driver.c does when libFuzzer brings main(): writes the target's own
 * seeds as files into the folder that FUZZ_SEEDS names, so that the search starts from them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SEED_BYTES_MAX (1u << 20)

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap) __attribute__((weak));
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void write_seed(const char *folder, unsigned i, const uint8_t *p, size_t n)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/seed-%u", folder, i);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(p, 1, n, f) != n || fclose(f) != 0) {
        perror(path);
        exit(2);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const char *folder = getenv("FUZZ_SEEDS");
    if (folder == NULL || fuzz_seed == NULL)
        return 0;
    uint8_t *p = malloc(SEED_BYTES_MAX);
    if (p == NULL)
        abort();
    for (unsigned i = 0;; i++) {
        size_t n = fuzz_seed(i, p, SEED_BYTES_MAX);
        if (n == 0)
            break;
        write_seed(folder, i, p, n);
    }
    free(p);
    return 0;
}

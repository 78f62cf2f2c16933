/* seeds.h - a target's seeds from a list of texts. */
#ifndef TEST_FUZZ_API_SEEDS_H
#define TEST_FUZZ_API_SEEDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

/* sizes follow the literals: they may hold NUL bytes. */
struct fuzz_text {
    const char *text;
    size_t len;
};
#define FUZZ_TEXT(lit)                                                                             \
    {                                                                                              \
        (lit), sizeof(lit) - 1                                                                     \
    }

#define FUZZ_SEEDS(list)                                                                           \
    size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)                                           \
    {                                                                                              \
        if (i >= sizeof(list) / sizeof((list)[0]) || (list)[i].len > cap)                          \
            return 0;                                                                              \
        memcpy(p, (list)[i].text, (list)[i].len);                                                  \
        return (list)[i].len;                                                                      \
    }

#endif

/* base.h - the macros every file may use: assertions, cleanup, containers.
 *
 * ASSERT stays on in release builds. It states what only our own bug could
 * break; bytes from the network, the disk or a user get an error instead. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define NO_RETURN __attribute__((noreturn))
#define UNUSED(x) ((void)(x))

/* Prints the message with its place to stderr and aborts. */
NO_RETURN void base_panic(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define PANIC(...) base_panic(__FILE__, __LINE__, __VA_ARGS__)
#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            base_panic(__FILE__, __LINE__, "assertion %s", #cond);                                 \
    } while (0)
/* Compares two integers and prints both when the relation does not hold. */
#define ASSERT_CMP(a, op, b)                                                                       \
    do {                                                                                           \
        long long assert_a_ = (long long)(a), assert_b_ = (long long)(b);                          \
        if (__builtin_expect(!(assert_a_ op assert_b_), 0))                                        \
            base_panic(__FILE__, __LINE__, "assertion %s %s %s (%lld, %lld)", #a, #op, #b,         \
                       assert_a_, assert_b_);                                                      \
    } while (0)

/* malloc and friends that abort when memory is gone: for small, bounded sizes
 * only. A size that comes from input is bounded first and allocated with
 * malloc, whose failure is an error the client sees. */
void *xmalloc(size_t size);
void *xzalloc(size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);
void *xmemdup(const void *p, size_t size);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

static inline void base_free_ptr(void *p)
{
    free(*(void **)p);
}
/* Frees the variable's pointee when the scope ends. */
#define AUTO_FREE __attribute__((cleanup(base_free_ptr)))

static inline void *base_take(void *pp)
{
    void **p = (void **)pp;
    void *v = *p;
    *p = NULL;
    return v;
}
/* Hands over the pointer held by an lvalue and leaves NULL behind. */
#define take(lvalue) ((__typeof__(lvalue))base_take(&(lvalue)))

#endif

/* base.c - panics and the allocation wrappers that abort. */
#include "lib/base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void base_panic(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "panic: %s:%d: ", file, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    fflush(stderr);
    abort();
}

static void *checked(void *p, size_t size)
{
    if (p == NULL)
        PANIC("out of memory (%zu bytes)", size);
    return p;
}

void *xmalloc(size_t size)
{
    return checked(malloc(size != 0 ? size : 1), size);
}

void *xzalloc(size_t size)
{
    return checked(calloc(1, size != 0 ? size : 1), size);
}

void *xrealloc(void *p, size_t size)
{
    return checked(realloc(p, size != 0 ? size : 1), size);
}

char *xstrdup(const char *s)
{
    return xmemdup(s, strlen(s) + 1);
}

char *xstrndup(const char *s, size_t len)
{
    char *p = xmalloc(len + 1);
    if (len != 0)
        memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

void *xmemdup(const void *p, size_t size)
{
    void *copy = xmalloc(size);
    if (size != 0)
        memcpy(copy, p, size);
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *out = NULL;
    int n = vasprintf(&out, fmt, ap);
    va_end(ap);
    if (n < 0)
        PANIC("out of memory formatting a string");
    return out;
}

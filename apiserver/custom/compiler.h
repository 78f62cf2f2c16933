/* compiler.h - makes large definitions ready on the server's worker thread, so
 * that no loop waits for their schemas and rules.
 *
 * Thread-safe. */
#ifndef APISERVER_CUSTOM_COMPILER_H
#define APISERVER_CUSTOM_COMPILER_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiserver;
struct custom_definition;

/* Smaller ones take less time than it takes to tell another thread. */
#define COMPILER_BYTES_MIN (32u << 10)

/* Between the two, every thread of the server is told when something is ready. */
void custom_compiler_start(struct apiserver *s);
void custom_compiler_stop(void);

struct compiler_source {
    struct str name;
    struct str value; /* As stored; copied. */
    int64_t mod_rev;
    uint32_t index;
    const struct custom_definition *before; /* Served now; may be NULL. */
};
/* What to serve for a stored definition; *ret NULL: nothing. Made here and now. */
void custom_definition_make(const struct compiler_source *s, struct custom_definition **ret);
/* The same, made elsewhere. False: it is not ready yet. */
bool custom_compiler_take(const struct compiler_source *s, struct custom_definition **ret);
/* Counts what has become ready. */
unsigned custom_compiler_finished(void);

#endif

/* cel_table.h - how tables of functions are written; for their .c files only. */
#ifndef API_CEL_CEL_TABLE_H
#define API_CEL_CEL_TABLE_H

#include "lib/api/cel/cel_internal.h"

#define V struct cel_value
#define C struct cel_call

/* A global function and a member: name, number of arguments, result, code, arguments. */
#define G(name, n, result, run, ...)                                                               \
    {                                                                                              \
        name, false, n, {__VA_ARGS__}, result, run                                                 \
    }
#define M(name, n, result, run, ...)                                                               \
    {                                                                                              \
        name, true, n, {__VA_ARGS__}, result, run                                                  \
    }

#endif

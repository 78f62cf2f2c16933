/* flags.h - command line flags as upstream's programs take them (pflag).
 *
 *   --name=value, --name value, --bool, --bool=false, -n value, -nvalue, -it
 *
 * Flags and arguments may be mixed; "--" ends the flags. Repeating a flag
 * takes the last value, except for lists and maps, which add up. The variables
 * behind flags hold the defaults when registered. Strings given by the command
 * line are borrowed from argv; lists live in the set. */
#ifndef BASE_FLAGS_H
#define BASE_FLAGS_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

struct arena;
struct buf;
struct flag_set;

struct flag_list {
    const char **items; /* Owned by the set. */
    size_t count;
};

/* name and the text are borrowed. usage is the first line of the help,
 * "trireme-kubelet [flags]". */
struct flag_set *flag_set_new(const char *usage);
void flag_set_free(struct flag_set *f); /* NULL is a no-op. */
/* Lives as long as the set, for names that are put together. */
struct arena *flag_set_arena(struct flag_set *f);

/* Name with an optional one-letter form: "namespace,n". help: one sentence; a
 * `word` in backquotes names the value. The pointers live as long as the set. */
void flag_string(struct flag_set *f, const char **value, const char *name, const char *help);
void flag_bool(struct flag_set *f, bool *value, const char *name, const char *help);
void flag_int(struct flag_set *f, int64_t *value, const char *name, const char *help);
void flag_float(struct flag_set *f, double *value, const char *name, const char *help);
/* "1m30s", "500ms", "0"; kept in nanoseconds as upstream prints it. */
void flag_duration(struct flag_set *f, int64_t *value_ns, const char *name, const char *help);
/* "a,b": commas split, and repeating adds. The first use replaces the default. */
void flag_strings(struct flag_set *f, struct flag_list *value, const char *name, const char *help);
/* Repeating adds, commas do not split. */
void flag_string_array(struct flag_set *f, struct flag_list *value, const char *name,
                       const char *help);
/* "k=v,k2=v2" as items "k=v" (feature gates, labels): an item without '=' is an error. */
void flag_map(struct flag_set *f, struct flag_list *value, const char *name, const char *help);
/* set() returns 0 or E_INVALID with the reason in err. */
void flag_func(struct flag_set *f, const char *name, const char *help,
               int (*set)(const char *value, void *arg, struct error *err), void *arg);
/* A flag without value means this value (--dry-run = --dry-run=unchanged). */
void flag_no_value(struct flag_set *f, const char *name, const char *value);
/* Accepted and ignored, for upstream flags that mean nothing here; a warning
 * with this text is printed when used (NULL: silent). takes_value: not boolean. */
void flag_ignored(struct flag_set *f, const char *name, bool takes_value, const char *warning);
void flag_hide(struct flag_set *f, const char *name);     /* Not in the help. */
void flag_replaces(struct flag_set *f, const char *name); /* A list of which the last use counts. */

/* Parses argv[1..]. E_INVALID with pflag's text ("unknown flag: --x"). --help
 * and -h, unless registered, return E_EOF: flag_set_print_help(). */
int flag_set_parse(struct flag_set *f, int argc, char *const *argv, struct error *err);
/* As parse, but all flags must stand before the first argument, which and the
 * rest are left alone: for commands with verbs. */
int flag_set_parse_leading(struct flag_set *f, int argc, char *const *argv, struct error *err);
/* Sets one flag as the command line would: from a configuration file. */
int flag_set_value(struct flag_set *f, const char *name, const char *value, struct error *err);
/* Sets a list or map to these items, which are copied: nothing in them divides them. */
int flag_set_items(struct flag_set *f, const char *name, const struct flag_list *items,
                   struct error *err);
/* What was not a flag. */
const char *const *flag_set_args(const struct flag_set *f, size_t *ret_count);
bool flag_changed(const struct flag_set *f, const char *name); /* Was it given? */
bool flag_known(const struct flag_set *f, const char *name);   /* Is it registered? */
/* Every flag that means something here, in no order, with the value that holds, as pflag would
 * print it. The value is borrowed for the call. */
void flag_each(const struct flag_set *f, void (*fn)(const char *name, struct str value, void *arg),
               void *arg);
/* The value of one that is no list, as pflag would print it; appended. Of none of that name:
 * nothing. */
void flag_value(const struct flag_set *f, const char *name, struct buf *b);
/* The items of a list or map; NULL: it is none. */
const struct flag_list *flag_items(const struct flag_set *f, const char *name);
void flag_set_help(const struct flag_set *f, struct buf *b);
void flag_set_print_help(const struct flag_set *f); /* On standard output. */

/* Go's time.ParseDuration and Duration.String, in nanoseconds. E_INVALID. */
int duration_parse(struct str s, int64_t *ret_ns);
void duration_print(int64_t ns, struct buf *b);

#endif

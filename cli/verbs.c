/* verbs.c - what every verb does alike. */
#include "cli/verbs.h"

#include "lib/base/error.h"
#include "lib/base/flags.h"

#include <stdio.h>

int verb_flags(struct flag_set *flags, int argc, char **argv, int *ret_exit)
{
    struct error err = {0};
    int rc = flag_set_parse(flags, argc, argv, &err);
    if (rc == 0)
        return 0;
    if (rc == E_EOF) {
        flag_set_print_help(flags);
        *ret_exit = 0;
    } else {
        fprintf(stderr, VERB_ERROR "%s\n", error_message(&err));
        *ret_exit = EXIT_USAGE;
    }
    return rc;
}

int verb_flags_alone(struct flag_set *flags, int argc, char **argv, int *ret_exit)
{
    size_t count = 0;
    int rc = verb_flags(flags, argc, argv, ret_exit);
    const char *const *args = rc == 0 ? flag_set_args(flags, &count) : NULL;
    if (count == 0)
        return rc;
    fprintf(stderr, VERB_ERROR "unexpected argument: %s; see --help\n", args[0]);
    *ret_exit = EXIT_USAGE;
    return E_USAGE;
}

int verb_timeout(int64_t timeout_ns, uint64_t *ret_ms, struct error *err)
{
    if (timeout_ns < 1000000)
        return error_set(err, E_USAGE, "--timeout: want a duration of at least 1ms, such as 60s");
    *ret_ms = (uint64_t)timeout_ns / 1000000;
    return 0;
}

int verb_fail(const struct error *err)
{
    fprintf(stderr, VERB_ERROR "%s\n", error_message(err));
    return err->code == E_USAGE ? EXIT_USAGE : EXIT_FAILURE;
}

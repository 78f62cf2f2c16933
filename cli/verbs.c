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
        *ret_exit = 2;
    }
    return rc;
}

int verb_fail(const struct error *err)
{
    fprintf(stderr, VERB_ERROR "%s\n", error_message(err));
    return 1;
}

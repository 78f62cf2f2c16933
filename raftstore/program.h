/* program.h - what trireme-raftstore does, apart from reading its command line. */
#ifndef RAFTSTORE_PROGRAM_H
#define RAFTSTORE_PROGRAM_H

#include <stdbool.h>

struct error;
struct options;

/* Opens the store, serves it and blocks until a signal ends it: 0. Or an error,
 * at the start or because the store cannot go on. */
int program_serve(const struct options *o, struct error *err);
/* There is a member's data in dir. */
bool program_holds_member(const char *dir);

/* `trireme-raftstore snapshot ...`: argv[0] is "snapshot". The exit code. */
int program_snapshot(int argc, char **argv);
/* `trireme-raftstore recover ...`: argv[0] is "recover". */
int program_recover(int argc, char **argv);

#endif

/* program.h - what every program of ours does first and last. Call on the main thread. */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

/* First of all: descriptors 0 to 2 that the caller closed are opened on /dev/null - a file or
 * socket of ours would get their numbers otherwise, and messages would be written into it -, and a
 * peer that is gone is an error instead of a signal. */
void program_begin(void);

/* For servers: as many open files as the machine allows this process, not the lower limit that
 * shells start with. */
void program_open_files_max(void);

/* Last: the exit code, or 1 after it said on stderr that standard output could not be written. A
 * reader that has gone is not worth a word. */
int program_end(int exit_code);

#endif

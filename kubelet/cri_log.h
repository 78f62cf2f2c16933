/* cri_log.h - the log files that container runtimes write, as CRI defines
 * them: "2016-10-06T00:17:09.669794202Z stdout F text\n", where tag P marks a
 * part of a longer line and F its end. */
#ifndef KUBELET_CRI_LOG_H
#define KUBELET_CRI_LOG_H

#include "lib/base/str.h"

struct cri_log_line {
    struct str stamp; /* RFC 3339 with nanoseconds, as it stood. */
    int64_t time_ns;  /* The same since the Unix epoch. */
    bool is_stderr;
    bool partial;    /* More of this line follows. */
    struct str text; /* Without the newline. */
};

/* Parses one line (with or without its newline); false when it is malformed.
 * The result points into line. */
bool cri_log_parse(struct str line, struct cri_log_line *ret);

/* RFC 3339 with up to nine decimals, Z or an offset. False on junk. */
bool cri_log_parse_time(struct str s, int64_t *ret_ns);

/* Where the last n lines of a chunk start: an index into data, or -1 with
 * *found the number of line ends seen when the chunk holds fewer. `data` is the part
 * of a file before an end that is known to be a line's end or the file's. */
ptrdiff_t cri_log_tail(struct str data, uint64_t n, uint64_t *found);

#endif

/* board.h - where the figures of all nodes hang: put up by the scraper, read by
 * every thread. */
#ifndef APISERVER_FIGURES_BOARD_H
#define APISERVER_FIGURES_BOARD_H

#include "apiserver/figures/figures.h"

struct figure_board;

struct figure_board *figure_board_new(void);
void figure_board_free(struct figure_board *b); /* NULL is a no-op. */

/* Takes over the reference. at_ms: when, for figure_board_get(). */
void figure_board_put(struct figure_board *b, struct str node, struct figures *f, uint64_t at_ms);
void figure_board_drop(struct figure_board *b, struct str node);
void figure_board_clear(struct figure_board *b);
/* A reference; NULL when there is nothing since then. */
struct figures *figure_board_get(struct figure_board *b, struct str node, uint64_t since_ms);

#endif

/* objects.h - figures as objects of metrics.k8s.io/v1beta1, and lists and tables of
 * them in the form that a client asked for. Pure. */
#ifndef APISERVER_FIGURES_OBJECTS_H
#define APISERVER_FIGURES_OBJECTS_H

#include "apiserver/figures/figures.h"
#include "apiserver/table.h"
#include "lib/base/buf.h"

struct accepted;
struct api_str_entry;

/* The Node or Pod in question; labels are borrowed. */
struct figure_subject {
    struct str ns, name;
    struct api_str_entry *labels;
    size_t label_count;
    int64_t now_s;
};

/* NULL: there is no rate yet. Usage is what stands in f. */
void *figure_node_object(struct arena *a, const struct figure_subject *s, const struct figures *f);
void *figure_pod_object(struct arena *a, const struct figure_subject *s,
                        const struct figure_pod *p);

/* Writes a list or a table; open, add each, close, then out is the body. */
struct figure_writer {
    const struct accepted *accept;
    const struct api_kind *kind;
    enum include_object include;
    bool nodes, list;
    size_t count;
    struct buf out;
};
void figure_writer_open(struct figure_writer *w);
void figure_writer_add(struct figure_writer *w, void *object);
void figure_writer_close(struct figure_writer *w);

#endif

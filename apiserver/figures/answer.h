/* answer.h - metrics.k8s.io/v1beta1: NodeMetrics and PodMetrics, made of the Nodes and Pods in the
 * store and of the figures on the board.
 *
 * get and list, with label and field selectors, as objects and as tables; forms and texts are
 * metrics-server's. A list is made in slices between other work of the loop. */
#ifndef APISERVER_FIGURES_ANSWER_H
#define APISERVER_FIGURES_ANSWER_H

struct req;

void figures_answer(struct req *r);

#endif

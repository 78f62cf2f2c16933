/* agent_metrics.h - what the node agent runs, under upstream's names, for /metrics. */
#ifndef KUBELET_AGENT_METRICS_H
#define KUBELET_AGENT_METRICS_H

struct kubelet;

/* Once; read when metrics are rendered, on the agent's loop. */
void agent_metrics_init(struct kubelet *k);

#endif

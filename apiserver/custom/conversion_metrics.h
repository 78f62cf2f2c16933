/* conversion_metrics.h - conversion webhooks under upstream's names. */
#ifndef APISERVER_CUSTOM_CONVERSION_METRICS_H
#define APISERVER_CUSTOM_CONVERSION_METRICS_H

#include "apiserver/custom/review.h"

struct custom_version;

void conversion_metrics_init(void); /* Once, before threads. */
/* start_ns: of uv_hrtime(). fault counts when it was no success. */
void conversion_metrics_call(const struct custom_version *from, const struct custom_version *to,
                             uint64_t start_ns, bool good, enum review_fault fault);

#endif

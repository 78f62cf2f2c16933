/* fuzz_zone.c - files of time zones: any bytes are an offset or damaged. */
#include "lib/api/cel/cel_zone.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t times[] = {INT64_C(-62135596800), -1, 0, 1720000000,
                                    INT64_C(253402300799)};
    int64_t offset;
    for (size_t i = 0; i < ARRAY_SIZE(times); i++)
        (void)cel_zone_offset_in(str_n((const char *)data, size), times[i], &offset);
    return 0;
}

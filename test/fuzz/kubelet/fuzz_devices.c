/* fuzz_devices.c - the checkpoint of devices, and plugins' answers: any bytes. What is read of a
 * checkpoint is written and read again the same. */
#include "kubelet/device_gift.h"
#include "kubelet/device_state.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_again(const struct device_state *s)
{
    AUTO_BUF first = BUF_INIT;
    struct device_state again;
    struct error err;
    device_state_init(&again);
    device_checkpoint_write(s, &first);
    ASSERT(device_checkpoint_read(&again, buf_str(&first), &err) == 0);
    size_t x = 0, y = 0;
    LIST_FOREACH (it, &s->grants)
        x += LIST_ENTRY(it, struct device_grant, link)->count;
    LIST_FOREACH (it, &again.grants)
        y += LIST_ENTRY(it, struct device_grant, link)->count;
    ASSERT(x == y);
    ASSERT(s->resources.count == again.resources.count);
    device_state_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_n((const char *)data, size);
    AUTO_ARENA *a = arena_new(0);
    struct device_state state;
    struct device_gift gift = {0};
    struct error err;
    device_state_init(&state);
    if (device_checkpoint_read(&state, s, &err) == 0)
        read_again(&state);
    device_state_done(&state);
    if (device_gift_add(a, s, &gift, &err) == 0)
        for (size_t i = 0; i < gift.mount_count; i++)
            ASSERT(gift.mounts[i].host_path[0] == '/');
    return 0;
}

static const char *const seeds[] = {
    "{\"Checksum\":1107104278,\"Data\":{\"PodDeviceEntries\":[{\"AllocResp\":\"AH8=\","
    "\"ContainerName\":"
    "\"c\",\"DeviceIDs\":{\"-1\":[\"d\"]},\"PodUID\":\"u\",\"ResourceName\":\"a.io/d\"}],"
    "\"RegisteredDevices\":{\"a.io/d\":[\"d\"]}}}",
    "\x12\x0a\x0a\x02/a\x12\x02/b\x18\x01",
    "\x0a\x06\x0a\x01k\x12\x01v",
};

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    if (i >= ARRAY_SIZE(seeds) || strlen(seeds[i]) > cap)
        return 0;
    memcpy(p, seeds[i], strlen(seeds[i]));
    return strlen(seeds[i]);
}

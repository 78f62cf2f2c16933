/* test_image_volume.c - which runtime mounts images itself, and how what containerd says of a
 * snapshot becomes a mount. */
#include "kubelet/image_volume.h"

#include "lib/base/error.h"

#include "test/unit/unit.h"

#include <sys/mount.h>

START_TEST(test_runtimes)
{
    ck_assert(!image_volumes_by_runtime("containerd", "1.6.20~ds1"));
    ck_assert(!image_volumes_by_runtime("containerd", "v1.7.2"));
    ck_assert(!image_volumes_by_runtime("containerd", "2.0.5"));
    ck_assert(image_volumes_by_runtime("containerd", "v2.1.0"));
    ck_assert(image_volumes_by_runtime("containerd", "2.10.1"));
    ck_assert(image_volumes_by_runtime("containerd", "3.0"));
    ck_assert(!image_volumes_by_runtime("containerd", "unknown"));
    ck_assert(image_volumes_by_runtime("cri-o", "1.20.0"));
}
END_TEST

/* Flags by their names, the rest is the file system's; what neither is is refused by name. */
START_TEST(test_options)
{
    char overlay[][32] = {"index=off", "lowerdir=/a:/b", "ro", "noexec"}, odd[] = "uid";
    char *options[] = {overlay[0], overlay[1], overlay[2], overlay[3]}, *bad[] = {odd};
    char data[32];
    unsigned long flags;
    struct error err;
    ck_assert_int_eq(image_volume_options(options, 4, &flags, data, sizeof(data), &err), 0);
    ck_assert_str_eq(data, "index=off,lowerdir=/a:/b");
    ck_assert_uint_eq(flags, MS_RDONLY | MS_NOEXEC);
    ck_assert_int_eq(image_volume_options(options, 4, &flags, data, 24, &err), E_TOO_LARGE);
    ck_assert_str_eq(error_message(&err), "the image has too many layers to be mounted");
    ck_assert_int_eq(image_volume_options(bad, 1, &flags, data, sizeof(data), &err), E_INVALID);
    ck_assert_str_eq(error_message(&err), "mount option uid is not known");
    ck_assert_int_eq(image_volume_options(NULL, 0, &flags, data, sizeof(data), &err), 0);
    ck_assert_str_eq(data, "");
}
END_TEST

UNIT_MAIN("image volumes", {
    UNIT_TEST(test_runtimes);
    UNIT_TEST(test_options);
})

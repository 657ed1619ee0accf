/* Checksums of event files; the files themselves are read by tests/checks/tensorboard. */
#include "events.h"
#include "support.h"

START_TEST(checksums_of_rfc_3720)
{
    unsigned char bytes[32] = {0};
    ck_assert_uint_eq(caps_crc32c(bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, 32);
    ck_assert_uint_eq(caps_crc32c(bytes, 32), 0x62a8ab43u);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    ck_assert_uint_eq(caps_crc32c(bytes, 32), 0x46dd794eu);
    ck_assert_uint_eq(caps_crc32c("123456789", 9), 0xe3069283u);
    ck_assert_uint_eq(caps_crc32c("", 0), 0);
    /* Turned by 15 bits, and a constant added. */
    ck_assert_uint_eq(caps_crc32c_masked("", 0), 0xa282ead8u);
    ck_assert_uint_eq(caps_crc32c_masked("123456789", 9),
        ((0xe3069283u >> 15 | 0xe3069283u << 17) + 0xa282ead8u));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("events");
    TCase *t = tcase_create("events");
    tcase_add_test(t, checksums_of_rfc_3720);
    suite_add_tcase(s, t);
    return s;
}

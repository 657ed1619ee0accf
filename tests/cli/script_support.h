/* script_support.h: scripts of bench/ as processes. The file that includes it defines SCRIPT(name),
 * the path of one. */
#ifndef CAPS_TEST_SCRIPT_SUPPORT_H
#define CAPS_TEST_SCRIPT_SUPPORT_H

#include "cli_support.h"

static inline test_process run(char *const argv[])
{
    return test_run(argv, (char *[]){"PYTHONDONTWRITEBYTECODE=1", NULL});
}

static inline bool succeeds(char *const argv[])
{
    test_process p = run(argv);
    const bool good = p.exit_code == 0;
    test_process_release(&p);
    return good;
}

/* With Python; or one line that says what is not tested. */
static inline bool have_python(const char *test)
{
    const bool have = succeeds((char *[]){
        "/usr/bin/env", "python3", "-c", "import sys; sys.exit(sys.version_info < (3, 9))", NULL});
    if (!have)
        printf("SKIPPED %s: no Python 3.9 here\n", test);
    return have;
}

/* One line on stderr that holds `text`, nothing on stdout, and the exit code. */
static inline void expect_refused(char *const argv[], int code, const char *text)
{
    test_process p = run(argv);
    ck_assert_msg(p.exit_code == code, "%s: %d, need %d; %s", argv[0], p.exit_code, code, p.err);
    ck_assert_msg(strstr(p.err, text) != NULL, "\"%s\" is not in: %s", text, p.err);
    const char *end = strchr(p.err, '\n');
    ck_assert_msg(end && end[1] == '\0', "more than a line: %s", p.err);
    ck_assert_str_eq(p.out, "");
    test_process_release(&p);
}

#define REFUSED(code, text, script, ...)                                                           \
    expect_refused((char *[]){SCRIPT(script), __VA_ARGS__, NULL}, code, text)

#endif

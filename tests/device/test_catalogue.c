/* test_catalogue.c: the table of kernels in cl/README.md and the programs name the same kernels, in
 * the files, functions and tests that there are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "runtime_state.h"
#include "sources.h"
#include "support.h"

static char *readme;
static caps_runtime *runtimes[2]; /* by family, each with its program built */
#define TOOM_COOK                                                                                  \
    " -DTOOM_COOK_POINTS=4 -DTOOM_COOK_TAPS_Y=2 -DTOOM_COOK_TAPS_X=3 -DTOOM_COOK_OUT_Y=3 "         \
    "-DTOOM_COOK_OUT_X=2 -DTOOM_COOK_STRIDE=1"
static const struct {
    int family;
    caps_template template;
} templates[] = {
    {CAPS_FAMILY_CPU, {"toom_cook.clt", TOOM_COOK}},
    {CAPS_FAMILY_GPU, {"toom_cook_gpu.clt", TOOM_COOK " -DTOOM_COOK_KERNEL_Y=2 "
                                                      "-DTOOM_COOK_KERNEL_X=3 -DTOOM_COOK_ITEMS=8 "
                                                      "-DTOOM_COOK_LANES=8"}},
    {CAPS_FAMILY_CPU, {"em.clt", " -DEM_TILE=32"}},
    {CAPS_FAMILY_CPU, {"em_gradient.clt", " -DEM_TILE=32 -DEM_TERMS=3"}},
    {CAPS_FAMILY_GPU, {"em_gpu.clt", " -DEM_TILE=1 -DEM_GROUP=4 -DEM_HELD=4"}},
    {CAPS_FAMILY_GPU, {"conv_implicit_gpu.clt", " -DIMPLICIT_GROUP=2"}},
    {CAPS_FAMILY_GPU, {"gemm_tiled_gpu.clt", " -DTILED_WM=4"}},
    {CAPS_FAMILY_GPU, {"routing_tiled_gpu.clt", " -DROUTING_LM=4"}},
    {CAPS_FAMILY_GPU, {"routing_tiled_gradient_gpu.clt", " -DROUTING_CI=2"}},
};

static void set_up(void)
{
    caps_error err = {0};
    size_t n = 0;
    caps_runtime *shared = test_runtime();
    test_ok(caps_file_read(
        (unsigned char **)&readme, &n, TEST_SOURCE_DIR "/cl/README.md", (size_t)1 << 20, &err));
    for (int f = 0; f < 2; f++) {
        caps_runtime_options options = {
            CAPS_OPTIONS(caps_runtime_options), .kernels = caps_family_name((caps_family)f)};
        test_ok(caps_runtime_create_from(&runtimes[f], caps_runtime_context(shared),
            caps_runtime_device(shared)->handle, caps_runtime_queue(shared), &options, &err));
        cl_program program;
        test_ok(caps_registry_get(&program, runtimes[f], NULL, &err));
    }
}

static void tear_down(void)
{
    for (int f = 0; f < 2; f++)
        caps_runtime_free(runtimes[f]);
    free(readme);
}

/* "a;b;c" of a family's program, or of a template. malloc'd. */
static char *program_names(int family, const caps_template *template)
{
    caps_error err = {0};
    size_t n = 0;
    cl_program program;
    test_ok(caps_registry_get(&program, runtimes[family], template, &err));
    ck_assert_int_eq(clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, 0, NULL, &n), CL_SUCCESS);
    char *names = malloc(n + 1);
    ck_assert_ptr_nonnull(names);
    ck_assert_int_eq(
        clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, n, names, NULL), CL_SUCCESS);
    names[n] = 0;
    return names;
}

/* `names`, which is freed, and those of another program. malloc'd. */
static char *with_names(char *names, int family, const caps_template *template)
{
    char *more = program_names(family, template), *all = caps_format("%s;%s", names, more);
    ck_assert_ptr_nonnull(all);
    free(names);
    free(more);
    return all;
}

/* Of all programs of a family. malloc'd. */
static char *kernel_names(int family)
{
    char *all = program_names(family, NULL);
    if (family == CAPS_FAMILY_CPU)
        all = with_names(all, family, &caps_rarely_used_program);
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++)
        if (templates[i].family == family)
            all = with_names(all, family, &templates[i].template);
    return all;
}

static bool has_kernel(const char *names, const char *kernel)
{
    char *padded = caps_format(";%s;", names), *wanted = caps_format(";%s;", kernel);
    bool has = strstr(padded, wanted) != NULL;
    free(padded);
    free(wanted);
    return has;
}

/* Calls `each` with every `name` in backquotes in column `column` of the row, and the row's family:
 * whether its files serve the CPU (bit 0) and the GPU family (bit 1). */
static int each_name(
    const char *row, int column, int families, void (*each)(const char *name, int families))
{
    int at = -1, count = 0;
    for (const char *p = row; *p && *p != '\n'; p++) {
        if (*p == '|' && (p == row || p[-1] != '\\'))
            at++;
        if (*p != '`' || at != column)
            continue;
        size_t n = strcspn(p + 1, "`\n");
        char name[128];
        ck_assert_uint_lt(n, sizeof name);
        memcpy(name, p + 1, n);
        name[n] = 0;
        each(name, families);
        count++;
        p += n + 1;
    }
    return count;
}

static int row_families;

static void note_file(const char *name, int unused)
{
    bool found = false;
    (void)unused;
    for (const caps_source *s = caps_sources; s->name; s++)
        found |= strcmp(s->name, name) == 0;
    ck_assert_msg(found, "the catalogue names the file %s, which there is not", name);
    row_families |= strstr(name, "_gpu.cl")                           ? 2
                    : strstr(name, "_cpu.cl") || strstr(name, ".clt") ? 1
                                                                      : 3;
}

static void expect_kernel(const char *name, int families)
{
    for (int f = 0; f < 2; f++) {
        char *names = kernel_names(f);
        bool listed = families >> f & 1;
        ck_assert_msg(has_kernel(names, name) == listed,
            "kernel %s is %s the catalogue for family %s, but %s the program", name,
            listed ? "in" : "not in", caps_family_name((caps_family)f), listed ? "not in" : "in");
        free(names);
    }
}

/* `caps_x`, declared in ops.h, or `x.c`, a source of the operations or another with its folder. */
static void expect_caller(const char *name, int families)
{
    caps_error err = {0};
    size_t n = 0, length = strlen(name);
    char *path, *declaration = caps_format("caps_status %s(", name);
    unsigned char *header = NULL;
    (void)families;
    if (length > 2 && strcmp(name + length - 2, ".c") == 0) {
        path = caps_format("%s/%s%s", TEST_SOURCE_DIR, strchr(name, '/') ? "" : "src/ops/", name);
        ck_assert_msg(caps_path_exists(path), "there is no %s", path);
    } else {
        path = caps_format("%s/include/capscl/ops.h", TEST_SOURCE_DIR);
        test_ok(caps_file_read(&header, &n, path, (size_t)1 << 20, &err));
        ck_assert_msg(strstr((char *)header, declaration) != NULL, "ops.h has no %s", name);
    }
    free(header);
    free(declaration);
    free(path);
}

static void expect_test(const char *name, int families)
{
    char *path = caps_format("%s/tests/ops/%s", TEST_SOURCE_DIR, name);
    (void)families;
    ck_assert_msg(caps_path_exists(path), "there is no tests/ops/%s", name);
    free(path);
}

START_TEST(every_row_is_true)
{
    int rows = 0;
    for (const char *row = readme; row; row = strchr(row, '\n')) {
        row += *row == '\n';
        if (strncmp(row, "| `", 3) != 0)
            continue;
        rows++;
        row_families = 0;
        ck_assert_int_ge(each_name(row, 1, 0, note_file), 1);
        ck_assert_int_ge(each_name(row, 0, row_families, expect_kernel), 1);
        ck_assert_int_ge(each_name(row, 3, 0, expect_caller), 1);
        /* What only keeps a device busy has no test, and the row says so. */
        const char *none = strstr(row, "| none: ");
        bool untested = none && none < row + strcspn(row, "\n");
        ck_assert_int_ge(each_name(row, 4, 0, expect_test), untested ? 0 : 1);
    }
    ck_assert_int_gt(rows, 0);
}
END_TEST

START_TEST(every_kernel_has_a_row)
{
    for (int f = 0; f < 2; f++) {
        char *names = kernel_names(f);
        int count = 0;
        for (char *save = NULL, *name = strtok_r(names, ";", &save); name;
             name = strtok_r(NULL, ";", &save)) {
            char *quoted = caps_format("`%s`", name);
            ck_assert_msg(strstr(readme, quoted) != NULL,
                "kernel %s of family %s is not in cl/README.md", name,
                caps_family_name((caps_family)f));
            free(quoted);
            count++;
        }
        ck_assert_int_gt(count, 0);
        free(names);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("catalogue of kernels");
    TCase *tc = tcase_create("catalogue");
    tcase_set_timeout(tc, 0);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, every_row_is_true);
    tcase_add_test(tc, every_kernel_has_a_row);
    suite_add_tcase(s, tc);
    return s;
}

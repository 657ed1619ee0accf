/* cmd_version.c: what this program is made of. */
#include <stdlib.h>

#include "cli.h"
#include "fail.h"
#include "link_load.h"
#include "serve.h"

#ifdef NDEBUG
#define BUILD "release"
#else
#define BUILD "debug"
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZERS ", address sanitizer"
#else
#define SANITIZERS ""
#endif
#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

typedef struct options {
    caps_common common;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_JSON(options),
    {0},
};

static int version_run(const caps_command *command, int argc, char **argv)
{
    options o = {0};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    char headers[16];
#ifdef CL_VERSION_3_0
    snprintf(headers, sizeof headers, "3.0");
#else
    snprintf(headers, sizeof headers, "before 3.0");
#endif
    char target[16];
    snprintf(target, sizeof target, "%d.%d", CL_TARGET_OPENCL_VERSION / 100,
        CL_TARGET_OPENCL_VERSION / 10 % 10);
    const char *mpi = caps_link_is_there() ? caps_link_built_with() : "";
    const char *http = caps_server_library() ? caps_server_library() : "";
    if (o.common.json) {
        status = caps_cli_print_json(
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s}", "version", caps_version(),
                "build", BUILD SANITIZERS, "compiler", COMPILER, "opencl_headers", headers,
                "opencl_target", target, "clblast", 1, "jansson", jansson_version_str(), "mpi", mpi,
                "http", http),
            &err);
    } else {
        printf("capscl %s\n", caps_version());
        printf("build     %s, %s\n", BUILD SANITIZERS, COMPILER);
        printf("OpenCL    headers %s, target %s\n", headers, target);
        printf("CLBlast   present\n");
        printf("jansson   %s\n", jansson_version_str());
        printf("MPI       %s\n", *mpi ? mpi : "absent: one machine, without mpirun or srun");
        printf("HTTP      %s\n", *http ? http : "absent: no 'capscl serve'");
    }
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_version = {
    .name = "version",
    .run = version_run,
    .summary = "version, build, libraries",
    .usage = "capscl version [--json]",
    .flags = flags,
};

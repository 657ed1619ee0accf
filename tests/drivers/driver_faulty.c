/* driver_faulty.c: an OpenCL driver that ends the process, crashes or hangs: PoCL
 * ($CAPSCL_TEST_POCL is its library), with one call that does so. $CAPSCL_TEST_FAULT says how
 * (exit, crash, hang), $CAPSCL_TEST_FAULT_AT when: at "load", or when a program is built whose
 * options have that text; $CAPSCL_TEST_FAULT_DEVICE: only for the device that has that in its name.
 *
 * $CAPSCL_TEST_GROUPS is how many items a group of a kernel may have whose name has
 * $CAPSCL_TEST_GROUPS_OF in it, as if it needed many registers. */
#include <CL/cl_icd.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef void *(*address_function)(const char *name);
typedef cl_int (*platforms_function)(cl_uint n, cl_platform_id *platforms, cl_uint *found);
typedef cl_int (*build_function)(cl_program program, cl_uint n, const cl_device_id *devices,
    const char *options, void(CL_CALLBACK *notify)(cl_program program, void *user), void *user);

static void *pocl;
static address_function pocl_address;
static platforms_function pocl_platforms;
static build_function pocl_build;
static cl_icd_dispatch *pocl_table;
static cl_api_clGetKernelWorkGroupInfo pocl_ask_group;
static cl_api_clEnqueueNDRangeKernel pocl_enqueue;

static void fail(void)
{
    const char *how = getenv("CAPSCL_TEST_FAULT");
    if (how && strcmp(how, "exit") == 0) {
        fputs("LLVM ERROR: Cannot select: intrinsic %llvm.prefetch\n", stderr);
        exit(1);
    }
    if (how && strcmp(how, "crash") == 0)
        abort();
    while (how && strcmp(how, "hang") == 0)
        pause();
}

static cl_int CL_API_CALL build(cl_program program, cl_uint n, const cl_device_id *devices,
    const char *options, void(CL_CALLBACK *notify)(cl_program program, void *user), void *user)
{
    const char *at = getenv("CAPSCL_TEST_FAULT_AT"), *on = getenv("CAPSCL_TEST_FAULT_DEVICE");
    char name[256] = "";
    if (n > 0)
        pocl_table->clGetDeviceInfo(devices[0], CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    if (at && options && strstr(options, at) && (!on || strstr(name, on)))
        fail();
    return pocl_build(program, n, devices, options, notify, user);
}

static int is_limited(cl_kernel kernel)
{
    const char *of = getenv("CAPSCL_TEST_GROUPS_OF");
    char name[256] = "";
    pocl_table->clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name - 1, name, NULL);
    return of && strstr(name, of) != NULL;
}

static size_t most_items(void)
{
    const char *most = getenv("CAPSCL_TEST_GROUPS");
    return most ? strtoul(most, NULL, 10) : 1;
}

static cl_int CL_API_CALL ask_group(cl_kernel kernel, cl_device_id device,
    cl_kernel_work_group_info what, size_t bytes, void *value, size_t *needed)
{
    const cl_int code = pocl_ask_group(kernel, device, what, bytes, value, needed);
    if (code == CL_SUCCESS && what == CL_KERNEL_WORK_GROUP_SIZE && value && is_limited(kernel))
        *(size_t *)value = most_items();
    return code;
}

static cl_int CL_API_CALL enqueue(cl_command_queue queue, cl_kernel kernel, cl_uint ndim,
    const size_t *offset, const size_t *global, const size_t *local, cl_uint n,
    const cl_event *wait, cl_event *event)
{
    size_t items = 1;
    for (cl_uint d = 0; local && d < ndim; d++)
        items *= local[d];
    if (items > 1 && is_limited(kernel) && items > most_items())
        return CL_INVALID_WORK_GROUP_SIZE;
    return pocl_enqueue(queue, kernel, ndim, offset, global, local, n, wait, event);
}

/* The first member of every object is its driver's table, one for all objects of PoCL. */
static void replace_build(cl_platform_id platform)
{
    cl_icd_dispatch *table = *(cl_icd_dispatch **)platform;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *begin = (char *)((size_t)table / page * page);
    if (table->clBuildProgram == build)
        return;
    mprotect(begin, (size_t)((char *)(table + 1) - begin), PROT_READ | PROT_WRITE);
    pocl_table = table;
    pocl_build = table->clBuildProgram;
    table->clBuildProgram = build;
    pocl_ask_group = table->clGetKernelWorkGroupInfo;
    table->clGetKernelWorkGroupInfo = ask_group;
    pocl_enqueue = table->clEnqueueNDRangeKernel;
    table->clEnqueueNDRangeKernel = enqueue;
}

static cl_int CL_API_CALL platforms(cl_uint n, cl_platform_id *list, cl_uint *found)
{
    const char *at = getenv("CAPSCL_TEST_FAULT_AT");
    if (at && strcmp(at, "load") == 0)
        fail();
    const cl_int code = pocl_platforms(n, list, found);
    if (code == CL_SUCCESS && list && n > 0)
        replace_build(list[0]);
    return code;
}

__attribute__((visibility("default"))) CL_API_ENTRY void *CL_API_CALL clGetExtensionFunctionAddress(
    const char *name)
{
    if (!pocl) {
        pocl = dlopen(getenv("CAPSCL_TEST_POCL"), RTLD_NOW | RTLD_LOCAL);
        if (!pocl)
            return NULL;
        pocl_address = (address_function)dlsym(pocl, "clGetExtensionFunctionAddress");
        pocl_platforms = (platforms_function)pocl_address("clIcdGetPlatformIDsKHR");
    }
    if (strcmp(name, "clIcdGetPlatformIDsKHR") == 0)
        return (void *)platforms;
    void *found = pocl_address(name);
    return found ? found : dlsym(pocl, name);
}

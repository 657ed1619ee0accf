/* driver.c: an OpenCL driver without a device. It says of itself what the environment tells it to,
 * computes nothing, and writes down what is built and launched: so the programs and launches of a
 * device that is not here come from the code that would serve it.
 *
 *   OFFLINE_RECORD     folder: programs.jsonl, settings.jsonl (kernels, sizes of their groups),
 *                      launches.jsonl, a line for each; HASH.cl, sources
 *   OFFLINE_LAUNCHES   1: launches are written too
 *   OFFLINE_PLATFORM, _VENDOR, _NAME, _DRIVER, _EXTENSIONS    texts
 *   OFFLINE_UNITS, _CLOCK (MHz), _MEMORY, _LOCAL (bytes), _GROUP, _VECTOR    numbers
 *
 * Buffers are memory that nobody touches, reads give what was written. Times are those of the host.
 * A kernel's arguments are counted in the text that the C preprocessor makes of its program. */
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <CL/cl_icd.h>

#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

extern cl_icd_dispatch table;

/* What a handle points to; the loader reads the first member. */
struct _cl_platform_id {
    const cl_icd_dispatch *table;
};
struct _cl_device_id {
    const cl_icd_dispatch *table;
};
struct _cl_context {
    const cl_icd_dispatch *table;
};
struct _cl_command_queue {
    const cl_icd_dispatch *table;
    cl_command_queue_properties properties;
};
struct _cl_mem {
    const cl_icd_dispatch *table;
    size_t bytes;
    cl_mem_flags flags;
    unsigned char *host;
    unsigned id;
    int references;
};
struct _cl_event {
    const cl_icd_dispatch *table;
    cl_ulong time_ns;
    int references;
};
enum { MOST_ARGUMENTS = 64, NAME = 48 };
typedef struct entry {
    char name[128];
    unsigned arguments;
    char names[MOST_ARGUMENTS][NAME]; /* of the arguments */
} entry;
struct _cl_program {
    const cl_icd_dispatch *table;
    char *text, *options;
    entry *entries;
    size_t count;
    uint64_t hash;
    int references;
};
struct _cl_kernel {
    const cl_icd_dispatch *table;
    cl_program program;
    const entry *entry;
    struct {
        size_t bytes;
        union {
            cl_mem buffer;
            uint64_t number;
        } value;
        bool local;
    } arguments[MOST_ARGUMENTS];
};

static struct _cl_platform_id the_platform = {&table};
static struct _cl_device_id the_device = {&table};
static struct _cl_context the_context = {&table};

static const char *text_of(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static unsigned long long number_of(const char *name, unsigned long long otherwise)
{
    const char *value = getenv(name);
    return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

static cl_int fail_to(cl_int *code, cl_int what)
{
    if (code)
        *code = what;
    return what;
}

/* ---- the record ----------------------------------------------------------------------------- */

/* Lines appear whole, also those of several processes. */
static void record(const char *file, const char *line, size_t bytes)
{
    const char *folder = getenv("OFFLINE_RECORD");
    char path[4096];
    if (!folder)
        return;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    const int to = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (to < 0 || write(to, line, bytes) != (ssize_t)bytes) {
        fprintf(stderr, "offline driver: %s cannot be written\n", path);
        abort();
    }
    close(to);
}

typedef struct line {
    char *text;
    size_t bytes;
    FILE *to;
} line;

static void line_begin(line *l)
{
    l->to = open_memstream(&l->text, &l->bytes);
}

static void line_end(line *l, const char *file)
{
    fputc('\n', l->to);
    fclose(l->to);
    record(file, l->text, l->bytes);
    free(l->text);
}

static void put_text(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            fprintf(to, "\\%c", *text);
        else
            fputc((unsigned char)*text < 32 ? ' ' : *text, to);
    fputc('"', to);
}

/* ---- answers -------------------------------------------------------------------------------- */

static cl_int answer(const void *from, size_t n, size_t room, void *to, size_t *needed)
{
    if (needed)
        *needed = n;
    if (to && room < n)
        return CL_INVALID_VALUE;
    if (to)
        memcpy(to, from, n);
    return CL_SUCCESS;
}

static cl_int answer_text(const char *text, size_t room, void *to, size_t *needed)
{
    return answer(text, strlen(text) + 1, room, to, needed);
}

#define ANSWER(type, x) return answer(&(type){x}, sizeof(type), room, to, needed)
#define TEXT(x)         return answer_text(x, room, to, needed)

static cl_int CL_API_CALL get_platform_ids(cl_uint room, cl_platform_id *to, cl_uint *n)
{
    if (n)
        *n = 1;
    if (to && room)
        *to = &the_platform;
    return CL_SUCCESS;
}

cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint room, cl_platform_id *to, cl_uint *n)
{
    return get_platform_ids(room, to, n);
}

static cl_int CL_API_CALL get_platform_info(
    cl_platform_id p, cl_platform_info what, size_t room, void *to, size_t *needed)
{
    (void)p;
    switch (what) {
    case CL_PLATFORM_NAME:
        TEXT(text_of("OFFLINE_PLATFORM", "Offline"));
    case CL_PLATFORM_VENDOR:
        TEXT(text_of("OFFLINE_VENDOR", "Offline"));
    case CL_PLATFORM_VERSION:
        TEXT("OpenCL 1.2 offline");
    case CL_PLATFORM_PROFILE:
        TEXT("FULL_PROFILE");
    case CL_PLATFORM_EXTENSIONS:
        TEXT("cl_khr_icd");
    case CL_PLATFORM_ICD_SUFFIX_KHR:
        TEXT("OFF");
    default:
        return CL_INVALID_VALUE;
    }
}

static cl_int CL_API_CALL get_device_ids(
    cl_platform_id p, cl_device_type type, cl_uint room, cl_device_id *to, cl_uint *n)
{
    (void)p;
    if (!(type & (CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_DEFAULT)))
        return CL_DEVICE_NOT_FOUND;
    if (n)
        *n = 1;
    if (to && room)
        *to = &the_device;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL get_device_info(
    cl_device_id d, cl_device_info what, size_t room, void *to, size_t *needed)
{
    const size_t group = number_of("OFFLINE_GROUP", 1024);
    const size_t sizes[3] = {group, group, group < 64 ? group : 64};
    const cl_ulong memory = number_of("OFFLINE_MEMORY", 8ull << 30);
    (void)d;
    switch (what) {
    case CL_DEVICE_NAME:
        TEXT(text_of("OFFLINE_NAME", "Offline"));
    case CL_DEVICE_VENDOR:
        TEXT(text_of("OFFLINE_VENDOR", "Offline"));
    case CL_DEVICE_VERSION:
        TEXT("OpenCL 1.2 offline");
    case CL_DRIVER_VERSION:
        TEXT(text_of("OFFLINE_DRIVER", "1.0"));
    case CL_DEVICE_PROFILE:
        TEXT("FULL_PROFILE");
    case CL_DEVICE_OPENCL_C_VERSION:
        TEXT("OpenCL C 1.2 offline");
    case CL_DEVICE_EXTENSIONS:
        TEXT(text_of("OFFLINE_EXTENSIONS", "cl_khr_fp64"));
    case CL_DEVICE_BUILT_IN_KERNELS:
        TEXT("");
    case CL_DEVICE_TYPE:
        ANSWER(cl_device_type, CL_DEVICE_TYPE_GPU);
    case CL_DEVICE_PLATFORM:
        ANSWER(cl_platform_id, &the_platform);
    case CL_DEVICE_VENDOR_ID:
        ANSWER(cl_uint, 1);
    case CL_DEVICE_MAX_COMPUTE_UNITS:
        ANSWER(cl_uint, (cl_uint)number_of("OFFLINE_UNITS", 32));
    case CL_DEVICE_MAX_CLOCK_FREQUENCY:
        ANSWER(cl_uint, (cl_uint)number_of("OFFLINE_CLOCK", 1500));
    case CL_DEVICE_GLOBAL_MEM_SIZE:
        ANSWER(cl_ulong, memory);
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE:
        ANSWER(cl_ulong, memory / 4);
    case CL_DEVICE_GLOBAL_MEM_CACHE_SIZE:
        ANSWER(cl_ulong, 4 << 20);
    case CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE:
        ANSWER(cl_uint, 128);
    case CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE:
        ANSWER(cl_ulong, 65536);
    case CL_DEVICE_LOCAL_MEM_SIZE:
        ANSWER(cl_ulong, number_of("OFFLINE_LOCAL", 49152));
    case CL_DEVICE_LOCAL_MEM_TYPE:
        ANSWER(cl_device_local_mem_type, CL_LOCAL);
    case CL_DEVICE_AVAILABLE:
    case CL_DEVICE_COMPILER_AVAILABLE:
    case CL_DEVICE_LINKER_AVAILABLE:
    case CL_DEVICE_ENDIAN_LITTLE:
        ANSWER(cl_bool, CL_TRUE);
    case CL_DEVICE_HOST_UNIFIED_MEMORY:
    case CL_DEVICE_IMAGE_SUPPORT:
    case CL_DEVICE_ERROR_CORRECTION_SUPPORT:
        ANSWER(cl_bool, CL_FALSE);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE:
        ANSWER(size_t, group);
    case CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS:
        ANSWER(cl_uint, 3);
    case CL_DEVICE_MAX_WORK_ITEM_SIZES:
        return answer(sizes, sizeof sizes, room, to, needed);
    case CL_DEVICE_MAX_PARAMETER_SIZE:
        ANSWER(size_t, 4096);
    case CL_DEVICE_PROFILING_TIMER_RESOLUTION:
        ANSWER(size_t, 1);
    case CL_DEVICE_ADDRESS_BITS:
        ANSWER(cl_uint, 64);
    case CL_DEVICE_MEM_BASE_ADDR_ALIGN:
        ANSWER(cl_uint, 4096);
    case CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT:
    case CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT:
        ANSWER(cl_uint, (cl_uint)number_of("OFFLINE_VECTOR", 1));
    case CL_DEVICE_PREFERRED_VECTOR_WIDTH_DOUBLE:
        ANSWER(cl_uint, 1);
    case CL_DEVICE_SINGLE_FP_CONFIG:
        ANSWER(cl_device_fp_config, CL_FP_FMA | CL_FP_ROUND_TO_NEAREST | CL_FP_INF_NAN);
    case CL_DEVICE_EXECUTION_CAPABILITIES:
        ANSWER(cl_device_exec_capabilities, CL_EXEC_KERNEL);
    case CL_DEVICE_QUEUE_PROPERTIES:
        ANSWER(cl_command_queue_properties, CL_QUEUE_PROFILING_ENABLE);
    case CL_DEVICE_REFERENCE_COUNT:
        ANSWER(cl_uint, 1);
    default:
        return CL_INVALID_VALUE;
    }
}

/* ---- contexts, queues, events --------------------------------------------------------------- */

static cl_context CL_API_CALL create_context(const cl_context_properties *properties, cl_uint n,
    const cl_device_id *devices,
    void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user, cl_int *code)
{
    (void)properties, (void)n, (void)devices, (void)notify, (void)user;
    fail_to(code, CL_SUCCESS);
    return &the_context;
}

static cl_int CL_API_CALL keep_context(cl_context c)
{
    (void)c;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL get_context_info(
    cl_context c, cl_context_info what, size_t room, void *to, size_t *needed)
{
    (void)c;
    switch (what) {
    case CL_CONTEXT_DEVICES:
        ANSWER(cl_device_id, &the_device);
    case CL_CONTEXT_NUM_DEVICES:
        ANSWER(cl_uint, 1);
    default:
        return CL_INVALID_VALUE;
    }
}

static cl_command_queue CL_API_CALL create_queue(
    cl_context c, cl_device_id d, cl_command_queue_properties properties, cl_int *code)
{
    cl_command_queue q = calloc(1, sizeof *q);
    (void)c, (void)d;
    q->table = &table;
    q->properties = properties;
    fail_to(code, CL_SUCCESS);
    return q;
}

static cl_int CL_API_CALL keep_queue(cl_command_queue q)
{
    (void)q;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL get_queue_info(
    cl_command_queue q, cl_command_queue_info what, size_t room, void *to, size_t *needed)
{
    switch (what) {
    case CL_QUEUE_CONTEXT:
        ANSWER(cl_context, &the_context);
    case CL_QUEUE_DEVICE:
        ANSWER(cl_device_id, &the_device);
    case CL_QUEUE_REFERENCE_COUNT:
        ANSWER(cl_uint, 1);
    case CL_QUEUE_PROPERTIES:
        ANSWER(cl_command_queue_properties, q->properties);
    default:
        return CL_INVALID_VALUE;
    }
}

static void give_event(cl_event *to)
{
    struct timespec now;
    if (!to)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    cl_event e = calloc(1, sizeof *e);
    e->table = &table;
    e->references = 1;
    e->time_ns = (cl_ulong)now.tv_sec * 1000000000u + (cl_ulong)now.tv_nsec;
    *to = e;
}

static cl_int CL_API_CALL retain_event(cl_event e)
{
    e->references++;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL release_event(cl_event e)
{
    if (--e->references == 0)
        free(e);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL get_event_info(
    cl_event e, cl_event_info what, size_t room, void *to, size_t *needed)
{
    (void)e;
    if (what == CL_EVENT_COMMAND_EXECUTION_STATUS)
        ANSWER(cl_int, CL_COMPLETE);
    return CL_INVALID_VALUE;
}

static cl_int CL_API_CALL get_event_times(
    cl_event e, cl_profiling_info what, size_t room, void *to, size_t *needed)
{
    ANSWER(cl_ulong, e->time_ns + (what == CL_PROFILING_COMMAND_END ? 1000 : 0));
}

static cl_int CL_API_CALL wait_for_events(cl_uint n, const cl_event *events)
{
    (void)n, (void)events;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL set_event_callback(
    cl_event e, cl_int status, void(CL_CALLBACK *notify)(cl_event, cl_int, void *), void *user)
{
    notify(e, status, user);
    return CL_SUCCESS;
}

/* ---- commands ------------------------------------------------------------------------------- */

static void record_command(const char *name, size_t bytes)
{
    line l;
    if (!number_of("OFFLINE_LAUNCHES", 0))
        return;
    line_begin(&l);
    fprintf(l.to, "{\"command\": \"%s\", \"bytes\": %zu}", name, bytes);
    line_end(&l, "launches.jsonl");
}

static cl_mem CL_API_CALL create_buffer(
    cl_context c, cl_mem_flags flags, size_t bytes, void *content, cl_int *code)
{
    static unsigned ids;
    (void)c;
    if (bytes == 0)
        return fail_to(code, CL_INVALID_BUFFER_SIZE), NULL;
    cl_mem m = calloc(1, sizeof *m);
    m->table = &table;
    m->bytes = bytes;
    m->flags = flags;
    m->references = 1;
    m->id = ++ids;
    m->host = mmap(
        NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->host == MAP_FAILED) {
        free(m);
        return fail_to(code, CL_MEM_OBJECT_ALLOCATION_FAILURE), NULL;
    }
    if (content)
        memcpy(m->host, content, bytes);
    fail_to(code, CL_SUCCESS);
    return m;
}

static cl_int CL_API_CALL retain_buffer(cl_mem m)
{
    m->references++;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL release_buffer(cl_mem m)
{
    if (--m->references == 0) {
        munmap(m->host, m->bytes);
        free(m);
    }
    return CL_SUCCESS;
}

static cl_int CL_API_CALL get_buffer_info(
    cl_mem m, cl_mem_info what, size_t room, void *to, size_t *needed)
{
    switch (what) {
    case CL_MEM_SIZE:
        ANSWER(size_t, m->bytes);
    case CL_MEM_FLAGS:
        ANSWER(cl_mem_flags, m->flags);
    case CL_MEM_TYPE:
        ANSWER(cl_mem_object_type, CL_MEM_OBJECT_BUFFER);
    case CL_MEM_CONTEXT:
        ANSWER(cl_context, &the_context);
    case CL_MEM_OFFSET:
        ANSWER(size_t, 0);
    case CL_MEM_HOST_PTR:
        ANSWER(void *, NULL);
    default:
        return CL_INVALID_VALUE;
    }
}

static bool is_outside(cl_mem m, size_t at, size_t bytes)
{
    return at > m->bytes || bytes > m->bytes - at;
}

static cl_int CL_API_CALL read_buffer(cl_command_queue q, cl_mem m, cl_bool wait, size_t at,
    size_t bytes, void *to, cl_uint n, const cl_event *events, cl_event *event)
{
    (void)q, (void)wait, (void)n, (void)events;
    if (is_outside(m, at, bytes))
        return CL_INVALID_VALUE;
    memcpy(to, m->host + at, bytes);
    record_command("read", bytes);
    give_event(event);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL write_buffer(cl_command_queue q, cl_mem m, cl_bool wait, size_t at,
    size_t bytes, const void *from, cl_uint n, const cl_event *events, cl_event *event)
{
    (void)q, (void)wait, (void)n, (void)events;
    if (is_outside(m, at, bytes))
        return CL_INVALID_VALUE;
    memcpy(m->host + at, from, bytes);
    record_command("write", bytes);
    give_event(event);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL copy_buffer(cl_command_queue q, cl_mem from, cl_mem to, size_t from_at,
    size_t to_at, size_t bytes, cl_uint n, const cl_event *events, cl_event *event)
{
    (void)q, (void)n, (void)events;
    if (is_outside(from, from_at, bytes) || is_outside(to, to_at, bytes))
        return CL_INVALID_VALUE;
    memmove(to->host + to_at, from->host + from_at, bytes);
    record_command("copy", bytes);
    give_event(event);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL fill_buffer(cl_command_queue q, cl_mem m, const void *pattern,
    size_t size, size_t at, size_t bytes, cl_uint n, const cl_event *events, cl_event *event)
{
    (void)q, (void)pattern, (void)size, (void)n, (void)events;
    if (is_outside(m, at, bytes))
        return CL_INVALID_VALUE;
    record_command("fill", bytes);
    give_event(event);
    return CL_SUCCESS;
}

static void *CL_API_CALL map_buffer(cl_command_queue q, cl_mem m, cl_bool wait, cl_map_flags flags,
    size_t at, size_t bytes, cl_uint n, const cl_event *events, cl_event *event, cl_int *code)
{
    (void)q, (void)wait, (void)flags, (void)n, (void)events;
    if (is_outside(m, at, bytes))
        return fail_to(code, CL_INVALID_VALUE), NULL;
    record_command("map", bytes);
    give_event(event);
    fail_to(code, CL_SUCCESS);
    return m->host + at;
}

static cl_int CL_API_CALL unmap(
    cl_command_queue q, cl_mem m, void *at, cl_uint n, const cl_event *events, cl_event *event)
{
    (void)q, (void)m, (void)at, (void)n, (void)events;
    record_command("unmap", 0);
    give_event(event);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL mark(
    cl_command_queue q, cl_uint n, const cl_event *events, cl_event *event)
{
    (void)q, (void)n, (void)events;
    give_event(event);
    return CL_SUCCESS;
}

/* ---- programs ------------------------------------------------------------------------------- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3ull;
    return hash;
}

static cl_program CL_API_CALL create_program(
    cl_context c, cl_uint n, const char **texts, const size_t *lengths, cl_int *code)
{
    (void)c;
    cl_program p = calloc(1, sizeof *p);
    size_t bytes = 0;
    p->table = &table;
    p->references = 1;
    FILE *to = open_memstream(&p->text, &bytes);
    for (cl_uint i = 0; i < n; i++)
        fwrite(texts[i], 1, lengths && lengths[i] ? lengths[i] : strlen(texts[i]), to);
    fclose(to);
    fail_to(code, CL_SUCCESS);
    return p;
}

/* Only those of ours: a magic and the options of a build. */
static cl_program CL_API_CALL create_from_binary(cl_context c, cl_uint n, const cl_device_id *d,
    const size_t *lengths, const unsigned char **binaries, cl_int *states, cl_int *code)
{
    (void)c, (void)n, (void)d, (void)lengths, (void)binaries;
    if (states)
        *states = CL_INVALID_BINARY;
    fail_to(code, CL_INVALID_BINARY);
    return NULL;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Past the group of parentheses that begins at `at`. Into e, unless it is NULL, go the number and
 * the names of the arguments in it: the last word before a comma or the end. */
static const char *pass_parentheses(const char *at, entry *e)
{
    int depth = 0;
    const char *word = NULL, *end = NULL;
    unsigned n = 0;
    for (; *at; at++) {
        const bool closes = *at == ')' && depth == 1, parts = *at == ',' && depth == 1;
        if ((closes || parts) && word && e && n < MOST_ARGUMENTS)
            snprintf(e->names[n], NAME, "%.*s", (int)(end - word), word);
        if ((closes || parts) && word)
            n++, word = NULL;
        if (*at == '(')
            depth++;
        else if (*at == ')' && --depth == 0)
            break;
        else if (is_word(*at)) {
            word = is_word(at[-1]) && word ? word : at;
            end = at + 1;
        }
    }
    if (e)
        e->arguments = n;
    return *at ? at + 1 : at;
}

/* The kernels of a text without macros: `__kernel`, attributes, `void NAME(`. */
static void find_entries(cl_program p, const char *text)
{
    static const char word[] = "__kernel";
    for (const char *at = text; (at = strstr(at, word)); at += sizeof word - 1) {
        const char *name = at + sizeof word - 1, *end;
        if ((at > text && is_word(at[-1])) || is_word(*name))
            continue;
        for (;;) {
            while (isspace((unsigned char)*name))
                name++;
            if (strncmp(name, "__attribute__", 13) == 0) {
                name = pass_parentheses(name + 13, NULL);
            } else if (strncmp(name, "void", 4) == 0 && !is_word(name[4])) {
                name += 4;
            } else {
                break;
            }
        }
        for (end = name; is_word(*end); end++)
            ;
        const char *open = end;
        while (isspace((unsigned char)*open))
            open++;
        if (end == name || *open != '(')
            continue;
        p->entries = realloc(p->entries, (p->count + 1) * sizeof *p->entries);
        entry *e = &p->entries[p->count++];
        memset(e, 0, sizeof *e);
        snprintf(e->name, sizeof e->name, "%.*s", (int)(end - name), name);
        pass_parentheses(open, e);
    }
}

/* The text without macros, by the C preprocessor with the options' macros; NULL: it failed. */
static char *preprocess(const char *path, const char *options)
{
    char *command = NULL, *text = NULL, *words = strdup(options), *state = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&command, &bytes);
    fprintf(to, "exec cc -E -P -w -x c -D__OPENCL_VERSION__=120 -D__OPENCL_C_VERSION__=120");
    for (char *word = strtok_r(words, " ", &state); word; word = strtok_r(NULL, " ", &state))
        if (strncmp(word, "-D", 2) == 0)
            fprintf(to, " '%s'", word);
    fprintf(to, " '%s'", path);
    fclose(to);
    FILE *from = popen(command, "r");
    to = open_memstream(&text, &bytes);
    char block[65536];
    for (size_t n; from && (n = fread(block, 1, sizeof block, from)) > 0;)
        fwrite(block, 1, n, to);
    fclose(to);
    if (!from || pclose(from) != 0) {
        free(text);
        text = NULL;
    }
    free(command);
    free(words);
    return text;
}

static void record_program(cl_program p)
{
    char file[64], path[4096];
    line l;
    const char *folder = text_of("OFFLINE_RECORD", "/tmp");
    snprintf(file, sizeof file, "%016llx.cl",
        (unsigned long long)hash_text(0xcbf29ce484222325ull, p->text));
    snprintf(path, sizeof path, "%s/%s", folder, file);
    if (access(path, F_OK) != 0)
        record(file, p->text, strlen(p->text));
    char *text = preprocess(path, p->options);
    if (!text) {
        fprintf(stderr, "offline driver: the preprocessor refuses %s\n", path);
        abort();
    }
    find_entries(p, text);
    free(text);
    line_begin(&l);
    fprintf(l.to,
        "{\"program\": \"%016llx\", \"source\": \"%s\", \"options\": ", (unsigned long long)p->hash,
        file);
    put_text(l.to, p->options);
    fprintf(l.to, ", \"kernels\": [");
    for (size_t i = 0; i < p->count; i++)
        fprintf(l.to, "%s\"%s\"", i ? ", " : "", p->entries[i].name);
    fprintf(l.to, "]}");
    line_end(&l, "programs.jsonl");
}

static cl_int CL_API_CALL build_program(cl_program p, cl_uint n, const cl_device_id *d,
    const char *options, void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    (void)n, (void)d;
    p->options = strdup(options ? options : "");
    p->hash = hash_text(hash_text(0xcbf29ce484222325ull, p->text), p->options);
    record_program(p);
    if (notify)
        notify(p, user);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL retain_program(cl_program p)
{
    p->references++;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL release_program(cl_program p)
{
    if (--p->references == 0) {
        free(p->text);
        free(p->options);
        free(p->entries);
        free(p);
    }
    return CL_SUCCESS;
}

/* No binary is given, so no cache keeps one. */
static cl_int CL_API_CALL get_program_info(
    cl_program p, cl_program_info what, size_t room, void *to, size_t *needed)
{
    switch (what) {
    case CL_PROGRAM_BINARY_SIZES:
        ANSWER(size_t, 0);
    case CL_PROGRAM_NUM_DEVICES:
        ANSWER(cl_uint, 1);
    case CL_PROGRAM_DEVICES:
        ANSWER(cl_device_id, &the_device);
    case CL_PROGRAM_CONTEXT:
        ANSWER(cl_context, &the_context);
    case CL_PROGRAM_NUM_KERNELS:
        ANSWER(size_t, p->count);
    case CL_PROGRAM_SOURCE:
        TEXT(p->text);
    default:
        return CL_INVALID_VALUE;
    }
}

static cl_int CL_API_CALL get_build_info(
    cl_program p, cl_device_id d, cl_program_build_info what, size_t room, void *to, size_t *needed)
{
    (void)d;
    switch (what) {
    case CL_PROGRAM_BUILD_STATUS:
        ANSWER(cl_build_status, CL_BUILD_SUCCESS);
    case CL_PROGRAM_BUILD_OPTIONS:
        TEXT(p->options ? p->options : "");
    case CL_PROGRAM_BUILD_LOG:
        TEXT("");
    default:
        return CL_INVALID_VALUE;
    }
}

/* ---- kernels -------------------------------------------------------------------------------- */

static cl_kernel CL_API_CALL create_kernel(cl_program p, const char *name, cl_int *code)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->entries[i].name, name) != 0)
            continue;
        cl_kernel k = calloc(1, sizeof *k);
        k->table = &table;
        k->program = p;
        k->entry = &p->entries[i];
        p->references++;
        fail_to(code, CL_SUCCESS);
        return k;
    }
    fail_to(code, CL_INVALID_KERNEL_NAME);
    return NULL;
}

static cl_int CL_API_CALL keep_kernel(cl_kernel k)
{
    (void)k;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL get_kernel_info(
    cl_kernel k, cl_kernel_info what, size_t room, void *to, size_t *needed)
{
    switch (what) {
    case CL_KERNEL_NUM_ARGS:
        ANSWER(cl_uint, k->entry->arguments);
    case CL_KERNEL_FUNCTION_NAME:
        TEXT(k->entry->name);
    case CL_KERNEL_PROGRAM:
        ANSWER(cl_program, k->program);
    default:
        return CL_INVALID_VALUE;
    }
}

static cl_int CL_API_CALL get_group_info(cl_kernel k, cl_device_id d,
    cl_kernel_work_group_info what, size_t room, void *to, size_t *needed)
{
    static const size_t none[3];
    (void)k, (void)d;
    switch (what) {
    case CL_KERNEL_WORK_GROUP_SIZE:
        ANSWER(size_t, number_of("OFFLINE_GROUP", 1024));
    case CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE:
        ANSWER(size_t, 32);
    case CL_KERNEL_LOCAL_MEM_SIZE:
    case CL_KERNEL_PRIVATE_MEM_SIZE:
        ANSWER(cl_ulong, 0);
    case CL_KERNEL_COMPILE_WORK_GROUP_SIZE:
        return answer(none, sizeof none, room, to, needed);
    default:
        return CL_INVALID_VALUE;
    }
}

static cl_int CL_API_CALL set_argument(cl_kernel k, cl_uint at, size_t bytes, const void *value)
{
    if (at >= k->entry->arguments || at >= MOST_ARGUMENTS)
        return CL_INVALID_ARG_INDEX;
    k->arguments[at].bytes = bytes;
    k->arguments[at].local = !value;
    k->arguments[at].value.number = 0;
    if (value)
        memcpy(&k->arguments[at].value, value, bytes < 8 ? bytes : 8);
    return CL_SUCCESS;
}

static void put_sizes(FILE *to, const char *name, cl_uint n, const size_t *sizes)
{
    fprintf(to, ", \"%s\": [", name);
    for (cl_uint i = 0; sizes && i < n; i++)
        fprintf(to, "%s%zu", i ? ", " : "", sizes[i]);
    fputc(']', to);
}

/* An argument is {"buffer", "bytes"}, {"local"}, {"offset"} or 32 bits as a number. A tensor is a buffer and,
 * of 8 bytes, the offset behind it: a buffer is told from it by where it stands. */
static void record_launch(
    cl_kernel k, cl_uint dimensions, const size_t *global, const size_t *local)
{
    line l;
    line_begin(&l);
    fprintf(l.to, "{\"command\": \"kernel\", \"kernel\": \"%s\", \"program\": \"%016llx\"",
        k->entry->name, (unsigned long long)k->program->hash);
    put_sizes(l.to, "global", dimensions, global);
    put_sizes(l.to, "local", dimensions, local);
    fprintf(l.to, ", \"arguments\": {");
    bool after_buffer = false;
    for (unsigned i = 0; i < k->entry->arguments && i < MOST_ARGUMENTS; i++) {
        const bool word = k->arguments[i].bytes == 4 && !k->arguments[i].local;
        const bool buffer = k->arguments[i].bytes == 8 && !k->arguments[i].local && !after_buffer;
        fprintf(l.to, "%s\"%s\": ", i ? ", " : "", k->entry->names[i]);
        if (k->arguments[i].local)
            fprintf(l.to, "{\"local\": %zu}", k->arguments[i].bytes);
        else if (word)
            fprintf(l.to, "%llu", (unsigned long long)(uint32_t)k->arguments[i].value.number);
        else if (buffer)
            fprintf(l.to, "{\"buffer\": %u, \"bytes\": %zu}", k->arguments[i].value.buffer->id,
                k->arguments[i].value.buffer->bytes);
        else
            fprintf(l.to, "{\"offset\": %lld}", (long long)k->arguments[i].value.number);
        after_buffer = buffer;
    }
    fputs("}}", l.to);
    line_end(&l, "launches.jsonl");
}

/* Kernel, items of a group and bytes of local memory in arguments: once each. */
static void record_setting(cl_kernel k, size_t items)
{
    static char *seen[4096];
    static size_t count;
    size_t bytes = 0;
    char *text = NULL;
    for (unsigned i = 0; i < k->entry->arguments && i < MOST_ARGUMENTS; i++)
        bytes += k->arguments[i].local ? k->arguments[i].bytes : 0;
    if (asprintf(&text,
            "{\"program\": \"%016llx\", \"kernel\": \"%s\", \"items\": %zu, \"local\": %zu}\n",
            (unsigned long long)k->program->hash, k->entry->name, items, bytes) < 0)
        abort();
    for (size_t i = 0; i < count; i++)
        if (strcmp(seen[i], text) == 0) {
            free(text);
            return;
        }
    record("settings.jsonl", text, strlen(text));
    if (count < sizeof seen / sizeof seen[0])
        seen[count++] = text;
    else
        free(text);
}

static cl_int CL_API_CALL launch(cl_command_queue q, cl_kernel k, cl_uint dimensions,
    const size_t *offset, const size_t *global, const size_t *local, cl_uint n,
    const cl_event *events, cl_event *event)
{
    size_t items = 1;
    (void)q, (void)offset, (void)n, (void)events;
    for (cl_uint i = 0; local && i < dimensions; i++) {
        items *= local[i];
        if (global[i] % local[i] != 0)
            return CL_INVALID_WORK_GROUP_SIZE;
    }
    if (items > number_of("OFFLINE_GROUP", 1024))
        return CL_INVALID_WORK_GROUP_SIZE;
    record_setting(k, local ? items : 0);
    if (number_of("OFFLINE_LAUNCHES", 0))
        record_launch(k, dimensions, global, local);
    give_event(event);
    return CL_SUCCESS;
}

/* ---- the table ------------------------------------------------------------------------------ */

void *CL_API_CALL clGetExtensionFunctionAddress(const char *name)
{
    return strcmp(name, "clIcdGetPlatformIDsKHR") == 0 ? (void *)clIcdGetPlatformIDsKHR
           : strcmp(name, "clGetPlatformInfo") == 0    ? (void *)get_platform_info
                                                       : NULL;
}

cl_icd_dispatch table = {
    .clGetPlatformIDs = get_platform_ids,
    .clGetPlatformInfo = get_platform_info,
    .clGetDeviceIDs = get_device_ids,
    .clGetDeviceInfo = get_device_info,
    .clCreateContext = create_context,
    .clRetainContext = keep_context,
    .clReleaseContext = keep_context,
    .clGetContextInfo = get_context_info,
    .clCreateCommandQueue = create_queue,
    .clRetainCommandQueue = keep_queue,
    .clReleaseCommandQueue = keep_queue,
    .clGetCommandQueueInfo = get_queue_info,
    .clCreateBuffer = create_buffer,
    .clRetainMemObject = retain_buffer,
    .clReleaseMemObject = release_buffer,
    .clGetMemObjectInfo = get_buffer_info,
    .clCreateProgramWithSource = create_program,
    .clCreateProgramWithBinary = create_from_binary,
    .clRetainProgram = retain_program,
    .clReleaseProgram = release_program,
    .clBuildProgram = build_program,
    .clGetProgramInfo = get_program_info,
    .clGetProgramBuildInfo = get_build_info,
    .clCreateKernel = create_kernel,
    .clRetainKernel = keep_kernel,
    .clReleaseKernel = keep_kernel,
    .clSetKernelArg = set_argument,
    .clGetKernelInfo = get_kernel_info,
    .clGetKernelWorkGroupInfo = get_group_info,
    .clWaitForEvents = wait_for_events,
    .clGetEventInfo = get_event_info,
    .clRetainEvent = retain_event,
    .clReleaseEvent = release_event,
    .clGetEventProfilingInfo = get_event_times,
    .clSetEventCallback = set_event_callback,
    .clFlush = keep_queue,
    .clFinish = keep_queue,
    .clEnqueueReadBuffer = read_buffer,
    .clEnqueueWriteBuffer = write_buffer,
    .clEnqueueCopyBuffer = copy_buffer,
    .clEnqueueFillBuffer = fill_buffer,
    .clEnqueueMapBuffer = map_buffer,
    .clEnqueueUnmapMemObject = unmap,
    .clEnqueueNDRangeKernel = launch,
    .clEnqueueMarkerWithWaitList = mark,
    .clEnqueueBarrierWithWaitList = mark,
};

/* registry.c: programs, built once and cached on disk: one of the family's kernels, one of those
 * that are rarely used, and one for every set of sizes that a template (cl/x.clt) is built for.
 *
 * A cache file is: magic, length of the key text, key text, length and CRC-32 of the binary,
 * binary. Its name is a hash of the key text; the text itself is compared too. Whatever is wrong
 * with a file, it is as if it were not there; whose files are taken is said in cache.c. Files
 * appear whole (file.h), so two processes may write the same one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "driver_objects.h"
#include "fail.h"
#include "file.h"
#include "runtime_state.h"
#include "sources.h"
#include "trace.h"

#define MAGIC        "capscl-program-1"
#define MAGIC_BYTES  (sizeof MAGIC - 1)
#define SOURCE_LIMIT ((size_t)16 << 20)
#define BINARY_LIMIT ((size_t)512 << 20)

/* Files of the CPU family with this line in their head make a program of their own: algorithms that
 * are chosen where the usual ones cannot serve, and what measures. PoCL takes half a second for
 * them. */
static const char rarely_used_line[] = "\n// Program: rarely used ";
const caps_template caps_rarely_used_program = {"(rarely used)", ""};

static bool is_rarely_used(const caps_source *source)
{
    return strstr(source->text, rarely_used_line) != NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Does the file belong to the family's own program? common.clh is put first and not counted
 * here. */
static bool belongs(const caps_source *source, caps_family family)
{
    const char *name = source->name;
    if (!ends_with(name, ".cl"))
        return false;
    if (ends_with(name, "_cpu.cl"))
        return family == CAPS_FAMILY_CPU && !is_rarely_used(source);
    if (ends_with(name, "_gpu.cl"))
        return family == CAPS_FAMILY_GPU;
    return true;
}

typedef struct source_text {
    char *text;
    size_t bytes;
} source_text;

/* Appends `#line 1 "name"` and the file's text, embedded or from the directory cl_path. */
static caps_status registry_append(
    source_text *to, const caps_runtime *rt, const caps_source *source, caps_error *err)
{
    unsigned char *file = NULL;
    char *path = NULL;
    const char *text = source->text;
    size_t bytes = source->bytes;
    caps_status status = CAPS_OK;
    char line[160];
    if (rt->cl_path) {
        path = caps_path_join(rt->cl_path, source->name);
        if (!path)
            return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for kernel sources");
        status = caps_file_read(&file, &bytes, path, SOURCE_LIMIT, err);
        if (status != CAPS_OK) {
            caps_fail_prefix(err, status, "kernel sources (CAPSCL_CL_PATH)");
            goto done;
        }
        text = (const char *)file;
    }
    int head = snprintf(line, sizeof line, "#line 1 \"%s\"\n", source->name);
    size_t head_bytes = head > 0 ? (size_t)head : 0;
    char *grown = realloc(to->text, to->bytes + head_bytes + bytes + 2);
    if (!grown) {
        status = caps_fail(err, CAPS_ERR_MEMORY, "out of memory for kernel sources");
        goto done;
    }
    to->text = grown;
    memcpy(to->text + to->bytes, line, head_bytes);
    memcpy(to->text + to->bytes + head_bytes, text, bytes);
    to->bytes += head_bytes + bytes;
    to->text[to->bytes++] = '\n';
    to->text[to->bytes] = 0;
done:
    free(file);
    free(path);
    return status;
}

/* What goes before is all headers for a template, and common.clh alone for files, which follow by
 * name. */
static caps_status gather(
    source_text *to, const caps_runtime *rt, const char *template, caps_error *err)
{
    const bool rarely = template && strcmp(template, caps_rarely_used_program.file) == 0;
    const bool sized = template && !rarely;
    caps_status status = CAPS_OK;
    for (const caps_source *s = caps_sources; s->name; s++)
        if (sized ? ends_with(s->name, ".clh") : strcmp(s->name, "common.clh") == 0)
            CAPS_TRY(registry_append(to, rt, s, err));
    for (const caps_source *s = caps_sources; s->name; s++)
        if (rarely  ? is_rarely_used(s)
            : sized ? strcmp(s->name, template) == 0
                    : belongs(s, rt->family))
            CAPS_TRY(registry_append(to, rt, s, err));
done:
    return status;
}

static char *make_key(const caps_runtime *rt, const char *options, const source_text *source)
{
    const caps_device_info *d = &rt->device;
    char platform[256] = "";
    clGetPlatformInfo(d->platform_handle, CL_PLATFORM_VERSION, sizeof platform - 1, platform, NULL);
    return caps_format("platform: %s, %s\ndevice: %s, %s, %s\ndriver: %s\noptions: %s\n"
                       "source: %zu bytes, %016llx\n",
        d->platform, platform, d->vendor, d->name, d->version, d->driver, options, source->bytes,
        (unsigned long long)caps_hash(CAPS_HASH_START, source->text, source->bytes));
}

static char *cache_path(const caps_runtime *rt, const char *key, const char *kind, const char *end)
{
    char *name = caps_format("%s-%016llx.%s", kind,
        (unsigned long long)caps_hash(CAPS_HASH_START, key, strlen(key)), end);
    char *path = name ? caps_path_join(rt->cache_dir, name) : NULL;
    free(name);
    return path;
}

static void put64(unsigned char *at, uint64_t x)
{
    for (int i = 0; i < 8; i++)
        at[i] = (unsigned char)(x >> (8 * i));
}

static uint64_t get64(const unsigned char *at)
{
    uint64_t x = 0;
    for (int i = 0; i < 8; i++)
        x |= (uint64_t)at[i] << (8 * i);
    return x;
}

/* The binary inside a cache file, or NULL where the file is not right in every respect. */
static const unsigned char *find_binary(
    const unsigned char *file, size_t n, const char *key, size_t *bytes)
{
    size_t key_bytes = strlen(key), at = MAGIC_BYTES;
    if (n < MAGIC_BYTES + 24 + key_bytes || memcmp(file, MAGIC, MAGIC_BYTES) != 0)
        return NULL;
    if (get64(file + at) != key_bytes || memcmp(file + at + 8, key, key_bytes) != 0)
        return NULL;
    at += 8 + key_bytes;
    uint64_t size = get64(file + at), sum = get64(file + at + 8);
    at += 16;
    if (size == 0 || size != n - at || crc32_z(0, file + at, (size_t)size) != sum)
        return NULL;
    *bytes = (size_t)size;
    return file + at;
}

/* PoCL caches programs itself, by their source, and finds one in a tenth of the time in which it
 * links a binary of ours; and when the binary of a program is requested it compiles every kernel,
 * for a work-group size that is not the one we launch. So its cache is used, and our file records
 * that the program should be there. */
static const char cached_by_driver[] = "kept by the driver";

static bool driver_caches(const caps_runtime *rt)
{
    return strcmp(rt->device.platform, "Portable Computing Language") == 0;
}

static cl_program build_source(
    const caps_runtime *rt, const source_text *source, const char *options, cl_int *code)
{
    const char *text = source->text;
    cl_program program = clCreateProgramWithSource(rt->context, 1, &text, &source->bytes, code);
    if (program && *code == CL_SUCCESS)
        *code = clBuildProgram(program, 1, &rt->device.handle, options, NULL, NULL);
    return program;
}

/* Sets *out from the disk, or leaves it NULL. */
static void registry_load(cl_program *out, const caps_runtime *rt, const source_text *source,
    const char *path, const char *key, const char *options)
{
    unsigned char *file = NULL;
    size_t n = 0, bytes = 0;
    cl_int code = CL_SUCCESS, binary_code = CL_SUCCESS;
    cl_program program = NULL;
    file = caps_cache_read(&n, path, BINARY_LIMIT);
    if (!file)
        return;
    const unsigned char *binary = find_binary(file, n, key, &bytes);
    if (binary && driver_caches(rt)) {
        if (bytes == sizeof cached_by_driver && memcmp(binary, cached_by_driver, bytes) == 0)
            program = build_source(rt, source, options, &code);
    } else if (binary) {
        program = clCreateProgramWithBinary(
            rt->context, 1, &rt->device.handle, &bytes, &binary, &binary_code, &code);
        if (code == CL_SUCCESS && binary_code == CL_SUCCESS)
            code = clBuildProgram(program, 1, &rt->device.handle, options, NULL, NULL);
    }
    if (program && code == CL_SUCCESS && binary_code == CL_SUCCESS)
        *out = program;
    else if (program)
        clReleaseProgram(program);
    free(file);
}

/* Writes a program's binary to the cache. Failing is no error: a warning, once, and the next run
 * builds again. */
static void registry_store(caps_runtime *rt, cl_program program, const char *path, const char *key)
{
    caps_error err = {0};
    size_t bytes = 0, key_bytes = strlen(key);
    unsigned char *file = NULL;
    const bool driver = driver_caches(rt);
    if (driver)
        bytes = sizeof cached_by_driver;
    else if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) !=
                 CL_SUCCESS ||
             bytes == 0 || bytes > BINARY_LIMIT)
        return;
    size_t head = MAGIC_BYTES + 24 + key_bytes;
    file = malloc(head + bytes);
    if (!file)
        return;
    unsigned char *binary = file + head;
    if (driver)
        memcpy(binary, cached_by_driver, bytes);
    else if (clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) !=
             CL_SUCCESS)
        goto done;
    memcpy(file, MAGIC, MAGIC_BYTES);
    put64(file + MAGIC_BYTES, key_bytes);
    memcpy(file + MAGIC_BYTES + 8, key, key_bytes);
    put64(file + MAGIC_BYTES + 8 + key_bytes, bytes);
    put64(file + MAGIC_BYTES + 16 + key_bytes, crc32_z(0, binary, bytes));
    if (caps_cache_write(rt->cache_dir, path, file, head + bytes, &err) != CAPS_OK &&
        !rt->warning[0])
        caps_runtime_warn(
            rt, "kernels are not cached, every start will build them again: %.400s", err.message);
done:
    free(file);
}

/* The first line of a build log that has the word error, else its first line that is not empty. */
static void first_error(char *to, size_t capacity, const char *log)
{
    const char *line = strstr(log, "error");
    if (line)
        while (line > log && line[-1] != '\n')
            line--;
    else
        line = log + strspn(log, "\n\r\t ");
    snprintf(to, capacity, "%.*s", (int)strcspn(line, "\n\r"), line);
}

/* Builds from source, and caches the binary where there is a path for it. */
static caps_status compile(cl_program *out, caps_runtime *rt, const source_text *source,
    const char *options, const char *path, const char *key, caps_error *err)
{
    cl_int code = CL_SUCCESS;
    cl_program program = build_source(rt, source, options, &code);
    if (!program)
        return caps_fail_cl(
            err, code, "making the program of family %s", caps_family_name(rt->family));
    if (code == CL_SUCCESS) {
        if (path)
            registry_store(rt, program, path, key);
        *out = program;
        return CAPS_OK;
    }
    size_t bytes = 0;
    char *log = NULL, line[400] = "no log";
    clGetProgramBuildInfo(program, rt->device.handle, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
    if (bytes)
        log = calloc(1, bytes + 1);
    if (log && clGetProgramBuildInfo(program, rt->device.handle, CL_PROGRAM_BUILD_LOG, bytes, log,
                   NULL) == CL_SUCCESS)
        first_error(line, sizeof line, log);
    clReleaseProgram(program);
    caps_status status = caps_fail(err, CAPS_ERR_BUILD, "kernels of family %s do not build: %s",
        caps_family_name(rt->family), line);
    if (err) {
        err->cl_code = code;
        snprintf(err->build_log, sizeof err->build_log, "%s", log ? log : "");
    }
    free(log);
    return status;
}

/* What a program is made of, and where it is cached. */
typedef struct recipe {
    source_text source;
    char *options, *key, *path; /* path NULL: nowhere */
    char *objects;              /* see caps_program_slot */
} recipe;

static void recipe_release(recipe *r)
{
    free(r->source.text);
    free(r->options);
    free(r->key);
    free(r->path);
    free(r->objects);
}

static caps_status recipe_init(
    recipe *r, const caps_runtime *rt, const char *template, const char *more, caps_error *err)
{
    caps_status status;
    *r = (recipe){0};
    /* Oclgrind does not know every instruction that optimized code has. */
    r->options = caps_format("-cl-std=CL1.2 -cl-denorms-are-zero -DCAPS_FAMILY_%s=1%s%s",
        rt->family == CAPS_FAMILY_CPU ? "CPU" : "GPU",
        caps_is_simulated(rt) ? " -cl-opt-disable -DCAPS_SIMULATED=1" : "", more);
    CAPS_TRY(gather(&r->source, rt, template, err));
    r->key = r->options ? make_key(rt, r->options, &r->source) : NULL;
    if (rt->cache_dir && r->key)
        r->path = cache_path(rt, r->key, "program", "bin");
    if (r->path && driver_caches(rt))
        r->objects = cache_path(rt, r->key, "objects", "json");
    if (!r->key || (rt->cache_dir && !r->path))
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for the program cache"));
done:
    if (status != CAPS_OK)
        recipe_release(r);
    return status;
}

static void check_objects(caps_runtime *rt, const char *objects)
{
    char one[300] = "";
    const size_t damaged = caps_objects_check(objects, one, sizeof one);
    if (damaged > 0)
        caps_runtime_warn(rt,
            "damaged in the driver's cache: %.200s%s; removed, and compiled again", one,
            damaged > 1 ? " and others" : "");
}

/* Loads, or builds and caches. */
static caps_status registry_make(
    caps_program_slot *slot, caps_runtime *rt, const char *template, caps_error *err)
{
    recipe r;
    caps_status status = recipe_init(&r, rt, template, slot->options, err);
    if (status != CAPS_OK)
        return status;
    const struct timespec begun = caps_objects_time();
    if (r.objects)
        check_objects(rt, r.objects);
    if (r.path)
        registry_load(&slot->program, rt, &r.source, r.path, r.key, r.options);
    if (!slot->program) {
        status = compile(&slot->program, rt, &r.source, r.options, r.path, r.key, err);
        rt->compiled = true;
    }
    if (r.objects && status == CAPS_OK) {
        caps_objects_keep(rt->cache_dir, r.objects, &begun);
        slot->objects = r.objects;
        r.objects = NULL;
    }
    recipe_release(&r);
    return status;
}

bool caps_registry_is_cached(const caps_runtime *rt)
{
    recipe r;
    if (recipe_init(&r, rt, NULL, "", NULL) != CAPS_OK)
        return false;
    const bool cached = r.path && caps_path_exists(r.path);
    recipe_release(&r);
    return cached;
}

caps_status caps_registry_get(
    cl_program *out, caps_runtime *rt, const caps_template *template, caps_error *err)
{
    const char *file = template ? template->file : "", *options = template ? template->options : "";
    for (size_t i = 0; i < rt->program_count; i++) {
        const caps_program_slot *slot = &rt->programs[i];
        if (strcmp(slot->file, file) == 0 && strcmp(slot->options, options) == 0) {
            *out = slot->program;
            return CAPS_OK;
        }
    }
    caps_program_slot *grown =
        realloc(rt->programs, (rt->program_count + 1) * sizeof *rt->programs);
    if (!grown)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for a program");
    rt->programs = grown;
    caps_program_slot slot = {
        .file = caps_format("%s", file), .options = caps_format("%s", options)};
    caps_trace_begin(rt, "build kernels");
    caps_status status = slot.file && slot.options
                             ? registry_make(&slot, rt, template ? file : NULL, err)
                             : caps_fail(err, CAPS_ERR_MEMORY, "out of memory for a program");
    caps_trace_end(rt);
    if (status != CAPS_OK) {
        free(slot.file);
        free(slot.options);
        return status;
    }
    rt->programs[rt->program_count++] = slot;
    *out = slot.program;
    return CAPS_OK;
}

void caps_registry_keep(caps_runtime *rt)
{
    for (size_t i = 0; i < rt->program_count; i++)
        if (rt->programs[i].objects)
            caps_objects_keep(rt->cache_dir, rt->programs[i].objects, NULL);
}

void caps_registry_release(caps_runtime *rt)
{
    caps_registry_keep(rt);
    for (size_t i = 0; i < rt->program_count; i++) {
        clReleaseProgram(rt->programs[i].program);
        free(rt->programs[i].file);
        free(rt->programs[i].options);
        free(rt->programs[i].objects);
    }
    free(rt->programs);
}

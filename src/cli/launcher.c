/* launcher.c: see launcher.h. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "launcher.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "file.h"
#include "link_load.h"
#include "textbuf.h"

/* ---- what the environment says -------------------------------------------------------------- */

/* In this order: what stands below may be that of a launcher which started the one above. */
static const struct {
    const char *name, *count, *rank;
} launchers[] = {
    {"mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
    {"mpiexec", "PMI_SIZE", "PMI_RANK"},
    {"mpirun", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"},
    {"flux", "FLUX_JOB_SIZE", "FLUX_TASK_RANK"},
    /* Of a step alone: a batch script and salloc have SLURM_NTASKS and SLURM_PROCID too. */
    {"srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"},
};

static long number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    if (!text || !*text)
        return -1;
    const long value = strtol(text, &end, 10);
    return *end || value < 0 ? -1 : value;
}

/* The launcher, its number of processes and this one's; NULL: there is none. */
static const char *find_launcher(size_t *count, long *rank)
{
    const char *mpi = getenv("CAPSCL_MPI");
    *count = 1;
    *rank = 0;
    if (mpi && strcmp(mpi, "off") == 0)
        return NULL;
    for (size_t i = 0; i < sizeof launchers / sizeof launchers[0]; i++) {
        const long n = number_of(launchers[i].count);
        if (n < 1)
            continue;
        *count = (size_t)n;
        *rank = number_of(launchers[i].rank);
        return launchers[i].name;
    }
    return NULL;
}

bool caps_launch_allows(const caps_command *command, int *code)
{
    static const caps_command *const each[] = {
        &caps_command_train, &caps_command_version, &caps_command_help, &caps_command_devices};
    size_t count;
    long rank;
    const char *by = find_launcher(&count, &rank);
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++)
        if (count == 1 || command == each[i])
            return true;
    caps_error err = {0};
    if (rank > 0)
        caps_cli_mute(true);
    *code = caps_cli_end(
        caps_cli_usage(&err,
            "%s: started %zu times by %s, need once: only train computes on several ranks "
            "(CAPSCL_MPI=off: each by itself)",
            command->name, count, by),
        &err);
    return false;
}

/* ---- processor threads ---------------------------------------------------------------------- */

static char threads_note[160];

const char *caps_launch_threads_note(void)
{
    return threads_note[0] ? threads_note : NULL;
}

/* PoCL starts a thread for each processor of the machine, and pins them as if it were alone. The
 * ranks of a machine have those that they are bound to, or each its part of all. Parts of a device
 * are divided already. */
static void divide_threads(const caps_place *place, const caps_texts *selectors)
{
    cpu_set_t set;
    char text[24];
    CPU_ZERO(&set);
    for (size_t i = 0; i < selectors->count; i++)
        if (strchr(selectors->values[i], '/'))
            return;
    const char *device = getenv("CAPSCL_DEVICE");
    if (selectors->count == 0 && device && strchr(device, '/'))
        return;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return;
    const long online = sysconf(_SC_NPROCESSORS_ONLN), allowed = CPU_COUNT(&set);
    long threads = allowed;
    if (allowed >= online && place->local_count > 1) {
        threads = allowed / place->local_count > 1 ? allowed / place->local_count : 1;
        snprintf(threads_note, sizeof threads_note,
            "the %d ranks of a machine are not bound to processors: each takes %ld of its %ld",
            place->local_count, threads, allowed);
    }
    snprintf(text, sizeof text, "%ld", threads);
    setenv("POCL_MAX_PTHREAD_COUNT", text, 0);
    setenv("POCL_CPU_MAX_CU_COUNT", text, 0); /* its name in later versions */
    setenv("POCL_AFFINITY", "0", 0);
}

/* ---- beginning ------------------------------------------------------------------------------ */

static caps_status alone_among_many(size_t count, const char *by, caps_error *err)
{
    const char *library = caps_link_built_with();
    return strcmp(by, "srun") == 0
               ? caps_cli_usage(err,
                     "train: srun started %zu processes that do not find each other: need srun "
                     "--mpi=pmix (%s), or CAPSCL_MPI=off for a training of each",
                     count, library)
               : caps_cli_usage(err,
                     "train: %s started %zu processes that do not find each other: need the mpirun "
                     "of %s, or CAPSCL_MPI=off for a training of each",
                     by, count, library);
}

void caps_launch_mute_others(void)
{
    size_t count;
    long rank;
    find_launcher(&count, &rank);
    if (count > 1 && rank > 0)
        caps_cli_mute(true);
}

caps_status caps_launch_begin(
    caps_ranks **ranks, const caps_texts *selectors, double silence, caps_error *err)
{
    const caps_link *link;
    size_t count;
    long rank;
    caps_status status;
    const char *by = find_launcher(&count, &rank);
    *ranks = NULL;
    if (count == 1)
        return CAPS_OK;
    status = caps_link_load(&link, NULL, err);
    if (status != CAPS_OK)
        return caps_cli_usage(err,
            "train: started %zu times by %s: %s; need one that has (docs/scaling.md), or "
            "CAPSCL_MPI=off for a training of each",
            count, by, err->message);
    CAPS_TRY(caps_ranks_begin(ranks, link, silence, err));
    const caps_place *place = caps_ranks_place(*ranks);
    if (place->count == 1) {
        status = alone_among_many(count, by, err);
        goto done;
    }
    caps_cli_mute(place->rank > 0);
    divide_threads(place, selectors);
done:
    return status;
}

caps_status caps_launch_compare(caps_ranks *ranks, int argc, char **argv, caps_error *err)
{
    caps_textbuf own = {0};
    caps_status status = CAPS_OK;
    char *lead = NULL;
    if (!ranks)
        return CAPS_OK;
    const bool leads = caps_ranks_rank(ranks) == 0;
    for (int i = 0; i < argc; i++)
        caps_textbuf_put(&own, "%s\n", argv[i]);
    if (own.out_of_memory)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory"));
    lead = leads ? own.text : NULL;
    CAPS_TRY(caps_ranks_share_text(ranks, &lead, err));
    if (strcmp(own.text, lead) != 0)
        CAPS_TRY(caps_cli_usage(err, "train: the command line is another than that of rank 0 "
                                     "(CAPSCL_MPI=off: a training of each)"));
done:
    if (!leads)
        free(lead);
    caps_textbuf_release(&own);
    return status;
}

/* ---- devices -------------------------------------------------------------------------------- */

/* The k-th of the devices that are like the one that the selector chooses: of its platform and
 * type, round and round. */
static caps_status deal_alike(const caps_place *place, const char *selector,
    caps_device_selector *list, size_t *n, char **note, caps_error *err)
{
    caps_device_info *all = NULL;
    size_t count = 0, best, alike = 0, taken = 0;
    caps_status status;
    CAPS_TRY(caps_device_list(&all, &count, err));
    CAPS_TRY(caps_device_select(all, count, selector, &best, NULL, err));
    for (size_t i = 0; i < count; i++)
        alike += all[i].type == all[best].type && strcmp(all[i].platform, all[best].platform) == 0;
    const size_t k = (size_t)place->local_rank % alike;
    for (size_t i = 0, at = 0; i < count; i++)
        if (all[i].type == all[best].type && strcmp(all[i].platform, all[best].platform) == 0 &&
            at++ == k)
            taken = i;
    *n = 1;
    snprintf(list[0].text, sizeof list[0].text, "%s", all[taken].id);
    if (alike > 1 || place->local_count > 1)
        *note = caps_format("the %d ranks of a machine take its %zu %s of %s in turn",
            place->local_count, alike, alike > 1 ? "devices" : "device", all[best].platform);
done:
    caps_device_list_free(all);
    return status;
}

/* "gpu", or nothing at all: any device of that type is as good. */
static bool names_a_type(const caps_texts *selectors)
{
    static const char *const words[] = {"gpu", "cpu", "accelerator"};
    const char *word = selectors->count ? selectors->values[0] : getenv("CAPSCL_DEVICE");
    bool is = !word || !*word;
    for (size_t i = 0; word && i < 3; i++)
        is = is || strcmp(word, words[i]) == 0;
    return selectors->count < 2 && is;
}

caps_status caps_launch_deal(caps_ranks *ranks, const caps_texts *selectors,
    caps_device_selector *list, size_t *n, char **note, caps_error *err)
{
    const caps_place *place = caps_ranks_place(ranks);
    const size_t k = (size_t)place->local_rank, ranks_here = (size_t)place->local_count;
    const char *named = getenv("CAPSCL_DEVICE");
    const caps_texts one = {&named, 1};
    caps_device_selector all[CAPS_DEVICES_MOST];
    size_t count = 0;
    caps_status status;
    *note = NULL;
    if (names_a_type(selectors))
        return deal_alike(
            place, selectors->count ? selectors->values[0] : NULL, list, n, note, err);
    const caps_texts *from = selectors->count ? selectors : &one;
    CAPS_TRY(caps_device_select_several(all, &count, from->values, from->count, err));
    const size_t first = ranks_here >= count ? k % count : count * k / ranks_here;
    const size_t end = ranks_here >= count ? first + 1 : count * (k + 1) / ranks_here;
    *n = end - first;
    memcpy(list, all + first, *n * sizeof *list);
    if (ranks_here > 1)
        *note = caps_format("the %d ranks of a machine share its %zu %s", place->local_count, count,
            count > 1 ? "devices that are named" : "device that is named");
done:
    return status;
}

/* ---- the end -------------------------------------------------------------------------------- */

caps_status caps_launch_end(caps_ranks *ranks, caps_status status, caps_error *err)
{
    if (!ranks)
        return status;
    status = caps_ranks_end(ranks, status, err);
    if (caps_ranks_rank(ranks) > 0)
        caps_cli_mute(!err->message[0]); /* what rank 1 says of rank 0 */
    return status;
}

void caps_launch_part(caps_ranks *ranks, int code)
{
    if (caps_ranks_free(ranks))
        return;
    fflush(NULL);
    caps_ranks_stop(ranks, code);
    _exit(code);
}

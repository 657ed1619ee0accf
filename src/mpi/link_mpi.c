/* link_mpi.c: messages between ranks by MPI. A module, `capscl-mpi.so`: see link.h. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link.h"

#define EXPORTED __attribute__((visibility("default")))

static MPI_Comm comm = MPI_COMM_NULL;
static char message[256];

/* What is on its way, one behind the other. */
static MPI_Request *requests;
static void **users, **finished; /* the second those of the last poll */
static int *indices;             /* MPI_Testsome's */
static size_t count, room;

static bool ok(int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (code == MPI_SUCCESS)
        return true;
    MPI_Error_string(code, text, &length);
    snprintf(message, sizeof message, "%s: %.200s", what, text);
    return false;
}

/* ---- memory that the ranks of a machine share ----------------------------------------------- */

static MPI_Win window = MPI_WIN_NULL;
static void **bells; /* [ranks]; NULL of ranks on other machines */

/* Where rank k of `comm` is among the ranks of this machine its part of the window is its bell. */
static bool find_bells(MPI_Comm local, int ranks)
{
    MPI_Group all = MPI_GROUP_NULL, here = MPI_GROUP_NULL;
    bells = calloc((size_t)ranks, sizeof *bells);
    bool found = bells && MPI_Comm_group(comm, &all) == MPI_SUCCESS &&
                 MPI_Comm_group(local, &here) == MPI_SUCCESS;
    for (int k = 0; found && k < ranks; k++) {
        MPI_Aint bytes;
        int unit, at = MPI_UNDEFINED;
        found = MPI_Group_translate_ranks(all, 1, &k, here, &at) == MPI_SUCCESS;
        if (found && at != MPI_UNDEFINED)
            found = MPI_Win_shared_query(window, at, &bytes, &unit, &bells[k]) == MPI_SUCCESS;
    }
    if (all != MPI_GROUP_NULL)
        MPI_Group_free(&all);
    if (here != MPI_GROUP_NULL)
        MPI_Group_free(&here);
    return found;
}

/* All ranks of a machine have bells, or none has: they do without. */
static void make_bells(MPI_Comm local, int ranks)
{
    void *own = NULL;
    int works = MPI_Win_allocate_shared(CAPS_LINK_BELL, 1, MPI_INFO_NULL, local, &own, &window) ==
                MPI_SUCCESS;
    if (works)
        memset(own, 0, CAPS_LINK_BELL);
    works = works && find_bells(local, ranks);
    if (MPI_Allreduce(MPI_IN_PLACE, &works, 1, MPI_INT, MPI_MIN, local) == MPI_SUCCESS && works)
        return;
    free(bells);
    bells = NULL;
}

static void *link_bell(int rank)
{
    return bells ? bells[rank] : NULL;
}

/* ---- the link ------------------------------------------------------------------------------- */

static bool link_begin(caps_place *place)
{
    MPI_Comm local = MPI_COMM_NULL;
    int provided, length = 0;
    char host[MPI_MAX_PROCESSOR_NAME] = "";
    if (!ok(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread"))
        return false;
    if (provided < MPI_THREAD_FUNNELED) {
        snprintf(message, sizeof message, "MPI_Init_thread: no MPI_THREAD_FUNNELED");
        return false;
    }
    if (!ok(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup"))
        return false;
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm, &place->rank);
    MPI_Comm_size(comm, &place->count);
    if (!ok(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, place->rank, MPI_INFO_NULL, &local),
            "MPI_Comm_split_type"))
        return false;
    MPI_Comm_rank(local, &place->local_rank);
    MPI_Comm_size(local, &place->local_count);
    make_bells(local, place->count);
    MPI_Comm_free(&local);
    MPI_Get_processor_name(host, &length);
    snprintf(place->host, sizeof place->host, "%.255s", host);
    return true;
}

/* Room for one more. */
static bool grow(void)
{
    if (count < room)
        return true;
    const size_t more = room ? 2 * room : 64;
    MPI_Request *r = realloc(requests, more * sizeof *r);
    if (r)
        requests = r;
    void **u = realloc(users, more * sizeof *u);
    if (u)
        users = u;
    void **f = realloc(finished, more * sizeof *f);
    if (f)
        finished = f;
    int *i = realloc(indices, more * sizeof *i);
    if (i)
        indices = i;
    if (r && u && f && i)
        room = more;
    else
        snprintf(message, sizeof message, "out of memory for %zu messages", more);
    return count < room;
}

static bool started(int code, const char *what, void *user)
{
    if (!ok(code, what))
        return false;
    users[count++] = user;
    return true;
}

static bool link_send(const void *data, size_t bytes, int to, int tag, void *user)
{
    return grow() && started(MPI_Isend(data, (int)bytes, MPI_BYTE, to, tag, comm, &requests[count]),
                         "MPI_Isend", user);
}

static bool link_receive(void *data, size_t bytes, int from, int tag, void *user)
{
    return grow() &&
           started(MPI_Irecv(data, (int)bytes, MPI_BYTE, from, tag, comm, &requests[count]),
               "MPI_Irecv", user);
}

static bool link_sum(float *data, size_t floats, void *user)
{
    return grow() && started(MPI_Iallreduce(MPI_IN_PLACE, data, (int)floats, MPI_FLOAT, MPI_SUM,
                                 comm, &requests[count]),
                         "MPI_Iallreduce", user);
}

static bool link_poll(void ***all, size_t *n)
{
    int completed = 0;
    size_t kept = 0;
    *n = 0;
    *all = finished;
    if (count == 0)
        return true;
    if (!ok(MPI_Testsome((int)count, requests, &completed, indices, MPI_STATUSES_IGNORE),
            "MPI_Testsome"))
        return false;
    for (int i = 0; completed != MPI_UNDEFINED && i < completed; i++) {
        finished[(*n)++] = users[indices[i]];
        users[indices[i]] = NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (users[i]) {
            users[kept] = users[i];
            requests[kept++] = requests[i];
        }
    count = kept;
    return true;
}

static bool link_take(void *data, size_t bytes, int tag, int *from)
{
    MPI_Message found;
    MPI_Status status;
    int here = 0, size = 0;
    *from = -1;
    if (!ok(MPI_Improbe(MPI_ANY_SOURCE, tag, comm, &here, &found, &status), "MPI_Improbe"))
        return false;
    if (!here)
        return true;
    MPI_Get_count(&status, MPI_BYTE, &size);
    if ((size_t)size > bytes) {
        snprintf(message, sizeof message, "a message of %d bytes, need at most %zu", size, bytes);
        return false;
    }
    if (!ok(MPI_Mrecv(data, size, MPI_BYTE, &found, MPI_STATUS_IGNORE), "MPI_Mrecv"))
        return false;
    *from = status.MPI_SOURCE;
    return true;
}

static bool link_end(void)
{
    for (size_t i = 0; i < count; i++) { /* of a run that has failed */
        MPI_Cancel(&requests[i]);
        MPI_Request_free(&requests[i]);
    }
    free(requests);
    free(users);
    free(finished);
    free(indices);
    requests = NULL;
    users = finished = NULL;
    indices = NULL;
    count = room = 0;
    free(bells);
    bells = NULL;
    if (window != MPI_WIN_NULL)
        MPI_Win_free(&window);
    MPI_Comm_free(&comm);
    return ok(MPI_Finalize(), "MPI_Finalize");
}

static void link_stop(int code)
{
    MPI_Abort(comm, code);
}

static const char *link_text(void)
{
    return message;
}

static char library[MPI_MAX_LIBRARY_VERSION_STRING];

/* "Open MPI v4.1.4, package: ..." becomes "Open MPI 4.1.4". */
static const char *name_library(void)
{
    int length;
    MPI_Get_library_version(library, &length);
    library[strcspn(library, ",\n")] = 0;
    char *v = strstr(library, " v");
    if (v)
        memmove(v + 1, v + 2, strlen(v + 2) + 1);
    for (char *c = library; *c; c++)
        *c = *c == '\t' ? ' ' : *c;
    return library;
}

EXPORTED const caps_link *caps_link_mpi(void);

const caps_link *caps_link_mpi(void)
{
    static caps_link link = {.version = CAPS_LINK_VERSION,
        .begin = link_begin,
        .start_send = link_send,
        .start_receive = link_receive,
        .start_sum = link_sum,
        .poll = link_poll,
        .take = link_take,
        .bell = link_bell,
        .end = link_end,
        .stop = link_stop,
        .text = link_text};
    link.library = name_library();
    return &link;
}

/* child.c: see child.h. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

enum { MOST_ARGUMENTS = 16, MOST_TEXT = 4 << 20 };

extern char **environ;

/* The environment with one variable set: an array of borrowed texts, freed with free(). */
static char **environment_with(const char *variable)
{
    const size_t name = strcspn(variable, "=") + 1;
    size_t n = 0, kept = 0;
    while (environ[n])
        n++;
    char **all = malloc((n + 2) * sizeof *all);
    for (size_t i = 0; all && i < n; i++)
        if (strncmp(environ[i], variable, name) != 0)
            all[kept++] = environ[i];
    if (all) {
        all[kept++] = (char *)(uintptr_t)variable; /* is not written to */
        all[kept] = NULL;
    }
    return all;
}

/* Starts it with its output in two pipes. */
static bool start(pid_t *process, const int out[2], const int err[2], char *const argv[],
    char *const environment[])
{
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return false;
    const bool started =
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) == 0 &&
        posix_spawn_file_actions_adddup2(&actions, out[1], 1) == 0 &&
        posix_spawn_file_actions_adddup2(&actions, err[1], 2) == 0 &&
        posix_spawn(process, "/proc/self/exe", &actions, NULL, argv, environment) == 0;
    posix_spawn_file_actions_destroy(&actions);
    return started;
}

/* Reads what is there; false at the end. */
static bool read_some(caps_textbuf *to, int from)
{
    char piece[4096];
    const ssize_t n = read(from, piece, sizeof piece);
    if (n < 0)
        return errno == EINTR;
    if (n > 0 && to->used + (size_t)n < MOST_TEXT)
        caps_textbuf_append(to, piece, (size_t)n);
    return n > 0;
}

/* Until both pipes end, or the time is over. */
static void read_all(caps_child *child, int out, int err, unsigned seconds)
{
    const uint64_t end = caps_clock_ns() + (uint64_t)seconds * 1000000000u;
    struct pollfd pipes[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
    while (pipes[0].fd >= 0 || pipes[1].fd >= 0) {
        const uint64_t now = caps_clock_ns();
        if (now >= end) {
            child->timed_out = true;
            return;
        }
        if (poll(pipes, 2, (int)((end - now) / 1000000u) + 1) < 0 && errno != EINTR)
            return;
        for (int i = 0; i < 2; i++)
            if (pipes[i].fd >= 0 && pipes[i].revents &&
                !read_some(i ? &child->err : &child->out, pipes[i].fd))
                pipes[i].fd = -1;
    }
}

static void wait_for(caps_child *child, pid_t process)
{
    int state = 0;
    pid_t ended;
    if (child->timed_out)
        kill(process, SIGKILL);
    do
        ended = waitpid(process, &state, 0);
    while (ended < 0 && errno == EINTR);
    if (ended == process && WIFEXITED(state))
        child->exit_code = WEXITSTATUS(state);
    else if (ended == process && WIFSIGNALED(state) && !child->timed_out)
        child->signal = WTERMSIG(state);
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}

/* A pipe that no other child inherits. */
static bool open_pair(int pair[2])
{
    if (pipe(pair) != 0) {
        pair[0] = pair[1] = -1;
        return false;
    }
    return fcntl(pair[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(pair[1], F_SETFD, FD_CLOEXEC) == 0;
}

bool caps_child_run(
    caps_child *child, const char *const arguments[], const char *variable, unsigned seconds)
{
    char *argv[MOST_ARGUMENTS + 2] = {(char *)(uintptr_t) "capscl"};
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    pid_t process = 0;
    memset(child, 0, sizeof *child);
    child->exit_code = -1;
    for (size_t i = 0; i < MOST_ARGUMENTS && arguments[i]; i++)
        argv[i + 1] = (char *)(uintptr_t)arguments[i]; /* are not written to */
    char **environment = environment_with(variable);
    const bool started = environment && open_pair(out) && open_pair(err) &&
                         start(&process, out, err, argv, environment);
    if (started) {
        close(out[1]);
        close(err[1]);
        out[1] = err[1] = -1;
        read_all(child, out[0], err[0], seconds);
        wait_for(child, process);
    }
    close_pair(out);
    close_pair(err);
    free(environment);
    return started;
}

void caps_child_release(caps_child *child)
{
    caps_textbuf_release(&child->out);
    caps_textbuf_release(&child->err);
}

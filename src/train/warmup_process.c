/* warmup_process.c: see warmup_process.h. */
#include "warmup_process.h"

#ifdef __linux__
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel_warmup.h"
#include "trust.h"
#include "warmup.h"

static pid_t child;

static void warm_up(const char *device, const caps_train_config *config)
{
    caps_runtime *rt = NULL;
    caps_error err = {0};
    /* The driver's threads are pinned where those of the training are: here they may go anywhere.
     */
    setenv("POCL_AFFINITY", "0", 1);
    caps_trust_suspend(); /* it computes nothing, and the training checks */
    if (caps_runtime_create(&rt, device, NULL, &err) == CAPS_OK && caps_warmup_is_useful(rt))
        (void)caps_train_warmup(rt, config, &err);
}

void caps_warmup_process_begin(const char *device, const caps_train_config *config)
{
    if (!caps_cache_is_cold())
        return;
    const pid_t parent = getpid();
    child = fork();
    if (child != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int nowhere = open("/dev/null", O_RDWR);
    if (getppid() != parent || nowhere < 0)
        _exit(0);
    for (int i = 0; i < 3; i++)
        dup2(nowhere, i);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    warm_up(device, config);
    _exit(0);
}

void caps_warmup_process_reap(void)
{
    if (child > 0 && waitpid(child, NULL, WNOHANG) != 0)
        child = 0;
}
#else
void caps_warmup_process_begin(const char *device, const caps_train_config *config)
{
    (void)device;
    (void)config;
}

void caps_warmup_process_reap(void)
{
}
#endif

/* test_affinity.c: PoCL's threads are pinned, unless the user says otherwise. */
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

/* Threads of this process that may run on one processor only. */
static unsigned pinned_threads(void)
{
    unsigned count = 0;
    struct dirent *entry;
    DIR *tasks = opendir("/proc/self/task");
    while (tasks && (entry = readdir(tasks))) {
        cpu_set_t set;
        CPU_ZERO(&set);
        const int id = atoi(entry->d_name);
        count += id > 0 && sched_getaffinity(id, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1;
    }
    if (tasks)
        closedir(tasks);
    return count;
}

/* Lists the devices in a process of its own, so that the drivers are opened there for the first
 * time. 0: as it should be. */
static int in_child(const char *before, const char *after, bool pinned)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        caps_device_info *list = NULL;
        caps_error err = {0};
        size_t n = 0;
        unsigned units = 0;
        if (before)
            setenv("POCL_AFFINITY", before, 1);
        else
            unsetenv("POCL_AFFINITY");
        if (caps_device_list(&list, &n, &err) != CAPS_OK)
            _exit(1);
        const char *now = getenv("POCL_AFFINITY");
        if (!now || strcmp(now, after) != 0)
            _exit(2);
        for (size_t i = 0; i < n; i++)
            if (strcmp(list[i].platform, "Portable Computing Language") == 0 &&
                list[i].type == CAPS_DEVICE_CPU)
                units = list[i].compute_units;
        /* On one processor everything is pinned, without PoCL nothing of it is there. */
        const bool tells = units > 1 && sysconf(_SC_NPROCESSORS_ONLN) > 1;
        _exit(tells && (pinned_threads() >= units) != pinned ? 3 : 0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(threads_are_pinned)
{
    ck_assert_int_eq(in_child(NULL, "1", true), 0);
}
END_TEST

START_TEST(the_users_choice_stays)
{
    ck_assert_int_eq(in_child("0", "0", false), 0);
    ck_assert_int_eq(in_child("1", "1", true), 0);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("affinity");
    TCase *tc = tcase_create("affinity");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, threads_are_pinned);
    tcase_add_test(tc, the_users_choice_stays);
    suite_add_tcase(s, tc);
    return s;
}

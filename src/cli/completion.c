/* completion.c: see completion.h. */
#include "completion.h"

#include <string.h>

caps_completion_files caps_completion_files_of(const caps_flag *flag)
{
    static const struct {
        const char *begins;
        bool whole; /* the value has no other name than this */
        caps_completion_files files;
    } called[] = {
        {"FILE", false, CAPS_COMPLETES_FILES},
        {"OUT", false, CAPS_COMPLETES_FILES},
        {"DIR", false, CAPS_COMPLETES_FOLDERS},
        {"RUN", false, CAPS_COMPLETES_FOLDERS},
        {"FOLDER", false, CAPS_COMPLETES_FOLDERS},
        {"D", true, CAPS_COMPLETES_DATA},
    };
    for (size_t i = 0; flag->value && i < sizeof called / sizeof called[0]; i++) {
        const size_t n = strlen(called[i].begins);
        if (strncmp(flag->value, called[i].begins, n) == 0 && (!called[i].whole || !flag->value[n]))
            return called[i].files;
    }
    return CAPS_COMPLETES_NOTHING;
}

const char *caps_completion_name(const caps_flag *flag, size_t i)
{
    return flag->choices ? flag->choices[i] : flag->names ? flag->names(i, NULL) : NULL;
}

bool caps_completion_is_switch(const caps_flag *flag)
{
    return flag->kind == CAPS_FLAG_SWITCH || flag->kind == CAPS_FLAG_OFF;
}

/* speed.c: see speed.h. */
#include "speed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/network.h>

#include "clock.h"
#include "fail.h"
#include "file.h"
#include "stepper.h"
#include "tuning.h"

enum { TIMED_STEPS = 3 };

static caps_status time_step(
    caps_stepper *s, const caps_images *images, double *seconds, caps_error *err)
{
    const double began = caps_clock_seconds();
    caps_step_result ignored;
    caps_status status;
    CAPS_TRY(caps_stepper_enqueue(s, images, 0, err));
    CAPS_TRY(caps_stepper_take(s, &ignored, err));
    *seconds = caps_clock_seconds() - began;
done:
    return status;
}

caps_status caps_speed_measure(double *images_per_second, caps_runtime *rt,
    const caps_model_spec *spec, const caps_model_options *options, const caps_images *images,
    caps_error *err)
{
    caps_model *m = NULL;
    caps_stepper stepper;
    caps_status status;
    double seconds, least = INFINITY;
    CAPS_TRY(caps_model_create(&m, rt, spec, options, err));
    CAPS_TRY(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 1, err));
    caps_stepper_init(&stepper, m, options->adam ? CAPS_OPTIMIZER_ADAM : CAPS_OPTIMIZER_SGD, 1, 1);
    CAPS_TRY(time_step(&stepper, images, &seconds, err));
    for (int i = 0; i < TIMED_STEPS; i++) {
        CAPS_TRY(time_step(&stepper, images, &seconds, err));
        least = fmin(least, seconds);
    }
    *images_per_second = (double)images->b / fmax(least, 1e-9);
done:
    caps_model_free(m);
    return status;
}

/* ---- what was measured ---------------------------------------------------------------------- */

/* "7c15d2...": all of the network that its JSON says; the names of classes are no part of that. */
static bool network_key(char key[17], const caps_model_spec *spec)
{
    char *text = caps_model_spec_format(spec);
    if (text)
        snprintf(
            key, 17, "%016llx", (unsigned long long)caps_hash(CAPS_HASH_START, text, strlen(text)));
    const bool made = text != NULL;
    free(text);
    return made;
}

double caps_speed_tuned(const caps_runtime *rt, const caps_model_spec *spec)
{
    char key[17];
    return network_key(key, spec) ? caps_tuning_speed(rt, key) : 0;
}

caps_status caps_speed_keep(
    caps_runtime *rt, const caps_model_spec *spec, double images_per_second, caps_error *err)
{
    char key[17];
    if (!network_key(key, spec))
        return caps_fail(err, CAPS_ERR_MEMORY, "tuning: out of memory");
    return caps_tuning_set_speed(rt, key, images_per_second, err);
}

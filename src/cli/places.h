/* places.h: what a directory on the command line stands for: a run for its checkpoint, a repetition
 * for the checkpoints of its seeds, a folder for the pictures in it. */
#ifndef CAPS_PLACES_H
#define CAPS_PLACES_H

#include "args.h"

/* *model is a run directory: it becomes RUN/model.safetensors, or RUN/state.safetensors where only
 * that is there. Other paths stay. The strings are kept by args. CAPS_ERR_NOT_FOUND: a directory
 * without a checkpoint, or with those of several seeds; CAPS_ERR_MEMORY. */
caps_status caps_place_model(caps_args *args, const char **model, caps_error *err);
/* The same of several; a repetition becomes the checkpoints of all its seeds. */
caps_status caps_place_models(caps_args *args, caps_texts *models, caps_error *err);

/* Of args->positional each folder becomes the pictures in it, in byte order; a note names
 * what else is in it. CAPS_ERR_FORMAT: it holds no picture; CAPS_ERR_NOT_FOUND,
 * CAPS_ERR_MEMORY. */
caps_status caps_place_pictures(caps_args *args, caps_error *err);

#endif

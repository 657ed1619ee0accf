/* start.h: the network, the augmentation and the classes that a new run begins with. */
#ifndef CAPS_START_H
#define CAPS_START_H

#include <capscl/train.h>

/* A field of the network that is requested (caps_model_spec_set). */
typedef struct caps_spec_request {
    const char *option; /* how messages call it: "--leaky" */
    const char *kind, *field, *json;
} caps_spec_request; /* of those with one option in a row, one at least must find a layer */

/* What was requested for a new run; texts are borrowed. */
typedef struct caps_start {
    const char *data;            /* required */
    const char *arch;            /* NULL: the network of `init`, else "mnist" */
    const char *init;            /* a checkpoint for the first parameters; NULL: none */
    const caps_profile *profile; /* required: what the settings begin with */
    int augment;                 /* a caps_augment, or -1: what the network's input asks for */
    const char *augment_option;  /* how messages call it */
    const caps_spec_request *requests;
    size_t request_count;
    bool no_decoder;
    const char *no_decoder_option;
} caps_start;

/* Puts spec, arch, init, data, augment and the profile's settings into *config, which is one that
 * caps_train_config_init has filled. The checkpoint of `init` is read whole into *checkpoint, so
 * that a bad one is refused before anything is written; without `init` it stays as it is. Errors:
 * CAPS_ERR_ARGUMENT (a request that the network has no layer for, an augmentation that it cannot
 * have, texts that are too long), CAPS_ERR_MISMATCH (names of classes; arch and checkpoint), those
 * of spec, checkpoint and data. */
caps_status caps_train_config_start(caps_train_config *config, const caps_start *start,
    caps_checkpoint *checkpoint, caps_error *err);

/* Something that the profile changes in networks is not so in this one, whose parameters came from
 * a checkpoint, and was not requested otherwise. */
bool caps_start_lacks_profile(const caps_start *start, const caps_model_spec *spec);

/* profile.c: "paper, authors or keras", in `text`, which is returned. */
char *caps_profile_names(char *text, size_t bytes);

/* profile.c: the i-th change that a profile makes to a network. False: there is none. */
typedef struct caps_profile_change {
    const char *kind, *field, *json;
} caps_profile_change;
bool caps_profile_change_at(const caps_profile *p, size_t i, caps_profile_change *change);

#endif

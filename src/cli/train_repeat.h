/* train_repeat.h: `train --repeat N`, the same training with N seeds (repeat.h). */
#ifndef CAPS_TRAIN_REPEAT_H
#define CAPS_TRAIN_REPEAT_H

#include "repeat.h"
#include "train_session.h"

/* Reads, or begins, what the flags request; checks all that can be checked, touches nothing.
 * CAPS_ERR_EXISTS, and what settings and files of runs give. */
caps_status caps_train_repeat_settings(caps_train_session *s, caps_repeat *r, caps_error *err);

/* Trains what is not finished, one seed after the other, and prints the results: also of one that
 * was stopped. */
caps_status caps_train_repeat(caps_train_session *s, caps_repeat *r, caps_error *err);

#endif

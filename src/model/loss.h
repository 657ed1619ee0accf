/* loss.h: a loss as JSON, for checkpoints (capscl.loss) and the settings of runs. */
#ifndef CAPS_LOSS_H
#define CAPS_LOSS_H

#include <jansson.h>

#include <capscl/model.h>

bool caps_loss_equal(const caps_loss *a, const caps_loss *b);

/* A new object with the five numbers and, unless it is the network's own, the loss of the classes; NULL: out of memory. */
json_t *caps_loss_to_json(const caps_loss *loss);
/* Text that gives the same loss back, with as few digits as that takes. Freed with free(); NULL:
 * out of memory. */
char *caps_loss_format(const caps_loss *loss);
/* Exactly those numbers, each finite and not negative. `where` names the text in messages.
 * CAPS_ERR_FORMAT. */
caps_status caps_loss_parse(caps_loss *loss, const char *json, const char *where, caps_error *err);

#endif

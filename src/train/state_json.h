/* state_json.h: the texts in a state's metadata. */
#ifndef CAPS_STATE_JSON_H
#define CAPS_STATE_JSON_H

#include "state.h"

/* capscl.state: where the run stands; freed with free(). */
caps_status caps_state_format(
    char **text, const caps_state *s, const caps_train_config *config, caps_error *err);
/* The reverse, exact to the last bit. CAPS_ERR_FORMAT also where the numbers contradict each other.
 */
caps_status caps_state_parse(caps_state *s, const char *text, const char *path,
    const caps_train_config *config, caps_error *err);

/* capscl.config: CAPS_ERR_FORMAT where it holds no settings, CAPS_ERR_MISMATCH where those that the
 * result depends on are not the ones of `config`. */
caps_status caps_state_check_settings(
    const char *text, const char *path, const caps_train_config *config, caps_error *err);

#endif

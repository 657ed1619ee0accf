/* eval_report.h: what `eval` prints. */
#ifndef CAPS_EVAL_REPORT_H
#define CAPS_EVAL_REPORT_H

#include "cli.h"
#include "words.h"

/* "0.41 to 0.70 %": the 95 % interval of a share, in text of at least 48 bytes, which is returned.
 */
char *caps_interval_text(char *text, size_t errors, size_t n);
/* Adds <prefix>error_low_percent and _high_percent; n = 0: null. */
void caps_interval_json(json_t **to, const char *prefix, size_t errors, size_t n);

/* [classes] of {n, errors, error_percent}; null where a class has no images. */
json_t *caps_class_errors_json(const uint64_t *images, const uint64_t *errors, size_t classes);

/* One model's document, without the device. */
json_t *caps_eval_json(const caps_evaluation *result);
/* The names of the classes, or their numbers as texts. */
json_t *caps_eval_classes_json(const caps_model_spec *spec);
/* n, errors, their share with its interval, confusion. */
json_t *caps_eval_short_json(const caps_evaluation *result);
/* split: "test". Names of classes are the spec's. class_loss: caps_loss_name. */
void caps_eval_print(const char *split, const caps_model_spec *spec, const char *class_loss,
    const caps_evaluation *result);
/* The confusion matrix alone. */
void caps_confusion_print(const caps_model_spec *spec, const caps_evaluation *result);

#endif

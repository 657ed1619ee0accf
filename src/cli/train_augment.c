/* train_augment.c: flags of augmentations and viewpoints; see train_settings.h. */
#include "fail.h"
#include "train_settings.h"

caps_status caps_train_check_augment(
    const caps_args *args, const caps_train_config *config, caps_error *err)
{
    static const struct {
        const char *flag;
        caps_augment augment;
    } rows[] = {{"--affine-rotate", CAPS_AUGMENT_AFFINE}, {"--affine-squeeze", CAPS_AUGMENT_AFFINE},
        {"--affine-erase", CAPS_AUGMENT_AFFINE}, {"--no-affine-shift", CAPS_AUGMENT_AFFINE},
        {"--crop-brightness", CAPS_AUGMENT_CROP}, {"--crop-contrast", CAPS_AUGMENT_CROP}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (caps_args_given(args, rows[i].flag) && config->augment != rows[i].augment)
            return caps_cli_usage(err, "train: %s with the augmentation %s, need --augment %s",
                rows[i].flag, caps_augment_name((int)config->augment),
                caps_augment_name((int)rows[i].augment));
    return CAPS_OK;
}

void caps_train_change_augment(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config)
{
    caps_augment_options *to = &config->augment_options;
    const struct {
        const char *flag;
        double from, *to;
    } reals[] = {{"--affine-rotate", o->affine_rotate, &to->rotate},
        {"--affine-squeeze", o->affine_squeeze, &to->squeeze},
        {"--crop-brightness", o->crop_brightness, &to->brightness},
        {"--crop-contrast", o->crop_contrast, &to->contrast}};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++)
        if (caps_args_given(args, reals[i].flag))
            *reals[i].to = reals[i].from;
    if (caps_args_given(args, "--affine-erase"))
        to->erase = (size_t)o->affine_erase;
    if (caps_args_given(args, "--no-affine-shift"))
        to->shift = false;
    if (caps_args_given(args, "--flip"))
        to->flip = true;
    if (caps_args_given(args, "--viewpoints"))
        config->viewpoints = (caps_viewpoints)o->pictures.viewpoints;
}

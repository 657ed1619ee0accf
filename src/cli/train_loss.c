/* train_loss.c: what the flags of `train` say of the loss; see train_settings.h. */
#include <stdio.h>
#include <string.h>

#include "fail.h"
#include "train_settings.h"

const char *const caps_train_losses[] = {"margin", "spread", NULL};

/* --loss, and with it what belongs to the loss alone. */
caps_status caps_train_take_loss(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(config->spec);
    const bool margin = o->loss == 0;
    if (!caps_args_given(args, "--loss"))
        return CAPS_OK;
    if (!info->matrix && strcmp(info->class_loss, margin ? "margin loss" : "spread loss") != 0)
        return caps_cli_usage(err, "train: --loss %s with %s, whose loss is the %s",
            caps_train_losses[o->loss], config->arch, info->class_loss);
    if (info->matrix)
        config->loss.class_loss = margin ? CAPS_CLASS_LOSS_MARGIN : CAPS_CLASS_LOSS_SPREAD;
    if (margin)
        config->spread_margin_first = 0;
    return CAPS_OK;
}

/* Flags of a loss that the network does not have. */
caps_status caps_train_check_loss_flags(
    const caps_args *args, const caps_train_config *config, caps_error *err)
{
    static const struct {
        const char *flag;
        bool reconstruction;
    } rows[] = {{"--margin-positive", false}, {"--margin-negative", false},
        {"--margin-down", false}, {"--class-mean", false}, {"--no-class-mean", false},
        {"--spread-margin", false}, {"--reconstruction-weight", true},
        {"--reconstruction-mean", true}};
    const caps_model_info *info = caps_model_spec_info(config->spec);
    const char *loss = caps_loss_name(config->spec, &config->loss);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *need =
            strcmp(rows[i].flag, "--spread-margin") == 0 ? "spread loss" : "margin loss";
        if (!caps_args_given(args, rows[i].flag))
            continue;
        if (info->dim == 0)
            return caps_cli_usage(
                err, "train: %s with %s, which has no capsules", rows[i].flag, config->arch);
        if (!rows[i].reconstruction && strcmp(loss, need) != 0)
            return caps_cli_usage(
                err, "train: %s with %s, whose loss is the %s", rows[i].flag, config->arch, loss);
        if (rows[i].reconstruction && !info->has_decoder)
            return caps_cli_usage(
                err, "train: %s without a decoder, nothing is reconstructed", rows[i].flag);
    }
    if (caps_args_given(args, "--reconstruction-weight") &&
        caps_args_given(args, "--reconstruction-mean"))
        return caps_cli_usage(
            err, "train: --reconstruction-weight and --reconstruction-mean exclude each other");
    return CAPS_OK;
}

/* "M", or "A:B" with A no greater than B. */
caps_status caps_train_take_spread_margin(
    const char *text, caps_train_config *config, caps_error *err)
{
    char first[32];
    const size_t n = text ? strcspn(text, ":") : 0;
    double from = 0, to = 0;
    caps_status status = CAPS_OK;
    if (!text)
        return CAPS_OK;
    snprintf(first, sizeof first, "%.*s", (int)(n < sizeof first ? n : sizeof first - 1), text);
    CAPS_TRY(caps_parse_real(&from, first, 0, 1, "--spread-margin", err));
    to = from;
    if (text[n])
        CAPS_TRY(caps_parse_real(&to, text + n + 1, 0, 1, "--spread-margin", err));
    if (from > to)
        CAPS_TRY(caps_cli_usage(err,
            "--spread-margin: it falls from %g to %g, need A:B with A no greater than B", from,
            to));
    config->spread_margin_first = from;
    config->loss.spread_margin = (float)to;
done:
    return status;
}

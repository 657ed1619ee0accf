/* cmd_export.c: a checkpoint in the format of other programs. */
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "places.h"
#include "text.h"

typedef struct options {
    caps_common common;
    const char *model, *onnx;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_TEXT("--model", options, model, "FILE",
        "the checkpoint, or a run directory for the one in it (required)"),
    CAPS_ROW_ARCH(options),
    CAPS_ROW_TEXT("--onnx", options, onnx, "OUT.onnx", "the ONNX file to write (required)"),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    {0},
};

static caps_status export_check_usage(const options *o, caps_error *err)
{
    if (!o->model)
        return caps_cli_usage(err, "export: --model is missing, need a checkpoint (--model FILE)");
    if (!o->onnx)
        return caps_cli_usage(
            err, "export: --onnx is missing, need a file to write (--onnx OUT.onnx)");
    return CAPS_OK;
}

static caps_status export_print(const options *o, const caps_model_spec *spec, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    struct stat file;
    if (stat(o->onnx, &file) != 0)
        return caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot read", o->onnx);
    json_t *outputs = json_array();
    caps_json_append(&outputs, json_string("lengths"));
    if (info->dim > 0)
        caps_json_append(&outputs, json_string("capsules"));
    if (info->has_decoder)
        caps_json_append(&outputs, json_string("reconstruction"));
    json_t *result = json_object();
    caps_json_set(&result, "onnx", caps_json_text(o->onnx));
    caps_json_set(&result, "bytes", json_integer((json_int_t)file.st_size));
    caps_json_set(&result, "opset", json_integer(CAPS_ONNX_OPSET));
    caps_json_set(&result, "inputs", json_pack("[s]", "images"));
    caps_json_set(&result, "outputs", outputs);
    return caps_cli_print_json(result, err);
}

static int export_run(const caps_command *command, int argc, char **argv)
{
    options o = {0};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_checkpoint checkpoint = {0};

    CAPS_TRY(export_check_usage(&o, &err));
    CAPS_TRY(caps_place_model(&args, &o.model, &err));
    CAPS_TRY(caps_cli_check_apart("--onnx", o.onnx, o.model, &err));
    CAPS_TRY(caps_file_check_output(o.onnx, &err));
    CAPS_TRY(caps_checkpoint_load_as(&checkpoint, o.model, o.common.arch, &err));
    caps_text_each_line(checkpoint.notes, caps_cli_on_note, NULL);
    CAPS_TRY(caps_onnx_write(o.onnx, checkpoint.spec, checkpoint.parameters, &err));
    caps_cli_log("%s: ONNX, operator set %d", o.onnx, CAPS_ONNX_OPSET);
    if (o.common.json)
        CAPS_TRY(export_print(&o, checkpoint.spec, &err));
done:
    caps_checkpoint_release(&checkpoint);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_export = {
    .name = "export",
    .run = export_run,
    .summary = "write a checkpoint as an ONNX file, for other programs",
    .usage = "capscl export --model FILE --onnx OUT.onnx [flags]",
    .about =
        "Writes the network with its parameters for inference (docs/onnx.md). The input is\n"
        "'images' [N, C, H, W], 0 to 1, N free; the outputs are 'lengths', 'capsules' where the\n"
        "network ends in capsules, and 'reconstruction' where it has a decoder. No device is\n"
        "needed.\n",
    .flags = flags,
    .notes =
        "exit codes: 0 done, 1 OUT.onnx cannot be written, 2 wrong usage, 3 a bad model, or one\n"
        "that ONNX cannot hold (2 GiB).\n"
        "\n"
        "example:\n"
        "  capscl export --model run1 --onnx run1.onnx\n",
};

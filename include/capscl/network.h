/* capscl/network.h: what a network is: its spec, its loss, its parameters. */
#ifndef CAPSCL_NETWORK_H
#define CAPSCL_NETWORK_H

#include <capscl/ops.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- spec ----------------------------------------------------------------------------------- */

#define CAPS_MAX_CLASSES 256
#define CAPS_MAX_LABELS  2
#define CAPS_CLASS_NAME  256 /* bytes of a class's name, its final 0 included: NAME_MAX + 1 */

/* A network as a list of layers, from JSON and to JSON (docs/networks.md). It is always one that
 * can be built: what cannot is refused where it is read or changed. On the heap; one thread at a
 * time. */
typedef struct caps_model_spec caps_model_spec;

/* What follows from a spec. It belongs to the spec and changes with it. Members may be added at the
 * end. */
typedef struct caps_model_info {
    size_t input[3];  /* C, H, W */
    size_t source[3]; /* C, H, W of the data's images where that is another size: they are centred
                         on black, or cut around their centre; all 0: the input's size */
    size_t pixels;    /* C*H*W of the input */
    size_t classes;   /* J */
    size_t labels; /* L, of an image: 1, or 2 (MultiMNIST: the two longest capsules are the answer,
                         and the decoder runs once for each) */
    bool has_decoder;
    bool has_class_names;
    size_t dim;        /* D of the class capsules; 0: the network ends in no capsules */
    size_t inputs;     /* I: the capsules that the class capsules read; 0 likewise */
    size_t input_dim;  /* K of these */
    size_t grid[3];    /* I = types * height * width where these capsules have places, else all 0 */
    size_t iterations; /* r of the class capsules' routing, 1 of attention and self-routing;
                          0: no routing */
    bool leaky;        /* of the same: see caps_routing */
    const char *routing_grad; /* "full", "last"; "none" without dynamic or EM routing */
    const char *class_loss;   /* "margin loss", "cross entropy", "spread loss": the network's own,
                                 see caps_loss_name */
    const char *score;        /* what a class has: "length", "probability", "activation" */
    const char *scores;       /* "lengths", "probabilities", "activations" */
    uint64_t parameters;
    uint64_t decoder_parameters; /* of them in the decoder */
    uint64_t statistics; /* numbers that training keeps up to date but does not train: running means
                            and variances of batch normalisation; no parameters */
    bool matrix;  /* the class capsules are matrix capsules: `dim` is 16, `iterations` are of EM */
    bool max_min; /* their couplings are by max-min normalisation: see caps_normalization */
} caps_model_info;

/* Parses and checks JSON text; `where` names it in messages ("net.json"). CAPS_ERR_SPEC names the
 * layer and what is wrong: "primary: kernel 9 is larger than its input 5x7". */
CAPS_API caps_status caps_model_spec_parse(
    caps_model_spec **out, const char *json, const char *where, caps_error *err);
/* `name_or_file`: a built-in name (caps_model_spec_builtin), else a file. CAPS_ERR_NOT_FOUND,
 * _SPEC. */
CAPS_API caps_status caps_model_spec_load(
    caps_model_spec **out, const char *name_or_file, caps_error *err);
CAPS_API caps_status caps_model_spec_copy(
    caps_model_spec **out, const caps_model_spec *spec, caps_error *err);
CAPS_API void caps_model_spec_free(caps_model_spec *spec); /* NULL is allowed */

/* Compact JSON; fields that have their default are left out, but for those that were never
 * optional. A spec that was written in the shorthand of networks with `conv1`, `primary`,
 * `class_caps` (or "kind": "cnn") stays so. Freed with free(). NULL: out of memory. */
CAPS_API char *caps_model_spec_format(const caps_model_spec *spec);
CAPS_API const caps_model_info *caps_model_spec_info(const caps_model_spec *spec);
/* The same network, however it is written; how its classes are called does not matter. */
CAPS_API bool caps_model_spec_equal(const caps_model_spec *a, const caps_model_spec *b);
/* The built-in specs: name i, or NULL past the last. */
CAPS_API const char *caps_model_spec_builtin(size_t i);

/* Layer i of the network in words, the decoder's last: *name is "conv1", *text "256 channels,
 * kernel 9, stride 1: 20x20". False: there is no such layer. The texts are the spec's. */
CAPS_API bool caps_model_spec_describe(
    const caps_model_spec *spec, size_t i, const char **name, const char **text);

/* A layer of a network. Members may be added at the end. */
typedef struct caps_layer_info {
    const char *name, *kind, *text; /* "conv1", "conv", as caps_model_spec_describe has it; the kind
                                       of the last one of a network with capsules is "decoder" */
    int ndim;                       /* of its output, an image's; 0: it has none */
    size_t shape[CAPS_MAX_DIMS];    /* [C, H, W], [n], of capsules [I, K] */
    size_t grid[3]; /* I = types * height * width where capsules have places, else 0 */
    const char
        *routing; /* "dynamic", "max_min", "attention", "self", "em"; NULL: it does not route */
    size_t iterations; /* of its routing, 1 where it has none */
    /* What a place (y, x) of the output sees of the image: `field` pixels each way, from pixel
     * y * step + begin on (x alike), of which some may lie outside; field 0: the whole image. */
    size_t field, step;
    ptrdiff_t begin;
} caps_layer_info;

/* Layer i, in the order of caps_model_spec_describe. False: there is no such layer. The texts are
 * the spec's. */
CAPS_API bool caps_model_spec_layer(const caps_model_spec *spec, size_t i, caps_layer_info *layer);

/* Changes a field in every layer of a kind: ("caps", "routing.iterations", "2"). json: the value as
 * JSON text. Layers whose routing (or other object) has no such field stay as they are; *changed
 * (NULL allowed) is how many have it. On failure the spec is as it was. CAPS_ERR_SPEC. */
CAPS_API caps_status caps_model_spec_set(caps_model_spec *spec, const char *kind, const char *field,
    const char *json, size_t *changed, caps_error *err);
/* The field of the last layer of the kind that has it, as JSON text, freed with free(); NULL: no
 * layer has it (or out of memory). Its default where it is not written. */
CAPS_API char *caps_model_spec_get(
    const caps_model_spec *spec, const char *kind, const char *field);
/* Another number of classes (the last layer gets as many outputs); their names are forgotten.
 * Another input size, with the size of the data's images (NULL: the same). CAPS_ERR_SPEC: the spec
 * is as it was. */
CAPS_API caps_status caps_model_spec_set_classes(
    caps_model_spec *spec, size_t classes, caps_error *err);
CAPS_API caps_status caps_model_spec_set_input(
    caps_model_spec *spec, const size_t input[3], const size_t source[3], caps_error *err);
CAPS_API caps_status caps_model_spec_remove_decoder(caps_model_spec *spec, caps_error *err);

/* Names of the classes are no part of the spec's JSON, but kept beside it in checkpoints. */
/* The name of class j: its own, else its number, in `text` of at least CAPS_CLASS_NAME bytes, which
 * is returned. */
CAPS_API const char *caps_class_name(const caps_model_spec *spec, size_t j, char *text);
/* Takes names where there are as many as classes; otherwise, and for NULL, there are none. A name
 * that is too long is refused, and then there are none: CAPS_ERR_FORMAT. */
CAPS_API caps_status caps_class_names_set(
    caps_model_spec *spec, char *const *names, size_t count, caps_error *err);
/* A list of them in JSON, freed with free(); NULL: out of memory. And back: CAPS_ERR_FORMAT. */
CAPS_API char *caps_class_names_format(const caps_model_spec *spec);
CAPS_API caps_status caps_class_names_parse(
    caps_model_spec *spec, const char *json, const char *where, caps_error *err);

/* ---- loss ----------------------------------------------------------------------------------- */

/* Which loss the classes have. */
typedef enum caps_class_loss {
    CAPS_CLASS_LOSS_OWN, /* the network's: margin loss, cross entropy; of matrix capsules spread */
    CAPS_CLASS_LOSS_MARGIN, /* of lengths, or of the activations of matrix capsules */
    CAPS_CLASS_LOSS_SPREAD, /* of the activations of matrix capsules */
} caps_class_loss;

/* loss = margin_scale * mean margin loss + reconstruction_weight * mean squared error, the means
 * over the images of a batch, the error summed over an image's pixels (and over its labels where
 * there are several). Where a network
 * classifies by softmax the cross entropy stands in the margin loss's place, where it classifies by
 * the activations of matrix capsules the spread loss. */
typedef struct caps_loss {
    caps_margin margin;
    double margin_scale;
    double reconstruction_weight;
    caps_class_loss class_loss;
    float spread_margin; /* m of the spread loss */
} caps_loss;

/* Of the squared error in the loss (the paper, section 4.1). */
#define CAPS_RECONSTRUCTION_WEIGHT 0.0005
#define CAPS_LOSS_DEFAULT                                                                          \
    ((caps_loss){CAPS_MARGIN_DEFAULT, 1, CAPS_RECONSTRUCTION_WEIGHT, CAPS_CLASS_LOSS_OWN, 0.9f})

/* What messages and reports call the loss of the classes: "margin loss", "spread loss", "cross
 * entropy". */
CAPS_API const char *caps_loss_name(const caps_model_spec *spec, const caps_loss *loss);
/* The network has such a loss; CAPS_ERR_ARGUMENT. */
CAPS_API caps_status caps_loss_check(
    const caps_model_spec *spec, const caps_loss *loss, caps_error *err);

/* ---- parameters ----------------------------------------------------------------------------- */

/* Parameters in the contract's order and names; value and gradient are views of two flat buffers.
 * Running statistics are among them, without a gradient; in the flat buffer they lie behind all
 * that is trained. */
typedef struct caps_parameter {
    const char *name; /* "conv1.weight" */
    int ndim;
    size_t shape[CAPS_MAX_DIMS];
    size_t count, first; /* elements; position in the flat buffer */
    caps_tensor value;
    caps_tensor gradient; /* buffer NULL unless training, and of a statistic */
} caps_parameter;

#ifdef __cplusplus
}
#endif
#endif

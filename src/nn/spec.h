/* spec.h: what a model spec holds; seen by src/nn only.
 *
 * A spec keeps its layers as normalised JSON objects: kind and name first, then the fields in their
 * table's order, those with their default left out. Whatever is read or changed goes through the
 * network that it describes (caps_network_init), so a spec that exists can be built. */
#ifndef CAPS_SPEC_H
#define CAPS_SPEC_H

#include "fields.h"
#include "layer.h"

enum {
    CAPS_MOST_LISTED = 48, /* layers of a list */
    CAPS_MOST_HIDDEN = 8,  /* of a decoder, and of the shorthand's lists */
};

/* How it is written. */
typedef enum caps_spec_form {
    CAPS_SPEC_LIST,
    CAPS_SPEC_CAPSNET, /* conv1, primary, class_caps, decoder */
    CAPS_SPEC_CNN,     /* "kind": "cnn", conv, hidden, dropout */
} caps_spec_form;

typedef struct caps_spec_line {
    char name[CAPS_LAYER_NAME], text[192];
    caps_layer_info info; /* but for its name and text */
} caps_spec_line;

struct caps_model_spec {
    caps_spec_form form;
    size_t input[3], source[3]; /* source all 0: none */
    size_t classes, labels;
    json_t *layers; /* [{"kind": ..., "name": ..., ...}, ...] */
    bool has_decoder;
    size_t hidden[CAPS_MOST_HIDDEN], hidden_count; /* of the decoder */
    char (*class_names)[CAPS_CLASS_NAME];          /* [classes], or NULL */
    caps_model_info info;
    caps_spec_line *lines; /* [line_count] */
    size_t line_count;
};

/* network.c: builds the network; where it fails the message begins with `where` (NULL: with the
 * layer). Where `layers` is not NULL it gets the layers' normalised objects. */
caps_status caps_network_build(caps_network *network, const caps_model_spec *spec,
    const char *where, json_t *layers, caps_error *err);

/* spec.c: normalises the layers of a spec whose other members are set, and fills what follows from
 * them. */
caps_status caps_spec_refresh(caps_model_spec *spec, const char *where, caps_error *err);
/* The decoder's sizes, or none. */
caps_status caps_spec_read_decoder(caps_model_spec *spec, const caps_section *top, caps_error *err);
json_t *caps_spec_sizes_list(const size_t *sizes, size_t count);
json_t *caps_spec_decoder_json(const caps_model_spec *spec);

/* spec_layers.c: what is said of a layer: `layer` with its normalised object `json`, behind the one
 * before it (NULL: the first). */
void caps_spec_read_layer(caps_layer_info *info, const caps_layer *layer, const json_t *json,
    const caps_layer_info *before);

/* spec_shorthand.c: layers from the shorthand in `top`, whose kind is in spec->form, and back: into
 * an object that has the members before. */
caps_status caps_shorthand_read(caps_model_spec *spec, const caps_section *top, caps_error *err);
void caps_shorthand_write(json_t **to, const caps_model_spec *spec);
/* Does the shorthand say all of this network? */
caps_status caps_shorthand_fits(bool *fits, const caps_model_spec *spec, caps_error *err);

/* caps_model_spec_get, which tells a field that no layer has (*text NULL) from CAPS_ERR_MEMORY. */
caps_status caps_spec_field_read(
    char **text, const caps_model_spec *spec, const char *kind, const char *field, caps_error *err);

#endif

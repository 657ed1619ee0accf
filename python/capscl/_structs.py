"""The structs of libcapscl's public headers, as ctypes has them.

The class of a struct has its C name, and its fields are named and ordered as in include/capscl/.
tests/test_layout.py compiles a program that compares every offset and size with the headers.
"""

from __future__ import annotations

import ctypes as c
from typing import Any

size_t = c.c_size_t
floats = c.POINTER(c.c_float)
int32s = c.POINTER(c.c_int32)
uint64s = c.POINTER(c.c_uint64)

MAX_DIMS = 6
F32, I32 = 0, 1
PREDICT_CAPSULES, PREDICT_RECONSTRUCTION, PREDICT_COUPLINGS, PREDICT_INPUT_LENGTHS = 1, 2, 4, 8
OPTIMIZERS = ("adam", "sgd")
AUGMENTATIONS = ("none", "shift2", "place40", "crop24", "affine", "crop")
ROUTING_GRADS = ("full", "last")
SQUASHES = ("paper", "exp")
NORMALIZATIONS = ("softmax", "max_min")
SPLIT_TRAIN, SPLIT_TEST, SPLIT_VALIDATION = 0, 1, 2
TRAIN_STARTED, TRAIN_PROGRESS, TRAIN_EVALUATING, TRAIN_EPOCH = 1, 2, 3, 4
TRAIN_SAVED, TRAIN_WARNING, TRAIN_NOTE, TRAIN_LOG = 5, 6, 7, 8
HOST_ALIGNMENT = 64


class Struct(c.Structure):
    """A struct; one whose first member is `size` begins with its own."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        if self._fields_[0][0] == "size":
            self.size = c.sizeof(self)


class caps_error(Struct):
    _fields_ = [
        ("status", c.c_int),
        ("cl_code", c.c_int),
        ("message", c.c_char * 768),
        ("build_log", c.c_char * 4096),
    ]


class caps_device_info(Struct):
    _fields_ = [
        ("platform_handle", c.c_void_p),
        ("handle", c.c_void_p),
        ("platform_index", c.c_int),
        ("device_index", c.c_int),
        ("id", c.c_char * 24),
        ("platform", c.c_char * 160),
        ("vendor", c.c_char * 160),
        ("name", c.c_char * 160),
        ("version", c.c_char * 160),
        ("driver", c.c_char * 160),
        ("type", c.c_int),
        ("compute_units", c.c_uint32),
        ("global_mem_bytes", c.c_uint64),
        ("max_alloc_bytes", c.c_uint64),
        ("local_mem_bytes", c.c_uint64),
        ("available", c.c_bool),
        ("unusable", c.c_char * 200),
        ("shares_host_memory", c.c_bool),
        ("clock_mhz", c.c_uint32),
        ("peak_gflops", c.c_double),
    ]


class caps_tensor(Struct):
    _fields_ = [
        ("buffer", c.c_void_p),
        ("offset", size_t),
        ("ndim", c.c_int),
        ("shape", size_t * MAX_DIMS),
        ("dtype", c.c_int),
        ("owner", c.c_void_p),
    ]


tensors = c.POINTER(caps_tensor)


class caps_routing(Struct):
    _fields_ = [
        ("iterations", size_t),
        ("grad", c.c_int),
        ("leaky", c.c_bool),
        ("squash", c.c_int),
        ("normalization", c.c_int),
    ]


class caps_routing_state(Struct):
    _fields_ = [
        ("couplings", caps_tensor),
        ("s", caps_tensor),
        ("v", caps_tensor),
        ("scratch", caps_tensor),
    ]


class caps_em(Struct):
    _fields_ = [
        ("b", size_t),
        ("types", size_t),
        ("height", size_t),
        ("width", size_t),
        ("parents", size_t),
        ("kernel", size_t),
        ("stride", size_t),
        ("coordinates", c.c_bool),
        ("iterations", size_t),
        ("grad", c.c_int),
        ("lambda", c.c_float),
        ("cost_scale", c.c_float),
        ("variance_floor", c.c_float),
    ]


class caps_em_workspace(Struct):
    _fields_ = [("state", size_t), ("workspace", size_t)]


class caps_model_info(Struct):
    _fields_ = [
        ("input", size_t * 3),
        ("source", size_t * 3),
        ("pixels", size_t),
        ("classes", size_t),
        ("labels", size_t),
        ("has_decoder", c.c_bool),
        ("has_class_names", c.c_bool),
        ("dim", size_t),
        ("inputs", size_t),
        ("input_dim", size_t),
        ("grid", size_t * 3),
        ("iterations", size_t),
        ("leaky", c.c_bool),
        ("routing_grad", c.c_char_p),
        ("class_loss", c.c_char_p),
        ("score", c.c_char_p),
        ("scores", c.c_char_p),
        ("parameters", c.c_uint64),
        ("decoder_parameters", c.c_uint64),
        ("statistics", c.c_uint64),
        ("matrix", c.c_bool),
        ("max_min", c.c_bool),
    ]


class caps_margin(Struct):
    _fields_ = [("positive", c.c_float), ("negative", c.c_float), ("down", c.c_float)]


class caps_loss(Struct):
    _fields_ = [
        ("margin", caps_margin),
        ("margin_scale", c.c_double),
        ("reconstruction_weight", c.c_double),
        ("class_loss", c.c_int),
        ("spread_margin", c.c_float),
    ]


class caps_parameter(Struct):
    _fields_ = [
        ("name", c.c_char_p),
        ("ndim", c.c_int),
        ("shape", size_t * MAX_DIMS),
        ("count", size_t),
        ("first", size_t),
        ("value", caps_tensor),
        ("gradient", caps_tensor),
    ]


class caps_checkpoint(Struct):
    _fields_ = [
        ("spec", c.c_void_p),
        ("has_spec", c.c_bool),
        ("loss", caps_loss),
        ("parameters", floats),
        ("count", size_t),
        ("fresh", c.POINTER(c.c_bool)),
        ("notes", c.c_char_p),
    ]


class caps_model_options(Struct):
    _fields_ = [
        ("size", size_t),
        ("max_batch", size_t),
        ("training", c.c_bool),
        ("adam", c.c_bool),
        ("reconstruct", c.c_bool),
        ("input_gradient", c.c_bool),
        ("accumulate", c.c_bool),
        ("micro_batch", size_t),
        ("memory_limit_bytes", c.c_uint64),
        ("conv_workspace_bytes", size_t),
        ("conv", c.c_char_p),
        ("routing_algorithm", c.c_int),
        ("loss", c.POINTER(caps_loss)),
        ("lr_multipliers", c.c_char_p),
        ("class_weights", floats),
        ("weight_decay", c.c_double),
        ("average", c.c_bool),
    ]


NOTE = c.CFUNCTYPE(None, c.c_void_p, c.c_char_p)


class caps_open_options(Struct):
    _fields_ = [
        ("size", size_t),
        ("arch", c.c_char_p),
        ("fitting", c.c_bool),
        ("note", NOTE),
        ("user", c.c_void_p),
    ]


STOP = c.CFUNCTYPE(c.c_bool, c.c_void_p, size_t, size_t)


class caps_inspect_progress(Struct):
    _fields_ = [("stop", STOP), ("user", c.c_void_p)]


class caps_predictions(Struct):
    _fields_ = [
        ("n", size_t),
        ("labels_per_image", size_t),
        ("classes", size_t),
        ("dim", size_t),
        ("inputs", size_t),
        ("iterations", size_t),
        ("pixels", size_t),
        ("labels", int32s),
        ("lengths", floats),
        ("capsules", floats),
        ("reconstruction", floats),
        ("couplings", floats),
        ("input_lengths", floats),
        ("iteration_lengths", floats),
    ]


class caps_arrays(Struct):
    _fields_ = [
        ("name", c.c_char_p),
        ("split", c.c_int),
        ("n", size_t),
        ("channels", size_t),
        ("height", size_t),
        ("width", size_t),
        ("images", c.c_void_p),
        ("labels", c.c_void_p),
    ]


class caps_augment_options(Struct):
    _fields_ = [
        ("rotate", c.c_double),
        ("squeeze", c.c_double),
        ("erase", size_t),
        ("shift", c.c_bool),
        ("brightness", c.c_double),
        ("contrast", c.c_double),
        ("flip", c.c_bool),
    ]


class caps_dataset(Struct):
    _fields_ = [
        ("path", c.c_char_p),
        ("split", c.c_int),
        ("n", size_t),
        ("channels", size_t),
        ("height", size_t),
        ("width", size_t),
        ("classes", size_t),
        ("labels_per_image", size_t),
        ("class_names", c.c_void_p),
        ("images", c.c_void_p),
        ("labels", c.c_void_p),
        ("pairs", c.c_void_p),
        ("view", size_t * 2),
        ("files", c.c_void_p),
        ("standardised", c.c_bool),
        ("offset", c.c_ssize_t * 2),
        ("augment", caps_augment_options),
    ]


READ_PROGRESS = c.CFUNCTYPE(None, c.c_void_p, size_t, size_t)


class caps_dataset_options(Struct):
    _fields_ = [
        ("size", size_t),
        ("split", c.c_int),
        ("limit", size_t),
        ("channels", size_t),
        ("height", size_t),
        ("width", size_t),
        ("progress", READ_PROGRESS),
        ("user", c.c_void_p),
        ("note", NOTE),
        ("background", c.c_char_p),
        ("invert", c.c_bool),
        ("stretch", c.c_bool),
        ("ground", c.c_int),
        ("viewpoints", c.c_int),
    ]


class caps_train_config(Struct):
    _fields_ = [
        ("size", size_t),
        ("spec", c.c_void_p),
        ("arch", c.c_char * 256),
        ("data", c.c_char * 1024),
        ("profile", c.c_char * 16),
        ("init", c.c_char * 1024),
        ("epochs", c.c_uint64),
        ("max_steps", c.c_uint64),
        ("batch", size_t),
        ("conv", c.c_char * 1024),
        ("routing", c.c_char * 16),
        ("memory_limit_bytes", c.c_uint64),
        ("micro_batch", size_t),
        ("optimizer", c.c_int),
        ("lr", c.c_double),
        ("lr_decay", c.c_double),
        ("lr_decay_steps", c.c_uint64),
        ("lr_staircase", c.c_bool),
        ("lr_linear_epochs", c.c_uint64),
        ("lr_min", c.c_double),
        ("lr_multipliers", c.c_char * 1024),
        ("loss", caps_loss),
        ("initialiser", c.c_int),
        ("seed", c.c_uint64),
        ("augment", c.c_int),
        ("shuffle", c.c_bool),
        ("limit", size_t),
        ("validation", size_t),
        ("eval_every", c.c_uint64),
        ("save_every", c.c_uint64),
        ("background", c.c_char * 8),
        ("invert", c.c_bool),
        ("stretch", c.c_bool),
        ("class_weights", c.c_char * 1024),
        ("devices", c.c_char * 2048),
        ("split", c.c_char * 1024),
        ("split_auto", c.c_bool),
        ("conv_request", c.c_char * 1024),
        ("ranks", c.c_uint64),
        ("reduce", c.c_int),
        ("lr_warmup_steps", c.c_uint64),
        ("spread_margin_first", c.c_double),
        ("weight_decay", c.c_double),
        ("ema", c.c_double),
        ("augment_options", caps_augment_options),
        ("viewpoints", c.c_int),
    ]


class caps_profile(Struct):
    _fields_ = [
        ("name", c.c_char_p),
        ("about", c.c_char_p),
        ("epochs", c.c_uint64),
        ("batch", size_t),
        ("lr", c.c_double),
        ("lr_decay", c.c_double),
        ("lr_decay_steps", c.c_uint64),
        ("lr_staircase", c.c_bool),
        ("lr_min", c.c_double),
        ("initialiser", c.c_int),
        ("class_mean", c.c_bool),
        ("reconstruction_weight", c.c_double),
        ("reconstruction_mean", c.c_double),
        ("class_bias", c.c_bool),
        ("primary_average", c.c_bool),
        ("routing_last", c.c_bool),
        ("affine", c.c_bool),
        ("weight_decay", c.c_double),
        ("spread_margin_first", c.c_double),
        ("spread_margin_last", c.c_double),
    ]


class caps_train_metrics(Struct):
    _fields_ = [
        ("epoch", c.c_uint64),
        ("step", c.c_uint64),
        ("loss", c.c_double),
        ("class_loss", c.c_double),
        ("reconstruction_sse", c.c_double),
        ("train_error_percent", c.c_double),
        ("test_error_percent", c.c_double),
        ("validation_error_percent", c.c_double),
        ("labels", size_t),
        ("test_label_error_percent", c.c_double),
        ("validation_label_error_percent", c.c_double),
        ("test_images", c.c_uint64),
        ("validation_images", c.c_uint64),
        ("lr", c.c_double),
        ("images_per_second", c.c_double),
        ("seconds", c.c_double),
        ("total_seconds", c.c_double),
        ("seconds_left", c.c_double),
        ("images_done", c.c_uint64),
        ("images_total", c.c_uint64),
        ("peak_device_bytes", c.c_uint64),
        ("resumed_from_step", c.c_uint64),
        ("test_balanced_error_percent", c.c_double),
        ("validation_balanced_error_percent", c.c_double),
        ("classes", size_t),
        ("classes_uneven", c.c_bool),
        ("class_images", uint64s),
        ("class_errors", uint64s),
        ("devices", c.c_void_p),
        ("device_count", size_t),
        ("averages", c.c_bool),
        ("ema_test_error_percent", c.c_double),
        ("ema_validation_error_percent", c.c_double),
    ]


EVENT = c.CFUNCTYPE(None, c.c_void_p, c.c_int, c.POINTER(caps_train_metrics), c.c_char_p)


class caps_train_control(Struct):
    _fields_ = [
        ("size", size_t),
        ("out", c.c_char_p),
        ("resume", c.c_bool),
        ("overwrite", c.c_bool),
        ("init", c.c_void_p),
        ("time_limit_seconds", c.c_double),
        ("stop", c.POINTER(c.c_int)),
        ("event", EVENT),
        ("user", c.c_void_p),
        ("others", c.c_void_p),
        ("others_count", size_t),
        ("devices", c.c_void_p),
        ("keep_going", c.c_bool),
        ("device_timeout_seconds", c.c_double),
        ("ranks", c.c_void_p),
        ("split", c.c_char_p),
        ("train", c.POINTER(caps_dataset)),
        ("test", c.POINTER(caps_dataset)),
    ]

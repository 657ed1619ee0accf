"""A network on a device."""

from __future__ import annotations

import ctypes as c
import weakref
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from . import _arrays, _figures
from . import _structs as s
from ._device import Device, Runtime
from ._error import Error
from ._library import call, lib, path_bytes
from ._spec import Spec, SpecLike
from ._work import Work

DEFAULT_BATCH = 100


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a model makes of N images; J classes, D values of a class capsule, C, H, W of an image.

    Attributes:
        labels: int32 [N], the predicted classes; [N, 2], the greater length first, of a network
            that sees two objects in an image.
        lengths: float32 [N, J], the classes' scores, 0 to 1: lengths of the class capsules,
            activations of matrix capsules, or probabilities.
        capsules: float32 [N, J, D], the class capsules; None for a network without.
        reconstruction: float32 [N, C, H, W] (of two labels [N, 2, C, H, W]), what the decoder makes
            of the capsule of each label, 0 to 1; None without a decoder.
    """

    labels: np.ndarray
    lengths: np.ndarray
    capsules: Optional[np.ndarray]
    reconstruction: Optional[np.ndarray]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        parts = [f"labels {_shape(self.labels)}", f"lengths {_shape(self.lengths)}"]
        if self.capsules is not None:
            parts.append(f"capsules {_shape(self.capsules)}")
        if self.reconstruction is not None:
            parts.append(f"reconstruction {_shape(self.reconstruction)}")
        return f"Prediction({', '.join(parts)})"


@dataclass(frozen=True, repr=False)
class Routing:
    """How N images were routed; I input capsules, J classes, r iterations.

    Attributes:
        couplings: float32 [N, r, I, J]: how much of input capsule i goes to class j, in every
            iteration; of matrix capsules the assignment.
        input_lengths: float32 [N, I]: lengths of the input capsules; of matrix capsules their
            activations.
        grid: (types, height, width) where the input capsules have places: capsule
            i = (type * height + y) * width + x. None where they have none.
    """

    couplings: np.ndarray
    input_lengths: np.ndarray
    grid: Optional[Tuple[int, int, int]]

    def __repr__(self) -> str:
        return (
            f"Routing(couplings {_shape(self.couplings)}, "
            f"input_lengths {_shape(self.input_lengths)}, grid {self.grid})"
        )


def _shape(array: np.ndarray) -> str:
    return "[" + ", ".join(map(str, array.shape)) + "]"


def _in_batches(several: bool, function: Callable[[Any], None]) -> None:
    """Calls a function of capscl/inspect.h, which is given its caps_inspect_progress.

    Where it goes by several batches Ctrl-C ends it between two of them.
    """
    if not several:
        function(None)
        return
    work = Work()
    stop = s.STOP(lambda user, done, total: work.stopped)
    progress = s.caps_inspect_progress(stop=stop)
    work.run(lambda: function(c.byref(progress)))


class Model:
    """A network with its parameters on an OpenCL device.

    Made by `load`, `train` or `from_torch`; `Model(spec)` is a new one with drawn weights. Several
    threads may use one model: their calls follow one another. Models of their own run side by side,
    as all calls release the interpreter's lock. A model does not survive `os.fork`.

    Args:
        spec: a built-in name ("mnist", "small", ...), the path of a JSON file, or a dict like one.
        device: as `capscl.load` has it.
        batch: the most images at once; fewer where the device's memory is small.
        seed: of the weights.

    Raises:
        capscl.Error: a spec that cannot be built, no such device, too little memory.
    """

    def __init__(
        self,
        spec: SpecLike,
        *,
        device: Optional[str] = None,
        batch: int = DEFAULT_BATCH,
        seed: int = 1,
    ) -> None:
        own = Spec.read(spec)
        self._create(own, Runtime(device), batch)
        call("caps_model_initialise", self._handle, 0, seed)

    # ---- making ----------------------------------------------------------------------------------

    def _create(self, spec: Spec, runtime: Runtime, batch: int) -> None:
        handle = c.c_void_p()
        options = s.caps_model_options(max_batch=_positive(batch, "batch"), reconstruct=True)
        call("caps_model_create_fitting", c.byref(handle), runtime.handle, spec.handle,
             c.byref(options))
        self._adopt(handle, runtime)

    @classmethod
    def _open(
        cls, path: Any, runtime: Runtime, batch: int, arch: Optional[str] = None
    ) -> "Model":
        handle = c.c_void_p()
        options = s.caps_model_options(max_batch=_positive(batch, "batch"), reconstruct=True)
        how = s.caps_open_options(fitting=True, arch=arch.encode() if arch else None)
        call("caps_model_open", c.byref(handle), runtime.handle, path_bytes(path),
             c.byref(options), c.byref(how))
        model = cls.__new__(cls)
        model._adopt(handle, runtime)
        return model

    @classmethod
    def _from_spec(cls, spec: Spec, runtime: Runtime, batch: int) -> "Model":
        model = cls.__new__(cls)
        model._create(spec, runtime, batch)
        return model

    def _adopt(self, handle: c.c_void_p, runtime: Runtime) -> None:
        self._handle = handle
        self._runtime = runtime
        self._free = weakref.finalize(self, _free_model, handle, runtime)
        self._spec = Spec(c.c_void_p(lib.caps_model_get_spec(handle)), owner=handle)
        #: What `train` recorded of each epoch, a list of dicts; [] of a model that was loaded.
        self.history: List[Dict[str, Any]] = []

    def __reduce__(self) -> Any:
        """For copy and pickle: the spec, the parameters and the device."""
        names = self.class_names
        state = (self._spec.json(), names, self.parameters(), self.device.id, self.batch)
        return (_rebuild, state)

    # ---- what it is ------------------------------------------------------------------------------

    @property
    def spec(self) -> Dict[str, Any]:
        """The network, as JSON has it (docs/networks.md): a dict of its own at each access."""
        return self._spec.dict()

    @property
    def class_names(self) -> Optional[List[str]]:
        """The classes' names, J of them; None where they have none."""
        return self._spec.class_names

    @property
    def input_shape(self) -> Tuple[int, int, int]:
        """C, H, W of an image."""
        return self._spec.input

    @property
    def classes(self) -> int:
        """J, how many classes."""
        return self._info.classes

    @property
    def device(self) -> Device:
        """Where it computes."""
        return self._runtime.device

    @property
    def batch(self) -> int:
        """Images at once. `predict` takes any number, and goes by so many."""
        return lib.caps_model_get_max_batch(self._handle)

    @property
    def _info(self) -> s.caps_model_info:
        return lib.caps_model_get_info(self._handle).contents

    def __repr__(self) -> str:
        info = self._info
        channels, height, width = info.input
        layers = " > ".join(name for name, _ in self._spec.layers())
        device = self.device
        return (
            f"<capscl.Model {channels}x{height}x{width} to {info.classes} classes: {layers}; "
            f"{info.parameters:,} parameters; on {device.id} {device.name}>"
        )

    def summary(self) -> str:
        """The layers with their sizes, a line each, and the number of parameters."""
        layers = self._spec.layers()
        most = max(len(name) for name, _ in layers)
        lines = [f"{name:<{most}}  {text}" for name, text in layers]
        return "\n".join(lines + [f"{self._info.parameters:,} parameters"])

    # ---- parameters ------------------------------------------------------------------------------

    def _parameter_list(self) -> List[Tuple[str, Tuple[int, ...], int, int]]:
        found = []
        for i in range(lib.caps_model_parameter_count(self._handle)):
            p = lib.caps_model_parameter(self._handle, i).contents
            found.append((p.name.decode(), tuple(p.shape[: p.ndim]), p.first, p.count))
        return found

    def _flat(self) -> np.ndarray:
        flat = np.empty(lib.caps_model_flat_count(self._handle), dtype=np.float32)
        with self._runtime.lock:
            call("caps_model_get_parameters", self._handle, flat.ctypes.data_as(s.floats))
        return flat

    def parameters(self) -> Dict[str, np.ndarray]:
        """A copy of the parameters: names to float32 arrays, as docs/checkpoint-format.md has them.

        Running statistics of batch normalisation are among them. A PyTorch state dict of the same
        names means the same network (see `to_torch`).
        """
        flat = self._flat()
        return {
            name: flat[first : first + count].reshape(shape)
            for name, shape, first, count in self._parameter_list()
        }

    def set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Changes parameters: names to arrays (or anything like one) of the right shapes.

        Those that are not named stay as they are. Nothing is changed where anything is refused.

        Raises:
            capscl.Error: a name that the network does not have, or another shape.
        """
        known = {entry[0]: entry for entry in self._parameter_list()}
        with self._runtime.lock:
            flat = self._flat()
            for name, value in parameters.items():
                if name not in known:
                    raise Error(
                        f"{name}: the network has no such parameter, need one of "
                        f"{', '.join(known)}", "CAPS_ERR_MISMATCH")
                _, shape, first, count = known[name]
                array = np.asarray(value)
                if array.shape != shape:
                    raise Error(
                        f"{name}: is {list(array.shape)}, need {list(shape)}", "CAPS_ERR_MISMATCH")
                if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
                    raise Error(f"{name}: is {array.dtype}, need numbers")
                flat[first : first + count] = array.reshape(-1)
            call("caps_model_set_parameters", self._handle, flat.ctypes.data_as(s.floats))

    def save(self, path: Any) -> None:
        """Writes a checkpoint (safetensors) that `load` and the program capscl read.

        It is written beside `path` and renamed: an old file is there or the new one, never a part.

        Raises:
            capscl.Error: it cannot be written.
        """
        with self._runtime.lock:
            call("caps_model_save", self._handle, path_bytes(path))

    def to_torch(self) -> Dict[str, Any]:
        """The parameters as a PyTorch state dict, float32 tensors on the CPU. Needs torch."""
        import torch

        return {name: torch.from_numpy(array.copy()) for name, array in self.parameters().items()}

    # ---- predictions -----------------------------------------------------------------------------

    def _predict(self, images: np.ndarray, what: int) -> Dict[str, Any]:
        info = self._info
        out = s.caps_predictions()
        n = len(images)

        def run(progress: Any) -> None:
            call("caps_predict", self._handle, images.ctypes.data_as(s.floats), n, what, progress,
                 c.byref(out))

        try:
            with self._runtime.lock:
                _in_batches(n > self.batch, run)
            labels, j, i = out.labels_per_image, out.classes, out.inputs
            return {
                "labels": _arrays.copy_out(out.labels, (n, labels)),
                "lengths": _arrays.copy_out(out.lengths, (n, j)),
                "capsules": _arrays.copy_out(out.capsules, (n, j, out.dim)),
                "reconstruction": _arrays.copy_out(
                    out.reconstruction, (n, labels) + tuple(info.input)),
                "couplings": _arrays.copy_out(out.couplings, (n, out.iterations, i, j)),
                "input_lengths": _arrays.copy_out(out.input_lengths, (n, i)),
            }
        finally:
            lib.caps_predictions_release(c.byref(out))

    def predict(self, images: Any) -> Prediction:
        """Runs images through the network.

        Args:
            images: [N, C, H, W], or [N, H, W] of a network with one channel: uint8 (divided by 255)
                or floats, 0 to 1. float32 arrays that are contiguous are not copied. Any N.

        Returns:
            Prediction: labels, lengths, capsules, reconstruction, as NumPy arrays of their own.

        Raises:
            capscl.Error: images of another size or type; the device failed.
        """
        array = _arrays.float_images(images, self.input_shape)
        info = self._info
        if len(array) == 0:
            return self._nothing()
        what = s.PREDICT_CAPSULES | (s.PREDICT_RECONSTRUCTION if info.has_decoder else 0)
        found = self._predict(array, what)
        labels, reconstruction = found["labels"], found["reconstruction"]
        if info.labels == 1:
            labels = labels[:, 0]
            reconstruction = None if reconstruction is None else reconstruction[:, 0]
        return Prediction(labels, found["lengths"], found["capsules"], reconstruction)

    def _nothing(self) -> Prediction:
        info = self._info
        several = () if info.labels == 1 else (info.labels,)
        chw = tuple(info.input)
        return Prediction(
            np.empty((0,) + several, np.int32),
            np.empty((0, info.classes), np.float32),
            np.empty((0, info.classes, info.dim), np.float32) if info.dim else None,
            np.empty((0,) + several + chw, np.float32) if info.has_decoder else None,
        )

    def evaluate(self, images: Any, labels: Any) -> Dict[str, Any]:
        """How often the network errs on N labelled images.

        Args:
            images: as `predict` takes them.
            labels: integers [N].

        Returns:
            dict: `n`, `errors`, `error_percent` and `confusion`, int64 [J, J] by true and predicted
            class.

        Raises:
            capscl.Error: those of `predict`; labels that do not fit; a network of several labels.
        """
        if self._info.labels != 1:
            raise Error("evaluate: the network gives several labels an image, need one")
        array = _arrays.float_images(images, self.input_shape)
        true = _arrays.byte_labels(labels, len(array)).astype(np.int64)
        if len(true) and int(true.max()) >= self.classes:
            raise Error(f"labels: go to {true.max()}, need < {self.classes}", "CAPS_ERR_MISMATCH")
        if len(array) == 0:
            raise Error("evaluate: no images, need at least one")
        predicted = self._predict(array, 0)["labels"][:, 0]
        confusion = np.zeros((self.classes, self.classes), np.int64)
        np.add.at(confusion, (true, predicted), 1)
        errors = int((true != predicted).sum())
        return {
            "n": len(true),
            "errors": errors,
            "error_percent": 100.0 * errors / len(true),
            "confusion": confusion,
        }

    def decode(self, capsules: Any, classes: Any = None) -> np.ndarray:
        """What the decoder makes of class capsules.

        Args:
            capsules: floats [N, J, D].
            classes: integers [N]: the decoder sees only the capsule of this class, as after a
                prediction; or one class for all; None: it sees all of them.

        Returns:
            float32 [N, C, H, W], 0 to 1.

        Raises:
            capscl.Error: a network without a decoder; another shape; a class that there is not.
        """
        info = self._info
        array = np.ascontiguousarray(capsules, dtype=np.float32)
        need = (info.classes, info.dim)
        if array.ndim != 3 or array.shape[1:] != need:
            raise Error(
                f"capsules: are {list(array.shape)}, need [N, {need[0]}, {need[1]}]",
                "CAPS_ERR_MISMATCH")
        n = len(array)
        which = None
        if classes is not None:
            which = np.asarray(classes)
            if not np.issubdtype(which.dtype, np.integer):
                raise Error(f"classes: are {which.dtype}, need integers")
            if which.ndim > 1 or (which.ndim == 1 and len(which) != n):
                raise Error(f"classes: are {list(which.shape)}, need [{n}]", "CAPS_ERR_MISMATCH")
            which = np.ascontiguousarray(np.broadcast_to(which, (n,)), dtype=np.int32)
        images = np.empty((n,) + self.input_shape, np.float32)
        if n == 0:
            return images

        def run(progress: Any) -> None:
            call("caps_decode", self._handle, array.ctypes.data_as(s.floats),
                 None if which is None else which.ctypes.data_as(s.int32s), n,
                 images.ctypes.data_as(s.floats), progress)

        with self._runtime.lock:
            _in_batches(n > self.batch, run)
        return images

    # ---- inside ----------------------------------------------------------------------------------

    def routing(self, images: Any) -> Routing:
        """How the capsules below the class capsules were routed to them.

        Args:
            images: as `predict` takes them.

        Returns:
            Routing: couplings of every iteration, lengths of the input capsules, their grid.

        Raises:
            capscl.Error: a network without routing; those of `predict`.
        """
        array = _arrays.float_images(images, self.input_shape)
        info = self._info
        if info.iterations == 0:
            raise Error("routing: the network routes nothing, need one with routed class capsules")
        if len(array) == 0:
            raise Error("routing: no images, need at least one")
        found = self._predict(array, s.PREDICT_COUPLINGS | s.PREDICT_INPUT_LENGTHS)
        grid = tuple(info.grid)
        return Routing(found["couplings"], found["input_lengths"], grid if grid[0] else None)

    def perturb(
        self,
        image: Any,
        *,
        offsets: Sequence[float] = tuple(np.linspace(-0.25, 0.25, 11).tolist()),
        label: Optional[int] = None,
    ) -> np.ndarray:
        """What the dimensions of a class capsule mean: each in turn is changed, and decoded.

        Args:
            image: one image, [C, H, W] or [H, W], as `predict` takes images.
            offsets: what is added to a dimension, S numbers (the paper's: -0.25 to 0.25).
            label: the class whose capsule is taken; None: the predicted one.

        Returns:
            float32 [D, S, C, H, W]: row d has dimension d changed by each of the offsets.

        Raises:
            capscl.Error: a network without a decoder; those of `predict` and `decode`.
        """
        one = np.asarray(image)[np.newaxis]
        prediction = self.predict(one)
        if prediction.capsules is None or prediction.reconstruction is None:
            raise Error("perturb: the network has no decoder, need one")
        which = int(prediction.labels.reshape(-1)[0]) if label is None else int(label)
        _, classes, dim = prediction.capsules.shape
        if not 0 <= which < classes:
            raise Error(f"perturb: label is {which}, need 0 to {classes - 1}")
        steps = np.asarray(offsets, np.float32)
        if steps.ndim != 1 or len(steps) == 0:
            raise Error(f"perturb: offsets are {list(steps.shape)}, need a list of numbers")
        capsules = np.broadcast_to(
            prediction.capsules, (dim, len(steps), classes, dim)).copy()
        for d in range(dim):
            capsules[d, :, which, d] += steps
        images = self.decode(capsules.reshape(-1, classes, dim), which)
        return images.reshape((dim, len(steps)) + self.input_shape)

    def perturbation_figure(self, image: Any, **options: Any) -> np.ndarray:
        """`perturb` as one picture: a row for each dimension, a column for each offset.

        Returns:
            uint8 [height, width], or [height, width, 3] of three channels: for
            `matplotlib.pyplot.imshow(figure, cmap="gray")` or any writer of pictures.
        """
        return _figures.sheet(self.perturb(image, **options))

    def reconstruction_figure(self, images: Any) -> np.ndarray:
        """Images above what the decoder makes of them, as one picture.

        Returns:
            uint8 [height, width], or [height, width, 3] of three channels; of a network of two
            labels the second and third row are the parts.
        """
        array = _arrays.float_images(images, self.input_shape)
        found = self.predict(array).reconstruction
        if found is None:
            raise Error("reconstruction_figure: the network has no decoder, need one")
        if len(array) == 0:
            raise Error("reconstruction_figure: no images, need at least one")
        parts = found[:, np.newaxis] if found.ndim == 4 else found
        rows = np.concatenate([array[np.newaxis], np.swapaxes(parts, 0, 1)])
        return _figures.sheet(rows)


def _free_model(handle: c.c_void_p, runtime: Runtime) -> None:
    """`runtime` is an argument so that it outlives the model."""
    lib.caps_model_free(handle)


def _positive(value: int, name: str) -> int:
    if int(value) < 1:
        raise Error(f"{name}: is {value}, need >= 1")
    return int(value)


def _rebuild(
    spec_json: str,
    names: Optional[List[str]],
    parameters: Dict[str, np.ndarray],
    device: str,
    batch: int,
) -> Model:
    import json

    spec = Spec.read(json.loads(spec_json))
    if names:
        spec.set_class_names(names)
    try:
        runtime = Runtime(device)
    except Error:  # another machine
        runtime = Runtime()
    model = Model._from_spec(spec, runtime, batch)
    model.set_parameters(parameters)
    return model


def load(
    path: Any,
    device: Optional[str] = None,
    *,
    batch: int = DEFAULT_BATCH,
    arch: Optional[str] = None,
) -> Model:
    """Opens a checkpoint.

    Args:
        path: a model.safetensors, as `capscl train` and `Model.save` write it.
        device: "0:1" (platform:device), "gpu", "cpu", or part of a name; None: $CAPSCL_DEVICE if
            set, else the best GPU, else the processor.
        batch: the most images at once; fewer where the device's memory is small.
        arch: the network of a file that does not have its spec: a name or a JSON file.

    Returns:
        Model

    Raises:
        capscl.Error: no such file, a damaged one, no such device, too little memory.
    """
    return Model._open(path, Runtime(device), batch, arch)

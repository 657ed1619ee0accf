"""Training from arrays."""

from __future__ import annotations

import ctypes as c
import os
import shutil
import tempfile
import warnings
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _arrays
from . import _structs as s
from ._device import Runtime
from ._error import Error
from ._library import call, lib, path_bytes
from ._model import Model
from ._progress import Progress
from ._spec import Spec, SpecLike, builtin_names
from ._work import Work

_METRICS = (
    "epoch", "step", "loss", "class_loss", "reconstruction_sse", "train_error_percent",
    "test_error_percent", "validation_error_percent", "lr", "images_per_second", "seconds",
    "seconds_left", "images_done", "images_total", "peak_device_bytes", "resumed_from_step",
    "ema_test_error_percent", "ema_validation_error_percent",
)


def _metrics(m: s.caps_train_metrics) -> Dict[str, Any]:
    return {name: getattr(m, name) for name in _METRICS}


class _Set:
    """A caps_dataset of arrays."""

    def __init__(self, images: Any, labels: Any, split: int, name: str) -> None:
        self.images = _arrays.byte_images(images)
        self.labels = _arrays.byte_labels(labels, len(self.images))
        n, channels, height, width = self.images.shape
        self.chw = (channels, height, width)
        if n == 0:
            raise Error(f"{name}: no images, need at least one")
        self.classes = int(self.labels.max()) + 1
        arrays = s.caps_arrays(
            name=name.encode(), split=split, n=n, channels=channels, height=height, width=width,
            images=self.images.ctypes.data, labels=self.labels.ctypes.data)
        self.set = s.caps_dataset()
        call("caps_dataset_from_arrays", c.byref(self.set), c.byref(arrays))

    def release(self) -> None:
        lib.caps_dataset_release(c.byref(self.set))


def _is_builtin(arch: Any) -> bool:
    return isinstance(arch, str) and arch in builtin_names()


def _network(
    arch: SpecLike, train: _Set, test: Optional[_Set], class_names: Optional[Sequence[str]]
) -> Spec:
    """The spec for these images: a built-in one gets their size and as many classes."""
    spec = Spec.read(arch)
    if _is_builtin(arch):
        classes = max(train.classes, test.classes if test else 0, len(class_names or ()))
        if classes < 2:
            raise Error("labels: all are 0, need at least two classes", "CAPS_ERR_FORMAT")
        if train.chw != spec.source:
            spec.set_input(train.chw)
        if classes != spec.info.classes:
            spec.set_classes(classes)
    elif train.chw != spec.source:
        raise Error(
            f"images: are {'x'.join(map(str, train.chw))}, the network takes "
            f"{'x'.join(map(str, spec.source))}", "CAPS_ERR_MISMATCH")
    if class_names is not None:
        if len(class_names) != spec.info.classes:
            raise Error(
                f"class_names: are {len(class_names)}, the network has {spec.info.classes} classes",
                "CAPS_ERR_MISMATCH")
        spec.set_class_names(class_names)
    return spec


def _augmentation(name: Optional[str], spec: Spec, profile: s.caps_profile) -> int:
    """As the program chooses: what the network's input asks for, unless one is named."""
    if name is not None:
        if name not in s.AUGMENTATIONS:
            raise Error(f"augment: is '{name}', need one of {', '.join(s.AUGMENTATIONS)}")
        return s.AUGMENTATIONS.index(name)
    if spec.info.source[0]:
        for other, side in (("place40", 40), ("crop24", 24)):
            if spec.input[1:] == (side, side):
                return s.AUGMENTATIONS.index(other)
    return s.AUGMENTATIONS.index("affine" if profile.affine else "shift2")


def _new_config(
    config: s.caps_train_config, arch: SpecLike, spec: Spec, profile: str, augment: Optional[str]
) -> None:
    call("caps_train_config_init", c.byref(config))
    lib.caps_model_spec_free(config.spec)
    config.spec = None
    config.spec = spec.copy().give()
    config.arch = (b"dict" if isinstance(arch, Mapping) else os.fsencode(arch))[:255]
    config.data = b"arrays"
    found = lib.caps_profile_find(profile.encode())
    if not found:
        known: List[str] = []
        while lib.caps_profile_at(len(known)):
            known.append(lib.caps_profile_at(len(known)).contents.name.decode())
        raise Error(f"profile: is '{profile}', need one of {', '.join(known)}")
    call("caps_profile_apply", c.byref(config), found, True)
    config.augment = _augmentation(augment, spec, found.contents)


def _set_options(config: s.caps_train_config, options: Dict[str, Any]) -> None:
    """Options that were given (not None) into the config's members of the same names."""
    for name, value in options.items():
        if value is None:
            continue
        kind = type(getattr(config, name))
        try:
            if kind is bytes:
                value = str(value).encode()
            elif kind is int:
                value = _whole(name, value)
            else:
                value = kind(value)
            setattr(config, name, value)
        except (TypeError, ValueError) as error:
            raise Error(f"{name}: is {value!r}: {error}") from None


def _whole(name: str, value: Any) -> int:
    if int(value) != value or value < 0:
        raise Error(f"{name}: is {value!r}, need a whole number >= 0")
    return int(value)


class _Run:
    """A training: what its events do."""

    def __init__(
        self, progress: Progress, on_epoch: Optional[Callable[[Dict[str, Any]], Any]]
    ) -> None:
        self.progress = progress
        self.on_epoch = on_epoch
        self.history: List[Dict[str, Any]] = []
        self.work = Work()
        self.stop = c.c_int(0)
        self.warned: List[str] = []

    def event(self, user: Any, event: int, metrics: Any, text: Optional[bytes]) -> None:
        """Called in the thread that trains."""
        if event == s.TRAIN_EPOCH:
            self.work.post(self._epoch, _metrics(metrics.contents))
        elif event == s.TRAIN_PROGRESS and self.progress.due():
            self.work.post(self.progress.step, _metrics(metrics.contents))
        elif event == s.TRAIN_WARNING:
            self.work.post(warnings.warn, (text or b"").decode(errors="replace"))
        elif event == s.TRAIN_NOTE:
            self.work.post(self.progress.note, (text or b"").decode(errors="replace"))

    def _epoch(self, metrics: Dict[str, Any]) -> None:
        self.history.append(metrics)
        self.progress.epoch(metrics)
        if self.on_epoch is not None and self.on_epoch(dict(metrics)):
            self.request_stop()

    def request_stop(self) -> None:
        self.stop.value = 1


def train(
    images: Any,
    labels: Any,
    arch: SpecLike = "small",
    *,
    epochs: Optional[int] = None,
    max_steps: Optional[int] = None,
    test: Optional[Tuple[Any, Any]] = None,
    validation: int = 0,
    on_epoch: Optional[Callable[[Dict[str, Any]], Any]] = None,
    batch: Optional[int] = None,
    lr: Optional[float] = None,
    lr_decay: Optional[float] = None,
    optimizer: str = "adam",
    weight_decay: Optional[float] = None,
    ema: Optional[float] = None,
    seed: int = 1,
    augment: Optional[str] = None,
    shuffle: bool = True,
    class_weights: Optional[Union[str, Sequence[float]]] = None,
    profile: str = "paper",
    class_names: Optional[Sequence[str]] = None,
    init: Optional[Any] = None,
    eval_every: Optional[int] = None,
    device: Optional[str] = None,
    out: Optional[Any] = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Optional[bool] = None,
) -> Model:
    """Trains a network, as `capscl train` does: the same images, settings and seed give the same
    bits on the same device.

    Args:
        images: [N, C, H, W] or [N, H, W], uint8, or floats from 0 to 1, which are rounded to the 8
            bits that training keeps of a pixel.
        labels: integers [N], 0 to 255.
        arch: a built-in name, which takes size and classes from the data, the path of a JSON file,
            or a dict like one (docs/networks.md).
        epochs, max_steps: when it ends, whichever comes first (default: 10 epochs).
        test: (images, labels) to evaluate on after every `eval_every` epochs (default: every one).
        validation: so many training images are held out, to choose by; the test images are then
            evaluated at the end only.
        on_epoch: called after every epoch with a dict of metrics: `epoch`, `step`, `loss`,
            `train_error_percent`, `test_error_percent` (NaN where there is none), ... Where it
            returns something true the training ends; what it raises ends it too, and is raised.
        batch, lr, lr_decay, optimizer, weight_decay, ema, seed, augment, shuffle, class_weights,
            profile, eval_every: as the program's flags of these names (`capscl train --help`).
        class_names: J names, which the checkpoint keeps.
        init: a checkpoint that gives the first parameters; layers that do not fit begin anew.
        device: as `capscl.load` has it.
        out: a directory that keeps the run (config.json, metrics.jsonl, model.safetensors,
            state.safetensors); None: a temporary one, which is removed.
        resume: goes on with the run in `out`, with its own settings; only `epochs` and `max_steps`
            may be others. The images must be the same.
        overwrite: removes a run that is in `out` first.
        progress: None: shown on terminals and in notebooks; True: epochs are printed anywhere;
            False: nothing is.

    Returns:
        Model: the network after the last step; `history` has the metrics of the epochs.

    Raises:
        capscl.Error: images, labels or settings that do not fit; a run is in `out`; a loss that is
            not finite; the device failed.
        KeyboardInterrupt: Ctrl-C: the step was finished and, with `out`, the run saved, to be
            resumed.
    """
    if resume and out is None:
        raise Error("train: resume without out, need the run's directory")
    if resume and overwrite:
        raise Error("train: resume and overwrite exclude each other")
    if optimizer not in s.OPTIMIZERS:
        raise Error(f"optimizer: is '{optimizer}', need one of {', '.join(s.OPTIMIZERS)}")
    sets: List[_Set] = []
    config = s.caps_train_config()
    place = os.fspath(out) if out is not None else tempfile.mkdtemp(prefix="capscl-")
    try:
        sets.append(_Set(images, labels, s.SPLIT_TRAIN, "arrays"))
        if test is not None:
            sets.append(_Set(test[0], test[1], s.SPLIT_TEST, "arrays (test)"))
        tested = sets[1] if len(sets) > 1 else None
        if resume:
            call("caps_train_config_load", c.byref(config), path_bytes(place))
            _set_options(config, {"epochs": epochs, "max_steps": max_steps})
        else:
            _check_free(place, overwrite)
            spec = _network(arch, sets[0], tested, class_names)
            _new_config(config, arch, spec, profile, augment)
            if class_weights is not None and not isinstance(class_weights, str):
                class_weights = ",".join(repr(float(w)) for w in class_weights)
            if epochs is None and max_steps is not None:
                epochs = 0
            _set_options(config, {
                "epochs": epochs, "max_steps": max_steps, "validation": validation, "batch": batch,
                "lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "ema": ema,
                "seed": seed, "shuffle": shuffle, "class_weights": class_weights,
                "eval_every": eval_every,
                "init": os.fspath(init) if init is not None else None,
                "optimizer": s.OPTIMIZERS.index(optimizer),
            })
        return _run(config, sets[0], tested, place, resume, overwrite, device, on_epoch, progress)
    finally:
        lib.caps_train_config_release(c.byref(config))
        for one in sets:
            one.release()
        if out is None:
            shutil.rmtree(place, ignore_errors=True)


def _check_free(place: str, overwrite: bool) -> None:
    exists = c.c_bool()
    call("caps_train_run_exists", path_bytes(place), c.byref(exists))
    if exists.value and not overwrite:
        raise Error(
            f"{place}: holds a run already; resume=True continues it, overwrite=True begins anew",
            "CAPS_ERR_EXISTS")


def _run(
    config: s.caps_train_config, train_set: _Set, test_set: Optional[_Set], place: str,
    resume: bool, overwrite: bool, device: Optional[str],
    on_epoch: Optional[Callable[[Dict[str, Any]], Any]], wanted: Optional[bool],
) -> Model:
    runtime = Runtime(device)
    run = _Run(Progress(wanted), on_epoch)
    event = s.EVENT(run.event)
    control = s.caps_train_control(
        out=path_bytes(place), resume=resume, overwrite=overwrite, stop=c.pointer(run.stop),
        event=event, train=c.pointer(train_set.set),
        test=c.pointer(test_set.set) if test_set else None)
    end, metrics = c.c_int(), s.caps_train_metrics()
    try:
        run.work.run(
            lambda: call("caps_train_run", runtime.handle, c.byref(config), c.byref(control),
                         c.byref(end), c.byref(metrics)),
            on_stop=run.request_stop)
    finally:
        run.progress.end()
    model = Model._open(os.path.join(place, "model.safetensors"), runtime, config.batch)
    model.history = run.history
    return model

"""Capsule operations for PyTorch: squash, routing by agreement and EM routing.

They compute on an OpenCL device, forward and backward, and are functions of autograd: they mix with
any other layer. Tensors are float32 on the CPU. Where the device is the processor, tensors that are
contiguous and begin at a multiple of 64 bytes (as PyTorch allocates them) are not copied.

    import capscl.torch as caps
    v = caps.routing(votes, iterations=3)

The device is $CAPSCL_DEVICE if set, else the processor where it is an OpenCL device, else whatever
there is; `set_device` chooses another. Functions may be called from any thread, and follow one
another. Gradients of gradients there are none.
"""

from __future__ import annotations

import ctypes as c
import os
import weakref
from typing import Any, List, Optional, Sequence, Tuple

import torch
from torch.autograd.function import once_differentiable

from . import _structs as s
from ._device import Device, Runtime
from ._error import Error
from ._library import call, lib

__all__ = ["device", "em_routing", "routing", "set_device", "squash"]

_runtime: Optional[Runtime] = None


def set_device(selector: Optional[str]) -> None:
    """Chooses the device of all later calls, as `capscl.load` does.

    Raises:
        capscl.Error: no such device.
    """
    global _runtime
    _runtime = Runtime(selector)


def device() -> Device:
    """Where the operations compute."""
    return _the_runtime().device


def _the_runtime() -> Runtime:
    global _runtime
    if _runtime is None:
        if os.environ.get("CAPSCL_DEVICE"):
            _runtime = Runtime()
        else:
            try:
                _runtime = Runtime("cpu")
            except Error:
                _runtime = Runtime()
    return _runtime


class _Tensors:
    """Tensors of the library for one call: views of PyTorch's, and scratch."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._made: List[s.caps_tensor] = []
        self._outputs: List[Tuple[s.caps_tensor, torch.Tensor]] = []

    def __enter__(self) -> "_Tensors":
        return self

    def __exit__(self, *_: Any) -> None:
        for tensor in self._made:
            lib.caps_tensor_release(c.byref(tensor))

    def input(self, tensor: Optional[torch.Tensor], *shape: int) -> Any:
        """A view (or copy) of a tensor, which is contiguous; its own shape unless one is given."""
        if tensor is None:
            return None
        made = s.caps_tensor()
        sizes = shape or tuple(tensor.shape)
        call("caps_tensor_init_host", c.byref(made), self._runtime.handle, s.F32, len(sizes),
             (s.size_t * len(sizes))(*sizes), tensor.data_ptr())
        self._made.append(made)
        return c.byref(made)

    def output(self, tensor: Optional[torch.Tensor], *shape: int) -> Any:
        """The same, of a tensor that `finish` gives what was written."""
        view = self.input(tensor, *shape)
        if tensor is not None:
            self._outputs.append((self._made[-1], tensor))
        return view

    def scratch(self, count: int) -> Any:
        return c.byref(_allocate(self._runtime, self._made, (max(count, 1),)))

    def finish(self) -> None:
        """Waits for the device."""
        for made, tensor in self._outputs:
            call("caps_tensor_read_host", self._runtime.handle, c.byref(made), tensor.data_ptr())


def _allocate(
    runtime: Runtime, kept: List[s.caps_tensor], shape: Sequence[int]
) -> s.caps_tensor:
    made = s.caps_tensor()
    call("caps_tensor_init", c.byref(made), runtime.handle, s.F32, len(shape),
         (s.size_t * len(shape))(*shape))
    kept.append(made)
    return made


class _Kept:
    """Tensors on the device that a backward needs, released with this object."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._made: List[s.caps_tensor] = []
        self._free = weakref.finalize(self, _release, self._made, runtime)

    def tensor(self, *shape: int) -> s.caps_tensor:
        return _allocate(self.runtime, self._made, shape)


def _release(made: List[s.caps_tensor], runtime: Runtime) -> None:
    with runtime.lock:
        for tensor in made:
            lib.caps_tensor_release(c.byref(tensor))


def _check(name: str, tensor: torch.Tensor, what: str, dims: Optional[int] = None) -> torch.Tensor:
    """float32, on the CPU, so many dimensions; contiguous (a copy where it was not)."""
    if not isinstance(tensor, torch.Tensor):
        raise Error(f"{name}: {what} is a {type(tensor).__name__}, need a tensor")
    if tensor.device.type != "cpu":
        raise Error(f"{name}: {what} is on {tensor.device}, need the CPU")
    if tensor.dtype != torch.float32:
        raise Error(f"{name}: {what} is {tensor.dtype}, need torch.float32")
    if dims is not None and tensor.dim() != dims:
        raise Error(f"{name}: {what} has {tensor.dim()} dimensions, need {dims}")
    if tensor.dim() == 0 or tensor.numel() == 0:
        raise Error(f"{name}: {what} is {list(tensor.shape)}, need at least one element in each "
                    "dimension")
    return tensor.contiguous()


def _choice(name: str, what: str, value: str, all_of_them: Sequence[str]) -> int:
    if value not in all_of_them:
        raise Error(f"{name}: {what} is '{value}', need one of {', '.join(all_of_them)}")
    return list(all_of_them).index(value)


def _count(name: str, what: str, value: int, least: int) -> int:
    if int(value) != value or value < least:
        raise Error(f"{name}: {what} is {value}, need a whole number >= {least}")
    return int(value)


# ---- squash --------------------------------------------------------------------------------------


class _Squash(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kind: int) -> torch.Tensor:
        runtime = _the_runtime()
        v = torch.empty_like(x)
        sizes = (x.numel() // x.shape[-1], x.shape[-1])
        with runtime.lock, _Tensors(runtime) as t:
            call("caps_squash_forward", runtime.handle, t.output(v, *sizes), t.input(x, *sizes),
                 kind)
            t.finish()
        ctx.save_for_backward(x)
        ctx.kind, ctx.runtime = kind, runtime
        return v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dv: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        dv = dv.contiguous()
        dx = torch.empty_like(x)
        sizes = (x.numel() // x.shape[-1], x.shape[-1])
        with ctx.runtime.lock, _Tensors(ctx.runtime) as t:
            call("caps_squash_backward", ctx.runtime.handle, t.output(dx, *sizes),
                 t.input(dv, *sizes), t.input(x, *sizes), ctx.kind)
            t.finish()
        return dx, None


def squash(s_: torch.Tensor, *, kind: str = "paper") -> torch.Tensor:
    """v = squash(s) over the last dimension; zero at zero, with gradient zero there.

    Args:
        s_: float32 [..., K].
        kind: "paper": s |s| / (1 + |s|^2) (Sabour, Frosst, Hinton 2017); "exp":
            s (1 - exp(-|s|)) / |s| (Efficient-CapsNet, 2021).

    Returns:
        [..., K]

    Raises:
        capscl.Error: another type or place of the tensor.
    """
    return _Squash.apply(_check("squash", s_, "s"), _choice("squash", "kind", kind, s.SQUASHES))


# ---- routing by agreement ------------------------------------------------------------------------


class _Routing(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, votes: torch.Tensor, bias: Optional[torch.Tensor], how: s.caps_routing
    ) -> torch.Tensor:
        runtime = _the_runtime()
        b, i, j, d = votes.shape
        r = how.iterations
        v = torch.empty((b, j, d), dtype=torch.float32)
        with runtime.lock, _Tensors(runtime) as t:
            kept = _Kept(runtime)
            state = s.caps_routing_state(
                couplings=kept.tensor(r, b, i, j),
                s=kept.tensor(r, b, j, d),
                v=kept.tensor(r, b, j, d),
                scratch=kept.tensor(max(1, lib.caps_routing_scratch(b, i, j, d, c.byref(how)))))
            call("caps_routing_forward", runtime.handle, t.output(v), c.byref(state),
                 t.input(votes), t.input(bias), c.byref(how))
            t.finish()
        ctx.save_for_backward(votes)
        ctx.kept, ctx.state, ctx.how = kept, state, how
        ctx.bias_shape = None if bias is None else bias.shape
        return v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dv: torch.Tensor) -> Any:
        (votes,) = ctx.saved_tensors
        runtime = ctx.kept.runtime
        dv = dv.contiguous()
        dvotes = torch.empty_like(votes)
        dbias = None if ctx.bias_shape is None else torch.empty(ctx.bias_shape)
        with runtime.lock, _Tensors(runtime) as t:
            call("caps_routing_backward", runtime.handle, t.output(dvotes), t.output(dbias),
                 t.input(dv), c.byref(ctx.state), t.input(votes), c.byref(ctx.how))
            t.finish()
        return dvotes, dbias, None


def routing(
    votes: torch.Tensor,
    iterations: int = 3,
    *,
    bias: Optional[torch.Tensor] = None,
    grad: str = "full",
    leaky: bool = False,
    squash: str = "paper",
    normalization: str = "softmax",
) -> torch.Tensor:
    """Routing by agreement (procedure 1 of Sabour, Frosst, Hinton 2017).

    b = 0; in each iteration c = softmax of b over j, v = squash(sum over i of c votes + bias), and,
    but after the last, b += votes . v.

    Args:
        votes: float32 [B, I, J, D]: of input capsule i for output capsule j.
        iterations: r >= 1.
        bias: float32 [J, D], added before each squash; None: none.
        grad: "full": gradients through every iteration; "last": the last couplings are constants.
        leaky: one more logit, always 0, in each softmax.
        squash: "paper" or "exp", as `squash` has them.
        normalization: "softmax" or "max_min" (Zhao et al. 2019).

    Returns:
        [B, J, D], the output capsules.

    Raises:
        capscl.Error: another type, place or shape of a tensor; a setting that is out of range.
    """
    votes = _check("routing", votes, "votes", 4)
    if bias is not None:
        bias = _check("routing", bias, "bias", 2)
        if bias.shape != votes.shape[2:]:
            raise Error(
                f"routing: bias is {list(bias.shape)}, need {list(votes.shape[2:])}",
                "CAPS_ERR_MISMATCH")
    how = s.caps_routing(
        iterations=_count("routing", "iterations", iterations, 1),
        grad=_choice("routing", "grad", grad, s.ROUTING_GRADS),
        leaky=leaky,
        squash=_choice("routing", "squash", squash, s.SQUASHES),
        normalization=_choice("routing", "normalization", normalization, s.NORMALIZATIONS))
    return _Routing.apply(votes, bias, how)


# ---- EM routing ----------------------------------------------------------------------------------


class _EmRouting(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, how: s.caps_em, parents: int, *inputs: torch.Tensor) -> Any:
        runtime = _the_runtime()
        pose, activation, weight, beta_u, beta_a = inputs
        b = pose.shape[0]
        training = any(ctx.needs_input_grad)
        pose_out = torch.empty((b, parents, 16))
        activation_out = torch.empty((b, parents))
        with runtime.lock, _Tensors(runtime) as t:
            need = lib.caps_em_workspace_of(runtime.handle, c.byref(how), training)
            kept = _Kept(runtime)
            state = kept.tensor(max(need.state, 1))
            call("caps_em_forward", runtime.handle, t.output(pose_out), t.output(activation_out),
                 c.byref(state), t.input(pose), t.input(activation), t.input(weight),
                 t.input(beta_u), t.input(beta_a), c.byref(how), t.scratch(need.workspace))
            t.finish()
        ctx.save_for_backward(*inputs)
        ctx.kept, ctx.state, ctx.how, ctx.workspace = kept, state, how, need.workspace
        return pose_out, activation_out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dpose_out: torch.Tensor, dactivation_out: torch.Tensor) -> Any:
        inputs = ctx.saved_tensors
        runtime = ctx.kept.runtime
        gradients = tuple(torch.empty_like(x) for x in inputs)
        dpose_out, dactivation_out = dpose_out.contiguous(), dactivation_out.contiguous()
        with runtime.lock, _Tensors(runtime) as t:
            call("caps_em_backward", runtime.handle, *(t.output(g) for g in gradients),
                 t.input(dpose_out), t.input(dactivation_out), c.byref(ctx.state),
                 *(t.input(x) for x in inputs), c.byref(ctx.how), t.scratch(ctx.workspace))
            t.finish()
        return (None, None) + gradients


def em_routing(
    pose: torch.Tensor,
    activation: torch.Tensor,
    weight: torch.Tensor,
    beta_u: torch.Tensor,
    beta_a: torch.Tensor,
    *,
    iterations: int = 3,
    stride: int = 1,
    coordinates: bool = False,
    grad: str = "full",
    lambda_: float = 0.01,
    cost_scale: float = 1.0,
    variance_floor: float = 1e-4,
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Votes and EM routing of matrix capsules (Hinton, Sabour, Frosst 2018).

    The equations are those of caps_em in include/capscl/ops.h. A child votes with its pose times
    the weight; parents see a window of kernel x kernel children, without padding, or all of them.

    Args:
        pose: float32 [B, T, H, W, 4, 4] of the children: T types on a grid.
        activation: float32 [B, T, H, W], 0 to 1.
        weight: float32 [kernel, kernel, T, C, 4, 4] (row and column in the window, type of the
            child, of the parent); or [T, C, 4, 4]: one window sees all children, and all places
            share its weights.
        beta_u, beta_a: float32 [C].
        iterations: >= 1.
        stride: of the windows; of [T, C, 4, 4] it does not count.
        coordinates: of [T, C, 4, 4] only: a child's place is added to its votes.
        grad: "full": gradients through every iteration; "last": the last assignment is constant.
        lambda_, cost_scale, variance_floor: of the equations.

    Returns:
        pose [B, C, H2, W2, 4, 4] and activation [B, C, H2, W2] of the parents, with
        H2 = (H - kernel) // stride + 1 and W2 alike, or 1 and 1.

    Raises:
        capscl.Error: another type, place or shape of a tensor; a setting that is out of range.
    """
    name = "em_routing"
    pose = _check(name, pose, "pose", 6)
    activation = _check(name, activation, "activation", 4)
    weight = _check(name, weight, "weight")
    beta_u, beta_a = _check(name, beta_u, "beta_u", 1), _check(name, beta_a, "beta_a", 1)
    b, types, height, width = activation.shape
    whole = weight.dim() == 4
    parents, kernel = weight.shape[-3], 0 if whole else weight.shape[0]
    need = {
        "pose": (pose, (b, types, height, width, 4, 4)),
        "weight": (weight, (() if whole else (kernel, kernel)) + (types, parents, 4, 4)),
        "beta_u": (beta_u, (parents,)),
        "beta_a": (beta_a, (parents,)),
    }
    for what, (tensor, shape) in need.items():
        if tuple(tensor.shape) != shape:
            raise Error(f"{name}: {what} is {list(tensor.shape)}, need {list(shape)}",
                        "CAPS_ERR_MISMATCH")
    stride = 0 if whole else _count(name, "stride", stride, 1)
    if kernel > min(height, width):
        raise Error(f"{name}: kernel {kernel} is larger than its input {height}x{width}")
    rows = 1 if whole else (height - kernel) // stride + 1
    columns = 1 if whole else (width - kernel) // stride + 1
    how = s.caps_em(
        b=b, types=types, height=height, width=width, parents=parents, kernel=kernel,
        stride=stride, coordinates=coordinates,
        iterations=_count(name, "iterations", iterations, 1),
        grad=_choice(name, "grad", grad, s.ROUTING_GRADS),
        cost_scale=cost_scale, variance_floor=variance_floor, **{"lambda": lambda_})
    children = types * height * width
    out, active = _EmRouting.apply(
        how, parents * rows * columns, pose.view(b, children, 16), activation.view(b, children),
        weight, beta_u, beta_a)
    return (out.view(b, parents, rows, columns, 4, 4), active.view(b, parents, rows, columns))

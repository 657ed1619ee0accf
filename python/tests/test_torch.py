"""capscl.torch against the same mathematics in PyTorch, forward and gradients, within 1e-5."""

import math

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="torch is not installed: capscl.torch, from_torch and to_torch are not tested")

import capscl  # noqa: E402
import capscl.torch as caps  # noqa: E402
from conftest import SPEC  # noqa: E402

LIMIT = 1e-5  # norm of the difference over norm of the reference


def tensor(*shape, seed=0, scale=1.0, grad=True):
    made = torch.from_numpy(
        np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * scale)
    return made.requires_grad_(grad)


def close(own, reference):
    reference = reference.detach()
    error = (own.detach().double() - reference).norm() / reference.norm().clamp(min=1e-30)
    assert error < LIMIT, float(error)


def compare(function, reference, inputs, seed=100):
    """Outputs and all gradients of a random weighted sum of the outputs."""
    doubles = [x.detach().double().requires_grad_(x.requires_grad) for x in inputs]
    own, want = function(*inputs), reference(*doubles)
    own = own if isinstance(own, tuple) else (own,)
    want = want if isinstance(want, tuple) else (want,)
    loss, want_loss = 0, 0
    for k, (a, b) in enumerate(zip(own, want)):
        assert a.shape == b.shape
        close(a, b)
        weights = tensor(*a.shape, seed=seed + k, grad=False)
        loss = loss + (a * weights).sum()
        want_loss = want_loss + (b * weights.double()).sum()
    loss.backward()
    want_loss.backward()
    for a, b in zip(inputs, doubles):
        if a.requires_grad:
            close(a.grad, b.grad)


# ---- references ----------------------------------------------------------------------------------


def squash_of(s, kind="paper"):
    length = s.norm(dim=-1, keepdim=True)
    if kind == "exp":
        return s * (1 - torch.exp(-length)) / length
    return s * length / (1 + length**2)


def routing_of(votes, iterations=3, bias=None, grad="full", leaky=False, squash="paper",
               normalization="softmax"):
    b = torch.zeros(votes.shape[:3], dtype=votes.dtype)
    for t in range(iterations):
        if leaky:
            c = torch.softmax(torch.cat([b, torch.zeros_like(b[..., :1])], -1), -1)[..., :-1]
        elif normalization == "max_min" and t > 0:
            low, high = b.min(-1, keepdim=True).values, b.max(-1, keepdim=True).values
            c = (b - low) / (high - low)
        elif normalization == "max_min":
            c = torch.ones_like(b)
        else:
            c = torch.softmax(b, -1)
        if grad == "last":
            c = c.detach()
        s = (c[..., None] * votes).sum(1)
        v = squash_of(s if bias is None else s + bias, squash)
        b = b + (votes * v[:, None]).sum(-1)
    return v


def em_of(pose, activation, weight, beta_u, beta_a, iterations=3, stride=1, coordinates=False,
          grad="full", lambda_=0.01, cost_scale=1.0, variance_floor=1e-4):
    """By windows; the equations of caps_em in capscl/ops.h."""
    b, types, height, width = activation.shape
    whole = weight.dim() == 4
    parents = weight.shape[-3]
    kernel = (height, width) if whole else weight.shape[:2]
    rows = 1 if whole else (height - kernel[0]) // stride + 1
    columns = 1 if whole else (width - kernel[1]) // stride + 1
    windows = []
    for y in range(rows):
        for x in range(columns):
            top, left = (0, 0) if whole else (y * stride, x * stride)
            part = pose[:, :, top : top + kernel[0], left : left + kernel[1]]
            if whole:
                votes = torch.einsum("bthwij,tcjk->bthwcik", part, weight)
                if coordinates:
                    down = ((torch.arange(height) + 0.5) / height).to(votes).view(height, 1, 1)
                    right = ((torch.arange(width) + 0.5) / width).to(votes).view(1, width, 1)
                    added = torch.zeros(height, width, 1, 4, 4).to(votes)
                    added[..., 0, 3] += down
                    added[..., 1, 3] += right
                    votes = votes + added
            else:
                votes = torch.einsum("bthwij,hwtcjk->bthwcik", part, weight)
            windows.append(votes.reshape(b, -1, parents, 16))
    votes = torch.stack(windows, 1)  # [B, P, n, C, 16]
    index = torch.arange(types * height * width).view(types, height, width)
    seen = torch.stack([
        index[:, 0 if whole else y * stride :][:, : kernel[0], 0 if whole else x * stride :]
        [:, :, : kernel[1]].reshape(-1) for y in range(rows) for x in range(columns)])
    count = torch.zeros(types * height * width).index_add_(
        0, seen.reshape(-1), torch.ones(seen.numel()))
    a = activation.reshape(b, -1)[:, seen]  # [B, P, n]
    r_of = (1 / (parents * count[seen]))[None, :, :, None].to(votes).expand(
        b, -1, -1, parents)
    for t in range(iterations):
        if grad == "last":
            r_of = r_of.detach()
        r = r_of * a[..., None]
        total = r.sum(2)  # [B, P, C]
        share = r / (total[:, :, None] + 1e-7)
        mu = (share[..., None] * votes).sum(2)
        var = (share[..., None] * (votes - mu[:, :, None]) ** 2).sum(2) + variance_floor
        cost = cost_scale * total * (beta_u[:, None] + 0.5 * var.log()).sum(-1)
        z = lambda_ * (1 - 0.95 ** (t + 1)) * (beta_a - cost)
        if t + 1 < iterations:
            logit = torch.nn.functional.logsigmoid(z)[:, :, None] - (
                (votes - mu[:, :, None]) ** 2 / (2 * var[:, :, None])
                + 0.5 * (2 * math.pi * var[:, :, None]).log()).sum(-1)
            flat = torch.full((b, types * height * width, len(seen), parents), -math.inf).to(votes)
            places = torch.arange(len(seen))[:, None].expand_as(seen)
            flat = flat.index_put((torch.arange(b)[:, None, None], seen[None], places[None]), logit)
            soft = torch.softmax(flat.reshape(b, types * height * width, -1), -1)
            soft = soft.reshape(flat.shape)
            r_of = soft[torch.arange(b)[:, None, None], seen[None], places[None]]
    pose_out = mu.transpose(1, 2).reshape(b, parents, rows, columns, 4, 4)
    return pose_out, torch.sigmoid(z).transpose(1, 2).reshape(b, parents, rows, columns)


def test_it_is_an_attribute():
    assert capscl.torch is caps


# ---- squash --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["paper", "exp"])
@pytest.mark.parametrize("shape", [(7,), (3, 8), (2, 5, 16), (2, 3, 4, 5)])
def test_squash(kind, shape):
    compare(lambda x: caps.squash(x, kind=kind), lambda x: squash_of(x, kind), [tensor(*shape)])


def test_squash_at_zero():
    x = torch.zeros(2, 4, requires_grad=True)
    v = caps.squash(x)
    v.sum().backward()
    assert torch.equal(v, torch.zeros(2, 4)) and torch.equal(x.grad, torch.zeros(2, 4))


def test_layouts_that_need_a_copy():
    whole = tensor(6, 9, grad=False)
    for x in (whole.t(), whole[:, 1:], whole[1:], whole[::2]):
        before = x.clone()
        compare(caps.squash, squash_of, [x.detach().requires_grad_()])
        assert torch.equal(x, before)


def test_gradients_go_on_through_other_layers():
    weight = tensor(8, 8)
    compare(lambda w, x: caps.squash(x @ w).norm(dim=-1),
            lambda w, x: squash_of(x @ w).norm(dim=-1), [weight, tensor(5, 8, seed=1)])


def test_no_gradient_where_none_is_asked_for():
    assert not caps.squash(tensor(3, 4, grad=False)).requires_grad
    with torch.no_grad():
        assert not caps.routing(tensor(2, 3, 4, 5)).requires_grad


# ---- routing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [
    {}, {"iterations": 1}, {"iterations": 5}, {"grad": "last"}, {"leaky": True},
    {"squash": "exp"}, {"normalization": "max_min"},
], ids=str)
def test_routing(how):
    votes = tensor(3, 20, 5, 8, scale=0.4)
    compare(lambda x: caps.routing(x, **how), lambda x: routing_of(x, **how), [votes])


def test_routing_with_bias():
    compare(lambda x, b: caps.routing(x, 3, bias=b), lambda x, b: routing_of(x, 3, b),
            [tensor(2, 12, 4, 6, scale=0.4), tensor(4, 6, seed=3, scale=0.1)])


def test_a_graph_may_go_back_twice():
    votes = tensor(2, 6, 3, 4)
    v = caps.routing(votes)
    v.sum().backward(retain_graph=True)
    first = votes.grad.clone()
    votes.grad = None
    v.sum().backward()
    assert torch.equal(first, votes.grad)


# ---- EM routing ----------------------------------------------------------------------------------


def em_inputs(kernel, b=2, types=3, height=5, width=4, parents=4):
    shape = (types, parents, 4, 4) if kernel == 0 else (kernel, kernel, types, parents, 4, 4)
    activation = torch.sigmoid(tensor(b, types, height, width, seed=2, grad=False))
    return [tensor(b, types, height, width, 4, 4, scale=0.5), activation.requires_grad_(),
            tensor(*shape, seed=3, scale=0.5), tensor(parents, seed=4, scale=0.2),
            tensor(parents, seed=5, scale=0.2)]


@pytest.mark.parametrize("kernel,how", [
    (3, {}), (2, {"stride": 2}), (1, {}), (0, {}), (0, {"coordinates": True}),
    (3, {"iterations": 1}), (2, {"grad": "last"}), (3, {"lambda_": 0.05, "cost_scale": 0.5,
                                                       "variance_floor": 0.01}),
], ids=str)
def test_em_routing(kernel, how):
    how = {"lambda_": 0.03, "variance_floor": 1e-2, **how}
    compare(lambda *x: caps.em_routing(*x, **how), lambda *x: em_of(*x, **how), em_inputs(kernel))


# ---- what is refused -----------------------------------------------------------------------------


def test_refused():
    votes = tensor(2, 3, 4, 5)
    for function, words in [
        (lambda: caps.squash(tensor(3).double()), "float64, need torch.float32"),
        (lambda: caps.squash([1.0]), "is a list, need a tensor"),
        (lambda: caps.squash(torch.zeros(0, 4)), "need at least one element"),
        (lambda: caps.squash(tensor(3), kind="x"), "kind is 'x'"),
        (lambda: caps.squash(torch.zeros(3, 4, device="meta")), "is on meta, need the CPU"),
        (lambda: caps.routing(votes[0]), "has 3 dimensions, need 4"),
        (lambda: caps.routing(votes, 0), "iterations is 0"),
        (lambda: caps.routing(votes, bias=tensor(5, 4)), r"bias is \[5, 4\], need \[4, 5\]"),
        (lambda: caps.routing(votes, leaky=True, normalization="max_min"), "leaky"),
        (lambda: caps.em_routing(*em_inputs(6)), "kernel 6 is larger than its input 5x4"),
        (lambda: caps.em_routing(*em_inputs(3), variance_floor=0), "variance"),
        (lambda: caps.em_routing(*em_inputs(3)[:4], tensor(7)), r"beta_a is \[7\], need \[4\]"),
    ]:
        with pytest.raises(capscl.Error, match=words):
            function()


def test_no_copy():
    """On a device that shares memory PyTorch's own is what the device reads and writes."""
    import ctypes as c

    from capscl import _structs as s
    from capscl._device import Runtime
    from capscl._library import call, lib

    if "cpu" not in [d.type for d in capscl.devices()]:
        pytest.skip("there is no processor among the OpenCL devices")
    runtime = Runtime("cpu")
    x, v = tensor(4, 16, grad=False), torch.zeros(4, 16)
    assert v.data_ptr() % s.HOST_ALIGNMENT == 0
    made = [s.caps_tensor(), s.caps_tensor()]
    sizes = (s.size_t * 2)(4, 16)
    for m, t in zip(made, (v, x)):
        call("caps_tensor_init_host", c.byref(m), runtime.handle, s.F32, 2, sizes, t.data_ptr())
    call("caps_squash_forward", runtime.handle, c.byref(made[0]), c.byref(made[1]), 0)
    call("caps_runtime_finish", runtime.handle)
    close(v, squash_of(x.double()))  # nothing was read back
    for m in made:
        lib.caps_tensor_release(c.byref(m))


def test_threads():
    from concurrent.futures import ThreadPoolExecutor

    def one(seed):
        compare(caps.routing, routing_of, [tensor(2, 8, 3, 4, seed=seed, scale=0.4)])
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(12)))


# ---- models --------------------------------------------------------------------------------------


def test_state_dicts_go_both_ways(trained, data):
    images = data[0][:5]
    state = trained.to_torch()
    assert all(isinstance(x, torch.Tensor) and x.dtype == torch.float32 for x in state.values())
    again = capscl.from_torch({k: torch.nn.Parameter(v.double()) for k, v in state.items()}, SPEC)
    assert np.array_equal(again.predict(images).lengths, trained.predict(images).lengths)
    assert capscl.to_torch(again).keys() == state.keys()


class Network(torch.nn.Module):
    """The same network in PyTorch, from its state dict."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    def forward(self, images):
        w = self.state
        x = torch.relu(torch.conv2d(images, w["conv1.weight"], w["conv1.bias"]))
        x = torch.conv2d(x, w["primary.weight"], w["primary.bias"], stride=2)
        n, _, height, width = x.shape
        u = x.view(n, 4, 4, height, width).permute(0, 1, 3, 4, 2).reshape(n, -1, 4)
        votes = torch.einsum("ijdk,bik->bijd", w["class_caps.weight"], caps.squash(u))
        return caps.routing(votes, 3)


def test_a_network_of_these_functions_is_the_model(trained, data):
    images = data[0][:6]
    network = Network(trained.to_torch())
    capsules = network(torch.from_numpy(images).float() / 255)
    close(torch.from_numpy(trained.predict(images).capsules), capsules.double())

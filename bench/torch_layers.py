"""Networks as lists of layers (docs/networks.md) in PyTorch, for torch_worker.py: plain modules, as a user
of PyTorch would write them, vectorised over images, windows and capsules.

Parameters have the names of docs/networks.md. Matrix capsules: votes of all windows at once by unfold, sums over the
windows that see a child by fold.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def squash(s, kind="paper"):
    square = (s * s).sum(-1, keepdim=True)
    length = square.clamp_min(1e-30).sqrt()
    return s * (length / (1 + square) if kind == "paper" else (1 - torch.exp(-length)) / length)


class Norm(nn.Module):
    """Batch normalisation whose running variance is the biased one."""

    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            var, mean = torch.var_mean(x, (0, 2, 3), unbiased=False)
            with torch.no_grad():
                self.running_mean.lerp_(mean, 0.01)
                self.running_var.lerp_(var, 0.01)
        else:
            mean, var = self.running_mean, self.running_var
        shape = (1, -1, 1, 1)
        scale = self.weight * torch.rsqrt(var + 1e-3)
        return (x - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)


class Conv(nn.Module):
    def __init__(self, f, shape):
        super().__init__()
        c, h, w = shape
        m, k, self.stride, self.padding = f["channels"], f["kernel"], f.get("stride", 1), f.get("padding", 0)
        self.relu = f.get("activation", "relu") == "relu"
        self.weight = nn.Parameter(torch.randn(m, c, k, k) * math.sqrt(2 / (c * k * k)))
        self.bias = nn.Parameter(torch.zeros(m))
        self.norm = Norm(m) if f.get("norm") == "batch" else None
        self.shape = m, *((n + 2 * self.padding - k) // self.stride + 1 for n in (h, w))

    def forward(self, x):
        x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        x = torch.relu(x) if self.relu else x
        return self.norm(x) if self.norm else x


class Linear(nn.Module):
    def __init__(self, f, shape):
        super().__init__()
        size = math.prod(shape)
        self.activation = f.get("activation", "relu")
        self.weight = nn.Parameter(torch.randn(f["out"], size) * math.sqrt(2 / size))
        self.bias = nn.Parameter(torch.zeros(f["out"]))
        self.shape = (f["out"],)

    def forward(self, x):
        x = F.linear(x.flatten(1), self.weight, self.bias)
        return torch.relu(x) if self.activation == "relu" else torch.sigmoid(x) if self.activation == "sigmoid" else x


class Dropout(nn.Dropout):
    def __init__(self, f, shape):
        super().__init__(f["rate"])
        self.shape = shape


class MaxPool(nn.MaxPool2d):
    def __init__(self, f, shape):
        k, s = f["kernel"], f.get("stride", f["kernel"])
        super().__init__(k, s)
        self.shape = shape[0], *((n - k) // s + 1 for n in shape[1:])


class PrimaryCaps(nn.Module):
    def __init__(self, f, shape):
        super().__init__()
        c, h, w = shape
        k, self.stride, self.dim, self.squash = f["kernel"], f["stride"], f["dim"], f.get("squash", "paper")
        self.groups = c if f.get("depthwise") else 1
        self.types = c // self.dim if f.get("depthwise") else f["types"]
        self.divisor = self.types if f.get("average") else 1
        inner = c // self.groups
        self.weight = nn.Parameter(torch.randn(self.types * self.dim, inner, k, k) / math.sqrt(inner * k * k))
        self.bias = nn.Parameter(torch.zeros(self.types * self.dim))
        self.shape = self.types * ((h - k) // self.stride + 1) * ((w - k) // self.stride + 1), self.dim

    def forward(self, x):
        z = F.conv2d(x, self.weight / self.divisor, self.bias, self.stride, groups=self.groups)
        b, _, h, w = z.shape
        z = z.view(b, self.types, self.dim, h, w).permute(0, 1, 3, 4, 2).reshape(b, -1, self.dim)
        return squash(z, self.squash)


class Caps(nn.Module):
    def __init__(self, f, shape):
        super().__init__()
        i, k = shape
        j, d = f["capsules"], f["dim"]
        self.routing, self.squash = f["routing"], f.get("squash", "paper")
        self.weight = nn.Parameter(torch.randn(i, j, d, k) * math.sqrt(2 / (i * k + j * d)))
        if self.routing["kind"] == "attention":
            self.prior = nn.Parameter(torch.zeros(i, j))
        self.bias = nn.Parameter(torch.zeros(j, d)) if f.get("bias") else None
        self.shape = j, d

    def forward(self, u):
        votes = torch.einsum("bik,ijdk->bijd", u, self.weight)
        if self.routing["kind"] == "attention":
            a = (votes * votes.sum(1, keepdim=True)).sum(-1) / math.sqrt(votes.shape[-1])
            return squash(((a.softmax(-1) + self.prior).unsqueeze(-1) * votes).sum(1), self.squash)
        logits = votes.new_zeros(votes.shape[:3])
        for step in range(self.routing["iterations"]):
            s = (logits.softmax(-1).unsqueeze(-1) * votes).sum(1)
            v = squash(s if self.bias is None else s + self.bias, self.squash)
            if step + 1 < self.routing["iterations"]:
                logits = logits + (votes * v.unsqueeze(1)).sum(-1)
        return v


class Half(nn.Module):
    """A 1x1 convolution of matrix_primary."""

    def __init__(self, out, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, channels, 1, 1) / math.sqrt(channels))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias)


class MatrixPrimary(nn.Module):
    """Poses [B, T * 16, H, W], activations [B, T, H, W]."""

    def __init__(self, f, shape):
        super().__init__()
        self.pose, self.activation = Half(f["types"] * 16, shape[0]), Half(f["types"], shape[0])
        self.shape = f["types"], *shape[1:]

    def forward(self, x):
        return self.pose(x), torch.sigmoid(self.activation(x))


class Matrix(nn.Module):
    """matrix_conv; matrix_caps as one window of all places with one weight for all of them."""

    def __init__(self, f, shape):
        super().__init__()
        self.t, self.h, self.w = shape
        self.all = f["kind"] == "matrix_caps"
        self.c = f["capsules"] if self.all else f["types"]
        self.k = (self.h, self.w) if self.all else (f["kernel"],) * 2
        self.stride = 1 if self.all else f["stride"]
        size = (self.t, self.c, 4, 4) if self.all else (*self.k, self.t, self.c, 4, 4)
        self.weight = nn.Parameter(torch.eye(4).expand(size) + 0.2 * torch.randn(size))
        self.beta_u, self.beta_a = nn.Parameter(torch.zeros(self.c)), nn.Parameter(torch.zeros(self.c))
        r = f["routing"]
        self.iterations, self.last = r.get("iterations", 3), r.get("grad", "full") == "last"
        self.lamb, self.cost_scale = r.get("lambda", 0.01), r.get("cost_scale", 1)
        self.floor = r.get("variance_floor", 5e-4)
        self.shape = self.c, *((n - k) // self.stride + 1 for n, k in zip((self.h, self.w), self.k))
        ids = torch.arange(self.t * self.h * self.w, dtype=torch.float64).view(1, self.t, self.h, self.w)
        self.register_buffer("child", self.windows(ids, 1).long().view(-1), persistent=False)  # [P * E]
        seen = self.by_child(torch.ones(1, self.shape[1] * self.shape[2], self.edges))
        self.register_buffer("first", (1 / (self.c * self.windows(seen.clamp_min(1), 1).squeeze(-1))).float(),
                             persistent=False)  # [1, P, E]: R of the first iteration
        place = torch.zeros(self.edges, 1, 4, 4)
        if self.all and f.get("coordinates", True):
            y = (torch.arange(self.h) + 0.5) / self.h
            x = (torch.arange(self.w) + 0.5) / self.w
            place[:, 0, 0, 3] = y.repeat_interleave(self.w * self.t)
            place[:, 0, 1, 3] = x.repeat_interleave(self.t).repeat(self.h)
        self.register_buffer("place", place, persistent=False)

    @property
    def edges(self):
        return self.k[0] * self.k[1] * self.t

    def windows(self, x, n):
        """[B, T * n, H, W] to [B, P, E, n], edges by row, column and type."""
        z = F.unfold(x, self.k, stride=self.stride)
        b, _, p = z.shape
        return z.view(b, self.t, n, -1, p).permute(0, 4, 3, 1, 2).reshape(b, p, -1, n)

    def by_child(self, x):
        """Sums of [B, P, E] over the windows that see a child: [B, T, H, W]"""
        b, p, _ = x.shape
        z = x.view(b, p, -1, self.t).permute(0, 3, 2, 1).reshape(b, -1, p)
        return F.fold(z, (self.h, self.w), self.k, stride=self.stride)

    def assign(self, logits):
        """Softmax over all parents of a child, types and windows."""
        b, p, e, c = logits.shape
        with torch.no_grad():
            most = logits.amax(3).view(b, -1)
            least = most.new_full((b, self.t * self.h * self.w), -torch.inf)
            child = self.child.expand(b, -1)
            most = least.scatter_reduce(1, child, most, "amax").gather(1, child).view(b, p, e)
        weights = torch.exp(logits - most.unsqueeze(3))
        return weights / self.windows(self.by_child(weights.sum(3)), 1)

    def forward(self, x):
        pose, activation = x
        b = pose.shape[0]
        m = self.windows(pose, 16).view(b, -1, self.edges, 4, 4)
        a = self.windows(activation, 1)
        w = self.weight.view(-1, self.c, 4, 4)
        if self.all:
            w = w.repeat(self.h * self.w, 1, 1, 1)
        v = torch.einsum("bpeij,ecjk->bpecik", m, w)
        v = (v + self.place if self.all else v).flatten(4)  # [B, P, E, C, 16]
        r = self.first.unsqueeze(3).expand(b, -1, -1, self.c)
        for t in range(self.iterations):
            if self.last and t + 1 == self.iterations:
                r = r.detach()
            ra = r * a
            s = ra.sum(2)  # [B, P, C]
            below = (s + 1e-7).unsqueeze(-1)
            mu = torch.einsum("bpec,bpech->bpch", ra, v) / below
            d2 = (v - mu.unsqueeze(2)) ** 2
            var = torch.einsum("bpec,bpech->bpch", ra, d2) / below + self.floor
            cost = self.cost_scale * (16 * self.beta_u + 0.5 * var.log().sum(-1)) * s
            z = self.lamb * (1 - 0.95 ** (t + 1)) * (self.beta_a - cost)
            if t + 1 < self.iterations:
                p = F.logsigmoid(z) - 0.5 * (var.log() + math.log(2 * math.pi)).sum(-1)
                r = self.assign(p.unsqueeze(2) - torch.einsum("bpech,bpch->bpec", d2, 0.5 / var))
        side = self.shape[1:]
        mu = mu.permute(0, 2, 3, 1).reshape(b, -1, *side)
        return mu, torch.sigmoid(z).transpose(1, 2).reshape(b, -1, *side)


KINDS = {"conv": Conv, "linear": Linear, "dropout": Dropout, "max_pool": MaxPool, "primary_caps": PrimaryCaps,
         "caps": Caps, "matrix_primary": MatrixPrimary, "matrix_conv": Matrix, "matrix_caps": Matrix}


class Network(nn.Module):
    """classes: lengths or activations [B, J]; capsules [B, J, D], None where the list ends in linear."""

    def __init__(self, spec):
        super().__init__()
        shape, counts, self.order = tuple(spec["input"]), {}, []
        for f in spec["layers"]:
            counts[f["kind"]] = counts.get(f["kind"], 0) + 1
            name = f.get("name", f"{f['kind']}{counts[f['kind']]}")
            layer = KINDS[f["kind"]](f, shape)
            self.add_module(name, layer)
            self.order.append(layer)
            shape = layer.shape
        self.kind, hidden = spec["layers"][-1]["kind"], (spec.get("decoder") or {}).get("hidden")
        if hidden is not None:
            size = spec["classes"] * (16 if self.kind == "matrix_caps" else shape[1])
            outs = [*hidden, math.prod(spec["input"])]
            self.decoder = nn.Module()
            for n, out in enumerate(outs, 1):
                self.decoder.add_module(f"fc{n}", Linear(
                    {"out": out, "activation": "sigmoid" if n == len(outs) else "relu"}, (size,)))
                size = out

    def forward(self, x, labels=None):
        for layer in self.order:
            x = layer(x)
        if self.kind == "linear":
            return x, None, None
        if self.kind == "matrix_caps":
            capsules, scores = x[0].flatten(2).view(x[0].shape[0], -1, 16), x[1].flatten(1)
        else:
            capsules, scores = x, x.norm(dim=-1)
        image = None
        if hasattr(self, "decoder"):
            chosen = scores.argmax(-1) if labels is None else labels
            mask = F.one_hot(chosen, scores.shape[1]).to(scores.dtype).unsqueeze(-1)
            image = (capsules * mask).flatten(1)
            for fc in self.decoder.children():
                image = fc(image)
        return scores, capsules, image


def loss_of(network, x, labels, kind, weight=0.0005, margin=0.5):
    """The mean over the images; kind: margin, spread, or cross_entropy."""
    scores, _, image = network(x, labels)
    if kind == "cross_entropy":
        return F.cross_entropy(scores, labels)
    target = F.one_hot(labels, scores.shape[1]).to(scores.dtype)
    if kind == "margin":
        up, down = torch.relu(0.9 - scores) ** 2, torch.relu(scores - 0.1) ** 2
        loss = (target * up + 0.5 * (1 - target) * down).sum(1).mean()
    else:
        other = torch.relu(margin - (scores * target).sum(1, keepdim=True) + scores) ** 2
        loss = ((1 - target) * other).sum(1).mean()
    return loss if image is None else loss + weight * ((image - x.flatten(1)) ** 2).sum(1).mean()

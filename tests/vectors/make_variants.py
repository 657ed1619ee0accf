#!/usr/bin/env python3
"""Makes authors, keras, leaky_net, pairs, cnn and cnn_pairs.safetensors: one batch through a small network each, in float64, by PyTorch.

Needs torch, numpy, safetensors. Run in this directory. Before anything is written, the same code has to give the
losses and gradients of gray_r3.safetensors and gray_r3_lastgrad.safetensors.

authors: primary capsules averaged over types, a bias in every iteration of the class layer, the margin loss averaged
         over classes and halved
keras:   couplings as constants, the squared error averaged over pixels
leaky_net: one more logit, always 0, in each softmax of the routing
pairs:   two labels an image; the decoder runs once for each, its targets are two other images
cnn:     the baseline: convolutions with zero padding, linear layers, softmax cross entropy (no dropout)
cnn_pairs: the same with two labels an image: sigmoids, binary cross entropy added up over the classes
"""
import json
import struct
import numpy as np
import torch
from safetensors.numpy import save_file

torch.set_default_dtype(torch.float64)
PAPER = {"margin_positive": 0.9, "margin_negative": 0.1, "margin_down": 0.5, "margin_scale": 1.0,
         "reconstruction_weight": 0.0005}


def load(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + n])
    kinds = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    meta = header.pop("__metadata__")
    out = {}
    for name, e in header.items():
        a, b = e["data_offsets"]
        out[name] = np.frombuffer(raw[8 + n + a : 8 + n + b], kinds[e["dtype"]]).reshape(e["shape"])
    return out, meta


def squash(s):
    n2 = (s * s).sum(-1, keepdim=True)
    n = torch.sqrt(torch.where(n2 > 0, n2, torch.ones_like(n2)))
    return torch.where(n2 > 0, s * n / (1 + n2), torch.zeros_like(s))


def couple(logits, leaky):
    if leaky:
        logits = torch.cat([logits, torch.zeros(logits.shape[:2] + (1,))], 2)
        return torch.softmax(logits, 2)[..., :-1]
    return torch.softmax(logits, 2)


def capsnet(p, spec, x, labels, targets, loss):
    b, prim, caps = x.shape[0], spec["primary"], spec["class_caps"]
    h = torch.relu(torch.nn.functional.conv2d(x, p["conv1.weight"], p["conv1.bias"], stride=spec["conv1"]["stride"]))
    z = torch.nn.functional.conv2d(h, p["primary.weight"], None, stride=prim["stride"])
    if prim.get("average"):
        z = z / prim["types"]
    z = z + p["primary.bias"][None, :, None, None]
    u = squash(z.reshape(b, prim["types"], prim["dim"], -1).permute(0, 1, 3, 2).reshape(b, -1, prim["dim"]))
    votes = torch.einsum("ijdk,bik->bijd", p["class_caps.weight"], u)
    last = caps.get("routing_grad") == "last"
    logits = torch.zeros(votes.shape[:3])
    for t in range(caps["iterations"]):
        end = t + 1 == caps["iterations"]
        seen = votes if end or not last else votes.detach()
        c = couple(logits.detach() if last else logits, caps.get("leaky"))
        s = (c[..., None] * seen).sum(1)
        if caps.get("bias"):
            s = s + (p["class_caps.bias"] if end or not last else p["class_caps.bias"].detach())
        v = squash(s)
        if not end:
            logits = logits + (seen * v[:, None]).sum(-1)
    lengths = torch.sqrt((v * v).sum(-1))
    truth = torch.zeros(b, spec["classes"]).scatter(1, labels.reshape(b, -1), 1.0)
    margin = (truth * torch.relu(loss["margin_positive"] - lengths) ** 2
              + loss["margin_down"] * (1 - truth) * torch.relu(lengths - loss["margin_negative"]) ** 2).sum() / b
    out = {"out.lengths": lengths, "out.class_caps": v, "out.couplings": c, "loss.margin": margin}
    total = loss["margin_scale"] * margin
    if spec.get("decoder"):
        rows = torch.nn.functional.one_hot(labels.reshape(b, -1), spec["classes"]).to(x.dtype)  # [b, L, J]
        y = (v[:, None] * rows[..., None]).reshape(-1, v[0].numel())
        layers = len(spec["decoder"]["hidden"]) + 1
        for n in range(1, layers + 1):
            y = y @ p[f"decoder.fc{n}.weight"].T + p[f"decoder.fc{n}.bias"]
            y = torch.relu(y) if n < layers else torch.sigmoid(y)
        sse = ((y - targets.reshape(y.shape)) ** 2).sum() / b
        out |= {"out.reconstruction": y, "loss.sse": sse}
        total = total + loss["reconstruction_weight"] * sse
    out["loss.total"] = total
    return out


def cnn(p, spec, x, labels, targets, loss):
    y = x
    for n, c in enumerate(spec["conv"], 1):
        y = torch.relu(torch.nn.functional.conv2d(
            y, p[f"conv{n}.weight"], p[f"conv{n}.bias"], stride=c["stride"], padding=c["padding"]))
    y = y.reshape(x.shape[0], -1)
    layers = len(spec["hidden"]) + 1
    for n in range(1, layers + 1):
        y = y @ p[f"fc{n}.weight"].T + p[f"fc{n}.bias"]
        y = torch.relu(y) if n < layers else y
    if labels.ndim == 2:
        truth = torch.zeros_like(y).scatter(1, labels, 1.0)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(y, truth, reduction="sum") / len(y)
        return {"out.lengths": torch.sigmoid(y), "loss.margin": entropy, "loss.total": entropy}
    entropy = torch.nn.functional.cross_entropy(y, labels)
    return {"out.lengths": torch.softmax(y, 1), "loss.margin": entropy, "loss.total": entropy}


def run(values, spec, loss, targets=None):
    """Outputs, losses and gradients of the network of `spec` with these parameters and this batch."""
    p = {k: torch.tensor(v.astype(np.float64), requires_grad=True) for k, v in values.items()
         if k not in ("input", "labels", "targets") and not k.startswith(("out.", "loss.", "grad."))}
    x = torch.tensor(values["input"].astype(np.float64))
    labels = torch.tensor(values["labels"])
    t = x if targets is None else torch.tensor(targets.astype(np.float64))
    out = (cnn if spec.get("kind") == "cnn" else capsnet)(p, spec, x, labels, t, loss)
    out["loss.total"].backward()
    done = {k: v.detach().numpy().reshape(-1) if v.ndim == 0 else v.detach().numpy() for k, v in out.items()}
    return done | {f"grad.{k}": v.grad.numpy() for k, v in p.items()}


def shapes(spec):
    """Names and shapes of the parameters, in the contract's order."""
    c, h, w = spec["input"]
    out = {}
    size = lambda n, k, s, pad: (n + 2 * pad - k) // s + 1

    def linear(prefix, n, units):
        for i, m in enumerate(units, 1):
            out[f"{prefix}fc{i}.weight"], out[f"{prefix}fc{i}.bias"] = (m, n), (m,)
            n = m

    if spec.get("kind") == "cnn":
        for i, l in enumerate(spec["conv"], 1):
            out[f"conv{i}.weight"], out[f"conv{i}.bias"] = (l["channels"], c, l["kernel"], l["kernel"]), (l["channels"],)
            c, h, w = l["channels"], size(h, l["kernel"], l["stride"], l["padding"]), size(w, l["kernel"], l["stride"], l["padding"])
        linear("", c * h * w, spec["hidden"] + [spec["classes"]])
        return out
    c1, prim, caps = spec["conv1"], spec["primary"], spec["class_caps"]
    h, w = size(h, c1["kernel"], c1["stride"], 0), size(w, c1["kernel"], c1["stride"], 0)
    m = prim["types"] * prim["dim"]
    out["conv1.weight"], out["conv1.bias"] = (c1["channels"], c, c1["kernel"], c1["kernel"]), (c1["channels"],)
    out["primary.weight"], out["primary.bias"] = (m, c1["channels"], prim["kernel"], prim["kernel"]), (m,)
    h, w = size(h, prim["kernel"], prim["stride"], 0), size(w, prim["kernel"], prim["stride"], 0)
    out["class_caps.weight"] = (prim["types"] * h * w, spec["classes"], caps["dim"], prim["dim"])
    if caps.get("bias"):
        out["class_caps.bias"] = (spec["classes"], caps["dim"])
    if spec.get("decoder"):
        linear("decoder.", spec["classes"] * caps["dim"], spec["decoder"]["hidden"] + [int(np.prod(spec["input"]))])
    return out


def make(name, spec, batch, loss=PAPER, seed=1):
    rng = np.random.default_rng(seed)
    labels = spec.get("labels", 1)
    values = {"input": rng.random((batch, *spec["input"])).astype(np.float32)}
    picks = np.stack([rng.permutation(spec["classes"])[:labels] for _ in range(batch)]).astype(np.int64)
    values["labels"] = picks if labels > 1 else picks[:, 0]
    targets = None
    if labels > 1 and spec.get("decoder"):
        targets = values["targets"] = rng.random((batch, labels, *spec["input"])).astype(np.float32)
    for parameter, shape in shapes(spec).items():
        fan = int(np.prod(shape[1:])) if parameter.endswith("weight") else 1
        sigma = 0.4 if parameter.startswith("class_caps.weight") else 0.15 if fan == 1 else 1.4 / np.sqrt(fan)
        values[parameter] = (sigma * rng.standard_normal(shape)).astype(np.float32)
    values |= run(values, spec, loss, targets)
    mode = spec["class_caps"].get("routing_grad", "full") if "class_caps" in spec else "full"
    meta = {"capscl.spec": json.dumps(spec), "routing_grad": mode, "capscl.loss": json.dumps(loss)}
    save_file({k: np.ascontiguousarray(v) for k, v in values.items()}, f"{name}.safetensors", metadata=meta)


def check(path):
    values, meta = load(path)
    spec = json.loads(meta["capscl.spec"])
    spec["class_caps"]["routing_grad"] = meta["routing_grad"]
    for name, have in run(values, spec, PAPER).items():
        need = values[name]
        assert np.linalg.norm(have - need) <= 1e-9 * np.linalg.norm(need), (path, name)


def spec(**more):
    base = {"input": [2, 9, 8], "classes": 4, "conv1": {"channels": 5, "kernel": 3, "stride": 1},
            "primary": {"types": 3, "dim": 6, "kernel": 3, "stride": 2},
            "class_caps": {"dim": 7, "iterations": 3}, "decoder": {"hidden": [10]}}
    for key, value in more.items():
        base[key] = base.get(key, {}) | value if isinstance(value, dict) else value
    return base


if __name__ == "__main__":
    check("gray_r3.safetensors")
    check("gray_r3_lastgrad.safetensors")
    make("authors", spec(primary={"average": True}, class_caps={"bias": True}), 3,
         PAPER | {"margin_scale": 1 / (2 * 4)})
    make("keras", spec(class_caps={"routing_grad": "last"}), 3, PAPER | {"reconstruction_weight": 0.392 / (2 * 9 * 8)})
    make("leaky_net", spec(class_caps={"leaky": True, "bias": True, "iterations": 2}), 3)
    make("pairs", spec(input=[1, 8, 9], labels=2), 3)
    make("cnn", {"kind": "cnn", "input": [2, 7, 6], "classes": 5,
                 "conv": [{"channels": 6, "kernel": 5, "stride": 1, "padding": 2},
                          {"channels": 7, "kernel": 3, "stride": 2, "padding": 1},
                          {"channels": 3, "kernel": 4, "stride": 1, "padding": 1}],
                 "hidden": [11, 8], "dropout": 0}, 4)
    make("cnn_pairs", {"kind": "cnn", "input": [1, 7, 9], "classes": 6, "labels": 2,
                       "conv": [{"channels": 5, "kernel": 3, "stride": 2, "padding": 1}],
                       "hidden": [8], "dropout": 0}, 3)

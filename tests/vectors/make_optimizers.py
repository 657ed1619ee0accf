#!/usr/bin/env python3
"""Makes optimizers.safetensors: ten Adam steps and ten SGD steps of a small network in float64, by PyTorch.

Needs torch, numpy, safetensors. Run in this directory; reads gray_r3.safetensors for the network and checks its own
forward and gradients against that file before it writes anything.

The data are 7 images in batches of 3, so that every third step has a batch of one image. Rates: Adam as the program's
default, rate * 0.9 ** (step / 3); SGD constant. Gradients flow through all iterations.
"""
import json
import struct
import numpy as np
import torch
from safetensors.numpy import save_file

torch.set_default_dtype(torch.float64)


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
    return out, json.loads(meta["capscl.spec"])


def squash(s):
    n2 = (s * s).sum(-1, keepdim=True)
    n = torch.sqrt(torch.where(n2 > 0, n2, torch.ones_like(n2)))
    return torch.where(n2 > 0, s * n / (1 + n2), torch.zeros_like(s))


def loss_of(p, spec, x, labels):
    b = x.shape[0]
    prim, caps = spec["primary"], spec["class_caps"]
    h = torch.relu(torch.nn.functional.conv2d(x, p["conv1.weight"], p["conv1.bias"], stride=spec["conv1"]["stride"]))
    z = torch.nn.functional.conv2d(h, p["primary.weight"], p["primary.bias"], stride=prim["stride"])
    u = squash(z.reshape(b, prim["types"], prim["dim"], -1).permute(0, 1, 3, 2).reshape(b, -1, prim["dim"]))
    votes = torch.einsum("ijdk,bik->bijd", p["class_caps.weight"], u)
    logits = torch.zeros(votes.shape[:3])
    for t in range(caps["iterations"]):
        v = squash((torch.softmax(logits, 2)[..., None] * votes).sum(1))
        if t + 1 < caps["iterations"]:
            logits = logits + (votes * v[:, None]).sum(-1)
    lengths = torch.sqrt((v * v).sum(-1))
    truth = torch.nn.functional.one_hot(labels, spec["classes"]).to(x.dtype)
    margin = (truth * torch.relu(0.9 - lengths) ** 2 + 0.5 * (1 - truth) * torch.relu(lengths - 0.1) ** 2).sum() / b
    y = (v * truth[..., None]).reshape(b, -1)
    layers = len(spec["decoder"]["hidden"]) + 1
    for n in range(1, layers + 1):
        y = y @ p[f"decoder.fc{n}.weight"].T + p[f"decoder.fc{n}.bias"]
        y = torch.relu(y) if n < layers else torch.sigmoid(y)
    return margin + 0.0005 * ((y - x.reshape(b, -1)) ** 2).sum() / b


def main():
    golden, spec = load("gray_r3.safetensors")
    names = [n for n in golden if n.split(".")[0] in ("conv1", "primary", "class_caps", "decoder")]
    start = {n: torch.tensor(golden[n].astype(np.float64)) for n in names}
    p = {n: t.clone().requires_grad_() for n, t in start.items()}
    loss = loss_of(p, spec, torch.tensor(golden["input"].astype(np.float64)), torch.tensor(golden["labels"]))
    loss.backward()
    assert abs(loss.item() - golden["loss.total"][0]) < 1e-12
    for n in names:
        assert np.abs(p[n].grad.numpy() - golden["grad." + n]).max() < 1e-12, n

    rng = np.random.default_rng(11)
    c, h, w = spec["input"]
    images = rng.integers(0, 256, (7, c, h, w)).astype(np.uint8)
    labels = np.array([0, 3, 1, 4, 2, 2, 0], np.uint8)
    x = torch.tensor(images.astype(np.float64) / 255)
    out = {"images": images, "labels": labels}
    for n in names:
        out["init." + n] = golden[n].astype(np.float32)
    adam_rate, sgd_rate = 1e-3, 0.25
    for kind in ("adam", "sgd"):
        p = {n: t.clone().requires_grad_() for n, t in start.items()}
        optimizer = (torch.optim.Adam(p.values(), lr=adam_rate, betas=(0.9, 0.999), eps=1e-8) if kind == "adam"
                     else torch.optim.SGD(p.values(), lr=sgd_rate))
        for step in range(10):
            first = 3 * (step % 3)
            take = slice(first, min(first + 3, 7))
            if kind == "adam":
                optimizer.param_groups[0]["lr"] = adam_rate * 0.9 ** (step / 3)
            optimizer.zero_grad()
            loss_of(p, spec, x[take], torch.tensor(labels[take].astype(np.int64))).backward()
            optimizer.step()
        for n in names:
            out[f"{kind}.{n}"] = p[n].detach().numpy()
    save_file(out, "optimizers.safetensors", metadata={
        "capscl.spec": json.dumps(spec), "adam_rate": str(adam_rate), "sgd_rate": str(sgd_rate),
        "batch": "3", "steps": "10"})


main()

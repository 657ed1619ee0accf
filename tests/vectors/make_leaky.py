#!/usr/bin/env python3
"""Makes leaky.safetensors: leaky routing by agreement in float64, by PyTorch's autograd.

Needs torch, numpy, safetensors. Run in this directory. The leak is written as what it means, a softmax over J + 1 logits
of which the last is always 0 and whose coupling is dropped, not as the closed form that the program has.

u, w, bias and dv are float32: inputs. votes = w u, couplings and v of all iterations, and for both routing_grad modes
the gradients of sum(dv * v) with respect to votes, bias, u and w are float64.
"""
import numpy as np
import torch
from safetensors.numpy import save_file

torch.set_default_dtype(torch.float64)
B, I, J, D, K, ITERATIONS = 3, 35, 4, 5, 2, 3


def squash(s):
    n2 = (s * s).sum(-1, keepdim=True)
    return s * torch.sqrt(n2) / (1 + n2)


def couplings_of(logits):
    with_leak = torch.cat([logits, torch.zeros_like(logits[..., :1])], -1)
    return torch.softmax(with_leak, -1)[..., :-1]


def route(votes, bias, full):
    logits = torch.zeros(B, I, J)
    couplings, capsules = [], []
    for t in range(ITERATIONS):
        c = couplings_of(logits if full else logits.detach())
        v = squash((c[..., None] * votes).sum(1) + bias)
        logits = logits + (votes * v[:, None]).sum(-1)
        couplings.append(c)
        capsules.append(v)
    return torch.stack(couplings), torch.stack(capsules)


def main():
    rng = np.random.default_rng(29)
    inputs = {
        "u": rng.uniform(-1, 1, (B, I, K)),
        "w": rng.uniform(-1, 1, (I, J, D, K)) * 3,
        "bias": rng.uniform(-0.3, 0.3, (J, D)),
        "dv": rng.uniform(-1, 1, (B, J, D)),
    }
    out = {name: x.astype(np.float32) for name, x in inputs.items()}
    dv = torch.tensor(out["dv"].astype(np.float64))
    for mode in ("full", "last"):
        u, w, bias = (torch.tensor(out[n].astype(np.float64)).requires_grad_() for n in ("u", "w", "bias"))
        votes = torch.einsum("ijdk,bik->bijd", w, u)
        votes.retain_grad()
        couplings, v = route(votes, bias, mode == "full")
        (dv * v[-1]).sum().backward()
        for name, x in (("votes", votes), ("bias", bias), ("u", u), ("w", w)):
            out[f"{mode}.d{name}"] = x.grad.numpy()
    taken = couplings.detach().sum(-1)
    # Inputs of which the leak takes much, and others of which it takes hardly anything.
    assert torch.allclose(taken[0], torch.tensor(J / (J + 1))) and taken[-1].min() < 0.65 and taken[-1].max() > 0.95
    out.update(votes=votes.detach().numpy(), couplings=couplings.detach().numpy(), v=v.detach().numpy())
    # einsum lays its result out as it likes, and save_file writes memory as it lies.
    out = {name: np.ascontiguousarray(x) for name, x in out.items()}
    save_file(out, "leaky.safetensors", metadata={"iterations": str(ITERATIONS)})


main()

"""Writes python.safetensors: a checkpoint as a Python user would save one, from a PyTorch module whose
state dict has the contract's names. Needs torch and safetensors. Run it in this folder.

The parameters are a fixed pattern, so that the test can tell every element."""

import json

import torch
from safetensors.torch import save_file


class CapsNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 3, 3)
        self.primary = torch.nn.Conv2d(3, 2 * 4, 3, stride=2)
        self.class_caps = torch.nn.Module()
        self.class_caps.weight = torch.nn.Parameter(torch.zeros(2 * 2 * 3, 5, 6, 4))
        self.class_caps.bias = torch.nn.Parameter(torch.zeros(5, 6))
        self.decoder = torch.nn.Module()
        self.decoder.fc1 = torch.nn.Linear(5 * 6, 7)
        self.decoder.fc2 = torch.nn.Linear(7, 8 * 9)


SPEC = {
    "input": [1, 8, 9],
    "classes": 5,
    "conv1": {"channels": 3, "kernel": 3, "stride": 1},
    "primary": {"types": 2, "dim": 4, "kernel": 3, "stride": 2},
    "class_caps": {"dim": 6, "iterations": 2, "bias": True},
    "decoder": {"hidden": [7]},
}

state = CapsNet().state_dict()
for position, (name, tensor) in enumerate(sorted(state.items())):
    pattern = torch.arange(tensor.numel(), dtype=torch.float32) / 1024 + position
    state[name] = pattern.reshape(tensor.shape).contiguous()
save_file(state, "python.safetensors", metadata={"capscl.spec": json.dumps(SPEC), "author": "Zoë"})

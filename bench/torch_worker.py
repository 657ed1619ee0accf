"""The other side of common.Torch: PyTorch in a process of its own.

    torch_worker.py eager|compile|bf16 THREADS SPEC [DEVICE]

Lines of JSON: requested {"what": "step"|"forward", "batch": N} it answers {"seconds": [...]}, requested
{"what": "memory"} {"ru_maxrss": bytes}. Adam, gradients through every routing iteration, float32
unless the mode is bf16. DEVICE is PyTorch's name of one, for instance cuda; else the processor.
"""

import functools
import json
import resource
import sys
import time

import torch
from torch import nn

import torch_layers

LEAST_SECONDS, LEAST_TIMES, MOST_TIMES = 1, 3, 100
LOSSES = {"matrix_caps": "spread", "linear": "cross_entropy"}  # by the last layer's kind


def squash(s):
    square = (s * s).sum(-1, keepdim=True)
    return s * (square.sqrt() / (1 + square))


class CapsNet(nn.Module):
    def __init__(self, spec):
        super().__init__()
        c, h, w = spec["input"]
        one, two, top = spec["conv1"], spec["primary"], spec["class_caps"]
        self.types, self.dim, self.iterations = two["types"], two["dim"], top["iterations"]
        self.conv1 = nn.Conv2d(c, one["channels"], one["kernel"], one["stride"])
        self.primary = nn.Conv2d(one["channels"], self.types * self.dim, two["kernel"], two["stride"])
        with torch.no_grad():
            count = self.capsules(torch.zeros(1, c, h, w)).shape[1]
        self.weight = nn.Parameter(0.1 * torch.randn(count, spec["classes"], top["dim"], self.dim))
        layers, size = [], spec["classes"] * top["dim"]
        for out in (spec.get("decoder") or {"hidden": []})["hidden"]:
            layers += [nn.Linear(size, out), nn.ReLU()]
            size = out
        layers += [nn.Linear(size, c * h * w), nn.Sigmoid()]
        self.decoder = nn.Sequential(*layers) if spec.get("decoder") else None

    def capsules(self, x):
        z = self.primary(torch.relu(self.conv1(x)))
        b, _, h, w = z.shape
        return z.view(b, self.types, self.dim, h, w).permute(0, 1, 3, 4, 2).reshape(b, -1, self.dim)

    def forward(self, x, labels=None):
        votes = torch.einsum("bik,ijdk->bijd", squash(self.capsules(x)), self.weight)
        logits = votes.new_zeros(votes.shape[:3])
        for step in range(self.iterations):
            v = squash((logits.softmax(-1).unsqueeze(-1) * votes).sum(1))
            if step + 1 < self.iterations:
                logits = logits + (votes * v.unsqueeze(1)).sum(-1)
        lengths = v.norm(dim=-1)
        chosen = lengths.argmax(-1) if labels is None else labels
        target = torch.nn.functional.one_hot(chosen, v.shape[1]).to(v.dtype)
        image = self.decoder((v * target.unsqueeze(-1)).flatten(1)) if self.decoder else None
        return lengths, target, image


def loss_of(model, x, labels):
    lengths, target, image = model(x, labels)
    up, down = torch.relu(0.9 - lengths) ** 2, torch.relu(lengths - 0.1) ** 2
    total = (target * up + 0.5 * (1 - target) * down).sum(1).mean()
    if image is not None:
        total = total + 0.0005 * ((image - x.flatten(1)) ** 2).sum(1).mean()
    return total


class Side:
    def __init__(self, spec, mode):
        torch.manual_seed(1)
        self.spec, self.mode = spec, mode
        self.model = torch_layers.Network(spec) if "layers" in spec else CapsNet(spec)
        self.adam = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        compiled = (lambda f: f) if mode == "eager" else torch.compile
        loss = loss_of
        if "layers" in spec:
            loss = functools.partial(torch_layers.loss_of, kind=LOSSES.get(spec["layers"][-1]["kind"], "margin"))
        self.loss = compiled(lambda x, labels: loss(self.model, x, labels))
        self.infer = compiled(lambda x: self.model(x))
        self.batches, self.warm = {}, set()

    def precision(self):
        return torch.autocast("cpu", torch.bfloat16, enabled=self.mode == "bf16")

    def step(self, x, labels):
        self.adam.zero_grad(set_to_none=True)
        with self.precision():
            loss = self.loss(x, labels)
        loss.backward()
        self.adam.step()

    def forward(self, x, labels):
        with torch.no_grad(), self.precision():
            self.infer(x)

    def measure(self, what, batch):
        if batch not in self.batches:
            labels = torch.arange(batch) % self.spec["classes"]
            self.batches[batch] = (torch.rand(batch, *self.spec["input"]), labels)
        run = {"step": self.step, "forward": self.forward}[what]
        if (what, batch) not in self.warm:
            begin = time.perf_counter()
            run(*self.batches[batch])
            run(*self.batches[batch])
            self.warm.add((what, batch))
            if self.mode != "eager":
                print(f"PyTorch {self.mode}: {what} of {batch} ready after "
                      f"{time.perf_counter() - begin:.1f} s", file=sys.stderr)
        times = []
        while len(times) < LEAST_TIMES or (sum(times) < LEAST_SECONDS and len(times) < MOST_TIMES):
            begin = time.perf_counter()
            run(*self.batches[batch])
            if torch.get_default_device().type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        return times


def main():
    mode, threads, spec = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    torch.set_num_threads(threads)
    if len(sys.argv) > 4:
        torch.set_default_device(sys.argv[4])
    side = Side(spec, mode)
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if request["what"] == "memory":
            answer = {"ru_maxrss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
        else:
            answer = {"seconds": side.measure(request["what"], request["batch"])}
        print(json.dumps(answer), flush=True)


try:
    main()
except KeyboardInterrupt:
    sys.exit(130)
except Exception as error:  # of any kind: PyTorch's own are many
    sys.exit(f"torch_worker: {type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}")

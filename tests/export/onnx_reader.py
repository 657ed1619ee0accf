"""What is in an ONNX file and in a safetensors file, with nothing but Python's own library."""
import json
import math
import struct

# Kinds of values in Protocol Buffers.
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if byte < 0x80:
            return value, at


def fields(data):
    """{number of a field: its values}; a length-delimited one as bytes."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = varint(data, at)
        elif kind == LENGTH:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
            assert len(value) == length, "a field is cut off"
        elif kind == FIXED32:
            value, at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            raise AssertionError(f"a value of kind {kind}")
        found.setdefault(key >> 3, []).append(value)
    return found


def texts(values):
    return [bytes(v).decode() for v in values]


class Value:
    """A graph's input or output: name, shape ("N", or a number)."""

    def __init__(self, data):
        f = fields(data)
        tensor = fields(fields(f[2][0])[1][0])
        dims = [fields(d) for d in fields(tensor[2][0])[1]]
        self.name = texts(f[1])[0]
        self.type = tensor[1][0]
        self.shape = [d[1][0] if 1 in d else texts(d[2])[0] for d in dims]


class Tensor:
    def __init__(self, data):
        f = fields(data)
        self.name, self.type = texts(f[8])[0], f[2][0]
        self.shape, self.data = f.get(1, []), f[9][0]

    def size(self):
        return math.prod(self.shape) * {1: 4, 7: 8}[self.type]


class Node:
    def __init__(self, data):
        f = fields(data)
        self.inputs, self.outputs = texts(f.get(1, [])), texts(f[2])
        self.name, self.operator = texts(f[3])[0], texts(f[4])[0]
        self.attributes = {}
        for attribute in map(fields, f.get(5, [])):
            value = {1: 2, 2: 3, 7: 8}[attribute[20][0]]
            self.attributes[texts(attribute[1])[0]] = attribute[value]


class Model:
    def __init__(self, path):
        with open(path, "rb") as file:
            f = fields(memoryview(file.read()))
        graph = fields(f[7][0])
        self.ir_version, self.producer = f[1][0], texts(f[2] + f[3])
        self.opsets = [fields(o)[2][0] for o in f[8]]
        pairs = [fields(p) for p in f[14]]
        self.metadata = {texts(p[1])[0]: texts(p[2])[0] for p in pairs}
        self.nodes = [Node(n) for n in graph[1]]
        self.tensors = {t.name: t for t in map(Tensor, graph[5])}
        self.tensor_count = len(graph[5])
        self.inputs = {v.name: v for v in map(Value, graph[11])}
        self.outputs = {v.name: v for v in map(Value, graph[12])}


def safetensors(path):
    """{name: (type, shape, bytes)}"""
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header, data = json.loads(file.read(length)), file.read()
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[t["data_offsets"][0]:t["data_offsets"][1]])
            for name, t in header.items()}

"""Hostile .tnb files, loaded and run: the part of test_robustness.py that must not share its process.

    python tests/hostile.py graphs FIRST LAST        graphs with wild attributes, shapes and dtypes, one per seed
    python tests/hostile.py bytes FIRST LAST         a sound file with parts of its description changed, no checksum check
    python tests/hostile.py chains                   long and repetitive graphs

Every file must end in a result or a TinynetError within SECONDS and within the process's memory.  The number of the file
stands in the file named by PROGRESS, so that a crash names its seed.  Prints counts; the exit code is 1 if
anything else happened.
"""

from __future__ import annotations

import math
import os
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tinynet
from tinynet import layouts, ops
from tinynet.converters.writer import write
from tinynet.errors import TinynetError
from tinynet.graph import DTYPES, Graph, Node, Tensor

MAX_RAM = 64 << 20
MAX_MACS = 10 ** 8
SECONDS = 10.0
# The interpreter, numpy and the stacks of threads come on top of what a run may need.
ADDRESS_SPACE = 4 << 30

WILD = (0, -1, -2, 1, 2, 3, 7, 64, 65, 1000, 2 ** 16, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 62, 2 ** 63 - 1, -2 ** 63)
FLOATS = (0.0, 1.0, -1.0, 0.5, math.inf, -math.inf, math.nan, 1e38, 1e300, 1e-300)
WORDS = ("none", "relu", "clip", "gelu", "constant", "reflect", "edge", "nearest", "linear", "asymmetric", "half_pixel",
         "align_corners", "floor", "ceil", "dcr", "crd", "float32", "int64", "uint8", "bool", "float16", "float64", "")


class Hostile:
    """One graph of one to five layers.  Attributes are plausible often enough that what reads them is reached."""

    def __init__(self, seed: int):
        self.r = random.Random(seed)
        self.rng = np.random.default_rng(seed)
        self.graph = Graph()
        self.graph.meta.name = "hostile"
        for _ in range(self.r.choice((1, 1, 2))):
            self.input()
        kinds = sorted(ops.kinds())
        moves = ("resize", "depth_to_space", "space_to_depth", "lrn", "concat", "slice")
        images = [k for k in kinds if "2d" in k or k in moves]
        for i in range(self.r.randint(1, 5)):
            self.layer(f"layer{i}", self.r.choice(self.r.choice((kinds, images))))
        made = [name for node in self.graph.nodes for name in node.outputs]
        read = {name for node in self.graph.nodes for name in node.inputs}
        self.graph.outputs = [n for n in made if n not in read or self.r.random() < 0.2] or self.graph.inputs[:1]

    def name(self) -> str:
        return f"t{len(self.graph.tensors)}"

    def shape(self) -> tuple[int, ...]:
        r = self.r
        if r.random() < 0.5:
            return r.choice((1, 2)), r.choice((1, 3, 5, 8)), r.choice((1, 2, 7)), r.choice((1, 2, 3, 4, 8, 16, 17, 33))
        return tuple(r.choice((1, 2, 3, 4, 5, 0, 17)) if r.random() < 0.9 else r.choice((100, 2 ** 16, 2 ** 20, 2 ** 31))
                     for _ in range(r.randint(0, 7)))

    def input(self) -> None:
        dtype = "float32" if self.r.random() < 0.7 else self.r.choice(list(DTYPES))
        self.graph.inputs.append(self.graph.add(Tensor(self.name(), self.shape(), dtype)).name)

    def constant(self, shape: tuple[int, ...], dtype: str = "float32") -> str:
        if math.prod(d or 1 for d in shape) > 10 ** 5:
            shape = (1,) * len(shape)
        array = np.asarray(self.rng.standard_normal(shape) * 3).astype(dtype)
        if dtype == "int64":
            array = self.rng.choice(np.array([0, 1, 2, -1, 5, 2 ** 40, -2 ** 63]), shape)
        tensor = self.graph.add(Tensor(self.name(), shape, dtype, np.asarray(array, dtype)))
        layout = self.r.choice((layouts.PLAIN, layouts.PLAIN, "ohwi_panels16:1", "ohwi_panels16:2", "hwoi_panels16:1",
                                "ohwi_quads16:1:3", "float16/plain", "int8/ohwi_panels16:1"))
        try:
            packed = layouts.pack(tensor.data, layout)
            tensor.data, tensor.layout = memoryview(packed) if layouts.stored(layout)[0] else packed, layout
        except TinynetError:
            pass
        return tensor.name

    def integer(self) -> int:
        return self.r.choice((1, 1, 1, 2, 2, 3, 0, 5)) if self.r.random() < 0.75 else self.r.choice(WILD)

    def value(self, annotation: str) -> Any:
        base = annotation.removeprefix("tuple[").removesuffix(", ...]")
        if base != annotation:
            return tuple(self.value(base) for _ in range(self.r.choice((2, 4, 2, 4, 1, 3, 0))))
        return {"int": self.integer, "float": lambda: self.r.choice(FLOATS), "bool": lambda: self.r.random() < 0.5,
                "str": lambda: self.r.choice(WORDS)}[base]()

    def operands(self, kind: str, x: str, attrs: dict[str, Any]) -> list[str]:
        """Inputs that fit, so that the shape rule is not always the end; `attrs` is completed."""
        r, shape, constant = self.r, self.graph.tensors[x].shape, self.constant
        if len(shape) == 4 and kind in ("conv2d", "conv_transpose2d", "depthwise_conv2d"):
            c = shape[3]
            groups = r.choice((1, 1, 2, max(c, 1)))
            outs, taps = groups * r.choice((1, 2, 3)), (r.choice((1, 2, 3)), r.choice((1, 2, 3)))
            if kind == "depthwise_conv2d":
                return [x, constant((r.choice((1, 2, 3, 64, 65)), taps[1], c)), constant((c,))]
            attrs["groups"] = groups
            inner = max(c // groups, 1)
            weights = (outs, *taps, inner) if kind == "conv2d" else (*taps, outs, inner)
            return [x, constant(weights), constant((outs,)), *([self.any()] if r.random() < 0.2 else [])]
        if kind == "dense" and shape:
            outs = r.choice((1, 3, 17, 0))
            return [x, constant((outs, shape[-1])), constant((outs,))]
        if kind == "batch_norm" and shape:
            return [x, constant(shape[-1:]), constant(shape[-1:])]
        if kind == "gather":
            return [x, constant(tuple(r.choice((0, 1, 3)) for _ in range(r.randint(0, 2))), "int64")]
        if kind == "concat":
            return [x] * r.randint(1, 3)
        if kind in ("add", "sub", "mul", "div", "pow", "maximum", "minimum", "prelu", "matmul"):
            return [x, self.any() if r.random() < 0.7 else constant(self.shape())]
        return [x]

    def any(self) -> str:
        return self.r.choice([t.name for t in self.graph.tensors.values() if not t.is_constant])

    def attributes(self, kind: str, x: str) -> dict[str, Any]:
        r, shape = self.r, self.graph.tensors[x].shape
        fields = {name: annotation for name, (annotation, _) in ops.kinds()[kind].fields.items()}
        attrs = {name: self.value(annotation) for name, annotation in fields.items() if r.random() < 0.5}
        if kind == "slice":
            attrs = {"begin": tuple(r.randrange(max(d, 1)) if r.random() < 0.95 else self.integer() for d in shape),
                     "end": tuple(r.randint(-1, d) if r.random() < 0.95 else self.integer() for d in shape),
                     "step": tuple(r.choice((1, 1, 2, -1, -2, 2 ** 63 - 1, -2 ** 63)) for _ in shape)}
        elif kind == "pad":
            attrs |= {side: tuple(self.integer() if r.random() < 0.5 else 0 for _ in shape) for side in ("begin", "end")}
        elif kind == "transpose":
            attrs["perm"] = tuple(r.sample(range(len(shape)), len(shape)))
        elif kind == "reshape":
            attrs["shape"] = r.choice(((math.prod(shape),), (1, math.prod(shape), 1), shape[::-1]))
        elif kind == "expand":
            attrs["shape"] = tuple(r.choice((1, 2, 3, 2 ** 20, 2 ** 31 - 1)) if d == 1 else d for d in shape)
        elif kind.startswith("reduce") and shape:
            attrs["axes"] = tuple(sorted({r.randrange(len(shape)) for _ in range(2)}))
        elif kind == "resize":
            attrs |= {"size": (self.integer(), self.integer()),
                      "scales": r.choice(((), *((s,) * 2 for s in (1.0, 2.0, 0.5, 1e-30, 1e30)))),
                      "mode": r.choice(("nearest", "linear")), "nearest_mode": r.choice(("floor", "ceil")),
                      "coordinates": r.choice(("asymmetric", "half_pixel", "align_corners", "half_pixel_symmetric"))}
        if "kernel" in fields and r.random() < 0.8:
            attrs["kernel"] = (r.choice((1, 2, 3, 1000, 2 ** 31 - 1)), r.choice((1, 2, 3)))
        return attrs

    def layer(self, name: str, kind: str) -> None:
        """Up to a dozen tries for one that the shape rule accepts; then, now and then, one that it does not."""
        graph = self.graph
        for _ in range(12):
            before = list(graph.tensors)
            x = self.any()
            attrs = self.attributes(kind, x)
            inputs = self.operands(kind, x, attrs)
            if self.r.random() < 0.1:
                self.r.shuffle(inputs)
            try:
                specs = ops.make(kind, attrs).infer(*(ops.Spec(graph.tensors[n].shape, graph.tensors[n].dtype) for n in inputs))
                if max(math.prod(s.shape) for s in specs) < 2 ** 36:
                    break
            except (TinynetError, ValueError):
                pass
            if self.r.random() < 0.02:
                specs = [ops.Spec(self.shape())]
                break
            for new in list(graph.tensors)[len(before):]:
                del graph.tensors[new]
        else:
            return
        outputs = [graph.add(Tensor(self.name(), s.shape, s.dtype)).name for s in specs]
        graph.nodes.append(Node(kind, name, inputs, outputs, attrs))

    def file(self) -> bytes | None:
        try:
            return write(self.graph)
        except (TinynetError, TypeError):
            return None      # what no file can hold: an integer of more than 64 bits, 2^32 along an axis


def graphs(first: int, last: int) -> Iterator[tuple[str, bytes | None, dict[str, Any]]]:
    for seed in range(first, last):
        hostile = Hostile(seed)
        yield f"graph {seed}", hostile.file(), {"threads": 1 + seed % 2}


def sound_file() -> bytes:
    """A few layers of many sorts, 3 kB of description."""
    graph = Graph(inputs=["x"])
    graph.meta.name = "sound"
    rng = np.random.default_rng(0)
    graph.add(Tensor("x", (1, 9, 8, 6)))

    def constant(*shape: int) -> str:
        return graph.add(Tensor(f"c{len(graph.tensors)}", shape, "float32", rng.standard_normal(shape).astype(np.float32))).name

    def layer(kind: str, *inputs: str, **attrs: Any) -> str:
        specs = [ops.Spec(graph.tensors[n].shape, graph.tensors[n].dtype) for n in inputs]
        spec, = ops.make(kind, attrs).infer(*specs)
        y = graph.add(Tensor(f"{kind}{len(graph.nodes)}", *spec)).name
        graph.nodes.append(Node(kind, y, list(inputs), [y], attrs))
        return y

    a = layer("conv2d", "x", constant(8, 3, 3, 6), constant(8), pads=(1, 1, 1, 1), activation="relu")
    b = layer("depthwise_conv2d", a, constant(3, 3, 8), constant(8), pads=(1, 1, 1, 1))
    c = layer("concat", layer("slice", b, begin=(0, 0, 0, 2), end=(1, 9, 8, 7), step=(1, 1, 1, 1)), a, axis=3)
    d = layer("max_pool2d", c, kernel=(3, 2), strides=(2, 2), pads=(1, 0, 1, 0))
    e = layer("resize", d, size=(9, 8), scales=(1.8, 2.0), mode="linear", coordinates="half_pixel")
    f = layer("conv_transpose2d", e, constant(2, 2, 4, 13), constant(4), strides=(2, 2))
    g = layer("transpose", layer("pad", f, begin=(0, 1, 0, 0), end=(0, 0, 2, 0)), perm=(0, 3, 1, 2))
    h = layer("dense", layer("reshape", layer("reduce_mean", g, axes=(2, 3)), shape=(1, 4)), constant(5, 4), constant(5))
    graph.outputs = [layer("softmax", h), layer("argmax", h, axis=1), layer("add", g, constant(1, 4, 1, 1)), e]
    return write(graph)


def changed_bytes(first: int, last: int) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Bits flipped, words replaced and parts moved, mostly in the description behind the weights."""
    whole = sound_file()
    for seed in range(first, last):
        r, data = random.Random(seed), bytearray(whole)
        for _ in range(r.choice((1, 1, 2, 5))):
            at = r.randrange(len(data) - 16)
            how = r.randrange(4)
            if how == 0:
                data[at] ^= 1 << r.randrange(8)
            elif how == 1:
                data[at // 4 * 4:at // 4 * 4 + 4] = (r.choice(WILD) & 0xffffffff).to_bytes(4, "little")
            elif how == 2:
                data[at] = r.choice((0, 1, 2, 3, 4, 5, 255, 127, 128))
            else:
                source, size = r.randrange(len(data) // 4 - 4) * 4, 4 * r.randint(1, 4)
                data[at // 4 * 4:at // 4 * 4 + size] = data[source:source + size]
        yield f"bytes {seed}", bytes(data), {"verify": False, "threads": 1 + seed % 2}


def chains() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Recursion and algorithms whose time grows with the square of the graph."""
    def chain(layers: int, kind: Callable[[int], tuple[str, dict[str, Any]]], shape: tuple[int, ...], inputs: int = 1) -> bytes:
        graph = Graph(inputs=["t0"], outputs=[f"t{layers}"])
        graph.meta.name = "chain"
        graph.add(Tensor("t0", shape))
        for i in range(layers):
            op, attrs = kind(i)
            names = [f"t{max(i - k, 0)}" for k in range(inputs)]
            spec, = ops.make(op, attrs).infer(*(ops.Spec(graph.tensors[n].shape) for n in names))
            graph.add(Tensor(f"t{i + 1}", spec.shape))
            graph.nodes.append(Node(op, f"n{i}", names, [f"t{i + 1}"], attrs))
        return write(graph)

    yield "chain of relu", chain(3000, lambda i: ("relu", {}), (2, 3)), {}
    yield "chain of reshape", chain(3000, lambda i: ("reshape", {"shape": (2, 3) if i % 2 else (3, 2)}), (2, 3)), {}
    yield "chain of slice", chain(1500, lambda i: ("slice", {"begin": (0, 0), "end": (1, 1999 - i), "step": (1, 1)}),
                                  (1, 2000)), {}
    yield "chain of add", chain(3000, lambda i: ("add", {}), (2, 3), 2), {}
    yield "chain of concat", chain(1500, lambda i: ("concat", {"axis": 1}), (2, 1), 1), {}
    graph = Graph(inputs=["x"])
    graph.meta.name = "many"
    graph.add(Tensor("x", (4, 4)))
    for i in range(4090):
        graph.add(Tensor(f"y{i}", (4, 4)))
        graph.nodes.append(Node("relu", f"n{i}", ["x"], [f"y{i}"]))
        graph.outputs.append(f"y{i}")
    yield "many outputs", write(graph), {}
    wide = Graph(inputs=["x"], outputs=["y"])
    wide.meta.name = "wide"
    wide.add(Tensor("x", (4, 4)))
    for i in range(4000):
        wide.add(Tensor(f"a{i}", (4, 4)))
        wide.nodes.append(Node("relu", f"n{i}", ["x"], [f"a{i}"]))
    wide.add(Tensor("y", (16000, 4)))
    wide.nodes.append(Node("concat", "n", [f"a{i}" for i in range(4000)][::-1], ["y"], {"axis": 0}))
    wide.outputs.append("a7")
    yield "wide graph", write(wide), {}
    long = Graph(inputs=["x"], outputs=["x"])
    long.meta.name = "long\nname" * 1000
    long.add(Tensor("x", (1,)))
    long.add(Tensor("y", (1,)))
    long.nodes.append(Node("slice", "long\nname" * 1000, ["x"], ["y"], {"begin": (1,) * 100000}))
    yield "long message", write(long), {}
    graph.outputs = [*graph.outputs, *(f"z{i}" for i in range(4090))]
    for i in range(4090):
        graph.add(Tensor(f"z{i}", (4, 4)))
        graph.nodes.append(Node("relu", f"m{i}", ["x"], [f"z{i}"]))
    yield "too many outputs", write(graph), {}


def outcome(data: bytes, options: dict[str, Any]) -> str:
    model = tinynet.load(data, max_ram=MAX_RAM, max_macs=MAX_MACS, **options)
    rng = np.random.default_rng(0)
    if sum(math.prod(i.shape) * DTYPES[i.dtype] for i in model.inputs) > MAX_RAM:
        return "loaded"
    model.run([np.asarray(rng.standard_normal(i.shape) * 3).astype(i.dtype) for i in model.inputs])
    return "ran"


def main(words: list[str]) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    np.seterr(all="ignore")
    source = {"graphs": graphs, "bytes": changed_bytes, "chains": chains}[words[0]]
    count: Counter = Counter()
    failures = 0
    for name, data, options in source(*map(int, words[1:])):
        if data is None:
            count["not written"] += 1
            continue
        with open(os.environ["PROGRESS"], "w") as progress:
            progress.write(name)
        started = time.perf_counter()
        try:
            count[outcome(data, options)] += 1
        except TinynetError as error:
            count[type(error).__name__] += 1
            if "\n" in str(error) or not str(error):
                failures += 1
                print(f"{name}: not one line: {error!r}")
        except BaseException:
            failures += 1
            print(f"{name}: {traceback.format_exc()}")
        if time.perf_counter() - started > SECONDS:
            failures += 1
            print(f"{name}: took {time.perf_counter() - started:.1f} s")
    print(*(f"{key}={value}" for key, value in sorted(count.items())))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

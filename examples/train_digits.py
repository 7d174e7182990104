"""Train the small digits network, measure it on held-out digits, and write it as ONNX.

    python examples/train_digits.py [--out DIR] [--seed N] [--epochs N]

Writes digits.onnx, labels.txt, accuracy.json and pictures/*.png into DIR.  Needs torch (the CPU build is enough),
onnx, onnxscript, onnxruntime, scikit-learn and Pillow.  The same seed gives the same file on the same machine.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import sys
import warnings
from pathlib import Path

try:
    import numpy as np
    import onnx
    import onnxruntime  # noqa: F401  (missing packages are named before the training, not after it)
    import onnxscript.optimizer
    import PIL  # noqa: F401
    import sklearn  # noqa: F401
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    print(f"train_digits: needs the package {error.name}, which is not installed: "
          "pip install torch scikit-learn onnx onnxscript onnxruntime numpy pillow", file=sys.stderr)
    sys.exit(2)

import digits_data

OPSET = 18
BATCH = 64
LEARNING_RATE = 4e-3
REQUIRED_ACCURACY = 0.97
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "scikit-learn", "numpy", "pillow")


def conv_norm(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(outputs))


class DigitsNet(nn.Module):
    """[N, 1, 8, 8] in 0..1 -> probabilities [N, 10]: a residual block, a depthwise-separable one, a mean, a layer."""

    def __init__(self, width: int = 32, features: int = 64):
        super().__init__()
        self.stem = conv_norm(1, width, 3)
        self.first = conv_norm(width, width, 3)
        self.second = conv_norm(width, width, 3)
        self.pool = nn.MaxPool2d(2)
        self.depthwise = conv_norm(width, width, 3, groups=width)
        self.pointwise = conv_norm(width, features, 1)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(features, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.logits(image), 1)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(image))
        x = torch.relu(x + self.second(torch.relu(self.first(x))))
        x = self.pool(x)
        x = torch.relu(self.pointwise(torch.relu(self.depthwise(x))))
        return self.head(self.average(x).flatten(1))


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """[N, 1, 8, 8] -> the same, each shifted by up to one pixel and every second one, at random, softened.

    The softening is what Pillow's bilinear filter does to the enlarged pictures when it shrinks them to 8x8 again
    (weights 1/8, 3/4, 1/8 along both axes), so the network is right for both."""
    n = len(images)
    shift = torch.randint(0, 3, (2, n), generator=generator)
    rows = shift[0][:, None, None] + torch.arange(8)[None, :, None]
    columns = shift[1][:, None, None] + torch.arange(8)[None, None, :]
    padded = functional.pad(images[:, 0], (1, 1, 1, 1))
    moved = padded[torch.arange(n)[:, None, None], rows, columns][:, None]
    weights = torch.tensor([0.125, 0.75, 0.125])
    soft = functional.conv2d(functional.pad(moved, (1, 1, 1, 1), mode="replicate"),
                             torch.outer(weights, weights)[None, None])
    chosen = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    return torch.where(chosen, soft, moved)


def train(train_x, train_y, held_x, held_y, seed: int, epochs: int) -> DigitsNet:
    """The network after the last epoch; the held-out digits are only looked at to report progress."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(seed)
    net = DigitsNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    batches = len(train_x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * batches)
    for epoch in range(1, epochs + 1):
        net.train()
        order = torch.randperm(len(train_x), generator=generator)
        for batch in order[:batches * BATCH].view(batches, BATCH):
            loss = functional.cross_entropy(net.logits(augment(train_x[batch], generator)), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            accuracy = (net(held_x).argmax(1) == held_y).double().mean().item()
        print(f"epoch {epoch:3d}/{epochs}  loss {loss.item():.4f}  held-out accuracy {accuracy:.4f}", file=sys.stderr)
    return net


def export(net: DigitsNet) -> bytes:
    """ONNX bytes: `image` [1, 1, 8, 8] -> `probability` [1, 10], weights inside, batch normalisation kept."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The exporter's own optimiser would fold the batch normalisation away; the converter is to do that.
        program = torch.onnx.export(net.eval(), (torch.zeros(1, 1, 8, 8),), dynamo=True, opset_version=OPSET,
                                    input_names=["image"], output_names=["probability"], external_data=False,
                                    optimize=False, verbose=False)
        onnxscript.optimizer.fold_constants(program.model)
        onnxscript.optimizer.remove_unused_nodes(program.model)
    proto = program.model_proto
    strip(proto)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)


def strip(proto: onnx.ModelProto) -> None:
    """Drop what the exporter notes about its own run (source files and lines), which differs between machines."""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.functions[:]
    graph = proto.graph
    for part in (graph.node, graph.initializer, graph.value_info, graph.input, graph.output):
        for item in part:
            del item.metadata_props[:]
            item.doc_string = ""
    proto.doc_string = graph.doc_string = ""
    graph.name = "digits"


def measure(model: bytes, held_x: np.ndarray, held_y: np.ndarray, seed: int, epochs: int) -> dict:
    """The content of accuracy.json, measured with onnxruntime on the exported bytes."""
    right = int((digits_data.probabilities(model, held_x).argmax(1) == held_y).sum())
    shrunk = np.stack([digits_data.from_picture(digits_data.to_picture(x)) for x in held_x])
    right_shrunk = int((digits_data.probabilities(model, shrunk).argmax(1) == held_y).sum())
    n = len(held_y)
    return {
        "accuracy": round(right / n, 6), "right": right, "held_out": n,
        "accuracy_bilinear": round(right_shrunk / n, 6), "right_bilinear": right_shrunk,
        "split_seed": digits_data.SPLIT_SEED, "seed": seed, "epochs": epochs, "opset": OPSET, "bytes": len(model),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def write_files(out: Path, model: bytes, report: dict, held_x: np.ndarray, held_y: np.ndarray) -> None:
    """The pictures are the first held-out one of each digit: no choosing."""
    pictures = out / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    (out / "digits.onnx").write_bytes(model)
    (out / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    (out / "accuracy.json").write_text(json.dumps(report, indent=2) + "\n")
    for digit in range(10):
        first = int(np.flatnonzero(held_y == digit)[0])
        digits_data.to_picture(held_x[first]).save(pictures / f"{digit}_0.png", optimize=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train the digits network and write it as ONNX.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "digits", metavar="DIR",
                        help="folder for the files (default: the digits folder beside this script)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and shifts (default 0)")
    parser.add_argument("--epochs", type=int, default=40, help="passes over the training digits (default 40)")
    args = parser.parse_args(argv)
    if args.epochs < 1:
        parser.error(f"--epochs: expected at least 1, found {args.epochs}")

    train_x, train_y, held_x, held_y = digits_data.load_split()
    net = train(torch.from_numpy(digits_data.to_input(train_x)), torch.from_numpy(train_y),
                torch.from_numpy(digits_data.to_input(held_x)), torch.from_numpy(held_y), args.seed, args.epochs)
    model = export(net)
    report = measure(model, held_x, held_y, args.seed, args.epochs)
    print(f"held-out accuracy {report['accuracy']:.4f} ({report['right']} of {report['held_out']}), "
          f"{report['accuracy_bilinear']:.4f} after shrinking the enlarged pictures; {report['bytes']} bytes")
    if min(report["accuracy"], report["accuracy_bilinear"]) < REQUIRED_ACCURACY:
        print(f"train_digits: accuracy is below {REQUIRED_ACCURACY}; nothing written, train longer", file=sys.stderr)
        return 1
    write_files(args.out, model, report, held_x, held_y)
    return 0


if __name__ == "__main__":
    sys.exit(main())

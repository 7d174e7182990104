"""Small definitions, in PyTorch, of what edge vision networks are made of.  Extents differ, so that no two are mixed up.

Each network has `example` (its arguments as shapes, or a tuple (dtype, shape)) and `axes`: per argument, dimension -> name
of what may be open.  `sizes`: name -> other values that the network takes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (PyTorch's own name for it)

PICTURE = {0: "batch", 2: "height", 3: "width"}


class Network(nn.Module):
    example: tuple = ((1, 3, 24, 32),)
    axes: tuple = (PICTURE,)
    sizes: dict = {"batch": (3, 2), "height": (40, 16), "width": (24, 48)}


def conv(cin: int, cout: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(cout))


class Residual(Network):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv(3, 8, 3, 2), conv(8, 8), conv(8, 8)
        self.down, self.c, self.head = conv(8, 12, 1, 2), conv(8, 12, 3, 2), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + self.b(F.relu(self.a(x))))
        x = F.relu(self.down(x) + self.c(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class SqueezeExcitation(Network):
    """MobileNet v3's block: hard-swish, and a gate through hard-sigmoid; a second one through mean and sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep, self.last = conv(3, 16, 3, 2), conv(16, 16, 5, 1, 16), conv(16, 10, 1)
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.one, self.two = nn.Linear(10, 3), nn.Linear(3, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.deep(F.hardswish(self.stem(x))))
        x = x * F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        x = F.relu6(self.last(x))
        gate = torch.sigmoid(self.two(F.silu(self.one(x.mean((2, 3))))))
        return x * gate.view(x.shape[0], 10, 1, 1)


class Shuffle(Network):
    """ShuffleNet v2: split, branch, concat, channel shuffle, the stride 2 unit too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.c = conv(3, 12), conv(6, 6, 1), conv(6, 6, 3, 1, 6), conv(6, 6, 1)
        self.left, self.right, self.last = conv(12, 10, 3, 2), conv(12, 10, 1, 1), conv(10, 10, 3, 2, 10)

    @staticmethod
    def shuffle(x: Tensor, groups: int) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        a, b = x.chunk(2, 1)
        x = self.shuffle(torch.cat([a, F.relu(self.c(self.b(F.relu(self.a(b)))))], 1), 2)
        x = self.shuffle(torch.cat([F.relu(self.left(x)), self.last(F.relu(self.right(x)))], 1), 2)
        return nn.PixelUnshuffle(2)(x)


class Attention(nn.Module):
    """Multi-head self-attention, spelled out or through scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int, fused: bool):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q * (width // self.heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(n, length, width))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, activation: nn.Module, fused: bool):
        super().__init__()
        self.norm1, self.norm2, self.attention = nn.LayerNorm(width), nn.LayerNorm(width), Attention(width, heads, fused)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), activation, nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class MobileViT(Network):
    """Patches of 2x2 pixels attend to the pixels at the same place in the other patches."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.enter, self.back = conv(3, 8, 3, 2), nn.Conv2d(8, 12, 1, bias=False), conv(12, 8, 1)
        self.blocks = nn.Sequential(Block(12, 3, nn.SiLU(), False), Block(12, 2, nn.SiLU(), False))
        self.norm, self.merge = nn.LayerNorm(12), conv(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.stem(x))
        y = self.enter(x)
        n, c, h, w = y.shape
        y = y.reshape(n * c * (h // 2), 2, w // 2, 2).transpose(1, 2)
        y = y.reshape(n, c, (h // 2) * (w // 2), 4).transpose(1, 3).reshape(n * 4, -1, c)
        y = self.norm(self.blocks(y))
        y = y.contiguous().view(n, 4, (h // 2) * (w // 2), c).transpose(1, 3)
        y = y.reshape(n * c * (h // 2), w // 2, 2, 2).transpose(1, 2).reshape(n, c, h, w)
        return F.silu(self.merge(torch.cat([x, F.silu(self.back(y))], 1)))


class ViT(Network):
    axes = ({0: "batch"},)
    sizes = {"batch": (3, 2)}

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 12, 8, 8), nn.Parameter(torch.randn(1, 1, 12))
        self.position = nn.Parameter(torch.randn(1, 13, 12))
        self.blocks = nn.Sequential(Block(12, 3, nn.GELU(), True), Block(12, 2, nn.GELU("tanh"), True))
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class TorchEncoder(Network):
    """nn.MultiheadAttention as nn.TransformerEncoderLayer uses it."""

    example = ((2, 7, 12),)
    axes = ({0: "batch", 1: "length"},)
    sizes = {"batch": (1, 3), "length": (11, 4)}

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm = nn.MultiheadAttention(12, 3, batch_first=True), nn.LayerNorm(12)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.attention(x, x, x, need_weights=False)
        return self.norm(x + y)


class UNet(Network):
    """Bilinear upsampling by scale and by size, transposed convolution, skips by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = conv(3, 6), conv(6, 9, 3, 2), conv(9, 12, 3, 2), conv(12, 14, 3, 2)
        self.up3, self.up2, self.up1 = conv(26, 10), conv(19, 8), conv(11, 6)
        self.transposed, self.out = nn.ConvTranspose2d(8, 5, 2, 2), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.a(x))
        b = F.relu(self.b(a))
        c = F.relu(self.c(b))
        d = F.relu(self.d(c))
        y = F.interpolate(d, size=c.shape[2:], mode="bilinear", align_corners=False)
        y = F.relu(self.up3(torch.cat([c, y], 1)))
        y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=True)
        y = F.relu(self.up2(torch.cat([b, y], 1)))
        y = F.relu(self.up1(torch.cat([a, self.transposed(y)], 1)))
        return F.interpolate(self.out(y), scale_factor=2, mode="nearest")


class Recurrent(Network):
    """A bidirectional LSTM over a GRU, batch first; the last step is classified."""

    example = ((2, 9, 6),)
    axes = ({0: "batch"},)
    sizes = {"batch": (1, 5)}

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 5, batch_first=True)
        self.lstm = nn.LSTM(5, 7, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(14, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(self.gru(x)[0])
        return self.head(y[:, -1])


class RecurrentStates(Recurrent):
    """Time first, a bidirectional GRU whose last states are classified, log-probabilities."""

    example = ((9, 2, 6),)
    axes = ({1: "batch"},)

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(6, 5, bidirectional=True), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        _, h = self.gru(x)
        return F.log_softmax(self.head(torch.cat([h[-2], h[-1]], 1)), 1)


class Yolo(Network):
    """Two scales, YOLO v5's decoding on a grid: reshape, permute, sigmoid, concat."""

    anchors = ((3.0, 5.0), (8.0, 4.0))

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 8, 3, 4), conv(8, 12, 3, 2)
        self.head_a, self.head_b = nn.Conv2d(8, 2 * 9, 1), nn.Conv2d(12, 2 * 9, 1)
        self.register_buffer("anchor", torch.tensor(self.anchors).view(1, 2, 1, 1, 2))

    def decode(self, y: Tensor, stride: float) -> Tensor:
        n, _, h, w = y.shape
        y = y.view(n, 2, 9, h, w).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((columns, rows), 2).view(1, 1, h, w, 2).float()
        xy = (y[..., 0:2] * 2 - 0.5 + grid) * stride
        wh = (y[..., 2:4] * 2) ** 2 * self.anchor
        return torch.cat((xy, wh, y[..., 4:]), -1).view(n, -1, 9)

    def forward(self, x: Tensor) -> Tensor:
        a = F.silu(self.a(x))
        b = F.silu(self.b(a))
        return torch.cat((self.decode(self.head_a(a), 4.0), self.decode(self.head_b(b), 8.0)), 1)


class YoloDistribution(Network):
    """YOLO v8: boxes as the mean of a distribution over distances; fixed points of a grid."""

    axes = ({0: "batch"},)
    sizes = {"batch": (3, 2)}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 8, 3, 4), conv(8, 12, 3, 2)
        self.head_a, self.head_b = nn.Conv2d(8, 4 * 5 + 3, 1), nn.Conv2d(12, 4 * 5 + 3, 1)
        points = [(column + 0.5, row + 0.5) for h, w in ((6, 8), (3, 4)) for row in range(h) for column in range(w)]
        self.register_buffer("points", torch.tensor(points).t().unsqueeze(0))
        self.register_buffer("strides", torch.tensor([4.0] * 48 + [8.0] * 12))
        self.dfl = nn.Conv2d(5, 1, 1, bias=False)
        self.dfl.weight.data[:] = torch.arange(5.0).view(1, 5, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.silu(self.a(x))
        b = F.silu(self.b(a))
        y = torch.cat([self.head_a(a).view(x.shape[0], 23, -1), self.head_b(b).view(x.shape[0], 23, -1)], 2)
        box, scores = y.split((20, 3), 1)
        box = self.dfl(box.view(x.shape[0], 4, 5, 60).transpose(2, 1).softmax(1)).view(x.shape[0], 4, 60)
        low, high = box.chunk(2, 1)
        low, high = self.points - low, self.points + high
        return torch.cat((torch.cat(((low + high) / 2, high - low), 1) * self.strides, scores.sigmoid()), 1)


class SSD(Network):
    """Class scores and boxes of two scales, boxes decoded from priors."""

    axes = ({0: "batch"},)
    sizes = {"batch": (3, 2)}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 8, 3, 4), conv(8, 12, 3, 2)
        self.scores = nn.ModuleList([nn.Conv2d(8, 2 * 5, 3, padding=1), nn.Conv2d(12, 3 * 5, 3, padding=1)])
        self.boxes = nn.ModuleList([nn.Conv2d(8, 2 * 4, 3, padding=1), nn.Conv2d(12, 3 * 4, 3, padding=1)])
        self.register_buffer("priors", torch.rand(1, 48 * 2 + 12 * 3, 4) + 0.1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = F.relu6(self.a(x))
        maps = (a, F.relu6(self.b(a)))
        scores = [head(m).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 5) for head, m in zip(self.scores, maps, strict=True)]
        boxes = [head(m).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4) for head, m in zip(self.boxes, maps, strict=True)]
        boxes, priors = torch.cat(boxes, 1), self.priors
        centre = boxes[..., :2] * 0.1 * priors[..., 2:] + priors[..., :2]
        half = torch.exp(boxes[..., 2:] * 0.2) * priors[..., 2:] * 0.5
        return torch.cat(scores, 1).softmax(-1), torch.cat((centre - half, centre + half), -1)


class Decoder(Network):
    """Token and position embedding, attention under a causal mask and under a padding mask."""

    example = (("int64", (2, 7)), ("bool", (2, 7)))
    axes = ({0: "batch", 1: "length"}, {0: "batch", 1: "length"})
    sizes = {"batch": (1, 3), "length": (10, 4)}

    def __init__(self) -> None:
        super().__init__()
        self.token, self.position, self.norm = nn.Embedding(11, 12), nn.Embedding(16, 12), nn.LayerNorm(12)
        self.qkv, self.out, self.head = nn.Linear(12, 36), nn.Linear(12, 12), nn.Linear(12, 11)

    def forward(self, tokens: Tensor, given: Tensor) -> Tensor:
        n, length = tokens.shape
        x = self.token(tokens) + self.position(torch.arange(length))
        q, k, v = (t.view(n, length, 3, 4).transpose(1, 2) for t in self.qkv(self.norm(x)).chunk(3, -1))
        scores = q @ k.transpose(-2, -1) / math.sqrt(4)
        causal = torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)
        scores = scores.masked_fill(causal, float("-inf"))
        scores = torch.where(given[:, None, None, :], scores, torch.tensor(-1e9))
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, 12)
        return self.head(x + self.out(y))


class Normalised(Network):
    """Group and instance normalisation, with and without scale; L2 normalisation at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(12, 10, 1)
        self.group, self.layer = nn.GroupNorm(4, 8), nn.GroupNorm(1, 10)
        self.instance, self.plain = nn.InstanceNorm2d(12, affine=True), nn.InstanceNorm2d(12)
        with torch.no_grad():
            for norm in (self.group, self.layer, self.instance):
                norm.weight.uniform_(0.5, 2)
                norm.bias.uniform_(-1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.mish(self.group(self.a(x)))
        x = F.softplus(self.plain(self.instance(self.b(x))))
        x = F.elu(self.layer(self.c(x)))
        return F.normalize(x.amax((2, 3)), dim=1)


class Face(Network):
    """MobileFaceNet: depthwise and 1x1 convolutions with PReLU, a depthwise convolution over everything, batch norm."""

    axes = ({0: "batch"},)
    sizes = {"batch": (3, 2)}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = conv(3, 8, 3, 2), conv(8, 8, 3, 1, 8), conv(8, 16, 1), conv(16, 16, 3, 2, 16)
        self.project, self.whole, self.bn = conv(16, 8, 1), nn.Conv2d(8, 8, (6, 8), groups=8, bias=False), nn.BatchNorm1d(8)
        self.slopes = nn.ModuleList([nn.PReLU(8), nn.PReLU(8), nn.PReLU(16), nn.PReLU()])
        for slope in self.slopes:
            slope.weight.data.uniform_(-0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.slopes[0](self.a(x))
        x = self.slopes[2](self.c(self.slopes[1](self.b(x))))
        x = self.project(self.slopes[3](self.d(x)))
        return F.normalize(self.bn(self.whole(x).flatten(1)), p=2.0, dim=1)


class SuperResolution(Network):
    example = ((1, 1, 14, 18),)
    sizes = {"batch": (3, 2), "height": (9, 16), "width": (11, 6)}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 8, 5, padding=2), nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 9, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.pixel_shuffle(self.c(torch.tanh(self.b(F.leaky_relu(self.a(x), 0.1)))), 3)
        return (y + F.interpolate(x, scale_factor=3, mode="bicubic", align_corners=False)).clamp(0, 1)


class Audio(Network):
    """1-D convolutions, dilated and grouped, pooling, statistics over time."""

    example = ((1, 2, 65),)
    axes = ({0: "batch", 2: "time"},)
    sizes = {"batch": (3, 2), "time": (48, 101)}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.bn = nn.Conv1d(2, 8, 7, 2, 3), nn.BatchNorm1d(8)
        self.b, self.c = nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=8), nn.Conv1d(8, 10, 1)
        self.glu, self.up, self.head = nn.Conv1d(10, 12, 1), nn.ConvTranspose1d(6, 4, 4, 2, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.a(x)))
        x = F.max_pool1d(F.relu(self.c(self.b(x))), 3, 2, 1)
        x = self.up(F.avg_pool1d(F.glu(self.glu(x), 1), 2))
        return self.head(torch.cat([x.mean(2), x.std(2, unbiased=False)], 1))


NETWORKS = {cls.__name__: cls for cls in (
    Residual, SqueezeExcitation, Shuffle, MobileViT, ViT, TorchEncoder, UNet, Recurrent, RecurrentStates, Yolo,
    YoloDistribution, SSD, Decoder, Normalised, Face, SuperResolution, Audio)}

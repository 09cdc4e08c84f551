"""The three networks of the paper, written out: LR, HR and the slide RNN.

Images enter as uint8 NHWC; cast, layout and normalisation belong to the network, so no
caller can normalise wrongly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from armicro.errors import EngineError
from armicro.verdict import HR_TILE_PX

# ---------------------------------------------------------------------------
# The backbone of both tile networks: a residual network, written out.
#
# torchvision does not import beside the CPU build of torch, so the ResNet is here. It
# is the original ("v1") form of He et al. 2016, stride 2 in the first 1x1 convolution
# of a stage, as in Keras and in the authors' release. Batch normalisation keeps the
# start weights' statistics through training (small batches of mixed sources would
# teach it the mixture), so it is but a scale and an offset: they are part of each
# convolution from the start, which saves a quarter of a step.

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class BackboneShape:
    """How deep and how wide a residual network is."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool

    @property
    def features(self) -> int:
        """Channels of the stride-32 map."""
        return 2048 if self.bottleneck else 512


BACKBONES = {
    "resnet18": BackboneShape((2, 2, 2, 2), bottleneck=False),
    "resnet34": BackboneShape((3, 4, 6, 3), bottleneck=False),
    "resnet50": BackboneShape((3, 4, 6, 3), bottleneck=True),
}


class Normalise(nn.Module):
    """uint8 RGB NHWC to normalised float NCHW."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            levels = torch.tensor(values).view(1, 3, 1, 1)
            self.register_buffer(name, levels, persistent=False)

    def forward(self, tiles: Tensor) -> Tensor:
        """Return (n, 3, h, w) float32 of tiles (n, h, w, 3) uint8."""
        # TensorRT takes uint8 in a cast only, so the cast comes first.
        planes = tiles.float().permute(0, 3, 1, 2)
        return (planes / 255.0 - self.mean) / self.std


class Bottleneck(nn.Module):
    """1x1 (with the stride), 3x3, 1x1."""

    def __init__(self, channels: int, width: int, stride: int, *, expand: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, stride)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)
        self.conv3 = nn.Conv2d(width, width * 4, 1)
        self.downsample = (
            nn.Conv2d(channels, width * 4, 1, stride) if expand else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map."""
        y = functional.relu(self.conv1(x))
        y = functional.relu(self.conv2(y))
        return functional.relu(self.conv3(y) + self.downsample(x))


class Basic(nn.Module):
    """Two 3x3, for the smaller backbones."""

    def __init__(self, channels: int, width: int, stride: int, *, expand: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)
        needed = expand and (stride > 1 or channels != width)
        self.downsample = (
            nn.Conv2d(channels, width, 1, stride) if needed else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map."""
        y = functional.relu(self.conv1(x))
        return functional.relu(self.conv2(y) + self.downsample(x))


class Backbone(nn.Module):
    """A residual network without its classifier: images to the stride-32 map."""

    def __init__(self, name: str = "resnet50") -> None:
        super().__init__()
        shape = BACKBONES[name]
        self.features = shape.features
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        block = Bottleneck if shape.bottleneck else Basic
        for stage, (count, width) in enumerate(
            zip(shape.blocks, (64, 128, 256, 512), strict=True), start=1
        ):
            layers: list[nn.Module] = []
            for index in range(count):
                stride = 2 if stage > 1 and index == 0 else 1
                layers.append(block(channels, width, stride, expand=index == 0))
                channels = width * (4 if shape.bottleneck else 1)
            self.add_module(f"layer{stage}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, features, h/32, w/32) of normalised (n, 3, h, w)."""
        x = self.maxpool(functional.relu(self.conv1(x)))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return x


BATCH_NORM_EPSILON = 1e-5


def load_backbone(backbone: Backbone, weights: Mapping[str, Tensor]) -> None:
    """Fill a backbone from weights of its own or with torchvision's names.

    Batch normalisation is folded into the convolutions. Any float type will do.

    Raises:
        EngineError: a weight is missing or has another shape.
    """
    wanted = backbone.state_dict()
    names = [key.removesuffix(".weight") for key in wanted if key.endswith(".weight")]
    try:
        folded = {key: one for name in names for key, one in fold(name, weights)}
    except KeyError as error:
        raise EngineError(
            f"the start weights lack {error}; give --init a file of this backbone"
        ) from error
    try:
        backbone.load_state_dict(folded)
    except RuntimeError as error:
        raise EngineError(
            f"the start weights do not fit the backbone: {error}"
        ) from error


def fold(name: str, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield weight and bias of a convolution with its batch normalisation in it.

    A convolution that has a bias has no batch normalisation beside it any more.
    """
    if f"{name}.bias" in weights:
        for part in ("weight", "bias"):
            yield f"{name}.{part}", weights[f"{name}.{part}"]
        return
    if name.endswith("downsample"):
        conv, norm = f"{name}.0", f"{name}.1"
    else:
        conv, norm = name, "bn".join(name.rsplit("conv", 1))
    parts = "weight", "bias", "running_mean", "running_var"
    gain, offset, mean, variance = (weights[f"{norm}.{one}"].float() for one in parts)
    gain = gain / torch.sqrt(variance + BATCH_NORM_EPSILON)
    yield (
        f"{name}.weight",
        weights[f"{conv}.weight"].float() * gain[:, None, None, None],
    )
    yield f"{name}.bias", offset - mean * gain


# ---------------------------------------------------------------------------
# The three networks.

FEATURES = 2048
"""Features of a finding; a smaller backbone's are followed by zeros."""


class Head(nn.Module):
    """64-ReLU-dropout-1 as 1x1 convolutions, so that it also runs over a field.

    ``temperature`` divides the logit; it is fitted on validation data after training,
    so that the probabilities shown to people mean what they say.
    """

    temperature: Tensor
    offset: Tensor

    def __init__(self, channels: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = channels
        self.hidden = nn.Conv2d(channels, 64, 1)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Conv2d(64, 1, 1)
        self.register_buffer("temperature", torch.ones(1))
        self.register_buffer("offset", torch.zeros(1))

    def forward(self, pooled: Tensor) -> Tensor:
        """Return calibrated logits (n, rows, cols) of pooled (n, c, rows, cols)."""
        x = self.dropout(functional.relu(self.hidden(pooled)))
        logit: Tensor = self.out(x)[:, 0]
        return logit / self.temperature + self.offset


class HighResolution(nn.Module):
    """The HR network: tiles to a probability and the max-pooled features.

    ``fovea_px`` is the middle of the tile that is looked at. A global max pool does not
    know where in the tile a lesion lies, so in a crowd a normal cell's tile lights up
    for its neighbour; the middle holds the nucleus, its cytoplasm, and less of others.
    """

    def __init__(self, backbone: str = "resnet50", *, fovea_px: int = 256) -> None:
        super().__init__()
        self.fovea_px = fovea_px
        self.normalise = Normalise()
        self.backbone = Backbone(backbone)
        self.head = Head(self.backbone.features)

    def middle(self, tiles: Tensor) -> Tensor:
        """Return the middle (n, fovea, fovea, 3) of whole tiles (n, 256, 256, 3)."""
        rim = (HR_TILE_PX - self.fovea_px) // 2
        return tiles[:, rim : HR_TILE_PX - rim, rim : HR_TILE_PX - rim]

    def logits(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (n,) and features (n, features) of tiles of any size."""
        pooled = torch.amax(self.backbone(self.normalise(tiles)), (2, 3), keepdim=True)
        return self.head(pooled)[:, 0, 0], pooled[:, :, 0, 0]

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Return probability (n,) and features (n, 2048) of whole tiles."""
        # TensorRT takes uint8 in a cast only, so that comes before the cut.
        logit, features = self.logits(self.middle(tiles.float()))
        times = FEATURES // self.backbone.features
        if times > 1:
            blank = torch.zeros_like(features)
            features = torch.cat([features, *[blank] * (times - 1)], 1)
        return torch.sigmoid(logit), features


class DilatedBlock(nn.Module):
    """A residual bottleneck whose 3x3 looks at every other cell of the map."""

    def __init__(self, channels: int, width: int = 256) -> None:
        super().__init__()
        inner = width // 4
        self.body = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=2, dilation=2, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        same = channels == width
        self.skip = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, width, h, w)."""
        summed: Tensor = functional.relu(self.body(x) + self.skip(x))
        return summed


class LocationBranch(nn.Module):
    """Stride-32 features to two logits a cell of the map: nothing, lesion."""

    def __init__(self, channels: int = 2048, width: int = 256) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            DilatedBlock(channels, width),
            DilatedBlock(width, width),
            DilatedBlock(width, width),
        )
        self.narrow = nn.Conv2d(width, 64, 3, padding=1)
        self.out = nn.Conv2d(64, 2, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (n, 2, h, w)."""
        logits: Tensor = self.out(functional.relu(self.narrow(self.blocks(features))))
        return logits


class LowResolution(nn.Module):
    """The LR network: a probability a tile and a map of where the lesions lie.

    A field is the same computation as its tiles: the head's pool runs over the
    stride-32 map with the tile's size (16 cells) and step (12 cells, overlap a
    quarter).
    """

    def __init__(self, backbone: str = "resnet50") -> None:
        super().__init__()
        self.normalise = Normalise()
        self.backbone = Backbone(backbone)
        self.head = Head(self.backbone.features)
        self.location = LocationBranch(self.backbone.features)

    def logits(self, tiles: Tensor) -> Tensor:
        """Return tile logits (n,) with the pool over the whole tile, of any size."""
        x = self.backbone(self.normalise(tiles))
        logit: Tensor = self.head(torch.amax(x, (2, 3), keepdim=True))[:, 0, 0]
        return logit

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Return probability (n, rows, cols) and location (n, h/32, w/32)."""
        features = self.backbone(self.normalise(tiles))
        logit = self.head(functional.max_pool2d(features, 16, 12))
        location = torch.softmax(self.location(features), 1)[:, 1]
        return torch.sigmoid(logit), location


class SlideRnn(nn.Module):
    """Six simple RNNs of 512 ReLU units over the top 10, 20 and 30 features.

    Temperature and offset of each are fitted on constructed slides, so that one half
    is where as many positive as negative ones lie.
    """

    TOP = (10, 10, 20, 20, 30, 30)

    temperature: Tensor
    offset: Tensor

    def __init__(self, features: int = 2048, units: int = 512) -> None:
        super().__init__()
        self.inputs = nn.ParameterList(
            torch.randn(features, units) / features**0.5 for _ in self.TOP
        )
        # Half the identity: a ReLU recurrence starts stable (after Le et al. 2015).
        self.recurrent = nn.ParameterList(0.5 * torch.eye(units) for _ in self.TOP)
        self.bias = nn.ParameterList(torch.zeros(units) for _ in self.TOP)
        self.outputs = nn.ModuleList(nn.Linear(units, 1) for _ in self.TOP)
        self.register_buffer("temperature", torch.ones(len(self.TOP)))
        self.register_buffer("offset", torch.zeros(len(self.TOP)))

    def logits(self, features: Tensor, member: int) -> Tensor:
        """Return plain (n,) logits of one RNN; the least suspicious row comes first."""
        top = self.TOP[member]
        wide = features[:, :top] @ self.inputs[member] + self.bias[member]
        state = functional.relu(wide[:, top - 1])
        for step in reversed(range(top - 1)):
            state = functional.relu(wide[:, step] + state @ self.recurrent[member])
        logit: Tensor = self.outputs[member](state)[:, 0]
        return logit

    def forward(self, features: Tensor) -> Tensor:
        """Return scores (n, 6), 0-1, of features (n, 30, 2048)."""
        logits = [self.logits(features, index) for index in range(len(self.TOP))]
        return torch.sigmoid(torch.stack(logits, 1) / self.temperature + self.offset)

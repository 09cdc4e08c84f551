"""The backbone of both tile networks: a residual network, written out.

torchvision does not import beside the CPU build of torch, so the ResNet is here. It is
the original ("v1") form of He et al. 2016, stride 2 in the first 1x1 convolution of a
stage, as in Keras and in the authors' release; key names are torchvision's, so that its
weight files load.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from armicro.errors import EngineError

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
        self.register_buffer(
            "mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False
        )
        self.register_buffer(
            "std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False
        )

    def forward(self, tiles: Tensor) -> Tensor:
        """Return (n, 3, h, w) float32 of tiles (n, h, w, 3) uint8."""
        # TensorRT takes uint8 in a cast only, so the cast comes first.
        planes = tiles.float().permute(0, 3, 1, 2)
        return (planes / 255.0 - self.mean) / self.std


class Bottleneck(nn.Module):
    """1x1 (with the stride), 3x3, 1x1."""

    def __init__(self, channels: int, width: int, stride: int, *, expand: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * 4)
        self.downsample = shortcut(channels, width * 4, stride) if expand else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(
            y + (x if self.downsample is None else self.downsample(x))
        )


class Basic(nn.Module):
    """Two 3x3, for the smaller backbones."""

    def __init__(self, channels: int, width: int, stride: int, *, expand: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        needed = expand and (stride > 1 or channels != width)
        self.downsample = shortcut(channels, width, stride) if needed else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(
            y + (x if self.downsample is None else self.downsample(x))
        )


def shortcut(channels: int, out: int, stride: int) -> nn.Sequential:
    """Return the projection of a block whose shape changes."""
    return nn.Sequential(
        nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
    )


class Backbone(nn.Module):
    """A residual network without its classifier: images to the stride-32 map."""

    def __init__(self, name: str = "resnet50") -> None:
        super().__init__()
        shape = BACKBONES[name]
        self.features = shape.features
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
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
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return x


def load_backbone(backbone: Backbone, weights: Mapping[str, Tensor]) -> None:
    """Fill a backbone from torchvision-named weights (any float type).

    Raises:
        EngineError: a weight is missing or has another shape.
    """
    wanted = backbone.state_dict()
    missing = sorted(set(wanted) - set(weights))
    if missing:
        raise EngineError(
            f"the start weights lack {missing[0]} and {len(missing) - 1} more; "
            "give --init a file of this backbone"
        )
    try:
        backbone.load_state_dict(
            {key: weights[key].to(value.dtype) for key, value in wanted.items()}
        )
    except RuntimeError as error:
        raise EngineError(
            f"the start weights do not fit the backbone: {error}"
        ) from error

"""The three networks of the paper, written out: LR, HR and the slide RNN.

Images enter as uint8 NHWC; cast, layout and normalisation belong to the network, so no
caller can normalise wrongly.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from armicro.train.backbone import Backbone, Normalise, shortcut
from armicro.verdict import HR_TILE_PX

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
        self.skip = nn.Identity() if same else shortcut(channels, width, 1)

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

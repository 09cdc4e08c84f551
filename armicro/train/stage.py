"""What a training run is told: its stages, and what holds for all of them."""

from dataclasses import dataclass

from armicro.train.sample import TilePlan


@dataclass(frozen=True, slots=True)
class Stage:
    """One stretch of training at one setting."""

    steps: int
    plan: TilePlan
    batch: int = 16
    rate: float = 1e-4
    """AdamW learning rate of the backbone; the head's is five times that."""
    frozen: int = 3
    """How many of conv1, bn1, layer1 ... layer4 stay as they were."""
    hard_share: float = 0.0
    """Weight of mining: 0 draws evenly, 1 draws in proportion to the loss."""
    without: tuple[str, ...] = ()
    """Sources that wait for a later stage."""

    @property
    def text(self) -> str:
        """The stage in words, for the manifest; a resumed run must say the same."""
        plan = self.plan
        text = (
            f"{self.steps} steps of {self.batch} tiles {plan.tile_px} px at "
            f"{plan.um_per_px:g} µm/px, shift {plan.shift_um:g} µm, labelled by "
            f"{'its cell' if plan.by_cell else 'all lesions in it'}, rate "
            f"{self.rate:g}, first {self.frozen} layers frozen, mining "
            f"{self.hard_share:g}"
        )
        text += f", mosaics {plan.mosaic:g}" * bool(plan.mosaic)
        return text + f", without {' and '.join(self.without)}" * bool(self.without)


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What holds for a whole run."""

    stages: tuple[Stage, ...]
    seed: int = 20211
    smoothing: float = 0.05
    """Label smoothing."""
    mine_every: int = 50
    """Steps after which hard samples are told anew."""
    mean_decay: float = 0.998
    weight_decay: float = 0.02
    checkpoint_every: int = 50
    validate_every: int = 300
    val_tile_px: int = 128
    patience: int = 0
    """Checks without a better mean AUC after which training stops; 0: never."""
    threads: int = 0
    """CPU threads; 0 leaves torch's own choice."""
    origin: str = "random"
    """Start weights, as the manifest will name them."""
    stop_at: int | None = None
    """Step to stop at, for a trial; stages and rates stay those of a whole run."""

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def last(self) -> int:
        """The step after which training stops."""
        return self.steps if self.stop_at is None else min(self.stop_at, self.steps)

    def stage_at(self, step: int) -> tuple[int, Stage]:
        """Return the stage of a step and its index."""
        for index, stage in enumerate(self.stages):
            if step < stage.steps:
                return index, stage
            step -= stage.steps
        return len(self.stages) - 1, self.stages[-1]

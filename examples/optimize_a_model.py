"""What is faster on this machine, and equal, is found out; the rest is left alone."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from unfussy import Candidate, Trial, inference, optimize


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 64, 3, 2), nn.BatchNorm2d(64))
        self.head = nn.Linear(64, 16)
        self.n_repeats = 5

    @inference
    def embed(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.n_repeats):
            z = self.features(x).mean((2, 3))
        return self.head(z)


class Once(Candidate):
    name = "once"
    summary = "computes the features once"

    def obstacle(self, trial: Trial, /) -> str | None:
        once = trial.module.n_repeats == 1
        return "they are computed once already" if once else None

    def apply(self, trial: Trial, /) -> Callable[[], None]:
        module, before = trial.module, trial.module.n_repeats
        module.n_repeats = 1
        return lambda: setattr(module, "n_repeats", before)


model, images = Encoder(), torch.rand(4, 3, 64, 64)
plain = model.embed(images)

tried = (Once, "channels_last", "fold_norms")
report = optimize(model.embed, images, candidates=tried, budget=10)
print(report)

report.apply()
torch.testing.assert_close(model.embed(images), plain, rtol=1e-4, atol=1e-5)
report.undo()
assert torch.equal(model.embed(images), plain)

folder = Path(tempfile.mkdtemp())
print("written:", report.save(folder / "report.json").name)
print("for load_choice():", report.save_choice(folder / "choice.json").name)

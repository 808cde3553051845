"""An object that is no module, and free functions, are decorated like methods."""

import numpy as np
from torch import Tensor, nn

from unfussy import auto_device, inference, returns


class Detector:
    """Holds a network among other things."""

    def __init__(self) -> None:
        self.network = nn.Linear(12, 5)
        self.threshold = 0.0

    @property
    def inference_module(self) -> nn.Module:
        return self.network

    @returns("numpy")
    @inference
    @auto_device
    def detect(self, features: Tensor) -> Tensor:
        boxes = self.network(features)
        return boxes[boxes[:, 0] > self.threshold]


@inference
@auto_device
def count(model: nn.Module, features: Tensor) -> int:
    return int((model(features)[:, 0] > 0).sum())


detector = Detector()
features = np.random.default_rng(0).normal(size=(10, 12))
print("boxes:", detector.detect(features).shape)
print("counted by a function:", count(detector.network, features))

"""A module that cannot be edited is called easily through a proxy."""

import numpy as np
from torch import nn

from unfussy import unfuss

theirs = nn.TransformerEncoder(
    nn.TransformerEncoderLayer(d_model=16, nhead=2, batch_first=True),
    num_layers=2,
    enable_nested_tensor=False,
)
model = unfuss(theirs, out="numpy", batch_size=8)

sequences = np.random.default_rng(0).normal(size=(20, 5, 16))
encoded = model(sequences)
print("in:", sequences.shape, sequences.dtype, "out:", encoded.shape, encoded.dtype)
print("still a TransformerEncoder:", isinstance(model, nn.TransformerEncoder))

"""Sentences of any length run in chunks that hardly pad: what a plan saves."""

import time

import numpy as np
import torch
from torch import Tensor, nn

from unfussy import Pad, TensorLike, auto_device, batched, inference, plan


class Sentences(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(1000, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return self.layers(self.words(ids)).mean(1)
        states = self.layers(self.words(ids), src_key_padding_mask=~mask)
        return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    @batched(pad=Pad(mask="mask"))
    @inference
    @auto_device
    def embed(self, ids: TensorLike, mask: TensorLike | None = None) -> Tensor:
        return self(ids, mask)


@torch.inference_mode()
def embed_by_32(model: Sentences, sentences: list[Tensor]) -> Tensor:
    parts = []
    for i in range(0, len(sentences), 32):
        part = sentences[i : i + 32]
        ids = nn.utils.rnn.pad_sequence(part, batch_first=True)
        real = torch.tensor([[len(each)] for each in part])
        parts.append(model(ids, torch.arange(ids.shape[1]) < real))
    return torch.cat(parts)


torch.manual_seed(0)
torch.set_num_threads(1)
lengths = np.random.default_rng(0).lognormal(3.2, 0.9, 512).clip(4, 400).astype(int)
sentences = [torch.randint(1000, (n,)) for n in lengths]
model = Sentences().eval()

print(plan(lengths, budget=2048))
padded = sum(32 * lengths[i : i + 32].max() for i in range(0, 512, 32))
waste = 1 - lengths.sum() / padded
print(f"in chunks of 32 as they come: {100 * waste:.1f} % padding")

results = []
for embed in (embed_by_32, Sentences.embed) * 2:
    start = time.process_time()
    results.append(embed(model, sentences))
    print(f"{embed.__name__}: {time.process_time() - start:.2f} s")
torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)

"""Draw pictures with captions, train on them, and generate new ones that fit."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader

from unfussy.models.multimodal import (
    CaptionTokenizer,
    EngravingDataset,
    MultimodalGenerator,
    MultimodalModel,
    collate,
    verify,
)

COLORS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 220)}
SHAPES, PLACES, LATENT = ("circle", "square"), ("left", "middle", "right"), 6


def draw_pictures(folder: Path, count: int) -> None:
    random, entries = np.random.default_rng(0), []
    folder.mkdir()
    for i in range(count):
        color, shape = random.choice([*COLORS]), random.choice(SHAPES)
        place, top = random.integers(3), random.integers(6, 11)
        picture = Image.new("RGB", (32, 32), "white")
        pen, box = ImageDraw.Draw(picture), (8 * place, top, 8 * place + 14, top + 14)
        (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=COLORS[color])
        picture.save(folder / f"{i}.png")
        caption = f"{color} {shape} {PLACES[place]}"
        entries.append({"id": i, "filename": f"{i}.png", "caption": caption})
    (folder / "metadata.json").write_text(json.dumps(entries))


def caption_loss(
    model: MultimodalModel, z: torch.Tensor, ids: torch.Tensor
) -> torch.Tensor:
    """Teach each word to follow from the latent and the words before it."""
    text = model.text_decoder
    rows = head = text.fc_latent(z)[:, None]
    loss = cross_entropy(text.output_projection(head[:, 0]), ids[:, 0])
    for word in ids[:, 1:].T:
        last = text.transformer_decoder(rows, head)[:, -1]
        loss = loss + cross_entropy(text.output_projection(last), word)
        rows = torch.cat((rows, text.token_embedding(word)[:, None]), 1)
    # A caption is drawn from what each chosen word projects to: that word, then.
    alone = text.output_projection(text.token_embedding.weight)
    return loss + cross_entropy(alone, torch.arange(len(alone)))


def prior_loss(z: torch.Tensor) -> torch.Tensor:
    """Pull latents towards a normal distribution (MMD, Gretton et al., 2012)."""
    n, both = len(z), torch.cat((z, torch.randn_like(z)))
    near = LATENT / (LATENT + torch.cdist(both, both).square())
    return near[:n, :n].mean() + near[n:, n:].mean() - 2 * near[:n, n:].mean()


def train(data: EngravingDataset, tokenizer: CaptionTokenizer) -> MultimodalModel:
    torch.manual_seed(0)
    sizes = {"image_size": 32, "width": 64, "num_layers": 1}
    model = MultimodalModel(LATENT, 3, len(tokenizer), 8, **sizes)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    how = {"batch_size": 64, "shuffle": True, "drop_last": True, "collate_fn": collate}
    for epoch in range(12):
        for batch in DataLoader(data, **how):
            ids = torch.tensor([tokenizer.encode(x, 5)[1:] for x in batch["captions"]])
            z = model.encode(batch["images"])
            noisy = z + 0.3 * torch.randn_like(z)
            images = mse_loss(model.decode_image(noisy), 2 * batch["images"] - 1)
            words = caption_loss(model, noisy, ids)
            optimizer.zero_grad()
            (images + 0.1 * words + 2 * prior_loss(z)).backward()
            optimizer.step()
        print(f"epoch {epoch:2}: pictures {images:.3f}, captions {words:.3f}")
    return model.eval()


def color_of(picture: Image.Image) -> str:
    """Name the color nearest to the mean of what is not white."""
    pixels = np.asarray(picture, dtype=float).reshape(-1, 3)
    mean = np.average(pixels, axis=0, weights=255 - pixels.min(axis=1))
    return min(COLORS, key=lambda name: np.linalg.norm(mean - COLORS[name]))


draw_pictures(Path("drawn"), 1500)
data = EngravingDataset("drawn/metadata.json", "drawn")
tokenizer = CaptionTokenizer.build(data.captions)
model = train(data, tokenizer)

tokenizer.save("checkpoints/tokenizer.json")
torch.save(model.state_dict(), "checkpoints/best.pt")
assert verify("checkpoints").is_ok

generator = MultimodalGenerator(latent_dim=LATENT, vocab_size=len(tokenizer))
samples = generator.generate_batch(seeds=range(200))
seen = [color_of(image) for image, *_ in samples]
said = [caption.split()[0] for _, caption, _ in samples]
fit = np.mean([a == b for a, b in zip(seen, said)])
shuffled = sum(seen.count(x) * said.count(x) for x in COLORS) / len(samples) ** 2
print("seeds 0 to 2:", *(caption for _, caption, _ in samples[:3]), sep="\n  ")
print(f"captions that name the color of their picture: {fit:.0%}")
print(f"if captions are shuffled: {shuffled:.0%}")
assert fit > shuffled + 0.2

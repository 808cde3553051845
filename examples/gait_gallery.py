"""
A small network learns to tell walkers apart, and finds others again in new clothes.

Walkers are drawn, not recorded: figures say that training works, not how well it does
on people.
"""

import numpy as np
import torch
from data.draw_walkers import draw
from torch import nn

from unfussy.models.gait import GaitBase, GaitRecognizer, evaluate

PEOPLE, STRANGERS = range(24), range(100, 120)
STEPS, P, K, FRAMES = 60, 8, 3, 6
random = np.random.default_rng(0)


def walk(person: int, clothes: str, speed: float, n_frames: int = 24) -> np.ndarray:
    """Return silhouettes of a walk that begins anywhere in a step."""
    phase = random.uniform(0, 2 * np.pi)
    drawn = draw(person, n_frames, speed=speed, clothes=clothes, phase=phase)
    return drawn["silhouettes"]


def triplet_loss(embeddings: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
    """Return the mean over parts of what violates a margin, over all triplets."""
    parts = embeddings.permute(2, 0, 1)  # (P, n, D)
    apart = torch.cdist(parts, parts, compute_mode="donot_use_mm_for_euclid_dist")
    same = who[:, None] == who
    excess = apart[:, :, :, None] - apart[:, :, None, :] + 0.2
    excess = nn.functional.relu(excess[:, same[:, :, None] & ~same[:, None, :]])
    return excess.sum() / (excess > 0).sum().clamp_min(1)


def train(model: GaitBase, seen: dict[int, list[np.ndarray]]) -> None:
    """Train as the official recipe: triplets of embeddings, and classification."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(STEPS):
        who = np.repeat(random.choice(len(seen), P, replace=False), K)
        walks = [seen[i][random.integers(len(seen[i]))] for i in who]
        starts = random.integers(len(walks[0]) - FRAMES, size=len(walks))
        cut = np.stack([w[s : s + FRAMES, :, 10:54] for w, s in zip(walks, starts)])
        labels = torch.from_numpy(who)
        embeddings = model(torch.from_numpy(cut) / 255)
        _, scores = model.classify(embeddings)
        targets = labels[:, None].expand(-1, scores.shape[2])
        loss = triplet_loss(embeddings, labels)
        loss = loss + nn.functional.cross_entropy(16 * scores, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def rank_one(recognizer: GaitRecognizer, gallery: list, probes: list) -> float:
    """Return how often the closest of the gallery is the same stranger."""
    known = recognizer.recognize_batch(gallery)
    asked = recognizer.recognize_batch(probes)
    return evaluate(asked, STRANGERS, known, STRANGERS, ks=[1]).ranks[1]


if __name__ == "__main__":
    clothes, speeds = ("plain", "coat", "dress"), (0.8, 1.0, 1.3)
    seen = {i: [walk(i, *how) for how in zip(clothes, speeds)] for i in PEOPLE}
    gallery = [walk(i, "plain", 1.0, 30) for i in STRANGERS]
    probes = [walk(i, "coat", 1.25, 17) for i in STRANGERS]

    model = GaitBase.from_config(
        channels=(8, 16, 32, 32), embedding_dim=32, class_num=len(PEOPLE)
    )
    recognizer = GaitRecognizer("GaitBase", model=model)
    before = rank_one(recognizer, gallery, probes)
    train(model, seen)
    after = rank_one(recognizer, gallery, probes)

    chance = 1 / len(STRANGERS)
    print(f"rank-1 of {len(STRANGERS)} strangers, in a coat and faster than before:")
    print(f"chance {chance:.0%}, before training {before:.0%}, after {after:.0%}")
    assert after > 2 * chance

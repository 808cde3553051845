"""The same seed gives the same picture and caption, alone, in a batch, in any order."""

import numpy as np

from unfussy.models.multimodal import MultimodalGenerator

# Random weights, for a trial. With trained ones: MultimodalGenerator(
#     "checkpoints/best.pt", "checkpoints/tokenizer.json")
generator = MultimodalGenerator.from_config(image_size=64, width=64)

image, caption = generator.generate(seed=42)
image.save("seed_042.png")
print(f"seed 42: {image.size[0]} by {image.size[1]} pixels, {caption!r}")

batch = generator.generate_batch(seeds=[7, 42, 7])
apart = np.asarray(batch[1][0]).astype(int) - np.asarray(image)
print("in a batch the caption is the same:", batch[1][1] == caption)
print("and no pixel is further off than rounding:", abs(apart).max() <= 1)

for _, words, metadata in generator.generate_iter(range(3)):
    print(f"seed {metadata['seed']}: {words}")

between = generator.interpolate(7, 42, steps=4)
print("from seed to seed:", [metadata["seed"] for *_, metadata in between])
print("what the metadata say of the weights:", metadata["weights"])

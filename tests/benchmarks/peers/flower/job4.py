"""A LightningModule of one's own takes part in Flower's FedAvg."""

import lightning as L
import torch
from data import SITES, accuracy, load, network
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from torch.utils.data import DataLoader, TensorDataset

client = ClientApp()
server = ServerApp()


class Module(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1], label_smoothing=0.05)

    def configure_optimizers(self):
        return torch.optim.RAdam(self.parameters(), lr=0.01)


def prepare(message, context):
    """Return this clinic's rows, and the module with the weights that the server has sent."""
    node = context.node_config  # a deployed node has a name, a simulated one a number
    site = node.get("site") or SITES[node["partition-id"]]
    module = Module()
    module.load_state_dict(message.content["arrays"].to_torch_state_dict())
    return site, module, load(context.run_config["folder"], site)


@client.train()
def train(message, context):
    _, module, (x, y, *_) = prepare(message, context)
    trainer = L.Trainer(
        max_epochs=context.run_config["epochs"],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True))
    content = {
        "arrays": ArrayRecord(module.state_dict()),
        "metrics": MetricRecord({"num-examples": len(x)}),
    }
    return Message(RecordDict(content), reply_to=message)


@client.evaluate()
def evaluate(message, context):
    site, module, (_, _, x, y, *_) = prepare(message, context)
    print(f"{site} {accuracy(module, x, y):.3f}", flush=True)
    metrics = MetricRecord({"accuracy": accuracy(module, x, y), "num-examples": 1})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


@server.main()
def main(grid, context):
    torch.manual_seed(0)
    first = ArrayRecord(Module().state_dict())
    FedAvg(min_available_nodes=4).start(grid, first, num_rounds=context.run_config["rounds"])

"""FedAvg of one small network over four clinics, with NVFlare: the clinic's side."""

import sys

import nvflare.client as flare
from data import accuracy, fit, load
from model import Network

folder, epochs = sys.argv[1], int(sys.argv[2])
flare.init()
site = flare.get_site_name()
x, y, held_x, held_y, *_ = load(folder, site)
net = Network()
while flare.is_running():
    received = flare.receive()
    net.load_state_dict(received.params)
    reached = accuracy(net, held_x, held_y)  # of the model that the server has sent
    print(f"round {received.current_round} {site} {reached:.3f}", flush=True)
    fit(net, x, y, epochs)
    flare.send(flare.FLModel(params=net.state_dict(), metrics={"accuracy": reached}))

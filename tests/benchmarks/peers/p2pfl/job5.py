"""One clinic's p2pfl node in a process of its own, over TLS.

Run: job5.py FOLDER SITE, the last site starts all.
"""

import sys
import time

from clinic import dataset, model, save
from data import SITES
from p2pfl.node import Node
from p2pfl.settings import Settings
from p2pfl.utils.utils import set_standalone_settings, wait_convergence, wait_to_finish

folder, site = sys.argv[1:]
number = SITES.index(site)
set_standalone_settings()
Settings.general.DISABLE_RAY = True
for name in ("ca", "server", "client"):
    setattr(Settings.ssl, f"{name.upper()}_CRT", f"tls/{name}.crt")
    setattr(Settings.ssl, f"{name.upper()}_KEY", f"tls/{name}.key")
node = Node(model(), dataset(folder, site), addr=f"127.0.0.1:{7800 + number}")
node.start()
for other in range(number):
    node.connect(f"127.0.0.1:{7800 + other}")
if number == 3:
    wait_convergence([node], 3, wait=60)
    node.set_start_learning(rounds=10, epochs=8)
wait_to_finish([node], timeout=600)
save(node, folder, site)
time.sleep(30)  # others may still ask for its weights
node.stop()

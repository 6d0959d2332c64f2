"""FedAvg of one small network over four clinics, with NVFlare: the server.

Run: job1.py FOLDER ROUNDS EPOCHS [poc]
"""

import sys
from pathlib import Path

from data import SITES
from model import Network
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.recipe.poc_env import PocEnv
from nvflare.recipe.sim_env import SimEnv

folder, rounds, epochs = Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3]
recipe = FedAvgRecipe(
    name="clinics",
    model=Network(),
    min_clients=4,
    num_rounds=rounds,
    train_script="client.py",
    train_args=f"{folder} {epochs}",
)
recipe.add_client_file("data.py")
env = PocEnv(num_clients=4, clients=SITES) if "poc" in sys.argv else SimEnv(clients=SITES)
run = recipe.execute(env)
print(run.get_status(), run.get_result())

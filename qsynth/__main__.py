"""Run the command line as `python -m qsynth`."""

import os
import sys

# Python has put the current folder first: a torch.py or a json.py that lies there is not meant.
if sys.path and not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from qsynth.cli.main import main

raise SystemExit(main())

"""Run the command line as `python -m qsynth`."""

from qsynth.cli.main import main

raise SystemExit(main())

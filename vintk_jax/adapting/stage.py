"""A process that runs one command and ends with the one that started it.

    python -m vintk_jax.adapting.stage vintk_jax.train --config ...

The starter holds the other end of standard input. When it is gone, by whatever, that end is closed,
and this process ends as by kill -9, which every command survives: else a run that goes on would
meet the old one at work.
"""

import importlib
import os
import signal
import sys
import threading

from vintk_jax.command_line import run


def end_with_starter() -> None:
    """Watch standard input from a thread; end this process when it closes."""

    def watch() -> None:
        while os.read(0, 1024):
            continue
        if hasattr(signal, "SIGKILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Run the module that the command line names."""
    end_with_starter()
    sys.argv = sys.argv[1:]
    run(importlib.import_module(sys.argv[0]).main)


if __name__ == "__main__":
    main()

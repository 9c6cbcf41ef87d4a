"""Soaks two relays, one of a single worker and one of two, and says what was found."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from .station import Plan, Station, say


def main() -> int:
    """The exit status: 0 if all was as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3_600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--rate", type=float, default=1_500, help="datagrams a second")
    parser.add_argument("--workers", type=int, help="only one relay, with so many")
    arguments = parser.parse_args()
    if arguments.workers is None:
        say(f"SEED={arguments.seed}")
        command = [sys.executable, "-m", "soak", "--seconds", str(arguments.seconds)]
        command += ["--seed", str(arguments.seed), "--rate", str(arguments.rate)]
        both = [subprocess.Popen([*command, "--workers", str(count)]) for count in (1, 2)]
        return max(process.wait() for process in both)
    plan = Plan(arguments.seconds, arguments.seed, arguments.workers, arguments.rate)
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        station = Station(plan, Path(directory), say)
        try:
            station.run()
        finally:
            station.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

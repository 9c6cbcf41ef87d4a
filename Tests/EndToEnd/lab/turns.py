"""What the laboratory's transfers have in common: the client sends everything, then the server does.

Whoever is disturbed while the client sends is a sender or a receiver, and not both.
"""

from __future__ import annotations

import argparse

from programs import transfer_parser

# A wall guards against hanging. The slowest thing of all is an idle connection that an agent's
# keep-alive mends after 15 s.
TURN_WALL_SECONDS = 180.0

# Before a command: it does not outlive the program that started it, even if that is killed.
MORTAL = ("setpriv", "--pdeathsig", "KILL")


def turns_parser() -> argparse.ArgumentParser:
    """The arguments that every program of such a transfer takes."""
    parser = transfer_parser()
    parser.add_argument("--pause-seconds", type=float, default=0.0, help="between the two turns")
    return parser


def add_certificate_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of programs whose certificate is ours."""
    parser.add_argument("--local-host", required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)

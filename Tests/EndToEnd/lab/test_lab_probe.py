"""`quic-relay probe` over real paths: NATs, a small MTU, firewalls, bleached ECN."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from lab.impairments import Impairments
from lab.internet import Site
from lab.laboratory import Laboratory
from lab.nats import NatKind
from relay_process import neutral_environment, relay_binary

_WALL_SECONDS = 120.0

_FIREWALL = """
table inet firewall {{
    chain input {{
        type filter hook input priority filter; policy accept;
        udp dport 4433 {verdict}
    }}
}}
"""

Findings = dict[str, dict[str, Any]]


def _probe(site: Site) -> tuple[int, Findings]:
    command = [str(relay_binary()), "probe", site.relay, "--json", "--seconds", "1"]
    with site.host.inside():
        done = subprocess.run(
            command,
            env=neutral_environment(),
            capture_output=True,
            text=True,
            timeout=_WALL_SECONDS,
            check=False,
        )
    assert done.stderr == ""
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, {finding["subject"]: finding for finding in findings}


@pytest.mark.parametrize(
    "kinds",
    [(NatKind.SYMMETRIC,), (NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC)],
    ids=["symmetric", "double NAT"],
)
def test_a_good_relay_behind_nats(lab: Laboratory, kinds: tuple[NatKind, ...]) -> None:
    status, findings = _probe(lab.internet.site(*kinds))
    assert status == 0
    skipped = {subject for subject, f in findings.items() if f["verdict"] == "skip"}
    assert skipped == {"throughput", "stun"}
    assert {f["verdict"] for f in findings.values()} == {"ok", "skip"}, findings


@pytest.mark.parametrize("tells", [True, False], ids=["told", "black hole"])
def test_a_path_with_mtu_1300(lab: Laboratory, seed: int, tells: bool) -> None:
    """What a router says about it must not be taken for more than it is."""
    impairments = Impairments(mtu=1_300, tells_too_big=tells)
    site = lab.internet.site(NatKind.PORT_RESTRICTED, impairments=impairments, seed=seed)
    status, findings = _probe(site)
    assert status == 0
    sizes = findings["sizes"]
    # 1300 less IPv4's 20 and UDP's 8.
    assert (sizes["verdict"], sizes["finding"]) == ("warn", "1252 bytes pass, 1280 do not")
    assert sizes["figures"]["longest_payload_bytes"] == 1_252
    assert "below 1500" in sizes["cause"]
    others = {f["verdict"] for subject, f in findings.items() if subject != "sizes"}
    assert others == {"ok", "skip"}, findings
    assert site.wire is not None
    outward, _ = site.wire.counts()
    assert outward.too_big > 0


def test_a_path_that_clears_ecn_marks(lab: Laboratory, seed: int) -> None:
    impairments = Impairments(clears_ecn=True)
    site = lab.internet.site(NatKind.SYMMETRIC, impairments=impairments, seed=seed)
    status, findings = _probe(site)
    assert status == 0
    ecn = findings["ecn"]
    assert (ecn["verdict"], ecn["figures"]["marks_kept"]) == ("warn", 0)
    assert "cleared" in ecn["finding"]
    assert "router or tunnel" in ecn["cause"]


@pytest.mark.parametrize("is_ipv6", [False, True], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("refuses", [False, True], ids=["drops", "refuses"])
def test_a_firewall(lab: Laboratory, refuses: bool, is_ipv6: bool) -> None:
    verdict = "reject with icmpx admin-prohibited" if refuses else "drop"
    lab.internet.relay.run("nft", "-f", "-", text=_FIREWALL.format(verdict=verdict))
    site = lab.internet.site(NatKind.NONE if is_ipv6 else NatKind.PORT_RESTRICTED, is_ipv6=is_ipv6)
    status, findings = _probe(site)
    assert status == 69
    assert findings["reachability"]["verdict"] == "fail"
    cause = findings["reachability"]["cause"]
    assert "firewall" in cause
    assert ("drops UDP port 4433" in cause) == (not refuses), cause
    assert "this machine's routes" not in cause

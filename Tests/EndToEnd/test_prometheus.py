"""What is made of the metrics: alerts, a dashboard, and a real Prometheus that asks for them."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peers import free_ports
from prometheus import ask, metrics_address, prometheus_program, promtool
from relay_process import REPOSITORY, Relay, StartRelay
from waiting import wait_until

DEPLOY = REPOSITORY / "deploy"
ALERTS = DEPLOY / "quic-relay.alerts.yml"
ALERT_TESTS = DEPLOY / "quic-relay.alerts.test.yml"
DASHBOARD = DEPLOY / "quic-relay.grafana.json"

# Every name of ours in a query, with what stands in its braces.
_NAME = re.compile(r"\b((?:quic_relay|process)_[a-z_]+)(\{[^}]*\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
# What Prometheus itself puts on every series, and the dashboard's variables.
_TARGET_LABELS = {"job", "instance"}


def test_the_alerts_are_rules() -> None:
    checked = promtool("check", "rules", ALERTS)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "SUCCESS" in checked.stdout


def test_the_alerts_fire_when_they_should() -> None:
    tested = promtool("test", "rules", ALERT_TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_says_what_to_do() -> None:
    alerts = re.split(r"- alert: ", ALERTS.read_text())[1:]
    assert len(alerts) >= 12
    for alert in alerts:
        assert "summary:" in alert, alert
        assert "severity: " in alert, alert
        description = alert.partition("description: >-")[2]
        assert len(description.split()) > 15, alert


def test_alerts_and_dashboard_name_what_there_is(start_relay: StartRelay) -> None:
    relay = start_relay("--metrics", "0")
    series = _series(relay)
    queries = re.findall(r"expr: (.*?)\n\s+(?:for|labels):", ALERTS.read_text(), re.DOTALL)
    dashboard = json.loads(DASHBOARD.read_text())
    targets = [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", [])]
    variables = [v["definition"] for v in dashboard["templating"]["list"] if "definition" in v]
    assert len(queries) >= 12
    assert len(targets) >= 25
    for query in queries + targets + variables:
        for name, matchers in _NAME.findall(query):
            assert name in series, f"no metric {name}: {query}"
            for label, operator, value in _MATCHER.findall(matchers):
                if label in _TARGET_LABELS:
                    continue
                assert label in series[name], f"{name} has no label {label}: {query}"
                words = value.split("|") if "~" in operator else [value]
                unknown = set(words) - series[name][label]
                assert not unknown, f"{name} has no {label} {unknown}: {query}"


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells


def test_a_real_prometheus_reads_it(start_relay: StartRelay, tmp_path: Path) -> None:
    relay = start_relay("--metrics", "0")
    relay.pair()
    with _prometheus(relay, tmp_path) as query:
        wait_until(lambda: query('up{job="quic-relay"} == 1'), "Prometheus has read the metrics")
        wait_until(
            lambda: query('quic_relay_sessions{state="paired"} == 1'), "it knows of the pair"
        )
        (sample,) = query("sum(quic_relay_datagrams_forwarded_total)")
        assert sample["value"][1] == "3"
        buckets = query("quic_relay_handshake_rtt_seconds_bucket")
        assert {"+Inf", "0.0005", "1"} <= {bucket["metric"]["le"] for bucket in buckets}
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", []):
                # A query that makes no sense is an error, and one without an answer is none.
                query(_filled_in(target["expr"]))
        relay.stop()
        wait_until(lambda: query('up{job="quic-relay"} == 0'), "it notices that the relay is gone")


def _filled_in(query: str) -> str:
    for variable, value in (
        ("$job", "quic-relay"),
        ("$instance", ".*"),
        ("$__rate_interval", "1m"),
    ):
        query = query.replace(variable, value)
    assert "$" not in query, query
    return query


def _series(relay: Relay) -> dict[str, dict[str, set[str]]]:
    """The values of each label of each name."""
    body = ask(relay, "/metrics")[2]
    series: dict[str, dict[str, set[str]]] = {}
    for line in body.splitlines():
        if line.startswith("#"):
            continue
        name, matchers = re.findall(r"^([a-z_]+)(\{[^}]*\})?", line)[0]
        labels = series.setdefault(name, {})
        for label, _, value in _MATCHER.findall(matchers):
            labels.setdefault(label, set()).add(value)
    return series


@contextlib.contextmanager
def _prometheus(relay: Relay, folder: Path) -> Iterator[Any]:
    """A Prometheus that asks the relay each second; yields how to query it."""
    program = prometheus_program("prometheus")
    host, port = metrics_address(relay)
    own_port = free_ports("127.0.0.1", 1)[0]
    configuration = folder / "prometheus.yml"
    configuration.write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{ALERTS}]\n"
        "scrape_configs:\n"
        "  - job_name: quic-relay\n"
        f'    static_configs: [{{targets: ["{host}:{port}"]}}]\n'
    )
    output = folder / "prometheus.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{own_port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def get(path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{own_port}{path}", timeout=30) as answer:
            return bytes(answer.read())

    def is_ready() -> bool:
        assert process.poll() is None, output.read_text()
        try:
            get("/-/ready")
        except OSError:
            return False
        return True

    def query(expression: str) -> list[dict[str, Any]]:
        answer = json.loads(get(f"/api/v1/query?query={urllib.parse.quote(expression)}"))
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    try:
        wait_until(is_ready, "Prometheus is ready")
        yield query
    finally:
        process.terminate()
        process.wait(30)

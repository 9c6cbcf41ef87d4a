"""The load generator must see what a relay does wrong, and the driver what its user does."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import bench
import loads
import networks
import relays
import report

HERE = pathlib.Path(__file__).resolve().parent


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def load(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [bench.LOAD, *arguments], capture_output=True, text=True, timeout=120)


class LoadTest(unittest.TestCase):
    """Each fault is counted as what it is, and as nothing else."""

    FAULTS = ("lost", "corrupted", "duplicated", "reordered", "misdelivered")

    def through(self, fault: str, *arguments: str) -> dict:
        port = free_port()
        relay = subprocess.Popen(
            [sys.executable, HERE / "faulty_relay.py", str(port), fault],
            stderr=subprocess.DEVNULL)
        try:
            # Few under way, so that the faulty relay's buffer loses nothing.
            done = load("--relay", f"127.0.0.1:{port}", "--sessions", "2", "--seconds", "0.3",
                        "--window", "32", "--meter", str(os.getpgid(relay.pid)), *arguments)
        finally:
            relay.kill()
            relay.wait()
        self.assertEqual(done.returncode, 0, done.stderr)
        run = json.loads(done.stdout)
        self.assertGreater(run["sent"], 0)
        return run

    def assert_only(self, run: dict, *faults: str) -> None:
        for fault in self.FAULTS:
            (self.assertGreater if fault in faults else self.assertEqual)(run[fault], 0, fault)

    def test_a_good_relay_does_nothing_wrong(self) -> None:
        run = self.through("none")
        self.assert_only(run)
        self.assertEqual(run["sent"], run["received"])
        self.assertEqual(run["latency_us"]["count"], run["received"])
        self.assertGreater(run["cpu_s_per_million"]["relay"], 0)

    def test_a_lost_datagram_is_seen(self) -> None:
        self.assert_only(self.through("drop"), "lost")

    def test_a_changed_byte_is_seen(self) -> None:
        self.assert_only(self.through("corrupt"), "corrupted", "lost")

    def test_a_shortened_datagram_is_seen(self) -> None:
        self.assert_only(self.through("shorten"), "corrupted", "lost")

    def test_a_datagram_that_comes_twice_is_seen(self) -> None:
        self.assert_only(self.through("duplicate"), "duplicated")

    def test_what_comes_twice_does_not_widen_the_window(self) -> None:
        # A wider window fills the buffers, and the relay is blamed for what they lose.
        self.assert_only(self.through("double"), "duplicated")

    def test_a_datagram_that_was_overtaken_is_seen(self) -> None:
        run = self.through("reorder")
        self.assertGreater(run["reordered"], 0)
        self.assertEqual(run["corrupted"] + run["duplicated"] + run["misdelivered"], 0)

    def test_another_session_s_datagram_is_seen(self) -> None:
        self.assert_only(self.through("misdeliver"), "misdelivered", "lost")

    def test_a_schedule_is_kept_and_direct_datagrams_come(self) -> None:
        run = self.through("none", "--rate", "500", "--burst", "1", "--beside")
        self.assert_only(run)
        # Half of them through the relay; what the clock adds or takes at the ends is a few.
        self.assertAlmostEqual(run["latency_us"]["count"], 150, delta=15)
        self.assertAlmostEqual(run["direct_us"]["count"], 150, delta=15)

    def test_sizes_and_both_directions(self) -> None:
        self.assert_only(self.through("none", "--size", "mixed", "--duplex"))

    def test_trains(self) -> None:
        self.assert_only(self.through("none", "--train", "16", "--coalesce"))

    def test_no_relay_is_said(self) -> None:
        done = load("--relay", f"127.0.0.1:{free_port()}")
        self.assertEqual(done.returncode, 69)
        self.assertIn("did not acknowledge", done.stderr)

    def test_what_makes_no_sense_is_one_line(self) -> None:
        for arguments, text in (
            ([], "--relay is missing"),
            (["--relay", "127.0.0.1"], "--relay 127.0.0.1: needs a port"),
            (["--relay", "here:1"], "must be an IP address"),
            (["--relay", "127.0.0.1:1", "--size", "8"], "--size 8: must be a number from 32 to"),
            (["--relay", "127.0.0.1:1", "--sessions", "1.5"], "must be a whole number"),
            (["--relay", "127.0.0.1:1", "--burst", "16", "--train", "3"], "multiple of --train"),
            (["--relay", "127.0.0.1:1", "--protocol", "tcp"], "must be register, sink or turn"),
        ):
            done = load(*arguments)
            self.assertEqual(done.returncode, 64, done.stderr)
            self.assertIn(text, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1)


class NetworkTest(unittest.TestCase):
    """The networks that the benchmark makes."""

    def test_a_nic_puts_together_what_arrives(self) -> None:
        if obstacle := networks.obstacle("nic"):
            self.skipTest(f"SKIPPED: {obstacle}")
        with networks.NIC(4) as place:
            for namespace, device, line in (
                ("relay", "to-a", "generic-receive-offload: on"),
                ("relay", "to-b", "generic-receive-offload: on"),
                ("a", "to-relay", "tcp-segmentation-offload: off"),
                ("b", "to-relay", "tcp-segmentation-offload: off"),
            ):
                shown = subprocess.run(
                    ["ip", "netns", "exec", place.names[namespace], "ethtool", "-k", device],
                    capture_output=True, text=True, check=True, timeout=60)
                self.assertIn(line, shown.stdout)
        left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
        for name in place.names.values():
            self.assertNotIn(name, left.stdout)


class DriverTest(unittest.TestCase):
    def bench(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, HERE / "bench.py", *arguments], capture_output=True, text=True,
            timeout=300)

    def test_two_relays_are_measured(self) -> None:
        done = self.bench(
            "--only", "macro", "--relays", "ours,loop", "--loads", "plain,gso", "--networks",
            "loopback", "--families", "4,6", "--rounds", "1", "--seconds", "0.2", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(len(found["tables"]), 4)
        for table in found["tables"]:
            self.assertEqual([row["relay"] for row in table["rows"]], ["ours", "loop"])
            self.assertEqual(table["rows"][0]["relay CPU-s/M ratio"], 1)
            self.assertGreater(table["rows"][1]["relay CPU-s/M"], 0)
        self.assertIn("kernel", found["machine"])

    def test_an_agent_is_measured_beside_the_plainest_one(self) -> None:
        done = self.bench(
            "--only", "macro", "--relays", "agent,hop", "--loads", "one,gso", "--networks",
            "loopback", "--families", "4,6", "--rounds", "1", "--seconds", "0.2", "--json")
        # Nothing goes astray, is changed or comes twice: that would be said, and end otherwise.
        self.assertEqual(done.returncode, 0, done.stderr)
        for table in json.loads(done.stdout)["tables"]:
            self.assertEqual([row["relay"] for row in table["rows"]], ["agent", "hop"])

    def test_what_makes_no_sense_is_one_line(self) -> None:
        for arguments, text in (
            (["--loads", "plain,heavy"], "--loads heavy: must be some of plain,gso"),
            (["--relays", "ours,his"], "--relays his: must be some of ours,loop"),
            (["--rounds", "0"], "--rounds 0: must be a number from 1 to"),
            (["--relay-cores", "999"], "--relay-cores 999: must be some of"),
            (["--with", "old"], "--with old: must be NAME=COMMAND"),
        ):
            done = self.bench("--only", "macro", *arguments)
            self.assertEqual(done.returncode, 64, done.stderr)
            self.assertIn(text, done.stderr)

    def test_a_relay_that_is_missing_is_said(self) -> None:
        missing = relays.lacks("no-such-program", "no-such-package")
        self.assertEqual(missing, "no-such-program is missing (no-such-package)")

    def test_nothing_is_left_of_one_that_is_ended(self) -> None:
        with subprocess.Popen(
            [sys.executable, HERE / "bench.py", "--only", "macro", "--relays", "loop", "--loads",
             "plain", "--networks", "loopback", "--seconds", "30"],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as started:
            while "round 1 of" not in (line := started.stderr.readline()):
                self.assertTrue(line, "it ended before it began to measure")
            started.terminate()
            self.assertEqual(started.wait(60), 128 + signal.SIGTERM)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
            port.bind(("127.0.0.1", networks.PORT))

    def test_a_relay_that_ends_is_said(self) -> None:
        done = self.bench(
            "--only", "macro", "--relays", "loop", "--loads", "plain", "--networks", "loopback",
            "--rounds", "1", "--seconds", "0.2", "--with", "broken=/bin/false")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("FAILED: plain on loopback, IPv4: broken ended", done.stderr)


class ReportTest(unittest.TestCase):
    def test_ratios_are_taken_round_by_round(self) -> None:
        # The second round was disturbed, for both alike.
        figure = report.taken("x")
        ours, others = [{"x": 1}, {"x": 10}, {"x": 1.1}], [{"x": 2}, {"x": 21}, {"x": 2.1}]
        self.assertAlmostEqual(report.ratio(figure, others, ours), 2)

    def test_a_figure_that_is_not_there_is_nothing(self) -> None:
        self.assertIsNone(report.at({"a": {"b": 1}}, "a.c"))
        self.assertIsNone(report.ratio(report.taken("y"), [{}], [{"y": 1}]))

    def test_what_a_relay_adds(self) -> None:
        run = {"latency_us": {"p50": 30.0}, "direct_us": {"p50": 10.0}}
        self.assertEqual(report.added("p50")(run), 20)
        self.assertIsNone(report.added("p99")(run))

    def test_how_busy_a_relay_is(self) -> None:
        run = {"cpu_s_per_million": {"relay": 2.0}, "datagrams_per_s": 250_000}
        self.assertEqual(report.busy(run), 50)
        self.assertIsNone(report.busy({"cpu_s_per_million": {}, "datagrams_per_s": 1}))

    def test_wrongs_are_named(self) -> None:
        fine = {"misdelivered": 0, "corrupted": 0, "duplicated": 0}
        self.assertIsNone(report.wrongs([fine]))
        self.assertEqual(report.wrongs([fine, {**fine, "corrupted": 2}]), "2 corrupted")

    def test_tables_go_between_the_marks(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "document.md"
            path.write_text(f"before\n{bench.BEGIN}\nold\n{bench.END}\nafter\n")
            bench.write_markdown(path, {"kernel": "6.1"}, [], [], [])
            text = path.read_text()
            self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n"))
            self.assertIn("- kernel: 6.1", text)
            self.assertNotIn("old", text)
            path.write_text("no marks\n")
            with self.assertRaises(bench.Failure):
                bench.write_markdown(path, {}, [], [], [])

    def test_latency_means_nothing_where_datagrams_are_held_back(self) -> None:
        latency, plain = (loads.Load("", "", (), is_latency=known) for known in (True, False))
        self.assertIsNone(networks.loopback(4).obstacle(latency))
        self.assertIsNone(networks.Veth(4).obstacle(latency))
        self.assertIsNone(networks.NIC(4).obstacle(plain))
        self.assertIn("hold back", networks.NIC(4).obstacle(latency))

    def test_addresses(self) -> None:
        self.assertEqual(networks.bracketed("::1", 53), "[::1]:53")
        self.assertEqual(networks.bracketed("127.0.0.1", 53), "127.0.0.1:53")


if __name__ == "__main__":
    unittest.main()

"""The guard of instructions and allocations must be able to fail."""

import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
WORK = "engine-burst"


class CountsTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.thresholds = pathlib.Path(folder.name) / "thresholds.txt"

    def counts(self, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
        """The guard on one kind of work; with another PATH, where valgrind may not be."""
        environment = os.environ if path is None else {**os.environ, "PATH": path}
        command = [sys.executable, HERE / "counts.py", "--only", WORK, *arguments]
        return subprocess.run(
            [*command, "--thresholds", self.thresholds], capture_output=True, text=True,
            timeout=900, env=environment)

    def learn(self) -> tuple[float, float]:
        """Lets the guard write its thresholds, and reads them."""
        done = self.counts("--update")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        fields = self.thresholds.read_text().splitlines()[-1].split()
        self.assertEqual(fields[:2], [platform.machine(), WORK])
        return float(fields[2]), float(fields[3])

    def write(self, instructions: float, allocations: float) -> None:
        self.thresholds.write_text(
            f"{platform.machine()} {WORK} {instructions} {allocations}\n")

    def test_the_same_is_found_again(self) -> None:
        instructions, allocations = self.learn()
        self.assertGreater(instructions, 0)
        self.assertEqual(allocations, 0)
        done = self.counts()
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_waste_is_found(self) -> None:
        self.learn()
        done = self.counts("--waste")
        self.assertEqual(done.returncode, 1, done.stdout)
        for what in ("instructions", "allocations"):
            self.assertRegex(
                done.stdout, f"FAILED: {WORK}: {what} for a datagram: expected .*, found ")
        self.assertIn("make counts ARGS=--update", done.stdout)

    def test_two_percent_more_are_found(self) -> None:
        instructions, _ = self.learn()
        self.write(instructions / 1.02, 0)
        self.assertEqual(self.counts().returncode, 1)

    def test_less_is_said(self) -> None:
        instructions, _ = self.learn()
        self.write(instructions * 1.02, 0)
        done = self.counts()
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("cheaper now", done.stdout)

    def test_work_without_a_threshold_is_found(self) -> None:
        self.thresholds.write_text(f"{platform.machine()} another-work 1 0\n")
        done = self.counts()
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{WORK}: has no threshold", done.stdout)

    def test_a_line_that_makes_no_sense_is_named(self) -> None:
        self.thresholds.write_text(f"# one\n{platform.machine()} {WORK} many 0\n")
        done = self.counts()
        self.assertEqual(done.returncode, 65)
        self.assertIn("thresholds.txt:2: must be", done.stderr)

    def test_an_architecture_without_thresholds_is_said(self) -> None:
        self.thresholds.write_text(f"another {WORK} 1 0\n")
        done = self.counts()
        self.assertEqual(done.returncode, 0)
        self.assertIn("SKIPPED", done.stdout)

    def test_without_valgrind_allocations_are_found(self) -> None:
        self.learn()
        for arguments, status in (([], 0), (["--waste"], 1)):
            done = self.counts(*arguments, path="/nowhere")
            self.assertEqual(done.returncode, status, done.stdout + done.stderr)
            self.assertIn("SKIPPED: instructions are NOT checked", done.stdout)
            self.assertNotIn("FAILED: engine-burst: instructions", done.stdout)


if __name__ == "__main__":
    unittest.main()

"""One side of a transfer in turns over HTTP/3: caddy, and a client that posts and then gets.

    http_peer.py client --program curl_cffi|gtlsclient|chromium …
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from lab import chromium
from lab.http_origin import DOWNLOAD, PAGE, UPLOAD, serve
from lab.turns import MORTAL, TURN_WALL_SECONDS, add_certificate_arguments, turns_parser
from programs import Received, payload, print_received

_HTTP3 = 30


def _curl(options: argparse.Namespace, base: str, outgoing: bytes) -> tuple[bytes, float]:
    """By curl_cffi (ngtcp2 and BoringSSL), both on one connection."""
    # Slow to import; the server and the other clients have no need of it.
    from curl_cffi import CurlInfo, CurlOpt, requests

    resolve = f"localhost:{options.relay_port}:{options.relay_host}"
    with requests.Session(
        verify=options.certificate,
        http_version="v3only",
        timeout=TURN_WALL_SECONDS,
        curl_options={CurlOpt.RESOLVE: [resolve]},
        curl_infos=[CurlInfo.NUM_CONNECTS],
    ) as session:
        start = time.monotonic()
        posted = session.post(base + UPLOAD, data=outgoing)
        posted.raise_for_status()
        time.sleep(options.pause_seconds)
        got = session.get(base + DOWNLOAD)
        got.raise_for_status()
        seconds = time.monotonic() - start
    versions = (posted.http_version, got.http_version)
    assert versions == (_HTTP3, _HTTP3), versions
    connections = [int(answer.infos[CurlInfo.NUM_CONNECTS]) for answer in (posted, got)]
    assert connections == [1, 0], f"new connections for each: {connections}"
    return got.content, seconds


def _gtlsclient(options: argparse.Namespace, base: str, outgoing: bytes) -> tuple[bytes, float]:
    """By gtlsclient (ngtcp2 and GnuTLS), which has a connection for each; it waits in the first."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "outgoing").write_bytes(outgoing)
        command = [*MORTAL, "gtlsclient", "--quiet", "--exit-on-all-streams-close"]
        command += ["--sni", "localhost", "--download", name]
        command += [ f"--delay-stream={int(options.pause_seconds * 1_000)}ms"]
        post = ["--http-method", "POST", "--data", str(directory / "outgoing")]
        where = [options.relay_host, str(options.relay_port)]
        start = time.monotonic()
        for more, path in ((post, UPLOAD), ([], DOWNLOAD)):
            subprocess.run(
                [*command, *more, *where, base + path], check=True, timeout=TURN_WALL_SECONDS
            )
        seconds = time.monotonic() - start
        answer = json.loads((directory / UPLOAD[1:]).read_bytes())
        assert answer["byte_count"] == len(outgoing), answer
        return (directory / DOWNLOAD[1:]).read_bytes(), seconds


def _chromium(options: argparse.Namespace, base: str, outgoing: bytes) -> Received:
    """By a page in headless Chromium, both on one connection."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "outgoing")
        file.write_bytes(outgoing)
        address = (options.relay_host, options.relay_port)
        with chromium.Browser(Path(name), Path(options.certificate), address) as browser:
            browser.open(base + PAGE)
            start = time.monotonic()
            result = browser.post_and_get(file, UPLOAD, DOWNLOAD, options.pause_seconds)
            seconds = time.monotonic() - start
    assert result["protocols"] == ["h3", "h3"], result
    return Received(result["sha256"], result["byteCount"], seconds)


def main() -> None:
    """Runs one side; the server until its input ends."""
    parser = turns_parser()
    add_certificate_arguments(parser)
    parser.add_argument("--program", choices=["curl_cffi", "gtlsclient", "chromium"])
    options = parser.parse_args()
    if options.role == "server":
        files = (options.certificate, options.key)
        received = serve(
            options.local_host, options.local_port, *files, options.seed, options.bytes
        )
        print(json.dumps(vars(received)), flush=True)
        return
    # The server's port is part of its name, and the client's agent has the same one.
    base = f"https://localhost:{options.relay_port}"
    outgoing = payload(options.seed, options.bytes)
    if options.program == "chromium":
        print(json.dumps(vars(_chromium(options, base, outgoing))), flush=True)
    else:
        client = _curl if options.program == "curl_cffi" else _gtlsclient
        print_received(*client(options, base, outgoing))


if __name__ == "__main__":
    main()

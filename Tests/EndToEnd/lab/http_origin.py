"""An HTTP/3 server: caddy (quic-go) before a few lines that take an upload and remember its sum."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from lab.turns import MORTAL
from programs import Received, payload
from relay_process import REPOSITORY

# Unpacked by make e2e: .ci/unpack-package caddy .build/caddy
CADDY = REPOSITORY / ".build/caddy/usr/bin/caddy"

UPLOAD, DOWNLOAD, PAGE = "/upload", "/download", "/page.html"

_STOP_WALL_SECONDS = 10.0
_CHUNK_BYTES = 1 << 16

_CADDYFILE = """
{{
    admin off
    auto_https off
    storage file_system {directory}/storage
    servers {{
        protocols h1 h2 h3
    }}
}}
https://localhost:{port} {{
    bind {host}
    tls {certificate} {key}
    handle {upload} {{
        reverse_proxy 127.0.0.1:{uploads_port}
    }}
    handle {{
        root * {directory}/files
        file_server
    }}
}}
"""


class Uploads(http.server.BaseHTTPRequestHandler):
    """Takes what is posted and answers how much that was."""

    protocol_version = "HTTP/1.1"
    # Of the latest upload: the only one of a transfer.
    received: Received | None = None

    def do_POST(self) -> None:
        """Reads the body, of a given length or in chunks (RFC 9112 §7.1)."""
        digest, count = hashlib.sha256(), 0
        for piece in self._body():
            digest.update(piece)
            count += len(piece)
        type(self).received = Received(digest.hexdigest(), count, 0.0)
        answer = json.dumps({"byte_count": count}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _body(self) -> Iterator[bytes]:
        length = self.headers.get("Content-Length")
        if length is not None:
            yield from self._pieces(int(length))
            return
        while size := int(self.rfile.readline(), 16):
            yield from self._pieces(size)
            self.rfile.readline()
        self.rfile.readline()

    def _pieces(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self.rfile.read(min(left, _CHUNK_BYTES))
            if not piece:
                raise ConnectionError(f"{left} bytes short")
            left -= len(piece)
            yield piece


def serve(host: str, port: int, certificate: str, key: str, seed: int, byte_count: int) -> Received:
    """Serves until the input ends, and tells what was uploaded."""
    uploads = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Uploads)
    threading.Thread(target=uploads.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        files = directory / "files"
        files.mkdir()
        (files / DOWNLOAD[1:]).write_bytes(payload(seed, byte_count))
        (files / PAGE[1:]).write_text("<!doctype html><title>page</title><input type=file>")
        configuration = directory / "Caddyfile"
        configuration.write_text(
            _CADDYFILE.format(
                directory=directory,
                host=host,
                port=port,
                certificate=certificate,
                key=key,
                upload=UPLOAD,
                uploads_port=uploads.server_address[1],
            )
        )
        _run_caddy(configuration, directory)
    uploads.shutdown()
    if Uploads.received is None:
        raise RuntimeError("nothing was uploaded")
    return Uploads.received


def _run_caddy(configuration: Path, home: Path) -> None:
    command = [*MORTAL, str(CADDY), "run", "--config", str(configuration)]
    command += ["--adapter", "caddyfile"]
    environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as caddy:
        assert caddy.stderr is not None
        echo = threading.Thread(target=_echo, args=[caddy.stderr])
        echo.start()
        try:
            # Until the input ends.
            while os.read(0, 1):
                continue
            if caddy.poll() is not None:
                raise RuntimeError(f"caddy ended by itself with {caddy.returncode}")
        finally:
            caddy.terminate()
            try:
                caddy.wait(_STOP_WALL_SECONDS)
            except subprocess.TimeoutExpired:
                caddy.kill()
            echo.join()


def _echo(lines: TextIO) -> None:
    """Prints what caddy says so that no line of it, which is JSON, looks like our report."""
    for line in lines:
        print(f"caddy: {line}", end="", flush=True)

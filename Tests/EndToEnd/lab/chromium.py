"""Headless Chromium with one page, driven through pipes by the DevTools protocol."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.turns import MORTAL

PROGRAM = "chromium-headless-shell"

# The browser reads commands from descriptor 3 and answers on 4, each ended by a zero byte.
_COMMANDS, _ANSWERS = 3, 4
_END_WALL_SECONDS = 10.0

_POST_AND_GET = """
(async () => {
    const name = part => part.toString(16).padStart(2, '0');
    const file = document.querySelector('input').files[0];
    const posted = await fetch(UPLOAD, {method: 'POST', body: file});
    if (!posted.ok || (await posted.json()).byte_count !== file.size) throw 'not all was posted';
    await new Promise(resolve => setTimeout(resolve, PAUSE));
    const got = await (await fetch(DOWNLOAD)).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', got));
    return {
        sha256: Array.from(digest, name).join(''),
        byteCount: got.byteLength,
        protocols: performance.getEntriesByType('resource').map(entry => entry.nextHopProtocol),
    };
})()
"""


class Browser:
    """A browser that takes `localhost` for the address given, and speaks only QUIC with it."""

    def __init__(self, directory: Path, certificate: Path, address: tuple[str, int]) -> None:
        """Starts it; `certificate` is what the server will show."""
        host, port = address
        arguments = [
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            f"--user-data-dir={directory / 'profile'}",
            f"--origin-to-force-quic-on=localhost:{port}",
            f"--ignore-certificate-errors-spki-list={_key_pin(certificate)}",
            f"--host-resolver-rules=MAP localhost {host}",
            "about:blank",
        ]
        self._last_id = 0
        self._unread = b""
        self._session: str | None = None
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()

        def place_descriptors() -> None:
            os.dup2(theirs_in, _COMMANDS)
            os.dup2(theirs_out, _ANSWERS)

        self._process = subprocess.Popen(
            [*MORTAL, PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            preexec_fn=place_descriptors,
            pass_fds=(_COMMANDS, _ANSWERS),
        )
        os.close(theirs_in)
        os.close(theirs_out)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                # Its helpers write into the profile until all have ended.
                self._call("Browser.close")
            else:
                self._process.kill()
            self._process.wait(_END_WALL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def open(self, url: str) -> None:
        """Loads a page."""
        targets = self._call("Target.getTargets")["targetInfos"]
        (page,) = [target["targetId"] for target in targets if target["type"] == "page"]
        attached = self._call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        self._call("Page.enable")
        loaded = self._call("Page.navigate", url=url)
        if "errorText" in loaded:
            raise ConnectionError(f"{url}: {loaded['errorText']}")
        self._evaluate(
            "document.readyState === 'complete' ||"
            " new Promise(done => addEventListener('load', done))"
        )

    def post_and_get(self, file: Path, upload: str, download: str, pause: float) -> dict[str, Any]:
        """Posts the file, waits, and gets the download: its sum, its size, and the protocols."""
        chosen = self._call("Runtime.evaluate", expression="document.querySelector('input')")
        element = chosen["result"]["objectId"]
        self._call("DOM.setFileInputFiles", files=[str(file)], objectId=element)
        script = _POST_AND_GET.replace("UPLOAD", json.dumps(upload))
        script = script.replace("DOWNLOAD", json.dumps(download))
        result: dict[str, Any] = self._evaluate(script.replace("PAUSE", str(int(1_000 * pause))))
        return result

    def _evaluate(self, expression: str) -> Any:
        answer = self._call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"the page failed: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last_id += 1
        command = {"id": self._last_id, "method": method, "params": parameters}
        if self._session and not method.startswith(("Browser.", "Target.")):
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") != self._last_id:
                continue
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            result: dict[str, Any] = answer["result"]
            return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            piece = os.read(self._read, 65_536)
            if not piece:
                raise ConnectionError("the browser has ended")
            self._unread += piece
        message, _, self._unread = self._unread.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


def _key_pin(certificate: Path) -> str:
    """The SHA-256 of the certificate's key (RFC 7469 §2.4)."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode()

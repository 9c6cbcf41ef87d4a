"""aioquic, unpatched, through the relay."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conftest import Note
from peers import free_ports
from programs import Received, register_ports, throughput, transfer
from relay_process import Relay


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    directory = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "certificate.pem", directory / "key.pem"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


def _transfer(
    relay: Relay,
    seed: int,
    directory: Path,
    certificate: tuple[Path, Path],
    *options: str,
    byte_count: int,
) -> tuple[Received, Received]:
    host = relay.address.host
    ports = free_ports(host, 2)
    register_ports(relay, ports)
    arguments = ["--local-host", host, "--certificate", str(certificate[0])]
    arguments += ["--key", str(certificate[1]), *options]
    return transfer(
        "aioquic_peer.py",
        relay.address,
        ports,
        seed,
        directory,
        *arguments,
        byte_count=byte_count,
    )


def test_transfer_both_ways_at_once(
    relay: Relay, seed: int, tmp_path: Path, certificate: tuple[Path, Path], note: Note
) -> None:
    _, client = _transfer(relay, seed, tmp_path, certificate, byte_count=10 << 20)
    version = "IPv6" if ":" in relay.address.host else "IPv4"
    note(throughput(f"aioquic, {version}", client))


def test_server_that_asks_for_a_retry(
    relay: Relay, seed: int, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    _transfer(relay, seed, tmp_path, certificate, "--retry", byte_count=1 << 18)

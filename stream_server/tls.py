"""Certificates: the operator's, or one of the server's own."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stream_server.errors import SettingsError

VALID_DAYS = 397
"""The longest that browsers accept."""

RENEW_DAYS = 30


def check_certificate(certfile: Path, keyfile: Path) -> None:
    """Raises SettingsError where the two cannot serve TLS together."""
    for setting, path in (("certfile", certfile), ("keyfile", keyfile)):
        if not path.is_file():
            raise SettingsError(f"--{setting} {path}: no such file")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(f"--certfile {certfile} and --keyfile {keyfile} do not serve together: {error}") from None


def state_directory() -> Path:
    """Where the server keeps what must outlive it; made with mode 0700."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    directory = Path(base) / "stream-server"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--tls auto cannot keep its certificate in {directory}: {error.strerror}; "
                            "name another place in XDG_STATE_HOME") from None
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SettingsError(f"state directory {directory} is not a directory of this user")
    directory.chmod(0o700)
    return directory


def own_certificate(directory: Path, host: str) -> tuple[Path, Path]:
    """The server's self-signed certificate and its key; made, or made anew, where none there covers `host` for long.

    Clients meet the same certificate after each restart, so that a browser's exception for it stays good.
    """
    certfile, keyfile = directory / "certificate.pem", directory / "key.pem"
    names = _names(host)
    if keyfile.is_file() and _still_good(certfile, names):
        return certfile, keyfile
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key, names)
    _write_private(keyfile, key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    _write_private(certfile, certificate.public_bytes(serialization.Encoding.PEM))
    return certfile, keyfile


def _names(host: str) -> list[x509.GeneralName]:
    names: dict[str, x509.GeneralName] = {}
    for name in ("localhost", "127.0.0.1", "::1", socket.gethostname(), host):
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            if name.isascii() and name:
                names[name] = x509.DNSName(name)
        else:
            if not address.is_unspecified:
                names[name] = x509.IPAddress(address)
    return list(names.values())


def _still_good(certfile: Path, names: list[x509.GeneralName]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(certfile.read_bytes())
        covered = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left.days >= RENEW_DAYS and all(name in covered for name in names)


def _self_signed(key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName]) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stream-server")])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _write_private(path: Path, data: bytes) -> None:
    # Under another name first: a server that starts at the same time reads the old file or the new, never half.
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    draft.replace(path)

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from stream_server import tls
from stream_server.errors import SettingsError


def names(certfile: Path) -> list[str]:
    extensions = x509.load_pem_x509_certificate(certfile.read_bytes()).extensions
    return [str(name.value) for name in extensions.get_extension_for_class(x509.SubjectAlternativeName).value]


def test_the_own_certificate_serves_and_names_this_machine(tmp_path: Path) -> None:
    certfile, keyfile = tls.own_certificate(tmp_path, "192.0.2.7")
    tls.check_certificate(certfile, keyfile)
    assert {"localhost", "127.0.0.1", "::1", "192.0.2.7"} <= set(names(certfile))
    assert stat.S_IMODE(keyfile.stat().st_mode) == 0o600


def test_the_own_certificate_stays_the_same(tmp_path: Path) -> None:
    certfile, _ = tls.own_certificate(tmp_path, "0.0.0.0")
    before = certfile.read_bytes()
    assert tls.own_certificate(tmp_path, "127.0.0.1")[0].read_bytes() == before


def test_another_host_gets_another_certificate(tmp_path: Path) -> None:
    certfile, _ = tls.own_certificate(tmp_path, "127.0.0.1")
    tls.own_certificate(tmp_path, "speech.example")
    assert "speech.example" in names(certfile)


def test_a_broken_certificate_is_made_anew(tmp_path: Path) -> None:
    certfile, _ = tls.own_certificate(tmp_path, "127.0.0.1")
    certfile.write_text("nonsense")
    tls.check_certificate(*tls.own_certificate(tmp_path, "127.0.0.1"))
    assert "127.0.0.1" in names(certfile)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    certfile, _ = tls.own_certificate(tmp_path / "a", "127.0.0.1")
    _, keyfile = tls.own_certificate(tmp_path / "b", "127.0.0.1")
    with pytest.raises(SettingsError, match="do not serve together"):
        tls.check_certificate(certfile, keyfile)


def test_the_state_directory_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    directory = tls.state_directory()
    assert directory == tmp_path / "stream-server"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_state_directory_that_cannot_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(SettingsError, match="cannot keep its certificate in .*: Not a directory; name another place"):
        tls.state_directory()


def test_the_own_certificate_is_trusted_by_whoever_pins_it(tmp_path: Path) -> None:
    certfile, _ = tls.own_certificate(tmp_path, "127.0.0.1")
    assert ssl.create_default_context(cafile=str(certfile)).get_ca_certs() == []

"""The arithmetic of the login: hashes, credentials, waits."""

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigurationError
from edge_runtime.page.login import (
    LoginGate,
    PasswordHash,
    _scrypt,
    basic_credentials,
    client_of,
    read_password_file,
    wait_after,
    write_password_file,
)

CHEAP = PasswordHash(10, 1, 1, b"s" * 16, bytes(32))
HASH = PasswordHash.of("correct horse battery")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def header(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


RIGHT, WRONG = header("me", "correct horse battery"), header("me", "correct horse")


def test_a_hash_fits_its_password_and_no_other_and_survives_its_text_form() -> None:
    again = PasswordHash.parse(f"{HASH}\n")
    assert again == HASH
    assert again.fits(b"correct horse battery")
    assert not again.fits(b"correct horse batterz") and not again.fits(b"")
    assert PasswordHash.of("correct horse battery") != HASH  # each has a salt of its own
    assert "horse" not in str(HASH)


def test_the_function_is_that_of_rfc_7914() -> None:
    expected = "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"  # section 12, the first 32 bytes
    assert _scrypt(b"pleaseletmein", b"SodiumChloride", 14, 8, 1).hex() == expected


@pytest.mark.parametrize(
    "text",
    ["", "scrypt", "scrypt$15$8$1$x$y", f"bcrypt{str(HASH)[6:]}", str(HASH)[:-8], str(HASH).replace("$15$", "$31$"),
     str(HASH).replace("$15$", "$-1$"), str(HASH) + "$x", "scrypt$15$8$1$$", "plain password"],
    ids=range(10),  # the hash has another salt each time
)  # fmt: skip
def test_what_is_no_hash_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        PasswordHash.parse(text)
    assert not text or text not in str(caught.value)


def test_the_password_file_is_private_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "page.password"
    write_password_file(file, "correct horse battery")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_password_file(file).fits(b"correct horse battery")
    assert [path.name for path in tmp_path.iterdir()] == ["page.password"]


def test_a_short_password_and_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="at least 12"):
        write_password_file(tmp_path / "p", "short")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_password_file(tmp_path / "no" / "p", "long enough it is")
    with pytest.raises(ConfigurationError, match="edge-runtime password") as caught:
        read_password_file(tmp_path / "none")
    assert caught.value.exit_code == 78
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="edge-runtime password"):
        read_password_file(tmp_path / "binary")


@given(st.text(alphabet=st.characters(exclude_characters=":", exclude_categories=["Cs"])), st.text())
def test_credentials_come_back_from_their_header(user: str, password: str) -> None:
    if any(0xD800 <= ord(c) <= 0xDFFF for c in password):
        return
    assert basic_credentials(header(user, password)) == (user.encode(), password.encode())


@given(st.text())
def test_any_header_is_read_without_an_error(text: str) -> None:
    basic_credentials(text)
    basic_credentials(f"Basic {text}")


@given(st.integers(0, 10_000))
def test_waits_grow_and_have_a_limit(failures: int) -> None:
    assert 0.0 <= wait_after(failures) <= wait_after(failures + 1) <= 60.0
    assert wait_after(2) == 0.0 and wait_after(3) == 1.0 and wait_after(5) == 4.0


def test_failures_of_one_network_are_counted_together() -> None:
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:2") != client_of("2001:db8:0:1::1")
    assert client_of("::ffff:10.0.0.1") == client_of("10.0.0.1") != client_of("10.0.0.2")
    assert client_of("fe80::1%eth0") == client_of("fe80::2%eth0")
    assert client_of("strange") == "strange"


def test_only_the_right_user_with_the_right_password_comes_in() -> None:
    gate = LoginGate("me", HASH, clock=Clock())
    for wrong in (None, "", "Bearer x", "Basic !", header("you", "correct horse battery"), header("me", ""), WRONG):
        assert not LoginGate("me", HASH, clock=Clock()).judge(wrong, "10.0.0.1").allowed
    assert gate.judge(RIGHT, "10.0.0.1").allowed
    assert gate.judge(RIGHT, "10.0.0.2").allowed
    assert not gate.judge(WRONG, "10.0.0.1").allowed  # what is known is the right one only


def test_who_fails_waits_and_what_comes_meanwhile_is_not_looked_at() -> None:
    clock, failures = Clock(), []
    gate = LoginGate("me", HASH, lambda: failures.append(1), clock)
    assert [gate.judge(WRONG, "10.0.0.1").wait_seconds for _ in range(3)] == [0.0, 0.0, 1.0]
    assert not gate.judge(RIGHT, "10.0.0.1").allowed  # even the right one: nobody may guess faster
    assert len(failures) == 3
    assert gate.judge(RIGHT, "10.0.0.2").allowed  # another client does not wait
    clock.now += 1.0
    assert gate.judge(WRONG, "10.0.0.1").wait_seconds == 2.0
    clock.now += 2.0
    assert LoginGate("me", HASH, clock=clock).judge(RIGHT, "10.0.0.1").allowed


def test_success_and_time_forgive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.page.login._scrypt", lambda password, *_: password.ljust(32)[:32])
    clock = Clock()
    gate = LoginGate("me", PasswordHash(10, 1, 1, b"s" * 16, b"pass".ljust(32)), clock=clock)
    right, wrong = header("me", "pass"), header("me", "nope")
    for _ in range(2):
        gate.judge(wrong, "10.0.0.1")
    assert gate.judge(right, "10.0.0.1").allowed
    assert gate.judge(wrong, "10.0.0.1").wait_seconds == 0.0
    for _ in range(10):
        gate.judge(wrong, "10.0.0.3")
        clock.now += 60.0
    clock.now += 700.0
    assert gate.judge(wrong, "10.0.0.3").wait_seconds == 0.0


def test_the_memory_of_failures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.page.login._scrypt", lambda *_: bytes(32))
    monkeypatch.setattr("edge_runtime.page.login._REMEMBERED_ADDRESSES", 10)
    gate = LoginGate("me", CHEAP, clock=Clock())
    for number in range(50):
        gate.judge(header("you", "x"), f"10.0.0.{number}")
    assert len(gate._failures) == 10

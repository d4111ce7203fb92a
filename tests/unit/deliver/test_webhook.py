"""What a webhook's answers mean, how events are signed, and which key may sign them."""

import hashlib
import hmac
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hooks import KEY, Post, hook_settings, write_key

from edge_runtime.deliver.base import Outcome, Reason, SendFailed
from edge_runtime.deliver.webhook import delivery_of_answer, read_key, signature

DOCUMENT = Path(__file__).parents[3] / "docs/webhook.md"


def test_only_a_2xx_is_done_and_what_may_pass_is_tried_again():
    found = {status: delivery_of_answer(status, 7.0) for status in range(100, 1000)}
    done = {status for status, delivery in found.items() if delivery.outcome is Outcome.DONE}
    deferred = {status for status, delivery in found.items() if delivery.outcome is Outcome.DEFERRED}
    assert done == set(range(200, 300))
    assert deferred == {408, 425, 429, *range(500, 1000)}
    assert {found[status].retry_after_seconds for status in deferred} == {7.0}
    assert all(str(status) in delivery.detail for status, delivery in found.items())


def test_a_busy_receiver_ends_the_round_and_a_broken_event_does_not():
    assert delivery_of_answer(503).away and delivery_of_answer(429).away
    assert not delivery_of_answer(500).away


@given(st.binary(min_size=16, max_size=64), st.integers(0, 2**33), st.binary(max_size=200))
def test_the_signature_is_that_of_time_and_body(key, timestamp, body):
    expected = hmac.new(key, b"%d.%s" % (timestamp, body), hashlib.sha256).hexdigest()
    assert signature(key, timestamp, body) == f"t={timestamp},v1={expected}"
    assert Post("/", {"Edge-Signature": signature(key, timestamp, body)}, body).is_signed(key)
    assert not Post("/", {"Edge-Signature": signature(key, timestamp, body)}, body + b" ").is_signed(key)
    assert Post("/", {"Edge-Signature": signature(key, timestamp + 1, body)}, body).signed_at == timestamp + 1


def test_the_receiver_of_the_document_believes_us_and_nobody_else():
    snippet = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert snippet is not None
    names = {"hmac": hmac}
    exec(snippet[1], names)
    is_genuine = names["is_genuine"]
    header = signature(KEY, 1000, b"{}")
    assert is_genuine(header, b"{}", KEY, 1100)
    assert not is_genuine(header, b"{ }", KEY, 1100)
    assert not is_genuine(header, b"{}", KEY[::-1], 1100)
    assert not is_genuine(header.replace("t=1000", "t=1050"), b"{}", KEY, 1100)
    assert not is_genuine(header, b"{}", KEY, 2000)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_the_key_is_the_file_without_its_line_end(tmp_path, mode):
    assert read_key(write_key(tmp_path / "key", mode)) == KEY


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o660, 0o601])
def test_a_key_that_others_can_read_or_change_signs_nothing(tmp_path, mode):
    with pytest.raises(SendFailed) as caught:
        read_key(write_key(tmp_path / "key", mode))
    delivery = caught.value.delivery
    assert (delivery.outcome, delivery.reason, delivery.away) == (Outcome.DEFERRED, Reason.NO_KEY, True)
    assert math.isinf(delivery.retry_after_seconds)
    assert "chmod" in delivery.detail


@pytest.mark.parametrize("content", [b"", b"\n" * 20, b"fifteen letters\n", b"x" * 4097])
def test_a_key_that_is_too_short_or_too_long_signs_nothing(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SendFailed, match="no_key"):
        read_key(path)


def test_no_key_is_told_without_its_path(tmp_path):
    with pytest.raises(SendFailed) as caught:
        read_key(tmp_path / "absent")
    assert str(tmp_path) not in caught.value.delivery.detail


@pytest.mark.parametrize("url", ["https://example.org/x", "http://127.0.0.1:8/x", "http://[::1]/x", "http://localhost"])
def test_a_webhook_is_reached_by_tls_or_on_this_computer(tmp_path, url):
    assert hook_settings(tmp_path, url).url == url


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "http://10.1.2.3/x", "https://", "https://u:p@example.org", "https://a:99999/"]
)
def test_an_address_that_would_show_the_event_or_a_password_is_refused(tmp_path, url):
    with pytest.raises(ValueError, match=r"^url: "):
        hook_settings(tmp_path, url)

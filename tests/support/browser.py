"""A real browser without a screen, and a certificate for it to meet."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from support.pacs import wait_until

DESKTOP, PHONE = (1280, 900), (360, 740)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, driven by its own chromedriver; no proxy, nothing fetched."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server",
                     "--ignore-certificate-errors"):  # fmt: skip
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or "chromium is not installed"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


class Browser:
    """One window."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def open(self, url: str, size: tuple[int, int] = DESKTOP, headers: dict[str, str] | None = None) -> None:
        """Go to a page; `headers` go with every request."""
        self.resize(size)
        self._driver.execute_cdp_cmd("Network.enable", {})
        self._driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": headers or {}})
        self.complaints()
        self._driver.get(url)

    def resize(self, size: tuple[int, int]) -> None:
        """Make the viewport that wide and high, in CSS pixels."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 500}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, media: str, scheme: str) -> None:
        """Show the page as `screen` or `print`, `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def run(self, script: str) -> Any:
        """What a script of ours returns. It is not bound by the page's policy."""
        return self._driver.execute_script(script)

    def text(self, selector: str = "body") -> str:
        """The visible text of the elements."""
        found = self.run(f"return [...document.querySelectorAll({selector!r})].map((one) => one.innerText).join('\\n')")
        return str(found)

    def count(self, selector: str) -> int:
        """How many elements there are."""
        return int(self.run(f"return document.querySelectorAll({selector!r}).length"))

    def wait_for(self, selector: str, text: str = "", seconds: float = 60.0) -> None:
        """Wait until an element is there, with that in its text."""
        try:
            wait_until(lambda: self.count(selector) > 0 and text in self.text(selector), seconds)
        except AssertionError:
            raise AssertionError(f"no {text!r} in {selector}:\n{self.text()}\n{self.complaints()}") from None

    def complaints(self) -> list[str]:
        """What the browser has logged since the last call: errors of scripts, of the network, of the policy."""
        return [entry["message"] for entry in self._driver.get_log("browser")]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge-runtime test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "page.crt", folder / "page.key"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return paths

"""Opens the ports that the configuration names and puts the page and the health paths behind them."""

from __future__ import annotations

from collections.abc import Callable

from edge_runtime.config import Config
from edge_runtime.page.access import load_access
from edge_runtime.page.live import LivePage
from edge_runtime.page.routes import everything, metrics_only
from edge_runtime.page.server import HttpServer
from edge_runtime.telemetry.exposition import Exposition
from edge_runtime.telemetry.health import Views


class HttpPorts:
    """The ports of the daemon: `http`, and `http.metrics` where that is bound apart. Serves from construction on.

    `config` gives the configuration as it is now. What the ports are is taken from it once.

    Raises:
        EdgeRuntimeError: an address cannot be bound. ConfigurationError: a file of TLS or login cannot be used.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        views: Views,
        exposition: Callable[[], Exposition],
        on_login_failure: Callable[[], None],
    ) -> None:
        http = config().http
        access = load_access(http, on_login_failure)
        route = everything(views, LivePage(config, views, exposition), any_host=access.gate is not None)
        page = HttpServer("http", (http.host, http.port), route, access)
        self._servers = [page]
        self.port = page.port
        if http.metrics is not None:
            try:
                address = (http.metrics.host, http.metrics.port)
                self._servers.append(HttpServer("http.metrics", address, metrics_only(views)))
            except BaseException:
                page.close()
                raise

    def close(self) -> None:
        """Stop serving."""
        for server in self._servers:
            server.close()

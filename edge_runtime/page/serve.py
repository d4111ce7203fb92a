"""Opens the ports that the configuration names and puts the page and the health paths behind them."""

from __future__ import annotations

from collections.abc import Callable

from edge_runtime.config import Config
from edge_runtime.frames.channels import Channels
from edge_runtime.page.access import load_access
from edge_runtime.page.live import LivePage
from edge_runtime.page.routes import everything, metrics_only
from edge_runtime.page.server import HttpServer
from edge_runtime.page.video import VideoStreams
from edge_runtime.telemetry.exposition import Exposition
from edge_runtime.telemetry.health import Views


class HttpPorts:
    """The ports of the daemon: `http`, and `http.metrics` where that is bound apart. Serves from construction on.

    `config` gives the configuration as it is now. What the ports are is taken from it once. `channels` holds the slots
    of pictures of the sources; without it there are none to show.

    Raises:
        EdgeRuntimeError: an address cannot be bound. ConfigurationError: a file of TLS or login cannot be used.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        views: Views,
        exposition: Callable[[], Exposition],
        on_login_failure: Callable[[], None],
        channels: Channels | None = None,
    ) -> None:
        http = config().http
        access = load_access(http, on_login_failure)
        self._video = VideoStreams(config, channels, exposition)
        status = LivePage(config, views, exposition)
        route = everything(views, status, access.gate is not None, self._video)
        self._servers: list[HttpServer] = []
        try:
            self._servers.append(HttpServer("http", (http.host, http.port), route, access))
            if http.metrics is not None:
                address = (http.metrics.host, http.metrics.port)
                self._servers.append(HttpServer("http.metrics", address, metrics_only(views)))
        except BaseException:
            self.close()
            raise
        self.port = self._servers[0].port

    def close(self) -> None:
        """Stop serving."""
        self._video.close()
        for server in self._servers:
            server.close()

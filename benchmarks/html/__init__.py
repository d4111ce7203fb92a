"""The report of a run: one HTML page that needs nothing beside itself (`edge-bench report`)."""

from benchmarks.html.page import page, write_page

__all__ = ["page", "write_page"]

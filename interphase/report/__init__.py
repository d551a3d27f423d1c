"""Results as one page that needs nothing but a browser.

`write_report` writes it; what it says is worked out in `interphase.report.page`, how it looks is
in the templates.
"""

from interphase.report.page import write_report

__all__ = ["write_report"]

"""report.html: a compilation explained to somebody who has never seen the project."""

from dnncc.report.collect import from_compilation
from dnncc.report.data import ReportData
from dnncc.report.page import render

__all__ = ["ReportData", "from_compilation", "render"]

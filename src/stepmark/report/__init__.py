"""One self-contained HTML page about what was gained, and its pictures."""

from stepmark.report.curves import curve_pictures, gain_picture, headline
from stepmark.report.page import Cell, Report, Table, write
from stepmark.report.pictures import Bar, Picture, bars, reliability
from stepmark.report.pool import pool_report
from stepmark.report.searches import search_report
from stepmark.report.solutions import Contrast, Judged, Solutions, contrasts

__all__ = [
    "Bar",
    "Cell",
    "Contrast",
    "Judged",
    "Picture",
    "Report",
    "Solutions",
    "Table",
    "bars",
    "contrasts",
    "curve_pictures",
    "gain_picture",
    "headline",
    "pool_report",
    "reliability",
    "search_report",
    "write",
]

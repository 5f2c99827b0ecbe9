"""One self-contained HTML page about what was gained, and its pictures."""

from stepmark.report.curves import curve_pictures, gain_picture, headline
from stepmark.report.page import Report, write
from stepmark.report.pictures import Bar, Picture, bars, reliability
from stepmark.report.pool import pool_report
from stepmark.report.solutions import Contrast, Judged, Solutions, contrasts

__all__ = [
    "Bar",
    "Contrast",
    "Judged",
    "Picture",
    "Report",
    "Solutions",
    "bars",
    "contrasts",
    "curve_pictures",
    "gain_picture",
    "headline",
    "pool_report",
    "reliability",
    "write",
]

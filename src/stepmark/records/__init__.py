"""Record files and runs: append, read, resume."""

from stepmark.records.files import Writer, digest, json_lines, read, replacing, write
from stepmark.records.run import Manifest, Opening, Run, read_manifest

__all__ = [
    "Manifest",
    "Opening",
    "Run",
    "Writer",
    "digest",
    "json_lines",
    "read",
    "read_manifest",
    "replacing",
    "write",
]

"""Record files and runs: append, read, resume."""

from stepmark.records.files import Writer, digest, encode, json_lines, read, replacing, write
from stepmark.records.run import Manifest, Opening, Run, read_manifest
from stepmark.records.stage import Job, complete, pace

__all__ = [
    "Job",
    "Manifest",
    "Opening",
    "Run",
    "Writer",
    "complete",
    "digest",
    "encode",
    "json_lines",
    "pace",
    "read",
    "read_manifest",
    "replacing",
    "write",
]

"""YAML text → documents whose every key and value knows its place.

One pass over libyaml's events builds plain data by the YAML 1.2 core schema and, beside it, the offsets of everything;
lines and columns are worked out when a diagnostic asks. What can be wrong with a text is found here, all of it in one
go: bytes that are no text, syntax, duplicate keys, tags, merge keys, alias bombs, and what YAML 1.1 reads differently.
"""

from swarmctl.documents.reading import Reading, read_folder

__all__ = ["Reading", "read_folder"]

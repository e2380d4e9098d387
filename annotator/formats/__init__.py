"""Dataset formats, one file each. Adding one is one file, one line here, one test (CONTRIBUTING.md)."""

# Asked in this order whether they know a file's first row: `claims(row)`; then `read(row) -> rows.Entry`.
READERS = {
    "preference_rows": "annotator.formats.preference_rows",
    "native": "annotator.formats.native",
}

"""Dataset formats, one file each. Adding one is one file, one line here, one test (CONTRIBUTING.md)."""

# Asked in this order whether they know a file's first row: `claims(row)`; then `read(row) -> rows.Entry`.
READERS = {
    "preference_rows": "annotator.formats.preference_rows",
    "native": "annotator.formats.native",
}

# A class each, satisfying `source.Writer`.
WRITERS = {
    "helpsteer2": "annotator.formats.helpsteer2.HelpSteer2",
    "multipref": "annotator.formats.multipref.MultiPref",
    "trl_reward": "annotator.formats.trl_reward.TrlReward",
    "judgments": "annotator.formats.judgments.Judgments",
}

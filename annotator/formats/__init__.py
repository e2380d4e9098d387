"""Dataset formats, one file each. Adding one is one file, one line here, one test (CONTRIBUTING.md).

A reader is a module with
    TITLE      what people call the format;
    COLUMNS    column -> where its content goes, in words (marked for translation), for the preview of an import;
               a column that is not named is kept in the metadata; a name may be a pattern ("*.responses");
    claims(row) -> bool       whether a file's first row is of this format, by its columns and their types;
    read(row) -> rows.Entry   raises rows.RowInvalid; `Entry.left` names what the row had that cannot be carried;
    PRESET     optional: the protocol preset that asks for what the format holds;
    joined(numbered) -> numbered   optional: makes one row of rows that belong together, before `read`.
A writer is a subclass of `source.Writer`; most are a `pairs.PairWriter`.
"""

# Asked in this order whether they know a file's first row.
READERS = {
    "helpsteer2": "annotator.formats.published.helpsteer2_ratings",
    "helpsteer2_disagreements": "annotator.formats.published.helpsteer2_disagreements",
    "helpsteer2_preference": "annotator.formats.published.helpsteer2_preference",
    "helpsteer3": "annotator.formats.published.helpsteer3_rows",
    "multipref": "annotator.formats.published.multipref_rows",
    "fine_grained": "annotator.formats.published.fine_grained_rows",
    "argilla": "annotator.formats.tools.argilla",
    "label_studio": "annotator.formats.tools.label_studio",
    "potato": "annotator.formats.tools.potato",
    "doccano": "annotator.formats.tools.doccano",
    "ultrafeedback": "annotator.formats.published.ultrafeedback",
    "ultrafeedback_binarized": "annotator.formats.published.ultrafeedback_binarized",
    "hh_rlhf": "annotator.formats.published.hh_rlhf",
    "rewardbench": "annotator.formats.published.rewardbench",
    "rewardbench2": "annotator.formats.published.rewardbench2",
    "shp": "annotator.formats.published.shp",
    "arena": "annotator.formats.published.arena",
    "summarize": "annotator.formats.published.summarize",
    "trl_rows": "annotator.formats.published.trl_rows",
    "preference_rows": "annotator.formats.published.preference_rows",
    "native": "annotator.formats.native",
}

WRITERS = {
    "helpsteer2": "annotator.formats.published.helpsteer2.HelpSteer2",
    "helpsteer3": "annotator.formats.published.helpsteer3.HelpSteer3",
    "multipref": "annotator.formats.published.multipref.MultiPref",
    "fine_grained": "annotator.formats.published.fine_grained.FineGrained",
    "trl_reward": "annotator.formats.trainers.trl.TrlReward",
    "trl_preference": "annotator.formats.trainers.trl.TrlPreference",
    "trl_kto": "annotator.formats.trainers.trl_kto.TrlKto",
    "trl_stepwise": "annotator.formats.trainers.trl_stepwise.TrlStepwise",
    "openrlhf": "annotator.formats.trainers.openrlhf.OpenRlhf",
    "llamafactory": "annotator.formats.trainers.llamafactory.LlamaFactory",
    "nemo_rl": "annotator.formats.trainers.nemo_rl.NemoRl",
    "nemo_aligner": "annotator.formats.trainers.nemo_aligner.NemoAligner",
    "axolotl": "annotator.formats.trainers.axolotl.Axolotl",
    "ultrafeedback": "annotator.formats.published.ultrafeedback.UltraFeedback",
    "ultrafeedback_binarized": "annotator.formats.published.ultrafeedback_binarized.UltraFeedbackBinarized",
    "hh_rlhf": "annotator.formats.published.hh_rlhf.HhRlhf",
    "rewardbench": "annotator.formats.published.rewardbench.RewardBench",
    "rewardbench2": "annotator.formats.published.rewardbench2.RewardBench2",
    "shp": "annotator.formats.published.shp.Shp",
    "arena": "annotator.formats.published.arena.Arena",
    "summarize": "annotator.formats.published.summarize.Summarize",
    "reward_conditioned": "annotator.formats.trainers.reward_conditioned.RewardConditioned",
    "per_rater": "annotator.formats.published.per_rater.PerRater",
    "judgments": "annotator.formats.judgments.Judgments",
}

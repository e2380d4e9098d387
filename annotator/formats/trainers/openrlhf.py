"""OpenRLHF: one row shape for reward models (`train_rm`) and DPO (`train_dpo`), read with the model's chat template."""

from __future__ import annotations

from annotator.formats.trainers.trl import MARGINS, P_CHOSEN, TrlReward


class OpenRlhf(TrlReward):
    title = "OpenRLHF"
    # It chooses its loader by the file's suffix, and knows none for compressed lines.
    containers = ("parquet", "jsonl")

    @property
    def notes(self) -> list[str]:
        flags = "--data.apply_chat_template --data.chosen_key chosen --data.rejected_key rejected"
        prompt = (
            "with `--data.prompt_key prompt`: without it OpenRLHF trains on answers alone and says nothing"
            if self.is_explicit
            else "without `--data.prompt_key`: the prompt stands in each conversation"
        )
        return [
            f"For OpenRLHF: `{flags}`, {prompt}.",
            MARGINS[self.options.margin],
            *super(TrlReward, self).notes,
            "The margin counts with `--model.margin_loss_enable`; DPO does not read it.",
            P_CHOSEN,
            "OpenRLHF cuts conversations to `--data.max_len` (512 tokens unless set), and takes line breaks from the "
            "end.",
        ]

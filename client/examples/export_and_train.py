"""Export pairs for a reward model and train one on them for a few steps. SITE and TOKEN in the environment.

python export_and_train.py 1 pairs                            # only the files
python export_and_train.py 1 pairs Qwen/Qwen2.5-0.5B          # needs: pip install trl
"""

import os
import sys
from pathlib import Path

from switchyard_client import Client


def fetch(project: int, folder: str) -> list[Path]:
    client = Client(os.environ["SITE"], os.environ["TOKEN"])
    export = client.export(project, "trl_reward", container="jsonl", source="people", options={"margin": "none"})
    print(f"export {export['number']}: {export['rows']} rows, sha256 {export['sha256']}")
    return client.download(export, folder)


def train(files: list[Path], model: str) -> None:
    from datasets import load_dataset
    from trl import RewardConfig, RewardTrainer

    rows = load_dataset("json", data_files=[str(path) for path in files if path.suffix == ".jsonl"], split="train")
    settings = RewardConfig(output_dir="reward-model", max_steps=5, per_device_train_batch_size=2, report_to="none")
    RewardTrainer(model=model, args=settings, train_dataset=rows).train()


if __name__ == "__main__":
    fetched = fetch(int(sys.argv[1]), sys.argv[2])
    if len(sys.argv) > 3:
        train(fetched, sys.argv[3])

"""Backtests: nothing leaks, nothing is overspent, and what is planted is found."""

import dataclasses
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from routing import backtest, table
from routing.backtest_parameters import offered

ROOT = Path(__file__).resolve().parents[2]
LLMFAO = ROOT.parent / "shared/data/llmfao.jsonl.gz"
WORDS = [3 * chr(97 + number) for number in range(20)]
QUICK = ("mean", "budget", "ridge")
FEW = ("disagreement", "auto")


def small(monkeypatch):
    for name, value in (("MIXTURES", 30), ("NOISE_MIXTURES", 4), ("NOISE_SEEDS", 2), ("RANDOM_DRAWS", 3)):
        monkeypatch.setattr(backtest, name, value)


def asked(**more):
    return backtest.Parameters(**{"budgets": (0.5,), "kinds": QUICK, **more})


def rows(n=240, prompts=80, seed=0, models=()):
    """Generated: people prefer the longer response; so does the judge, but on questions the shorter one."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        asks = number % prompts % 2 == 0
        prompt = f"prompt {number % prompts}{'?' if asks else '.'}"
        made_of = {side: f"{side} {number} {' '.join(rng.choice(WORDS, rng.integers(3, 30)))}" for side in "ab"}
        side = 1 if len(made_of["b"]) > len(made_of["a"]) else -1
        votes = [side if rng.random() < 0.9 else -side for _ in range(3)]
        pair = rng.choice(models, 2, replace=False).tolist() if models else ["m1", "m2"]
        made.append(
            {
                "id": str(number),
                "prompt": prompt if number % 7 else prompt.upper().replace(" ", "  "),
                "response_a": made_of["a"],
                "response_b": made_of["b"],
                "model_a": pair[0],
                "model_b": pair[1],
                "human_labels": [{"annotator": str(v), "preference": vote} for v, vote in enumerate(votes)],
                "ai_labels": [{"judge": "judge", "preference": -side if asks else side}],
            }
        )
    return made


def test_votes_become_soft_labels_and_strength_is_not_probability():
    row = rows(1)[0]
    row["human_labels"] = [{"preference": value} for value in (1, 0.5, 0, -1)]
    row["ai_labels"] = [{"judge": "x", "preference": 0.5}]
    silent = {**rows(2)[1], "human_labels": []}
    data = table.load([row, silent])
    assert (data.people[0], data.votes[0], data.p_b[0, 0]) == (0.625, 4, 0.75)
    assert data.notes == ("1 rows without a person's vote left out.",)
    with pytest.raises(ValueError, match="human_labels"):
        table.load([silent])


def test_without_labelers_the_longer_response_stands_in_and_it_is_said():
    data = table.load([{**row, "ai_labels": []} for row in rows(5)])
    assert data.judges == ("longest",) and "stands in" in data.notes[0]


def judged_by(row, *judges):
    return {**row, "ai_labels": [{"judge": judge, "preference": 1} for judge in judges]}


def test_judges_that_answered_little_and_too_many_judges_are_left_out_and_it_is_said():
    many = [f"j{number}" for number in range(table.MOST_JUDGES + 3)]
    asked = [judged_by(row, *many, *(["rare"] if number == 0 else [])) for number, row in enumerate(rows(10))]
    asked[0] = judged_by(asked[0], *many[3:], "rare")  # the first three answered one row less
    data = table.load(asked)
    assert data.judges == tuple(many[3:]) and data.p_b.shape == (10, table.MOST_JUDGES)
    assert data.notes == (
        "1 judges who answered less than 20% of the rows left out.",
        f"3 judges left out: the {table.MOST_JUDGES} that answered most are compared.",
    )
    with pytest.raises(ValueError, match="No judge answered 20% of the 10 rows"):
        table.load([judged_by(row, f"only {number}") for number, row in enumerate(rows(10))])


@pytest.mark.parametrize("seed", range(4))
def test_no_prompt_crosses_a_split_by_prompt(seed):
    data = table.load(rows())
    made = table.split(data, seed)
    parts = [set(data.prompts[part].tolist()) for part in (made.fit, made.select, made.test)]
    assert made.by == "prompt" and not any(parts[i] & parts[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    assert sum(map(len, (made.fit, made.select, made.test))) == len(data)
    assert len(data.prompts) > len(set(data.prompts.tolist())) == 80, "spacing and capitals make no new prompt"


def test_few_prompts_are_split_by_unseen_models_and_shared_texts_are_kept_out():
    generated = rows(400, prompts=10, models=[f"m{number}" for number in range(12)])
    for number in range(0, 400, 5):
        generated[number]["response_a"] = f"the same for prompt {number % 10}"
    data = table.load(generated)
    made = table.split(data, 1)
    models = [{name for row in part for name in data.models[row]} for part in (made.fit, made.select, made.test)]
    assert made.by == "models" and made.dropped > 0
    assert not models[2] & (models[0] | models[1])
    fit, test = ({answer for row in part for answer in table._answers(data, row)} for part in (made.fit, made.test))
    assert not fit & test


def test_a_broken_split_is_not_reported_from():
    few, many = table.load(rows(40, prompts=10)), table.load(rows(40, prompts=40))
    with pytest.raises(table.BrokenSplit, match="prompt"):
        table.check(few, table.Split(np.arange(20), np.array([39]), np.arange(20, 39), "prompt", 0))
    with pytest.raises(table.BrokenSplit, match="row"):
        table.check(many, table.Split(np.arange(20), np.array([3]), np.arange(20, 39), "prompt", 0))
    with pytest.raises(table.BrokenSplit, match="empty"):
        table.check(many, table.Split(np.arange(20), np.array([], dtype=int), np.arange(20, 39), "prompt", 0))


@pytest.mark.slow
def test_a_strategy_is_not_shown_peoples_judgments_of_what_it_routes(monkeypatch):
    seen = []
    real = backtest.strategies.STRATEGIES["disagreement"]

    def spy(problem, *rest, **options):
        seen.append(problem)
        return real(problem, *rest, **options)

    monkeypatch.setitem(backtest.strategies.STRATEGIES, "disagreement", spy)
    small(monkeypatch)
    data = table.load(rows())
    backtest.run_seed(data, asked(strategies=("disagreement",)), 0)
    assert seen and all(np.isnan(problem.p_b[:, 0]).all() and problem.history is not None for problem in seen)


@pytest.mark.slow
def test_a_planted_slice_is_found_and_the_report_is_complete(monkeypatch):
    """The judge is wrong on every question: half of the comparisons. People for half the money fix exactly those."""
    small(monkeypatch)
    report = backtest.backtest(table.load(rows(600, 200)), asked(seeds=3, strategies=FEW))
    found = {(row.strategy, row.budget): row for row in report.rows}
    random, ours = found["random", 0.5], found["disagreement", 0.5]
    assert ours.label_accuracy > random.label_accuracy + 0.1
    assert ours.difference == pytest.approx(ours.mean - random.mean) and ours.difference > 0
    assert random.difference is None and found["all_people", None].label_accuracy == 1
    assert ours.money <= 0.5 * found["all_people", None].money
    assert {row.strategy for row in report.rows} == {"all_people", "all_ai judge", "all_ai", "random", *FEW}
    assert all(row.regret >= 0 and row.seeds == 3 for row in report.rows)
    assert report.verdict.winner.strategy in FEW and report.verdict.winner.mean > 0


def test_intervals_are_wider_than_independent_seeds_would_give():
    values = np.array([0.70, 0.72, 0.71, 0.69])
    mean, low, high = backtest.interval(values, ratio=0.5)
    _, plain_low, _ = backtest.interval(values, ratio=0.0)
    assert mean == pytest.approx(0.705) and low < plain_low < mean < high
    assert np.isnan(backtest.interval(values[:1], 0.5)[1])


@pytest.mark.slow
def test_a_seed_is_plain_json_and_the_same_again_and_one_seed_claims_nothing(monkeypatch):
    small(monkeypatch)
    data, parameters = table.load(rows()), asked(seeds=1, strategies=FEW, votes=(1,))
    outcome = backtest.run_seed(data, parameters, 0)
    stored = json.dumps(outcome, allow_nan=False)
    assert json.loads(stored) == outcome == backtest.run_seed(data, parameters, 0)
    report = backtest.report(parameters, [json.loads(stored)])
    json.dumps(report.as_json(), allow_nan=False)
    assert backtest.Report.of(json.loads(json.dumps(report.as_json()))) == report
    assert report.verdict.winner.is_noise and report.verdict.winner.low is None
    assert all(row.low is None and row.difference_low is None for row in report.rows)
    assert outcome["sources"] == {"people": "1", "people:1": "0.33333333", "judge": "0.01"}
    assert [backtest.Parameters.of(json.loads(json.dumps(parameters.as_json())))] == [parameters]


@pytest.mark.slow
def test_regret_is_to_the_best_mixture_that_costs_no_more(monkeypatch):
    small(monkeypatch)
    found = backtest.run_seed(table.load(rows()), asked(budgets=(0.25, 0.75)), 0)["rows"]
    ran = {row["strategy"] for row in found if row["budget"] == 0.25}
    assert ran == {"random", *offered()} >= {"value", "value_lower", "hyper_simulated", "hyper_top_k", "auto"}
    best = {row["budget"]: row["accuracy"] + row["regret"] for row in found if row["strategy"] == "random"}
    assert all(row["regret"] >= -1e-12 for row in found)
    assert best[0.25] <= best[0.75], "more money cannot make the best found worse"
    own = [row for row in found if row["budget"] == 0.75 and row["strategy"] != "random"]
    assert all(row["accuracy"] + row["regret"] == pytest.approx(best[0.75]) for row in own)


@pytest.mark.slow
def test_a_plan_over_its_budget_or_with_a_wrong_bill_is_not_reported_from(monkeypatch):
    small(monkeypatch)
    data = table.load(rows(120, 60))
    for change in ({"cost": Decimal("0.01")}, {"source": np.full(60, -1)}):

        def wrong(problem, budget, change=change, **options):
            made = backtest.strategies.random_share(problem, budget, **options)
            cut = {name: value[: len(problem)] if name == "source" else value for name, value in change.items()}
            return dataclasses.replace(made, **cut)

        monkeypatch.setitem(backtest.strategies.STRATEGIES, "disagreement", wrong)
        with pytest.raises(backtest.OverBudget):
            backtest.run_seed(data, asked(strategies=("disagreement",)), 0)


def test_a_winner_picked_among_many_on_test_needs_a_wider_interval():
    """Ten strategies that differ by luck alone: the best of them is not called better."""
    rng = np.random.default_rng(3)
    outcomes = [outcome(seed, {f"s{number}": rng.normal(0, 0.02) for number in range(10)}) for seed in range(20)]
    verdict = backtest.report(backtest.Parameters(), outcomes).verdict
    plain = backtest.interval(np.array([seed["rows"][-1]["accuracy"] for seed in outcomes]), 0.5)
    assert verdict.compared == 10 and verdict.winner.is_noise
    assert verdict.winner.high - verdict.winner.low > plain[2] - plain[1]
    clear = [outcome(seed, {"good": 0.1 + rng.normal(0, 0.01), "other": 0.0}) for seed in range(20)]
    verdict = backtest.report(backtest.Parameters(), clear).verdict
    assert verdict.winner.strategy == "good" and not verdict.winner.is_noise and not verdict.second.is_noise


def outcome(seed, gains):
    """A seed where random reaches 0.6 and each strategy its gain more."""
    common = {"budget": 0.5, "label_accuracy": 0.8, "regret": 0.0, "money": "5", "people": 0.5, "plan": "x"}
    return {
        "seed": seed,
        "by": "prompt",
        "sizes": {"fit": 50, "select": 20, "test": 30, "dropped": 0, "all": 100},
        "seed_set": {"people": "20", "labelers": "0.2"},
        "sources": {"people": "1"},
        "model": {"kind": "mean", "skill": False, "beats_budget": False, "spearman": None},
        "noise": {"correlation": None, "deviation": 0.01},
        "mixtures": 9,
        "notes": [],
        "rows": [
            {"strategy": name, "accuracy": 0.6 + gain, **common} for name, gain in {"random": 0.0, **gains}.items()
        ],
    }


@pytest.mark.slow
def test_a_budget_that_cannot_pay_anybody_leaves_no_row_and_no_guess(monkeypatch):
    small(monkeypatch)
    prices = {"judge": Decimal("0.3")}
    parameters = asked(budgets=(0.1, 0.5), strategies=FEW, prices=prices)
    report = backtest.report(parameters, [backtest.run_seed(table.load(rows()), parameters, 0)])
    assert {row.budget for row in report.rows} == {None, 0.5}


def test_rows_at_random_keep_repeated_comparisons_together():
    generated = rows(120, 60)
    generated += [{**row, "response_a": row["response_b"], "response_b": row["response_a"]} for row in generated[:40]]
    data = table.load(generated)
    made = table.split(data, 2, "rows")
    part = np.empty(len(data), dtype=int)
    for number, rows_ in enumerate((made.fit, made.select, made.test)):
        part[rows_] = number
    assert made.by == "rows" and (part[:40] == part[120:]).all() and len(set(part)) == 3
    with pytest.raises(ValueError, match="split by"):
        table.split(data, 0, "luck")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"response_a": None}, "Row 2 has no text in response_a"),
        ({"prompt": []}, "Row 2 has no prompt"),
        ({"human_labels": [{"preference": 7}]}, "human_labels needs a preference"),
        ({"ai_labels": [{"preference": 1}]}, "ai_labels needs a judge"),
        ({"human_labels": "A"}, "Row 2"),
        ({"prompt": [{"content": "without a role"}]}, "Row 2 has no prompt"),
        ({"prompt": "NUL \0"}, "Row 2 has no prompt"),
        ({"ai_labels": [{"judge": "half \ud800", "preference": 1}]}, "ai_labels needs a judge"),
        ({"meta": ["a", "list"]}, "meta is no object"),
        ({"context": [7]}, "context is no list of texts"),
        ({"model_a": 7}, "model_a is no text"),
    ],
)
def test_a_row_of_another_shape_is_named(change, words):
    one, two = rows(2)
    with pytest.raises(ValueError, match=words):
        table.load([one, {**two, **change}])


@pytest.mark.parametrize(
    "wrong", [{"seeds": 0}, {"budgets": (1.5,)}, {"budgets": ()}, {"strategies": ("luck",)}, {"by": "luck"}]
)
def test_parameters_that_cannot_be_run_are_refused(wrong):
    with pytest.raises(ValueError):
        backtest.Parameters(**wrong)


@pytest.mark.slow
def test_the_script_names_a_bad_line_and_an_unknown_source(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(rows(1)[0]) + "\n{bad\n")
    done = subprocess.run([sys.executable, "bench/backtest.py", path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "line 2: not JSON" in done.stderr
    with pytest.raises(ValueError, match="No source is called gpt"):
        backtest.sources_of(table.load(rows(2)), asked(prices={"gpt": Decimal(1)}))


@pytest.mark.slow
def test_the_script_prints_its_table_on_real_judgments():
    if not LLMFAO.exists():
        pytest.skip(f"{LLMFAO} is not here: real judgments are read, never shipped.")
    command = [sys.executable, "bench/backtest.py", str(LLMFAO), "--seeds", "2", "--budgets", "0.5", "--json"]
    command += ["--strategies", *FEW]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["split"] == "models" and found["versions"]["lightgbm"] and found["machine"]
    keys = {"strategy", "budget", "mean", "low", "high", "difference", "label_accuracy", "money"}
    assert all(keys | {"regret"} <= set(row) for row in found["rows"])


def test_the_papers_mixtures_train_on_the_same_comparisons_where_the_labeler_was_silent(monkeypatch):
    small(monkeypatch)
    data = table.load(
        [{**row, "ai_labels": row["ai_labels"] if number % 6 else []} for number, row in enumerate(rows())]
    )
    parameters, seen = asked(seeds=1), []
    sources = backtest.sources_of(data, parameters)
    run = backtest._Seed(data, sources, parameters, 0, table.split(data, 0, "prompt"))
    monkeypatch.setattr(run, "scored", lambda targets, seed: seen.append(targets) or np.zeros(len(targets)))
    assert np.isnan(run.past.p_b[:, 1]).any()
    run._paper()
    assert not np.isnan(seen[0]).any()


def test_a_byte_order_mark_is_passed_over_and_people_without_a_preference_teach_nothing(tmp_path):
    row = {"prompt": "Why?", "response_a": "a", "response_b": "b", "human_labels": [{"preference": 0}], "ai_labels": []}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row), encoding="utf-8-sig")
    assert list(table.read_rows(file)) == [row]
    with pytest.raises(ValueError, match="prefer neither side in any row"):
        table.load(table.read_rows(file))

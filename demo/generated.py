# ruff: noqa: E501 - the texts are easier to judge on one line
"""Comparisons made by a seeded recipe, with simulated raters of planted accuracy. Generated, and marked so.

What is planted, so that routing has something to find (all numbers below):
- responses differ in correctness, useful detail, filler and refusal; their weighted sum is the quality;
- five simulated people report the better response with the accuracy in PEOPLE, whatever the domain;
- two simulated judges are good in everyday domains, and in WEAK domains mostly prefer the longer response.

`python demo/generated.py OUT.jsonl --count 1500 --people all --shape preference_rows` writes a file for bench/.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROVENANCE = "generated"
SOURCE = "simulated"
PEOPLE = {"sim-ada": 0.95, "sim-ben": 0.9, "sim-chi": 0.85, "sim-dia": 0.8, "sim-eli": 0.7}
WEAK = ("maths", "code", "safety")


@dataclass(frozen=True)
class Judge:
    """Chance of naming the better response: elsewhere, and in WEAK domains when it is the longer or the shorter one."""

    elsewhere: float
    weak_longer: float
    weak_shorter: float
    # Taken off when both responses are long.
    long_loss: float


JUDGES = {"judge-large": Judge(0.95, 0.96, 0.08, 0.04), "judge-small": Judge(0.84, 0.94, 0.1, 0.06)}
LONG_WORDS = 70
# Simulated writers: chance of a right answer, of a refusal where it is not due, mean sentences of detail and filler.
MODELS = {
    "sim-north": (0.9, 0.02, 2.4, 0.4),
    "sim-south": (0.78, 0.05, 2.0, 2.6),
    "sim-east": (0.55, 0.03, 1.2, 0.5),
    "sim-west": (0.45, 0.12, 1.6, 3.0),
}
TIE_BELOW = 0.3


@dataclass(frozen=True)
class Question:
    prompt: str
    right: str
    wrong: str
    details: tuple[str, ...]


def _maths(rng: random.Random) -> Question:
    details = (
        "You can check it by putting the result back into the question.",
        "Write down what is given before you calculate; most slips happen there.",
        "A rough estimate first tells you which size to expect.",
        "The same steps work with any other numbers.",
        "Keep the units on every line, and the answer gets its unit by itself.",
    )
    kind = rng.randrange(4)
    if kind == 0:
        price, off = rng.randrange(20, 480, 4), rng.choice((5, 10, 15, 20, 25, 30, 40))
        right, wrong = price * (100 - off) / 100, price - off
        prompt = f"A jacket costs {price} EUR. What does it cost with {off}% off?"
        return Question(
            prompt,
            f"It costs **{right:.2f} EUR**: {off}% of {price} is {price * off / 100:.2f}, and {price} − {price * off / 100:.2f} = {right:.2f}.",
            f"It costs **{wrong:.2f} EUR**, because {price} − {off} = {wrong}.",
            details,
        )
    if kind == 1:
        out, back = rng.sample(range(30, 130, 5), 2)
        right = 2 * out * back / (out + back)
        return Question(
            f"I drive somewhere at {out} km/h and return on the same road at {back} km/h. What is my average speed?",
            f"About **{right:.1f} km/h**: the average over *time* is $2 \\cdot {out} \\cdot {back} / ({out} + {back})$.",
            f"It is **{(out + back) / 2:.1f} km/h**, the mean of {out} and {back}.",
            details,
        )
    if kind == 2:
        factor, x, plus = rng.randrange(2, 13), rng.randrange(-9, 15), rng.randrange(1, 30)
        total = factor * x + plus
        return Question(
            f"Solve ${factor}x + {plus} = {total}$.",
            f"Subtract {plus} on both sides: ${factor}x = {total - plus}$. Divide by {factor}: $x = {x}$.",
            f"Divide by {factor} first: $x + {plus} = {total / factor:.2f}$, so $x = {total / factor - plus:.2f}$.",
            details,
        )
    sides = rng.randrange(2, 5)
    faces = rng.choice((6, 8, 12, 20))
    right = 1 - ((faces - 1) / faces) ** sides
    return Question(
        f"I roll a die with {faces} faces {sides} times. How likely is at least one {faces}?",
        f"Count the opposite: no {faces} at all has probability $({faces - 1}/{faces})^{sides}$, so the answer is"
        f" **{100 * right:.1f}%**.",
        f"Each roll has the chance 1/{faces}, and there are {sides} rolls, so it is **{100 * sides / faces:.1f}%**.",
        details,
    )


CODE = (
    ("returns the largest value of a list, or None for an empty list",
     "def largest(values):\n    return max(values, default=None)",
     "def largest(values):\n    best = 0\n    for value in values:\n        if value > best:\n            best = value\n    return best"),
    ("counts how often each word occurs in a text, ignoring case",
     "from collections import Counter\n\ndef word_counts(text):\n    return Counter(text.lower().split())",
     "def word_counts(text):\n    return {word: text.count(word) for word in text.split()}"),
    ("says whether a year is a leap year",
     "def is_leap(year):\n    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)",
     "def is_leap(year):\n    return year % 4 == 0"),
    ("splits a list into chunks of a given size",
     "def chunks(values, size):\n    return [values[i:i + size] for i in range(0, len(values), size)]",
     "def chunks(values, size):\n    return [values[i:i + size] for i in range(len(values) // size)]"),
    ("reverses the words of a sentence",
     "def reverse_words(sentence):\n    return \" \".join(reversed(sentence.split()))",
     "def reverse_words(sentence):\n    return sentence[::-1]"),
    ("appends a value to a list that is optional",
     "def appended(value, values=None):\n    return [*(values or []), value]",
     "def appended(value, values=[]):\n    values.append(value)\n    return values"),
    ("finds the position of a value in a sorted list by binary search, or -1",
     "from bisect import bisect_left\n\ndef position(values, wanted):\n    i = bisect_left(values, wanted)\n    return i if i < len(values) and values[i] == wanted else -1",
     "def position(values, wanted):\n    low, high = 0, len(values)\n    while low < high - 1:\n        mid = (low + high) // 2\n        if values[mid] < wanted:\n            low = mid\n        else:\n            high = mid\n    return high"),
    ("reads the numbers of a file, one a line, and gives their mean",
     "from statistics import fmean\n\ndef mean_of(path):\n    with open(path) as file:\n        return fmean(float(line) for line in file if line.strip())",
     "def mean_of(path):\n    lines = open(path).readlines()\n    return sum(lines) / len(lines)"),
)  # fmt: skip


def _code(rng: random.Random) -> Question:
    what, right, wrong = rng.choice(CODE)
    manner = rng.choice(
        ("Write a Python function that", "I need a small Python function that", "In Python, please: a function that")
    )
    return Question(
        f"{manner} {what}.",
        f"```python\n{right}\n```",
        f"```python\n{wrong}\n```",
        (
            "Try it with an empty input as well.",
            "It leaves the caller's list as it was.",
            "The standard library does the work, so there is little to go wrong.",
            "A test with two or three values is enough to see that it works.",
            "It needs one pass over the input.",
        ),
    )


SAFETY = (
    ("mix bleach and vinegar for a stronger cleaner", "No: together they give off chlorine gas. Use one, rinse, then the other if you must.",
     "Yes, together they clean twice as well; a closed room makes the effect last longer."),
    ("put out burning oil with water", "No: water sinks below the oil, boils at once and throws burning oil around. Cover the pan with a lid and switch off the heat.",
     "Yes, water is the best way to cool oil down quickly; use plenty of it."),
    ("take the double dose of a tablet because I forgot one", "Usually not: take the next one at its normal time, and read the leaflet or ask the pharmacy for this medicine.",
     "Yes, your body needs the missing amount, so take both tablets together."),
    ("charge a swollen phone battery", "No: stop using it, keep it away from heat, and bring it to a shop or recycling point soon. Swollen cells can catch fire.",
     "Yes, charging it slowly presses the swelling back into shape."),
    ("eat rice that stood in the warm kitchen since yesterday", "Better not: spores survive cooking and make a toxin that reheating does not destroy. Cool rice within an hour and keep it cold.",
     "Yes, as long as you reheat it until it steams; heat makes everything safe."),
    ("drive after two glasses of wine if I feel fine", "No: feeling fine is no measure, alcohol slows you before you notice. Take the bus or a taxi.",
     "Yes, if you feel fine, you are fine; a coffee before you leave is enough."),
)  # fmt: skip


def _safety(rng: random.Random) -> Question:
    what, right, wrong = rng.choice(SAFETY)
    opening = rng.choice(("Is it safe to", "Can I", "Is it all right to", "Quick question: may I"))
    return Question(
        f"{opening} {what}?",
        right,
        wrong,
        (
            "If something has happened already, call the poison centre or the emergency number.",
            "Tell the others in the house too, so that nobody does it by accident.",
            "When in doubt, the safe choice costs a few minutes only.",
            "The label or the leaflet names the exact limits.",
        ),
    )


COOKING = (
    ("soft-boiled egg", "Put it into boiling water for **6 minutes**, then into cold water.", "Put it into cold water and boil it for **25 minutes**."),
    ("crisp roast potatoes", "Parboil them 8 minutes, shake them rough, then roast at **220 °C** in hot oil for 40 minutes.", "Roast them at **90 °C** for 15 minutes without oil."),
    ("fluffy rice", "One part rice to 1.5 parts water, lid on, 12 minutes on low heat, then 10 minutes of rest.", "One part rice to six parts water, stir it all the time, 40 minutes on high heat."),
    ("a simple vinaigrette", "Three parts oil to one part vinegar, salt, mustard; shake it in a jar.", "One part oil to five parts vinegar and a cup of sugar; boil it down."),
    ("al dente pasta", "Plenty of salted boiling water, and taste it **two minutes before** the time on the packet.", "Start in cold water without salt and leave it for half an hour."),
    ("a sponge cake", "Beat eggs and sugar until pale, fold in the flour gently, bake at **175 °C** for 30 minutes.", "Whisk everything hard for ten minutes and bake at **350 °C** for an hour."),
)  # fmt: skip


def _cooking(rng: random.Random) -> Question:
    what, right, wrong = rng.choice(COOKING)
    people = rng.randrange(1, 9)
    return Question(
        f"How do I make {what}{f' for {people} people' if people > 1 else ''}?",
        right,
        wrong,
        (
            "Season at the end and taste before you serve.",
            "Take it off the heat a little early; it goes on cooking.",
            f"For {people} you need about {people * 80} g of the main ingredient.",
            "Leftovers keep two days in the fridge.",
            "A heavy pan makes it easier to keep the temperature.",
        ),
    )


HISTORY = (
    ("the Berlin Wall fall", 1989), ("the first people land on the Moon", 1969), ("the French Revolution begin", 1789),
    ("the Western Roman Empire end", 476), ("the Black Death reach Europe", 1347), ("the Titanic sink", 1912),
    ("the Suez Canal open", 1869), ("Gutenberg print his Bible", 1455), ("the Peace of Westphalia end the war", 1648),
    ("women vote for the first time in New Zealand", 1893), ("the telephone get its patent", 1876),
    ("the United Nations come into being", 1945), ("the Normans win at Hastings", 1066),
)  # fmt: skip


def _history(rng: random.Random) -> Question:
    what, year = rng.choice(HISTORY)
    off = year + rng.choice((-31, -12, 9, 17, 40))
    return Question(
        f"When did {what}, and why does it matter?",
        f"In **{year}**.",
        f"In **{off}**, as every history book will tell you.",
        (
            "It changed who held power, and who could hope to.",
            "People at the time did not see at once how much would follow.",
            "Its causes go back a generation: prices, ideas, and a quarrel about who decides.",
            "Historians still argue about how much of it was chance.",
            "The best sources are letters and ledgers of ordinary people.",
        ),
    )


SCIENCE = (
    ("is the sky blue", "Air scatters blue light much more strongly than red, so blue reaches us from every direction.", "The sky mirrors the colour of the oceans."),
    ("do we have seasons", "The Earth's axis is tilted, so each half gets steeper and longer sunlight for half the year.", "In summer the Earth is much closer to the Sun."),
    ("does ice float", "Water expands when it freezes, so ice is less dense than the water around it.", "Cold things are lighter because cold weighs less than heat."),
    ("do planes stay up", "The wing turns the oncoming air downwards, and the air pushes the wing up in return.", "The air above the wing must arrive at the same time as the air below, so it is sucked up."),
    ("do onions make us cry", "Cutting breaks cells, and an enzyme makes a gas that forms a mild acid in the eye.", "The onion's smell is so sad to the nerves that the brain orders tears."),
    ("does a vaccine protect", "It shows the immune system a harmless part of the germ, so that memory cells are ready.", "It kills all germs in the blood for about ten years."),
    ("does the Moon have phases", "We see the sunlit half from changing angles as the Moon goes around us.", "The shadow of the Earth covers a different part of the Moon each night."),
)  # fmt: skip


def _science(rng: random.Random) -> Question:
    what, right, wrong = rng.choice(SCIENCE)
    reader = rng.choice(
        ("a ten-year-old", "a curious adult", "a school class", "my grandmother", "a student in the first term")
    )
    return Question(
        f"Why {what}? Explain it to {reader}.",
        right,
        wrong,
        (
            "You can see it yourself with things from the kitchen.",
            "An everyday picture: a crowd that leaves through two doors of different width.",
            "It took people a long time to find out, because the obvious guess is wrong.",
            "The same effect is at work in many other places.",
            "If you want to go on, look at what changes when you double one of the quantities.",
        ),
    )


def _finance(rng: random.Random) -> Question:
    money, rate, years = rng.randrange(1000, 20001, 500), rng.choice((1.5, 2, 2.5, 3, 4, 5)), rng.randrange(2, 21)
    right, wrong = money * (1 + rate / 100) ** years, money * (1 + rate / 100 * years)
    return Question(
        f"I save {money} EUR at {rate}% a year for {years} years and leave the interest in. How much will I have?",
        f"About **{right:,.2f} EUR**: ${money} \\cdot {1 + rate / 100:.3f}^{{{years}}}$, because interest earns interest.",
        f"You will have **{wrong:,.2f} EUR**: {years} times {rate}% of {money} on top.",
        (
            "Tax on the interest comes off that.",
            f"At 2% inflation this buys what {right / 1.02**years:,.0f} EUR buy today.",
            "Compare offers by their effective yearly rate, not by the one in big letters.",
            f"As a rule of thumb it doubles in about {72 / rate:.0f} years.",
            "Keep three months of expenses where you can get at them at once.",
        ),
    )


def _writing(rng: random.Random) -> Question:
    who = rng.choice(("my landlord", "a customer", "my teacher", "the sports club", "my new colleague", "the library"))
    what = rng.choice(("that I will be late on Friday", "that the heating is broken", "to move our meeting to Tuesday",
                       "that I return the borrowed book next week", "to thank for the help with the move"))  # fmt: skip
    return Question(
        f"Write a short, polite message to {who} {what}.",
        "Good morning,\n\nI hope this finds you well. I am writing to let you know " + what.removeprefix("that ")
        + ". Please tell me if this causes any trouble; I will gladly find another way.\n\nKind regards",
        "hey!! just fyi " + what.removeprefix("that ") + ", no idea when exactly lol. dont call me about it",
        (
            "You can add a date so that nobody has to ask.",
            "If you know each other well, a first name in the greeting is warmer.",
            "Two sentences are enough; the reader has other mail to answer.",
            "Send it today rather than tomorrow: early news is good news.",
        ),
    )  # fmt: skip


def _travel(rng: random.Random) -> Question:
    city, days = rng.choice(("Lisbon", "Kraków", "Ghent", "Bologna", "Porto", "Tartu", "Granada")), rng.randrange(1, 6)
    taste = rng.choice(("museums", "good food", "a small child", "rainy weather", "little money", "long walks"))
    return Question(
        f"I have {days} day{'s' if days > 1 else ''} in {city} with {taste}. What should I do?",
        f"Stay near the old town so that you can walk. Plan **one fixed thing a day** around {taste} and leave the rest open;"
        " mornings for what gets crowded, afternoons for wandering.",
        f"Rent a car and see at least eleven sights a day. {city} is known above all for its beaches on the Pacific.",
        (
            "Markets are cheapest and liveliest before ten.",
            "Most museums have one free evening a week.",
            "A day ticket pays off from the third ride on.",
            "Book the one restaurant you care about, and no other.",
            "Keep a rainy-day plan: a covered market, a bath, a library.",
        ),
    )


DOMAINS = {
    "maths": _maths, "code": _code, "safety": _safety, "cooking": _cooking, "history": _history,
    "science": _science, "finance": _finance, "writing": _writing, "travel": _travel,
}  # fmt: skip
FILLER = (
    "That is a really great question, and I am happy that you asked it!",
    "As with so many things in life, there is more to this than meets the eye.",
    "It is important to remember that every situation is different.",
    "Many people wonder about this, and they have done so for a long time.",
    "Of course, opinions differ, and there is no single answer that suits everybody.",
    "In today's fast-moving world it is more relevant than ever.",
    "I hope this helps! Please let me know if you have any further questions.",
    "In conclusion, one can say that it depends on many factors.",
    "To put it in other words, what was said above is what matters here.",
    "Always consult a professional if you are not completely sure.",
)
REFUSAL = (
    "I'm sorry, but I can't help with that. Please turn to a qualified professional or an official source instead."
)


@dataclass(frozen=True)
class Written:
    text: str
    model: str
    quality: float


def _write(rng: random.Random, question: Question, model: str) -> Written:
    """One response of a simulated writer, with its planted quality."""
    right_chance, refusal_chance, detail_mean, filler_mean = MODELS[model]
    if rng.random() < refusal_chance:
        return Written(REFUSAL, model, -1.2 + rng.gauss(0, 0.15))
    is_right = rng.random() < right_chance
    details = rng.sample(question.details, min(len(question.details), _count(rng, detail_mean)))
    filler = rng.sample(FILLER, min(len(FILLER), _count(rng, filler_mean)))
    opening, closing = filler[: len(filler) // 2], filler[len(filler) // 2 :]
    listed = len(details) > 2 and rng.random() < 0.6
    body = "\n".join(f"- {line}" for line in details) if listed else " ".join(details)
    parts = [" ".join(opening), question.right if is_right else question.wrong, body, " ".join(closing)]
    quality = 1.6 * is_right + 0.3 * len(details) - 0.22 * len(filler) + 0.15 * listed + rng.gauss(0, 0.15)
    return Written("\n\n".join(part for part in parts if part), model, quality)


def _count(rng: random.Random, mean: float) -> int:
    return max(0, round(rng.gauss(mean, 1.1)))


def _person(rng: random.Random, name: str, truth: int) -> dict[str, Any]:
    """A vote that names the truth with the person's planted accuracy."""
    others = [level for level in (-1, 0, 1) if level != truth]
    # Who is wrong takes a tie for a difference or the other way round more often than A for B.
    weights = [1 if truth and level == -truth else 2 for level in others]
    level = truth if rng.random() < PEOPLE[name] else rng.choices(others, weights)[0]
    return {"rater": name, "kind": "person", "level": level, "a_first": rng.random() < 0.5}


def _verdict(rng: random.Random, name: str, domain: str, a: Written, b: Written) -> dict[str, Any]:
    """The judge's probability that B is better."""
    judge = JUDGES[name]
    better = 1 if b.quality > a.quality else -1
    words_a, words_b = len(a.text.split()), len(b.text.split())
    chance = judge.elsewhere
    if domain in WEAK:
        chance = judge.weak_longer if (words_b - words_a) * better > 0 else judge.weak_shorter
    if min(words_a, words_b) >= LONG_WORDS:
        chance -= judge.long_loss
    said = better if rng.random() < chance else -better
    return {"rater": name, "kind": "ai", "p_b": round(0.5 + said * rng.uniform(0.12, 0.48), 4)}


def comparisons(
    count: int = 1500, *, seed: int = 0, people_on: int | None = 500, votes: int = 3
) -> Iterator[dict[str, Any]]:
    """`count` rows of the native shape (docs/formats.md); the same seed gives the same rows.

    `people_on`: how many of them, drawn at random, `votes` simulated people judged; None = all. Judges judge all.
    """
    rng = random.Random(f"switchyard {seed}")
    judged = set(range(count)) if people_on is None else set(rng.sample(range(count), min(people_on, count)))
    for number in range(count):
        domain = rng.choice(sorted(DOMAINS))
        question = DOMAINS[domain](rng)
        model_a, model_b = rng.sample(sorted(MODELS), 2)
        a, b = _write(rng, question, model_a), _write(rng, question, model_b)
        while b.text == a.text:
            b = _write(rng, question, model_b)
        difference = b.quality - a.quality
        truth = 0 if abs(difference) < TIE_BELOW else (1 if difference > 0 else -1)
        people = [_person(rng, name, truth) for name in rng.sample(sorted(PEOPLE), votes)]
        verdicts = [_verdict(rng, name, domain, a, b) for name in JUDGES]
        yield {
            "id": f"generated-{number + 1:05d}",
            "source": SOURCE,
            "prompt": question.prompt,
            "response_a": a.text,
            "response_b": b.text,
            "model_a": a.model,
            "model_b": b.model,
            "metadata": {"domain": domain, "provenance": PROVENANCE, "planted_difference": round(difference, 3)},
            "judgments": [*(people if number in judged else []), *verdicts],
        }


def preference_row(row: dict[str, Any]) -> dict[str, Any]:
    """The same row with `human_labels` and `ai_labels` on a scale from -1 to 1, as published data has them."""
    labels: dict[str, list[dict[str, Any]]] = {"person": [], "ai": []}
    for said in row["judgments"]:
        is_ai = said["kind"] == "ai"
        value = round(2 * said["p_b"] - 1, 4) if is_ai else said["level"]
        who = "judge" if is_ai else "annotator"
        labels[said["kind"]].append({who: said["rater"], "preference": value, "raw": said.get("p_b", value)})
    kept = {key: row[key] for key in row if key not in ("judgments", "metadata")}
    return {**kept, "human_labels": labels["person"], "ai_labels": labels["ai"], "meta": row["metadata"]}


def write(path: Path, *, shape: str = "native", **options: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in comparisons(**options):
            chosen = row if shape == "native" else preference_row(row)
            file.write(json.dumps(chosen, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--people", default="500", help="how many comparisons people judged, or all")
    parser.add_argument("--votes", type=int, default=3)
    parser.add_argument("--shape", choices=("native", "preference_rows"), default="native")
    given = parser.parse_args()
    people_on = None if given.people == "all" else int(given.people)
    write(given.out, shape=given.shape, count=given.count, seed=given.seed, people_on=people_on, votes=given.votes)


if __name__ == "__main__":
    main()

"""What MemGuard leaves to the direct attacks: where its noise puts members and others.

    python -m benchmarks.memguard_leftover RUN --json FILE [--records N]

RUN is a run folder of a `memguard` model. Its noise is looked at from the inside: for how many
queries it is found, on which side of the defender's own inference network an answer lies before
and after, and what the best threshold on the confidence, fitted to these very records, tells.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selena.attacks.robustness import fitted_accuracy
from selena.defenses.memguard import MemGuardModel, searchable
from selena.experiments.pipeline import Case
from selena.experiments.store import RunFolder
from selena.files.writing import write_json
from selena.seeding import torch_generator
from selena.types import Records

SEED = 0


def look(model: MemGuardModel, records: Records) -> dict[str, Tensor]:
    """Return what happens to each record's answer, one number per record."""
    bare = model.target.logits(records.x)
    _, found = model.search.run(model.inference, searchable(bare)[0])
    before, after = (logits.double().softmax(dim=1) for logits in (bare, model.logits(records.x)))
    sides = [
        model.inference(p.sort(dim=1).values.float()).squeeze(1).detach() > 0
        for p in (before, after)
    ]
    own = records.y[:, None]
    return {
        "found": found,
        "correct": bare.argmax(dim=1) == records.y,
        "called_member_before": sides[0],
        "called_member_after": sides[1],
        "confidence_before": before.gather(1, own).squeeze(1),
        "confidence_after": after.gather(1, own).squeeze(1),
    }


def run(folder: Path, count: int) -> dict[str, Any]:
    """Return shares of members and of non-members, and what thresholds tell."""
    case = Case.from_run(RunFolder(folder))
    dataset = case.dataset()
    split = case.split(dataset)
    model = case.build_defense(dataset).restore(RunFolder(folder).load_model())
    assert isinstance(model, MemGuardModel)
    seen: dict[str, dict[str, Tensor]] = {}
    for side, records in (
        ("members", split.evaluation.members),
        ("non_members", split.evaluation.non_members),
    ):
        draw = torch_generator(SEED, "leftover", side)
        seen[side] = look(model, records.take(torch.randperm(len(records), generator=draw)[:count]))
    shares = {
        side: {name: float(value.double().mean()) for name, value in values.items()}
        for side, values in seen.items()
    }
    members, others = seen["members"], seen["non_members"]

    def told(name: str, *, correct_only: bool = False) -> float:
        parts = [
            side[name][side["correct"]] if correct_only else side[name]
            for side in (members, others)
        ]
        truth = torch.arange(sum(map(len, parts))) < len(parts[0])
        return fitted_accuracy(torch.cat(parts).double().numpy(), truth.numpy())

    return {
        "command": f"python -m benchmarks.memguard_leftover RUN --records {count}",
        "run": folder.name,
        "seed": SEED,
        "records_a_side": len(members["found"]),
        "shares": shares,
        "fitted_accuracy": {
            "correct": told("correct"),
            "confidence_before": told("confidence_before"),
            "confidence_after": told("confidence_after"),
            "confidence_before_of_correct": told("confidence_before", correct_only=True),
            "confidence_after_of_correct": told("confidence_after", correct_only=True),
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--records", type=int, default=3000)
    options = parser.parse_args()
    figures = run(options.run, options.records)
    write_json(options.json, figures)
    print(json.dumps(figures, indent=2))

"""Asking a function that may fail and may cost money: batches, retries and a cache of answers.

A folder of answers holds files of lines of JSON, one per record: the digest of the record's content
and the model's answer. Every run appends to its own file and writes each batch as soon as it has
arrived, so a killed run loses one batch at most. The record of an incomplete line is asked again.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from pathlib import Path
from time import sleep
from typing import Any
from urllib.error import HTTPError
from uuid import uuid4

import numpy as np
from jaxtyping import Float64

from selena.auditing.report import ModelQueries
from selena.content.digests import digests
from selena.errors import ConfigError, DataError, SelenaError, StoreError
from selena.models.answers import Numbers, as_numbers, failure
from selena.models.checks import same_answers
from selena.models.containers import Container, Rows, contain
from selena.models.models import Model
from selena.training.batches import in_chunks

_LOG = logging.getLogger(__name__)

# Seconds: the longest pause of our own, and the longest that a server may ask for.
_LONGEST_PAUSE, _LONGEST_ASKED_FOR = 60.0, 3600.0
# A status from 400 to 499 means that a repeated request fails too, except for these.
_PASSING = {408, 409, 425, 429}
_DIGEST_BYTES = 16


class Asking:
    """How a model is asked: functions in batches, with retries and a cache of answers.

    Attributes:
        model: answers from the cache; asks about other records and adds their answers to it.
        fresh: always asks, and neither reads nor writes the cache.
    """

    def __init__(
        self,
        model: Model,
        *,
        batch_size: int | None = None,
        retries: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        """Set up how `model` is asked.

        Args:
            model: any model; the other settings are for functions only.
            batch_size: records per call at most.
            retries: how often a call that failed is repeated.
            cache: folder of answers, made if it is absent; one per model.

        Raises:
            ConfigError: a setting out of range, or given for a model that is not a function.
            StoreError: the folder cannot be read.
        """
        _check(model, batch_size, retries, cache)
        self._model, self._retries = model, retries
        self._asked = self._from_cache = self._retried = 0
        self._kept = None if cache is None else _Kept(Path(cache).expanduser())
        self.fresh = model
        if model.function:
            self.fresh = replace(model, ask=self._ask_about_all, batch_size=batch_size)
        self.model = self.fresh
        if self._kept is not None:
            self.model = replace(self.fresh, ask=self._ask_about_missing)

    @property
    def queries(self) -> ModelQueries | None:
        """Counts of the queries to a function so far; None for other models."""
        if not self._model.function:
            return None
        return ModelQueries(self._asked, self._from_cache, self._retried)

    def compare(self, records: Any, answers: Numbers, again: Float64[np.ndarray, "m w"]) -> bool:
        """Return whether a few records got the same answers twice; keep their answers.

        Args:
            records: the first of them were asked about twice.
            answers: new answers to all of them.
            again: new answers to the first of them.

        Raises:
            DataError: the model repeats its answers, but the folder holds different ones.
        """
        steady = bool(same_answers(again, answers[: len(again)]).all())
        if self._kept is not None:
            self._kept.keep(_digests(contain(records, "queries")), answers, self._what, steady)
        return steady

    @property
    def _what(self) -> str:
        return self._model.what

    def _ask_about_all(self, records: Any) -> Numbers:
        container = contain(records, "queries")
        batches = self._ask(container, np.arange(len(container)))
        return _joined([answers for _, answers in batches], self._what)

    def _ask_about_missing(self, records: Any) -> Numbers:
        kept, container = self._kept, contain(records, "queries")
        assert kept is not None
        digests = _digests(container)
        missing = {d: row for row, d in reversed([*enumerate(digests)]) if d not in kept.answers}
        self._from_cache += len(digests) - len(missing)
        for rows, answers in self._ask(container, np.array(sorted(missing.values()), np.int64)):
            kept.add([digests[row] for row in rows], answers)
        return kept.get(digests, self._what)

    def _ask(self, container: Container, rows: Rows) -> Iterator[tuple[Rows, Numbers]]:
        """Yield rows and the answers to them, batch by batch."""
        for part in in_chunks(len(rows), self.fresh.batch_size or max(1, len(rows))):
            yield rows[part], self._call(container.take(rows[part]), part.stop - part.start)

    def _call(self, records: Any, n: int) -> Numbers:
        """Ask about `n` records in one call, and again where it fails."""
        for attempt in range(self._retries + 1):
            self._asked += n
            self._retried += attempt > 0
            try:
                return as_numbers(self._model.ask(records), n, self._what)
            except SelenaError:
                raise
            except Exception as error:  # somebody's function may raise anything
                if attempt == self._retries or _is_final(error):
                    raise self._failure(records, n, error, attempt + 1) from error
                pause = _pause(error, attempt)
                _LOG.warning(
                    "%s failed (%s: %s); asked again in %.3g s, retry %d of %d",
                    self._what,
                    type(error).__name__,
                    error,
                    pause,
                    attempt + 1,
                    self._retries,
                )
                _close(error)
                sleep(pause)
        raise AssertionError  # the last attempt returns or raises

    def _failure(self, records: Any, n: int, error: Exception, calls: int) -> DataError:
        more = f" (call {calls} of {calls})" if calls > 1 else ""
        if self._kept is not None:
            more += f". Answers so far are kept in {self._kept.folder}: run the same again to go on"
        return failure(self._what, records, n, error, more)


class _Kept:
    """Answers by the digest of a record, in memory and in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[bytes, np.ndarray] = {}
        self._file = folder / f"answers-{uuid4().hex}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.glob("answers-*.jsonl")):
                with path.open("rb") as lines:
                    for line in lines:
                        self._read(line)
        except OSError as error:
            raise StoreError(
                f"{folder}: the folder of answers cannot be read ({error}). Name another as cache."
            ) from error

    def _read(self, line: bytes) -> None:
        """Take the answer from a complete line; the record of an incomplete one is asked again."""
        try:
            held = json.loads(line)
            digest = bytes.fromhex(held["record"])
            answer = np.array(held["answer"], dtype=np.float64)
        except (ValueError, TypeError, KeyError, RecursionError):
            return
        if len(digest) == _DIGEST_BYTES and answer.ndim == 1 and _is_answer(answer):
            self.answers.setdefault(digest, answer)

    def keep(self, digests: Sequence[bytes], answers: Numbers, what: str, steady: bool) -> None:
        """Keep answers; raise `DataError` if a deterministic model gave different ones before."""
        held = [i for i, digest in enumerate(digests) if digest in self.answers]
        if held and steady:
            before = self.get([digests[i] for i in held], what)
            other = (
                np.ones(len(held), dtype=bool)
                if before.shape[1] != answers.shape[1]
                else ~same_answers(before, answers[held])
            )
            if other.any():
                raise DataError(
                    f"{self.folder} holds other answers to {int(other.sum())} of {len(held)} "
                    f"records than {what} gives now, so they are from another model or an earlier "
                    "version. Name another folder as cache, or delete this one."
                )
        new = [i for i, digest in enumerate(digests) if digest not in self.answers]
        self.add([digests[i] for i in new], answers[new])

    def add(self, digests: Sequence[bytes], answers: Numbers) -> None:
        """Keep answers; those with NaN or infinity are not written, and are asked for again."""
        lines = []
        for digest, answer in zip(digests, answers, strict=True):
            self.answers[digest] = answer
            if _is_answer(answer):
                lines.append(json.dumps({"record": digest.hex(), "answer": answer.tolist()}))
        if not lines:
            return
        try:
            with self._file.open("ab") as stream:
                stream.write("".join(f"{line}\n" for line in lines).encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise StoreError(
                f"{self._file}: answers cannot be kept ({error}). Make room, or name another "
                "folder as cache."
            ) from error

    def get(self, digests: Sequence[bytes], what: str) -> Numbers:
        """Return the kept answers."""
        return _joined([self.answers[digest][None] for digest in digests], what)


def _joined(parts: Sequence[np.ndarray], what: str) -> Numbers:
    if len({part.shape[1] for part in parts}) > 1:
        raise DataError(f"{what} answered with a changing number of columns.")
    return np.concatenate(parts)


def _check(model: Model, batch_size: int | None, retries: int, cache: str | Path | None) -> None:
    check_settings(batch_size, retries, cache)
    if not model.function and (batch_size is not None or retries or cache is not None):
        raise ConfigError(
            f"{model.what} is no function. Leave out batch_size, retries and cache, which are for "
            "functions that ask a server, or wrap it in a function."
        )


def check_settings(batch_size: int | None, retries: int, cache: str | Path | None) -> None:
    """Raise `ConfigError` unless the settings are in range."""
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; give a number of records from 1 on.")
    if retries < 0:
        raise ConfigError(f"retries is {retries}; give a number of repeated calls from 0 on.")
    if cache is not None and Path(cache).expanduser().is_file():
        raise ConfigError(f"cache is the file {cache}; name a folder.")


def _is_answer(answer: np.ndarray) -> bool:
    return len(answer) > 0 and not bool((np.isnan(answer) | np.isposinf(answer)).any())


def _digests(container: Container) -> list[bytes]:
    """Return the digest of each record's content and of its container's kind."""
    values = container.values
    kind = type(values)
    shape = tuple(getattr(values, "shape", ()))[1:]
    prefix = f"{kind.__module__}.{kind.__qualname__} {getattr(values, 'dtype', '')} {shape} "
    return [
        blake2b(prefix.encode() + content, digest_size=_DIGEST_BYTES).digest()
        for content in digests(values)
    ]


def _status(error: Exception) -> int | None:
    """Return the HTTP status that an exception carries, as those of the usual clients do."""
    response = getattr(error, "response", None)
    places = ((response, "status_code"), (response, "status"), (error, "status"), (error, "code"))
    for holder, name in places:
        status = getattr(holder, name, None)
        if isinstance(status, int):
            return status
    return None


def _is_final(error: Exception) -> bool:
    status = _status(error)
    return status is not None and 400 <= status < 500 and status not in _PASSING


def _pause(error: Exception, attempt: int) -> float:
    """Return how many seconds to wait: what the server asks for, else twice as long each time."""
    response = getattr(error, "response", None)
    headers = getattr(error if response is None else response, "headers", None)
    get: Callable[[str], Any] | None = getattr(headers, "get", None)
    asked = None if get is None else get("Retry-After") or get("retry-after")
    if asked is not None and (seconds := _seconds(str(asked))) is not None:
        return min(max(seconds, 0.0), _LONGEST_ASKED_FOR)
    return float(min(2.0 ** min(attempt, 10), _LONGEST_PAUSE))


def _close(error: Exception) -> None:
    """Close the response that an error of `urllib` holds: nobody else gets to see the error."""
    if isinstance(error, HTTPError) and error.fp is not None:
        error.close()


def _seconds(asked: str) -> float | None:
    """Return the seconds that a Retry-After header names: a number of them, or a date."""
    try:
        return float(asked) if math.isfinite(float(asked)) else None
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(asked)
    except ValueError:
        return None
    return (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()

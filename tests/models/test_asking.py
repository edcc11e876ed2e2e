"""A function that asks a server: in batches, with retries, and with answers that are kept."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest
import torch
from scipy import sparse

from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.auditing.report import AuditReport, ModelQueries
from selena.errors import ConfigError, DataError, SelenaError, StoreError
from selena.models import AuditWarning
from tests.models.memory import probabilities, quick, remembering, sides

MEMBERS, OTHERS = sides(40)
NETWORK = remembering(MEMBERS)
N, PROBED = 80, 24
SETTINGS: dict[str, Any] = {"attacks": ("confidence", "entropy")}


def plain(x: np.ndarray) -> np.ndarray:
    return probabilities(NETWORK, x)


@cache
def expected() -> dict[str, Any]:
    """Return the report of the function as it is."""
    return quick(plain, MEMBERS, OTHERS, **SETTINGS).to_json()


@dataclass
class Counted:
    """A function that keeps how many records each call asked about, and fails where told.

    Attributes:
        fails: what calls raise, by their number.
        sizes: of the calls so far.
    """

    fails: dict[int, BaseException] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.sizes.append(len(x))
        if len(self.sizes) in self.fails:
            raise self.fails[len(self.sizes)]
        return plain(x)


def ask(model: Callable[[Any], Any], **settings: Any) -> AuditReport:
    return quick(model, MEMBERS, OTHERS, **SETTINGS, **settings)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between calls, which are not waited for."""
    asked: list[float] = []
    monkeypatch.setattr("selena.models.asking.sleep", asked.append)
    return asked


def test_batches_hold_so_many_records_at_most() -> None:
    model = Counted()
    assert ask(model, batch_size=7).to_json() == expected()
    assert max(model.sizes) == 7
    assert sum(model.sizes) == N + PROBED


def test_failed_calls_are_repeated_after_longer_pauses(pauses: list[float]) -> None:
    fails: dict[int, BaseException] = {call: TimeoutError("stalled") for call in (4, 5, 6)}
    report = ask(Counted(fails), batch_size=10, retries=3)
    assert report.to_json() == expected()
    assert pauses == [1, 2, 4]
    # Calls are of 8, 10, 6 records, then of ten each.
    assert report.model_queries == ModelQueries(N + PROBED + 3 * 10, 0, 3)


def test_retries_come_to_an_end(pauses: list[float]) -> None:
    fails: dict[int, BaseException] = {call: OSError("gone") for call in range(1, 9)}
    with pytest.raises(DataError, match=r"failed on 8 records.*OSError: gone \(call 3 of 3\)"):
        ask(Counted(fails), retries=2)
    assert pauses == [1, 2]


def test_pauses_stay_below_a_minute(pauses: list[float]) -> None:
    fails: dict[int, BaseException] = {call: OSError("gone") for call in range(1, 10)}
    ask(Counted(fails), retries=9)
    assert pauses[-3:] == [60, 60, 60]


class Refused(Exception):
    """As the usual clients raise it."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"status {status}")
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.response = type("Response", (), {"status_code": status, "headers": names})()


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("2.5", 2.5),
        ("1e9", 3600),
        ("-3", 0),
        ("soon", 1),
        ("nan", 1),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 3600),
    ],
)
def test_retry_after_is_kept_to(asked: str, seconds: float, pauses: list[float]) -> None:
    ask(Counted({1: Refused(429, Retry_After=asked)}), retries=1)
    assert pauses == [seconds]


def test_a_response_is_closed_before_the_retry(pauses: list[float]) -> None:
    # From Python 3.14 on, an open one is a ResourceWarning.
    error = HTTPError("http://localhost", 503, "busy", Message(), io.BytesIO())
    ask(Counted({1: error}), retries=1)
    assert error.closed
    assert pauses == [1]


def test_a_refusal_that_lasts_is_not_repeated(pauses: list[float]) -> None:
    model = Counted({1: Refused(401)})
    with pytest.raises(DataError, match=r"status 401$"):
        ask(model, retries=5)
    assert (len(model.sizes), pauses) == (1, [])


def test_errors_of_this_library_are_not_repeated(pauses: list[float]) -> None:
    with pytest.raises(ConfigError, match="no such key"):
        ask(Counted({1: ConfigError("no such key")}), retries=5)
    assert pauses == []


def test_a_rerun_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    broken = Counted({7: RuntimeError("down")})
    with pytest.raises(DataError, match=r"Answers so far are kept in .*run the same again"):
        ask(broken, batch_size=10, cache=tmp_path)
    # 8 and 16 records were probed in three calls, and three calls of ten succeeded.
    again = Counted()
    report = ask(again, batch_size=10, cache=tmp_path)
    assert report.to_json() == expected()
    assert sum(again.sizes) == PROBED + N - 16 - 30
    assert report.model_queries == ModelQueries(sum(again.sizes), 16 + 30, 0)


def test_kept_answers_are_found_in_any_order(tmp_path: Path) -> None:
    ask(plain, cache=tmp_path)
    again, order = Counted(), np.random.default_rng(0).permutation(40)
    shuffled = [(x[order], y[order]) for x, y in (MEMBERS, OTHERS)]
    report = quick(again, *shuffled, **SETTINGS, cache=tmp_path, seed=5)
    assert sum(again.sizes) == PROBED
    assert report.to_json() == quick(plain, *shuffled, **SETTINGS, seed=5).to_json()


def test_equal_records_are_asked_about_once(tmp_path: Path) -> None:
    twice = [(np.repeat(x, 2, axis=0), np.repeat(y, 2)) for x, y in (MEMBERS, OTHERS)]
    model = Counted()
    with pytest.warns(AuditWarning, match="Equal records count as one"):
        report = quick(model, *twice, **SETTINGS, cache=tmp_path)
    assert sum(model.sizes) <= PROBED + N
    with pytest.warns(AuditWarning, match="Equal records count as one"):
        assert report.to_json() == quick(plain, *twice, **SETTINGS).to_json()


def test_changed_records_are_kept_too(tmp_path: Path) -> None:
    noise = {"attacks": [GaussianNoiseAttack((0.1,), copies=2)]}
    first, again = Counted(), Counted()
    one = quick(first, MEMBERS, OTHERS, **noise, cache=tmp_path)
    two = quick(again, MEMBERS, OTHERS, **noise, cache=tmp_path)
    assert sum(first.sizes) > 2 * N
    assert sum(again.sizes) == PROBED
    assert one.to_json() == two.to_json() == quick(plain, MEMBERS, OTHERS, **noise).to_json()


@pytest.mark.parametrize("kind", ["frame", "list", "tensor", "sparse"])
def test_every_container_is_known_again(kind: str, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    make: Callable[[np.ndarray], Any] = {
        "frame": pd.DataFrame,
        "list": np.ndarray.tolist,
        "tensor": torch.from_numpy,
        "sparse": sparse.csr_array,
    }[kind]
    asked: list[int] = []

    def model(x: Any) -> np.ndarray:
        rows = np.asarray(x.todense() if kind == "sparse" else x).astype(np.float32)
        asked.append(len(rows))
        return plain(rows)

    given = [(make(x), y) for x, y in (MEMBERS, OTHERS)]
    for _ in range(2):
        assert quick(model, *given, **SETTINGS, cache=tmp_path).to_json() == expected()
    assert sum(asked) == N - 16 + 2 * PROBED


def test_answers_of_another_model_are_an_error(tmp_path: Path) -> None:
    ask(lambda x: np.roll(plain(x), 1, axis=1), cache=tmp_path)
    with pytest.raises(DataError, match=r"other answers to 8 of 16 records.*another model"):
        ask(plain, cache=tmp_path)


def test_answers_of_another_width_are_an_error(tmp_path: Path) -> None:
    ask(lambda x: np.column_stack([plain(x), np.zeros(len(x))]), cache=tmp_path)
    with pytest.raises(DataError, match="another model"):
        ask(plain, cache=tmp_path)


def test_noise_is_asked_anew_by_attacks_that_ask_again(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    asked: list[int] = []

    def noisy(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        p = plain(x) * draw.uniform(0.5, 1.5, (len(x), 3))
        return np.asarray(p / p.sum(axis=1, keepdims=True))

    with pytest.warns(AuditWarning, match="answers the same record differently"):
        quick(noisy, MEMBERS, OTHERS, attacks=[GaussianNoiseAttack((0.1,), copies=2)])
    without, asked[:] = sum(asked), []
    with pytest.warns(AuditWarning, match="answers the same record differently"):
        quick(
            noisy, MEMBERS, OTHERS, attacks=[GaussianNoiseAttack((0.1,), copies=2)], cache=tmp_path
        )
    assert sum(asked) == without - 16


def test_answers_that_are_no_numbers_are_not_kept(tmp_path: Path) -> None:
    def sick(x: np.ndarray) -> np.ndarray:
        answers = plain(x)
        answers[(x == OTHERS[0][5]).all(axis=1)] = np.nan
        return answers

    with pytest.raises(DataError, match=r"not finite.*non-member 5"):
        ask(sick, cache=tmp_path)
    again = Counted()
    assert ask(again, cache=tmp_path).to_json() == expected()
    assert sum(again.sizes) == PROBED + 1


def test_minus_infinity_is_kept(tmp_path: Path) -> None:
    def sure(x: np.ndarray) -> np.ndarray:
        p = plain(x)
        return np.where(p == p.max(axis=1, keepdims=True), p, -np.inf)

    reports = [ask(sure, output="logits", cache=tmp_path).to_json() for _ in range(2)]
    assert reports[0] == reports[1] == ask(sure, output="logits").to_json()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-30],  # torn
        lambda text: text[:-1],  # whole, without the end of the line
        lambda text: text + "[" * 100_000 + "\n",
        lambda text: text + '{"record": 5}\n\x00\n7\n{"record": "00", "answer": [1.0]}\n',
        lambda text: text + json.dumps({"record": "0" * 32, "answer": [[1.0]]}) + "\n",
    ],
)
def test_lines_that_are_not_whole_are_asked_for(
    damage: Callable[[str], str], tmp_path: Path
) -> None:
    ask(plain, cache=tmp_path)
    (path,) = tmp_path.glob("answers-*.jsonl")
    path.write_text(damage(path.read_text()))
    again = Counted()
    assert ask(again, cache=tmp_path).to_json() == expected()
    assert sum(again.sizes) <= PROBED + 1


@pytest.mark.deep
def test_a_killed_audit_goes_on(tmp_path: Path) -> None:
    code = f"""
import os, signal
from tests.models.test_asking import *
calls = []
def model(x):
    calls.append(len(x))
    if len(calls) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(x)
ask(model, batch_size=8, cache={str(tmp_path)!r})
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == -signal.SIGKILL
    again = Counted()
    assert ask(again, batch_size=8, cache=tmp_path).to_json() == expected()
    # Three calls were probes; five others were answered, two of them with probed records.
    assert sum(again.sizes) == PROBED + N - 16 - 5 * 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"retries": -1}, "retries is -1"),
        ({"cache": __file__}, "name a folder"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ask(plain, **settings)


@pytest.mark.parametrize("settings", [{"batch_size": 8}, {"retries": 1}, {"cache": "answers"}])
def test_only_functions_are_asked_like_this(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is no function"):
        quick(NETWORK, MEMBERS, OTHERS, **settings)
    with pytest.raises(ConfigError, match="Predictions need no queries"):
        quick("predictions.csv", **settings)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be read.*another as cache"):
        ask(plain, cache=tmp_path / "file" / "answers")


def test_the_report_says_what_was_asked(tmp_path: Path) -> None:
    ask(plain, cache=tmp_path)
    text = str(ask(plain, cache=tmp_path))
    assert "asked about 24 records (0 calls were repeated); 80 answers were kept" in text
    assert quick(NETWORK, MEMBERS, OTHERS).model_queries is None


@dataclass
class Server:
    """A model behind HTTP.

    Attributes:
        trouble: what requests get instead of an answer, by their number: "stall", or a status.
        requests: how many there were.
    """

    trouble: dict[int, str | int] = field(default_factory=dict)
    requests: int = 0
    address: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    def model(self, x: np.ndarray) -> np.ndarray:
        body = json.dumps(x.tolist()).encode()
        with urllib.request.urlopen(self.address, data=body, timeout=0.2) as answer:
            return np.array(json.load(answer))


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            state.requests += 1
            x = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            trouble = state.trouble.get(state.requests)
            if trouble == "stall":
                state.closing.wait()
                return
            if isinstance(trouble, int):
                self.send_response(trouble)
                self.send_header("Retry-After", "3")
                self.end_headers()
                return
            body = json.dumps(plain(np.array(x, dtype=np.float32)).tolist()).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        state.address = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield state
        state.closing.set()
        listening.shutdown()
        thread.join()


def test_a_server_in_trouble_is_asked_again(
    server: Server, pauses: list[float], tmp_path: Path
) -> None:
    server.trouble = {2: 429, 4: "stall", 6: 500, 7: 503}
    report = ask(server.model, batch_size=16, retries=2, cache=tmp_path)
    assert report.to_json() == expected()
    assert pauses == [3, 1, 3, 3]
    assert report.model_queries is not None
    assert report.model_queries.retried == 4


def test_a_server_that_fails_loses_no_answer(server: Server, tmp_path: Path) -> None:
    server.trouble = {5: 500}
    with pytest.raises(SelenaError, match="HTTPError: HTTP Error 500") as failed:
        ask(server.model, batch_size=16, cache=tmp_path)
    cause = failed.value.__cause__
    assert isinstance(cause, HTTPError)
    cause.close()
    before = server.requests
    assert ask(server.model, batch_size=16, cache=tmp_path).to_json() == expected()
    assert server.requests - before == 2 + 2  # probes, and the last 32 records

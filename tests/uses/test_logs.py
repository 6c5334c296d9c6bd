"""Logs as other shells and editors write them, and a report that agrees with its log."""

import shutil

import pytest
from processes import run as run_process
from seg_runs import SegRuns, said_into
from small import fields

from rifle_ext import cli
from rifle_ext.commands.report.runs import load

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    """A training's folder: `train.log`, and the output one folder deeper."""
    runs = SegRuns(scenes, tmp_path_factory.mktemp("logs"))
    out = runs.folder / "run" / "output"
    with (runs.folder / "train.log").open("w") as log, said_into(log):
        runs.train(runs.config(**fields()), out=out, evaluate=True, log_iters=2)
    (runs.folder / "train.log").rename(runs.folder / "run" / "train.log")
    return runs.folder / "run"


ENCODINGS = {
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 with CRLF": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "big-endian": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "GBK": lambda text: text.replace("[TRAIN]", "训练 [TRAIN]").encode("gbk"),
    "UTF-16 below UTF-8": lambda text: (
        text[: len(text) // 2].encode() + text[len(text) // 2 :].encode("utf-16-le")
    ),
    "old Mac's ends of lines": lambda text: text.replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_encodings(trained, tmp_path, encoding):
    wanted = load(trained)
    text = (trained / "train.log").read_text()
    (tmp_path / "train.log").write_bytes(ENCODINGS[encoding](text))
    found = load(tmp_path)
    assert found.curves == wanted.curves != {}
    assert found.reset_steps == wanted.reset_steps == [4, 8]


def report(folder):
    assert cli.main(["report", str(folder)]) == 0


def test_events_one_folder_deeper(trained, capsys):
    report(trained)
    said = capsys.readouterr().out
    assert "reset after 4, 8 of 12 iterations" in said
    assert f"the events are those of {trained / 'output' / 'rifle_events.jsonl'}" in said


def test_without_events_the_log_tells(trained, tmp_path, capsys):
    shutil.copy(trained / "train.log", tmp_path)
    report(tmp_path)
    said = capsys.readouterr().out
    assert "reset after 4, 8 of 12 iterations" in said
    assert "without resets" not in said
    assert f"no rifle_events.jsonl in or below {tmp_path}" in said


def test_events_that_break_off(trained, tmp_path, capsys):
    shutil.copy(trained / "train.log", tmp_path)
    lines = (trained / "output" / "rifle_events.jsonl").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if '"reset"' in line)
    (tmp_path / "rifle_events.jsonl").write_text("\n".join(lines[: first + 1]) + "\n")
    report(tmp_path)
    said = capsys.readouterr().out
    assert "reset after 4, 8 of 12 iterations" in said and "breaks off" in said


def test_events_of_several_trainings_below_are_not_guessed(trained, tmp_path, capsys):
    shutil.copy(trained / "train.log", tmp_path)
    for name in ("a", "b"):
        shutil.copytree(trained / "output", tmp_path / name)
    report(tmp_path)
    said = capsys.readouterr().out
    assert "the events of 2 trainings, none taken" in said
    assert "reset after 4, 8 of 12 iterations" in said


def test_a_log_without_the_block_is_without_resets(trained, tmp_path, capsys):
    lines = (trained / "train.log").read_text().splitlines()
    plain = [line for line in lines if "[RIFLE]" not in line]
    (tmp_path / "train.log").write_text("\n".join(plain))
    report(tmp_path)
    said = capsys.readouterr().out
    assert "without resets" in said and "note:" not in said


def test_a_terminal_that_knows_ascii_alone(trained, tmp_path):
    folder = tmp_path / "训练"
    shutil.copytree(trained, folder)
    command = ["-m", "rifle_ext", "report", folder, folder]
    for encoding in ("ascii", "latin-1"):
        done = run_process(*command, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
        assert done.returncode == 0, done.stderr
        assert "reset after 4, 8" in done.stdout

"""`hypnod score`, from files made here and from a real mouse, to everything it writes."""

import csv
import json
import shutil
from pathlib import Path

import edfio
import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from daemon.config import StagingConfig
from daemon.stager import Stager
from engines.bundle import open_bundle
from engines.select import open_engine
from models.errors import ConfigError, RecordingError, SpeciesError
from models.recordings.channels import guess_subjects, named_subjects
from models.recordings.edf.reader import read_edf_annotations
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.read import read_hypnogram
from models.recordings.open import open_recording
from models.simulator.mouse.simulate import SimulatedMice
from models.stages import ART, MOUSE, UNKNOWN
from models.teacher import NAME, teacher_hash
from tests.rigs import forked
from tests.support import signals
from tests.support.bundles import TINY, any_reference, change_manifest, make_bundle, mouse_grammar
from tests.support.recordings.edf import write_channels, write_interrupted_edf
from tools.cli import app
from tools.score.offline import stage_recording
from tools.score.scored import Scored, by_bundle
from tools.score.summary import summarise

SECONDS, SFREQ = 40, 256
FLAT = slice(20 * SFREQ, 23 * SFREQ)

CONFIG = """
[[streams]]
name = "cage"
match = { name = "cage" }
subjects = [{ name = "a", channels = { eeg = "EEG2", emg = "EMG1-EMG2" } }]

[[streams]]
name = "other"
match = { name = "other" }
subjects = [{ name = "b", channels = { eeg = "EEG1" } }]
"""

BOTH = ("--subject", "m1", "--subject", "m2")
"""Says that there are two of them, where the labels could be of one."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), **TINY)


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_night(path, labels=("EEG1", "EMG1", "EEG2", "EMG2"), scale=50.0, unit="uV"):
    """A night of simulated mice in which the first channel is flat for three epochs."""
    n_mice = (len(labels) + 1) // 2
    mice = SimulatedMice(seed=0, duration_s=SECONDS, sfreq=SFREQ, n_subjects=n_mice).record()
    data = mice.data.T[: len(labels)].astype(np.float64)
    data *= scale / data.std(axis=1, keepdims=True)
    data[0, FLAT] = 0
    return write_channels(path, data, labels, SFREQ, unit)


def score(*arguments):
    """Run the command; return what it prints."""
    result = CliRunner().invoke(app, ["score", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def rows(path, delimiter=","):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


def test_every_output_tells_the_same_night(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf")
    outputs = {name: tmp_path / f"out.{name}" for name in ("csv", "edf", "tsv", "png")}
    options = [part for name, path in outputs.items() for part in (f"--{name}", path)]
    summary = json.loads(score(night, *BOTH, "--bundle", bundle, "--json", *options))
    assert [*summary["subjects"]] == ["m1", "m2"]
    assert summary["subjects"]["m2"]["channels"] == {"eeg": "EEG2", "emg": "EMG2"}
    table = rows(outputs["csv"])
    for name, subject in summary["subjects"].items():
        assert subject["epochs"] == SECONDS
        for kind in ("live", "final"):
            mine = [r for r in table if (r["subject"], r["kind"]) == (name, kind)]
            assert [int(r["hop"]) for r in mine] == list(range(SECONDS))
        stages = [r["stage"] for r in mine]
        for output in ("csv", "edf", "tsv"):
            read = read_hypnogram(outputs[output], MOUSE, subject=name)
            assert read.to_epochs(1.0, SECONDS) == stages
        expected = {s: stages.count(s) for s in (*MOUSE, ART, UNKNOWN)}
        assert subject["seconds"] == expected
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == ["out-m1.png", "out-m2.png"]


def test_a_file_is_named_as_it_is(tmp_path, bundle):
    night = write_night(tmp_path / "night [old] :m:.edf")
    said = score(night, *BOTH, "--bundle", bundle)
    assert "night [old] :m:.edf" in " ".join(said.split())


def test_a_flat_eeg_is_told_and_the_emg_read_alone(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf")
    score(night, *BOTH, "--bundle", bundle, "--csv", tmp_path / "o.csv")
    mine = [r for r in rows(tmp_path / "o.csv") if (r["subject"], r["kind"]) == ("m1", "final")]
    assert [r["pathway"] for r in mine[19:24]] == ["mixed", "emg", "emg", "emg", "mixed"]
    assert [r["eeg_quality"] for r in mine[19:24]] == ["ok", "flat", "flat", "flat", "ok"]
    for row in mine:
        probabilities = [float(row[f"p_{stage}"]) for stage in MOUSE]
        assert sum(probabilities) == pytest.approx(1.0, abs=1e-6)
        assert row["stage"] == MOUSE[int(np.argmax(probabilities))]


def test_an_interruption_takes_its_epochs_and_shifts_none(tmp_path, bundle):
    write_interrupted_edf(tmp_path / "d.edf", [*range(12), *range(15, 30)])
    score("d.edf", "--bundle", bundle, "--csv", "o.csv")
    final = [row for row in rows(Path("o.csv")) if row["kind"] == "final"]
    assert [float(row["onset"]) for row in final] == list(range(30))
    lost = [int(row["hop"]) for row in final if row["stage"] == UNKNOWN]
    assert lost == [12, 13, 14]
    assert {final[i]["reason"] for i in lost} == {"eeg missing"}


@pytest.mark.parametrize("grammar", [None, mouse_grammar()], ids=["evidence", "grammar"])
@pytest.mark.parametrize("sizes", [[100], [1, 7, 1000]])
def test_the_estimates_are_those_of_the_live_way_in_any_chunks(tmp_path, bundle, sizes, grammar):
    recording = open_recording(write_night(tmp_path / "night.edf"))
    stream = signals.stream_config(2)
    opened = open_bundle(bundle)
    with open_engine(opened, n_rows=2) as engine:
        staged = stage_recording(recording, stream, engine, grammar=grammar)
        found = [e for _, new in staged for e in new]
    pipe = signals.pipeline(2, SFREQ)
    data, times = recording.read(0, 10_240), recording.timestamps(0, 10_240)
    with open_engine(opened, n_rows=2) as engine:
        stager = Stager(engine, {"cage": ["m1", "m2"]}, StagingConfig(), grammar)
        expected = stager.stage(signals.run(pipe, data, times, sizes)) + stager.flush()
    assert len(found) == len(expected) == 2 * 2 * SECONDS

    def ordered(estimates):
        return sorted(estimates, key=lambda e: (e.subject, e.kind, e.hop))

    for one, other in zip(ordered(found), ordered(expected), strict=True):
        assert (one.hop, one.onset, one.stage) == (other.hop, other.onset, other.stage)
        assert np.array_equal(one.probabilities, other.probabilities)
        assert np.array_equal(one.evidence, other.evidence)
        assert np.array_equal(one.probabilities, one.evidence) == (grammar is None)


def test_with_a_grammar_the_table_holds_the_evidence_too(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf")
    score(night, *BOTH, "--bundle", bundle, "--csv", tmp_path / "plain.csv")
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    given = change_manifest(copy, grammar=mouse_grammar())
    score(night, *BOTH, "--bundle", given, "--csv", tmp_path / "o.csv")
    plain, found = rows(tmp_path / "plain.csv"), rows(tmp_path / "o.csv")
    assert not any(name.startswith("evidence") for name in plain[0])
    for without, row in zip(plain, found, strict=True):
        probabilities = [float(row[f"p_{stage}"]) for stage in MOUSE]
        assert row["stage"] == MOUSE[int(np.argmax(probabilities))]
        assert [row[f"evidence_{s}"] for s in MOUSE] == [without[f"p_{s}"] for s in MOUSE]
    assert any(row["p_REM"] != row["evidence_REM"] for row in found)


@pytest.mark.parametrize("kind", ["live", "final"])
def test_the_hypnogram_is_of_the_kind_asked_for(tmp_path, bundle, kind):
    recording = open_recording(write_night(tmp_path / "night.edf"))
    opened, stream = open_bundle(bundle), signals.stream_config(2)
    with open_engine(opened, n_rows=2) as engine:
        found = [e for _, new in stage_recording(recording, stream, engine) for e in new]
    marked = [
        msgspec.structs.replace(e, stage="REM" if e.kind == "live" else "Wake") for e in found
    ]
    scored = Scored(
        recording=recording,
        stream=stream,
        by=by_bundle(opened),
        engine="",
        kind=kind,
        hop_s=1.0,
        estimates=marked,
        references={"m2": Hypnogram.from_epochs(["REM"] * SECONDS, 1.0)},
        reference_name="",
        drift={"m1": {}, "m2": {}},
    )
    assert scored.hypnogram("m1") == ["REM" if kind == "live" else "Wake"] * SECONDS
    assert scored.agreement("m1") is None
    assert scored.agreement("m2").accuracy == (1.0 if kind == "live" else 0.0)
    assert summarise(scored).subjects["m1"].seconds["REM"] == (SECONDS if kind == "live" else 0)


def test_a_hypnogram_is_compared_epoch_by_epoch(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf", ("EEG", "EMG"))
    score(night, "--bundle", bundle, "--csv", "o.csv", "--tsv", "o.tsv")
    own = json.loads(score(night, "--bundle", bundle, "--hypnogram", "o.tsv", "--json"))
    assert own["subjects"]["m1"]["agreement"]["accuracy"] == 1.0
    assert own["subjects"]["m1"]["hypnogram"]["staged_by"].startswith("hypnod: ")
    lines = [f"{4 * i},4,{s}" for i, s in enumerate(["Wake"] * 4 + ["NREM"] * 5 + ["?"])]
    Path("expert.csv").write_text("\n".join(["onset,duration,stage", *lines]))
    options = ["--hypnogram", "expert.csv", "--json", "--png", "o.png"]
    agreement = json.loads(score(night, "--bundle", bundle, *options))["subjects"]["m1"][
        "agreement"
    ]
    assert (agreement["n_epochs"], agreement["n_unscored"]) == (9, 1)  # the expert's
    assert [sum(row) for row in agreement["confusion"]] == [4, 5, 0]
    Path("expert.txt").write_text("Wake\n" * 4 + "NREM\n" * 5 + "?\n")
    options = ["--hypnogram", "expert.txt", "--hypnogram-epoch", 4, "--json"]
    subject = json.loads(score(night, "--bundle", bundle, *options))["subjects"]["m1"]
    assert subject["agreement"] == agreement
    text = score(night, "--bundle", bundle, "--hypnogram", "expert.csv")
    assert "agreement with expert.csv: accuracy" in text
    assert "over 9 epochs of 4 s" in text


@pytest.mark.parametrize(("kind", "apart_s"), [("live", 0.25), ("final", 1.0)])
def test_a_short_hop_gives_live_stages_each_hop_and_final_ones_each_epoch(
    tmp_path, bundle, kind, apart_s
):
    night = write_night(tmp_path / "night.edf")
    Path("hypnod.toml").write_text(CONFIG + "[staging]\nhop_s = 0.25\n")
    Path("expert.txt").write_text("Wake\n" * SECONDS)
    options = ["--bundle", bundle, "--config", "hypnod.toml", "--stream", "other"]
    options += ["--hypnogram", "expert.txt", "--hypnogram-epoch", 1, "--csv", "o.csv", "--json"]
    summary = json.loads(score(night, *options, "--kind", kind))
    for each, every in (("live", 1), ("final", 4)):
        found = [row for row in rows(Path("o.csv")) if row["kind"] == each]
        assert [int(row["hop"]) for row in found] == list(range(0, 4 * (SECONDS - 1) + 1, every))
        assert [float(row["onset"]) for row in found] == [k * every / 4 for k in range(len(found))]
        assert {row["duration"] for row in found} == {f"{every / 4:g}"}
    assert summary["hop_s"] == apart_s
    agreement = summary["subjects"]["b"]["agreement"]
    assert agreement["n_epochs"] + agreement["n_unscored"] == SECONDS


def test_longer_epochs_are_the_mean_everywhere(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf")
    score(night, *BOTH, "--bundle", bundle, "--csv", "short.csv")
    outputs = ["--csv", "o.csv", "--edf", "o.edf", "--tsv", "o.tsv"]
    summary = json.loads(
        score(night, *BOTH, "--bundle", bundle, "--epoch-s", 4, "--json", *outputs)
    )
    assert (summary["epoch_s"], summary["hop_s"]) == (4, 4)
    short, long = rows(Path("short.csv")), rows(Path("o.csv"))
    assert len(long) == len(short) // 4 == 2 * 2 * SECONDS // 4
    for name, subject in summary["subjects"].items():
        for kind in ("live", "final"):
            fine, mine = (
                [r for r in table if (r["subject"], r["kind"]) == (name, kind)]
                for table in (short, long)
            )
            for k, row in enumerate(mine):
                assert (row["hop"], float(row["onset"])) == (str(k), 4.0 * k)
                for stage in MOUSE:
                    mean = np.mean([float(r[f"p_{stage}"]) for r in fine[4 * k : 4 * k + 4]])
                    assert float(row[f"p_{stage}"]) == pytest.approx(mean, abs=1e-6)
        stages = [r["stage"] for r in mine]
        assert sum(subject["seconds"].values()) == SECONDS
        for output in ("o.csv", "o.edf", "o.tsv"):
            read = read_hypnogram(Path(output), MOUSE, subject=name)
            assert read.to_epochs(4.0, SECONDS // 4) == stages


def test_a_longer_epoch_that_is_mostly_lost_has_no_stage(tmp_path, bundle):
    write_interrupted_edf(tmp_path / "d.edf", [*range(12), *range(15, 30)])
    summary = json.loads(score("d.edf", "--bundle", bundle, "--epoch-s", 4, "--json"))
    mouse = summary["subjects"]["m1"]
    assert (mouse["epochs"], mouse["seconds"][UNKNOWN]) == (7, 4)
    assert mouse["unscored"] == {"eeg missing (no stage for 3 s of it)": 1}
    with pytest.raises(ConfigError, match=r"at least the 1 s between two stages, found 0\.5 s"):
        score("d.edf", "--bundle", bundle, "--epoch-s", 0.5)
    with pytest.raises(RecordingError, match="at least one epoch of 60 s, found 30 s"):
        score("d.edf", "--bundle", bundle, "--epoch-s", 60)


def test_a_hypnogram_of_another_length_is_refused(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf", ("EEG", "EMG"))
    Path("expert.csv").write_text("onset,duration,stage\n0,4,Wake\n4,26,NREM\n")
    with pytest.raises(RecordingError, match="recording's 40 s, found one of 30 s"):
        score(night, "--bundle", bundle, "--hypnogram", "expert.csv")


def test_a_modality_that_was_not_read_is_told(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf", ("EEG", "EMG"))
    told = "m1: staged without eeg (flat) in 3 of 40 epochs"
    assert told in score(night, "--bundle", bundle)
    summary = json.loads(score(night, "--bundle", bundle, "--json"))
    assert summary["subjects"]["m1"]["masked"] == {"eeg flat": 3}
    assert told not in score(night, "--bundle", bundle, "--emg", "EMG")


def test_a_config_says_whose_channels(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf")
    Path("hypnod.toml").write_text(CONFIG)
    options = [night, "--bundle", bundle, "--config", "hypnod.toml", "--json"]
    summary = json.loads(score(*options, "--stream", "cage"))
    assert [*summary["subjects"]] == ["a"]
    summary = json.loads(score(*options, "--stream", "other"))
    assert summary["subjects"]["b"]["pathways"].keys() == {"eeg"}
    assert summary["subjects"]["b"]["unscored"] == {"eeg flat": 3}
    with pytest.raises(ConfigError, match="one stream in the config, found cage, other"):
        score(*options)
    with pytest.raises(ConfigError, match="found both"):
        score(*options, "--stream", "cage", "--eeg", "EEG1")


def test_channels_can_be_named(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf", ("left", "neck a", "right", "neck b"))
    options = ["--eeg", "right", "--emg", "neck a-neck b", "--subject", "mouse7", "--json"]
    summary = json.loads(score(night, "--bundle", bundle, *options))
    assert summary["subjects"]["mouse7"]["channels"] == {"eeg": "right", "emg": "neck a-neck b"}
    with pytest.raises(ConfigError, match=r"night\.edf: .* as in --eeg left --emg 'neck a'"):
        score(night, "--bundle", bundle)
    with pytest.raises(RecordingError, match=r"expected a channel 'rigth'.*did you mean 'right'"):
        score(night, "--bundle", bundle, "--eeg", "rigth")
    with pytest.raises(RecordingError, match=r"--match name=a: expected an XDF file .*leave it"):
        score(night, "--bundle", bundle, "--match", "name=a")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["EEG", "EMG"], [("EEG", "EMG")]),
        (["eeg", "emg"], [("eeg", "emg")]),
        (["m1 EEG", "m2 EEG", "m1 EMG", "m2 EMG"], [("m1 EEG", "m1 EMG"), ("m2 EEG", "m2 EMG")]),
        (
            ["EEG_1203", "EEG_1204", "EMG_1203", "EMG_1204"],
            [("EEG_1203", "EMG_1203"), ("EEG_1204", "EMG_1204")],
        ),
        (
            [f"{m}{i}" for i in range(3) for m in ("EEG", "EMG")],
            [(f"EEG{i}", f"EMG{i}") for i in range(3)],
        ),
        (["m2 EMG", "Temp", "m2 EEG"], [("m2 EEG", "m2 EMG")]),
        (["EEG-EMG ref", "EMG"], [("EEG-EMG ref", "EMG")]),
        (["EEG Fpz-Cz", "EMG submental", "Resp"], [("EEG Fpz-Cz", "EMG submental")]),
        (["EEG"], [("EEG", None)]),
    ],
)
def test_labels_tell_whose_channels_they_are(labels, expected):
    found = guess_subjects(labels, ("eeg", "emg"))
    assert [(s.channels.get("eeg"), s.channels.get("emg")) for s in found] == expected
    assert [s.name for s in found] == [f"m{i}" for i in range(1, len(expected) + 1)]


ONE = "--eeg EEG1 --emg EMG1"


@pytest.mark.parametrize(
    ("labels", "others", "options"),
    [
        (
            ["EEG1", "EEG2", "EMG1", "EMG2"],
            {},
            f"{ONE} for one subject, or {ONE} --eeg EEG2 --emg EMG2 for 2",
        ),
        (["EEG_a", "EMG_a", "EEG_b"], {}, "--eeg EEG_a --emg EMG_a"),
        (["EEG1", "EEG2", "EMG"], {}, "--eeg EEG1 --emg EMG"),
        (["A", "B b"], {}, "--eeg A --emg 'B b'"),
        (["Parietal", "EMG"], {}, "--eeg Parietal --emg EMG, or --emg EMG for EMG alone"),
        (["EEG"], {"EMG": "1 Hz, too slow to be staged"}, "--eeg EEG for EEG alone"),
    ],
)
def test_where_labels_do_not_tell_the_options_are_shown(labels, others, options):
    with pytest.raises(ConfigError, match="expected labels that tell") as caught:
        guess_subjects(labels, ("eeg", "emg"), others)
    assert str(caught.value).endswith(f": name them, as in {options}")
    assert all(f"{label} ({why})" in str(caught.value) for label, why in others.items())


def test_how_many_subjects_there_are_tells_two_pairs_apart():
    labels = ["EEG1", "EMG1", "EEG2", "EMG2"]
    found = guess_subjects(labels, ("eeg", "emg"), n_subjects=2)
    assert [s.channels["emg"] for s in found] == ["EMG1", "EMG2"]
    with pytest.raises(ConfigError, match="expected labels that tell"):
        guess_subjects(labels, ("eeg", "emg"), n_subjects=1)


def test_as_many_channels_as_subjects_are_named():
    with pytest.raises(ConfigError, match="found 2 × --eeg, 1 × --emg for 2 subjects"):
        named_subjects({"eeg": ["a", "b"], "emg": ["c"], "eog": []}, [], "mouse")
    with pytest.raises(ConfigError, match="found 1 × --eeg for 2 subjects"):
        named_subjects({"eeg": ["a"]}, ["m1", "m2"], "mouse")


def test_a_unit_can_be_set_where_the_file_has_none_or_a_wrong_one(tmp_path, bundle):
    silent = write_night(tmp_path / "silent.edf", unit="")
    with pytest.raises(RecordingError, match="found no unit; give --unit µV"):
        score(silent, *BOTH, "--bundle", bundle)
    assert "m2" in score(silent, *BOTH, "--bundle", bundle, "--unit", "uV")
    wrong = write_night(tmp_path / "wrong.edf", unit="uV", scale=0.05)
    for unit in ([], ["--unit", "µV"]):
        with pytest.raises(RecordingError, match=r"eeg of m1 .* look like mV: give --unit mV"):
            score(wrong, *BOTH, "--bundle", bundle, *unit)
    right = score(wrong, *BOTH, "--bundle", bundle, "--unit", "mV", "--json")
    assert sum(json.loads(right)["subjects"]["m2"]["seconds"][s] for s in MOUSE) == SECONDS


def write_modalities(path, **channels):
    """A night of a mouse whose EEG and EMG are so large, rms, in units of their own."""
    mouse = (
        SimulatedMice(seed=0, duration_s=SECONDS, sfreq=SFREQ).record().data.T.astype(np.float64)
    )
    written = [
        edfio.EdfSignal(x * rms / x.std(), SFREQ, label=label, physical_dimension=unit)
        for x, (label, (rms, unit)) in zip(mouse, channels.items(), strict=True)
    ]
    edfio.Edf(written, data_record_duration=1).write(path)
    return path


@pytest.mark.parametrize(
    ("eeg", "emg", "given", "sentence", "right"),
    [
        ((50, "uV"), (0.05, "uV"), [], r"emg of m1 .* look like mV: give --unit EMG=mV$", "EMG=mV"),
        ((0.05, "uV"), (50, "uV"), [], r"eeg of m1 .* look like mV: give --unit EEG=mV$", "EEG=mV"),
        ((50, "uV"), (0.05, ""), [], r"'EMG' in V, .* no unit; give --unit EMG=µV, if", "emg=mV"),
        (
            (0.05, "x"),
            (50, "x"),
            ["--unit", "mV"],
            r"emg of m1 .* look like µV: give --unit EEG=mV,EMG=µV$",
            "EEG=mV,EMG=µV",
        ),
    ],
)
def test_where_one_modality_has_another_unit_what_to_type_is_said(
    tmp_path, bundle, eeg, emg, given, sentence, right
):
    night = write_modalities(tmp_path / "night.edf", EEG=eeg, EMG=emg)
    with pytest.raises(RecordingError, match=sentence):
        score(night, "--bundle", bundle, *given)
    found = json.loads(score(night, "--bundle", bundle, "--unit", right, "--json"))
    assert sum(found["subjects"]["m1"]["seconds"][s] for s in MOUSE) == SECONDS


@pytest.mark.parametrize("unit", ["furlong", "EMG=", "=mV", "EMG=mV,", "EMG=mV,V", ""])
def test_a_unit_that_is_none_says_how_it_is_typed(tmp_path, bundle, unit):
    night = write_modalities(tmp_path / "night.edf", EEG=(50, "uV"), EMG=(50, "uV"))
    with pytest.raises(ConfigError, match=r"--unit: expected V, .*, as in EMG=mV .* found"):
        score(night, "--bundle", bundle, "--unit", unit)
    with pytest.raises(ConfigError, match="unit: expected units of eeg and emg, found one of eog"):
        score(night, "--bundle", bundle, "--unit", "eog=mV")


def test_no_output_overwrites_an_input(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf")
    before = night.read_bytes()
    with pytest.raises(RecordingError, match=r"found night\.edf twice"):
        score(night, "--bundle", bundle, "--edf", "night.edf")
    with pytest.raises(RecordingError, match=r"found o\.csv twice"):
        score(night, "--bundle", bundle, "--csv", "o.csv", "--tsv", "o.csv")
    assert night.read_bytes() == before


def test_a_folder_that_is_not_there_is_told_before_staging(tmp_path):
    with pytest.raises(RecordingError, match=r"a folder to write to, found no .*nowhere"):
        score(tmp_path / "not-even-read.edf", "--csv", tmp_path / "nowhere" / "night.csv")


@pytest.mark.parametrize("epoch_s", ["0", "nan", "inf", "-4"])
def test_a_length_that_is_none_is_refused(tmp_path, bundle, epoch_s):
    write_night(tmp_path / "night.edf")
    with pytest.raises(ConfigError, match="--epoch-s: expected at least the 1 s between"):
        score("night.edf", *BOTH, "--bundle", bundle, "--epoch-s", epoch_s)


def test_too_short_a_recording_is_refused(tmp_path, bundle):
    wave = np.sin(np.arange(100.0))
    write_channels(tmp_path / "short.edf", [wave, wave], ("EEG", "EMG"), 200, record_s=0.5)
    with pytest.raises(RecordingError, match=r"at least one epoch of 1 s, found 0\.5 s"):
        score(tmp_path / "short.edf", "--bundle", bundle, "--unit", "uV")


def test_a_real_mouse_is_staged_but_where_it_was_not_recorded(shared_data, bundle):
    path = shared_data / "mouse_raw" / "mouse_eeg_emg_29min.edf"
    summary = json.loads(score(path, "--bundle", bundle, "--json", "--png", "o.png"))
    mouse = summary["subjects"]["m1"]
    assert (mouse["channels"], mouse["epochs"]) == ({"eeg": "EEG", "emg": "EMG"}, 1742)
    assert sum(mouse["seconds"][stage] for stage in MOUSE) > 1700
    assert Path("o.png").stat().st_size > 100_000


def test_a_person_is_refused_before_staging_unless_told(tmp_path, shared_data, bundle):
    person = shared_data / "human_raw" / "short_psg.edf"
    out = tmp_path / "o.csv"
    options = [person, "--eeg", "EEG Fpz-Cz", "--bundle", bundle, "--csv", out]
    done = forked.run("score", *options)
    assert done.returncode == SpeciesError.exit_code
    assert done.stderr.strip() == (
        f"hypnod: {person}: expected channels of a mouse, found EEG Fpz-Cz, EEG Pz-Oz, "
        "EOG horizontal, EMG submental: labels of a person, whom the bundle sleepdifformer-human "
        "stages (--species human, or species under [engine]); --anyway stages it all the same"
    )
    assert not out.exists()
    summary = json.loads(score(*options, "--anyway", "--json"))
    assert summary["contradictions"][0].startswith("expected channels of a mouse, found EEG Fpz")
    assert len(rows(out)) == 2 * 300
    assert "labels of a person" in score(*options, "--anyway")


@pytest.fixture(scope="module")
def long_night(tmp_path_factory):
    """Twelve minutes of a simulated mouse: as long as drift takes to be known."""
    path = tmp_path_factory.mktemp("long") / "night.edf"
    data = SimulatedMice(seed=0, duration_s=720, sfreq=128.0).record().data.T
    return write_channels(path, data, ("EEG1", "EMG1"), 128)


def test_drift_is_told_of_each_animal(tmp_path, long_night):
    bundle = make_bundle(tmp_path, **TINY)
    change_manifest(bundle, reference=any_reference(open_bundle(bundle).spec))
    options = [long_night, "--bundle", bundle]
    drift = json.loads(score(*options, "--json"))["subjects"]["m1"]["drift"]
    assert [*drift] == ["eeg", "emg"]
    for found in drift.values():
        assert 0 < found["median"] < 1
        assert (found["beyond"], found["why"], found["doubtful"]) == (0.0, None, False)
    text = score(*options)
    assert f"m1: drift eeg {drift['eeg']['median']:.2f}, above 1 for 0 % of the time; emg" in text


def test_an_animal_unlike_all_that_the_model_knows_is_refused_unless_told(tmp_path, long_night):
    bundle = make_bundle(tmp_path, **TINY)
    change_manifest(bundle, reference=any_reference(open_bundle(bundle).spec, mean=-9.0, sd=1.0))
    options = [long_night, "--bundle", bundle, "--csv", "o.csv"]
    with pytest.raises(SpeciesError, match=r"night.edf: eeg of m1 looks unlike .* times the limit"):
        score(*options)
    assert not Path("o.csv").exists()
    summary = json.loads(score(*options, "--anyway", "--json"))
    eeg = summary["subjects"]["m1"]["drift"]["eeg"]
    assert (eeg["beyond"], eeg["doubtful"]) == (1.0, True)
    assert eeg["median"] > 1
    assert "SD" in eeg["why"]
    assert summary["contradictions"][0].startswith("eeg of m1 looks unlike")
    assert "(at its farthest " in score(*options, "--anyway")


def test_a_bundle_without_a_reference_tells_no_drift(long_night, bundle):
    summary = json.loads(score(long_night, "--bundle", bundle, "--json"))
    assert (summary["subjects"]["m1"]["drift"], summary["contradictions"]) == ({}, [])


def test_the_offline_teacher_is_named_in_every_output(tmp_path, monkeypatch):
    night = write_night(tmp_path / "night.edf")
    outputs = {name: tmp_path / f"out.{name}" for name in ("csv", "edf", "tsv", "png")}
    options = [part for name, path in outputs.items() for part in (f"--{name}", path)]
    drawn = []
    monkeypatch.setattr("tools.view.night.plot_night", lambda _, night: drawn.append(night))
    summary = json.loads(score(night, *BOTH, "--offline", "--json", *options))
    said = (summary["bundle"], summary["kind"], summary["model"])
    assert said == (NAME, NAME, teacher_hash("mouse")[:12])
    table = rows(outputs["csv"])
    assert {row["kind"] for row in table} == {NAME}
    assert len(table) == 2 * SECONDS
    whom = f"{NAME} {teacher_hash('mouse')[:12]}"
    assert [night.subtitle for night in drawn] == [whom, whom]
    assert read_edf_annotations(outputs["edf"])[0][0].text == f"staged by hypnod: {whom}"
    for each in (table, rows(outputs["tsv"], "\t")):
        assert {row["staged_by"] for row in each} == {f"hypnod: {whom}"}
    assert f"{NAME} stages of" in " ".join(score(night, *BOTH, "--offline").split())
    for name, subject in summary["subjects"].items():
        stages = [row["stage"] for row in table if row["subject"] == name]
        assert subject["seconds"] == {s: stages.count(s) for s in (*MOUSE, ART, UNKNOWN)}
        for output in ("csv", "edf", "tsv"):
            read = read_hypnogram(outputs[output], MOUSE, subject=name)
            assert read.to_epochs(1.0, SECONDS) == stages


def test_the_offline_teacher_refuses_what_it_does_not_use_or_lacks(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf", ("EEG",))
    with pytest.raises(RecordingError, match=r"m1: expected eeg and emg .* found no emg"):
        score(night, "--offline")
    for options in (["--bundle", bundle], ["--kind", "live"], ["--engine", "torch"]):
        with pytest.raises(ConfigError, match="expected --offline without --bundle"):
            score(night, "--offline", *options)


def test_what_was_read_of_a_hypnogram_is_said(tmp_path, bundle):
    night = write_night(tmp_path / "night.edf", ("EEG", "EMG"))
    labels = ["Quiet wake"] * 4 + ["NREM sleep"] * 4 + ["IS"] + ["?"]
    Path("expert.csv").write_text("\n".join(["stage", *labels]))
    options = ["--bundle", bundle, "--hypnogram", "expert.csv", "--hypnogram-epoch", 4]
    with pytest.raises(RecordingError, match=r"expert\.csv: row 10: .*found the stage 'IS'"):
        score(night, *options)
    text = " ".join(score(night, *options, "--ignore", "IS").split())
    assert "expert.csv: Wake 16 s = 'Quiet wake', NREM 16 s = 'NREM sleep', UNKNOWN" in text
    assert "expert.csv: not read: 'IS' 1 × 4 s (ignored)" in text
    subject = json.loads(score(night, *options, "--codes", "IS=NREM", "--json"))["subjects"]["m1"]
    read = {each["label"]: (each["stage"], each["n"]) for each in subject["hypnogram"]["labels"]}
    assert read == {
        "Quiet wake": ("Wake", 4),
        "NREM sleep": ("NREM", 4),
        "IS": ("NREM", 1),
        "?": (UNKNOWN, 1),
    }


@pytest.mark.parametrize(
    ("option", "name"),
    [("--csv", "night.csv"), ("--tsv", "night_events.tsv"), ("--edf", "night_hypnogram.edf")],
)
def test_nothing_is_written_where_an_experts_hypnogram_is_looked_for(
    tmp_path, bundle, option, name
):
    night = write_night(tmp_path / "night.edf")
    with pytest.raises(RecordingError, match=r"where evaluate and train look .*/night-staged\."):
        score(night, "--bundle", bundle, option, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["night.edf"]


def test_a_slower_emg_is_read_with_the_eeg_and_what_is_left_out_is_said(tmp_path, bundle):
    data = SimulatedMice(seed=0, duration_s=SECONDS, sfreq=256).record().data.T.astype(np.float64)
    rates = {"EEG": (256, data[0]), "EMG": (128, data[1, ::2]), "Temp": (1, data[0, ::256])}
    written = [
        edfio.EdfSignal(x, sfreq, label=label, physical_dimension="uV")
        for label, (sfreq, x) in rates.items()
    ]
    edfio.Edf(written, data_record_duration=1).write(tmp_path / "night.edf")
    with (tmp_path / "night.edf").open("ab") as file:
        file.write(b"cut")
    summary = json.loads(score("night.edf", "--bundle", bundle, "--json"))
    assert summary["subjects"]["m1"]["channels"] == {"eeg": "EEG", "emg": "EMG"}
    assert [*summary["subjects"]["m1"]["pathways"]] == ["mixed"]
    assert summary["skipped"] == {"Temp": "1 Hz, too slow to be staged"}
    assert summary["flaws"] == ["its last 3 bytes are no whole data record of 770 bytes"]

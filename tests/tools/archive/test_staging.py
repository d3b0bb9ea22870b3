"""What a worker makes of one recording, without any cluster."""

import os
import shutil
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from engines.bundle import open_bundle
from engines.select import open_engine
from models.errors import ConfigError, HypnodError, RecordingError, SpeciesError
from models.recordings.find import hash_file
from models.recordings.open import open_recording
from tests.support.archive import run_without_rights, write_night
from tests.support.recordings.wfdb import write_record
from tools.archive.estimates import read_estimates
from tools.archive.folder import ArchiveFolder
from tools.archive.jobs import find_jobs, is_settled, listed, to_do
from tools.archive.rules import ArchiveRules, RecordingRule, load_rules, settle
from tools.archive.staging import stage_job
from tools.archive.status import read_status
from tools.cluster.errors import ClusterError
from tools.score.offline import stage_recording

TWO = ("EEG m1", "EMG m1", "EEG m2", "EMG m2")


def jobs_of(*folders, out, bundle, rules=None):
    return find_jobs(folders, rules or ArchiveRules(), bundle, out)[0]


def stage_one(folder, out, bundle, **rule):
    (job,) = jobs_of(
        folder, out=out, bundle=bundle, rules=ArchiveRules(recordings=(RecordingRule(**rule),))
    )
    return job, stage_job(job)


def test_the_estimates_are_those_of_score(tmp_path, bundle):
    night = write_night(tmp_path / "lab" / "sub-07" / "night.edf", 30, TWO)
    job, sidecar = stage_one(tmp_path / "lab", tmp_path / "out", bundle)
    assert (job.name, job.subject) == ("lab/sub-07/night.edf", "sub-07")
    written, found = read_estimates(ArchiveFolder(job.out).estimates_path(job.name))
    opened = open_bundle(bundle)
    stream = settle(night, RecordingRule(), opened.spec).stream
    with open_engine(opened, "onnxruntime", n_rows=2, n_read=5) as engine:
        staged = stage_recording(
            open_recording(night),
            stream,
            engine,
            reference=opened.manifest.reference,
            grammar=opened.manifest.grammar,
        )
        expected = [e for _, new in staged for e in new]
    key = lambda e: (e.subject[-2:], e.kind, e.hop)  # noqa: E731
    assert len(found) == len(expected) == 120
    for one, other in zip(sorted(found, key=key), sorted(expected, key=key), strict=True):
        assert one.subject == f"sub-07/{other.subject}"
        for name in ("kind", "hop", "onset", "stage", "pathway", "reason", "slots_filled"):
            assert getattr(one, name) == getattr(other, name), name
        assert one.validity == other.validity
        assert (one.drift is None) == (other.drift is None)
        assert one.drift is None or one.drift == pytest.approx(other.drift, rel=1e-6)
        if other.probabilities is not None:
            np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=0, atol=1e-6)
            np.testing.assert_allclose(one.evidence, other.evidence, rtol=0, atol=1e-6)
    assert written.stages == opened.spec.stages
    finals = [e.stage for e in found if e.subject == "sub-07/m2" and e.kind == "final"]
    told = sidecar.summary.subjects["sub-07/m2"]
    assert told.epochs == len(finals) == 30
    assert told.seconds["NREM"] == finals.count("NREM")
    assert sum(sidecar.bouts["sub-07/m2"].n.values()) >= 1


def test_only_what_has_changed_is_staged_again(tmp_path, bundle):
    night = write_night(tmp_path / "lab" / "a.edf")
    out = tmp_path / "out"
    folder = ArchiveFolder(out)
    job, first = stage_one(tmp_path / "lab", out, bundle)
    assert is_settled(job, folder.read(job.name))
    estimates = folder.estimates_path(job.name)
    made = estimates.stat().st_ino
    assert stage_job(job) == first  # what another worker did is not done again
    os.utime(night, ns=(1, 1))
    (job,) = jobs_of(tmp_path / "lab", out=out, bundle=bundle)
    assert to_do(folder, [job], again=False) == [job]
    touched = stage_job(job)
    assert touched == msgspec.structs.replace(first, source=touched.source)
    assert estimates.stat().st_ino == made
    assert to_do(folder, [job], again=False) == []
    write_night(night, seconds=13)
    (job,) = jobs_of(tmp_path / "lab", out=out, bundle=bundle)
    assert stage_job(job).summary.duration_s == 13
    for changed in (
        msgspec.structs.replace(job, follows=msgspec.structs.replace(job.follows, bundle="x")),
        msgspec.structs.replace(job, follows=msgspec.structs.replace(job.follows, hypnod="0.0")),
        msgspec.structs.replace(job, subject="other"),
    ):
        assert to_do(folder, [changed], again=False) == [changed]
    estimates.write_bytes(b"cut short")
    assert to_do(folder, [job], again=False) == [job]


def test_other_samples_beside_the_same_header_are_staged_again(tmp_path, bundle):
    rng = np.random.default_rng(0)
    record = tmp_path / "lab" / "a.hea"
    write_record(record, {name: rng.normal(0, 30, 2600) for name in ("EEG", "EMG")})
    out = tmp_path / "out"
    folder = ArchiveFolder(out)
    (job,) = jobs_of(tmp_path / "lab", out=out, bundle=bundle)
    stage_job(job)
    assert to_do(folder, [job], again=False) == []
    with record.with_suffix(".mat").open("ab") as samples:
        samples.write(bytes(4))
    (job,) = jobs_of(tmp_path / "lab", out=out, bundle=bundle)
    assert to_do(folder, [job], again=False) == [job]


def test_a_sidecar_states_what_it_follows_from(tmp_path, bundle):
    write_night(tmp_path / "lab" / "a.edf")
    job, sidecar = stage_one(tmp_path / "lab", tmp_path / "out", bundle)
    assert sidecar.source.sha256 == hash_file(tmp_path / "lab" / "a.edf")
    assert sidecar.follows.bundle == open_bundle(bundle).hash
    assert sidecar.follows.hypnod == metadata.version("hypnod")
    folder = ArchiveFolder(job.out)
    assert sidecar.estimates.sha256 == hash_file(folder.estimates_path(job.name))
    assert (
        sidecar.estimates.rows == pq.read_metadata(folder.estimates_path(job.name)).num_rows == 24
    )
    assert folder.read(job.name) == sidecar
    assert [p.name for p in folder.path.rglob(".*")] == []


@pytest.mark.parametrize(
    ("labels", "rule", "error", "sentence"),
    [
        (("A", "B"), {}, ConfigError, "expected labels that tell"),
        (("EEG", "EMG", "EOG"), {}, SpeciesError, "anyway = true of its entry in archive.toml"),
        (("EEG", "EMG"), {"unit": "V"}, HypnodError, "V"),
    ],
)
def test_what_score_refuses_is_refused(tmp_path, bundle, labels, rule, error, sentence):
    write_night(tmp_path / "lab" / "a.edf", labels=labels)
    with pytest.raises(error, match=sentence):
        stage_one(tmp_path / "lab", tmp_path / "out", bundle, **rule)
    assert not any(p.is_file() for p in (tmp_path / "out").rglob("*"))


def test_a_recording_that_is_still_written_is_refused(tmp_path, bundle):
    night = write_night(tmp_path / "lab" / "a.edf")
    (job,) = jobs_of(tmp_path / "lab", out=tmp_path / "out", bundle=bundle)
    os.utime(night)
    with pytest.raises(RecordingError, match="written to while it was staged"):
        stage_job(job)
    assert ArchiveFolder(job.out).read(job.name) is None


RULES = """
[bundles]
rat = "rat-bundle"

[[recordings]]
files = "rats/*.edf"
species = "rat"
subject = '/r(\\d+)_'
subjects = [{ name = "rat", channels = { eeg = "F?", emg = "N*1-N*2" } }]
unit = "mV"

[[recordings]]
files = "mice/*"
"""


def test_patterns_say_how_recordings_are_read(tmp_path, bundle):
    (tmp_path / "archive.toml").write_text(RULES, encoding="utf-8")
    shutil.copytree(bundle, tmp_path / "rat-bundle")
    labels = ("F3x", "Neck1", "F4", "Neck2", "REF")
    write_night(tmp_path / "lab" / "rats" / "r12_day.edf", labels=labels, unit="uV", scale=1e-3)
    write_night(tmp_path / "lab" / "mice" / "m1.edf")
    write_night(tmp_path / "lab" / "other" / "x.edf")
    rules = load_rules(tmp_path / "archive.toml")
    jobs, left, _ = find_jobs([tmp_path / "lab"], rules, None, tmp_path / "out")
    assert left == [str(tmp_path / "lab" / "other" / "x.edf")]
    mouse, rat = jobs
    assert mouse.bundle is None
    assert (rat.subject, rat.bundle) == ("12", tmp_path / "rat-bundle")
    sidecar = stage_job(
        msgspec.structs.replace(rat, rule=msgspec.structs.replace(rat.rule, anyway=True))
    )
    channels = sidecar.summary.subjects["12"].channels
    assert channels == {"eeg": "F4", "emg": "Neck1-Neck2"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[recordings]]\nfile = 'x'", "unknown key 'file' in recordings.*did you mean 'files'"),
        ("[[recordings]]\nsubject = '('", "expected a regular expression as subject"),
        ("[[recordings]]\nsubject = 'x'", "expected one group in the regular expression"),
        ("[[recordings]]\nunit = 'kV'", "recordings.*unit"),
        (
            "[[recordings]]\nsubjects = [" + 2 * "{ name = 'm', channels = { eeg = 'A' } }, " + "]",
            "expected subjects of different names, found m, m",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "archive.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence):
        load_rules(tmp_path / "archive.toml")


def test_a_pattern_that_several_channels_fit_is_refused(tmp_path, bundle):
    write_night(tmp_path / "lab" / "a.edf", labels=TWO)
    rule = {"subjects": [{"name": "m", "channels": {"eeg": "EEG*", "emg": "EMG m1"}}]}
    rules = msgspec.convert({"recordings": [rule]}, ArchiveRules)
    (job,) = jobs_of(tmp_path / "lab", out=tmp_path / "out", bundle=bundle, rules=rules)
    with pytest.raises(
        ConfigError, match=r"eeg of m: expected one channel like 'EEG\*', found EEG m1, EEG m2"
    ):
        stage_job(job)


def test_labels_that_do_not_tell_are_said_with_what_an_archive_has(tmp_path, bundle):
    write_night(tmp_path / "lab" / "a.edf", labels=("1", "2"))
    (job,) = jobs_of(tmp_path / "lab", out=tmp_path / "out", bundle=bundle)
    with pytest.raises(
        ConfigError, match=r"name them.*in an archive by its entry in archive\.toml"
    ):
        stage_job(job)


def test_a_recording_that_is_there_twice_is_told(tmp_path, bundle):
    night = write_night(tmp_path / "lab" / "m1" / "night.edf")
    (tmp_path / "lab" / "old").mkdir()
    shutil.copyfile(night, tmp_path / "lab" / "old" / "copy.edf")
    write_night(tmp_path / "lab" / "m2" / "night.edf", seed=1)
    jobs = jobs_of(tmp_path / "lab", out=tmp_path / "out", bundle=bundle)
    for job in jobs:
        stage_job(job)
    folder = ArchiveFolder(tmp_path / "out")
    folder.list([*map(listed, jobs)], [tmp_path / "lab"], None)
    assert read_status(folder).copies == {"lab/old/copy.edf": "lab/m1/night.edf"}


def test_a_path_that_cannot_be_used_is_one_row_of_many(tmp_path, bundle):
    night = write_night(tmp_path / "lab" / "r1_a.edf")
    latin = os.fsdecode("r2_m\xe4use.edf".encode("latin-1"))
    for name in (latin, "r3_" + 240 * "x" + ".edf", "nobody.edf"):
        shutil.copyfile(night, tmp_path / "lab" / name)
    rules = ArchiveRules(recordings=(RecordingRule(subject=r"(r\d)_"),))
    jobs, _, unusable = find_jobs([tmp_path / "lab"], rules, bundle, tmp_path / "out")
    assert [job.name for job in jobs] == ["lab/r1_a.edf"]
    sentences = {problem.recording: problem.sentence for problem in unusable}
    assert "expected a subject by the regular expression" in sentences["lab/nobody.edf"]
    assert "expected a path in UTF-8" in sentences[r"lab/r2_m\xe4use.edf"]
    (long,) = (text for name, text in sentences.items() if "r3_" in name)
    assert "expected a name of at most 220 bytes" in long
    folder = ArchiveFolder(tmp_path / "out")
    folder.list([], [tmp_path / "lab"], None, unusable)
    assert read_status(folder).problems == tuple(unusable)


def test_a_folder_that_nobody_may_search_is_told(tmp_path):
    lab, out = tmp_path / "lab", tmp_path / "out"
    (lab / "denied").mkdir(parents=True)
    (lab / (240 * "x" + ".edf")).write_bytes(b"")
    (lab / "denied").chmod(0)
    (lab / "listed").mkdir()
    (lab / "listed" / "a.edf").touch()
    (lab / "listed").chmod(0o444)  # its names may be read, and no more
    found = run_without_rights("archive", "score", str(lab), "--out", str(out))
    assert found.returncode == 6, found.stderr
    _, denied, listed, long = found.stdout.splitlines()  # a sentence a line, however long it is
    assert listed.startswith("lab/listed/a.edf: [Errno 13] Permission denied")
    assert denied.startswith("lab/denied: expected a folder that can be searched, found")
    assert long.endswith("rename it")


def test_two_folders_of_one_name_are_refused(tmp_path, bundle):
    for lab in ("a", "b"):
        write_night(tmp_path / lab / "lab" / "n.edf")
    with pytest.raises(ConfigError, match="expected folders of different names"):
        jobs_of(tmp_path / "a" / "lab", tmp_path / "b" / "lab", out=tmp_path, bundle=bundle)


def test_the_root_of_all_has_no_name_to_call_recordings_by(tmp_path):
    with pytest.raises(ConfigError, match="expected a folder with a name"):
        jobs_of(Path("/"), out=tmp_path, bundle=None)


def test_a_link_to_a_recording_that_is_not_there_is_told(tmp_path, bundle):
    write_night(tmp_path / "lab" / "a.edf")
    (tmp_path / "lab" / "b.edf").symlink_to("../store/b.edf")  # as git-annex has what is elsewhere
    (tmp_path / "lab" / "c.edf").symlink_to("c.edf")
    jobs, _, unusable = find_jobs([tmp_path / "lab"], ArchiveRules(), bundle, tmp_path / "out")
    assert [job.name for job in jobs] == ["lab/a.edf"]
    assert {p.recording: p.sentence for p in unusable} == {
        "lab/b.edf": "expected a recording, found a link to nothing: No such file or directory",
        "lab/c.edf": "expected a recording, found a link to nothing: Too many levels of symbolic "
        "links",
    }


def test_one_bundle_is_not_for_all_species(tmp_path, bundle):
    write_night(tmp_path / "lab" / "a.edf")
    rules = ArchiveRules(recordings=(RecordingRule(species="human"),))
    with pytest.raises(
        ConfigError, match=r"a bundle of the species human.* found one of the species mouse: .*\[bu"
    ):
        jobs_of(tmp_path / "lab", out=tmp_path / "out", bundle=bundle, rules=rules)


def test_another_version_does_not_stage_in_the_name_of_this_one(tmp_path, bundle):
    write_night(tmp_path / "lab" / "a.edf")
    (job,) = jobs_of(tmp_path / "lab", out=tmp_path / "out", bundle=bundle)
    other = msgspec.structs.replace(job, follows=msgspec.structs.replace(job.follows, hypnod="9.9"))
    with pytest.raises(ClusterError, match=r"expected hypnod 9\.9 as on the machine where"):
        stage_job(other)


def test_links_are_called_what_they_are_called(tmp_path, bundle):
    real = write_night(tmp_path / "store" / "0af3.edf")
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "night.edf").symlink_to(real)
    (job,) = jobs_of(tmp_path / "lab", out=tmp_path / "out", bundle=bundle)
    assert job.name == "lab/night.edf"

"""Channels that say it is a person, in front of a model of mice: said, and staged all the same."""

import msgspec
import pytest
from structlog.testing import capture_logs

from daemon.config import load_config
from daemon.metrics import Metrics
from daemon.service import Service
from engines.errors import BundleError
from tests.rigs.daemon import Daemon, Listener, one_stream, write_config
from tests.rigs.lsl import Source, wait_until
from tests.rigs.stream import SFREQ, Rig
from tests.support.bundles import human_spec, make_bundle_of
from tools.daemon_process import to_toml

WORDS = (
    "expected channels of a mouse, found EOG horizontal: labels of a person, whom the bundle "
    "sleepdifformer-human stages (--species human, or species under [engine])"
)

PERSON = {"name": "p1", "channels": {"eog": "EOG"}}
ALONE = "no EEG of p1: staged by the EOG alone, which nobody has measured on real people"


def said(rig):
    return [message.reason for message in rig.said]


def test_labels_of_a_person_are_said_until_a_source_without_them_comes(name):
    labels = ["EEG", "EMG", "EOG horizontal"]
    with Rig(name) as rig:
        with (
            capture_logs() as logs,
            Source(name, sfreq=SFREQ, n_channels=3, labels=labels, source_id="one") as person,
        ):
            rig.until_connected()
            rig.push(person, 0.0, 2.0, channels=(0, 1, 0))
            rig.until_epoch(0)
            wait_until(lambda: rig.poll() or WORDS in said(rig), WORDS)
        (entry,) = [e for e in logs if e["event"] == "the labels contradict the model"]
        assert (entry["log_level"], entry["why"]) == ("warning", WORDS)
        assert f"lab: {WORDS}" in rig.stream._states._describe()
        with Source(name, sfreq=SFREQ, source_id="one"):
            rig.until_connected(2)
            assert "person" not in rig.stream._states._describe()
        assert said(rig).count(WORDS) == 1


@pytest.mark.usefixtures("source")
def test_labels_of_a_mouse_are_no_matter(rig):
    assert not any("labels of a person" in reason for reason in said(rig))


def test_that_a_person_is_staged_by_the_eog_alone_is_said(name, tmp_path):
    people = {"name": "lab", "match": {"name": name}, "subjects": [PERSON]}
    bundle = make_bundle_of(human_spec(), tmp_path)
    with Daemon(tmp_path, f"[[streams]]\n{to_toml(people)}\n", bundle) as daemon:
        daemon.listen()
        with (
            Listener(daemon.endpoint, "stream.") as subscriber,
            Source(name, sfreq=SFREQ, labels=("EEG", "EOG")),
        ):
            subscriber.until(lambda m: m.reason == ALONE)


def test_a_bundle_of_another_species_than_the_config_asks_for_ends_the_start(tmp_path, bundle):
    config = load_config(write_config(tmp_path, one_stream("any"), bundle))
    engine = msgspec.structs.replace(config.engine, species="human")
    config = msgspec.structs.replace(config, engine=engine)
    with pytest.raises(BundleError, match="a bundle of the species human, found one of the specie"):
        Service(config, Metrics()).run()

"""Reading a file that authors of a model wrote, or that somebody says they wrote."""

import argparse
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.checkpoint import find_authors, read_checkpoint
from models.errors import HypnodError, WeightsError
from models.sdreamer.authors import Variant
from tests.support.bundles import TINY, human_spec, mouse_spec, random_model
from tests.support.checkpoints import released_weights, to_authors

N_DAMAGED = 60


@pytest.fixture
def weights() -> dict[str, Tensor]:
    spec = mouse_spec(5, **TINY, separate_epochs=True)
    return to_authors(random_model(spec, 0), Variant.APP)


def read(path: Path) -> nn.Module:
    checkpoint = read_checkpoint(path)
    authors, _ = find_authors(checkpoint)
    model: nn.Module = authors.load_net(checkpoint, authors.read_spec(checkpoint))[0]
    return model


def test_the_model_is_found_by_the_names(weights: dict[str, Tensor], tmp_path: Path) -> None:
    found = []
    for each in (weights, released_weights(random_model(human_spec(layers=1), 0), 3)):
        torch.save(each, tmp_path / "x.pt")
        authors, net = find_authors(read_checkpoint(tmp_path / "x.pt"))
        found.append((authors.__name__, net))
    assert found == [
        ("models.sdreamer.authors", "sDREAMER, the scoring app's net"),
        (
            "models.sleepdifformer.authors",
            "SleepDIFFormer as its released code computes, by the last layer alone",
        ),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"fc.weight": torch.ones(2, 2)}, "one of sdreamer, sleepdifformer, found fc.weight …"),
        ({"state_dict": [1, 2]}, "expected a state dict, found list"),
        ({"state_dict": {}}, "expected a state dict, found dict"),
        ([torch.ones(2)], "expected a state dict, found list"),
        ({"args": argparse.Namespace()}, "argparse.Namespace in it, which is refused"),
        (nn.Linear(2, 2), "Linear in it, which is refused"),
    ],
)
def test_what_is_no_checkpoint_is_said(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=message):
        read(tmp_path / "x.pt")


class Harmful:
    """Its pickle writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("save", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))])
def test_code_in_a_checkpoint_is_not_run(save: Any, tmp_path: Path) -> None:
    save({"state_dict": Harmful(tmp_path / "harm")}, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="expected a checkpoint of torch, found"):
        read_checkpoint(tmp_path / "x.pt")
    assert not (tmp_path / "harm").exists()


def damage(content: bytes, rng: random.Random) -> bytes:
    """Cut a file short, or change some of its bytes, most of them where the pickle is."""
    if rng.random() < 0.3:
        return content[: rng.randrange(len(content))]
    damaged = bytearray(content)
    for _ in range(rng.randrange(1, 40)):
        damaged[rng.randrange(rng.choice([2000, len(content)]))] = rng.randrange(256)
    return bytes(damaged)


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_are_one_sentence(
    weights: dict[str, Tensor], zipped: bool, tmp_path: Path
) -> None:
    path, rng, messages = tmp_path / "x.pth.tar", random.Random(0), []
    torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for _ in range(N_DAMAGED):
        path.write_bytes(damage(whole, rng))
        try:
            read(path)
        except HypnodError as error:
            messages.append(str(error))
    assert len(messages) > 0.6 * N_DAMAGED
    assert not any("\n" in message for message in messages)
    assert max(map(len, messages)) < 300 + len(str(path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"weights", bytes(5000)])
def test_other_files_are_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth.tar").write_bytes(content)
    for path in (tmp_path / "x.pth.tar", tmp_path / "none", tmp_path):
        with pytest.raises(WeightsError, match="expected a") as refused:
            read_checkpoint(path)
        assert "\n" not in str(refused.value)

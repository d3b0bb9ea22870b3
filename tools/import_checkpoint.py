"""`hypnod import`: a checkpoint of a model's authors becomes a bundle."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from models.spec import ModelSpec
from tools.shared.train_extra import train_extra

_SHOWN = 8  # unused weights, of those that a person is told


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a checkpoint, and made of it."""

    bundle: str
    """The bundle's folder."""
    net: str
    """Which of the authors' nets it is."""
    n_parameters: int
    """Numbers that were learnt, all of them used."""
    weights_not_used: tuple[str, ...]
    """Names of weights that the authors' net holds too and never uses."""
    sha256: str
    """Of the checkpoint."""
    notes: dict[str, str]
    """What the checkpoint says of itself."""
    spec: ModelSpec
    """What the model expects and gives."""


def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="The file, such as model_best.pth.tar.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The bundle's folder, which is new.")],
    name: Annotated[str, typer.Option(help="The bundle's name; default: its folder's.")] = "",
    highpass: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=20.0,
            help="High-pass, Hz; default: 0.1 of sDREAMER, 0.3 of SleepDIFFormer.",
        ),
    ] = None,
    lowpass: Annotated[
        float | None,
        typer.Option(
            min=30.0,
            help="Low-pass, Hz; default: 0.45 of the net's rate of sDREAMER, 35 of SleepDIFFormer.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Make a bundle of a **checkpoint** of the authors of sDREAMER or SleepDIFFormer.

    Of sDREAMER it reads the hierarchical net of the paper and the net that the authors' scoring app
    ships weights for; of SleepDIFFormer the released net; with any context window. Which it is
    follows from the names of the weights. Nothing in the file is run. docs/import.md leads from a
    checkpoint to live stages, and says how signals are prepared here and how they were in training.

        hypnod import model_best.pth.tar --out bundles/lab

        hypnod score night.edf --bundle bundles/lab --png night.png

    If signals were filtered before training, give the same band as --highpass and --lowpass.

    Exit code 4 where the file is no such checkpoint.
    """
    if out.exists():
        raise typer.BadParameter(f"--out: expected a new folder, found {out}")
    imported = _import(checkpoint, out, name or out.resolve().name, (highpass, lowpass))
    if as_json:
        typer.echo(msgspec.json.encode(imported).decode())
    else:
        _print(imported)


def _import(path: Path, out: Path, name: str, band: tuple[float | None, float | None]) -> Imported:
    """Write the bundle and say what it is made of."""
    with train_extra():
        from models.checkpoint import (  # noqa: PLC0415
            describe_origin,
            find_authors,
            read_checkpoint,
        )
        from models.training.export import export_bundle  # noqa: PLC0415
    checkpoint = read_checkpoint(path)
    authors, net = find_authors(checkpoint)
    spec = authors.read_spec(checkpoint, *band)
    model, unused = authors.load_net(checkpoint, spec)
    with Console(stderr=True).status("writing the bundle, which takes up to a minute"):
        origin = describe_origin(checkpoint, net, unused, authors.ASSUMED)
        export_bundle(model, spec, out, name, origin)
    return Imported(
        bundle=str(out),
        net=str(net),
        n_parameters=sum(p.numel() for p in model.parameters()),
        weights_not_used=tuple(unused),
        sha256=checkpoint.sha256,
        notes=checkpoint.notes,
        spec=spec,
    )


def _print(imported: Imported) -> None:
    """Tell a person what was recognised, what is not known and what to do next."""
    spec, band, unused = imported.spec, imported.spec.bands[0], imported.weights_not_used
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for name, text in (
        ("found", f"{imported.net}, {imported.n_parameters:,} parameters, all used"),
        *(("unused", weight) for weight in unused[:_SHOWN]),
        *([("", f"and {len(unused) - _SHOWN} more, see --json")] if len(unused) > _SHOWN else []),
        *(("note", f"{key} {value}") for key, value in imported.notes.items()),
        ("expects", f"{' and '.join(spec.modalities)} in epochs of {spec.epoch_s:g} s"),
        ("", f"at {spec.sfreq:g} Hz, {spec.n_context} in the context window"),
        ("filter", f"causal, {band.highpass_hz:g} to {band.lowpass_hz:g} Hz"),
        ("scale", "divided by the running standard deviation"),
        ("not known", "what it was trained on, how well it does, how its signals were prepared:"),
        ("", "score a recording whose stages you know before you trust it"),
        ("written", imported.bundle),
        ("next", f"hypnod score night.edf --bundle {imported.bundle}"),
        ("", f'hypnod.toml: [engine] bundle = "{Path(imported.bundle).resolve()}"'),
        ("", "hypnod doctor --config hypnod.toml"),
    ):
        console.print(f"{name:10} {text}")

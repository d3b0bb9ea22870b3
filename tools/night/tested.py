"""What is known of how often a bundle is right: what its own test found."""

from collections.abc import Iterable, Iterator

from engines.bundle import open_bundle
from models.spec import MIXED
from models.species import SHIPPED


def tested(models: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each model that is a bundle shipped with hypnod.

    Args:
        models: the first digits of the SHA-256 of bundles.

    Raises:
        BundleError: a shipped bundle was altered.
    """
    shipped = {bundle.hash: bundle for bundle in (open_bundle(species=s) for s in SHIPPED)}
    for model in models:
        for found, bundle in shipped.items():
            if found.startswith(model):
                told = bundle.manifest.provenance
                figures = [v for k, v in told.items() if k.startswith(f"test, {MIXED} final")]
                by = f" (stages by {told['stages by']})" if "stages by" in told else ""
                yield (
                    f"{bundle.manifest.name} {model}, final, of {told['tested']}, that it never "
                    f"saw, out of {told['data']}{by}: {'; '.join(figures)}."
                )

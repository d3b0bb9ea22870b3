import msgspec

from engines.bundle import open_bundle
from models.spec import SPEC_FILE
from tests.rigs.accuracy.drift_table import main
from tests.support.bundles import TINY, make_bundle


def test_the_table_has_a_row_for_all_that_is_measured(tmp_path, capsys):
    bundle = make_bundle(tmp_path, n_context=5, **TINY)
    manifest = open_bundle(bundle).manifest
    spec = msgspec.structs.replace(manifest.spec, normaliser_s=30.0)
    manifest = msgspec.structs.replace(manifest, spec=spec)
    (bundle / SPEC_FILE).write_bytes(msgspec.json.encode(manifest))
    small = ["--bundle", str(bundle), "--unseen", "1", "--minutes", "0.5"]
    assert main(small) == 1
    assert "expected --fit N" in capsys.readouterr().err
    assert main([*small, "--fit", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| 1 unseen simulated mice, as it is | ")
    assert all(line.count("|") == 4 for line in lines if line.startswith("|"))
    assert lines[-1].startswith("most: the amplitude is off by ")

"""Where things of this checkout lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
DATA = ROOT.parent / "shared" / "data"
"""Real recordings beside it; a test or rig that needs them says so where they are missing."""

"""Where and in which precision to train; without torch, which takes seconds to load."""

from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda"]
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
"""Of matrix products."""

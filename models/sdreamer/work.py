"""What the net has to multiply, by its products of matrices; torch-free."""

from models.spec import ModelSpec


def count_products(spec: ModelSpec, n_read: int) -> tuple[int, int]:
    """Return the multiplications of encoding one epoch, and of reading n slots of a window."""
    M, N, D, S = spec.n_modalities, spec.n_context, spec.token_shape[-1], len(spec.stages)
    a = {"patch_size": 16, "ffn_size": 512, "epoch_layers": 2, "sequence_layers": 3}
    a |= {"head_size": 256} | {k: int(v) for k, v in spec.architecture.items()}
    p, H = a["patch_size"], a["head_size"]
    L = spec.n_inputs // p + 1

    def blocks(n: int, tokens: int, read: int, matrices: int) -> int:
        """Multiplications of n blocks; the last asks for `read` of its tokens."""
        asked = (n - 1) * tokens + read
        after = D * D + matrices * D * a["ffn_size"] + 2 * tokens * D
        return n * tokens * 2 * D * D + asked * (D * D + after)

    separate = bool(spec.architecture.get("separate_epochs"))  # gated experts, no projection
    epoch = blocks(a["epoch_layers"], L, 1, 3 if separate else 2) + (0 if separate else D * D)
    encode = M * ((L - 1) * (p * D + D * D) + epoch)
    sequence = blocks(a["sequence_layers"], M * N, M * n_read, 2) + n_read * M * D * D
    return encode, sequence + n_read * (D * H + H * S)

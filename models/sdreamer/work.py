"""What the net has to multiply, by its products of matrices; torch-free."""

from models.spec import ModelSpec


def count_products(spec: ModelSpec) -> tuple[int, int]:
    """Return the multiplications of encoding one epoch, and of reading a window."""
    M, N, D, S = spec.n_modalities, spec.n_context, spec.token_shape[-1], len(spec.stages)
    a = {"patch_size": 16, "ffn_size": 512, "epoch_layers": 2, "sequence_layers": 3}
    a |= {"head_size": 256} | {k: int(v) for k, v in spec.architecture.items()}
    p, H = a["patch_size"], a["head_size"]
    L = spec.n_inputs // p + 1

    def block(tokens: int, matrices: int) -> int:
        """Multiplications of a transformer block: qkv and output, experts, attention."""
        return tokens * (4 * D * D + matrices * D * a["ffn_size"] + 2 * tokens * D)

    separate = bool(spec.architecture.get("separate_epochs"))  # gated experts, no projection
    epoch = a["epoch_layers"] * block(L, 3 if separate else 2) + (0 if separate else D * D)
    encode = M * ((L - 1) * (p * D + D * D) + epoch)
    sequence = a["sequence_layers"] * block(M * N, 2) + N * M * D * D
    return encode, sequence + N * (D * H + H * S)

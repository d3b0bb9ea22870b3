"""What the net has to multiply, by its products of matrices and convolutions; torch-free."""

from models.spec import ModelSpec


def count_products(spec: ModelSpec, n_read: int) -> tuple[int, int]:
    """Return the multiplications of encoding one epoch, and of reading n slots of a window."""
    a = {"layers": 4, "ffn_size": 512, "filters": 64, "patch_size": 0, "sequence_size": 256}
    a |= {k: int(v) for k, v in spec.architecture.items()}
    M, N, S, W = spec.n_modalities, spec.n_context, len(spec.stages), spec.token_shape[0]
    D, T, F, p = W // M, spec.n_inputs, a["filters"], a["patch_size"]
    embed = T * D if p else T * 49 * F + T // 5 * 7 * F * 2 * F + T // 25 * 5 * 2 * F * D
    L = T // (p or 100) + 1

    def layer(asked: int) -> int:
        """Multiplications of a layer for one modality, of which `asked` tokens go on."""
        after = D * D + 2 * L * D + 2 * D * a["ffn_size"]
        return L * 3 * D * D + asked * after + 2 * D * D

    encode = M * (embed + (a["layers"] - 1) * layer(L) + layer(1))
    after = 2 * W * W + 2 * N * W + 2 * W * a["sequence_size"] + W * S
    return encode, N * 3 * W * W + n_read * after

"""PyTorch's side of benchmarks/gpu.py: Hugging Face's VideoMAE; one measurement, JSON last."""

import json
import os
import sys
import time
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import transformers  # pyright: ignore[reportMissingImports]

from av_mae.config import schema
from benchmarks import gpu_case


def main(job: dict[str, Any]) -> None:
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    torch.set_float32_matmul_precision("high")
    if not gpu:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    experiment = gpu_case.experiment(job, "float32")
    torch.manual_seed(0)
    model = transformers.VideoMAEForPreTraining(model_config(experiment)).to(device).train()
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    begin = time.perf_counter()
    steps = Steps(model, experiment, device)
    steps(1)
    first = time.perf_counter() - begin
    measured = gpu_case.Measured(
        job=job,
        device=torch.cuda.get_device_name() if gpu else "cpu",
        versions=f"torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{model.config._attn_implementation}",
        dtype="bfloat16" if gpu else "float32",
        parameters=parameters,
        seconds=gpu_case.seconds_a_step(steps, job["steps"]),
        product=_product(8192 if gpu and not job["tiny"] else 2048, device),
        first=first,
        peak=float(torch.cuda.max_memory_allocated()) if gpu else None,
    )
    print(json.dumps(measured.report()))


def model_config(e: schema.Experiment) -> transformers.VideoMAEConfig:
    """The same model in Hugging Face's terms."""
    video, model = e.modalities["video"], e.model
    return transformers.VideoMAEConfig(
        image_size=video.axes[1],
        patch_size=video.patch[1],
        num_frames=video.axes[0],
        tubelet_size=video.patch[0],
        hidden_size=model.width,
        num_hidden_layers=model.depth,
        num_attention_heads=model.heads,
        intermediate_size=model.mlp,
        decoder_hidden_size=model.decoder_width,
        decoder_num_hidden_layers=model.decoder_depth,
        decoder_num_attention_heads=model.decoder_heads,
        decoder_intermediate_size=model.decoder_mlp,
        norm_pix_loss=True,
        attn_implementation="sdpa",
    )


class Steps:
    """Takes steps one after another and waits for the last."""

    def __init__(self, model: torch.nn.Module, e: schema.Experiment, device: torch.device):
        video = e.modalities["video"]
        shape = (e.batch_size, video.axes[0], 3, *video.axes[1:])
        self._gpu = device.type == "cuda"
        self._pictures = torch.randn(shape, device=device)
        self._masks = [_tubes(video.grid, video.mask_ratio, e.batch_size, device) for _ in range(4)]
        self._model = torch.compile(model)
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True
        )

    def __call__(self, count: int) -> None:
        for number in range(count):
            self._optimizer.zero_grad(set_to_none=True)
            mask = self._masks[number % len(self._masks)]
            with torch.autocast("cuda", torch.bfloat16, enabled=self._gpu):
                loss = self._model(self._pictures, bool_masked_pos=mask).loss
            loss.backward()
            self._optimizer.step()
        if self._gpu:
            torch.cuda.synchronize()


def _tubes(grid: tuple[int, ...], ratio: float, rows: int, device: torch.device) -> torch.Tensor:
    """Bool `[rows, tokens]`: the same places hidden in every time slot."""
    slots, places = grid[0], grid[1] * grid[2]
    rng = np.random.default_rng()
    hidden = np.zeros((rows, places), bool)
    for row in hidden:
        row[rng.permutation(places)[: int(ratio * places)]] = True
    return torch.from_numpy(np.tile(hidden, (1, slots))).to(device)


def _product(size: int, device: torch.device) -> float:
    """FLOP/s of a product of matrices of `size` squared, in the type that the step computes in."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    a = torch.randn((size, size), device=device, dtype=dtype)

    def run(count: int) -> None:
        for _ in range(count):
            torch.mm(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return 2 * size**3 / gpu_case.seconds_a_step(run, 10)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

"""Bytes that a compiled program sends are read from its text, loops included."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from av_mae.experiment import sharding
from av_mae.planning import hlo

MESH = sharding.make_mesh(fsdp=4)
SPLIT, WHOLE = (NamedSharding(MESH, PartitionSpec(axes)) for axes in ("fsdp", None))


def sent(function, *shardings, out):
    shapes = [jax.ShapeDtypeStruct((64, 128), jnp.float32, sharding=s) for s in shardings]
    text = jax.jit(function, out_shardings=out).lower(*shapes).compile().as_text()
    return hlo.collective_bytes(text)


def test_a_gathered_array_comes_from_all_the_others():
    assert sent(lambda x: x * 2, SPLIT, out=WHOLE) == {"all-gather": 64 * 128 * 4 * 3 / 4}


def test_a_sum_goes_around_twice():
    assert sent(lambda x: x.sum(0), SPLIT, out=WHOLE) == {"all-reduce": 2 * 128 * 4 * 3 / 4}


def test_a_loop_counts_as_often_as_it_runs():
    def add(x):
        body = lambda c, _: (jnp.sin(x * c.sum()).sum(0), None)  # noqa: E731
        return jax.lax.scan(body, jnp.ones(128), None, length=5)[0]

    once = 2 * 128 * 4 * 3 / 4
    assert sent(add, SPLIT, out=WHOLE)["all-reduce"] == pytest.approx(5 * once)


# As libtpu writes them: the length of a loop stands in its condition alone, and one that moves
# pieces in two directions counts in twos.
LOOPS = """
%inner_condition (p: (f32[8], u32[])) -> pred[] {
  %p = (f32[8]{0:T(8)}, u32[]{:T(128)}) parameter(0), metadata={op_name="jit(step)/dot"}
  %last = u32[]{:T(128)} constant(8), metadata={op_name="jit(step)/dot"}
  %count = u32[]{:T(128)} get-tuple-element(%p), index=1, metadata={op_name="jit(step)/dot"}
  ROOT %more = pred[]{:T(512)} compare(%count, %last), direction=LT, metadata={op_name="(a)"}
}

%inner_body (p.1: (f32[8], u32[])) -> (f32[8], u32[]) {
  %p.1 = (f32[8]{0:T(8)}, u32[]{:T(128)}) parameter(0)
  %x = f32[8]{0:T(8)} get-tuple-element(%p.1), index=0
  %count.1 = u32[]{:T(128)} get-tuple-element(%p.1), index=1
  %start = (f32[8]{0:T(8)}, f32[8]{0:T(8)}, u32[]{:S(2)}) collective-permute-start(%x), channel_id=1
  %done = f32[8]{0:T(8)} collective-permute-done(%start)
  %two = u32[]{:T(128)} constant(2)
  %next = u32[]{:T(128)} add(%count.1, %two), metadata={op_name="jit(step)/dot"}
  ROOT %out = (f32[8]{0:T(8)}, u32[]{:T(128)}) tuple(%done, %next)
}

%outer_condition (q: (f32[8], s32[])) -> pred[] {
  %q = (f32[8]{0:T(8)}, s32[]{:T(128)}) parameter(0)
  %layers = s32[]{:T(128)} constant(5)
  %layer = s32[]{:T(128)} get-tuple-element(%q), index=1
  ROOT %less = pred[]{:T(512)} compare(%layer, %layers), direction=LT
}

%outer_body (q.1: (f32[8], s32[])) -> (f32[8], s32[]) {
  %q.1 = (f32[8]{0:T(8)}, s32[]{:T(128)}) parameter(0)
  %y = f32[8]{0:T(8)} get-tuple-element(%q.1), index=0
  %zero = u32[]{:T(128)} constant(0)
  %given = (f32[8]{0:T(8)}, u32[]{:T(128)}) tuple(%y, %zero)
  %inner = (f32[8]{0:T(8)}, u32[]{:T(128)}) while(%given), condition=%inner_condition, body=%inner_body
  %z = f32[8]{0:T(8)} get-tuple-element(%inner), index=0
  %one = s32[]{:T(128)} constant(1)
  %layer.1 = s32[]{:T(128)} get-tuple-element(%q.1), index=1
  %following = s32[]{:T(128)} add(%layer.1, %one)
  ROOT %back = (f32[8]{0:T(8)}, s32[]{:T(128)}) tuple(%z, %following)
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %a = f32[8]{0:T(8)} parameter(0)
  %first = s32[]{:T(128)} constant(2)
  %copied = s32[]{:T(128)} copy(%first)
  %tuple = (f32[8]{0:T(8)}, /*index=1*/s32[]{:T(128)}) tuple(%a, /*index=1*/%copied)
  %outer = (f32[8]{0:T(8)}, s32[]{:T(128)}) while(%tuple), condition=%outer_condition, body=%outer_body
  ROOT %result = f32[8]{0:T(8)} get-tuple-element(%outer), index=0
}
"""  # noqa: E501


def test_loops_of_tpu_programs_are_counted_from_their_conditions():
    turns = (5 - 2) * (8 - 0) / 2
    assert hlo.collective_bytes(LOOPS) == {"collective-permute": turns * 8 * 4}


# A gathering that runs beside a product, in three fusions; a sum of which a slice is kept.
FUSED = """
%begin (b: bf16[4]) -> bf16[8] {
  %b = bf16[4]{0:T(8)} parameter(0)
  ROOT %g.1 = bf16[8]{0:T(8)} all-gather(%b), channel_id=3, replica_groups={{0,1},{2,3}}, dimensions={0}
}

%beside (c: bf16[4]) -> bf16[8] {
  %c = bf16[4]{0:T(8)} parameter(0)
  ROOT %g.2 = bf16[8]{0:T(8)} all-gather(%c), channel_id=3, replica_groups={{0,1},{2,3}}, dimensions={0}
}

%all-reduce-scatter.7 (d: f32[8]) -> f32[2] {
  %d = f32[8]{0:T(8)} parameter(0)
  %r = f32[8]{0:T(8)} all-reduce(%d), channel_id=4, replica_groups={{0,1,2,3}}, to_apply=%add
  %zero = s32[] constant(0)
  ROOT %s = f32[2]{0:T(8)} dynamic-slice(%r, %zero), dynamic_slice_sizes={2}
}

ENTRY %main (a: bf16[4], e: f32[8]) -> f32[2] {
  %a = bf16[4]{0:T(8)} parameter(0)
  %e = f32[8]{0:T(8)} parameter(1)
  %async-collective-start = bf16[8]{0:T(8)} fusion(%a), kind=kCustom, calls=%begin
  %product = bf16[8]{0:T(8)} fusion(%a), kind=kOutput, calls=%beside
  %async-collective-done = bf16[8]{0:T(8)} fusion(%a), kind=kCustom, calls=%begin
  ROOT %kept = f32[2]{0:T(8)} fusion(%e), kind=kCustom, calls=%all-reduce-scatter.7
}
"""  # noqa: E501


def test_collectives_inside_fusions_of_tpu_programs_count_once():
    sent = {"all-gather": 8 * 2 * 1 / 2, "reduce-scatter": 8 * 4 * 3 / 4}
    assert hlo.collective_bytes(FUSED) == sent


def test_what_leaves_a_slice_counts_by_itself():
    runtime = 'is_host_transfer=true, frontend_attributes={_h="xla_megascale_runtime"}'
    sending = """
  %send = (f32[8]{0}, u32[], token[]) send(%e, %token), channel_id=9, """
    text = FUSED.replace("\n  ROOT %kept", f"{sending}{runtime}\n  ROOT %kept")
    assert hlo.collective_bytes(text)[hlo.BETWEEN_SLICES] == 8 * 4
    assert hlo.BETWEEN_SLICES not in hlo.collective_bytes(text.replace("megascale", "other"))


def test_a_loop_of_unknown_length_is_told(caplog):
    unknown = LOOPS.replace("constant(5)", "get-tuple-element(%q), index=1")
    assert hlo.collective_bytes(unknown) == {"collective-permute": 4 * 8 * 4}
    assert "unknown length is counted once: outer_body" in caplog.text


def test_nothing_is_sent_without_need():
    assert sent(jnp.sin, SPLIT, out=SPLIT) == {}

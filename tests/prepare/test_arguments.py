"""What may stand behind the name of a data set."""

from typing import Literal

import pytest

from av_mae.prepare import datasets


def clips(source, options, *, split: Literal[1, 2, 3] = 2, val: bool = True, ids: str = ""):
    """A data set's function."""


def test_values_have_the_types_of_the_parameters():
    assert datasets.parse_arguments(clips, "split=3,val=false", "x") == {"split": 3, "val": False}
    assert datasets.parse_arguments(clips, "", "x") == {}


def test_a_comma_may_be_part_of_a_value():
    assert datasets.parse_arguments(clips, "ids=a,b.txt,split=1", "x") == {
        "ids": "a,b.txt",
        "split": 1,
    }


def test_the_default_is_described_first():
    assert datasets.describe_arguments(clips) == "split=2|1|3,val=true|false,ids=STR"


@pytest.mark.parametrize(
    "text, message",
    [
        ("split=4", "--dataset=x: split is '4', expected one of 1, 2, 3"),
        ("val=no", "val is 'no', expected one of true, false"),
        ("splt=1", "--dataset=x has no argument 'splt'; did you mean 'split'"),
        ("unlike=1", "known: split, val, ids"),
        ("split", "split has no value"),
    ],
)
def test_what_is_not_understood_is_said_with_what_is(text, message):
    with pytest.raises(ValueError, match=message):
        datasets.parse_arguments(clips, text, "x")


def test_a_data_set_without_arguments_takes_none(tmp_path):
    with pytest.raises(ValueError, match="--dataset=sample takes no arguments, but 'a' is given"):
        datasets.clips("sample:a=1", str(tmp_path), datasets.Options())

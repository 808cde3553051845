"""Helpers of training scripts: a dictionary with attributes, and sizes of data sets."""

import copy
import pickle
from argparse import Namespace

import pytest

from unfussy.errors import InputValueError
from unfussy.models.adaface.helpers import dotdict, get_num_class

COUNTS = {
    "faces_emore": 85742,
    "ms1m-retinaface-t1": 93431,
    "faces_vgg_112x112": 9131,
    "faces_webface_112x112": 10572,
    "webface4m": 205990,
    "webface12m": 617970,
    "webface42m": 2059906,
}


def test_items_are_attributes_and_attributes_items():
    args = dotdict({"lr": 0.1})
    args.epochs = 24
    del args.lr

    assert args == {"epochs": 24}
    assert args.epochs == 24


def test_an_attribute_that_is_missing_is_none():
    assert dotdict().resume is None


def test_an_attribute_that_is_missing_cannot_be_deleted():
    with pytest.raises(AttributeError, match="no item 'lr' to delete"):
        del dotdict().lr


def through_pickle(args):
    return pickle.loads(pickle.dumps(args))  # noqa: S301 - made here


DUPLICATES = {"copy": copy.copy, "deep": copy.deepcopy, "own": dotdict.copy}
DUPLICATES["pickled"] = through_pickle


@pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES)
def test_copies_have_attributes_too(duplicate):
    args = duplicate(dotdict(lr=[0.1]))

    assert type(args) is dotdict
    assert args.lr == [0.1]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("make", [dict, dotdict, Namespace])
def test_the_path_of_a_set_tells_how_many_people_are_in_it(name, make):
    hparams = make(train_data_path=f"/Data/{name.upper()}/imgs")

    assert get_num_class(hparams) == COUNTS[name]


def test_the_subset_of_ms1mv2_has_its_own_number():
    hparams = dotdict(train_data_path="faces_emore", train_data_subset=True)

    assert get_num_class(hparams) == 70722


@pytest.mark.parametrize("unsaid", [-1, None])
def test_a_number_that_is_not_said_is_looked_up(unsaid):
    hparams = dotdict(train_data_path="webface4m", custom_num_class=unsaid)

    assert get_num_class(hparams) == 205990


def test_a_custom_number_counts_whatever_the_path_is():
    assert get_num_class(Namespace(custom_num_class=7)) == 7


@pytest.mark.parametrize(
    ("hparams", "text"),
    [
        ({"train_data_path": "mine"}, "in 'mine' is not known: give custom_num_class"),
        ({}, "in 'None' is not known"),
        (
            {"train_data_path": "webface4m", "train_data_subset": True},
            "a subset of webface4m is not known",
        ),
        ({"custom_num_class": 0}, "custom_num_class is 1 or more, or -1, got 0"),
    ],
)
def test_a_number_that_nobody_knows_is_an_error(hparams, text):
    with pytest.raises(InputValueError, match=text):
        get_num_class(hparams)

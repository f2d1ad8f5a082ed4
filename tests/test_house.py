"""The picture of the folders: it is drawn from the imports that there are, and cannot be drawn from others."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from docs.house import CORE, HOUSE, PICTURE, Box, arrows, imports, picture


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    return imports()


def test_the_picture_that_is_there_is_the_one_that_would_be_drawn(found: dict[str, set[str]]) -> None:
    drawn = picture(found)
    assert PICTURE.read_text("utf-8") == drawn, "draw it again: python -m docs.house"
    ET.fromstring(drawn)  # noqa: S314  our own


def test_an_arrow_that_others_lead_along_is_left_out() -> None:
    top, middle, low = (Box(name, (), (name,), 0, y) for name, y in (("top", 0), ("middle", 100), ("low", 200)))
    found = {"top.a": {"middle.b", "low.c"}, "middle.b": {"low.c", "middle.d"}, "low.c": {"elsewhere"}}
    assert arrows((top, middle, low), found) == [(top, middle), (middle, low)]


def test_parties_import_core_and_not_each_other(found: dict[str, set[str]]) -> None:
    drawn = [(source.title, target.title) for source, target in arrows(HOUSE, found)]
    for party in ("client/", "server/", "keyholder/", "registrar/"):
        assert [target for source, target in drawn if source == party] == ["core/"]


def test_an_import_that_goes_up_is_not_drawn_but_refused(found: dict[str, set[str]]) -> None:
    upwards = {**found, "core.errors": {"core.federated"}}
    with pytest.raises(ValueError, match="core.errors imports core.federated, but federated is not below errors"):
        picture(upwards)


def test_a_module_of_core_without_a_place_is_refused(found: dict[str, set[str]]) -> None:
    with pytest.raises(ValueError, match=r"core\.lonely stands in no box"):
        picture({**found, "core.lonely": set()})


def test_no_two_boxes_overlap() -> None:
    for boxes in ([box for box in HOUSE if box.kind != "core"], CORE):
        for number, box in enumerate(boxes):
            for other in boxes[number + 1 :]:
                side_by_side = abs(box.x - other.x) >= (box.width + other.width) / 2
                assert side_by_side or box.bottom < other.top or other.bottom < box.top, (box.title, other.title)
